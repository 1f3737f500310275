"""Noise schedules: what noise is added in training, and how it is taken away in sampling.

A family's settings hold the settings of its schedule, so that a config cannot ask a flow model for betas.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Generator, Tensor

from motionfocal.errors import ConfigError
from motionfocal.settings import Settings

if TYPE_CHECKING:
    from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler

_SCALE_STEPS = 400
"""lvdm's ``mid_step``: the signal scale falls linearly over so many timesteps, then stays."""


class DiffusionSettings(Settings):
    """The paper's schedule: v-prediction, 1000 steps of lvdm's "linear" betas (diffusers' ``scaled_linear``)."""

    kind: Literal["diffusion"] = "diffusion"
    prediction_type: Literal["epsilon", "v_prediction"] = Field(
        "v_prediction", description="What the network predicts."
    )
    beta_schedule: Literal["scaled_linear", "linear"] = Field(
        "scaled_linear", description="Shape of the betas; 'scaled_linear' is what lvdm calls linear."
    )
    beta_start: float = Field(0.00085, gt=0, lt=1, description="First beta.")
    beta_end: float = Field(0.012, gt=0, lt=1, description="Last beta.")
    train_steps: int = Field(1000, ge=2, description="Timesteps of the training process.")
    zero_terminal_snr: bool = Field(False, description="Rescale the betas so that the last timestep is pure noise.")
    signal_scale: float = Field(
        1.0, gt=0, le=1, description="Scale of the clean latents after 400 timesteps; VideoCrafter2 itself had 0.7."
    )
    timestep_spacing: Literal["leading", "trailing"] = Field(
        "leading", description="Timesteps of sampling; 'trailing' begins with the last one, as zero_terminal_snr needs."
    )

    @model_validator(mode="after")
    def _terminal_noise_is_used(self) -> Self:
        if self.zero_terminal_snr and self.prediction_type == "epsilon":
            raise ValueError("zero_terminal_snr needs prediction_type=v_prediction: pure noise tells nothing of noise")
        if self.zero_terminal_snr and self.timestep_spacing == "leading":
            raise ValueError("zero_terminal_snr needs timestep_spacing=trailing: 'leading' never samples the last step")
        return self

    def build(self) -> "DiffusionSchedule":
        """The schedule. Leading timesteps have offset 1, and nothing is clipped.

        Counts of steps that divide the timesteps are sampled as lvdm does. Others take diffusers' whole stride, and
        begin lower: 30 of 1000 begin at timestep 958, where lvdm takes 31.
        """
        from diffusers import DDIMScheduler

        scheduler = DDIMScheduler(
            num_train_timesteps=self.train_steps,
            beta_schedule=self.beta_schedule,
            beta_start=self.beta_start,
            beta_end=self.beta_end,
            prediction_type=self.prediction_type,
            timestep_spacing=self.timestep_spacing,
            rescale_betas_zero_snr=self.zero_terminal_snr,
            steps_offset=1,
            clip_sample=False,
            set_alpha_to_one=False,
        )
        return DiffusionSchedule(scheduler, self.signal_scale)


class FlowSettings(Settings):
    """Rectified flow: noisy = (1 - sigma) clean + sigma noise, the network predicts noise - clean."""

    kind: Literal["flow"] = "flow"
    density: Literal["uniform", "logit_normal"] = Field(
        "logit_normal", description="How training draws sigma; 'logit_normal' prefers the middle (Esser et al. 2024)."
    )
    shift: float = Field(
        1.0, gt=0, description="sigma becomes s sigma / (1 + (s - 1) sigma): above 1, training sees more noise."
    )

    def build(self) -> "FlowSchedule":
        """The schedule, sampled by Euler steps with the same shift."""
        from diffusers import FlowMatchEulerDiscreteScheduler

        return FlowSchedule(self, FlowMatchEulerDiscreteScheduler(shift=self.shift))


ScheduleSettings = Annotated[DiffusionSettings | FlowSettings, Field(discriminator="kind")]


