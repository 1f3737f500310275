"""What the trainer costs: its step beside a bare loop's, and the motion focal loss beside a plain one.

Both sides train a copy of one network (a WanTransformer3DModel) on the same encoded batch in turns, the order changing
from round to round; the figure is the median of the rounds' ratios with its 95 % interval (bootstrap). The bare loop is
what any trainer must do: draw noise and timesteps, predict, F.mse_loss, backward, bound the gradient's norm, AdamW.
Ours adds random streams by clip, text dropout, the weighting, statistics, and a check that the loss is finite. Neither
side keeps averaged weights (--ema has ours keep them) or writes anything.

    python benchmarks/trainer_step.py [--threads 1] [--rounds 20] [--layers 8] [--frames 3] [--ema]
"""

import argparse
import copy
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from unittest.mock import patch

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import WanTransformer3DModel
from figures import Figure, tell
from torch import Tensor, nn

from motionfocal.data.batches import EncodedBatch, MotionBatch
from motionfocal.loss import MotionFocalLoss
from motionfocal.models.protocol import NO_PRIORS, ClipShape, Condition, VideoModel
from motionfocal.models.schedule import FlowSettings
from motionfocal.motion.latent import LatentSpec
from motionfocal.training.config import TrainingConfig, load_config
from motionfocal.training.loop import Trainer

CLIPS, CHANNELS, SIDE, WORDS, WIDTH = 2, 16, 16, 64, 256


class Denoiser:
    """The least that is a ``VideoModel``: it is given encoded batches and nothing else."""

    given_frames, priors, pipeline_class, fresh = 0, NO_PRIORS, None, frozenset[str]()
    device = torch.device("cpu")

    def __init__(self, layers: int) -> None:
        self.network: nn.Module = WanTransformer3DModel(
            num_attention_heads=8, attention_head_dim=64, in_channels=CHANNELS, out_channels=CHANNELS,
            text_dim=WIDTH, freq_dim=64, ffn_dim=2048, num_layers=layers,
        )  # fmt: skip
        self.spec, self.schedule = LatentSpec(CHANNELS, 8, 4, causal=True), FlowSettings().build()
        self.parts = {"transformer": self.network}

    def check(self, shape: ClipShape) -> None:
        """Any shape will do."""

    def predict(self, noisy: Tensor, timestep: Tensor, condition: Condition) -> Tensor:
        """The network's output."""
        return self.network(noisy, timestep, condition.text["embeds"], return_dict=False)[0]


@dataclass(frozen=True)
class OneBatch:
    """A source that gives the same batch at every step."""

    batch: EncodedBatch
    fingerprint: str = "one batch"

    @property
    def shapes(self) -> tuple[ClipShape, ...]:
        """One."""
        return (self.shape,)

    @property
    def shape(self) -> ClipShape:
        """Of the clips."""
        return ClipShape(frames=9, height=8 * SIDE, width=8 * SIDE, fps=16)

    def no_text(self, model: VideoModel) -> dict[str, Tensor]:
        """Zeros."""
        return {"embeds": torch.zeros(1, WORDS, WIDTH)}


def a_batch(frames: int) -> EncodedBatch:
    rng = torch.Generator().manual_seed(0)
    latents = torch.randn(CLIPS, CHANNELS, frames, SIDE, SIDE, generator=rng)
    heat = torch.rand(CLIPS, 1, frames, SIDE, SIDE, generator=rng)
    text = {"embeds": torch.randn(CLIPS, WORDS, WIDTH, generator=rng)}
    return EncodedBatch(latents, {}, text, MotionBatch(heat, heat.mean((1, 2, 3, 4))), torch.full((CLIPS,), 16.0))


def our_step(model: Denoiser, config: TrainingConfig, batch: EncodedBatch) -> Callable[[], None]:
    source = OneBatch(batch)
    with (
        patch("motionfocal.training.loop.build_model", lambda *_: model),
        patch("motionfocal.training.loop.batches_of", lambda *_: source),
    ):
        trainer = Trainer(config, source)

    def step() -> None:
        trainer.train_step(iter([batch]))
        trainer.step = 0  # the warm-up's rate is as good as any

    return step


