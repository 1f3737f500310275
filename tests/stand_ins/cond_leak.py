# ruff: noqa: PTH103, PTH118, PTH123, PTH207 - strings are joined to paths, as in the programs
"""Behaves as cond-image-leakage's scripts/evaluation/inference.py is documented to."""

import argparse
import glob
import os
import sys
from pathlib import Path

sys.path.insert(1, str(Path(__file__).parents[2]))
from paint import asked, frames, write_mp4

VALUES = [
    "savedir",
    "ckpt_path",
    "config",
    "prompt_dir",
    "n_samples",
    "ddim_steps",
    "ddim_eta",
    "bs",
    "height",
    "width",
    "frame_stride",
    "unconditional_guidance_scale",
    "seed",
    "video_length",
    "cfg_img",
    "timestep_spacing",
    "guidance_rescale",
    "M",
    "analytic_init_path",
    "whether_analytic_init",
]


class transforms:
    @staticmethod
    def Resize(size):
        return size


def get_filelist(folder, postfixes):
    return sorted(name for postfix in postfixes for name in glob.glob(os.path.join(folder, f"*.{postfix}")))


def load_prompts(path):
    with open(path) as file:
        return [line.strip() for line in file.readlines() if line.strip()]


def get_parser():
    parser = argparse.ArgumentParser(allow_abbrev=False)
    for name in VALUES:
        parser.add_argument(f"--{name}", type=int if name in ("seed", "bs", "M", "height", "width") else str)
    for flag in ("negative_prompt", "text_input", "multiple_cond_cfg", "perframe_ae", "loop", "interp"):
        parser.add_argument(f"--{flag}", action="store_true")
    return parser


def run_inference(args):
    assert Path(args.ckpt_path).exists() and Path(args.analytic_init_path).exists() and Path(args.config).exists()
    assert args.height % 16 == 0 and args.width % 16 == 0 and args.bs == 1
    assert 0 <= args.seed < 2**32, "numpy takes 32 bits"
    size = transforms.Resize((384, 512))
    prompts = load_prompts(get_filelist(args.prompt_dir, ["txt"])[0])
    images = get_filelist(args.prompt_dir, ["jpg", "png", "jpeg", "JPEG", "PNG"])
    os.makedirs(os.path.join(args.savedir, f"{args.M}"), exist_ok=True)
    print("stretched to", size)
    for index, prompt in enumerate(prompts):
        shown = prompt if args.text_input else ""
        made = frames(images[index], shown, args.seed)
        stem = os.path.split(images[index])[1].split(".")[0]
        folder = os.path.join(args.savedir, "samples").replace("samples", f"{args.M}")
        if not asked("skip", prompt):
            write_mp4(os.path.join(folder, f"{stem}_sample0.mp4"), made, prompt)
