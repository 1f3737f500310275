"""The nine open models that the paper compares with, as data: what each is, under which terms, and how it is run here.

Facts are those of the projects' repositories; what nobody publishes is not said.
"""

from dataclasses import dataclass, field
from typing import Literal

from motionfocal.errors import UnknownNameError

Runs = Literal["in-process", "external"]


@dataclass(frozen=True)
class Baseline:
    """One model.

    ``size`` is (height, width) and ``fps`` the rate of its clips, as its authors ship it; a square of AnimateAnything's
    stands for its area. ``command`` is the authors' own; ``setup`` says what to install or download for ours. ``notes``
    name the traps, and which of them are undone here.
    """

    name: str
    title: str
    runs: Runs
    repository: str
    code_licence: str
    weights_licence: str
    base: str
    size: tuple[int, int]
    frames: int
    fps: float
    steps: int
    command: str
    setup: tuple[str, ...]
    notes: tuple[str, ...] = field(default=())

    @property
    def usage(self) -> str:
        """The command of ours."""
        where = {"in-process": "--weights FOLDER", "external": "--checkout DIR --python DIR/.venv/bin/python"}[
            self.runs
        ]
        if self.name == "i2vgen-xl":
            where = "[--weights FOLDER]"
        return f"motionfocal generate {self.name} --benchmark B --out GALLERY {where}"


def baseline(name: str) -> Baseline:
    """A baseline by its name. Raises UnknownNameError."""
    if name not in BASELINES:
        raise UnknownNameError("baseline", name, list(BASELINES))
    return BASELINES[name]


_CARD = "not stated in the repository; see the card of the weights"

