"""Animate the items of a benchmark, clip by clip into a gallery; what was made before is kept."""

import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from reprlib import repr as shortened
from tempfile import TemporaryDirectory

from motionfocal.benchmarks import BenchmarkItem
from motionfocal.engine import HERE, Engine, Lost, Stages, as_it_is
from motionfocal.errors import GalleryError, GenerationError, MediaError
from motionfocal.generation.animator import Animator, Failed, Made
from motionfocal.generation.gallery import INDEX, Gallery, GalleryRow, index_files, read_rows
from motionfocal.jsonl import append_jsonl, rewrite_jsonl
from motionfocal.reading import read_json
from motionfocal.shard import WHOLE, Shard
from motionfocal.video import write_clip
from motionfocal.video.files import replacing

SETTINGS = "settings.json"
"""What a gallery's clips were made with, for people to read; the rows hold its hash."""

_HOPELESS = 3
"""First items of a run that fail alike, after which it ends: a model that cannot decode would try all the others."""


@dataclass(frozen=True)
class Generated:
    """A gallery of the items that were asked for, and those among them that could not be animated."""

    gallery: Gallery
    failed: tuple[Failed, ...]


def generate(
    animator: Animator,
    items: Sequence[BenchmarkItem],
    folder: Path,
    *,
    name: str | None = None,
    seed: int = 0,
    shard: Shard = WHOLE,
    known: Collection[str] | None = None,
    upscale: int = 1,
    engine: Engine = HERE,
    progress: Callable[[int], None] = lambda clips: None,
    tell: Callable[[Failed], None] = lambda failed: None,
) -> Generated:
    """Animate every item that the gallery in ``folder`` lacks, and write each clip down as soon as it is there.

    ``name`` is what the gallery calls the model (None: the animator's own name). Clips made with other settings,
    weights, text or picture, under another name or from another seed are made anew. ``known`` are the ids of the whole
    benchmark where ``items`` are a part of it: what is there of the others stays (None: there are no others). Of a
    ``shard``, its own items are animated, and listed in an index of its own: several machines may share the folder.
    ``upscale`` repeats pixels in the written file, which small worlds need to survive chroma subsampling. The
    ``engine`` animates, and this process writes the gallery. ``progress`` is told how many items are done, first of
    those that were there; ``tell`` of each that failed, at once.

    Raises:
        UnavailableError: see ``Animator``.
        GalleryError: an id is no file name, or the lists of other shards name clips of other settings, which are not
            this run's to remove.
        MediaError: a clip cannot be written.
        GenerationError: the first items all failed for one reason, one after the other: the others would, too.
    """
    _require_names(items)
    description = {"model": name or animator.name, "seed": seed, "settings": dict(animator.settings)}
    rows = _Rows(folder, shard, description, items, known or ())
    with replacing(folder / SETTINGS) as partial:
        partial.write_text(json.dumps(description, indent=2) + "\n")
    mine = [item for item in items if shard.holds(item.id)]
    todo = [item for item in mine if item.id not in rows.found]
    progress(len(mine) - len(todo))
    failed = list[Failed]()
    for done, film in enumerate(_films(animator, todo, seed, upscale, engine), 1):
        if isinstance(film, Failed):
            failed.append(film)
            tell(film)
            if done == len(failed) == _HOPELESS < len(todo) and animator.group == 1:
                _require_different_reasons(failed)
        else:
            item = rows.items[film.id]
            row = _row(animator, item, film, name or animator.name, rows.made_by)
            with replacing(folder / row.file) as partial:
                partial.write_bytes(film.video)
            rows.add(row)
        progress(1)
    return Generated(Gallery(folder, [rows.found[item.id] for item in mine if item.id in rows.found]), tuple(failed))


def _require_different_reasons(failed: Sequence[Failed]) -> None:
    if len({one.reason for one in failed}) == 1:
        raise GenerationError(f"the first {len(failed)} items failed alike, so no more were tried: {failed[0].reason}")


def item_seed(seed: int, item: str) -> int:
    """The seed of an item's noise: the same for every model, so that two galleries start from the same noise."""
    return int.from_bytes(hashlib.sha256(f"{seed}|{item}".encode()).digest()[:6])


@dataclass(frozen=True)
class _Film:
    """The clip of an item as the bytes of a video, and what its row says of it."""

    id: str
    video: bytes
    size: tuple[int, int]
    frames: int
    fps: float
    seed: int | None


def _films(
    animator: Animator, items: Sequence[BenchmarkItem], seed: int, upscale: int, engine: Engine
) -> Iterator[_Film | Failed]:
    """What becomes of each item, group by group."""
    size = max(1, animator.group)
    groups = [items[start : start + size] for start in range(0, len(items), size)]
    work = Stages(as_it_is, _Animating(animator, seed, upscale))
    for group, films in zip(groups, engine.map(work, groups), strict=True):
        yield from [Failed(item.id, films.reason) for item in group] if isinstance(films, Lost) else films


