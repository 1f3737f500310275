"""Tidy tables of what raters did, a row a vote, as CSV, Parquet and JSONL, and a codebook that explains each column."""

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Generic, Literal, TypeVar

from motionfocal.jsonl import rewrite_jsonl
from motionfocal.study.analysis.votes import SEPARATOR, guarded
from motionfocal.study.protocol import Judgement
from motionfocal.video.files import replace_text, replacing

Value = str | int | float | bool | None
Content = Literal["text", "integer", "number", "truth", "time"]


@dataclass(frozen=True)
class VoteRow:
    """A vote, and what a study's database knows of it besides; what is not known stays as it is here.

    ``state`` is a records.VoteState and ``excluded`` why its rater is. ``received`` is in seconds since 1970;
    ``took``, from the first showing to the receipt, and ``active``, while the page was visible, are in seconds.
    """

    judgement: Judgement
    impression: str = ""
    number: int | None = None
    received: float | None = None
    took: float | None = None
    active: float | None = None
    plays_left: int | None = None
    plays_right: int | None = None
    flags: tuple[str, ...] = ()
    comment: str = ""
    state: str = ""
    excluded: str = ""

    @property
    def counts(self) -> bool:
        """Whether an analysis takes it: a vote of unknown state does."""
        return self.state in ("", "valid")


@dataclass(frozen=True)
class CheckRow:
    """A rater's answer to an attention check or a training task.

    ``right`` is the side that ought to be chosen, of a repeat the side on which the clip chosen before stands now, and
    "" where every answer is good. ``passed`` is None where nothing was graded.
    """

    rater: str
    check: str
    item: str
    choice: str
    right: str = ""
    passed: bool | None = None
    number: int | None = None
    received: float | None = None
    took: float | None = None
    comment: str = ""


Filled = TypeVar("Filled", VoteRow, CheckRow)


@dataclass(frozen=True)
class Column(Generic[Filled]):
    """A column: what it is called, what it holds, what that means, and how a row fills it."""

    name: str
    content: Content
    about: str
    value: Callable[[Filled], Value]
    always: bool = False
    """Written even where no row has anything in it."""


