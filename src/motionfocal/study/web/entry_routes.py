"""The ways in: an invitation, Mechanical Turk, Prolific; and the addresses that need no rater."""

import re
from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import StringConstraints
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from motionfocal.errors import RefusedError
from motionfocal.study.crowds import mturk
from motionfocal.study.fieldwork.outcome import has_ended
from motionfocal.study.fieldwork.people import hidden, join, redeem
from motionfocal.study.fieldwork.records import RaterRecord, StudyRecord
from motionfocal.study.web.context import Context
from motionfocal.study.web.guards import RateLimit
from motionfocal.study.web.pages import render
from motionfocal.study.web.shown import example_views
from motionfocal.study.web.tokens import RaterTokens
from motionfocal.study.web.views import PreviewView, ProblemView

_CODE = re.compile(r"[A-Za-z0-9_-]{1,40}")

Id = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
"""An id that a crowd's site gives."""


def entry_router(context: Context) -> APIRouter:
    """The landing page, ``/health`` and invitations; the ways of the crowds that the design names."""
    router, study = APIRouter(), context.study

    @router.get("/")
    def landing() -> HTMLResponse:
        text = "To take part, open the link that you were given: it is for you alone."
        return HTMLResponse(render(ProblemView(study.design.texts, text)))

    @router.get("/health")
    def health() -> JSONResponse:
        with context.database.read() as session:
            session.scalar(select(StudyRecord.plan))
        return JSONResponse({"status": "ok"})

    @router.get("/join/{code}")
    def invited(code: str) -> Response:
        with context.database.write() as session:
            rater = redeem(session, study, code if _CODE.fullmatch(code) else "", context.clock())
        return _page_of(context, rater)

    door = _CrowdDoor(context)
    if study.design.mturk:
        _add_mturk(router, context, door)
    if study.design.prolific:
        _add_prolific(router, door)
    return router


class _CrowdDoor:
    """Lets a crowd's workers in; whoever has been here before goes on where they were."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._arrivals = RateLimit(context.settings.entries_per_minute, context.clock)

    def arrive(self, request: Request, source: str, worker: str, ids: dict[str, str]) -> Response:
        context = self._context
        self._arrivals.take(request.client.host if request.client else "")
        key = hidden(context.study, worker)
        with context.database.write() as session:
            _require_unpaid(session, source, key, ids)
            rater = join(session, context.study, source=source, key=key, now=context.clock(), session_ids=ids)
        return _page_of(context, rater)


def _add_mturk(router: APIRouter, context: Context, door: _CrowdDoor) -> None:
    study = context.study

    @router.get("/mturk")
    def from_mturk(
        request: Request,
        assignment: Annotated[Id, Query(alias="assignmentId")] = mturk.NOT_ACCEPTED,
        hit: Annotated[Id, Query(alias="hitId")] = "-",
        worker: Annotated[Id, Query(alias="workerId")] = "",
        submit_to: Annotated[str, Query(alias="turkSubmitTo", max_length=200)] = "",
    ) -> Response:
        if assignment == mturk.NOT_ACCEPTED:
            view = PreviewView(study.design.texts, "/preview", study.design.asked, example_views(study))
            return HTMLResponse(render(view))
        mturk.submit_address(submit_to, sandbox=context.settings.sandbox)
        if not worker:
            raise HTTPException(400, "workerId is missing. Open the task on Mechanical Turk's site.")
        ids = {"assignmentId": assignment, "hitId": hit, "turkSubmitTo": submit_to}
        return door.arrive(request, "mturk", worker, ids)


def _add_prolific(router: APIRouter, door: _CrowdDoor) -> None:
    @router.get("/prolific")
    def from_prolific(
        request: Request,
        participant: Annotated[Id, Query(alias="PROLIFIC_PID")],
        study_id: Annotated[Id, Query(alias="STUDY_ID")],
        session_id: Annotated[Id, Query(alias="SESSION_ID")],
    ) -> Response:
        return door.arrive(request, "prolific", participant, {"STUDY_ID": study_id, "SESSION_ID": session_id})


def _page_of(context: Context, rater: RaterRecord) -> Response:
    return RedirectResponse(f"/r/{RaterTokens(context).of(rater.id)}", 303)


def _require_unpaid(session: Session, source: str, key: str, ids: dict[str, str]) -> None:
    """A worker's end belongs to the assignment in which it was reached: another one would be paid for nothing."""
    rater = session.scalar(select(RaterRecord).where(RaterRecord.source == source, RaterRecord.key == key))
    if rater is not None and has_ended(rater) and rater.session != ids:
        raise RefusedError(
            "You have taken part in this study already. Please return the task; it cannot be done twice."
        )
