"""The house: imports only point down, the package is light to import, help is quick, files stay short."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

import motionfocal
from motionfocal.cli import app

PACKAGE = Path(motionfocal.__file__).parent
FLOORS = [
    "errors", "reading", "settings", "jsonl", "shard", "engine", "tables", "intervals", "pages", "video", "motion",
    "loss", "worlds", "benchmarks", "models", "generation", "metrics", "data", "training", "study", "report",
    "experiments", "doctor", "cli",
]  # fmt: skip
"""From the ground up: a room may import from itself and from the rooms before it."""


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(path: Path) -> set[str]:
    """Rooms that a file imports from, wherever in the file."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [node.module or ""]
        found |= {name.split(".")[1] for name in names if name.startswith("motionfocal.")}
    return found


SOURCES = [path for path in sorted(PACKAGE.rglob("*.py")) if room_of(path) not in ("__init__", "__main__")]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_only_point_down(path):
    room = room_of(path)
    assert room in FLOORS, f"a new room: say in FLOORS where {room} stands"
    above = {other for other in imports_of(path) if FLOORS.index(other) > FLOORS.index(room)}
    assert not above, f"{room} imports from {above}, which stand above it"


def test_the_check_of_imports_can_fail(tmp_path):
    path = tmp_path / "video.py"
    path.write_text("def f():\n    from motionfocal.cli.app import app\n")
    assert imports_of(path) == {"cli"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_stay_short(path):
    assert len(path.read_text().splitlines()) <= 400


def test_importing_the_package_is_light():
    heavy = ["torch", "torchvision", "diffusers", "transformers", "cv2", "av", "matplotlib", "scipy"]
    code = f"import sys, motionfocal, motionfocal.cli; print([m for m in {heavy} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_public_doors_need_neither_diffusers_nor_transformers():
    code = (
        "import sys, motionfocal as m; [getattr(m, name) for name in m.__all__];"
        "print([n for n in ('diffusers', 'transformers') if n in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
    with pytest.raises(AttributeError, match="nonsense"):
        motionfocal.nonsense  # noqa: B018


@pytest.mark.parametrize("asked", ["--help", "--version"])
def test_help_does_not_load_heavy_libraries(asked):
    """Its time is measured by benchmarks/startup.py; here only what decides it."""
    code = (
        "import sys, motionfocal.cli as c\n"
        f"try: c.app(['{asked}'])\n"
        "except SystemExit: pass\n"
        "print('HEAVY', [m for m in ('torch', 'numpy', 'cv2', 'pydantic') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "HEAVY []" in out.stdout
    assert (f"motionfocal {motionfocal.__version__}\n" in out.stdout) == (asked == "--version")


def test_help_shows_every_verb_in_a_panel():
    said = CliRunner().invoke(app, ["-h"], env={"COLUMNS": "100"}).output
    panels = re.findall(r"^[^\w\s]+ (\w[\w ]*?) [^\w\s]+$", said, re.M)
    assert panels == ["Options", "Start", "Train", "Compare", "Ask people"], "none is left over in one of typer's own"
    verbs = re.findall(r"^\W (\w+) ", said, re.M)
    assert verbs == list(get_command(app).commands)


def verbs_of(group, path=()):
    """Every verb's command, by what is typed."""
    for name, command in group.commands.items():
        inner = (*path, name)
        yield from verbs_of(command, inner) if hasattr(command, "commands") else [(inner, command)]


VERBS = dict(verbs_of(get_command(app)))


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_every_option_is_explained_and_help_has_a_short_flag(verb):
    said = CliRunner().invoke(app, [*verb, "-h"])
    assert (said.exit_code, "Usage:" in said.output) == (0, True), said.output
    assert [param.name for param in VERBS[verb].params if not param.help] == []


@pytest.mark.parametrize("verb", ["demo", "heatmap", "train", "animate", "judge", "report"])
def test_every_verb_explains_itself(verb):
    out = subprocess.run(
        [sys.executable, "-m", "motionfocal", verb, "--help"], capture_output=True, text=True, check=True
    )
    assert "--out" in out.stdout
