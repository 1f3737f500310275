"""What ``motionfocal prepare`` would do: counts, latent grids and bytes, before anything is decoded or encoded."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from motionfocal.data.cache import CachedWindow, CacheSpec, Stock, take_stock
from motionfocal.data.cache_folder import WHOLE, Kind, Shard
from motionfocal.data.prepare import Progress, look, silent
from motionfocal.data.sources import Rejected
from motionfocal.data.windows import Bucket
from motionfocal.motion.latent import Grid

_MEASURED = 64
"""Entries whose sizes are looked at to tell that of all."""


@dataclass(frozen=True)
class Amount:
    """Entries of a cache, how many of them are ``there``, and their ``bytes``.

    The bytes are ``measured`` from entries that are there; else they are those of the latents and heat alone, without
    the conditions, which only the model knows.
    """

    entries: int
    there: int
    bytes: int
    measured: bool


@dataclass(frozen=True)
class BucketPlan:
    """The windows of one shape. ``grid`` is that of their latents, whose cells are tokens before any patching."""

    bucket: Bucket
    clips: int
    windows: int
    grid: Grid
    latents: Amount
    heatmaps: Amount

    @property
    def cells(self) -> int:
        """Latent cells of a clip."""
        return math.prod(self.grid)


@dataclass(frozen=True)
class Plan:
    """What ``prepare`` would find and make; ``rejected`` clips are those that are known, or found, to be of no use."""

    buckets: list[BucketPlan]
    texts: Amount
    rejected: list[Rejected]


def plan(spec: CacheSpec, *, shard: Shard = WHOLE, progress: Progress = silent) -> Plan:
    """What ``prepare`` would do. Reads no clip but to probe new ones, loads no model, writes nothing.

    A file that was never hashed counts as one that has no entries. Raises as ``prepare``.
    """
    captions, files = spec.captions(shard), spec.folder.files()
    for _ in look(captions, files, "never hashed: {}".format, progress):
        pass
    stock = take_stock(spec, captions, files)
    by_bucket: dict[Bucket, list[CachedWindow]] = {}
    for window in stock.windows:
        by_bucket.setdefault(window.bucket, []).append(window)
    buckets = [_bucket_plan(stock, bucket, by_bucket[bucket]) for bucket in sorted(by_bucket)]
    return Plan(buckets, _amount(stock, "texts", stock.needed("texts"), 0), stock.rejected)


def _bucket_plan(stock: Stock, bucket: Bucket, windows: Sequence[CachedWindow]) -> BucketPlan:
    spec = stock.spec
    grid = spec.latent.grid(*bucket)
    cells = math.prod(grid)
    return BucketPlan(
        bucket=bucket,
        clips=len({window.caption.id for window in windows}),
        windows=len(windows),
        grid=grid,
        latents=_amount(
            stock,
            "latents",
            {window.keys.latents for window in windows},
            cells * spec.latent.channels * spec.dtype.itemsize,
        ),
        heatmaps=_amount(stock, "heatmaps", {window.keys.heatmaps for window in windows}, cells),
    )


def _amount(stock: Stock, kind: Kind, keys: set[str], least: int) -> Amount:
    """``least`` are the bytes that an entry has at least."""
    there = keys & stock.there[kind]
    sizes = [stock.spec.folder.path(kind, key).stat().st_size for key in sorted(there)[:_MEASURED]]
    each = sum(sizes) / len(sizes) if sizes else least
    return Amount(len(keys), len(there), round(each * len(keys)), measured=bool(sizes))
