"""Pooling onto a latent grid keeps motion in its own latent, and layouts go there and back unchanged."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from motionfocal.errors import ConfigError, ShapeError
from motionfocal.motion import LatentSpec, from_layout, pool_to_latent, to_layout

WAN = LatentSpec(channels=16, spatial=8, temporal=4, causal=True)
LAYOUTS = ["bcthw", "btchw", "bthwc", "tokens"]


def heat_of(shape: tuple[int, int, int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random(shape, np.float32)


@pytest.mark.parametrize("time", ["max", "mean"])
def test_motion_in_frames_41_to_44_is_on_latent_11_alone(time: str):
    heat = np.zeros((81, 16, 24), np.float32)
    heat[41:45, 8:16, :8] = 1
    pooled = pool_to_latent(heat, WAN, time)
    assert pooled.shape == (21, 2, 3)
    expected = torch.zeros(21, 2, 3)
    expected[11, 1, 0] = 1
    assert torch.equal(pooled, expected)


specs = st.builds(
    LatentSpec,
    channels=st.just(4),
    spatial=st.integers(1, 4),
    temporal=st.integers(1, 5),
    causal=st.booleans(),
)


@given(spec=specs, groups=st.integers(1, 4), frame=st.integers(0, 99))
@settings(max_examples=60)
def test_each_frame_reaches_the_one_latent_that_spans_it(spec: LatentSpec, groups: int, frame: int):
    frames = spec.pixel_frames(groups + spec.causal)
    assert spec.latent_frames(frames) == groups + spec.causal
    frame %= frames
    heat = np.zeros((frames, spec.spatial, spec.spatial), np.float32)
    heat[frame] = 1
    latent = -(-frame // spec.temporal) if spec.causal else frame // spec.temporal
    assert pool_to_latent(heat, spec).flatten().nonzero().flatten().tolist() == [latent]
    alone = 1 if spec.causal and frame == 0 else spec.temporal
    assert pool_to_latent(heat, spec, "mean").sum().item() == pytest.approx(1 / alone)


@given(spec=specs, groups=st.integers(0, 3), seed=st.integers(0, 9))
@settings(max_examples=40)
def test_poolings_are_ordered_and_stay_within_the_heat(spec: LatentSpec, groups: int, seed: int):
    heat = heat_of((spec.pixel_frames(max(groups + spec.causal, 1)), 2 * spec.spatial, 3 * spec.spatial), seed)
    for time in ("max", "mean"):
        mean, power, most = (pool_to_latent(heat, spec, time, space) for space in ("mean", "pnorm", "max"))
        assert mean.shape == (spec.latent_frames(len(heat)), 2, 3)
        assert (mean <= power + 1e-5).all()
        assert (power <= most + 1e-5).all()
        assert most.max() <= heat.max()
    for space in ("mean", "max", "pnorm"):
        assert (pool_to_latent(heat, spec, "max", space) >= pool_to_latent(heat, spec, "mean", space) - 1e-6).all()


@given(spec=specs, groups=st.integers(1, 3), lead=st.integers(1, 3))
@settings(max_examples=20)
def test_copies_of_the_first_latent_frame_have_its_heat_and_span_no_pixels(spec: LatentSpec, groups: int, lead: int):
    led, frames = replace(spec, lead=lead), spec.pixel_frames(groups + spec.causal)
    assert led.latent_frames(frames) == lead + groups + spec.causal
    assert led.pixel_frames(led.latent_frames(frames)) == frames
    heat = heat_of((frames, spec.spatial, spec.spatial))
    pooled, plain = pool_to_latent(heat, led), pool_to_latent(heat, spec)
    assert torch.equal(pooled[lead:], plain)
    assert torch.equal(pooled[:lead], plain[:1].expand(lead, 1, 1))


def test_poolings_are_these_numbers():
    heat = np.array([[[0.1, 0.2], [0.3, 0.4]], [[0.0, 0.0], [0.8, 0.0]], [[0.4, 0.0], [0.0, 0.0]]], np.float32)
    spec = LatentSpec(channels=1, spatial=2, temporal=2, causal=True)
    cells = [np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.4, 0.0, 0.8, 0.0]), np.array([0.2, 0.0, 0.4, 0.0])]
    for time, (first, rest) in {"max": (cells[0], cells[1]), "mean": (cells[0], cells[2])}.items():
        for space, reduce in {
            "mean": np.mean,
            "max": np.max,
            "pnorm": lambda cell: np.mean(cell**4) ** 0.25,
        }.items():
            pooled = pool_to_latent(heat, spec, time, space)
            assert pooled.flatten().tolist() == pytest.approx([reduce(first), reduce(rest)])


def test_a_small_fast_object_keeps_its_weight_on_a_coarse_grid():
    """A disc of 8 pixels' radius, 12 pixels a frame, on LTX's grid: a mean over time would leave 5 %."""
    y, x = np.mgrid[:320, :512]
    heat = np.stack([np.hypot(x - 60 - 12 * k, y - 150) < 8 for k in range(33)]).astype(np.float32)
    ltx = LatentSpec(channels=128, spatial=32, temporal=8, causal=True, layout="tokens")
    touched = pool_to_latent(heat, ltx, "max", "max") > 0
    weight = {
        (t, s): pool_to_latent(heat, ltx, t, s)[touched].mean().item()
        for t in ("mean", "max")
        for s in ("mean", "pnorm")
    }
    assert weight["mean", "mean"] < 0.06
    assert weight["max", "mean"] > 0.25
    assert weight["max", "pnorm"] > 0.6


def test_arrays_and_tensors_pool_alike_to_float32():
    heat = heat_of((5, 16, 16))
    pooled = pool_to_latent(heat, WAN)
    assert pooled.dtype == torch.float32
    assert torch.equal(pooled, pool_to_latent(torch.from_numpy(heat).double(), WAN))
    assert pool_to_latent(heat.astype(np.float64), WAN).dtype == torch.float32


@pytest.mark.parametrize(
    ("spec", "frames", "says"),
    [
        (WAN, 80, r"80 frames do not fit the latent: lengths are 4 \* k \+ 1, such as 77 or 81"),
        (WAN, 0, "such as 1$"),
        (LatentSpec(4, 8, 4), 6, r"lengths are 4 \* k, such as 4 or 8"),
        (LatentSpec(4, 8, 4), 3, "such as 4$"),
        (LatentSpec(4, 8), 0, "such as 1$"),
    ],
)
def test_a_length_that_does_not_fit_says_which_do(spec: LatentSpec, frames: int, says: str):
    with pytest.raises(ShapeError, match=says):
        pool_to_latent(np.zeros((frames, 8, 8), np.float32), spec)


def test_a_size_or_rank_that_does_not_fit_is_named():
    with pytest.raises(ShapeError, match="20x16 do not fit the latent: sides are multiples of 8"):
        pool_to_latent(np.zeros((5, 20, 16), np.float32), WAN)
    with pytest.raises(ShapeError, match=r"\[1, 5, 16, 16\]"):
        pool_to_latent(np.zeros((1, 5, 16, 16), np.float32), WAN)


def test_unknown_poolings_are_named():
    heat = np.zeros((5, 8, 8), np.float32)
    with pytest.raises(ConfigError, match="'area'"):
        pool_to_latent(heat, WAN, "area")
    with pytest.raises(ConfigError, match="'area'"):
        pool_to_latent(heat, WAN, "max", "area")


def test_grid_of_the_bases():
    assert WAN.grid(81, 480, 832) == (21, 60, 104)
    assert LatentSpec(4, 8).grid(16, 320, 512) == (16, 40, 64)
    assert LatentSpec(128, 32, 8, causal=True, layout="tokens").grid(121, 512, 768) == (16, 16, 24)


@given(
    layout=st.sampled_from(LAYOUTS),
    batch=st.integers(1, 3),
    channels=st.sampled_from([1, 3, 16]),
    grid=st.tuples(*[st.integers(1, 4)] * 3),
)
@settings(max_examples=60)
def test_layouts_round_trip(layout, batch, channels, grid):
    spec = LatentSpec(16, 8, 4, causal=True, layout=layout)
    x = torch.arange(batch * channels * np.prod(grid)).float().reshape(batch, channels, *grid)
    packed = to_layout(x, spec)
    t, h, w = grid
    shapes = {
        "bcthw": (batch, channels, t, h, w),
        "btchw": (batch, t, channels, h, w),
        "bthwc": (batch, t, h, w, channels),
        "tokens": (batch, t * h * w, channels),
    }
    assert packed.shape == shapes[layout]
    assert torch.equal(from_layout(packed, spec, grid), x)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_weight_travels_with_its_latent(layout: str):
    """Weighting before or after the layout is the same: cell by cell, the weight meets its own latent."""
    spec = LatentSpec(5, 8, layout=layout)
    x, weight = torch.rand(2, 5, 3, 4, 2), torch.rand(2, 1, 3, 4, 2)
    assert torch.equal(to_layout(x, spec) * to_layout(weight, spec), to_layout(x * weight, spec))


def test_tokens_run_through_time_then_rows_then_columns():
    x = torch.arange(24).reshape(1, 1, 2, 3, 4)
    assert to_layout(x, LatentSpec(1, 8, layout="tokens")).flatten().tolist() == list(range(24))


def test_layouts_refuse_what_does_not_fit():
    tokens = LatentSpec(4, 8, layout="tokens")
    with pytest.raises(ShapeError, match=r"\[2, 4, 6\]"):
        to_layout(torch.zeros(2, 4, 6), tokens)
    with pytest.raises(ShapeError, match=r'\[2, 4, 2, 2, 2\] is not in the layout "tokens"'):
        from_layout(torch.zeros(2, 4, 2, 2, 2), tokens, (2, 2, 2))
    with pytest.raises(ShapeError, match=r"9 tokens do not make a grid \[2, 2, 2\]"):
        from_layout(torch.zeros(2, 9, 4), tokens, (2, 2, 2))
    with pytest.raises(ShapeError, match=r"do not have the grid \[2, 2, 2\]"):
        from_layout(torch.zeros(1, 2, 4, 2, 3), LatentSpec(4, 8, layout="btchw"), (2, 2, 2))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"layout": "bctwh"}, "layout is 'bctwh'; choose one of bcthw, btchw, bthwc, tokens"),
        ({"channels": 0}, "channels is 0"),
        ({"spatial": 0}, "spatial is 0"),
        ({"temporal": 0}, "temporal is 0; a latent's is 1 or more"),
        ({"lead": -1}, "lead is -1"),
    ],
)
def test_a_latent_that_cannot_be_is_refused(change, said):
    with pytest.raises(ConfigError, match=said):
        LatentSpec(**{"channels": 4, "spatial": 8} | change)
