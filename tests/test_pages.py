"""What pages share: every colour that a page asks for is there."""

import re

import pytest
from matplotlib.figure import Figure

from motionfocal.pages import resource
from motionfocal.report.figure4 import standalone
from motionfocal.report.figures import FAINT, INK, OURS, PAPER, RULE, THEIRS, svg_of
from motionfocal.report.page import style_sheet as report_style
from motionfocal.study.web.admin_views import style_sheet as admin_style
from motionfocal.study.web.pages import STATIC, static_text

SHEETS = {
    "report": report_style(),
    "gallery": report_style("gallery.css"),
    "analysis": report_style("study.css"),
    "admin": admin_style(),
    "study": static_text("study.css"),
}
SET_BY_ELEMENTS = {"low", "at", "high", "neutral", "columns", "width"}


@pytest.mark.parametrize("name", SHEETS)
def test_every_colour_that_a_page_asks_for_is_there(name):
    css = SHEETS[name]
    asked, there = set(re.findall(r"var\(--([\w-]+)", css)), set(re.findall(r"--([\w-]+):", css))
    assert asked - there <= SET_BY_ELEMENTS


def test_a_theme_lacks_no_colour_of_the_other():
    light, dark = re.findall(r":root \{(.*?)\}", resource("palette.css"), re.DOTALL)
    assert set(re.findall(r"--\w+", light)) == set(re.findall(r"--\w+", dark))


def test_a_figure_of_its_own_has_real_colours():
    figure = Figure()
    for colour in (OURS, THEIRS, INK, FAINT, RULE, PAPER):
        figure.text(0.5, 0.5, "x", color=colour)
    svg = svg_of(figure, "all colours")
    assert set(re.findall(r"var\(--(\w+)\)", svg)) == {"ours", "theirs", "ink", "faint", "rule", "paper"}
    assert "var(" not in standalone(svg)


def test_pages_of_reports_and_of_studies_have_the_same_clock():
    assert static_text("clock.js") == resource("clock.js")
    assert all(static_text(name) for name in STATIC)
