"""Machine raters: both orders of every pair, on the clips of a study, apart from what people said."""

import base64
import json
import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from motionfocal.errors import (
    AnswerError,
    CheckpointError,
    ConfigError,
    DamagedFileError,
    GalleryError,
    MediaError,
    StudyError,
    UnavailableError,
    UnknownNameError,
)
from motionfocal.generation.gallery import Gallery, GalleryRow
from motionfocal.generation.normalizing import NormalForm, normalize
from motionfocal.jsonl import read_jsonl
from motionfocal.metrics.backbones import BackboneSettings
from motionfocal.metrics.chat import ChatSettings, HttpChat, KeptChat, Prompt, Reply, as_jpeg
from motionfocal.metrics.local_chat import TransformersChat
from motionfocal.metrics.metric import Output
from motionfocal.metrics.results import Findings, Row, write_results
from motionfocal.report.results import read_results
from motionfocal.study import Comparison
from motionfocal.study.analysis.orders import settle
from motionfocal.study.design import StudyDesign
from motionfocal.study.plan import ClipFile, PairPlan, Plan, Secrets, Shown, Study
from motionfocal.study.questions import PRESETS, Question
from motionfocal.study.raters.both_orders import judge_both_orders
from motionfocal.study.raters.comparisons import comparisons_of, machine_judgements, store_of
from motionfocal.study.raters.metric import MetricRater
from motionfocal.study.raters.oracle import OracleRater, oracle_of
from motionfocal.study.raters.vlm import VlmRater, VlmRaterSettings
from motionfocal.study.storage import JudgementStore
from motionfocal.video import read_clip, write_clip, write_image
from motionfocal.worlds import Action, SpritesWorld
from motionfocal.worlds.benchmark import SpritesBenchmark

from . import tiny_vlm
from .chat_server import parts_of, said, serving

MOTIF, (QUALITY, _) = PRESETS["motif"][0], PRESETS["emu"]
BENCHMARK = SpritesBenchmark(images=2, texts=2)
ITEMS = [item.id for item in BENCHMARK.items()]


# --- a study of bright and dark clips -------------------------------------------------------------------------------


def study_of(folder: Path, items: int = 3, form: NormalForm | None = None) -> Study:
    """Two models, ``bright`` and ``dark``, whose clips of an item differ in nothing else; frame k has k more."""
    shown, clips, pairs = [], [], []
    for k in range(items):
        write_image(folder / f"pictures/p{k}.png", np.full((40, 56, 3), 100 + k, np.uint8))
        shown.append(Shown(item=f"i{k}", image=f"g{k // 2}", text=f'a "dog" runs {k}', picture=f"pictures/p{k}.png"))
        for model, level in (("bright", 180), ("dark", 40)):
            frames = np.stack([np.full((40, 56, 3), level + t, np.uint8) for t in range(16)])
            write_clip(folder / f"clips/{model}{k}.mp4", frames, 8)
            clips.append(
                ClipFile(id=f"{model}{k}", model=model, item=f"i{k}", file=f"clips/{model}{k}.mp4", content="")
            )
        first, second = (f"bright{k}", f"dark{k}")[:: 1 if k % 2 else -1]
        pairs.append(PairPlan(id=f"c{k}", item=f"i{k}", first=first, second=second))
    plan = Plan(name="s", models=("bright", "dark"), shown=tuple(shown), clips=tuple(clips), pairs=tuple(pairs))
    design = StudyDesign(name="s", galleries=(Path("bright"), Path("dark")), form=form or NormalForm())
    return Study(folder, design, plan, Secrets(key="k" * 32, salt="s" * 32))


@pytest.fixture
def study(tmp_path):
    return study_of(tmp_path / "study")


@pytest.fixture
def serve():
    with serving() as start:
        yield start


