"""Fill a cache: look at every clip, encode its windows and their texts, measure how they move."""

import json
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from motionfocal.data.cache import CachedWindow, CacheSpec, Stock, take_stock
from motionfocal.data.cache_folder import KINDS, CacheWriter, FileFacts, Kind
from motionfocal.data.files import Stamp, VideoFile
from motionfocal.data.manifest import Caption
from motionfocal.data.sources import Rejected, look_at, read_window
from motionfocal.data.windows import Bucket
from motionfocal.engine import HERE, Engine, Lost, Stages
from motionfocal.errors import MediaError, ShapeError
from motionfocal.jsonl import Row
from motionfocal.models.protocol import Tensors, VideoModel
from motionfocal.motion import HeatmapSettings, LatentSpec, motion_of, moving_share, pool_to_latent
from motionfocal.shard import WHOLE, Shard
from motionfocal.video import Frames

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
    reads clips, measures their motion and encodes them; this process writes. A clip that cannot be used is reported,
    tried again by the next call, and the others go on.

    Raises:
        ManifestError: the table or the shards are wrong.
        ShapeError: a bucket does not fit the model's latent grid, or the model's latents do not have it.
        CheckpointError: the cache cannot be written.
    """
    started = time.perf_counter()
    captions, files = spec.captions(shard), spec.folder.files()
    with CacheWriter(spec.folder, shard) as writer:
        for stamp, facts in look(captions, files, VideoFile.content, progress):
            writer.add_file(stamp, facts)
        stock = take_stock(spec, captions, files)
        encoder = _Encoder(model, spec.latent)
        run = _Run(stock, writer, encoder)
        todo = _tasks(stock, [window for window in stock.windows if run.has_work(window)])
        done, total = len(stock.windows) - len(todo), len(stock.windows)
        work = Stages(_Reader(spec.motion, spec.latent), encoder)
        for task, made in zip(todo, engine.map(work, todo), strict=True):
            run.finish(task.window, _Made(failure=made.reason) if isinstance(made, Lost) else made)
            done += 1
            progress("preparing windows", done, total)
        run.encode_text("")
        return run.report(time.perf_counter() - started)


def look(
    captions: Sequence[Caption],
    files: dict[Stamp, FileFacts | str],
    content: Callable[[VideoFile], str],
    progress: Progress,
) -> Iterator[tuple[Stamp, FileFacts | str]]:
    """Look at the files that are new, changed, or were no videos, and add to ``files`` what they hold or why not.

    Yields what is new, as it is found.
    """
    for done, caption in enumerate(captions, 1):
        progress("looking at clips", done, len(captions))
        try:
            stamp = caption.video.stamp()
        except MediaError:
            continue  # gone since the table was read; taking stock says so
        if isinstance(files.get(stamp), FileFacts):
            continue
        try:
            facts: FileFacts | str = FileFacts(content(caption.video), look_at(caption.video))
        except MediaError as error:
            facts = str(error)
        if files.get(stamp) != facts:
            files[stamp] = facts
            yield stamp, facts


@dataclass(frozen=True)
class _Task:
    """A window, what the cache lacks of it, and the texts that are to be encoded beside it."""

    window: CachedWindow
    latents: bool
    heatmap: bool
    texts: tuple[str, ...]


def _tasks(stock: Stock, windows: Sequence[CachedWindow]) -> list[_Task]:
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
        tasks.append(_Task(window, latents, heatmap, texts))
    return tasks


@dataclass(frozen=True)
class _Read:
    """A window as it was read: frames uint8 ``[T,H,W,3]`` and the heatmap's entry, where they are lacking."""

    task: _Task
    frames: Tensor | None = None
    motion: Tensors | None = None
    notes: tuple[str, ...] = ()
    failure: str = ""


@dataclass(frozen=True)
class _Reader:
    """Reads a window and measures its motion."""

    motion: HeatmapSettings
    latent: LatentSpec

    def __call__(self, task: _Task) -> _Read:
        if not task.latents and not task.heatmap:
            return _Read(task)
        video = task.window.caption.video
        try:
            frames = read_window(video, task.window.window).frames
        except MediaError as error:
            return _Read(task, failure=str(error))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            motion = self._measure(frames) if task.heatmap else None
        notes = tuple(f"{video}: {warning.message}" for warning in caught)
        return _Read(task, torch.from_numpy(frames) if task.latents else None, motion, notes)

    def _measure(self, frames: Frames) -> Tensors:
        motion = motion_of(frames, self.motion)
        pooled = pool_to_latent(motion.heat, self.latent)
        return {
            "heat": (255 * pooled).round().to(torch.uint8),
            "score": torch.tensor(motion.score),
            "moving_share": torch.tensor(moving_share(motion.heat)),
        }


@dataclass(frozen=True)
class _Made:
    """What a cache is to hold of a window, where it lacks it, and of texts."""

    latents: Tensors | None = None
    motion: Tensors | None = None
    texts: Mapping[str, Tensors] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    failure: str = ""


