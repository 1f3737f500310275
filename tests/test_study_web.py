"""A rater's way through a study, over HTTP: from the invitation to the end."""

import uuid
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from motionfocal.errors import RefusedError, StudyError
from motionfocal.study.fieldwork.database import Database
from motionfocal.study.fieldwork.exclusion import exclude, forget
from motionfocal.study.fieldwork.records import STUDY_EVENTS, EventRecord, ImpressionRecord, InvitationRecord
from motionfocal.study.web.app import create_app
from motionfocal.study.web.ballots import VoteBody
from motionfocal.study.web.context import ServerSettings

from .study_server import LASTS, Visitor, open_site, serving, small_study


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return small_study(tmp_path_factory.mktemp("study"))


@pytest.fixture
def site(study, tmp_path):
    with open_site(study, tmp_path / "votes.sqlite") as site:
        yield site


def test_a_rater_goes_from_the_invitation_to_the_end(site):
    visitor = site.visitor()
    texts = site.study.design.texts
    assert texts.consent[:40] in visitor.page().text
    assert site.client.post(f"{visitor.base}/consent", data={"version": "0"}).status_code == 409
    assert visitor.record().state == "invited"
    visitor.begin()
    for done, example in enumerate(site.study.plan.training):
        wrong = {"left": "right", "right": "left"}[example.better]
        answer = visitor.vote(choice=example.better if done else wrong)
        feedback = {"right": bool(done), "why": example.why}
        assert answer.json() == {"status": "recorded", "feedback": feedback, "next": visitor.base}
    for number in range(1, site.study.design.tasks + 1):
        task = visitor.task()
        assert (task.kind != "training", task.number) == (True, number)
        assert task.uid in visitor.page().text
        assert visitor.vote(visitor.good_choice(task)).json() == {
            "status": "recorded",
            "feedback": None,
            "next": visitor.base,
        }
    assert texts.thanks[:20] in visitor.page().text
    assert visitor.record().state == "finished"
    assert len(site.votes()) == len(site.study.plan.training) + site.study.design.tasks
    assert not any(vote.flags for vote in site.votes())


def test_who_fails_the_training_is_turned_away(site):
    visitor = site.visitor()
    visitor.begin()
    for _ in range(site.study.design.training.rounds):
        for example in site.study.plan.training:
            assert visitor.vote({"left": "right", "right": "left"}[example.better]).json()["feedback"]["right"] is False
    assert visitor.record().state == "screened_out"
    assert visitor.page().status_code == 200
    assert visitor.open_task() is None


def test_who_is_excluded_gets_no_more_tasks(site):
    visitor = site.at_work()
    task = visitor.task()
    with site.database.write() as session:
        exclude(session, visitor.record().id, "asleep", "admin", site.clock())
    assert task.uid not in visitor.page().text
    assert visitor.send(visitor.body(task.uid)).status_code == 200
    assert site.votes()[-1].state == "void"


def test_who_withdraws_is_told_so_and_nothing_more_is_stored(site):
    code = site.invitation()
    visitor = Visitor(site, site.client.get(f"/join/{code}", follow_redirects=False).headers["location"])
    visitor.train()
    task, name = visitor.task(), visitor.record().name
    with site.database.write() as session:
        session.get(InvitationRecord, code).label = "Jane"
        forget(session, name, site.clock())
    assert "You have withdrawn" in visitor.page().text
    answer = visitor.send(visitor.body(task.uid, comment="I am Jane"))
    assert (answer.status_code, "withdrawn" in answer.json()["error"]) == (409, True)
    for step, sent in (("events", {"json": [{"kind": "replay"}]}), ("consent", {"data": {"version": "1"}})):
        assert site.client.post(f"{visitor.base}/{step}", **sent).status_code == 409
    assert site.client.post(f"{visitor.base}/understood").status_code == 409
    assert site.client.get(f"/join/{code}").status_code == 403
    with site.database.read() as session:
        assert session.get(InvitationRecord, code).label == ""
        assert [event.kind for event in session.query(EventRecord)] == ["forgotten"]
    rater = visitor.record()
    assert (rater.seed, rater.session, code in rater.key) == (0, {}, False)
    assert all(vote.comment == "" and vote.device == {} for vote in site.votes())


def test_the_same_task_stands_after_a_reload_and_on_another_day(site):
    code = site.invitation()
    first = site.client.get(f"/join/{code}", follow_redirects=False).headers["location"]
    visitor = site.visitor()
    visitor.base = first
    visitor.train()
    task = visitor.task()
    assert visitor.task().uid == task.uid
    site.clock.let_pass(600)
    visitor.base = site.client.get(f"/join/{code}", follow_redirects=False).headers["location"]
    assert visitor.base != first
    assert visitor.task().uid == task.uid


def test_an_invitation_that_is_unknown_or_over_is_refused(site):
    unknown = site.client.get("/join/nobody")
    assert (unknown.status_code, "not known" in unknown.text) == (404, True)
    assert site.client.get("/join/..%00").status_code == 404
    code = site.invitation(expires=site.clock() + 60)
    assert site.client.get(f"/join/{code}", follow_redirects=False).status_code == 303
    site.clock.let_pass(61)
    assert site.client.get(f"/join/{code}").status_code == 403
    assert len(site.raters()) == 1


