"""From a report's contents to one HTML file that needs nothing but a browser, not even a network."""

import base64
import mimetypes
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import yaml
from jinja2 import Environment, StrictUndefined

from motionfocal import pages
from motionfocal.intervals import Interval
from motionfocal.report import figures
from motionfocal.report.contents import Headline, Report, ReportItem
from motionfocal.settings import dotted
from motionfocal.study.protocol import REASONS
from motionfocal.video import VideoInfo, probe
from motionfocal.video.files import replace_text, require_file

MINUS = "\N{MINUS SIGN}"
_SHARES = ("%", "points")


@dataclass(frozen=True)
class Difference:
    """A setting by its dotted key, as each model had it; "" where a model has no such setting."""

    key: str
    values: tuple[str, str]


@dataclass(frozen=True)
class Embedded:
    """A video as the page carries it: its file in base64, and what the player must know of it."""

    info: VideoInfo
    data: str


def write_report(report: Report, path: Path) -> Path:
    """Write the page, whole or not at all, and return its path.

    Raises MediaError when an item's picture or video is missing or cannot be read, or ``path`` not written.
    """
    replace_text(path, render(report))
    return path


def render(report: Report) -> str:
    """The page as HTML; raises MediaError as ``write_report`` does."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters |= {"share": shown_share, "picture": picture_uri, "embedded": embedded}
    return environment.from_string(resource("page.html.j2")).render(
        report=report,
        reasons=REASONS,
        css=style_sheet(),
        js=pages.resource("clock.js") + resource("page.js"),
        curves=_curves(report),
        differences=setting_differences(report.settings, report.models),
        shown=shown_headline,
        place=whisker_place,
        verdict=verdict_of,
        verdicts=Counter(map(verdict_of, report.items)),
        motions=[(motion, motion, items) for motion, items in _motions(report).items()],
        preferred=Counter(item.preferred or "tie" for item in report.items),
    )


def verdict_of(item: ReportItem) -> str:
    """Which clips followed the text: "both", "first", "second", "neither", or "" where nothing can tell."""
    first, second = (clip.followed for clip in item.clips)
    if first is None or second is None:
        return ""
    if first == second:
        return "both" if first else "neither"
    return "first" if first else "second"


def setting_differences(settings: Mapping[str, str], models: tuple[str, str]) -> tuple[Difference, ...]:
    """The settings in which two models' YAML texts differ, by dotted key; none unless both are there."""
    if not all(model in settings for model in models):
        return ()
    first, second = (dotted(yaml.safe_load(settings[model])) for model in models)
    keys = [*first, *(key for key in second if key not in first)]
    pairs = ((key, (str(first.get(key, "")), str(second.get(key, "")))) for key in keys)
    return tuple(Difference(key, values) for key, values in pairs if values[0] != values[1])


def shown_share(share: float) -> str:
    """A share in [0, 1] in per cent as the paper prints it, without the sign."""
    return f"{100 * share:.1f}"


def shown_headline(headline: Headline) -> tuple[str, str]:
    """A headline's figure and its interval in words ("" where it has none)."""
    value, unit = headline.value, headline.unit
    if isinstance(value, float | int):
        return f"{_shown(value, unit)} {unit}".strip(), ""
    low, high = _shown(value.low, unit), _shown(value.high, unit)
    return f"{_shown(value.estimate, unit)} {unit}", f"{100 * value.level:g} % interval {low} to {high}"


def whisker_place(interval: Interval, unit: str = "%", neutral: float | None = None) -> str:
    """Where an interval lies on its axis, in per cent of the axis, as CSS custom properties.

    The axis runs from 0 to 1, or for a difference ("points") from -1 to 1.
    """
    return place_on_axis(interval, -1.0 if unit == "points" else 0.0, neutral=neutral)


def place_on_axis(interval: Interval, low: float = 0.0, high: float = 1.0, neutral: float | None = None) -> str:
    """Where an interval lies on an axis from ``low`` to ``high``, in per cent of it, as CSS custom properties."""
    places = {"low": interval.low, "at": interval.estimate, "high": interval.high}
    if neutral is not None:
        places["neutral"] = neutral
    return ";".join(f"--{name}:{100 * (value - low) / (high - low):.2f}" for name, value in places.items())


def picture_uri(path: Path) -> str:
    """A picture as a data URI; raises MediaError when there is none."""
    require_file(path)
    kind = mimetypes.guess_type(path)[0] or "image/png"
    return f"data:{kind};base64,{_base64(path)}"


def embedded(path: Path) -> Embedded:
    """A video for the page; raises MediaError when it is none."""
    return Embedded(info=probe(path), data=_base64(path))


def resource(name: str) -> str:
    """The text of a file of this room: a template, a style sheet, a script."""
    return files("motionfocal.report").joinpath(name).read_text(encoding="utf-8")


def style_sheet(*names: str) -> str:
    """The CSS of a page of this room: the colours that all pages share, the base, and then the files of this room."""
    return pages.resource("palette.css") + "".join(map(resource, ("page.css", *names)))


def _motions(report: Report) -> Counter[str]:
    """How many items ask for each motion."""
    return Counter(item.motion for item in report.items if item.motion)


def _curves(report: Report) -> dict[str, str]:
    """The SVG figures for which there are results."""
    drawn = {}
    judged = [curve for curve in report.curves if curve.validation]
    if judged:
        drawn["followed"] = figures.followed_over_training(judged, report.models)
    trained = [curve for curve in report.curves if curve.training]
    if trained:
        drawn["moving_loss"] = figures.moving_loss(trained, report.models)
        drawn["loss_ratio"] = figures.loss_ratio(trained, report.models)
    return drawn


def _shown(value: float, unit: str) -> str:
    if unit not in _SHARES:
        return f"{value:.3g}".replace("-", MINUS)
    sign = "+" if unit == "points" else ""
    return f"{100 * value:{sign}.1f}".replace("-", MINUS)


def _base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode("ascii")
