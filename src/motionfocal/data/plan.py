"""What ``motionfocal prepare`` would do: counts, latent grids and bytes, before anything is decoded or encoded."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from motionfocal.data.cache import CachedWindow, CacheSpec, Stock, take_stock
from motionfocal.data.cache_folder import KINDS, Kind
from motionfocal.data.prepare import Progress, look, silent
from motionfocal.data.sources import Rejected
from motionfocal.data.windows import Bucket
from motionfocal.models.protocol import ClipShape, Condition
from motionfocal.motion.latent import Grid
from motionfocal.shard import WHOLE, Shard

Blank = Callable[[ClipShape, int], Condition]
"""``VideoModel.blank``."""

_MEASURES = 8
"""Bytes of the two figures beside a heatmap."""


@dataclass(frozen=True)
class Amount:
    """Entries of a kind, how many of them are ``there``, and the ``bytes`` of the tensors of all of them."""

    entries: int
    there: int
    bytes: int


@dataclass(frozen=True)
class BucketPlan:
    """The windows of one shape. ``grid`` is that of their latents, whose cells are tokens before any patching."""

    bucket: Bucket
    clips: int
    windows: int
    grid: Grid

    @property
    def cells(self) -> int:
        """Latent cells of a clip."""
        return math.prod(self.grid)


@dataclass(frozen=True)
class Plan:
    """What ``prepare`` would find and make; ``rejected`` clips are those that are known, or found, to be of no use."""

    buckets: list[BucketPlan]
    amounts: dict[Kind, Amount]
    rejected: list[Rejected]


def plan(spec: CacheSpec, blank: Blank, *, shard: Shard = WHOLE, progress: Progress = silent) -> Plan:
    """What ``prepare`` would do. Reads no clip but to probe new ones, loads no weights, writes nothing.

    A file that was never hashed counts as one that has no entries. Raises as ``prepare``.
    """
    captions, files = spec.captions(shard), spec.folder.files()
    for _ in look(captions, files, "never hashed: {}".format, progress):
        pass
    stock = take_stock(spec, captions, files)
    by_bucket: dict[Bucket, list[CachedWindow]] = {}
    for window in stock.windows:
        by_bucket.setdefault(window.bucket, []).append(window)
    buckets = [
        BucketPlan(
            bucket,
            clips=len({window.caption.id for window in by_bucket[bucket]}),
            windows=len(by_bucket[bucket]),
            grid=spec.latent.grid(*bucket),
        )
        for bucket in sorted(by_bucket)
    ]
    return Plan(buckets, {kind: _amount(stock, kind, by_bucket, blank) for kind in KINDS}, stock.rejected)


def _amount(stock: Stock, kind: Kind, by_bucket: dict[Bucket, list[CachedWindow]], blank: Blank) -> Amount:
    """Texts are alike in all buckets; of the others, each bucket has entries of its own."""
    needed = stock.needed(kind)
    if kind == "texts":
        any_bucket = next(iter(by_bucket), None)
        total = len(needed) * _entry_bytes(stock.spec, kind, any_bucket, blank) if any_bucket else 0
    else:
        total = sum(
            len({getattr(window.keys, kind) for window in windows}) * _entry_bytes(stock.spec, kind, bucket, blank)
            for bucket, windows in by_bucket.items()
        )
    return Amount(len(needed), len(needed & stock.there[kind]), total)


def _entry_bytes(spec: CacheSpec, kind: Kind, bucket: Bucket, blank: Blank) -> int:
    """Of the tensors of one entry."""
    grid = spec.latent.grid(*bucket)
    if kind == "heatmaps":
        return math.prod(grid) + _MEASURES
    with torch.device("meta"):
        condition = blank(ClipShape(**bucket._asdict(), fps=1), 1)
        latents = torch.zeros(spec.latent.channels, *grid)
    tensors = condition.text.values() if kind == "texts" else [latents, *condition.image.values()]
    return _stored_bytes(tensors, spec.dtype)


def _stored_bytes(tensors: Iterable[Tensor], dtype: torch.dtype) -> int:
    """Of tensors as a cache keeps them: floating-point ones no wider than a dtype."""
    return sum(
        tensor.numel() * (min(tensor.itemsize, dtype.itemsize) if tensor.is_floating_point() else tensor.itemsize)
        for tensor in tensors
    )
