"""What a cache must hold for a config, whether it does, and reading training examples from it.

Frozen work is done once: latents and image conditions, text embeddings, heatmaps. The name of an entry is a hash of
everything that it was made of, so an entry is never out of date, only unused, and another heatmap encodes nothing anew.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from motionfocal.data.cache_folder import DTYPES, KINDS, CacheFolder, FileFacts, Kind
from motionfocal.data.files import Stamp
from motionfocal.data.held_out import Part
from motionfocal.data.manifest import Caption
from motionfocal.data.sources import FolderData, Rejected, fingerprint_of, shapes_of
from motionfocal.data.windows import Bucket, BucketedOrder, Window, rng_of
from motionfocal.errors import CheckpointError, ConfigError, ManifestError, MediaError, ShapeError
from motionfocal.jsonl import Row
from motionfocal.models.protocol import ClipShape, Tensors
from motionfocal.motion import LatentSpec
from motionfocal.motion.heatmap import HeatmapSettings
from motionfocal.settings import dotted
from motionfocal.shard import WHOLE, Shard

_VERSION = 1
"""Part of every entry's name: raise it when the same settings make other entries."""


class Keys(NamedTuple):
    """Names of a window's entries, one of each kind."""

    latents: str
    texts: str
    heatmaps: str


@dataclass(frozen=True)
class CachedWindow:
    """A window of a clip, and the names of its entries."""

    caption: Caption
    n: int
    content: str
    window: Window
    fps: float
    keys: Keys

    @property
    def bucket(self) -> Bucket:
        """Frames, height and width."""
        return Bucket(self.window.frames, self.window.height, self.window.width)


@dataclass(frozen=True)
class CacheSpec:
    """All that decides what a cache holds.

    ``encoder`` is the fingerprint of the frozen half of a model, ``latent`` the grid of its latents.
    """

    data: FolderData
    motion: HeatmapSettings
    latent: LatentSpec
    encoder: str

    @property
    def folder(self) -> CacheFolder:
        """The cache. Raises ConfigError when the settings name none."""
        if self.data.cache is None:
            raise ConfigError("data.cache: unset; name the folder that holds, or shall hold, what is prepared")
        return CacheFolder(self.data.cache)

    def captions(self, shard: Shard = WHOLE) -> list[Caption]:
        """The clips of the data set, or those of a shard. Raises ManifestError."""
        return [caption for caption in self.data.clips() if shard.holds(caption.id)]

    def windows(self, caption: Caption, facts: FileFacts) -> list[CachedWindow]:
        """The windows that the cache must hold of a clip. Raises MediaError when it is too short."""
        try:
            self.data.sampling.bucket(facts.footage)
        except ShapeError as error:
            raise MediaError(f"{caption.video}: {error}") from error
        found = []
        for n in range(self.data.windows_per_clip):
            window = self.data.sampling.window(facts.footage, rng_of("window", self.data.window_seed, caption.id, n))
            fps = facts.footage.fps / window.stride
            found.append(CachedWindow(caption, n, facts.content, window, fps, self._keys(caption, facts, window)))
        return found

    def text_key(self, text: str) -> str:
        """Name of a text's entry."""
        return _key("texts", text, self.encoder, self.data.cache_dtype)

    def made_of(self, window: CachedWindow) -> Row:
        """What the entries of a window are made of, by the names of settings; a change of any changes an entry."""
        return {
            "content": window.content,
            "window": dict(vars(window.window)),
            "text": window.caption.text,
            "encoder": self.encoder,
            "cache_dtype": self.data.cache_dtype,
            "latent": self._grid,
            "motion": self._motion,
        }

    def _keys(self, caption: Caption, facts: FileFacts, window: Window) -> Keys:
        frames = (facts.content, vars(window))
        return Keys(
            _key("latents", *frames, self.encoder, self.data.cache_dtype),
            self.text_key(caption.text),
            _key("heatmaps", *frames, self._grid, self._motion),
        )

    @property
    def dtype(self) -> torch.dtype:
        """What wider tensors are rounded to."""
        return DTYPES[self.data.cache_dtype]

    @cached_property
    def _grid(self) -> Row:
        """All that pooling looks at."""
        return {name: value for name, value in vars(self.latent).items() if name not in ("channels", "layout")}

    @cached_property
    def _motion(self) -> Row:
        return {**self.motion.model_dump(mode="json"), "version": self.motion.version}


