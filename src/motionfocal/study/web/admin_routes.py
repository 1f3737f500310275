"""The admin pages: what goes on in a study, exclusion, invitations. Whatever is done here is written down."""

import logging
from collections.abc import Mapping
from typing import Annotated, Literal

import numpy as np
from fastapi import APIRouter, Depends, Form, Request
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, RedirectResponse, Response

from motionfocal.errors import RefusedError, StudyError
from motionfocal.study.fieldwork.exclusion import exclude, include
from motionfocal.study.fieldwork.monitor import overview
from motionfocal.study.fieldwork.people import close_invitation, invite
from motionfocal.study.fieldwork.records import EventRecord, InvitationRecord, RaterRecord
from motionfocal.study.fieldwork.sheet import rater_sheet
from motionfocal.study.web.admin_auth import COOKIE, SESSION_SECONDS, AdminSession, Doorkeeper
from motionfocal.study.web.admin_export import Table, csv_of
from motionfocal.study.web.admin_views import (
    InvitationRow,
    InvitationsView,
    LoginView,
    OverviewView,
    RaterView,
    SortKey,
    render_admin,
    style_sheet,
)
from motionfocal.study.web.ballots import Text
from motionfocal.study.web.context import Context
from motionfocal.study.web.guards import Number

_LOG = logging.getLogger(__name__)
_BY = "admin"
_REFRESH = 30
_MOST = 500
_DAY = 86_400


def admin_router(context: Context) -> APIRouter:
    """The routes under /admin; none, and a hint in the log, when the study has no admin password."""
    router = APIRouter(prefix="/admin")
    if not context.study.secrets.admin:
        _LOG.warning("no admin pages: the study has no admin password; set one, and start the server again")
        return router
    gate = _Gate(Doorkeeper(context))
    _add_doors(router, context, gate)
    _add_overview(router, context, gate)
    _add_raters(router, context, gate)
    _add_invitations(router, context, gate)
    return router


class _Gate:
    """What requests must bring: a session, and to change something a form of that session as well."""

    def __init__(self, doorkeeper: Doorkeeper) -> None:
        self.doorkeeper = doorkeeper

    def seen(self, request: Request) -> AdminSession:
        """The session of whoever reads; others are sent to the login."""
        found = self.doorkeeper.known(request.cookies.get(COOKIE, ""))
        if found is None:
            raise HTTPException(303, "Log in first.", {"Location": "/admin/login"})
        return found

    def posted(self, request: Request, form: Annotated[str, Form(max_length=200)] = "") -> AdminSession:
        """The session of whoever posts. Raises HTTPException (403) without one, and for a form that is not its own."""
        found = self.doorkeeper.known(request.cookies.get(COOKIE, ""))
        if found is None or not self.doorkeeper.is_own_form(found, form):
            raise HTTPException(403, "This form is not of your session, or that is over. Log in and try again.")
        return found


def _add_doors(router: APIRouter, context: Context, gate: _Gate) -> None:
    name = context.study.plan.name

    @router.get("/login")
    def login() -> HTMLResponse:
        return HTMLResponse(render_admin(LoginView(name)))

    @router.post("/login")
    def enter(request: Request, password: Annotated[str, Form()] = "") -> Response:
        try:
            session = gate.doorkeeper.enter(password, request.client.host if request.client else "")
        except RefusedError as error:
            headers = {"Retry-After": "60"} if error.status == 429 else None
            return HTMLResponse(render_admin(LoginView(name, str(error))), error.status, headers)
        response = RedirectResponse("/admin", 303)
        response.set_cookie(
            COOKIE,
            session.cookie,
            max_age=SESSION_SECONDS,
            path="/admin",
            secure=context.settings.https or request.url.scheme == "https",
            httponly=True,
            samesite="strict",
        )
        return response

    @router.post("/logout")
    def leave(session: Annotated[AdminSession, Depends(gate.posted)]) -> Response:
        gate.doorkeeper.leave(session)
        response = RedirectResponse("/admin/login", 303)
        response.delete_cookie(COOKIE, path="/admin")
        return response

    @router.get("/admin.css")
    def style() -> Response:
        return Response(style_sheet(), media_type="text/css")


