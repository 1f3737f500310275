"""The heatmap against the true mask of the moving pixels, and what must hold for every flow."""

import warnings
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import roc_auc_score

from motionfocal.errors import ConfigError, ShapeError
from motionfocal.motion import (
    CameraFallbackWarning,
    HeatmapSettings,
    estimate_flow,
    heatmap_of,
    motion_heatmap,
    moving_share,
)
from motionfocal.motion.heatmap import sigma

from .textured import textured_clip

AT_REST = np.float32(1 / (1 + np.exp(5)))
# size: radius and velocity of the disc, speed of the camera, clips to take the mean over
SIZES = {
    (64, 64): (6, (1.5, 0.7), 1.5, 6),
    (128, 128): (10, (2, 1), 2, 3),
    (320, 512): (20, (4, 2), 3, 1),
}


def areas(size: tuple[int, int], estimator: str, camera: str) -> tuple[float, float]:
    """Area under the curve of the heat against the true mask, raw and compensated: means over short clips."""
    radius, velocity, speed, clips = SIZES[size]
    found = []
    for seed in range(clips):
        scene = {"radius": radius, "velocity": velocity, "camera": camera, "camera_speed": speed}
        clip = textured_clip(size, **scene, length=3, seed=seed)
        flow = estimate_flow(clip.frames, estimator)
        also = {"backward": estimate_flow(clip.frames, estimator, backward=True), "frames": clip.frames}
        heats = [motion_heatmap(flow, camera=mode, **also) for mode in ("raw", "compensated")]
        found.append([roc_auc_score(clip.masks.ravel(), heat.ravel()) for heat in heats])
    raw, compensated = np.mean(found, axis=0)
    return raw, compensated


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("estimator", "still", "pan"), [("dis", 0.99, 0.98), ("farneback", 0.97, 0.96)])
def test_heat_finds_the_moving_pixels(size: tuple[int, int], estimator: str, still: float, pan: float):
    assert min(areas(size, estimator, "still")) >= still
    assert areas(size, estimator, "zoom")[1] >= pan
    raw, compensated = areas(size, estimator, "pan")
    assert compensated >= pan
    assert raw < 0.8  # without compensation a pan lights everything


@pytest.mark.parametrize("estimator", ["dis", "farneback"])
def test_a_world_of_32_pixels_is_seen_too(estimator: str):
    """Discs five pixels wide; some have nearly the colours of their ground, so the mean over clips counts."""
    areas, recalls = [], []
    for seed in range(5):
        clip = textured_clip((32, 32), radius=2.5, velocity=(1.0, 0.4), seed=seed)
        heat = heatmap_of(clip.frames, HeatmapSettings(estimator=estimator))
        areas.append(roc_auc_score(clip.masks.ravel(), heat.ravel()))
        recalls.append((heat[clip.masks] > 0.5).mean())
    assert np.mean(areas) >= 0.95
    assert np.mean(recalls) >= 0.9


@pytest.mark.parametrize("estimator", ["dis", "farneback"])
@pytest.mark.parametrize("size", [(64, 64), (128, 128), (320, 512)])
@pytest.mark.parametrize("noise", [2.0, 4.0])
def test_a_still_clip_with_sensor_noise_stays_dark(estimator: str, size: tuple[int, int], noise: float):
    frames = textured_clip(size, radius=0, noise=noise, length=3).frames
    assert moving_share(heatmap_of(frames, HeatmapSettings(estimator=estimator))) <= 0.01
    bare = heatmap_of(frames, HeatmapSettings(estimator=estimator, scale="clip_max", floor=0.0))
    assert moving_share(bare) > 0.5  # what the floor and the robust scale are for


@pytest.mark.parametrize("estimator", ["dis", "farneback"])
@pytest.mark.parametrize("size", [(32, 32), (48, 48)])
def test_a_tiny_still_clip_with_sensor_noise_stays_dark(estimator: str, size: tuple[int, int]):
    clips = [textured_clip(size, radius=0, noise=2.0, length=8, seed=seed).frames for seed in range(4)]
    assert max(moving_share(heatmap_of(clip, HeatmapSettings(estimator=estimator))) for clip in clips) <= 0.01


@pytest.mark.parametrize("speed", [1.5, 10.0, 25.0])
def test_one_object_of_a_third_of_a_percent_is_lit_at_any_speed(speed: float):
    clip = textured_clip((320, 512), radius=12, velocity=(speed, 0.0), length=3)
    assert clip.masks.mean() < 0.003
    heat = heatmap_of(clip.frames, HeatmapSettings())
    assert (heat[clip.masks] > 0.5).mean() > 0.9
    assert moving_share(heat) < 0.02


