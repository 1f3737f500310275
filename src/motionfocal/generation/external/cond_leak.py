"""Cond-leak: Conditional Image Leakage on DynamiCrafter (thu-ml/cond-image-leakage, Apache-2.0).

The program reads a folder of images and one text file, and pairs images sorted by name with lines by place. Undone
here: blank lines vanish and shift the pairs; names end at their first dot; without ``--text_input`` the texts are
dropped; the word "samples" is replaced in every path; ``_seed...`` may be appended to the folder of clips; pictures are
stretched to 4:3 or padded with black, depending on the version (they are cropped to what the script at hand expects);
one seed serves a whole run, hence one item a run, unless ``items_per_run`` says otherwise; the GPU that the project's
shell script bakes in is left to CUDA_VISIBLE_DEVICES.
"""

import ast
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from motionfocal.generation.external.program import Launch, Needed, Program, ProgramSettings, Task, require_plain

_SEEDS = 2**32
_RUN_SEED = 123
"""The project's own, for runs of several items."""


class CondLeakSettings(ProgramSettings):
    """How it samples; the defaults are ``inference_CIL_512.sh``'s."""

    weights: str = Field(
        "ckpt/finetuned/timenoise.ckpt", description="The tuned checkpoint; relative to examples/DynamiCrafter."
    )
    initial_noise: str = Field(
        "ckpt/initial_noise_512.pt", description="Analytic-Init's statistics; relative to examples/DynamiCrafter."
    )
    config: str = Field("configs/inference_512_v1.0.yaml", description="The model's config.")
    height: int = Field(320, ge=64, multiple_of=64, description="Pixels.")
    width: int = Field(512, ge=64, multiple_of=64, description="Pixels.")
    start: int = Field(1000, ge=1, le=1000, description="Where sampling starts (M): 1000 for the tuned model.")
    analytic_init: bool = Field(
        True, description="Draw the first noise by Analytic-Init; some versions misspell it and always do."
    )
    steps: int = Field(50, ge=1, description="DDIM steps.")
    eta: float = Field(1.0, ge=0, le=1, description="Noise added while sampling.")
    guidance_scale: float = Field(7.5, ge=1, description="Classifier-free guidance.")
    guidance_rescale: float = Field(0.7, ge=0, le=1, description="Guidance rescale.")
    fps: int = Field(
        24, ge=1, le=30, description="The frame rate that the model is told (frame_stride): less moves more."
    )
    fit: Literal["crop", "program"] = Field(
        "crop", description="How pictures get the model's shape: cropped by us, or as the program does it."
    )
    items_per_run: int = Field(
        1, ge=1, description="More load the model less often; then no clip has a seed of its own, and none is recorded."
    )


class CondLeak(Program[CondLeakSettings]):
    """Runs Cond-leak from ``examples/DynamiCrafter`` of its checkout."""

    name = "cond-leak"
    script = "scripts/evaluation/ddp_wrapper.py"
    pairs_by_order = True
    documented = (
        *("--nproc_per_node", "--nnodes", "--master_addr", "--master_port", "--node_rank"),
        *("--module", "--seed", "--ckpt_path", "--config", "--savedir", "--n_samples", "--bs", "--height", "--width"),
        *("--unconditional_guidance_scale", "--ddim_steps", "--ddim_eta", "--prompt_dir", "--text_input"),
        *("--video_length", "--frame_stride", "--timestep_spacing", "--guidance_rescale", "--perframe_ae"),
        *("--M", "--whether_analytic_init", "--analytic_init_path"),
    )

    def __init__(self, checkout: Path, python: Path, options: CondLeakSettings, work: Path | None = None) -> None:
        """``checkout`` may be the repository or its ``examples/DynamiCrafter``."""
        inner = checkout.expanduser() / "examples" / "DynamiCrafter"
        super().__init__(inner if inner.is_dir() else checkout, python, options, work)

    @property
    def group(self) -> int:
        """Items of one run."""
        return self.options.items_per_run

    @property
    def _inference(self) -> Path:
        return self.checkout / "scripts" / "evaluation" / "inference.py"

    def needs(self) -> Sequence[Needed]:
        """The scripts, the config, the checkpoint and the noise."""
        clone = "give the folder of a checkout of thu-ml/cond-image-leakage"
        return (
            Needed(self.checkout / self.script, clone),
            Needed(self._inference, clone),
            Needed(self.checkout / self.options.config, clone),
            Needed(self.checkout / self.options.weights, "download DynamiCrafter-CIL-512 as the project's README says"),
            Needed(
                self.checkout / self.options.initial_noise,
                "download the initial noise of 320x512 as the project's README says",
            ),
        )

    def seed(self, seed: int) -> int | None:
        """Ours in 32 bits, all that the program takes; None when a run has several items."""
        return seed % _SEEDS if self.group == 1 else None

    def size(self) -> tuple[int, int] | None:
        """What the script at hand leaves undistorted."""
        if self.options.fit == "program":
            return None
        return _stretched_to(self._inference) or (self.options.height, self.options.width)

    def launch(self, tasks: Sequence[Task], folder: Path) -> Launch:
        """The folder of pictures with its text file, and the project's command."""
        require_plain(folder, "samples", self.name)
        prompts = tasks[0].picture.parent
        (prompts / "prompts.txt").write_text("".join(task.text + "\n" for task in tasks), encoding="utf-8")
        options = self.options
        return Launch(
            [
                *("-m", "torch.distributed.launch", "--nproc_per_node=1", "--nnodes=1", "--master_addr=127.0.0.1"),
                *(f"--master_port={_free_port()}", "--node_rank=0", self.script, "--module", "inference"),
                *("--seed", str(_RUN_SEED if tasks[0].seed is None else tasks[0].seed)),
                *("--ckpt_path", str(self.checkout / options.weights)),
                *("--config", str(self.checkout / options.config)),
                *("--savedir", str(folder / "clips"), "--n_samples", "1", "--bs", "1"),
                *("--height", str(options.height), "--width", str(options.width)),
                *("--unconditional_guidance_scale", str(options.guidance_scale)),
                *("--ddim_steps", str(options.steps), "--ddim_eta", str(options.eta)),
                *("--prompt_dir", str(prompts), "--text_input", "--video_length", "16"),
                *("--frame_stride", str(options.fps), "--timestep_spacing", "uniform_trailing"),
                *("--guidance_rescale", str(options.guidance_rescale), "--perframe_ae", "--M", str(options.start)),
                *("--whether_analytic_init", str(int(options.analytic_init))),
                *("--analytic_init_path", str(self.checkout / options.initial_noise)),
            ]
        )

    def output(self, task: Task, folder: Path) -> Path | None:
        """Named after the picture, in a folder of the start or of samples, behind one that may end in the seed."""
        return next(folder.glob(f"clips*/**/{task.picture.stem}_sample0.mp4"), None)


def _stretched_to(script: Path) -> tuple[int, int] | None:
    """The (height, width) to which a script stretches pictures, None if it keeps their shape: ``Resize((h, w))``."""
    try:
        nodes = list(ast.walk(ast.parse(script.read_text(encoding="utf-8"))))
    except (OSError, ValueError, SyntaxError):
        return None
    for node in nodes:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "Resize":
            try:
                size = ast.literal_eval(node.args[0]) if node.args else None
            except ValueError:  # not constants
                continue
            if isinstance(size, tuple) and len(size) == 2 and all(isinstance(side, int) for side in size):
                return size[0], size[1]
    return None


def _free_port() -> int:
    """A port for the launcher, so that two runs on one machine do not meet on the one that is documented."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
