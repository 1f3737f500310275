"""Families of models: what a family's file must define, and how it is found."""

import hashlib
import importlib
import pkgutil
from collections.abc import Iterable
from importlib.metadata import entry_points
from typing import ClassVar

from motionfocal.models import families
from motionfocal.models.pipeline_folder import PipelineFolder
from motionfocal.models.protocol import ClipShape, VideoModel
from motionfocal.models.text import count_words
from motionfocal.settings import Settings


class FamilySettings(Settings):
    """Base of every family's settings; a subclass adds ``family: Literal["its_name"]`` and its own fields."""

    family: str

    encoder_fields: ClassVar[tuple[str, ...]] = ()
    """The fields, besides ``weights``, that decide what the frozen parts give."""

    words: ClassVar[int | None] = None
    """Words of a text that are read, by the text encoder of our own; None: by another one, which counts tokens."""

    def notes_on(self, texts: Iterable[str]) -> list[str]:
        """What somebody should know who trains on these texts or animates by them: which of them are cut."""
        long = {text for text in texts if self.words is not None and count_words(text) > self.words}
        if not long:
            return []
        some = "1 text is" if len(long) == 1 else f"{len(long)} texts are"
        return [f"{some} longer than {self.words} words; {self.family} does not read the rest"]

    def encoder_fingerprint(self) -> str:
        """A short hash of the frozen parts: models that share it can share what was encoded.

        Of a checkpoint it is that of the frozen parts' files (see ``PipelineFolder.fingerprint``), wherever a folder of
        them lies, and of a repository whether or not they were downloaded yet.
        """
        values = {name: getattr(self, name) for name in self.encoder_fields}
        folder = PipelineFolder(self.weights).fingerprint() if hasattr(self, "weights") else None
        return hashlib.sha256(repr((self.family, values, folder)).encode()).hexdigest()[:16]

    def build(self, shape: ClipShape, seed: int) -> VideoModel:
        """A model for clips of a shape; what is not read from a checkpoint is drawn from the seed.

        Raises:
            CheckpointError: the weights are missing or do not fit.
            ShapeError: the base cannot take clips of this shape.
        """
        raise NotImplementedError


def known_families() -> dict[str, type[FamilySettings]]:
    """Families by name: files in ``models/families``, and modules of the entry points ``motionfocal.families``."""
    modules = {
        entry.name: importlib.import_module(f"{families.__name__}.{entry.name}")
        for entry in pkgutil.iter_modules(families.__path__)
    }
    modules |= {entry.name: entry.load() for entry in entry_points(group="motionfocal.families")}
    return {name: module.Family for name, module in modules.items()}
