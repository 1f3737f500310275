"""Training curves as SVG for a page, in the page's own colours, so that they fit both of its themes."""

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, PercentFormatter, StrMethodFormatter
from numpy.typing import NDArray

from motionfocal.report.contents import TrainingCurve

_PLACEHOLDERS = {
    "#0a0b01": "var(--ours)",
    "#0a0b02": "var(--theirs)",
    "#0a0b03": "var(--ink)",
    "#0a0b04": "var(--faint)",
    "#0a0b05": "var(--rule)",
    "#0a0b06": "var(--paper)",
}
OURS, THEIRS, INK, FAINT, RULE, PAPER = _PLACEHOLDERS
"""matplotlib wants real colours: these stand for the page's, and are replaced in the text of the SVG."""


@dataclass(frozen=True)
class _Look:
    """How a model is drawn. Colour alone is not enough in print, so dash and marker differ too."""

    colour: str
    dash: str
    marker: str


_SHOWN = 0.98
"""Share of the single steps that the axis of the loss ratio makes room for: the rest would flatten all others."""

_LOOKS = (_Look(OURS, "-", "o"), _Look(THEIRS, "--", "s"))

STYLE_SHEET = {
    "svg.fonttype": "none",
    "font.size": 11,
    "text.color": INK,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": FAINT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.8,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "ytick.major.size": 0,
    "ytick.minor.size": 0,
}


def followed_over_training(curves: Sequence[TrainingCurve], models: tuple[str, str]) -> str:
    """Share of held-out texts followed at each validation, with its interval as a band; an SVG element."""

    def draw(axes: Axes) -> None:
        for curve in curves:
            look = _LOOKS[models.index(curve.model)]
            steps = [point.step for point in curve.validation]
            rates = [point.followed for point in curve.validation]
            low, high = [rate.low for rate in rates], [rate.high for rate in rates]
            axes.fill_between(steps, low, high, color=look.colour, alpha=0.16, linewidth=0)
            (line,) = axes.plot(steps, [rate.estimate for rate in rates], look.dash, color=look.colour, linewidth=2)
            line.set(marker=look.marker, markersize=4)
        axes.set_ylim(0, 1)
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))

    return _svg("followed", "Texts followed over training, " + " and ".join(models), draw)


def moving_loss(curves: Sequence[TrainingCurve], models: tuple[str, str]) -> str:
    """Squared error over the moving cells at each step, on a logarithmic scale; an SVG element."""

    def draw(axes: Axes) -> None:
        _draw_traces(axes, curves, models, "moving_loss")
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))

    return _svg("moving-loss", "Loss of the moving region over training, " + " and ".join(models), draw)


def loss_ratio(curves: Sequence[TrainingCurve], models: tuple[str, str]) -> str:
    """Loss of the moving cells over that of all: the paper's Figure 6, but per step; an SVG element."""

    def draw(axes: Axes) -> None:
        _draw_traces(axes, curves, models, "loss_ratio")
        axes.axhline(1, color=FAINT, linewidth=1)
        raw = [point.loss_ratio for curve in curves for point in curve.training]
        axes.set_ylim(0, 1.05 * max(1, np.nanquantile(raw, _SHOWN)))

    return _svg("loss-ratio", "Moving over overall loss over training, " + " and ".join(models), draw)


def smoothed(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """A moving mean [n], centred, over a fifteenth of the values [n]; what is not finite is left out."""
    window = np.ones(2 * (len(values) // 30) + 1)
    known = np.isfinite(values)
    sums = np.convolve(np.where(known, values, 0), window, "same")
    counts = np.convolve(known, window, "same")
    return np.divide(sums, counts, out=np.full(len(values), np.nan), where=counts > 0.5)


def _draw_traces(axes: Axes, curves: Sequence[TrainingCurve], models: tuple[str, str], figure: str) -> None:
    """Raw values, faint, under their moving mean."""
    for curve in curves:
        look = _LOOKS[models.index(curve.model)]
        steps = [point.step for point in curve.training]
        values = np.array([getattr(point, figure) for point in curve.training], float)
        axes.plot(steps, values, color=look.colour, alpha=0.22, linewidth=0.7)
        axes.plot(steps, smoothed(values), look.dash, color=look.colour, linewidth=2)


def _svg(name: str, label: str, draw: Callable[[Axes], None]) -> str:
    """Draw on axes over training steps; ``label`` as in ``svg_of``."""
    with mpl.rc_context(STYLE_SHEET | {"svg.hashsalt": name}):
        figure = Figure(figsize=(5.0, 3.1), layout="constrained")
        axes = figure.add_subplot()
        draw(axes)
        axes.set_xlabel("training step")
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.margins(x=0.02)
        return svg_of(figure, label)


def svg_of(figure: Figure, label: str) -> str:
    """The figure as an SVG element in the colours of the page around it, to be called inside of its ``rc_context``.

    ``label`` says what is there to those who cannot see it.
    """
    file = io.StringIO()
    unsaid = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(file, format="svg", transparent=True, metadata=unsaid)
    return _inline(file.getvalue(), label)


def _inline(document: str, label: str) -> str:
    """The SVG element without what would leak into the page around it: ids, a style sheet, fonts, a size."""
    opening, body = document[document.index("<svg") :].split(">", 1)
    (view,) = re.findall(r'viewBox="[^"]+"', opening)
    body = re.sub(r"<style.*?</style>", "", body, flags=re.DOTALL)
    body = re.sub(r' id="[\w.]+_\d+"', "", body)
    body = re.sub(r'font-family: [^;"]+;? ?', "", body)
    body = body.replace("xlink:href", "href")
    for placeholder, colour in _PLACEHOLDERS.items():
        body = body.replace(placeholder, colour)
    return f'<svg {view} role="img" aria-label="{escape(label)}">{body}'