class _Encoder:
    """Encodes what was read; a window that could not be read has nothing encoded, its texts neither."""

    def __init__(self, load: Callable[[], VideoModel], latent: LatentSpec) -> None:
        self._load, self._latent = load, latent

    @cached_property
    def _model(self) -> VideoModel:
        """The model, loaded when there is first something to encode."""
        return self._load()

    def __call__(self, read: _Read) -> _Made:
        if read.failure:
            return _Made(failure=read.failure)
        texts = {text: self.text(text) for text in read.task.texts}
        latents = None if read.frames is None else self._latents(read.frames, read.task.window.bucket)
        return _Made(latents, read.motion, texts, read.notes)

    @torch.inference_mode()
    def text(self, text: str) -> Tensors:
        """A text's entry."""
        return {name: tensor[0].cpu() for name, tensor in self._model.encode_text([text]).items()}

    @torch.inference_mode()
    def _latents(self, frames: Tensor, bucket: Bucket) -> Tensors:
        clip = frames[None].to(self._model.device)
        latents = self._model.encode(clip)
        expected = (1, self._latent.channels, *self._latent.grid(*bucket))
        if latents.shape != expected:
            raise ShapeError(f"the model's latents are {list(latents.shape)}, expected {list(expected)}")
        image = self._model.encode_image(clip[:, 0], len(frames))
        tensors = {"latents": latents[0], **{f"image.{name}": tensor[0] for name, tensor in image.items()}}
        return {name: tensor.cpu() for name, tensor in tensors.items()}


class _Run:
    """One call of ``prepare``: writes, and keeps count."""

    def __init__(self, stock: Stock, writer: CacheWriter, encoder: _Encoder) -> None:
        self._spec, self._stock, self._writer, self._encoder = stock.spec, stock, writer, encoder
        self._made: dict[Kind, int] = dict.fromkeys(KINDS, 0)
        self._kept = {kind: len(stock.needed(kind) & stock.there[kind]) for kind in KINDS}
        self._rejected, self._notes = list(stock.rejected), list[str]()
        self._recorded = {_line(row) for row in self._spec.folder.clips() if "rejected" not in row}

    def has_work(self, window: CachedWindow) -> bool:
        """Whether an entry of a window is missing, or its row in the index."""
        return not self._stock.is_complete(window) or _line(self._row(window, {})) not in self._recorded

    def encode_text(self, text: str) -> None:
        """Write a text's entry, unless it is there: the window that it was to be encoded beside may have failed."""
        if self._spec.text_key(text) not in self._stock.there["texts"]:
            self._write_text(text, self._encoder.text(text))

    def finish(self, window: CachedWindow, made: _Made) -> None:
        """Write what a window lacks, and its row in the index."""
        self._notes += made.notes
        video = str(window.caption.video)
        try:
            if made.failure:
                raise MediaError(made.failure)
            for text, tensors in made.texts.items():
                self._write_text(text, tensors)
            self.encode_text(window.caption.text)
            if made.latents is not None:
                self._write("latents", window.keys.latents, made.latents, video)
            if made.motion is not None:
                self._write("heatmaps", window.keys.heatmaps, made.motion, video)
            if not self._stock.is_complete(window):
                raise MediaError(f"{video}: another clip has the same content, and could not be encoded")
        except MediaError as error:
            self._reject(window, str(error))
            return
        motion = made.motion or self._spec.folder.read("heatmaps", window.keys.heatmaps)
        self._writer.add_clip(self._row(window, motion))

    def report(self, seconds: float) -> Report:
        """The counts so far."""
        return Report(self._made, self._kept, list(dict.fromkeys(self._rejected)), self._notes, seconds)

    def _write_text(self, text: str, tensors: Tensors) -> None:
        self._write("texts", self._spec.text_key(text), tensors, f"the text {text!r}")

    def _write(self, kind: Kind, key: str, tensors: Tensors, what: str) -> None:
        """Write an entry that is not there yet. Raises MediaError when a number in it is not finite."""
        if key in self._stock.there[kind]:
            return
        dtype = torch.float32 if kind == "heatmaps" else self._spec.dtype
        for name, tensor in tensors.items():
            if tensor.is_floating_point() and not tensor.to(dtype).isfinite().all():
                raise MediaError(
                    f"{what}: its {name} is not finite in {dtype}; set data.cache_dtype to bfloat16 or float32,"
                    " or encode in a wider precision"
                )
        self._writer.write(kind, key, tensors, dtype)
        self._stock.there[kind].add(key)
        self._made[kind] += 1

    def _reject(self, window: CachedWindow, reason: str) -> None:
        self._rejected.append(Rejected(window.caption.video.path, reason))
        if self._stock.failed.get(window.keys.latents) != reason:
            row = {"id": window.caption.id, "n": window.n, "latents": window.keys.latents, "rejected": reason}
            self._writer.add_clip(row)

    def _row(self, window: CachedWindow, motion: Tensors) -> Row:
        """A window's row in the index."""
        return {
            "id": window.caption.id,
            "n": window.n,
            **self._spec.made_of(window),
            "keys": window.keys._asdict(),
            "fps": window.fps,
            **{name: round(float(motion[name]), 6) for name in ("score", "moving_share") if name in motion},
        }


def _line(row: Row) -> str:
    """What a row of the index says of a window, without what was measured."""
    return json.dumps([row["id"], row["n"], row["text"], row["fps"], row["keys"]])
