"""AnimateAnything (alibaba/animate-anything, MIT): one image a run, told by overrides of a config.

Undone here: a run makes six clips, of motion strengths 3 to 8, or all six of the one that is given; one strength is
given and recorded, the first clip taken, and the program stopped when it begins the second. Overrides are read as
YAML, so texts are quoted. Clips go to the checkout's ``output/demo`` under the image's name up to its first dot: ours
have names that no other has, and are taken away. Some versions name the clip ``0..mp4``.
"""

import shutil
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from pydantic import Field

from motionfocal.errors import UnavailableError
from motionfocal.generation.external.program import Launch, Needed, Program, ProgramSettings, Task
from motionfocal.generation.external.texts import omegaconf_refusal, quoted, read_config

_SEEDS = 2**32


class AnimateAnythingSettings(ProgramSettings):
    """How AnimateAnything samples; what is not named here stays as in the config of its weights."""

    config: str = Field(
        "output/latent/animate_anything_512_v1.02/config.yaml",
        description="The config that comes with the weights; relative to the checkout.",
    )
    strength: int = Field(5, ge=0, description="Motion strength; the project's example has 5.")
    steps: int = Field(25, ge=1, description="DPM-Solver++ steps.")
    guidance_scale: float = Field(9.0, ge=1, description="Classifier-free guidance.")


class AnimateAnything(Program[AnimateAnythingSettings]):
    """Runs AnimateAnything; clips have the area of the config (512x512) at the picture's aspect ratio."""

    name = "animate-anything"
    script = "train.py"
    documented = (
        *("--config", "--eval", "validation_data.prompt_image", "validation_data.prompt", "validation_data.strength"),
        *("validation_data.num_inference_steps", "validation_data.guidance_scale", "seed", "pretrained_model_path"),
    )

    def needs(self) -> Sequence[Needed]:
        """The script, the config and the weights that it names."""
        config = self.checkout / self.options.config
        advice = "download animate_anything_512_v1.02 and unpack it in output/latent, as the project's README says"
        files = [
            Needed(self.checkout / self.script, "give the folder of a checkout of alibaba/animate-anything"),
            Needed(config, advice),
        ]
        return [*files, Needed(self._weights(config), advice)] if config.is_file() else files

    def stem(self, place: int, folder: Path) -> str:
        """After which the program names its folder: of this run alone."""
        del place
        return _stem(folder)

    def seed(self, seed: int) -> int:
        """Ours in 32 bits, all that the program takes."""
        return seed % _SEEDS

    def refusal(self, text: str) -> str | None:
        """What OmegaConf would read otherwise."""
        return omegaconf_refusal(text)

    def launch(self, tasks: Sequence[Task], folder: Path) -> Launch:
        """The project's command with overrides."""
        (task,) = tasks
        options, config = self.options, self.checkout / self.options.config
        return Launch(
            [
                *(self.script, "--config", str(config), "--eval"),
                f"validation_data.prompt_image={quoted(str(task.picture))}",
                f"validation_data.prompt={quoted(task.text)}",
                f"validation_data.strength={options.strength}",
                f"validation_data.num_inference_steps={options.steps}",
                f"validation_data.guidance_scale={options.guidance_scale}",
                f"seed={task.seed}",
                f"pretrained_model_path={quoted(str(self._weights(config)))}",
            ]
        )

    def output(self, task: Task, folder: Path) -> Path | None:
        """The first of the six."""
        demo = self._demo(folder)
        return next((path for name in ("0.mp4", "0..mp4") if (path := demo / name).is_file()), None)

    def ready(self, task: Task, tasks: Sequence[Task], folder: Path) -> bool:
        """Whether the second of the six has been begun: it begins with its mask."""
        return any(self._demo(folder).glob("1*"))

    def done(self, folder: Path) -> None:
        """Take ours out of the checkout."""
        shutil.rmtree(self._demo(folder), ignore_errors=True)

    def _demo(self, folder: Path) -> Path:
        return self.checkout / "output" / "demo" / _stem(folder)

    def _weights(self, config: Path) -> Path:
        named = read_config(config).get("pretrained_model_path")
        if not isinstance(named, str):
            raise UnavailableError(f"{self.name}: {config} has no pretrained_model_path; unpack the weights anew")
        return self.checkout / named


def _stem(folder: Path) -> str:
    """A name of this run alone, without dots, and without "gif", which the program replaces in it."""
    return f"motionfocal-{sha256(str(folder).encode()).hexdigest()[:16]}"
