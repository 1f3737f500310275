"""Leave a rater out, with a reason, or take them in again. Votes are never deleted: they are void, and others vote."""

import secrets

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from motionfocal.errors import RefusedError, StudyError
from motionfocal.study.fieldwork.records import EventRecord, ImpressionRecord, InvitationRecord, RaterRecord, VoteRecord
from motionfocal.study.fieldwork.slots import Slots, slots
from motionfocal.study.plan import Study

WITHDREW, FAILED_CHECKS = "withdrew", "attention checks"
"""Reasons that no person gives."""


def why_left_out(rater: RaterRecord) -> str:
    """Why the votes of a rater do not count; "" where they do."""
    return rater.excluded or (FAILED_CHECKS if rater.state == "failed" else "")


def require_staying(rater: RaterRecord) -> None:
    """Raises RefusedError (409) for a rater who withdrew: nothing more is stored of that person."""
    if rater.excluded == WITHDREW:
        raise RefusedError("You have withdrawn from this study: nothing more is stored. You can close this page.", 409)


def void_votes(session: Session, rater: RaterRecord) -> None:
    """All votes of a rater on pairs are void, and what they have open goes to others."""
    of_rater = (ImpressionRecord.rater_id == rater.id, ImpressionRecord.kind == "pair")
    session.flush()
    session.execute(
        update(VoteRecord)
        .where(VoteRecord.impression_id.in_(select(ImpressionRecord.id).where(*of_rater)))
        .values(state="void")
    )
    session.execute(
        update(ImpressionRecord)
        .where(*of_rater, ImpressionRecord.state.in_(("answered", "surplus")))
        .values(state="void")
    )
    session.execute(update(ImpressionRecord).where(*of_rater, ImpressionRecord.state == "open").values(state="expired"))


def exclude(session: Session, rater_id: int, reason: str, by: str, now: float) -> None:
    """Leave a rater out. Raises StudyError without a reason, when there is no such rater, and for one who withdrew."""
    rater = _rater(session, rater_id)
    if not reason.strip():
        raise StudyError("an exclusion needs a reason: it is reported with the results")
    if reason.strip() == WITHDREW:
        raise StudyError(f"who withdraws is to be forgotten: motionfocal study forget STUDY {rater.name}")
    rater.excluded = reason.strip()
    void_votes(session, rater)
    session.add(EventRecord(rater_id=rater_id, kind="excluded", at=now, what={"reason": rater.excluded, "by": by}))
    session.flush()


def include(session: Session, study: Study, rater_id: int, reason: str, by: str, now: float) -> None:
    """Take a rater in again, also one who failed the checks; a vote whose place has been filled meanwhile is surplus.

    Raises StudyError without a reason, when there is no such rater, and for one who withdrew.
    """
    rater = _rater(session, rater_id)
    if not reason.strip():
        raise StudyError("to take a rater in again needs a reason: it is reported with the results")
    rater.excluded = ""
    if rater.state == "failed":
        rater.state = "finished"
    void = session.execute(
        select(VoteRecord, ImpressionRecord)
        .join(ImpressionRecord, ImpressionRecord.id == VoteRecord.impression_id)
        .where(VoteRecord.rater_id == rater_id, VoteRecord.state == "void", ImpressionRecord.kind == "pair")
    ).all()
    taken = slots(session, now)
    for vote, impression in void:
        has_place = taken.get(impression.target, Slots()).taken < study.design.votes
        vote.state, impression.state = ("valid", "answered") if has_place else ("surplus", "surplus")
    session.add(EventRecord(rater_id=rater_id, kind="included", at=now, what={"reason": reason.strip(), "by": by}))
    session.flush()


def forget(session: Session, name: str, now: float) -> None:
    """Erase for good what could lead to a rater who withdraws; choices stay, void, so that the study's counts hold.

    The seed goes too, since it is a hash of the key; an invitation loses its label, and is closed.
    Raises StudyError when there is no such rater.
    """
    rater = session.scalar(select(RaterRecord).where(RaterRecord.name == name))
    if rater is None:
        raise StudyError(f"no rater {name!r} in this study")
    rater.excluded = WITHDREW
    void_votes(session, rater)
    invitation = session.get(InvitationRecord, rater.key) if rater.source == "link" else None
    if invitation is not None:
        invitation.label, invitation.revoked = "", True
    rater.key, rater.seed, rater.session = f"forgotten-{secrets.token_hex(8)}", 0, {}
    session.execute(update(VoteRecord).where(VoteRecord.rater_id == rater.id).values(comment="", device={}))
    session.execute(delete(EventRecord).where(EventRecord.rater_id == rater.id))
    session.add(EventRecord(rater_id=rater.id, kind="forgotten", at=now, what={}))
    session.flush()


def _rater(session: Session, rater_id: int) -> RaterRecord:
    """The rater who is to be decided about."""
    rater = session.get(RaterRecord, rater_id)
    if rater is None:
        raise StudyError(f"no rater {rater_id} in this study")
    if rater.excluded == WITHDREW:
        raise StudyError(f"{rater.name} withdrew from the study: the votes stay void")
    return rater
