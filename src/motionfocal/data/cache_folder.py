"""A cache on disk: reading it, and writing it so that a process killed at any moment leaves nothing broken.

::

    latents/ab/abcd....safetensors    latents [C,T',h,w], image.<name> of encode_image
    texts/...                         what encode_text says of one text
    heatmaps/...                      heat uint8 [T',h,w] (255 = 1), score (pixels a frame), moving_share of the pixels
    clips.jsonl                       what each window was made of and where its entries are; windows that failed
    files.jsonl                       content and measures of every file that was looked at
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, cast, get_args
from uuid import uuid4

import torch
from pydantic import BaseModel, TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from motionfocal.data.files import Stamp
from motionfocal.data.windows import Footage
from motionfocal.errors import CheckpointError, DamagedFileError
from motionfocal.jsonl import Row, append_jsonl, read_jsonl, rewrite_jsonl
from motionfocal.models.protocol import Tensors
from motionfocal.shard import Shard

Kind = Literal["latents", "texts", "heatmaps"]
KINDS: tuple[Kind, ...] = get_args(Kind)
DTYPES = {"float64": torch.float64, "float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class _Video(BaseModel):
    file: str
    size: int
    mtime_ns: int
    content: str
    frames: int
    height: int
    width: int
    fps: float


class _NoVideo(BaseModel):
    file: str
    size: int
    mtime_ns: int
    rejected: str


class _Keys(BaseModel):
    latents: str
    texts: str
    heatmaps: str


class _Made(BaseModel):
    id: str
    n: int
    text: str
    fps: float
    keys: _Keys


class _Failed(BaseModel):
    keys: _Keys | None = None  # which rows of before they were written down do not have
    rejected: str


_ROUNDED = TypeAdapter(dict[str, str])
_ROWS: dict[str, tuple[type[BaseModel], type[BaseModel]]] = {"files": (_Video, _NoVideo), "clips": (_Made, _Failed)}
"""What is read of an entry's metadata, and of the rows of ``files.jsonl`` and ``clips.jsonl``, good and rejected."""


@dataclass(frozen=True)
class FileFacts:
    """What a file holds, and the SHA-256 of its bytes."""

    content: str
    footage: Footage


class CacheFolder:
    """Reads a cache."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, kind: Kind, key: str) -> Path:
        """The file of an entry."""
        return self.root / kind / key[:2] / f"{key}.safetensors"

    def has(self, kind: Kind, key: str) -> bool:
        """Whether an entry is there."""
        return self.path(kind, key).is_file()

    def keys(self, kind: Kind) -> set[str]:
        """The names of all entries of a kind."""
        return {path.stem for path in (self.root / kind).glob("??/*.safetensors")}

    def read(self, kind: Kind, key: str) -> Tensors:
        """An entry, on the CPU, in the dtypes that it was given in.

        Raises:
            DamagedFileError: the entry is missing or cannot be read.
        """
        path = self.path(kind, key)
        try:
            with safe_open(path, "pt") as file:
                rounded = _ROUNDED.validate_json((file.metadata() or {}).get("rounded", "{}"))
                tensors: Tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return tensors | {name: tensors[name].to(DTYPES[dtype]) for name, dtype in rounded.items()}
        except (SafetensorError, OSError, ValidationError, KeyError) as error:
            raise DamagedFileError(
                f"{path}: damaged or missing ({error}); delete it and run 'motionfocal prepare' again"
            ) from error

    def files(self) -> dict[Stamp, FileFacts | str]:
        """Every file that was ever looked at; of one that is no video, why.

        What one process could not read, another may have read since: facts outweigh a rejection in any of the lists.

        Raises:
            DamagedFileError: a line cannot be read.
        """
        found: dict[Stamp, FileFacts | str] = {}
        for row in self._rows("files"):
            stamp, facts = _stamp(row), _facts(row)
            if isinstance(facts, FileFacts) or not isinstance(found.get(stamp), FileFacts):
                found[stamp] = facts
        return found

    def clips(self) -> Iterator[Row]:
        """Rows of the index: windows with what their entries are made of, and windows that failed (``rejected``).

        Raises:
            DamagedFileError: a line cannot be read.
        """
        return self._rows("clips")

    def _rows(self, name: str) -> Iterator[Row]:
        """The rows of all shards' files, each of which has what is read of it."""
        for path in sorted(self.root.glob(f"{name}*.jsonl")):
            for number, row in enumerate(read_jsonl(path), 1):
                try:
                    _ROWS[name]["rejected" in row].model_validate(row)
                except ValidationError as error:
                    raise DamagedFileError(
                        f"{path}, line {number}: not a row of a cache; delete it and run 'motionfocal prepare' again"
                    ) from error
                yield row


