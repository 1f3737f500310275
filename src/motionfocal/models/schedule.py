"""The noise schedule of a model: what noise is added in training and how it is taken away in sampling."""

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from motionfocal.settings import Settings

if TYPE_CHECKING:
    from diffusers import DDIMScheduler


class ScheduleSettings(Settings):
    """The paper's schedule: v-prediction, 1000 steps of lvdm's "linear" betas (diffusers' ``scaled_linear``)."""

    prediction_type: Literal["epsilon", "v_prediction"] = Field(
        "v_prediction", description="What the network predicts."
    )
    beta_schedule: Literal["scaled_linear", "linear"] = Field(
        "scaled_linear", description="Shape of the betas; 'scaled_linear' is what lvdm calls linear."
    )
    beta_start: float = Field(0.00085, gt=0, lt=1, description="First beta.")
    beta_end: float = Field(0.012, gt=0, lt=1, description="Last beta.")
    train_steps: int = Field(1000, ge=2, description="Timesteps of the training process.")

    def scheduler(self) -> "DDIMScheduler":
        """diffusers' DDIM scheduler as lvdm samples: leading timesteps with offset 1, nothing clipped."""
        from diffusers import DDIMScheduler

        return DDIMScheduler(
            num_train_timesteps=self.train_steps,
            beta_schedule=self.beta_schedule,
            beta_start=self.beta_start,
            beta_end=self.beta_end,
            prediction_type=self.prediction_type,
            timestep_spacing="leading",
            steps_offset=1,
            clip_sample=False,
            set_alpha_to_one=False,
        )
