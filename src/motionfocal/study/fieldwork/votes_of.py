"""A study's votes as the statistics and the tables want them."""

from typing import cast

from sqlalchemy import select
from sqlalchemy.orm import Session

from motionfocal.study.analysis.export import CheckRow, VoteRow
from motionfocal.study.fieldwork.checks import check_kind, right_side
from motionfocal.study.fieldwork.exclusion import why_left_out
from motionfocal.study.fieldwork.records import ImpressionRecord, RaterRecord, VoteRecord
from motionfocal.study.plan import Study
from motionfocal.study.protocol import Judgement, Preference

_Answered = tuple[VoteRecord, ImpressionRecord, RaterRecord]


def vote_rows(session: Session, study: Study) -> list[VoteRow]:
    """Every vote on a pair, a row a question, also of those that do not count (see ``state``), as they came."""
    rows = []
    for vote, impression, rater in _answered(session, "pair"):
        rows += [
            VoteRow(
                said,
                impression=impression.uid,
                number=impression.number,
                received=vote.received,
                took=round(vote.took, 3),
                active=round(vote.active, 3),
                plays_left=vote.plays_left,
                plays_right=vote.plays_right,
                flags=tuple(vote.flags),
                comment=vote.comment,
                state=vote.state,
                excluded=why_left_out(rater),
            )
            for said in _judgements(study, (vote, impression, rater))
        ]
    return rows


def judgements_of(session: Session, study: Study) -> list[Judgement]:
    """The votes that count."""
    return [row.judgement for row in vote_rows(session, study) if row.state == "valid"]


def repeats_of(session: Session, study: Study) -> list[tuple[Judgement, Judgement]]:
    """First and second answer to each pair that a rater saw twice, sides exchanged; of raters who count."""
    by_impression = {found[1].id: found for found in _answered(session, "pair")}
    repeats = [found for found in _answered(session, "check") if found[1].repeats is not None]
    return [
        (earlier, later)
        for again in repeats
        if (before := by_impression.get(again[1].repeats or 0)) and before[0].state == "valid"
        for earlier, later in zip(_judgements(study, before), _judgements(study, again), strict=True)
    ]


def check_rows(session: Session, study: Study) -> list[CheckRow]:
    """Every answer to an attention check or a training task."""
    training = {example.id: example for example in study.plan.training}
    rows = []
    for kind in ("training", "check"):
        for vote, impression, rater in _answered(session, kind):
            example = training.get(impression.target)
            rows.append(
                CheckRow(
                    rater=rater.name,
                    check="training" if example else check_kind(study, impression.target),
                    item=study.plan.clip(impression.left).item if not example else example.item,
                    choice=str(vote.answers[0]["choice"]),
                    right=example.better if example else right_side(session, study, impression),
                    passed=vote.passed,
                    number=impression.number,
                    received=vote.received,
                    took=round(vote.took, 3),
                    comment=vote.comment,
                )
            )
    return rows


def left_out(session: Session) -> dict[str, str]:
    """Raters whose votes do not count, and why."""
    raters = session.scalars(select(RaterRecord).order_by(RaterRecord.id))
    return {rater.name: reason for rater in raters if (reason := why_left_out(rater))}


def _answered(session: Session, kind: str) -> list[_Answered]:
    """Votes on impressions of a kind, in the order of their receipt."""
    found = session.execute(
        select(VoteRecord, ImpressionRecord, RaterRecord)
        .join(ImpressionRecord, ImpressionRecord.id == VoteRecord.impression_id)
        .join(RaterRecord, RaterRecord.id == VoteRecord.rater_id)
        .where(ImpressionRecord.kind == kind)
        .order_by(VoteRecord.id)
    )
    return [(vote, impression, rater) for vote, impression, rater in found]


def _judgements(study: Study, found: _Answered) -> list[Judgement]:
    """What was said of two clips of models, a judgement a question."""
    vote, impression, rater = found
    left, right = study.plan.clip(impression.left), study.plan.clip(impression.right)
    return [
        Judgement(
            comparison=impression.subject,
            item=left.item,
            image=study.plan.item(left.item).image,
            left_model=left.model,
            right_model=right.model,
            rater=rater.name,
            preference=cast(Preference, said["choice"]),
            reasons=tuple(cast(list[str], said["reasons"])),
            question=str(said["question"]),
            kind="person",
        )
        for said in vote.answers
    ]
