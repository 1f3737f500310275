"""The Fréchet distance against scipy's matrix root and closed forms; features of a TorchScript network."""

from dataclasses import asdict

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torchvision.transforms import CenterCrop
from typer.testing import CliRunner

from motionfocal.cli import app
from motionfocal.errors import ConfigError, ManifestError, MediaError, ShapeError, UnavailableError
from motionfocal.generation.gallery import INDEX, Gallery, GalleryRow
from motionfocal.jsonl import append_jsonl
from motionfocal.metrics.backbones import BackboneSettings
from motionfocal.metrics.distance import distances
from motionfocal.metrics.frame import Frame
from motionfocal.metrics.fvd import frechet_distance, fvd, i3d_features
from motionfocal.video import write_clip

from .tiny_backbones import moving, sample_of

SEEDS = st.integers(0, 2**32 - 1)
SIZES = st.integers(1, 8)


def gaussian(rng, size, rank=None):
    root = rng.standard_normal((size, rank or size + 3))
    return rng.standard_normal(size), root @ root.T


@settings(max_examples=40)
@given(SEEDS, SIZES)
def test_it_is_the_textbook_formula(seed, size):
    rng = np.random.default_rng(seed)
    (mean_a, cov_a), (mean_b, cov_b) = gaussian(rng, size), gaussian(rng, size)
    root = scipy.linalg.sqrtm(cov_a @ cov_b)
    expected = np.sum((mean_a - mean_b) ** 2) + np.trace(cov_a + cov_b - 2 * root.real)
    assert frechet_distance(mean_a, cov_a, mean_b, cov_b) == pytest.approx(expected, rel=1e-6, abs=1e-7)


@settings(max_examples=40)
@given(SEEDS, SIZES, st.floats(0.1, 10))
def test_closed_forms(seed, size, scale):
    rng = np.random.default_rng(seed)
    mean, cov = gaussian(rng, size)
    assert frechet_distance(mean, cov, mean, cov) == pytest.approx(0, abs=1e-8 * np.trace(cov))
    # N(m, S) and N(m + d, k² S): |d|² + (k - 1)² Tr S
    shift = rng.standard_normal(size)
    expected = shift @ shift + (scale - 1) ** 2 * np.trace(cov)
    assert frechet_distance(mean, cov, mean + shift, scale**2 * cov) == pytest.approx(expected, rel=1e-7, abs=1e-7)
    # variances along the same axes: sum of squared differences of deviations
    a, b = rng.uniform(0, 2, (2, size))
    expected = np.sum((a - b) ** 2)
    got = frechet_distance(mean, np.diag(a**2), mean, np.diag(b**2))
    assert got == pytest.approx(expected, rel=1e-7, abs=1e-9)


@settings(max_examples=25)
@given(SEEDS, st.integers(3, 8))
def test_it_is_symmetric_turns_with_the_axes_and_stands_singular_covariances(seed, size):
    rng = np.random.default_rng(seed)
    (mean_a, cov_a), (mean_b, cov_b) = gaussian(rng, size, rank=1), gaussian(rng, size, rank=2)
    value = frechet_distance(mean_a, cov_a, mean_b, cov_b)
    assert np.isfinite(value) and value >= 0
    assert frechet_distance(mean_b, cov_b, mean_a, cov_a) == pytest.approx(value, rel=1e-6)
    turn, _ = np.linalg.qr(rng.standard_normal((size, size)))
    turned = frechet_distance(turn @ mean_a, turn @ cov_a @ turn.T, turn @ mean_b, turn @ cov_b @ turn.T)
    assert turned == pytest.approx(value, rel=1e-5, abs=1e-6)


def test_bad_gaussians_are_refused():
    mean, cov = np.zeros(2), np.eye(2)
    with pytest.raises(ShapeError, match=r"\[2\], \[2, 2\], \[3\], \[3, 3\]"):
        frechet_distance(mean, cov, np.zeros(3), np.eye(3))
    with pytest.raises(ConfigError, match="not symmetric"):
        frechet_distance(mean, np.array([[1, 0.5], [0, 1]]), mean, cov)
    with pytest.raises(ConfigError, match="eigenvalue -1"):
        frechet_distance(mean, cov, mean, np.diag([1.0, -1.0]))
    with pytest.raises(ConfigError, match="finite"):
        frechet_distance(mean, cov, mean, np.diag([1.0, np.nan]))


def test_fvd_fits_gaussians_with_n_less_one(rng):
    a, b = rng.standard_normal((20, 5)), rng.standard_normal((30, 5)) * 2 + 1
    centred = [x - x.mean(axis=0) for x in (a, b)]
    covs = [x.T @ x / (len(x) - 1) for x in centred]
    assert fvd(a, b) == pytest.approx(frechet_distance(a.mean(0), covs[0], b.mean(0), covs[1]))
    assert fvd(a, a[::-1]) == pytest.approx(0, abs=1e-9)


def test_fvd_takes_no_set_that_is_too_small(rng):
    a, b = rng.standard_normal((6, 5)), rng.standard_normal((5, 5))
    with pytest.raises(ConfigError, match=r"a set of 5 clips, but 6 are needed.*least=5"):
        fvd(a, b)
    assert fvd(a, b, least=5) > 0
    with pytest.raises(ConfigError, match="2 clips"):
        fvd(a, b, least=1)
    with pytest.raises(ShapeError, match=r"\[6, 5\] and \[6, 4\]"):
        fvd(a, a[:, :4])