def _add_overview(router: APIRouter, context: Context, gate: _Gate) -> None:
    study = context.study

    @router.get("/")
    @router.get("")
    def watch(
        session: Annotated[AdminSession, Depends(gate.seen)], by: SortKey = "odd", refresh: bool = True
    ) -> HTMLResponse:
        rng = np.random.default_rng(study.design.seed)  # the same each time: intervals change with the votes alone
        with context.database.read() as records:
            found = overview(records, study, context.clock(), rng)
        view = OverviewView(study.plan.name, session.form, study.design, found, by, _REFRESH if refresh else 0)
        return HTMLResponse(render_admin(view))

    @router.get("/export/{table}.csv")
    def export(session: Annotated[AdminSession, Depends(gate.seen)], table: Table) -> Response:
        with context.database.read() as records:
            text = csv_of(records, study, table)
        with context.database.write() as records:
            _note(records, context, session, "export", {"table": table})
        headers = {"Content-Disposition": f'attachment; filename="{table}.csv"'}
        return Response(text, media_type="text/csv; charset=utf-8", headers=headers)


def _add_raters(router: APIRouter, context: Context, gate: _Gate) -> None:
    study = context.study

    @router.get("/raters/{rater}")
    def rater_page(session: Annotated[AdminSession, Depends(gate.seen)], rater: Number) -> HTMLResponse:
        with context.database.read() as records:
            try:
                sheet = rater_sheet(records, study, rater)
            except StudyError as error:
                raise HTTPException(404) from error
        return HTMLResponse(render_admin(RaterView(study.plan.name, session.form, sheet)))

    @router.post("/raters/{rater}/{change}")
    def decide(
        session: Annotated[AdminSession, Depends(gate.posted)],
        rater: Number,
        change: Literal["exclude", "include"],
        reason: Annotated[Text, Form(max_length=500)] = "",
    ) -> Response:
        with context.database.write() as records:
            try:
                if change == "exclude":
                    exclude(records, rater, reason, _BY, context.clock())
                else:
                    include(records, study, rater, reason, _BY, context.clock())
            except StudyError as error:
                raise HTTPException(422, str(error)) from error
            _note(records, context, session, change, {"rater": rater, "reason": reason.strip()})
        return RedirectResponse(f"/admin/raters/{rater}", 303)


def _add_invitations(router: APIRouter, context: Context, gate: _Gate) -> None:
    @router.get("/invitations")
    def invitations(request: Request, session: Annotated[AdminSession, Depends(gate.seen)]) -> HTMLResponse:
        base = context.settings.public_url or str(request.base_url).rstrip("/")
        with context.database.read() as records:
            rows = _invitation_rows(records, base, context.clock())
        return HTMLResponse(render_admin(InvitationsView(context.study.plan.name, session.form, rows)))

    @router.post("/invitations")
    def make(
        session: Annotated[AdminSession, Depends(gate.posted)],
        count: Annotated[int, Form(ge=1, le=_MOST)],
        label: Annotated[Text, Form(max_length=120)] = "",
        days: Annotated[int, Form(ge=0, le=365)] = 0,
    ) -> Response:
        now = context.clock()
        with context.database.write() as records:
            invite(records, count, now, expires=now + days * _DAY if days else None, label=label.strip())
            _note(records, context, session, "invite", {"count": count, "days": days})  # a label may name a person
        return RedirectResponse("/admin/invitations", 303)

    @router.post("/invitations/{code}/close")
    def close(session: Annotated[AdminSession, Depends(gate.posted)], code: Text) -> Response:
        with context.database.write() as records:
            try:
                close_invitation(records, code)
            except StudyError as error:
                raise HTTPException(404) from error
            _note(records, context, session, "close invitation", {"code": code})
        return RedirectResponse("/admin/invitations", 303)


def _invitation_rows(records: Session, base: str, now: float) -> tuple[InvitationRow, ...]:
    by_code = {rater.key: rater for rater in records.scalars(select(RaterRecord).where(RaterRecord.source == "link"))}
    made = records.scalars(select(InvitationRecord).order_by(InvitationRecord.created.desc(), InvitationRecord.code))
    return tuple(
        InvitationRow(
            code=invitation.code,
            url=f"{base}/join/{invitation.code}",
            label=invitation.label,
            created=invitation.created,
            expires=invitation.expires,
            rater=by_code[invitation.code].name if invitation.code in by_code else "",
            rater_id=by_code[invitation.code].id if invitation.code in by_code else 0,
            is_open=invitation.is_open(now),
            closed=invitation.revoked,
        )
        for invitation in made
    )


def _note(records: Session, context: Context, session: AdminSession, kind: str, what: Mapping[str, str | int]) -> None:
    """Write down what was done; raters' own events name their rater, and these do not."""
    details = {"session": session.id, **what}
    records.add(EventRecord(kind=f"admin: {kind}", at=context.clock(), what=details))
