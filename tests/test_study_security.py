"""What somebody who means ill sends to a study, and what comes of it: one test for each item of the bar."""

import json
import re
import sys
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.exceptions import HTTPException

from motionfocal.errors import RefusedError
from motionfocal.study.web.context import Context, ServerSettings
from motionfocal.study.web.guards import RateLimit
from motionfocal.study.web.tokens import RaterTokens, serializer

from .study_server import LASTS, MODELS, START, Visitor, live_site, on_crowds, open_site, raw, small_study

HOUR = 3600.0


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return small_study(tmp_path_factory.mktemp("study"))


@pytest.fixture
def site(study, tmp_path):
    with open_site(study, tmp_path / "votes.sqlite") as site:
        yield site


@pytest.fixture(scope="module")
def live(study, tmp_path_factory):
    with live_site(study, tmp_path_factory.mktemp("live")) as live:
        yield live


def flipped(token: str, place: int) -> str:
    return token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]


# ---- tokens ----------------------------------------------------------------------------------------------------------


def test_a_forged_token_opens_nothing(site):
    visitor = site.at_work()
    uid, token = visitor.task().uid, visitor.base.removeprefix("/r/")
    for forged in (
        "1",
        "MQ",
        f"{token}x",
        token[:-1],
        flipped(token, 0),
        flipped(token, len(token) - 20),
        "é",
        "a.b.c",
    ):
        base = f"/r/{forged}"
        for address in (
            "",
            f"/clips/{uid}/left.mp4",
            f"/pictures/{uid}",
            "/examples/1/left.mp4",
            "/examples/1/picture",
        ):
            assert site.client.get(base + address).status_code == 403, (forged, address)
        for address, form in (("/consent", {"version": "1"}), ("/understood", {})):
            assert site.client.post(base + address, data=form).status_code == 403
        assert Visitor(site, base).send(visitor.body(uid)).status_code == 403
        assert site.client.post(f"{base}/events", json=[]).status_code == 403
    assert not [vote for vote in site.votes() if vote.impression_id == visitor.task().id]


@settings(max_examples=200)
@given(text=st.text(max_size=80))
def test_no_text_is_a_token_by_chance(study, text):
    tokens = RaterTokens(Context(study, None, ServerSettings(), lambda: 0.0))
    with pytest.raises(RefusedError) as refused:
        tokens.rater(text)
    assert refused.value.status == 403


def test_an_expired_token_says_what_to_do_and_the_invitation_makes_a_new_one(site):
    code = site.invitation()
    visitor = Visitor(site, site.client.get(f"/join/{code}", follow_redirects=False).headers["location"])
    visitor.train()
    uid = visitor.task().uid
    site.clock.let_pass(72 * HOUR - 60)  # the training took some seconds
    assert visitor.page().status_code == 200
    site.clock.let_pass(60)
    for answer in (visitor.page(), site.client.get(f"{visitor.base}/clips/{uid}/left.mp4")):
        assert answer.status_code == 403
        assert "has expired" in answer.text and "Open the link that you were given once more" in answer.text
    vote = visitor.send(visitor.body(uid))
    assert (vote.status_code, "has expired" in vote.json()["error"]) == (403, True)
    visitor.base = site.client.get(f"/join/{code}", follow_redirects=False).headers["location"]
    assert visitor.send(visitor.body(visitor.task().uid)).status_code == 200


def test_a_token_is_good_for_one_study_one_key_and_one_purpose(study, site):
    context = Context(study, site.database, ServerSettings(), site.clock)
    rater = site.visitor().record().id
    renamed = replace(study, plan=study.plan.model_copy(update={"name": "another"}))
    rekeyed = replace(study, secrets=study.secrets.model_copy(update={"key": "k" * 64}))
    foreign = [RaterTokens(replace(context, study=other)).of(rater) for other in (renamed, rekeyed)]
    foreign.append(serializer(context, "admin", study.plan.fingerprint()).dumps(rater))
    foreign.append(serializer(context, "rater", study.plan.fingerprint()).dumps({"rater": rater}))
    for token in foreign:
        assert site.client.get(f"/r/{token}").status_code == 403
    assert site.client.get(f"/r/{RaterTokens(context).of(rater)}").status_code == 200
    assert site.client.get(f"/r/{RaterTokens(context).of(rater + 99)}").status_code == 403


# ---- votes -----------------------------------------------------------------------------------------------------------


