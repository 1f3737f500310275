"""VBench-I2V's dimensions and AnimateBench's scores, against the formulas computed plainly from whole clips."""

import pickle
from itertools import pairwise

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import nn
from torchvision.models.optical_flow import raft_small

from motionfocal.errors import ConfigError, ManifestError, ShapeError, UnavailableError
from motionfocal.metrics.animatebench import Alignment, AnimateBenchSettings, animatebench
from motionfocal.metrics.backbones import BackboneSettings, motion, recipes
from motionfocal.metrics.dynamics import moves, strongest_flow
from motionfocal.metrics.vbench import DIMENSIONS, VBenchSettings, vbench_i2v, vbench_totals
from motionfocal.metrics.vbench_images import FrameMetric, MeanScore, PictureMetric, conformity, consistency
from motionfocal.metrics.vbench_motion import (
    CameraMotion,
    DynamicDegree,
    MotionSmoothness,
    camera_motions,
    wanted_motion,
)

from .tiny_backbones import TEXTS, backbone_of, moving, sample_of, tiny_clip, tiny_dino, watched

FEATURES = arrays(np.float64, st.tuples(st.integers(2, 6), st.just(4)), elements=st.floats(-3, 3)).filter(
    lambda rows: (np.linalg.norm(rows, axis=1) > 0.1).all()
)


def cosine(a, b):
    return max(0.0, F.cosine_similarity(torch.as_tensor(a)[None], torch.as_tensor(b)[None]).item())


@settings(max_examples=50)
@given(FEATURES)
def test_consistency_frame_by_frame(rows):
    total = 0.0
    for t in range(1, len(rows)):
        total += (cosine(rows[t - 1], rows[t]) + cosine(rows[0], rows[t])) / 2
    assert consistency(torch.from_numpy(rows)) == pytest.approx(total / (len(rows) - 1), abs=1e-9)


@settings(max_examples=50)
@given(FEATURES)
def test_conformity_frame_by_frame(rows):
    picture, frames = rows[0], rows
    near = [cosine(picture, frame) for frame in frames]
    steps = [cosine(a, b) for a, b in pairwise(frames)]
    expected = 0.4 * np.max(near) + 0.3 * np.mean(steps) + 0.3 * np.min(steps)
    assert conformity(torch.from_numpy(frames), torch.from_numpy(picture)) == pytest.approx(expected, abs=1e-9)


def test_one_frame_has_neither():
    assert consistency(torch.ones(1, 3)) is None
    assert conformity(torch.ones(1, 3), torch.ones(3)) is None


@pytest.mark.parametrize("batch", [1, 3, 8])
def test_streaming_equals_the_whole_clip(tmp_path, rng, batch):
    clip = moving(rng)
    sample = sample_of(tmp_path, clip[0])
    for network, recipe in ((tiny_dino(), recipes.SUBJECT), (tiny_clip(), recipes.CLIP_FRAME)):
        metric = FrameMetric("d", "d", backbone_of(network, batch=batch), recipe, consistency)
        with torch.no_grad():
            whole = network.eval()(torch.stack([recipe(rgb) for rgb in clip]))
        assert watched(metric, sample, clip)["d"] == pytest.approx(consistency(whole), abs=1e-5)


def test_scores_are_means_on_the_scale_of_one(tmp_path, rng):
    clip = moving(rng, height=30, width=600)
    network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 1))
    metric = FrameMetric("imaging_quality", "", backbone_of(network), recipes.MUSIQ, MeanScore(100))
    with torch.no_grad():
        scores = [network(recipes.MUSIQ(rgb)[None]).item() for rgb in clip]
    value = watched(metric, sample_of(tmp_path, clip[0]), clip)["imaging_quality"]
    assert value == pytest.approx(np.mean(scores) / 100, abs=1e-7)


def test_a_still_clip_of_the_picture_conforms_with_it(tmp_path, rng):
    picture = cv2.GaussianBlur(rng.integers(0, 256, (300, 400, 3), np.uint8), (0, 0), 5)
    frames, of_picture = recipes.i2v_subject(antialias=True)
    metric = PictureMetric("i2v_subject", "", backbone_of(tiny_dino()), frames, of_picture)
    sample = sample_of(tmp_path, picture)
    still = watched(metric, sample, np.stack([picture] * 3))["i2v_subject"]
    assert 0.98 < still <= 1
    other = watched(metric, sample, 255 - np.stack([picture] * 3))["i2v_subject"]
    assert other < still


