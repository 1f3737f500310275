"""What is claimed of our experiments: each figure with an interval in a table is in the report that is named for it."""

import re
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from motionfocal.experiments.plan import load_plan
from motionfocal.experiments.report import write_experiment_report

ROOT = Path(__file__).parents[1]
FIGURE = re.compile(r"[+-]?\d+\.\d+ \[[+-]?\d+\.\d+, [+-]?\d+\.\d+\]")
NAMED = re.compile(r"experiment report experiments/([\w-]+)\.yaml")


def claimed() -> dict[str, set[str]]:
    """Figures by experiment: the tables of docs/results.md after its naming. ``usual`` arms are those of Table 2."""
    found, experiment = dict[str, set[str]](), ""
    for line in (ROOT / "docs" / "results.md").read_text().splitlines():
        if line.startswith("## "):
            experiment = ""
        if named := NAMED.search(line):
            experiment = named[1]
        if line.startswith("|") and experiment:
            found.setdefault("table2" if "usual" in line else experiment, set()).update(FIGURE.findall(line))
    return found


@cache
def told(experiment: str) -> frozenset[str]:
    """All figures of an experiment's report, made anew."""
    folder, plan = ROOT / "experiments", load_plan(ROOT / "experiments" / f"{experiment}.yaml")
    with TemporaryDirectory() as out:
        text = write_experiment_report(plan, plan.runs(folder), folder, Path(out)).read_text()
    return frozenset(FIGURE.findall(text.replace("\N{MINUS SIGN}", "-")))


CLAIMED = claimed()


def test_all_experiments_are_told_of():
    assert CLAIMED.keys() == {path.stem for path in (ROOT / "experiments").glob("*.yaml")} - {"base"}


@pytest.mark.parametrize("experiment", CLAIMED)
def test_figures_of_the_results_are_those_of_the_reports(experiment):
    assert CLAIMED[experiment] - told(experiment) == set()


def test_figures_of_the_readme_are_those_of_the_reports():
    section = (ROOT / "README.md").read_text().split("## What we know")[1].split("## Install")[0]
    rows = [line.split("|") for line in section.splitlines() if line.startswith("| ") and FIGURE.search(line)]
    assert len(rows) == 3
    for row in rows:
        easy, hard = (set(FIGURE.findall("|".join(cells))) for cells in (row[:4], row[4:]))
        for figures, experiment in ((easy, "successor"), (hard, "hard")):
            known = told(experiment) | told("table2")
            assert {figure for figure in figures if not {figure, opposite(figure)} & known} == set()


def opposite(share: str) -> str:
    """How a report has a share that is told of the other arm."""
    estimate, low, high = (100 - float(number) for number in re.findall(r"\d+\.\d+", share))
    return f"{estimate:.1f} [{high:.1f}, {low:.1f}]"
