"""The ``model:`` of a config: the settings of any family, told apart by ``family``."""

from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from motionfocal.models.family import FamilySettings, known_families

if TYPE_CHECKING:
    ModelSettings = FamilySettings
else:
    ModelSettings = Annotated[reduce(or_, known_families().values()), Field(discriminator="family")]
