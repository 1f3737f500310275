"""Make a gallery of videos that a model made elsewhere, matched to a benchmark's items by their names."""

import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from motionfocal.benchmarks import Benchmark, BenchmarkItem
from motionfocal.errors import GalleryError, MediaError
from motionfocal.generation.gallery import INDEX, GalleryRow, read_rows, write_row
from motionfocal.generation.measure import form_of
from motionfocal.jsonl import rewrite_jsonl
from motionfocal.video import content_of
from motionfocal.video.files import VIDEO_SUFFIXES, item_of, replacing


@dataclass(frozen=True)
class Match:
    """A video of an item; ``seed`` is None where its name has none."""

    item: BenchmarkItem
    path: Path
    seed: int | None


@dataclass(frozen=True)
class Matches:
    """Videos by item, what matches none, and items that several videos claim."""

    found: tuple[Match, ...]
    strays: tuple[Path, ...]
    several: Mapping[str, tuple[Path, ...]]


@dataclass
class Imported:
    """What became of an import: clips in the gallery, those that were new, and all that did not fit."""

    clips: int = 0
    added: int = 0
    missing: list[str] = field(default_factory=list)
    strays: list[Path] = field(default_factory=list)
    several: dict[str, tuple[Path, ...]] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)

    def problems(self, *, allow_missing: bool = False) -> list[str]:
        """Everything that was wrong, a line each. ``allow_missing``: the gallery may be on a part of the benchmark."""
        lines = [f"{item}: several videos, {_names(paths)}; choose a seed" for item, paths in self.several.items()]
        lines += [f"{path}: matches no item" for path in self.strays]
        lines += [f"{item}: {why}" for item, why in self.unreadable.items()]
        untold = [item for item in self.missing if item not in self.several and item not in self.unreadable]
        return lines + ([] if allow_missing else [f"{item}: no video" for item in untold])


def _names(paths: Iterable[Path]) -> str:
    return ", ".join(path.name for path in paths)


def match_videos(benchmark: Benchmark, videos: Path, seed: int | None = None) -> Matches:
    """Which video in a folder belongs to which item: ``<id>.mp4``, or ``<id>_<seed>.mp4``; other endings too.

    A name that is an item's id as a whole belongs to that item. With ``seed``, only videos of that seed are taken.

    Raises:
        GalleryError: there is no such folder, or no video in it.
    """
    by_id = {item.id: item for item in benchmark.items}
    claims: dict[str, list[Match]] = {}
    strays = []
    for path in _videos(videos):
        named = item_of(path.stem, by_id)
        if named is None:
            strays.append(path)
        elif seed is None or named[1] == seed:
            claims.setdefault(named[0], []).append(Match(by_id[named[0]], path, named[1]))
    single = [claims[item.id][0] for item in benchmark.items if len(claims.get(item.id, ())) == 1]
    several = {id_: tuple(match.path for match in found) for id_, found in claims.items() if len(found) > 1}
    return Matches(tuple(single), tuple(strays), several)


def _videos(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise GalleryError(f"{folder}: no such folder of videos")
    found = sorted(
        path for path in folder.iterdir() if path.suffix.lower() in VIDEO_SUFFIXES and not path.name.startswith(".")
    )
    if not found:
        raise GalleryError(f"{folder}: no video in this folder; give the one with the files <id>.mp4")
    return found


def import_videos(
    benchmark: Benchmark,
    videos: Path,
    folder: Path,
    model: str,
    *,
    seed: int | None = None,
    total: Callable[[int], None] = lambda videos: None,
    progress: Callable[[], None] = lambda: None,
) -> Imported:
    """Bring a model's videos into the gallery in ``folder``, each decoded from end to end and copied.

    Everything good is imported, and the result says what was not. A video that is there already, byte for byte, is
    left alone, so that an import that was killed goes on; one that changed is imported anew. Videos that lie in
    ``folder`` stay where they are. ``total`` is told how many videos match, ``progress`` of each that is done.

    Raises:
        GalleryError: no videos, or the gallery holds clips of another model or clips that were generated there.
    """
    matches = match_videos(benchmark, videos, seed)
    rows = _rows_of(folder, model)
    result = Imported(strays=list(matches.strays), several=dict(matches.several))
    total(len(matches.found))
    folder.mkdir(parents=True, exist_ok=True)
    rewrite_jsonl(folder / INDEX, map(asdict, rows.values()))
    for match in matches.found:
        content = content_of(match.path)
        if not _is_there(rows.get(match.item.id), folder, content):
            try:
                row = _imported(match, folder, model, content)
            except MediaError as error:
                result.unreadable[match.item.id] = str(error)
            else:
                write_row(folder, rows, row)
                result.added += 1
        progress()
    result.clips = len(rows)
    result.missing = [item.id for item in benchmark.items if item.id not in rows]
    return result


def _rows_of(folder: Path, model: str) -> dict[str, GalleryRow]:
    """What the gallery holds whose files are there, if it may be added to."""
    rows = read_rows(folder / INDEX)
    if others := sorted({row.model for row in rows} - {model}):
        raise GalleryError(f"{folder}: holds clips of {', '.join(others)}; import {model} into a folder of its own")
    if any(row.settings for row in rows):
        raise GalleryError(f"{folder}: its clips were made here, not imported; import into a folder of its own")
    return {row.id: row for row in rows if (folder / row.file).is_file()}


def _is_there(row: GalleryRow | None, folder: Path, content: str) -> bool:
    return row is not None and row.content == content and content_of(folder / row.file) == content


def _imported(match: Match, folder: Path, model: str, content: str) -> GalleryRow:
    """Measure a video and bring its file into the gallery."""
    form = form_of(match.path, decode=True)
    return GalleryRow(
        id=match.item.id,
        image=match.item.image,
        text=match.item.text,
        file=_bring(match, folder),
        model=model,
        native_size=(form.height, form.width),
        frames=form.frames,
        fps=form.fps,
        seed=match.seed,
        content=content,
    )


def _bring(match: Match, folder: Path) -> str:
    """The file's place in the gallery, where it is from now on."""
    inside = match.path.resolve()
    if inside.is_relative_to(folder.resolve()):
        return inside.relative_to(folder.resolve()).as_posix()
    name = f"{match.item.id}{match.path.suffix.lower()}"
    with replacing(folder / name) as partial:
        shutil.copyfile(match.path, partial)
    return name
