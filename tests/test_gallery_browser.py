"""The page of galleries in a real browser: fast with 3200 clips, in sync, and its controls do what they say."""

import functools
import json
import shutil
from pathlib import Path

import pytest

from motionfocal.benchmarks import Benchmark
from motionfocal.report.gallery_page import write_gallery_page
from motionfocal.report.media import MediaFolder
from motionfocal.report.results import read_results
from motionfocal.video import write_clip

from .page_galleries import FPS, FRAMES, gallery, moving, some_benchmark, some_clips, write_results
from .patience import holds_in_one_of
from .test_gallery_report import NASTY

playwright = pytest.importorskip("playwright.sync_api", reason="the browser tests need Playwright (pip install .[dev])")
pytestmark = pytest.mark.slow

MODELS = ("alpha", "beta", "gamma")
ON_SCREEN = """[...document.querySelectorAll("video")].filter((video) => {
  const { top, bottom } = video.getBoundingClientRect();
  return bottom > 0 && top < innerHeight;
})"""

SHOWN = f"""async (wanted) => {{
  // The media time of each clip on the screen and that of its frame last composed, at each tick once all play, until
  // each has shown so many frames.
  const clips = {ON_SCREEN}.map((video) => ({{ video, frame: 0, frames: 0 }}));
  const all = () => clips.map(({{ video, frame }}) => [video.currentTime, frame]);
  for (const clip of clips) {{
    const note = (_, {{ mediaTime }}) => {{
      clip.frame = mediaTime;
      clip.frames++;
      clip.video.requestVideoFrameCallback(note);
    }};
    clip.video.requestVideoFrameCallback(note);
  }}
  const ticks = [], began = performance.now(), end = began + 60_000;
  await new Promise((done) => {{
    const tick = (now) => {{
      if (clips.every(({{ frames }}) => frames)) ticks.push(all());
      const left = clips.some(({{ frames }}) => frames <= wanted);
      if (left && now < end) requestAnimationFrame(tick); else done();
    }};
    requestAnimationFrame(tick);
  }});
  const seconds = (performance.now() - began) / 1000;
  return {{ ticks, seconds, frames: clips.map(({{ frames }}) => frames) }};
}}"""


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory) -> Benchmark:
    return some_benchmark(tmp_path_factory.mktemp("bench"), 12)


@pytest.fixture(scope="module")
def small(benchmark, tmp_path_factory) -> Path:
    """Three models, heatmaps, results; gamma lacks the second item, and its clip of the third is no video."""
    folder = tmp_path_factory.mktemp("small")
    files = some_clips(folder / "clips", 4)
    (folder / "text.mp4").write_text("no video")
    galleries = []
    for k, model in enumerate(MODELS):
        clips = {item: files[(i + k) % len(files)] for i, item in enumerate(benchmark.items)}
        if model == "gamma":
            del clips[benchmark.items[1]]
            clips[benchmark.items[2]] = folder / "text.mp4"
        galleries.append(gallery(folder / model, model, clips))
    results = read_results(write_results(folder / "results.json", benchmark, MODELS))
    written = write_gallery_page(galleries, folder / "page", benchmark=benchmark, results=results, heatmaps=True)
    assert len(written.failures) == 1
    shutil.move(folder / "page", folder / "moved")
    return folder / "moved" / "index.html"


@pytest.fixture(scope="module")
def large(tmp_path_factory) -> Path:
    """320 items and ten models, of a few files."""
    folder = tmp_path_factory.mktemp("large")
    benchmark = some_benchmark(folder / "bench", 320)
    files = some_clips(folder / "clips", 6)
    models = [f"model {k}" for k in range(10)]
    galleries = [
        gallery(folder / m, m, {item: files[(i + k) % 6] for i, item in enumerate(benchmark.items)})
        for k, m in enumerate(models)
    ]
    results = read_results(write_results(folder / "results.json", benchmark, models))
    bring = MediaFolder.clip
    with pytest.MonkeyPatch.context() as patch:  # the same file 500 times over
        patch.setattr(MediaFolder, "clip", functools.cache(bring))
        patch.setattr(MediaFolder, "__hash__", lambda media: hash(media.folder))
        patch.setattr(MediaFolder, "__eq__", lambda one, other: one.folder == other.folder)
        return write_gallery_page(galleries, folder / "page", benchmark=benchmark, results=results).page