def test_a_replayed_vote_is_one_vote_and_another_answer_is_refused(site):
    visitor = site.at_work()
    body, before = visitor.body(visitor.task().uid), len(site.votes())
    answers = [visitor.send(body) for _ in range(3)]
    assert {(answer.status_code, answer.text) for answer in answers} == {(200, answers[0].text)}
    assert len(site.votes()) == before + 1
    other = visitor.body(body["impression"], "right")
    for changed in (other, other | {"uid": body["uid"]}):
        assert visitor.send(changed).status_code == 409
    assert visitor.send(visitor.body(visitor.task().uid) | {"uid": body["uid"]}).status_code == 409
    assert [vote.answers for vote in site.votes()[before:]] == [body["answers"]]


def test_a_vote_on_a_task_of_another_rater_is_refused(site):
    mine, theirs = site.at_work(), site.at_work()
    before = len(site.votes())
    for uid in (theirs.task().uid, "guessed", "1", "../1"):
        assert mine.send(mine.body(uid)).status_code == 404
    assert len(site.votes()) == before
    assert theirs.send(theirs.body(theirs.task().uid)).status_code == 200


def test_a_vote_faster_than_the_clips_is_flagged_and_not_dropped(site):
    visitor = site.at_work()
    assert visitor.vote(after=LASTS - 0.1).status_code == 200
    assert visitor.vote(after=LASTS + 0.1).status_code == 200
    assert ["too fast" in vote.flags for vote in site.votes()[-2:]] == [True, False]


def test_votes_in_haste_have_to_wait_each_rater_alone(study, tmp_path):
    with open_site(study, tmp_path / "votes.sqlite", votes_per_minute=6) as site:
        visitor, other = site.at_work(), site.visitor()
        body = visitor.body(visitor.task().uid)
        site.clock.let_pass(60)
        assert [visitor.send(body).status_code for _ in range(6)] == [200] * 6
        hasty = visitor.send(body)
        assert (hasty.status_code, hasty.headers["retry-after"]) == (429, "10")
        assert "wait 10 s" in hasty.json()["error"]
        other.begin()
        assert other.vote(after=0).status_code == 200
        site.clock.let_pass(9)
        assert visitor.send(body).status_code == 429
        site.clock.let_pass(1)
        assert visitor.send(body).status_code == 200


