"""A report like a real one: sprites clips of two pretended models, judged by the oracle."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from motionfocal.motion import motion_heatmap, overlay
from motionfocal.motion.flow import estimate_flow
from motionfocal.report import (
    Fact,
    Headline,
    ModelClip,
    MotionRow,
    Panel,
    Report,
    ReportItem,
    TrainingCurve,
)
from motionfocal.study import Comparison, Judgement
from motionfocal.study.raters.oracle import OracleRater
from motionfocal.study.statistics import comparison_table, followed_rate, rate_difference
from motionfocal.video import write_clip, write_image
from motionfocal.worlds import Action, SpritesSettings, SpritesWorld, WorldItem
from motionfocal.worlds.oracle import Measurement

MODELS = ("motif", "plain")
SKILL = {"motif": 0.75, "plain": 0.4}
WORLD = SpritesWorld(SpritesSettings())

YAML = """\
name: {name}
steps: 600
loss:
  weighting: {weighting}
  strength: 1.0
optimizer:
  learning_rate: 0.001
  betas: [0.9, 0.99]
"""


@dataclass(frozen=True)
class Judged:
    """One item, both measurements, and the oracle's preference."""

    item: WorldItem
    measured: tuple[Measurement, Measurement]
    judgement: Judgement


def sprites_report(folder: Path, images: int, texts: int, steps: int = 600) -> Report:
    """Write clips, pictures and heatmaps into ``folder`` and fill a report with them."""
    rng = np.random.default_rng(7)
    questions = WORLD.items(images, texts, seed=3)
    oracle = OracleRater(WORLD, {item.id: item for item in questions})
    judged = [_judged(item, folder, oracle, rng) for item in questions]
    groups = [_image(case.item) for case in judged]
    followed = [[case.measured[k].followed for case in judged] for k in range(2)]
    row = comparison_table([case.judgement for case in judged], MODELS[0], rng)
    rates = [followed_rate(verdicts, groups) for verdicts in followed]
    return Report(
        title="Does motion focal loss make a model follow its text?",
        summary=(
            f"Trained alike but for the loss, motif was preferred over plain on {row.item_score.estimate:.0%} of"
            f" {len(judged)} held-out items (95 % interval {row.item_score.low:.0%} to {row.item_score.high:.0%}).",
            f"It did what the text asked in {rates[0].estimate:.0%} of its clips, plain in {rates[1].estimate:.0%}.",
            "An oracle that knows the truth judged every pair; nobody chose the clips shown below.",
        ),
        models=MODELS,
        headlines=(
            Headline(
                "TI2V score of motif", row.item_score, model="motif", neutral=0.5, about="share of items preferred"
            ),
            Headline("motif followed the text", rates[0], model="motif"),
            Headline("plain followed the text", rates[1], model="plain"),
            Headline(
                "Difference", rate_difference(*followed, groups, rng), "points", neutral=0, about="images resampled"
            ),
        ),
        comparisons=(row,),
        curves=tuple(_curve(name, steps, rng) for name in MODELS),
        motions=tuple(_motions(judged)),
        items=tuple(_shown(case, folder) for case in judged),
        settings={
            name: YAML.format(name=name, weighting=weighting)
            for name, weighting in zip(MODELS, ("paper", "none"), strict=True)
        },
        commands=("pip install motionfocal", "motionfocal demo --out demo --seed 0", "motionfocal report demo"),
        notes=(
            "One seed a model: the interval covers the items, not the training.",
            "Sprites are not film: the world tells whether the loss does what it says, not how it looks.",
        ),
        versions={"motionfocal": "0.1.0", "torch": "2.9.0", "python": "3.11.2"},
        rater="The oracle",
        pixel_art=True,
    )