@pytest.fixture
def visit(browser):
    """Opens a page in a window of its own."""
    contexts = []

    def visit(path, address="", width=1280, height=800, **options):
        contexts.append(browser.new_context(viewport={"width": width, "height": height}, **options))
        page = contexts[-1].new_page()
        page.troubles, page.requested = [], []
        page.on("console", lambda message: page.troubles.append(message.text))
        page.on("pageerror", lambda error: page.troubles.append(str(error)))
        page.on("dialog", lambda dialog: page.troubles.append(dialog.message))
        page.on("request", lambda request: page.requested.append(request.url))
        page.goto(path.as_uri() + address)
        return page

    yield visit
    for context in contexts:
        context.close()


def wait_until(page, condition):
    """Playwright's own wait evaluates strings in the page, which the page's policy forbids."""
    for _ in range(1200):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"still not: {condition}")


def show_clips(page):
    page.evaluate("document.querySelector('#filters').scrollIntoView()")
    settle(page)


def settle(page):
    """All clips on the screen have a frame to show."""
    page.wait_for_timeout(200)
    wait_until(page, f"{ON_SCREEN}.length > 0 && {ON_SCREEN}.every((v) => v.readyState >= 2 && !v.seeking)")


def pause(page):
    page.locator("h2", has_text="Clips").click()
    page.keyboard.press(" ")
    assert page.locator("#play").inner_text() == "Play"
    settle(page)


def times(page):
    return page.evaluate(f"{ON_SCREEN}.map((video) => video.currentTime)")


def frames(page):
    """The frames that are on the screen: one, where clips are in sync."""
    return {int(moment * FPS) for moment in times(page)}


def shown_ids(page):
    """Rows in their order; those far away have a label and nothing else."""
    texts = page.evaluate("[...document.querySelectorAll('.row')].map((row) => row.getAttribute('aria-label'))")
    return [f"item{int(text.split()[-1]):03}" for text in texts]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(1280, 800), (1000, 700), (375, 740)])
def test_it_opens_clean_and_fits_the_window(visit, small, tmp_path, theme, width, height):
    page = visit(small, "", width, height, color_scheme=theme)
    page.wait_for_timeout(200)
    page.screenshot(path=tmp_path / "top.png")
    show_clips(page)
    picture = page.screenshot(path=tmp_path / "clips.png")
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    page.wait_for_timeout(300)
    assert page.troubles == []
    assert all(url.startswith(small.parent.as_uri()) or url == "data:," for url in page.requested)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert len(picture) > 20_000, "a screenshot of clips is not an empty page"


def test_3200_clips_open_at_once_and_few_are_held(visit, large):
    page = visit(large, "", 1600, 1000)
    page.evaluate("document.querySelector('#rows').scrollIntoView()")
    wait_until(page, f"{ON_SCREEN}.filter((video) => video.readyState >= 2).length >= 10")
    bottom = page.evaluate("document.querySelector('#clips').offsetHeight")
    assert page.evaluate("document.querySelectorAll('.row').length") == 320
    most, elements, seen = 0, 0, set()
    for share in (0, 0.35, 1, 0.5, 0):
        page.evaluate(f"scrollTo(0, document.querySelector('#rows').offsetTop + {share * bottom})")
        page.wait_for_timeout(350)
        wait_until(page, f"{ON_SCREEN}.filter((video) => video.readyState >= 2).length >= 10")
        most = max(most, page.evaluate("document.querySelectorAll('video').length"))
        elements = max(elements, page.evaluate("document.querySelectorAll('*').length"))
        seen |= set(page.evaluate("[...document.querySelectorAll('.row h3')].map((h) => h.textContent)"))
    assert most <= 60
    assert elements < 5000
    assert len(seen) > 15
    assert page.troubles == []


def test_all_clips_play_in_sync(visit, large):
    page = visit(large, "", 1400, 700)
    show_clips(page)
    page.wait_for_timeout(800)
    holds_in_one_of(5, lambda: require_sync(page.evaluate(SHOWN, FRAMES)))


