"""Scorers of clips and texts: CLIP, and a vision-language model behind a real local server."""

import base64
import json
import math
import time

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from motionfocal.errors import AnswerError, ConfigError, ManifestError, MediaError, UnavailableError
from motionfocal.jsonl import read_jsonl
from motionfocal.metrics.backbones import BackboneSettings, images, recipes
from motionfocal.metrics.chat import KEY, Token, as_jpeg
from motionfocal.metrics.scorers import ClipScorer, spread
from motionfocal.metrics.vlm_scorer import VlmScorer, VlmSettings, rating, yes_probability

from .chat_server import said, serving
from .tiny_backbones import TEXTS, backbone_of, moving, sample_of, scored, tiny_clip


@given(st.integers(1, 200), st.integers(2, 20))
def test_frames_are_spread_with_first_and_last(total, wanted):
    chosen = spread(total, wanted)
    assert len(chosen) == min(total, wanted) == len(set(chosen))
    assert chosen == sorted(chosen) and chosen[0] == 0 and chosen[-1] == total - 1
    steps = np.diff(chosen)
    assert len(chosen) < 3 or steps.max() - steps.min() <= 1


def test_clip_scores_are_mean_cosines_over_the_chosen_frames(tmp_path, rng):
    clip = moving(rng, frames=11)
    network = tiny_clip().eval()
    found = scored(ClipScorer(backbone_of(network), frames=4), sample_of(tmp_path, clip[0]), clip, TEXTS)
    with torch.no_grad():
        rows = network(torch.stack([recipes.CLIP_PICTURE(clip[i]) for i in (0, 3, 7, 10)]))
        words = network.texts(TEXTS)
    expected = F.cosine_similarity(rows[:, None], words[None], dim=-1).mean(dim=0)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_still_clip_scores_as_its_picture(tmp_path, rng):
    picture = moving(rng)[0]
    scorer = ClipScorer(backbone_of(tiny_clip()))
    sample = sample_of(tmp_path, picture)
    one, many = (scored(scorer, sample, np.stack([picture] * n), TEXTS) for n in (1, 20))
    np.testing.assert_allclose(one, many, atol=1e-6)


def test_clip_scorer_refuses(tmp_path, rng):
    scorer = ClipScorer(backbone_of(tiny_clip()))
    clip = moving(rng)
    sample = sample_of(tmp_path, clip[0])
    with pytest.raises(MediaError, match="model, 0: no frames"):
        scored(scorer, sample, [], TEXTS)
    with pytest.raises(ManifestError, match="tokens"):
        scored(scorer, sample, clip, ["dog " * 90])
    with pytest.raises(ConfigError, match="frames: at least 2"):
        ClipScorer(backbone_of(tiny_clip()), frames=1)


def test_weights_that_may_not_be_fetched_are_named(tmp_path):
    offline = BackboneSettings(folder=tmp_path, offline=True)
    assert ClipScorer().name == "clip-ViT-L-14-openai"
    with pytest.raises(UnavailableError, match=r"ViT-B-32\.pt.*offline"):
        _ = ClipScorer(images.openai_clip("ViT-B-32", offline)).settings


# The server.


@pytest.fixture
def serve():
    with serving() as start:
        yield start


def question_of(request):
    return request["messages"][0]["content"][-1]["text"]


def yes_or_no(request):
    yes = 0.9 if "runs" in question_of(request) else 0.2
    tokens = [("Yes", yes * 0.9), (" no", 1 - yes), ("yes", yes * 0.1), ("maybe", 0.01)]
    top = [{"token": token, "logprob": math.log(share)} for token, share in tokens]
    return 200, {"choices": [{"logprobs": {"content": [{"top_logprobs": top}]}, "message": {"content": "Yes"}}]}


def number(text):
    return lambda request: said(text)


def test_yes_or_no_by_probability(tmp_path, rng, serve, monkeypatch):
    monkeypatch.setenv(KEY, "secret")
    server = serve(yes_or_no)
    clip = moving(rng, frames=21, height=100, width=200)
    scorer = VlmScorer(VlmSettings(url=server.url + "/", model="m", side=64))
    found = scored(scorer, sample_of(tmp_path, clip[0]), clip, TEXTS)
    assert found == pytest.approx([0.9, 0.2])
    request = server.requests[0]
    assert request["temperature"] == 0 and request["max_tokens"] == 1 and request["model"] == "m"
    assert request["logprobs"] is True and request["top_logprobs"] == 20
    pictures = [part["image_url"]["url"] for part in request["messages"][0]["content"][:-1]]
    chosen = [0, 3, 6, 9, 11, 14, 17, 20]
    expected = [base64.b64encode(as_jpeg(clip[i], 64, 90)).decode() for i in chosen]
    assert pictures == [f"data:image/jpeg;base64,{text}" for text in expected]
    assert server.headers[0]["Authorization"] == "Bearer secret"
    assert "secret" not in json.dumps(scorer.settings)


