"""The README's way from a folder of clips to a LoRA in the stock pipeline, walked line by line on a tiny checkpoint."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from safetensors.torch import load_file

from motionfocal.jsonl import read_jsonl
from motionfocal.video import probe, write_clip

from . import warm
from .textured import textured_clip
from .tiny_wan import write_folder

README = (Path(__file__).parents[1] / "README.md").read_text()
SECTION = README.partition("## Fine-tune an image-to-video model")[2].partition("\n## ")[0]
WEIGHTS = "Wan-AI/Wan2.2-TI2V-5B-Diffusers"
SMALLER = [
    "data.buckets=[[64,96]]", "data.frames=9", "steps=2", "batch_size=2", "optimizer.warmup_steps=1", "lora.rank=4",
    "validation.images=1", "validation.steps=2", "device=cpu", "threads=1",
]  # fmt: skip
"""What a CPU needs to walk it in a minute; everything else is the recipe's."""


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """A folder with clips, a photo, and a checkpoint under the name that the README gives it."""
    monkeypatch.chdir(tmp_path)
    write_folder(tmp_path / WEIGHTS)
    rows = ["file_name,text"]
    for n in range(3):
        write_clip(tmp_path / "my_clips" / f"{n}.mp4", textured_clip((64, 96), length=12, seed=n).frames, 24)
        rows.append(f"{n}.mp4,clip {n} moves")
    (tmp_path / "my_clips" / "metadata.csv").write_text("\n".join(rows) + "\n")
    Image.fromarray(np.full((80, 120, 3), 90, np.uint8)).save(tmp_path / "photo.png")
    return tmp_path


def run(line):
    done = warm.run("-m", *shlex.split(line.partition(" > ")[0]), timeout=600)
    assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.mark.slow
def test_from_a_folder_of_clips_to_a_lora_in_the_stock_pipeline(desk):
    lines = re.search(r"```bash\n(.*?)```", SECTION, re.S).group(1).splitlines()
    verbs = [line.split()[1] for line in lines]
    assert verbs == ["train", "heatmap", "prepare", "prepare", "train", "animate", "export"]

    shown = run(" ".join([lines[0].partition(" > ")[0], *(f"--set {shlex.quote(change)}" for change in SMALLER)]))
    Path("my.yaml").write_text(shown)
    assert yaml.safe_load(shown)["lora"]["rank"] == 4

    run(lines[1])
    assert len(list(Path("heatmaps").glob("*.mp4"))) == 3

    planned = run(lines[2])
    assert re.search(r"latents +│ 3 +│ 0 ", planned)
    assert re.search(r"at the highest +│ [\d.]+ [kMG]B", planned), "a dry run tells what training needs"
    assert not list(Path("cache").rglob("*.safetensors"))
    run(lines[3])
    assert len(list(Path("cache").rglob("latents/*/*.safetensors"))) == 3

    run(lines[4])
    assert [row["step"] for row in read_jsonl(Path("runs/mine/metrics.jsonl"))] == [1, 2]
    assert list(Path("runs/mine/samples").rglob("*.mp4"))

    run(lines[5])
    info = probe("dog.mp4")
    assert (info.frames, info.height % 64, info.width % 96) == (9, 0, 0)

    run(lines[6])
    names: dict[str, object] = {}
    exec(re.search(r"```python\n(.*?)```", SECTION, re.S).group(1), names)
    loaded = {name for name in names["pipeline"].transformer.state_dict() if "lora" in name}
    assert len(loaded) == len(load_file("runs/mine/model/weights.safetensors"))