def require_sync(shown):
    """At each tick all clips are within a frame of each other, and none skips or repeats one."""
    assert len(shown["frames"]) >= 10
    assert len(shown["ticks"]) > 10
    length = FRAMES / FPS
    apart = []
    for tick in shown["ticks"]:
        for moments in zip(*tick, strict=True):
            far = max(moments) - min(moments)
            apart.append(min(far, length - far))
    assert max(apart) <= 1 / FPS + 1e-3
    assert sum(far > 0.5 / FPS for far in apart) < len(apart) / 4, "at most while a frame changes"
    assert min(shown["frames"]) > FRAMES, "the clips play, and over again"
    assert max(shown["frames"]) <= shown["seconds"] * FPS + 4, "no frame is shown twice"


def test_no_clip_is_paused_while_it_seeks(visit, small):
    """Chromium may seek for ever when it is: such clips stood still until the page was loaded again."""
    page = visit(small)
    show_clips(page)
    page.evaluate("""() => {
      const { pause } = HTMLMediaElement.prototype;
      window.pauses = { all: 0, seeking: 0 };
      HTMLMediaElement.prototype.pause = function () {
        pauses.all++;
        pauses.seeking += this.seeking;
        return pause.call(this);
      };
    }""")
    for _ in range(4):  # clips are led to another moment, and then the reader pauses
        page.evaluate(f"""() => {{
          for (const video of {ON_SCREEN}) video.currentTime = (video.currentTime + 1) % 1.5;
          document.querySelector("#play").click();
        }}""")
        settle(page)
        page.keyboard.press(" ")
        page.wait_for_timeout(300)
    pauses = page.evaluate("pauses")
    assert pauses["all"] > 0
    assert pauses["seeking"] == 0


def test_clips_of_unequal_rate_and_length_keep_one_clock(visit, benchmark, tmp_path):
    write_clip(tmp_path / "slow.mp4", moving(0, 16), 8)
    write_clip(tmp_path / "fast.mp4", moving(1, 24), 24)  # one second of the two
    item = benchmark.items[0]
    galleries = [gallery(tmp_path / m, m, {item: tmp_path / f"{m}.mp4"}) for m in ("slow", "fast")]
    page = visit(write_gallery_page(galleries, tmp_path / "page").page)
    show_clips(page)
    page.wait_for_timeout(600)
    holds_in_one_of(5, lambda: require_one_clock(page.evaluate(SHOWN, 16)["ticks"]))
    pause(page)
    for _ in range(5):
        page.keyboard.press(".")
        settle(page)
    at = float(page.locator("#frame").inner_text().split()[0]) + 0.004
    slow, fast = times(page)
    assert int(slow * 8) == int(at * 8)
    assert int(fast * 24) == min(int(at * 24), 23)


def require_one_clock(ticks):
    """The fast clip of one second and the slow one of two play together, and the shorter waits at its end."""
    for slow, fast in ([moments[0] for moments in tick] for tick in ticks):
        if slow < 0.9 and fast < 0.9:
            assert abs(slow - fast) < 1 / 24
        elif 1.1 < slow < 1.9:
            assert fast == pytest.approx(23.5 / 24, abs=0.03)


def test_keys_play_step_and_jump(visit, small):
    page = visit(small)
    show_clips(page)
    pause(page)
    (before,) = frames(page)
    page.keyboard.press(".")
    settle(page)
    assert frames(page) == {(before + 1) % FRAMES}
    page.keyboard.press(",")
    settle(page)
    assert frames(page) == {before}
    page.wait_for_timeout(300)
    assert frames(page) == {before}
    page.keyboard.press("j")
    page.wait_for_timeout(200)
    first = page.evaluate("document.activeElement.getAttribute('aria-label')")
    page.keyboard.press("j")
    page.wait_for_timeout(200)
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") != first
    page.keyboard.press("k")
    page.wait_for_timeout(200)
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == first
    page.keyboard.press("/")
    page.keyboard.type("way. 3 h")
    assert page.get_by_role("searchbox").input_value() == "way. 3 h"
    assert page.locator("#play").inner_text() == "Play"


