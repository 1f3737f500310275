"""A full disk, a folder that may not be written to, a clock that jumps: one line says it, and nothing is lost."""

import os
from pathlib import Path

import pytest

from motionfocal.generation.gallery import Gallery
from motionfocal.jsonl import read_jsonl
from motionfocal.video import write_clip

from . import warm
from .page_galleries import moving

pytestmark = pytest.mark.slow
TINY = [
    "steps=4", "batch_size=2", "checkpoint_every=2", "model.width=16", "data.clips=4", "data.world.size=24",
    "optimizer.warmup_steps=0",
]  # fmt: skip
TRAIN = ["train", "sprites", *(word for change in [*TINY, "validation=null"] for word in ("--set", change))]


def motionfocal(*arguments: object, cwd: Path, largest_file: int | None = None, before: str = "") -> str:
    """Run a command in a process of its own, in which no file can grow beyond that; what it said, and its exit code."""
    code = f"import sys\n{before}\nfrom motionfocal.cli import main\nsys.argv[0] = 'motionfocal'\nmain()"
    ran = warm.run(
        "-c", code, *arguments, cwd=cwd, largest_file=largest_file,
        env={**os.environ, "OMP_NUM_THREADS": "1", "MPLCONFIGDIR": "/tmp"},
    )  # fmt: skip
    return f"{ran.stdout}{ran.stderr}\nexit {ran.returncode}"


def require_one_line(said: str) -> None:
    assert said.endswith("exit 1"), said
    assert "Traceback" not in said, said
    assert sum(line.startswith("error: ") for line in said.splitlines()) == 1, said


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    for n in range(3):
        write_clip(folder / f"{n}.mp4", moving(n, 8, 64), 8)
    (folder / "metadata.csv").write_text("file_name,text\n" + "".join(f"{n}.mp4,it moves\n" for n in range(3)))
    return folder


@pytest.mark.parametrize("largest", [100, 3_000, 100_000], ids=["no config", "no log", "no checkpoint"])
def test_a_training_whose_disk_is_full_goes_on_when_there_is_room(largest, tmp_path):
    require_one_line(motionfocal(*TRAIN, "--out", "run", cwd=tmp_path, largest_file=largest))
    assert motionfocal(*TRAIN, "--out", "run", cwd=tmp_path).endswith("exit 0")
    assert motionfocal(*TRAIN, "--out", "whole", cwd=tmp_path).endswith("exit 0")
    losses = [[row["loss"] for row in read_jsonl(tmp_path / run / "metrics.jsonl")] for run in ("run", "whole")]
    assert losses[0] == losses[1]


def test_heatmaps_on_a_full_disk(clips, tmp_path):
    said = motionfocal("heatmap", clips, "--out", "out", cwd=tmp_path, largest_file=1_000)
    assert "Traceback" not in said
    assert said.endswith("exit 1")
    assert all(f"{n}.mp4: " in said for n in range(3)), "each clip is named"
    assert motionfocal("heatmap", clips, "--out", "out", cwd=tmp_path).endswith("exit 0")


def test_a_gallery_on_a_full_disk(tmp_path):
    assert motionfocal(*TRAIN, "--out", "run", cwd=tmp_path).endswith("exit 0")
    animate = ["animate", "--world", "--model", "run", "--images", 2, "--texts", 1, "--steps", 2]
    require_one_line(motionfocal(*animate, cwd=tmp_path, largest_file=1_000))
    assert motionfocal(*animate, cwd=tmp_path).endswith("exit 0")
    assert len(Gallery.open(tmp_path / "run" / "gallery").rows()) == 2


def test_a_folder_that_is_a_file(clips, tmp_path):
    (tmp_path / "taken").write_text("a file")
    require_one_line(motionfocal(*TRAIN, "--out", "taken/run", cwd=tmp_path))
    said = motionfocal("prepare", "clips", "--set", f"data.videos={clips}", "--set",
                       f"data.captions={clips}/metadata.csv", "--set", "data.frames=8",
                       "--set", "data.cache=taken/cache", cwd=tmp_path)  # fmt: skip
    require_one_line(said)


JUMPS = """
import itertools, time
_back = itertools.count()
_true = time.time
time.time = lambda: _true() - 86_400 * (next(_back) % 3)  # a day back, two, none, and so on
"""


def test_a_clock_that_jumps_changes_no_training(tmp_path):
    assert motionfocal(*TRAIN, "--out", "run", cwd=tmp_path, before=JUMPS).endswith("exit 0")
    assert motionfocal(*TRAIN, "--out", "whole", cwd=tmp_path).endswith("exit 0")
    model = [(tmp_path / run / "model" / "weights.safetensors").read_bytes() for run in ("run", "whole")]
    assert model[0] == model[1]


def test_what_is_refused_that_is_no_path_keeps_its_traceback(tmp_path):
    """A port that may not be taken is not a disk that is full."""
    refused = (
        "import motionfocal.cli.entry as entry\n"
        "def app(): raise PermissionError(13, 'Permission denied')\n"
        "entry.app = app"
    )
    said = motionfocal("baselines", cwd=tmp_path, before=refused)
    assert "Traceback" in said
    assert "room" not in said
