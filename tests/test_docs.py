"""The documentation: its commands exist, its code runs, and its site has no dead link and shows all that there is."""

import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import motionfocal
from motionfocal.benchmarks import Benchmark, BenchmarkItem
from motionfocal.cli import app
from motionfocal.metrics.engine import measure
from motionfocal.metrics.references import jobs_of
from motionfocal.metrics.store import SampleStore
from motionfocal.motion import estimate_flow
from motionfocal.video import write_image

from .clips import moving
from .test_metrics_engine import gallery_of

ROOT = Path(__file__).parents[1]
DOCS = sorted((ROOT / "docs").glob("*.md"))
GROUPS = ("gallery", "study", "experiment")


def commands_of(page: Path) -> list[str]:
    """Command lines in the blocks of a page, joined where they go on in the next line."""
    inside, lines = False, []
    for line in page.read_text().replace("\\\n", " ").splitlines():
        if line.lstrip().startswith("```"):
            inside = not inside
        elif inside and line.startswith("motionfocal "):
            lines.append(line.split("  #")[0].strip())
    return lines


LINES = {f"{page.name}: {line}": line for page in [ROOT / "README.md", *DOCS] for line in commands_of(page)}


@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
def test_every_command_and_option_exists(line):
    """Each line with --help: an unknown command, or an option that the help does not list, fails."""
    verb, *rest = shlex.split(line)[1:]
    verbs = [verb, rest.pop(0)] if verb in GROUPS else [verb]
    said = CliRunner().invoke(app, [*verbs, "--help"], env={"COLUMNS": "200"})
    assert said.exit_code == 0, said.output
    for word in rest:
        if word.startswith("--"):
            assert word.split("=")[0] in said.output


def test_there_are_commands_to_check():
    assert len(LINES) > 60


def code_of(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / "docs" / page).read_text(), re.S)


def test_the_estimator_of_the_page_finds_a_pan(estimators):
    exec(code_of("extending.md")[0], {})
    ground = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    frames = np.stack([ground[:, 3 * k : 3 * k + 64] for k in range(3)])
    assert estimate_flow(frames, "phase").mean((0, 1, 2)) == pytest.approx((-3, 0), abs=0.2)
    assert "phase" in estimators


def test_the_metric_of_the_page_measures(tmp_path, monkeypatch):
    write_image(tmp_path / "a.png", moving(0)[0])
    item = BenchmarkItem("a", "a", tmp_path / "a.png", "it moves")
    gallery = gallery_of(tmp_path / "gallery", "model", [item], lambda _: np.full((4, 24, 32, 3), 100, np.uint8))
    names: dict = {"__name__": "extending"}
    monkeypatch.setitem(sys.modules, "extending", type(sys)("extending"))  # dataclasses look their module up
    exec(code_of("extending.md")[1], names)
    jobs = jobs_of([gallery], Benchmark("bench", (item,)), [names["Brightness"]()])
    assert measure(jobs, SampleStore(tmp_path / "store")) == []
    (kept,) = (tmp_path / "store").rglob("*.jsonl")
    assert re.search(r'"brightness": (99|100|101)', kept.read_text())


@pytest.mark.slow
def test_the_notebook_runs_from_its_first_cell_to_its_last():
    nbclient = pytest.importorskip("nbclient", reason="the notebook needs nbclient (pip install .[dev])")
    import nbformat

    notebook = nbformat.read(ROOT / "docs" / "tour.ipynb", 4)
    assert all(not cell.get("outputs") for cell in notebook.cells), "outputs are not kept in the repository"
    shorter = {'"steps=80"': '"steps=20", "optimizer.warmup_steps=5"', "over=8": "over=2"}
    # Other tests run beside this one, and two threads would wait for each other.
    alone = {"threads=2": "threads=1", "set_num_threads(2)": "set_num_threads(1)"}
    for there, here in (shorter | alone).items():
        assert any(there in cell.source for cell in notebook.cells)
        for cell in notebook.cells:
            cell.source = cell.source.replace(there, here)
    nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
    said = "".join(out.get("text", "") for cell in notebook.cells for out in cell.get("outputs", []))
    assert "the red circle moves right" in said
    assert said.count("followed: ") == 2


def test_every_page_is_in_the_contents():
    config = tomllib.loads((ROOT / "zensical.toml").read_text())["project"]
    listed = {page for section in config["nav"] for pages in section.values() for one in pages for page in one.values()}
    assert listed == {page.name for page in DOCS} | {"commands.md", "config.md", "api.md"}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built from a copy."""
    pytest.importorskip("zensical", reason="the site needs zensical (pip install .[dev])")
    copy = tmp_path_factory.mktemp("copy")
    for name in ("docs", "examples", "src"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "zensical.toml", copy)
    for command in ([sys.executable, "docs/site/collect.py"], [sys.executable, "-m", "zensical", "build", "--strict"]):
        ran = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stdout + ran.stderr
    return copy / "site"


@pytest.mark.slow
def test_the_site_shows_every_command_key_and_name(site):
    def page(name):
        return (site / name / "index.html").read_text()

    for name in motionfocal.__all__:
        assert name == "__version__" or f"motionfocal.{name}" in page("api")
    for verb in ("demo", "doctor", "study-create", "experiment-run"):
        assert f'id="{verb}"' in page("commands")
    for key in ("loss.weighting", "motion.estimator", "data.videos", "lora.rank", "model.weights"):
        assert f"<code>{key}</code>" in page("config")


@pytest.mark.slow
def test_no_page_leads_to_nothing_or_asks_another_server(site):
    followed = 0
    for page in site.rglob("*.html"):
        for kind, target in re.findall(r'<(a|img|script|link)[^>]* (?:href|src)="([^"#]+)', page.read_text()):
            if "://" in target:
                assert kind == "a", f"{page.relative_to(site)} asks {target}"
                continue
            place = site / target.lstrip("/") if target.startswith("/") else page.parent / target
            found = place / "index.html" if place.is_dir() else place
            assert found.exists() or target.startswith(("mailto:", "data:")), f"{page.relative_to(site)}: {target}"
            followed += 1
    assert followed > 500
