"""Two hundred raters at once: how long a vote takes until it is acknowledged, and whether any is lost or double.

    python benchmarks/study_load.py                                # SQLite
    python benchmarks/study_load.py --database postgresql://...    # an empty database

A real server (``motionfocal study serve``) in a process of its own, and the raters in this one. *Steady*: each rater
loads a page with its picture and clips, looks for two to six seconds, and votes. *Burst*: all raters send a vote in the
same instant. Afterwards every acknowledged vote must be in the database, once, and no pair may have too many.
"""

import argparse
import asyncio
import json
import random
import re
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from figures import Figure, tell
from sqlalchemy import select

from motionfocal.benchmarks import load_benchmark
from motionfocal.generation.gallery import INDEX, GalleryRow
from motionfocal.jsonl import rewrite_jsonl
from motionfocal.study.create import create_study
from motionfocal.study.design import Checks, StudyDesign, Training
from motionfocal.study.fieldwork.database import Database
from motionfocal.study.fieldwork.people import consent, invite, redeem, understood
from motionfocal.study.fieldwork.records import ImpressionRecord, VoteRecord
from motionfocal.study.plan import Study
from motionfocal.video import write_clip, write_image

RATERS, SECONDS, VOTES = 200, 30, 40


@dataclass
class Told:
    """What raters know: the votes that were acknowledged, and how long each took, in seconds."""

    votes: set[str] = field(default_factory=set)
    took: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)


def make_study(folder: Path, items: int = 60) -> Study:
    """Drawn clips of two models at 256 pixels, without training, so that raters vote at once."""
    rng = np.random.default_rng(0)
    lines = ["id,image,prompt"]
    for k in range(items):
        picture = rng.integers(0, 255, (16, 16, 3), dtype=np.uint8).repeat(16, 0).repeat(16, 1)
        write_image(folder / "bench" / f"p{k}.png", picture)
        lines.append(f"i{k},p{k}.png,something moves {k}")
        for model in ("one", "two"):
            frames = [np.roll(picture, 4 * t * (1 if model == "one" else -1), axis=1) for t in range(16)]
            write_clip(folder / model / f"i{k}.mp4", frames, 8)
    (folder / "bench" / "prompts.csv").write_text("\n".join(lines) + "\n")
    for model in ("one", "two"):
        rows = [
            GalleryRow(item.id, item.image, item.text, f"{item.id}.mp4", model, (256, 256), 16, 8.0)
            for item in load_benchmark(str(folder / "bench")).items
        ]
        rewrite_jsonl(folder / model / INDEX, (vars(row) for row in rows))
    design = StudyDesign(
        name="load",
        galleries=(folder / "one", folder / "two"),
        benchmark=str(folder / "bench"),
        votes=VOTES,
        checks=Checks(share=0.1, fail_on=()),
        training=Training(tasks=0, right=0),
    )
    return create_study(design, folder / "study")


def arrive(study: Study, database: Database) -> list[str]:
    """The links of raters who have agreed and read everything."""
    with database.write() as session:
        codes = [made.code for made in invite(session, RATERS, time.time())]
        for code in codes:
            rater = redeem(session, study, code, time.time())
            consent(session, study, rater, "1", time.time())
            understood(session, study, rater, time.time())
    return codes


