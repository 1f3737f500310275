"""How many votes a pair has or is waited for: exactly so many are wanted, and never more given out."""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Integer, and_, func, or_, select
from sqlalchemy.orm import Session

from motionfocal.study.fieldwork.records import ImpressionRecord


@dataclass(frozen=True)
class Slots:
    """Of one pair: valid votes and tasks that are out, and how many of them show the first clip on the left."""

    taken: int = 0
    first_left: int = 0


def slots(session: Session, now: float, targets: Iterable[str] | None = None) -> dict[str, Slots]:
    """By pair; those that nobody has seen are left out. ``targets`` are the pairs to look at, None for all.

    A task that is out no longer counts when its lease is over.
    """
    impression = ImpressionRecord
    out = and_(impression.state == "open", impression.lease > now)
    query = (
        select(impression.target, func.count(), func.sum(impression.first_left.cast(Integer)))
        .where(impression.kind == "pair", or_(impression.state == "answered", out))
        .group_by(impression.target)
    )
    if targets is not None:
        query = query.where(impression.target.in_(list(targets)))
    return {target: Slots(taken, left) for target, taken, left in session.execute(query)}
