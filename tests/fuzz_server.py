"""A study's server as a door of the fuzzer: an honest evening's requests, a file each, which a case breaks.

A request is written as in HTTP: a line ``METHOD target``, headers, an empty line, a body. It is given to the
application itself, since what breaks the framing never reaches it.
"""

import asyncio
import json
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote_from_bytes, unquote, urlencode

from fastapi import FastAPI
from sqlalchemy import func, select

from motionfocal.errors import RefusedError
from motionfocal.study.fieldwork.database import Database
from motionfocal.study.fieldwork.records import VoteRecord
from motionfocal.study.plan import Study
from motionfocal.study.web.admin_auth import COOKIE, set_password
from motionfocal.study.web.app import create_app
from motionfocal.study.web.context import ServerSettings

from .study_server import START, Site, Visitor, on_crowds, open_site, small_study

REQUESTS, VOTES = "*.http", "votes.sqlite"
_WRITTEN = bytes(range(0x21, 0x7F))
_FORM = {"content-type": "application/x-www-form-urlencoded"}
_PASSWORD = "a long password"
_LATER = START + 600  # the training is over, the first task was shown for a while


@dataclass(frozen=True)
class Sent:
    """A request, whatever is in it."""

    method: str
    target: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes

    @classmethod
    def read(cls, text: bytes) -> "Sent":
        head, _, body = text.partition(b"\n\n")
        first, *lines = head.split(b"\n")
        method, _, target = first.partition(b" ")
        named = (line.partition(b": ") for line in lines)
        headers = tuple((name.strip().lower(), value.strip()) for name, _, value in named)
        target = quote_from_bytes(target.strip(), safe=_WRITTEN).encode()  # else the server in front refuses it
        return cls(method.decode("latin-1"), target, headers, body)

    def scope(self) -> dict[str, object]:
        path, _, query = self.target.partition(b"?")
        return {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": self.method,
            "scheme": "http",
            "path": unquote(path.decode("latin-1")),
            "raw_path": path,
            "query_string": query,
            "root_path": "",
            "headers": list(self.headers),
            "client": ("192.0.2.1", 5000),
            "server": ("study.test", 80),
        }


def replay(folder: Path) -> None:
    """Answer all requests of a folder, in their order.

    Raises:
        RefusedError: one of them was refused, as it should be if it is broken.
        AssertionError: an answer without its guards, or a vote that no answer acknowledged.
    """
    database = Database(f"sqlite:///{folder / VOTES}")
    try:
        app = create_app(
            on_crowds(Study.open(folder / "study")), database, settings=ServerSettings(), clock=lambda: _LATER
        )
        before = _votes(database)
        requests = [Sent.read(path.read_bytes()) for path in sorted(folder.glob(REQUESTS))]
        answers = asyncio.run(_ask_all(app, requests))
        recorded = sum(status == 200 and b'"recorded"' in body for status, _, body in answers)
        assert _votes(database) - before <= recorded, "a vote that no answer acknowledged"
    finally:
        database.close()
    for _, headers, _ in answers:
        assert b"content-security-policy" in headers, "an answer without its guards"
    if refused := [status for status, _, _ in answers if status >= 400]:
        raise RefusedError(f"{len(refused)} of {len(answers)} requests: {refused}")


async def _ask_all(app: FastAPI, requests: list[Sent]) -> list[tuple[int, set[bytes], bytes]]:
    return [await _ask(app, request) for request in requests]


async def _ask(app: FastAPI, request: Sent) -> tuple[int, set[bytes], bytes]:
    """Status, names of headers and body. An error that the application does not foresee comes out as itself."""
    said: list[dict] = []
    arrived = iter([{"type": "http.request", "body": request.body, "more_body": False}])

    async def receive() -> dict:
        return next(arrived, {"type": "http.disconnect"})

    async def send(message: dict) -> None:
        said.append(message)

    await app(request.scope(), receive, send)
    start, *parts = said
    body = b"".join(part.get("body", b"") for part in parts)
    return start["status"], {name.lower() for name, _ in start["headers"]}, body


