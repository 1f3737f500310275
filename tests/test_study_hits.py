"""How a study is put up on Mechanical Turk: against a service whose answers are written down here."""

import builtins
import xml.etree.ElementTree as ET
from dataclasses import replace

import boto3
import pytest
from botocore.config import Config
from botocore.stub import ANY, Stubber
from typer.testing import CliRunner

from motionfocal.cli.app import app
from motionfocal.errors import StudyError, UnavailableError
from motionfocal.study.crowds.mturk import Hit, approve, connect, external_question, hits, post, qualifications
from motionfocal.study.design import MTurk
from motionfocal.study.fieldwork.database import Database
from motionfocal.study.fieldwork.people import join

from .study_server import on_crowds, small_study


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return on_crowds(small_study(tmp_path_factory.mktemp("study")))


@pytest.fixture
def client():
    return boto3.client("mturk", region_name="us-east-1", aws_access_key_id="none", aws_secret_access_key="none")


def told(study, batch=1, **changes):
    """A HIT as MTurk tells of it."""
    return {
        "HITId": f"HIT{batch}",
        "HITStatus": "Assignable",
        "MaxAssignments": 40,
        "NumberOfAssignmentsPending": 3,
        "NumberOfAssignmentsAvailable": 30,
        "NumberOfAssignmentsCompleted": 5,
        "RequesterAnnotation": f"motionfocal {study.plan.fingerprint()} {batch}",
    } | changes


OTHER = {"HITId": "X", "HITStatus": "Assignable"}


def test_a_hit_is_put_up_as_the_design_says(study, client):
    asked = {
        "Title": "Compare short videos",
        "Description": ANY,
        "Keywords": "video, comparison, preference",
        "Reward": "3.50",
        "MaxAssignments": 40,
        "AssignmentDurationInSeconds": 3600,
        "LifetimeInSeconds": 7 * 86_400,
        "Question": external_question("https://study.example.org/mturk"),
        "QualificationRequirements": qualifications(study.design.mturk),
        "RequesterAnnotation": f"motionfocal {study.plan.fingerprint()} 1",
        "UniqueRequestToken": ANY,
    }
    with Stubber(client) as stub:
        stub.add_response("list_hits", {"HITs": [OTHER, told(study, 2)]}, {})
        stub.add_response("create_hit", {"HIT": told(study)}, asked)
        assert post(client, study, "https://study.example.org/", 40) == Hit("HIT1", 1, "Assignable", 40, 3, 30, 5)
        stub.assert_no_pending_responses()


def test_a_hit_that_is_there_is_not_put_up_again(study, client):
    with Stubber(client) as stub:
        stub.add_response("list_hits", {"HITs": [told(study)]}, {})
        assert post(client, study, "https://study.example.org", 40).id == "HIT1"
        stub.assert_no_pending_responses()


def test_a_request_that_is_repeated_bears_the_same_token_and_another_batch_another_one(study, client):
    tokens = []
    client.meta.events.register(
        "provide-client-params.mturk.CreateHIT", lambda params, **_: tokens.append(params["UniqueRequestToken"])
    )
    with Stubber(client) as stub:
        for batch in (1, 1, 2):
            stub.add_response("list_hits", {"HITs": []}, {})
            stub.add_response("create_hit", {"HIT": told(study, batch)})
            post(client, study, "https://study.example.org", 40, batch=batch)
    assert tokens[0] == tokens[1] != tokens[2]
    assert max(map(len, tokens)) <= 64


def test_the_hits_of_a_study_are_found_on_all_pages(study, client):
    with Stubber(client) as stub:
        stub.add_response("list_hits", {"HITs": [told(study, 2), OTHER], "NextToken": "more"}, {})
        stub.add_response("list_hits", {"HITs": [told(study, 1, HITStatus="Reviewable")]}, {"NextToken": "more"})
        assert [(hit.id, hit.status) for hit in hits(client, study)] == [("HIT1", "Reviewable"), ("HIT2", "Assignable")]


def test_assignments_that_were_done_are_paid_and_others_are_left_to_a_person(study, client):
    hit = Hit("HIT1", 1, "Reviewable", 40, 0, 0, 5)
    waiting = {"Assignments": [{"AssignmentId": id_} for id_ in ("A1", "A2", "A3")]}
    with Stubber(client) as stub:
        asked = {"HITId": "HIT1", "AssignmentStatuses": ["Submitted"]}
        stub.add_response("list_assignments_for_hit", waiting, asked)
        stub.add_response("approve_assignment", {}, {"AssignmentId": "A1"})
        stub.add_response("approve_assignment", {}, {"AssignmentId": "A3"})
        assert approve(client, hit, {"A1", "A3", "A9"}) == (["A1", "A3"], ["A2"])
        stub.assert_no_pending_responses()


@pytest.mark.parametrize("operation", ["list_hits", "create_hit"])
def test_what_mturk_refuses_is_told(study, client, operation):
    with Stubber(client) as stub:
        if operation == "create_hit":
            stub.add_response("list_hits", {"HITs": []}, {})
        stub.add_client_error(operation, "RequestError", "Your account has no money")
        with pytest.raises(StudyError, match="no money"):
            post(client, study, "https://study.example.org", 40)


