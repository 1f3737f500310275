# ruff: noqa: PTH103, PTH119, PTH122, PTH123 - strings are joined to paths, as in the programs
"""Behaves as AnimateAnything's train.py --eval is documented to: six clips, whatever is asked."""

import argparse
import os
import sys
import time
from pathlib import Path

import yaml
from paint import asked, frames, plain, write_gif, write_mp4
from PIL import Image

parser = argparse.ArgumentParser(allow_abbrev=False)
parser.add_argument("--config", default="./configs/my_config.yaml")
parser.add_argument("--eval", action="store_true")
parser.add_argument("rest", nargs=argparse.REMAINDER)
args = parser.parse_args()
config = yaml.safe_load(Path(args.config).read_text())
for override in args.rest:
    key, _, value = override.partition("=")
    *path, last = key.split(".")
    inner = config
    for name in path:
        inner = inner[name]
    assert last in inner or last in ("mask", "strength"), f"unknown key {key}"
    inner[last] = plain(yaml.safe_load(value))
assert args.eval, "this would train"
assert Path(config["pretrained_model_path"]).is_dir()
assert 0 <= config["seed"] < 2**32, "numpy takes 32 bits"
data = config["validation_data"]
assert isinstance(data["prompt"], str), f"the text was read as {type(data['prompt'])}"
stem = os.path.basename(data["prompt_image"]).split(".")[0]
folder = f"output/demo/{stem}"
variant = os.environ.get("STAND_IN_VARIANT", "")
for t in range(6):
    os.makedirs(folder, exist_ok=True)
    out = f"{folder}/{t}.gif"
    Image.new("L", (8, 8), 255).save(os.path.splitext(out)[0] + "_mask.jpg")
    strength = data.get("strength", t + 3)
    images = frames(data["prompt_image"], data["prompt"], f"{config['seed']} of strength {strength}" if t == 0 else t)
    if t:
        time.sleep(float(os.environ.get("STAND_IN_PAUSE", "0")))
    if asked("skip", data["prompt"]):
        sys.exit(0)
    if variant != "mp4 only":
        write_gif(out, images)
    write_mp4(out.replace("gif", "mp4" if variant == "mp4 only" else ".mp4"), images, data["prompt"])
    with open(f"{folder}/../made.txt", "a") as file:
        file.write(f"{stem} {t}\n")
