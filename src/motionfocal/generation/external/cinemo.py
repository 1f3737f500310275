"""Cinemo (maxin-cn/Cinemo, Apache-2.0): a config lists images and texts.

Undone here: images are looked for under the checkout's ``animated_images`` (they are named from there by a relative
path, so nothing is copied into the checkout); the file is named after the text, its place and ``run_time``; an empty
seed, and 0, mean none; one seed serves a whole run, so that a clip would depend on those before it: hence one item a
run, unless ``items_per_run`` says otherwise.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from motionfocal.generation.external.program import Launch, Needed, Program, ProgramSettings, Task
from motionfocal.generation.external.texts import name_refusal, omegaconf_refusal, read_config, write_config

_RUN = 0


class CinemoSettings(ProgramSettings):
    """How Cinemo samples; what is not named here stays as in the checkout's ``configs/sample.yaml``."""

    weights: str = Field("maxin-cn/Cinemo", description="A folder, or a name on the hub, which Cinemo downloads.")
    steps: int = Field(50, ge=1, le=1000, description="DDIM steps.")
    guidance_scale: float = Field(7.5, ge=1, description="Classifier-free guidance.")
    motion_bucket: int = Field(8, ge=0, le=19, description="Motion intensity: the larger, the less motion.")
    items_per_run: int = Field(
        1, ge=1, description="More load the model less often; then no clip has a seed of its own, and none is recorded."
    )


class Cinemo(Program[CinemoSettings]):
    """Runs Cinemo; clips are 320x512, the only size that it makes."""

    name = "cinemo"
    documented = ("--config",)
    script = "pipelines/animation.py"
    config = "configs/sample.yaml"

    @property
    def group(self) -> int:
        """Items of one run."""
        return self.options.items_per_run

    def needs(self) -> Sequence[Needed]:
        """The script, its config, the folder that it names images from, and weights."""
        clone = "give the folder of a checkout of maxin-cn/Cinemo"
        return (
            Needed(self.checkout / self.script, clone),
            Needed(self.checkout / self.config, clone),
            Needed(self._images, clone, decides=False),
            *self.weights(self.options.weights, "give a folder of maxin-cn/Cinemo's weights, or that name"),
        )

    @property
    def _images(self) -> Path:
        return self.checkout / "animated_images"

    def seed(self, seed: int) -> int | None:
        """Ours, but 1 for 0, which Cinemo takes for no seed; None when a run has several items."""
        return (seed or 1) if self.group == 1 else None

    def refusal(self, text: str) -> str | None:
        """What OmegaConf would read otherwise, or what cannot name a file."""
        return omegaconf_refusal(text) or name_refusal(_name(text, 0))

    def launch(self, tasks: Sequence[Task], folder: Path) -> Launch:
        """A config with all tasks."""
        clips = folder / "clips"
        for task in tasks:  # a "/" in a text makes folders of its name
            (clips / _name(task.text, task.place)).parent.mkdir(parents=True, exist_ok=True)
        options = self.options
        local = self.checkout / options.weights
        content = read_config(self.checkout / self.config) | {
            "pretrained_model_path": str(local) if local.exists() else options.weights,
            "save_img_path": f"{clips}/",
            "seed": tasks[0].seed if self.group == 1 else None,
            "run_time": _RUN,
            "num_sampling_steps": options.steps,
            "guidance_scale": options.guidance_scale,
            "motion_bucket_id": options.motion_bucket,
            "image_prompts": [[self._from_images(task.picture), task.text] for task in tasks],
        }
        return Launch([self.script, "--config", str(write_config(folder / "config.yaml", content))])

    def output(self, task: Task, folder: Path) -> Path | None:
        """Named after the text and its place."""
        path = folder / "clips" / _name(task.text, task.place)
        return path if path.is_file() else None

    def _from_images(self, picture: Path) -> str:
        # Both resolved: ".." leads out of what a link points to, not out of the link.
        return os.path.relpath(picture.resolve(), self._images.resolve())


def _name(text: str, place: int) -> str:
    return f"{text.replace(' ', '_')}_{place:04d}_{_RUN:04d}-imageio.mp4"
