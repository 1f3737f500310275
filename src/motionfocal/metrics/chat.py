"""Questions with pictures to a vision-language model, in one form for servers and for networks on this machine."""

import base64
import hashlib
import http.client
import json
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Protocol, TypeVar

import cv2
from pydantic import BaseModel, Field, ValidationError, field_validator

from motionfocal.errors import AnswerError, DamagedFileError
from motionfocal.jsonl import append_jsonl, read_jsonl, rewrite_jsonl
from motionfocal.settings import Settings
from motionfocal.video import Frames

KEY = "MOTIONFOCAL_VLM_KEY"
"""The environment variable of the server's key, if it wants one. The key is never written anywhere."""

JPEG_QUALITY = 90

Read = TypeVar("Read")

_REFUSALS = (400, 422, 501)
"""What servers answer that do not know ``response_format``."""


@dataclass(frozen=True)
class Prompt:
    """A question: words and pictures (the bytes of JPEGs) in the order in which they are read, at temperature 0.

    ``top_logprobs`` asks for so many of the likeliest tokens at each place; ``schema`` is the answer's JSON schema.
    """

    content: tuple[str | bytes, ...]
    max_tokens: int
    top_logprobs: int = 0
    schema: Mapping[str, object] | None = None

    def body(self, model: str) -> dict[str, object]:
        """The body of a request for chat completions."""
        body: dict[str, object] = {
            "model": model,
            "messages": [{"role": "user", "content": [_part(part) for part in self.content]}],
            "temperature": 0,
            "max_tokens": self.max_tokens,
        }
        if self.top_logprobs:
            body |= {"logprobs": True, "top_logprobs": self.top_logprobs}
        if self.schema is not None:
            form = {"name": "answer", "strict": True, "schema": self.schema}
            body["response_format"] = {"type": "json_schema", "json_schema": form}
        return body

    def key(self, model: str) -> str:
        """SHA-256 of the whole question to this model: words, pictures, and what is asked for."""
        return hashlib.sha256(json.dumps(self.body(model), sort_keys=True).encode()).hexdigest()


def _part(part: str | bytes) -> dict[str, object]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    return {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{base64.b64encode(part).decode()}"}}


class Token(BaseModel):
    """A token that could have stood at a place, and the natural logarithm of its probability."""

    token: str
    logprob: float


class Reply(BaseModel):
    """What a model said, and the likeliest first tokens where they were asked for and given."""

    text: str
    first: list[Token] = []


class Chat(Protocol):
    """Asks one model."""

    @property
    def model(self) -> str:
        """The model's name, part of every question's key."""
        ...

    @property
    def where(self) -> str:
        """How messages call the model and the place where it runs."""
        ...

    def ask(self, prompt: Prompt, about: str) -> Reply:
        """The answer. ``about`` names clip and text in messages. Raises AnswerError when there is none."""
        ...


class ChatSettings(Settings):
    """A server. ``url`` is its base, such as ``http://127.0.0.1:8000/v1``; ``timeout`` is in seconds."""

    url: str
    model: str
    timeout: float = Field(default=120.0, gt=0)

    @field_validator("url")
    @classmethod
    def _is_web_address(cls, url: str) -> str:
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"{url!r} must begin with http:// or https://")
        return url.rstrip("/")


