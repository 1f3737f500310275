"""The annotator's page in a real browser: what opens the answer, its keys, and that no vote is lost."""

import re
from importlib.resources import files

import pytest
from pydantic import ValidationError

from motionfocal.study.questions import MOST_REASONS, PRESETS, Justification, Question
from motionfocal.study.web.pages import paragraphs, reason_key

from .study_page_server import BASE, Desk, serving, task

playwright = pytest.importorskip("playwright.sync_api", reason="the browser tests need Playwright (pip install .[dev])")
pytestmark = pytest.mark.slow

PATIENCE = 180_000  # milliseconds: the machine may be busy

DRIFT = """async (seconds) => {
  // Distance in frames of the media times of both players, at each tick while both play; how often they began again.
  const videos = [...document.querySelectorAll("video")];
  const end = performance.now() + 1000 * seconds;
  let most = 0, loops = 0, before = 0;
  await new Promise((done) => {
    const tick = (now) => {
      const [left, right] = videos.map(({ currentTime }) => currentTime);
      if (left < before) loops++;
      before = left;
      if (videos.every((video) => !video.seeking && !video.paused)) most = Math.max(most, Math.abs(left - right) * 8);
      if (now < end) requestAnimationFrame(tick); else done();
    };
    requestAnimationFrame(tick);
  });
  return { most, loops };
}"""


@pytest.fixture
def desk(ti2v_bench):
    return Desk(ti2v_bench, [task(0), task(1)])


@pytest.fixture
def visit(browser, desk):
    """Opens an address in a window of its own, and notes what the console says."""
    contexts = []
    with serving(desk) as url:

        def visit(address=BASE, width=1280, height=720, **options):
            contexts.append(browser.new_context(viewport={"width": width, "height": height}, **options))
            page = contexts[-1].new_page()
            page.set_default_timeout(PATIENCE)
            page.troubles = []
            page.on("console", lambda message: page.troubles.append(message.text))
            page.on("pageerror", lambda error: page.troubles.append(str(error)))
            page.goto(url + address)
            return page

        yield visit
        for context in contexts:
            context.close()


