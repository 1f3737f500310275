"""What an experiment found: followed texts, contrasts, curves and costs, from the results of its runs.

Shares are in [0, 1], intervals at 95 %. What is measured is a clip, one a seed and item. Clips of one seed share a
network, clips of one image share a scene in every seed: intervals and tests take both for drawn at random (``twoway``).
The curve and Figure 6 have intervals over seeds alone; one seed has none, and its ends are NaN.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, median

import numpy as np
from numpy.typing import NDArray

from motionfocal.errors import ConfigError
from motionfocal.experiments.plan import Contrast, ExperimentPlan, RunPlan
from motionfocal.experiments.result import Asked, RunResult, load_result
from motionfocal.intervals import Interval, holm
from motionfocal.study.analysis.twoway import two_way_mean, two_way_t_mean, two_way_t_test, two_way_test
from motionfocal.study.protocol import REASONS
from motionfocal.worlds.oracle import Measurement, Reason, reasons_for, wins

SHARES = ("followed", "right_camera", "agreement")
ERRORS = ("ground_error", "first_frame_error", "others_deviation")
"""Figures of a clip: in [0, 1], and without an upper bound (grey levels of 255 twice, then sprite diameters)."""

REACHED = (0.5, 0.8)
"""Shares of followed texts whose first step is told."""

Array = NDArray[np.float64]
Results = Mapping[tuple[str, int], RunResult]
"""What there is, by arm and seed. A result's own ``arm`` is the name in the experiment that made it."""


@dataclass(frozen=True)
class ArmRow:
    """An arm in a world: means over its clips by figure; none where no seed has a result."""

    arm: str
    world: str
    seeds: tuple[int, ...]
    items: int
    images: int
    figures: dict[str, Interval]


@dataclass(frozen=True)
class Tested:
    """An estimate, its two-sided p, and the p adjusted for all contrasts of the plan in the world (Holm).

    With a single seed nothing is tested: both are NaN.
    """

    interval: Interval
    p_value: float
    p_holm: float


@dataclass(frozen=True)
class ContrastRow:
    """Two arms in a world, clip by clip, over the seeds that both have.

    ``score`` is the share of pairs in which ours is preferred, a tie counting one half, tested against one half;
    ``difference`` is the followed share of ours less that of theirs, tested against 0. Both are None without a common
    seed. ``reasons`` are shares of all pairs, for ours and for theirs. ``extra_seconds`` is the training time of ours
    less that of theirs, None unless all runs name one machine; ``seconds_per_point`` the same for each point of per
    cent followed more, None unless ours takes longer and follows more.
    """

    ours: str
    theirs: str
    world: str
    seeds: tuple[int, ...]
    pairs: int
    ties: int
    score: Tested | None
    difference: Tested | None
    reasons: dict[Reason, tuple[float, float]]
    paper: tuple[float, ...]
    extra_seconds: float | None
    seconds_per_point: float | None


@dataclass(frozen=True)
class OverSeeds:
    """A mean over seeds with its interval, and the lowest and highest seed."""

    mean: Interval
    lowest: float
    highest: float


@dataclass(frozen=True)
class Reached:
    """The step at which seeds first follow a ``share`` of texts: the median over all seeds, and how many reach it.

    A seed that never does counts as later than all others; None where the median is such a seed.
    """

    share: float
    step: float | None
    seeds: int


@dataclass(frozen=True)
class CurveRow:
    """An arm over training: ``followed`` [points] at ``steps`` [points]; both empty without a point."""

    arm: str
    seeds: tuple[int, ...]
    steps: tuple[int, ...]
    followed: tuple[OverSeeds, ...]
    reached: tuple[Reached, ...]


@dataclass(frozen=True)
class CatchUpRow:
    """How soon ours follows as many texts as theirs does in the end, on the curves of the seeds that both have.

    A seed in which theirs follows none in the end sets no mark to reach: ``marks`` counts those that do. ``step`` is
    the median over these, ``reached`` how many of them get there; see ``Reached``. ``last`` is theirs' last step, None
    without a common seed.
    """

    ours: str
    theirs: str
    seeds: tuple[int, ...]
    step: float | None
    reached: int
    marks: int
    last: int | None


