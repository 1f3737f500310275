"""A vision-language model behind an OpenAI-compatible server as a scorer of clips and texts.

Good for telling distant models apart, not 55 from 45 per cent: people agree with each other on two thirds of such
questions. Hold its scores against still clips and shuffled texts, as the report does.
"""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from motionfocal.errors import MediaError
from motionfocal.metrics.chat import JPEG_QUALITY, ChatSettings, HttpChat, KeptChat, Prompt, Reply, Token, as_jpeg
from motionfocal.metrics.frame import Frame
from motionfocal.metrics.metric import Sample
from motionfocal.metrics.scorers import name_of, spread

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


class VlmSettings(ChatSettings):
    """The server and what it is asked.

    ``ask`` is ``yes_no`` (the probability of yes, from the first token's log probabilities) or ``score`` (a number
    0..100, over 100). ``side`` is the longer side of the frames in pixels. ``cache`` is a JSONL file of answers.
    """

    ask: Literal["yes_no", "score"] = "yes_no"
    frames: int = Field(default=8, ge=2)
    side: int = Field(default=512, ge=64)
    quality: int = Field(default=JPEG_QUALITY, ge=1, le=100)
    cache: Path | None = None


class VlmScorer:
    """Asks for each text whether the clip matches it, with ``frames`` frames as JPEGs, at temperature 0.

    An answer is kept under the hash of the whole question (model, words, pictures): a run that is repeated asks nothing
    twice, and another model or wording never finds an old answer.
    """

    name = "vlm"
    version = VERSION
    uses_network = False  # the server does

    def __init__(self, settings: VlmSettings) -> None:
        self.vlm = settings
        self._chat = KeptChat(HttpChat(settings), settings.cache)

    @property
    def settings(self) -> Mapping[str, object]:
        """What decides an answer: not the address, nor where it is kept."""
        decisive = self.vlm.model_dump(exclude={"url", "timeout", "cache"})
        return {**decisive, "question": QUESTIONS[self.vlm.ask]}

    def begin(self, sample: Sample) -> "_VlmScores":
        """Begin with a clip."""
        return _VlmScores(self, name_of(sample))

    def answer(self, prompt: Prompt, about: str) -> float:
        """The score 0..1 that answers a question, kept or asked. ``about`` names clip and text in messages.

        Raises AnswerError: the server is not there, is too slow, refuses, or does not answer the question.
        """
        return self._chat.ask(prompt, about, self._read)

    def _read(self, reply: Reply) -> float:
        if self.vlm.ask == "score":
            return rating(reply.text)
        if not reply.first:
            raise ValueError("the server gave no log probabilities; set ask='score', which needs none")
        return yes_probability(reply.first)


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

    def _question(self, text: str) -> Prompt:
        settings = self.scorer.vlm
        chosen = [self._jpegs[index] for index in spread(len(self._jpegs), settings.frames)]
        words = QUESTIONS[settings.ask].format(frames=len(chosen), text=text)
        if settings.ask == "yes_no":
            return Prompt((*chosen, words), max_tokens=1, top_logprobs=20)
        return Prompt((*chosen, words), max_tokens=8)


def yes_probability(tokens: Sequence[Token]) -> float:
    """``P(yes) / (P(yes) + P(no))`` of the likeliest first tokens, spelling and spaces aside.

    Raises ValueError when neither is among them.
    """
    shares = {"yes": 0.0, "no": 0.0}
    for token in tokens:
        word = token.token.strip().lower()
        if word in shares:
            shares[word] += math.exp(token.logprob)
    if sum(shares.values()) == 0:
        raise ValueError("neither yes nor no among the likeliest tokens")
    return shares["yes"] / sum(shares.values())


def rating(text: str) -> float:
    """The one whole number 0..100 that a text is, over 100. Raises ValueError for any other text."""
    match = re.fullmatch(r"\s*(\d{1,3})\s*[.%]?\s*", text)
    if match is None or int(match[1]) > 100:
        raise ValueError(f"{text!r} is no number from 0 to 100")
    return int(match[1]) / 100