def test_jpegs_are_small_and_in_the_right_colours():
    red = np.zeros((300, 600, 3), np.uint8)
    red[..., 0] = 250
    back = cv2.cvtColor(cv2.imdecode(np.frombuffer(as_jpeg(red, 128, 90), np.uint8), 1), cv2.COLOR_BGR2RGB)
    assert back.shape == (64, 128, 3) and np.abs(back.astype(int).mean((0, 1)) - [250, 0, 0]).max() < 4


def test_an_answer_is_asked_for_once_and_kept(tmp_path, rng, serve):
    server = serve(number(" 80"))
    clip, cache = moving(rng), tmp_path / "answers/vlm.jsonl"
    sample = sample_of(tmp_path, clip[0])
    given = VlmSettings(url=server.url, model="m", ask="score", cache=cache)
    assert scored(VlmScorer(given), sample, clip, TEXTS) == [0.8, 0.8]
    assert scored(VlmScorer(given), sample, clip, TEXTS[::-1]) == [0.8, 0.8]
    assert len(server.requests) == 2 and len(read_jsonl(cache)) == 2
    moved = given.model_copy(update={"url": "http://127.0.0.1:9/v1"})  # another address has the same answers
    assert scored(VlmScorer(moved), sample, clip, TEXTS) == [0.8, 0.8]
    other = given.model_copy(update={"model": "n"})
    scored(VlmScorer(other), sample, clip, TEXTS[:1])
    scored(VlmScorer(given), sample, clip[::-1], TEXTS[:1])
    assert len(server.requests) == 4


def test_a_cache_of_a_killed_run_is_mended(tmp_path, rng, serve):
    server = serve(number("80"))
    clip, cache = moving(rng), tmp_path / "vlm.jsonl"
    given = VlmSettings(url=server.url, model="m", ask="score", cache=cache)
    sample = sample_of(tmp_path, clip[0])
    scored(VlmScorer(given), sample, clip, TEXTS)
    cache.write_text(cache.read_text()[:-10])
    assert scored(VlmScorer(given), sample, clip, TEXTS) == [0.8, 0.8]
    assert len(server.requests) == 3 and len(read_jsonl(cache)) == 2


@pytest.mark.parametrize(
    ("ask", "reply", "message"),
    [
        ("score", number("about 80"), "no number from 0 to 100"),
        ("score", number("120"), "no number from 0 to 100"),
        ("score", number(None), "no usable answer"),
        ("score", lambda request: (200, {"choices": []}), "no usable answer"),
        ("score", lambda request: (500, b"out of memory"), "HTTP 500: out of memory"),
        ("score", lambda request: (200, b"<html>"), "did not answer"),
        ("yes_no", number("Yes"), "the server gave no log probabilities; set ask='score'"),
        ("yes_no", lambda request: (200, ODD), "neither yes nor no"),
    ],
)
def test_a_bad_answer_names_clip_and_text(tmp_path, rng, serve, ask, reply, message):
    server = serve(reply)
    clip, cache = moving(rng), tmp_path / "vlm.jsonl"
    scorer = VlmScorer(VlmSettings(url=server.url, model="m", ask=ask, cache=cache))
    with pytest.raises(AnswerError, match=rf"(?s)model, 0, text 'a dog runs.*{message}"):
        scored(scorer, sample_of(tmp_path, clip[0]), clip, TEXTS)
    assert read_jsonl(cache) == []


ODD = {"choices": [{"logprobs": {"content": [{"top_logprobs": [{"token": "Perhaps", "logprob": 0.0}]}]}}]}


def test_a_slow_or_missing_server_is_an_error(tmp_path, rng, serve):
    def slow(request):
        time.sleep(0.5)
        return number("1")(request)

    clip = moving(rng)
    sample = sample_of(tmp_path, clip[0])
    with pytest.raises(AnswerError, match="timed out"):
        scored(VlmScorer(VlmSettings(url=serve(slow).url, model="m", ask="score", timeout=0.1)), sample, clip, TEXTS)
    with pytest.raises(AnswerError, match=r"did not answer.*see that the server runs"):
        scored(VlmScorer(VlmSettings(url="http://127.0.0.1:9/v1", model="m")), sample, clip, TEXTS)
    with pytest.raises(ValidationError, match="http"):
        VlmSettings(url="ftp://x", model="m")


def test_reading_answers():
    assert rating(" 7. ") == 0.07 and rating("100") == 1 and rating("0%") == 0
    for text in ("", "7.5", "-3", "101", "7 of 10"):
        with pytest.raises(ValueError, match="no number"):
            rating(text)
    assert yes_probability([Token(token=" YES", logprob=-2)]) == 1
    with pytest.raises(ValueError, match="neither"):
        yes_probability([Token(token="Yesterday", logprob=0)])
