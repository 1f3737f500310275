"""ConsistI2V (TIGER-AI-Lab/ConsistI2V, MIT): a config lists texts, images and a seed for each.

Undone here: clips go to a folder named after the time and are named after the first ten words of their text, without
some of its letters (they are found by their number); a grid of all clips is written last, which costs memory, so a
run has a limited number of items.
"""

from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from motionfocal.generation.external.program import Launch, Needed, Program, ProgramSettings, Task
from motionfocal.generation.external.texts import name_refusal, omegaconf_refusal, quoted, write_config


class ConsistI2VSettings(ProgramSettings):
    """How ConsistI2V samples; what is not named here stays as in ``configs/inference/inference.yaml``."""

    weights: str = Field("TIGER-Lab/ConsistI2V", description="A folder, or a name on the hub, which is downloaded.")
    height: int = Field(256, ge=64, multiple_of=8, description="Pixels.")
    width: int = Field(256, ge=64, multiple_of=8, description="Pixels.")
    steps: int = Field(50, ge=1, le=1000, description="DDIM steps.")
    guidance_scale: float = Field(7.5, ge=1, description="Classifier-free guidance of the text.")
    guidance_image: float = Field(1.0, ge=1, description="Classifier-free guidance of the image; 1 is none.")
    frame_stride: int = Field(3, ge=1, description="Frames of the source between two of the clip: more is faster.")
    frameinit: bool = Field(True, description="Take the noise's low frequencies from the image (FrameInit).")
    noise_level: int = Field(850, ge=0, le=999, description="FrameInit's noise level.")
    items_per_run: int = Field(32, ge=1, description="Items of one run; about 13 MB of memory each.")


class ConsistI2V(Program[ConsistI2VSettings]):
    """Runs ConsistI2V."""

    name = "consisti2v"
    documented = ("--inference_config", "--prompt_config", "--format")
    script = "scripts/animate.py"
    config = "configs/inference/inference.yaml"

    @property
    def group(self) -> int:
        """Items of one run."""
        return self.options.items_per_run

    def needs(self) -> Sequence[Needed]:
        """The script, its config, and weights."""
        clone = "give the folder of a checkout of TIGER-AI-Lab/ConsistI2V"
        return (
            Needed(self.checkout / self.script, clone),
            Needed(self.checkout / self.config, clone),
            *self.weights(self.options.weights, "give a folder of TIGER-Lab/ConsistI2V's weights, or that name"),
        )

    def refusal(self, text: str) -> str | None:
        """What OmegaConf would read otherwise, or what cannot name a file."""
        return omegaconf_refusal(text) or name_refusal(_name(text))

    def size(self) -> tuple[int, int] | None:
        """None for square clips, which ConsistI2V crops well; in others it pads what is too narrow with black."""
        size = self.options.height, self.options.width
        return None if size[0] == size[1] else size

    def launch(self, tasks: Sequence[Task], folder: Path) -> Launch:
        """A config of texts, images and seeds; the other settings as overrides, the project's documented way."""
        prompts = write_config(
            folder / "prompts.yaml",
            {
                "seeds": [task.seed for task in tasks],
                "prompts": [task.text for task in tasks],
                "n_prompts": [""],
                "path_to_first_frames": [str(task.picture) for task in tasks],
            },
        )
        return Launch(
            [
                *("-m", "scripts.animate"),
                *("--inference_config", self.config),
                *("--prompt_config", str(prompts)),
                *("--format", "mp4"),
                *self._overrides(folder),
            ]
        )

    def output(self, task: Task, folder: Path) -> Path | None:
        """Found by its number, in the one folder that the run made."""
        return next((folder / "clips").glob(f"*/sample/{task.place}-*.mp4"), None)

    def _overrides(self, folder: Path) -> list[str]:
        options = self.options
        local = self.checkout / options.weights
        return [
            f"output_dir={quoted(str(folder / 'clips'))}",
            f"output_name={quoted('i2v')}",
            f"pretrained_model_path={quoted(str(local) if local.exists() else options.weights)}",
            f"sampling_kwargs.height={options.height}",
            f"sampling_kwargs.width={options.width}",
            f"sampling_kwargs.steps={options.steps}",
            f"sampling_kwargs.guidance_scale_txt={options.guidance_scale}",
            f"sampling_kwargs.guidance_scale_img={options.guidance_image}",
            f"sampling_kwargs.frame_stride={options.frame_stride}",
            "sampling_kwargs.num_videos_per_prompt=1",
            f"frameinit_kwargs.enable={str(options.frameinit).lower()}",
            f"frameinit_kwargs.noise_level={options.noise_level}",
        ]


def _name(text: str) -> str:
    """The longest name that a text gives; the number before it has up to four digits."""
    return "0000-" + "-".join(text.replace("/", "").split(" ")[:10]).replace(":", "") + ".mp4"
