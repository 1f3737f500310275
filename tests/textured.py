"""Synthetic clips whose moving pixels are known: a textured disc over a ground that a camera moves across.

Nothing here is drawn from a tested module: both layers are sampled from one continuous texture, so that
sub-pixel motion is exact and the mask is the truth.
"""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

Camera = Literal["still", "pan", "zoom"]
Ground = Literal["textured", "flat", "horizon"]  # horizon: textured below, a plain sky above


@dataclass(frozen=True)
class TexturedClip:
    """``frames`` uint8 [T,H,W,3], ``masks`` bool [T,H,W] of the disc, ``cameras`` [T,2,3] ground to frame."""

    frames: NDArray[np.uint8]
    masks: NDArray[np.bool_]
    cameras: NDArray[np.float64]


def texture(size: int, rng: np.random.Generator, *, grain: float = 2.0) -> NDArray[np.float32]:
    """Noise at three scales, uint8 range as float32 [size,size,3]; ``grain`` is the finest blob in pixels."""
    layers = [cv2.GaussianBlur(rng.standard_normal((size, size, 3)), (0, 0), grain * k) for k in (1, 2, 4)]
    mixed = np.sum([layer / layer.std() for layer in layers], axis=0)
    return np.clip(128 + 35 * mixed, 0, 255).astype(np.float32)


def camera_path(length: int, size: tuple[int, int], camera: Camera, speed: float) -> NDArray[np.float64]:
    """Affine [T,2,3] from ground to frame; ``speed`` is in pixels a frame (zoom: in a corner)."""
    height, width = size
    centre = (width / 2, height / 2)
    path = []
    for step in range(length):
        if camera == "zoom":  # and turn
            rate = speed / np.hypot(*centre)
            path.append(cv2.getRotationMatrix2D(centre, np.degrees(0.5 * rate * step), (1 + rate) ** step))
        else:
            shift = speed * step if camera == "pan" else 0.0
            path.append(np.array([[1.0, 0.0, -shift], [0.0, 1.0, -0.4 * shift]]))
    return np.stack(path)


def textured_clip(
    size: tuple[int, int] = (64, 64),
    *,
    length: int = 8,
    radius: float = 6.0,
    velocity: tuple[float, float] = (1.5, 0.7),
    camera: Camera = "still",
    camera_speed: float = 2.0,
    ground: Ground = "textured",
    noise: float = 0.0,
    seed: int = 0,
) -> TexturedClip:
    """A disc crosses the middle of the frame at ``velocity`` pixels a frame, whatever the camera does.

    ``noise`` is the standard deviation of a sensor's noise in grey levels. ``radius`` 0 leaves the disc out.
    """
    rng = np.random.default_rng(seed)
    height, width = size
    margin = 32 + int(np.ceil(length * camera_speed))
    canvas = texture(max(size) + 2 * margin, rng)
    if ground != "textured":
        canvas[: None if ground == "flat" else margin + height * 2 // 5] = 120.0
    skin = texture(2 * int(radius + 4) + 1, rng) * 0.7 + 50
    cameras = camera_path(length, size, camera, camera_speed)
    y, x = np.mgrid[:height, :width].astype(np.float64)
    frames, masks = [], []
    for step in range(length):
        cx = width / 2 + velocity[0] * (step - (length - 1) / 2)
        cy = height / 2 + velocity[1] * (step - (length - 1) / 2)
        from_canvas = cameras[step].copy()
        from_canvas[:, 2] -= cameras[step][:, :2] @ (margin, margin)
        frame = cv2.warpAffine(canvas, from_canvas, (width, height), flags=cv2.INTER_CUBIC)
        centre = skin.shape[0] // 2
        disc = cv2.warpAffine(
            skin, np.array([[1, 0, cx - centre], [0, 1, cy - centre]]), (width, height), flags=cv2.INTER_CUBIC
        )
        distance = np.hypot(x - cx, y - cy)
        cover = np.clip(radius - distance + 0.5, 0, 1)[..., None]
        frame = frame * (1 - cover) + disc * cover + noise * rng.standard_normal(frame.shape)
        frames.append(np.clip(np.rint(frame), 0, 255).astype(np.uint8))
        masks.append(distance < radius)
    return TexturedClip(np.stack(frames), np.stack(masks), cameras)
