"""Overlays: still pixels keep their look, moving ones are coloured, and the strip has the shape it says."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motionfocal.errors import ShapeError
from motionfocal.motion import filmstrip, overlay


@pytest.fixture
def frames(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, (8, 12, 16, 3), np.uint8)


def test_no_heat_leaves_the_frames_and_rest_hardly_touches_them(frames: np.ndarray):
    assert np.array_equal(overlay(frames, np.zeros(frames.shape[:3], np.float32)), frames)
    resting = overlay(frames, np.full(frames.shape[:3], 0.0067, np.float32))
    assert np.abs(resting.astype(int) - frames).max() <= 2


def test_heat_colours_its_own_pixels_alone(frames: np.ndarray):
    heat = np.zeros(frames.shape[:3], np.float32)
    heat[3, 4:8, 5:9] = 1
    changed = (overlay(frames, heat) != frames).any(-1)
    assert changed[3, 4:8, 5:9].all()
    assert changed.sum() == 16


def test_colours_run_from_dark_to_yellow_in_rgb():
    heat = np.array([0.5, 0.75, 1.0], np.float32).reshape(1, 1, 3)
    reddish, orange, yellow = overlay(np.zeros((1, 1, 3, 3), np.uint8), heat)[0, 0].astype(int)
    assert reddish.sum() < orange.sum() < yellow.sum()
    for colour in (reddish, orange, yellow):
        assert colour[0] > colour[2]  # warm, which swapped channels would not be
    assert yellow[1] > 0.9 * yellow[0]


@given(heat=st.floats(0, 1, width=32), grey=st.integers(0, 255))
@settings(max_examples=50)
def test_the_frame_shows_through(heat: float, grey: int):
    """Two greys under the same heat stay apart by at least a third of their difference."""
    frame = np.full((1, 1, 2, 3), grey, np.uint8)
    frame[0, 0, 1] = 255 - grey
    drawn = overlay(frame, np.full((1, 1, 2), heat, np.float32)).astype(int)
    assert np.abs(drawn[0, 0, 0] - drawn[0, 0, 1]).min() >= abs(255 - 2 * grey) * 0.34 - 1


def test_a_filmstrip_shows_frames_above_and_heat_below(frames: np.ndarray, rng: np.random.Generator):
    heat = rng.random(frames.shape[:3], np.float32)
    strip = filmstrip(frames, heat, 3)
    assert strip.shape == (24, 48, 3)
    assert strip.dtype == np.uint8
    drawn = overlay(frames, heat)
    for column, index in enumerate((0, 4, 7)):
        assert np.array_equal(strip[:12, 16 * column : 16 * (column + 1)], frames[index])
        assert np.array_equal(strip[12:, 16 * column : 16 * (column + 1)], drawn[index])


def test_a_short_clip_shows_each_frame_once(frames: np.ndarray):
    assert filmstrip(frames[:2], np.zeros((2, 12, 16), np.float32)).shape == (24, 32, 3)


def test_heat_of_another_size_is_refused(frames: np.ndarray):
    with pytest.raises(ShapeError, match=r"heat \[8, 6, 8\] does not fit frames \[8, 12, 16, 3\]"):
        overlay(frames, np.zeros((8, 6, 8), np.float32))