def test_a_flat_ground_falls_back_and_loses_nothing():
    clip = textured_clip((128, 128), ground="flat", radius=12, velocity=(3, 1), length=3)
    with pytest.warns(CameraFallbackWarning, match=r"0-1, 1-2 \(only 0 of 8 stretches .* have texture"):
        compensated = heatmap_of(clip.frames, HeatmapSettings(camera="compensated"))
    assert np.array_equal(compensated, heatmap_of(clip.frames, HeatmapSettings()))
    assert roc_auc_score(clip.masks.ravel(), compensated.ravel()) > 0.97


def test_a_wild_patch_of_flow_does_not_darken_the_clip():
    flow = np.zeros((3, 100, 100, 2), np.float32)
    flow[:, 40:60, 40:60] = (2.0, 0.0)
    flow[1, 0, :30] = 60.0
    assert (motion_heatmap(flow)[:, 40:60, 40:60] > 0.5).all()
    assert not (motion_heatmap(flow, "clip_max")[:, 40:60, 40:60] > 0.5).any()


flows = arrays(np.float32, (3, 6, 5, 2), elements=st.floats(-40, 40, width=32))
scales = st.sampled_from(["robust", "clip_max", "diagonal", 3.0, 12])


@given(flow=flows, backward=st.none() | flows, scale=scales)
@settings(max_examples=50)
def test_heat_is_a_map_a_frame_between_rest_and_one(flow, backward, scale):
    heat = motion_heatmap(flow, scale, backward=backward)
    assert heat.shape == (4, 6, 5)
    assert heat.dtype == np.float32
    assert (heat >= AT_REST - 1e-7).all()
    assert (heat <= 1).all()
    assert 0 <= moving_share(heat) <= 1


@given(flow=flows, scale=scales)
@settings(max_examples=30)
def test_more_motion_is_never_less_heat(flow, scale):
    heat = motion_heatmap(flow, scale)
    motion = np.linalg.norm(flow, axis=-1)
    order = np.argsort(motion[0].ravel())
    assert (np.diff(heat[0].ravel()[order]) >= 0).all()  # frame 0 sees pair 0 alone


@given(flow=flows, floor=st.floats(0, 20))
@settings(max_examples=30)
def test_motion_below_the_floor_is_rest(flow, floor):
    heat = motion_heatmap(flow, 5.0, floor=floor)
    below = np.linalg.norm(flow[0], axis=-1) < floor
    assert np.allclose(heat[0][below], AT_REST, rtol=1e-5)
    assert np.allclose(heat[0][~below], sigma(np.linalg.norm(flow[0], axis=-1)[~below] / 5), atol=1e-6)


@given(flow=flows, factor=st.sampled_from([0.5, 2.0, 4.0]))
@settings(max_examples=30)
def test_a_scale_in_pixels_grows_with_the_picture(flow, factor):
    one = motion_heatmap(flow, 6.0, floor=1.0)
    assert np.allclose(one, motion_heatmap(flow * factor, 6.0 * factor, floor=factor), atol=1e-5)


@given(forward=flows, backward=flows)
@settings(max_examples=30)
def test_a_pair_lights_both_of_its_frames(forward, backward):
    heat = motion_heatmap(forward, 8.0, backward=backward, floor=0.0)
    to_next, from_last = (sigma(np.linalg.norm(flow, axis=-1) / 8) for flow in (forward, backward))
    assert np.allclose(heat[0], to_next[0], atol=1e-6)
    assert np.allclose(heat[1], np.maximum(to_next[1], from_last[0]), atol=1e-6)
    assert np.allclose(heat[3], from_last[2], atol=1e-6)


def test_without_a_backward_flow_the_forward_one_lights_the_later_frame():
    flow = np.zeros((4, 3, 3, 2), np.float32)
    flow[1, 1, 1] = (0.0, 9.0)
    lit = motion_heatmap(flow) > 0.5
    assert lit[:, 1, 1].tolist() == [False, True, True, False, False]
    assert lit.sum() == 2


@pytest.mark.parametrize("scale", ["robust", "clip_max", "diagonal", 10.0])
def test_a_clip_at_rest_has_the_heat_of_rest_everywhere(scale):
    frames = np.repeat(textured_clip((40, 40), length=1).frames, 4, axis=0)
    heat = heatmap_of(frames, HeatmapSettings(scale=scale))
    assert np.allclose(heat, 0.0067, atol=1e-4)
    assert moving_share(heat) == 0


def test_named_scales_are_these_many_pixels():
    flow = np.zeros((1, 30, 40, 2), np.float32)
    flow[0, :5] = (0.0, 2.0)
    flow[0, 0, 0] = (3.0, 4.0)

    def lit_as(scale: float) -> np.ndarray:
        return motion_heatmap(flow, scale)

    assert np.array_equal(motion_heatmap(flow, "clip_max"), lit_as(5.0))
    assert np.array_equal(motion_heatmap(flow, "diagonal"), lit_as(50.0))
    assert np.array_equal(motion_heatmap(flow, "robust"), lit_as(10.0))
    assert np.array_equal(motion_heatmap(flow * 100, "robust", floor=50.0), motion_heatmap(flow, 2.0))


