"""A small server that shows the annotator's pages as the study's does: made-up views, real clips, and no study.

``python -m tests.study_page_server BENCH PORT`` serves it, to look at the pages by hand.
"""

import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, RedirectResponse

from motionfocal.study.design import Texts
from motionfocal.study.questions import PRESETS
from motionfocal.study.web.pages import STATIC, render, static_text
from motionfocal.study.web.views import (
    ConsentView,
    DoneView,
    ExampleView,
    InstructionsView,
    PreviewView,
    ProblemView,
    TaskView,
    WaitingView,
)

BASE = "/r/token"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self' blob:;"
    " connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'self'"
)
TEXTS = Texts(contact="study@example.org")
ITEMS = (
    ("horse4", "horse4_a_horse_jumping_0.mp4", "a horse jumping"),
    ("fish3", "fish3_a_clownfish_turning_direction_0.mp4", "a clownfish turning direction"),
    ("flower1", "flower1_a_flower_opening_0.mp4", "a flower opening"),
    (
        "balloon3",
        "balloon3_the_balloons_drifting_higher_into_the_sky_0.mp4",
        "the balloons drifting higher into the sky",
    ),
)
EXAMPLES = (
    ExampleView(
        1,
        "a clownfish turning direction",
        "left",
        "The fish turns, as the text says; on the right it swims straight on.",
        ("text alignment", "object motion"),
    ),
    ExampleView(
        2,
        "a flower opening",
        "right",
        "The flower opens and keeps its shape; on the left it hardly moves.",
        ("object motion", "overall quality"),
    ),
)


def task(number: int = 0, **changes: object) -> TaskView:
    """The task with this number, which asks the paper's question unless it is changed."""
    plain = TaskView(
        texts=TEXTS,
        base=BASE,
        uid=f"task{number}",
        training=False,
        done=11 + number,
        total=40,
        text=ITEMS[number % len(ITEMS)][2],
        instructed="",
        questions=PRESETS["motif"],
        ties=False,
        frames=16,
        fps=8.0,
    )
    return replace(plain, **changes)


@dataclass
class Desk:
    """What the server does next, and what it was told. Votes are kept by their uid, as the study keeps them."""

    bench: Path
    tasks: list[TaskView] = field(default_factory=list)
    votes: dict[str, dict[str, object]] = field(default_factory=dict)
    posts: list[str] = field(default_factory=list)
    events: list[dict[str, object]] = field(default_factory=list)
    failing: int = 0
    """So many posts of votes are answered by 503."""
    lost: int = 0
    """So many votes are stored, and then answered by 503."""
    broken_clips: int = 0
    """So many requests for clips are answered by 503."""
    slowness: float = 0.0
    """Seconds that a clip takes."""
    refusal: str = ""
    expired: set[str] = field(default_factory=set)
    feedback: dict[str, object] | None = None

    def task(self) -> TaskView | None:
        answered = {vote["impression"] for vote in self.votes.values()}
        return next((task for task in self.tasks if task.uid not in answered), None)


