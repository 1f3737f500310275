"""Whether galleries are whole, fit a benchmark, and can be compared with one another."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from motionfocal.benchmarks import Benchmark
from motionfocal.errors import GalleryError, MediaError, UnknownNameError
from motionfocal.generation.gallery import INDEX, GalleryRow, index_files, read_rows
from motionfocal.generation.measure import Form, form_of
from motionfocal.video import content_of
from motionfocal.video.files import VIDEO_SUFFIXES


@dataclass
class Checked:
    """What was found of one gallery. ``forms`` counts its clips by size, length and rate, as measured."""

    folder: Path
    models: list[str]
    clips: int
    items: frozenset[str]
    forms: Counter[Form] = field(default_factory=Counter)
    missing: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def check_gallery(
    folder: Path,
    benchmark: Benchmark,
    *,
    total: Callable[[int], None] = lambda clips: None,
    progress: Callable[[], None] = lambda: None,
) -> Checked:
    """Look at every row and every file of a gallery.

    A file whose hash is in its row was decoded when the row was written, and is looked at briefly; any other is decoded
    from end to end. Items without a clip are listed apart, as a gallery may be on a part of the benchmark.

    Raises:
        GalleryError: there is no gallery, or its index is damaged.
    """
    rows = _rows(folder)
    first = {row.id: row for row in reversed(rows)}
    result = Checked(folder, sorted({row.model for row in rows}), len(first), frozenset(first))
    result.missing = [item.id for item in benchmark.items if item.id not in first]
    if len(result.models) > 1:
        result.problems.append(f"holds clips of several models: {', '.join(result.models)}")
    result.problems += [f"{row.id}: named twice, {first[row.id].file} and {row.file}" for row in _second(rows, first)]
    result.problems += [problem for row in first.values() for problem in mismatches(row, benchmark)]
    result.problems += [f"{path}: no row names this video" for path in _unnamed(folder, rows)]
    total(len(first))
    for row in first.values():
        form, problems = _look(folder, row)
        result.problems += problems
        result.forms.update([form] if form else [])
        progress()
    return result


def _rows(folder: Path) -> list[GalleryRow]:
    rows = [row for path in index_files(folder) for row in read_rows(path)]
    if not rows:
        raise GalleryError(f"{folder}: no gallery here; expected {INDEX} with at least one clip")
    return rows


def _second(rows: Sequence[GalleryRow], first: dict[str, GalleryRow]) -> Iterable[GalleryRow]:
    """Rows of an item that has another row before; machines that share a folder may list the same one."""
    return (row for row in rows if row != first[row.id])


def mismatches(row: GalleryRow, benchmark: Benchmark) -> list[str]:
    """In what a row does not ask what the benchmark asks; empty where it does."""
    try:
        item = benchmark.item(row.id)
    except UnknownNameError:
        return [f"{row.id}: no item of {benchmark.name}"]
    return [
        f"{row.id}: its {what} is {has!r}, and {should!r} in {benchmark.name}"
        for what, has, should in (("text", row.text, item.text), ("image", row.image, item.image))
        if has != should
    ]


def _unnamed(folder: Path, rows: Sequence[GalleryRow]) -> list[Path]:
    named = {(folder / row.file).resolve() for row in rows}
    videos = (path for path in folder.iterdir() if path.suffix.lower() in VIDEO_SUFFIXES)
    return sorted(path for path in videos if not path.name.startswith(".") and path.resolve() not in named)


def _look(folder: Path, row: GalleryRow) -> tuple[Form | None, list[str]]:
    """The form of a clip's file, None if it cannot be read, and what is wrong with it."""
    path = folder / row.file
    if not path.is_file():
        return None, [f"{row.id}: its file {row.file} is missing"]
    changed = bool(row.content) and content_of(path) != row.content
    try:
        form = form_of(path, decode=changed or not row.content)
    except MediaError as error:
        return None, [f"{row.id}: {error}"]
    problems = [f"{row.id}: {row.file} is not the file that was put there"] if changed else []
    if (form.frames, round(form.fps, 3)) != (row.frames, round(row.fps, 3)):
        problems.append(
            f"{row.id}: its row says {row.frames} frames at {row.fps:g} fps, its file has {form.frames} at {form.fps:g}"
        )
    return form, problems


def compare(galleries: Sequence[Checked]) -> list[str]:
    """What keeps galleries from being compared: other sizes, lengths or rates, within one or between them."""
    problems = []
    for gallery in galleries:
        if len(gallery.forms) > 1:
            forms = "; ".join(f"{count} of {form}" for form, count in gallery.forms.most_common())
            problems.append(f"{gallery.folder}: clips of {len(gallery.forms)} forms: {forms}")
    usual = {str(gallery.folder): gallery.forms.most_common(1)[0][0] for gallery in galleries if gallery.forms}
    if len(set(usual.values())) > 1:
        forms = "; ".join(f"{name}: {form}" for name, form in usual.items())
        problems.append(
            f"galleries differ in height x width, frames or rate: {forms}; bring them to one with 'gallery normalize'"
        )
    return problems