@dataclass(frozen=True)
class NoiseRow:
    """Figure 6 of an arm: held-out error over moving cells over that of all cells, ``ratio`` [levels]."""

    arm: str
    seeds: tuple[int, ...]
    levels: tuple[float, ...]
    ratio: tuple[OverSeeds, ...]


@dataclass(frozen=True)
class CostRow:
    """What a run of an arm costs: steps, trained weights, and seconds of the training steps; None without a result."""

    arm: str
    seeds: tuple[int, ...]
    steps: int | None
    parameters: int | None
    seconds: OverSeeds | None


@dataclass(frozen=True)
class ExperimentAnalysis:
    """All that is told of an experiment; ``missing`` are the runs without a result, arm and seed."""

    arms: tuple[ArmRow, ...]
    contrasts: tuple[ContrastRow, ...]
    curves: tuple[CurveRow, ...]
    catching_up: tuple[CatchUpRow, ...]
    noise: tuple[NoiseRow, ...]
    costs: tuple[CostRow, ...]
    missing: tuple[tuple[str, int], ...]


def load_results(runs: Sequence[RunPlan], folder: Path) -> dict[tuple[str, int], RunResult]:
    """The results that lie in ``folder``, in the order of the runs. Raises ConfigError for a damaged one."""
    found = {(run.arm, run.seed): load_result(folder, run) for run in runs}
    return {key: result for key, result in found.items() if result is not None}


def analyze_experiment(plan: ExperimentPlan, runs: Sequence[RunPlan], results: Results) -> ExperimentAnalysis:
    """All tables of an experiment, rows in the order of the plan; equal results give an equal analysis.

    Raises:
        ConfigError: a contrast is between arms that are asked about different scenes, or results of the same
            questions hold different items.
    """
    by_arm = {arm: [found for (of, _), found in results.items() if of == arm] for arm in plan.arms}
    seen = {(arm, world): _Seen.of(arm, world, by_arm[arm]) for world in plan.worlds for arm in plan.arms}
    contrasts: list[ContrastRow] = []
    for world in plan.worlds:
        _refuse_other_questions(plan.contrasts, runs, world)
        pairs = [(contrast, seen[contrast.ours, world], seen[contrast.theirs, world]) for contrast in plan.contrasts]
        contrasts += _adjusted([_contrast_row(contrast, ours, theirs, results) for contrast, ours, theirs in pairs])
    return ExperimentAnalysis(
        arms=tuple(_arm_row(found) for found in seen.values()),
        contrasts=tuple(contrasts),
        curves=tuple(_curve_row(arm, found) for arm, found in by_arm.items()),
        catching_up=tuple(_catch_up_row(contrast, by_arm) for contrast in plan.contrasts),
        noise=tuple(_noise_row(arm, found) for arm, found in by_arm.items()),
        costs=tuple(_cost_row(arm, found) for arm, found in by_arm.items()),
        missing=tuple((run.arm, run.seed) for run in runs if (run.arm, run.seed) not in results),
    )


def first_reached(curve: Sequence[tuple[int, float]], share: float) -> float | None:
    """The step at which a curve first has ``share``, on straight lines between its points; None where it never has.

    A curve that begins above it is told its first step.
    """
    for place, (step, value) in enumerate(curve):
        if value >= share:
            if place == 0:
                return float(step)
            before, lower = curve[place - 1]
            return before + (step - before) * (share - lower) / (value - lower)
    return None