def brightness(request, name):
    """Mean grey of the frames of the video with this name, as they stand in a request."""
    parts = parts_of(request)
    begin = next(k for k, part in enumerate(parts) if isinstance(part, str) and f"of video {name}," in part)
    jpegs = []
    for part in parts[begin + 1 :]:
        if isinstance(part, str):
            break
        jpegs.append(cv2.imdecode(np.frombuffer(base64.b64decode(part), np.uint8), 1))
    return float(np.mean(jpegs))


def answer(better, *reasons):
    return said(json.dumps({"better": better, "reasons": reasons}))


def prefers_bright(request):
    return answer("A" if brightness(request, "A") > brightness(request, "B") else "B", "object motion")


def rater_at(url, question=MOTIF, ties=False, **changes):
    return VlmRater(
        HttpChat(ChatSettings(url=url, model="m")), question, ties=ties, settings=VlmRaterSettings(**changes)
    )


def test_comparisons_are_the_studys_pairs(study):
    comparisons = comparisons_of(study)
    assert [c.id for c in comparisons] == ["c0", "c1", "c2"]
    first = comparisons[0]
    assert (first.left_model, first.right_model) == ("dark", "bright")
    assert first.left == (study.folder / "clips/dark0.mp4").resolve() and first.right.is_file()
    assert first.picture == (study.folder / "pictures/p0.png").resolve()
    assert (first.item, first.image, first.text) == ("i0", "g0", 'a "dog" runs 0')
    turned = first.exchanged()
    assert (turned.left, turned.left_model, turned.id) == (first.right, "bright", "c0")
    assert turned.exchanged() == first


# --- both orders ----------------------------------------------------------------------------------------------------


class ByRule:
    """Answers by a rule of the comparison; counts what it is asked."""

    name = "by rule"

    def __init__(self, rule):
        self.rule, self.asked = rule, []

    def judge(self, comparison):
        self.asked.append((comparison.item, comparison.left_model))
        found = self.rule(comparison)
        if isinstance(found, Exception):
            raise found
        return comparison.judged(self.name, found, kind="metric")


def comparison(k=0):
    return Comparison(f"c{k}", f"i{k}", f"g{k}", "t", Path("a.mp4"), Path("b.mp4"), "a", "b")


@given(st.lists(st.sampled_from(["a", "b", "left", "right", "tie"]), min_size=1, max_size=8))
@settings(max_examples=40)
def test_a_habit_of_side_is_what_flips(new_folder, rules):
    def rule(comparison):
        wanted = rules[int(comparison.item[1:])]
        return {comparison.left_model: "left", comparison.right_model: "right"}.get(wanted, wanted)

    store = JudgementStore(new_folder() / "j.jsonl")
    outcome = judge_both_orders(ByRule(rule), [comparison(k) for k in range(len(rules))], store)
    assert outcome.failures == ()
    assert [j.left_model for j in outcome.judgements] == ["a", "b"] * len(rules)
    assert [j.comparison for j in outcome.judgements[::2]] == [f"c{k}" for k in range(len(rules))]
    assert JudgementStore(store.path).judgements() == list(outcome.judgements)
    settled = settle(outcome.judgements)
    assert [j.item for j in settled.abstained] == [f"i{k}" for k, r in enumerate(rules) if r in ("left", "right")]
    assert [j.preferred for j in settled.judgements] == [
        None if r == "tie" else r for r in rules if r not in ("left", "right")
    ]


@pytest.mark.parametrize("error", [MediaError("cut off"), AnswerError("nonsense"), GalleryError("no value")])
def test_a_pass_goes_on_past_what_fails_and_resumes(tmp_path, error):
    failing, seen = {("i1", "b"), ("i2", "a")}, []
    rater = ByRule(lambda c: error if (c.item, c.left_model) in failing else "left")
    comparisons = [comparison(k) for k in range(4)]
    path = tmp_path / "j.jsonl"
    first = judge_both_orders(rater, comparisons, JudgementStore(path), lambda *at: seen.append(at))
    assert seen == [(k, 4) for k in (1, 2, 3, 4)]
    assert [(f.comparison.item, f.error) for f in first.failures] == [("i1", error), ("i2", error)]
    assert [j.item for j in first.judgements] == ["i0", "i0", "i3", "i3"]
    rater.asked.clear()
    failing.clear()
    second = judge_both_orders(rater, comparisons, JudgementStore(path))
    assert rater.asked == [("i1", "b"), ("i2", "a"), ("i2", "b")]  # the first order of i1 was kept
    assert second.failures == () and len(second.judgements) == 8
    settle(second.judgements)


