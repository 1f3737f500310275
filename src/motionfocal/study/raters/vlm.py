"""A vision-language model as a rater: it is shown what people are shown, as far as pictures can, and asked the same.

Good for telling distant models apart, not 55 from 45 per cent. It has a habit of side: have it judge both orders.
"""

import re
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from motionfocal.errors import ConfigError
from motionfocal.metrics.chat import Chat, KeptChat, Prompt, Reply, as_jpeg
from motionfocal.metrics.scorers import spread
from motionfocal.settings import Settings
from motionfocal.study.protocol import Comparison, Judgement, Preference
from motionfocal.study.questions import Question
from motionfocal.video import read_clip, read_image

VERSION = 1
"""Raise it with the words below; it is part of the rater's name."""

_PICTURE = "Two videos were made from one picture and one text. This is the picture, with which both should begin:"
_TEXT = "The text, which says what should happen: {text!r}."
_CLIP = "These are {frames} frames of video {name}, evenly spread, in order, the first and the last among them:"
_REASONS = "{why} Reasons, each by its name:\n{reasons}"
_ANSWER = 'Answer with one JSON object and nothing else: {{"better": {better}{reasons}}}.'
_TIE = ' If there is no difference, better is "tie"{without}.'

_MAX_TOKENS = 512
_SIDES: dict[str, Preference] = {"A": "left", "B": "right", "tie": "tie"}
_FENCE = re.compile(r"\s*```(?:json)?\s*(\{.*\})\s*```\s*", re.DOTALL)


class VlmRaterSettings(Settings):
    """How a clip is shown: ``frames`` of it, as JPEGs with a longer side of at most ``side`` pixels.

    ``cache`` is a JSONL file of answers by the hash of the whole question.
    """

    frames: int = Field(default=8, ge=8)
    side: int = Field(default=512, ge=64)
    cache: Path | None = None


class VlmRater:
    """Asks a model one question of the study about two clips, with the question's reasons, at temperature 0.

    It sees the picture and the text that both clips were made from, and frames of both; the left one is called A. What
    is no answer to the question is an error, never a guess.
    """

    def __init__(
        self, chat: Chat, question: Question, *, ties: bool = False, settings: VlmRaterSettings | None = None
    ) -> None:
        """``chat`` is a server (``HttpChat``) or a model here (``TransformersChat``); ``ties`` as the study has it."""
        self.settings = settings or VlmRaterSettings()
        self.question = question
        self.ties = ties
        self.name = f"vlm:{chat.model} (prompt {VERSION}, {self.settings.frames} frames of {self.settings.side} px)"
        self._chat = KeptChat(chat, self.settings.cache)

    def judge(self, comparison: Comparison) -> Judgement:
        """Ask about a comparison, or find the kept answer.

        Raises:
            MediaError: a clip or the picture cannot be read.
            AnswerError: there is no answer that can be used; the text names the clips, the text and the server.
            ConfigError: the comparison has no picture.
        """
        about = f"{comparison.item} of {comparison.left_model} (A) and {comparison.right_model} (B)"
        said = self._chat.ask(self._prompt(comparison), f"{about}, text {comparison.text!r}", self._read)
        preference = _SIDES[said.better]
        return comparison.judged(self.name, preference, said.reasons, kind="model", question=self.question.id)

    def _prompt(self, comparison: Comparison) -> Prompt:
        if comparison.picture is None:
            raise ConfigError(f"comparison {comparison.id}: has no picture, and a model must be shown it")
        content: list[str | bytes] = [_PICTURE, as_jpeg(read_image(comparison.picture), self.settings.side)]
        content.append(_TEXT.format(text=comparison.text))
        for name, path in (("A", comparison.left), ("B", comparison.right)):
            jpegs = self._jpegs(path)
            content += [_CLIP.format(frames=len(jpegs), name=name), *jpegs]
        return Prompt((*content, self._words()), _MAX_TOKENS, schema=self._schema())

    def _jpegs(self, path: Path) -> list[bytes]:
        frames = read_clip(path).frames
        return [as_jpeg(frames[index], self.settings.side) for index in spread(len(frames), self.settings.frames)]

    def _words(self) -> str:
        """The question, its reasons, and the form of the answer."""
        asked = self.question
        lines = [asked.text]
        if asked.reasons:
            named = "\n".join(f"- {reason.id}: {reason.help or reason.text}" for reason in asked.reasons)
            lines.append(_REASONS.format(why=asked.why, reasons=named))
        reasons = ', "reasons": [names of all that apply]' if asked.reasons else ""
        lines.append(_ANSWER.format(better='"A" or "B"', reasons=reasons))
        if self.ties:
            lines[-1] += _TIE.format(without=" and reasons are empty" if asked.reasons else "")
        return "\n".join(lines)

    def _schema(self) -> dict[str, object]:
        """The answer as a JSON schema, as far as servers can hold a model to it."""
        properties: dict[str, object] = {"better": {"type": "string", "enum": ["A", "B", *["tie"] * self.ties]}}
        if self.question.reasons:
            named = {"type": "string", "enum": [reason.id for reason in self.question.reasons]}
            properties["reasons"] = {"type": "array", "items": named}
        return {
            "type": "object",
            "properties": properties,
            "required": list(properties),
            "additionalProperties": False,
        }

    def _read(self, reply: Reply) -> "_Said":
        """The answer. Raises ValueError, saying why, for anything that a person could not have answered."""
        fenced = _FENCE.fullmatch(reply.text)
        try:
            said = _Said.model_validate_json(fenced[1] if fenced else reply.text)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise ValueError(f"{'.'.join(map(str, first['loc'])) or 'the whole'}: {first['msg']}") from error
        if said.better == "tie" and not self.ties:
            raise ValueError("a tie, which is not offered")
        _check_reasons(said, self.question)
        return said


class _Said(BaseModel):
    """A model's answer."""

    model_config = ConfigDict(extra="forbid")

    better: Literal["A", "B", "tie"]
    reasons: tuple[str, ...] = ()


def _check_reasons(said: _Said, question: Question) -> None:
    """Raises ValueError for reasons that the question does not have, given twice, with a tie, or missing."""
    known = [reason.id for reason in question.reasons]
    unknown = [reason for reason in said.reasons if reason not in known]
    if unknown:
        raise ValueError(f"reasons: {', '.join(unknown)} unknown; known: {', '.join(known) or 'none'}")
    if len(set(said.reasons)) < len(said.reasons):
        raise ValueError("reasons: each counts once")
    if said.better == "tie" and said.reasons:
        raise ValueError("reasons: a tie has none")
    if said.better != "tie" and known and question.reasons_required and not said.reasons:
        raise ValueError("reasons: none given, at least one must be")
