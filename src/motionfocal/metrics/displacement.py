"""How far the one thing that moves in a region went between two frames, whose ground stands still."""

from collections.abc import Callable, Iterable
from functools import cache
from itertools import product

import cv2
import numpy as np
from numpy.typing import NDArray

_BLUR = 1.2
_LARGEST = 24
"""Steps that are searched in each direction, at most."""
_MARGIN = 3
"""Pixels around the region that are looked at, too."""
_SLOW = 5.0
"""Pixels up to which a motion is searched in half pixels: where it is less than a step, both hypotheses share it."""

Map = NDArray[np.float32]


def displacement(before: Map, after: Map, region: NDArray[np.bool_], reach: float) -> tuple[float, float]:
    """(dx, dy) in pixels of what is in a region, from grey frames float32 ``[H,W]`` to the one after.

    Each pixel is explained by the better of two hypotheses: it stands still, or it moves by v; the v that explains all
    best is taken,

        v = argmin sum_x min(|after(x) - before(x)|, |after(x + v) - before(x)|),

    in steps of a pixel, or of half a pixel where ``reach``, the farthest that it may go, is small; refined below a step
    by the lines on both sides of the minimum. Uncovered ground costs the same for every v, and plain insides of an
    object nothing, where flow would be pulled towards zero by both.
    """
    times = 2 if reach <= _SLOW else 1
    radius = int(min(_LARGEST, np.ceil(times * reach) + 2))
    room = -(-radius // times) + _MARGIN
    before, after, mask = (_cut(image, region, room, times) for image in (before, after, region.astype(np.float32)))
    inside = cv2.dilate((mask > 0.5).astype(np.uint8), np.ones((2 * times * _MARGIN + 1,) * 2, np.uint8))
    before, after = (np.asarray(cv2.GaussianBlur(image, (0, 0), _BLUR), np.float32) for image in (before, after))
    dx, dy = _searched(before, after, inside, radius)
    return dx / times, dy / times


def _cut(image: Map, region: NDArray[np.bool_], room: int, times: int) -> Map:
    """The part of an image around a region, with room on all sides (its border repeated), enlarged."""
    left, top, width, height = cv2.boundingRect(region.astype(np.uint8))
    padded = cv2.copyMakeBorder(image, *(room,) * 4, cv2.BORDER_REPLICATE)
    part = padded[top : top + height + 2 * room, left : left + width + 2 * room]
    if times > 1:
        part = cv2.resize(part, None, fx=times, fy=times, interpolation=cv2.INTER_CUBIC)
    return np.asarray(part, np.float32)


def _searched(before: Map, after: Map, inside: NDArray[np.uint8], radius: int) -> tuple[float, float]:
    """The best shift (dx, dy) in steps: among every second one, then around the best of these, then below a step."""
    height, width = before.shape
    padded = cv2.copyMakeBorder(after, *(radius + 2,) * 4, cv2.BORDER_REPLICATE)
    still = cv2.absdiff(before, after)

    @cache
    def cost(dx: int, dy: int) -> float:
        top, left = radius + 2 + dy, radius + 2 + dx
        moved = cv2.absdiff(padded[top : top + height, left : left + width], before)
        return float(cv2.mean(cv2.min(moved, still), inside)[0])

    even = range(-(radius // 2) * 2, radius + 1, 2)
    x, y = _best(product(even, even), cost)
    x, y = _best(product(range(x - 1, x + 2), range(y - 1, y + 2)), cost)
    across, down = (cost(x - 1, y), cost(x, y), cost(x + 1, y)), (cost(x, y - 1), cost(x, y), cost(x, y + 1))
    return x + _refined(across), y + _refined(down)


def _best(shifts: Iterable[tuple[int, int]], cost: Callable[[int, int], float]) -> tuple[int, int]:
    """The shift of the lowest cost; of equal ones, the smallest: nothing moves rather than something."""
    return min(shifts, key=lambda shift: (round(cost(*shift), 6), abs(shift[0]) + abs(shift[1])))


def _refined(costs: tuple[float, float, float]) -> float:
    """Where a V through three neighbouring costs has its minimum, from the middle one, in [-1/2, 1/2]."""
    before, here, after = costs
    steepest = max(before, after) - here
    return (before - after) / (2 * steepest) if steepest > 0 else 0.0
