"""From a contest's folder to what a page shows: nothing is judged or estimated here, only gathered and worded."""

import hashlib
import platform
import shlex
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from motionfocal.generation.gallery import Gallery
from motionfocal.generation.origin import Origin
from motionfocal.generation.sampler import SamplingSettings
from motionfocal.intervals import Interval
from motionfocal.jsonl import read_jsonl
from motionfocal.motion import heatmap_of, overlay
from motionfocal.report.contents import (
    Fact,
    Headline,
    ModelClip,
    MotionRow,
    Panel,
    Report,
    ReportItem,
    TrainingCurve,
)
from motionfocal.report.page import setting_differences
from motionfocal.study.contest import Contest
from motionfocal.study.statistics import followed_rate
from motionfocal.training.config import TrainingConfig, dump_config, load_config
from motionfocal.training.records import METRICS, VALIDATION
from motionfocal.video import write_clip, write_image
from motionfocal.worlds import SpritesWorld, WorldItem
from motionfocal.worlds.benchmark import SpritesBenchmark
from motionfocal.worlds.oracle import Measurement

_PANEL_SIDE = 256


@dataclass(frozen=True)
class Entrant:
    """One of the two models: its gallery, where that came from, and the run that trained it."""

    gallery: Gallery
    origin: Origin

    @property
    def run(self) -> Path | None:
        """The run's folder, if it is still there."""
        run = self.gallery.folder / self.origin.run if self.origin.run else None
        return run if run is not None and (run / "config.yaml").is_file() else None


def report_of(contest: Contest, ours: Entrant, theirs: Entrant, folder: Path) -> Report:
    """The page of a contest in a world. Pictures and heatmap clips that it shows are written into ``folder``."""
    entrants = (ours, theirs)
    models = (ours.gallery.model, theirs.gallery.model)
    runs = {entrant.gallery.model: entrant.run for entrant in entrants if entrant.run is not None}
    configs = {model: load_config(run / "config.yaml") for model, run in runs.items()}
    questions = {item.id: item for item in ours.origin.benchmark.items()}
    judged = [questions[judgement.item] for judgement in contest.judgements]
    return Report(
        title=f"{models[0]} against {models[1]}",
        summary=_summary(contest, configs),
        models=models,
        headlines=_headlines(contest),
        comparisons=(contest.table,),
        curves=tuple(
            TrainingCurve.from_rows(model, read_jsonl(run / METRICS), read_jsonl(run / VALIDATION))
            for model, run in runs.items()
        ),
        motions=_motions(contest, judged),
        items=tuple(_items(contest, entrants, judged, configs.get(models[0]), folder)),
        settings={model: dump_config(config) for model, config in configs.items()},
        commands=_commands(entrants, folder),
        notes=_notes(contest),
        versions=_versions(),
        rater="the oracle of the sprites world",
        pixel_art=True,
    )


def _summary(contest: Contest, configs: dict[str, TrainingConfig]) -> tuple[str, ...]:
    row, gain = contest.table, contest.difference
    ours, theirs = contest.followed[row.model], contest.followed[row.baseline]
    alike = f"; {row.tied_items} look alike and count one half" if row.tied_items else ""
    sentences = [
        f"{row.model} follows {_percent(ours)} of the texts and {row.baseline} {_percent(theirs)}:"
        f" a difference of {100 * gain.estimate:+.1f} points (95 % interval {100 * gain.low:+.1f} to"
        f" {100 * gain.high:+.1f}), on {row.items} held-out pairs of image and text.",
        f"Shown both clips of a pair, the oracle prefers {row.model} in {_percent(row.item_score)} of the pairs"
        f"{alike}.",
    ]
    return (*sentences, *_training_sentences((row.model, row.baseline), configs))


def _training_sentences(models: tuple[str, str], configs: dict[str, TrainingConfig]) -> list[str]:
    """How the two were trained, and in what that differed; nothing where a run is not there."""
    if set(configs) != set(models):
        return []
    steps = [configs[model].steps for model in models]
    dumped = {model: dump_config(config) for model, config in configs.items()}
    differences = [d for d in setting_differences(dumped, models) if d.key != "name"]
    told = "; ".join(f"{d.key}: {' against '.join(d.values)}" for d in differences) or "nothing but the name"
    return [
        f"Both were trained from scratch for {' and '.join(dict.fromkeys(map(str, steps)))} steps."
        f" What sets them apart is {told}."
    ]


def _headlines(contest: Contest) -> tuple[Headline, ...]:
    row = contest.table
    followed = (
        Headline(f"texts followed by {model}", interval, model=model) for model, interval in contest.followed.items()
    )
    return (
        Headline(
            "TI2V score", row.item_score, model=row.model, neutral=0.5, about=f"pairs in which {row.model} is preferred"
        ),
        *followed,
        Headline("difference in texts followed", contest.difference, "points", neutral=0.0, about="same items, paired"),
    )


def _motions(contest: Contest, judged: list[WorldItem]) -> tuple[MotionRow, ...]:
    by_motion: dict[str, list[str]] = defaultdict(list)
    for item in judged:
        by_motion[item.action.motion].append(item.id)
    row = contest.table
    images = {judgement.item: judgement.image for judgement in contest.judgements}

    def rate(model: str, items: list[str]) -> Interval:
        followed = [contest.measured[model][item].followed for item in items]
        return followed_rate(followed, [images[item] for item in items])

    return tuple(
        MotionRow(motion, len(items), (rate(row.model, items), rate(row.baseline, items)))
        for motion, items in sorted(by_motion.items())
    )