def bare_step(network: nn.Module, config: TrainingConfig, batch: EncodedBatch) -> Callable[[], None]:
    settings = config.optimizer
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=settings.learning_rate, betas=settings.betas, weight_decay=settings.weight_decay
    )
    network.train()

    def step() -> None:
        noise, sigma = torch.randn_like(batch.latents), torch.randn(CLIPS).sigmoid()
        noisy = torch.lerp(batch.latents, noise, sigma.view(-1, 1, 1, 1, 1))
        prediction = network(noisy, 1000 * sigma, batch.text["embeds"], return_dict=False)[0]
        F.mse_loss(prediction, noise - batch.latents).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), settings.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad()

    return step


def seconds(step: Callable[[], object], times: int = 1) -> float:
    started = time.perf_counter()
    for _ in range(times):
        step()
    return (time.perf_counter() - started) / times


def interval(ratios: list[float]) -> tuple[float, float, float]:
    """Median, and the 2.5 and 97.5 % points of the medians of resampled ratios."""
    drawn = np.random.default_rng(0).choice(ratios, (10_000, len(ratios)))
    low, high = np.quantile(np.median(drawn, axis=1), [0.025, 0.975])
    return statistics.median(ratios), float(low), float(high)


def weighting_seconds(batch: EncodedBatch) -> tuple[float, float]:
    """Forward and backward of the motion focal loss, and of the plain one, on the step's tensors."""
    prediction = torch.randn_like(batch.latents).requires_grad_()
    target, loss = torch.randn_like(prediction), MotionFocalLoss()

    def ours() -> None:
        loss(prediction, target, batch.motion.heat).total.backward()

    def plain() -> None:
        F.mse_loss(prediction, target).backward()

    pairs = [(seconds(ours, 20), seconds(plain, 20)) for _ in range(20)]
    return statistics.median(a for a, _ in pairs), statistics.median(b for _, b in pairs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in {"threads": 1, "rounds": 20, "layers": 8, "frames": 3}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--ema", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    average = "0.999" if arguments.ema else "null"
    config = load_config(None, [f"batch_size={CLIPS}", "device=cpu", f"ema_decay={average}"])
    batch, model = a_batch(arguments.frames), Denoiser(arguments.layers)
    bare = bare_step(copy.deepcopy(model.network), config, batch)
    ours = our_step(model, config, batch)
    seconds(bare), seconds(ours)
    times = []
    for number in range(arguments.rounds):
        first, second = (bare, ours) if number % 2 else (ours, bare)
        pair = seconds(first), seconds(second)
        times.append(pair if number % 2 else pair[::-1])
    plain = statistics.median(b for b, _ in times)
    ratio, low, high = interval([o / b for b, o in times])
    weighted, unweighted = weighting_seconds(batch)
    weights = sum(parameter.numel() for parameter in model.network.parameters()) / 1e6
    tokens = CLIPS * arguments.frames * (SIDE // 2) ** 2
    print(f"{weights:.0f} M weights, {tokens} tokens, {arguments.threads} threads, load {os.getloadavg()[0]:.1f}")
    print(f"bare step {1000 * plain:.0f} ms; ours / bare {ratio:.4f} [{low:.4f}, {high:.4f}] of {len(times)} pairs")
    share = (weighted - unweighted) / plain
    print(f"weighting {1000 * weighted:.2f} ms, plain {1000 * unweighted:.2f} ms: {100 * share:.2f} % of a bare step")
    tell(
        Figure("a step of the trainer, against a bare loop's", f"{ratio:.3f} [{low:.3f}, {high:.3f}]", "at most 1.03"),
        Figure("the weighting's share of a step", f"{100 * share:.2f} %", "under 1 %"),
    )


if __name__ == "__main__":
    main()
