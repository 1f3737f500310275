"""Clips and pictures, by addresses that tell nothing: which model made a clip, when, or whether two are the same.

Only what a rater was asked about is given to that rater, and to nobody else.
"""

import re
from functools import lru_cache
from pathlib import Path

from fastapi import APIRouter, Request
from sqlalchemy import select
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse

from motionfocal.errors import StudyError
from motionfocal.study.fieldwork.checks import item_of
from motionfocal.study.fieldwork.records import ImpressionRecord
from motionfocal.study.plan import Example
from motionfocal.study.web.context import Context
from motionfocal.study.web.guards import Number
from motionfocal.study.web.tokens import RaterTokens

_REMEMBERED = 4096  # impressions
_MAX_RANGES = 8  # players ask for one
_UID = re.compile(r"[A-Za-z0-9_-]{1,40}")
_TYPES = {".mp4": "video/mp4", ".png": "image/png"}
_LONG_AGO = "Thu, 01 Jan 1970 00:00:00 GMT"


def media_router(context: Context) -> APIRouter:
    """The routes of all clips and pictures."""
    router, tokens, study = APIRouter(), RaterTokens(context), context.study

    @lru_cache(maxsize=_REMEMBERED)
    def shown_to(rater: int, uid: str) -> ImpressionRecord:
        """What never changes of an impression: a page asks for three files of it."""
        if _UID.fullmatch(uid):
            with context.database.read() as session:
                mine = ImpressionRecord.uid == uid, ImpressionRecord.rater_id == rater
                found = session.scalar(select(ImpressionRecord).where(*mine))
            if found is not None:
                return found
        raise HTTPException(404)

    def impression(token: str, uid: str) -> ImpressionRecord:
        return shown_to(tokens.rater(token), uid)

    def example(number: int) -> Example:
        if not 1 <= number <= len(study.plan.examples):
            raise HTTPException(404)
        return study.plan.examples[number - 1]

    def clip_file(clip: str) -> Path:
        return study.path(study.plan.clip(clip).file)

    def example_clip(request: Request, number: Number, side: str) -> FileResponse:
        clips = {"left": example(number).left, "right": example(number).right}
        return _media(request, clip_file(_of(clips, side)), f"example-{number}-{side}")

    def example_picture(request: Request, number: Number) -> FileResponse:
        picture = study.plan.item(example(number).item).picture
        return _media(request, study.path(picture), f"example-{number}")

    @router.get("/r/{token}/clips/{uid}/{side}.mp4")
    def clip(request: Request, token: str, uid: str, side: str) -> FileResponse:
        found = impression(token, uid)
        name = _of({"left": found.left, "right": found.right}, side)
        return _media(request, clip_file(name), f"{uid}-{side}")

    @router.get("/r/{token}/pictures/{uid}")
    def picture(request: Request, token: str, uid: str) -> FileResponse:
        item = item_of(study.plan, impression(token, uid))
        return _media(request, study.path(item.picture), uid)

    @router.get("/r/{token}/examples/{number}/picture")
    def own_example_picture(request: Request, token: str, number: Number) -> FileResponse:
        tokens.rater(token)
        return example_picture(request, number)

    @router.get("/r/{token}/examples/{number}/{side}.mp4")
    def own_example_clip(request: Request, token: str, number: Number, side: str) -> FileResponse:
        tokens.rater(token)
        return example_clip(request, number, side)

    if study.design.mturk:
        router.get("/preview/examples/{number}/picture")(example_picture)
        router.get("/preview/examples/{number}/{side}.mp4")(example_clip)
    return router


def _of(clips: dict[str, str], side: str) -> str:
    if side not in clips:
        raise HTTPException(404)
    return clips[side]


def _media(request: Request, path: Path, name: str) -> FileResponse:
    """A file under ``name``, which no other address has; a change of ``path`` or its date cannot be told from it."""
    if request.headers.get("range", "").count(",") >= _MAX_RANGES:
        raise HTTPException(416, f"More than {_MAX_RANGES} ranges of one clip were asked for.")
    if not path.is_file():
        raise StudyError(f"{path}: is missing from the study's folder; put it back")
    headers = {"Cache-Control": "private, max-age=3600", "ETag": f'"{name}"', "Last-Modified": _LONG_AGO}
    return FileResponse(path, media_type=_TYPES[path.suffix], headers=headers)
