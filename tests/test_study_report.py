"""The page of a study: Figure 4 is drawn as the paper prints it, all that was found is told, nothing is fetched."""

import json
import os
import re
import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest

from motionfocal.errors import ConfigError, MediaError
from motionfocal.report.figure4 import figure4, standalone
from motionfocal.report.page import MINUS
from motionfocal.report.study_folder import analyze_to
from motionfocal.report.study_page import NOTHING, render_study, shown_number, shown_p, shown_share, write_study_page
from motionfocal.study.analysis.analyze import analyze, write_analysis
from motionfocal.study.analysis.export import CheckRow, VoteRow
from motionfocal.study.analysis.methods import methods_paragraph
from motionfocal.study.analysis.votes import read_votes
from motionfocal.study.protocol import REASONS

from .analysis_file import read_analysis
from .paper_votes import FIGURE_4, MODEL, paper_votes
from .test_report import Page
from .test_study_analysis import both_orders, vote

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("study") / "paper"
    analyze_to(paper_votes(), out, name="Nine open models", commands=["motionfocal study analyze x"], resamples=200)
    return out


@pytest.fixture(scope="module")
def html(folder):
    return (folder / "index.html").read_text(encoding="utf-8")


def page_of(judgements, **more):
    found = analyze(judgements, "a study", resamples=50, **more)
    return Page(render_study(found, methods=methods_paragraph(found)))


def drawn(svg):
    """Rows of a figure: a name, and its numbers from left to right; and the columns' titles."""
    texts = [
        (float(text.get("x")), float(text.get("y")), text.text)
        for text in ElementTree.fromstring(svg).iter(f"{SVG}text")
    ]
    numbers = [found for found in texts if re.fullmatch(r"\d+\.\d", found[2])]
    titles = [text for x, y, text in sorted(texts) if y == min(y for _, y, _ in texts)]
    rows = {}
    for _, y, name in (found for found in texts if found not in numbers and found[2] not in titles):
        beside = [found for found in numbers if abs(found[1] - y) < 12]
        rows[name] = [float(text) for _, _, text in sorted(beside)]
    return titles, rows


def test_figure_4_is_drawn_from_the_votes(folder):
    titles, rows = drawn((folder / "figure4.svg").read_text())
    assert titles == ["TI2V score", *REASONS]
    assert set(rows) == set(FIGURE_4)
    for baseline, columns in FIGURE_4.items():
        told = [share for column in columns for share in column]
        assert rows[baseline] == told, baseline


def test_bars_are_as_long_as_their_numbers_say():
    (table,) = analyze(paper_votes()[:1600], "one", resamples=20).tables
    svg = figure4(table.rows)
    widths = {}
    for colour in ("var(--ours)", "var(--theirs)", "var(--rule)"):
        paths = re.findall(rf'<path d="M ([^"]+)z\s*"[^>]*style="fill: {re.escape(colour)}"', svg)
        widths[colour] = [_width(path) for path in paths]
    row = table.rows[0]
    reasons = row.reasons.values()
    ours = [row.ti2v_score.estimate, *(shares.model.estimate for shares in reasons)]
    theirs = [1 - row.ti2v_score.estimate, *(shares.baseline.estimate for shares in reasons)]
    whole = widths["var(--rule)"]
    assert [part / of for part, of in zip(widths["var(--ours)"], whole, strict=True)] == pytest.approx(ours, abs=1e-4)
    assert [part / of for part, of in zip(widths["var(--theirs)"], whole, strict=True)] == pytest.approx(
        theirs, abs=1e-4
    )


def _width(path):
    x = [float(point.split()[0]) for point in path.replace("L ", "").strip().split("\n")]
    return max(x) - min(x)


def test_a_figure_alone_needs_no_page_and_one_on_a_page_has_its_colours():
    (table,) = analyze([vote(n) for n in range(4)], "x", resamples=20).tables
    svg = figure4(table.rows)
    assert "#" not in re.sub(r'(href="|url\()#', "", svg)  # no colour but the page's
    alone = standalone(svg)
    assert "var(" not in alone
    root = ElementTree.fromstring(alone)
    assert float(root.get("width")[:-2]) == float(root.get("viewBox").split()[2])