class HttpChat:
    """Asks an OpenAI-compatible server (vLLM, SGLang, LMDeploy).

    A server that refuses a question with a schema is asked without one, from then on always: whoever reads the answer
    must be strict in any case.
    """

    def __init__(self, settings: ChatSettings) -> None:
        self.settings = settings
        self._takes_schemas = True

    @property
    def model(self) -> str:
        """See ``Chat``."""
        return self.settings.model

    @property
    def where(self) -> str:
        """See ``Chat``."""
        return f"{self.model} at {self._address}"

    @property
    def _address(self) -> str:
        return f"{self.settings.url}/chat/completions"

    def ask(self, prompt: Prompt, about: str) -> Reply:
        """See ``Chat``. Raises AnswerError: the server is not there, is too slow, refuses, or answers something odd."""
        if prompt.schema is None or not self._takes_schemas:
            return self._send(replace(prompt, schema=None), about)
        try:
            return self._send(prompt, about)
        except _RefusalError:
            reply = self._send(replace(prompt, schema=None), about)
        self._takes_schemas = False  # only now is it known that the schema was what it refused
        return reply

    def _send(self, prompt: Prompt, about: str) -> Reply:
        headers = {"Content-Type": "application/json"}
        if os.environ.get(KEY):
            headers["Authorization"] = f"Bearer {os.environ[KEY]}"
        body = json.dumps(prompt.body(self.model)).encode()
        request = urllib.request.Request(self._address, body, headers)  # noqa: S310 - http(s) only
        kind = AnswerError
        try:
            with urllib.request.urlopen(request, timeout=self.settings.timeout) as response:  # noqa: S310
                return self._read(json.load(response), about)
        except urllib.error.HTTPError as error:
            kind = _RefusalError if error.code in _REFUSALS else AnswerError
            reason = f"HTTP {error.code}: {error.read(300).decode(errors='replace')}"
        except (OSError, http.client.HTTPException, ValueError) as error:  # no connection, too slow, cut off, no JSON
            reason = str(error) or type(error).__name__
        raise kind(f"{about}: {self._address} did not answer ({reason}); see that the server runs, then run again")

    def _read(self, answer: object, about: str) -> Reply:
        try:
            choice = _Completion.model_validate(answer).choices[0]
        except ValidationError as error:
            raise _unusable(self, about, json.dumps(answer), "no chat completion") from error
        first = choice.logprobs.content[0].top_logprobs if choice.logprobs and choice.logprobs.content else []
        return Reply(text=choice.message.content or "", first=first)


class _RefusalError(AnswerError):
    """The server does not take the question as it is."""


class _Message(BaseModel):
    content: str | None = None


class _Place(BaseModel):
    top_logprobs: list[Token] = []


class _Logprobs(BaseModel):
    content: list[_Place] | None = None


class _Choice(BaseModel):
    message: _Message = _Message()
    logprobs: _Logprobs | None = None


class _Completion(BaseModel):
    """As much of a server's answer as is read."""

    choices: list[_Choice] = Field(min_length=1)


def _unusable(chat: Chat, about: str, found: str, reason: str) -> AnswerError:
    return AnswerError(f"{about}: {chat.where} gave no usable answer ({reason}): {found[:300]}")


class KeptChat:
    """A chat that asks nothing twice: usable replies are kept by the key of their question, in JSONL at ``path``."""

    def __init__(self, chat: Chat, path: Path | None) -> None:
        """The file is read at the first question; without one, replies are kept as long as this object."""
        self.chat = chat
        self._path = path

    def ask(self, prompt: Prompt, about: str, read: Callable[[Reply], Read]) -> Read:
        """What ``read`` makes of the reply, which is on disk then. ``about`` names clip and text in messages.

        Raises AnswerError: there is no reply, or ``read`` raises a ValueError, which says why it cannot be used;
        DamagedFileError: the file is of another form.
        """
        key = prompt.key(self.chat.model)
        reply = self._known.get(key) or self.chat.ask(prompt, about)
        try:
            found = read(reply)
        except ValueError as error:
            raise _unusable(self.chat, about, reply.text, str(error)) from error
        if key not in self._known:
            self._known[key] = reply
            if self._path is not None:
                append_jsonl(self._path, {"question": key, "about": about, "reply": reply.model_dump()})
        return found

    @cached_property
    def _known(self) -> dict[str, Reply]:
        if self._path is None:
            return {}
        rows = read_jsonl(self._path)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if self._path.is_file() and not self._path.read_bytes().endswith(b"\n"):
            rewrite_jsonl(self._path, rows)  # the last line of a killed run; else others may be appending
        try:
            kept = [_Kept.model_validate(row) for row in rows]
        except ValidationError as error:
            place = error.errors()[0]["loc"]
            raise DamagedFileError(f"{self._path}: a row without {place[0]}; delete it, it is asked anew") from error
        return {row.question: row.reply for row in kept}


class _Kept(BaseModel):
    """A row of the file of replies."""

    question: str
    reply: Reply


def as_jpeg(rgb: Frames, side: int, quality: int = JPEG_QUALITY) -> bytes:
    """A frame uint8 ``[H,W,3]`` as a JPEG whose longer side is at most ``side`` pixels (area averages)."""
    scale = min(1.0, side / max(rgb.shape[:2]))
    height, width = (max(1, round(length * scale)) for length in rgb.shape[:2])
    small = rgb if scale == 1 else cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA)
    _, jpeg = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    return bytes(jpeg)
