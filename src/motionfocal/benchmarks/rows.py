"""What the loaders share: a row's picture, its id, and ids that are all different."""

import hashlib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from motionfocal.benchmarks.benchmark import BenchmarkItem
from motionfocal.errors import ManifestError
from motionfocal.reading import is_there
from motionfocal.video.files import IMAGE_SUFFIXES

IMAGE_COLUMNS = ("image", "file_name")
_LONGEST_SLUG = 150  # bytes: with a picture's name, a seed and an ending it stays below the 255 of a file name


def item_id(picture: str, text: str) -> str:
    """``<picture>_<slug>``: the text in lower case, its blanks as underscores, without any other sign.

    It is TI2V-Bench's own form. A text that is too long for a file name, or has no letter, ends in a hash of itself.
    """
    slug = "_".join("".join(letter for letter in text.lower() if letter.isalnum() or letter in " _\t").split())
    if not slug or len(slug.encode()) > _LONGEST_SLUG:
        kept = slug.encode()[: _LONGEST_SLUG - 9].decode(errors="ignore")
        slug = f"{kept}_{hashlib.sha256(text.encode()).hexdigest()[:8]}".lstrip("_")
    return f"{picture}_{slug}"


def find_picture(folder: Path, name: str, where: str) -> Path:
    """The picture of a row: the file of that name below ``folder``.

    Copies of a benchmark differ in where pictures lie and how they end. A bare name is also looked for in the folders
    right below, and a name without a file is taken with any ending of an image.

    Raises:
        ManifestError: it leads out of the folder, is not there, is empty, or there are several; says ``where``.
    """
    asked = PurePosixPath(name)
    if asked.is_absolute() or ".." in asked.parts:
        raise ManifestError(f"{where}: image {name} is not below {folder}; give its path from there")
    places = [folder / asked.parent]
    if len(asked.parts) == 1:
        places += sorted(path for path in folder.iterdir() if path.is_dir())
    found = [place / asked.name for place in places if is_there(place / asked.name)]
    found = found or [path for place in places for path in _of_stem(place, asked)]
    if not found:
        raise ManifestError(f"{where}: no image {name} in {folder}")
    if len(found) > 1:
        raise ManifestError(f"{where}: image {name} could be {found[0]} or {found[1]}; give its path from {folder}")
    if not found[0].stat().st_size:
        raise ManifestError(f"{where}: image {found[0]} is empty (0 bytes); copy or download it again")
    return found[0]


def _of_stem(place: Path, asked: PurePosixPath) -> list[Path]:
    stems = {asked.name, asked.stem if asked.suffix.lower() in IMAGE_SUFFIXES else asked.name}
    files = sorted(place.iterdir()) if place.is_dir() else []
    return [path for path in files if path.stem in stems and path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()]


def require_usable_ids(items: Iterable[tuple[str, BenchmarkItem]]) -> tuple[BenchmarkItem, ...]:
    """The items, each given with where it stands.

    Raises:
        ManifestError: two have the same id, or an id cannot name a file.
    """
    places: dict[str, str] = {}
    kept = []
    for where, item in items:
        if item.id in places:
            raise ManifestError(f"{where}: id {item.id} is also that of {places[item.id]}; give each another id")
        if set(item.id) & set('/\\\0\n:*?"<>|') or item.id.startswith(".") or len(item.id.encode()) > 230:
            raise ManifestError(f"{where}: id {item.id!r} cannot name a file; use letters, digits and underscores")
        places[item.id] = where
        kept.append(item)
    return tuple(kept)
