"""Where training clips come from. A source is an endless sequence: a batch is the same in every run and process."""

import hashlib
import statistics
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from motionfocal.data.files import VideoFile
from motionfocal.data.held_out import Part, part_of
from motionfocal.data.manifest import Caption, is_sharded, read_manifest
from motionfocal.data.windows import Bucket, BucketedOrder, Footage, Sampling, Window, rng_of
from motionfocal.errors import ManifestError, MediaError, ShapeError
from motionfocal.models.protocol import ClipShape
from motionfocal.settings import Settings
from motionfocal.video import Clip, probe, read_clip
from motionfocal.worlds import SpritesSettings, SpritesWorld

_SIDE = 64
Side = Annotated[int, Field(ge=8)]
CacheDtype = Literal["float32", "bfloat16", "float16"]


@dataclass(frozen=True)
class Example:
    """One clip to train on. ``key`` names the clip where a source repeats it, and is None where it never does.

    ``moving``, bool ``[T,H,W]``, is what truly moves; None where nobody knows it, as in clips from files. ``unread``
    are the clips that it stands in for, by id, and why they could not be read.
    """

    frames: NDArray[np.uint8]
    text: str
    fps: float
    key: str | None = None
    moving: NDArray[np.bool_] | None = None
    unread: Mapping[str, str] = field(default_factory=dict)


class ClipSource(Protocol):
    """An endless sequence of batches; the examples of one batch have one shape."""

    @property
    def fingerprint(self) -> str:
        """A short hash of what its batches are drawn from: the clips and their texts, in their order."""
        ...

    @property
    def shapes(self) -> Sequence[ClipShape]:
        """Every shape that occurs, the most common one first."""
        ...

    @property
    def shape(self) -> ClipShape:
        """The most common shape."""
        ...

    def batch(self, step: int, size: int, clips: range | None = None) -> list[Example]:
        """The batch of a step (0 or more), or its examples at some places: a pure function of step, size and place."""
        ...

    def __getitem__(self, number: int) -> Example:
        """One clip by its number (0 or more), and no other in its place. Raises MediaError when it cannot be read."""
        ...


class SpritesData(Settings):
    """Clips of the sprites world."""

    kind: Literal["sprites"] = "sprites"
    clips: int | None = Field(
        None, ge=1, description="Different clips, which come back every epoch; unset: endless, none comes twice."
    )
    world: SpritesSettings = Field(default_factory=SpritesSettings, description="What the world looks like.")