def test_another_error_ends_the_pass_with_all_before_it_stored(tmp_path):
    rater = ByRule(lambda c: UnavailableError("no weights") if c.item == "i1" else "left")
    with pytest.raises(UnavailableError):
        judge_both_orders(rater, [comparison(0), comparison(1)], JudgementStore(tmp_path / "j.jsonl"))
    assert len(JudgementStore(tmp_path / "j.jsonl")) == 2


def test_the_store_tells_orders_and_questions_apart(tmp_path):
    store = JudgementStore(tmp_path / "j.jsonl")
    one = comparison().judged("r", "left")
    other = comparison().exchanged().judged("r", "left")
    quality = comparison().judged("r", "right", question="quality")
    for judgement in (one, other, quality, replace(one, preference="tie")):
        store.add(judgement)
    for again in (store, JudgementStore(store.path)):
        assert again.judgements() == [one, other, quality]
        assert again.get("c0", "r") == again.get("c0", "r", left="a") == one
        assert again.get("c0", "r", left="b") == other
        assert again.get("c0", "r", "quality", "a") == quality
        assert again.get("c0", "r", "quality", "b") is None


def test_a_studys_machine_judgements_are_whole_and_kept_by_rater(study):
    comparisons = comparisons_of(study)
    names = ["metric:x", "vlm:owner/model (prompt 1)", "metric:x/../../y"]
    for name in names:
        rater = ByRule(lambda c: "left")
        rater.name = name
        judge_both_orders(rater, comparisons, store_of(study, name))
    store_of(study, "half").add(comparisons[0].judged("half", "left"))
    store_of(study, "half").add(replace(comparisons[0], id="of another plan").judged("half", "left"))
    found = machine_judgements(study)
    assert {j.rater for j in found} == set(names) and len(found) == 2 * 3 * 3
    assert len(list((study.folder / "machine").glob("*.jsonl"))) == 4
    assert settle(found).flips.estimate == 1
    assert machine_judgements(study_of(study.folder.parent / "other", items=1)) == []


# --- a metric -------------------------------------------------------------------------------------------------------


def results_of(folder, values, better="higher"):
    """What the report reads of values by model and item, written as ``motionfocal metrics`` does."""
    rows = [Row(model, item, "g", "speed", value) for (model, item), value in values.items()]
    outputs = [Output("speed", better, ""), Output("other", "lower", "")]
    write_results(folder / "results.json", rows, Findings([], [], []), outputs, {}, [])
    return read_results(folder / "results.json")


@given(st.floats(-10, 10), st.floats(-10, 10), st.sampled_from(["higher", "lower"]))
@settings(max_examples=40)
def test_a_metric_prefers_the_better_value(new_folder, one, two, better):
    results = results_of(new_folder(), {("a", "i0"): one, ("b", "i0"): two}, better)
    rater = MetricRater(results, "speed", question="quality")
    judgement = rater.judge(comparison())
    best = {"higher": max, "lower": min}[better](one, two)
    assert judgement.preferred == (None if one == two else "a" if best == one else "b")
    assert rater.judge(comparison().exchanged()).preferred == judgement.preferred
    assert (judgement.rater, judgement.kind, judgement.question) == ("metric:speed", "metric", "quality")
    assert judgement.reasons == ()