def test_a_tired_finger_agrees_twice_and_begins_once(site):
    visitor = site.at_work()
    task = visitor.task()
    visitor.begin()
    assert visitor.record().state == "working"
    assert visitor.task().uid == task.uid


def test_a_vote_is_stored_as_it_was_sent(site):
    visitor = site.at_work()
    body = visitor.body(visitor.task().uid, "right", comment="Grüße 🐟, =1+1")
    assert visitor.send(body).status_code == 200
    vote = site.votes()[-1]
    assert vote.uid == body["uid"]
    assert vote.answers == body["answers"]
    assert vote.comment == body["comment"]
    assert (vote.plays_left, vote.plays_right, vote.active) == (1, 1, 12.5)
    assert vote.device == body["device"]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"uid": "7"}, "uid: "),
        ({"answers": []}, "answers: "),
        ({"answers": [{"question": "overall", "choice": "both", "reasons": []}]}, "answers.0.choice: "),
        ({"answers": [{"question": "overall", "choice": "tie", "reasons": []}]}, "tie is not offered"),
        ({"answers": [{"question": "mood", "choice": "left", "reasons": []}]}, "expected one to each of overall"),
        ({"answers": [{"question": "overall", "choice": "left", "reasons": []}]}, "needs at least one"),
        ({"answers": [{"question": "overall", "choice": "left", "reasons": ["luck"]}]}, "only of image alignment"),
        ({"comment": "x" * 2001}, "comment: "),
        ({"comment": "a\0b"}, "comment: "),
        ({"comment": "half a character: \ud83d"}, "comment: "),
        ({"seen": {"left": -1}}, "seen.left: "),
        ({"model": "Quillfire"}, "model: "),
        ({"device": {f"key{k}": 1 for k in range(99)}}, "device: "),
        ({"device": {"width": {"deep": [1]}}}, "device.width"),
    ],
)
def test_a_vote_of_a_wrong_form_is_told_what_is_wrong(site, change, text):
    visitor = site.at_work()
    before = len(site.votes())
    answer = visitor.send(visitor.body(visitor.task().uid) | change)
    assert answer.status_code == 422
    assert text in answer.json()["error"]
    assert len(site.votes()) == before


@pytest.mark.parametrize(
    "body", [b"", b"{", b"null", b"[1]", b'"vote"', b"[" * 30_000, b"9" * 20_000, b"\xff\xfe", b"NaN"]
)
def test_what_is_no_vote_at_all_is_refused_as_json(site, body):
    visitor = site.at_work()
    json_type = {"Content-Type": "application/json"}
    for address in ("votes", "events"):
        answer = site.client.post(f"{visitor.base}/{address}", content=body, headers=json_type)
        assert answer.status_code in (400, 422)
        assert answer.json()["error"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=300)
@given(
    changes=st.dictionaries(
        st.sampled_from(["impression", "uid", "answers", "comment", "seen", "device", "other"]), JSON, max_size=4
    )
)
def test_a_body_is_a_ballot_that_any_database_stores_or_a_validation_error(changes):
    answers = [{"question": "overall", "choice": "left", "reasons": ["object motion"]}]
    body = {"impression": "i", "uid": str(uuid.uuid4()), "answers": answers} | changes
    try:
        ballot = VoteBody.model_validate(body).ballot()
    except ValidationError:
        return
    for text in (ballot.impression, ballot.comment, *ballot.device):
        assert "\0" not in text
        text.encode()
    assert len(ballot.impression) <= 40 and len(ballot.comment) <= 2000


def test_events_are_written_down_and_cannot_pass_for_the_studys_own(site):
    visitor = site.at_work()
    sent = [{"kind": "replay", "impression": visitor.task().uid, "what": {}}, {"kind": "speed", "what": {"speed": 0.5}}]
    assert site.client.post(f"{visitor.base}/events", json=sent).status_code == 204
    for kind in (*STUDY_EVENTS, "admin: login", "", "x" * 41):
        answer = site.client.post(f"{visitor.base}/events", json=[{"kind": kind}])
        assert (answer.status_code, "0.kind" in answer.json()["error"]) == (422, True)
    assert site.client.post(f"{visitor.base}/events", json=[{"kind": "replay"}] * 101).status_code == 422
    with site.database.read() as session:
        events = session.query(EventRecord).all()
    assert [(event.kind, event.what) for event in events] == [("replay", {}), ("speed", {"speed": 0.5})]
    assert events[0].impression == sent[0]["impression"]
    assert events[0].rater_id == visitor.record().id


def test_an_acknowledged_vote_is_on_disk(study, tmp_path):
    """A second connection to the file sees it while the server still runs."""
    with open_site(study, tmp_path / "votes.sqlite") as site:
        visitor = site.at_work()
        uid = visitor.task().uid
        assert visitor.send(visitor.body(uid)).status_code == 200
        other = Database(f"sqlite:///{tmp_path / 'votes.sqlite'}")
        with other.read() as session:
            assert session.query(ImpressionRecord).filter_by(uid=uid).one().state == "answered"
        other.close()


