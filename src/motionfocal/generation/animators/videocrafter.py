"""DynamiCrafter-512 and VideoCrafter1 (I2V-512) from folders of ``motionfocal convert``, as their authors ship them."""

from typing import Literal

import numpy as np
from PIL import Image
from pydantic import Field

from motionfocal.benchmarks import BenchmarkItem
from motionfocal.errors import CheckpointError
from motionfocal.generation.animators.checkpoint import CheckpointAnimator, cropped
from motionfocal.generation.sampler import SamplingSettings
from motionfocal.models.build import LoadedModel, ModelCard, best_device, build_model
from motionfocal.models.families.videocrafter import Family
from motionfocal.models.pipeline_folder import PipelineFolder
from motionfocal.models.protocol import ClipShape
from motionfocal.settings import Settings
from motionfocal.video import Frames

Fit = Literal["crop", "stretch"]


class Shipped(Settings):
    """How a checkpoint is sampled.

    ``shape.fps`` is what the network is told, ``fps`` the rate of the clip.
    """

    shape: ClipShape
    fps: float = Field(gt=0)
    fit: Fit
    sampling: SamplingSettings


SHIPPED = {
    "dynamicrafter": Shipped(
        shape=ClipShape(frames=16, height=320, width=512, fps=24),
        fps=8,
        fit="crop",
        sampling=SamplingSettings(steps=50, guidance_scale=7.5, guidance_rescale=0.7, eta=1.0),
    ),
    "videocrafter1": Shipped(
        shape=ClipShape(frames=16, height=320, width=512, fps=8),
        fps=10,
        fit="stretch",
        sampling=SamplingSettings(steps=50, guidance_scale=12.0, eta=1.0),
    ),
}
"""By the kind that ``motionfocal convert`` notes in a folder.

VideoCrafter1 sees the picture as tokens of CLIP alone, which looks at a square. Its authors stretch a picture to
320x512, and CLIP's input is stretched back to a square: of a square picture it sees all, undistorted. A crop to
320x512 would show it the middle, distorted. DynamiCrafter has the picture's latent beside the noise; its authors crop,
and pad with black what is narrower than that, where we enlarge it.
"""


def kind_of(folder: PipelineFolder) -> str:
    """What a converted folder holds.

    Raises:
        CheckpointError: it is none of ``SHIPPED``.
    """
    kind = str(folder.index.get("kind"))
    if folder.index.get("_class_name") != "VideoCrafter" or kind not in SHIPPED:
        raise CheckpointError(
            f"{folder.folder}: holds {folder.index.get('kind') or folder.index.get('_class_name')}, not"
            f" {' or '.join(SHIPPED)} as 'motionfocal convert' writes it; VideoCrafter2 takes no image until it is"
            " trained to (motionfocal train paper)"
        )
    return kind


def open_converted(weights: str, shipped: Shipped, name: str) -> CheckpointAnimator:
    """A converted checkpoint with these settings. Raises CheckpointError, ShapeError for clips that it cannot make."""
    family = Family(weights=weights)
    card = ModelCard(name=name, model=family, shape=shipped.shape)

    def load() -> LoadedModel:
        model = build_model(family, shipped.shape, seed=0)
        device = best_device()
        model.network.eval().to(device)
        model.device = device
        return LoadedModel(card, model)

    return CheckpointAnimator(
        card,
        load,
        shipped.sampling,
        "",
        fps=shipped.fps,
        picture=cropped if shipped.fit == "crop" else stretched,
    )


def stretched(item: BenchmarkItem, size: tuple[int, int]) -> Frames:
    """The picture of an item, all of it, at a size (height, width)."""
    height, width = size
    return np.array(Image.fromarray(item.picture()).resize((width, height), Image.Resampling.BICUBIC))
