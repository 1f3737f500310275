"""The JSON that a rater's page sends. Its form is checked here; what it means, where it is recorded."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, Field, FiniteFloat

from motionfocal.settings import Settings
from motionfocal.study.fieldwork.recording import Answer, Ballot
from motionfocal.study.fieldwork.records import STUDY_EVENTS
from motionfocal.study.questions import MOST_REASONS


def _storable(text: str) -> str:
    """PostgreSQL stores no NUL, and no database the half of a character."""
    if "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        raise ValueError("holds a character that cannot be stored")
    return text


Text = Annotated[str, AfterValidator(_storable)]
"""What somebody wrote, as far as databases store it."""

Name = Annotated[Text, Field(min_length=1, max_length=60)]
Uid = Annotated[Text, Field(min_length=1, max_length=40)]
Value = (
    bool | Annotated[int, Field(ge=-(2**53), le=2**53)] | FiniteFloat | Annotated[Text, Field(max_length=200)] | None
)
Facts = Annotated[dict[Name, Value], Field(max_length=16)]


class AnswerBody(Settings):
    """The answer to one question."""

    question: Name
    choice: Literal["left", "right", "tie"]
    reasons: tuple[Name, ...] = Field((), max_length=MOST_REASONS)


class SeenBody(Settings):
    """How often each clip was played to its end, and for how many seconds the page was in sight."""

    left: int = Field(0, ge=0, le=100_000)
    right: int = Field(0, ge=0, le=100_000)
    active: FiniteFloat = Field(0.0, ge=0, le=1e7)


class VoteBody(Settings):
    """A vote: ``uid`` is drawn by the page, so that a vote sent twice is one vote."""

    impression: Uid
    uid: UUID
    answers: tuple[AnswerBody, ...] = Field(min_length=1, max_length=3)
    comment: Annotated[Text, Field(max_length=2000)] = ""
    seen: SeenBody = SeenBody()
    device: Facts = Field(default_factory=dict)

    def ballot(self) -> Ballot:
        """The vote as it is recorded."""
        return Ballot(
            impression=self.impression,
            uid=str(self.uid),
            answers=tuple(Answer(each.question, each.choice, each.reasons) for each in self.answers),
            comment=self.comment,
            active=self.seen.active,
            plays_left=self.seen.left,
            plays_right=self.seen.right,
            device=dict(self.device),
        )


def _of_a_page(kind: str) -> str:
    """What a browser reports must not look like what the study itself writes down."""
    if kind in STUDY_EVENTS:
        raise ValueError("is written down by the study only")
    return kind


class EventBody(Settings):
    """Something that happened on the page."""

    kind: Annotated[str, Field(pattern=r"^[a-z][a-z_-]{0,39}$"), AfterValidator(_of_a_page)]
    impression: Annotated[Text, Field(max_length=40)] = ""
    what: Facts = Field(default_factory=dict)


Events = Annotated[list[EventBody], Field(max_length=100)]
