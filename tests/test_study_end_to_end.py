"""Whole studies against a real server that is killed in the middle: what was acknowledged is there, and k is exact.

In the first, people with known preferences drive the real page in a browser, and the analysis finds what was put in.
"""

import asyncio
import contextlib
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import httpx
import numpy as np
import pytest
import yaml
from scipy.stats import norm
from sqlalchemy import create_engine, func, select, text
from typer.testing import CliRunner

from motionfocal.cli import app
from motionfocal.generation.gallery import Gallery
from motionfocal.study.analysis.simulation import Crowd, Population
from motionfocal.study.fieldwork.checks import right_side
from motionfocal.study.fieldwork.database import Database
from motionfocal.study.fieldwork.records import ImpressionRecord, RaterRecord, VoteRecord
from motionfocal.study.plan import Study

from .analysis_file import read_analysis
from .study_server import small_study

pytestmark = pytest.mark.slow


class Server:
    """``motionfocal study serve`` in a process of its own, which can be killed and started again on the same port."""

    def __init__(self, study: Study, database: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"
        command = [sys.executable, "-m", "motionfocal", "study", "serve", str(study.folder), "--port", str(self._port)]
        self._command = [*command, "--database", database]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start, without waiting until it answers."""
        self._process = subprocess.Popen(self._command)

    def kill(self) -> None:
        """As ``kill -9`` does."""
        if self._process:
            self._process.kill()
            self._process.wait()

    def wait(self) -> None:
        """Until it answers."""
        while True:
            assert self._process is not None and self._process.poll() is None, "the server ended by itself"
            with contextlib.suppress(httpx.TransportError):
                httpx.get(f"{self.url}/health").raise_for_status()
                return
            time.sleep(0.1)


@contextlib.contextmanager
def served(study, database):
    server = Server(study, database)
    server.start()
    try:
        server.wait()
        yield server
    finally:
        server.kill()


def run(*arguments: object) -> str:
    """What a command prints; it must end well."""
    result = CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def require_whole(database: Database, study: Study, acknowledged: list[str]) -> None:
    """What was acknowledged is there, once, and nothing else; each pair has its votes, no fewer and no more."""
    with database.read() as session:
        stored = list(session.scalars(select(VoteRecord.uid)))
        valid = session.execute(
            select(ImpressionRecord.target, func.count())
            .join(VoteRecord, VoteRecord.impression_id == ImpressionRecord.id)
            .where(ImpressionRecord.kind == "pair", VoteRecord.state == "valid")
            .group_by(ImpressionRecord.target)
        )
        counts = {row[0]: row[1] for row in valid}
        seen = Counter(
            tuple(row) for row in session.execute(select(ImpressionRecord.rater_id, ImpressionRecord.target))
        )
    assert sorted(stored) == sorted(acknowledged)
    assert counts == {pair.id: study.design.votes for pair in study.plan.pairs}
    assert max(seen.values()) == 1


# People in browsers

MODELS = ("motif", "dynamicrafter")
RATERS, AT_ONCE, ITEMS, VOTES = 40, 6, 24, 5
CARELESS = (2, 5, 9, 13, 16, 20, 23, 26)  # none of the last: all of these meet their checks before the pairs run out
OUTAGE = 100  # the answer at which the server is killed
POPULATION = Population(effect=1.0, side=1.3, item_sd=0.6, rater_sd=0.3)


class Even(np.random.Generator):
    """Its single numbers fill [0, 1) evenly, by steps of the golden ratio.

    Which rater gets which pair depends on who is quicker. With even draws the shares of all votes come out close to
    what was planted all the same, so that an interval that misses it is wrong, and not one of twenty.
    """

    def __init__(self, seed: int) -> None:
        super().__init__(np.random.PCG64(seed))
        self._steps = count(1)

    def random(self, size=None):
        golden = (5**0.5 - 1) / 2
        return (next(self._steps) * golden) % 1 if size is None else super().random(size)


def crowd_like_its_population(rng: np.random.Generator) -> Crowd:
    """Effects at even quantiles of their distributions instead of random ones: the sample is like the population."""

    def spread(sd, number):
        return sd * rng.permutation(norm.ppf((np.arange(number) + 0.5) / number))

    careless = np.isin(np.arange(RATERS), CARELESS)
    raters = np.zeros(RATERS)
    raters[~careless] = spread(POPULATION.rater_sd, RATERS - len(CARELESS))
    return Crowd(POPULATION, spread(POPULATION.item_sd, ITEMS), raters, careless)


class Minds:
    """What all these people answer. It knows what a task shows, which the browser does not."""

    def __init__(self, study: Study, database: Database) -> None:
        self._study, self._database = study, database
        self._rng = np.random.default_rng(5)
        self._crowd = crowd_like_its_population(self._rng)
        self._places = {pair.id: place for place, pair in enumerate(study.plan.pairs)}
        self._draws = {first_left: Even(int(first_left)) for first_left in (False, True)}

    def answer(self, rater: int, uid: str):
        """The careful know what is right in training and checks; the careless are wrong in every check."""
        from .driving import Said

        careless = self._crowd.careless[rater]
        with self._database.read() as session:
            task = session.scalars(select(ImpressionRecord).where(ImpressionRecord.uid == uid)).one()
            if task.kind == "check":
                right = right_side(session, self._study, task)
                return Said({"left": "right", "right": "left"}[right] if careless else right, ("overall quality",))
        if task.kind == "training":
            better = next(example.better for example in self._study.plan.training if example.id == task.target)
            return Said(better, ("overall quality", "object motion"))
        draws = self._rng if careless else self._draws[task.first_left]
        for_first, reasons = self._crowd.vote(self._places[task.target], rater, task.first_left, draws)
        return Said("left" if for_first == task.first_left else "right", reasons)


@pytest.fixture
def real_study(ti2v_bench, tmp_path) -> Study:
    """Two models' published clips on items that both have; short, and small, so that raters are quick."""
    for model in MODELS:
        videos = ti2v_bench / "videos" / model
        where = ("-b", ti2v_bench, "--name", model, "-o", tmp_path / model)
        run("gallery", "import", videos, *where, "--allow-missing")
    common = set.intersection(*({row.id for row in Gallery.open(tmp_path / model).rows()} for model in MODELS))
    assert len(common) == 51
    design = {
        "name": "end to end",
        "galleries": list(MODELS),
        "benchmark": str(ti2v_bench),
        "items": sorted(common)[: 2 * ITEMS : 2],
        "votes": VOTES,
        "tasks": 6,
        "checks": {"share": 1 / 3, "kinds": ["corrupted", "instructed"]},
        "training": {"tasks": 1, "right": 1},
        "form": {"height": 160, "width": 160, "frames": 8, "fps": 16},
    }
    (tmp_path / "design.yaml").write_text(yaml.safe_dump(design))
    run("study", "create", tmp_path / "design.yaml", "--out", tmp_path / "study")
    return Study.open(tmp_path / "study")


async def field_work(server: Server, minds: Minds, links: list[str], chromium: str, album: Path):
    """All take part, a few at a time, and at one answer the server is killed, to be there again soon after."""
    from playwright.async_api import async_playwright

    from .driving import Driver

    answers, restarts = count(1), []

    async def restart():
        await asyncio.sleep(2)
        server.start()

    def decider(rater):
        async def decide(uid):
            if next(answers) == OUTAGE:
                server.kill()
                restarts.append(asyncio.create_task(restart()))
            return minds.answer(rater, uid)

        return decide

    drivers = [
        Driver(link, decider(rater), keyboard=rater % 4 == 1, album=album if rater == 0 else None)
        for rater, link in enumerate(links)
    ]
    waiting = iter(drivers)

    async def seat(browser):
        for driver in waiting:
            context = await browser.new_context(viewport={"width": 1280, "height": 720})
            await driver.take_part(context)
            await context.close()

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        await asyncio.gather(*(seat(browser) for _ in range(AT_ONCE)))
        await asyncio.gather(*restarts)
        await browser.close()
    assert restarts, "the server was never killed"
    return drivers


@pytest.mark.long
def test_forty_people_in_browsers_and_the_analysis_finds_what_was_put_in(real_study, chromium, tmp_path):
    database = Database(real_study.database)
    with served(real_study, real_study.database) as server:
        links = run("study", "invite", real_study.folder, RATERS, "--public-url", server.url).split()
        drivers = asyncio.run(field_work(server, Minds(real_study, database), links, chromium, tmp_path))

    assert [trouble for driver in drivers for trouble in driver.troubles] == []
    assert sum(driver.unanswered for driver in drivers) > 0, "the outage kept no vote from its server"
    require_whole(database, real_study, [uid for driver in drivers for uid in driver.acknowledged])
    with database.read() as session:
        stored = session.execute(
            select(ImpressionRecord.uid, VoteRecord.answers).join(
                VoteRecord, VoteRecord.impression_id == ImpressionRecord.id
            )
        )
        found = {uid: (said[0]["choice"], set(said[0]["reasons"])) for uid, said in stored}
        names = {rater.key: rater.name for rater in session.scalars(select(RaterRecord))}
    assert found == {uid: (said.choice, set(said.reasons)) for driver in drivers for uid, said in driver.sent.items()}
    bad = {names[links[rater].rsplit("/", 1)[1]] for rater in CARELESS}
    assert {driver.link for driver in drivers if driver.ending == "Your part ends here"} == {links[k] for k in CARELESS}

    run("study", "analyze", real_study.folder, "--out", tmp_path / "analysis")
    analysis = read_analysis(tmp_path / "analysis" / "analysis.json")
    (table,) = analysis.tables
    (row,) = table.rows
    assert (row.model, row.baseline, row.items, row.votes) == (*MODELS, ITEMS, ITEMS * VOTES)
    require_found(row.vote_score, POPULATION.preference)
    require_found(table.side.left, POPULATION.left)
    assert table.side.p_value < 0.05
    assert set(analysis.excluded) == bad
    database.close()


def require_found(interval, planted):
    """The planted share is found, and on the right side of one half.

    A 95 % interval leaves the truth out in one run of twenty: here 1.7 times its width must hold it, and one of a
    thousand does not.
    """
    below, above = interval.estimate - interval.low, interval.high - interval.estimate
    assert interval.estimate > 0.5
    assert interval.estimate - 1.7 * below < planted < interval.estimate + 1.7 * above


# Many at once, without a browser


class Client:
    """A page as the server sees it: it sends a vote again until it is acknowledged."""

    def __init__(self, link: str, told: list[str]) -> None:
        self._link, self._told = link, told
        self.again = 0

    def take_part(self) -> None:
        """All tasks of one rater."""
        with httpx.Client(follow_redirects=True, timeout=60) as http:
            base = str(self._insist(http.get, self._link).url)
            for step, form in (("consent", {"version": "1"}), ("understood", {})):
                page = self._insist(http.post, f"{base}/{step}", data=form)
            while 'data-uid="' in page.text:
                impression = page.text.split('data-uid="')[1].split('"')[0]
                answers = [{"question": "overall", "choice": "left", "reasons": ["object motion"]}]
                vote = {"impression": impression, "uid": str(uuid.uuid4()), "answers": answers}
                self._insist(http.post, f"{base}/votes", json=vote)
                self._told.append(vote["uid"])
                page = self._insist(http.get, base)

    def _insist(self, ask, *arguments, **options) -> httpx.Response:
        while True:
            try:
                return ask(*arguments, **options).raise_for_status()
            except httpx.TransportError:
                self.again += 1
                time.sleep(0.2)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request, tmp_path):
    """A database of its own on either server."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/votes.sqlite"
    server = request.getfixturevalue("postgres")
    name = f"t{uuid.uuid4().hex}"
    engine = create_engine(server.replace("postgresql://", "postgresql+psycopg://"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return server.replace("/postgres", f"/{name}")


def test_thirty_at_once_and_the_server_killed_under_them(database_url, tmp_path):
    no_trials = {"checks": {"share": 0}, "training": {"tasks": 0, "right": 0}}
    study = small_study(tmp_path, votes=20, tasks=5, **no_trials)
    told: list[str] = []
    over = threading.Event()
    with served(study, database_url) as server:
        where = ("--public-url", server.url, "--database", database_url)
        clients = [Client(link, told) for link in run("study", "invite", study.folder, 30, *where).split()]

        def kill_in_the_middle():
            for enough in (30, 70):
                while len(told) < enough and not over.is_set():
                    time.sleep(0.001)
                server.kill()
                server.start()

        with ThreadPoolExecutor(31) as pool:
            killing = pool.submit(kill_in_the_middle)
            work = [pool.submit(client.take_part) for client in clients]
            try:
                for one in work:
                    one.result()
            finally:
                over.set()
            killing.result()
    assert sum(client.again for client in clients) > 0, "nobody noticed"
    database = Database(database_url)
    require_whole(database, study, told)
    database.close()
