"""From a view to the page that a rater sees: HTML made on the server, without inline scripts or styles."""

import re
from collections.abc import Callable, Mapping
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined

from motionfocal.pages import resource
from motionfocal.study.questions import Justification, Question
from motionfocal.study.web.views import (
    ConsentView,
    DoneView,
    InstructionsView,
    PreviewView,
    ProblemView,
    TaskView,
    View,
    WaitingView,
)

SCRIPTS = ("clock.js", "clips.js", "votes.js", "answers.js", "study.js")
"""Scripts of all pages, in the order in which they are loaded."""

STATIC = {"study.css": "text/css", "icon.svg": "image/svg+xml"} | dict.fromkeys(SCRIPTS, "text/javascript")
"""What the pages ask for under /static/, and of which type it is."""

_TEMPLATES: dict[type[View], str] = {
    ConsentView: "consent.html.j2",
    InstructionsView: "instructions.html.j2",
    TaskView: "task.html.j2",
    WaitingView: "waiting.html.j2",
    DoneView: "done.html.j2",
    ProblemView: "problem.html.j2",
    PreviewView: "preview.html.j2",
}

_FIRST_KEY = 3
"""1 and 2 choose a video at any time, so that reasons have the digits after them."""


def render(view: View) -> str:
    """The page of a view as HTML."""
    return _ENVIRONMENT.get_template(_TEMPLATES[type(view)]).render(view=view, texts=view.texts, scripts=SCRIPTS)


def static_text(name: str) -> str:
    """A file of STATIC, or another of static/. The clock is the one of all pages."""
    if name == "clock.js":
        return resource(name)
    return files("motionfocal.study.web").joinpath("static", name).read_text(encoding="utf-8")


def paragraphs(text: str) -> list[str]:
    """Plain text in paragraphs: an empty line stands between two."""
    return [part.strip() for part in re.split(r"\n\s*\n", text) if part.strip()]


def reason_key(place: int) -> str:
    """The digit that ticks a question's reason, which counts from 0."""
    return str(_FIRST_KEY + place)


def reasons_of(questions: tuple[Question, ...]) -> dict[str, Justification]:
    """All justifications by their ids, in the order in which they are asked for."""
    return {reason.id: reason for question in questions for reason in question.reasons}


def environment(filters: Mapping[str, Callable[..., object]]) -> Environment:
    """What makes pages of the study's templates, which may use ``filters``."""
    made = Environment(
        loader=PackageLoader("motionfocal.study.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(filters)
    return made


_ENVIRONMENT = environment({"paragraphs": paragraphs, "reason_key": reason_key, "reasons": reasons_of})