def test_a_metric_that_cannot_judge_says_why(tmp_path):
    with pytest.raises(UnknownNameError, match="'speeed'; known: other, speed"):
        MetricRater(results_of(tmp_path, {}), "speeed")
    with pytest.raises(ConfigError, match=r"'speed': neither higher nor lower.*rank by: other"):
        MetricRater(results_of(tmp_path, {}, "neither"), "speed")
    values = {("a", "i0"): 1.0, ("b", "i0"): None, ("a", "i1"): 1.0, ("a", "i2"): 1.0, ("b", "i2"): "pan left"}
    rater = MetricRater(results_of(tmp_path, values), "speed")
    for item, complaint in enumerate(
        ["'b' for 'i0' has no value of speed", "'b' for 'i1' was not measured by speed", "names a class, 'pan left'"]
    ):
        with pytest.raises(GalleryError, match=complaint):
            rater.judge(comparison(item))


# --- the oracle on a study's clips ----------------------------------------------------------------------------------


def film(folder, model, motion=None):
    """A gallery of the world's items, true to the texts, or with another motion of the same sprites."""
    world, rows = SpritesWorld(BENCHMARK.world), []
    for item in BENCHMARK.items():
        action = item.action if motion is None else Action(item.action.sprite, motion)
        write_clip(folder / f"{item.id}.mp4", world.render(item.scene, action), 8, upscale=8)
        rows.append(
            GalleryRow(item.id, item.id.split("_")[0], item.text, f"{item.id}.mp4", model, (32, 32), 8, 8.0, 1, 0, "s")
        )
    return Gallery(folder, rows)


@pytest.mark.parametrize("form", [NormalForm(frames=8), NormalForm(frames=8, height=256, width=256, fps=6)])
def test_the_oracle_says_of_normalised_copies_what_it_says_of_the_clips(tmp_path, form):
    oracle = oracle_of(study_of(tmp_path / "study", 1, form), BENCHMARK)
    assert isinstance(oracle, OracleRater)
    for model, motion in (("true", None), ("still", "still"), ("left", "left")):
        made = film(tmp_path / model, model, motion)
        assert normalize(made, tmp_path / f"{model}-n", form).failed == []
        copies = Gallery.open(tmp_path / f"{model}-n")
        for item in ITEMS:
            before, after = oracle.measure(made.path(item), item), oracle.measure(copies.path(item), item)
            assert after.followed == before.followed and after.seen_motion == before.seen_motion
            assert after.score == pytest.approx(before.score, abs=0.1)


@pytest.mark.parametrize("preset", ["motif", "emu"])
def test_the_oracle_answers_the_studys_first_question_once(tmp_path, preset):
    form, models = NormalForm(frames=8), ("true", "still")
    study = study_of(tmp_path / "study", 0, form)
    galleries = {"true": film(tmp_path / "true", "true"), "still": film(tmp_path / "still", "still", "still")}
    clips = {model: galleries[model].path(ITEMS[0]) for model in models}
    asked = Comparison("c0", ITEMS[0], "g0", "t", *clips.values(), *models)
    study = replace(study, design=study.design.model_copy(update={"preset": preset}))
    question = study.design.asked[0]
    for _ in range(2):
        rater = oracle_of(study, BENCHMARK)
        outcome = judge_both_orders(rater, [asked], store_of(study, rater.name), question=question.id)
        assert [(said.preferred, said.question) for said in outcome.judgements] == [("true", question.id)] * 2
        offered = {reason.id for reason in question.reasons}
        assert all(set(said.reasons) <= offered for said in outcome.judgements)
        assert bool(outcome.judgements[0].reasons) == (preset == "motif")
    assert len(store_of(study, "oracle").judgements()) == 2, "the second time nothing is judged anew"


@pytest.mark.parametrize("form", [NormalForm(), NormalForm(frames=8, width=256)])
def test_a_form_that_is_not_the_worlds_is_refused(tmp_path, form):
    with pytest.raises(StudyError, match=r"square clips of 8 frames.*form: \{frames: 8\}"):
        oracle_of(study_of(tmp_path, 1, form), BENCHMARK)


# --- a vision-language model ----------------------------------------------------------------------------------------


