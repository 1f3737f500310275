"""The admin pages: who gets in, what they tell, and what can be done there. And the figures behind them."""

import json
import math
import re
import shutil
import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import pytest
from argon2 import PasswordHasher
from sqlalchemy import func, select
from starlette.testclient import TestClient

from motionfocal.errors import StudyError
from motionfocal.study.design import Pay
from motionfocal.study.fieldwork.database import Database
from motionfocal.study.fieldwork.exclusion import forget
from motionfocal.study.fieldwork.monitor import overview
from motionfocal.study.fieldwork.records import EventRecord, ImpressionRecord, RaterRecord, VoteRecord
from motionfocal.study.fieldwork.sheet import rater_sheet
from motionfocal.study.plan import SECRETS, Secrets
from motionfocal.study.web.admin_auth import COOKIE, SESSION_SECONDS, set_password
from motionfocal.study.web.app import create_app
from motionfocal.study.web.context import ServerSettings

from .made_up_study import Voter, made_up_study, right_side
from .postgres import postgres_server
from .watched_study import MODELS, START, Filler, fill, let_rate, watched_study

PASSWORD = "a long enough password"
HASH = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1).hash(PASSWORD)
TABLES = (RaterRecord, ImpressionRecord, VoteRecord)


@dataclass
class Site:
    study: object
    database: Database
    client: TestClient
    time: list

    def log_in(self, password=PASSWORD):
        return self.client.post("/admin/login", data={"password": password}, follow_redirects=False)

    def form(self, path="/admin"):
        return re.search(r'name="form" value="([0-9a-f]+)"', self.client.get(path).text).group(1)

    def events(self, start="admin"):
        with self.database.read() as session:
            return [e for e in session.scalars(select(EventRecord)) if e.kind.startswith(start)]

    def counts(self):
        with self.database.read() as session:
            return [session.scalar(select(func.count()).select_from(table)) for table in TABLES]

    def votes_of(self, rater):
        with self.database.read() as session:
            query = select(VoteRecord, ImpressionRecord).join(ImpressionRecord).where(VoteRecord.rater_id == rater)
            return [vote.state for vote, shown in session.execute(query) if shown.kind == "pair"]

    def overview(self):
        with self.database.read() as session:
            return overview(session, self.study, self.time[0], np.random.default_rng(0))


def site_of(study, folder, *, url="http://study.test", public="", admin=HASH):
    study = replace(study, secrets=study.secrets.model_copy(update={"admin": admin}))
    database, time = Database(f"sqlite:///{folder / 'study.sqlite'}"), [START]
    app = create_app(study, database, settings=ServerSettings(public_url=public), clock=lambda: time[0])
    return Site(study, database, TestClient(app, base_url=url), time)


