"""Which text belongs to which clip: every form in which people keep clips and texts, read into one list.

A data set is a folder of clips with a table (CSV or JSONL), the same with the table inside (``metadata.csv`` or
``metadata.jsonl``, as Hugging Face's video folders have it), ``prompts.txt`` and ``videos.txt`` line by line, or tar
shards in webdataset's layout.
"""

from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from motionfocal.data.files import VideoFile, find_shards, members
from motionfocal.errors import ManifestError
from motionfocal.reading import is_there, read_text
from motionfocal.tables import Row, as_object, first_of, read_table, text_of
from motionfocal.video.files import VIDEO_SUFFIXES, item_of

FILE_COLUMNS = ("file_name", "video", "file")
PROMPTS, VIDEOS = "prompts.txt", "videos.txt"
TABLES = ("metadata.csv", "metadata.jsonl", PROMPTS)


@dataclass(frozen=True)
class Caption:
    """One clip with its text. ``id`` is unique in a data set, and the same in every run and on every machine."""

    id: str
    video: VideoFile
    text: str


def read_manifest(videos: Path | Sequence[Path], captions: Path | None = None) -> list[Caption]:
    """Every clip of a data set with its text.

    ``videos`` is a folder of clips, or tar shards: a path, a glob, a range such as ``shard-{0000..0012}.tar``, or a
    list of these. ``captions`` is the folder's table; None looks for one inside (see ``find_table``).

    Raises:
        ManifestError: something is missing, ambiguous or unreadable; the text names the row or the member.
    """
    patterns = [videos] if isinstance(videos, Path) else list(videos)
    if is_sharded(videos):
        found = [caption for shard in find_shards(patterns) for caption in _of_shard(shard)]
    else:
        table = captions or find_table(patterns[0])
        found = list(_of_table(table, patterns[0] if captions else table.parent))
    if not found:
        where = captions or ", ".join(map(str, patterns))
        raise ManifestError(f"{where}: names not a single clip that is there; clips are found by file name or by id")
    return _with_different_ids(found)


def is_sharded(videos: Path | Sequence[Path]) -> bool:
    """Whether a data set is kept in tar shards, rather than in a folder."""
    return not isinstance(videos, Path) or videos.suffix == ".tar"


def find_table(folder: Path) -> Path:
    """The one table of texts in a folder or right below it: metadata.csv, metadata.jsonl, or prompts.txt.

    Raises:
        ManifestError: there is none, or more than one.
    """
    _require_folder(folder)
    places = [folder, *sorted(path for path in folder.iterdir() if path.is_dir())]
    found = [place / name for place in places for name in TABLES if (place / name).is_file()]
    if len(found) == 1:
        return found[0]
    if found:
        raise ManifestError(
            f"{folder}: several tables of texts ({', '.join(map(str, found))}); set data.captions to one of them,"
            " or data.videos to its folder"
        )
    raise ManifestError(
        f"{folder}: no table of texts; looked for metadata.csv, metadata.jsonl, and {PROMPTS} with {VIDEOS},"
        " in the folder and in those right below it; set data.captions to yours"
    )


def _of_table(table: Path, folder: Path) -> Iterator[Caption]:
    """The clips of a table, below a folder."""
    _require_folder(folder)
    if not table.is_file():
        raise ManifestError(f"{table}: no such table of texts")
    if table.suffix == ".txt":
        yield from _of_lines(table, folder)
        return
    rows = [(f"{table}, row {number}", row) for number, row in read_table(table)]
    by_item = _ById(folder, {_id(row, where) for where, row in rows})
    for where, row in rows:
        text = text_of(row, where)
        if name := first_of(row, FILE_COLUMNS, where):
            yield _named(name, folder, text, where)
        elif item := _id(row, where):
            yield from (Caption(path.stem, VideoFile(path), text) for path in by_item.clips(item))
        else:
            raise ManifestError(f"{where}: names no clip; expected a column {', '.join(FILE_COLUMNS)} or id")


def _id(row: Row, where: str) -> str:
    """The id by which a row names its clips; "" for one that names a file."""
    return "" if first_of(row, FILE_COLUMNS, where) else first_of(row, ("id",), where)


def _named(name: str, folder: Path, text: str, where: str) -> Caption:
    path = folder / name
    if not is_there(path):
        raise ManifestError(f"{where}: no clip {name} in {folder}")
    return Caption(Path(name).with_suffix("").as_posix(), VideoFile(path), text)


