"""What a video model family offers to training and sampling. One family, one file in ``models/families``."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from pydantic import Field
from torch import Generator, Tensor, nn

from motionfocal.motion.latent import LatentSpec
from motionfocal.settings import Settings

Tensors = dict[str, Tensor]
"""Named tensors of a batch, the batch first; of a fixed shape for clips of one shape, so that they can be cached."""


class ClipShape(Settings):
    """The clips that a model works on."""

    frames: int = Field(ge=2, description="Frames a clip.")
    height: int = Field(ge=8, description="Pixels.")
    width: int = Field(ge=8, description="Pixels.")
    fps: float = Field(gt=0, description="Frames a second; where clips differ, their median.")


MOTION_SCORE, MOTION_MASK = "motion_score", "motion_mask"
NO_PRIORS: frozenset[str] = frozenset()

ImageCondition = Literal["xcat", "cross_attention", "dual"]
"""How the first frame enters (the paper's Table 3): beside the noisy latents, as tokens to attend to, or both."""


@dataclass(frozen=True)
class Condition:
    """What a prediction depends on besides the noisy latents.

    ``image`` and ``text`` come from ``VideoModel.encode_image`` and ``encode_text``; ``fps`` ``[B]`` is the rate of the
    clip as the model sees it. ``motion_score`` ``[B]`` (mean length of the flow, pixels a frame; below 0: not said) and
    ``motion_mask`` ``[B,1,T',h,w]`` (1 where something may move) are the motion priors of the families that take them;
    None says nothing, like a score of -1 and a mask of ones.
    """

    image: Tensors
    text: Tensors
    fps: Tensor
    motion_score: Tensor | None = None
    motion_mask: Tensor | None = None


class Sampler(Protocol):
    """Takes noise away, step by step. ``timesteps`` ``[N]`` run from noise to clip."""

    timesteps: Tensor

    def step(self, prediction: Tensor, timestep: Tensor, sample: Tensor, noise: Callable[[], Tensor]) -> Tensor:
        """The sample after one step; a stochastic sampler calls ``noise`` for a fresh draw of its shape."""
        ...


class Schedule(Protocol):
    """How noise is added in training and taken away in sampling. Timesteps are those the network takes (0..1000)."""

    def draw(self, cells: int, rng: Generator) -> Tensor:
        """A training timestep for one clip of ``cells`` latent cells (T' * h * w); a scalar on the CPU."""
        ...

    def add_noise(self, clean: Tensor, noise: Tensor, timestep: Tensor) -> Tensor:
        """Noisy latents of clean ones at timesteps ``[B]``."""
        ...

    def target(self, clean: Tensor, noise: Tensor, timestep: Tensor) -> Tensor:
        """What the network should predict: noise, v, or the flow noise - clean."""
        ...

    def noise_level(self, timestep: Tensor) -> Tensor:
        """Standard deviation of the noise in the noisy latents, ``[B]`` in [0, 1]."""
        ...

    def sampler(self, steps: int, cells: int, eta: float = 0.0) -> Sampler:
        """A sampler of so many steps for clips of ``cells`` latent cells.

        Raises:
            ConfigError: ``eta`` above 0 asks for noise that the sampler does not take.
        """
        ...


class VideoModel(Protocol):
    """A text-image-to-video model in latent space.

    Latents are float32 ``[B,C,T',h,w]`` everywhere outside of ``predict``, normalised as the network expects them. An
    adapter whose network packs or transposes them does so inside of ``predict`` (see ``spec.layout``) and unpacks the
    prediction, so that a motion weight ``[B,1,T',h,w]`` always lies on the cells it belongs to.

    What is frozen (first stage, text and image encoders) works in ``encode``, ``encode_image`` and ``encode_text``, is
    deterministic, and may be cached; everything that is trained works in ``predict``, which calls ``network`` once.

    ``given_frames`` is the number of leading latent frames that the model is given rather than generates: training
    keeps them out of the loss. ``priors`` names the motion priors of a ``Condition`` that the network takes.
    ``pipeline_class`` is the class of diffusers that animates with the same weights, None where there is none, and
    ``parts`` are the trained modules under the names which that pipeline gives them.
    """

    network: nn.Module
    """All that is trained, saved and averaged. A trainer may put a wrapped module in its place."""

    device: torch.device
    """Where the frozen parts work; what they give is there. The network is moved by whoever trains it."""

    @property
    def spec(self) -> LatentSpec:
        """The latent grid, and the layout of the network."""
        ...

    @property
    def given_frames(self) -> int:
        """See above."""
        ...

    @property
    def schedule(self) -> Schedule:
        """How noise is added and taken away."""
        ...

    @property
    def priors(self) -> frozenset[str]:
        """See above."""
        ...

    @property
    def pipeline_class(self) -> str | None:
        """See above."""
        ...

    @property
    def fresh(self) -> frozenset[str]:
        """Weights of ``parts`` (``part.name``) that no checkpoint has trained; they learn even where adapters do."""
        ...

    @property
    def parts(self) -> dict[str, nn.Module]:
        """See above."""
        ...

    def check(self, shape: ClipShape) -> None:
        """Refuse clips that the base cannot take: ShapeError with the sizes or lengths that it can."""
        ...

    def encode(self, frames: Tensor) -> Tensor:
        """Frames uint8 ``[B,T,H,W,3]`` to latents."""
        ...

    def decode(self, latents: Tensor) -> Tensor:
        """Latents to frames uint8 ``[B,T,H,W,3]``."""
        ...

    def encode_image(self, images: Tensor, frames: int) -> Tensors:
        """What the network is told of the first frames uint8 ``[B,H,W,3]`` of clips of so many pixel frames."""
        ...

    def encode_text(self, texts: Sequence[str]) -> Tensors:
        """What the network is told of the texts. The text "" is unconditional."""
        ...

    def blank(self, shape: ClipShape, clips: int) -> Condition:
        """Zeros of the shapes and dtypes that the encoders give for clips of a shape, told by the configs alone."""
        ...

    def predict(self, noisy: Tensor, timestep: Tensor, condition: Condition) -> Tensor:
        """The network's output for noisy latents at timesteps ``[B]``, shaped like the latents.

        A family with given frames puts them in here (see ``complete``), whatever the noisy latents hold there.
        """
        ...

    def complete(self, latents: Tensor, condition: Condition) -> Tensor:
        """The latents with the given frames put in; the latents themselves where none are given."""
        ...