def test_small_sets_are_further_apart_so_sizes_must_agree(rng):
    """Of two sets of one distribution: the smaller, the larger the distance. Why the size is part of a result."""
    distances = [np.mean([fvd(*rng.standard_normal((2, n, 10)), least=5) for _ in range(20)]) for n in (20, 80, 320)]
    assert distances[0] > 2 * distances[1] > 4 * distances[2]


class Script(nn.Module):
    """Has I3D's signature: the mean and the largest value of its input in time and space."""

    def forward(self, x: torch.Tensor, rescale: bool, resize: bool, return_features: bool) -> torch.Tensor:
        assert not rescale and not resize and return_features
        return torch.cat([x.mean(dim=(2, 3, 4)), x.amax(dim=(2, 3, 4))], dim=1)


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "i3d_model/i3d_torchscript.pt"
    path.parent.mkdir()
    torch.jit.script(Script()).save(str(path))
    return BackboneSettings(folder=tmp_path, device="cpu")


def seen(extractor, sample, clip):
    observer = extractor.begin(sample)
    for index, rgb in enumerate(clip):
        observer.see(Frame(index, rgb, None))
    return observer


def test_i3d_sees_the_first_frames_at_224(weights, tmp_path, rng):
    clip = moving(rng, frames=20, height=300, width=400)
    sample = sample_of(tmp_path, clip[0])
    found = seen(i3d_features(weights, frames=12), sample, clip).features()
    pixels = torch.from_numpy(clip[:12]).permute(0, 3, 1, 2).float()
    resized = nn.functional.interpolate(pixels, (224, 299), mode="bilinear", align_corners=False)
    video = CenterCrop(224)(resized) / 127.5 - 1
    np.testing.assert_allclose(found[:3], video.mean(dim=(0, 2, 3)), atol=1e-3)
    assert found.shape == (6,) and found.max() <= 1


def test_i3d_says_which_clip_is_too_short(weights, tmp_path, rng):
    clip = moving(rng, frames=11)
    sample = sample_of(tmp_path, clip[0])
    with pytest.raises(MediaError, match="model, 0: 11 frames, but FVD needs 16"):
        seen(i3d_features(weights), sample, clip).features()
    assert seen(i3d_features(weights, frames=None), sample, clip).features().shape == (6,)
    with pytest.raises(ConfigError, match="at least 10"):
        i3d_features(weights, frames=4)


def test_a_file_that_is_no_script_is_refused(weights, tmp_path, rng):
    (tmp_path / "i3d_model/i3d_torchscript.pt").write_bytes(b"nothing")
    with pytest.raises(UnavailableError, match="not a TorchScript archive"):
        i3d_features(weights).begin(sample_of(tmp_path, moving(rng)[0]))


@pytest.fixture
def folders(tmp_path, rng):
    """Eight videos, a gallery of the same and one of darker ones."""
    folders = {name: tmp_path / name for name in ("videos", "same", "other")}
    for folder in folders.values():
        folder.mkdir()
    for n in range(8):
        clip = moving(rng, frames=12, height=48, width=64)
        write_clip(folders["videos"] / f"{n}.mp4", clip, 8)
        write_clip(folders["same"] / f"{n}.mp4", clip, 8)
        write_clip(folders["other"] / f"{n}.mp4", clip // 3, 8)
        for name in ("same", "other"):
            row = GalleryRow(str(n), str(n), "", f"{n}.mp4", name, (48, 64), 12, 8.0)
            append_jsonl(folders[name] / INDEX, asdict(row))
    return folders


def test_a_gallery_is_as_far_from_videos_as_its_clips(weights, folders, tmp_path):
    galleries = [Gallery.open(folders[name]) for name in ("same", "other")]
    extractor = i3d_features(weights, frames=12)
    (same, other), failures = distances(galleries, folders["videos"], extractor, least=8)
    assert failures == []
    assert (same.model, same.clips, same.reference_clips) == ("same", 8, 8)
    assert same.fvd == pytest.approx(0, abs=1e-6)
    assert other.fvd > 0.1
    with pytest.raises(ConfigError, match="a set of 8 clips"):
        distances(galleries, folders["videos"], extractor, least=9)
    with pytest.raises(ManifestError, match="no videos"):
        distances(galleries, tmp_path / "i3d_model", extractor)


def test_a_bad_clip_is_listed_and_the_others_go_on(weights, folders, rng, monkeypatch):
    (folders["same"] / "3.mp4").write_bytes(b"no video")
    write_clip(folders["videos"] / "5.mp4", moving(rng, frames=5), 8)
    opened, extractor = [Gallery.open(folders["same"])], i3d_features(weights, frames=12)
    (same,), failures = distances(opened, folders["videos"], extractor, least=7)
    assert (same.clips, same.reference_clips) == (7, 7)
    assert [(failure.model, failure.id) for failure in failures] == [("videos", "5"), ("same", "3")]
    with pytest.raises(
        ConfigError, match=r"set of 7 clips.*2 clips could not be used, the first \(videos\): .*5 frames"
    ):
        distances(opened, folders["videos"], extractor, least=8)
    monkeypatch.setattr("motionfocal.metrics.fvd.i3d_features", lambda _: extractor)
    words = ["fvd", str(folders["same"]), "--reference", str(folders["videos"]), "--least", "7"]
    ended = CliRunner().invoke(app, words)
    assert ended.exit_code == 1
    assert "2 clips failed" in ended.output and "same, 3: " in ended.output
    for video in folders["videos"].iterdir():
        video.write_bytes(b"no video")
    with pytest.raises(MediaError, match="videos: FVD needs clips, and none could be used; the first failed with"):
        distances(opened, folders["videos"], extractor, least=7)
