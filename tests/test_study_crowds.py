"""Workers of Mechanical Turk and of Prolific: how they come in, and how they are sent back."""

from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from motionfocal.errors import RefusedError
from motionfocal.study.crowds import mturk, receipt_code
from motionfocal.study.crowds.prolific import completion_code, completion_link
from motionfocal.study.design import Checks
from motionfocal.study.fieldwork.people import hidden
from motionfocal.study.web.context import ServerSettings

from .study_server import Visitor, on_crowds, open_site, serving, small_study

SITE, SANDBOX = "https://www.mturk.com", "https://workersandbox.mturk.com"


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return on_crowds(small_study(tmp_path_factory.mktemp("study")))


@pytest.fixture
def site(study, tmp_path):
    with open_site(study, tmp_path / "votes.sqlite") as site:
        yield site


WORKER = "A2WORKERWHOMNOSECRETSPELLS"
"""Long enough not to stand in a random secret by chance."""


def accepted(worker="W1", assignment="A1", site=SITE):
    return {"assignmentId": assignment, "hitId": "H1", "workerId": worker, "turkSubmitTo": site}


def arrive(site, way, params):
    return site.client.get(way, params=params, follow_redirects=False)


def come(site, way, params):
    answer = arrive(site, way, params)
    assert answer.status_code == 303, answer.text
    return Visitor(site, answer.headers["location"])


def prolific(participant="5f0c", session="s1"):
    return {"PROLIFIC_PID": participant, "STUDY_ID": "st1", "SESSION_ID": session}


# ---- Mechanical Turk: a worker's way ---------------------------------------------------------------------------------


def test_a_worker_who_only_looks_sees_the_instructions_and_becomes_no_rater(site):
    for params in ({}, {"assignmentId": mturk.NOT_ACCEPTED, "hitId": "H1"}, accepted(assignment=mturk.NOT_ACCEPTED)):
        page = arrive(site, "/mturk", params)
        assert page.status_code == 200
        assert site.study.plan.examples[0].why in page.text
        assert "/preview/examples/1/" in page.text
        assert "<form" not in page.text
    assert site.raters() == []
    clip = site.client.get("/preview/examples/2/right.mp4")
    shown = site.study.plan.clip(site.study.plan.examples[1].right)
    assert clip.content == site.study.path(shown.file).read_bytes()


def test_a_worker_is_hidden_and_keeps_the_task_over_visits(site):
    visitor = come(site, "/mturk", accepted(WORKER))
    rater = visitor.record()
    assert (rater.source, rater.key) == ("mturk", hidden(site.study, WORKER))
    assert rater.session == {"assignmentId": "A1", "hitId": "H1", "turkSubmitTo": SITE}
    visitor.train()
    uid = visitor.task().uid
    again = come(site, "/mturk", accepted(WORKER))
    assert again.task().uid == uid
    other = come(site, "/mturk", accepted(WORKER, "A2"))  # returned the first, and took it up once more
    assert (other.task().uid, other.record().session["assignmentId"]) == (uid, "A2")
    assert len(site.raters()) == 1
    files = site.study.folder.glob("*") if site.study.folder.exists() else ()
    assert not [path for path in files if path.is_file() and WORKER.encode() in path.read_bytes()]


def test_at_the_end_a_worker_posts_the_assignment_and_a_code_to_mturk(site):
    visitor = come(site, "/mturk", accepted())
    visitor.train()
    visitor.work()
    page = visitor.page().text
    code = receipt_code(site.study, visitor.record().id, "finished")
    assert f'action="{SITE}/mturk/externalSubmit"' in page
    for name, value in (("assignmentId", "A1"), ("code", code), ("outcome", "finished")):
        assert f'name="{name}" value="{value}"' in page
    assert f"form-action 'self' {SITE};" in visitor.page().headers["content-security-policy"]
    assert come(site, "/mturk", accepted()).page().text.count(code) >= 1


