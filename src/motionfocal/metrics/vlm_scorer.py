"""A vision-language model behind an OpenAI-compatible server as a scorer of clips and texts.

Good for telling distant models apart, not 55 from 45 per cent: people agree with each other on two thirds of such
questions. Hold its scores against still clips and shuffled texts, as the report does.
"""

import base64
import hashlib
import json
import math
import os
import re
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import cv2
from pydantic import Field, field_validator

from motionfocal.errors import AnswerError, MediaError
from motionfocal.jsonl import append_jsonl, read_jsonl, rewrite_jsonl
from motionfocal.metrics.frame import Frame
from motionfocal.metrics.metric import Sample
from motionfocal.metrics.scorers import name_of, spread
from motionfocal.settings import Settings
from motionfocal.video import Frames

KEY = "MOTIONFOCAL_VLM_KEY"
"""The environment variable of the server's key, if it wants one. The key is never written anywhere."""

QUESTIONS = {
    "yes_no": (
        "These are {frames} frames of one video, evenly spread, in order, the first and the last among them."
        " Does what happens in the video match this text? Text: {text!r}. Answer Yes or No."
    ),
    "score": (
        "These are {frames} frames of one video, evenly spread, in order, the first and the last among them."
        " How well does what happens in the video match this text, from 0 (not at all) to 100 (fully)?"
        " Judge what moves and how, not how good it looks. Text: {text!r}. Answer with one whole number only."
    ),
}
VERSION = 1
"""Raise it with the wording of the questions."""


class VlmSettings(Settings):
    """The server and what it is asked.

    ``url`` is the server's base, such as ``http://127.0.0.1:8000/v1``. ``ask`` is ``yes_no`` (the probability of yes,
    from the first token's log probabilities) or ``score`` (a number 0..100, over 100). ``side`` is the longer side of
    the frames in pixels, ``timeout`` is in seconds. ``cache`` is a JSONL file of answers by content.
    """

    url: str
    model: str
    ask: Literal["yes_no", "score"] = "yes_no"
    frames: int = Field(default=8, ge=2)
    side: int = Field(default=512, ge=64)
    quality: int = Field(default=90, ge=1, le=100)
    timeout: float = Field(default=120.0, gt=0)
    cache: Path | None = None

    @field_validator("url")
    @classmethod
    def _is_web_address(cls, url: str) -> str:
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"{url!r} must begin with http:// or https://")
        return url.rstrip("/")


class VlmScorer:
    """Asks for each text whether the clip matches it, with ``frames`` frames as JPEGs, at temperature 0.

    An answer is kept under the hash of the whole question (model, words, pictures): a run that is repeated asks nothing
    twice, and another model or wording never finds an old answer.
    """

    name = "vlm"
    version = VERSION

    def __init__(self, settings: VlmSettings) -> None:
        self.vlm = settings
        self._answers: dict[str, float] | None = None

    @property
    def settings(self) -> Mapping[str, object]:
        """What decides an answer: not the address, nor where it is kept."""
        decisive = self.vlm.model_dump(exclude={"url", "timeout", "cache"})
        return {**decisive, "question": QUESTIONS[self.vlm.ask]}

    def begin(self, sample: Sample) -> "_VlmScores":
        """Begin with a clip."""
        return _VlmScores(self, name_of(sample))

    def answer(self, question: Mapping[str, Any], about: str) -> float:
        """The score 0..1 of a question (a request's body), kept or asked. ``about`` names clip and text in messages.

        Raises AnswerError: the server is not there, is too slow, refuses, or does not answer the question.
        """
        key = hashlib.sha256(json.dumps(question, sort_keys=True).encode()).hexdigest()
        known = self._known()
        if key not in known:
            known[key] = self._read(self._ask(question, about), about)
            if self.vlm.cache is not None:
                append_jsonl(self.vlm.cache, {"question": key, "about": about, "score": known[key]})
        return known[key]

    def _known(self) -> dict[str, float]:
        if self._answers is None:
            self._answers = {}
            if self.vlm.cache is not None:
                rows = read_jsonl(self.vlm.cache)
                self.vlm.cache.parent.mkdir(parents=True, exist_ok=True)
                if self.vlm.cache.is_file() and not self.vlm.cache.read_bytes().endswith(b"\n"):
                    rewrite_jsonl(self.vlm.cache, rows)  # the last line of a killed run; else others may be appending
                self._answers = {str(row["question"]): float(str(row["score"])) for row in rows}
        return self._answers

    def _ask(self, question: Mapping[str, Any], about: str) -> Any:  # noqa: ANN401 - the server's JSON
        headers = {"Content-Type": "application/json"}
        if os.environ.get(KEY):
            headers["Authorization"] = f"Bearer {os.environ[KEY]}"
        address = f"{self.vlm.url}/chat/completions"
        request = urllib.request.Request(address, json.dumps(question).encode(), headers)  # noqa: S310 - http(s) only
        try:
            with urllib.request.urlopen(request, timeout=self.vlm.timeout) as response:  # noqa: S310
                return json.load(response)
        except urllib.error.HTTPError as error:
            reason = f"HTTP {error.code}: {error.read(300).decode(errors='replace')}"
        except (OSError, ValueError) as error:  # no connection, too slow, no JSON
            reason = str(error) or type(error).__name__
        raise AnswerError(f"{about}: {address} did not answer ({reason}); see that the server runs, then run again")

    def _read(self, answer: Any, about: str) -> float:  # noqa: ANN401 - the server's JSON
        try:
            choice = answer["choices"][0]
            if self.vlm.ask == "yes_no":
                return yes_probability(choice["logprobs"]["content"][0]["top_logprobs"])
            return rating(choice["message"]["content"])
        except (KeyError, IndexError, TypeError, ValueError) as error:
            hint = "ask='score' needs no log probabilities" if self.vlm.ask == "yes_no" else "try another model"
            found = json.dumps(answer)[:300]
            raise AnswerError(
                f"{about}: {self.vlm.model} gave no usable answer ({error!r}; {hint}): {found}"
            ) from error


