"""Flow: known shifts come back at every size and both ways; the estimators; RAFT as torchvision builds it."""

import numpy as np
import pytest
import torch
from torchvision.models import optical_flow as zoo

from motionfocal.errors import ShapeError, UnknownNameError
from motionfocal.motion import estimate_flow, flow, known_estimators, register_estimator
from motionfocal.motion.raft import Raft, load_raft

from .textured import textured_clip


def panned(size: tuple[int, int], speed: float) -> np.ndarray:
    """The whole frame moves (-speed, -0.4 * speed) pixels a frame."""
    return textured_clip(size, radius=0, camera="pan", camera_speed=speed, length=3).frames


@pytest.mark.parametrize("estimator", ["farneback", "dis"])
@pytest.mark.parametrize("size", [(32, 48), (64, 64), (130, 202), (320, 512), (600, 750)])
def test_a_known_shift_comes_back(estimator: str, size: tuple[int, int]):
    frames = panned(size, 1.5)
    forward = estimate_flow(frames, estimator)
    assert forward.shape == (2, *size, 2)
    assert forward.dtype == np.float32
    inner = forward[:, 6:-6, 6:-6]
    assert np.median(inner, axis=(0, 1, 2)) == pytest.approx((-1.5, -0.6), abs=0.1)
    assert np.abs(inner - (-1.5, -0.6)).mean() < 0.15


@pytest.mark.parametrize("estimator", ["farneback", "dis"])
def test_backward_flow_leads_to_the_earlier_frame_at_the_later_frames_pixels(estimator: str):
    clip = textured_clip((64, 64), velocity=(3.0, 0.0), radius=7, length=3)
    backward = estimate_flow(clip.frames, estimator, backward=True)
    assert np.array_equal(backward, estimate_flow(clip.frames[::-1], estimator)[::-1])
    for flow_, mask in zip(backward, clip.masks[1:], strict=True):
        assert np.median(flow_[mask][:, 0]) == pytest.approx(-3, abs=0.5)


@pytest.mark.parametrize("estimator", ["farneback", "dis"])
def test_flow_is_the_same_every_time_and_each_pair_stands_alone(estimator: str):
    frames = textured_clip((48, 64), length=4).frames
    whole = estimate_flow(frames, estimator)
    assert np.array_equal(whole, estimate_flow(frames, estimator))
    assert np.array_equal(whole[1:2], estimate_flow(frames[1:3], estimator))


@pytest.mark.parametrize("estimator", ["farneback", "dis"])
def test_frames_smaller_than_a_patch_have_a_flow(estimator: str):
    frames = np.zeros((2, 5, 9, 3), np.uint8)
    assert np.array_equal(estimate_flow(frames, estimator), np.zeros((1, 5, 9, 2)))


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((1, 8, 8, 3), np.uint8), ((4, 8, 8), np.uint8), ((4, 8, 8, 4), np.uint8), ((4, 8, 8, 3), np.float32)],
)
def test_frames_that_are_no_clip_are_named(shape: tuple[int, ...], dtype: type):
    with pytest.raises(ShapeError) as error:
        estimate_flow(np.zeros(shape, dtype))
    assert str(list(shape)) in str(error.value)
    assert np.dtype(dtype).name in str(error.value)


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(UnknownNameError, match=r"flow estimator 'raftt'; known: dis, farneback, raft_large"):
        estimate_flow(np.zeros((2, 8, 8, 3), np.uint8), "raftt")


class Constant:
    """An outsider's estimator: everything moves by the same amount."""

    made = 0

    def __init__(self, dx: float = 3.0, trim: int = 0):
        type(self).made += 1
        self.dx, self.trim = dx, trim

    def __call__(self, frames_from: np.ndarray, frames_to: np.ndarray) -> np.ndarray:
        assert frames_from.shape == frames_to.shape
        n, height, width, _ = frames_from.shape
        return np.broadcast_to(np.array([self.dx, 0.0]), (n, height - self.trim, width, 2))


def test_an_outsiders_estimator_is_known_by_name_and_made_once(estimators: dict):
    Constant.made = 0
    register_estimator("constant", Constant)
    frames = np.zeros((5, 8, 8, 3), np.uint8)
    assert "constant" in known_estimators()
    assert Constant.made == 0
    for _ in range(2):
        moved = estimate_flow(frames, "constant")
    assert Constant.made == 1
    assert moved.dtype == np.float32
    assert (moved == (3.0, 0.0)).all()
    register_estimator("constant", lambda: Constant(-1.0))
    assert (estimate_flow(frames, "constant") == (-1.0, 0.0)).all()