def test_the_picture_is_cut_to_the_clips_shape(tmp_path, rng):
    """A picture wider than the clip: its sides do not count."""
    middle = rng.integers(0, 256, (100, 100, 3), np.uint8)
    picture = np.concatenate([np.zeros_like(middle), middle, np.zeros_like(middle)], axis=1)
    frames, of_picture = recipes.i2v_background(antialias=True)
    network = nn.Flatten()
    metric = PictureMetric("i2v_background", "", backbone_of(network), frames, of_picture)
    value = watched(metric, sample_of(tmp_path, picture), np.stack([middle] * 2))["i2v_background"]
    assert value == pytest.approx(1, abs=1e-3)


# Totals.

A3 = {
    "static": (100, 100, 99.84, 0, 65.54, 71.61, 98.77, 97.24, 14.29),
    "DynamiCrafter": (94.70, 97.55, 97.39, 39.51, 60.40, 68.16, 96.89, 96.68, 30.88),
    "Cinemo": (96.80, 99.04, 98.95, 17.32, 59.92, 64.37, 97.43, 98.14, 15.83),
    "MotiF": (95.27, 98.37, 98.16, 30.98, 58.70, 66.95, 96.89, 97.00, 24.35),
}
ORDER = [name for name in DIMENSIONS if name != "temporal_flickering"]


@pytest.mark.parametrize(
    ("row", "quality", "i2v", "total"),
    [
        ("static", 79.54, 93.45, 86.50),
        ("DynamiCrafter", 78.31, 92.83, 85.57),
        ("Cinemo", 77.30, 93.36, 85.33),
        ("MotiF", 77.81, 92.73, 85.27),
    ],
)
def test_totals_of_the_papers_table(row, quality, i2v, total):
    totals = vbench_totals({name: value / 100 for name, value in zip(ORDER, A3[row], strict=True)})
    assert (round(totals.quality, 2), round(totals.i2v, 2), round(totals.total, 2)) == (quality, i2v, total)


def test_totals_refuse_what_is_missing_or_in_percent():
    values = dict.fromkeys(ORDER, 0.5)
    with pytest.raises(ConfigError, match="no camera_motion"):
        vbench_totals({name: value for name, value in values.items() if name != "camera_motion"})
    with pytest.raises(ConfigError, match="i2v_subject is 97"):
        vbench_totals(values | {"i2v_subject": 97.0})


# Dynamic degree.


