"""Two models on one world: judged pair by pair, summed up, and written where a report finds it."""

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from motionfocal.errors import GalleryError
from motionfocal.generation.gallery import Gallery
from motionfocal.intervals import Interval
from motionfocal.jsonl import rewrite_jsonl
from motionfocal.reading import read_text
from motionfocal.settings import Settings
from motionfocal.study.judging import Failure, judge_all, pair
from motionfocal.study.protocol import Judgement
from motionfocal.study.raters.oracle import OracleRater
from motionfocal.study.statistics import (
    ContestRow,
    comparison_table,
    followed_rate,
    rate_difference,
    rate_difference_test,
)
from motionfocal.study.storage import JudgementStore
from motionfocal.worlds import SpritesWorld
from motionfocal.worlds.benchmark import SpritesBenchmark
from motionfocal.worlds.oracle import Measurement

JUDGEMENTS, MEASUREMENTS, SUMMARY = "judgements.jsonl", "measurements.jsonl", "summary.json"
_CONTESTANTS = "contestants.json"

_SEED = 0
"""Draws the sides and the bootstrap: a comparison of the same galleries always gives the same figures."""


class Contestants(Settings):
    """The two galleries of a contest, absolute or relative to its folder."""

    ours: Path
    theirs: Path


def save_contestants(out: Path, contestants: Contestants) -> None:
    """Note in a contest's folder which galleries it compares, so that the folders may move together."""
    relative = Contestants(
        ours=Path(os.path.relpath(contestants.ours, out)), theirs=Path(os.path.relpath(contestants.theirs, out))
    )
    (out / _CONTESTANTS).write_text(relative.model_dump_json(indent=2))


def load_contestants(out: Path) -> Contestants:
    """Where the galleries of a contest are.

    Raises:
        GalleryError: the folder holds no contest.
    """
    if not (out / _CONTESTANTS).is_file():
        raise GalleryError(f"{out}: no comparison here; run 'motionfocal judge' first")
    path = out / _CONTESTANTS
    try:
        found = Contestants.model_validate_json(read_text(path, GalleryError))
    except ValidationError as error:
        raise GalleryError(f"{path}: {error}; run 'motionfocal judge' again") from error
    return Contestants(ours=out / found.ours, theirs=out / found.theirs)


@dataclass(frozen=True)
class Contest:
    """What came of it. ``measured`` holds what the oracle saw, by model and item."""

    table: ContestRow
    followed: dict[str, Interval]
    difference: Interval
    p_value: float
    """That both follow equally many texts: exact, over all signs of whole images."""
    judgements: tuple[Judgement, ...]
    measured: dict[str, dict[str, Measurement]]
    failures: tuple[Failure, ...]


def hold_contest(
    ours: Gallery,
    theirs: Gallery,
    benchmark: SpritesBenchmark,
    out: Path,
    progress: Callable[[int, int], None] | None = None,
) -> Contest:
    """Have the oracle compare two galleries of a world's benchmark; judgements made before are kept.

    A clip that cannot be read costs its item, not the contest: it is among the failures. (A clip that was judged and
    has become unreadable since is an error: the figures would no longer be those of the judgements.)

    Raises:
        GalleryError: the galleries differ in their items, or not a single pair could be judged.
        MediaError: a clip that was judged before cannot be read any more.

    """
    items = {item.id: item for item in benchmark.items()}
    rater = OracleRater(SpritesWorld(benchmark.world), items)
    comparisons = pair(ours, theirs, _SEED)
    outcome = judge_all(rater, comparisons, JudgementStore(out / JUDGEMENTS), progress)
    if not outcome.judgements:
        raise GalleryError(f"no pair could be judged; the first failed with: {outcome.failures[0].error}")
    measured = {
        gallery.model: {
            judgement.item: rater.measure(gallery.path(judgement.item), judgement.item)
            for judgement in outcome.judgements
        }
        for gallery in (ours, theirs)
    }
    contest = _sum_up(ours.model, theirs.model, outcome.judgements, measured, outcome.failures)
    _save(contest, out)
    return contest


def _sum_up(
    ours: str,
    theirs: str,
    judgements: tuple[Judgement, ...],
    measured: dict[str, dict[str, Measurement]],
    failures: tuple[Failure, ...],
) -> Contest:
    rng = np.random.default_rng(_SEED)
    images = [judgement.image for judgement in judgements]
    followed = {
        model: [measured[model][judgement.item].followed for judgement in judgements] for model in (ours, theirs)
    }
    return Contest(
        table=comparison_table(judgements, ours, rng),
        followed={model: followed_rate(verdicts, images) for model, verdicts in followed.items()},
        difference=rate_difference(followed[ours], followed[theirs], images, rng),
        p_value=rate_difference_test(followed[ours], followed[theirs], images),
        judgements=judgements,
        measured=measured,
        failures=failures,
    )


def _save(contest: Contest, out: Path) -> None:
    """The figures as JSON and the oracle's measurements as JSONL, for people and other tools."""
    rewrite_jsonl(
        out / MEASUREMENTS,
        (
            {"model": model, "item": item, "followed": seen.followed, "score": seen.score, **asdict(seen)}
            for model, by_item in contest.measured.items()
            for item, seen in by_item.items()
        ),
    )
    summary = {
        "table": asdict(contest.table),
        "followed": {model: asdict(interval) for model, interval in contest.followed.items()},
        "difference": asdict(contest.difference),
        "p_value": contest.p_value,
        "failures": {failure.comparison.item: str(failure.error) for failure in contest.failures},
    }
    (out / SUMMARY).write_text(json.dumps(summary, indent=2))