def test_the_page_tells_what_was_found(folder, html):
    page = Page(html)
    found = read_analysis(folder / "analysis.json")
    assert "Mean TI2V score of MotiF 71.9 %" in page.text and "9 of 9" in page.text
    assert "14,400 of 40 people, 5 on each pair of clips" in page.text
    for row in found.tables[0].rows:
        score = row.ti2v_score
        assert f"{shown_share(score.estimate)} / {shown_share(1 - score.estimate)}" in page.text
        assert f"{shown_share(score.low)} to {shown_share(score.high)}" in page.text
        assert f"{shown_number(row.agreement.ac1.low)} to {shown_number(row.agreement.ac1.high)}" in page.text
        for shares in row.reasons.values():
            assert f"majority {shown_share(shares.model_by_majority)} / " in page.text
    assert all(row.rater in page.words for row in found.tables[0].raters)
    assert methods_paragraph(found) in page.text
    assert "motionfocal study analyze x" in page.text
    assert "motionfocal 0" in page.text


def test_the_page_needs_nothing_but_itself(html):
    page = Page(html)
    links = [value for _, attrs in page.tags for name, value in attrs.items() if name in ("href", "src", "xlink:href")]
    assert links and all(link.startswith(("#", "data:")) for link in links)
    assert not page.all("script") and "url(http" not in html and "@import" not in html
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(set(ids)) == len(ids)
    assert {link[1:] for link in links if len(link) > 1 and link[0] == "#"} <= set(ids)


def test_names_that_look_like_markup_stay_text():
    nasty = '<script>alert("x")</script>'
    judgements = [vote(n, nasty, nasty, "b & c", "left" if n % 3 else "right", (nasty,)) for n in range(6)]
    found = analyze(judgements, nasty, resamples=20, excluded={nasty: nasty})
    page = Page(render_study(found, methods=nasty, commands=[nasty]))
    assert not page.all("script")
    assert nasty in page.text and "b & c" in page.text


def test_machines_stand_apart_with_their_flips_and_beside_people():
    people = [vote(n, f"r{k}") for n in range(8) for k in range(3)]
    machine = [answer for n in range(8) for answer in both_orders(n, "metric:motion", flips=n < 2)]
    page = page_of([*people, *machine])
    assert "Changed with the order 25.0 %" in page.text and "2 abstentions" in page.text
    assert "Beside people" in page.text and "metric:motion 6 2" in page.text
    assert page.text.index("Machine raters", 200) < page.text.index("Changed with the order")


def test_only_flips_no_people_and_one_rater_are_pages_too():
    flips = page_of([answer for n in range(4) for answer in both_orders(n, flips=True)])
    assert "No answer outlasted the exchange" in flips.text
    alone = page_of([vote(n) for n in range(4)])
    assert "TI2V score of a 100.0 %" in alone.text
    assert "Two raters" not in alone.text and "κ" not in alone.text


def test_many_models_two_questions_and_ties():
    strong = {"a": 3, "b": 2, "c": 1}
    judgements = [
        vote(
            n,
            f"r{k}",
            left,
            right,
            "tie" if (n + k) % 5 == 0 else "left" if _wins(strong, left, right, n, k) else "right",
            question=question,
        )
        for question in ("quality", "faithfulness")
        for left, right in (("a", "b"), ("b", "c"), ("c", "a"))
        for n in range(10)
        for k in range(3)
    ]
    page = page_of(judgements)
    assert "People on “quality”" in page.text and "People on “faithfulness”" in page.text
    assert "Strongest of 3 models a" in page.text and "Davidson" in page.text
    assert "a / b" in page.text and "b / c" in page.text


def _wins(strong, left, right, n, k):
    return (strong[left] > strong[right]) != ((n * 3 + k) % 4 == 0)


def test_excluded_raters_are_told_with_their_reasons():
    page = page_of([vote(n) for n in range(3)], excluded={"r9": "attention checks"})
    assert "Left out" in page.text and "r9 attention checks" in page.text
    assert "Left out" not in page_of([vote(n) for n in range(3)]).text


def test_numbers_are_shown_as_papers_print_them():
    nan = float("nan")
    assert (shown_share(0.603125), shown_share(nan)) == ("60.3", NOTHING)
    assert (shown_number(-0.4), shown_number(-0.001), shown_number(nan)) == (f"{MINUS}0.40", "0.00", NOTHING)
    assert (shown_p(0.0004), shown_p(0.0341), shown_p(nan)) == ("< 0.001", "0.034", NOTHING)