class DiffusionSchedule:
    """A variance-preserving process x_t = sqrt(abar_t) s_t x_0 + sqrt(1 - abar_t) noise; see ``Schedule``.

    With a signal scale v is that of s_t x_0, and sampling goes from s_t to s_prev.
    """

    def __init__(self, scheduler: "DDIMScheduler", signal_scale: float = 1.0) -> None:
        """``scheduler`` is any of diffusers' DDIM class: DDIMScheduler, CogVideoXDDIMScheduler."""
        self._scheduler = scheduler
        self._steps = int(scheduler.config.num_train_timesteps)
        falling = torch.linspace(1, signal_scale, _SCALE_STEPS)
        self.signal_scale = torch.cat([falling, torch.full((self._steps,), signal_scale)])[: self._steps]

    def draw(self, cells: int, rng: Generator) -> Tensor:
        """See ``Schedule``: uniform over the timesteps."""
        return torch.randint(0, self._steps, (), generator=rng)

    def add_noise(self, clean: Tensor, noise: Tensor, timestep: Tensor) -> Tensor:
        """See ``Schedule``."""
        noisy: Tensor = self._scheduler.add_noise(self._scaled(clean, timestep), noise, timestep)
        return noisy

    def target(self, clean: Tensor, noise: Tensor, timestep: Tensor) -> Tensor:
        """See ``Schedule``: the noise, or v = sqrt(abar_t) noise - sqrt(1 - abar_t) s_t x_0."""
        if self._scheduler.config.prediction_type == "epsilon":
            return noise
        velocity: Tensor = self._scheduler.get_velocity(self._scaled(clean, timestep), noise, timestep)
        return velocity

    def noise_level(self, timestep: Tensor) -> Tensor:
        """See ``Schedule``: sqrt(1 - abar_t)."""
        return (1 - self._scheduler.alphas_cumprod.to(timestep.device)[timestep]).sqrt()

    def sampler(self, steps: int, cells: int, eta: float = 0.0) -> "DdimSampler":
        """See ``Schedule``; ``eta`` in [0, 1] goes from deterministic to ancestral sampling.

        Raises:
            ConfigError: steps of whole timesteps would pass over more than a tenth of the noise, or begin beyond it.
        """
        return DdimSampler(self._scheduler, self.signal_scale, steps, eta)

    def _scaled(self, clean: Tensor, timestep: Tensor) -> Tensor:
        scale = self.signal_scale.to(clean.device)[timestep]
        return clean * scale.view(-1, *[1] * (clean.ndim - 1))


class DdimSampler:
    """DDIM (Song et al. 2021, eq. 12) on the timesteps of a diffusers scheduler, with a signal scale."""

    def __init__(self, scheduler: "DDIMScheduler", signal_scale: Tensor, steps: int, eta: float) -> None:
        scheduler = type(scheduler).from_config(scheduler.config)  # the step count is state: keep it to this sampler
        _refuse_steps(steps, scheduler.config.num_train_timesteps, scheduler.config.timestep_spacing == "leading")
        scheduler.set_timesteps(steps)
        self.timesteps: Tensor = scheduler.timesteps
        self._stride = scheduler.config.num_train_timesteps // steps
        self._alphas = scheduler.alphas_cumprod.double()
        self._last_alpha = scheduler.final_alpha_cumprod.double()
        self._scale, self._eta = signal_scale.double(), eta
        self._epsilon = scheduler.config.prediction_type == "epsilon"
        # VideoCrafter2 (epsilon) ends at the clean latents, DynamiCrafter (v) at those of the last timestep's scale.
        self._last_scale = self._scale[0 if self._epsilon else int(self.timesteps[-1])]

    def step(self, prediction: Tensor, timestep: Tensor, sample: Tensor, noise: Callable[[], Tensor]) -> Tensor:
        """See ``Sampler``.

        x_prev = sqrt(abar_prev) (s_prev / s_t) x_0 + sqrt(1 - abar_prev - sigma^2) epsilon + sigma noise.
        """
        now, before = int(timestep), int(timestep) - self._stride
        alpha = self._alphas[now]
        alpha_before = self._alphas[before] if before >= 0 else self._last_alpha
        rescale = (self._scale[before] if before >= 0 else self._last_scale) / self._scale[now]
        clean, epsilon = self._split(prediction, sample, alpha)
        variance = self._eta**2 * (1 - alpha_before) / (1 - alpha) * (1 - alpha / alpha_before)
        # With zero terminal SNR and eta 1 the direction's variance is zero up to rounding, on either side.
        direction = (1 - alpha_before - variance).clamp(min=0).sqrt()
        result = float(alpha_before.sqrt() * rescale) * clean + float(direction) * epsilon
        return result + float(variance.sqrt()) * noise() if self._eta else result

    def _split(self, prediction: Tensor, sample: Tensor, alpha: Tensor) -> tuple[Tensor, Tensor]:
        """The clean latents and the noise that a prediction stands for."""
        signal, noise = float(alpha.sqrt()), float((1 - alpha).sqrt())
        if self._epsilon:
            return (sample - noise * prediction) / signal, prediction
        return signal * sample - noise * prediction, signal * prediction + noise * sample


