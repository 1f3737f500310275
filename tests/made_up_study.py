"""A study that exists in memory alone: enough for all that does not show a clip. And someone who votes in it."""

import uuid
from pathlib import Path

from motionfocal.study.design import StudyDesign
from motionfocal.study.fieldwork.assignment import next_task
from motionfocal.study.fieldwork.people import consent, join, understood
from motionfocal.study.fieldwork.recording import Answer, Ballot, Receipt, record
from motionfocal.study.plan import CheckPlan, ClipFile, Example, PairPlan, Plan, Secrets, Shown, Study

KINDS = ("identical", "frozen", "corrupted", "mismatched", "instructed")


def made_up_study(items: int = 6, models: int = 2, folder: Path = Path("nowhere"), **design) -> Study:
    """``items`` of two to a picture, all pairs of ``models``, four checks of a kind."""
    settings = StudyDesign(name="made up", galleries=("a", "b"), **design)
    names = [f"model{k}" for k in range(models)]
    clips = {
        (name, k): ClipFile(id=f"c{name[-1]}x{k}", model=name, item=f"i{k}", file="a.mp4", content="0")
        for name in names
        for k in range(items)
    }
    broken = [ClipFile(id=f"b{k}", model="", item="i0", file="b.mp4", content="0") for k in range(8)]
    pairs = [
        PairPlan(id=f"p{k}-{a}{b}", item=f"i{k}", first=clips[names[a], k].id, second=clips[names[b], k].id)
        for a in range(models)
        for b in range(a + 1, models)
        for k in range(items)
    ]
    good = clips[names[0], 0].id
    others = {"identical": good, "instructed": clips[names[1], 0].id}
    checks = [
        CheckPlan(
            id=f"{kind}{k}",
            kind=kind,
            item="i0",
            first=good,
            second=others.get(kind, broken[k].id),
            right="" if kind in others else good,
        )
        for kind in KINDS
        for k in range(4)
    ]
    training = [
        Example(id=f"t{k}", item="i0", left=good, right=broken[k].id, better="left", why="the other is broken")
        for k in range(settings.training.tasks)
    ]
    plan = Plan(
        name="made up",
        models=tuple(names),
        shown=tuple(Shown(item=f"i{k}", image=f"m{k // 2}", text=f"text {k}", picture="p.png") for k in range(items)),
        clips=(*clips.values(), *broken),
        pairs=tuple(pairs),
        checks=tuple(checks),
        training=tuple(training),
    )
    return Study(folder, settings, plan, Secrets(key="k" * 40, salt="s" * 40))


class Voter:
    """Someone who arrives, agrees, passes the training, and prefers what ``choose`` says of an impression."""

    def __init__(self, database, study, key, now, choose=lambda impression: "left"):
        self.database, self.study, self.choose = database, study, choose
        with database.write() as session:
            rater = join(session, study, source="link", key=key, now=now)
            self.id = rater.id
            consent(session, study, rater, study.design.texts.consent_version, now)
            understood(session, study, rater, now)

    def rater(self, session):
        from motionfocal.study.fieldwork.records import RaterRecord

        return session.get(RaterRecord, self.id)

    def take(self, now):
        """The next task, None when there is none."""
        with self.database.write() as session:
            return next_task(session, self.study, self.rater(session), now)

    def ballot(self, impression, choice=None) -> Ballot:
        choice = choice or ("left" if impression.kind == "training" else self.choose(impression))
        questions = self.study.design.asked
        reasons = {q.id: tuple(r.id for r in q.reasons[:1]) if choice != "tie" else () for q in questions}
        answers = tuple(Answer(q.id, choice, reasons[q.id]) for q in questions)
        return Ballot(impression.uid, str(uuid.uuid4()), answers, plays_left=1, plays_right=1)

    def send(self, ballot, now) -> Receipt:
        with self.database.write() as session:
            return record(session, self.study, self.rater(session), ballot, now)

    def vote(self, now, seconds=5.0) -> str | None:
        """Take a task and answer it; its kind, or None when there is none."""
        impression = self.take(now)
        if impression is None:
            return None
        self.send(self.ballot(impression), now + seconds)
        return impression.kind


def right_side(study, impression) -> str:
    """What passes a check, whatever it is; a repeat is answered by the clip with the smaller id."""
    if impression.instructed:
        return impression.instructed
    by_id = {check.id: check for check in study.plan.checks}
    right = by_id[impression.target].right if impression.target in by_id else ""
    return {impression.left: "left", impression.right: "right"}.get(
        right, "left" if impression.left < impression.right else "right"
    )
