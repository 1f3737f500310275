"""How the sprites world draws: colours, shapes with soft edges, and a textured ground."""

from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Ground = Literal["texture", "stripes"]

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (230, 40, 40),
    "green": (40, 200, 60),
    "blue": (50, 80, 235),
    "yellow": (240, 220, 50),
    "magenta": (225, 60, 220),
    "cyan": (50, 220, 225),
}
"""Saturated, while the ground is grey: a pixel's colour tells whose it is."""

SHAPES: tuple[str, ...] = ("circle", "square", "triangle", "diamond")


def coverage(shape: str, x: float, y: float, radius: float, size: int) -> NDArray[np.float32]:
    """Share of each pixel that a shape covers, float32 ``[size,size]`` in [0, 1], edges one pixel soft.

    ``x``, ``y`` is its centre in pixels (0 is the middle of the first pixel); ``radius`` that of a circle, and the
    other shapes are scaled to cover about the same area.
    """
    dy, dx = np.mgrid[:size, :size].astype(np.float32)
    dx, dy = dx - np.float32(x), dy - np.float32(y)
    match shape:
        case "circle":
            outside = np.hypot(dx, dy) - radius
        case "square":
            outside = np.maximum(np.abs(dx), np.abs(dy)) - 0.89 * radius
        case "diamond":
            outside = (np.abs(dx) + np.abs(dy)) / np.sqrt(2) - 0.89 * radius
        case "triangle":
            slope = (2 * np.abs(dx) - dy) / np.sqrt(5)
            outside = np.maximum(slope - 0.56 * radius, dy - 1.0 * radius)
        case _:
            raise ValueError(f"no shape {shape!r}; there are {', '.join(SHAPES)}")
    return np.clip(0.5 - outside, 0, 1).astype(np.float32)


def textured_ground(rng: np.random.Generator, size: int) -> NDArray[np.float32]:
    """A grey, lightly tinted texture of three scales, float32 ``[size,size,3]`` in grey levels."""
    base = rng.uniform(95, 155)
    texture = sum(
        weight * _smooth_noise(rng, size, cells)
        for weight, cells in ((18.0, size // 8), (12.0, size // 4), (8.0, size // 2))
    )
    return _tinted(rng, base + np.asarray(texture))


def striped_ground(rng: np.random.Generator, size: int) -> NDArray[np.float32]:
    """Grey, lightly tinted stripes, 4 to 8 pixels apart and of any direction, float32 ``[size,size,3]``.

    They vary as much as ``textured_ground`` does, by about 15 grey levels.
    """
    base, angle, period, phase = rng.uniform((95, 0, 4, 0), (155, np.pi, 8, 2 * np.pi))
    y, x = np.mgrid[:size, :size]
    wave = np.sin(2 * np.pi / period * (x * np.cos(angle) + y * np.sin(angle)) + phase)
    return _tinted(rng, base + 15 * np.sqrt(2) * wave)


GROUNDS: Mapping[Ground, Callable[[np.random.Generator, int], NDArray[np.float32]]] = {
    "texture": textured_ground,
    "stripes": striped_ground,
}
"""How each kind of ground is drawn."""


def _tinted(rng: np.random.Generator, grey: NDArray[np.float64]) -> NDArray[np.float32]:
    """Grey levels ``[size,size]`` as nearly grey colours."""
    return (grey[..., None] + rng.uniform(-12, 12, 3)).astype(np.float32)


def _smooth_noise(rng: np.random.Generator, size: int, cells: int) -> NDArray[np.float64]:
    """White noise on a coarse grid, interpolated bilinearly to ``[size,size]``."""
    grid = rng.standard_normal((cells + 2, cells + 2))
    at = np.arange(size) * cells / size
    low = at.astype(int)
    part = at - low
    rows = grid[low] * (1 - part)[:, None] + grid[low + 1] * part[:, None]
    return np.asarray(rows[:, low] * (1 - part) + rows[:, low + 1] * part)
