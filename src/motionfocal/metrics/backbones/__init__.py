"""Frozen networks that metrics look through. Each knows its weights; see docs/metrics.md for where they go."""

from motionfocal.metrics.backbones.backbone import Backbone, Stream
from motionfocal.metrics.backbones.recipes import Recipe
from motionfocal.metrics.backbones.weights import BackboneSettings, WeightFile

__all__ = ["Backbone", "BackboneSettings", "Recipe", "Stream", "WeightFile"]
