"""The report page in a real browser: it opens clean, its clips stay in sync, its controls do what they say."""

from collections import Counter
from pathlib import Path

import pytest

from motionfocal.report import Report, write_report
from motionfocal.report.page import verdict_of

from .patience import holds_in_one_of
from .reports import sprites_report

playwright = pytest.importorskip("playwright.sync_api", reason="the browser tests need Playwright (pip install .[dev])")
pytestmark = pytest.mark.slow

FPS, FRAMES = 8, 8

SHOWN = """async (seconds) => {
  // What the screen shows: the media time of the frame last composed, of each clip of the first item, at each tick.
  const videos = [...document.querySelector(".item").querySelectorAll("video")];
  const clips = videos.map((video) => ({ video, frame: 0, frames: 0 }));
  for (const clip of clips) {
    const note = (_, { mediaTime }) => {
      clip.frame = mediaTime;
      clip.frames++;
      clip.video.requestVideoFrameCallback(note);
    };
    clip.video.requestVideoFrameCallback(note);
  }
  const ticks = [], end = performance.now() + 1000 * seconds;
  await new Promise((done) => {
    const tick = (now) => {
      if (clips.every(({ frames }) => frames)) ticks.push(clips.map(({ video, frame }) => [video.currentTime, frame]));
      if (now < end) requestAnimationFrame(tick); else done();
    };
    requestAnimationFrame(tick);
  });
  return { ticks, frames: clips.map(({ frames }) => frames) };
}"""


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Report:
    return sprites_report(tmp_path_factory.mktemp("clips"), images=5, texts=3, steps=120)


@pytest.fixture(scope="module")
def path(report, tmp_path_factory) -> Path:
    return write_report(report, tmp_path_factory.mktemp("page") / "report.html")


@pytest.fixture
def visit(browser, path):
    """Opens the page in a window of its own."""
    contexts = []

    def visit(width=1280, height=720, **options):
        contexts.append(browser.new_context(viewport={"width": width, "height": height}, **options))
        page = contexts[-1].new_page()
        page.troubles, page.requested = [], []
        page.on("console", lambda message: page.troubles.append(message.text))
        page.on("pageerror", lambda error: page.troubles.append(str(error)))
        page.on("request", lambda request: page.requested.append(request.url))
        page.goto(path.as_uri())
        return page

    yield visit
    for context in contexts:
        context.close()


def wait_until(page, condition):
    """Playwright's own wait evaluates strings in the page, which the page's policy forbids."""
    for _ in range(200):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"still not: {condition}")


def show_clips(page):
    page.evaluate("document.querySelector('.item').scrollIntoView()")
    wait_until(page, "[...document.querySelector('.item').querySelectorAll('video')].every(v => v.readyState >= 2)")


def settle(page):
    """Paused clips that were asked for another frame show it."""
    page.wait_for_timeout(100)
    wait_until(page, "[...document.querySelectorAll('video[src]')].every(v => v.readyState >= 2 && !v.seeking)")


def current_times(page):
    return page.evaluate("[...document.querySelector('.item').querySelectorAll('video')].map(v => v.currentTime)")


def shown_ids(page):
    return page.evaluate(
        "[...document.querySelectorAll('.item')].filter(i => i.checkVisibility()).map(i => i.id.slice(5))"
    )


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(1280, 720), (375, 740)])
def test_it_opens_clean_and_fits_the_window(visit, tmp_path, theme, width, height):
    page = visit(width, height, color_scheme=theme)
    page.screenshot(path=tmp_path / f"{theme}-{width}-top.png")
    show_clips(page)
    page.wait_for_timeout(300)
    picture = page.screenshot(path=tmp_path / f"{theme}-{width}-clips.png")
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    page.wait_for_timeout(300)
    assert page.troubles == []
    assert [url for url in page.requested if not url.startswith("blob:null/")] == [page.url]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert len(picture) > 20_000, "a screenshot of clips is not an empty page"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_stands_out_from_its_ground(visit, theme):
    page = visit(color_scheme=theme)
    ratios = page.evaluate("""() => {
      const light = (name) => {
        const probe = document.body.appendChild(document.createElement("i"));
        probe.style.color = `var(--${name})`;
        const [r, g, b] = getComputedStyle(probe).color.match(/[\\d.]+/g).map((x) => x / 255)
          .map((x) => x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05;
      };
      return ["ink", "faint", "ours", "theirs"].map((name) =>
        Math.max(light(name), light("raised")) / Math.min(light(name), light("raised")));
    }""")
    assert min(ratios) >= 4.4, "WCAG asks for 4.5 of small text, 3 of marks"
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
    assert dark == (theme == "dark")


def test_clips_of_an_item_play_in_sync(visit):
    page = visit()
    show_clips(page)
    holds_in_one_of(5, lambda: require_sync(page.evaluate(SHOWN, 3)))


def require_sync(shown):
    """At each tick all clips are within a frame of each other, and none skips or repeats one."""
    assert len(shown["ticks"]) > 10
    length = FRAMES / FPS
    for tick in shown["ticks"]:
        for times in zip(*tick, strict=True):
            apart = max(times) - min(times)
            assert min(apart, length - apart) <= 1 / FPS + 1e-3
    assert min(shown["frames"]) > FRAMES, "the clips play, and over again"
    assert max(shown["frames"]) <= 3 * FPS + 3, "no frame is shown twice"