class _VlmScores:
    """Keeps each frame as a JPEG of the size that the server gets."""

    def __init__(self, scorer: VlmScorer, clip: str) -> None:
        self.scorer, self.clip = scorer, clip
        self._jpegs: list[bytes] = []

    def see(self, frame: Frame) -> None:
        self._jpegs.append(as_jpeg(frame.rgb, self.scorer.vlm.side, self.scorer.vlm.quality))

    def scores(self, texts: Sequence[str]) -> list[float]:
        """Scores 0..1. Raises MediaError for a clip without frames, AnswerError."""
        if not self._jpegs:
            raise MediaError(f"{self.clip}: no frames; generate it again")
        return [self.scorer.answer(self._question(text), f"{self.clip}, text {text!r}") for text in texts]

    def _question(self, text: str) -> dict[str, Any]:
        settings = self.scorer.vlm
        chosen = [self._jpegs[index] for index in spread(len(self._jpegs), settings.frames)]
        content: list[dict[str, Any]] = [
            {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"}}
            for jpeg in chosen
        ]
        words = QUESTIONS[settings.ask].format(frames=len(chosen), text=text)
        content.append({"type": "text", "text": words})
        question: dict[str, Any] = {
            "model": settings.model,
            "messages": [{"role": "user", "content": content}],
            "temperature": 0,
            "max_tokens": 1 if settings.ask == "yes_no" else 8,
        }
        if settings.ask == "yes_no":
            question |= {"logprobs": True, "top_logprobs": 20}
        return question


def as_jpeg(rgb: Frames, side: int, quality: int) -> bytes:
    """A frame uint8 ``[H,W,3]`` as a JPEG whose longer side is at most ``side`` pixels (area averages)."""
    scale = min(1.0, side / max(rgb.shape[:2]))
    height, width = (max(1, round(length * scale)) for length in rgb.shape[:2])
    small = rgb if scale == 1 else cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA)
    _, jpeg = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    return bytes(jpeg)


def yes_probability(tokens: Sequence[Mapping[str, Any]]) -> float:
    """``P(yes) / (P(yes) + P(no))`` of the likeliest first tokens, spelling and spaces aside.

    Raises ValueError when neither is among them.
    """
    shares = {"yes": 0.0, "no": 0.0}
    for token in tokens:
        word = str(token["token"]).strip().lower()
        if word in shares:
            shares[word] += math.exp(float(token["logprob"]))
    if sum(shares.values()) == 0:
        raise ValueError("neither yes nor no among the likeliest tokens")
    return shares["yes"] / sum(shares.values())


def rating(text: str) -> float:
    """The one whole number 0..100 that a text is, over 100. Raises ValueError for any other text."""
    match = re.fullmatch(r"\s*(\d{1,3})\s*[.%]?\s*", text)
    if match is None or int(match[1]) > 100:
        raise ValueError(f"{text!r} is no number from 0 to 100")
    return int(match[1]) / 100
