"""What stands between the network and the routes: headers, the origin of posts, the size of bodies, and haste."""

import math
import threading
from collections.abc import Callable
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Path
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from motionfocal.study.crowds.mturk import FRAME_ANCESTORS, submit_hosts
from motionfocal.study.web.context import Context

_NOBODY = "'none'"
_MANY = 10_000
_ROUNDING = 1e-5  # of seconds since 1970, added up

Number = Annotated[int, Path(ge=0, lt=2**31)]
"""A number in an address, as far as databases count."""

Problem = Callable[[str, int, str], Response]
"""Makes the answer to a request of a path that is refused, from a status and a text."""


def security_headers(context: Context, path: str) -> dict[str, str]:
    """The headers of every answer to a request for ``path``."""
    settings, mturk = context.settings, context.study.design.mturk
    ancestors = [] if path.startswith("/admin") else [*settings.frame_ancestors, *(FRAME_ANCESTORS if mturk else ())]
    actions = ["'self'", *(submit_hosts(settings.sandbox) if mturk else ())]
    headers = {
        "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
        f" media-src 'self' blob:; connect-src 'self'; form-action {' '.join(actions)}; base-uri 'none';"
        f" frame-ancestors {' '.join(ancestors) or _NOBODY}",
        "X-Content-Type-Options": "nosniff",
        # Not "no-referrer": under it browsers send "Origin: null" with a form, and we could not tell our own.
        "Referrer-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Cache-Control": "no-store",
    }
    if settings.https:
        headers["Strict-Transport-Security"] = "max-age=31536000"
    return headers


class SecurityHeaders:
    """Adds ``security_headers`` to every answer; one that says how it may be cached keeps that."""

    def __init__(self, app: ASGIApp, context: Context) -> None:
        """Wrap ``app``."""
        self._app, self._context = app, context

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in security_headers(self._context, scope["path"]).items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, secured)


class SameOrigin:
    """Refuses what another site lets a browser post. Who sends neither header is no browser that holds a login."""

    def __init__(self, app: ASGIApp, public_url: str, problem: Problem) -> None:
        """Wrap ``app``, which stands at ``public_url`` ("" where it is not known)."""
        self._app, self._problem = app, problem
        self._hosts = {urlsplit(public_url).netloc} - {""}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http" and scope["method"] not in ("GET", "HEAD") and not self._ours(Headers(scope=scope)):
            text = "This was sent from another site, and has not been stored. Open the link that you were given."
            await self._problem(scope["path"], 403, text)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _ours(self, headers: Headers) -> bool:
        site, origin = headers.get("sec-fetch-site"), headers.get("origin")
        if site is not None:
            return site in ("same-origin", "none")  # none: the rater did it, not a page
        # Browsers leave Sec-Fetch-Site out where there is no HTTPS, as in many a lab.
        return origin is None or origin.partition("://")[2] in self._hosts | {headers.get("host", "")} - {""}


class BodyLimit:
    """Refuses a body of more than ``limit`` bytes (413) before more than that was read, whatever length it declares."""

    def __init__(self, app: ASGIApp, limit: int, problem: Problem) -> None:
        """Wrap ``app``."""
        self._app, self._limit, self._problem = app, limit, problem

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = Headers(scope=scope).get("content-length", "0")
        fits = declared.isdecimal() and int(declared) <= self._limit
        body, more = b"", fits
        while more and fits:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more, fits = message.get("more_body", False), len(body) <= self._limit
        if fits:
            await self._app(scope, _replay(body, receive), send)
            return
        response = self._problem(scope["path"], 413, f"More was sent than the study takes ({self._limit} bytes).")
        response.headers["connection"] = "close"  # the rest is not worth reading
        await response(scope, receive, send)


def _replay(body: bytes, receive: Receive) -> Receive:
    """``receive`` once more from the start of a body that has been read."""
    unread = [body]

    async def replayed() -> Message:
        if unread:
            return {"type": "http.request", "body": unread.pop(), "more_body": False}
        return await receive()

    return replayed


class RateLimit:
    """A token bucket for each key: so many a minute, and as many at once. It lives in the memory of this process."""

    def __init__(self, per_minute: int, clock: Callable[[], float]) -> None:
        """Start with all buckets full; ``clock`` gives seconds."""
        self._cost, self._clock = 60 / per_minute, clock
        self._full_again: dict[str, float] = {}  # when a bucket will be; an empty one in a minute
        self._lock = threading.Lock()

    def take(self, key: str) -> None:
        """Count one. Raises HTTPException (429) when it is one too many; it says how many seconds to wait."""
        with self._lock:
            now = self._clock()
            if len(self._full_again) > _MANY:
                self._full_again = {name: full for name, full in self._full_again.items() if full > now}
            full = max(self._full_again.get(key, now), now) + self._cost
            wait = math.ceil(full - 60 - now - _ROUNDING)
            if wait <= 0:
                self._full_again[key] = full
                return
        text = f"That was too fast. Nothing is lost; wait {wait} s and try again."
        raise HTTPException(429, text, {"Retry-After": str(wait)})
