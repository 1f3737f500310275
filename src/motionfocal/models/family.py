"""Families of models: what a family's file must define, and how it is found."""

import importlib
import pkgutil
from functools import reduce
from importlib.metadata import entry_points
from operator import or_
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from motionfocal.models import families
from motionfocal.models.protocol import ClipShape, VideoModel
from motionfocal.settings import Settings


class FamilySettings(Settings):
    """Base of every family's settings; a subclass adds ``family: Literal["its_name"]`` and its own fields."""

    family: str

    def build(self, shape: ClipShape, seed: int) -> VideoModel:
        """A model for clips of a shape; what is not read from a checkpoint is drawn from the seed.

        Raises:
            CheckpointError: the weights are missing or do not fit.
            ShapeError: the base cannot take clips of this shape.
        """
        raise NotImplementedError


def known_families() -> dict[str, type[FamilySettings]]:
    """Families by name: the files in ``models/families``, and the modules of the entry points ``motionfocal.families``."""
    modules = {
        entry.name: importlib.import_module(f"{families.__name__}.{entry.name}")
        for entry in pkgutil.iter_modules(families.__path__)
    }
    modules |= {entry.name: entry.load() for entry in entry_points(group="motionfocal.families")}
    return {name: module.Family for name, module in modules.items()}


if TYPE_CHECKING:
    ModelSettings = FamilySettings
else:
    ModelSettings = Annotated[reduce(or_, known_families().values()), Field(discriminator="family")]
