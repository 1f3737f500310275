"""What an experiment found, as Markdown tables: shares in per cent, each figure with its [interval].

A dash stands where there is no result. An arm or a contrast that lacks seeds says how many it has.
"""

import math
from collections.abc import Iterable, Sequence

from motionfocal.experiments.analysis import (
    ERRORS,
    REACHED,
    SHARES,
    ArmRow,
    CatchUpRow,
    ContrastRow,
    CostRow,
    CurveRow,
    OverSeeds,
    Tested,
)
from motionfocal.intervals import Interval
from motionfocal.report.page import MINUS
from motionfocal.report.study_page import NOTHING, shown_p
from motionfocal.study.protocol import REASONS
from motionfocal.worlds.oracle import Reason

TITLES = {
    "followed": "Followed, %",
    "right_camera": "Right camera, %",
    "agreement": "Agreement, %",
    "ground_error": "Ground error, grey levels",
    "first_frame_error": "First frame error, grey levels",
    "others_deviation": "Others' deviation, diameters",
}
"""What the figures of an arm are called."""


def arms_table(rows: Sequence[ArmRow], seeds: int) -> str:
    """All arms in one world; ``seeds`` is how many the plan has. Of a camera that never pans nothing is told."""
    pans = any(row.figures["right_camera"].estimate < 1 for row in rows if row.figures)
    figures = [name for name in (*SHARES, *ERRORS) if pans or name != "right_camera"]
    return markdown(
        ["Arm", "Seeds", *(TITLES[name] for name in figures)],
        [[row.arm, _of(row.seeds, seeds), *(_figure(row, name) for name in figures)] for row in rows],
    )


def contrasts_table(rows: Sequence[ContrastRow], seeds: int) -> str:
    """All contrasts in one world: who is preferred, who follows more texts, and what that costs."""
    columns = [
        "Ours / theirs",
        "Seeds",
        "Pairs (ties)",
        "TI2V score, %",
        "Adjusted p",
        "Followed more, points",
        "Adjusted p",
    ]
    columns += ["Seconds more", "Seconds a point"]
    cells = [
        [
            contrast_name(row),
            _of(row.seeds, seeds),
            f"{row.pairs} ({row.ties})",
            *_tested(row.score),
            *_tested(row.difference, signed=True),
            _number(row.extra_seconds, signed=True),
            _number(row.seconds_per_point, 2),
        ]
        for row in rows
    ]
    if any(row.paper for row in rows):
        columns.insert(4, "Paper")
        for row, line in zip(rows, cells, strict=True):
            line.insert(4, _pair(row.paper[:2]))
    return markdown(columns, cells)


def reasons_table(rows: Sequence[ContrastRow]) -> str:
    """The share of all pairs that ours won for each reason / that theirs won for it; a row below, the paper's."""
    lines = []
    for row in rows:
        lines.append([contrast_name(row), *(_reason(row, reason) for reason in REASONS)])
        if len(row.paper) > 2:
            lines.append(["paper", *(_pair(row.paper[at : at + 2]) for at in range(2, len(row.paper), 2))])
    return markdown(["Ours / theirs", *(f"{reason[0].upper()}{reason[1:]}, %" for reason in REASONS)], lines)


def curve_table(rows: Sequence[CurveRow], seeds: int) -> str:
    """How fast each arm learns to follow texts, and how far it gets."""
    lines = []
    for row in rows:
        reached = [
            f"{NOTHING if at.step is None else f'{at.step:.0f}'} ({at.seeds} of {len(row.seeds)})" for at in row.reached
        ]
        end = _percent(row.followed[-1].mean) if row.followed else NOTHING
        around = _range(row.followed[-1]) if row.followed else NOTHING
        lines.append([row.arm, _of(row.seeds, seeds), end, around, *(reached or [NOTHING] * len(REACHED))])
    titles = [f"Step of {100 * share:.0f} %" for share in REACHED]
    return markdown(["Arm", "Seeds", "Followed at the end, %", "Lowest to highest seed", *titles], lines)


def catch_up_table(rows: Sequence[CatchUpRow], seeds: int) -> str:
    """How soon one arm follows as many texts as the other does in the end, of the seeds in which that is any."""
    lines = []
    for row in rows:
        step = NOTHING if row.step is None else f"{row.step:.0f}"
        reached = f"{step} ({row.reached} of {row.marks})"
        lines.append([contrast_name(row), _of(row.seeds, seeds), reached, _count(row.last)])
    return markdown(["Ours / theirs", "Seeds", "Step of ours", "Last step of theirs"], lines)


def costs_table(rows: Sequence[CostRow], seeds: int) -> str:
    """What one run of each arm takes."""
    lines = []
    for row in rows:
        mean = NOTHING if row.seconds is None else f"{row.seconds.mean.estimate:.1f}"
        around = NOTHING if row.seconds is None else f"{row.seconds.lowest:.1f} to {row.seconds.highest:.1f}"
        counts = [_count(row.steps), _count(row.parameters)]
        lines.append([row.arm, _of(row.seeds, seeds), *counts, mean, around])
    return markdown(["Arm", "Seeds", "Steps", "Trained weights", "Seconds", "Fastest to slowest seed"], lines)


def markdown(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table, a line a row, without a newline at its end; what would end a cell is escaped."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(_cell(text) for text in line)} |" for line in lines)


def _count(number: int | None) -> str:
    return NOTHING if number is None else f"{number:,}"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|")


def contrast_name(row: ContrastRow | CatchUpRow) -> str:
    """How a contrast is called in tables."""
    return f"{row.ours} / {row.theirs}"


def _of(seeds: Sequence[int], planned: int) -> str:
    return f"{len(seeds)} of {planned}"


def _figure(row: ArmRow, name: str) -> str:
    if name not in row.figures:
        return NOTHING
    interval = row.figures[name]
    return _percent(interval) if name in SHARES else _with_ends(interval, 2, scale=1)


def _tested(found: Tested | None, *, signed: bool = False) -> tuple[str, str]:
    if found is None:
        return NOTHING, NOTHING
    return _percent(found.interval, signed=signed), shown_p(found.p_holm)


def _percent(interval: Interval, *, signed: bool = False) -> str:
    return _with_ends(interval, 1, scale=100, signed=signed)


def _with_ends(interval: Interval, digits: int, *, scale: float, signed: bool = False) -> str:
    """An estimate and the ends of its interval; the estimate alone where it has none."""
    estimate, low, high = (
        _number(scale * value, digits, signed=signed) for value in (interval.estimate, interval.low, interval.high)
    )
    return estimate if math.isnan(interval.low) else f"{estimate} [{low}, {high}]"


def _number(value: float | None, digits: int = 1, *, signed: bool = False) -> str:
    """With a true minus, zero without a sign; ``signed`` gives what is above zero a plus."""
    if value is None:
        return NOTHING
    rounded = round(value, digits) + 0.0
    return f"{rounded:{'+' if signed and rounded else ''}.{digits}f}".replace("-", MINUS)


def _range(over: OverSeeds) -> str:
    return f"{100 * over.lowest:.1f} to {100 * over.highest:.1f}"


def _reason(row: ContrastRow, reason: Reason) -> str:
    return _pair([100 * share for share in row.reasons[reason]] if row.reasons else [])


def _pair(figures: Sequence[float]) -> str:
    return " / ".join(f"{figure:.1f}" for figure in figures) or NOTHING