@pytest.fixture
def site(tmp_path):
    """A study with nobody in it."""
    return site_of(made_up_study(votes=2, tasks=4, pay=Pay(hourly=12)), tmp_path)


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A database in which ten people have voted, and the time after it."""
    path = tmp_path_factory.mktemp("filled") / "study.sqlite"
    database = Database(f"sqlite:///{path}")
    now = fill(watched_study(items=10, votes=5), database, np.random.default_rng(0), people=10, tasks=12)
    database.close()
    return path, now


@pytest.fixture
def watched(tmp_path, filled):
    """A study that is under way, seen by someone who has logged in."""
    path, now = filled
    shutil.copy(path, tmp_path)
    found = site_of(replace(watched_study(items=10, votes=5), folder=tmp_path), tmp_path)
    let_rate(found.study)
    found.time[0] = now
    found.log_in()
    return found


def rater_of(site, name):
    return next(row for row in site.overview().raters if row.name == name)


class TestDoor:
    def test_only_the_password_opens(self, site):
        for path in ("/admin", "/admin/", "/admin/raters/1", "/admin/invitations", "/admin/export/votes.csv"):
            answer = site.client.get(path, follow_redirects=False)
            assert (answer.status_code, answer.headers["location"]) == (303, "/admin/login")
        wrong = site.log_in(PASSWORD[:-1])
        assert wrong.status_code == 403
        assert "not the password" in wrong.text
        assert COOKIE not in site.client.cookies
        assert site.log_in().headers["location"] == "/admin"
        assert "Votes that count" in site.client.get("/admin").text
        assert [event.kind for event in site.events()] == ["admin: login failed", "admin: login"]
        assert PASSWORD[:-1] not in json.dumps([event.what for event in site.events()])

    def test_cookie_stays_here(self, site, tmp_path):
        cookie = site.log_in().headers["set-cookie"].lower()
        assert {"httponly", "samesite=strict", "path=/admin", f"max-age={SESSION_SECONDS}"} <= set(cookie.split("; "))
        assert "secure" not in cookie
        (tmp_path / "https").mkdir()
        secured = site_of(made_up_study(), tmp_path / "https", public="https://study.example.org")
        assert "; secure" in secured.log_in().headers["set-cookie"].lower()

    def test_guesses_are_slowed_down(self, site):
        assert [site.log_in(f"guess number {n}").status_code for n in range(7)] == [403] * 5 + [429] * 2
        refused = site.log_in()
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "60")
        assert len(site.events()) == 5, "what is refused at once is not written down"
        site.time[0] += 61
        assert site.log_in().status_code == 303

    def test_guesses_from_many_addresses_are_slowed_down(self, site):
        def guess(n):
            client = TestClient(site.client.app, base_url="http://study.test", client=(f"10.0.0.{n}", 1))
            return client.post("/admin/login", data={"password": f"guess number {n}"}).status_code

        assert [guess(n) for n in range(32)] == [403] * 30 + [429] * 2

    def test_guesses_at_the_same_time_are_slowed_down(self, site):
        with ThreadPoolExecutor(12) as pool:
            answers = list(pool.map(lambda n: site.log_in(f"guess number {n}").status_code, range(24)))
        assert sorted(answers) == [403] * 5 + [429] * 19

    def test_a_right_password_is_no_failure(self, site):
        assert [site.log_in().status_code for _ in range(8)] == [303] * 8

    def test_session_ends(self, site):
        site.log_in()
        site.time[0] += SESSION_SECONDS - 1
        assert site.client.get("/admin", follow_redirects=False).status_code == 200
        site.time[0] += 2
        assert site.client.get("/admin", follow_redirects=False).status_code == 303

    def test_logout_ends_the_session_and_not_only_the_cookie(self, site):
        site.log_in()
        stolen = site.client.cookies[COOKIE]
        assert site.client.post("/admin/logout", data={"form": site.form()}).status_code == 200
        assert COOKIE not in site.client.cookies
        site.client.cookies.set(COOKIE, stolen)
        assert site.client.get("/admin", follow_redirects=False).status_code == 303
        site.client.cookies.clear()
        site.log_in()
        assert site.client.get("/admin", follow_redirects=False).status_code == 200

    @pytest.mark.parametrize("change", [{"key": "x" * 40}, {"admin": PasswordHasher().hash("another password")}])
    def test_cookie_of_other_secrets_is_forged(self, site, tmp_path, change):
        site.log_in()
        other = replace(site.study, secrets=site.study.secrets.model_copy(update=change))
        app = create_app(other, site.database, settings=ServerSettings(), clock=lambda: START)
        client = TestClient(app, base_url="http://study.test", cookies={COOKIE: site.client.cookies[COOKIE]})
        assert client.get("/admin", follow_redirects=False).status_code == 303

    def test_no_password_no_pages(self, tmp_path, caplog):
        closed = site_of(made_up_study(), tmp_path, admin="")
        assert "no admin password" in caplog.text
        assert [closed.client.get(path).status_code for path in ("/admin", "/admin/login")] == [404, 404]
        assert closed.log_in("").status_code == 404

    def test_pages_stand_in_no_frame(self, site):
        policy = site.client.get("/admin/login").headers["content-security-policy"]
        assert "frame-ancestors 'none'" in policy


class TestPassword:
    def test_is_stored_as_a_hash_that_only_the_owner_reads(self, tmp_path):
        secrets = Secrets(key="k" * 40, salt="s" * 40)
        (tmp_path / SECRETS).write_text(secrets.model_dump_json())
        set_password(tmp_path, PASSWORD)
        text = (tmp_path / SECRETS).read_text()
        stored = Secrets.model_validate_json(text)
        assert PASSWORD not in text
        assert PasswordHasher().verify(stored.admin, PASSWORD)
        assert (stored.key, stored.salt) == (secrets.key, secrets.salt)
        assert stat.S_IMODE((tmp_path / SECRETS).stat().st_mode) == 0o600
        assert [path.name for path in tmp_path.iterdir()] == [SECRETS]

    @pytest.mark.parametrize("password", ["", "nine char", "x" * 201])
    def test_must_be_long_but_not_endless(self, tmp_path, password):
        (tmp_path / SECRETS).write_text(Secrets(key="k" * 40, salt="s" * 40).model_dump_json())
        with pytest.raises(StudyError, match=f"{len(password)} characters"):
            set_password(tmp_path, password)
        assert Secrets.model_validate_json((tmp_path / SECRETS).read_text()).admin == ""

    def test_needs_a_study(self, tmp_path):
        with pytest.raises(StudyError, match="is this a study's folder"):
            set_password(tmp_path, PASSWORD)
        assert not list(tmp_path.iterdir())


class TestForms:
    POSTS = (
        "/admin/raters/2/exclude",
        "/admin/raters/2/include",
        "/admin/invitations",
        "/admin/invitations/code00-000000/close",
        "/admin/logout",
    )

    @pytest.mark.parametrize("path", POSTS)
    def test_need_the_sessions_token(self, watched, path):
        other = TestClient(watched.client.app, base_url="http://study.test")
        other.post("/admin/login", data={"password": PASSWORD})
        foreign = re.search(r'name="form" value="([0-9a-f]+)"', other.get("/admin").text).group(1)
        before, states = watched.counts(), watched.votes_of(2)
        for form in ({}, {"form": ""}, {"form": "0" * 64}, {"form": "ü"}, {"form": foreign}):
            assert watched.client.post(path, data={"reason": "r", "count": 1, **form}).status_code == 403
        assert (watched.counts(), watched.votes_of(2)) == (before, states)
        assert {event.kind for event in watched.events()} == {"admin: login"}
        assert watched.client.get("/admin", follow_redirects=False).status_code == 200

    @pytest.mark.parametrize("path", POSTS)
    def test_need_a_session(self, watched, path):
        form = watched.form()
        watched.client.cookies.clear()
        assert watched.client.post(path, data={"reason": "r", "count": 1, "form": form}).status_code == 403

    def test_from_another_site_are_refused(self, watched):
        answer = watched.client.post(
            self.POSTS[0], data={"reason": "r", "form": watched.form()}, headers={"Origin": "https://elsewhere.test"}
        )
        assert answer.status_code == 403
        assert "void" not in watched.votes_of(2)


class TestExclusion:
    def test_is_recorded_and_undone_and_deletes_nothing(self, watched):
        before, votes, row = watched.counts(), watched.overview().votes, rater_of(watched, "r0002")
        answer = watched.client.post(
            f"/admin/raters/{row.id}/exclude",
            data={"reason": " watched television ", "form": watched.form()},
            follow_redirects=False,
        )
        assert (answer.status_code, answer.headers["location"]) == (303, f"/admin/raters/{row.id}")
        assert set(watched.votes_of(row.id)) == {"void"}
        assert watched.counts() == before
        after = watched.overview()
        assert after.votes == votes - row.votes
        assert after.screening.excluded == 1
        page = watched.client.get(f"/admin/raters/{row.id}").text
        assert "watched television" in page
        assert "excluded by admin: watched television" in page

        form = {"reason": "it was the wrong rater", "form": watched.form()}
        watched.client.post(f"/admin/raters/{row.id}/include", data=form)
        assert watched.overview().votes == votes
        assert rater_of(watched, "r0002") == row
        assert watched.counts() == before
        assert "it was the wrong rater" in watched.client.get(f"/admin/raters/{row.id}").text
        done = [(e.kind, e.rater_id, e.at, e.what["reason"]) for e in watched.events() if "reason" in e.what]
        assert done == [
            ("admin: exclude", None, watched.time[0], "watched television"),
            ("admin: include", None, watched.time[0], "it was the wrong rater"),
        ]

    def test_by_the_checks_is_told_and_undone(self, tmp_path):
        study = made_up_study(items=10, votes=2, tasks=10, checks={"share": 0.5}, training={"tasks": 0, "right": 0})
        site = site_of(study, tmp_path)

        def wrong(shown):
            right = right_side(study, shown)
            return {"left": "right", "right": "left"}[right] if shown.kind == "check" else right

        voter = Voter(site.database, study, "k", START, wrong)
        while voter.vote(START):
            pass
        assert "valid" not in site.votes_of(voter.id)
        site.log_in()
        page = site.client.get(f"/admin/raters/{voter.id}")
        assert (page.status_code, "failed: attention checks" in page.text) == (200, True)
        action = re.search(r'action="(/admin/raters/\d+/include)"', page.text).group(1)
        site.client.post(action, data={"reason": "the clips did not load", "form": site.form()})
        assert set(site.votes_of(voter.id)) == {"valid"}
        assert "included by admin: the clips did not load" in site.client.get(f"/admin/raters/{voter.id}").text

    @pytest.mark.parametrize("reason", ["", "  ", "\0 not storable"])
    def test_needs_a_reason(self, watched, reason):
        data = {"reason": reason, "form": watched.form()}
        assert watched.client.post("/admin/raters/2/exclude", data=data).status_code == 422
        assert "void" not in watched.votes_of(2)
        assert {event.kind for event in watched.events()} == {"admin: login"}

    def test_of_who_withdrew_cannot_be_undone(self, watched):
        name, votes = "r0002", watched.votes_of(2)
        with watched.database.write() as session:
            forget(session, name, watched.time[0])
        for change in ("exclude", "include"):
            data = {"reason": "slow", "form": watched.form()}
            answer = watched.client.post(f"/admin/raters/2/{change}", data=data)
            assert (answer.status_code, f"{name} withdrew" in answer.text) == (422, True)
        assert watched.votes_of(2) == ["void"] * len(votes)
        page = watched.client.get("/admin/raters/2").text
        assert "forgotten" in page
        assert "/admin/raters/2/" not in page, "there is nothing to decide"

    def test_cannot_pass_for_a_withdrawal(self, watched):
        data = {"reason": " withdrew ", "form": watched.form()}
        answer = watched.client.post("/admin/raters/2/exclude", data=data)
        assert (answer.status_code, "study forget STUDY r0002" in answer.text) == (422, True)

    def test_of_nobody_is_refused(self, watched):
        assert watched.client.get("/admin/raters/4711").status_code == 404
        data = {"reason": "r", "form": watched.form()}
        assert watched.client.post("/admin/raters/4711/exclude", data=data).status_code == 422
        assert watched.client.post("/admin/raters/2/delete", data=data).status_code == 404

    @pytest.mark.parametrize("rater", ["-1", "x", "9" * 25, "9" * 5000, str(2**31)])
    def test_of_a_number_that_no_database_holds_is_of_nobody(self, watched, rater):
        assert watched.client.get(f"/admin/raters/{rater}").status_code == 404
        data = {"reason": "r", "form": watched.form()}
        assert watched.client.post(f"/admin/raters/{rater}/exclude", data=data).status_code == 404


class TestPages:
    def test_comments_and_labels_are_escaped(self, site):
        evil = "<script>alert(1)</script>\"'&"
        voter = Voter(site.database, site.study, "k", START, lambda shown: right_side(site.study, shown))
        for second in range(3):
            voter.vote(START + 10 * second)
        ballot = replace(voter.ballot(voter.take(START + 40)), comment=evil, device={"agent": evil})
        voter.send(ballot, START + 50)
        site.log_in()
        site.client.post(f"/admin/raters/{voter.id}/exclude", data={"reason": evil, "form": site.form()})
        site.client.post("/admin/invitations", data={"count": 1, "label": evil, "form": site.form()})
        pages = [site.client.get(path).text for path in ("/admin", f"/admin/raters/{voter.id}", "/admin/invitations")]
        for page in pages:
            assert "<script" not in page
            assert "&lt;script&gt;alert(1)" in page
        assert "&lt;script&gt;alert(1)&lt;/script&gt;&#34;&#39;&amp;</p>" in pages[1]

    def test_nothing_inline(self, watched):
        for path in ("/admin", "/admin/raters/1", "/admin/invitations", "/admin/login"):
            page = watched.client.get(path).text
            assert not re.search(r"<script|<style|\sstyle=|\son[a-z]+=", page), "the policy would refuse it"
        assert watched.client.get("/admin/admin.css").headers["content-type"].startswith("text/css")

    def test_it_renews_itself_until_paused(self, watched):
        assert '<meta http-equiv="refresh" content="30">' in watched.client.get("/admin").text
        assert "refresh" not in re.sub("refresh=false", "", watched.client.get("/admin?refresh=false").text)
        assert "refresh" not in watched.client.get("/admin/raters/1").text, "it would empty the form"

    def test_raters_can_be_sorted(self, watched):
        def order(by):
            return re.findall(r'href="/admin/raters/(\d+)">r', watched.client.get(f"/admin?by={by}").text)

        assert order("name") == sorted(order("name"), key=int)
        by_left = {str(row.id): abs(row.left - 0.5) for row in watched.overview().raters}
        distances = [by_left[id_] for id_ in order("left")]
        assert distances == sorted(distances, reverse=True)
        assert watched.client.get("/admin?by=anything").status_code == 422

    def test_warns_of_stopping_early(self, watched):
        assert "Do not stop on a good number" in watched.client.get("/admin").text

    def test_two_questions(self, tmp_path):
        emu = site_of(watched_study(items=6, votes=3, preset="emu"), tmp_path)
        emu.time[0] = fill(emu.study, emu.database, np.random.default_rng(0), people=4, tasks=8)
        emu.log_in()
        page = emu.client.get("/admin").text
        assert page.count("TI2V score so far: Which video") == 2
        assert ">faithfulness</span>" in emu.client.get("/admin/raters/1").text

    def test_an_empty_study(self, site):
        site.log_in()
        page = site.client.get("/admin").text
        assert "Nobody has come yet" in page
        assert "0 <small>of 12" in page


class TestInvitations:
    def test_links_work_and_tell_who_came(self, site):
        site.log_in()
        made = site.client.post("/admin/invitations", data={"count": 3, "label": "lab", "form": site.form()})
        links = re.findall(r"http://study.test/join/[\w-]+", made.text)
        assert len(set(links)) == 3
        assert len(links) == 6, "once in the table, once among the unused"
        assert "/r/" in site.client.get(links[0], follow_redirects=False).headers["location"]
        page = site.client.get("/admin/invitations").text
        assert page.count(links[0]) == 1
        assert ">r0001</a>" in page

    def test_end_when_they_were_told_to(self, site):
        site.log_in()
        form = {"count": 1, "days": 2, "form": site.form()}
        link = re.search(r"http://study.test/join/[\w-]+", site.client.post("/admin/invitations", data=form).text)[0]
        site.time[0] += 2 * 86_400 + 1
        site.log_in()
        assert site.client.get("/admin/invitations").text.count(link) == 1, "no longer among the unused"
        assert site.client.get(link, follow_redirects=False).status_code == 403

    def test_can_be_closed(self, site):
        site.log_in()
        made = site.client.post("/admin/invitations", data={"count": 2, "days": 3, "form": site.form()}).text
        link, other = dict.fromkeys(re.findall(r"http://study.test/join/[\w-]+", made))
        site.client.get(link)
        action = f"/admin/invitations/{link.rsplit('/', 1)[1]}/close"
        assert f'action="{action}"' in made
        page = site.client.post(action, data={"form": site.form()}).text
        assert (page.count(">closed</td>"), f'action="{action}"' in page) == (1, False)
        answers = [site.client.get(each, follow_redirects=False).status_code for each in (link, other)]
        assert answers == [403, 303], "also who came by it before does not come by it again"
        assert [event.what["code"] in link for event in site.events("admin: close")] == [True]
        unknown = site.client.post("/admin/invitations/none/close", data={"form": site.form()})
        assert unknown.status_code == 404

    def test_their_labels_are_written_down_once(self, site):
        site.log_in()
        site.client.post("/admin/invitations", data={"count": 1, "label": "Jane", "form": site.form()})
        assert "Jane" in site.client.get("/admin/invitations").text
        assert "Jane" not in json.dumps([event.what for event in site.events()])

    def test_have_the_public_address(self, tmp_path):
        public = site_of(made_up_study(), tmp_path, url="https://inside.test", public="https://study.example.org")
        public.log_in()
        headers = {"Origin": "https://study.example.org"}
        form = {"count": 1, "form": public.form()}
        made = public.client.post("/admin/invitations", data=form, headers=headers)
        assert "https://study.example.org/join/" in made.text

    @pytest.mark.parametrize(
        "wrong", [{"count": 0}, {"count": 501}, {"days": -1}, {"label": "x" * 121}, {"label": "\0"}]
    )
    def test_out_of_range(self, site, wrong):
        site.log_in()
        assert site.client.post("/admin/invitations", data={"form": site.form(), "count": 1} | wrong).status_code == 422


class TestExport:
    def test_people_and_others_stand_apart(self, watched):
        watched.client.post("/admin/raters/2/exclude", data={"reason": "r", "form": watched.form()})
        files = {}
        for table in ("votes", "left_out", "checks", "machines"):
            answer = watched.client.get(f"/admin/export/{table}.csv")
            assert answer.headers["content-type"] == "text/csv; charset=utf-8"
            assert f'filename="{table}.csv"' in answer.headers["content-disposition"]
            files[table] = answer.text.splitlines()[1:]
        assert len(files["votes"]) == watched.overview().votes
        assert len(files["machines"]) == watched.overview().machines["metric:object_motion"] == 2 * 30
        assert not [row for row in (*files["votes"], *files["left_out"]) if "metric" in row]
        assert all("r0002" not in row for row in files["votes"])
        assert sum("r0002" in row for row in files["left_out"]) == len(watched.votes_of(2))
        assert [e.what["table"] for e in watched.events("admin: export")] == [*files]

    def test_of_nothing_known(self, watched):
        assert watched.client.get("/admin/export/secrets.csv").status_code == 404


class TestOverview:
    def test_counts_agree_with_the_database(self, watched):
        found = watched.overview()
        with watched.database.read() as session:
            people = set(session.scalars(select(RaterRecord.id)))
            rows = session.execute(select(VoteRecord, ImpressionRecord).join(ImpressionRecord)).all()
        counted = [shown for vote, shown in rows if shown.kind == "pair" and vote.state == "valid"]
        assert found.votes == sum(shown.rater_id in people for shown in counted) == sum(r.votes for r in found.raters)
        assert found.wanted == 3 * 10 * 5
        assert [(pair.model, pair.baseline) for pair in found.pairs] == [
            (MODELS[0], MODELS[1]),
            (MODELS[0], MODELS[2]),
            (MODELS[1], MODELS[2]),
        ]
        graded = [shown for _, shown in rows if shown.kind == "check"]
        assert sum(c.passed + c.failed + c.ungraded for c in found.checks) == len(graded)
        assert sum(found.screening.states.values()) == len(people) == 10

    def test_machines_change_no_figure_of_people(self, watched):
        alone = watched.overview()
        let_rate(watched.study, "metric:another")
        both = watched.overview()
        assert len(both.machines) == len(alone.machines) + 1
        assert repr(replace(both, machines={})) == repr(replace(alone, machines={})), "repr: NaN differs from itself"
        page = watched.client.get("/admin").text
        assert page.index("metric:another") > page.index("Machine raters")

    def test_bad_raters_are_marked(self, watched):
        marked = {row.name: row.odd for row in watched.overview().raters}
        assert marked["r0006"] >= {"left", "seconds", "flags"}, "always left, four seconds, flagged"
        assert sum("left" in odd for odd in marked.values()) <= 2

    @pytest.mark.parametrize(("preset", "left", "odd"), [("motif", 11, False), ("emu", 11, False), ("emu", 14, True)])
    def test_two_answers_about_one_showing_are_one_choice_of_a_side(self, tmp_path, preset, left, odd):
        """11 of 14 is nothing rare (p 0.06), and 22 of 28 that are no more than these would be (p 0.004)."""
        checked = {"checks": {"share": 0}, "training": {"tasks": 0, "right": 0}}
        study = made_up_study(items=14, preset=preset, **checked)
        site = site_of(study, tmp_path)
        sides = iter(["left"] * left + ["right"] * (14 - left))
        voter = Voter(site.database, study, "k", START, lambda shown: next(sides))
        while voter.vote(START):
            pass
        (row,) = site.overview().raters
        assert row.left == left / 14
        assert ("left" in row.odd) == odd

    def test_agreement_with_the_others_leaves_out_the_rater(self, tmp_path):
        site = site_of(made_up_study(items=10, votes=3, tasks=10, checks={"share": 0}), tmp_path)

        def voter(n, wanted):
            choose = lambda shown: "left" if shown.first_left == wanted else "right"  # noqa: E731
            return Voter(site.database, site.study, f"k{n}", START, choose)

        raters = [voter(0, True), voter(1, True), voter(2, False)]
        for rater in raters:
            for place in range(13):
                rater.vote(START + 20 * place)
        first, second, third = site.overview().raters
        assert third.votes == 10
        assert (third.agrees, third.compared) == (0.0, 10), "two against one"
        assert math.isnan(first.agrees), "one against one is no majority"
        assert math.isnan(second.agrees)
        assert "agrees" in third.odd

    def test_pay(self, site):
        """Two people: 20 min and 40 min without a pause of more than the lease (20 min), which counts as that."""
        with site.database.write() as session:
            filler = Filler(site.study, session, np.random.default_rng(0))
            pairs = site.study.plan.pairs
            for name, minutes in (("a", [10, 20]), ("b", [20, 5 * 60])):
                rater = filler.rater(name, "link", "working", START, "")
                for number, minute in enumerate(minutes):
                    at = START + 60 * minute
                    pair = pairs[number]
                    shown = filler.show(rater, "pair", pair.id, number + 1, pair.first, pair.second, True, at - 9)
                    filler.vote(rater, shown, "left", at, 9, [])
        pay = site.overview().pay
        assert pay.hours == pytest.approx(1.0)
        assert pay.cost == pytest.approx(12.0)
        assert pay.expected_hours == pytest.approx(12 / 4), "4 of 12 votes took an hour"
        assert pay.expected_cost == pytest.approx(36.0)

    @pytest.mark.slow
    def test_the_same_on_postgresql(self, watched):
        with postgres_server() as url:
            there = Database(url)
            with watched.database.read() as source, there.write() as target:
                for table in (*TABLES, EventRecord):
                    columns = table.__table__.columns.keys()
                    for row in source.scalars(select(table).order_by(table.id)):
                        target.add(table(**{name: getattr(row, name) for name in columns}))
                    target.flush()
            with there.read() as session:
                found = overview(session, watched.study, watched.time[0], np.random.default_rng(0))
                sheet = rater_sheet(session, watched.study, 2)
            there.close()
        assert repr(found) == repr(watched.overview()), "repr: NaN differs from itself"
        with watched.database.read() as session:
            assert sheet == rater_sheet(session, watched.study, 2)

    def test_raters_still_needed(self, tmp_path):
        study = made_up_study(items=30, votes=4, tasks=20, checks={"share": 0.1})
        site = site_of(study, tmp_path)
        assert site.overview().needed == math.ceil(120 / 18), "a rater makes 20 tasks, 2 of them checks"
        Voter(site.database, study, "k", START)
        assert site.overview().needed == math.ceil((120 - 18) / 18), "one is at work"
        site.time[0] += 21 * 60
        assert site.overview().needed == math.ceil(120 / 18), "and has gone"

    def test_open_tasks_until_their_lease_is_over(self, site):
        voter = Voter(site.database, site.study, "k", START)
        for place in range(3):
            voter.vote(START + place)
        task = voter.take(START + 5)
        assert task.kind == "pair"
        assert sum(pair.leases for pair in site.overview().pairs) == 1
        site.time[0] = task.lease + 1
        assert sum(pair.leases for pair in site.overview().pairs) == 0