def test_an_estimator_may_be_given_as_it_is_and_its_shape_is_checked():
    frames = np.zeros((3, 8, 8, 3), np.uint8)
    assert (estimate_flow(frames, Constant(2.0)) == (2.0, 0.0)).all()
    with pytest.raises(ShapeError, match=r"\[2, 7, 8, 2\], expected \[2, 8, 8, 2\]"):
        estimate_flow(frames, Constant(trim=1))


def random_raft(size: str) -> torch.nn.Module:
    torch.manual_seed(0)
    return zoo.raft_large(weights=None) if size == "large" else zoo.raft_small(weights=None)


@pytest.mark.parametrize("size", ["large", "small"])
def test_raft_pads_to_eights_and_hands_torchvision_what_it_expects(size: str):
    raft = Raft(size, device="cpu", load=random_raft)
    frames = textured_clip((130, 141), length=2).frames
    mine = estimate_flow(frames, raft)
    assert raft.network.corr_block.corr_pyramid == [], "nothing of it stays on the GPU"
    padded = np.pad(frames, ((0, 0), (0, 6), (0, 3), (0, 0)), mode="edge")
    images = torch.from_numpy(padded).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.inference_mode():
        reference = raft.network(images[:1], images[1:])[-1][0, :, :130, :141].permute(1, 2, 0)
    assert mine.shape == (1, 130, 141, 2)
    assert np.abs(mine).max() > 0
    np.testing.assert_allclose(mine[0], reference.numpy(), atol=1e-3)


class Recorder(torch.nn.Module):
    """Stands where RAFT does: every pixel of the picture moves (8, 0); keeps the shapes it is given."""

    def __init__(self):
        super().__init__()
        self.shapes: list[tuple[int, ...]] = []
        self.corr_block = torch.nn.Module()

    def forward(self, first: torch.Tensor, second: torch.Tensor) -> list[torch.Tensor]:
        self.shapes.append(tuple(first.shape))
        assert first.min() >= -1
        assert first.max() <= 1
        return [
            torch.zeros_like(first[:, :2]),
            torch.ones_like(first[:, :2]) * torch.tensor([8.0, 0])[:, None, None],
        ]


def test_raft_takes_pairs_in_batches_and_enlarges_small_frames():
    network = Recorder()
    raft = Raft(batch=2, device="cpu", load=lambda _: network)
    small = estimate_flow(np.full((6, 33, 50, 3), 255, np.uint8), raft)
    assert network.shapes == [(2, 3, 136, 200), (2, 3, 136, 200), (1, 3, 136, 200)]
    assert small.shape == (5, 33, 50, 2)
    assert (small == (2.0, 0.0)).all()  # enlarged four times, the flow is a quarter


def test_raft_reduces_large_frames():
    network = Recorder()
    raft = Raft(device="cpu", load=lambda _: network)
    upright = estimate_flow(np.full((3, 1280, 704, 3), 200, np.uint8), raft)
    assert network.shapes == [(2, 3, 880, 480)]  # 873 rows, padded
    assert upright.shape == (2, 1280, 704, 2)
    np.testing.assert_allclose(upright[..., 0], 8 * 704 / 480, rtol=1e-6)
    assert not upright[..., 1].any()


def test_raft_by_name_loads_published_weights_once(monkeypatch: pytest.MonkeyPatch, estimators: dict):
    asked = []

    def no_download(self: object, progress: bool = True, check_hash: bool = False) -> dict:
        asked.append(self)
        build = zoo.raft_large if "Large" in type(self).__name__ else zoo.raft_small
        return build(weights=None).state_dict()

    for weights in (zoo.Raft_Large_Weights, zoo.Raft_Small_Weights):
        monkeypatch.setattr(weights, "get_state_dict", no_download)
    flow._made.cache_clear()
    frames = textured_clip((32, 32), length=2).frames
    for _ in range(2):
        assert estimate_flow(frames, "raft_small").shape == (1, 32, 32, 2)
    assert isinstance(load_raft("large"), zoo.RAFT)
    assert asked == [zoo.Raft_Small_Weights.DEFAULT, zoo.Raft_Large_Weights.DEFAULT]


def test_raft_without_weights_says_what_to_do(monkeypatch):
    from motionfocal.errors import UnavailableError
    from motionfocal.motion import raft

    def failing(error):
        def load(*_, **__):
            raise error

        return load

    damaged = RuntimeError("PytorchStreamReader failed reading zip archive")
    for error in (OSError("no route to host"), damaged):
        monkeypatch.setattr("torchvision.models.optical_flow.raft_small", failing(error))
        with pytest.raises(UnavailableError, match=rf"{error}.*delete torchvision's file from .*checkpoints"):
            raft.load_raft("small")
