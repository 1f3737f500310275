"""SEINE (Vchitect/SEINE, Apache-2.0): one image a run, told by a config.

Undone here: the file is named after the text (so equal texts overwrite one another, long ones cannot be written, and
a "/" leads elsewhere); ", slow motion." is appended to every text; an empty list of texts takes the text from the
image's name; the image is stretched to the model's size; pictures with transparency fail.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from motionfocal.generation.external.program import Launch, Needed, Program, ProgramSettings, Task
from motionfocal.generation.external.texts import omegaconf_refusal, read_config, write_config

_HEAD = 40
"""Letters of a text that name the file; the rest follows as the program's ``additional_prompt``."""


class SeineSettings(ProgramSettings):
    """How SEINE samples; what is not named here stays as in the checkout's ``configs/sample_i2v.yaml``."""

    weights: str = Field("pretrained/seine.pt", description="SEINE's checkpoint; relative to the checkout.")
    base: str = Field(
        "pretrained/stable-diffusion-v1-4", description="The folder of Stable Diffusion 1.4; relative to the checkout."
    )
    height: int = Field(240, ge=64, multiple_of=8, description="Pixels; 320x512 and 512x512 are in the config too.")
    width: int = Field(560, ge=64, multiple_of=8, description="Pixels.")
    fit: Literal["crop", "stretch"] = Field(
        "crop", description="How pictures get the model's shape: cropped by us, or stretched by SEINE itself."
    )
    method: Literal["ddpm", "ddim"] = Field("ddpm", description="Sampler.")
    steps: int = Field(250, ge=1, le=1000, description="Sampling steps.")
    guidance_scale: float = Field(8.0, ge=1, description="Classifier-free guidance.")
    additional_prompt: str = Field("", description='Appended to every text; SEINE\'s own config has ", slow motion.".')
    xformers: bool = Field(True, description="Memory-efficient attention; needs xformers in SEINE's environment.")


class Seine(Program[SeineSettings]):
    """Runs SEINE."""

    name = "seine"
    documented = ("--config",)
    script = "sample_scripts/with_mask_sample.py"
    config = "configs/sample_i2v.yaml"

    def needs(self) -> Sequence[Needed]:
        """The script, its config, and both checkpoints."""
        return (
            Needed(self.checkout / self.script, "give the folder of a checkout of Vchitect/SEINE"),
            Needed(self.checkout / self.config, "give the folder of a checkout of Vchitect/SEINE"),
            Needed(self.checkout / self.options.weights, "download seine.pt as the project's README says"),
            Needed(
                self.checkout / self.options.base, "download CompVis/stable-diffusion-v1-4 as the project's README says"
            ),
        )

    def size(self) -> tuple[int, int] | None:
        """The model's size, to which SEINE would stretch."""
        return (self.options.height, self.options.width) if self.options.fit == "crop" else None

    def seed(self, seed: int) -> int:
        """Ours; not 0, which SEINE takes for no seed."""
        return seed or 1

    def refusal(self, text: str) -> str | None:
        """What OmegaConf would read otherwise."""
        return omegaconf_refusal(text)

    def launch(self, tasks: Sequence[Task], folder: Path) -> Launch:
        """A config of the one task."""
        (task,) = tasks
        head = _head(task.text)
        options = self.options
        content = read_config(self.checkout / self.config) | {
            "ckpt": str(self.checkout / options.weights),
            "pretrained_model_path": str(self.checkout / options.base),
            "input_path": str(task.picture),
            "save_path": str(folder / "clips"),
            "image_size": [options.height, options.width],
            "seed": task.seed,
            "sample_method": options.method,
            "num_sampling_steps": options.steps,
            "cfg_scale": options.guidance_scale,
            "text_prompt": [head],
            "additional_prompt": task.text[len(head) :] + options.additional_prompt,
            "enable_xformers_memory_efficient_attention": options.xformers,
        }
        return Launch([self.script, "--config", str(write_config(folder / "config.yaml", content))])

    def output(self, task: Task, folder: Path) -> Path | None:
        """Named after the head of the text."""
        path = folder / "clips" / (_head(task.text).replace(" ", "_") + ".mp4")
        return path if path.is_file() else None


def _head(text: str) -> str:
    """The part of a text that may name a file: the program appends the rest to it and reads the same text."""
    return text.split("/", maxsplit=1)[0][:_HEAD]
