"""From what goes on in a study to the pages of those who run it: HTML made on the server, no script needed."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from motionfocal.intervals import Interval
from motionfocal.pages import resource
from motionfocal.study.design import StudyDesign
from motionfocal.study.fieldwork.overview import Overview, RaterProgress, RaterSheet
from motionfocal.study.web.pages import environment, static_text

NOTHING = "\N{EN DASH}"

SortKey = Literal["odd", "name", "state", "votes", "checks", "left", "agrees", "seconds", "flags", "seen"]

SORTS: dict[SortKey, Callable[[RaterProgress], float | str]] = {
    "odd": lambda rater: 0 if rater.excluded else -len(rater.odd),
    "name": lambda rater: rater.name,
    "state": lambda rater: rater.state,
    "votes": lambda rater: -rater.votes,
    "checks": lambda rater: -sum(check.failed for check in rater.checks),
    "left": lambda rater: -abs(_or(rater.left, 0.5) - 0.5),
    "agrees": lambda rater: _or(rater.agrees, 2.0),
    "seconds": lambda rater: _or(rater.seconds, math.inf),
    "flags": lambda rater: -sum(rater.flags.values()),
    "seen": lambda rater: -rater.seen,
}
"""What the table of raters can be sorted by: those to look at come first."""


@dataclass(frozen=True)
class LoginView:
    """The password is asked for; ``message`` says why again, or is ""."""

    study: str
    message: str = ""


@dataclass(frozen=True)
class OverviewView:
    """What goes on. ``form`` is the session's token, ``by`` one of SORTS, ``refresh`` seconds or 0 for never."""

    study: str
    form: str
    design: StudyDesign
    overview: Overview
    by: SortKey
    refresh: int

    @property
    def raters(self) -> list[RaterProgress]:
        """People in the order that was asked for, those of equal rank by their number."""
        return sorted(self.overview.raters, key=SORTS[self.by])


@dataclass(frozen=True)
class RaterView:
    """One rater, and the form to leave the rater out or take them in again."""

    study: str
    form: str
    sheet: RaterSheet


@dataclass(frozen=True)
class InvitationRow:
    """An invitation: its link, who came by it ("" for nobody), whether it is still open, and whether it was closed."""

    code: str
    url: str
    label: str
    created: float
    expires: float | None
    rater: str
    rater_id: int
    is_open: bool
    closed: bool


@dataclass(frozen=True)
class InvitationsView:
    """All invitations, the newest first."""

    study: str
    form: str
    rows: tuple[InvitationRow, ...]

    @property
    def unused(self) -> list[str]:
        """Links by which nobody has come yet."""
        return [row.url for row in self.rows if row.is_open and not row.rater]


AdminView = LoginView | OverviewView | RaterView | InvitationsView

_TEMPLATES: dict[type[AdminView], str] = {
    LoginView: "admin_login.html.j2",
    OverviewView: "admin_overview.html.j2",
    RaterView: "admin_rater.html.j2",
    InvitationsView: "admin_invitations.html.j2",
}


def render_admin(view: AdminView) -> str:
    """The page of a view as HTML."""
    return _ENVIRONMENT.get_template(_TEMPLATES[type(view)]).render(view=view)


def style_sheet() -> str:
    """The pages' CSS."""
    return resource("palette.css") + static_text("admin.css")


def percent(share: float) -> str:
    """A share in [0, 1] as a whole percentage; a dash for NaN."""
    return NOTHING if math.isnan(share) else f"{100 * share:.0f} %"


def span(interval: Interval, scale: float = 100, digits: int = 0) -> str:
    """The ends of an interval; "" where it has none."""
    if math.isnan(interval.low):
        return ""
    return f"{scale * interval.low:.{digits}f} to {scale * interval.high:.{digits}f}"


def seconds(value: float) -> str:
    """A duration as people say it: 8.3 s, 42 s, 5 min, 3.5 h, 12 days; a dash for NaN."""
    if math.isnan(value):
        return NOTHING
    for limit, text in ((10, f"{value:.1f} s"), (100, f"{value:.0f} s"), (5400, f"{value / 60:.0f} min")):
        if value < limit:
            return text
    return f"{value / 3600:.1f} h" if value < 48 * 3600 else f"{value / 86400:.0f} days"


def instant(value: float) -> str:
    """A moment in UTC, to the second."""
    return datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%d %H:%M:%S")


def words(state: str) -> str:
    """A state as people say it."""
    return state.replace("_", " ")


def _or(value: float, otherwise: float) -> float:
    return otherwise if math.isnan(value) else value


_ENVIRONMENT = environment({"percent": percent, "span": span, "seconds": seconds, "instant": instant, "words": words})
_ENVIRONMENT.tests["nan"] = math.isnan