@pytest.mark.parametrize("way", ["/mturk", "/prolific"])
def test_who_has_to_wait_is_not_handed_in_until_nothing_can_come(study, tmp_path, way):
    """One place a pair, and the last of them is with somebody else."""
    short = replace(study, design=study.design.model_copy(update={"votes": 1, "checks": Checks(share=0)}))
    with open_site(short, tmp_path / "short.sqlite") as site:
        away = site.at_work()
        last = away.task()
        waiting = come(site, way, accepted() if way == "/mturk" else prolific())
        waiting.train()
        waiting.work()
        assert waiting.record().state == "working"
        page = waiting.page().text
        assert 'http-equiv="refresh"' in page
        assert not any(word in page for word in ("externalSubmit", "Your completion code", "DONE1"))
        site.clock.let_pass(60 * short.design.lease_minutes + 1)
        assert waiting.task().target == last.target, "its lease is over"
        waiting.work()
        page = waiting.page().text
        assert ("externalSubmit" in page, "DONE1" in page) == (way == "/mturk", way == "/prolific")


def test_who_waits_is_handed_in_as_closed_when_others_answer(study, tmp_path):
    short = replace(study, design=study.design.model_copy(update={"votes": 1, "checks": Checks(share=0)}))
    with open_site(short, tmp_path / "short.sqlite") as site:
        other = site.at_work()
        other.task()
        waiting = come(site, "/mturk", accepted())
        waiting.train()
        waiting.work()
        other.vote()
        assert 'name="outcome" value="closed"' in waiting.page().text
        assert waiting.record().state == "finished"


def test_who_has_finished_cannot_be_paid_for_another_assignment(site):
    visitor = come(site, "/mturk", accepted())
    visitor.train()
    visitor.work()
    answer = arrive(site, "/mturk", accepted(assignment="A2"))
    assert (answer.status_code, "taken part in this study already" in answer.text) == (403, True)
    assert visitor.record().session["assignmentId"] == "A1"


ELSEWHERE = (
    "", "https://evil.example", "http://www.mturk.com", "https://www.mturk.com.evil.example", SANDBOX, "x" * 200,
    f"{SITE}@evil.example", f"{SITE}/../x", f"{SITE}?x", "https://WWW.MTURK.COM.", "//www.mturk.com", "javascript:x",
)  # fmt: skip


@pytest.mark.parametrize("submit_to", ELSEWHERE)
def test_an_end_elsewhere_than_at_mturk_is_refused(site, submit_to):
    answer = arrive(site, "/mturk", accepted(site=submit_to))
    assert (answer.status_code, "turkSubmitTo is not Mechanical Turk" in answer.text) == (400, True)
    assert site.raters() == []


def test_the_sandbox_is_let_in_when_the_server_is_told_to(study, tmp_path):
    with open_site(study, tmp_path / "votes.sqlite", sandbox=True) as site:
        assert arrive(site, "/mturk", accepted(site=SANDBOX)).status_code == 303
        assert arrive(site, "/mturk", accepted("W2", site=SITE)).status_code == 303
    assert mturk.submit_address(f"{SITE}/", sandbox=False) == f"{SITE}/mturk/externalSubmit"
    with pytest.raises(RefusedError, match="its sandbox, which this study does not take"):
        mturk.submit_address(SANDBOX, sandbox=False)


@pytest.mark.parametrize(
    "change", [{"workerId": "a b"}, {"workerId": "\0"}, {"assignmentId": "x" * 99}, {"hitId": "<b>"}]
)
def test_ids_that_are_none_are_refused(site, change):
    answer = arrive(site, "/mturk", accepted() | change)
    assert (answer.status_code, next(iter(change)) in answer.text) == (422, True)
    assert "<b>" not in answer.text


def test_a_worker_without_an_id_is_refused(site):
    assert arrive(site, "/mturk", {"assignmentId": "A1", "turkSubmitTo": SITE}).status_code == 400


def test_arrivals_of_one_address_are_limited(study, tmp_path):
    with open_site(study, tmp_path / "votes.sqlite", entries_per_minute=3) as site:
        answers = [arrive(site, "/mturk", accepted(f"W{k}")) for k in range(4)]
        assert [answer.status_code for answer in answers] == [303, 303, 303, 429]
        assert answers[-1].headers["retry-after"] == "20"
        assert arrive(site, f"/join/{site.invitation()}", {}).status_code == 303
        site.clock.let_pass(20)
        assert arrive(site, "/mturk", accepted("W9")).status_code == 303
        assert len(site.raters()) == 5


