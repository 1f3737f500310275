"""What is done for one window, in whatever process: it is read, its motion is measured, it is encoded and written."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from motionfocal.data.cache import CachedWindow, CacheSpec
from motionfocal.data.cache_folder import EntryWriter, Kind
from motionfocal.data.files import VideoFile
from motionfocal.data.sources import read_window
from motionfocal.data.windows import Bucket
from motionfocal.errors import MediaError, ShapeError
from motionfocal.models.protocol import Tensors, VideoModel
from motionfocal.motion import motion_of, moving_share, pool_to_latent

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
class Measured:
    """The heatmap's entry of a window, and what there is to warn of."""

    entry: Tensors
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Read:
    """A window as it was read: frames uint8 ``[T,H,W,3]``, where something is still to be made of them, and its motion.

    The motion is None where it is not lacking, or a network is to measure it.
    """

    task: Task
    frames: Tensor | None = None
    motion: Measured | None = None
    failure: str = ""


@dataclass(frozen=True)
class Reader:
    """Reads a window and measures its motion, unless a network does: that is work for a GPU, as encoding is."""

    spec: CacheSpec

    def __call__(self, task: Task) -> Read:
        """What a window's task asks for, or why it cannot be had."""
        if not task.latents and not task.heatmap:
            return Read(task)
        video, left_to_maker = task.window.caption.video, self.spec.motion.uses_network
        try:
            frames = torch.from_numpy(read_window(video, task.window.window).frames)
        except MediaError as error:
            return Read(task, failure=str(error))
        motion = measured(self.spec, video, frames) if task.heatmap and not left_to_maker else None
        return Read(task, frames if task.latents or left_to_maker else None, motion)


def measured(spec: CacheSpec, video: VideoFile, frames: Tensor) -> Measured:
    """How the frames of a window move, uint8 ``[T,H,W,3]``."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        motion = motion_of(frames.numpy(), spec.motion)
    pooled = pool_to_latent(motion.heat, spec.latent)
    entry = {
        "heat": (255 * pooled).round().to(torch.uint8),
        "score": torch.tensor(motion.score),
        "moving_share": torch.tensor(moving_share(motion.heat)),
    }
    return Measured(entry, tuple(f"{video}: {warning.message}" for warning in caught))


@dataclass(frozen=True)
class Made:
    """The entries that were written for a window, by kind and name, and the heatmap's figures; or why not."""

    written: tuple[tuple[Kind, str], ...] = ()
    figures: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    failure: str = ""


class Maker:
    """Encodes and writes what was read; of a window that could not be read the texts, which others may need."""

    def __init__(self, spec: CacheSpec, load: Callable[[], VideoModel], entries: EntryWriter) -> None:
        self._spec, self._load, self._entries = spec, load, entries

    @cached_property
    def _model(self) -> VideoModel:
        """The model, loaded when there is first something to encode."""
        return self._load()

    def __call__(self, read: Read) -> Made:
        """Raises ShapeError when the model's latents have another grid, CheckpointError when nothing can be written."""
        keys, video = read.task.window.keys, str(read.task.window.caption.video)
        written, motion, failure = list[tuple[Kind, str]](), read.motion, ""
        try:
            written += [self.write_text(text) for text in read.task.texts]
            if read.failure:
                raise MediaError(read.failure)
            latents, motion = self._computed(read)
            if latents is not None:
                written.append(self._write("latents", keys.latents, latents, video))
            if motion is not None:
                written.append(self._write("heatmaps", keys.heatmaps, motion.entry, video))
        except MediaError as error:
            failure = str(error)
        figures = {name: float(motion.entry[name]) for name in FIGURES} if motion else {}
        return Made(tuple(written), figures, motion.notes if motion else (), failure)

    def _computed(self, read: Read) -> tuple[Tensors | None, Measured | None]:
        """Latents and motion, where they are lacking. Raises MediaError when the GPU has too little memory for them."""
        task, frames, motion = read.task, read.frames, read.motion
        video, bucket = task.window.caption.video, task.window.bucket
        if frames is None:
            return None, motion
        try:
            if task.heatmap and motion is None:
                motion = measured(self._spec, video, frames)
            return self._latents(frames, bucket) if task.latents else None, motion
        except torch.OutOfMemoryError:
            pass  # the error holds what fills the memory, until here
        torch.cuda.empty_cache()
        raise MediaError(
            f"{video}: {bucket} is more than the GPU has memory for; set data.frames or the size (data.height and"
            " data.width, or data.buckets) lower, or run again on a larger GPU"
        )

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
