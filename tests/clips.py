"""Small clips with texts in every form, and a frozen encoder that counts its calls."""

import csv
import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from motionfocal.data.cache import CacheSpec
from motionfocal.data.prepare import prepare
from motionfocal.data.sources import FolderData
from motionfocal.models.protocol import ClipShape, Condition
from motionfocal.motion.heatmap import HeatmapSettings
from motionfocal.motion.latent import LatentSpec
from motionfocal.video import write_clip

MOTION = HeatmapSettings(scale=2.0, floor=0.1)
SPEC = LatentSpec(channels=12, spatial=2)
CAUSAL = LatentSpec(channels=3, spatial=4, temporal=4, causal=True)


class CountingEncoder:
    """Stands in for a ``VideoModel``: its latents are the pixels, folded or averaged. Counts calls by name."""

    def __init__(self, spec: LatentSpec = SPEC, scale: float = 1.0) -> None:
        self.spec, self.scale, self.device = spec, scale, torch.device("cpu")
        self.loads = 0
        self.calls = {"encode": 0, "encode_image": 0, "encode_text": 0}

    def __call__(self) -> "CountingEncoder":
        self.loads += 1
        return self

    def encode(self, frames: torch.Tensor) -> torch.Tensor:
        self.calls["encode"] += 1
        pixels = self.scale * (frames.permute(0, 4, 1, 2, 3).float() / 127.5 - 1)
        if self.spec.temporal == 1:
            folded = torch.nn.functional.pixel_unshuffle(pixels.transpose(1, 2), self.spec.spatial)
            return folded.transpose(1, 2)
        first, rest = pixels[:, :, :1], pixels[:, :, 1:]
        cell = (self.spec.temporal, self.spec.spatial, self.spec.spatial)
        pooled = [torch.nn.functional.avg_pool3d(first, (1, *cell[1:]))]
        if rest.shape[2]:
            pooled.append(torch.nn.functional.avg_pool3d(rest, cell))
        return torch.cat(pooled, dim=2)

    def encode_image(self, images: torch.Tensor, frames: int) -> dict[str, torch.Tensor]:
        self.calls["encode_image"] += 1
        return {"mean": images.float().mean((1, 2)), "frames": torch.full((len(images),), frames)}

    def encode_text(self, texts: Sequence[str]) -> dict[str, torch.Tensor]:
        self.calls["encode_text"] += 1
        codes = torch.zeros(len(texts), 64, dtype=torch.long)
        for row, text in enumerate(texts):
            codes[row, : len(text)] = torch.tensor([ord(letter) for letter in text], dtype=torch.long)
        return {"codes": codes, "embedding": codes.double().sin().float()[..., None], "mask": codes > 0}

    def blank(self, shape: ClipShape, clips: int) -> Condition:
        codes = torch.zeros(clips, 64, dtype=torch.long)
        text = {"codes": codes, "embedding": codes.float()[..., None], "mask": codes > 0}
        image = {"mean": torch.zeros(clips, 3), "frames": torch.zeros(clips, dtype=torch.long)}
        return Condition(image, text, torch.zeros(clips))


def moving(seed: int, frames: int = 6, size: tuple[int, int] = (24, 32)) -> np.ndarray:
    """Frames of a square that crosses a textured ground, different for each seed."""
    rng = np.random.default_rng(seed)
    height, width = size
    clip = np.stack([rng.integers(80, 160, (height, width, 3), dtype=np.uint8)] * frames)
    square = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    for t in range(frames):
        left = 2 + 2 * t % (width - 10)
        clip[t, 8:16, left : left + 8] = square
    return clip


def write_clips(folder: Path, count: int = 3, frames: int = 6, size: tuple[int, int] = (24, 32)) -> list[str]:
    """Write ``0.mp4``, ``1.mp4``, ...; their names."""
    for n in range(count):
        write_clip(folder / f"{n}.mp4", moving(n, frames, size), 8)
    return [f"{n}.mp4" for n in range(count)]


def text_of(name: str) -> str:
    return f'"clip", number {name.split(".", maxsplit=1)[0]}'


def write_table(path: Path, names: Sequence[str], column: str = "text") -> Path:
    rows = [{"file_name": name, column: text_of(name)} for name in names]
    with path.open("w", newline="") as file:
        if path.suffix == ".jsonl":
            file.writelines(json.dumps(row) + "\n" for row in rows)
        else:
            writer = csv.DictWriter(file, ["file_name", column])
            writer.writeheader()
            writer.writerows(rows)
    return path


def write_tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def folder_data(folder: Path, **changes: object) -> FolderData:
    values = {"videos": folder, "frames": 4, "cache": folder.parent / "cache"}
    size = {} if "buckets" in changes else {"height": 16, "width": 16}
    return FolderData.model_validate(values | size | changes)


def cache_spec(folder: Path, motion: HeatmapSettings = MOTION, encoder: str = "pixels", **changes: object) -> CacheSpec:
    """What a cache beside a folder of clips must hold."""
    return CacheSpec(folder_data(folder, **changes), motion, SPEC, encoder)


def prepared(folder: Path, **changes: object) -> CacheSpec:
    made = cache_spec(folder, **changes)
    prepare(made, CountingEncoder())
    return made


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
