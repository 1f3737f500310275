"""Galleries for a page to show: real clips where they are at hand, drawn ones else."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from motionfocal.benchmarks import Benchmark, BenchmarkItem
from motionfocal.generation.gallery import INDEX, Gallery, GalleryRow
from motionfocal.video import write_clip, write_image

from .conftest import find_shared

FPS, FRAMES = 8, 16
SCENARIOS = ("fish", "dog", "candle")


def moving(seed: int, frames: int = FRAMES, side: int = 96) -> np.ndarray:
    """A square on noise: uint8 [T,H,W,3]."""
    rng = np.random.default_rng(seed)
    ground = rng.integers(60, 200, (side // 4, side // 4, 3), dtype=np.uint8).repeat(4, 0).repeat(4, 1)
    clip = np.stack([ground] * frames)
    for t in range(frames):
        clip[t, 30:60, 2 + 2 * t : 32 + 2 * t] = (255, 40 * (seed % 6), 0)
    return clip


def some_clips(folder: Path, count: int) -> list[Path]:
    """``count`` clips of 16 frames at 8 fps: real ones of several models, or drawn."""
    shared = find_shared()
    if shared is not None:
        by_model = [sorted(model.iterdir()) for model in sorted((shared / "ti2v_bench" / "videos").iterdir())]
        return [by_model[k % len(by_model)][k // len(by_model)] for k in range(count)]
    for k in range(count):
        write_clip(folder / f"{k}.mp4", moving(k), FPS)
    return [folder / f"{k}.mp4" for k in range(count)]


def some_benchmark(folder: Path, items: int) -> Benchmark:
    """Items of which two share a picture; scenarios and tags take turns."""
    questions = []
    for k in range(items):
        file = folder / f"picture{k // 2}.png"
        if not file.is_file():
            write_image(file, moving(k // 2)[0])
        questions.append(
            BenchmarkItem(
                id=f"item{k:03}",
                image=f"picture{k // 2}",
                file=file,
                text=f"a {SCENARIOS[k // 2 % 3]} moves, way {k}",
                scenario=SCENARIOS[k // 2 % 3],
                tags=frozenset({"several objects"} if k % 4 == 0 else ()),
            )
        )
    return Benchmark("small bench", tuple(questions))


def gallery(folder: Path, model: str, clips: dict[BenchmarkItem, Path]) -> Gallery:
    """A gallery whose rows point at clips wherever they are."""
    folder.mkdir(parents=True)
    with (folder / INDEX).open("w") as file:
        for item, clip in clips.items():
            row = GalleryRow(item.id, item.image, item.text, str(clip), model, (320, 320), FRAMES, FPS, 50, 0)
            file.write(json.dumps(asdict(row)) + "\n")
    return Gallery.open(folder)


def write_results(
    path: Path, benchmark: Benchmark, models: Sequence[str], references: Sequence[str] = ("static",)
) -> Path:
    """``results.json`` and its report: 'gain' of model k at item i is k (1 + i mod 3) + i / 8; 'still' falls."""
    rows, summary = [], []
    for k, model in enumerate([*models, *references]):
        for i, item in enumerate(benchmark.items):
            rows.append({"model": model, "id": item.id, "metric": "gain", "value": k * (1 + i % 3) + i / 8})
            rows.append({"model": model, "id": item.id, "metric": "still", "value": None if i % 5 == 0 else -i - k / 8})
            rows.append({"model": model, "id": item.id, "metric": "pan", "value": "none" if i % 4 == 0 else "left"})
        summary.append({"model": model, "metric": "gain", "estimate": 0.5 + k, "low": 0.25 + k, "high": 0.75 + k})
        summary.append({"model": model, "metric": "still", "estimate": 0.125 + k, "low": None, "high": None, "n": 7})
    told = {
        "metrics": {
            "gain": {"better": "higher", "description": "What the text adds."},
            "still": {"better": "neither", "description": "Where nothing moves.", "unknown": 1},
            "pan": {"better": "neither", "description": "Where the camera goes."},
        },
        "summary": summary,
        "classes": [
            {"model": model, "metric": "pan", "shares": {"left": 0.25, "none": 0.75}, "n": 8}
            for model in [*models, *references]
        ],
        "differences": [
            {"metric": "gain", "a": models[0], "b": models[1], "estimate": -1.5, "low": -2, "high": -1, "p": 0.0001}
        ],
        "versions": {"motionfocal": "0.1.0"},
    }
    path.write_text(json.dumps(rows))
    path.with_name(f"{path.stem}.report.json").write_text(json.dumps(told))
    return path
