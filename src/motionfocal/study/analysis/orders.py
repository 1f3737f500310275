"""Machine raters: they judge each pair in both orders, and are held against the majority of people."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from motionfocal.errors import ConfigError
from motionfocal.intervals import Interval, wilson
from motionfocal.study.analysis.agreement import counts_of, gwet_ac1, preferred_by_most, unit_of
from motionfocal.study.analysis.contents import AgreementWithPeople
from motionfocal.study.analysis.sides import UNDEFINED, exchanged, share_by_groups
from motionfocal.study.protocol import Judgement, Kind


@dataclass(frozen=True)
class Settled:
    """What is left of judgements in both orders.

    ``judgements`` holds one for each rater, question and comparison that was answered alike in both orders: the first
    one, with the reasons given in both. Its side means nothing any more. ``abstained`` holds the first answers that
    did not outlast the exchange of sides, and ``flips`` is their share.
    """

    judgements: tuple[Judgement, ...]
    abstained: tuple[Judgement, ...]
    flips: Interval


def settle(judgements: Sequence[Judgement]) -> Settled:
    """Make one judgement of each two that differ in the order of the clips; an answer that changed is an abstention.

    A choice that became a tie has changed too. Raises ConfigError, naming the rater and the comparison, where one was
    not judged exactly once in each order, and when there is no judgement.
    """
    both: dict[tuple[str, str, str], list[Judgement]] = defaultdict(list)
    for judgement in judgements:
        both[judgement.rater, judgement.question, judgement.comparison].append(judgement)
    kept, abstained = [], []
    for answers in both.values():
        first, second = _in_both_orders(answers)
        if first.preferred == second.preferred:
            kept.append(replace(first, reasons=tuple(reason for reason in first.reasons if reason in second.reasons)))
        else:
            abstained.append(first)
    return Settled(tuple(kept), tuple(abstained), wilson(len(abstained), len(both)))


def _in_both_orders(answers: Sequence[Judgement]) -> tuple[Judgement, Judgement]:
    first = answers[0]
    if len(answers) != 2 or not exchanged(first, answers[1]):
        orders = ", ".join(f"{answer.left_model} | {answer.right_model}" for answer in answers)
        raise ConfigError(
            f"rater {first.rater}, question {first.question}, comparison {first.comparison}: needs one answer in each"
            f" order of the clips, has {orders}; let the rater judge what is missing"
        )
    return first, answers[1]


def with_people(
    settled: Settled, people: Sequence[Judgement], rng: np.random.Generator, resamples: int = 2000
) -> AgreementWithPeople:
    """One such rater against the majority of people, on what both judged for one question.

    An item counts once for each pair of models. It is left out where the rater abstained or saw a tie, and where
    people, their ties aside, are divided evenly. The interval draws images, as ``share_by_groups`` does; AC1 takes
    the two models of a comparison, by name, for its categories. Both are NaN where nothing is left.

    Raises:
        ConfigError: the judgements are of several raters or questions, or people judged none of the same.
    """
    rater, question, kind = _the_one(settled)
    of_people = counts_of([judgement for judgement in people if judgement.question == question])
    common = [judgement for judgement in (*settled.judgements, *settled.abstained) if unit_of(judgement) in of_people]
    if not common:
        raise ConfigError(f"rater {rater}: people judged nothing of the same for question {question}")
    majorities = {unit: preferred_by_most(unit, first, second) for unit, (first, second, _) in of_people.items()}
    chosen = [judgement for judgement in settled.judgements if judgement.preferred is not None]
    compared = [judgement for judgement in chosen if majorities.get(unit_of(judgement)) is not None]
    same = [judgement.preferred == majorities[unit_of(judgement)] for judgement in compared]
    images = [judgement.image for judgement in compared]
    return AgreementWithPeople(
        question=question,
        kind=kind,
        rater=rater,
        items=len(compared),
        left_out=len(common) - len(compared),
        same=share_by_groups(same, images, rng, resamples) if compared else UNDEFINED,
        ac1=gwet_ac1(_two_raters(compared, same)),
    )


def _the_one(settled: Settled) -> tuple[str, str, Kind]:
    """Rater, question and kind. Raises ConfigError if there are several, or none."""
    found = {(answer.rater, answer.question, answer.kind) for answer in (*settled.judgements, *settled.abstained)}
    if len(found) != 1:
        named = "; ".join(f"{rater} ({kind}) on {question}" for rater, question, kind in sorted(found)) or "none"
        raise ConfigError(f"with_people: compare one rater at a time, on one question; got {named}")
    return found.pop()


def _two_raters(compared: Sequence[Judgement], same: Sequence[bool]) -> NDArray[np.int64]:
    """Counts [units, 2] of votes for the first model and the second: one the rater's, one of people."""
    first = np.array([judgement.preferred == unit_of(judgement).first for judgement in compared], int)
    votes = np.where(same, 2 * first, 1)
    return np.stack([votes, 2 - votes], axis=1)
