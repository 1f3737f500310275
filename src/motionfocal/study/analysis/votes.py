"""Votes that anybody can bring: a table, a row a vote, and every fault in it named by its row."""

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import cast, get_args

from motionfocal.errors import ConfigError, ManifestError
from motionfocal.study.protocol import OVERALL, Judgement, Kind, Preference
from motionfocal.tables import Row, first_of, read_table

REQUIRED = ("item", "image", "model_left", "model_right", "rater", "choice")
"""Columns that no row leaves empty; ``reasons`` must be a column too, but may be empty."""

SEPARATOR = ";"
"""Stands between two reasons, or two flags."""

_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_GUARDED = re.compile(r"'+[=+\-@\t\r]")


def read_votes(path: Path) -> list[Judgement]:
    """The votes of a ``.csv``, ``.jsonl`` or ``.parquet`` file, in its order; docs/study-analysis.md has its columns.

    Spaces around a value do not count, other columns are ignored, and what guards a CSV's values against being taken
    for formulas is removed. ``comparison`` is made of the item and its two models, whichever side they stood on.

    Raises:
        ManifestError: no such file, no vote in it, or a row is at fault: a column is missing or empty, a choice or a
            kind is unknown, a model stands against itself, reasons are given twice or for a tie, an item has two
            images, a rater is of two kinds or voted twice on a pair (a rater that is no person: on one order of it).
    """
    rows = list(_rows(path))
    if not rows:
        raise ManifestError(f"{path}: holds no vote")
    judgements = [_judgement(row, where) for row, where in rows]
    _check_together(judgements, [where for _, where in rows])
    return judgements


def comparison_id(item: str, first: str, second: str) -> str:
    """The id of a comparison: the same for both orders of the models, and for nothing else."""
    named = json.dumps([item, *sorted((first, second))])
    return hashlib.sha256(named.encode()).hexdigest()[:16]


def guarded(text: str) -> str:
    """A text that no spreadsheet takes for a formula: one that could be is led by a single quote."""
    return f"'{text}" if _FORMULA.match(text) else text


def unguarded(text: str) -> str:
    """What ``guarded`` was given."""
    return text[1:] if _GUARDED.match(text) else text


def _rows(path: Path) -> Iterator[tuple[Row, str]]:
    """Each row, and how an error calls it."""
    if not path.is_file():
        raise ManifestError(f"{path}: there is no such file; give a table of votes")
    if path.suffix == ".parquet":
        yield from ((row, f"{path}, row {number}") for number, row in enumerate(_parquet(path), 1))
    elif path.suffix == ".jsonl":
        yield from ((row, f"{path}, row {number}") for number, row in read_table(path))
    elif path.suffix == ".csv":
        for number, row in read_table(path):
            bare = {name: unguarded(value) if isinstance(value, str) else value for name, value in row.items()}
            yield bare, f"{path}, row {number}"
    else:
        raise ManifestError(f"{path}: votes are read from .csv, .jsonl or .parquet")


def _parquet(path: Path) -> list[Row]:
    import pyarrow
    from pyarrow import parquet

    try:
        rows: list[Row] = parquet.read_table(path).to_pylist()
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise ManifestError(f"{path}: not Parquet ({error})") from error
    return rows


def _judgement(row: Row, where: str) -> Judgement:
    """The vote of a row, as far as the row alone can tell."""
    missing = [name for name in (*REQUIRED, "reasons") if name not in row]
    if missing:
        raise ManifestError(f"{where}: no column {', '.join(missing)}")
    values = {name: first_of(row, (name,), where) for name in REQUIRED}
    empty = [name for name, value in values.items() if not value]
    if empty:
        raise ManifestError(f"{where}: {', '.join(empty)}: empty")
    left, right = values["model_left"], values["model_right"]
    if left == right:
        raise ManifestError(f"{where}: {left} stands on both sides; a pair needs two models")
    reasons = (reason.strip() for reason in first_of(row, ("reasons",), where).split(SEPARATOR))
    try:
        return Judgement(
            comparison=comparison_id(values["item"], left, right),
            item=values["item"],
            image=values["image"],
            left_model=left,
            right_model=right,
            rater=values["rater"],
            preference=cast(Preference, _one_of(values["choice"], get_args(Preference), "choice", where)),
            reasons=tuple(reason for reason in reasons if reason),
            question=first_of(row, ("question",), where) or OVERALL,
            kind=cast(Kind, _one_of(first_of(row, ("kind",), where) or "person", get_args(Kind), "kind", where)),
        )
    except ConfigError as error:
        raise ManifestError(f"{where}: {error}") from error


def _one_of(value: str, known: tuple[str, ...], column: str, where: str) -> str:
    if value not in known:
        raise ManifestError(f"{where}: {column} {value!r}; known: {', '.join(known)}")
    return value


def _check_together(judgements: list[Judgement], wheres: list[str]) -> None:
    """What only several rows can show."""
    images: dict[str, str] = {}
    kinds: dict[str, str] = {}
    seen: dict[tuple[str, ...], str] = {}
    for judgement, where in zip(judgements, wheres, strict=True):
        image = images.setdefault(judgement.item, judgement.image)
        if image != judgement.image:
            raise ManifestError(f"{where}: item {judgement.item} has image {judgement.image}, and {image} before")
        kind = kinds.setdefault(judgement.rater, judgement.kind)
        if kind != judgement.kind:
            raise ManifestError(f"{where}: rater {judgement.rater} is of kind {judgement.kind}, and {kind} before")
        order = () if kind == "person" else (judgement.left_model,)
        vote = (judgement.rater, judgement.question, judgement.comparison, *order)
        if vote in seen:
            raise ManifestError(
                f"{where}: {judgement.rater} votes again on {judgement.question} of item {judgement.item}, "
                f"{judgement.left_model} against {judgement.right_model}; the first time was {seen[vote]}"
            )
        seen[vote] = where
