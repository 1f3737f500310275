"""A study with people who are made up, through the same assignment and storage: what would it find, and how surely?"""

import uuid
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from sqlalchemy.orm import Session

from motionfocal.study.analysis.planning import raters_of
from motionfocal.study.analysis.simulation import Crowd, Population
from motionfocal.study.fieldwork.assignment import next_task
from motionfocal.study.fieldwork.checks import right_side
from motionfocal.study.fieldwork.database import Database
from motionfocal.study.fieldwork.people import consent, join, understood
from motionfocal.study.fieldwork.recording import Answer, Ballot, record
from motionfocal.study.fieldwork.records import ImpressionRecord, RaterRecord
from motionfocal.study.plan import Study
from motionfocal.study.protocol import Preference

_SECONDS = 20.0
"""Between two votes of a rater."""


@dataclass(frozen=True)
class Simulated:
    """Who voted: ``careless`` are the names of those who chose sides at random."""

    votes: int
    raters: int
    careless: tuple[str, ...]


def raters_needed(study: Study) -> int:
    """Raters who give all votes of a study: as many as ``planning.raters_of`` says, and one more.

    Where these have not a task to spare, those who come last may have seen the pairs that are left.
    """
    design = study.design
    votes = len(study.plan.pairs) * design.votes
    return raters_of(votes, design.votes, tasks=design.tasks, checks=design.checks.share) + 1


def simulate(
    study: Study,
    database: Database,
    population: Population,
    raters: int,
    rng: np.random.Generator,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Simulated:
    """Have ``raters`` people of ``population`` vote until none of them has anything left to do.

    The first model of each pair is the one that the population's ``effect`` is for. The careful pass all checks, the
    careless answer everything at random, the training excepted, or none would get to vote.
    """
    places = {pair.id: place for place, pair in enumerate(study.plan.pairs)}
    crowd = Crowd.draw(population, len(places), raters, rng)
    with database.write() as session:
        people = [_arrive(session, study, place) for place in range(raters)]
        ids, names = [rater.id for rater in people], [rater.name for rater in people]
    votes, waiting, now = 0, list(range(raters)), 0.0
    while waiting:
        place = waiting[int(rng.integers(len(waiting)))]
        now += _SECONDS / len(waiting)
        with database.write() as session:
            rater = session.get_one(RaterRecord, ids[place])
            task = next_task(session, study, rater, now)
            if task is None:
                waiting.remove(place)
                progress(raters - len(waiting), raters)
                continue
            choice, reasons = _answer(session, study, crowd, places, task, place, rng)
            answers = tuple(
                Answer(
                    question.id,
                    choice,
                    tuple(r.id for r in question.reasons if r.id in reasons)
                    or tuple(r.id for r in question.reasons[:1]),
                )
                for question in study.design.asked
            )
            record(session, study, rater, _ballot(task, answers, rng), now + _SECONDS)
            votes += task.kind == "pair"
    return Simulated(votes, raters, tuple(names[place] for place in np.flatnonzero(crowd.careless)))


def _arrive(session: Session, study: Study, place: int) -> RaterRecord:
    rater = join(session, study, source="simulated", key=f"simulated-{place}", now=0.0)
    consent(session, study, rater, study.design.texts.consent_version, 0.0)
    understood(session, study, rater, 0.0)
    return rater


def _answer(
    session: Session,
    study: Study,
    crowd: Crowd,
    places: dict[str, int],
    task: ImpressionRecord,
    rater: int,
    rng: np.random.Generator,
) -> tuple[Preference, tuple[str, ...]]:
    if task.kind == "training":
        return ("left" if study.plan.example(task.target).better == "left" else "right"), ()
    if task.kind == "check":
        right = "" if crowd.careless[rater] else right_side(session, study, task)
        return ("left" if right == "left" or (not right and rng.random() < 0.5) else "right"), ()
    chosen, reasons = crowd.vote(places[task.target], rater, task.first_left, rng)
    return ("left" if chosen == task.first_left else "right"), reasons


def _ballot(task: ImpressionRecord, answers: tuple[Answer, ...], rng: np.random.Generator) -> Ballot:
    name = str(uuid.UUID(bytes=rng.bytes(16), version=4))
    return Ballot(task.uid, name, answers, active=_SECONDS, plays_left=1, plays_right=1)
