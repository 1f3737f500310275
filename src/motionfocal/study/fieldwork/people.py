"""Who takes part: invitations, arrival, consent. A person who comes again is the same rater."""

import hashlib
import secrets
from collections.abc import Mapping

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from motionfocal.errors import RefusedError, StudyError
from motionfocal.study.fieldwork.exclusion import require_staying
from motionfocal.study.fieldwork.records import InvitationRecord, RaterRecord
from motionfocal.study.plan import Study


def hidden(study: Study, worker: str) -> str:
    """A crowd's worker id as the database keeps it: a salted SHA-256.

    Nobody can turn it back, but who has the study's salt and an id can tell whether that worker took part.
    """
    return hashlib.sha256(f"{study.secrets.salt}|{worker}".encode()).hexdigest()


def join(
    session: Session,
    study: Study,
    *,
    source: str,
    key: str,
    now: float,
    session_ids: Mapping[str, str] | None = None,
) -> RaterRecord:
    """The rater of a source and a key, who is made when they come for the first time.

    ``session_ids`` are what the end of a crowd's task needs; those of the last visit are kept.
    """
    rater = session.scalar(select(RaterRecord).where(RaterRecord.source == source, RaterRecord.key == key))
    if rater is None:
        seed = hashlib.sha256(f"{study.design.seed}|{source}|{key}".encode()).digest()
        rater = RaterRecord(
            name=f"r{1 + (session.scalar(select(func.max(RaterRecord.id))) or 0):04d}",
            source=source,
            key=key,
            state="invited",
            seed=int.from_bytes(seed[:4], "big") >> 1,
            round=1,
            joined=now,
            excluded="",
            consent="",
            session={},
        )
        session.add(rater)
    rater.seen = now
    if session_ids:
        rater.session = dict(session_ids)
    session.flush()
    return rater


def invite(
    session: Session, count: int, now: float, *, expires: float | None = None, label: str = ""
) -> list[InvitationRecord]:
    """New invitations, each for one rater; ``expires`` in seconds since 1970."""
    made = [
        InvitationRecord(code=secrets.token_urlsafe(12), label=label, created=now, expires=expires, revoked=False)
        for _ in range(count)
    ]
    session.add_all(made)
    session.flush()
    return made


def close_invitation(session: Session, code: str) -> None:
    """Let nobody come by an invitation any more. Raises StudyError when there is none with this code."""
    invitation = session.get(InvitationRecord, code)
    if invitation is None:
        raise StudyError("no invitation with this code in this study")
    invitation.revoked = True
    session.flush()


def redeem(session: Session, study: Study, code: str, now: float) -> RaterRecord:
    """The rater of an invitation: whoever opens it again goes on where they were.

    Raises:
        RefusedError: there is no such invitation, or it is over.
    """
    invitation = session.get(InvitationRecord, code)
    if invitation is None:
        raise RefusedError("This invitation is not known. Please open the whole link that you were sent.", 404)
    if not invitation.is_open(now):
        raise RefusedError("This invitation is over. Please ask for a new one.")
    return join(session, study, source="link", key=code, now=now)


def consent(session: Session, study: Study, rater: RaterRecord, version: str, now: float) -> None:
    """Note which text was agreed to. Raises RefusedError when it is not the one that is shown, and if they withdrew."""
    require_staying(rater)
    if version != study.design.texts.consent_version:
        raise RefusedError("The text on consent has changed since you opened the page. Please read it again.", 409)
    if rater.state == "invited":
        rater.consent, rater.state = version, "consented"
    rater.seen = now
    session.flush()


def understood(session: Session, study: Study, rater: RaterRecord, now: float) -> None:
    """The instructions have been read: on to the training, or to the study. Raises RefusedError if they withdrew."""
    require_staying(rater)
    if rater.state == "consented":
        rater.state = "training" if study.plan.training else "working"
    rater.seen = now
    session.flush()