def create_app(desk: Desk) -> FastAPI:
    """The pages under ``BASE``, and each kind of page by itself under ``/show/``."""
    app = FastAPI()
    shown = {
        "consent": ConsentView(TEXTS, BASE),
        "instructions": InstructionsView(TEXTS, BASE, PRESETS["motif"], EXAMPLES, 3, False),
        "done": DoneView(TEXTS, BASE, "finished", code="C1A2B3", link="https://app.example.org/complete"),
        "mturk": DoneView(TEXTS, BASE, "finished", submit="/handed-in", fields={"assignmentId": "A1", "done": "40"}),
        "screened": DoneView(TEXTS, BASE, "screened_out"),
        "failed": DoneView(TEXTS, BASE, "failed", code="F1"),
        "closed": DoneView(TEXTS, BASE, "closed"),
        "withdrawn": DoneView(TEXTS, BASE, "withdrawn"),
        "waiting": WaitingView(TEXTS, BASE),
        "waiting-briefly": WaitingView(TEXTS, BASE, seconds=1),
        "problem": ProblemView(TEXTS, "This address has expired.\n\nOpen the link that you were given once more."),
        "preview": PreviewView(TEXTS, BASE, PRESETS["motif"], EXAMPLES),
    }

    @app.middleware("http")
    async def _headers(request: Request, call_next):
        response = await call_next(request)
        response.headers.setdefault("Content-Security-Policy", POLICY)
        response.headers["Cache-Control"] = "no-store"
        return response

    @app.get("/show/{kind}")
    def show(kind: str) -> HTMLResponse:
        return HTMLResponse(render(shown[kind]))

    @app.get("/health")
    def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/framed")
    def framed() -> HTMLResponse:
        head = '<!doctype html><title>crowd</title><link rel="icon" href="/static/icon.svg">'
        page = head + f'<iframe src="{BASE}" width="1000" height="700"></iframe>'
        response = HTMLResponse(page)
        response.headers["Content-Security-Policy"] = "default-src 'none'; frame-src 'self'; img-src 'self'"
        return response

    @app.get("/r/{token}")
    def page(token: str) -> HTMLResponse:
        view = desk.task()
        return HTMLResponse(render(shown["done"] if view is None else replace(view, base=f"/r/{token}")))

    @app.post("/r/{token}/votes")
    async def votes(token: str, request: Request) -> JSONResponse:
        body = await request.json()
        desk.posts.append(body["uid"])
        if token in desk.expired:
            return JSONResponse({"error": "This address has expired."}, 403)
        if desk.failing:
            desk.failing -= 1
            return JSONResponse({"error": "busy"}, 503)
        if desk.refusal:
            return JSONResponse({"error": desk.refusal}, 409)
        desk.votes.setdefault(body["uid"], body)
        if desk.lost:
            desk.lost -= 1
            return JSONResponse({"error": "busy"}, 503)
        return JSONResponse({"status": "recorded", "feedback": desk.feedback, "next": f"/r/{token}"})

    @app.post("/r/{token}/events", status_code=204)
    async def events(request: Request) -> None:
        desk.events.extend(await request.json())

    @app.post("/handed-in")
    async def handed_in(request: Request) -> HTMLResponse:
        return HTMLResponse("handed in: " + (await request.body()).decode())

    @app.post("/r/{token}/{step}")
    def go_on(step: str) -> RedirectResponse:
        return RedirectResponse(BASE, 303)

    def clip(number: int, side: str) -> Response:
        if desk.broken_clips:
            desk.broken_clips -= 1
            return Response(status_code=503)
        time.sleep(desk.slowness)
        model = {"left": "motif", "right": "cogvideox"}[side]
        return FileResponse(desk.bench / "videos" / model / ITEMS[number % len(ITEMS)][1], media_type="video/mp4")

    def picture(number: int) -> FileResponse:
        return FileResponse(desk.bench / "images" / f"{ITEMS[number % len(ITEMS)][0]}.png")

    @app.get("/r/{token}/clips/task{number}/{side}.mp4")
    def clip_of_task(number: int, side: str) -> Response:
        return clip(number, side)

    @app.get("/r/{token}/pictures/task{number}")
    def picture_of_task(number: int) -> FileResponse:
        return picture(number)

    @app.get("/r/{token}/examples/{number}/picture")
    def picture_of_example(number: int) -> FileResponse:
        return picture(number)

    @app.get("/r/{token}/examples/{number}/{side}.mp4")
    def clip_of_example(number: int, side: str) -> Response:
        return clip(number, side)

    @app.get("/static/{name}")
    def static(name: str) -> Response:
        return Response(static_text(name), media_type=STATIC[name])

    return app


@contextmanager
def serving(desk: Desk) -> Iterator[str]:
    """Serve from a thread, on a port of its own; gives the address, such as "http://127.0.0.1:40000"."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(create_app(desk), log_level="warning"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = True
    thread.join()
    listening.close()


if __name__ == "__main__":
    uvicorn.run(create_app(Desk(Path(sys.argv[1]), [task(k) for k in range(4)])), port=int(sys.argv[2]))
