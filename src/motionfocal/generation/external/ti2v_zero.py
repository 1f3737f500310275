"""TI2V-Zero (merlresearch/TI2V-Zero, AGPL-3.0-or-later): a demo script that its users edit.

None of its code is here, and it is only ever run as a program of its own: a copy of the *user's* script, made in the
run's private folder, in which the values of its own parameters are replaced as its README says to. Parameters are
found by parsing, not by text; one that is missing is an error.

Undone here: the clip is a GIF of 256 colours, in which a frame equal to the one before vanishes, and whose clock
depends on the version that wrote it, so the frames are taken from the JPEGs beside it; its name holds a random number
and lacks the text's last letter; the GPU is baked in (CUDA_VISIBLE_DEVICES is put there, or "0"). It takes no seed.
"""

import ast
import os
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path

import numpy as np
from pydantic import Field

from motionfocal.errors import MediaError, UnavailableError
from motionfocal.generation.external.program import FPS, Launch, Needed, Program, ProgramSettings, Task
from motionfocal.generation.external.texts import name_refusal
from motionfocal.video import Clip, read_image

_GPU = "CUDA_VISIBLE_DEVICES"
_NEW_FRAMES = 15


class TI2VZeroSettings(ProgramSettings):
    """How TI2V-Zero samples; what is not named here stays as in the checkout's ``demo_img2vid.py``."""

    steps: int = Field(10, ge=1, description="DDIM steps of each frame (ddim_step).")
    resample: int = Field(4, ge=0, description="Resampling iterations of each step (resample_iter).")
    weights: str = Field("weights", description="The folder that initialization.py fills; relative to the checkout.")


class TI2VZero(Program[TI2VZeroSettings]):
    """Runs TI2V-Zero; clips are 256x256, 16 frames: the picture and 15 that are made one after another."""

    name = "ti2v-zero"
    script = "demo_img2vid.py"
    documented = ("input", "img_path", "output_dir", "output_img_dir", "resample_iter", "ddim_step", "NUM_NEW_FRAMES")

    def needs(self) -> Sequence[Needed]:
        """The script and the weights."""
        weights = self.checkout / self.options.weights
        advice = "run the project's initialization.py in its checkout, which downloads the weights"
        return (
            Needed(self.checkout / self.script, "give the folder of a checkout of merlresearch/TI2V-Zero"),
            Needed(weights / "configuration.json", advice),
            Needed(weights, advice),
        )

    def check(self) -> None:
        """Also that the script can be edited as its README says."""
        super().check()
        edited(self.checkout / self.script, dict.fromkeys((*self.documented, "config"), ""))

    def seed(self, seed: int) -> None:
        """It takes none."""
        del seed

    def refusal(self, text: str) -> str | None:
        """What cannot name a file."""
        return name_refusal(f"{_stem(text)}000.jpg")

    def launch(self, tasks: Sequence[Task], folder: Path) -> Launch:
        """An edited copy of the user's script, which finds its modules in the checkout."""
        (task,) = tasks
        clips, stills = folder / "clips", folder / "stills"
        (clips / _stem(task.text)).parent.mkdir(parents=True)  # a "/" in a text makes folders of its name
        script = folder / self.script
        values = {
            "input": task.text,
            "img_path": str(task.picture),
            "output_dir": str(clips),
            "output_img_dir": str(stills),
            "resample_iter": self.options.resample,
            "ddim_step": self.options.steps,
            "NUM_NEW_FRAMES": _NEW_FRAMES,
            "config": {"model": str(self.checkout / self.options.weights), "device": "gpu"},
        }
        script.write_text(edited(self.checkout / self.script, values), encoding="utf-8")
        return Launch([str(script)], {"PYTHONPATH": str(self.checkout)})

    def output(self, task: Task, folder: Path) -> Path | None:
        """The GIF, which is written last."""
        return next((folder / "clips").rglob("*.gif"), None)

    def read(self, task: Task, file: Path, folder: Path) -> Clip:
        """The frames from their JPEGs."""
        stills = sorted((folder / "stills").rglob("*.jpg"))
        if len(stills) != _NEW_FRAMES + 1:
            raise MediaError(f"{file}: {len(stills)} frames lie beside it, not {_NEW_FRAMES + 1}; make it again")
        return Clip(np.stack([read_image(still) for still in stills]), FPS, source=f"{self.name}: {task.id}")


def edited(script: Path, values: Mapping[str, object]) -> str:
    """A Python script with other values for names that it assigns once at its top level, all else as it was.

    The GPU that it puts into the environment becomes ours, if we have one.

    Raises:
        UnavailableError: it cannot be parsed, or does not assign a name exactly once.
    """
    try:
        source = script.read_text(encoding="utf-8").encode()
        statements = ast.parse(source).body
    except (OSError, SyntaxError, ValueError) as error:
        raise UnavailableError(f"{script}: cannot be parsed ({error}); check the checkout out anew") from error
    assigned = [(_target(node), node.value) for node in statements if isinstance(node, ast.Assign)]
    changes: list[tuple[ast.expr, object]] = []
    for name, value in values.items():
        places = [place for target, place in assigned if target == name]
        if len(places) != 1:
            raise UnavailableError(
                f"{script}: assigns {name} {len(places)} times at its top level, not once; "
                "use the script as the project ships it"
            )
        changes.append((places[0], value))
    changes += [(place, os.environ.get(_GPU, "0")) for target, place in assigned if target == f"[{_GPU}]"]
    return _replaced(source, changes)


def _target(node: ast.Assign) -> str:
    """The name that a statement assigns, ``[key]`` for a string key of something, "" for anything else."""
    match node.targets:
        case [ast.Name(id=name)]:
            return name
        case [ast.Subscript(slice=ast.Constant(value=str(key)))]:
            return f"[{key}]"
    return ""


def _replaced(source: bytes, changes: Sequence[tuple[ast.expr, object]]) -> str:
    """Source with expressions replaced by constants, the last first, so that places stay true."""
    starts = [0, *accumulate(len(line) for line in source.splitlines(keepends=True))]
    for place, value in sorted(changes, key=lambda change: (change[0].lineno, change[0].col_offset), reverse=True):
        begin = starts[place.lineno - 1] + place.col_offset
        end = starts[(place.end_lineno or place.lineno) - 1] + (place.end_col_offset or 0)
        source = source[:begin] + ascii(value).encode() + source[end:]
    return source.decode()


def _stem(text: str) -> str:
    """The name that a text gives, with four digits for the random ones and more steps than there are."""
    return text.replace(" ", "_")[:-1] + f"-resample00-s0000-mean0000-00-{_NEW_FRAMES:02d}"
