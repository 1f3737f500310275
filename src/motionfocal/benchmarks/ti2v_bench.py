"""TI2V-Bench: 320 questions about 88 pictures in 22 scenarios, checked when they are read."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from motionfocal.benchmarks.benchmark import Benchmark, BenchmarkItem
from motionfocal.benchmarks.hard_cases import tags_of
from motionfocal.benchmarks.rows import IMAGE_COLUMNS, find_picture, item_id, require_usable_ids
from motionfocal.errors import ManifestError
from motionfocal.tables import Row, first_of, read_table, text_of

NAME = "TI2V-Bench"
TABLE = "prompt.csv"
COLUMNS = ("id", "scenario", "image", "prompt")


@dataclass(frozen=True)
class _Scenario:
    """How many items and texts a scenario has, and what its pictures are called behind its name."""

    items: int
    texts: int
    pictures: tuple[str, ...]


def _numbered(pictures: int, items: int, texts: int) -> _Scenario:
    return _Scenario(items, texts, tuple(str(number + 1) for number in range(pictures)))


SCENARIOS = {
    "aerial_car": _numbered(4, 16, 4),
    "balance": _numbered(4, 16, 4),
    "balloon": _numbered(4, 16, 4),
    "bird": _numbered(4, 12, 12),
    "bulbs": _numbered(4, 16, 4),
    "butterfly": _numbered(4, 16, 4),
    "candle": _numbered(3, 9, 3),
    "child": _numbered(4, 16, 8),
    "dog": _numbered(4, 20, 5),
    "ducky": _numbered(4, 16, 4),
    "fish": _numbered(5, 20, 20),
    "flower": _numbered(4, 12, 3),
    "golf": _numbered(4, 16, 4),
    "horse": _numbered(4, 16, 4),
    "meadow": _Scenario(18, 18, ("_bear", "_cat", "_pig")),
    "person_face": _numbered(4, 20, 10),
    "person_walking": _numbered(4, 12, 9),
    "sun": _numbered(6, 12, 2),
    "tide": _numbered(4, 8, 2),
    "traffic_light": _numbered(3, 9, 3),
    "tree": _numbered(4, 12, 3),
    "volcano": _numbered(4, 12, 3),
}
"""The whole benchmark in figures: 22 scenarios, 320 items, 88 pictures, 133 texts."""

_SCENARIO_OF = {name + end: name for name, scenario in SCENARIOS.items() for end in scenario.pictures}


def load_ti2v_bench(folder: Path) -> Benchmark:
    """TI2V-Bench from a folder with ``prompt.csv`` and its pictures.

    The table needs the columns ``image`` and ``prompt``. Where it has ``id`` and ``scenario`` too, they must say what
    image and prompt say: an id is ``<picture>_<text>``, and that names the clips that the authors published. Pictures
    may have any size and ending, in the folder or right below it. Tags are ours, see ``hard_cases``.

    Raises:
        ManifestError: a picture is missing, a row is odd, or something of the 320 is missing or too much; the text
            names the row.
    """
    table = folder / TABLE
    if not table.is_file():
        raise ManifestError(f"{folder}: no {TABLE} here; {NAME} is a folder with {TABLE} and its images")
    rows = [(f"{table}, row {number}", _item(row, folder, f"{table}, row {number}")) for number, row in _rows(table)]
    items = require_usable_ids(rows)
    _require_whole(table, items)
    return Benchmark(NAME, items)


def looks_like_ti2v_bench(folder: Path) -> bool:
    """Whether a folder claims to be TI2V-Bench, whole or damaged.

    It does when its ``prompt.csv`` has exactly TI2V-Bench's columns, or names at least half of its pictures.
    """
    table = folder / TABLE
    if not table.is_file():
        return False
    rows = [row for _, row in read_table(table)]
    named = {PurePosixPath(first_of(row, IMAGE_COLUMNS, f"{table}")).stem for row in rows}
    return bool(rows and tuple(rows[0]) == COLUMNS) or 2 * len(named & set(_SCENARIO_OF)) >= len(_SCENARIO_OF)


def _rows(table: Path) -> Iterator[tuple[int, Row]]:
    for number, row in read_table(table):
        empty = [name for name in COLUMNS if name in row and not first_of(row, (name,), f"{table}, row {number}")]
        if empty:
            raise ManifestError(f"{table}, row {number}: nothing in column {', '.join(empty)}")
        if not first_of(row, IMAGE_COLUMNS, f"{table}, row {number}"):
            raise ManifestError(f"{table}, row {number}: names no image; {NAME} has the columns {', '.join(COLUMNS)}")
        yield number, row


def _item(row: Row, folder: Path, where: str) -> BenchmarkItem:
    name, text = first_of(row, IMAGE_COLUMNS, where), text_of(row, where)
    file = find_picture(folder, name, where)
    if file.stem not in _SCENARIO_OF:
        raise ManifestError(f"{where}: {NAME} has no image {file.stem}; a list of your own is called prompts.csv")
    scenario, expected = _SCENARIO_OF[file.stem], item_id(file.stem, text)
    if (said := first_of(row, ("scenario",), where)) and said.lower().replace(" ", "_") != scenario:
        raise ManifestError(f"{where}: image {file.stem} is of scenario {scenario}, not {said}")
    if (said := first_of(row, ("id",), where)) and said != expected:
        raise ManifestError(f"{where}: id {said} does not say its image and prompt; expected {expected}")
    return BenchmarkItem(expected, file.stem, file, text, scenario, tags_of(scenario, text))


def _require_whole(table: Path, items: Sequence[BenchmarkItem]) -> None:
    """Compare with the figures of every scenario; what differs is named with its rows."""
    wrong = []
    for name, expected in SCENARIOS.items():
        rows = {number: item for number, item in enumerate(items, 1) if item.scenario == name}
        found = {
            "items": (len(rows), expected.items),
            "images": (len({item.image for item in rows.values()}), len(expected.pictures)),
            "prompts": (len({item.text for item in rows.values()}), expected.texts),
        }
        odd = [f"{has} {what} instead of {should}" for what, (has, should) in found.items() if has != should]
        if odd:
            wrong.append(f"scenario {name} has {', '.join(odd)}{_rarest(rows)}")
    if wrong:
        counts = (
            f"{len(items)} items, {len({item.scenario for item in items})} scenarios,"
            f" {len({item.image for item in items})} images, {len({item.text for item in items})} prompts"
        )
        raise ManifestError(
            f"{table}: {counts} instead of 320, 22, 88 and 133: {'; '.join(wrong)}."
            f" Copy {NAME} again; a list of your own, or a part of this one, is called prompts.csv"
        )


def _rarest(rows: dict[int, BenchmarkItem]) -> str:
    """The rows of a scenario, and of its rarest text, which is where a missing or changed row shows."""
    if not rows:
        return ""
    texts = Counter(item.text for item in rows.values())
    rare = min(texts, key=lambda text: texts[text])
    places = ", ".join(str(number) for number, item in rows.items() if item.text == rare)
    return f" (rows {min(rows)} to {max(rows)}; its rarest prompt is {rare!r}, row {places})"
