"""One rater in full, for whoever must decide about a rater."""

from collections import Counter
from typing import cast

from sqlalchemy import select
from sqlalchemy.orm import Session

from motionfocal.errors import StudyError
from motionfocal.study.fieldwork.answered import answered
from motionfocal.study.fieldwork.checks import check_kind, item_of
from motionfocal.study.fieldwork.monitor import rater_rows
from motionfocal.study.fieldwork.overview import AnsweredTask, Noted, RaterSheet, Said
from motionfocal.study.fieldwork.records import STUDY_EVENTS, EventRecord, ImpressionRecord, RaterRecord, VoteRecord
from motionfocal.study.plan import Study


def rater_sheet(session: Session, study: Study, rater_id: int) -> RaterSheet:
    """Everything about a rater. Raises StudyError when there is no such rater."""
    rater = session.get(RaterRecord, rater_id)
    if rater is None:
        raise StudyError(f"rater {rater_id}: there is none with this number")
    raters = session.scalars(select(RaterRecord)).all()
    rows = rater_rows(study, raters, answered(session, study))
    tasks = session.execute(
        select(ImpressionRecord, VoteRecord)
        .join(VoteRecord, VoteRecord.impression_id == ImpressionRecord.id)
        .where(ImpressionRecord.rater_id == rater_id)
        .order_by(VoteRecord.id)
    )
    events = session.scalars(select(EventRecord).where(EventRecord.rater_id == rater_id).order_by(EventRecord.id)).all()
    return RaterSheet(
        rater=next(row for row in rows if row.id == rater_id),
        tasks=tuple(_task(study, impression, vote) for impression, vote in tasks),
        events=Counter(event.kind for event in events if event.kind not in STUDY_EVENTS),
        history=tuple(Noted(event.kind, event.at, event.what) for event in events if event.kind in STUDY_EVENTS),
    )


def _task(study: Study, impression: ImpressionRecord, vote: VoteRecord) -> AnsweredTask:
    what = check_kind(study, impression.target) if impression.kind == "check" else impression.kind
    return AnsweredTask(
        number=impression.number,
        what=what,
        text=item_of(study.plan, impression).text,
        instructed=impression.instructed,
        left=_shown(study, impression, impression.left),
        right=_shown(study, impression, impression.right),
        said=tuple(
            Said(str(answer["question"]), str(answer["choice"]), tuple(cast(list[str], answer.get("reasons", []))))
            for answer in vote.answers
        ),
        passed=vote.passed,
        state=vote.state,
        flags=tuple(vote.flags),
        comment=vote.comment,
        received=vote.received,
        took=vote.took,
        active=vote.active,
        plays_left=vote.plays_left,
        plays_right=vote.plays_right,
        device=vote.device,
    )


def _shown(study: Study, impression: ImpressionRecord, clip: str) -> str:
    """What stood on a side: a model's clip, or one that was made to be worse."""
    if not clip:
        return ""
    found = study.plan.clip(clip)
    of_another = "" if found.item == item_of(study.plan, impression).item else " (another item)"
    return f"{found.model or 'made for a check'}{of_another}"
