"""Comparisons that no experiment's file plans and docs/results.md tells of: from the result files, in seconds.

    python benchmarks/asides.py

They are paired by seed and item as a report's are, with its intervals; their p-values are not adjusted for anything.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from motionfocal.experiments.analysis import first_reached, load_results
from motionfocal.experiments.plan import load_plan
from motionfocal.experiments.result import RunResult
from motionfocal.intervals import Interval
from motionfocal.study.analysis.twoway import two_way_mean, two_way_t_mean, two_way_t_test, two_way_test
from motionfocal.worlds.oracle import wins

FOLDER = Path(__file__).parents[1] / "experiments"


@dataclass(frozen=True)
class Arm:
    """An arm of an experiment's file, asked about one of its worlds."""

    file: str
    name: str
    world: str = "own"

    def runs(self, seeds: Sequence[int]) -> list[RunResult]:
        """Its results of these seeds."""
        return [results_of(self.file)[self.name, seed] for seed in seeds]


@cache
def results_of(file: str) -> dict[tuple[str, int], RunResult]:
    """All results of a file."""
    return load_results(load_plan(FOLDER / f"{file}.yaml").runs(FOLDER), FOLDER)


ALL = range(5)


def tell(what: str, found: Interval, p_value: float, unit: str = "", places: int = 1) -> None:
    """A line; shares in per cent, differences with their sign."""
    scale, sign = 100 if unit in ("points", "%") else 1, "" if unit in ("%", "of theirs") else "+"
    estimate, low, high = (f"{scale * value:{sign}.{places}f}" for value in (found.estimate, found.low, found.high))
    print(f"{what}: {estimate} [{low}, {high}] {unit}, p {p_value:.3g}")


def values(arm: Arm, figure: str, seeds: Sequence[int] = ALL) -> NDArray[np.float64]:
    """A figure of each clip, seed by seed."""
    return np.array(
        [getattr(one, figure) for run in arm.runs(seeds) for one in run.worlds[arm.world].measurements()], float
    )


def clusters(arm: Arm, seeds: Sequence[int] = ALL) -> tuple[NDArray[np.str_], NDArray[np.int64]]:
    """The image and the seed of each clip."""
    images = [run.worlds[arm.world].images for run in arm.runs(seeds)]
    return np.concatenate([np.array(of, str) for of in images]), np.repeat(np.array(seeds), len(images[0]))


def difference(what: str, figure: str, plus: Sequence[Arm], minus: Sequence[Arm], unit: str, places: int) -> None:
    """Of sums of arms, clip by clip."""
    gain = sum(values(arm, figure) for arm in plus) - sum(values(arm, figure) for arm in minus)
    by = clusters(plus[0])
    tell(what, two_way_t_mean(gain, *by), two_way_t_test(gain, *by), unit, places)


def followed(what: str, plus: Sequence[Arm], minus: Sequence[Arm]) -> None:
    """Difference of followed texts."""
    difference(f"{what}, followed more", "followed", plus, minus, "points", 1)


def ground(what: str, plus: Arm, minus: Arm) -> None:
    """Difference of the ground's error."""
    difference(f"{what}, ground error", "ground_error", [plus], [minus], "grey levels", 2)


def of_seeds(what: str, ours: Arm, theirs: Arm, seeds: Sequence[int]) -> None:
    """A contrast over some of the seeds."""
    pairs = zip(ours.runs(seeds), theirs.runs(seeds), strict=True)
    clips = [
        pair
        for a, b in pairs
        for pair in zip(a.worlds[ours.world].measurements(), b.worlds[theirs.world].measurements(), strict=True)
    ]
    won, by = np.array([wins(*pair) for pair in clips]), clusters(ours, seeds)
    tell(f"{what}, TI2V score", two_way_mean(won, *by), two_way_test(won, *by), "%")
    gain = values(ours, "followed", seeds) - values(theirs, "followed", seeds)
    tell(f"{what}, followed more", two_way_t_mean(gain, *by), two_way_t_test(gain, *by), "points")


def steps(what: str, ours: Arm, theirs: Arm, share: float) -> None:
    """The geometric mean, over seeds, of our steps to a share of followed texts over theirs."""
    reached = [[first_reached(run.curve, share) or math.nan for run in arm.runs(ALL)] for arm in (ours, theirs)]
    ratio = np.log(np.array(reached[0]) / np.array(reached[1]))
    found, by = two_way_t_mean(ratio, ALL, np.zeros(5)), (ALL, np.zeros(5))
    back: Callable[[float], float] = math.exp
    interval = Interval(back(found.estimate), back(found.low), back(found.high))
    tell(f"{what}, steps to {100 * share:.0f} %", interval, two_way_t_test(ratio, *by), "of theirs", 2)


def main() -> None:
    motif, plain, ours = Arm("table2", "motif"), Arm("table2", "none"), Arm("successor", "ours")
    followed("inverse against plain", [Arm("table2", "inverse")], [plain])
    long_motif, long_plain, long_ours = (Arm("convergence", name) for name in ("motif", "none", "ours"))
    steps("MotiF against plain", long_motif, long_plain, 0.5)
    steps("MotiF against plain", long_motif, long_plain, 0.8)
    steps("ours against plain", long_ours, long_plain, 0.8)
    strong = Arm("table-a2", "strength 5")
    followed("ours against strength 5", [ours], [strong])
    ground("ours against strength 5", ours, strong)
    for theirs, name in ((motif, "MotiF"), (plain, "plain")):
        ground(f"ours against {name}", ours, theirs)
        difference(f"ours against {name}, first frame", "first_frame_error", [ours], [theirs], "grey levels", 2)
        difference(f"ours against {name}, others", "others_deviation", [ours], [theirs], "diameters", 2)
    of_seeds("ours against MotiF, seeds 2 to 4", ours, motif, (2, 3, 4))
    hard_motif, hard_ours = Arm("hard", "motif"), Arm("hard", "ours")
    of_seeds("hard world, ours against MotiF, seeds 1 to 4", hard_ours, hard_motif, (1, 2, 3, 4))
    ground("hard world, ours without reach against ours", Arm("hard", "ours, frame by frame"), hard_ours)
    longer = Arm("hard-longer", "motif"), Arm("hard-longer", "ours")
    followed("hard world, ours over MotiF at 2400 steps against 4000", [hard_ours, longer[0]], [hard_motif, longer[1]])
    defaults = Arm("heatmap", "as by default"), Arm("heatmap", "ours, as by default")
    followed(
        "what MotiF loses by the default heatmap against what ours does", [motif, defaults[1]], [defaults[0], ours]
    )
    followed("MotiF without a motion score against with it", [motif], [Arm("motion-score", "motif")])
    few = Arm("confounders", "few clips, motif"), Arm("confounders", "few clips, none")
    followed("MotiF's gain with all clips against a few", [motif, few[1]], [plain, few[0]])
    for name in ("motif", "ours"):
        home, away = Arm("transfer", name), Arm("transfer", name, "new combinations")
        followed(f"{name} at home against new combinations", [home], [away])
    ground("flow matching, ours against plain", Arm("flow-matching", "ours"), Arm("flow-matching", "none"))


if __name__ == "__main__":
    main()