class FolderData(Settings):
    """Clips with texts: a folder and a table, or tar shards."""

    kind: Literal["folder"] = "folder"
    videos: Path | tuple[Path, ...] = Field(
        description="Folder of the clips; or tar shards: a path, a glob, a range shard-{0000..0012}.tar, or a list."
    )
    captions: Path | None = Field(
        None,
        description="CSV or JSONL with a text column and a file or id column, or a prompts.txt with a videos.txt beside"
        " it. Unset: metadata.csv, metadata.jsonl or prompts.txt in the folder of the clips.",
    )
    held_out: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Share of the clips that is kept out of the training, by a hash of their ids: validation samples"
        " and measures these, and 'motionfocal benchmark' makes a benchmark of them.",
    )
    frames: int | tuple[int, ...] = Field(
        16, description="Frames a clip; of several lengths, a clip takes the longest that it can fill."
    )
    stride: int | tuple[int, int] = Field(
        1,
        description="Take every n-th frame, from the first on; of [least, most], the stride and the start are drawn"
        " anew for every example.",
    )
    height: Side = Field(_SIDE, description="Clips are scaled to cover this height ...")
    width: Side = Field(_SIDE, description="... and this width, and cropped around the centre.")
    buckets: tuple[tuple[Side, Side], ...] | None = Field(
        None,
        description="Sizes [height, width] in place of the one above; a clip takes the nearest in aspect ratio.",
    )
    cache: Path | None = Field(
        None, description="Folder that 'motionfocal prepare' fills and training reads. Unset: clips are read anew."
    )
    cache_dtype: CacheDtype = Field(
        "float32", description="What latents and embeddings are rounded to in the cache, where they are wider."
    )
    windows_per_clip: int = Field(1, ge=1, description="Windows of each clip in the cache, each drawn once.")
    window_seed: int = Field(
        0, ge=0, description="Draws the windows of the cache, whatever the run's seed, so that runs can share it."
    )

    @property
    def sampling(self) -> Sampling:
        """How windows are chosen."""
        lengths = (self.frames,) if isinstance(self.frames, int) else self.frames
        stride = (self.stride, self.stride) if isinstance(self.stride, int) else self.stride
        sizes = self.buckets or ((self.height, self.width),)
        return Sampling(lengths, sizes, stride, drawn=not isinstance(self.stride, int))

    def clips(self, part: Part | None = None) -> list[Caption]:
        """The clips with their texts: all of them, or a part. Raises ManifestError, see ``read_manifest``."""
        found = read_manifest(self.videos, self.captions)
        return found if part is None else part_of(found, self.held_out, part)

    @field_validator("videos", mode="before")
    @classmethod
    def _places(cls, value: object) -> object:
        places = value if isinstance(value, list | tuple) else [value]
        if not places or not all(isinstance(place, str | Path) for place in places):
            raise ValueError(f"expected the path of a folder or of tar shards, or a list of shards, got {value!r}")
        return value

    @field_validator("frames", mode="before")
    @classmethod
    def _lengths(cls, value: object) -> object:
        numbers = _numbers(value)
        if not numbers or min(numbers) < 2:
            raise ValueError(f"expected a number of frames from 2 on, or a list of them, got {value!r}")
        if len(set(numbers)) < len(numbers):
            raise ValueError(f"a length stands twice in {value!r}")
        return value

    @field_validator("stride", mode="before")
    @classmethod
    def _strides(cls, value: object) -> object:
        numbers = _numbers(value)
        pair = isinstance(value, list | tuple)
        if not numbers or min(numbers) < 1 or (pair and len(numbers) != 2) or numbers[0] > numbers[-1]:
            raise ValueError(f"expected a number from 1 on, or [least, most], got {value!r}")
        return value

    @field_validator("buckets")
    @classmethod
    def _different_ratios(cls, sizes: tuple[tuple[int, int], ...] | None) -> tuple[tuple[int, int], ...] | None:
        if sizes == ():
            raise ValueError("expected at least one size [height, width]")
        for n, (height, width) in enumerate(sizes or ()):
            for other in (sizes or ())[:n]:
                if height * other[1] == width * other[0]:
                    raise ValueError(
                        f"{list(other)} and {[height, width]} have one aspect ratio: no clip would take the second"
                    )
        return sizes

    @model_validator(mode="after")
    def _no_setting_without_effect(self) -> "FolderData":
        if self.captions is not None and is_sharded(self.videos):
            raise ValueError("captions have no effect with tar shards, which hold their texts; leave them out")
        if self.buckets is not None and (self.height, self.width) != (_SIDE, _SIDE):
            raise ValueError("height and width have no effect with buckets; leave them out")
        if self.windows_per_clip > 1 and not self.sampling.drawn:
            raise ValueError("windows_per_clip would take the same window again; set stride to a range [least, most]")
        if self.window_seed and not self.sampling.drawn:
            raise ValueError("window_seed has no effect with a fixed stride; leave it out")
        without = {"windows_per_clip": 1, "window_seed": 0, "cache_dtype": "float32"}
        for name, default in without.items():
            if self.cache is None and getattr(self, name) != default:
                raise ValueError(f"{name} has no effect without a cache; leave it out, or set cache")
        return self


def _numbers(value: object) -> list[int]:
    """A whole number or a list of them as a list; empty for anything else."""
    values = list(value) if isinstance(value, list | tuple) else [value]
    return [number for number in values if type(number) is int] if all(type(n) is int for n in values) else []


