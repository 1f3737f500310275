"""From galleries to a folder that any browser shows: a page, its data as a script, and the clips by links.

The page is the same for 4 clips and for 3200: it makes a row when the row comes near the screen, and lets it go after.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from motionfocal import pages
from motionfocal.benchmarks import Benchmark, BenchmarkItem
from motionfocal.errors import GalleryError, MotionFocalError
from motionfocal.generation.gallery import Gallery, GalleryRow
from motionfocal.report.media import MediaFolder
from motionfocal.report.page import resource, style_sheet
from motionfocal.report.results import Results
from motionfocal.video.files import replace_text

PAGE, MEDIA, ASSETS = "index.html", "media", "assets"

_DIGITS = 5
"""Significant digits of values on the page."""


@dataclass(frozen=True)
class Question:
    """An item of the page; ``asked`` has the picture, and is None where there is no benchmark."""

    id: str
    image: str
    text: str
    scenario: str
    tags: tuple[str, ...]
    asked: BenchmarkItem | None


@dataclass(frozen=True)
class Written:
    """The page, and what it could not show, one line each."""

    page: Path
    failures: tuple[str, ...]


def write_gallery_page(
    galleries: Sequence[Gallery],
    folder: Path,
    *,
    title: str = "",
    benchmark: Benchmark | None = None,
    results: Results | None = None,
    heatmaps: bool = False,
    advance: Callable[[], None] = lambda: None,
) -> Written:
    """Write the page of one or several galleries, the page itself last.

    A clip that is missing or cannot be read is shown as such, told of in ``failures``, and the others go on. What an
    earlier run has brought into the folder is kept. ``advance`` is called after each clip.

    Raises:
        GalleryError: two galleries are of one model, or they do not ask the same questions.
        MediaError: the folder cannot be written.
    """
    questions = questions_of(galleries, benchmark)
    media = MediaFolder(folder / MEDIA)
    failures: list[str] = []
    models = [_model(gallery) for gallery in galleries]
    clips: dict[str, list[dict[str, object] | None]] = {}
    for gallery in galleries:
        rows = {row.id: row for row in gallery.rows()}
        clips[gallery.model] = []
        for question in questions:
            row = rows.get(question.id)
            clips[gallery.model].append(None if row is None else _clip(gallery, row, media, heatmaps, failures))
            if row is not None:
                advance()
    items = [_item(question, media, failures) for question in questions]
    data = {
        "title": title or _title(galleries, benchmark),
        "models": models,
        "items": items,
        "clips": clips,
        "scores": _scores(questions, results),
        "results": _told(results, [gallery.model for gallery in galleries]),
    }
    return Written(_write(folder, data, results.versions if results else {}), tuple(failures))


def questions_of(galleries: Sequence[Gallery], benchmark: Benchmark | None) -> tuple[Question, ...]:
    """What the galleries answer, in the benchmark's order or else in their own. Raises GalleryError."""
    models = [gallery.model for gallery in galleries]
    twice = sorted({model for model in models if models.count(model) > 1})
    if twice:
        raise GalleryError(f"two galleries are of the model {twice[0]}; a page shows each model once")
    asked: dict[str, Question] = {}
    for gallery in galleries:
        for row in gallery.rows():
            question = Question(row.id, row.image, row.text, "", (), None)
            if asked.setdefault(row.id, question) != question:
                raise GalleryError(
                    f"{gallery.folder}: item {row.id} asks for {row.text!r} of {row.image}, another gallery for"
                    f" {asked[row.id].text!r} of {asked[row.id].image}; these are not galleries of one benchmark"
                )
    if benchmark is None:
        return tuple(asked.values())
    known = {
        item.id: Question(item.id, item.image, item.text, item.scenario, tuple(sorted(item.tags)), item)
        for item in benchmark.items
    }
    for id_, question in asked.items():
        if id_ not in known:
            raise GalleryError(f"item {id_} of the galleries is not in {benchmark.name}; give their benchmark, or none")
        if question.text != known[id_].text:
            raise GalleryError(f"item {id_} asks for {question.text!r}, in {benchmark.name} for {known[id_].text!r}")
    return tuple(question for id_, question in known.items() if id_ in asked)


def _title(galleries: Sequence[Gallery], benchmark: Benchmark | None) -> str:
    names = [gallery.model for gallery in galleries]
    told = ", ".join(names) if len(names) < 4 else f"{len(names)} models"
    return f"{told} on {benchmark.name}" if benchmark else told


