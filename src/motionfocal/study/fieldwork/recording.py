"""Taking a vote: refused, stored, or stored before. Call it within one writing transaction; acknowledge after it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from motionfocal.errors import RefusedError
from motionfocal.study.design import StudyDesign
from motionfocal.study.fieldwork.checks import grade, has_failed
from motionfocal.study.fieldwork.exclusion import FAILED_CHECKS, require_staying, void_votes
from motionfocal.study.fieldwork.records import EventRecord, ImpressionRecord, RaterRecord, VoteRecord
from motionfocal.study.fieldwork.slots import Slots, slots
from motionfocal.study.plan import Study
from motionfocal.study.protocol import Preference


@dataclass(frozen=True)
class Answer:
    """What was chosen for a question, and the ids of the reasons."""

    question: str
    choice: Preference
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ballot:
    """What a browser sends: ``impression`` is answered, under an id that the browser drew.

    ``active`` is seconds with the page visible, ``plays_left`` and ``plays_right`` how often a clip was seen whole.
    """

    impression: str
    uid: str
    answers: tuple[Answer, ...]
    comment: str = ""
    active: float = 0.0
    plays_left: int = 0
    plays_right: int = 0
    device: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Receipt:
    """What came of a ballot. ``again``: it had been stored before. ``passed`` and ``why`` are told in training only."""

    again: bool
    kind: str
    passed: bool | None = None
    why: str = ""


def record(session: Session, study: Study, rater: RaterRecord, ballot: Ballot, now: float) -> Receipt:
    """Store a vote once, grade it if it was a check, and move the rater on.

    A vote that is sent twice is one vote. A vote whose place went to another rater is stored as surplus, and one that
    came faster than its clips last is flagged.

    Raises:
        RefusedError: no such task of this rater (404), another answer to it is stored or the rater withdrew (409), or
            the answers are not answers to the study's questions (422).
    """
    require_staying(rater)
    impression, stored = _impression(session, rater, ballot)
    answers = [
        {"question": said.question, "choice": said.choice, "reasons": list(said.reasons)} for said in ballot.answers
    ]
    if stored is not None:
        if stored.answers != answers:
            raise RefusedError("This task has been answered otherwise before; that answer stays.", 409)
        return _receipt(study, impression, stored, again=True)
    _require_answers(study.design, ballot.answers)
    vote = VoteRecord(
        uid=ballot.uid,
        impression_id=impression.id,
        rater_id=rater.id,
        state=_counts_as(session, study, rater, impression, now),
        answers=answers,
        comment=ballot.comment,
        passed=_passed(session, study, impression, ballot),
        flags=_flags(study.design, impression, ballot, now),
        received=now,
        took=now - impression.shown,
        active=ballot.active,
        plays_left=ballot.plays_left,
        plays_right=ballot.plays_right,
        device=dict(ballot.device),
    )
    impression.state = {"valid": "answered"}.get(vote.state, vote.state)
    rater.seen = now
    session.add(vote)
    session.flush()
    _move_on(session, study, rater, impression, now)
    return _receipt(study, impression, vote, again=False)


def note_events(
    session: Session, rater: RaterRecord, events: Iterable[tuple[str, str, Mapping[str, object]]], now: float
) -> None:
    """Write down what happened in a rater's browser: kind, impression's uid, details. RefusedError if they withdrew."""
    require_staying(rater)
    session.add_all(
        EventRecord(rater_id=rater.id, kind=kind, impression=impression, at=now, what=dict(what))
        for kind, impression, what in events
    )


def _impression(session: Session, rater: RaterRecord, ballot: Ballot) -> tuple[ImpressionRecord, VoteRecord | None]:
    """What is voted on, and the vote on it if there is one already. Raises RefusedError as ``record`` does."""
    impression, vote = ImpressionRecord, VoteRecord
    known = or_(vote.impression_id == impression.id, vote.uid == ballot.uid)
    query = select(impression, vote).outerjoin(vote, known).where(impression.uid == ballot.impression)
    found = session.execute(query).all()
    if not found or found[0][0].rater_id != rater.id:
        raise RefusedError("This task is not known. Please reload the page.", 404)
    votes = [stored for _, stored in found if stored is not None]
    own = next((stored for stored in votes if stored.impression_id == found[0][0].id), None)
    if votes and own is None:
        raise RefusedError("This vote was sent before, for another task. Please reload the page.", 409)
    return found[0][0], own


def _require_answers(design: StudyDesign, answers: tuple[Answer, ...]) -> None:
    """The answers must be to the questions, in their order."""
    asked = [question.id for question in design.asked]
    if [said.question for said in answers] != asked:
        raise RefusedError(f"answers: expected one to each of {', '.join(asked)}", 422)
    for question, said in zip(design.asked, answers, strict=True):
        known = {reason.id for reason in question.reasons}
        if said.choice == "tie" and (not design.ties or said.reasons):
            raise RefusedError("choice: a tie is not offered" if not design.ties else "reasons: a tie has none", 422)
        if set(said.reasons) - known or len(set(said.reasons)) < len(said.reasons):
            raise RefusedError(f"reasons: each once, and only of {', '.join(sorted(known)) or 'none'}", 422)
        if said.choice != "tie" and known and question.reasons_required and not said.reasons:
            raise RefusedError(f"reasons: {question.id} needs at least one", 422)


def _counts_as(session: Session, study: Study, rater: RaterRecord, impression: ImpressionRecord, now: float) -> str:
    """The state of a new vote; see VoteState."""
    if rater.excluded or rater.state == "failed":
        return "void"
    if impression.kind != "pair" or (impression.state == "open" and impression.lease > now):
        return "valid"
    taken = slots(session, now, [impression.target]).get(impression.target, Slots()).taken
    return "valid" if taken < study.design.votes else "surplus"


def _passed(session: Session, study: Study, impression: ImpressionRecord, ballot: Ballot) -> bool | None:
    choice = ballot.answers[0].choice
    if impression.kind == "training":
        return choice == study.plan.example(impression.target).better
    return grade(session, study, impression, choice) if impression.kind == "check" else None


def _flags(design: StudyDesign, impression: ImpressionRecord, ballot: Ballot, now: float) -> list[str]:
    lasts = design.form.frames / design.form.fps
    flags = {
        "too fast": now - impression.shown < lasts,
        "not seen": min(ballot.plays_left, ballot.plays_right) < 1,
    }
    return [flag for flag, is_so in flags.items() if is_so]


def _receipt(study: Study, impression: ImpressionRecord, vote: VoteRecord, *, again: bool) -> Receipt:
    if impression.kind != "training":
        return Receipt(again, impression.kind)
    return Receipt(again, impression.kind, vote.passed, study.plan.example(impression.target).why)


def _move_on(session: Session, study: Study, rater: RaterRecord, impression: ImpressionRecord, now: float) -> None:
    """After training: to work, to another round, or home. After a check: on, or home."""
    if impression.kind == "training":
        _judge_training(session, study, rater, now)
    elif impression.kind == "check" and rater.state != "failed" and has_failed(session, study, rater):
        rater.state, rater.ended = "failed", now
        void_votes(session, rater)
        session.add(EventRecord(rater_id=rater.id, kind="failed", at=now, what={"reason": FAILED_CHECKS}))
    session.flush()


def _judge_training(session: Session, study: Study, rater: RaterRecord, now: float) -> None:
    passed = list(
        session.scalars(
            select(VoteRecord.passed)
            .join(ImpressionRecord, ImpressionRecord.id == VoteRecord.impression_id)
            .where(
                ImpressionRecord.rater_id == rater.id,
                ImpressionRecord.kind == "training",
                ImpressionRecord.round == rater.round,
            )
        )
    )
    if len(passed) < len(study.plan.training):
        return
    if sum(map(bool, passed)) >= study.design.training.right:
        rater.state = "working"
    elif rater.round < study.design.training.rounds:
        rater.round += 1
    else:
        rater.state, rater.ended = "screened_out", now