def test_what_keeps_mturk_from_being_asked_is_told_with_what_to_do(study, client, monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(StudyError, match=r"(?i)credentials.*'aws configure'"):
        hits(connect(sandbox=True), study)
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(StudyError, match=r"nobody.*'aws configure'"):
        connect(sandbox=True)
    away = Config(retries={"max_attempts": 0}, connect_timeout=1)
    monkeypatch.delenv("AWS_PROFILE")
    ids = {"aws_access_key_id": "none", "aws_secret_access_key": "none", "region_name": "us-east-1"}
    nowhere = boto3.client("mturk", endpoint_url="http://127.0.0.1:1", config=away, **ids)
    with pytest.raises(StudyError, match=r"127\.0\.0\.1.*check the network"):
        hits(nowhere, study)


def test_a_refused_approval_is_told(client):
    with Stubber(client) as stub:
        stub.add_client_error("list_assignments_for_hit", "RequestError", "no such HIT")
        with pytest.raises(StudyError, match="no such HIT"):
            approve(client, Hit("H", 1, "", 0, 0, 0, 0), ())


def test_a_hit_shows_https_only(study, client):
    for address in ("http://study.example.org", "study.example.org", ""):
        with pytest.raises(StudyError, match="HTTPS"):
            external_question(address)
    with Stubber(client) as stub:
        stub.add_response("list_hits", {"HITs": []}, {})
        with pytest.raises(StudyError, match="HTTPS"):
            post(client, study, "http://study.example.org", 40)


def test_the_question_is_xml_with_the_address_and_a_height():
    root = ET.fromstring(external_question("https://study.example.org/mturk?a=1&b=<2>"))
    name = "{http://mechanicalturk.amazonaws.com/AWSMechanicalTurkDataSchemas/2006-07-14/ExternalQuestion.xsd}"
    assert root.tag == f"{name}ExternalQuestion"
    assert [(part.tag, part.text) for part in root] == [
        (f"{name}ExternalURL", "https://study.example.org/mturk?a=1&b=<2>"),
        (f"{name}FrameHeight", "0"),
    ]


def test_workers_must_have_what_the_design_asks():
    terms = MTurk(reward="1.00", approval_percent=97, approved_hits=0, qualifications=("OWN",))
    seen = {"ActionsGuarded": "DiscoverPreviewAndAccept"}
    percent = {"Comparator": "GreaterThanOrEqualTo", "IntegerValues": [97]}
    assert qualifications(terms) == [
        {"QualificationTypeId": "000000000000000000L0", **percent, **seen},
        {"QualificationTypeId": "OWN", "Comparator": "Exists", **seen},
    ]
    assert qualifications(MTurk(reward="1.00"))[1]["QualificationTypeId"] == "00000000000000000040"


def test_a_study_without_terms_is_not_put_up(study, client):
    bare = replace(study, design=study.design.model_copy(update={"mturk": None}))
    with pytest.raises(StudyError, match="has no 'mturk'"):
        post(client, bare, "https://study.example.org", 40)


def test_the_sandbox_is_another_service(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "none")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "none")
    assert connect(sandbox=True).meta.endpoint_url == "https://mturk-requester-sandbox.us-east-1.amazonaws.com"
    assert connect(sandbox=False).meta.endpoint_url == "https://mturk-requester.us-east-1.amazonaws.com"


def test_without_boto3_it_says_how_to_get_it(monkeypatch):
    known = builtins.__import__

    def without(name, *args, **options):
        if name == "boto3":
            raise ModuleNotFoundError(name=name)
        return known(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UnavailableError, match=r"motionfocal\[mturk\]"):
        connect(sandbox=True)


def test_the_verb_pays_those_who_are_through_and_names_the_others_with_their_ends(study, client, monkeypatch):
    """The first is "closed": finished, with fewer than all tasks. Of A4 the study knows nothing."""
    database = Database(study.database)
    with database.write() as session:
        for number, (state, excluded) in enumerate([("finished", ""), ("finished", "too fast"), ("working", "")], 1):
            ids = {"assignmentId": f"A{number}", "hitId": "HIT1", "turkSubmitTo": "https://www.mturk.com"}
            rater = join(session, study, source="mturk", key=str(number), now=0.0, session_ids=ids)
            rater.state, rater.excluded = state, excluded
        stolen = {"assignmentId": "A1", "hitId": "HIT1", "turkSubmitTo": "https://www.mturk.com"}
        join(session, study, source="mturk", key="who came by another's id", now=0.0, session_ids=stolen)
    database.close()
    monkeypatch.setattr("motionfocal.study.crowds.mturk.connect", lambda *, sandbox: client)
    with Stubber(client) as stub:
        waiting = [{"AssignmentId": f"A{number}"} for number in (1, 2, 3, 4)]
        stub.add_response("list_hits", {"HITs": [told(study)]}, {})
        stub.add_response("list_assignments_for_hit", {"Assignments": waiting})
        stub.add_response("approve_assignment", {}, {"AssignmentId": "A1"})
        result = CliRunner().invoke(app, ["study", "approve", str(study.folder)])
        stub.assert_no_pending_responses()
    assert result.exit_code == 0, result.output
    told_of = result.output.splitlines()
    assert "1 assignments approved, 3 wait for your decision" in told_of[0]
    assert [line.split(maxsplit=1) for line in told_of[1:]] == [
        ["A2", "failed"],
        ["A3", "working"],
        ["A4", "of nobody in this study"],
    ]
