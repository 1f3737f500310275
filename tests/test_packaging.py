"""What is shipped: the wheel holds all that the package reads, is built from the source archive, and runs alone."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.slow


def run(*command: object, cwd: Path, **environment: str) -> str:
    ran = subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=cwd, env=os.environ | environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    """The wheel is built from the source archive."""
    pytest.importorskip("build", reason="needs build and hatchling (pip install .[dev])")
    folder = tmp_path_factory.mktemp("dist")
    run("-m", "build", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def wheel(dist):
    (file,) = dist.glob("*.whl")
    with zipfile.ZipFile(file) as archive:
        yield archive


def test_the_wheel_is_the_package_and_nothing_else(wheel):
    package = ROOT / "src" / "motionfocal"
    ours = {f"motionfocal/{path.relative_to(package).as_posix()}" for path in package.rglob("*") if path.is_file()}
    shipped = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert shipped == {name for name in ours if "__pycache__" not in name}


def test_the_source_archive_holds_tests_docs_and_no_results_of_runs(dist):
    (file,) = dist.glob("*.tar.gz")
    with tarfile.open(file) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"README.md", "LICENSE", "docs/concepts.md", "tests/test_packaging.py", "experiments/table2.yaml"} <= names
    assert not [name for name in names if name.startswith(("experiments/runs", "runs/", ".venv", "site/"))]


def test_it_runs_from_the_wheel_alone(wheel, tmp_path):
    wheel.extractall(tmp_path / "installed")
    place = {"PYTHONPATH": str(tmp_path / "installed")}
    where = run("-c", "import motionfocal; print(motionfocal.__file__)", cwd=tmp_path, **place)
    assert where.startswith(str(tmp_path))
    assert "demo" in run("-m", "motionfocal", "--help", cwd=tmp_path, **place)
    assert "weighting: paper" in run(
        "-m", "motionfocal", "train", "sprites", "--out", "run", "--show", cwd=tmp_path, **place
    )
