"""What a repository of the Hugging Face hub is called, at its newest or at a revision."""

import re
from dataclasses import dataclass

from motionfocal.errors import ConfigError

_REVISION = re.compile(r"\w[\w.+-]*(?:/\w[\w.+-]*)*")


@dataclass(frozen=True)
class Repository:
    """``name`` is owner/repository, ``revision`` a branch, tag or commit; None is the main branch as it is today."""

    name: str
    revision: str | None = None

    def __str__(self) -> str:
        return self.name if self.revision is None else f"{self.name}@{self.revision}"

    @property
    def download(self) -> str:
        """The command that fetches all of it into the hub's cache."""
        return f"hf download {self.name}" + ("" if self.revision is None else f" --revision {self.revision}")


def names_repository(text: str) -> bool:
    """Whether a text has the form owner/repository, whatever follows an ``@``."""
    return text.partition("@")[0].count("/") == 1 and not text.startswith((".", "/", "~"))


def repository_of(weights: str) -> Repository:
    """The repository that ``model.weights`` names: owner/repository, or owner/repository@revision.

    Raises:
        ConfigError: it has another form, or what follows the ``@`` is no revision.
    """
    if not names_repository(weights):
        raise ConfigError(
            f"model.weights: {weights}: no such folder, and no name of the form owner/repository or"
            " owner/repository@revision"
        )
    name, pinned, revision = weights.partition("@")
    if pinned and not _REVISION.fullmatch(revision):
        raise ConfigError(
            f"model.weights: {weights}: {revision!r} is no revision; give a branch, a tag or a commit after the @,"
            " or leave the @ out"
        )
    return Repository(name, revision or None)