def _key(*parts: object) -> str:
    return hashlib.sha256(json.dumps([_VERSION, *parts]).encode()).hexdigest()


@dataclass(frozen=True)
class Stock:
    """What a cache must hold, against what it holds.

    ``windows`` are all that the clips offer, ``there`` the entries of each kind that exist. ``unknown`` clips were
    never looked at, ``rejected`` ones cannot be used, and ``failed`` says of windows why they could not be prepared.
    """

    spec: CacheSpec
    windows: list[CachedWindow]
    unknown: list[Caption]
    rejected: list[Rejected]
    failed: dict[Keys, str]
    there: dict[Kind, set[str]]

    def needed(self, kind: Kind) -> set[str]:
        """The names of all entries of a kind that the cache must hold."""
        empty = {self.spec.text_key("")} if kind == "texts" else set()
        return empty | {getattr(window.keys, kind) for window in self.windows}

    def lacks(self, window: CachedWindow, kind: Kind) -> bool:
        """Whether a window's entry of a kind is missing."""
        return getattr(window.keys, kind) not in self.there[kind]

    def is_complete(self, window: CachedWindow) -> bool:
        """Whether all entries of a window are there."""
        return not any(self.lacks(window, kind) for kind in KINDS)

    def failure(self, window: CachedWindow) -> Rejected | None:
        """Why an entry that a window lacks could not be made, as far as that is known."""
        reason = self.failed.get(window.keys)
        return Rejected(window.caption.video.path, reason) if reason and not self.is_complete(window) else None


def take_stock(spec: CacheSpec, captions: Sequence[Caption], files: Mapping[Stamp, FileFacts | str]) -> Stock:
    """Compare a cache with what the clips of a data set need; opens neither a clip nor an entry.

    Raises:
        ShapeError: a bucket does not fit the model's latent grid.
        ConfigError: the settings name no cache.
        DamagedFileError: a line of the index is damaged.
    """
    data = spec.data
    for length in data.sampling.lengths:
        for size in data.sampling.sizes:
            spec.latent.grid(length, *size)
    folder = spec.folder
    rejected = (row for row in folder.clips() if "rejected" in row and "keys" in row)
    failed = {Keys(**cast("Any", row["keys"])): str(row["rejected"]) for row in rejected}
    stock = Stock(spec, [], [], [], failed, {kind: folder.keys(kind) for kind in KINDS})
    for caption in captions:
        try:
            facts = files.get(caption.video.stamp())
            if facts is None:
                stock.unknown.append(caption)
            elif isinstance(facts, str):
                stock.rejected.append(Rejected(caption.video.path, facts))
            else:
                stock.windows.extend(spec.windows(caption, facts))
        except MediaError as error:
            stock.rejected.append(Rejected(caption.video.path, str(error)))
    return stock


@dataclass(frozen=True)
class EncodedExample:
    """A clip as training takes it, without a batch axis.

    latents: float32 ``[C,T',h,w]``. image, text: see ``VideoModel``. heat: float32 ``[T',h,w]`` in [0,1], to 1/510.
    score: mean length of the flow, pixels a frame. fps: as the model sees it. caption: the text. key: names the window.
    """

    latents: Tensor
    image: Tensors
    text: Tensors
    heat: Tensor
    score: float
    fps: float
    caption: str
    key: str


