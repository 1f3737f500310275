"""The YAML that describes a study: what is compared, what is asked, of whom, and how answers are checked."""

from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError, model_validator

from motionfocal.errors import StudyError
from motionfocal.generation.normalizing import NormalForm
from motionfocal.reading import read_yaml
from motionfocal.settings import Settings
from motionfocal.study.questions import PRESETS, Question

CheckKind = Literal["identical", "repeat", "frozen", "corrupted", "mismatched", "instructed"]

LEAST_MISSED = 2
"""Attention checks that a rater must have missed to fail: a single slip sends nobody home."""


class Checks(Settings):
    """Attention checks among the comparisons: which, how many, and who fails."""

    share: float = Field(0.1, ge=0, le=0.5, description="Share of a rater's tasks that are checks.")
    kinds: tuple[CheckKind, ...] = Field(
        ("corrupted", "instructed", "repeat", "identical", "frozen", "mismatched"),
        description="With few checks, the first ones are dealt. identical: one clip twice, shows a habit of side;"
        " repeat: an earlier pair with sides exchanged;"
        " frozen: against the picture standing still; corrupted: against a broken clip; mismatched: against a clip of"
        " another picture; instructed: the text says which side to choose.",
    )
    fail_on: tuple[CheckKind, ...] = Field(
        ("corrupted", "instructed"),
        description="Only these can fail a rater: where a model is bad, an honest rater may like a still clip better.",
    )
    pass_share: float = Field(0.6, ge=0, le=1, description="Share of these that must be passed; one miss fails nobody.")

    @model_validator(mode="after")
    def _grades_what_can_be_wrong(self) -> "Checks":
        ungraded = set(self.fail_on) & {"identical", "repeat"}
        if ungraded:
            raise ValueError(f"fail_on: {', '.join(sorted(ungraded))} has no right answer; it is only reported")
        if set(self.fail_on) - set(self.kinds):
            raise ValueError(f"fail_on: {', '.join(sorted(set(self.fail_on) - set(self.kinds)))} is not among kinds")
        return self

    def dealt(self, tasks: int) -> tuple[CheckKind, ...]:
        """The kinds of the checks among so many tasks of a rater, in the order of ``kinds``, over and over."""
        count = min(round(self.share * tasks), tasks - 1) if self.kinds else 0
        return tuple(self.kinds[place % len(self.kinds)] for place in range(count))

    def graded(self, tasks: int) -> tuple[CheckKind, ...]:
        """Those of ``dealt`` that can fail a rater: nobody is failed by fewer than ``LEAST_MISSED``."""
        return tuple(kind for kind in self.dealt(tasks) if kind in self.fail_on)


class Training(Settings):
    """A short round with known answers before the study."""

    tasks: int = Field(3, ge=0, le=6, description="Comparisons, each answered with an explanation.")
    right: int = Field(2, ge=0, description="So many must be right, else the round is played again.")
    rounds: int = Field(2, ge=1, description="After so many the rater is thanked and screened out.")

    @model_validator(mode="after")
    def _can_be_passed(self) -> "Training":
        if self.tasks and self.right > self.tasks:
            raise ValueError(f"right: {self.right} of {self.tasks} tasks cannot be right")
        return self


class Texts(Settings):
    """What raters read, as plain paragraphs (an empty line between two)."""

    title: str = Field("Which video is better?", min_length=1)
    welcome: str = Field(
        "You will see a picture, a sentence, and two short videos that were made from both by computer programs. You"
        " say which one you prefer, and why. There is no right answer: what counts is what you see."
    )
    consent: str = Field(
        "Taking part is voluntary, and you may stop at any time. We store your answers and comments, how long they"
        " took, what happens on the page (replays, speed, loading, whether it is in sight), and the size and resolution"
        " of your window; if a crowd's site sent you, also its numbers of your task, and a code made from your id"
        " there. We store neither your name nor your address. The answers will be published without anything that tells"
        " who gave them."
    )
    consent_version: str = Field("1", min_length=1, description="Raise it with the text: it is stored with each rater.")
    thanks: str = Field("That was all. Thank you: your answers have been saved.")
    contact: str = Field("", description="Whom to ask: shown on every page, if there is one.")


class Pay(Settings):
    """For the estimate of what a study costs."""

    hourly: float = Field(ge=0, description="What an hour of a rater's time is paid.")
    currency: str = Field("USD", min_length=1, max_length=8)