class ConstantFlow(nn.Module):
    """Flow of so many pixels to the right in the upper tenth of the picture, none below."""

    def __init__(self, pixels):
        super().__init__()
        self.pixels = pixels

    def forward(self, a, b):
        flow = torch.zeros(len(a), 2, *a.shape[-2:])
        flow[:, 0, : a.shape[-2] // 10] = self.pixels
        return flow


@pytest.mark.parametrize(("pixels", "expected"), [(3.1, 1.0), (2.9, 0.0)])
def test_a_clip_moves_above_six_pixels_in_256(tmp_path, rng, pixels, expected):
    clip = moving(rng, frames=6, height=128, width=160)
    metric = DynamicDegree(backbone_of(ConstantFlow(pixels)))
    sample = sample_of(tmp_path, clip[0])
    assert watched(metric, sample, clip) == {"dynamic_degree": expected}
    assert watched(metric, sample, clip[:2]) == {"dynamic_degree": None}
    at_24 = sample_of(tmp_path, clip[0], fps=24.0)
    assert watched(metric, at_24, clip) == {"dynamic_degree": None}  # frames 0 and 3
    slow = sample_of(tmp_path, clip[0], fps=2.0)
    assert watched(metric, slow, clip) == {"dynamic_degree": expected}


@settings(max_examples=50)
@given(st.lists(st.floats(0, 20), min_size=2, max_size=30), st.integers(128, 1080))
def test_moves_counts_as_vbench_does(strengths, side):
    count_num, count, verdict = round(4 * ((len(strengths) + 1) / 16.0)), 0, False
    for strength in strengths:
        if strength > 6.0 * (side / 256.0):
            count += 1
        if count >= count_num:
            verdict = True
            break
    assert moves(strengths, side) == verdict


@settings(max_examples=20)
@given(st.integers(0, 1000), st.integers(8, 40), st.integers(8, 40))
def test_strongest_flow_is_the_mean_of_the_top_twentieth(seed, height, width):
    flow = np.random.default_rng(seed).standard_normal((2, height, width)).astype(np.float32)
    magnitudes = np.sort(np.hypot(flow[0], flow[1]).ravel())[::-1]
    expected = magnitudes[: int(height * width * 0.05)].mean()
    assert strongest_flow(np.hypot(flow[0], flow[1])) == pytest.approx(expected, rel=1e-5)


def test_the_real_network_runs_and_small_frames_are_refused(tmp_path, rng):
    torch.manual_seed(0)
    metric = DynamicDegree(backbone_of(motion.RaftFlow(raft_small(weights=None))))
    clip = moving(rng, frames=3, height=130, width=132)
    assert watched(metric, sample_of(tmp_path, clip[0]), clip)["dynamic_degree"] in (0.0, 1.0)
    with pytest.raises(ShapeError, match=r"\(40, 56\) are too small for RAFT"):
        watched(metric, sample_of(tmp_path, clip[0]), moving(rng))


# Motion smoothness.


class Average(nn.Module):
    """Stands in for AMT: the mean of its neighbours."""

    def forward(self, a, b, embt, scale_factor, eval):  # noqa: A002 - AMT's name
        return {"imgt_pred": (a + b) * embt}


@pytest.mark.parametrize("frames", [3, 4, 5, 8])
def test_smoothness_of_whole_clips(tmp_path, rng, frames):
    clip = moving(rng, frames=frames)
    even = [torch.from_numpy(rgb).permute(2, 0, 1)[None] / 255.0 for rgb in clip[::2]]
    errors = []
    for before, after, between in zip(even, even[1:], clip[1::2], strict=False):
        middle = ((before + after) * 0.5 * 255.0).squeeze(0).permute(1, 2, 0).numpy().clip(0, 255).astype(np.uint8)
        errors.append(np.mean(cv2.absdiff(between, middle)))
    metric = MotionSmoothness(backbone_of(motion.MiddleFrame(Average()), batch=1))
    value = watched(metric, sample_of(tmp_path, clip[0]), clip)["motion_smoothness"]
    assert value == pytest.approx((255.0 - np.mean(errors)) / 255.0, abs=1e-9)


def test_two_frames_have_no_smoothness(tmp_path, rng):
    clip = moving(rng, frames=2)
    metric = MotionSmoothness(backbone_of(motion.MiddleFrame(Average())))
    assert watched(metric, sample_of(tmp_path, clip[0]), clip) == {"motion_smoothness": None}


# Camera motion.

GRID = np.stack(np.meshgrid(np.linspace(8, 312, 10), np.linspace(8, 312, 10)), axis=-1).astype(int)
CENTRE = GRID - 160


@pytest.mark.parametrize(
    ("moved", "motions"),
    [
        (CENTRE * 0, {"static"}),
        (np.full_like(GRID, [9, 0]), {"pan_left"}),
        (np.full_like(GRID, [-9, 0]), {"pan_right"}),
        (np.full_like(GRID, [0, 9]), {"tilt_up"}),
        (np.full_like(GRID, [0, -9]), {"tilt_down"}),
        (np.full_like(GRID, [9, -9]), {"pan_left", "tilt_down"}),
        (CENTRE // 10, {"zoom_in"}),
        (-(CENTRE // 10), {"zoom_out"}),
        (np.full_like(GRID, [1, 0]), {"static"}),  # 0.005 of 320 is 1.6 pixels
        (np.full_like(GRID, [2, 0]), {"pan_left"}),
    ],
)
def test_camera_rules(moved, motions):
    assert camera_motions(GRID.reshape(100, 2), (GRID + moved).reshape(100, 2), 320) == motions


def test_points_that_disagree_show_nothing():
    moved = np.zeros_like(GRID)
    moved[0, 5], moved[5, 0] = (9, 0), (0, 9)
    assert camera_motions(GRID.reshape(100, 2), (GRID + moved).reshape(100, 2), 320) == set()


def test_one_still_pair_is_no_still_camera():
    moved = np.zeros_like(GRID)
    moved[0, 5] = (9, 0)  # the top alone
    assert camera_motions(GRID.reshape(100, 2), (GRID + moved).reshape(100, 2), 320) == set()


class Tracker(nn.Module):
    """Has CoTracker's signature: a grid in its own coordinates that moves by so many pixels a frame."""

    interp_shape = (38, 51)

    def __init__(self, step):
        super().__init__()
        self.step = torch.tensor(step)

    def forward(self, video, grid_size):
        assert video.shape[2:] == (3, *self.interp_shape) and grid_size == 10
        rows, columns = torch.meshgrid(torch.linspace(1, 36, 10), torch.linspace(1, 49, 10), indexing="ij")
        grid = torch.stack([columns, rows], -1).reshape(1, 1, 100, 2)
        time = torch.arange(video.shape[1]).reshape(1, -1, 1, 1)
        return grid + time * self.step, None


def test_camera_motion_reads_the_text_and_scales_the_tracks(tmp_path, rng):
    clip = moving(rng, frames=4, height=371, width=501)
    metric = CameraMotion(backbone_of(motion.GridTracks(Tracker([0.08, 0.0]))))  # 0.24 of 51 is 2.4 of 501 pixels
    left = sample_of(tmp_path, clip[0])
    assert watched(metric, left, clip) == {"camera_motion": 1.0}
    right = sample_of(tmp_path, clip[0], text="a dog runs, camera pans right")
    assert watched(metric, right, clip) == {"camera_motion": 0.0}
    none = sample_of(tmp_path, clip[0], text="a dog runs")
    assert watched(metric, none, clip) == {"camera_motion": None}
    assert watched(metric, left, clip[:1]) == {"camera_motion": None}


def test_the_tracker_sees_what_it_would_make_of_the_clip_itself(tmp_path, rng):
    """CoTracker interpolates with aligned corners; done frame by frame it is the same, and its own is then none."""
    clip = moving(rng, frames=3, height=64, width=80)
    video = torch.from_numpy(clip).permute(0, 3, 1, 2).float()
    whole = F.interpolate(video, (38, 51), mode="bilinear", align_corners=True)
    seen = []
    tracker = Tracker([0.0, 0.0])
    tracker.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    watched(CameraMotion(backbone_of(motion.GridTracks(tracker))), sample_of(tmp_path, clip[0]), clip)
    torch.testing.assert_close(seen[0][0], whole)
    torch.testing.assert_close(F.interpolate(whole, (38, 51), mode="bilinear", align_corners=True), whole)


def test_wanted_motion():
    assert wanted_motion("a lake, camera zooms out") == "zoom_out"
    assert wanted_motion("a lake, camera static") == "static"
    assert wanted_motion("a camera on a table") is None


# The lists of metrics.


def test_ten_dimensions_in_order_none_loaded(tmp_path):
    given = VBenchSettings(backbones=BackboneSettings(folder=tmp_path, offline=True))
    metrics = vbench_i2v(given)
    assert [metric.name for metric in metrics] == list(DIMENSIONS) and len(metrics) == 10
    assert [metric.name for metric in metrics if metric.reads_text] == ["camera_motion"]
    for metric in metrics:
        assert [output.name for output in metric.outputs] == [metric.name]
        if metric.name != "temporal_flickering":
            with pytest.raises(UnavailableError, match=str(tmp_path)):
                _ = metric.settings
    assert [m.name for m in vbench_i2v(VBenchSettings(dimensions=("i2v_subject",)))] == ["i2v_subject"]


def test_metrics_go_to_worker_processes():
    for metric in [*vbench_i2v(), *animatebench()]:
        assert pickle.loads(pickle.dumps(metric)).name == metric.name


def test_antialiasing_is_part_of_the_settings():
    found = set()
    for choice in (False, True):
        (metric,) = vbench_i2v(VBenchSettings(dimensions=("i2v_subject",), i2v_antialias=choice))
        found.add(metric.frames.antialias)
    assert found == {False, True}


# AnimateBench.


def test_alignments_are_mean_cosines(tmp_path, rng):
    clip = moving(rng)
    network = tiny_clip().eval()
    sample = sample_of(tmp_path, clip[0])
    values = watched(Alignment(backbone_of(network)), sample, clip)
    with torch.no_grad():
        rows = network(torch.stack([recipes.CLIP_PICTURE(rgb) for rgb in clip]))
        text = network.texts([TEXTS[0]])
    assert values["text_alignment"] == pytest.approx(F.cosine_similarity(rows, text).mean().item(), abs=1e-5)
    assert values["image_alignment"] == pytest.approx(F.cosine_similarity(rows, rows[:1]).mean().item(), abs=1e-5)
    still = watched(Alignment(backbone_of(network)), sample, clip[:1])
    assert still["image_alignment"] == pytest.approx(1, abs=1e-6)
    scaled = watched(Alignment(backbone_of(network), "shifted"), sample, clip)
    assert scaled["text_alignment"] == pytest.approx((1 + values["text_alignment"]) / 2, abs=1e-6)


def test_animatebench_refuses_a_text_that_clip_would_cut(tmp_path, rng):
    clip = moving(rng)
    with pytest.raises(ManifestError, match="tokens"):
        Alignment(backbone_of(tiny_clip())).begin(sample_of(tmp_path, clip[0], text="dog " * 90))
    (metric,) = animatebench(AnimateBenchSettings(clip="ViT-B-32"))
    assert metric.backbone.name == "clip-ViT-B-32-openai" and metric.reads_text