class CacheSource:
    """Examples from a cache that ``motionfocal prepare`` filled; decodes and encodes nothing."""

    def __init__(self, spec: CacheSpec, seed: int, part: Part = "training") -> None:
        """Open a cache for a part of the clips; ``seed`` shuffles.

        Raises:
            CheckpointError: the cache lacks something that the settings ask for.
            ManifestError: the table or the shards are wrong, or not a single clip can be used.
            ShapeError, ConfigError, DamagedFileError: see ``take_stock``.
        """
        self._spec, self._folder = spec, spec.folder
        captions = spec.data.clips(part)
        stock = take_stock(spec, captions, self._folder.files())
        self._windows = [window for window in stock.windows if stock.is_complete(window)]
        failures = [failure for window in stock.windows if (failure := stock.failure(window))]
        self.rejected = list(dict.fromkeys(stock.rejected + failures))
        _require_complete(stock)
        if not self._windows:
            raise ManifestError(f"none of {len(captions)} {part} clips can be used; first: {self.rejected[0].reason}")
        self._order = BucketedOrder([window.bucket for window in self._windows], seed)
        self.shapes = shapes_of([(window.bucket, window.fps) for window in self._windows])
        windows = ((window.caption.id, window.n, window.keys) for window in self._windows)
        self.fingerprint = fingerprint_of(windows, self._order)

    def __len__(self) -> int:
        return len(self._windows)

    def __getitem__(self, number: int) -> EncodedExample:
        """One window. Raises DamagedFileError as ``batch``."""
        return self._example(self._windows[number])

    @property
    def numbers(self) -> dict[str, int]:
        """The number of the first window of each clip, by the clip's id."""
        return {window.caption.id: number for number, window in reversed(list(enumerate(self._windows)))}

    def bucket(self, number: int) -> Bucket:
        """The bucket of a window."""
        return self._windows[number].bucket

    @property
    def shape(self) -> ClipShape:
        """The most common shape."""
        return self.shapes[0]

    @property
    def texts(self) -> list[str]:
        """The text of each window."""
        return [window.caption.text for window in self._windows]

    def batch(self, step: int, size: int, clips: range | None = None) -> list[EncodedExample]:
        """The batch of a step, or its examples at some places: a pure function of step, size and place.

        Raises:
            DamagedFileError: an entry is missing or cannot be read.
        """
        items, places = self._order.batch(step, size), range(size) if clips is None else clips
        return [self._example(self._windows[items[place]]) for place in places]

    def text(self, text: str) -> Tensors:
        """What ``encode_text`` said of a text of the data set, or of the empty one; without a batch axis."""
        return self._folder.read("texts", self._spec.text_key(text))

    def _example(self, window: CachedWindow) -> EncodedExample:
        entry = self._folder.read("latents", window.keys.latents)
        motion = self._folder.read("heatmaps", window.keys.heatmaps)
        return EncodedExample(
            latents=entry["latents"],
            image={name.removeprefix("image."): t for name, t in entry.items() if name.startswith("image.")},
            text=self.text(window.caption.text),
            heat=motion["heat"].float() / 255,
            score=float(motion["score"]),
            fps=window.fps,
            caption=window.caption.text,
            key=self._key(window),
        )

    def _key(self, window: CachedWindow) -> str:
        alone = self._spec.data.windows_per_clip == 1
        return window.caption.id if alone else f"{window.caption.id}@{window.n}"


def _require_complete(stock: Stock) -> None:
    """Raise CheckpointError with what is missing, but for what failed, and which settings changed since."""
    lacking = [window for window in stock.windows if not stock.is_complete(window) and not stock.failure(window)]
    counts = [f"{sum(stock.lacks(window, kind) for window in lacking)} {kind}" for kind in KINDS]
    no_text = stock.spec.text_key("") not in stock.there["texts"]
    if not (lacking or stock.unknown or no_text):
        return
    parts = [f"of {len(stock.windows)} windows it lacks {', '.join(counts)}"] if lacking else []
    parts += [f"{len(stock.unknown)} clips were never looked at, or their files changed"] if stock.unknown else []
    parts += ["the empty text was never encoded"] if no_text else []
    changes = "".join(f"; changed since: {change}" for change in _changes(stock.spec, lacking))
    raise CheckpointError(
        f"{stock.spec.folder.root}: not ready: {'; '.join(parts)}{changes}. Run 'motionfocal prepare CONFIG'"
    )


def _changes(spec: CacheSpec, windows: Sequence[CachedWindow]) -> list[str]:
    """What the index says of these windows that is no longer so, each thing once, with the first clip's values."""
    before = {(row["id"], row["n"]): row for row in spec.folder.clips() if "rejected" not in row}
    found: dict[str, str] = {}
    for window in windows:
        if row := before.get((window.caption.id, window.n)):
            old = dotted(row)
            for name, value in dotted(spec.made_of(window)).items():
                if old.get(name) != value:
                    found.setdefault(name, f"{name} (was {old.get(name)}, is {value})")
    return list(found.values())