def test_a_model_is_shown_what_people_are_shown(study, serve):
    server = serve(prefers_bright)
    first = comparisons_of(study)[0]
    judgement = rater_at(server.url).judge(first)
    assert judgement.preferred == "bright" and judgement.reasons == ("object motion",)
    assert (judgement.kind, judgement.question) == ("model", "overall")
    assert judgement.rater == "vlm:m (prompt 1, 8 frames of 512 px)"
    (request,) = server.requests
    assert request["temperature"] == 0 and request["model"] == "m"
    parts = parts_of(request)
    pictures = [base64.b64decode(part) for part in parts if isinstance(part, bytes)]
    chosen = [0, 2, 4, 6, 9, 11, 13, 15]
    expected = [read_clip(path).frames[chosen] for path in (first.left, first.right)]
    assert pictures[1:] == [as_jpeg(frame, 512) for clip in expected for frame in clip]
    assert cv2.imdecode(np.frombuffer(pictures[0], np.uint8), 1).mean() == pytest.approx(100, abs=1)
    words = "\n".join(part for part in parts if isinstance(part, str))
    assert repr(first.text) in words and MOTIF.text in words
    assert all(f"- {reason.id}: {reason.help}" in words for reason in MOTIF.reasons)
    assert not any(name in words for name in ("bright", "dark", '"tie"'))
    form = request["response_format"]["json_schema"]["schema"]["properties"]
    assert form["better"]["enum"] == ["A", "B"]
    assert form["reasons"]["items"]["enum"] == [reason.id for reason in MOTIF.reasons]


def test_both_orders_of_a_model(study, serve):
    comparisons = comparisons_of(study)
    honest = judge_both_orders(rater_at(serve(prefers_bright).url), comparisons, store_of(study, "honest"))
    assert {j.preferred for j in settle(honest.judgements).judgements} == {"bright"}
    assert settle(honest.judgements).abstained == ()
    lazy = serve(lambda request: answer("A", "overall quality"))
    biased = judge_both_orders(rater_at(lazy.url), comparisons, store_of(study, "lazy"))
    assert settle(biased.judgements).flips.estimate == 1
    assert len(lazy.requests) == 6


def test_ties_and_other_questions(study, serve):
    server = serve(lambda request: answer("tie"))
    first = comparisons_of(study)[0]
    judgement = rater_at(server.url, QUALITY, ties=True).judge(first)
    assert (judgement.preference, judgement.reasons, judgement.question) == ("tie", (), "quality")
    assert server.requests[0]["response_format"]["json_schema"]["schema"]["properties"]["better"]["enum"][-1] == "tie"
    assert "no difference" in parts_of(server.requests[0])[-1]
    plain = Question(id="plain", text="Which is longer?")
    server = serve(lambda request: said('{"better": "B"}'))
    assert rater_at(server.url, plain).judge(first).preference == "right"
    assert "reasons" not in json.dumps(server.requests[0])


