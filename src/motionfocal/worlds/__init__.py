"""Synthetic worlds with an exact oracle: endless clips to train on, and a judge that knows the truth."""

from motionfocal.worlds.sprites import Action, Scene, Sprite, SpritesSettings, SpritesWorld, WorldItem

__all__ = ["Action", "Scene", "Sprite", "SpritesSettings", "SpritesWorld", "WorldItem"]
