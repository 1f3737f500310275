"""A small study of real clips, its application, people who take part in it, and a real server for it."""

import contextlib
import csv
import json
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import httpx
from fastapi import FastAPI
from sqlalchemy import select
from starlette.testclient import TestClient

from motionfocal.benchmarks import load_benchmark
from motionfocal.generation.gallery import INDEX, GalleryRow
from motionfocal.generation.normalizing import NormalForm
from motionfocal.study.create import create_study
from motionfocal.study.design import MTurk, Prolific, StudyDesign
from motionfocal.study.fieldwork.database import Database
from motionfocal.study.fieldwork.people import invite
from motionfocal.study.fieldwork.records import ImpressionRecord, RaterRecord, VoteRecord
from motionfocal.study.plan import Study
from motionfocal.study.web.app import create_app
from motionfocal.study.web.context import Context, ServerSettings
from motionfocal.study.web.serving import server_of
from motionfocal.study.web.tokens import RaterTokens
from motionfocal.video import write_clip, write_image

from .clips import moving

MODELS = ("Quillfire", "Wolframite")
FORM = NormalForm(height=32, width=32, frames=8, fps=8)
LASTS = FORM.frames / FORM.fps
START = 1_800_000_000.0


def small_design(folder: Path, **changes: object) -> StudyDesign:
    """Six items on three pictures, two models; galleries and benchmark are made in ``folder``."""
    bench = folder / "bench"
    for k in range(3):
        write_image(bench / f"picture{k}.png", moving(k, 2, (32, 48))[0])
    with (bench / "prompts.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["id", "image", "prompt"])
        table.writerows([f"item{k}", f"picture{k // 2}.png", f"a square moves, way {k}"] for k in range(6))
    items = load_benchmark(bench).items
    for place, model in enumerate(MODELS):
        for k, item in enumerate(items):
            write_clip(folder / model / f"{item.id}.mp4", moving(10 * place + k, 8, (32, 48)), 8)
        rows = [GalleryRow(i.id, i.image, i.text, f"{i.id}.mp4", model, (32, 48), 8, 8.0, 50, 0) for i in items]
        (folder / model / INDEX).write_text("".join(json.dumps(asdict(row)) + "\n" for row in rows))
    given = {
        "name": "small",
        "galleries": tuple(folder / model for model in MODELS),
        "benchmark": str(bench),
        "votes": 2,
        "tasks": 6,
        "checks": {"share": 0.5},
        "training": {"tasks": 2, "right": 1, "rounds": 2},
        "form": FORM,
    }
    return StudyDesign.model_validate(given | changes)


def small_study(folder: Path, **changes: object) -> Study:
    """The study of ``small_design``, made in ``folder``."""
    return create_study(small_design(folder, **changes), folder / "study")


def on_crowds(study: Study) -> Study:
    """The same study, offered on both crowds."""
    prolific = Prolific(completed="DONE1", screened_out="OUT2", failed="FAIL3")
    design = study.design.model_copy(update={"mturk": MTurk(reward="3.50"), "prolific": prolific})
    return replace(study, design=design)


class Clock:
    """The time of a study, which passes when it is told to."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now

    def let_pass(self, seconds: float) -> None:
        self.now += seconds


@dataclass
class Site:
    """A study's application, with what is behind it."""

    study: Study
    database: Database
    clock: Clock
    app: FastAPI
    client: TestClient
    tokens: RaterTokens

    def invitation(self, **options: float) -> str:
        with self.database.write() as session:
            return invite(session, 1, self.clock(), **options)[0].code

    def visitor(self) -> "Visitor":
        """Someone who has just opened an invitation."""
        answer = self.client.get(f"/join/{self.invitation()}", follow_redirects=False)
        assert answer.status_code == 303, answer.text
        return Visitor(self, answer.headers["location"])

    def at_work(self) -> "Visitor":
        """Someone who has passed the training, and has the first task open."""
        visitor = self.visitor()
        visitor.train()
        return visitor

    def votes(self) -> list[VoteRecord]:
        with self.database.read() as session:
            return list(session.scalars(select(VoteRecord).order_by(VoteRecord.id)))

    def raters(self) -> list[RaterRecord]:
        with self.database.read() as session:
            return list(session.scalars(select(RaterRecord).order_by(RaterRecord.id)))


@dataclass
class Visitor:
    """A rater's browser, as far as the server sees it; ``base`` is the rater's address."""

    site: Site
    base: str

    def page(self) -> httpx.Response:
        return self.site.client.get(self.base)

    def begin(self) -> None:
        """Agree, and read the instructions."""
        version = self.site.study.design.texts.consent_version
        for step, form in (("consent", {"version": version}), ("understood", {})):
            answer = self.site.client.post(f"{self.base}/{step}", data=form, follow_redirects=False)
            assert (answer.status_code, answer.headers["location"]) == (303, self.base)

    def train(self) -> None:
        self.begin()
        for example in self.site.study.plan.training:
            assert self.vote(example.better).status_code == 200
        assert self.record().state == "working"

    def work(self) -> None:
        """Answer all that is left, well."""
        while (task := self.open_task()) is not None:
            self.site.clock.let_pass(10)
            assert self.send(self.body(task.uid, self.good_choice(task))).status_code == 200

    def task(self) -> ImpressionRecord:
        """The task that the page shows. There must be one."""
        found = self.open_task()
        assert found is not None
        return found

    def open_task(self) -> ImpressionRecord | None:
        """The task that the page shows, None at the end."""
        assert self.page().status_code == 200
        with self.site.database.read() as session:
            mine = ImpressionRecord.rater_id == self.record().id
            return session.scalar(select(ImpressionRecord).where(mine, ImpressionRecord.state == "open"))

    def good_choice(self, task: ImpressionRecord) -> str:
        """What passes every check: as instructed, the clip that is right, the same clip as before; else left."""
        plan = self.site.study.plan
        if task.instructed:
            return task.instructed
        if task.kind == "training":
            return next(example.better for example in plan.training if example.id == task.target)
        if task.kind == "check" and task.repeats is None:
            return "right" if plan.check(task.target).right == task.right else "left"
        if task.repeats is not None:
            with self.site.database.read() as session:
                before = session.scalar(select(VoteRecord).where(VoteRecord.impression_id == task.repeats))
            assert before is not None
            return {"left": "right", "right": "left"}[str(before.answers[0]["choice"])]
        return "left"

    def record(self) -> RaterRecord:
        """The rater, as stored: whose address this is."""
        with self.site.database.read() as session:
            raters = {rater.id: rater for rater in session.scalars(select(RaterRecord))}
        return raters[self.site.tokens.rater(self.base.removeprefix("/r/"))]

    def body(self, impression: str, choice: str = "left", **changes: object) -> dict[str, object]:
        """A vote as the page sends it."""
        answers = [
            {"question": question.id, "choice": choice, "reasons": [question.reasons[0].id]}
            for question in self.site.study.design.asked
        ]
        seen = {"left": 1, "right": 1, "active": 12.5}
        device = {"width": 1280, "height": 720, "speed": 1}
        vote = {"impression": impression, "uid": str(uuid.uuid4()), "answers": answers, "comment": ""}
        return vote | {"seen": seen, "device": device} | changes

    def send(self, body: object, headers: dict[str, str] | None = None) -> httpx.Response:
        headers = {"Content-Type": "application/json"} | (headers or {})
        return self.site.client.post(f"{self.base}/votes", content=json.dumps(body), headers=headers)

    def vote(self, choice: str = "left", after: float = 10.0) -> httpx.Response:
        """Look at the task for ``after`` seconds, then answer it."""
        task = self.task()
        self.site.clock.let_pass(after)
        return self.send(self.body(task.uid, choice))


@contextlib.contextmanager
def open_site(study: Study, database: Path, **settings: object) -> Iterator[Site]:
    """A study's site, with a database of its own in the file ``database``."""
    store, clock, served = Database(f"sqlite:///{database}"), Clock(), ServerSettings.model_validate(settings)
    app = create_app(study, store, settings=served, clock=clock)
    tokens = RaterTokens(Context(study, store, served, clock))
    with TestClient(app, raise_server_exceptions=False) as client:
        yield Site(study, store, clock, app, client, tokens)
    store.close()


@contextlib.contextmanager
def serving(app: FastAPI, settings: ServerSettings | None = None) -> Iterator[tuple[str, int]]:
    """A real server for ``app`` on a free port; gives host and port."""
    server = server_of(app, settings or ServerSettings(), host="127.0.0.1", port=0)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.01)
    host, port = server.servers[0].sockets[0].getsockname()
    try:
        yield host, port
    finally:
        server.should_exit = True
        thread.join()


def raw(http: httpx.Client, request: bytes) -> bytes:
    """Send bytes as they are; all that comes back until the server closes."""
    with socket.create_connection((http.base_url.host, http.base_url.port), timeout=20) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(65536), b""))


@contextlib.contextmanager
def live_site(study: Study, folder: Path) -> Iterator[tuple]:
    """A real server: its site, a rater at work whose task is open, and a client of it."""
    with (
        open_site(study, folder / "votes.sqlite") as site,
        serving(site.app) as (host, port),
        httpx.Client(base_url=f"http://{host}:{port}") as http,
    ):
        yield site, site.at_work(), http