def wait_until(page, condition):
    """Playwright's own wait evaluates strings in the page, which the page's policy forbids."""
    for _ in range(PATIENCE // 50):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"still not: {condition}")


def await_open(page):
    page.wait_for_selector(".question.current .sides:enabled")


def press(page, *keys):
    for key in keys:
        page.keyboard.press(key)


def answer(page, question="overall"):
    """What is chosen: the side or None, and the reasons."""
    return page.evaluate(
        """(id) => [document.querySelector(`input[name="${id}:choice"]:checked`)?.value ?? null,
                    [...document.querySelectorAll(`input[name="${id}:why"]:checked`)].map(({ value }) => value)]""",
        question,
    )


def status(page):
    return page.inner_text("#status")


def await_task(page, number):
    page.wait_for_selector(f"main[data-uid=task{number}]")


def await_frame(page, number):
    """Both clips are paused and show this frame, counted from 1; the page has noticed, and takes the next step."""
    moment = (number - 0.5) / 8
    wait_until(
        page,
        "[...document.querySelectorAll('video')].every((v) => v.paused && v.readyState >= 2 && !v.seeking"
        f" && Math.abs(v.currentTime - {moment}) < 0.01)",
    )
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert page.inner_text("#frame") == f"{number} / 16"


def is_locked(page, fieldset):
    return page.locator(f"{fieldset}:disabled").count() == page.locator(fieldset).count() > 0


def fits(page):
    return page.evaluate(
        "document.documentElement.scrollHeight <= innerHeight && document.documentElement.scrollWidth <= innerWidth"
    )


# ---- what opens the answer ----


def test_an_answer_opens_when_both_clips_were_seen_to_the_end_and_not_before(visit):
    page = visit(reduced_motion="reduce")  # nothing plays by itself
    wait_until(page, "!document.querySelector('.controls').disabled")
    press(page, "1", "Enter")
    assert answer(page) == [None, []]
    await_frame(page, 1)
    press(page, ",")  # back from the first frame to the last, and on over the end: most was skipped
    await_frame(page, 16)
    press(page, ".", "1")
    assert answer(page) == [None, []]
    assert is_locked(page, ".sides")
    press(page, "r")
    await_open(page)
    press(page, "1")
    assert answer(page)[0] == "left"


def test_what_nobody_sees_is_not_seen(visit):
    page = visit()
    wait_until(page, "!document.querySelector('.controls').disabled")
    page.evaluate("Object.defineProperty(document, 'hidden', { get: () => true, configurable: true })")
    press(page, "r")
    page.wait_for_timeout(5000)  # more than two passes
    assert is_locked(page, ".sides")
    page.evaluate("delete document.hidden")
    await_open(page)


def test_frame_by_frame_is_a_way_to_see_both(visit):
    page = visit(reduced_motion="reduce")
    for frame in range(1, 17):
        await_frame(page, frame)
        assert is_locked(page, ".sides")
        press(page, ".")
    await_open(page)
    await_frame(page, 1)
    press(page, ",")
    await_frame(page, 16)


def test_steps_in_haste_skip_no_frame(visit):
    page = visit(reduced_motion="reduce")
    await_frame(page, 1)
    page.evaluate("""() => {
      const key = new KeyboardEvent("keydown", { key: ".", code: "Period", bubbles: true });
      for (let k = 0; k < 16; k++) document.body.dispatchEvent(key);
    }""")
    await_frame(page, 2)
    assert is_locked(page, ".sides")


def test_clips_that_do_not_come_can_be_asked_for_again(visit, desk):
    desk.broken_clips = 1
    page = visit()
    again = page.get_by_role("button", name="Try again")
    again.wait_for()
    assert "could not be loaded" in page.inner_text(".loading")
    assert is_locked(page, ".controls")
    press(page, " ", "r", "1", "Enter")
    assert not desk.posts
    again.click()
    await_open(page)


def test_how_far_the_clips_are_is_shown(visit, desk):
    desk.slowness = 1.0
    page = visit()
    assert page.is_visible(".loading progress")
    assert page.evaluate("[...document.querySelectorAll('video')].every((v) => v.paused)")
    await_open(page)
    assert page.is_hidden(".loading")


def test_a_clip_that_breaks_off_can_be_loaded_again(visit, desk):
    page = visit()
    await_open(page)
    page.evaluate("document.querySelector('video').dispatchEvent(new Event('error'))")
    again = page.get_by_role("button", name="Try again")
    again.wait_for()
    assert is_locked(page, ".sides")
    again.click()
    await_open(page)


# ---- the clock ----


@pytest.mark.parametrize(
    ("state", "value", "waiting"),
    [
        ("readyState", "1", "[...document.querySelectorAll('video')]"),
        ("seeking", "true", "[...document.querySelectorAll('video')].slice(1)"),  # paused, it might seek for ever
    ],
)
def test_both_wait_for_one_that_is_not_ready_and_the_page_says_so(visit, desk, state, value, waiting):
    page = visit()
    await_open(page)
    shown = f"{{ get: () => {value}, configurable: true }}"
    page.evaluate(f"Object.defineProperty(document.querySelector('video'), '{state}', {shown})")
    page.wait_for_selector("#buffering")
    frame = page.inner_text("#frame")
    assert page.evaluate(f"{waiting}.every((v) => v.paused)")
    page.wait_for_timeout(500)
    assert page.inner_text("#frame") == frame
    page.evaluate(f"delete document.querySelector('video').{state}")
    wait_until(page, "document.querySelector('#buffering').hidden")
    wait_until(page, "[...document.querySelectorAll('video')].every((v) => !v.paused)")
    page.goto("about:blank")
    for _ in range(100):  # the report leaves with the page, and arrives when it does
        if any(event["kind"] == "stall" for event in desk.events):
            break
        page.wait_for_timeout(100)
    assert "stall" in [event["kind"] for event in desk.events]


def test_both_players_stay_within_a_frame(visit):
    page = visit()
    await_open(page)
    drift = page.evaluate(DRIFT, 10)
    assert drift["loops"] >= 2
    assert drift["most"] < 1


def test_pause_speed_and_replay(visit, desk):
    page = visit()
    await_open(page)
    press(page, " ")
    assert page.inner_text("#play").startswith("Play")
    wait_until(page, "[...document.querySelectorAll('video')].every((v) => v.paused && !v.seeking)")
    page.get_by_label("0.25 times").check()
    press(page, "r")
    wait_until(page, "[...document.querySelectorAll('video')].every((v) => !v.paused && v.playbackRate < 0.5)")
    page.goto("about:blank")
    wait_until(page, "true")
    kinds = [event["kind"] for event in desk.events]
    assert {"loaded", "replay", "speed"} <= set(kinds)


def test_less_motion_means_that_nothing_plays_by_itself(visit):
    page = visit(reduced_motion="reduce")
    page.wait_for_selector("#stillness")
    page.wait_for_timeout(500)
    assert page.evaluate("[...document.querySelectorAll('video')].every((v) => v.paused && v.currentTime < 0.125)")
    press(page, " ")
    await_open(page)


# ---- keys ----


def test_a_task_by_keys_alone(visit, desk):
    page = visit()
    await_open(page)
    press(page, "2", "3", "6", "3", "Enter")
    await_task(page, 1)
    (vote,) = desk.votes.values()
    assert vote["impression"] == "task0"
    assert vote["answers"] == [{"question": "overall", "choice": "right", "reasons": ["overall quality"]}]
    assert vote["seen"]["left"] == vote["seen"]["right"] >= 1
    assert vote["seen"]["active"] >= 2
    assert vote["device"] == {"width": 1280, "height": 720, "speed": 1, "pixels": 1}
    assert not page.troubles


def test_one_and_two_choose_a_video_at_any_time(visit):
    page = visit()
    await_open(page)
    for key, side in [("1", "left"), ("2", "right"), ("a", "left"), ("b", "right")]:
        press(page, key, "4")
        assert answer(page)[0] == side
    press(page, "0")  # no tie is offered
    assert answer(page)[0] == "right"


def test_nothing_is_sent_without_a_reason(visit, desk):
    page = visit()
    await_open(page)
    press(page, "Enter")
    assert status(page) == "Choose a video."
    press(page, "1", "Enter")
    assert "at least one reason" in status(page)
    assert not desk.posts


def test_no_difference_needs_no_reason_and_takes_none(visit, desk):
    desk.tasks = [task(0, ties=True), task(1)]
    page = visit()
    await_open(page)
    press(page, "1", "3", "t")
    assert answer(page) == ["tie", []]
    press(page, "4", "Enter")
    await_task(page, 1)
    (vote,) = desk.votes.values()
    assert vote["answers"] == [{"question": "overall", "choice": "tie", "reasons": []}]


def test_the_keys_answer_one_question_after_the_other(visit, desk):
    desk.tasks = [task(0, questions=PRESETS["emu"]), task(1)]
    page = visit()
    await_open(page)
    press(page, "1", "7", "Enter")
    assert not desk.posts
    press(page, "2", "3", "Enter")
    await_task(page, 1)
    (vote,) = desk.votes.values()
    assert vote["answers"] == [
        {"question": "quality", "choice": "left", "reasons": ["amount of motion"]},
        {"question": "faithfulness", "choice": "right", "reasons": ["spatial text alignment"]},
    ]


def test_questions_can_be_answered_by_mouse_in_any_order(visit, desk):
    desk.tasks = [task(0, questions=PRESETS["emu"]), task(1)]
    page = visit()
    await_open(page)
    page.locator("label.choice", has_text="Right").nth(1).click()
    page.get_by_label("Temporal text alignment").click()
    page.locator("label.choice", has_text="Left").first.click()
    page.get_by_label("Pixel sharpness").click()
    page.get_by_role("button", name="Submit").click()
    await_task(page, 1)
    (vote,) = desk.votes.values()
    assert [each["choice"] for each in vote["answers"]] == ["left", "right"]


def test_space_after_a_click_plays_and_does_not_untick(visit):
    page = visit()
    await_open(page)
    page.get_by_text("Left", exact=True).last.click()
    page.get_by_label("Object motion").click()
    press(page, " ")
    assert answer(page) == ["left", ["object motion"]]
    assert page.inner_text("#play").startswith("Play")


def test_letters_in_a_comment_are_letters(visit, desk):
    page = visit()
    await_open(page)
    press(page, "1", "3")
    page.get_by_text("Add a comment").click()
    page.get_by_label("Comment").fill("")
    page.get_by_label("Comment").press_sequentially("2 r, 4.")
    press(page, "Escape")
    assert answer(page) == ["left", ["image alignment"]]
    press(page, "Enter")
    await_task(page, 1)
    assert [vote["comment"] for vote in desk.votes.values()] == ["2 r, 4."]


@pytest.mark.parametrize("id_", ["comment", "speed"])
def test_a_question_may_be_called_as_the_page_calls_a_part_of_it(visit, desk, id_):
    (motif,) = PRESETS["motif"]
    desk.tasks = [task(0, questions=(motif.model_copy(update={"id": id_}),)), *desk.tasks[1:]]
    page = visit()
    await_open(page)
    page.locator(".choice", has_text="Left").click()
    page.locator(".reason").first.click()
    page.get_by_text("Add a comment").click()
    page.get_by_label("Comment").fill("fine")
    press(page, "Escape", "Enter")
    await_task(page, 1)
    (vote,) = desk.votes.values()
    assert [(said["question"], said["choice"]) for said in vote["answers"]] == [(id_, "left")]
    assert (vote["comment"], vote["device"]["speed"]) == ("fine", 1)


def test_tab_goes_from_the_players_through_the_answer_to_the_button(visit):
    page = visit()
    await_open(page)
    press(page, "1")
    order = []
    for _ in range(14):
        press(page, "Tab")
        order.append(
            page.evaluate("(({ id, name, value, localName }) => id || name || localName)(document.activeElement)")
        )
    assert order[:4] == ["replay", "back", "play", "forward"]
    assert order[4:] == ["speed", "overall:choice", *["overall:why"] * 4, "summary", "submit", *order[12:]]
    outline = page.evaluate(
        "document.querySelector('#submit').focus(), getComputedStyle(document.activeElement).outlineStyle"
    )
    assert outline == "solid"


# ---- no vote is lost ----


@pytest.mark.parametrize("trouble", ["failing", "lost"])
def test_a_vote_is_sent_until_it_is_acknowledged_and_stored_once(visit, desk, trouble):
    setattr(desk, trouble, 2)
    page = visit()
    await_open(page)
    press(page, "1", "3", "Enter")
    page.get_by_role("button", name="Try now").wait_for()
    assert "Not saved yet" in status(page)
    press(page, "2", "Enter")  # too late
    await_task(page, 1)
    assert len(desk.posts) == 3
    assert len(set(desk.posts)) == 1
    assert [vote["answers"][0]["choice"] for vote in desk.votes.values()] == ["left"]
    assert page.evaluate("Object.keys(localStorage).filter((key) => key.includes('task0'))") == []


def test_a_vote_outlives_the_page(visit, desk):
    desk.failing = 1000
    page = visit()
    await_open(page)
    press(page, "1", "3", "Enter")
    page.get_by_role("button", name="Try now").wait_for()
    desk.failing = 1
    page.reload()
    await_task(page, 1)
    assert len(set(desk.posts)) == 1
    assert len(desk.votes) == 1


def test_a_vote_whose_task_is_gone_is_sent_from_the_next_page(visit, desk):
    desk.lost = 1
    page = visit()
    await_open(page)
    press(page, "1", "3", "Enter")
    page.get_by_role("button", name="Try now").wait_for()  # it is stored, and nobody said so
    page.reload()
    await_task(page, 1)
    wait_until(page, "!Object.keys(localStorage).some((key) => key.includes('task0'))")
    assert len(desk.posts) >= 2
    assert len(desk.votes) == 1


def test_a_vote_that_came_after_its_address_expired_is_taken_at_the_new_one(visit, desk):
    desk.expired = {"token"}
    page = visit()
    await_open(page)
    press(page, "1", "3", "Enter")
    page.wait_for_selector("#refused")
    assert "expired" in page.inner_text("#refused")
    page.goto(page.url.replace("token", "renewed"))
    await_task(page, 1)
    assert len(set(desk.posts)) == len(desk.votes) == 1


def test_a_choice_that_was_not_sent_is_there_after_a_reload(visit, desk):
    page = visit()
    await_open(page)
    press(page, "2", "4", "5")
    page.reload()
    await_open(page)
    assert answer(page) == ["right", ["text alignment", "object motion"]]
    press(page, "Enter")
    await_task(page, 1)
    assert answer(page) == [None, []]
    assert len(desk.votes) == 1


def test_a_refusal_is_told_and_lets_go_on(visit, desk):
    desk.refusal = "This comparison has been answered already."
    page = visit()
    await_open(page)
    press(page, "1", "3", "Enter")
    page.wait_for_selector("#refused")
    assert desk.refusal in page.inner_text("#refused")
    assert len(desk.posts) == 1
    desk.tasks = [task(1)]
    press(page, "Enter")
    await_task(page, 1)


@pytest.mark.parametrize(("right", "heading"), [(True, "Correct"), (False, "Not quite")])
def test_training_says_what_was_right_and_waits(visit, desk, right, heading):
    desk.tasks = [task(0, training=True, done=0, total=2), task(1)]
    desk.feedback = {"right": right, "why": "The left <one> goes on as it began."}
    page = visit()
    assert "Practice: 1 of 2" in page.inner_text(".progress")
    await_open(page)
    press(page, "1", "3", "Enter")
    page.wait_for_selector("#feedback")
    assert heading in page.inner_text("#feedback h2")
    assert desk.feedback["why"] in page.inner_text("#feedback")
    assert page.evaluate("document.activeElement.textContent") == "Go on"
    press(page, "Enter")
    await_task(page, 1)


# ---- how it looks, and other pages ----

MANY = (
    Question(
        id="overall",
        text="Which one?",
        why="Why?",
        reasons=tuple(Justification(id=f"reason {k}", text=f"Reason {k}") for k in range(MOST_REASONS)),
    ),
)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("questions", [PRESETS["motif"], PRESETS["emu"], MANY], ids=["motif", "emu", "many"])
@pytest.mark.parametrize(("width", "height"), [(1280, 720), (1000, 700)])
def test_a_task_needs_no_scrolling(visit, desk, width, height, questions, theme):
    desk.tasks = [task(0, questions=questions)]
    page = visit(width=width, height=height, color_scheme=theme)
    await_open(page)
    press(page, "1", "3")
    assert fits(page)
    assert not page.troubles


def test_it_works_in_a_frame_of_a_crowds_page(visit, desk):
    page = visit("/framed", width=1100, height=760)
    frame = page.frames[1]
    frame.wait_for_selector(".sides:enabled")
    assert fits(frame)
    frame.get_by_text("Left", exact=True).last.click()
    press(page, "3", "Enter")
    frame.wait_for_selector("main[data-uid=task1]")
    assert len(desk.votes) == 1
    assert not page.troubles


@pytest.mark.parametrize("width", [390, 800])
def test_a_small_screen_scrolls_in_one_direction_only(visit, width):
    page = visit(width=width, height=700)
    await_open(page)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


PAGES = (
    "consent",
    "instructions",
    "done",
    "screened",
    "failed",
    "closed",
    "withdrawn",
    "waiting",
    "problem",
    "preview",
)


@pytest.mark.parametrize("kind", PAGES)
def test_every_page_opens_clean(visit, kind):
    page = visit(f"/show/{kind}", width=1000, height=700)
    page.wait_for_timeout(500)
    assert page.locator("main").count() == page.locator("h1").count() == 1
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert "study@example.org" in page.inner_text("footer")
    assert not page.troubles


def test_worked_examples_favour_each_side_and_play(visit):
    page = visit("/show/instructions")
    verdicts = page.locator(".better").all_inner_texts()
    assert [("left" in verdict, "right" in verdict) for verdict in verdicts] == [(True, False), (False, True)]
    for place in range(2):
        button = page.locator(".play").nth(place)
        button.click()
        wait_until(
            page,
            "[...document.querySelectorAll('.example')].filter(e => !e.querySelector('video').paused).length === 1",
        )
        wait_until(page, f"!document.querySelectorAll('.example')[{place}].querySelector('video').paused")
        assert button.inner_text() == "Pause"


def test_the_end_hands_in_by_itself_where_the_crowd_wants_a_form(visit):
    page = visit("/show/mturk")
    page.wait_for_url("**/handed-in")
    assert "assignmentId=A1&done=40" in page.content().replace("&amp;", "&")


def test_who_waits_is_led_on_by_itself(visit, desk):
    page = visit("/show/waiting-briefly")
    assert page.locator("form").count() == 0
    with page.expect_navigation():
        pass
    assert not page.troubles


def test_who_waits_goes_on_waiting_while_nobody_answers(visit):
    page = visit("/show/waiting-briefly")
    page.route("**/health", lambda route: route.abort())
    page.wait_for_timeout(2500)
    assert page.inner_text("h1") == "Please wait"
    page.unroute("**/health")
    with page.expect_navigation():
        pass


def test_the_end_gives_the_code_and_the_way_back(visit):
    page = visit("/show/done")
    assert page.inner_text(".code") == "C1A2B3"
    assert page.get_attribute("a.primary", "href") == "https://app.example.org/complete"


def _palettes():
    css = files("motionfocal.study.web").joinpath("static", "study.css").read_text()
    light, dark = (
        dict(re.findall(r"--([\w-]+): (#\w+)", block)) for block in re.findall(r":root \{(.*?)\}", css, re.S)
    )
    return {"light": light, "dark": light | dark}


def _luminance(colour):
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    values = [int(digits[k : k + 2], 16) / 255 for k in (0, 2, 4)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in values]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_colours_have_the_contrast_that_wcag_aa_asks_for(theme):
    palette = _palettes()[theme]
    texts = [(text, ground) for text in ("ink", "faint", "accent") for ground in ("paper", "raised", "tint")]
    texts += [
        ("on-accent", "accent"),
        ("good", "paper"),
        ("good", "raised"),
        ("attention", "paper"),
        ("attention", "raised"),
    ]
    for least, pairs in [(4.5, texts), (3.0, [("edge", "paper"), ("accent", "rule")])]:
        for pair in pairs:
            low, high = sorted(_luminance(palette[name]) for name in pair)
            assert (high + 0.05) / (low + 0.05) >= least, pair


def test_digits_of_reasons_follow_those_of_the_videos():
    assert [reason_key(place) for place in range(MOST_REASONS)] == ["3", "4", "5", "6", "7", "8", "9"]


def test_a_reason_without_a_digit_is_refused():
    reasons = tuple(Justification(id=str(k), text=str(k)) for k in range(MOST_REASONS + 1))
    Question(id="q", text="Which?", why="Why?", reasons=reasons[:-1])
    with pytest.raises(ValidationError, match="at most 7"):
        Question(id="q", text="Which?", why="Why?", reasons=reasons)


def test_paragraphs_are_set_apart_by_empty_lines():
    assert paragraphs("one\ntwo\n\n \nthree\n") == ["one\ntwo", "three"]
