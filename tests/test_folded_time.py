"""Latents compressed in time: the worlds' lossless first stage, and the small models that work on it."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from motionfocal.errors import ShapeError
from motionfocal.generation.sampler import SamplingSettings, sample
from motionfocal.jsonl import read_jsonl
from motionfocal.models.build import build_model, load_model
from motionfocal.models.first_stage import SpaceToDepth
from motionfocal.models.protocol import ClipShape, Condition
from motionfocal.training.config import load_config
from motionfocal.training.run import open_data, run_training

FAMILIES = {
    "compact": ["model.family=compact", "model.width=16", "model.temporal=4", "model.schedule.kind=flow"],
    "dit3d": ["model.family=dit3d", "model.heads=2", "model.head_width=12", "model.layers=2"],
}
RUN = [
    "steps=4", "batch_size=2", "threads=1", "checkpoint_every=2", "optimizer.warmup_steps=1",
    "data.kind=sprites", "data.world.size=16", "data.world.frames=9", "model.text_width=16",
]  # fmt: skip


def clip(frames, side, seed=0, clips=2):
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.integers(0, 256, (clips, frames, side, side, 3), dtype=np.uint8))


@given(st.integers(1, 3), st.integers(1, 5), st.integers(0, 3), st.integers(1, 3), st.integers(0, 9))
def test_folding_loses_nothing(block, temporal, groups, cells, seed):
    stage = SpaceToDepth(block, temporal)
    frames = clip(stage.spec.pixel_frames(groups + 1), block * cells, seed)
    latents = stage.encode(frames)
    assert latents.shape == (2, stage.spec.channels, groups + 1, cells, cells)
    assert torch.equal(stage.decode(latents), frames)


@settings(max_examples=30)
@given(st.integers(2, 5), st.integers(0, 12), st.integers(0, 9))
def test_a_frame_is_in_its_own_latent_alone(temporal, changed, seed):
    stage = SpaceToDepth(2, temporal)
    frames = clip(3 * temporal + 1, 4, seed)
    changed %= len(frames[0])
    other = frames.clone()
    other[:, changed] = 255 - other[:, changed]
    differs = (stage.encode(frames) != stage.encode(other)).any(dim=(0, 1, 3, 4)).flatten()
    home = -(-changed // temporal)  # frames rk-r+1..rk are latent k
    assert differs.nonzero().flatten().tolist() == [home]


@pytest.mark.parametrize("family", FAMILIES)
def test_lengths_that_do_not_fit_are_named(family):
    config = load_config(None, [*RUN, *FAMILIES[family]])
    with pytest.raises(ShapeError, match="8 frames do not fit the latent: lengths are 4 \\* k \\+ 1, such as 5 or 9"):
        build_model(config.model, ClipShape(frames=8, height=16, width=16, fps=8), 0)


@torch.no_grad()
@pytest.mark.parametrize("family", FAMILIES)
def test_image_and_text_reach_every_latent_frame(family):
    config = load_config(None, [*RUN, *FAMILIES[family]])
    model = build_model(config.model, ClipShape(frames=9, height=16, width=16, fps=8), 0)
    rng = torch.Generator().manual_seed(0)
    for parameter in model.network.parameters():
        parameter.add_(0.05 * torch.randn(parameter.shape, generator=rng))
    noisy = torch.randn(1, model.spec.channels, 3, 8, 8, generator=rng)

    def predict(image=0, text="the red circle moves left"):
        pictures = clip(1, 16, image, clips=1)[:, 0]
        condition = Condition(model.encode_image(pictures, 9), model.encode_text([text]), torch.tensor([8.0]))
        return model.predict(noisy, torch.tensor([500.0]), condition)

    for other in (predict(image=1), predict(text="the red circle moves right")):
        assert ((other - predict()).abs().amax((0, 1, 3, 4)) > 0).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_they_train_and_animate(family, tmp_path):
    """A run from its config to whole clips; twice, it ends with the same losses."""
    config = load_config(None, [*RUN, *FAMILIES[family]])
    for run in ("whole", "again"):
        run_training(config, open_data(config), tmp_path / run)
    whole, again = ([row["loss"] for row in read_jsonl(tmp_path / run / "metrics.jsonl")] for run in ("whole", "again"))
    assert np.isfinite(whole).all()
    assert whole == again
    loaded = load_model(tmp_path / "whole" / "model")
    pictures = clip(1, 16)[:, 0].numpy()
    clips = sample(loaded, pictures, ["the red circle moves left", ""], [0, 1], SamplingSettings(steps=2))
    assert clips.shape == (2, 9, 16, 16, 3)
    assert json.loads((tmp_path / "whole" / "model" / "model.json").read_text())["model"]["temporal"] == 4


@pytest.mark.parametrize("family", FAMILIES)
def test_noise_passes_through_a_network_that_is_narrower_than_it(family):
    """dit3d's tokens hold 192 numbers and are 24 wide: through them alone at most an eighth of the noise comes back."""
    config = load_config(None, [*RUN, *FAMILIES[family]])
    model = build_model(config.model, ClipShape(frames=9, height=16, width=16, fps=8), 0)
    told = model.blank(ClipShape(frames=9, height=16, width=16, fps=8), 2)
    optimizer, rng = torch.optim.Adam(model.network.parameters(), lr=0.02), torch.Generator().manual_seed(0)
    errors = []
    for _ in range(60):
        noise = torch.randn(2, model.spec.channels, 3, 8, 8, generator=rng)
        loss = (model.predict(noise, torch.full((2,), 999.0), told) - noise).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        errors.append(loss.item())
    assert min(errors[-10:]) < 0.3
