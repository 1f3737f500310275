"""What the README shows works as it stands there."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import torch

README = (Path(__file__).parents[1] / "README.md").read_text()
LINES = [
    line
    for block in re.findall(r"```bash\n(.*?)```", README, re.S)
    for line in block.splitlines()
    if line.startswith("motionfocal ")
]


def test_the_snippet_computes_a_loss():
    snippet = re.search(r"```python\n(.*?)```", README, re.S).group(1)
    rng = np.random.default_rng(0)
    names = {
        "frames": rng.integers(0, 256, (9, 64, 64, 3), dtype=np.uint8),
        "prediction": torch.randn(1, 16, 3, 8, 8, requires_grad=True),
        "target": torch.randn(1, 16, 3, 8, 8),
    }
    exec(snippet, names)
    assert names["prediction"].grad is not None
    assert names["heat"].shape == (3, 8, 8)
    assert names["out"].total > names["out"].diffusion


def test_there_are_commands_to_check():
    assert len(LINES) >= 8
    verbs = {"doctor", "demo", "heatmap", "prepare", "train", "animate", "export", "judge", "report"}
    verbs |= {"benchmark", "generate", "gallery", "metrics", "study", "experiment"}
    assert {line.split()[1] for line in LINES} == verbs


def test_the_make_targets_exist():
    makefile = (Path(__file__).parents[1] / "Makefile").read_text()
    for target in re.findall(r"^make (\w+)", README, re.M):
        assert re.search(rf"^{target}:", makefile, re.M)


def test_the_table_of_figures_is_what_was_measured():
    root = Path(__file__).parents[1]
    sys.path.insert(0, str(root / "benchmarks"))
    try:
        import run
    finally:
        sys.path.remove(str(root / "benchmarks"))
    kept = json.loads(run.KEPT.read_text())
    for document in (root / "README.md", root / "docs" / "figures.md"):
        text = document.read_text()
        shown = text.partition(run.MARKS[0])[2].partition(run.MARKS[1])[0]
        assert shown == run.table(kept), f"python benchmarks/run.py --table {document.relative_to(root)}"
    assert kept.keys() <= run.BENCHMARKS.keys()
    for name in run.BENCHMARKS:
        assert (root / "benchmarks" / f"{name}.py").is_file()