def _stamp(row: Row) -> Stamp:
    return Stamp(str(row["file"]), cast("int", row["size"]), cast("int", row["mtime_ns"]))


def _facts(row: Row) -> FileFacts | str:
    if "rejected" in row:
        return str(row["rejected"])
    frames, height, width = (cast("int", row[name]) for name in ("frames", "height", "width"))
    return FileFacts(str(row["content"]), Footage(frames, height, width, cast("float", row["fps"])))


@dataclass(frozen=True)
class EntryWriter:
    """Writes entries, each of which takes its name when it is whole and on disk.

    It may be copied to other processes, also of other machines that have ``root`` at the same path. Half-written files
    are in ``partial``, which is there for as long as a ``CacheWriter`` writes.
    """

    root: Path
    partial: Path

    def write(self, kind: Kind, key: str, tensors: Tensors, dtype: torch.dtype | None = None) -> None:
        """Write an entry. Floating-point tensors wider than ``dtype`` are rounded to it; ``read`` widens them again.

        Raises:
            CheckpointError: the disk is full, or the folder is not there or may not be written to.
        """
        wide = {
            name: str(tensor.dtype).removeprefix("torch.")
            for name, tensor in tensors.items()
            if dtype is not None and tensor.is_floating_point() and tensor.itemsize > dtype.itemsize
        }
        stored = {name: (t.to(dtype) if name in wide else t).contiguous() for name, t in tensors.items()}
        target, partial = CacheFolder(self.root).path(kind, key), self.partial / f"{key}.{uuid4().hex}"
        with _telling(target):
            with partial.open("wb") as file:
                file.write(save(stored, {"rounded": json.dumps(wide)} if wide else None))
                file.flush()
                os.fsync(file.fileno())
            target.parent.mkdir(parents=True, exist_ok=True)
            partial.replace(target)


class CacheWriter:
    """Writes a cache's lists for as long as the context lasts; one process a shard. ``entries`` writes the rest.

    A process killed at any moment leaves nothing broken. Each shard has lists of its own, so that machines can share a
    folder.
    """

    def __init__(self, folder: CacheFolder, shard: Shard) -> None:
        suffix = "" if shard.count == 1 else f".{shard}"
        self.entries = EntryWriter(folder.root, folder.root / f".partial-{shard}")
        self._clips = _Journal(folder.root / f"clips{suffix}.jsonl")
        self._files = _Journal(folder.root / f"files{suffix}.jsonl")

    def __enter__(self) -> Self:
        partial = self.entries.partial
        shutil.rmtree(partial, ignore_errors=True)
        with _telling(partial):
            partial.mkdir(parents=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self.entries.partial, ignore_errors=True)

    def add_clip(self, row: Mapping[str, object]) -> None:
        """Add a row to the index."""
        self._clips.add(row)

    def add_file(self, stamp: Stamp, facts: FileFacts | str) -> None:
        """Remember what a file holds, or why it is no video."""
        found = {"rejected": facts} if isinstance(facts, str) else {"content": facts.content, **asdict(facts.footage)}
        self._files.add({**stamp._asdict(), **found})


class _Journal:
    """A list that this process alone adds to."""

    def __init__(self, path: Path) -> None:
        self._path, self._mended = path, False

    def add(self, row: Mapping[str, object]) -> None:
        with _telling(self._path):
            if not self._mended and self._path.is_file():  # without the line that a killed process did not finish
                rewrite_jsonl(self._path, read_jsonl(self._path))
            self._mended = True
            append_jsonl(self._path, row)


@contextmanager
def _telling(path: Path) -> Iterator[None]:
    """Turn what the system says of a file that cannot be written into a CheckpointError."""
    try:
        yield
    except OSError as error:
        raise CheckpointError(
            f"{path}: cannot be written ({error}); see that the disk has room and that no other process"
            " prepares the same shard, then run again"
        ) from error