class Browser:
    """A connection that stays open, as a browser's does."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, dict[str, str], bytes]:
        """Status, headers and content; asked again when the server had closed the idle connection."""
        try:
            return await self._ask(method, path, body)
        except (asyncio.IncompleteReadError, ConnectionError):
            self._streams = None
            return await self._ask(method, path, body)

    async def _ask(self, method: str, path: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\nOrigin: http://127.0.0.1:{self._port}\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        named = (line.split(": ", 1) for line in lines[1:] if ": " in line)
        headers = {name.lower(): value for name, value in named}
        content = await reader.readexactly(int(headers.get("content-length", 0)))
        return int(lines[0].split()[1]), headers, content


async def open_task(browser: Browser, page: str, media: bool) -> str | None:
    """Load the page, and what it shows; the impression, or None when there is no task."""
    _, _, html = await browser.ask("GET", page)
    found = re.search(rb'data-uid="([^"]+)"', html)
    if not found:
        return None
    uid = found[1].decode()
    if media:
        for name in (f"pictures/{uid}", f"clips/{uid}/left.mp4", f"clips/{uid}/right.mp4"):
            await browser.ask("GET", f"{page}/{name}")
    return uid


async def vote(browser: Browser, page: str, impression: str, told: Told) -> None:
    name, side = str(uuid.uuid4()), random.choice(("left", "right"))  # noqa: S311
    answers = [{"question": "overall", "choice": side, "reasons": ["object motion"]}]
    seen = {"left": 1, "right": 1, "active": 3.0}
    body = {"impression": impression, "uid": name, "answers": answers, "comment": "", "seen": seen, "device": {}}
    sent = json.dumps(body).encode()
    began = time.perf_counter()
    status, _, content = await browser.ask("POST", f"{page}/votes", sent)
    if status == 200:
        told.votes.add(name)
        told.took.append(time.perf_counter() - began)
    else:
        told.errors[f"{status} {content[:80]!r}"] += 1


async def steady(browsers: list[Browser], pages: list[str], told: Told) -> None:
    end = time.perf_counter() + SECONDS

    async def one(browser: Browser, page: str) -> None:
        await asyncio.sleep(random.uniform(0, 4))  # noqa: S311
        while time.perf_counter() < end:
            impression = await open_task(browser, page, media=True)
            if impression is None:
                return
            await asyncio.sleep(random.uniform(2, 6))  # noqa: S311
            await vote(browser, page, impression, told)

    await asyncio.gather(*map(one, browsers, pages))


async def burst(browsers: list[Browser], pages: list[str], told: Told) -> None:
    open_now = [await open_task(browser, page, media=False) for browser, page in zip(browsers, pages, strict=True)]
    tasks = zip(browsers, pages, open_now, strict=True)
    await asyncio.gather(*(vote(b, page, uid, told) for b, page, uid in tasks if uid))


async def run(port: int, codes: list[str]) -> tuple[Told, Told]:
    browsers = [Browser(port) for _ in codes]
    pages = []
    for browser, code in zip(browsers, codes, strict=True):
        _, headers, _ = await browser.ask("GET", f"/join/{code}")
        pages.append(re.sub(r"^https?://[^/]+", "", headers["location"]))
    told, at_once = Told(), Told()
    await steady(browsers, pages, told)
    await burst(browsers, pages, at_once)
    return told, at_once


def report(name: str, told: Told) -> None:
    for error, count in told.errors.items():
        print(f"{name:7} {count} times {error}")
    if told.took:
        took = 1000 * np.asarray(told.took)
        p50, p95, p99 = np.percentile(took, [50, 95, 99])
        print(
            f"{name:7} {len(took):6} votes   p50 {p50:6.1f}   p95 {p95:6.1f}   p99 {p99:6.1f}   max {max(took):6.1f} ms"
        )


def figure(name: str, what: str, told: Told) -> Figure:
    p50, p99 = np.percentile(1000 * np.asarray(told.took), [50, 99])
    return Figure(
        f"a vote of {RATERS} raters, {what}, until it is on disk ({name}), ms", f"p50 {p50:.0f}, p99 {p99:.0f}"
    )


def audit(database: Database, acknowledged: set[str]) -> None:
    with database.read() as session:
        stored = Counter(session.scalars(select(VoteRecord.uid)))
        valid = Counter(
            session.scalars(
                select(ImpressionRecord.target)
                .join(VoteRecord, VoteRecord.impression_id == ImpressionRecord.id)
                .where(ImpressionRecord.kind == "pair", VoteRecord.state == "valid")
            )
        )
    print(f"lost {len(acknowledged - stored.keys())}, double {sum(n > 1 for n in stored.values())},"
          f" stored {len(stored)}, most votes on a pair {max(valid.values(), default=0)} of {VOTES}")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", help="URL; unset, SQLite in a fresh folder")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, socket.socket() as free:
        study = make_study(Path(folder))
        url = asked.database or study.database
        database = Database(url)
        codes = arrive(study, database)
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        command = [sys.executable, "-m", "motionfocal", "study", "serve", str(study.folder), "--port", str(port)]
        server = subprocess.Popen([*command, "--database", url])
        try:
            for _ in range(1200):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.1)
            told, at_once = asyncio.run(run(port, codes))
        finally:
            server.kill()
            server.wait()
        print(f"{RATERS} raters, {database.engine.dialect.name}")
        report("steady", told)
        report("burst", at_once)
        audit(database, told.votes | at_once.votes)
        name = database.engine.dialect.name
        tell(figure(name, "one each two to six seconds", told), figure(name, "all in one instant", at_once))


if __name__ == "__main__":
    main()
