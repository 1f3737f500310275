"""The figures of an experiment as SVG files of their own, in light colours on white: readable wherever they stand."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from textwrap import wrap

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator, PercentFormatter

from motionfocal.experiments.analysis import ContrastRow, CurveRow, NoiseRow, OverSeeds
from motionfocal.report.figure4 import SCORE, standalone
from motionfocal.report.figures import FAINT, INK, OURS, STYLE_SHEET, THEIRS, svg_of

_COLOURS = (OURS, THEIRS, "#1b7a4b", "#8e3a9d", "#8a6d00", "#b3273a", "#4a5568")
_MARKERS = "osD^vPX"
_DASHES = ("-", "--", "-.", ":")
"""Colour and marker tell seven arms apart, the dash those after them: no pair is the same for 28 arms."""


@dataclass(frozen=True)
class _Line:
    """An arm's line: its values over ``x``, each the mean of all seeds, between ``low`` and ``high``."""

    arm: str
    x: Sequence[float]
    mean: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]


def curves_figure(rows: Sequence[CurveRow]) -> str:
    """Followed share over training, the mean of the seeds, in a band from the lowest seed to the highest."""
    lines = [
        _Line(row.arm, row.steps, _means(row.followed), [at.lowest for at in row.followed], _highest(row.followed))
        for row in rows
    ]

    def draw(axes: Axes) -> None:
        axes.set_xlim(left=0)
        axes.set_ylim(0, 1)
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
        axes.set_xlabel("training step")
        axes.set_ylabel("texts followed")
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))

    return _lines_figure("experiment-curves", lines, "Texts followed over training", draw)


def noise_figure(rows: Sequence[NoiseRow]) -> str:
    """The paper's Figure 6: error of moving cells over that of all, in a band of its interval over seeds."""
    lines = []
    for row in rows:
        pairs = sorted(zip(row.levels, row.ratio, strict=True), key=lambda pair: pair[0])
        ratios = [ratio for _, ratio in pairs]
        low, high = [at.mean.low for at in ratios], [at.mean.high for at in ratios]
        lines.append(_Line(row.arm, [level for level, _ in pairs], _means(ratios), low, high))

    def draw(axes: Axes) -> None:
        axes.axhline(1, color=FAINT, linewidth=1)
        axes.set_xlabel("share of noise")
        axes.set_ylabel("moving over overall error")
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))

    return _lines_figure("experiment-noise", lines, "Error of moving cells over that of all, by noise", draw)


def contrasts_figure(rows: Sequence[ContrastRow]) -> str:
    """TI2V scores with their intervals, a line a contrast and a column a world; an open diamond is the paper's."""
    worlds = list(dict.fromkeys(row.world for row in rows))
    names = list(dict.fromkeys((row.ours, row.theirs) for row in rows))
    size = (3.0 + 2.6 * len(worlds), 1.0 + 0.42 * len(names))
    with mpl.rc_context(STYLE_SHEET | {"svg.hashsalt": "experiment-contrasts", "axes.grid.axis": "x"}):
        figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(w_pad=0.09, h_pad=0.08))
        panels = figure.subplots(1, len(worlds), sharey=True, squeeze=False)[0]
        for axes, world in zip(panels, worlds, strict=True):
            _forest_frame(axes, world, names)
            for row in rows:
                if row.world == world:
                    _whisker(axes, names.index((row.ours, row.theirs)), row)
        return standalone(svg_of(figure, _told(rows)))


def _lines_figure(name: str, lines: Sequence[_Line], label: str, draw: Callable[[Axes], None]) -> str:
    """Lines with bands and a legend beside them; ``draw`` sets the axes."""
    with mpl.rc_context(STYLE_SHEET | {"svg.hashsalt": name}):
        figure = Figure(figsize=(7.2, 3.4), layout=ConstrainedLayoutEngine(w_pad=0.09, h_pad=0.08))
        axes = figure.add_subplot()
        for place, line in enumerate(lines):
            if line.x:
                _draw_line(axes, place, line)
        axes.margins(x=0.02)
        draw(axes)
        figure.legend(loc="outside right upper", frameon=False, fontsize=10, labelcolor=INK)
        return standalone(svg_of(figure, f"{label}: " + ", ".join(line.arm for line in lines)))


def _draw_line(axes: Axes, place: int, line: _Line) -> None:
    """The line of the arm that is ``place``-th; its band is left out where a single seed has none."""
    colour = _COLOURS[place % len(_COLOURS)]
    dash = _DASHES[(place % len(_COLOURS) + place // len(_COLOURS)) % len(_DASHES)]
    if not any(map(math.isnan, line.low)):
        axes.fill_between(line.x, line.low, line.high, color=colour, alpha=0.14, linewidth=0)
    marker = _MARKERS[place % len(_MARKERS)]
    title = "\n".join(wrap(line.arm, 24))
    axes.plot(line.x, line.mean, dash, color=colour, linewidth=2, marker=marker, markersize=4, label=title)


def _forest_frame(axes: Axes, world: str, names: Sequence[tuple[str, str]]) -> None:
    axes.set(xlim=(0, 1), ylim=(len(names) - 0.4, -0.6), xticks=[0, 0.25, 0.5, 0.75, 1])
    axes.set_yticks(range(len(names)), [f"{ours} / {theirs}" for ours, theirs in names], color=INK)
    axes.set_title(world, loc="left", fontsize=11, color=FAINT)
    axes.set_xlabel(SCORE)
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
    axes.axvline(0.5, color=FAINT, linewidth=1)


def _whisker(axes: Axes, place: int, row: ContrastRow) -> None:
    """A contrast's score, and the paper's below it; without a common seed it says so."""
    if row.paper:
        (mark,) = axes.plot([row.paper[0] / 100], [place + 0.22], "D", color=THEIRS)
        mark.set(markerfacecolor="none", markersize=6)
    if row.score is None:
        axes.text(0.02, place, "no result", color=FAINT, va="center")
        return
    score = row.score.interval
    axes.plot([score.low, score.high], [place, place], color=OURS, linewidth=1.8, solid_capstyle="butt")
    axes.plot([score.estimate], [place], "o", color=OURS, markersize=6)


def _told(rows: Sequence[ContrastRow]) -> str:
    """What the figure says, for those who cannot see it."""
    told = [f"{row.ours} / {row.theirs} {_score(row)} in {row.world}" for row in rows]
    return f"{SCORE}s: {'; '.join(told)}."


def _score(row: ContrastRow) -> str:
    return "without a result" if row.score is None else f"{100 * row.score.interval.estimate:.1f} %"


def _means(points: Sequence[OverSeeds]) -> list[float]:
    return [at.mean.estimate for at in points]


def _highest(points: Sequence[OverSeeds]) -> list[float]:
    return [at.highest for at in points]
