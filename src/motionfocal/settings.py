"""The base of every settings class: frozen, and an unknown key is an error."""

import hashlib

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """Settings of one component. Each component owns its class; a run's config nests them.

    Unknown keys are errors, values never change after validation, and two equal settings have equal hashes.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    def fingerprint(self) -> str:
        """A short hash of the resolved values: equal settings, equal fingerprint, on any machine."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]
