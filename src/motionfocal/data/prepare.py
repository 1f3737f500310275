"""Fill a cache: look at every clip, encode its windows and their texts, measure how they move."""

import json
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from motionfocal.data.cache import CachedWindow, CacheSpec, Stock, take_stock
from motionfocal.data.cache_folder import KINDS, CacheWriter, FileFacts, Kind
from motionfocal.data.files import Stamp, VideoFile
from motionfocal.data.manifest import Caption
from motionfocal.data.sources import Rejected, look_at, read_window
from motionfocal.engine import HERE, Engine, Lost
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
    device: torch.device | str = "cpu",
    shard: Shard = WHOLE,
    engine: Engine = HERE,
    progress: Progress = silent,
) -> Report:
    """Make what a cache lacks. Killed at any moment, the same call goes on, and the clip in hand is all that is lost.

    ``model`` is called when there is first something to encode; its frozen parts work on ``device``. The ``engine``
    reads clips and measures their motion ahead of it. A clip that cannot be used is reported, tried again by the next
    call, and the others go on.

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
        run = _Run(stock, writer, model, torch.device(device))
        run.encode_text("")
        todo = [_Task.of(window, stock) for window in stock.windows if run.has_work(window)]
        done, total = len(stock.windows) - len(todo), len(stock.windows)
        reader = _Reader(spec.motion, spec.latent)
        for task, read in zip(todo, engine.map(reader, todo), strict=True):
            run.finish(task.window, _Read(failure=read.reason) if isinstance(read, Lost) else read)
            done += 1
            progress("preparing windows", done, total)
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
class _Read:
    """A window as a worker read it: frames uint8 ``[T,H,W,3]`` and the heatmap's entry, where they are lacking."""

    frames: Tensor | None = None
    motion: Tensors | None = None
    notes: tuple[str, ...] = ()
    failure: str = ""


@dataclass(frozen=True)
class _Task:
    """A window, and what the cache lacks of it."""

    window: CachedWindow
    latents: bool
    heatmap: bool

    @classmethod
    def of(cls, window: CachedWindow, stock: Stock) -> "_Task":
        return cls(window, stock.lacks(window, "latents"), stock.lacks(window, "heatmaps"))


@dataclass(frozen=True)
class _Reader:
    """Reads a window and measures its motion."""

    motion: HeatmapSettings
    latent: LatentSpec

    def __call__(self, task: _Task) -> _Read:
        if not task.latents and not task.heatmap:
            return _Read()
        video = task.window.caption.video
        try:
            frames = read_window(video, task.window.window).frames
        except MediaError as error:
            return _Read(failure=str(error))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            motion = self._measure(frames) if task.heatmap else None
        notes = tuple(f"{video}: {warning.message}" for warning in caught)
        return _Read(torch.from_numpy(frames) if task.latents else None, motion, notes)

    def _measure(self, frames: Frames) -> Tensors:
        motion = motion_of(frames, self.motion)
        pooled = pool_to_latent(motion.heat, self.latent)
        return {
            "heat": (255 * pooled).round().to(torch.uint8),
            "score": torch.tensor(motion.score),
            "moving_share": torch.tensor(moving_share(motion.heat)),
        }


class _Run:
    """One call of ``prepare``: encodes and writes, and keeps count."""

    def __init__(
        self, stock: Stock, writer: CacheWriter, model: Callable[[], VideoModel], device: torch.device
    ) -> None:
        self._spec, self._stock, self._writer, self._device = stock.spec, stock, writer, device
        self._load = model
        self._made: dict[Kind, int] = dict.fromkeys(KINDS, 0)
        self._kept = {kind: len(stock.needed(kind) & stock.there[kind]) for kind in KINDS}
        self._rejected, self._notes = list(stock.rejected), list[str]()
        self._recorded = {_line(row) for row in self._spec.folder.clips() if "rejected" not in row}

    def has_work(self, window: CachedWindow) -> bool:
        """Whether an entry of a window is missing, or its row in the index."""
        return not self._stock.is_complete(window) or _line(self._row(window, {})) not in self._recorded

    @torch.inference_mode()
    def encode_text(self, text: str) -> None:
        """Write a text's entry, unless it is there."""
        key = self._spec.text_key(text)
        if key not in self._stock.there["texts"]:
            encoded = self._model.encode_text([text])
            self._write("texts", key, {name: tensor[0] for name, tensor in encoded.items()}, f"the text {text!r}")

    def finish(self, window: CachedWindow, read: _Read) -> None:
        """Write what a window lacks, and its row in the index."""
        self._notes += read.notes
        try:
            if read.failure:
                raise MediaError(read.failure)
            self.encode_text(window.caption.text)
            self._encode(window, read.frames)
        except MediaError as error:
            self._reject(window, str(error))
            return
        if read.motion is not None:
            self._write("heatmaps", window.keys.heatmaps, read.motion, str(window.caption.video))
        motion = read.motion or self._spec.folder.read("heatmaps", window.keys.heatmaps)
        self._writer.add_clip(self._row(window, motion))

    def report(self, seconds: float) -> Report:
        """The counts so far."""
        return Report(self._made, self._kept, list(dict.fromkeys(self._rejected)), self._notes, seconds)

    @torch.inference_mode()
    def _encode(self, window: CachedWindow, frames: Tensor | None) -> None:
        if frames is None or not self._stock.lacks(window, "latents"):
            return
        clip = frames[None].to(self._device)
        latents = self._model.encode(clip)
        expected = (1, self._spec.latent.channels, *self._spec.latent.grid(*window.bucket))
        if latents.shape != expected:
            raise ShapeError(f"the model's latents are {list(latents.shape)}, expected {list(expected)}")
        image = self._model.encode_image(clip[:, 0], len(frames))
        tensors = {"latents": latents[0], **{f"image.{name}": tensor[0] for name, tensor in image.items()}}
        self._write("latents", window.keys.latents, tensors, str(window.caption.video))

    @cached_property
    def _model(self) -> VideoModel:
        """The model, loaded when there is first something to encode."""
        return self._load()

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
        self._writer.write(kind, key, {name: tensor.cpu() for name, tensor in tensors.items()}, dtype)
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