class _ById:
    """The clips of a folder by the id of their row: ``<id>.mp4`` or, several to a row, ``<id>_<seed>.mp4``.

    Rows may lack a clip: a benchmark's table is longer than one model's folder.
    """

    def __init__(self, folder: Path, ids: Container[str]) -> None:
        self._folder, self._ids = folder, ids
        self._clips: dict[str, list[Path]] | None = None

    def clips(self, item: str) -> list[Path]:
        if self._clips is None:
            self._clips = self._listed()
        return self._clips.get(item, [])

    def _listed(self) -> dict[str, list[Path]]:
        paths = [path for path in self._folder.iterdir() if path.suffix.lower() in VIDEO_SUFFIXES]
        clips: dict[str, list[Path]] = {}
        for stem, group in groupby(sorted(paths, key=_stem_first), key=lambda path: path.stem):
            first, *others = group
            if others:
                raise ManifestError(f"{first} and {others[0]}: two clips of one id; rename or remove one")
            if named := item_of(stem, self._ids):
                clips.setdefault(named[0], []).append(first)
        return clips


def _stem_first(path: Path) -> tuple[str, str]:
    return path.stem, path.name


def _of_lines(prompts: Path, folder: Path) -> Iterator[Caption]:
    """Line n of ``prompts.txt`` belongs to the path in line n of the ``videos.txt`` beside it."""
    videos = prompts.with_name(VIDEOS)
    if not videos.is_file():
        raise ManifestError(f"{videos}: missing; {prompts.name} needs it, with one path a line")
    texts, names = _lines(prompts), _lines(videos)
    if len(texts) != len(names):
        raise ManifestError(f"{prompts} has {len(texts)} lines and {videos.name} {len(names)}; they go line by line")
    for number, (text, name) in enumerate(zip(texts, names, strict=True), 1):
        if not text:
            raise ManifestError(f"{prompts}, row {number}: no text")
        yield _named(name, folder, text, f"{videos}, row {number}")


def _lines(path: Path) -> list[str]:
    return [line.strip() for line in read_text(path, ManifestError).rstrip("\n").split("\n")]


def _of_shard(shard: Path) -> Iterator[Caption]:
    """The clips of a tar shard: ``key.mp4`` with its text in ``key.txt`` or, failing that, in ``key.json``."""
    texts: dict[str, dict[str, str]] = {}
    clips: dict[str, VideoFile] = {}
    dotted: dict[str, VideoFile] = {}
    for member in members(shard, with_text=("txt", "json")):
        if member.text is not None:
            texts.setdefault(member.key, {})[member.ending] = member.text
        elif f".{member.ending}" in VIDEO_SUFFIXES:
            if member.key in clips:
                raise ManifestError(f"{clips[member.key]} and {member.file.member}: two clips of one key")
            clips[member.key] = member.file
        elif Path(member.ending).suffix in VIDEO_SUFFIXES:
            dotted[member.key] = member.file
    if left := [key for key in dotted if key not in clips]:
        raise ManifestError(
            f"{dotted[left[0]]}: a clip's key ends at the first dot of its name, and there is no clip {left[0]};"
            " rename it without dots"
        )
    if alone := [key for key, found in texts.items() if "txt" in found and key not in clips]:
        raise ManifestError(f"{shard}: {len(alone)} texts have no clip beside them, the first is {alone[0]}.txt")
    for key, file in clips.items():
        yield Caption(f"{shard.stem}/{key}", file, _text_of_member(texts.get(key, {}), file))


def _text_of_member(texts: dict[str, str], file: VideoFile) -> str:
    if text := texts.get("txt", "").strip():
        return text
    if "json" not in texts:
        raise ManifestError(f"{file}: no text; expected a .txt or .json member of the same key")
    return text_of(as_object(texts["json"], f"{file}, its .json"), f"{file}, its .json")


def _with_different_ids(captions: Iterable[Caption]) -> list[Caption]:
    """A clip that comes again, with another text, gets ``#2`` behind its id, then ``#3``."""
    seen: dict[str, int] = {}
    found = []
    for caption in captions:
        count = seen[caption.id] = seen.get(caption.id, 0) + 1
        found.append(caption if count == 1 else replace(caption, id=f"{caption.id}#{count}"))
    return found


def _require_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise ManifestError(f"{folder}: no such folder of clips")
