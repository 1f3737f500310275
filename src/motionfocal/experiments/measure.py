"""What is asked of a model: held-out texts, which an oracle judges, and its error at each noise level."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from motionfocal.experiments.result import NoiseBin
from motionfocal.generation.generate import item_seed
from motionfocal.generation.sampler import SamplingSettings, on, sample
from motionfocal.models.build import LoadedModel
from motionfocal.models.protocol import MOTION_MASK, Condition, VideoModel
from motionfocal.motion import pool_to_latent
from motionfocal.worlds import SpritesSettings, SpritesWorld, WorldItem
from motionfocal.worlds.benchmark import SpritesBenchmark
from motionfocal.worlds.oracle import Measurement, SpritesOracle

_TOGETHER = 16
_LEVELS, _CLIPS = 10, 64
_HELD_OUT = 0xF6
"""Figure 6: noise levels, clips at each, and the seed that keeps these clips apart from all others."""


def answers(
    loaded: LoadedModel, asked: SpritesBenchmark, sampling: SamplingSettings, seed: int
) -> tuple[list[WorldItem], list[Measurement]]:
    """Sample every item of a benchmark once, and have the oracle measure it.

    The noise of an item is drawn from ``seed`` and its id: all arms of a seed start from the same noise. A model that
    takes a motion mask is told the truth: the places that what is asked for changes.
    """
    world = SpritesWorld(asked.world)
    oracle, items = SpritesOracle(world), asked.items()
    measured: list[Measurement] = []
    for start in range(0, len(items), _TOGETHER):
        group = items[start : start + _TOGETHER]
        pictures = np.stack([world.first_frame(item.scene) for item in group])
        seeds = [item_seed(seed, item.id) for item in group]
        where = _where(world, group) if MOTION_MASK in loaded.model.priors else None
        clips = sample(loaded, pictures, [item.text for item in group], seeds, sampling, motion_mask=where)
        measured += [oracle.measure(clip, item) for clip, item in zip(clips, group, strict=True)]
    return items, measured


def _where(world: SpritesWorld, items: Sequence[WorldItem]) -> NDArray[np.float32]:
    """Motion masks ``[B,H,W]`` of items: 1 where a true clip, free of noise, ever differs from its first frame."""
    quiet = SpritesWorld(world.settings.model_copy(update={"noise": 0.0}))
    clips = (quiet.render(item.scene, item.action) for item in items)
    return np.stack([(clip != clip[0]).any(axis=(0, 3)) for clip in clips]).astype(np.float32)


@torch.no_grad()
def error_by_noise(loaded: LoadedModel, settings: SpritesSettings) -> tuple[NoiseBin, ...]:
    """The paper's Figure 6 on held-out clips: mean squared error where something truly moves, and everywhere.

    A latent cell moves when more than half of it is covered by the acting sprite. All models meet the same noise.
    """
    model, fps = loaded.model, loaded.card.shape.fps
    device = next(model.network.parameters()).device
    frames, texts, moving = _held_out(settings, model)
    frames, moving = frames.to(device), moving.to(device)
    latents = model.encode(frames)
    condition = Condition(
        on(device, model.encode_image(frames[:, 0], frames.shape[1])),
        on(device, model.encode_text(texts)),
        torch.full((_CLIPS,), fps, device=device),
    )
    cells = latents[0, 0].numel()
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(_HELD_OUT)).to(device)
    bins = []
    for timestep in model.schedule.sampler(_LEVELS, cells).timesteps:
        times = timestep.expand(_CLIPS).to(device)
        prediction = model.predict(model.schedule.add_noise(latents, noise, times), times, condition)
        error = (prediction - model.schedule.target(latents, noise, times)).square().mean(1, keepdim=True)
        level = float(model.schedule.noise_level(times)[0])
        bins.append(NoiseBin(level=level, moving=float(error[moving].mean()), overall=float(error.mean())))
    return tuple(bins)


def _held_out(settings: SpritesSettings, model: VideoModel) -> tuple[torch.Tensor, Sequence[str], torch.Tensor]:
    """Clips uint8 ``[B,T,H,W,3]``, their texts, and the latent cells that move, bool ``[B,1,T',h,w]``."""
    world = SpritesWorld(settings)
    frames, texts, moving = [], [], []
    for index in range(_CLIPS):
        rng = np.random.default_rng((_HELD_OUT, index))
        scene = world.scene_for(1, rng, "any")
        action = world.action(scene, rng, "any")
        frames.append(world.render(scene, action, rng))
        texts.append(world.text(scene, action))
        moving.append(pool_to_latent(world.moving_mask(scene, action).astype(np.float32), model.spec))
    return torch.from_numpy(np.stack(frames)), texts, torch.stack(moving)[:, None] > 0.5
