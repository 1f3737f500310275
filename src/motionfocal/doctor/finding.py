"""What an examination says of one thing."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

State = Literal["good", "absent", "bad"]
"""``absent`` is what one can do without; ``bad`` is what does not work and should."""


@dataclass(frozen=True)
class Finding:
    """``told`` in a few words; ``remedy`` is what to do about it, where something can be done."""

    name: str
    state: State
    told: str
    remedy: str = ""


def tried(name: str, trial: Callable[[], str], remedy: str) -> Finding:
    """Do something and say how it went: good with what ``trial`` returns, or bad with whatever it raises."""
    try:
        return Finding(name, "good", trial())
    except Exception as error:  # whatever it is, it is what the patient suffers from
        return Finding(name, "bad", f"{type(error).__name__}: {str(error).strip()}", remedy)
