"""Fill a cache: look at every clip, encode its windows and their texts, measure how they move."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from motionfocal.data.cache import CachedWindow, CacheSpec, Stock, take_stock
from motionfocal.data.cache_folder import KINDS, CacheWriter, FileFacts, Kind
from motionfocal.data.files import Stamp, VideoFile
from motionfocal.data.making import FIGURES, Made, Maker, Reader, Task
from motionfocal.data.manifest import Caption
from motionfocal.data.sources import Rejected, look_at
from motionfocal.engine import HERE, Engine, Lost, Stages
from motionfocal.errors import MediaError
from motionfocal.jsonl import Row
from motionfocal.models.protocol import VideoModel
from motionfocal.shard import WHOLE, Shard

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many of it are done, and how many there are."""


def silent(what: str, done: int, total: int) -> None:
    """No progress."""


@dataclass(frozen=True)
class Report:
    """What a run did: entries ``made`` and ``kept`` from before, by kind; ``notes`` are warnings about clips."""

    made: dict[Kind, int]
    kept: dict[Kind, int]
    rejected: list[Rejected]
    notes: list[str]
    seconds: float


def prepare(
    spec: CacheSpec,
    model: Callable[[], VideoModel],
    *,
    shard: Shard = WHOLE,
    engine: Engine = HERE,
    progress: Progress = silent,
) -> Report:
    """Make what a cache lacks. Killed at any moment, the same call goes on, and the clip in hand is all that is lost.

    ``model`` is called when there is first something to encode; its frozen parts work on its device. The ``engine``
    looks at files, reads clips, measures their motion, encodes them and writes their entries; this process keeps the
    lists. A clip that cannot be used is reported, and tried again by the next call; the rest is processed.

    Raises:
        ManifestError: the table or the shards are wrong.
        ShapeError: a bucket does not fit the model's latent grid, or the model's latents do not have it.
        CheckpointError: the cache cannot be written.
        DamagedFileError: a line of its lists is damaged.
        MediaError: the text encoder gives numbers that are not finite for the empty text, which every cache needs.
    """
    started = time.perf_counter()
    captions, files = spec.captions(shard), spec.folder.files()
    with CacheWriter(spec.folder, shard) as writer:
        for stamp, facts in look(captions, files, VideoFile.content, progress, engine):
            writer.add_file(stamp, facts)
        stock = take_stock(spec, captions, files)
        maker = Maker(spec, model, writer.entries)
        run = _Run(stock, writer, maker)
        todo = _tasks(stock, [window for window in stock.windows if run.has_work(window)])
        done, total = len(stock.windows) - len(todo), len(stock.windows)
        work = Stages(Reader(spec), maker)
        for task, made in zip(todo, engine.map(work, todo), strict=True):
            run.finish(task.window, Made(failure=made.reason) if isinstance(made, Lost) else made)
            done += 1
            progress("preparing windows", done, total)
        run.encode_text("")
        return run.report(time.perf_counter() - started)


@dataclass(frozen=True)
class _Looker:
    """Looks at a file: what it holds, or why no video can be read from it."""

    content: Callable[[VideoFile], str]

    def __call__(self, video: VideoFile) -> FileFacts | str:
        try:
            return FileFacts(self.content(video), look_at(video))
        except MediaError as error:
            return str(error)


def look(
    captions: Sequence[Caption],
    files: dict[Stamp, FileFacts | str],
    content: Callable[[VideoFile], str],
    progress: Progress,
    engine: Engine = HERE,
) -> Iterator[tuple[Stamp, FileFacts | str]]:
    """Look at the files that are new, changed, or were no videos, and add to ``files`` what they hold or why not.

    Yields what is new, as it is found.
    """
    unseen: dict[Stamp, VideoFile] = {}
    for caption in captions:
        with suppress(MediaError):  # gone since the table was read; taking stock says so
            stamp = caption.video.stamp()
            if not isinstance(files.get(stamp), FileFacts):
                unseen[stamp] = caption.video
    found = engine.map(_Looker(content), list(unseen.values())) if unseen else iter(())
    for done, (stamp, seen) in enumerate(zip(unseen, found, strict=True), 1):
        facts = seen.reason if isinstance(seen, Lost) else seen
        if files.get(stamp) != facts:
            files[stamp] = facts
            yield stamp, facts
        progress("looking at clips", done, len(unseen))