def _time(seconds: float | None) -> str | None:
    """An instant in ISO 8601, UTC, to the millisecond."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


VOTE_COLUMNS: tuple[Column[VoteRow], ...] = (
    Column("item", "text", "Id of the picture and text of both clips.", lambda r: r.judgement.item, True),
    Column("image", "text", "Id of the picture; items that share one are related.", lambda r: r.judgement.image, True),
    Column("model_left", "text", "Model whose clip stood on the left.", lambda r: r.judgement.left_model, True),
    Column("model_right", "text", "Model whose clip stood on the right.", lambda r: r.judgement.right_model, True),
    Column("rater", "text", "Who voted; of people a number that tells nothing.", lambda r: r.judgement.rater, True),
    Column("choice", "text", "Side of the preferred clip: left, right or tie.", lambda r: r.judgement.preference, True),
    Column(
        "reasons", "text", "What was ticked for the preferred clip, separated by ';'; empty for a tie.",
        lambda r: SEPARATOR.join(r.judgement.reasons), True,
    ),
    Column("question", "text", "Id of the question that was asked.", lambda r: r.judgement.question, True),
    Column("kind", "text", "What the rater is: person, oracle, metric, or model.", lambda r: r.judgement.kind, True),
    Column("impression", "text", "Id of this showing of the pair.", lambda r: r.impression),
    Column("number", "integer", "Which of the rater's tasks it was, from 1.", lambda r: r.number),
    Column("received", "time", "When the server had the vote.", lambda r: _time(r.received)),
    Column("took", "number", "Seconds from the first showing to the vote, by the server's clock.", lambda r: r.took),
    Column("active", "number", "Seconds for which the page was visible, by the browser.", lambda r: r.active),
    Column("plays_left", "integer", "How often the left clip was seen to its end.", lambda r: r.plays_left),
    Column("plays_right", "integer", "How often the right clip was seen to its end.", lambda r: r.plays_right),
    Column("flags", "text", "What is odd about the vote, separated by ';'.", lambda r: SEPARATOR.join(r.flags)),
    Column("comment", "text", "What the rater wrote.", lambda r: r.comment),
    Column(
        "state", "text", "valid; surplus: a replacement had voted before; void: its rater failed or is excluded.",
        lambda r: r.state,
    ),
    Column("excluded", "text", "Why the rater's votes do not count.", lambda r: r.excluded),
)  # fmt: skip
"""The first nine are what ``read_votes`` reads, in its order."""

CHECK_COLUMNS: tuple[Column[CheckRow], ...] = (
    Column("rater", "text", "Who answered; the same names as in the votes.", lambda r: r.rater, True),
    Column(
        "check", "text", "identical: one clip twice; repeat: an earlier pair with sides exchanged; frozen: against a"
        " still; corrupted: against a broken clip; mismatched: against a clip of another picture; instructed: the text"
        " says which side; training: a task with a known answer before the study.", lambda r: r.check, True,
    ),
    Column("item", "text", "Id of the picture and text that was shown.", lambda r: r.item, True),
    Column("choice", "text", "Side that was chosen: left, right, or tie.", lambda r: r.choice, True),
    Column("right", "text", "Side that ought to be chosen; empty where every answer is good.", lambda r: r.right, True),
    Column("passed", "truth", "How the answer was graded; empty where it was not.", lambda r: r.passed, True),
    Column("number", "integer", "Which of the rater's tasks it was, from 1.", lambda r: r.number),
    Column("received", "time", "When the server had the answer.", lambda r: _time(r.received)),
    Column("took", "number", "Seconds from the first showing to the answer, by the server's clock.", lambda r: r.took),
    Column("comment", "text", "What the rater wrote.", lambda r: r.comment),
)  # fmt: skip


def write_votes(rows: Sequence[VoteRow | Judgement], folder: Path, stem: str = "votes") -> None:
    """Write ``stem.csv``, ``stem.parquet`` and ``stem.jsonl``, each of which ``read_votes`` reads back.

    Columns that no row fills are left out. Only votes that count belong into "votes": an analysis takes all in it.
    Raises MediaError when the folder cannot be written to.
    """
    full = [row if isinstance(row, VoteRow) else VoteRow(row) for row in rows]
    _write(full, VOTE_COLUMNS, folder, stem)


def write_checks(rows: Sequence[CheckRow], folder: Path, stem: str = "checks") -> None:
    """Write ``stem.csv``, ``stem.parquet`` and ``stem.jsonl``. Raises MediaError as ``write_votes`` does."""
    _write(rows, CHECK_COLUMNS, folder, stem)


def write_codebook(folder: Path) -> None:
    """Write ``codebook.md`` and ``codebook.json``: every column of every table. Raises MediaError as above."""
    replace_text(folder / "codebook.json", json.dumps(_codebook(), indent=1) + "\n")
    lines = ["# Codebook", "", *_PREFACE]
    for table, columns in _codebook().items():
        lines += ["", f"## {table}", "", "| column | content | meaning |", "|---|---|---|"]
        lines += [f"| `{column['name']}` | {column['content']} | {column['about']} |" for column in columns]
    replace_text(folder / "codebook.md", "\n".join(lines) + "\n")


_PREFACE = (
    "Each table is there as CSV, Parquet and JSONL, with the same columns and values; columns that no row fills are",
    "left out. `votes` holds the votes that count, and `left_out` those that do not, with the same columns. Times are",
    "ISO 8601 in UTC. In the CSV alone, a text that a spreadsheet could take for a formula (it begins with `=`, `+`,",
    "`-`, `@`, a tab or a carriage return) is led by a single quote.",
)


def _codebook() -> dict[str, list[Mapping[str, str]]]:
    def described(columns: Sequence[Column[Filled]]) -> list[Mapping[str, str]]:
        return [{"name": column.name, "content": column.content, "about": column.about} for column in columns]

    return {"votes, left_out": described(VOTE_COLUMNS), "checks": described(CHECK_COLUMNS)}


def _write(rows: Sequence[Filled], columns: Sequence[Column[Filled]], folder: Path, stem: str) -> None:
    """The three files of one table."""
    filled = {column: [column.value(row) for row in rows] for column in columns}
    table = {
        column: values for column, values in filled.items() if column.always or any(v not in (None, "") for v in values)
    }
    names = [column.name for column in table]
    lines = [dict(zip(names, values, strict=True)) for values in zip(*table.values(), strict=True)]
    with replacing(folder / f"{stem}.csv") as partial, partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows({name: _for_spreadsheet(value) for name, value in line.items()} for line in lines)
    rewrite_jsonl(folder / f"{stem}.jsonl", lines)
    _write_parquet(table, folder / f"{stem}.parquet")


def _for_spreadsheet(value: Value) -> Value:
    if isinstance(value, bool):
        return str(value).lower()
    return guarded(value) if isinstance(value, str) else value


def _write_parquet(table: Mapping[Column[Filled], list[Value]], path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    types = {
        "text": pyarrow.string(),
        "time": pyarrow.string(),
        "integer": pyarrow.int64(),
        "number": pyarrow.float64(),
        "truth": pyarrow.bool_(),
    }
    arrays = {column.name: pyarrow.array(values, types[column.content]) for column, values in table.items()}
    with replacing(path) as partial:
        parquet.write_table(pyarrow.table(arrays), partial)
