"""What a rater sees now: the state of the rater and the plan of the study become one of the views."""

from typing import Literal, cast

from sqlalchemy.orm import Session

from motionfocal.study.crowds import receipt_code
from motionfocal.study.crowds.mturk import submit_address
from motionfocal.study.crowds.prolific import completion_code, completion_link
from motionfocal.study.fieldwork.assignment import next_task, progress
from motionfocal.study.fieldwork.checks import item_of
from motionfocal.study.fieldwork.outcome import has_ended, outcome_of
from motionfocal.study.fieldwork.records import ImpressionRecord, RaterRecord
from motionfocal.study.plan import Study
from motionfocal.study.web.context import Context
from motionfocal.study.web.views import (
    ConsentView,
    DoneView,
    ExampleView,
    InstructionsView,
    TaskView,
    View,
    WaitingView,
)


def view_of(context: Context, session: Session, rater: RaterRecord, base: str) -> View:
    """The page for a rater whose address is ``base``. Call it in a writing transaction: it may give out a task."""
    study, design = context.study, context.study.design
    if has_ended(rater):
        return _done(context, session, rater, base)
    if rater.state == "invited":
        return ConsentView(design.texts, base)
    if rater.state == "consented":
        examples = example_views(study)
        return InstructionsView(design.texts, base, design.asked, examples, len(study.plan.training), design.ties)
    task = next_task(session, study, rater, context.clock())
    if task is not None:
        return _task(study, session, rater, task, base)
    if has_ended(rater):
        return _done(context, session, rater, base)
    return WaitingView(design.texts, base, paid=rater.source in ("prolific", "mturk"))


def example_views(study: Study) -> tuple[ExampleView, ...]:
    """The worked examples of the instructions, numbered from 1."""
    return tuple(
        ExampleView(
            number=number,
            text=study.plan.item(example.item).text,
            better=cast(Literal["left", "right"], example.better),  # the plan's pattern allows no other
            why=example.why,
            reasons=example.reasons,
        )
        for number, example in enumerate(study.plan.examples, 1)
    )


def _task(study: Study, session: Session, rater: RaterRecord, task: ImpressionRecord, base: str) -> TaskView:
    design, so_far = study.design, progress(session, study, rater)
    text = item_of(study.plan, task).text
    if task.instructed:
        text = f"For this one please choose the {task.instructed} video, whatever you see; any reason will do."
    return TaskView(
        texts=design.texts,
        base=base,
        uid=task.uid,
        training=task.kind == "training",
        done=so_far.done,
        total=so_far.total,
        text=text,
        instructed=task.instructed,
        questions=design.asked,
        ties=design.ties,
        frames=design.form.frames,
        fps=design.form.fps,
        round=task.round,
    )


def _done(context: Context, session: Session, rater: RaterRecord, base: str) -> DoneView:
    study, design = context.study, context.study.design
    outcome = outcome_of(session, study, rater)
    if rater.source == "prolific" and rater.session and design.prolific:
        codes = design.prolific
        return DoneView(
            design.texts, base, outcome, completion_code(codes, outcome), link=completion_link(codes, outcome)
        )
    if rater.source == "mturk" and rater.session:
        code = receipt_code(study, rater.id, outcome)
        submit = submit_address(rater.session["turkSubmitTo"], sandbox=context.settings.sandbox)
        fields = {"assignmentId": rater.session["assignmentId"], "code": code, "outcome": outcome}
        return DoneView(design.texts, base, outcome, code, submit, fields)
    return DoneView(design.texts, base, outcome)
