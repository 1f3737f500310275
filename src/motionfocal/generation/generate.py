"""Animate items with a model, clip by clip into a gallery; what was made before is kept."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from motionfocal.generation.gallery import INDEX, Gallery, GalleryRow, read_rows
from motionfocal.generation.sampler import SamplingSettings, sample
from motionfocal.jsonl import append_jsonl, rewrite_jsonl
from motionfocal.models.build import LoadedModel
from motionfocal.settings import Settings
from motionfocal.video import write_clip


@dataclass(frozen=True)
class Item:
    """One question to a model: animate ``picture`` (uint8 ``[H,W,3]``) by ``text``.

    ``image`` names the picture; items that share it are siblings.
    """

    id: str
    image: str
    picture: NDArray[np.uint8]
    text: str


class GallerySettings(Settings):
    """What decides a clip besides its item; its fingerprint stands in every row."""

    sampling: SamplingSettings
    seed: int
    model: str
    weights: str


def generate(
    loaded: LoadedModel,
    items: Sequence[Item],
    folder: Path,
    sampling: SamplingSettings,
    *,
    weights: str,
    seed: int = 0,
    batch_size: int = 8,
    upscale: int = 1,
    progress: Callable[[int], None] = lambda clips: None,
) -> Gallery:
    """Animate every item that the gallery in ``folder`` lacks, and write each clip down as soon as it is made.

    Clips made with other settings or other ``weights`` (a hash of them) are made anew. ``upscale`` repeats pixels in
    the written file, which small worlds need to survive chroma subsampling. ``progress`` is told how many clips are
    done, first of those that were there.
    """
    made_by = GallerySettings(sampling=sampling, seed=seed, model=loaded.card.name, weights=weights).fingerprint()
    folder.mkdir(parents=True, exist_ok=True)
    kept = {
        row.id: row for row in read_rows(folder / INDEX) if row.settings == made_by and (folder / row.file).is_file()
    }
    kept = {item.id: kept[item.id] for item in items if item.id in kept}
    rewrite_jsonl(folder / INDEX, map(asdict, kept.values()))
    progress(len(kept))
    todo = [item for item in items if item.id not in kept]
    for start in range(0, len(todo), batch_size):
        group = todo[start : start + batch_size]
        seeds = [item_seed(seed, item.id) for item in group]
        pictures = np.stack([item.picture for item in group])
        clips = sample(loaded, pictures, [item.text for item in group], seeds, sampling)
        for item, clip, clip_seed in zip(group, clips, seeds, strict=True):
            row = kept[item.id] = _row(loaded, item, clip_seed, sampling, made_by)
            write_clip(folder / row.file, clip, row.fps, upscale=upscale)
            append_jsonl(folder / INDEX, asdict(row))
        progress(len(group))
    return Gallery(folder, [kept[item.id] for item in items])


def item_seed(seed: int, item: str) -> int:
    """The seed of an item's noise: the same for every model, so that two galleries start from the same noise."""
    return int.from_bytes(hashlib.sha256(f"{seed}|{item}".encode()).digest()[:6])


def _row(loaded: LoadedModel, item: Item, seed: int, sampling: SamplingSettings, made_by: str) -> GalleryRow:
    shape = loaded.card.shape
    return GalleryRow(
        id=item.id,
        image=item.image,
        text=item.text,
        file=f"{item.id}.mp4",
        model=loaded.card.name,
        native_size=(shape.height, shape.width),
        frames=shape.frames,
        fps=shape.fps,
        steps=sampling.steps,
        seed=seed,
        settings=made_by,
    )
