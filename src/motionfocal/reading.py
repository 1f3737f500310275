"""Files of text that others may have written: UTF-8, then YAML or JSON. Every fault is a typed error with the path."""

import json
from pathlib import Path

import yaml

from motionfocal.errors import MotionFocalError

Fault = type[MotionFocalError]


def is_there(path: Path) -> bool:
    """Whether a path that others wrote is that of a file; one that no file can have is not."""
    try:
        return path.is_file()
    except OSError:  # the name is too long
        return False


def read_text(path: Path, error: Fault) -> str:
    """The text of a file, without the byte order mark that spreadsheets write.

    Raises:
        error: it cannot be opened, or is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as fault:
        raise error(f"{path}: not UTF-8 ({fault}); save it as UTF-8") from fault
    except OSError as fault:
        raise error(f"{path}: cannot be read ({fault.strerror}); check the path") from fault


def parse_json(text: str, where: str, error: Fault) -> object:
    """What a JSON text says. Raises ``error``, which says ``where``, when it is none or is nested too deeply."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as fault:
        raise error(f"{where}: not JSON ({fault})") from fault


def parse_yaml(text: str, where: str, error: Fault) -> object:
    """What a YAML text says. Raises ``error``, which says ``where``, when it is none or is nested too deeply."""
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as fault:
        raise error(f"{where}: not YAML ({fault})") from fault


def read_json(path: Path, error: Fault) -> object:
    """What a JSON file says. Raises ``error``, see ``read_text`` and ``parse_json``."""
    return parse_json(read_text(path, error), str(path), error)


def read_yaml(path: Path, error: Fault) -> object:
    """What a YAML file says. Raises ``error``, see ``read_text`` and ``parse_yaml``."""
    return parse_yaml(read_text(path, error), str(path), error)
