"""Baselines that run as programs of their own: the user's checkout of their repository, in its own environment.

Nothing of these projects is part of this package. Each adapter writes the input that its program reads, runs the
command that the project documents, and picks up and names the clips.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from motionfocal.errors import ConfigError, UnknownNameError
from motionfocal.generation.animator import Animator
from motionfocal.generation.external.animate_anything import AnimateAnything, AnimateAnythingSettings
from motionfocal.generation.external.cinemo import Cinemo, CinemoSettings
from motionfocal.generation.external.cond_leak import CondLeak, CondLeakSettings
from motionfocal.generation.external.consisti2v import ConsistI2V, ConsistI2VSettings
from motionfocal.generation.external.program import Program, ProgramSettings
from motionfocal.generation.external.seine import Seine, SeineSettings
from motionfocal.generation.external.ti2v_zero import TI2VZero, TI2VZeroSettings

_PROGRAMS: dict[str, tuple[type[Program[Any]], type[ProgramSettings]]] = {
    program.name: (program, settings)
    for program, settings in (
        (Cinemo, CinemoSettings),
        (Seine, SeineSettings),
        (CondLeak, CondLeakSettings),
        (TI2VZero, TI2VZeroSettings),
        (AnimateAnything, AnimateAnythingSettings),
        (ConsistI2V, ConsistI2VSettings),
    )
}

EXTERNAL: tuple[str, ...] = tuple(_PROGRAMS)
"""The names of the baselines that run from a checkout."""


def open_external(
    name: str,
    checkout: Path,
    python: Path,
    options: Mapping[str, object] | None = None,
    *,
    work: Path | None = None,
) -> Animator:
    """The baseline ``name``, run from ``checkout`` by the interpreter ``python`` of its environment.

    ``options`` are fields of the project's settings (``external_settings``). ``work`` keeps input, logs and clips of
    every run; without, they are temporary. Nothing is looked at before the animator is used.

    Raises:
        UnknownNameError: there is no such baseline.
        ConfigError: an option is unknown or out of range.
    """
    settings = external_settings(name)
    try:
        chosen = settings.model_validate(dict(options or {}))
    except ValidationError as error:
        raise ConfigError(f"{name}: {error}") from error
    return _PROGRAMS[name][0](checkout, python, chosen, work)


def external_settings(name: str) -> type[ProgramSettings]:
    """The options that a baseline takes, every field described. Raises UnknownNameError."""
    if name not in _PROGRAMS:
        raise UnknownNameError("baseline that runs from a checkout", name, list(EXTERNAL))
    return _PROGRAMS[name][1]


__all__ = ["EXTERNAL", "external_settings", "open_external"]
