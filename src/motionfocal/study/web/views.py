"""What the annotator's pages show, one dataclass a page. ``base`` is the rater's address, such as "/r/TOKEN"."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from motionfocal.study.design import Texts
from motionfocal.study.fieldwork.outcome import Outcome
from motionfocal.study.questions import Question


@dataclass(frozen=True)
class ConsentView:
    """What the study is, and the question whether one takes part."""

    texts: Texts
    base: str


@dataclass(frozen=True)
class ExampleView:
    """A worked example: media under ``{base}/examples/{number}/``. ``reasons`` are ids of justifications."""

    number: int
    text: str
    better: Literal["left", "right"]
    why: str
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class InstructionsView:
    """How to answer. ``training`` is the number of practice tasks that follow, 0 for none."""

    texts: Texts
    base: str
    questions: tuple[Question, ...]
    examples: tuple[ExampleView, ...]
    training: int
    ties: bool


@dataclass(frozen=True)
class TaskView:
    """One comparison: ``done`` of ``total`` were answered before it. Clips have ``frames`` frames at ``fps`` a second.

    ``uid`` is the impression's. ``text`` is what is shown; in an instructed check it is the instruction, which
    ``instructed`` repeats ("" in all others): the page does not mark it. In training ``round`` counts from 1.
    """

    texts: Texts
    base: str
    uid: str
    training: bool
    done: int
    total: int
    text: str
    instructed: str
    questions: tuple[Question, ...]
    ties: bool
    frames: int
    fps: float
    round: int = 1


@dataclass(frozen=True)
class WaitingView:
    """All comparisons are with others; one may come free. The page asks again every ``seconds``.

    ``paid`` raters are to stay: what a crowd's site pays for comes at the end.
    """

    texts: Texts
    base: str
    paid: bool = False
    seconds: int = 60


@dataclass(frozen=True)
class DoneView:
    """The end. ``code`` is a completion code or "", ``link`` leads back to Prolific or is "".

    ``submit`` is where Mechanical Turk takes the form with ``fields``, or "".
    """

    texts: Texts
    base: str
    state: Outcome
    code: str = ""
    submit: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)
    link: str = ""


@dataclass(frozen=True)
class ProblemView:
    """Something went wrong, and what to do about it."""

    texts: Texts
    message: str


@dataclass(frozen=True)
class PreviewView:
    """What a worker sees before accepting: the instructions, and nothing to answer."""

    texts: Texts
    base: str
    questions: tuple[Question, ...]
    examples: tuple[ExampleView, ...]


View = ConsentView | InstructionsView | TaskView | WaitingView | DoneView | ProblemView | PreviewView
