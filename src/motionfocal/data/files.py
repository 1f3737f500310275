"""Where the bytes of a clip are: in a file of their own, or in a tar shard that is read in place, never unpacked."""

import hashlib
import re
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from motionfocal.errors import ManifestError, MediaError
from motionfocal.video import content_of

_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_KEY = re.compile(r"(?:\./)?((?:.*/)?[^./]+)\.([^/]+)", re.DOTALL)
"""webdataset's split of a member's name: the key ends at the first dot of the file's name."""


class Stamp(NamedTuple):
    """What tells that a file is still the one that was looked at."""

    file: str
    size: int
    mtime_ns: int


@dataclass(frozen=True)
class VideoFile:
    """A clip's bytes: the file ``path`` or, with a ``member``, ``size`` bytes of a tar file from ``offset`` on."""

    path: Path
    member: str = ""
    offset: int = 0
    size: int = 0

    def __str__(self) -> str:
        return f"{self.path}: {self.member}" if self.member else str(self.path)

    def stamp(self) -> Stamp:
        """Changes whenever the file, or the shard, is written to. Raises MediaError when it is gone."""
        try:
            status = self.path.stat()
        except OSError as error:
            raise MediaError(f"{self}: cannot be read ({error.strerror})") from error
        name = str(self.path.absolute())
        return Stamp(f"{name}: {self.member}" if self.member else name, status.st_size, status.st_mtime_ns)

    def content(self) -> str:
        """SHA-256 of the clip's bytes. Raises MediaError when they cannot be read."""
        if not self.member:
            return content_of(self.path)
        try:
            with self.path.open("rb") as file:
                file.seek(self.offset)
                return hashlib.sha256(file.read(self.size)).hexdigest()
        except OSError as error:
            raise MediaError(f"{self}: cannot be read ({error.strerror})") from error

    @contextmanager
    def opened(self) -> Iterator[Path]:
        """A file to read the clip from; of a member, a copy for as long as the block lasts.

        A MediaError from inside the block names the member, not the copy. Raises MediaError when it cannot be copied.
        """
        if not self.member:
            yield self.path
            return
        with TemporaryDirectory(prefix="motionfocal-") as folder:
            copy = Path(folder) / f"clip{Path(self.member).suffix}"
            try:
                with self.path.open("rb") as shard:
                    shard.seek(self.offset)
                    copy.write_bytes(shard.read(self.size))
            except OSError as error:
                raise MediaError(
                    f"{self}: cannot be copied to {folder} ({error.strerror}); see that the shard is there, and that"
                    " the temporary folder has room"
                ) from error
            try:
                yield copy
            except MediaError as error:
                raise MediaError(str(error).replace(str(copy), str(self))) from error


class Member(NamedTuple):
    """A member of a tar shard; ``text`` holds its content where that was asked for."""

    key: str
    ending: str
    file: VideoFile
    text: str | None


def members(shard: Path, with_text: tuple[str, ...]) -> Iterator[Member]:
    """The members of a shard in order, with the content of those of some endings; reads no other content.

    Raises:
        ManifestError: it is missing, compressed, cut off, or a text in it is not UTF-8.
    """
    try:
        with shard.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as archive:
            for member in archive:
                split = _KEY.fullmatch(member.name)
                if not member.isfile() or split is None:
                    continue
                key, ending = split[1], split[2].lower()
                stream = archive.extractfile(member) if ending in with_text else None
                text = stream.read().decode() if stream else None
                yield Member(key, ending, VideoFile(shard, member.name, member.offset_data, member.size), text)
            file.seek(archive.offset)
            if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):  # tarfile takes a damaged header for the end
                raise tarfile.ReadError("its end mark is missing")
    except FileNotFoundError as error:
        raise ManifestError(f"{shard}: no such shard") from error
    except UnicodeDecodeError as error:
        raise ManifestError(f"{shard}: {member.name}: not UTF-8 ({error})") from error
    except (tarfile.TarError, OSError) as error:
        raise ManifestError(f"{shard}: not a whole, uncompressed tar file ({error}); copy or make it again") from error


def find_shards(patterns: Sequence[Path]) -> list[Path]:
    """The tar files of paths, globs and ranges such as ``shard-{0000..0012}.tar``, in this order.

    Raises:
        ManifestError: a glob finds nothing, a shard comes twice, or a range runs backwards.
    """
    found: list[Path] = []
    for name in (name for pattern in patterns for name in _ranged(str(pattern))):
        shard = Path(name)
        plain = shard.is_file() or not set(name) & set("*?[")
        matches = [shard] if plain else sorted(Path(shard.anchor).glob(name.removeprefix(shard.anchor)))
        if not matches:
            raise ManifestError(f"{name}: no such shards")
        found += matches
    if len(set(found)) < len(found):
        twice = next(path for path in found if found.count(path) > 1)
        raise ManifestError(f"{twice}: named twice")
    return found


def _ranged(pattern: str) -> Iterator[str]:
    """The names that a range stands for; its zeros in front tell how wide the numbers are."""
    place = _RANGE.search(pattern)
    if place is None:
        yield pattern
        return
    first, last = place[1], place[2]
    if int(first) > int(last):
        raise ManifestError(f"{pattern}: the range {place[0]} runs backwards; write the smaller number first")
    for number in range(int(first), int(last) + 1):
        yield from _ranged(f"{pattern[: place.start()]}{number:0{len(first)}d}{pattern[place.end() :]}")
