"""``motionfocal heatmap``: see what the loss will look at."""

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import ValidationError
from rich.table import Table

from motionfocal.cli.console import console, list_failures, list_notes, progress_bar
from motionfocal.errors import ConfigError, ManifestError, MediaError, MotionFocalError
from motionfocal.motion import HeatmapSettings, filmstrip, heatmap_of, moving_share, overlay
from motionfocal.video import probe, read_clip, write_clip, write_image
from motionfocal.video.files import VIDEO_SUFFIXES

MOST_PIXELS = 250_000_000
"""Pixels of all frames of one clip: at about 40 bytes each for frames, flow both ways and heat, 10 GB."""


def settings_of(estimator: str, scale: str, camera: str, floor: float) -> HeatmapSettings:
    """The options as settings; ConfigError names the one that is wrong."""
    number = float(scale) if scale.replace(".", "", 1).isdigit() else scale
    try:
        return HeatmapSettings.model_validate(
            {"estimator": estimator, "scale": number, "camera": camera, "floor": floor}
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(f"--{first['loc'][0]}: {first['msg'].removeprefix('Value error, ')}") from error


def run(
    clips: Sequence[Path],
    out: Path,
    settings: HeatmapSettings,
    frames: int | None,
    stride: int,
) -> None:
    """Write ``<clip>.mp4`` and ``<clip>.png`` for every clip, print its moving share, list what failed."""
    paths = list(_videos(clips))
    _require_different_names(paths)
    table = Table("clip", "frames", "size", "fps", "moving share")
    notes: list[str] = []
    failures: list[str] = []
    with progress_bar() as progress:
        task = progress.add_task("heatmaps", total=len(paths), note="")
        for path in paths:
            try:
                cells, warned = _one(path, out, settings, frames, stride)
                table.add_row(path.name, *cells)
                notes += [f"{path.name}: {text}" for text in warned]
            except MotionFocalError as error:
                failures.append(str(error) if str(path) in str(error) else f"{path}: {error}")
            progress.advance(task)
    console.print(table)
    list_notes(notes)
    console.print(f"overlays in {out}")
    list_failures("clips", failures)
    if failures:
        raise SystemExit(1)


def _one(
    path: Path, out: Path, settings: HeatmapSettings, frames: int | None, stride: int
) -> tuple[list[str], list[str]]:
    """Heat up one clip; the cells of its row, and what there was to warn of."""
    _require_room(path, frames, stride)
    clip = read_clip(path, frames=frames, stride=stride)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        heat = heatmap_of(clip.frames, settings)
    write_clip(out / f"{path.stem}.mp4", overlay(clip.frames, heat), clip.fps)
    write_image(out / f"{path.stem}.png", filmstrip(clip.frames, heat))
    count, height, width = heat.shape
    cells = [str(count), f"{width}x{height}", f"{clip.fps:g}", f"{100 * moving_share(heat):.1f} %"]
    return cells, [str(warning.message) for warning in caught]


def _require_room(path: Path, frames: int | None, stride: int) -> None:
    """Refuse a clip that would not fit in memory: its scale is a figure of all frames, so they are held at once."""
    info = probe(path)
    count = frames or -(-info.frames // stride)
    most = MOST_PIXELS // (info.width * info.height)
    if count > most:
        raise MediaError(
            f"{path}: {count} frames of {info.width}x{info.height} are too many to hold at once; take --frames {most}"
            " or a larger --stride"
        )


def _require_different_names(paths: Sequence[Path]) -> None:
    """Refuse clips whose overlays would overwrite one another."""
    by_stem: dict[str, Path] = {}
    for path in paths:
        if path.stem in by_stem:
            raise ManifestError(
                f"{by_stem[path.stem]} and {path} have the same name; run once for each, with another --out"
            )
        by_stem[path.stem] = path


def _videos(paths: Sequence[Path]) -> Iterator[Path]:
    """The files, and the videos of the folders."""
    for path in paths:
        if path.is_dir():
            found = sorted(p for p in path.iterdir() if p.suffix.lower() in VIDEO_SUFFIXES)
            if not found:
                raise ManifestError(f"{path}: no video in this folder")
            yield from found
        else:
            yield path
