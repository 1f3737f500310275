"""What is answered when something cannot be done: a page for people, JSON for the page's script."""

from collections.abc import Mapping
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, JSONResponse, Response

from motionfocal.errors import RefusedError
from motionfocal.study.web.context import Context
from motionfocal.study.web.guards import security_headers
from motionfocal.study.web.pages import render
from motionfocal.study.web.views import ProblemView

_READ_BY_SCRIPT = ("votes", "events")
_TEXTS = {
    404: "There is nothing at this address. Open the link that you were given once more.",
    405: "This address cannot be used in this way. Open the link that you were given once more.",
    500: "The study's server made a mistake. Your answers so far are safe; please try again in a minute.",
}


def problem(
    context: Context, path: str, status: int, message: str, headers: Mapping[str, str] | None = None
) -> Response:
    """An answer with this status that tells what is wrong, in the form that whoever asks for ``path`` reads."""
    if path.rsplit("/", 1)[-1] in _READ_BY_SCRIPT:
        return JSONResponse({"error": message}, status, headers)
    return HTMLResponse(render(ProblemView(context.study.design.texts, message)), status, headers)


def answer_problems(app: FastAPI, context: Context) -> None:
    """Let every error of ``app`` end in ``problem``."""

    @app.exception_handler(RefusedError)
    def refused(request: Request, error: RefusedError) -> Response:
        return problem(context, request.url.path, error.status, str(error))

    @app.exception_handler(HTTPException)
    def plain(request: Request, error: HTTPException) -> Response:
        is_plain = error.detail == HTTPStatus(error.status_code).phrase
        text = _TEXTS.get(error.status_code, error.detail) if is_plain else error.detail
        return problem(context, request.url.path, error.status_code, text, error.headers)

    @app.exception_handler(RequestValidationError)
    def malformed(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        if first["loc"][0] == "path":
            return problem(context, request.url.path, 404, _TEXTS[404])
        place = ".".join(str(part) for part in first["loc"][1:])
        return problem(context, request.url.path, 422, f"{place or 'body'}: {first['msg']}")

    @app.exception_handler(Exception)
    def mistake(request: Request, _error: Exception) -> Response:
        # Starlette answers this one outside of all middleware, and then raises the error for the log.
        headers = security_headers(context, request.url.path)
        return problem(context, request.url.path, 500, _TEXTS[500], headers)
