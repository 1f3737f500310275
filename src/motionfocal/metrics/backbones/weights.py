"""Where weight files are, how they get there, and what they are: found, fetched or refused, and fingerprinted."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from pydantic import Field

from motionfocal.errors import UnavailableError
from motionfocal.settings import Settings

WEIGHTS = "MOTIONFOCAL_WEIGHTS"
"""The environment variable that names the folder of weights; without it ``~/.cache/motionfocal/weights``."""

OFFLINE = "MOTIONFOCAL_OFFLINE"
"""The environment variable that forbids to fetch anything: ``1``, ``true`` or ``yes``."""


class BackboneSettings(Settings):
    """Where networks come from and what they run on. None of it decides a value; the files' hashes do.

    ``folder`` holds the weights, laid out as in VBench's cache (docs/metrics.md lists the files). Without it they are
    looked for in ``$MOTIONFOCAL_WEIGHTS`` (default ``~/.cache/motionfocal/weights``) and then in VBench's own cache.
    ``offline`` forbids to fetch a missing file; None asks ``$MOTIONFOCAL_OFFLINE``. ``device`` None is a GPU if there
    is one. ``batch`` images run at a time. ``amt`` and ``cotracker`` are checkouts of those projects; without them
    ``checkouts/AMT``, ``checkouts/VBench`` and ``checkouts/co-tracker`` in the folder of weights.
    """

    folder: Path | None = None
    offline: bool | None = None
    device: str | None = None
    batch: int = Field(default=16, ge=1)
    amt: Path | None = None
    cotracker: Path | None = None

    @property
    def is_offline(self) -> bool:
        """Whether a missing file is an error at once."""
        if self.offline is not None:
            return self.offline
        return os.environ.get(OFFLINE, "").strip().lower() in ("1", "true", "yes")

    @property
    def roots(self) -> tuple[Path, ...]:
        """The folders that weights are looked for in, first to last; a fetched file goes into the first."""
        if self.folder is not None:
            return (self.folder,)
        cache = Path.home() / ".cache"
        own = os.environ.get(WEIGHTS)
        vbench = os.environ.get("VBENCH_CACHE_DIR")
        return (Path(own) if own else cache / "motionfocal/weights", Path(vbench) if vbench else cache / "vbench")


@dataclass(frozen=True)
class WeightFile:
    """A file (or folder) of weights. ``path`` is relative to a root, or absolute: then it is that file.

    ``url`` is fetched when the file is missing; ``sha256`` is its hash or the beginning of it. ``source`` says in
    words where the file is from. ``also`` are other names of the same network, taken before anything is fetched.
    """

    path: str
    source: str
    url: str = ""
    sha256: str = ""
    also: tuple[str, ...] = ()


def locate(file: WeightFile, settings: BackboneSettings) -> Path:
    """Where the file is, fetched first if it may be.

    Raises:
        UnavailableError: it is nowhere and may not or cannot be fetched; the text says from where to get it and where
            to put it.
    """
    candidates = [root / file.path for root in settings.roots]
    for candidate in candidates + [root / name for root in settings.roots for name in file.also]:
        if candidate.exists():
            return candidate
    if not file.url or settings.is_offline:
        raise UnavailableError(_how_to_get(file, candidates, forbidden=bool(file.url)))
    return _fetch(file, candidates[0])


def fingerprint(paths: Sequence[Path]) -> str:
    """The sha256 (64 hex digits) of a file; of several files or a folder that of their names and hashes, sorted."""
    if len(paths) == 1 and paths[0].is_file():
        return _hash_of(paths[0])
    digest = hashlib.sha256()
    for file in sorted(file for path in paths for file in _files_in(path)):
        digest.update(f"{file.name} {_hash_of(file)}\n".encode())
    return digest.hexdigest()


def _files_in(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    return [file for file in path.rglob("*") if file.is_file() and file.suffix != ".pyc"]


def _hash_of(path: Path) -> str:
    status = path.stat()
    return _hashed(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=4096)
def _hashed(path: Path, _size: int, _modified: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _how_to_get(file: WeightFile, candidates: list[Path], *, forbidden: bool) -> str:
    places = " or ".join(map(str, candidates))
    why = f"; it was not fetched: offline (the setting, or {OFFLINE} in the environment)" if forbidden else ""
    where = f"{file.source} ({file.url})" if file.url else file.source
    return f"no weights {Path(file.path).name}{why}. Get them from {where} and put them at {places}"


def _fetch(file: WeightFile, target: Path) -> Path:
    import torch

    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(file.url, str(target), hash_prefix=file.sha256 or None, progress=False)
    except (OSError, RuntimeError) as error:  # RuntimeError: another hash than the one that we know
        raise UnavailableError(f"{_how_to_get(file, [target], forbidden=False)}. Fetching failed: {error}") from error
    return target
