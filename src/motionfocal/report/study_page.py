"""From an analysis of votes to one HTML file that needs nothing but a browser, not even a network."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from motionfocal.intervals import Interval
from motionfocal.report.figure4 import figure4, name_of, size_of
from motionfocal.report.page import MINUS, place_on_axis, resource, style_sheet
from motionfocal.study.analysis.contents import AgreementWithPeople, Analysis, ComparisonRow, Table
from motionfocal.video.files import replace_text

NOTHING = "\N{EN DASH}"
"""Stands where a figure is not defined."""

CLEAR = 0.05
"""Below this, Holm's p calls a difference clear."""

_SCALE = 16 / 11
"""Letters of the page over those of a figure."""


@dataclass(frozen=True)
class _Part:
    """A table as the page shows it: ``id`` of its section, its title, and its Figure 4 as SVG, "" without rows."""

    id: str
    title: str
    table: Table
    figure: str
    width: int
    """What the figure takes at most, in CSS pixels: its letters are as large as the page's."""
    model: str
    """The one that all rows are about, "" where rows have several."""


def write_study_page(analysis: Analysis, path: Path, *, methods: str, commands: Sequence[str] = ()) -> Path:
    """Write the page, whole or not at all, and return its path.

    ``methods`` is the paragraph of ``methods.methods_paragraph``, ``commands`` are those that make the page again.
    Raises MediaError when the page cannot be written.
    """
    replace_text(path, render_study(analysis, methods=methods, commands=commands))
    return path


def render_study(analysis: Analysis, *, methods: str, commands: Sequence[str] = ()) -> str:
    """The page as HTML."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"share": shown_share, "number": shown_number, "p": shown_p, "count": "{:,}".format}
    environment.tests |= {"known": _is_known}
    people = [table for table in analysis.tables if table.kind == "person"]
    others = [table for table in analysis.tables if table.kind != "person"]
    versions = analysis.settings.get("versions")
    return environment.from_string(resource("study.html.j2")).render(
        analysis=analysis,
        people=[_part(table, f"people-{number}", len(people) > 1) for number, table in enumerate(people, 1)],
        others=[_part(table, f"others-{number}", True) for number, table in enumerate(others, 1)],
        agreeing=_agreeing,
        methods=methods,
        commands=commands,
        settings={key: value for key, value in analysis.settings.items() if key != "versions" and value is not None},
        versions=versions if isinstance(versions, dict) else {},
        css=style_sheet("study.css"),
        name_of=name_of,
        place=place_on_axis,
        strengths=_strengths,
        is_one_model=_is_one_model,
        wins=lambda rows: _clear(rows, won=True),
        losses=lambda rows: _clear(rows, won=False),
        splits=_splits,
        votes_each=_votes_each,
    )


def shown_share(share: float) -> str:
    """A share in [0, 1] in per cent as the paper prints it, without the sign; a dash for NaN."""
    return NOTHING if math.isnan(share) else f"{100 * share:.1f}"


def shown_number(value: float) -> str:
    """A coefficient with two decimals, zero without a sign; a dash for NaN."""
    return NOTHING if math.isnan(value) else f"{round(value, 2) + 0.0:.2f}".replace("-", MINUS)


def shown_p(p: float) -> str:
    """A p-value with three decimals; a dash for NaN."""
    if math.isnan(p):
        return NOTHING
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _is_known(value: Interval | float | None) -> bool:
    """Whether there is a number, and for an interval three."""
    if isinstance(value, Interval):
        return all(map(math.isfinite, (value.estimate, value.low, value.high)))
    return value is not None and not math.isnan(value)


def _part(table: Table, id: str, titled: bool) -> _Part:  # noqa: A002 - the attribute's name
    who = "People" if table.kind == "person" else f"Raters of kind “{table.kind}”"
    figure = figure4(table.rows) if table.rows else ""
    return _Part(
        id=id,
        title=f"{who} on “{table.question}”" if titled else "",
        table=table,
        figure=figure,
        width=round(_SCALE * size_of(figure)[0]) if figure else 0,
        model=table.rows[0].model if _is_one_model(table.rows) else "",
    )


def _is_one_model(rows: Sequence[ComparisonRow]) -> bool:
    """Whether all rows are about the same model, and there is one."""
    return len({row.model for row in rows}) == 1


def _agreeing(found: Sequence[AgreementWithPeople], table: Table) -> list[AgreementWithPeople]:
    """What is known of a table's raters beside people."""
    return [one for one in found if (one.question, one.kind) == (table.question, table.kind)]


def _strengths(table: Table) -> tuple[float, float]:
    """The ends of an axis for all strengths, which has 0 on it."""
    ends = [end for ranked in table.ranking.models for end in (ranked.strength.low, ranked.strength.high)]
    return min([*ends, -0.1]) * 1.05, max([*ends, 0.1]) * 1.05


def _clear(rows: Sequence[ComparisonRow], *, won: bool) -> int:
    """How many rows are clearly won, or lost: by Holm's p, and on more than half of the items, or fewer."""
    return sum(row.p_holm < CLEAR and (row.ti2v_score.estimate > 0.5) == won for row in rows)


def _splits(splits: dict[str, int]) -> list[tuple[str, int, float]]:
    """Each split of votes, its count, and its share in per cent."""
    total = sum(splits.values())
    return [(split, count, 100 * count / total) for split, count in splits.items()]


def _votes_each(table: Table) -> str:
    """How many votes pairs have: "5", or "3 to 5"."""
    sizes = [sum(map(int, split.split("-"))) for split in table.agreement.splits]
    return f"{min(sizes)}" if min(sizes) == max(sizes) else f"{min(sizes)} to {max(sizes)}"
