"""The camera's motion is found and taken off; where an object may pass for it, the flow stays and says so."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motionfocal.errors import ShapeError
from motionfocal.motion import CameraFallbackWarning, compensate_camera, estimate_flow, motion_heatmap

from .textured import textured_clip

IDENTITY = np.eye(2, 3)


def affine_field(affine: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    y, x = np.mgrid[: size[0], : size[1]]
    return (np.stack([x, y, np.ones_like(x)], axis=-1) @ affine.T - np.stack([x, y], axis=-1)).astype(np.float32)


small = st.floats(-0.02, 0.02)
shift = st.floats(-6, 6)


@given(a=small, b=small, c=shift, d=small, e=small, f=shift, seed=st.integers(0, 99))
@settings(max_examples=25)
def test_an_affine_camera_is_found_through_noise_and_an_object(a, b, c, d, e, f, seed):
    affine = IDENTITY + np.array([[a, b, c], [d, e, f]])
    flow = affine_field(affine, (60, 90)) + np.random.default_rng(seed).normal(0, 0.05, (60, 90, 2)).astype(np.float32)
    flow[20:40, 30:50] += 5
    motion = compensate_camera(flow[None])
    assert motion.compensated.all()
    assert motion.reasons == ("",)
    object_ = np.zeros((60, 90), bool)
    object_[20:40, 30:50] = True
    assert np.linalg.norm(motion.residual[0], axis=-1)[~object_].mean() < 0.25
    np.testing.assert_allclose(motion.residual[0][object_].mean(0), 5, atol=0.5)
    assert 0.8 < motion.inlier_ratio[0] <= 1


@pytest.mark.parametrize("camera", ["pan", "zoom"])
@pytest.mark.parametrize("estimator", ["farneback", "dis"])
def test_the_fit_is_the_camera_that_made_the_clip(camera: str, estimator: str):
    clip = textured_clip((96, 128), camera=camera, camera_speed=2.0, length=3)
    motion = compensate_camera(estimate_flow(clip.frames, estimator), clip.frames)
    assert motion.compensated.all()
    for pair in range(2):
        before, after = (np.vstack([clip.cameras[pair + k], [0, 0, 1]]) for k in (0, 1))
        truth = (after @ np.linalg.inv(before))[:2]
        error = affine_field(motion.affine[pair], (96, 128)) - affine_field(truth, (96, 128))
        assert np.linalg.norm(error, axis=-1).max() < 0.6


def test_a_camera_at_rest_changes_nothing_to_speak_of():
    clip = textured_clip((64, 64), length=3)
    flow = estimate_flow(clip.frames)
    motion = compensate_camera(flow, clip.frames)
    assert motion.compensated.all()
    assert np.abs(motion.residual - flow).max() < 0.2


def test_the_same_flow_always_gives_the_same_fit():
    clip = textured_clip((64, 64), camera="pan", length=3)
    flow = estimate_flow(clip.frames)
    first, second = compensate_camera(flow, clip.frames), compensate_camera(flow, clip.frames)
    assert np.array_equal(first.affine, second.affine)
    assert np.array_equal(first.residual, second.residual)


@pytest.mark.parametrize("estimator", ["farneback", "dis"])
def test_on_a_flat_ground_the_object_is_not_taken_for_the_camera(estimator: str):
    clip = textured_clip((128, 128), ground="flat", radius=20, velocity=(4, 2), length=3)
    flow = estimate_flow(clip.frames, estimator)
    motion = compensate_camera(flow, clip.frames)
    assert not motion.compensated.any()
    assert np.array_equal(motion.residual, flow)
    assert (motion.affine == IDENTITY).all()
    assert all("texture" in reason for reason in motion.reasons)


def test_a_picture_without_any_texture_is_refused():
    motion = compensate_camera(np.zeros((1, 40, 40, 2), np.float32), np.full((2, 40, 40, 3), 90, np.uint8))
    assert motion.reasons == ("the picture has too little texture to see the camera by",)
    assert motion.inlier_ratio == [0.0]


def test_a_large_object_in_the_middle_is_not_the_camera():
    """It holds most of the samples, but the border stands still."""
    flow = np.zeros((1, 80, 80, 2), np.float32)
    flow[0, 8:72, 8:72] = (6.0, 0.0)
    motion = compensate_camera(flow)
    assert motion.inlier_ratio[0] > 0.5
    assert not motion.compensated[0]
    assert "of 8 stretches of the border follow" in motion.reasons[0]
    assert np.array_equal(motion.residual, flow)


def test_flow_without_a_common_motion_is_refused(rng: np.random.Generator):
    motion = compensate_camera(rng.normal(0, 20, (1, 80, 80, 2)).astype(np.float32))
    assert motion.reasons[0].endswith("of the samples follow one motion")


def test_points_that_allow_no_affine_motion_are_refused():
    """Everything ends in places that no three samples agree on: OpenCV finds nothing at all."""
    motion = compensate_camera(np.full((1, 40, 40, 2), np.nan, np.float32))
    assert not motion.compensated[0]


def test_a_plain_sky_is_not_lit_by_a_pan():
    """Flow cannot see a plain sky move; taking the camera off must not make it move the other way."""
    clip = textured_clip((96, 128), ground="horizon", camera="pan", camera_speed=3, velocity=(3, 2), length=3)
    flow = estimate_flow(clip.frames)
    motion = compensate_camera(flow, clip.frames)
    assert motion.compensated.all()
    sky = np.linalg.norm(motion.residual[:, :20, 8:-8], axis=-1)
    assert (sky < 0.5).mean() > 0.95
    bare = flow[0] - affine_field(motion.affine[0], (96, 128))
    assert (np.linalg.norm(bare[:20, 8:-8], axis=-1) > 1.5).mean() > 0.9


@given(speed=st.floats(0, 4), seed=st.integers(0, 9))
@settings(max_examples=10)
def test_a_plain_place_never_gains_motion(speed: float, seed: int):
    clip = textured_clip((48, 64), ground="horizon", camera="pan", camera_speed=speed, length=2, seed=seed)
    flow = estimate_flow(clip.frames)
    residual = compensate_camera(flow, clip.frames).residual
    assert (np.linalg.norm(residual, axis=-1) <= np.linalg.norm(flow, axis=-1) + 1e-5)[:, :10].all()


@pytest.mark.parametrize("shape", [(4, 32, 30, 3), (5, 32, 32, 3), (2, 32, 32, 3)])
def test_frames_of_another_clip_are_refused(shape: tuple[int, ...]):
    with pytest.raises(ShapeError, match="do not fit a flow"):
        compensate_camera(np.zeros((3, 32, 32, 2), np.float32), np.zeros(shape, np.uint8))


def test_the_heatmap_says_which_pairs_kept_their_camera_and_why():
    clip = textured_clip((64, 64), camera="pan", length=4)
    flow = estimate_flow(clip.frames)
    flow[1] = np.random.default_rng(0).normal(0, 20, flow[1].shape)
    with pytest.warns(CameraFallbackWarning, match=r"frames 1-2 \(only .* follow one motion\)$") as caught:
        heat = motion_heatmap(flow, 0.5 / 0.05, "compensated", frames=clip.frames)
    assert caught[0].filename == __file__
    assert (heat[0] > 0.5).mean() < 0.3
    assert (heat[1:3] > 0.5).mean() > 0.9


def test_a_pair_that_falls_back_in_one_direction_stays_raw_in_both():
    clip = textured_clip((64, 64), camera="pan", length=3)
    forward = estimate_flow(clip.frames)
    backward = estimate_flow(clip.frames, backward=True)
    backward[0] = np.random.default_rng(0).normal(0, 20, backward[0].shape)
    with pytest.warns(CameraFallbackWarning, match="frames 0-1 "):
        heat = motion_heatmap(forward, 10.0, "compensated", backward=backward, frames=clip.frames)
    assert (heat[0] > 0.5).mean() > 0.9  # the forward flow of pair 0-1 was fitted, and is raw all the same
    assert (heat[2] > 0.5).mean() < 0.3