def _refuse_steps(steps: int, timesteps: int, leading: bool) -> None:
    """Raise ConfigError for a count of steps whose whole stride, ``timesteps // steps``, does not span the noise."""
    beyond = steps >= timesteps if leading else steps > timesteps  # leading ones begin at 1 + the stride * (steps - 1)
    if beyond or timesteps % steps > timesteps // 10:
        fits = max(n for n in range(1, min(steps, timesteps // 2) + 1) if timesteps % n == 0)
        raise ConfigError(
            f"steps is {steps}, and {timesteps} timesteps cannot be divided into so many whole strides without leaving"
            f" much of the noise unsampled; take {fits}"
        )


SetTimesteps = Callable[["FlowMatchEulerDiscreteScheduler", int, int], None]
"""(diffusers scheduler, steps, latent cells): sets its timesteps as the family's own pipeline does."""


def plain_timesteps(scheduler: "FlowMatchEulerDiscreteScheduler", steps: int, cells: int) -> None:
    """As most pipelines do: by the number of steps alone."""
    scheduler.set_timesteps(steps)


class FlowSchedule:
    """Rectified flow; see ``Schedule``. The network's timestep is 1000 sigma."""

    def __init__(
        self,
        settings: FlowSettings,
        scheduler: "FlowMatchEulerDiscreteScheduler",
        set_timesteps: SetTimesteps = plain_timesteps,
        trained: tuple[float, float] = (0.0, 1.0),
    ) -> None:
        """``scheduler`` is a flow-matching scheduler of diffusers (Euler, UniPC, ...), used for sampling alone.

        ``trained`` is the part of sigma's range that training draws from, for a network that serves only that part.
        """
        self._settings, self._scheduler, self._set_timesteps, self._trained = (
            settings,
            scheduler,
            set_timesteps,
            trained,
        )

    def draw(self, cells: int, rng: Generator) -> Tensor:
        """See ``Schedule``; what falls out of the trained range is drawn anew."""
        while True:
            sigma = self._draw_sigma(rng)
            if self._trained[0] <= sigma < self._trained[1]:
                return sigma * 1000

    def _draw_sigma(self, rng: Generator) -> Tensor:
        if self._settings.density == "uniform":
            sigma = torch.rand((), generator=rng)
        else:
            sigma = torch.randn((), generator=rng).sigmoid()
        shift = self._settings.shift
        return shift * sigma / (1 + (shift - 1) * sigma)

    def add_noise(self, clean: Tensor, noise: Tensor, timestep: Tensor) -> Tensor:
        """See ``Schedule``."""
        return torch.lerp(clean, noise, self.noise_level(timestep).view(-1, *[1] * (clean.ndim - 1)).to(clean))

    def target(self, clean: Tensor, noise: Tensor, timestep: Tensor) -> Tensor:
        """See ``Schedule``: noise - clean."""
        return noise - clean

    def noise_level(self, timestep: Tensor) -> Tensor:
        """See ``Schedule``: sigma."""
        return timestep / 1000

    def sampler(self, steps: int, cells: int, eta: float = 0.0) -> "FlowSampler":
        """See ``Schedule``.

        Raises:
            ConfigError: ``eta`` is not 0; these samplers are deterministic.
        """
        if eta:
            raise ConfigError(f"eta is {eta}, and flow models are sampled without noise: leave it out")
        scheduler = type(self._scheduler).from_config(self._scheduler.config)
        self._set_timesteps(scheduler, steps, cells)
        return FlowSampler(scheduler)


class FlowSampler:
    """A diffusers scheduler with its timesteps set; see ``Sampler``. Multistep ones remember, so use it once."""

    def __init__(self, scheduler: "FlowMatchEulerDiscreteScheduler") -> None:
        self._scheduler = scheduler
        self.timesteps: Tensor = scheduler.timesteps

    def step(self, prediction: Tensor, timestep: Tensor, sample: Tensor, noise: Callable[[], Tensor]) -> Tensor:
        """See ``Sampler``."""
        stepped: Tensor = self._scheduler.step(prediction, timestep, sample).prev_sample
        return stepped
