"""The nouns of a study: what is compared, who compares, and what was said."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal, Protocol, get_args

from pydantic import ConfigDict, TypeAdapter, ValidationError

from motionfocal.errors import ConfigError, DamagedFileError
from motionfocal.worlds.oracle import Reason

Preference = Literal["left", "right", "tie"]

Kind = Literal["person", "oracle", "metric", "model"]
"""What a rater is. ``model`` is a vision-language model. People and others never stand in one table."""

REASONS: tuple[Reason, ...] = get_args(Reason)
"""The four justifications of the paper's human evaluation, in the order of its Figure 4."""

OVERALL = "overall"
"""The id of the paper's one question: which video is better over all?"""


@dataclass(frozen=True)
class Comparison:
    """Two clips made from the same first frame and text, side by side.

    ``id`` names the two clips, whichever stands on the left. ``image`` is the group of the item: items that
    share a picture are not independent. ``left`` and ``right`` are video files, ``picture`` is the file of the first
    frame that both were given, for raters that are shown it.
    """

    id: str
    item: str
    image: str
    text: str
    left: Path
    right: Path
    left_model: str
    right_model: str
    picture: Path | None = None

    def exchanged(self) -> "Comparison":
        """The same two clips with the sides exchanged."""
        return replace(self, left=self.right, right=self.left, left_model=self.right_model, right_model=self.left_model)

    def judged(
        self,
        rater: str,
        preference: Preference,
        reasons: tuple[str, ...] = (),
        kind: Kind = "oracle",
        question: str = OVERALL,
    ) -> "Judgement":
        """What ``rater`` said about this comparison. Raises ConfigError as ``Judgement`` does."""
        return Judgement(
            comparison=self.id,
            item=self.item,
            image=self.image,
            left_model=self.left_model,
            right_model=self.right_model,
            rater=rater,
            preference=preference,
            reasons=reasons,
            question=question,
            kind=kind,
        )


@dataclass(frozen=True)
class Judgement:
    """One rater's answer to one question about one comparison, and the reasons given for it.

    It carries all that the statistics need; ``comparison`` is the comparison's id, ``question`` the id of what was
    asked, ``kind`` what the rater is. Raises ConfigError when a reason is given twice, or with a tie: a reason says
    why one clip was chosen.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    comparison: str
    item: str
    image: str
    left_model: str
    right_model: str
    rater: str
    preference: Preference
    reasons: tuple[str, ...]
    question: str = OVERALL
    kind: Kind = "oracle"

    def __post_init__(self) -> None:
        if len(set(self.reasons)) < len(self.reasons):
            raise ConfigError(f"reasons: each counts once, got {', '.join(self.reasons)}")
        if self.preference == "tie" and self.reasons:
            raise ConfigError(f"reasons: a tie has none, got {', '.join(self.reasons)}")

    @property
    def preferred(self) -> str | None:
        """The model whose clip was preferred; None for a tie."""
        return {"left": self.left_model, "right": self.right_model, "tie": None}[self.preference]

    def to_json(self) -> dict[str, object]:
        """A JSON object, which ``from_json`` reads back."""
        return asdict(self)

    @classmethod
    def from_json(cls, row: Mapping[str, object]) -> "Judgement":
        """Read what ``to_json`` gave. Raises DamagedFileError for a missing, unknown or wrong field."""
        try:
            return _JUDGEMENT.validate_python(row)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(map(str, first["loc"]))
            raise DamagedFileError(f"not a judgement: {field}: {first['msg']}") from error


_JUDGEMENT = TypeAdapter(Judgement)


class Rater(Protocol):
    """Whoever compares clips: a person, an oracle, a metric."""

    @property
    def name(self) -> str:
        """Tells the raters of a study apart."""
        ...

    def judge(self, comparison: Comparison) -> Judgement:
        """Compare two clips. Raises MediaError when one of them cannot be seen."""
        ...
