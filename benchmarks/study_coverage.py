"""How often the interval of the vote-level score holds the truth: simulated studies, estimators side by side.

    python benchmarks/study_coverage.py                  # the bar: 320 items, 5 votes, 40 raters; under two minutes
    python benchmarks/study_coverage.py --others         # and what else a study may look like; minutes

Votes are drawn of people whose preference is known (motionfocal.study.analysis.simulation). Coverage is the share of
studies whose 95 % interval holds it, with Wilson's interval of that share; it should be 95 %. "two-way" is what an
analysis reports. Beside it: "naive" takes votes for independent (Wilson), "items" draws whole items, "pigeonhole" draws
items and raters independently of each other, a vote's weight being the product of both counts.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from figures import Figure, tell
from numpy.typing import NDArray

from motionfocal.intervals import LEVEL, Interval, grouped_mean, wilson
from motionfocal.study.analysis.scores import vote_outcomes, vote_score, vote_score_naive
from motionfocal.study.analysis.simulation import MODEL, Crowd, Population, simulated_votes
from motionfocal.study.protocol import Judgement

RESAMPLES = 1000


@dataclass(frozen=True)
class Setting:
    """A study: its people, its size, and how much raters differ in how long they stay."""

    name: str
    population: Population
    items: int = 320
    raters: int = 40
    votes: int = 5
    kept: float = 1.0


BAR = Setting("bar", Population(effect=0.45, item_sd=1.0, rater_sd=0.5, reasons=()))
OTHERS = (
    Setting("10 raters", BAR.population, raters=10),
    Setting("5 raters", BAR.population, raters=5),
    Setting("60 items, 10 raters", BAR.population, items=60, raters=10),
    Setting("unbalanced: raters leave", BAR.population, votes=9, kept=0.5),
    Setting("all alike", Population(effect=0.45, item_sd=0, rater_sd=0, reasons=())),
    Setting("large effects", Population(effect=0.45, item_sd=2.0, rater_sd=1.5, reasons=())),
    Setting("near 0.9", Population(effect=3.0, item_sd=1.0, rater_sd=0.5, reasons=())),
    Setting("near 0.9, unbalanced", Population(effect=3.0, item_sd=1.0, rater_sd=0.5, reasons=()), votes=9, kept=0.5),
    Setting("near 0.9, 10 raters, sd 1", Population(effect=3.0, item_sd=1.0, rater_sd=1.0, reasons=()), raters=10),
    Setting("near 0.02", Population(effect=-4.5, item_sd=1.0, rater_sd=0.5, reasons=())),
    Setting("side bias, careless", Population(effect=0.45, side=0.5, careless=0.1, reasons=())),
)

Estimator = Callable[[Sequence[Judgement], np.random.Generator], Interval]


def by_items(judgements: Sequence[Judgement], rng: np.random.Generator) -> Interval:
    return grouped_mean(vote_outcomes(judgements, MODEL), [j.item for j in judgements], rng, RESAMPLES)


def pigeonhole(judgements: Sequence[Judgement], rng: np.random.Generator) -> Interval:
    outcomes = np.array(vote_outcomes(judgements, MODEL))
    items, raters = (
        np.unique(names, return_inverse=True)[1]
        for names in ([j.item for j in judgements], [j.rater for j in judgements])
    )
    shape = (items.max() + 1, raters.max() + 1)
    sums, counts = np.zeros(shape), np.zeros(shape)
    np.add.at(sums, (items, raters), outcomes)
    np.add.at(counts, (items, raters), 1)
    of_items, of_raters = (rng.multinomial(n, np.full(n, 1 / n), RESAMPLES).astype(float) for n in shape)
    means = ((of_items @ sums) * of_raters).sum(1) / ((of_items @ counts) * of_raters).sum(1)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(outcomes.mean()), float(low), float(high))


ESTIMATORS: dict[str, Estimator] = {
    "two-way": lambda judgements, rng: vote_score(judgements, MODEL),
    "naive": lambda judgements, rng: vote_score_naive(judgements, MODEL),
    "items": by_items,
    "pigeonhole": pigeonhole,
}


def study(setting: Setting, rng: np.random.Generator) -> list[Judgement]:
    """A study's votes; where raters leave, each keeps votes with a chance of its own, ``kept`` on average."""
    crowd = Crowd.draw(setting.population, setting.items, setting.raters, rng)
    votes = simulated_votes(crowd, setting.votes, rng)
    if setting.kept == 1:
        return votes
    names = sorted({vote.rater for vote in votes})
    chances = dict(zip(names, rng.uniform(0, 2 * setting.kept, len(names)), strict=True))
    return [vote for vote in votes if rng.random() < chances[vote.rater]]


def measure(setting: Setting, studies: int, seed: int) -> Interval:
    """The share of simulated studies whose two-way interval holds the truth."""
    rng = np.random.default_rng(seed)
    truth = setting.population.preference
    found: dict[str, list[Interval]] = {name: [] for name in ESTIMATORS}
    for _ in range(studies):
        judgements = study(setting, rng)
        for name, estimate in ESTIMATORS.items():
            found[name].append(estimate(judgements, rng))
    means = np.array([interval.estimate for interval in found["two-way"]])
    print(f"{setting.name}: truth {truth:.4f}, mean {means.mean():.4f}, sd {means.std():.4f}, {studies} studies")
    for name, intervals in found.items():
        print(f"  {name:11s} {described(intervals, truth)}")
    return coverage(found["two-way"], truth)


def coverage(intervals: Sequence[Interval], truth: float) -> Interval:
    return wilson(sum(interval.low <= truth <= interval.high for interval in intervals), len(intervals))


def described(intervals: Sequence[Interval], truth: float) -> str:
    held = coverage(intervals, truth)
    width: NDArray[np.float64] = np.array([interval.high - interval.low for interval in intervals])
    return f"covers {held.estimate:6.1%} ({held.low:.1%} to {held.high:.1%}), mean width {width.mean():.4f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--others", action="store_true", help="other settings, too")
    arguments = parser.parse_args()
    held = measure(BAR, arguments.studies, arguments.seed)
    for setting in OTHERS if arguments.others else ():
        measure(setting, arguments.studies, arguments.seed)
    value = f"{held.estimate:.1%} [{held.low:.1%}, {held.high:.1%}]"
    tell(Figure(f"{arguments.studies} simulated studies: intervals of 95 % that hold the truth", value, "95 %"))


if __name__ == "__main__":
    main()
