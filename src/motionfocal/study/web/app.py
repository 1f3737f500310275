"""The web application of a study: its routes, and what guards them."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

from anyio import to_thread
from fastapi import APIRouter, FastAPI
from starlette.exceptions import HTTPException
from starlette.responses import Response

from motionfocal.study.fieldwork.database import Database
from motionfocal.study.plan import Study
from motionfocal.study.web.admin_routes import admin_router
from motionfocal.study.web.context import Context, ServerSettings
from motionfocal.study.web.entry_routes import entry_router
from motionfocal.study.web.guards import BodyLimit, SameOrigin, SecurityHeaders
from motionfocal.study.web.media_routes import media_router
from motionfocal.study.web.pages import STATIC, static_text
from motionfocal.study.web.problems import answer_problems, problem
from motionfocal.study.web.rater_routes import rater_router

_THREADS = 6


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
    app = FastAPI(lifespan=_few_threads, docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    routers = entry_router, rater_router, media_router, admin_router
    for router in (*(make(context) for make in routers), _static_router()):
        app.include_router(router)
    answer_problems(app, context)
    refusal = partial(problem, context)
    app.add_middleware(BodyLimit, limit=settings.body_limit, problem=refusal)
    app.add_middleware(SameOrigin, public_url=settings.public_url, problem=refusal)
    app.add_middleware(SecurityHeaders, context=context)  # the last one added is the outermost
    return app


@asynccontextmanager
async def _few_threads(_app: FastAPI) -> AsyncIterator[None]:
    """Votes wait for one another anyway; more threads would only take turns, and each turn costs."""
    to_thread.current_default_thread_limiter().total_tokens = _THREADS
    yield


def _static_router() -> APIRouter:
    """What the pages ask for, as it is when the server starts, and no other file."""
    router = APIRouter()
    texts = {name: static_text(name) for name in STATIC}

    @router.get("/static/{name}")
    def static(name: str) -> Response:
        if name not in texts:
            raise HTTPException(404)
        return Response(texts[name], media_type=STATIC[name], headers={"Cache-Control": "public, max-age=300"})

    return router
