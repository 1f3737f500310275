"""``analysis.json`` read back: nothing of an analysis is lost in it."""

import math
from dataclasses import is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import get_args, get_origin, get_type_hints

from pydantic import TypeAdapter

from motionfocal.errors import DamagedFileError
from motionfocal.reading import read_json
from motionfocal.study.analysis.contents import Analysis


def read_analysis(path: Path) -> Analysis:
    """What ``write_analysis`` wrote; a null that stands for a number is NaN."""
    return TypeAdapter(Analysis).validate_python(_with_nan(Analysis, read_json(path, DamagedFileError)))


def _with_nan(kind: object, value: object) -> object:
    """The same with NaN for each null where ``kind`` wants a number and not nothing."""
    inner = get_args(kind)
    if kind is float and value is None:
        return math.nan
    if isinstance(kind, UnionType):
        (wanted,) = set(inner) - {NoneType}
        return None if value is None else _with_nan(wanted, value)
    if isinstance(value, list) and get_origin(kind) is tuple:
        return [_with_nan(inner[0], one) for one in value]
    if isinstance(value, dict) and get_origin(kind) is dict:
        return {key: _with_nan(inner[1], one) for key, one in value.items()}
    if isinstance(value, dict) and isinstance(kind, type) and is_dataclass(kind):
        kinds = get_type_hints(kind)
        return {key: _with_nan(kinds.get(key), one) for key, one in value.items()}
    return value
