"""What a rater does: read, agree, begin, vote. All of it stands under the rater's own address, ``/r/{token}``."""

from typing import Annotated

from fastapi import APIRouter, Form
from sqlalchemy.orm import Session
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from motionfocal.errors import RefusedError
from motionfocal.study.fieldwork.people import consent, understood
from motionfocal.study.fieldwork.recording import Receipt, note_events, record
from motionfocal.study.fieldwork.records import RaterRecord
from motionfocal.study.web.ballots import Events, VoteBody
from motionfocal.study.web.context import Context
from motionfocal.study.web.guards import RateLimit
from motionfocal.study.web.pages import render
from motionfocal.study.web.shown import view_of
from motionfocal.study.web.tokens import RaterTokens


def rater_router(context: Context) -> APIRouter:
    """The routes of one rater. Each is answered after its transaction has been committed."""
    router, tokens, study, now = APIRouter(prefix="/r/{token}"), RaterTokens(context), context.study, context.clock
    votes = RateLimit(context.settings.votes_per_minute, now)
    reports = RateLimit(context.settings.events_per_minute, now)

    @router.get("")
    def page(token: str) -> HTMLResponse:
        rater = tokens.rater(token)
        with context.database.write() as session:
            view = view_of(context, session, _load(session, rater), f"/r/{token}")
        return HTMLResponse(render(view))

    @router.post("/consent")
    def agree(token: str, version: Annotated[str, Form(max_length=100)]) -> Response:
        rater = tokens.rater(token)
        with context.database.write() as session:
            consent(session, study, _load(session, rater), version, now())
        return RedirectResponse(f"/r/{token}", 303)

    @router.post("/understood")
    def begin(token: str) -> Response:
        rater = tokens.rater(token)
        with context.database.write() as session:
            understood(session, study, _load(session, rater), now())
        return RedirectResponse(f"/r/{token}", 303)

    @router.post("/votes")
    def vote(token: str, body: VoteBody) -> JSONResponse:
        rater = tokens.rater(token)
        votes.take(str(rater))
        with context.database.write() as session:
            receipt = record(session, study, _load(session, rater), body.ballot(), now())
        return JSONResponse({"status": "recorded", "feedback": _feedback(receipt), "next": f"/r/{token}"})

    @router.post("/events", status_code=204)
    def report(token: str, body: Events) -> Response:
        rater = tokens.rater(token)
        reports.take(str(rater))
        with context.database.write() as session:
            told = ((event.kind, event.impression, event.what) for event in body)
            note_events(session, _load(session, rater), told, now())
        return Response(status_code=204)

    return router


def _load(session: Session, rater: int) -> RaterRecord:
    found = session.get(RaterRecord, rater)
    if found is None:
        raise RefusedError(
            "This address is of a rater whom this study does not know. Open the link that you were given."
        )
    return found


def _feedback(receipt: Receipt) -> dict[str, object] | None:
    """In training, and only there, a rater is told whether the answer was right."""
    return {"right": receipt.passed, "why": receipt.why} if receipt.kind == "training" else None
