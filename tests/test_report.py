"""The report page: everything it was given is there, nothing comes from elsewhere, nothing leaks into the markup."""

import base64
import math
import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motionfocal.errors import ConfigError, MediaError
from motionfocal.intervals import Interval, wilson
from motionfocal.report import Headline, ModelClip, Report, TrainingCurve, figures, render, write_report
from motionfocal.report.page import MINUS, setting_differences, shown_headline, verdict_of, whisker_place

from .reports import MODELS, sprites_report

VOID = {"meta", "link", "input", "img", "br", "hr"}


class Page(HTMLParser):
    """Start tags with attributes, and the text of each element; fails on tags that do not nest."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.words, self._open = [], [], []
        self.feed(html)
        assert not self._open, self._open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data):
        if not {"script", "style"} & set(self._open):
            self.words.append(data)

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Report:
    return sprites_report(tmp_path_factory.mktemp("clips"), images=2, texts=2, steps=60)


@pytest.fixture(scope="module")
def html(report):
    return render(report)


@pytest.fixture(scope="module")
def page(html):
    return Page(html)


def bare(report: Report) -> Report:
    """Only what no report can do without."""
    return replace(
        report, headlines=(), comparisons=(), curves=(), motions=(), items=(), settings={}, commands=(), notes=()
    )


def test_nothing_comes_from_elsewhere(html, page):
    for tag, attrs in page.tags:
        for key in ("src", "href", "srcset", "poster", "action", "data", "xlink:href"):
            value = attrs.get(key, "")
            assert value.startswith(("#", "data:")) or not value, f"<{tag} {key}={value[:60]}>"
    assert not re.search(r"https?://|@import|url\((?!#)", html)
    (policy,) = [attrs["content"] for attrs in page.all("meta") if "http-equiv" in attrs]
    assert policy.startswith("default-src 'none'")


def test_ids_are_unique_and_links_lead_somewhere(html, page):
    ids = Counter(attrs["id"] for _, attrs in page.tags if "id" in attrs)
    assert [name for name, count in ids.items() if count > 1] == []
    targets = {attrs["href"][1:] for _, attrs in page.tags if attrs.get("href", "").startswith("#")}
    targets |= set(re.findall(r"url\(#(\w+)\)", html))
    assert targets
    assert targets <= set(ids)


def test_every_clip_is_there_byte_for_byte(report, page):
    embedded = [base64.b64decode(attrs["data-video"]) for attrs in page.all("video")]
    files = [
        path.read_bytes()
        for item in report.items
        for path in [*(clip.video for clip in item.clips), *(panel.video for panel in item.panels)]
    ]
    assert embedded == files
    assert all("src" not in attrs for attrs in page.all("video")), "clips must wait until they come near the screen"
    assert {(attrs["width"], attrs["data-frames"], attrs["data-fps"]) for attrs in page.all("video")} == {
        ("256", "8", "8.0")
    }
    pictures = [base64.b64decode(attrs["src"].split(",")[1]) for attrs in page.all("img")]
    assert pictures == [item.picture.read_bytes() for item in report.items]


def test_items_carry_what_the_filters_need(report, page):
    articles = page.all("article")
    assert [a["data-verdict"] for a in articles] == [verdict_of(item) for item in report.items]
    assert [a["data-preferred"] for a in articles] == [item.preferred or "tie" for item in report.items]
    assert [a["data-motion"] for a in articles] == [item.motion for item in report.items]
    for article, item in zip(articles, report.items, strict=True):
        assert item.text in article["data-search"]
        assert item.image in article["data-search"]


def test_every_word_of_the_report_is_on_the_page(report, page):
    said = [report.title, *report.summary, *report.notes, *(" ".join(c.split()) for c in report.commands)]
    said += [headline.label for headline in report.headlines] + [row.motion for row in report.motions]
    said += [f"{part} {version}" for part, version in report.versions.items()]
    said += [" ".join(text.split()) for text in report.settings.values()]
    for item in report.items:
        said += [item.text, ", ".join(item.reasons)]
        said += [f"{fact.name} {fact.value}" for clip in item.clips for fact in clip.facts]
    assert [words for words in said if words not in page.text] == []


def test_the_table_has_the_shape_of_figure_4(report, html):
    (row,) = report.comparisons
    table = html[html.index('id="table"') : html.index('id="training"')]
    pairs = re.findall(r'class="pair"><b>([\d.]+)</b> / ([\d.]+)<', table)
    scores = [(score.estimate, 1 - score.estimate) for score in (row.item_score, row.vote_score)]
    expected = [*scores, *row.reasons.values()]
    assert pairs == [(f"{100 * ours:.1f}", f"{100 * theirs:.1f}") for ours, theirs in expected]
    assert len(pairs) == 6
    assert f"{100 * row.item_score.low:.1f} to {100 * row.item_score.high:.1f}" in table


def test_headlines_show_their_interval(report, page):
    for headline in report.headlines:
        figure, interval = shown_headline(headline)
        assert figure in page.text
        assert interval in page.text


@pytest.mark.parametrize(
    ("headline", "shown"),
    [
        (Headline("", Interval(0.641, 0.552, 0.719)), ("64.1 %", "95 % interval 55.2 to 71.9")),
        (
            Headline("", Interval(-0.05, -0.12, 0.02), "points"),
            (f"{MINUS}5.0 points", f"95 % interval {MINUS}12.0 to +2.0"),
        ),
        (Headline("", Interval(0.5, 0.4, 0.6, level=0.9)), ("50.0 %", "90 % interval 40.0 to 60.0")),
        (Headline("", 128, ""), ("128", "")),
        (Headline("", 12.345, "minutes"), ("12.3 minutes", "")),
        (Headline("", 0.25), ("25.0 %", "")),
    ],
)
def test_how_figures_are_written(headline, shown):
    assert shown_headline(headline) == shown


@given(st.lists(st.floats(0, 1), min_size=3, max_size=3).map(sorted))
@settings(max_examples=50)
def test_whiskers_stay_on_their_axis_in_order(values):
    low, middle, high = values
    for unit, stretch in (("%", lambda share: share), ("points", lambda share: 2 * share - 1)):
        css = whisker_place(Interval(*map(stretch, (middle, low, high))), unit)
        places = {name: float(place) for name, place in re.findall(r"--(\w+):([\d.]+)", css)}
        assert 0 <= places["low"] <= places["at"] <= places["high"] <= 100
        assert places["at"] == pytest.approx(100 * middle, abs=0.01)


def test_the_neutral_mark_of_a_difference_is_in_the_middle():
    assert "--neutral:50.00" in whisker_place(Interval(0.1, 0, 0.2), "points", 0)
    assert "--neutral" not in whisker_place(Interval(0.1, 0, 0.2))


def test_texts_and_names_cannot_break_out_of_the_markup(report):
    nasty = "</script><script>alert('x')</script> \"quoted\" & <b>"
    item = replace(report.items[0], id='a"b', text=nasty, motion=nasty, reasons=(nasty,), preferred=nasty)
    models = (nasty, MODELS[1])
    curves = tuple(replace(curve, model=models[k]) for k, curve in enumerate(report.curves))
    page = Page(render(replace(bare(report), models=models, items=(item,), curves=curves, title=nasty, notes=(nasty,))))
    assert len(page.all("script")) == 1
    assert page.all("article")[0]["data-motion"] == nasty
    assert page.text.count(nasty) >= 6
    assert {svg["aria-label"].count(nasty) for svg in page.all("svg") if "aria-label" in svg} == {1}


def test_controls_and_media_have_names(page):
    assert all(attrs["alt"] for attrs in page.all("img"))
    assert all(attrs["aria-label"] for attrs in page.all("video"))
    assert all(attrs["aria-label"] for attrs in page.all("svg") if "aria-hidden" not in attrs)
    labels = len(page.all("label"))
    assert labels == len(page.all("select")) + len(page.all("input"))


def test_parts_without_results_are_left_out(report):
    page = Page(render(bare(report)))
    sections = {attrs["id"] for attrs in page.all("section")}
    assert sections == {"result"}
    assert page.all("nav")
    assert not page.all("video")
    assert report.summary[0] in page.text


def test_without_a_judge_there_is_no_verdict(report):
    items = tuple(
        replace(item, clips=tuple(ModelClip(clip.video) for clip in item.clips), preferred=None, reasons=(), motion="")
        for item in report.items
    )
    curves = tuple(replace(curve, validation=()) for curve in report.curves)
    page = Page(render(replace(report, items=items, curves=curves)))
    assert [attrs["name"] for attrs in page.all("select")] == ["preferred"]
    assert {attrs["data-verdict"] for attrs in page.all("article")} == {""}
    assert "Held-out texts followed." not in page.text
    assert "a tie" in page.text


def test_pixel_art_is_marked(report, html):
    assert '<body class="pixel-art">' in html
    assert "<body>" in render(replace(bare(report), pixel_art=False))


def test_the_same_report_gives_the_same_page(report, html):
    assert render(report) == html


def test_a_page_is_written_whole_or_not_at_all(report, tmp_path):
    path = tmp_path / "deep" / "page.html"
    assert write_report(bare(report), path) == path
    before = path.read_text(encoding="utf-8")
    lost = replace(report.items[0].clips[0], video=tmp_path / "lost.mp4")
    item = replace(report.items[0], clips=(lost, report.items[0].clips[1]))
    with pytest.raises(MediaError, match=r"lost\.mp4"):
        write_report(replace(report, items=(item,)), path)
    with pytest.raises(MediaError, match=r"lost\.png"):
        write_report(replace(report, items=(replace(report.items[0], picture=tmp_path / "lost.png"),)), path)
    assert path.read_text(encoding="utf-8") == before
    assert [file.name for file in path.parent.iterdir()] == ["page.html"]


def test_a_model_that_is_not_compared_is_an_error(report):
    with pytest.raises(ConfigError, match="stranger"):
        replace(report, items=(replace(report.items[0], preferred="stranger"),))
    with pytest.raises(ConfigError, match="stranger"):
        replace(report, settings={"stranger": ""})
    with pytest.raises(ConfigError, match="occurs twice"):
        replace(report, items=report.items[:1] * 2)


@pytest.mark.parametrize(
    ("followed", "verdict"),
    [
        ((True, True), "both"),
        ((True, False), "first"),
        ((False, True), "second"),
        ((False, False), "neither"),
        ((None, True), ""),
    ],
)
def test_verdicts(report, followed, verdict):
    clips = tuple(ModelClip(Path("x.mp4"), one) for one in followed)
    assert verdict_of(replace(report.items[0], clips=clips)) == verdict


def test_settings_that_differ_are_found_by_dotted_key():
    texts = {
        "a": "name: a\nloss: {weighting: paper, strength: 1.0}\nmodel: {width: 32}\nbetas: [0.9, 0.99]\n",
        "b": "name: b\nloss: {weighting: none, strength: 1.0}\nmodel: {width: 32}\nbetas: [0.9, 0.99]\nnew: {size: 1}",
    }
    found = {difference.key: difference.values for difference in setting_differences(texts, ("a", "b"))}
    assert found == {"name": ("a", "b"), "loss.weighting": ("paper", "none"), "new.size": ("", "1")}
    assert setting_differences({"a": "x: 1"}, ("a", "b")) == ()


def test_equal_settings_are_said_to_be_equal(report):
    page = Page(render(replace(bare(report), settings=dict.fromkeys(MODELS, "steps: 1\n"))))
    assert "The two runs have the same settings." in page.text


@pytest.mark.parametrize("nothing", [None, math.nan], ids=["now", "of before"])
def test_rows_of_a_run_become_a_curve(nothing):
    metrics = [{"step": 1, "loss": 2.0, "diffusion": 1.0, "moving_loss": nothing, "loss_ratio": nothing, "more": 0}]
    curve = TrainingCurve.from_rows("motif", metrics, [{"step": 1, "followed": 0.375, "items": 32}])
    assert (curve.training[0].step, curve.training[0].loss) == (1, 2.0)
    assert math.isnan(curve.training[0].moving_loss)
    assert curve.validation[0].followed == wilson(12, 32)


def test_a_row_without_its_number_is_an_error():
    with pytest.raises(ConfigError, match="moving_loss"):
        TrainingCurve.from_rows("motif", [{"step": 1, "loss": 2.0, "diffusion": 1.0}], [])
    with pytest.raises(ConfigError, match="no number 'loss'"):
        TrainingCurve.from_rows("motif", [{"step": 1, "loss": None, "diffusion": 1.0}], [])


@pytest.mark.parametrize("draw", [figures.followed_over_training, figures.moving_loss, figures.loss_ratio])
def test_figures_take_the_colours_of_the_page(report, draw):
    svg = draw(report.curves, MODELS)
    root = ElementTree.fromstring(svg)
    assert root.get("viewBox")
    assert root.get("width") is None
    styles = {element.get("style") or "" for element in root.iter()}
    for colour in ("var(--ours)", "var(--theirs)", "var(--rule)", "var(--faint)"):
        assert any(colour in style for style in styles)
    assert not re.search(r"#0a0b|#000000|font-family|\bnan\b|<style", svg)


def test_figures_keep_a_model_in_its_colour_when_the_other_is_absent(report):
    svg = figures.moving_loss(report.curves[1:], MODELS)
    assert "var(--theirs)" in svg
    assert "var(--ours)" not in svg


@given(
    st.lists(st.one_of(st.floats(-1e3, 1e3), st.just(math.nan)), min_size=1, max_size=200).filter(
        lambda values: any(map(math.isfinite, values))
    )
)
@settings(max_examples=60)
def test_smoothing_stays_within_what_it_smooths(values):
    values = np.array(values)
    smooth = figures.smoothed(values)
    assert smooth.shape == values.shape
    known = smooth[np.isfinite(smooth)]
    assert (known >= np.nanmin(values) - 1e-9).all()
    assert (known <= np.nanmax(values) + 1e-9).all()


def test_smoothing_leaves_out_what_is_unknown():
    values = np.full(300, 3.0)
    values[100] = np.nan
    np.testing.assert_allclose(figures.smoothed(values), 3.0)
    noisy = np.random.default_rng(0).normal(size=3000)
    assert figures.smoothed(noisy).std() < 0.2 * noisy.std()