def test_the_heatmap_key_keeps_the_time(visit, small):
    page = visit(small)
    show_clips(page)
    pause(page)
    page.keyboard.press(".")
    settle(page)
    before = times(page)
    sources = f"{ON_SCREEN}.map((video) => video.src)"
    plain = page.evaluate(sources)
    page.keyboard.press("h")
    settle(page)
    assert times(page) == pytest.approx(before, abs=1e-3)
    assert all(source.endswith("-heat.mp4") for source in page.evaluate(sources))
    assert page.get_by_role("button", name="Heatmap").get_attribute("aria-pressed") == "true"
    page.keyboard.press(" ")
    page.wait_for_timeout(400)
    page.keyboard.press("h")
    page.wait_for_timeout(600)
    settle(page)
    assert page.evaluate(sources) == plain
    now = float(page.locator("#frame").inner_text().split()[0])
    far = abs(times(page)[0] - now)
    assert min(far, FRAMES / FPS - far) < 1 / FPS


def test_filters_show_what_they_say_and_the_address_tells(visit, small, benchmark):
    page = visit(small)

    def expect(fits, told):
        wanted = [item.id for item in benchmark.items if fits(item)]
        assert shown_ids(page) == wanted
        assert page.locator("output[name=count]").inner_text() == f"{len(wanted)} of 12"
        assert page.locator("#none").is_visible() == (not wanted)
        assert page.url.partition("#")[2] == told
        assert shown_ids(visit(small, f"#{told}")) == wanted, "the address alone shows the same"

    expect(lambda item: True, "")
    page.get_by_role("combobox", name="Scenario").select_option("dog")
    expect(lambda item: item.scenario == "dog", "scenario=dog")
    page.get_by_role("combobox", name="Tag").select_option("several objects")
    expect(lambda item: item.scenario == "dog" and item.tags, "scenario=dog&tag=several+objects")
    page.get_by_role("button", name="Clear").click()
    page.get_by_label("only items that all have").check()
    gone = {"item001", "item002"}
    expect(lambda item: item.id not in gone, "all=1")
    page.get_by_role("checkbox", name="gamma").uncheck()
    expect(lambda item: True, "all=1&model=alpha&model=beta")
    page.get_by_role("button", name="Clear").click()
    page.get_by_role("searchbox").fill("WAY candle")
    expect(lambda item: item.scenario == "candle", "q=WAY+candle")
    page.get_by_role("searchbox").fill("no such thing")
    expect(lambda item: False, "q=no+such+thing")
    assert page.troubles == []


def test_items_sort_by_a_metric_and_by_a_difference(visit, small, benchmark):
    page = visit(small, "#sort=gain&a=alpha")
    assert page.locator("select[name=sort] option").all_text_contents() == ["benchmark order", "gain", "still"]
    everything = [item.id for item in benchmark.items]
    assert shown_ids(page) == everything[::-1], "alpha's gain grows with the item"
    page.get_by_role("combobox", name="from").select_option("up")
    assert shown_ids(page) == everything
    page.get_by_role("combobox", name="from").select_option("down")
    page.get_by_role("combobox", name="of", exact=True).select_option("gamma")
    page.get_by_role("combobox", name="minus").select_option("beta")
    by_difference = sorted(range(12), key=lambda i: -(i % 3))
    assert shown_ids(page) == [everything[i] for i in by_difference]
    show_clips(page)
    assert page.locator(".row .key").first.inner_text() == "gain, gamma minus beta: +3"
    assert page.locator(".clip.ours .name").first.inner_text() == "gamma"
    page.get_by_role("combobox", name="Sort by").select_option("still")
    assert set(shown_ids(page)[-3:]) == {"item000", "item005", "item010"}, "items without a value come last"


def test_missing_clips_and_values_are_shown(visit, small, benchmark):
    page = visit(small)
    show_clips(page)
    rows = page.locator(".row")
    assert rows.nth(0).locator("video").count() == 3
    assert "gain 2.00" not in rows.nth(0).inner_text()
    assert rows.nth(0).locator(".clip").nth(1).locator("dd").all_inner_texts() == ["1", "none"]
    rows.nth(1).scroll_into_view_if_needed()
    assert rows.nth(1).locator(".none").all_inner_texts() == ["no clip"]
    rows.nth(2).scroll_into_view_if_needed()
    assert rows.nth(2).locator(".none").all_inner_texts() == ["the file cannot be read"]
    table = page.locator(".overview tr", has_text="gamma").locator("td").all_inner_texts()
    assert table[:3] == ["10", "1", "1"]