def test_nothing_is_asked_twice(study, serve, tmp_path):
    server, cache = serve(prefers_bright), tmp_path / "kept/answers.jsonl"
    comparisons = comparisons_of(study)
    for run in ("first", "second"):
        rater = rater_at(server.url, cache=cache)
        judge_both_orders(rater, comparisons, JudgementStore(tmp_path / f"{run}.jsonl"))
    assert len(server.requests) == 6 and len(read_jsonl(cache)) == 6
    assert (tmp_path / "first.jsonl").read_bytes() == (tmp_path / "second.jsonl").read_bytes()
    first, other = comparisons[:2]  # bright clips are all the same, and so are dark ones
    rater_at(server.url, cache=cache).judge(replace(first, right=other.left, left=other.right, right_model="x"))
    assert len(server.requests) == 6
    for changed in (
        replace(first, text="another text"),
        replace(first, picture=other.picture),
        replace(first, right=first.left),
    ):
        rater_at(server.url, cache=cache).judge(changed)
    rater_at(server.url, QUALITY.model_copy(update={"reasons": MOTIF.reasons}), cache=cache).judge(first)
    rater_at(server.url, cache=cache, frames=9).judge(first)
    assert len(server.requests) == 11
    cache.write_text('{"key": "x"}\n')
    with pytest.raises(DamagedFileError, match="a row without question"):
        rater_at(server.url, cache=cache).judge(first)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("Video A is better.", "the whole: Invalid JSON"),
        ("", "Invalid JSON"),
        ('I think {"better": "A", "reasons": ["object motion"]}', "Invalid JSON"),
        ('{"better": "left", "reasons": ["object motion"]}', "better: Input should be 'A', 'B' or 'tie'"),
        ('{"better": "tie", "reasons": []}', "a tie, which is not offered"),
        ('{"better": "A", "reasons": []}', "none given"),
        ('{"better": "A"}', "none given"),
        ('{"better": "A", "reasons": ["colours"]}', "colours unknown; known: image alignment"),
        ('{"better": "A", "reasons": ["object motion", "object motion"]}', "each counts once"),
        ('{"better": "A", "reasons": "object motion"}', "reasons: Input should be a valid array"),
        ('{"better": "A", "reasons": ["object motion"], "sure": 1}', "sure: Extra inputs"),
        ('{"reasons": ["object motion"]}', "better: Field required"),
    ],
)
def test_what_is_no_answer_is_an_error(study, serve, tmp_path, text, complaint):
    server, cache = serve(lambda request: said(text)), tmp_path / "answers.jsonl"
    named = re.escape("""i0 of dark (A) and bright (B), text 'a "dog" runs 0': m at """ + server.url)
    with pytest.raises(AnswerError, match=rf"{named}.*{re.escape(complaint)}"):
        rater_at(server.url, cache=cache).judge(comparisons_of(study)[0])
    assert read_jsonl(cache) == []


@pytest.mark.parametrize("before", ["", " \n", "```json\n", "```"])
def test_a_fence_around_the_answer_is_no_fault(study, serve, before):
    text = before + '{"better": "B", "reasons": ["object motion"]}' + ("\n```\n" if "`" in before else "\n")
    assert rater_at(serve(lambda request: said(text)).url).judge(comparisons_of(study)[0]).preference == "right"


def test_a_tie_has_no_reasons(study, serve):
    server = serve(lambda request: answer("tie", "object motion"))
    with pytest.raises(AnswerError, match="a tie has none"):
        rater_at(server.url, ties=True).judge(comparisons_of(study)[0])


@pytest.mark.parametrize("status", [400, 422, 501])
def test_a_server_without_schemas_is_asked_without(study, serve, status):
    def picky(request):
        return (status, b"unknown response_format") if "response_format" in request else prefers_bright(request)

    server = serve(picky)
    rater = rater_at(server.url)
    assert [rater.judge(c).preferred for c in comparisons_of(study)[:2]] == ["bright", "bright"]
    assert ["response_format" in request for request in server.requests] == [True, False, False]


def test_a_refusal_for_another_reason_stays_one(study, serve):
    replies = iter([(400, b"too long"), (400, b"too long"), (500, b"boom"), *[answer("A", "object motion")]])
    server = serve(lambda request: next(replies))
    rater = rater_at(server.url)
    for complaint in ("HTTP 400: too long", "HTTP 500: boom"):
        with pytest.raises(AnswerError, match=complaint):
            rater.judge(comparisons_of(study)[0])
    assert rater.judge(comparisons_of(study)[0]).preference == "left"
    assert ["response_format" in request for request in server.requests] == [True, False, True, True]


def test_what_cannot_be_shown_is_an_error(study, serve):
    server = serve(prefers_bright)
    first = comparisons_of(study)[0]
    with pytest.raises(ConfigError, match="c0: has no picture"):
        rater_at(server.url).judge(replace(first, picture=None))
    with pytest.raises(MediaError, match=r"gone\.mp4"):
        rater_at(server.url).judge(replace(first, right=Path("gone.mp4")))
    with pytest.raises(ValidationError, match="frames"):
        VlmRaterSettings(frames=7)
    assert server.requests == []