_ALL = (
    Baseline(
        name="dynamicrafter",
        title="DynamiCrafter-512",
        runs="in-process",
        repository="Doubiiu/DynamiCrafter",
        code_licence="Apache-2.0",
        weights_licence=_CARD,
        base="VideoCrafter: the picture's latent beside the noise, and tokens of CLIP in cross-attention",
        size=(320, 512),
        frames=16,
        fps=8,
        steps=50,
        command=(
            "python3 scripts/evaluation/inference.py --seed 123 --ckpt_path checkpoints/dynamicrafter_512_v1/model.ckpt"
            " --config configs/inference_512_v1.0.yaml --savedir results/NAME --n_samples 1 --bs 1 --height 320"
            " --width 512 --unconditional_guidance_scale 7.5 --ddim_steps 50 --ddim_eta 1.0 --prompt_dir prompts/512/"
            " --text_input --video_length 16 --frame_stride 24 --timestep_spacing uniform_trailing"
            " --guidance_rescale 0.7 --perframe_ae"
        ),
        setup=(
            "download model.ckpt of DynamiCrafter-512",
            "motionfocal convert dynamicrafter model.ckpt FOLDER",
        ),
        notes=(
            "sampled as shipped: 50 steps, eta 1, guidance 7.5, rescale 0.7, trailing steps, told 24 fps, saved at 8",
            "undone: pictures that are narrower than 8:5 are padded with black; here they are enlarged and cropped",
            "undone: pictures and prompts are paired by their sort order, and a blank line shifts them",
        ),
    ),
    Baseline(
        name="videocrafter1",
        title="VideoCrafter1 (I2V-512)",
        runs="in-process",
        repository="AILab-CVC/VideoCrafter",
        code_licence="Apache-2.0 by its licence file; its README: research and non-commercial use only",
        weights_licence="research and non-commercial use only, by the README",
        base="VideoCrafter: tokens of CLIP in cross-attention alone, so the picture is not kept exactly",
        size=(320, 512),
        frames=16,
        fps=10,
        steps=50,
        command=(
            "python3 scripts/evaluation/inference.py --seed 123 --mode i2v"
            " --ckpt_path checkpoints/i2v_512_v1/model.ckpt --config configs/inference_i2v_512_v1.0.yaml"
            " --savedir results/NAME --n_samples 1 --bs 1 --height 320"
            " --width 512 --unconditional_guidance_scale 12.0 --ddim_steps 50 --ddim_eta 1.0 --prompt_file PROMPTS.txt"
            " --cond_input IMAGE_DIR --fps 8"
        ),
        setup=(
            "download model.ckpt of VideoCrafter1 I2V-512",
            "motionfocal convert videocrafter1 model.ckpt FOLDER",
        ),
        notes=(
            "sampled as shipped: 50 steps, eta 1, guidance 12, told 8 fps, saved at 10",
            "kept: the picture is stretched to 512x320; CLIP stretches it back to a square, so that it sees all of it",
            "undone: pictures are found by the end of their names, and .jpeg is not",
        ),
    ),
    Baseline(
        name="cinemo",
        title="Cinemo",
        runs="external",
        repository="maxin-cn/Cinemo",
        code_licence="Apache-2.0",
        weights_licence=_CARD,
        base="LaVie: the picture's latent before the others in time; it predicts 15 residuals",
        size=(320, 512),
        frames=16,
        fps=8,
        steps=50,
        command="python pipelines/animation.py --config configs/sample.yaml",
        setup=(
            "clone the repository, with an environment of its own (diffusers 0.24)",
            "its weights, as its README says",
        ),
        notes=(
            "guidance 7.5, motion bucket 8; an empty seed in its config is no seed",
            "its noise is of one shape: 320x512 only",
        ),
    ),
    Baseline(
        name="i2vgen-xl",
        title="I2VGen-XL",
        runs="in-process",
        repository="ali-vilab/VGen",
        code_licence="no licence file; its README: research and non-commercial use only",
        weights_licence="research and non-commercial use only, by the README",
        base="ModelScope's UNet: the picture's latent beside the noise, its CLIP embedding, and tokens",
        size=(704, 1280),
        frames=16,
        fps=8,
        steps=50,
        command=(
            "python inference.py --cfg configs/i2vgen_xl_infer.yaml test_list_path LIST.txt"
            " test_model models/i2vgen_xl_00854500.pth"
        ),
        setup=("weights ali-vilab/i2vgen-xl from the hub, or a folder of them with --weights",),
        notes=(
            "run by I2VGenXLPipeline of diffusers: 50 steps, guidance 9, told 16 fps, saved at 8",
            "VGen adds one long negative prompt to all; diffusers does not, and neither do we: give it with"
            " --set negative_prompt=TEXT",
            "undone: VGen makes four clips of each item, and drops a last frame that is mostly grey",
            "undone: the pipeline draws the picture's latent from the global generator; it is seeded here",
        ),
    ),
    Baseline(
        name="seine",
        title="SEINE",
        runs="external",
        repository="Vchitect/SEINE",
        code_licence="Apache-2.0",
        weights_licence="open, commercial use included, by the README",
        base="LaVie: noise, a mask, and the latent of the masked video",
        size=(240, 560),
        frames=16,
        fps=8,
        steps=250,
        command="python sample_scripts/with_mask_sample.py --config configs/sample_i2v.yaml",
        setup=("clone the repository, with an environment of its own", "its weights, as its README says"),
        notes=(
            "guidance 8, DDPM; 240x560 keeps under half of a square picture: --size 320x512, also in its config, more",
            "undone: it appends ', slow motion.' to every prompt, and takes an empty prompt from the file's name",
            "undone: clips are named by their prompts, so that equal ones overwrite each other; pictures are stretched",
        ),
    ),
    Baseline(
        name="cond-leak",
        title="Cond-leak (DynamiCrafter-CIL-512)",
        runs="external",
        repository="thu-ml/cond-image-leakage",
        code_licence="Apache-2.0",
        weights_licence=_CARD,
        base="DynamiCrafter, trained with noise on its picture; sampling starts at step M from Analytic-Init",
        size=(320, 512),
        frames=16,
        fps=8,
        steps=50,
        command="cd examples/DynamiCrafter && sh inference_CIL_512.sh",
        setup=(
            "clone the repository, with an environment of its own",
            "weights GraceZhao/DynamiCrafter-CIL-512, initial_noise_512.pt of GraceZhao/DynamiCrafter-Analytic-Init",
        ),
        notes=(
            "M is 1000 for the tuned weights and 940 for plain ones; its script is for the second GPU",
            "which of its bases the paper compares with is not known",
        ),
    ),
    Baseline(
        name="ti2v-zero",
        title="TI2V-Zero",
        runs="external",
        repository="merlresearch/TI2V-Zero",
        code_licence="AGPL-3.0-or-later: it is run as a program of its own, and no code of it is here",
        weights_licence="those of ModelScope's text-to-video model; see their card",
        base="ModelScope's text-to-video model, not trained: one new frame after another",
        size=(256, 256),
        frames=16,
        fps=8,
        steps=10,
        command="python initialization.py; edit and run demo_img2vid.py",
        setup=(
            "clone the repository, with an environment of its own (torch 1.13, modelscope 1.4.2)",
            "python initialization.py downloads its weights",
        ),
        notes=("guidance 9, 4 resampling rounds; clips are GIFs; its demo is for the second GPU",),
    ),
    Baseline(
        name="animate-anything",
        title="AnimateAnything",
        runs="external",
        repository="alibaba/animate-anything",
        code_licence="MIT",
        weights_licence=_CARD,
        base="ModelScope and ZeroScope: the picture's latent before the others in time, a mask, a strength of motion",
        size=(512, 512),
        frames=16,
        fps=8,
        steps=25,
        command=(
            "python train.py --config output/latent/animate_anything_512_v1.02/config.yaml --eval"
            " validation_data.prompt_image=IMAGE validation_data.prompt='TEXT' validation_data.strength=5"
        ),
        setup=(
            "clone the repository, with an environment of its own (diffusers 0.24, torch 2.0)",
            "its weights, as its README says",
        ),
        notes=(
            "about 512x512 pixels at the picture's own aspect; guidance 9, DPM-Solver++",
            "without a strength it makes six clips, of strengths 3 to 8: one is chosen and written down",
        ),
    ),
    Baseline(
        name="consisti2v",
        title="ConsistI2V",
        runs="external",
        repository="TIGER-AI-Lab/ConsistI2V",
        code_licence="MIT",
        weights_licence=_CARD,
        base="Stable Diffusion 2.1: the picture's latent before the others in time, and in every attention",
        size=(256, 256),
        frames=16,
        fps=8,
        steps=50,
        command=(
            "python -m scripts.animate --inference_config configs/inference/inference.yaml"
            " --prompt_config PROMPTS.yaml --format mp4"
        ),
        setup=(
            "clone the repository, with an environment of its own (diffusers 0.21.2)",
            "weights TIGER-Lab/ConsistI2V",
        ),
        notes=(
            "guidance 7.5 of the text and 1 of the picture; FrameInit at level 850",
            "clips are named by place and the first ten words of their prompts",
        ),
    ),
)

BASELINES = {entry.name: entry for entry in _ALL}
"""By name, in the order of the paper's figure."""