def test_a_vote_that_the_database_cannot_take_is_not_acknowledged(site, monkeypatch):
    visitor = site.at_work()
    body, before = visitor.body(visitor.task().uid), len(site.votes())

    def full(*_: object) -> None:
        raise OSError("disk full at /srv/secret/path")

    monkeypatch.setattr("motionfocal.study.web.rater_routes.record", full)
    answer = visitor.send(body)
    assert (answer.status_code, "safe" in answer.json()["error"], "secret" in answer.text) == (500, True, False)
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    monkeypatch.undo()
    assert len(site.votes()) == before
    assert visitor.send(body).status_code == 200


def test_all_pages_of_all_states_have_their_static_files(site):
    visitor = site.visitor()
    pages = [site.client.get("/"), visitor.page()]
    visitor.train()
    pages += [visitor.page(), site.client.get("/nowhere")]
    found = {part.split('"')[0] for page in pages for part in page.text.split("/static/")[1:]}
    assert found
    for name in found:
        answer = site.client.get(f"/static/{name}")
        assert answer.status_code == 200
        kinds = {"css": "text/css", "js": "text/javascript"}
        assert answer.headers["content-type"].startswith(kinds.get(name.rsplit(".", 1)[-1], "image/svg+xml"))


def test_a_clip_that_is_gone_is_our_mistake_and_gives_no_path_away(site):
    visitor = site.at_work()
    task = visitor.task()
    path = site.study.path(site.study.plan.clip(task.left).file)
    aside = path.rename(path.with_suffix(".aside"))
    answer = site.client.get(f"{visitor.base}/clips/{task.uid}/left.mp4")
    aside.rename(path)
    assert (answer.status_code, path.stem in answer.text) == (500, False)
    assert site.client.get(f"{visitor.base}/clips/{task.uid}/left.mp4").status_code == 200


def test_health_is_of_the_database_too(site, monkeypatch):
    assert site.client.get("/health").json() == {"status": "ok"}

    def broken() -> None:
        raise OSError("gone")

    monkeypatch.setattr(site.database, "read", broken)
    assert site.client.get("/health").status_code == 500


def test_an_unknown_address_is_answered_by_a_page_of_ours(site):
    for address in ("/nowhere", "/r", "/docs", "/openapi.json", "/static/", "/join", "/mturk", "/prolific", "/preview"):
        answer = site.client.get(address, follow_redirects=False)
        assert (answer.status_code, answer.headers["content-type"]) == (404, "text/html; charset=utf-8")
        assert site.study.design.texts.title in answer.text
    assert site.client.delete("/").status_code == 405


def test_a_database_serves_one_study(site, tmp_path):
    (tmp_path / "other").mkdir()
    other = small_study(tmp_path / "other")
    with pytest.raises(StudyError, match="belongs to another study"):
        create_app(other, site.database, settings=ServerSettings())


def test_a_public_address_is_scheme_and_host():
    for bad in ("study.example.org", "ftp://study.example.org", "https://example.org/study", "https://"):
        with pytest.raises(ValidationError, match="scheme and host"):
            ServerSettings(public_url=bad)
    assert ServerSettings(public_url="https://study.example.org/").public_url == "https://study.example.org"


def test_many_people_at_once_on_a_real_server(site):
    """Twelve raters on as many threads: no vote lost, none double, no pair with a vote too many."""
    visitors = [site.at_work() for _ in range(12)]
    with serving(site.app) as (host, port), httpx.Client(base_url=f"http://{host}:{port}") as http:

        def work(visitor):
            acknowledged = []
            while (task := visitor.open_task()) is not None:
                assert task.uid in http.get(visitor.base).text
                body = visitor.body(task.uid, visitor.good_choice(task))
                answers = [http.post(f"{visitor.base}/votes", json=body) for _ in range(2)]
                assert [answer.status_code for answer in answers] == [200, 200]
                acknowledged.append(body["uid"])
            return acknowledged

        with ThreadPoolExecutor(12) as pool:
            acknowledged = [uid for uids in pool.map(work, visitors) for uid in uids]
    assert len(acknowledged) >= len(site.study.plan.pairs) * site.study.design.votes
    stored = [vote.uid for vote in site.votes() if vote.uid in set(acknowledged)]
    assert sorted(stored) == sorted(acknowledged)
    with site.database.read() as session:
        answered = session.query(ImpressionRecord).filter_by(kind="pair", state="answered").all()
    counts = [sum(1 for shown in answered if shown.target == pair.id) for pair in site.study.plan.pairs]
    assert counts == [site.study.design.votes] * len(site.study.plan.pairs)


def test_a_vote_before_the_clips_have_ended_is_flagged_and_kept(site):
    visitor = site.at_work()
    assert visitor.vote(after=LASTS / 2).status_code == 200
    assert visitor.vote(after=LASTS * 2).status_code == 200
    fast, slow = site.votes()[-2:]
    assert ("too fast" in fast.flags, "too fast" in slow.flags) == (True, False)
    assert fast.state == "valid"


def test_refused_errors_carry_their_status():
    assert RefusedError("no").status == 403
