"""People whose preference is known: what an analysis must find, and how often its intervals hold."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import quad
from scipy.special import expit
from scipy.stats import norm

from motionfocal.errors import ConfigError
from motionfocal.study.protocol import OVERALL, REASONS, Judgement

MODEL, BASELINE = "model", "baseline"
"""The two models that simulated people compare."""


@dataclass(frozen=True)
class ReasonHabit:
    """How readily a reason is given: the chances in a vote for the model, and in one for the baseline."""

    reason: str
    model: float
    baseline: float


PAPER_REASONS = tuple(
    ReasonHabit(reason, model, baseline)
    for reason, model, baseline in zip(REASONS, (0.5, 0.5, 0.7, 0.6), (0.5, 0.4, 0.4, 0.5), strict=True)
)
"""The paper's four, object motion telling the two models apart."""


@dataclass(frozen=True)
class Population:
    """Raters and items of which votes are drawn.

    The logit of choosing the model is ``effect``, plus the item's and the rater's own effects (normal, with standard
    deviations ``item_sd`` and ``rater_sd``), plus ``side`` when the model stands on the left, minus it on the right. A
    share ``careless`` of raters choose a side at random. ``reasons`` are drawn one by one, until there is any.
    Raises ConfigError for a negative sd, a chance outside [0, 1], or reasons of which none can be given.
    """

    effect: float = 0.4
    item_sd: float = 1.0
    rater_sd: float = 0.5
    side: float = 0.0
    careless: float = 0.0
    reasons: tuple[ReasonHabit, ...] = PAPER_REASONS

    def __post_init__(self) -> None:
        if self.item_sd < 0 or self.rater_sd < 0:
            raise ConfigError(f"item_sd, rater_sd: at least 0, got {self.item_sd} and {self.rater_sd}")
        chances = [chance for habit in self.reasons for chance in (habit.model, habit.baseline)]
        if any(not 0 <= chance <= 1 for chance in (self.careless, *chances)):
            raise ConfigError(f"careless, reasons: chances are in [0, 1], got {self.careless}; {chances}")
        if self.reasons and not (any(chances[::2]) and any(chances[1::2])):
            raise ConfigError("reasons: for each side at least one must have a chance above 0")

    @property
    def preference(self) -> float:
        """The true chance that a vote is for the model: over all items, raters, and both sides alike."""
        return (self._chance(self.side) + self._chance(-self.side)) / 2

    @property
    def left(self) -> float:
        """The true chance that a vote is for the left side, the model standing on both alike."""
        return (1 + self._chance(self.side) - self._chance(-self.side)) / 2

    def _chance(self, side: float) -> float:
        """Of choosing the model with this side term, integrated over the effects of items and raters."""
        mean, sd = self.effect + side, float(np.hypot(self.item_sd, self.rater_sd))
        careful = quad(lambda z: expit(mean + sd * z) * norm.pdf(z), -9, 9, points=[0])[0]
        return float((1 - self.careless) * careful + self.careless / 2)


@dataclass(frozen=True)
class Crowd:
    """A sample of a population: the effects of ``items`` [items] and ``raters`` [raters], and who is ``careless``."""

    population: Population
    items: NDArray[np.float64]
    raters: NDArray[np.float64]
    careless: NDArray[np.bool_]

    @classmethod
    def draw(cls, population: Population, items: int, raters: int, rng: np.random.Generator) -> "Crowd":
        """Items and raters at random."""
        return cls(
            population,
            rng.normal(0, population.item_sd, items),
            rng.normal(0, population.rater_sd, raters),
            rng.random(raters) < population.careless,
        )

    def vote(self, item: int, rater: int, model_left: bool, rng: np.random.Generator) -> tuple[bool, tuple[str, ...]]:
        """Whether this rater chooses the model on this item, and the reasons given."""
        side = self.population.side if model_left else -self.population.side
        chance = (
            0.5
            if self.careless[rater]
            else expit(self.population.effect + self.items[item] + self.raters[rater] + side)
        )
        chosen = bool(rng.random() < chance)
        return chosen, _reasons(self.population.reasons, chosen, rng)


def simulated_votes(
    crowd: Crowd, votes: int, rng: np.random.Generator, *, images: int | None = None, question: str = OVERALL
) -> list[Judgement]:
    """``votes`` votes on each item by as many raters, raters drawn anew for each item so that all get as many.

    On each item the model stands on the left for half of the votes; where the number is odd, the one left over is on
    the left and on the right in turn. Items are spread evenly over ``images``; unset, each has its own.

    Raises:
        ConfigError: more votes an item than raters.
    """
    items, raters = len(crowd.items), len(crowd.raters)
    if not 1 <= votes <= raters:
        raise ConfigError(f"votes: from 1 to the number of raters, {raters}, got {votes}")
    judgements = []
    for item, assigned in enumerate(_assignment(items, raters, votes, rng)):
        for place, rater in enumerate(assigned):
            model_left = (place + item) % 2 == 0
            chosen, reasons = crowd.vote(item, int(rater), model_left, rng)
            judgements.append(
                Judgement(
                    comparison=f"c{item:04}",
                    item=f"item{item:04}",
                    image=f"image{item * (images or items) // items:04}",
                    left_model=MODEL if model_left else BASELINE,
                    right_model=BASELINE if model_left else MODEL,
                    rater=f"r{rater:04}",
                    preference="left" if chosen == model_left else "right",
                    reasons=reasons,
                    question=question,
                    kind="person",
                )
            )
    return judgements


def _assignment(items: int, raters: int, votes: int, rng: np.random.Generator) -> list[NDArray[np.int64]]:
    """The raters of each item in random order: always those who have had the fewest, ties drawn."""
    counts = np.zeros(raters)
    found = []
    for _ in range(items):
        chosen = np.argsort(counts + rng.random(raters))[:votes]
        counts[chosen] += 1
        found.append(rng.permutation(chosen))
    return found


def _reasons(habits: Sequence[ReasonHabit], chosen: bool, rng: np.random.Generator) -> tuple[str, ...]:
    """Each reason by its chance, drawn until there is one."""
    chances = [habit.model if chosen else habit.baseline for habit in habits]
    given: tuple[str, ...] = ()
    while habits and not given:
        drawn = rng.random(len(habits)) < chances
        given = tuple(habit.reason for habit, yes in zip(habits, drawn, strict=True) if yes)
    return given
