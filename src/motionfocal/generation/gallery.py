"""A gallery: the clips of one model on one benchmark, with one line about each."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from motionfocal.errors import GalleryError
from motionfocal.generation.sampler import SamplingSettings, sample
from motionfocal.jsonl import append_jsonl, read_jsonl, rewrite_jsonl
from motionfocal.models.build import LoadedModel
from motionfocal.settings import Settings
from motionfocal.video import write_clip

INDEX = "gallery.jsonl"


@dataclass(frozen=True)
class Item:
    """One question to a model: animate ``picture`` (uint8 ``[H,W,3]``) by ``text``.

    ``image`` names the picture; items that share it are siblings.
    """

    id: str
    image: str
    picture: NDArray[np.uint8]
    text: str


@dataclass(frozen=True)
class GalleryRow:
    """One clip. ``file`` is relative to the gallery; ``native_size`` is the model's (height, width) in pixels."""

    id: str
    image: str
    text: str
    file: str
    model: str
    native_size: tuple[int, int]
    frames: int
    fps: float
    steps: int
    seed: int
    settings: str


_ROW = TypeAdapter(GalleryRow)


class Gallery:
    """A folder of clips of one model and its ``gallery.jsonl``."""

    def __init__(self, folder: Path, rows: Sequence[GalleryRow]) -> None:
        self.folder, self._rows = folder, {row.id: row for row in rows}

    @classmethod
    def open(cls, folder: Path) -> "Gallery":
        """Read a gallery; a last line that a killed process left half written is dropped.

        Raises:
            GalleryError: there is no gallery, it is empty, or a line is damaged.
        """
        gallery = cls(folder, list(_read(folder / INDEX)))
        if not gallery._rows:
            raise GalleryError(f"{folder}: no gallery here; expected {INDEX} with at least one clip")
        return gallery

    @property
    def model(self) -> str:
        """The model whose clips these are."""
        return next(iter(self._rows.values())).model

    def rows(self) -> list[GalleryRow]:
        """All clips in the order in which they were made."""
        return list(self._rows.values())

    def row(self, item: str) -> GalleryRow:
        """The clip of an item; GalleryError when there is none."""
        if item not in self._rows:
            raise GalleryError(f"{self.folder}: no clip for item {item}")
        return self._rows[item]

    def path(self, item: str) -> Path:
        """The file of an item's clip."""
        return self.folder / self.row(item).file


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
    kept = {row.id: row for row in _read(folder / INDEX) if row.settings == made_by and (folder / row.file).is_file()}
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


def _read(path: Path) -> list[GalleryRow]:
    try:
        return [_ROW.validate_python(row) for row in read_jsonl(path)]
    except ValidationError as error:
        raise GalleryError(f"{path}: not the index of a gallery: {error}") from error
