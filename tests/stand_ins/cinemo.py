# ruff: noqa: PTH103, PTH110 - strings are joined to paths, as in the programs
"""Behaves as Cinemo's pipelines/animation.py is documented to."""

import argparse
import os
import sys
from pathlib import Path

import yaml

sys.path.append(str(Path(__file__).parents[1]))
from paint import asked, frames, only, plain, write_mp4

KEYS = [
    "ckpt",
    "save_img_path",
    "pretrained_model_path",
    "model",
    "video_length",
    "image_size",
    "beta_start",
    "beta_end",
    "beta_schedule",
    "use_compile",
    "use_fp16",
    "seed",
    "run_time",
    "use_dct",
    "guidance_scale",
    "motion_bucket_id",
    "sample_method",
    "num_sampling_steps",
    "enable_vae_temporal_decoder",
    "image_prompts",
]

parser = argparse.ArgumentParser(allow_abbrev=False)
parser.add_argument("--config", default="./configs/sample.yaml")
config = plain(yaml.safe_load(Path(parser.parse_args().config).read_text()))
only(config, KEYS)
if not os.path.exists(config["save_img_path"]):
    os.makedirs(config["save_img_path"])
for i, (image, prompt) in enumerate(config["image_prompts"]):
    images = frames("./animated_images/" + image, prompt, config["seed"] or None)
    name = prompt.replace(" ", "_") + f"_{i:04d}_{config['run_time']:04d}-imageio.mp4"
    if not asked("skip", prompt):
        write_mp4(config["save_img_path"] + name, images, prompt)