class Prolific(Settings):
    """The completion codes of a study on Prolific, as its page gives them."""

    completed: str = Field(min_length=1, pattern=r"^[A-Za-z0-9_-]+$")
    screened_out: str = Field(min_length=1, pattern=r"^[A-Za-z0-9_-]+$", description="Training not passed.")
    failed: str = Field(min_length=1, pattern=r"^[A-Za-z0-9_-]+$", description="Attention checks failed.")


class MTurk(Settings):
    """What a HIT on Mechanical Turk says and pays; see ``motionfocal study invite --mturk``."""

    reward: str = Field(pattern=r"^\d+\.\d\d$", description="US dollars an assignment, such as 3.50.")
    title: str = Field("Compare short videos", min_length=1, max_length=128)
    description: str = Field("See two videos made from a picture and a sentence, and say which you prefer.")
    keywords: str = "video, comparison, preference"
    minutes: int = Field(60, ge=5, description="Time that a worker has.")
    days: int = Field(7, ge=1, description="How long the HIT stays.")
    approval_percent: int = Field(95, ge=0, le=100, description="Workers' share of approved work, at least.")
    approved_hits: int = Field(500, ge=0, description="Workers' number of approved HITs, at least.")
    qualifications: tuple[str, ...] = Field((), description="Ids of further qualifications that must exist.")


class StudyDesign(Settings):
    """A study. Its folders are relative to the file that it stands in."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,79}$", description="What reports call it.")
    galleries: tuple[Path, ...] = Field(min_length=2, description="A gallery folder a model.")
    benchmark: str | None = Field(
        None, description="ti2v-bench, animatebench or a folder; unset, as the galleries say."
    )
    pairs: Literal["all"] | str | tuple[tuple[str, str], ...] = Field(
        "all", description="all: every two models; a model's name: it against all others; or a list of pairs."
    )
    items: Literal["common"] | int | tuple[str, ...] | None = Field(
        None, description="Ids; how many to draw; common: those that all galleries have; unset, the whole benchmark."
    )
    preset: Literal["motif", "emu", "own"] = Field("motif", description="What is asked; own: see questions.")
    questions: tuple[Question, ...] = Field((), max_length=3, description="Only with preset: own.")
    ties: bool = Field(False, description="Offer 'no difference'. The paper does not.")
    votes: int = Field(5, ge=1, description="Valid votes of each pair of clips.")
    tasks: int = Field(40, ge=1, description="Comparisons that one rater makes at most, checks included.")
    lease_minutes: float = Field(20, gt=0, description="An unanswered task goes to another rater after so long.")
    checks: Checks = Checks()
    training: Training = Training()
    texts: Texts = Texts()
    form: NormalForm = NormalForm()
    pay: Pay | None = None
    prolific: Prolific | None = None
    mturk: MTurk | None = None
    seed: int = Field(0, ge=0, description="Draws items, checks, sides and orders.")

    @model_validator(mode="after")
    def _asks_something(self) -> "StudyDesign":
        if (self.preset == "own") != bool(self.questions):
            raise ValueError("questions: given with preset 'own', and only then")
        ids = [question.id for question in self.questions]
        if len(set(ids)) < len(ids):
            raise ValueError(f"questions: each needs an id of its own, got {', '.join(ids)}")
        return self

    @property
    def asked(self) -> tuple[Question, ...]:
        """The questions of the preset, or the study's own."""
        return self.questions or PRESETS[self.preset]


def load_design(path: Path) -> StudyDesign:
    """Read a study's YAML; its folders become absolute.

    Raises:
        StudyError: there is no such file, it is no YAML, or a key is unknown or wrong; the text names the key.
    """
    if not path.is_file():
        raise StudyError(f"{path}: there is no such file; docs/study.md shows what belongs into it")
    try:
        design = StudyDesign.model_validate(read_yaml(path, StudyError))
    except ValidationError as error:
        faults = (f"{'.'.join(map(str, one['loc'])) or 'study'}: {one['msg']}" for one in error.errors())
        raise StudyError(f"{path}: " + "; ".join(faults)) from error
    absolute = tuple((path.parent / folder).resolve() for folder in design.galleries)
    return design.model_copy(update={"galleries": absolute})
