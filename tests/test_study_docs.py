"""The guide to a human study works as it stands there: its designs load, its commands parse, no key is missing."""

import re
import shlex
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel
from pydantic_core import PydanticUndefined
from typer.main import get_command

from motionfocal.cli import app
from motionfocal.errors import StudyError
from motionfocal.study.design import LEAST_MISSED, StudyDesign, load_design
from motionfocal.study.questions import Question

DOCS = Path(__file__).parents[1] / "docs"
GUIDE = (DOCS / "study.md").read_text()
ANALYSIS = (DOCS / "study-analysis.md").read_text()


def blocks(text: str, language: str) -> list[str]:
    """Fenced blocks of a language, also those within a list."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```", text, re.M | re.S)
    return [textwrap.dedent(block) for _, block in found]


DESIGNS = blocks(GUIDE, "yaml")
COMMANDS = [
    line
    for text in (GUIDE, ANALYSIS)
    for block in blocks(text, "bash")
    for line in block.splitlines()
    if line.startswith("motionfocal ")
]


def keys_told() -> dict[str, str]:
    """What the tables of keys say: each key, and its default as it is written there."""
    found = {}
    for table in re.findall(r"^\| key \| default \|.*\n\|[-|]+\n((?:\|.*\n)+)", GUIDE, re.M):
        for line in table.splitlines():
            key, default = (cell.strip() for cell in line.split("|")[1:3])
            found[key.strip("`")] = default
    return found


def keys_of(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, object]]:
    """All keys that a YAML file may have, with dots for those of nested settings, and the default of each."""
    for name, field in model.model_fields.items():
        yield prefix + name, field.default
        inner = next((kind for kind in _kinds(field.annotation) if kind is not Question), None)
        if inner:
            yield from keys_of(inner, f"{prefix}{name}.")


def _kinds(annotation: object) -> Iterator[type[BaseModel]]:
    """The settings within an annotation."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in getattr(annotation, "__args__", ()):
        yield from _kinds(part)


KEYS = dict(keys_of(StudyDesign)) | dict(keys_of(Question))


def parsed(line: str) -> None:
    """Parse a command as the program does before it runs it, with its error where it cannot."""
    command, words = get_command(app), shlex.split(line, comments=True)[1:]
    while hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    if command.name == "password":
        words += ["--password", "asked for otherwise"]
    command.make_context(command.name, words)


@pytest.mark.parametrize("text", DESIGNS)
def test_every_design_loads(tmp_path, text):
    path = tmp_path / "design.yaml"
    path.write_text(text)
    design = load_design(path)
    assert len(design.galleries) >= 2
    assert len(design.checks.graded(design.tasks)) >= LEAST_MISSED, "create would refuse it"
    assert all(folder.is_relative_to(tmp_path.resolve()) for folder in design.galleries)


def test_a_design_with_a_wrong_key_would_not_load(tmp_path):
    path = tmp_path / "design.yaml"
    path.write_text(DESIGNS[0] + "vote: 3\n")
    with pytest.raises(StudyError, match="vote"):
        load_design(path)


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_parses(line):
    parsed(line)


@pytest.mark.parametrize(
    ("line", "complaint"), [("motionfocal study status", "study"), ("motionfocal study plan --pairs 3", "--pairs")]
)
def test_a_wrong_command_does_not_parse(line, complaint):
    with pytest.raises(Exception, match=complaint) as refused:
        parsed(line)
    assert type(refused.value).__name__ in ("MissingParameter", "NoSuchOption")


def test_every_verb_is_shown():
    shown = {line.split()[2] for line in COMMANDS if line.startswith("motionfocal study ")}
    assert shown == set(get_command(app).commands["study"].commands)


def test_no_key_is_missing_and_none_is_made_up():
    assert set(keys_told()) == set(KEYS)


@pytest.mark.parametrize("key", KEYS)
def test_a_key_is_explained_with_its_default(key):
    default, said = KEYS[key], keys_told()[key]
    if default is PydanticUndefined or isinstance(default, BaseModel):  # must be given, or holds keys of its own
        assert said == ""
    elif said == "a text":
        assert isinstance(default, str)
        assert len(default) > 40
    elif default is None:
        assert said == "unset"
    else:
        assert yaml.safe_load(said.strip("`")) == (list(default) if isinstance(default, tuple) else default)


def test_the_page_of_figures_is_linked():
    assert "(study-analysis.md)" in GUIDE
    assert (DOCS / "study.png").stat().st_size <= 300_000