def test_tables_and_plots_show_intervals_and_set_references_apart(visit, small):
    page = visit(small)
    assert page.locator(".scores tbody").first.locator("tr").count() == 3
    assert page.locator(".scores tr", has_text="beta").locator("td").first.inner_text().split("\n") == [
        "1.50",
        "1.25 to 1.75",
    ]
    assert page.locator(".references tr", has_text="static").count() == 1
    assert "no total" in page.locator("#results").inner_text()
    page.locator(".plot").first.scroll_into_view_if_needed()
    assert page.locator("figure.plot").count() == 2
    plot = page.locator("figure.plot", has_text="What the text adds.")
    assert plot.locator(".line .span").count() == 4
    assert plot.locator(".line.reference .label").inner_text() == "static"
    assert plot.locator(".dots").first.get_attribute("d").count("M") == 12
    assert page.locator(".classes tr", has_text="static").locator("td").all_text_contents() == [
        "pan",
        "none 75 %, left 25 %",
    ]
    page.get_by_text("Differences between models").click()
    assert "p < 0.001" in page.locator(".differences").inner_text()


def test_a_metric_that_no_clip_has_says_so(visit, benchmark, tmp_path):
    results = write_results(tmp_path / "results.json", benchmark, ["alpha", "beta"])
    rows, beside = json.loads(results.read_text()), results.with_name("results.report.json")
    results.write_text(json.dumps([row | ({"value": None} if row["metric"] == "still" else {}) for row in rows]))
    told = json.loads(beside.read_text())
    told["summary"] = [row for row in told["summary"] if row["metric"] != "still"]
    beside.write_text(json.dumps(told))
    one = gallery(tmp_path / "alpha", "alpha", {benchmark.items[0]: some_clips(tmp_path / "clips", 1)[0]})
    page = visit(write_gallery_page([one], tmp_path / "page", benchmark=benchmark, results=read_results(results)).page)
    page.locator(".plot").first.scroll_into_view_if_needed()
    said = page.locator("figure.plot", has_text="Where nothing moves.").inner_text()
    assert "No clip has a value." in said
    assert "Infinity" not in page.locator("#results").inner_text()
    assert page.locator("figure.plot", has_text="What the text adds.").locator(".axis").count() == 1
    assert page.troubles == []


def test_siblings_and_items_can_be_linked(visit, small):
    page = visit(small, "#item=item007")
    wait_until(page, "document.activeElement.ariaLabel?.endsWith('way 7')")
    page.locator("article[aria-label$='way 7'] .also a").click()
    wait_until(page, "document.activeElement.ariaLabel?.endsWith('way 6')")
    assert page.url.endswith("#item=item006")
    assert page.troubles == []


def test_those_who_want_no_motion_get_none(visit, small):
    page = visit(small, reduced_motion="reduce")
    show_clips(page)
    assert page.locator("#play").inner_text() == "Play"
    before = times(page)
    page.wait_for_timeout(400)
    assert times(page) == before


def test_everything_has_a_name(visit, small):
    page = visit(small)
    show_clips(page)
    nameless = """[...document.querySelectorAll("video, select, input, button, article, [role=region]")]
      .filter((element) => !(element.ariaLabel || element.textContent.trim() || element.closest("label")))"""
    assert page.evaluate(f"{nameless}.length") == 0
    assert page.evaluate("[...document.querySelectorAll('.row h3')].length") > 1
    assert page.evaluate("[...document.querySelectorAll('img')].every((image) => image.hasAttribute('alt'))")


def test_texts_of_others_stay_texts(visit, benchmark, tmp_path):
    from dataclasses import replace

    clip = tmp_path / "clip.mp4"
    write_clip(clip, moving(0), FPS)
    items = tuple(replace(item, text=f"{NASTY} {k}", tags=frozenset({NASTY})) for k, item in enumerate(benchmark.items))
    nasty = gallery(tmp_path / "g", NASTY, dict.fromkeys(items, clip))
    results = read_results(write_results(tmp_path / "results.json", Benchmark("b", items), [NASTY, "x"]))
    path = write_gallery_page([nasty], tmp_path / "page", benchmark=Benchmark("b", items), results=results).page
    page = visit(path)
    page.get_by_role("combobox", name="Tag").select_option(NASTY)
    show_clips(page)
    page.reload()
    show_clips(page)
    assert page.troubles == []
    assert page.locator(".row h3").first.text_content() == f"{NASTY} 0"
    assert page.locator(".clip .name").first.text_content() == NASTY
    assert page.evaluate("document.querySelectorAll('script').length") == 2