def _tasks(stock: Stock, windows: Sequence[CachedWindow]) -> list[Task]:
    """What is to be done, each entry once: with the first window that needs it, the empty text with the first."""
    asked = {kind: set(stock.there[kind]) for kind in KINDS}

    def asks(kind: Kind, key: str) -> bool:
        is_new = key not in asked[kind]
        asked[kind].add(key)
        return is_new

    tasks = []
    for window in windows:
        texts = tuple(text for text in ("", window.caption.text) if asks("texts", stock.spec.text_key(text)))
        latents, heatmap = asks("latents", window.keys.latents), asks("heatmaps", window.keys.heatmaps)
        tasks.append(Task(window, latents, heatmap, texts))
    return tasks


class _Run:
    """One call of ``prepare``: keeps the lists and the counts."""

    def __init__(self, stock: Stock, writer: CacheWriter, maker: Maker) -> None:
        self._spec, self._stock, self._writer, self._maker = stock.spec, stock, writer, maker
        self._made: dict[Kind, int] = dict.fromkeys(KINDS, 0)
        self._kept = {kind: len(stock.needed(kind) & stock.there[kind]) for kind in KINDS}
        self._rejected, self._notes = list(stock.rejected), list[str]()
        self._recorded = {_line(row) for row in self._spec.folder.clips() if "rejected" not in row}

    def has_work(self, window: CachedWindow) -> bool:
        """Whether an entry of a window is missing, or its row in the index."""
        return not self._stock.is_complete(window) or _line(self._row(window, {})) not in self._recorded

    def encode_text(self, text: str) -> None:
        """Write a text's entry, unless it is there: the worker that was to encode it may be lost."""
        if self._spec.text_key(text) not in self._stock.there["texts"]:
            self._count(self._maker.write_text(text))

    def finish(self, window: CachedWindow, made: Made) -> None:
        """Note what was written for a window, and write its row in the index."""
        self._notes += made.notes
        for entry in made.written:
            self._count(entry)
        try:
            if made.failure:
                raise MediaError(made.failure)
            self.encode_text(window.caption.text)
            if not self._stock.is_complete(window):
                raise MediaError(f"{window.caption.video}: another clip has the same content, and could not be encoded")
        except MediaError as error:
            self._reject(window, str(error))
            return
        self._writer.add_clip(self._row(window, made.figures or self._figures(window)))

    def _figures(self, window: CachedWindow) -> Mapping[str, float]:
        """Of a heatmap that was there before."""
        motion = self._spec.folder.read("heatmaps", window.keys.heatmaps)
        return {name: float(motion[name]) for name in FIGURES if name in motion}

    def _count(self, entry: tuple[Kind, str]) -> None:
        kind, key = entry
        self._stock.there[kind].add(key)
        self._made[kind] += 1

    def report(self, seconds: float) -> Report:
        """The counts so far."""
        return Report(self._made, self._kept, list(dict.fromkeys(self._rejected)), self._notes, seconds)

    def _reject(self, window: CachedWindow, reason: str) -> None:
        self._rejected.append(Rejected(window.caption.video.path, reason))
        if self._stock.failed.get(window.keys) != reason:
            row = {"id": window.caption.id, "n": window.n, "keys": window.keys._asdict(), "rejected": reason}
            self._writer.add_clip(row)

    def _row(self, window: CachedWindow, figures: Mapping[str, float]) -> Row:
        """A window's row in the index."""
        return {
            "id": window.caption.id,
            "n": window.n,
            **self._spec.made_of(window),
            "keys": window.keys._asdict(),
            "fps": window.fps,
            **{name: round(value, 6) for name, value in figures.items()},
        }


def _line(row: Row) -> str:
    """What a row of the index says of a window, without what was measured."""
    return json.dumps([row["id"], row["n"], row["text"], row["fps"], row["keys"]])
