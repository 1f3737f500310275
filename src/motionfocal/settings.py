"""The base of every settings class: frozen, and an unknown key is an error. And nested settings by dotted keys."""

import hashlib
from collections.abc import Mapping
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from motionfocal.errors import ConfigError


class Settings(BaseModel):
    """Settings of one component. Each component owns its class; a run's config nests them.

    Unknown keys and numbers that are not finite are errors, values never change after validation, and two equal
    settings have equal hashes.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)

    def fingerprint(self) -> str:
        """A short hash of the resolved values: equal settings, equal fingerprint, on any machine."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]


S = TypeVar("S", bound=Settings)


def validated(kind: type[S], values: Mapping[str, object]) -> S:
    """Settings of these values. Raises ConfigError, one line that names what is wrong and what settings there are."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        known = ", ".join(kind.model_fields)
        raise ConfigError(f"{key}: {first['msg']} (got {first['input']!r}); settings are {known}") from error


def dotted(values: object, prefix: str = "") -> dict[str, object]:
    """Nested mappings as one, the keys of a value joined by dots."""
    if not isinstance(values, Mapping):
        return {prefix: values}
    flat: dict[str, object] = {}
    for key, value in values.items():
        flat |= dotted(value, f"{prefix}.{key}" if prefix else str(key))
    return flat