def _model(gallery: Gallery) -> dict[str, object]:
    """What all clips of a model share; several where they differ."""
    rows = gallery.rows()
    return {
        "name": gallery.model,
        "size": _all(f"{row.native_size[1]} × {row.native_size[0]}" for row in rows),  # noqa: RUF001 - the sign
        "frames": _all(row.frames for row in rows),
        "fps": _all(f"{row.fps:.4g}" for row in rows),
        "steps": _all("unknown" if row.steps is None else row.steps for row in rows),
    }


def _all(values: Iterable[object]) -> str:
    return ", ".join(dict.fromkeys(map(str, values)))


def _clip(
    gallery: Gallery, row: GalleryRow, media: MediaFolder, heatmaps: bool, failures: list[str]
) -> dict[str, object]:
    """A clip for the page, or why there is none."""
    path = gallery.path(row.id)
    try:
        clip = asdict(media.clip(path))
    except MotionFocalError as error:
        failures.append(_about(path, error))
        return {"why": "the file is missing" if not path.exists() else "the file cannot be read"}
    if heatmaps and not clip["heat"]:
        try:
            clip["heat"] = media.heat(path)
        except MotionFocalError as error:
            failures.append(_about(path, error))
    return clip | {"seed": row.seed}


def _item(question: Question, media: MediaFolder, failures: list[str]) -> dict[str, object]:
    shown: dict[str, object] = {
        "id": question.id,
        "image": question.image,
        "text": question.text,
        "scenario": question.scenario,
        "tags": question.tags,
    }
    if question.asked is None:
        return shown
    try:
        name, width, height = media.picture(question.asked)
    except MotionFocalError as error:
        failures.append(f"{question.id}: {error}")
        return shown
    return shown | {"picture": name, "width": width, "height": height}


def _about(path: Path, error: MotionFocalError) -> str:
    return str(error) if str(path) in str(error) else f"{path}: {error}"


def _scores(questions: Sequence[Question], results: Results | None) -> dict[str, dict[str, list[float | str | None]]]:
    """By metric and model, the values in the order of the items; values of other items are not on the page."""
    place = {question.id: index for index, question in enumerate(questions)}
    scores: dict[str, dict[str, list[float | str | None]]] = {}
    for value in results.values if results else ():
        if value.id in place:
            line = scores.setdefault(value.metric, {}).setdefault(value.model, [None] * len(place))
            line[place[value.id]] = _rounded(value.value)
    return scores


def _told(results: Results | None, models: Sequence[str]) -> dict[str, object] | None:
    """Tables as they were computed; a model without a gallery is one that the others are held against."""
    if results is None:
        return None
    known = set(results.models)
    ordered = [model for model in models if model in known] + [m for m in results.models if m not in models]
    return {
        "metrics": {name: info.model_dump() for name, info in results.metrics.items()},
        "models": ordered,
        "references": [model for model in ordered if model not in models],
        "summary": [row.model_dump() for row in results.summary],
        "classes": [row.model_dump() for row in results.classes],
        "differences": [row.model_dump() for row in results.differences],
    }


def _rounded(value: float | str | None) -> float | str | None:
    return float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value


def _write(folder: Path, data: Mapping[str, object], versions: Mapping[str, str]) -> Path:
    """Everything but the page first; scripts and styles have their hash in their name, so an old page stays whole."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    names = {
        "data": _asset(folder, f'"use strict";window.GALLERY={text};\n', ".js"),
        "css": _asset(folder, style_sheet("gallery.css"), ".css"),
        "js": _asset(folder, pages.resource("clock.js") + resource("plots.js") + resource("gallery.js"), ".js"),
    }
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    page = environment.from_string(resource("gallery.html.j2")).render(data=data, names=names, versions=versions)
    replace_text(folder / PAGE, page)
    for path in (folder / ASSETS).iterdir():
        if path.suffix in {".js", ".css"} and f"{ASSETS}/{path.name}" not in names.values():
            path.unlink()
    return folder / PAGE


def _asset(folder: Path, text: str, suffix: str) -> str:
    name = f"{ASSETS}/{hashlib.sha256(text.encode()).hexdigest()[:12]}{suffix}"
    replace_text(folder / name, text)
    return name
