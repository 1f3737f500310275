"""What a study shows, fixed when it is created: clips under names that tell nothing, pairs, checks, and training.

A study is a folder::

    study.yaml     the design, resolved
    plan.json      this file's Plan
    clips/         the normalised clips, a folder a model; broken and frozen ones for checks beside them
    pictures/      the first frames, under names that tell nothing
    secrets.json   the key of all tokens, and the salt of raters' names (for nobody but the server)
    study.sqlite   everything that raters did, unless the study is kept in another database
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from pydantic import Field, ValidationError

from motionfocal.errors import StudyError, UnknownNameError
from motionfocal.reading import read_text
from motionfocal.settings import Settings
from motionfocal.study.design import CheckKind, StudyDesign, load_design
from motionfocal.video.files import replacing

Found = TypeVar("Found")

DESIGN, PLAN, SECRETS, DATABASE = "study.yaml", "plan.json", "secrets.json", "study.sqlite"


class Shown(Settings):
    """A question to raters: the picture (a file of the folder) and the text of an item."""

    item: str
    image: str
    text: str
    picture: str


class ClipFile(Settings):
    """A clip as it is shown. ``model`` is "" for one that was made for a check; ``content`` is the file's SHA-256."""

    id: str
    model: str
    item: str
    file: str
    content: str


class PairPlan(Settings):
    """Two clips of one item that are to be compared; which of them stands on the left is decided each time."""

    id: str
    item: str
    first: str = Field(description="Id of a clip.")
    second: str


class CheckPlan(Settings):
    """An attention check. ``right`` is the clip that ought to be chosen, "" where every answer is good.

    An instructed check names no clip: its text tells the side, and the side is drawn for each rater.
    """

    id: str
    kind: CheckKind
    item: str
    first: str
    second: str
    right: str = ""


class Example(Settings):
    """A comparison with a known answer; ``left`` and ``right`` are clips, ``better`` is a side."""

    id: str
    item: str
    left: str
    right: str
    better: str = Field(pattern="^(left|right)$")
    why: str
    reasons: tuple[str, ...] = ()


class Plan(Settings):
    """Everything that a study shows; it never changes after creation."""

    name: str
    models: tuple[str, ...]
    shown: tuple[Shown, ...]
    clips: tuple[ClipFile, ...]
    pairs: tuple[PairPlan, ...]
    checks: tuple[CheckPlan, ...] = ()
    examples: tuple[Example, ...] = Field((), description="Two for the instructions, each side better once.")
    training: tuple[Example, ...] = ()

    def item(self, id: str) -> Shown:  # noqa: A002 - the field's name
        """The picture and text of an item. Raises UnknownNameError."""
        return self._find(self._items, "item", id)

    def clip(self, id: str) -> ClipFile:  # noqa: A002
        """A clip by its id. Raises UnknownNameError."""
        return self._find(self._clips, "clip", id)

    def pair(self, id: str) -> PairPlan:  # noqa: A002
        """A pair by its id. Raises UnknownNameError."""
        return self._find(self._pairs, "pair", id)

    def check(self, id: str) -> CheckPlan:  # noqa: A002
        """A check by its id. Raises UnknownNameError."""
        return self._find(self._checks, "check", id)

    def example(self, id: str) -> Example:  # noqa: A002
        """A training example by its id. Raises UnknownNameError."""
        return self._find(self._training, "training example", id)

    @staticmethod
    def _find(known: dict[str, Found], kind: str, id: str) -> Found:  # noqa: A002
        if id not in known:
            raise UnknownNameError(f"{kind} of the study", id, list(known)[:5])
        return known[id]

    @cached_property
    def _items(self) -> dict[str, Shown]:
        return {shown.item: shown for shown in self.shown}

    @cached_property
    def _clips(self) -> dict[str, ClipFile]:
        return {clip.id: clip for clip in self.clips}

    @cached_property
    def _pairs(self) -> dict[str, PairPlan]:
        return {pair.id: pair for pair in self.pairs}

    @cached_property
    def _training(self) -> dict[str, Example]:
        return {example.id: example for example in self.training}

    @cached_property
    def _checks(self) -> dict[str, CheckPlan]:
        return {check.id: check for check in self.checks}


class Secrets(Settings):
    """``key`` signs all tokens, ``salt`` hides raters' names, ``admin`` is the hash of the password (argon2) or ""."""

    key: str = Field(min_length=32)
    salt: str = Field(min_length=32)
    admin: str = ""


def read_secrets(path: Path) -> Secrets:
    """A study's secrets. Raises StudyError, which does not show them, when they cannot be read."""
    if not path.is_file():
        raise StudyError(f"{path}: missing; is this a study's folder?")
    try:
        return Secrets.model_validate_json(read_text(path, StudyError))
    except ValidationError:
        raise StudyError(
            f"{path}: holds no secrets of a study; restore it from a backup, for names hang on it"
        ) from None  # it quotes what it read


def write_secrets(path: Path, known: Secrets) -> None:
    """Write a study's secrets, whole or not at all, into a file that nobody else can read."""
    with replacing(path) as partial:
        partial.chmod(0o600)  # before there is anything in it
        partial.write_text(known.model_dump_json(indent=1) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class Study:
    """A created study, opened from its folder."""

    folder: Path
    design: StudyDesign
    plan: Plan
    secrets: Secrets

    @classmethod
    def open(cls, folder: Path) -> "Study":
        """Read a study's folder. Raises StudyError when it holds none, or a damaged one."""
        for name in (DESIGN, PLAN, SECRETS):
            if not (folder / name).is_file():
                raise StudyError(f"{folder}: no study here, {name} is missing; make one by 'motionfocal study create'")
        try:
            plan = Plan.model_validate_json(read_text(folder / PLAN, StudyError))
            secrets = read_secrets(folder / SECRETS)
        except ValueError as error:
            raise StudyError(f"{folder}: the study is damaged: {error}") from error
        return cls(folder, load_design(folder / DESIGN), plan, secrets)

    @property
    def database(self) -> str:
        """The URL of the database, unless another one is given."""
        return f"sqlite:///{(self.folder / DATABASE).absolute()}"

    def path(self, file: str) -> Path:
        """A file of the study. Raises StudyError for one outside its folder."""
        path = (self.folder / file).resolve()
        if not path.is_relative_to(self.folder.resolve()):
            raise StudyError(f"{file}: is not inside the study's folder")
        return path
