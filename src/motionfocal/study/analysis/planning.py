"""Before a study: what a TI2V score must be to show, how many items that takes, and what raters cost.

Two-sided tests of a score against one half, by the normal approximation; items that share an image count for fewer, by
the design effect 1 + (m - 1) ICC with m items an image (Kish 1965).
"""

import math
from dataclasses import dataclass

from scipy.optimize import brentq
from scipy.stats import binom, norm

from motionfocal.errors import ConfigError
from motionfocal.intervals import LEVEL

POWER = 0.8
ICCS = (0.0, 0.1, 0.2, 0.3)
"""Correlations of the outcomes of two items of one image, for which a plan gives its figures."""


@dataclass(frozen=True)
class Detectable:
    """What shows where items of one image correlate by ``icc``.

    ``score`` is the smallest TI2V score found with a power of 0.8 at the 0.05 level, ``preference`` the share of votes
    that makes it (see ``majority_score``). The ``corrected`` ones hold for all pairs together (Bonferroni, which is
    Holm's first step). ``items_needed`` are those for the score aimed at, None without one.
    """

    icc: float
    score: float
    preference: float
    corrected_score: float
    corrected_preference: float
    items_needed: int | None


@dataclass(frozen=True)
class Effort:
    """What all votes take. ``tasks`` counts checks and training too, ``pay`` is None without an hourly rate."""

    votes: int
    tasks: int
    raters: int
    hours: float
    pay: float | None


@dataclass(frozen=True)
class PowerPlan:
    """A study's figures before it begins: of ``pairs`` pairs of models on ``items`` items each."""

    items: int
    images: int
    pairs: int
    votes: int
    aim: float | None
    detectable: tuple[Detectable, ...]
    effort: Effort


def power_plan(
    *,
    items: int,
    images: int,
    pairs: int = 1,
    votes: int = 5,
    aim: float | None = None,
    tasks: int = 40,
    checks: float = 0.1,
    training: int = 3,
    seconds: float = 45,
    hourly: float | None = None,
) -> PowerPlan:
    """Plan a study with ``votes`` votes a pair of clips, to find a TI2V score of ``aim``.

    A rater makes ``tasks`` tasks, a share ``checks`` of them attention checks, after ``training`` tasks; each takes
    ``seconds``, and an hour is paid ``hourly``. Raises ConfigError as the functions below do.
    """
    detectable = []
    for icc in ICCS:
        effect = design_effect(items, images, icc)
        score = detectable_score(items / effect)
        corrected = detectable_score(items / effect, comparisons=pairs)
        needed = None if aim is None else math.ceil(effect * independent_items_needed(aim))
        preferences = (preference_of(score, votes), preference_of(corrected, votes))
        detectable.append(Detectable(icc, score, preferences[0], corrected, preferences[1], needed))
    effort = effort_of(
        items * pairs * votes, votes, tasks=tasks, checks=checks, training=training, seconds=seconds, hourly=hourly
    )
    return PowerPlan(items, images, pairs, votes, aim, tuple(detectable), effort)


def design_effect(items: int, images: int, icc: float) -> float:
    """By how much items on fewer images count for less. Raises ConfigError for more images than items, or none."""
    if not 1 <= images <= items:
        raise ConfigError(f"images: from 1 to the number of items, {items}, got {images}")
    return 1 + (items / images - 1) * icc


def detectable_score(independent_items: float, *, comparisons: int = 1) -> float:
    """The smallest TI2V score above one half that is found with a power of 0.8, Bonferroni over ``comparisons``.

    ``independent_items`` are items over their design effect. Raises ConfigError where no score at all would be found.
    """
    at_null, at_score = _quantiles(comparisons)
    if not independent_items > at_null**2:
        raise ConfigError(
            f"items: {independent_items:.4g} independent ones show nothing; at least {math.floor(at_null**2) + 1}"
        )

    def beyond(score: float) -> float:
        needed = at_null / 2 + at_score * math.sqrt(score * (1 - score))
        return (score - 0.5) * math.sqrt(independent_items) - needed

    return float(brentq(beyond, 0.5, 1))


def independent_items_needed(score: float, *, comparisons: int = 1) -> float:
    """Independent items, not rounded, on which a TI2V score (or its mirror image) is found with a power of 0.8.

    Raises ConfigError unless the score is within [0, 1] and not one half.
    """
    if not 0 <= score <= 1 or score == 0.5:
        raise ConfigError(f"score: a share in [0, 1] other than 0.5, got {score}")
    at_null, at_score = _quantiles(comparisons)
    return ((at_null / 2 + at_score * math.sqrt(score * (1 - score))) / (score - 0.5)) ** 2


def majority_score(preference: float, votes: int) -> float:
    """The TI2V score that a ``preference`` [0, 1] of each vote makes with ``votes`` votes, no majority counting half.

    For items that are all alike; where they differ, the same share of votes makes a score nearer to one half.
    Raises ConfigError for a preference outside [0, 1], or no votes.
    """
    if not 0 <= preference <= 1 or votes < 1:
        raise ConfigError(f"preference, votes: a share and at least 1, got {preference} and {votes}")
    more, as_many_or_more = binom.sf([votes // 2, (votes - 1) // 2], votes, preference)
    return float((more + as_many_or_more) / 2)


def preference_of(score: float, votes: int) -> float:
    """The preference of which ``majority_score`` makes ``score`` [0, 1]."""
    return float(brentq(lambda preference: majority_score(preference, votes) - score, 0, 1))


def effort_of(
    votes: int,
    votes_an_item: int,
    *,
    tasks: int,
    checks: float,
    training: int,
    seconds: float,
    hourly: float | None,
) -> Effort:
    """Raters and hours for ``votes`` votes, all valid: leave room for raters who fail.

    There are at least as many raters as votes an item, for none votes twice on a pair. Raises ConfigError where checks
    leave no task for votes.
    """
    raters = raters_of(votes, votes_an_item, tasks=tasks, checks=checks)
    done = math.ceil(votes * tasks / _net(tasks, checks)) + raters * training
    hours = done * seconds / 3600
    return Effort(votes, done, raters, hours, None if hourly is None else hours * hourly)


def raters_of(votes: int, votes_an_item: int, *, tasks: int, checks: float) -> int:
    """The raters of ``effort_of``, which says more."""
    return max(math.ceil(votes / _net(tasks, checks)), votes_an_item)


def _net(tasks: int, checks: float) -> int:
    """Votes among a rater's tasks."""
    net = tasks - round(tasks * checks)
    if net < 1:
        raise ConfigError(f"checks: a share of {checks} leaves none of {tasks} tasks for votes")
    return net


def _quantiles(comparisons: int) -> tuple[float, float]:
    """Normal quantiles of the two-sided level over ``comparisons``, and of the power."""
    return float(norm.isf((1 - LEVEL) / 2 / comparisons)), float(norm.isf(1 - POWER))
