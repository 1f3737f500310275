"""The paper's Figure 4 from the rows of an analysis: for each baseline, who was preferred, and for what."""

import re
import textwrap
from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from motionfocal.intervals import Interval
from motionfocal.pages import resource
from motionfocal.report.figures import FAINT, INK, OURS, PAPER, RULE, STYLE_SHEET, THEIRS, svg_of
from motionfocal.study.analysis.contents import ComparisonRow

SCORE = "TI2V score"

_FONT = "Helvetica, Arial, sans-serif"

_COLOUR = re.compile(r"(--[a-z]+): (#\w+)")

_SIZE = re.compile(r'viewBox="0 0 ([\d.]+) ([\d.]+)"')

_TITLE = 18
"""Letters that fit over a column."""

_BAR = 0.34
"""Height of a bar, of a row's height of 1; its numbers stand in the rest."""


def figure4(rows: Sequence[ComparisonRow]) -> str:
    """Stacked bars, a row a comparison, as an SVG element in the colours of the page around it.

    The first column is the TI2V score with its interval, the others are the reasons, as shares of all votes: the model
    from the left, the baseline from the right, and between them the votes that chose neither for that reason.
    """
    reasons = list(dict.fromkeys(reason for row in rows for reason in row.reasons))
    layout = ConstrainedLayoutEngine(w_pad=0.09, h_pad=0.05, wspace=0)
    with mpl.rc_context(STYLE_SHEET | {"svg.hashsalt": "figure4", "axes.grid": False, "axes.spines.bottom": False}):
        figure = Figure(figsize=(4.3 + 1.7 * len(reasons), 0.5 + 0.43 * len(rows)), layout=layout)
        panels = figure.subplots(
            1, 1 + len(reasons), sharey=True, width_ratios=[1.5, *[1.0] * len(reasons)], squeeze=False
        )
        for axes, title in zip(panels[0], [SCORE, *reasons], strict=True):
            _frame(axes, title, rows)
        for place, row in enumerate(rows):
            score = row.ti2v_score
            _bar(panels[0][0], place, score.estimate, 1 - score.estimate)
            _whisker(panels[0][0], place, score)
            for axes, reason in zip(panels[0][1:], reasons, strict=True):
                if reason in row.reasons:
                    shares = row.reasons[reason]
                    _bar(axes, place, shares.model.estimate, shares.baseline.estimate)
        return svg_of(figure, _label(rows))


def standalone(svg: str) -> str:
    """The figure as a file of its own, in the page's light colours on white."""
    light, _ = resource("palette.css").split("@media")
    for name, colour in _COLOUR.findall(light):
        svg = svg.replace(f"var({name})", colour)
    width, height = size_of(svg)
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}pt" height="{height:g}pt" font-family="{_FONT}" '
    )
    head, body = svg.split(">", 1)
    return f'{head.replace("<svg ", opening)}><rect width="100%" height="100%" fill="#ffffff"/>{body}\n'


def size_of(svg: str) -> tuple[float, float]:
    """Width and height of a figure, in points at its own size."""
    width, height = _SIZE.findall(svg)[0]
    return float(width), float(height)


def name_of(row: ComparisonRow, rows: Sequence[ComparisonRow]) -> str:
    """What a row is called among others: its baseline, and its model too where rows have several."""
    return row.baseline if len({row.model for row in rows}) == 1 else f"{row.model} / {row.baseline}"


def _frame(axes: Axes, title: str, rows: Sequence[ComparisonRow]) -> None:
    axes.set(xlim=(0, 1), ylim=(len(rows) - 0.5 + 0.1, -0.5), xticks=[])
    axes.set_yticks(range(len(rows)), [name_of(row, rows) for row in rows], color=INK)
    axes.tick_params(left=False, pad=10)
    axes.set_title("\n".join(textwrap.wrap(title, _TITLE)), loc="left", fontsize=11, color=FAINT, pad=6)


def _bar(axes: Axes, place: int, model: float, baseline: float) -> None:
    """Both shares of one row, their numbers above them."""
    where = place + 0.2
    axes.barh(where, 1, _BAR, color=RULE)
    axes.barh(where, model, _BAR, color=OURS)
    axes.barh(where, baseline, _BAR, left=1 - baseline, color=THEIRS)
    above = where - _BAR / 2 - 0.07
    axes.text(0, above, f"{100 * model:.1f}", color=OURS, va="bottom", ha="left", fontweight="bold")
    axes.text(1, above, f"{100 * baseline:.1f}", color=THEIRS, va="bottom", ha="right")


def _whisker(axes: Axes, place: int, score: Interval) -> None:
    """The interval, on a halo that lifts it from both colours, and the middle of the axis."""
    where = place + 0.2
    axes.plot([0.5, 0.5], [where - _BAR / 2, where + _BAR / 2], color=PAPER, linewidth=1)
    for colour, width in ((PAPER, 4), (INK, 1.5)):
        axes.plot([score.low, score.high], [where, where], color=colour, linewidth=width, solid_capstyle="butt")
        for end in (score.low, score.high):
            axes.plot([end, end], [where - 0.09, where + 0.09], color=colour, linewidth=width, solid_capstyle="butt")


def _label(rows: Sequence[ComparisonRow]) -> str:
    """What the figure says, for those who cannot see it."""
    scores = "; ".join(f"{name_of(row, rows)} {100 * row.ti2v_score.estimate:.1f} %" for row in rows)
    return f"Preferences and their reasons. {SCORE} against {scores}."