@dataclass(frozen=True)
class _Seen:
    """An arm's clips in a world: measurements [items] by seed, and the number of each item's image [items]."""

    arm: str
    world: str
    items: tuple[str, ...]
    images: NDArray[np.int64]
    measured: dict[int, list[Measurement]]

    @classmethod
    def of(cls, arm: str, world: str, results: Sequence[RunResult]) -> "_Seen":
        asked = {result.seed: result.worlds[world] for result in results}
        first = next(iter(asked.values()), Asked(items=(), columns={}))
        for seed, one in asked.items():
            _refuse_other_items(first.items, one.items, f"arm {arm}, seed {seed}, world {world}")
        images = np.unique(np.array(first.images, str), return_inverse=True)[1]
        return cls(arm, world, first.items, images, {seed: one.measurements() for seed, one in asked.items()})

    def clusters(self, seeds: Sequence[int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Image and seed of each clip, [seeds * items]."""
        return np.tile(self.images, len(seeds)), np.repeat(np.array(seeds), len(self.items))

    def values(self, figure: str, seeds: Sequence[int]) -> Array:
        """A figure of each clip, [seeds * items]."""
        return np.array([getattr(clip, figure) for seed in seeds for clip in self.measured[seed]], float)


def _refuse_other_questions(contrasts: Iterable[Contrast], runs: Sequence[RunPlan], world: str) -> None:
    questions = {run.arm: run.asked[world] for run in runs}
    for contrast in contrasts:
        if questions.get(contrast.ours) != questions.get(contrast.theirs):
            raise ConfigError(
                f"contrasts: in the world {world!r} {contrast.ours} and {contrast.theirs} are asked about different"
                " scenes, so no pairs can be made; compare arms that train on the same data.world"
            )


def _refuse_other_items(expected: tuple[str, ...], items: tuple[str, ...], where: str) -> None:
    if items != expected:
        raise ConfigError(f"{where}: {len(items)} items, not the {len(expected)} that were asked; run it again")


def _arm_row(seen: _Seen) -> ArmRow:
    seeds = tuple(seen.measured)
    figures = {}
    if seeds:
        clusters = seen.clusters(seeds)
        figures = {name: two_way_mean(seen.values(name, seeds), *clusters) for name in SHARES}
        figures |= {name: two_way_t_mean(seen.values(name, seeds), *clusters) for name in ERRORS}
    return ArmRow(seen.arm, seen.world, seeds, len(seen.items), len(set(seen.images.tolist())), figures)


def _contrast_row(contrast: Contrast, ours: _Seen, theirs: _Seen, results: Results) -> ContrastRow:
    """A contrast whose p-values are not adjusted yet."""
    seeds = tuple(seed for seed in ours.measured if seed in theirs.measured)
    if not seeds:
        return ContrastRow(
            contrast.ours, contrast.theirs, ours.world, (), 0, 0, None, None, {}, contrast.paper, None, None
        )
    where = f"contrast {contrast.ours} / {contrast.theirs}, world {ours.world}"
    _refuse_other_items(ours.items, theirs.items, where)
    clusters = ours.clusters(seeds)
    pairs = [pair for seed in seeds for pair in zip(ours.measured[seed], theirs.measured[seed], strict=True)]
    won = np.array([wins(*pair) for pair in pairs])
    gains = ours.values("followed", seeds) - theirs.values("followed", seeds)
    score, difference = two_way_mean(won, *clusters), two_way_t_mean(gains, *clusters)
    score_p = difference_p = math.nan
    if len(seeds) > 1:
        score_p, difference_p = two_way_test(won, *clusters), two_way_t_test(gains, *clusters)
    extra = _extra_seconds([(results[ours.arm, seed], results[theirs.arm, seed]) for seed in seeds])
    return ContrastRow(
        ours=contrast.ours,
        theirs=contrast.theirs,
        world=ours.world,
        seeds=seeds,
        pairs=len(pairs),
        ties=int((won == 0.5).sum()),
        score=Tested(score, score_p, score_p),
        difference=Tested(difference, difference_p, difference_p),
        reasons=_reason_shares(pairs, won),
        paper=contrast.paper,
        extra_seconds=extra,
        seconds_per_point=_a_point(extra, difference.estimate),
    )


def _a_point(seconds: float | None, gain: float) -> float | None:
    """Seconds for each point of per cent gained, where ours takes longer and gains."""
    return seconds / (100 * gain) if seconds is not None and seconds > 0 and gain > 0 else None


def _extra_seconds(pairs: Sequence[tuple[RunResult, RunResult]]) -> float | None:
    """How much longer ours trains than theirs, where one machine made all runs."""
    machines = {run.machine for pair in pairs for run in pair}
    return None if None in machines or len(machines) > 1 else fmean(a.seconds - b.seconds for a, b in pairs)


def _reason_shares(pairs: Sequence[tuple[Measurement, Measurement]], won: Array) -> dict[Reason, tuple[float, float]]:
    """For each reason the shares of all pairs in which ours won for it, and theirs; as ``study.statistics`` has it."""
    for_ours = [reason for (a, b), win in zip(pairs, won, strict=True) if win == 1 for reason in reasons_for(a, b)]
    for_theirs = [reason for (a, b), win in zip(pairs, won, strict=True) if win == 0 for reason in reasons_for(b, a)]
    return {reason: (for_ours.count(reason) / len(pairs), for_theirs.count(reason) / len(pairs)) for reason in REASONS}


def _adjusted(rows: list[ContrastRow]) -> list[ContrastRow]:
    """Holm's p for the contrasts of a world, of score and difference each."""
    scores, differences = _family([row.score for row in rows]), _family([row.difference for row in rows])
    return [
        replace(row, score=score, difference=difference)
        for row, score, difference in zip(rows, scores, differences, strict=True)
    ]


def _family(rows: Sequence[Tested | None]) -> list[Tested | None]:
    """Adjusted for one another: one without a result counts as p 1; of a single seed there is no test to count."""
    p_values = [1.0 if row is None else row.p_value for row in rows]
    adjusted = iter(holm([p for p in p_values if not math.isnan(p)]))
    found = [p if math.isnan(p) else next(adjusted) for p in p_values]
    return [row and replace(row, p_holm=p) for row, p in zip(rows, found, strict=True)]


def _curve_row(arm: str, results: Sequence[RunResult]) -> CurveRow:
    curves = [result.curve for result in results if result.curve]
    seeds = tuple(result.seed for result in results if result.curve)
    steps = tuple(step for step, _ in curves[0]) if curves else ()
    followed = [[share for _, share in curve] for curve in curves]
    points = tuple(_over_seeds(point, share=True) for point in zip(*followed, strict=True))
    return CurveRow(arm, seeds, steps, points, tuple(_reached(curves, share) for share in REACHED) if curves else ())


def _reached(curves: Sequence[Sequence[tuple[int, float]]], share: float) -> Reached:
    steps = [first_reached(curve, share) for curve in curves]
    return Reached(share, _middle(steps), sum(step is not None for step in steps))


def _middle(steps: Sequence[float | None]) -> float | None:
    """The median, None being later than all others; None of none."""
    middle = median(math.inf if step is None else step for step in steps) if steps else math.inf
    return None if math.isinf(middle) else middle


def _catch_up_row(contrast: Contrast, by_arm: Mapping[str, Sequence[RunResult]]) -> CatchUpRow:
    ours, theirs = (
        {result.seed: result.curve for result in by_arm[arm] if result.curve}
        for arm in (contrast.ours, contrast.theirs)
    )
    seeds = tuple(seed for seed in ours if seed in theirs)
    if not seeds:
        return CatchUpRow(contrast.ours, contrast.theirs, (), None, 0, 0, None)
    marks = {seed: theirs[seed][-1][1] for seed in seeds}
    steps = [first_reached(ours[seed], mark) for seed, mark in marks.items() if mark > 0]
    reached, last = sum(step is not None for step in steps), theirs[seeds[0]][-1][0]
    return CatchUpRow(contrast.ours, contrast.theirs, seeds, _middle(steps), reached, len(steps), last)


def _noise_row(arm: str, results: Sequence[RunResult]) -> NoiseRow:
    measured = [result for result in results if result.noise]
    levels = tuple(at.level for at in measured[0].noise) if measured else ()
    ratios = [[at.moving / at.overall for at in result.noise] for result in measured]
    points = tuple(_over_seeds(point) for point in zip(*ratios, strict=True))
    return NoiseRow(arm, tuple(result.seed for result in measured), levels, points)


def _cost_row(arm: str, results: Sequence[RunResult]) -> CostRow:
    if not results:
        return CostRow(arm, (), None, None, None)
    seconds = _over_seeds([result.seconds for result in results])
    return CostRow(arm, tuple(result.seed for result in results), results[0].steps, results[0].parameters, seconds)


def _over_seeds(values: Sequence[float], *, share: bool = False) -> OverSeeds:
    """A figure of each seed [seeds]; the interval of a ``share`` stays within [0, 1]."""
    mean = Interval(fmean(values), math.nan, math.nan)
    if len(values) > 1:
        mean = (two_way_mean if share else two_way_t_mean)(values, range(len(values)), np.zeros(len(values)))
    return OverSeeds(mean, min(values), max(values))