DataSettings = Annotated[SpritesData | FolderData, Field(discriminator="kind")]


class SpritesSource:
    """Clips drawn from the world when they are asked for; held-out combinations never appear."""

    def __init__(self, settings: SpritesData, seed: int) -> None:
        self._world, self._clips, self._seed = SpritesWorld(settings.world), settings.clips, seed
        self._drawn: dict[int, Example] = {}
        world = settings.world
        self.shape = ClipShape(frames=world.frames, height=world.size, width=world.size, fps=world.fps)
        self.shapes = (self.shape,)
        self.fingerprint = settings.fingerprint()

    def batch(self, step: int, size: int, clips: range | None = None) -> list[Example]:
        """See ``ClipSource``: examples ``step * size`` to ``(step + 1) * size - 1`` of the world."""
        places = range(size) if clips is None else clips
        return [self[step * size + place] for place in places]

    def __getitem__(self, index: int) -> Example:
        """Example ``index`` (0 or more): a pure function of the seed and the index."""
        if self._clips is None:
            return self._draw(index, key=None)
        index %= self._clips
        if index not in self._drawn:
            self._drawn[index] = self._draw(index, key=str(index))
        return self._drawn[index]

    def _draw(self, index: int, key: str | None) -> Example:
        rng = np.random.default_rng((self._seed, index))
        scene = self._world.scene_for(1, rng, "train")
        action = self._world.action(scene, rng, "train")
        frames = self._world.render(scene, action, rng)
        moving = self._world.moving_mask(scene, action)
        return Example(frames, self._world.text(scene, action), self.shape.fps, key, moving)


@dataclass(frozen=True)
class Shot:
    """A clip that can be used: its text, what its file holds, and its bucket."""

    caption: Caption
    footage: Footage
    bucket: Bucket


@dataclass(frozen=True)
class Rejected:
    """A clip that could not be used, and why. The reason begins with the clip's path."""

    path: Path
    reason: str


class FolderSource:
    """Clips of a data set, read when they are asked for.

    Where one cannot be read, the next one of its bucket that can be takes its place: which one depends on the files
    alone, so that a run that goes on sees the same clips.
    """

    def __init__(self, sampling: Sampling, shots: Sequence[Shot], seed: int) -> None:
        self._sampling, self._shots, self._seed = sampling, shots, seed
        self._order = BucketedOrder([shot.bucket for shot in shots], seed)
        self._alike: dict[Bucket, list[int]] = {}
        for item, shot in enumerate(shots):
            self._alike.setdefault(shot.bucket, []).append(item)
        self.shapes = shapes_of([(shot.bucket, sampling.usual_fps(shot.footage)) for shot in shots])
        clips = ((shot.caption.id, shot.caption.text, shot.footage) for shot in shots)
        self.fingerprint = fingerprint_of(clips, self._order)

    def __len__(self) -> int:
        return len(self._shots)

    def __getitem__(self, number: int) -> Example:
        """One clip, and no other in its place. Raises MediaError when it cannot be read."""
        return self._read(self._shots[number], rng_of("clip", self._seed, self._shots[number].caption.id))

    @property
    def numbers(self) -> dict[str, int]:
        """The number of each clip, by its id."""
        return {shot.caption.id: number for number, shot in enumerate(self._shots)}

    def bucket(self, number: int) -> Bucket:
        """The bucket of a clip."""
        return self._shots[number].bucket

    @property
    def shape(self) -> ClipShape:
        """See ``ClipSource``."""
        return self.shapes[0]

    @property
    def texts(self) -> list[str]:
        """The text of each clip."""
        return [shot.caption.text for shot in self._shots]

    def batch(self, step: int, size: int, clips: range | None = None) -> list[Example]:
        """See ``ClipSource``. Raises MediaError when not a single clip of the batch's bucket can be read."""
        items, places = self._order.batch(step, size), range(size) if clips is None else clips
        return [self._example(items[place], step * size + place) for place in places]

    def _example(self, item: int, number: int) -> Example:
        unread: dict[str, str] = {}
        for shot in self._from(item):
            try:
                return replace(self._read(shot, rng_of("example", self._seed, number)), unread=unread)
            except MediaError as error:
                unread[shot.caption.id] = str(error)
        bucket, first = self._shots[item].bucket, next(iter(unread.values()))
        raise MediaError(f"none of {len(unread)} clips of {bucket} can be read any more; first: {first}")

    def _read(self, shot: Shot, rng: np.random.Generator) -> Example:
        clip = read_window(shot.caption.video, self._sampling.window(shot.footage, rng))
        key = None if self._sampling.drawn else shot.caption.id
        return Example(clip.frames, shot.caption.text, clip.fps, key)

    def _from(self, item: int) -> Iterator[Shot]:
        """The clips of an item's bucket, from the item on and round."""
        alike = self._alike[self._shots[item].bucket]
        place = bisect_left(alike, item)
        return (self._shots[alike[(place + n) % len(alike)]] for n in range(len(alike)))