def _judged(item: WorldItem, folder: Path, oracle: OracleRater, rng: np.random.Generator) -> Judged:
    for name in MODELS:
        write_clip(_clip(folder, name, item), _pretend(item, name, rng), 8, upscale=8)
    truth = WORLD.render(item.scene, item.action)
    heat = motion_heatmap(estimate_flow(truth), scale="robust", camera="raw")
    write_clip(_clip(folder, "heat", item), overlay(truth, heat), 8, upscale=8)
    write_image(folder / f"{item.id}.png", WORLD.first_frame(item.scene))
    clips = [_clip(folder, name, item) for name in MODELS]
    comparison = Comparison(item.id, item.id, _image(item), item.text, *clips, *MODELS)
    measured = tuple(oracle.measure(clip, item.id) for clip in clips)
    return Judged(item, measured, oracle.judge(comparison))


def _pretend(item: WorldItem, model: str, rng: np.random.Generator) -> np.ndarray:
    """The right motion as often as the model is able to, else another or none, with some noise."""
    action = item.action
    if rng.random() > SKILL[model]:
        still = Action(action.sprite, "still")
        action = still if rng.random() < 0.5 else WORLD.action(item.scene, rng)
    frames = WORLD.render(item.scene, action).astype(float)
    return np.clip(frames + rng.normal(0, 4, frames.shape), 0, 255).astype(np.uint8)


def _shown(case: Judged, folder: Path) -> ReportItem:
    item = case.item
    clips = tuple(
        ModelClip(_clip(folder, name, item), measured.followed, _facts(measured))
        for name, measured in zip(MODELS, case.measured, strict=True)
    )
    return ReportItem(
        id=item.id,
        image=_image(item),
        text=item.text,
        picture=folder / f"{item.id}.png",
        clips=clips,
        preferred=case.judgement.preferred,
        reasons=case.judgement.reasons,
        motion=item.action.motion,
        panels=(Panel("heatmap of the true motion", _clip(folder, "heat", item)),),
    )


def _facts(measured: Measurement) -> tuple[Fact, ...]:
    return (
        Fact("seen motion", measured.seen_motion),
        Fact("distance, asked = 1", f"{measured.displacement_ratio:.2f}"),
        Fact("others moved, diameters", f"{measured.others_deviation:.2f}"),
        Fact("ground error, of 255", f"{measured.ground_error:.1f}"),
    )


def _motions(judged: list[Judged]) -> list[MotionRow]:
    rows = []
    for motion in sorted({case.item.action.motion for case in judged}):
        cases = [case for case in judged if case.item.action.motion == motion]
        images = [_image(case.item) for case in cases]
        first, second = (followed_rate([case.measured[k].followed for case in cases], images) for k in range(2))
        rows.append(MotionRow(motion, len(cases), (first, second)))
    return rows


def _curve(name: str, steps: int, rng: np.random.Generator) -> TrainingCurve:
    """Rows like those of a run; the moving loss is unknown on some steps."""
    speed = 90 if name == "motif" else 130
    metrics = []
    for step in range(1, steps + 1):
        diffusion = (0.05 + np.exp(-step / 110)) * rng.lognormal(0, 0.25)
        moving = (0.12 + 1.2 * np.exp(-step / speed)) * rng.lognormal(0, 0.35)
        unknown = step % 97 == 0
        metrics.append(
            {
                "step": step,
                "loss": diffusion + moving,
                "diffusion": diffusion,
                "moving_loss": None if unknown else moving,
                "loss_ratio": None if unknown else moving / diffusion,
            }
        )
    reach = SKILL[name]
    marks = range(steps // 10, steps + 1, steps // 10)
    shares = [round(32 * reach * (1 - np.exp(-step / speed))) / 32 for step in marks]
    validation = [{"step": step, "followed": share, "items": 32} for step, share in zip(marks, shares, strict=True)]
    return TrainingCurve.from_rows(name, metrics, validation)


def _clip(folder: Path, model: str, item: WorldItem) -> Path:
    return folder / model / f"{item.id}.mp4"


def _image(item: WorldItem) -> str:
    return item.id.split("_")[0]
