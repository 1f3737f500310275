"""What is done for one window, in whatever process: it is read, its motion is measured, it is encoded and written."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from motionfocal.data.cache import CachedWindow, CacheSpec
from motionfocal.data.cache_folder import EntryWriter, Kind
from motionfocal.data.sources import read_window
from motionfocal.data.windows import Bucket
from motionfocal.errors import MediaError, ShapeError
from motionfocal.models.protocol import Tensors, VideoModel
from motionfocal.motion import HeatmapSettings, LatentSpec, motion_of, moving_share, pool_to_latent
from motionfocal.video import Frames

FIGURES = ("score", "moving_share")
"""What is measured beside a heatmap: mean length of the flow, pixels a frame, and share of the pixels that are lit."""


@dataclass(frozen=True)
class Task:
    """A window, what the cache lacks of it, and the texts that are to be encoded beside it."""

    window: CachedWindow
    latents: bool
    heatmap: bool
    texts: tuple[str, ...]


@dataclass(frozen=True)
class Read:
    """A window as it was read: frames uint8 ``[T,H,W,3]`` and the heatmap's entry, where they are lacking."""

    task: Task
    frames: Tensor | None = None
    motion: Tensors | None = None
    notes: tuple[str, ...] = ()
    failure: str = ""


@dataclass(frozen=True)
class Reader:
    """Reads a window and measures its motion."""

    motion: HeatmapSettings
    latent: LatentSpec

    def __call__(self, task: Task) -> Read:
        """What a window's task asks for, or why it cannot be had."""
        if not task.latents and not task.heatmap:
            return Read(task)
        video = task.window.caption.video
        try:
            frames = read_window(video, task.window.window).frames
        except MediaError as error:
            return Read(task, failure=str(error))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            motion = self._measure(frames) if task.heatmap else None
        notes = tuple(f"{video}: {warning.message}" for warning in caught)
        return Read(task, torch.from_numpy(frames) if task.latents else None, motion, notes)

    def _measure(self, frames: Frames) -> Tensors:
        motion = motion_of(frames, self.motion)
        pooled = pool_to_latent(motion.heat, self.latent)
        return {
            "heat": (255 * pooled).round().to(torch.uint8),
            "score": torch.tensor(motion.score),
            "moving_share": torch.tensor(moving_share(motion.heat)),
        }


@dataclass(frozen=True)
class Made:
    """The entries that were written for a window, by kind and name, and the heatmap's figures; or why not."""

    written: tuple[tuple[Kind, str], ...] = ()
    figures: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    failure: str = ""


class Maker:
    """Encodes and writes what was read. A window that could not be read gets no entries, not even for its texts."""

    def __init__(self, spec: CacheSpec, load: Callable[[], VideoModel], entries: EntryWriter) -> None:
        self._spec, self._load, self._entries = spec, load, entries

    @cached_property
    def _model(self) -> VideoModel:
        """The model, loaded when there is first something to encode."""
        return self._load()

    def __call__(self, read: Read) -> Made:
        """Raises ShapeError when the model's latents have another grid, CheckpointError when nothing can be written."""
        if read.failure:
            return Made(failure=read.failure)
        window, written = read.task.window, list[tuple[Kind, str]]()
        video = str(window.caption.video)
        try:
            written += [self.write_text(text) for text in read.task.texts]
            if read.frames is not None:
                latents = self._latents(read.frames, window.bucket)
                written.append(self._write("latents", window.keys.latents, latents, video))
            if read.motion is not None:
                written.append(self._write("heatmaps", window.keys.heatmaps, read.motion, video))
        except MediaError as error:
            return Made(tuple(written), notes=read.notes, failure=str(error))
        figures = {} if read.motion is None else {name: float(read.motion[name]) for name in FIGURES}
        return Made(tuple(written), figures, read.notes)

    @torch.inference_mode()
    def write_text(self, text: str) -> tuple[Kind, str]:
        """Encode and write a text's entry. Raises MediaError when a number in it is not finite."""
        tensors = {name: tensor[0] for name, tensor in self._model.encode_text([text]).items()}
        return self._write("texts", self._spec.text_key(text), tensors, f"the text {text!r}")

    @torch.inference_mode()
    def _latents(self, frames: Tensor, bucket: Bucket) -> Tensors:
        clip = frames[None].to(self._model.device)
        latents = self._model.encode(clip)
        expected = (1, self._spec.latent.channels, *self._spec.latent.grid(*bucket))
        if latents.shape != expected:
            raise ShapeError(f"the model's latents are {list(latents.shape)}, expected {list(expected)}")
        image = self._model.encode_image(clip[:, 0], len(frames))
        return {"latents": latents[0], **{f"image.{name}": tensor[0] for name, tensor in image.items()}}

    def _write(self, kind: Kind, key: str, tensors: Tensors, what: str) -> tuple[Kind, str]:
        dtype = torch.float32 if kind == "heatmaps" else self._spec.dtype
        for name, tensor in tensors.items():
            if tensor.is_floating_point() and not tensor.to(dtype).isfinite().all():
                raise MediaError(
                    f"{what}: its {name} is not finite in {dtype}; set data.cache_dtype to bfloat16 or float32,"
                    " or encode in a wider precision"
                )
        self._entries.write(kind, key, {name: tensor.cpu() for name, tensor in tensors.items()}, dtype)
        return kind, key
