"""The web application of a study: its routes, and what guards them."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from fastapi import APIRouter, FastAPI
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse

from motionfocal.study.fieldwork.database import Database
from motionfocal.study.plan import Study
from motionfocal.study.web.admin_routes import admin_router
from motionfocal.study.web.context import Context, ServerSettings
from motionfocal.study.web.entry_routes import entry_router
from motionfocal.study.web.guards import BodyLimit, SameOrigin, SecurityHeaders
from motionfocal.study.web.media_routes import media_router
from motionfocal.study.web.problems import answer_problems, problem
from motionfocal.study.web.rater_routes import rater_router

_STATIC = Path(__file__).with_name("static")
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


def create_app(
    study: Study, database: Database, *, settings: ServerSettings, clock: Callable[[], float] = time.time
) -> FastAPI:
    """The application that serves ``study``, with what raters do in ``database``.

    ``clock`` gives seconds since 1970. Behind a proxy, uvicorn must be told to believe its headers.

    Raises:
        StudyError: the database belongs to another study.
    """
    database.belong_to(study.plan.fingerprint())
    context = Context(study, database, settings, clock)
    # No pages that describe the interface, and no redirects to an address made of the Host header.
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    routers = entry_router, rater_router, media_router, admin_router
    for router in (*(make(context) for make in routers), _static_router()):
        app.include_router(router)
    answer_problems(app, context)
    refusal = partial(problem, context)
    app.add_middleware(BodyLimit, limit=settings.body_limit, problem=refusal)
    app.add_middleware(SameOrigin, public_url=settings.public_url, problem=refusal)
    app.add_middleware(SecurityHeaders, context=context)  # the last one added is the outermost
    return app


def _static_router() -> APIRouter:
    """The scripts and styles that are there when the server starts, and no other file."""
    router = APIRouter()
    files = {path.name: path for path in _STATIC.iterdir() if path.suffix in _TYPES}

    @router.get("/static/{name}")
    def static(name: str) -> FileResponse:
        if name not in files:
            raise HTTPException(404)
        kind = _TYPES[files[name].suffix]
        return FileResponse(files[name], media_type=kind, headers={"Cache-Control": "public, max-age=300"})

    return router
