# ruff: noqa: PTH103, PTH118 - strings are joined to paths, as in the programs
"""Behaves as SEINE's sample_scripts/with_mask_sample.py is documented to."""

import argparse
import os
import sys
from pathlib import Path

import yaml
from PIL import Image

sys.path.append(str(Path(__file__).parents[1]))
from paint import asked, frames, only, plain, write_mp4

KEYS = [
    "ckpt",
    "pretrained_model_path",
    "input_path",
    "save_path",
    "model",
    "num_frames",
    "image_size",
    "use_fp16",
    "enable_xformers_memory_efficient_attention",
    "seed",
    "run_time",
    "cfg_scale",
    "sample_method",
    "num_sampling_steps",
    "text_prompt",
    "additional_prompt",
    "negative_prompt",
    "do_classifier_free_guidance",
    "mask_type",
    "use_mask",
]

parser = argparse.ArgumentParser(allow_abbrev=False)
parser.add_argument("--config", default="./configs/sample_mask.yaml")
config = plain(yaml.safe_load(Path(parser.parse_args().config).read_text()))
only(config, KEYS)
assert Path(config["ckpt"]).is_file() and Path(config["pretrained_model_path"]).is_dir()
given = config["text_prompt"]
prompt = given[0] if given else config["input_path"].split("/")[-1].split(".")[0].replace("_", " ")
base = prompt.replace(" ", "_")
prompt += config["additional_prompt"]
assert Path(config["input_path"]).suffix in (".jpg", ".png")
assert Image.open(config["input_path"]).mode == "RGB", "expected 3 channels"
os.makedirs(config["save_path"], exist_ok=True)
images = frames(config["input_path"], prompt, config["seed"] or None)
if not asked("skip", prompt):
    write_mp4(os.path.join(config["save_path"], base + ".mp4"), images, prompt)
