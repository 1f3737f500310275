"""What raters are asked: one question of the paper, two of JUICE, or your own."""

from pydantic import Field, model_validator

from motionfocal.settings import Settings
from motionfocal.study.protocol import OVERALL, REASONS

MOST_REASONS = 7
"""A reason is ticked by a digit from 3 to 9: 1 and 2 choose a clip."""

_ID = r"^[a-z0-9][a-z0-9_-]{0,39}$"


class Justification(Settings):
    """A justification that a rater may tick: ``id`` stands in votes, ``text`` and ``help`` on the page."""

    id: str = Field(min_length=1, max_length=60, pattern=r"^[^;,\n]+$", description="What the votes call it.")
    text: str = Field(min_length=1, description="The label beside its box.")
    help: str = Field("", description="What it means, in a sentence.")


class Question(Settings):
    """A choice between two clips, and the reasons that may be ticked for it."""

    id: str = Field(pattern=_ID, description="What the votes call it.")
    text: str = Field(min_length=1, description="The question itself.")
    why: str = Field("", description="What is asked once a clip is chosen; needs reasons.")
    reasons: tuple[Justification, ...] = Field((), max_length=MOST_REASONS, description="One digit key each, 3 to 9.")
    reasons_required: bool = Field(True, description="At least one reason must be ticked, unless it is a tie.")

    @model_validator(mode="after")
    def _reasons_differ(self) -> "Question":
        ids = [reason.id for reason in self.reasons]
        if len(set(ids)) < len(ids):
            raise ValueError(f"reasons of {self.id}: each needs an id of its own, got {', '.join(ids)}")
        if bool(self.reasons) != bool(self.why):
            raise ValueError(f"question {self.id}: 'why' and 'reasons' come together")
        return self


_MOTIF_HELP = (
    "The video keeps to the picture that it starts from: the same things, colours and style.",
    "What the text says happens, and nothing else.",
    "Things move as they should: enough, in the right way, and without breaking.",
    "Sharp, steady and pleasant to look at.",
)


def _motif() -> tuple[Question, ...]:
    reasons = tuple(
        Justification(id=name, text=name.capitalize(), help=text)
        for name, text in zip(REASONS, _MOTIF_HELP, strict=True)
    )
    return (
        Question(
            id=OVERALL,
            text="Which video do you prefer?",
            why="Why is it better? Choose all that apply.",
            reasons=reasons,
        ),
    )


def _emu() -> tuple[Question, ...]:
    def reasons(*texts: str) -> tuple[Justification, ...]:
        return tuple(Justification(id=text.lower(), text=text) for text in texts)

    why = "What made you choose it? Choose all that apply."
    return (
        Question(
            id="quality",
            text="Which video looks better?",
            why=why,
            reasons=reasons(
                "Motion smoothness",
                "Object and scene consistency",
                "Pixel sharpness",
                "Recognizable objects and scenes",
                "Amount of motion",
            ),
        ),
        Question(
            id="faithfulness",
            text="Which video fits the text better?",
            why=why,
            reasons=reasons("Spatial text alignment", "Temporal text alignment"),
        ),
    )


PRESETS = {"motif": _motif(), "emu": _emu()}
"""The paper's protocol (one preference, four justifications), and the two questions of Emu Video's JUICE."""
