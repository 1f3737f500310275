"""How a frame becomes the input of a network: each resize with its size, kernel, antialiasing and crop spelled out.

Torchvision changed the default of ``antialias`` in 0.17, and the same code gave other VBench-I2V scores since; a recipe
leaves nothing to a default, and is part of its metric's settings.
"""

from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import functional as tf
from torchvision.transforms.functional import InterpolationMode

from motionfocal.video import Frames

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
UNIT = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


@dataclass(frozen=True)
class Recipe:
    """Resize, crop the centre, and scale to ``(x/255 - mean) / std``.

    ``fit``: ``shorter`` side becomes ``side``; ``longer`` side becomes at most ``side``, never enlarged; ``square``
    ignores the aspect ratio. ``by`` is what resizes: float ``tensor``s, neither rounded nor clipped, or ``pillow`` on
    8 bits, which always antialiases. ``crop`` is the side of the centre kept, 0 for all.
    """

    side: int
    fit: Literal["shorter", "longer", "square"] = "shorter"
    kernel: Literal["bilinear", "bicubic"] = "bicubic"
    antialias: bool = False
    by: Literal["tensor", "pillow"] = "tensor"
    crop: int = 0
    normal: tuple[tuple[float, float, float], tuple[float, float, float]] = UNIT

    def __call__(self, rgb: Frames) -> Tensor:
        """Float32 ``[3,h,w]`` of a frame uint8 ``[H,W,3]``."""
        pixels = self._by_pillow(rgb) if self.by == "pillow" else self._by_tensor(rgb)
        if self.crop:
            pixels = tf.center_crop(pixels, [self.crop, self.crop])
        mean, std = (torch.tensor(values)[:, None, None] for values in self.normal)
        return (pixels / 255 - mean) / std

    def describe(self) -> dict[str, object]:
        """All of it, JSON, for a metric's settings."""
        return asdict(self)

    def _size(self, height: int, width: int) -> list[int]:
        if self.fit == "square":
            return [self.side, self.side]
        if self.fit == "shorter":  # the longer side is cut down to a whole number, as torchvision does
            short = min(height, width)
            return [self.side if side == short else int(self.side * side / short) for side in (height, width)]
        scale = min(1.0, self.side / max(height, width))
        return [int(scale * height), int(scale * width)]

    def _by_tensor(self, rgb: Frames) -> Tensor:
        pixels = as_pixels(rgb)
        kernel = InterpolationMode(self.kernel)
        return tf.resize(pixels, self._size(*rgb.shape[:2]), interpolation=kernel, antialias=self.antialias)

    def _by_pillow(self, rgb: Frames) -> Tensor:
        height, width = self._size(*rgb.shape[:2])
        kernel = Image.Resampling.BICUBIC if self.kernel == "bicubic" else Image.Resampling.BILINEAR
        return as_pixels(np.array(Image.fromarray(rgb).resize((width, height), kernel)))


def as_pixels(rgb: Frames) -> Tensor:
    """A frame uint8 ``[H,W,3]`` as float32 ``[3,H,W]`` in 0..255."""
    return torch.from_numpy(np.ascontiguousarray(rgb)).permute(2, 0, 1).float()


def cut_to_shape(picture: Frames, height: int, width: int) -> Frames:
    """The centre of a picture with the aspect ratio of ``height`` by ``width``, at the picture's own resolution."""
    tall, wide = picture.shape[:2]
    h, w = min(tall, round(wide * height / width)), min(wide, round(tall * width / height))
    top, left = (tall - h) // 2, (wide - w) // 2
    return picture[top : top + h, left : left + w]


SUBJECT = Recipe(224, kernel="bilinear", normal=IMAGENET)
"""VBench's subject consistency: shorter side 224, no crop, no antialiasing."""

CLIP_FRAME = Recipe(224, crop=224, normal=CLIP)
"""VBench's background consistency and aesthetic quality."""

CLIP_PICTURE = Recipe(224, crop=224, by="pillow", antialias=True, normal=CLIP)
"""CLIP's own preprocessing: Pillow's bicubic."""

MUSIQ = Recipe(512, fit="longer", kernel="bilinear")
"""VBench's imaging quality in its default mode "longer"."""


def i2v_subject(*, antialias: bool) -> tuple[Recipe, Recipe]:
    """Of the frames and of the given picture, for DINO. VBench resizes frames as tensors, the picture with Pillow."""
    frames = Recipe(256, crop=224, antialias=antialias, normal=IMAGENET)
    return frames, Recipe(256, crop=224, antialias=True, by="pillow", normal=IMAGENET)


def i2v_background(*, antialias: bool) -> tuple[Recipe, Recipe]:
    """Of the frames and of the given picture, for DreamSim, which normalises by itself."""
    return Recipe(224, fit="square", antialias=antialias), Recipe(224, fit="square", antialias=True, by="pillow")
