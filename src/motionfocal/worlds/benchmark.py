"""A benchmark of a world: a fixed list of questions that its settings alone decide."""

from typing import Literal

from pydantic import Field

from motionfocal.settings import Settings
from motionfocal.worlds.sprites import SpritesSettings, SpritesWorld, WorldItem


class SpritesBenchmark(Settings):
    """Scenes of the sprites world with several texts each. Scenes come from seeds that no training run draws from."""

    world: SpritesSettings = Field(default_factory=SpritesSettings)
    images: int = Field(32, ge=1, description="Scenes.")
    texts: int = Field(4, ge=1, le=24, description="Texts a scene, all different.")
    seed: int = Field(2_026, ge=0, description="Draws the scenes and the texts.")
    combinations: Literal["train", "held_out", "any"] = Field(
        "any", description="Which combinations of sprite and motion are asked; 'held_out' are those never trained on."
    )

    def items(self) -> list[WorldItem]:
        """The questions, the same on every machine."""
        return SpritesWorld(self.world).items(self.images, self.texts, self.seed, self.combinations)
