"""Attention checks: where they stand among a rater's tasks, what is shown, and how an answer is graded."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from motionfocal.study.design import LEAST_MISSED, CheckKind, Checks
from motionfocal.study.fieldwork.records import REPEAT, ImpressionRecord, RaterRecord, VoteRecord
from motionfocal.study.plan import CheckPlan, Example, PairPlan, Plan, Shown, Study
from motionfocal.study.protocol import Preference

_SPACE = 3
"""A repeat comes at least so many tasks after what it repeats."""


@dataclass(frozen=True)
class Task:
    """What is to be shown: ``target`` as in ImpressionRecord, two clips, and the impression it repeats."""

    target: str
    left: str
    right: str
    first_left: bool
    instructed: str = ""
    repeats: int | None = None


def check_places(checks: Checks, tasks: int, seed: int) -> dict[int, CheckKind]:
    """Which of a rater's tasks (1 is the first) are checks, and of which kind.

    They are spread: each equal part of the tasks has one, anywhere in it, but the first task is none. Their kinds are
    those that the design deals, shuffled.
    """
    kinds = checks.dealt(tasks)
    rng = np.random.default_rng([seed, 1])
    edges = np.linspace(1, tasks, len(kinds) + 1).astype(int)
    numbers = [int(rng.integers(low, high)) + 1 for low, high in pairwise(edges)]
    return dict(zip(numbers, (kinds[place] for place in rng.permutation(len(kinds))), strict=True))


def check_kind(study: Study, target: str) -> CheckKind:
    """The kind of the check that an impression shows."""
    return "repeat" if target.startswith(REPEAT) else study.plan.check(target).kind


def item_of(plan: Plan, impression: ImpressionRecord) -> Shown:
    """The picture and text that an impression is about. Raises UnknownNameError when the plan has no such target."""
    find: Callable[[str], Example | CheckPlan | PairPlan] = plan.pair
    if impression.kind == "training":
        find = plan.example
    elif impression.kind == "check" and impression.repeats is None:
        find = plan.check
    return plan.item(find(impression.subject).item)


def draw_check(
    study: Study, shown: Sequence[ImpressionRecord], kind: CheckKind, rng: np.random.Generator
) -> Task | None:
    """A check of this kind for someone who has been shown so much; None when there is none that is new."""
    if kind == "repeat":
        return _repeat(shown, rng)
    seen = {impression.target for impression in shown}
    left = [check for check in study.plan.checks if check.kind == kind and check.id not in seen]
    if not left:
        return None
    check = left[rng.integers(len(left))]
    first_left = bool(rng.integers(2))
    sides = (check.first, check.second) if first_left else (check.second, check.first)
    instructed = ("left", "right")[rng.integers(2)] if kind == "instructed" else ""
    return Task(check.id, *sides, first_left, instructed)


def _repeat(shown: Sequence[ImpressionRecord], rng: np.random.Generator) -> Task | None:
    """A pair that was answered some time ago, with its sides exchanged."""
    repeated = {impression.repeats for impression in shown}
    old = [
        impression
        for impression in shown[: max(0, len(shown) - _SPACE + 1)]
        if impression.kind == "pair" and impression.state == "answered" and impression.id not in repeated
    ]
    if not old:
        return None
    before = old[rng.integers(len(old))]
    return Task(f"{REPEAT}{before.target}", before.right, before.left, not before.first_left, repeats=before.id)


def right_side(session: Session, study: Study, impression: ImpressionRecord) -> str:
    """The side that ought to be chosen in a check: "left", "right", or "" where every answer is good.

    Of a repeat it is the clip that was chosen before ("tie" if none was).
    """
    if impression.repeats is not None:
        before = session.scalar(select(VoteRecord).where(VoteRecord.impression_id == impression.repeats))
        earlier = str(before.answers[0]["choice"]) if before else ""
        return {"left": "right", "right": "left"}.get(earlier, earlier)
    if impression.instructed:
        return impression.instructed
    right = study.plan.check(impression.target).right
    return {impression.left: "left", impression.right: "right"}.get(right, "")


def grade(session: Session, study: Study, impression: ImpressionRecord, choice: Preference) -> bool | None:
    """Whether a check was passed; None for one on which every answer is good."""
    right = right_side(session, study, impression)
    return choice == right if right else None


def has_failed(session: Session, study: Study, rater: RaterRecord) -> bool:
    """Whether a rater has failed too many of the checks that can fail them."""
    shown = session.execute(
        select(ImpressionRecord.target, VoteRecord.passed)
        .join(VoteRecord, VoteRecord.impression_id == ImpressionRecord.id)
        .where(ImpressionRecord.rater_id == rater.id, ImpressionRecord.kind == "check")
    )
    checks = study.design.checks
    grades = [bool(passed) for target, passed in shown if check_kind(study, target) in checks.fail_on]
    return grades.count(False) >= LEAST_MISSED and sum(grades) / len(grades) < checks.pass_share