def _items(
    contest: Contest,
    entrants: tuple[Entrant, Entrant],
    judged: list[WorldItem],
    config: TrainingConfig | None,
    folder: Path,
) -> Iterable[ReportItem]:
    benchmark = entrants[0].origin.benchmark
    world = SpritesWorld(benchmark.world)
    for item, judgement in zip(judged, contest.judgements, strict=True):
        picture = folder / "pictures" / f"{judgement.image}.png"
        write_image(picture, _enlarged(world.first_frame(item.scene)[None])[0])
        clips = [
            _clip(entrant.gallery.path(item.id), contest.measured[entrant.gallery.model][item.id])
            for entrant in entrants
        ]
        yield ReportItem(
            id=item.id,
            image=judgement.image,
            text=item.text,
            picture=picture,
            clips=(clips[0], clips[1]),
            preferred=judgement.preferred,
            reasons=judgement.reasons,
            motion=item.action.motion,
            panels=(_heat_panel(benchmark, item, config, folder),) if config else (),
        )


def _clip(path: Path, seen: Measurement) -> ModelClip:
    """A clip with the oracle's verdict, worded."""
    ratio = "nothing was asked" if np.isnan(seen.displacement_ratio) else f"{seen.displacement_ratio:.2f}"
    return ModelClip(
        path,
        seen.followed,
        (
            Fact("looks like", seen.seen_motion),
            Fact("done of what was asked", ratio),
            Fact("others off by", f"{seen.others_deviation:.2f} diameters"),
            Fact("error of the ground", f"{seen.ground_error:.1f} grey levels"),
            Fact("error of the first frame", f"{seen.first_frame_error:.1f} grey levels"),
        ),
    )


def _heat_panel(benchmark: SpritesBenchmark, item: WorldItem, config: TrainingConfig, folder: Path) -> Panel:
    """The true clip under the heatmap that training would have given it; what decides it is in the file's name."""
    decided = f"{benchmark.fingerprint()}|{config.motion.fingerprint()}"
    path = folder / "heatmaps" / f"{item.id}-{hashlib.sha256(decided.encode()).hexdigest()[:12]}.mp4"
    if not path.is_file():
        world = SpritesWorld(benchmark.world)
        frames = world.render(item.scene, item.action, np.random.default_rng(0))
        heat = heatmap_of(frames, config.motion, world.moving_mask(item.scene, item.action))
        write_clip(path, _enlarged(overlay(frames, heat)), world.settings.fps)
    return Panel("the true clip, with its heatmap", path)


def _enlarged(
    frames: np.ndarray[tuple[int, ...], np.dtype[np.uint8]],
) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    factor = max(1, _PANEL_SIDE // frames.shape[1])
    return frames.repeat(factor, axis=1).repeat(factor, axis=2)


_SAMPLING = {
    "steps": "--steps",
    "guidance_scale": "--guidance",
    "guidance_rescale": "--guidance-rescale",
    "eta": "--eta",
    "motion_score": "--motion-score",
}
"""The options of ``motionfocal animate`` that are settings of sampling."""


def _commands(entrants: tuple[Entrant, Entrant], folder: Path) -> tuple[str, ...]:
    """What repeats the contest, from the configs that the runs saved, for a shell."""
    lines = []
    for entrant in entrants:
        name, origin = entrant.gallery.model, entrant.origin
        lines += [
            ["train", f"{name}/config.yaml", "--out", name],
            ["animate", "--world", "--model", name, "--out", f"{name}/gallery", *_said(origin)],
        ]
    ours, theirs = (f"{entrant.gallery.model}/gallery" for entrant in entrants)
    lines += [["judge", ours, theirs, "--out", folder.name], ["report", folder.name]]
    return tuple(shlex.join(["motionfocal", *line]) for line in lines)


def _said(origin: Origin) -> list[str]:
    """The questions, the seed, the guidance, whose default is the model's, and what else of sampling is not usual."""
    usual = SamplingSettings().model_dump(exclude={"guidance_scale"})
    said: dict[str, object] = {"--images": origin.benchmark.images, "--texts": origin.benchmark.texts}
    said |= {_SAMPLING[key]: value for key, value in origin.sampling.model_dump().items() if value != usual.get(key)}
    return [str(word) for option in (said | {"--seed": origin.seed}).items() for word in option]


def _notes(contest: Contest) -> tuple[str, ...]:
    notes = [
        "One run of each model: the intervals cover the draw of the images and texts, not that of the training seed.",
        "A small model on a synthetic world, at a fixed training budget. The rate over training shows whether the gap"
        " is a head start or a higher ceiling; it says nothing about models that were trained to convergence.",
        "The oracle votes once a pair and knows the truth; the paper's score is a majority of five people. The two are"
        " not comparable as numbers.",
    ]
    if contest.failures:
        notes.append(f"{len(contest.failures)} pairs could not be judged because a clip was unreadable.")
    return tuple(notes)


def _versions() -> dict[str, str]:
    packages = ("motionfocal", "torch", "diffusers", "opencv-python-headless", "av", "numpy")
    return {"python": platform.python_version()} | {name: version(name) for name in packages}


def _percent(interval: Interval) -> str:
    return f"{100 * interval.estimate:.1f} %"