def test_speed_is_obeyed(visit):
    page = visit()
    show_clips(page)
    page.locator("input[name=speed][value='0.25']").check()
    frames = page.evaluate(SHOWN, 3)["frames"]
    assert max(frames) <= 0.25 * 3 * FPS + 2
    assert min(frames) >= 3


def test_frames_can_be_stepped_with_buttons_and_keys(visit):
    page = visit()
    show_clips(page)
    page.get_by_role("button", name="Pause").click()
    page.locator("h2", has_text="Clips").click()
    settle(page)
    before = current_times(page)
    assert max(before) - min(before) < 0.05 / FPS, "all stand on one frame, near its middle"
    for _ in range(FRAMES - 1):
        page.keyboard.press(".")
        settle(page)
    once_back = [(time - 1 / FPS) % (FRAMES / FPS) for time in before]
    assert current_times(page) == pytest.approx(once_back, abs=0.05 / FPS)
    page.get_by_title("One frame on").click()
    settle(page)
    assert current_times(page) == pytest.approx(before, abs=0.05 / FPS)
    page.get_by_title("One frame back").click()
    settle(page)
    assert current_times(page) == pytest.approx(once_back, abs=0.05 / FPS)


def test_space_plays_and_pauses_but_not_while_one_types(visit):
    page = visit()
    show_clips(page)
    button = page.locator("#play")
    assert button.inner_text() == "Pause"
    page.locator("h2", has_text="Clips").click()
    page.keyboard.press(" ")
    assert button.inner_text() == "Play"
    settle(page)
    still = current_times(page)
    page.wait_for_timeout(500)
    assert current_times(page) == still
    page.keyboard.press(" ")
    assert button.inner_text() == "Pause"
    search = page.get_by_role("searchbox", name="Search")
    search.focus()
    page.keyboard.type("moves left.")
    assert search.input_value() == "moves left."
    assert button.inner_text() == "Pause"


def test_those_who_want_no_motion_get_none(visit):
    page = visit(reduced_motion="reduce")
    show_clips(page)
    assert page.locator("#play").inner_text() == "Play"
    settle(page)
    before = current_times(page)
    page.wait_for_timeout(500)
    assert current_times(page) == before


def test_only_clips_near_the_screen_are_loaded(visit, report):
    page = visit()
    loaded = "[...document.querySelectorAll('.item')].map(i => i.querySelectorAll('video[src]').length)"
    assert sum(page.evaluate(loaded)) == 0, "the clips are far below the first screen"
    show_clips(page)
    first = page.evaluate(loaded)
    assert (first[0], first[-1]) == (3, 0)
    page.evaluate("[...document.querySelectorAll('.item')].at(-1).scrollIntoView()")
    wait_until(page, "[...document.querySelectorAll('.item')].at(-1).querySelector('video').readyState >= 2")
    last = page.evaluate(loaded)
    assert (last[0], last[-1]) == (0, 3)


def test_filters_show_what_they_say(visit, report):
    page = visit()

    def expect(fits):
        wanted = [item.id for item in report.items if fits(item)]
        assert shown_ids(page) == wanted
        assert page.locator("output[name=count]").inner_text() == f"{len(wanted)} of {len(report.items)}"
        assert page.locator("#none").is_visible() == (not wanted)

    expect(lambda item: True)
    for verdict in ("first", "second", "both", "neither"):
        page.get_by_role("combobox", name="Followed by").select_option(verdict)
        expect(lambda item, verdict=verdict: verdict_of(item) == verdict)
    page.get_by_role("button", name="Clear").click()
    expect(lambda item: True)
    for preferred in (*report.models, "tie"):
        page.get_by_role("combobox", name="Preferred").select_option(preferred)
        expect(lambda item, preferred=preferred: (item.preferred or "tie") == preferred)
    page.get_by_role("combobox", name="Preferred").select_option("")
    motion = Counter(item.motion for item in report.items).most_common(1)[0][0]
    page.get_by_role("combobox", name="Motion").select_option(motion)
    expect(lambda item: item.motion == motion)
    page.get_by_role("combobox", name="Followed by").select_option("both")
    expect(lambda item: item.motion == motion and verdict_of(item) == "both")


def test_search_finds_words_in_any_order_and_siblings(visit, report):
    page = visit()
    item = report.items[4]
    words = item.text.split()
    page.get_by_role("searchbox", name="Search").fill(f"{words[-1].upper()} {words[1]}")
    assert item.id in shown_ids(page)
    assert all(words[1] in other.text for other in report.items if other.id in shown_ids(page))
    page.get_by_role("searchbox", name="Search").fill("no such thing")
    assert shown_ids(page) == []
    page.get_by_role("button", name="Clear").click()
    page.locator(f"[id='item-{item.id}'] .siblings").click()
    assert shown_ids(page) == [other.id for other in report.items if other.image == item.image]


def test_small_worlds_are_shown_large_and_sharp(visit):
    page = visit()
    show_clips(page)
    clip = page.locator("figure.ours video").first
    assert clip.evaluate("v => getComputedStyle(v).imageRendering") == "pixelated"
    assert clip.bounding_box()["width"] >= 256
    assert visit(375, 740).locator("figure.ours video").first.bounding_box()["width"] >= 150
