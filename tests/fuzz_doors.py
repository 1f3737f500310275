"""The doors of the package that read files of others, and good files for each to begin from."""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from motionfocal.benchmarks import load_benchmark
from motionfocal.data.cache import CacheSource
from motionfocal.data.cache_folder import CacheFolder
from motionfocal.data.manifest import read_manifest
from motionfocal.data.sources import load_folder
from motionfocal.experiments.plan import load_plan
from motionfocal.generation.gallery import INDEX, GalleryRow, read_rows
from motionfocal.generation.origin import Origin, load_origin, save_origin
from motionfocal.generation.sampler import SamplingSettings
from motionfocal.models.build import ModelCard, build_model, load_model, save_model, trained_weights
from motionfocal.models.families import compact
from motionfocal.models.protocol import ClipShape
from motionfocal.report.results import read_results
from motionfocal.study.analysis.export import write_votes
from motionfocal.study.analysis.votes import read_votes
from motionfocal.study.contest import load_contestants
from motionfocal.study.design import load_design
from motionfocal.study.plan import Study
from motionfocal.training.config import load_config, recipes
from motionfocal.video import iter_frames, probe, read_clip, read_image, write_image
from motionfocal.worlds.benchmark import SpritesBenchmark

from .clips import cache_spec, folder_data, prepared, write_clips, write_table, write_tar
from .films import film, picture
from .fuzz_server import REQUESTS, good_server, replay
from .paper_votes import paper_votes

EXPERIMENTS = Path(__file__).parents[1] / "experiments"


@dataclass(frozen=True)
class Door:
    """What reads a folder of files, and which of them a case breaks: one, or every one."""

    name: str
    opens: Callable[[Path], object]
    breaks: str
    text: bool = True
    every: bool = False


def _watch(folder: Path) -> None:
    for path in folder.iterdir():
        probe(path)
        for _ in iter_frames(path):
            pass
        read_clip(path, size=(32, 32))


def _clips(folder: Path) -> object:
    return load_folder(folder_data(folder), seed=0)


def _cache(folder: Path) -> None:
    source = CacheSource(cache_spec(folder / "clips"), seed=0)
    source.batch(0, 2)


def _cached_entries(folder: Path) -> None:
    cache = CacheFolder(folder / "cache")
    for kind in ("latents", "texts", "motion"):
        for key in cache.keys(kind):
            cache.read(kind, key)


DOORS = {
    door.name: door
    for door in (
        Door("film", _watch, "*", text=False),
        Door("image", lambda folder: [read_image(path) for path in folder.iterdir()], "*", text=False),
        Door("config", lambda folder: load_config(folder / "config.yaml"), "*"),
        Door("experiment", lambda folder: load_plan(folder / "plan.yaml").runs(folder), "*"),
        Door("study", lambda folder: load_design(folder / "study.yaml"), "*"),
        Door("created", lambda folder: Study.open(folder / "study"), "*.json"),
        Door("server", replay, REQUESTS, every=True),
        Door("table", read_manifest, "metadata.*"),
        Door("lines", read_manifest, "*.txt"),
        Door("shards", lambda folder: read_manifest(folder / "clips.tar"), "*.tar", text=False),
        Door("clips", _clips, "*.mp4", text=False),
        Door("benchmark", load_benchmark, "*.csv"),
        Door("gallery", lambda folder: read_rows(folder / INDEX), "*"),
        Door("origin", load_origin, "*"),
        Door("contest", load_contestants, "*"),
        Door("votes", lambda folder: [read_votes(path) for path in folder.glob("votes.[cj]*")], "votes.[cj]*"),
        Door("parquet", lambda folder: read_votes(folder / "votes.parquet"), "*.parquet", text=False),
        Door("results", lambda folder: read_results(folder / "results.json"), "*"),
        Door("card", load_model, "*.json"),
        Door("weights", load_model, "*.safetensors", text=False),
        Door("cache", _cache, "*.jsonl"),
        Door("entries", _cached_entries, "*.safetensors", text=False),
    )
}