def test_reports_in_haste_have_to_wait(study, tmp_path):
    with open_site(study, tmp_path / "votes.sqlite", events_per_minute=2) as site:
        visitor = site.visitor()
        answers = [site.client.post(f"{visitor.base}/events", json=[]) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [204, 204, 429]


@given(waits=st.lists(st.floats(0, 60), min_size=1, max_size=60), size=st.integers(1, 10))
def test_nobody_does_more_than_the_limit_in_any_minute_and_one_burst(waits, size):
    """A token bucket: within any span at most its size, and as many as flow in meanwhile."""
    now = START
    limit, taken = RateLimit(size, lambda: now), []
    for wait in waits:
        now += wait
        try:
            limit.take("rater")
        except HTTPException as refused:
            now += float(refused.headers["Retry-After"])
            limit.take("rater")  # as it said
        taken.append(now)
    for first, start in enumerate(taken):
        for last, end in enumerate(taken[first:], first):
            assert last - first + 1 <= size * (1 + (end - start) / 60) + 1e-3


def test_the_limit_forgets_those_who_have_gone():
    now = 0.0
    limit = RateLimit(1, lambda: now)
    for key in range(10_001):
        limit.take(str(key))
    now = 61.0
    limit.take("late")
    assert len(limit._full_again) == 1


# ---- what a browser is made to send by another site ------------------------------------------------------------------

CROSS_SITE = (
    {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://testserver.evil.example"},
    {"Origin": "http://testserver:8000"},
    {"Origin": ""},
    {"Origin": "http://["},
)
OWN = ({}, {"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}, {"Origin": "http://testserver"})


@pytest.mark.parametrize("headers", CROSS_SITE, ids=str)
def test_a_cross_site_post_is_refused(site, headers):
    visitor = site.visitor()
    form = {"version": site.study.design.texts.consent_version}
    assert site.client.post(f"{visitor.base}/consent", data=form, headers=headers).status_code == 403
    assert visitor.record().state == "invited"
    visitor.train()
    before = len(site.votes())
    answer = visitor.send(visitor.body(visitor.task().uid), headers)
    assert (answer.status_code, "another site" in answer.json()["error"]) == (403, True)
    assert len(site.votes()) == before


@pytest.mark.parametrize("headers", OWN, ids=str)
def test_a_post_of_our_own_pages_is_taken(site, headers):
    visitor = site.at_work()
    assert visitor.send(visitor.body(visitor.task().uid), headers).status_code == 200


def test_behind_a_proxy_the_public_address_is_ours(study, tmp_path):
    with open_site(study, tmp_path / "votes.sqlite", public_url="https://study.example.org") as site:
        visitor = site.at_work()
        body = visitor.body(visitor.task().uid)
        assert visitor.send(body, {"Origin": "https://study.example.org"}).status_code == 200
        assert visitor.send(body, {"Origin": "https://study.example.com"}).status_code == 403


def test_a_vote_must_be_sent_as_json(site):
    """What a form of another site can send without asking first."""
    visitor = site.at_work()
    body = json.dumps(visitor.body(visitor.task().uid))
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        answer = site.client.post(f"{visitor.base}/votes", content=body, headers={"Content-Type": kind})
        assert answer.status_code == 422


# ---- bodies ----------------------------------------------------------------------------------------------------------

MEGABYTE = 1 << 20


def test_a_body_that_declares_ten_megabytes_is_refused_before_it_is_sent(live):
    _, visitor, http = live
    head = f"POST {visitor.base}/votes HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    answer = raw(http, f"{head}Content-Length: {10 * MEGABYTE}\r\n\r\n".encode())  # and not one byte of it
    assert answer.startswith(b"HTTP/1.1 413")
    assert b'{"error":"More was sent than the study takes (65536 bytes)."}' in answer
    assert b"content-security-policy" in answer.lower()


def test_a_body_without_an_end_is_refused_when_it_is_too_long(live):
    """Chunked, and so without a length; the server answers though the last chunk never comes."""
    site, visitor, http = live
    before = len(site.votes())
    head = f"POST {visitor.base}/votes HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    chunk = b"4000\r\n" + b" " * 0x4000 + b"\r\n"
    answer = raw(http, f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + 5 * chunk)
    assert answer.startswith(b"HTTP/1.1 413")
    assert len(site.votes()) == before


def test_ten_megabytes_of_each_form_are_refused(site):
    visitor = site.at_work()

    def chunks():
        for _ in range(10):
            yield b" " * MEGABYTE

    for address in ("votes", "events", "consent", "understood"):
        for body in (b"x" * 10 * MEGABYTE, chunks()):
            answer = site.client.post(f"{visitor.base}/{address}", content=body)
            assert answer.status_code == 413
    assert site.client.request("GET", visitor.base, content=b"x" * MEGABYTE).status_code == 413


def test_a_chunked_vote_of_usual_size_is_taken(live):
    _, visitor, http = live
    body = json.dumps(visitor.body(visitor.task().uid)).encode()

    def chunks():
        yield body[:50]
        yield body[50:]

    headers = {"Content-Type": "application/json"}
    assert http.post(f"{visitor.base}/votes", content=chunks(), headers=headers).status_code == 200


# ---- headers, and what pages give away -------------------------------------------------------------------------------

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self' blob:;"
    " connect-src 'self'; form-action {actions}; base-uri 'none'; frame-ancestors {ancestors}"
)


def test_every_answer_has_the_security_headers(site):
    visitor = site.at_work()
    uid = visitor.task().uid
    answers = [
        visitor.page(),
        site.client.get("/"),
        site.client.get("/nowhere"),
        site.client.get(f"{visitor.base}/clips/{uid}/left.mp4"),
        site.client.get("/static/study.css"),
        visitor.send({}),
        site.client.post(f"{visitor.base}/votes", content=b"x" * MEGABYTE),
        site.client.post("/", headers={"Origin": "https://evil.example"}),
    ]
    for answer in answers:
        assert answer.headers["content-security-policy"] == POLICY.format(actions="'self'", ancestors="'none'")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "same-origin"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert "strict-transport-security" not in answer.headers
        assert "access-control-allow-origin" not in answer.headers
        assert "set-cookie" not in answer.headers
        assert answer.headers["cache-control"]
    assert all(answer.headers["cache-control"] == "no-store" for answer in (*answers[:3], *answers[5:]))


def test_frames_are_for_those_whom_the_settings_name_and_never_around_the_admin_pages(study, tmp_path):
    hosts = "'self' https://www.mturk.com"
    for offered, options, ancestors, actions in (
        (study, {"frame_ancestors": ("https://lab.example.org",)}, "https://lab.example.org", "'self'"),
        (on_crowds(study), {}, "https://*.mturk.com", hosts),
        (on_crowds(study), {"sandbox": True}, "https://*.mturk.com", f"{hosts} https://workersandbox.mturk.com"),
    ):
        with open_site(offered, tmp_path / "votes.sqlite", **options) as site:
            page, admin = site.client.get("/"), site.client.get("/admin/login")
        assert page.headers["content-security-policy"] == POLICY.format(actions=actions, ancestors=ancestors)
        assert "frame-ancestors 'none'" in admin.headers["content-security-policy"]


def test_behind_https_browsers_stay_with_it(study, tmp_path):
    with open_site(study, tmp_path / "votes.sqlite", public_url="https://study.example.org") as site:
        assert site.client.get("/").headers["strict-transport-security"] == "max-age=31536000"


def test_pages_have_neither_scripts_nor_styles_in_them(site):
    visitor = site.visitor()
    pages = [visitor.page().text]
    site.client.post(f"{visitor.base}/consent", data={"version": "1"})
    pages.append(visitor.page().text)
    site.client.post(f"{visitor.base}/understood")
    pages += [visitor.page().text, site.client.get("/nowhere").text]
    for page in pages:
        assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:|https?://(?!www\.w3\.org)", page)
        assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", page))


def test_no_model_is_named_in_a_whole_session(study, tmp_path):
    """Pages, JSON, headers and the bytes of all media; nor are the files, the pairs, or the right answers."""
    with open_site(on_crowds(study), tmp_path / "votes.sqlite") as site:
        seen: list[tuple[str, bytes]] = []
        send = site.client.send

        def recorded(request, **options):
            answer = send(request, **options)
            seen.append((str(request.url), repr(answer.headers.raw).encode() + answer.content))
            return answer

        site.client.send = recorded
        visitor = site.visitor()
        site.client.post(f"{visitor.base}/consent", data={"version": "1"})
        for number in range(1, len(study.plan.examples) + 1):
            media(site, f"{visitor.base}/examples/{number}", "left.mp4", "right.mp4", "picture")
            media(site, f"/preview/examples/{number}", "left.mp4", "right.mp4", "picture")
        visitor.page()
        site.client.post(f"{visitor.base}/understood")
        kinds = set()
        while (task := visitor.open_task()) is not None:
            kinds.add(task.kind)
            media(site, f"{visitor.base}/clips/{task.uid}", "left.mp4", "right.mp4")
            media(site, f"{visitor.base}/pictures", task.uid)
            assert visitor.send(visitor.body(task.uid, visitor.good_choice(task))).status_code == 200
        site.client.get("/mturk")
        site.client.get("/nowhere")
    assert kinds == {"training", "pair", "check"}
    plan = study.plan
    hidden = {*MODELS, *(model.lower() for model in MODELS), str(study.folder), "Lavf", "x264", *sys.path[-1:]}
    hidden |= {clip.id for clip in plan.clips} | {clip.file for clip in plan.clips}
    hidden |= {pair.id for pair in plan.pairs} | {check.id for check in plan.checks}
    for url, sent in seen:
        assert not [name for name in hidden if name.encode() in sent or name in url], url
    assert sum(url.endswith(".mp4") for url, _ in seen) > 20


def media(site, base, *names):
    for name in names:
        answer = site.client.get(f"{base}/{name}")
        assert answer.status_code == 200
        assert answer.headers["content-type"] == ("video/mp4" if name.endswith(".mp4") else "image/png")


def test_a_page_of_a_check_is_the_page_of_a_pair(site):
    """But for the text, the numbers and the ids nothing in it tells which it is."""
    pages: dict[str, set[str]] = {"pair": set(), "check": set()}
    for _ in range(3):
        visitor = site.at_work()
        while (task := visitor.open_task()) is not None:
            page = visitor.page().text.replace(task.uid, "UID").replace(visitor.base, "BASE")
            for shown in site.study.plan.shown:
                page = page.replace(shown.text, "TEXT")
            page = re.sub(r'For this one please choose the (left|right)[^<"]*', "TEXT", page)
            pages[task.kind].add(re.sub(r"\d+", "N", page))
            visitor.send(visitor.body(task.uid, visitor.good_choice(task)))
    assert pages["check"] and pages["check"] <= pages["pair"]