def test_only_a_proxy_that_is_trusted_says_who_comes(study, tmp_path):
    for proxies, expected in (((), [303, 429]), (("127.0.0.1",), [303, 303]), (("10.0.0.9",), [303, 429])):
        options = {"entries_per_minute": 1, "proxies": proxies}
        with (
            open_site(study, tmp_path / f"{proxies}.sqlite", **options) as site,
            serving(site.app, ServerSettings.model_validate(options)) as (host, port),
        ):
            answers = [
                httpx.get(
                    f"http://{host}:{port}/prolific",
                    params=prolific(f"p{k}"),
                    headers={"X-Forwarded-For": f"192.0.2.{k}"},
                )
                for k in range(2)
            ]
        assert [answer.status_code for answer in answers] == expected
        assert "server" not in answers[0].headers


def test_a_study_that_is_not_on_a_crowd_has_no_way_in_for_it(study, tmp_path):
    design = study.design.model_copy(update={"mturk": None, "prolific": None})
    with open_site(replace(study, design=design), tmp_path / "votes.sqlite") as site:
        for way, params in (("/mturk", accepted()), ("/prolific", prolific()), ("/preview/examples/1/left.mp4", {})):
            assert arrive(site, way, params).status_code == 404
        assert site.raters() == []


# ---- Prolific --------------------------------------------------------------------------------------------------------


def test_a_participant_comes_in_and_is_sent_back_with_the_code_of_the_end(site):
    link = "https://app.prolific.com/submissions/complete?cc="
    done = come(site, "/prolific", prolific("p1"))
    assert (done.record().source, done.record().key) == ("prolific", hidden(site.study, "p1"))
    done.train()
    done.work()
    assert f'href="{link}DONE1"' in done.page().text
    out = come(site, "/prolific", prolific("p2"))
    out.begin()
    while (task := out.open_task()) is not None:
        out.send(out.body(task.uid, {"left": "right", "right": "left"}[out.good_choice(task)]))
    assert f'href="{link}OUT2"' in out.page().text
    failed = come(site, "/prolific", prolific("p3"))
    failed.train()
    while (task := failed.open_task()) is not None:
        failed.send(failed.body(task.uid, {"left": "right", "right": "left"}[failed.good_choice(task)]))
    assert failed.record().state == "failed"
    page = failed.page().text
    assert f'href="{link}FAIL3"' in page
    assert "DONE1" not in page and "OUT2" not in page


def test_who_finds_nothing_left_to_do_is_paid_as_finished(site):
    early = [site.at_work() for _ in range(site.study.design.votes + 2)]
    for visitor in early:
        visitor.work()
    late = come(site, "/prolific", prolific())
    late.train()
    late.work()
    assert len([vote for vote in site.votes() if vote.rater_id == late.record().id]) < site.study.design.tasks + 2
    page = late.page().text
    assert "Nothing is left to do" in page
    assert "cc=DONE1" in page


def test_a_participant_who_has_ended_is_told_so_in_another_session(site):
    visitor = come(site, "/prolific", prolific())
    visitor.train()
    visitor.work()
    assert come(site, "/prolific", prolific()).record().id == visitor.record().id
    assert arrive(site, "/prolific", prolific(session="s2")).status_code == 403


@pytest.mark.parametrize("missing", ["PROLIFIC_PID", "STUDY_ID", "SESSION_ID"])
def test_all_ids_of_prolific_must_be_there(site, missing):
    params = {name: value for name, value in prolific().items() if name != missing}
    answer = arrive(site, "/prolific", params)
    assert (answer.status_code, missing in answer.text) == (422, True)
    assert site.raters() == []


def test_codes_of_prolific_tell_ends_apart(study):
    codes = study.design.prolific
    ends = ("finished", "closed", "screened_out", "failed")
    assert [completion_code(codes, end) for end in ends] == ["DONE1", "DONE1", "OUT2", "FAIL3"]
    assert parse_qs(urlsplit(completion_link(codes, "failed")).query) == {"cc": ["FAIL3"]}


def test_receipts_differ_by_rater_end_and_key(study):
    other = replace(study, secrets=study.secrets.model_copy(update={"key": "k" * 64}))
    codes = {
        receipt_code(which, rater, end)
        for which in (study, other)
        for rater in (1, 2)
        for end in ("finished", "failed")
    }
    assert len(codes) == 8
