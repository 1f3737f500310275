"""Answered tasks as they are counted: a vote with what it was about."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from motionfocal.study.fieldwork.checks import check_kind
from motionfocal.study.fieldwork.records import ImpressionRecord, VoteRecord
from motionfocal.study.plan import Study


@dataclass(frozen=True)
class Answered:
    """A task and its answer. ``kind`` is an ImpressionKind, ``what`` the same, or the kind of a check."""

    rater: int
    kind: str
    what: str
    target: str
    round: int
    left: str
    right: str
    state: str
    answers: Sequence[dict[str, object]]
    passed: bool | None
    flags: Sequence[str]
    commented: bool
    received: float
    took: float

    def clip(self, answer: dict[str, object]) -> str:
        """The clip that an answer chose, "" for a tie."""
        return {"left": self.left, "right": self.right}.get(str(answer["choice"]), "")


def answered(session: Session, study: Study) -> list[Answered]:
    """All answers of all raters, in the order of their receipt."""
    shown, vote = ImpressionRecord, VoteRecord
    rows = session.execute(
        select(
            shown.rater_id,
            shown.kind,
            shown.target,
            shown.round,
            shown.left,
            shown.right,
            vote.state,
            vote.answers,
            vote.passed,
            vote.flags,
            vote.comment != "",
            vote.received,
            vote.took,
        )
        .join(vote, vote.impression_id == shown.id)
        .order_by(vote.id)
    )
    return [
        Answered(rater, kind, check_kind(study, target) if kind == "check" else kind, target, *rest)
        for rater, kind, target, *rest in rows
    ]
