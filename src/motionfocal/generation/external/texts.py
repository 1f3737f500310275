"""Texts and configs in the forms in which other projects' programs read them."""

from collections.abc import Mapping
from pathlib import Path
from typing import cast

import yaml

from motionfocal.errors import UnavailableError
from motionfocal.reading import read_yaml

LONGEST_NAME = 255
"""Bytes that a file's name may have on the usual file systems."""


def one_line(text: str) -> str:
    """A text with every run of white space made one blank: all that CLIP's and T5's tokenizers see of it."""
    return " ".join(text.split())


def refusal(text: str) -> str | None:
    """Why no program can be given this one-line text, None if it can."""
    if not text:
        return "its text is empty"
    if any(not letter.isprintable() and letter.isascii() for letter in text):
        return "its text holds a control character; take it out"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "its text is not valid Unicode (half a surrogate pair); write it anew"
    return None


def omegaconf_refusal(text: str) -> str | None:
    """Why a program that reads its text through OmegaConf would read another one."""
    if "${" in text:
        return "its text holds '${', which the program's config reader takes for a variable; take it out"
    if text == "???":
        return "its text is '???', which the program's config reader takes for a missing value"
    return None


def name_refusal(name: str) -> str | None:
    """Why a program cannot write a file of this name, which it makes of the text."""
    parts = name.split("/")
    if any(len(part.encode()) > LONGEST_NAME for part in parts):
        return f"the program names its file after the text, and {len(name.encode())} bytes are too long; shorten it"
    if any(part in ("", ".", "..") for part in parts[:-1]):
        return "the program names its file after the text, and this one leads to another folder; take its '/' out"
    return None


def quoted(text: str) -> str:
    """A text as one YAML scalar in double quotes and ASCII, which no reader takes for a number, list or mapping."""
    return yaml.safe_dump(text, default_style='"', width=10**9).strip()


def read_config(path: Path) -> dict[str, object]:
    """A project's YAML config. Raises UnavailableError when it is none."""
    content = read_yaml(path, UnavailableError)
    if not isinstance(content, dict):
        raise UnavailableError(f"{path}: not a YAML config of named values; check the checkout out anew")
    return cast("dict[str, object]", content)


def write_config(path: Path, content: Mapping[str, object]) -> Path:
    """Write a YAML config; the path."""
    path.write_text(yaml.safe_dump(dict(content), sort_keys=False, width=10**9), encoding="utf-8")
    return path
