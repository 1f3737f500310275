# ruff: noqa: PTH103, PTH118, PTH119 - strings are joined to paths, as in the programs
"""Behaves as TI2V-Zero's demo_img2vid.py is documented to; its parameters have that script's names. Not its code."""

import os
from pathlib import Path

from paint import asked, frames, write_gif
from PIL import Image

os.environ["CUDA_VISIBLE_DEVICES"] = "1"

# The text: edit me. Ein Kommentar mit Umlauten: äöü
input = "A mesmerizing display of the northern lights in the Arctic."  # noqa: A001
img_path = "examples/northern_lights_sd.jpg"
config = {"model": "./weights", "device": "gpu"}
output_dir = "./example-video"
output_img_dir = "./example-image"
os.makedirs(output_dir, exist_ok=True)
os.makedirs(output_img_dir, exist_ok=True)
resample_iter = 4
ddim_step = 10
NUM_NEW_FRAMES = 15

Path(output_img_dir, "gpu.txt").write_text(os.environ["CUDA_VISIBLE_DEVICES"])
assert (Path(config["model"]) / "configuration.json").is_file()
number = int.from_bytes(os.urandom(2)) % 10000
postfix = f"-resample{resample_iter:02d}-s{ddim_step:02d}-mean{number:04d}-00"
name = input.replace(" ", "_")[:-1] + f"{postfix}-{NUM_NEW_FRAMES:02d}.gif"
images = frames(img_path, input)
for index, image in enumerate(images):
    stem = os.path.basename(name)[:-4]
    os.makedirs(os.path.join(output_img_dir, stem), exist_ok=True)
    img_path = os.path.join(output_img_dir, stem, f"{stem}{index:03d}.jpg")
    Image.fromarray(image).save(img_path)
if not asked("skip", input):
    write_gif(os.path.join(output_dir, name), images)