def _votes(database: Database) -> int:
    with database.read() as session:
        return session.scalar(select(func.count()).select_from(VoteRecord))


def good_server(folder: Path) -> None:
    """A study with a rater at work, and requests that are all answered as they should be."""
    small_study(folder)
    for made in folder.iterdir():
        if made.name != "study":
            shutil.rmtree(made)
    set_password(folder / "study", _PASSWORD)
    with open_site(on_crowds(Study.open(folder / "study")), folder / VOTES) as site:
        rater = site.at_work()
        requests = [*_of_rater(rater), *_of_crowds(site), *_of_admin(site)]
    for number, request in enumerate(requests):
        (folder / f"{number:02}.http").write_bytes(request)


def _of_rater(rater: Visitor) -> Iterator[bytes]:
    task, base = rater.task().uid, rater.base
    yield _request("GET", base)
    for clip in ("left", "right"):
        yield _request("GET", f"{base}/clips/{task}/{clip}.mp4", {"range": "bytes=0-100"})
    yield _request("GET", f"{base}/pictures/{task}", {"if-none-match": f'"{task}"'})
    yield _request("GET", f"{base}/examples/1/left.mp4")
    seen = [{"kind": "played", "impression": task, "what": {"clip": "left", "at": 1.5, "whole": True}}]
    yield _request("POST", f"{base}/events", {"content-type": "application/json"}, json.dumps(seen))
    vote = rater.body(task, uid=str(uuid.UUID(int=7)), comment="the ground shakes; é")
    vote = json.dumps(vote, ensure_ascii=False)
    yield _request("POST", f"{base}/votes", {"content-type": "application/json"}, vote)
    version = rater.site.study.design.texts.consent_version
    yield _request("POST", f"{base}/consent", _FORM, urlencode({"version": version}))
    yield _request("GET", base)


def _of_crowds(site: Site) -> Iterator[bytes]:
    yield _request("GET", f"/join/{site.invitation()}")
    ids = {"PROLIFIC_PID": "a1", "STUDY_ID": "b2", "SESSION_ID": "c3"}
    yield _request("GET", f"/prolific?{urlencode(ids)}")
    hit = {"assignmentId": "A1", "hitId": "H1", "workerId": "W1", "turkSubmitTo": "https://www.mturk.com"}
    yield _request("GET", f"/mturk?{urlencode(hit)}")
    yield _request("GET", "/preview/examples/1/picture")
    yield _request("GET", "/static/study.js")


def _of_admin(site: Site) -> Iterator[bytes]:
    cookie = site.client.post("/admin/login", data={"password": _PASSWORD}, follow_redirects=False).cookies[COOKIE]
    held = {"cookie": f"{COOKIE}={cookie}"}
    page = site.client.get("/admin", headers=held).text
    form = page.partition('name="form" value="')[2].partition('"')[0]
    yield _request("POST", "/admin/login", _FORM, urlencode({"password": _PASSWORD}))
    yield _request("GET", "/admin?by=odd&refresh=1", held)
    yield _request("GET", "/admin/export/votes.csv", held)
    yield _request("GET", "/admin/raters/1", held)
    for change in ("exclude", "include"):
        yield _request(
            "POST", f"/admin/raters/1/{change}", held | _FORM, urlencode({"form": form, "reason": "a trial"})
        )
    invited = {"form": form, "count": 2, "label": "the lab", "days": 3}
    yield _request("POST", "/admin/invitations", held | _FORM, urlencode(invited))
    yield _request("GET", "/admin/invitations", held)
    yield _request("POST", "/admin/logout", held | _FORM, urlencode({"form": form}))


def _request(method: str, target: str, headers: dict[str, str] | None = None, body: str = "") -> bytes:
    lines = [f"{method} {target}", "host: study.test", *(f"{name}: {value}" for name, value in (headers or {}).items())]
    return "\n".join([*lines, "", body]).encode()
