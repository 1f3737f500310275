"""What a benchmark says to the table of all benchmarks, beside what it prints."""

import json
import os
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

ASKED = "MOTIONFOCAL_FIGURES"
"""Names the file that ``run.py`` reads a benchmark's figures from."""


@dataclass(frozen=True)
class Figure:
    """One row: what was measured, what came out, and the least or the most that it should be."""

    what: str
    value: str
    bar: str = ""


def tell(*figures: Figure) -> None:
    """Hand figures to ``run.py``, if it asked."""
    if path := os.environ.get(ASKED):
        Path(path).write_text(json.dumps([asdict(figure) for figure in figures]))


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Median, least and most."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"