def load_folder(
    settings: FolderData,
    seed: int,
    track: Callable[[list[Caption]], Iterable[Caption]] = iter,
    part: Part = "training",
) -> tuple[FolderSource, list[Rejected]]:
    """Look at every clip of a part of a data set; a bad one is rejected with its reason and the others go on.

    ``track`` wraps the list of captions, to show progress.

    Raises:
        ManifestError: the data set's table or shards are wrong, or not a single clip can be used.
    """
    shots: list[Shot] = []
    rejected: list[Rejected] = []
    for caption in track(settings.clips(part)):
        try:
            shots.append(shot_of(caption, look_at(caption.video), settings.sampling))
        except MediaError as error:
            rejected.append(Rejected(caption.video.path, str(error)))
    if not shots:
        raise ManifestError(f"none of {len(rejected)} {part} clips can be used; first: {rejected[0].reason}")
    return FolderSource(settings.sampling, shots, seed), rejected


def look_at(video: VideoFile) -> Footage:
    """What a file holds, in one pass over its packets and its first frame; of one cut off, what is there.

    Raises:
        MediaError: no video can be read from it.
    """
    with video.opened() as path:
        info = probe(path)
    return Footage(info.readable, info.height, info.width, info.fps)


def shot_of(caption: Caption, footage: Footage, sampling: Sampling) -> Shot:
    """A clip in its bucket. Raises MediaError when it is too short."""
    try:
        return Shot(caption, footage, sampling.bucket(footage))
    except ShapeError as error:
        raise MediaError(f"{caption.video}: {error}") from error


def read_window(video: VideoFile, window: Window) -> Clip:
    """The frames of a window. Raises MediaError when they cannot be read."""
    size = (window.height, window.width)
    with video.opened() as path:
        return read_clip(path, frames=window.frames, stride=window.stride, start=window.start, size=size)


def fingerprint_of(clips: Iterable[object], order: BucketedOrder) -> str:
    """A short hash of what tells the clips of a source, and of the scheme by which they are ordered."""
    digest = hashlib.sha256(order.scheme.encode())
    for clip in clips:
        digest.update(f"{clip!r}\n".encode())
    return digest.hexdigest()[:16]


def shapes_of(clips: Sequence[tuple[Bucket, float]]) -> tuple[ClipShape, ...]:
    """The shapes of clips given by bucket and fps, the most common first, each with the median fps."""
    by_bucket: dict[Bucket, list[float]] = {}
    for bucket, fps in clips:
        by_bucket.setdefault(bucket, []).append(fps)
    ordered = sorted(by_bucket.items(), key=lambda entry: (-len(entry[1]), entry[0]))
    return tuple(
        ClipShape(frames=bucket.frames, height=bucket.height, width=bucket.width, fps=statistics.median(rates))
        for bucket, rates in ordered
    )