@dataclass(frozen=True)
class _Animating:
    """Animates a group of items; of one that the animator passes over in silence it says that it did."""

    animator: Animator
    seed: int
    upscale: int

    def __call__(self, group: Sequence[BenchmarkItem]) -> Iterator[_Film | Failed]:
        missing = {item.id: item for item in group}
        for outcome in self.animator.animate(group, [item_seed(self.seed, item.id) for item in group]):
            del missing[outcome.id]
            yield self._film(outcome) if isinstance(outcome, Made) else outcome
        for item in missing:
            yield Failed(item, f"{self.animator.name} gave no clip and no reason")

    def _film(self, made: Made) -> _Film:
        frames, height, width = made.clip.frames.shape[:3]
        with TemporaryDirectory() as folder:
            file = Path(folder) / "clip.mp4"
            write_clip(file, made.clip.frames, made.clip.fps, upscale=self.upscale)
            return _Film(made.id, file.read_bytes(), (height, width), frames, made.clip.fps, made.seed)


def _row(animator: Animator, item: BenchmarkItem, film: _Film, model: str, made_by: str) -> GalleryRow:
    return GalleryRow(
        id=item.id,
        image=item.image,
        text=item.text,
        file=_file(item.id),
        model=model,
        native_size=film.size,
        frames=film.frames,
        fps=film.fps,
        steps=animator.steps,
        seed=film.seed,
        settings=made_by,
        content=hashlib.sha256(film.video).hexdigest(),
        picture=_picture(item),
    )


def _picture(item: BenchmarkItem) -> str:
    """The hash of an item's picture, "" where that cannot be read: who needs it says so."""
    try:
        return item.content
    except MediaError:
        return ""


def _answers(row: GalleryRow, item: BenchmarkItem) -> bool:
    """Whether a clip was made from an item's text and picture; a hash that nobody knows is that of any picture."""
    pictures = {row.picture, _picture(item)}
    return (row.text, row.image) == (item.text, item.image) and ("" in pictures or len(pictures) == 1)


def _file(item: str) -> str:
    return f"{item}.mp4"


def _require_names(items: Sequence[BenchmarkItem]) -> None:
    wrong = [item.id for item in items if Path(_file(item.id)).name != _file(item.id) or item.id.startswith(".")]
    if wrong:
        raise GalleryError(f"{wrong[0]!r} cannot be the name of a clip's file; give the item an id without slashes")
    if len({item.id for item in items}) < len(items):
        raise GalleryError("two items have the same id; a gallery holds one clip of each")


def _fingerprint(description: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()[:16]


class _Rows:
    """The list of a gallery while it is made.

    The whole list is one file, written by one process; what shards left is put into it. A shard writes a file of its
    own, and only reads the others. Either drops clips of other settings from its own list, and from no other.
    """

    def __init__(
        self,
        folder: Path,
        shard: Shard,
        description: Mapping[str, object],
        items: Sequence[BenchmarkItem],
        known: Collection[str],
    ) -> None:
        """``found`` are the rows of items, and of known ones, whose clips are there and were made by these settings."""
        folder.mkdir(parents=True, exist_ok=True)
        self.made_by, self._folder = _fingerprint(description), folder
        self.items, self._known = {item.id: item for item in items}, set(known)
        self._path = folder / INDEX if shard == WHOLE else folder / f"{Path(INDEX).stem}.{shard}.jsonl"
        files = index_files(folder)
        rows = {path: read_rows(path) for path in files}
        self._refuse_others(rows, description)
        self.found: dict[str, GalleryRow] = {}
        for path in files:
            kept = [row for row in rows[path] if self._is_kept(row) and row.id not in self.found]
            self.found |= {row.id: row for row in kept}
            if path == self._path and shard != WHOLE:
                rewrite_jsonl(path, map(asdict, kept))
        if shard == WHOLE:
            rewrite_jsonl(self._path, map(asdict, self.found.values()))
            for path in set(files) - {self._path}:
                path.unlink()

    def add(self, row: GalleryRow) -> None:
        """A clip that is on disk."""
        append_jsonl(self._path, asdict(row))
        self.found[row.id] = row

    def _is_kept(self, row: GalleryRow) -> bool:
        if row.settings != self.made_by or not (self._folder / row.file).is_file():
            return False
        item = self.items.get(row.id)
        return row.id in self._known if item is None else _answers(row, item)

    def _refuse_others(self, rows: Mapping[Path, Sequence[GalleryRow]], description: Mapping[str, object]) -> None:
        for path, found in rows.items():
            others = [row for row in found if path != self._path and row.settings != self.made_by]
            if others:
                raise GalleryError(
                    f"{path}: lists clips made with other settings, by another model or from another seed"
                    f"{_difference(self._folder, others[0].settings, description)}; repeat theirs to go on with them,"
                    " give this one a folder of its own, or delete that list if its clips are to be made anew"
                )


def _difference(folder: Path, made_by: str, description: Mapping[str, object]) -> str:
    """In what clips of a gallery were made otherwise, in brackets; "" where its settings are not told."""
    told = read_json(folder / SETTINGS, GalleryError) if (folder / SETTINGS).is_file() else None
    if not isinstance(told, dict) or _fingerprint(told) != made_by:
        return ""
    there, here = _flat(told), _flat(json.loads(json.dumps(description)))
    differing = [key for key in here | there if here.get(key) != there.get(key)]
    said = [f"{key} was {shortened(there.get(key))}, is {shortened(here.get(key))}" for key in differing]
    return f" ({'; '.join(said)})"


def _flat(values: Mapping[str, object], before: str = "") -> dict[str, object]:
    """Settings within settings by their path: ``call.num_frames``."""
    flat: dict[str, object] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{before}{key}.") if isinstance(value, dict) else {f"{before}{key}": value}
    return flat
