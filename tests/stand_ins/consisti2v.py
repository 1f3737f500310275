"""Behaves as ConsistI2V's scripts/animate.py is documented to."""

import argparse
import datetime
from pathlib import Path

import yaml
from paint import asked, frames, only, plain, write_mp4

parser = argparse.ArgumentParser(allow_abbrev=False)
parser.add_argument("--inference_config", default="configs/inference/inference.yaml")
parser.add_argument("--prompt_config", default="configs/prompts/default.yaml")
parser.add_argument("--format", default="mp4", choices=["gif", "mp4"])
parser.add_argument("optional_args", nargs="*", default=[])
args = parser.parse_args()
config = yaml.safe_load(Path(args.inference_config).read_text())
for override in args.optional_args:
    key, _, value = override.partition("=")
    *path, last = key.split(".")
    inner = config
    for name in path:
        inner = inner[name]
    assert last in inner, f"unknown key {key}"
    inner[last] = plain(yaml.safe_load(value))
prompts = plain(yaml.safe_load(Path(args.prompt_config).read_text()))
only(prompts, ["seeds", "prompts", "n_prompts", "path_to_first_frames"])
count = len(prompts["prompts"])
negatives = prompts["n_prompts"] * count if len(prompts["n_prompts"]) == 1 else prompts["n_prompts"]
seeds = prompts["seeds"] * count if len(prompts["seeds"]) == 1 else prompts["seeds"]
folder = f"{config['output_dir']}/{config['output_name']}-{datetime.datetime.now():%Y-%m-%dT%H-%M-%S}"
Path(folder, "sample").mkdir(parents=True)
for index, (text, _, image, seed) in enumerate(
    zip(prompts["prompts"], negatives, prompts["path_to_first_frames"], seeds, strict=False)
):
    images = frames(image, text, seed)
    name = "-".join(text.replace("/", "").split(" ")[:10]).replace(":", "")
    if not asked("skip", text):
        write_mp4(f"{folder}/sample/{index}-{name}.{args.format}", images, text)
write_mp4(f"{folder}/sample.{args.format}", images)
