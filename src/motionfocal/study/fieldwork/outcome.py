"""How a rater's work ended."""

from typing import Literal

from sqlalchemy.orm import Session

from motionfocal.study.fieldwork.assignment import progress
from motionfocal.study.fieldwork.exclusion import WITHDREW
from motionfocal.study.fieldwork.records import ENDED, RaterRecord
from motionfocal.study.plan import Study

Outcome = Literal["finished", "closed", "screened_out", "failed", "withdrawn"]
"""All done; no comparison was left before that; turned away after the training; turned away by the checks, or left out
by hand; asked to be forgotten."""

PAID: tuple[Outcome, ...] = ("finished", "closed")
"""Ends that deserve the whole pay: the rater did all that there was to do."""


def has_ended(rater: RaterRecord) -> bool:
    """Whether a rater has nothing more to do; one who only waits for a comparison has not ended."""
    return bool(rater.excluded) or rater.state in ENDED


def outcome_of(session: Session, study: Study, rater: RaterRecord) -> Outcome:
    """How the work of a rater who ``has_ended`` did end."""
    if rater.excluded:
        return "withdrawn" if rater.excluded == WITHDREW else "failed"
    if rater.state == "failed":
        return "failed"
    if rater.state == "screened_out":
        return "screened_out"
    so_far = progress(session, study, rater)
    return "finished" if so_far.done >= so_far.total else "closed"