def good_files(root: Path) -> None:
    """A folder for each door, which it opens without complaint."""
    for name in DOORS:
        (root / name).mkdir(parents=True)
    _media(root)
    _settings(root)
    _lists(root)
    _made(root)
    good_server(root / "server")
    shutil.copytree(root / "server" / "study", root / "created" / "study")


def _media(root: Path) -> None:
    film(root / "film" / "a.mp4", 8)
    film(root / "film" / "b.webm", 8, codec="libvpx-vp9")
    film(root / "film" / "c.gif", 8, codec="gif", pix_fmt="rgb8", rate=10)
    film(root / "film" / "d.avi", 8, codec="mpeg4")
    for name in ("a.png", "b.jpg"):
        write_image(root / "image" / name, picture(5))
    write_table(root / "clips" / "metadata.csv", write_clips(root / "clips", 2))
    for name in ("cache", "entries"):
        write_table(root / name / "clips" / "metadata.csv", write_clips(root / name / "clips", 2))
        prepared(root / name / "clips")
    members = {path.name: path.read_bytes() for path in (root / "clips").glob("*.mp4")}
    texts = {Path(name).with_suffix(".txt").name: b"it moves" for name in members}
    write_tar(root / "shards" / "clips.tar", dict(sorted((members | texts).items())))


def _settings(root: Path) -> None:
    (root / "config" / "config.yaml").write_bytes(recipes()["wan22-ti2v-5b"].read_bytes())
    for name in ("hard.yaml", "base.yaml"):
        (root / "experiment" / name.replace("hard", "plan")).write_bytes((EXPERIMENTS / name).read_bytes())
    (root / "study" / "study.yaml").write_text(
        "name: mine against theirs\ngalleries: [galleries/mine, galleries/theirs]\nitems: 40\nvotes: 5\nseed: 3\n"
    )


def _lists(root: Path) -> None:
    (root / "table" / "metadata.csv").write_text('file_name,text\na.mp4,"it moves, and stops"\nb.mp4,it jumps\n')
    (root / "lines" / "prompts.txt").write_text("it moves\nit jumps\n")
    (root / "lines" / "videos.txt").write_text("a.mp4\nb.mp4\n")
    for door in ("table", "lines"):
        for name in ("a.mp4", "b.mp4"):
            (root / door / name).touch()
    (root / "benchmark" / "prompts.csv").write_text(
        "id,image,prompt,tags\n1,a.png,it moves,still;two\n2,a.png,it jumps,\n"
    )
    write_image(root / "benchmark" / "a.png", picture(5))
    rows = [GalleryRow(f"{n}", "a", "it moves", f"{n}.mp4", "m", (32, 32), 16, 8.0) for n in range(4)]
    (root / "gallery" / INDEX).write_text("".join(json.dumps(asdict(row)) + "\n" for row in rows))
    votes = paper_votes()[:60]
    for door in ("votes", "parquet"):
        write_votes(votes, root / door)


def _made(root: Path) -> None:
    save_origin(root / "origin", Origin(benchmark=SpritesBenchmark(), sampling=SamplingSettings(), run=None))
    (root / "contest" / "contestants.json").write_text('{"ours": "a", "theirs": "b"}')
    values = [{"model": m, "id": i, "metric": "blur", "value": 0.5} for m in "ab" for i in "123"]
    (root / "results" / "results.json").write_text(json.dumps(values, indent=1))
    card = ModelCard(name="m", model=compact.Family(width=16), shape=ClipShape(frames=4, height=16, width=16, fps=8.0))
    weights = trained_weights(build_model(card.model, card.shape, seed=0).network)
    for door in ("card", "weights"):
        save_model(root / door, card, {name: weight.detach() for name, weight in weights.items()})
    torch.set_num_threads(1)