@given(height=st.integers(1, 40), width=st.integers(1, 40), share=st.floats(0, 0.05), seed=st.integers(0, 99))
@settings(max_examples=100)
def test_the_robust_scale_is_the_99th_percentile_or_ten_pixels(height, width, share, seed):
    rng = np.random.default_rng(seed)
    flow = np.zeros((1, height, width, 2), np.float32)
    flow[..., 0] = np.where(rng.random((height, width)) < share, rng.uniform(9, 60, (height, width)), 3)
    pixels = max(np.percentile(flow.repeat(2, axis=0)[..., 0], 99), 10.0)  # a pair has two frames
    assert np.array_equal(motion_heatmap(flow, "robust"), motion_heatmap(flow, float(pixels)))


def test_midpoint_and_steepness_are_the_sigmoids():
    flow = np.zeros((1, 1, 2, 2), np.float32)
    flow[0, 0, 0, 0] = 3.0
    heat = motion_heatmap(flow, 10.0, midpoint=0.3, steepness=10.0)
    assert heat[0, 0] == pytest.approx([0.5, 1 / (1 + np.exp(3))], abs=1e-6)
    assert sigma(np.float32([0.0, 0.05, 0.1])) == pytest.approx([0.0066929, 0.5, 0.9933071], abs=1e-6)


def test_heatmap_of_is_flow_in_both_directions_with_the_settings_given():
    frames = textured_clip((48, 48), camera="pan", length=3).frames
    settings_ = HeatmapSettings(
        estimator="dis", scale="clip_max", camera="compensated", midpoint=0.2, steepness=20.0, floor=1.0
    )
    forward, backward = estimate_flow(frames, "dis"), estimate_flow(frames, "dis", backward=True)
    by_hand = motion_heatmap(
        forward,
        "clip_max",
        "compensated",
        backward=backward,
        frames=frames,
        midpoint=0.2,
        steepness=20.0,
        floor=1.0,
    )
    assert np.array_equal(heatmap_of(frames, settings_), by_hand)
    assert not np.array_equal(heatmap_of(frames, HeatmapSettings(estimator="dis")), by_hand)


@pytest.mark.parametrize("source", ["flow", "difference", "truth"])
def test_a_reach_of_the_clip_lights_in_all_frames_what_moves_in_any(source):
    clip = textured_clip(velocity=(3.0, 1.0), seed=3)
    by_frame = heatmap_of(clip.frames, HeatmapSettings(source=source), clip.masks)
    by_clip = heatmap_of(clip.frames, HeatmapSettings(source=source, reach="clip"), clip.masks)
    np.testing.assert_array_equal(by_clip, np.broadcast_to(by_frame.max(axis=0), by_frame.shape))
    assert moving_share(by_clip) > 1.5 * moving_share(by_frame)


def test_heatmaps_of_networks_alone_are_made_anew():
    """Since their frames are reduced, as those of the other estimators were before."""
    assert HeatmapSettings(estimator="raft_small").version == 3
    others = [HeatmapSettings(), HeatmapSettings(estimator="dis"), HeatmapSettings(source="difference")]
    assert [settings.version for settings in others] == [2, 2, 2]


def test_errors_name_what_is_wrong():
    flow = np.zeros((2, 4, 4, 2), np.float32)
    with pytest.raises(ShapeError, match=r"\[2, 4, 4\]"):
        motion_heatmap(flow[..., 0])
    with pytest.raises(ShapeError, match=r"\[1, 4, 4, 2\] does not fit forward flow \[2, 4, 4, 2\]"):
        motion_heatmap(flow, backward=flow[:1])
    with pytest.raises(ConfigError, match="'frame'"):
        motion_heatmap(flow, "frame")
    with pytest.raises(ConfigError, match="above 0, got 0"):
        motion_heatmap(flow, 0)
    with pytest.raises(ConfigError, match="'still'"):
        motion_heatmap(flow, camera="still")


@pytest.mark.parametrize("model", ["motif", "dynamicrafter", "cinemo", "cogvideox"])
def test_real_clips_move_in_part(ti2v_bench: Path, model: str):
    path = sorted((ti2v_bench / "videos" / model).glob("*.mp4"))[3]
    with av.open(path) as container:
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])[:3]
    heat = heatmap_of(frames, HeatmapSettings())
    assert 0 < moving_share(heat) < 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CameraFallbackWarning)
        assert 0 < moving_share(heatmap_of(frames, HeatmapSettings(camera="compensated"))) < 1