# --- a model on this machine ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "tiny-llava"
    tiny_vlm.write_folder(folder)
    return folder


CPU = BackboneSettings(device="cpu", offline=True)


def test_a_local_model_is_asked_like_a_server(study, tiny):
    chat = TransformersChat(str(tiny), CPU)
    assert re.fullmatch(r"tiny-llava@[0-9a-f]{12}", chat.model)
    red, blue = (as_jpeg(np.full((40, 56, 3), colour, np.uint8), 64) for colour in ((200, 0, 0), (0, 0, 200)))
    asked = [
        Prompt(content, max_tokens=12)
        for content in [("which?", red, blue, "?"), ("which?", blue, red, "?"), ("which?", red, "?")]
    ]
    replies = [chat.ask(prompt, "about") for prompt in asked]
    assert replies[0] == chat.ask(asked[0], "about")
    assert len({reply.text for reply in replies}) > 1  # it sees the pictures
    with pytest.raises(AnswerError, match=r"i0 of dark.*tiny-llava@\w+ on cpu gave no usable answer"):
        VlmRater(chat, MOTIF).judge(comparisons_of(study)[0])


def test_a_local_models_answer_is_read_like_a_servers(study, tiny, monkeypatch, tmp_path):
    import torch

    chat = TransformersChat(str(tiny), CPU)
    processor, network = chat._loaded
    seen = []

    def generate(input_ids, **inputs):
        seen.append(processor.batch_decode(input_ids)[0])
        assert len(inputs["pixel_values"]) == 17 and inputs["do_sample"] is False
        text = '{"better": "B", "reasons": ["text alignment"]}'
        answer = processor.tokenizer(text, return_tensors="pt", add_special_tokens=False).input_ids
        return torch.cat([input_ids, answer, torch.tensor([[1]])], dim=1)

    monkeypatch.setattr(network, "generate", generate)
    rater = VlmRater(chat, MOTIF, settings=VlmRaterSettings(cache=tmp_path / "answers.jsonl"))
    for _ in range(2):
        judgement = rater.judge(comparisons_of(study)[0])
    assert judgement.preferred == "bright" and judgement.reasons == ("text alignment",)
    assert len(seen) == 1
    places = [seen[0].index(words) for words in ("the picture, with which", "frames of video A", "frames of video B")]
    assert places == sorted(places) and seen[0].index("<image>") > places[0]


def test_a_local_model_that_is_not_there(tmp_path, tiny):
    with pytest.raises(UnavailableError, match=r"gone.*no vision-language model"):
        TransformersChat(str(tmp_path / "gone"), CPU).ask(Prompt(("?",), 1), "about")
    with pytest.raises(ConfigError, match="top_logprobs"):
        TransformersChat(str(tiny), CPU).ask(Prompt(("?",), 1, top_logprobs=5), "about")


def test_a_checkpoint_that_lacks_weights_is_refused(tmp_path):
    from safetensors.torch import load_file, save_file

    tiny_vlm.write_folder(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    name = next(name for name in weights if "q_proj" in name)
    del weights[name]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"lacks weights: .*q_proj"):
        TransformersChat(str(tmp_path), CPU).ask(Prompt(("?",), 1), "about")


def test_a_reply_is_kept_only_when_it_can_be_used():
    class Once:
        model = where = "m"

        def __init__(self):
            self.replies = iter(["bad", "7", "8"])

        def ask(self, prompt, about):
            return Reply(text=next(self.replies))

    chat, prompt = KeptChat(Once(), None), Prompt(("?",), 1)
    with pytest.raises(AnswerError, match=r"clip: m gave no usable answer .*invalid literal"):
        chat.ask(prompt, "clip", lambda reply: int(reply.text))
    assert [chat.ask(prompt, "clip", lambda reply: int(reply.text)) for _ in range(3)] == [7, 7, 7]