def test_the_folder_holds_everything(folder):
    assert {path.name for path in folder.iterdir()} == {
        "analysis.json", "index.html", "figure4.svg", "methods.txt", "codebook.md", "codebook.json",
        "votes.csv", "votes.parquet", "votes.jsonl",
    }  # fmt: skip
    assert read_votes(folder / "votes.parquet") == paper_votes()
    assert (folder / "methods.txt").read_text().startswith(f"{MODEL} was compared with ")


def test_votes_that_do_not_count_are_kept_and_not_analysed(tmp_path):
    rows = [VoteRow(vote(n), state="valid") for n in range(5)]
    rows += [VoteRow(vote(n, "r2", preference="right"), state="void", excluded="attention checks") for n in range(5)]
    found = analyze_to(
        rows,
        tmp_path,
        name="x",
        excluded={"r2": "attention checks"},
        checks=[CheckRow("r2", "frozen", "i1", "left")],
        resamples=20,
    )
    assert found.tables[0].rows[0].votes == 5
    assert [judgement.rater for judgement in read_votes(tmp_path / "left_out.csv")] == ["r2"] * 5
    assert len(read_votes(tmp_path / "votes.csv")) == 5
    assert (tmp_path / "checks.parquet").is_file()


def test_the_analysis_of_the_written_votes_is_the_same_again(folder, tmp_path):
    analyze_to(read_votes(folder / "votes.csv"), tmp_path, name="Nine open models", resamples=200)
    assert (tmp_path / "analysis.json").read_bytes() == (folder / "analysis.json").read_bytes()
    assert (tmp_path / "figure4.svg").read_bytes() == (folder / "figure4.svg").read_bytes()


def test_nothing_is_written_where_there_is_nothing_to_say(tmp_path):
    with pytest.raises(ConfigError):
        analyze_to([], tmp_path / "out", name="x")
    assert not (tmp_path / "out").exists()
    (tmp_path / "file").write_text("")
    found = analyze([vote()], "x", resamples=20)
    with pytest.raises(MediaError):
        write_study_page(found, tmp_path / "file" / "index.html", methods="")


def test_the_keys_of_the_analysis_are_documented(tmp_path):
    people = [vote(n, f"r{k}", reasons=("object motion",)) for n in range(4) for k in range(3)]
    write_analysis(analyze([*people, *both_orders(1)], "x", resamples=20), tmp_path / "analysis.json")
    text = (Path(__file__).parents[1] / "docs/study-analysis.md").read_text(encoding="utf-8")

    def keys(value):
        if isinstance(value, dict):
            return set(value) | set().union(*map(keys, value.values()))
        return set().union(*map(keys, value)) if isinstance(value, list) else set()

    data = {*REASONS, "3-0", "1-0", "python", "motionfocal", "numpy", "scipy"}
    found = keys(json.loads((tmp_path / "analysis.json").read_text())) - data
    assert {key for key in found if f"`{key}`" not in text} == set()


OVERLAPS = """() => {
  // Texts of the figure that stand on one another.
  const texts = [...document.querySelectorAll(".figure4 text")]
    .map((text) => [text.textContent, text.getBoundingClientRect()]);
  const found = [];
  texts.forEach(([one, a], i) => texts.slice(i + 1).forEach(([other, b]) => {
    if (a.left < b.right && b.left < a.right && a.top + 2 < b.bottom && b.top + 2 < a.bottom) found.push([one, other]);
  }));
  return found;
}"""


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs Playwright (pip install .[dev])")
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium here: apt-get install chromium, or set CHROMIUM to its path")
    with sync_api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 1000, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_opens_clean_and_fits(browser, folder, width, scheme):
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    problems, asked = [], []
    page.on("console", lambda message: problems.append(message.text))
    page.on("request", lambda request: asked.append(request.url))
    page.goto((folder / "index.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    fills = "[...document.querySelectorAll('.figure4 text')].map((text) => getComputedStyle(text).fill)"
    assert len(set(page.evaluate(fills))) == 4  # both models, names, titles
    assert page.evaluate(OVERLAPS) == []
    assert problems == []
    assert all(url.startswith(("file:", "data:")) for url in asked)
    page.close()
