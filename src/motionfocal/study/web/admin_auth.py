"""Who may see the admin pages: one password, guesses that are slowed down, sessions that end, forms that are ours."""

import hashlib
import hmac
import secrets
import threading
from dataclasses import dataclass
from pathlib import Path

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError
from itsdangerous import BadSignature
from sqlalchemy import select

from motionfocal.errors import RefusedError, StudyError
from motionfocal.study.fieldwork.records import EventRecord
from motionfocal.study.plan import SECRETS, read_secrets, write_secrets
from motionfocal.study.web.context import Context
from motionfocal.study.web.tokens import serializer

COOKIE = "motionfocal_admin"
SESSION_SECONDS = 12 * 3600
LOGIN, FAILED, LOGOUT = "admin: login", "admin: login failed", "admin: logout"

_SHORTEST, _LONGEST = 10, 200
_OF_ADDRESS, _OF_ALL = 5, 30
"""Failures a minute: of one address, and of all together, whatever addresses somebody has."""


def set_password(folder: Path, password: str) -> None:
    """Make ``password`` the one of the admin pages of the study in ``folder``; a running server keeps the old one.

    Only its argon2 hash is stored, in a file that nobody else can read. All sessions end with the old password.

    Raises:
        StudyError: it has fewer than 10 or more than 200 characters, or there is no study in the folder.
    """
    if not _SHORTEST <= len(password) <= _LONGEST:
        raise StudyError(f"admin password: {len(password)} characters; take {_SHORTEST} to {_LONGEST}")
    path = folder / SECRETS
    known = read_secrets(path)
    write_secrets(path, known.model_copy(update={"admin": PasswordHasher().hash(password)}))


@dataclass(frozen=True)
class AdminSession:
    """Someone who has given the password. ``cookie`` proves it, ``form`` goes into each form."""

    id: str
    cookie: str
    form: str


class Doorkeeper:
    """Lets people in by the password, and knows them again."""

    def __init__(self, context: Context) -> None:
        """Sessions are bound to the study and to its present password."""
        self._context = context
        self._bound = hashlib.sha256(context.study.secrets.admin.encode()).hexdigest()[:16]
        self._sessions = serializer(context, "admin", self._bound)
        self._one_at_a_time = threading.Lock()

    def enter(self, password: str, address: str) -> AdminSession:
        """A new session. ``address`` is where the request came from.

        Attempts queue, so that nobody guesses faster by asking in parallel, and argon2's memory is needed once.

        Raises:
            RefusedError: the password is wrong (403), or there were too many wrong ones within a minute (429).
        """
        with self._one_at_a_time:
            visitor = self._hidden(address)
            self._require_patience(visitor)
            if not self._is_right(password):
                self._note(FAILED, {"address": visitor})
                raise RefusedError("This is not the password.")
            session = secrets.token_urlsafe(16)
            self._note(LOGIN, {"address": visitor, "session": session})
        return self._session(session, self._sessions.dumps(session))

    def known(self, cookie: str) -> AdminSession | None:
        """The session of a cookie; None when it is forged, too old, has been left, or is of another password."""
        try:
            session = self._sessions.loads(cookie, max_age=SESSION_SECONDS)
        except BadSignature:
            return None
        left = {what["session"] for what in self._noted(LOGOUT, SESSION_SECONDS)}
        return None if session in left else self._session(session, cookie)

    def is_own_form(self, session: AdminSession, form: str) -> bool:
        """Whether ``form`` was given to this session."""
        return secrets.compare_digest(session.form.encode(), form.encode())

    def leave(self, session: AdminSession) -> None:
        """End a session: its cookie is worth nothing from now on."""
        self._note(LOGOUT, {"session": session.id})

    def _session(self, session: str, cookie: str) -> AdminSession:
        form = hmac.digest(self._context.study.secrets.key.encode(), f"admin form {session}".encode(), "sha256")
        return AdminSession(session, cookie, form.hex())

    def _require_patience(self, visitor: str) -> None:
        failures = [what["address"] for what in self._noted(FAILED, 60)]
        if failures.count(visitor) >= _OF_ADDRESS or len(failures) >= _OF_ALL:
            raise RefusedError("Too many wrong passwords. Wait a minute, then try again.", 429)

    def _is_right(self, password: str) -> bool:
        try:
            return PasswordHasher().verify(self._context.study.secrets.admin, password[: _LONGEST + 1])
        except VerifyMismatchError:
            return False
        except InvalidHashError as error:
            raise StudyError(f"{SECRETS}: 'admin' is no argon2 hash; set the password again") from error

    def _hidden(self, address: str) -> str:
        """An address as the database keeps it."""
        return hashlib.sha256(f"{self._context.study.secrets.salt}|{address}".encode()).hexdigest()[:16]

    def _note(self, kind: str, what: dict[str, object]) -> None:
        with self._context.database.write() as session:
            session.add(EventRecord(kind=kind, at=self._context.clock(), what=what))

    def _noted(self, kind: str, seconds: float) -> list[dict[str, object]]:
        """The details of such events of the last ``seconds``."""
        since = self._context.clock() - seconds
        event = EventRecord
        with self._context.database.read() as session:
            # Raters' browsers can name an event as they like, but not without their rater.
            query = select(event.what).where(event.rater_id.is_(None), event.kind == kind, event.at > since)
            return list(session.scalars(query))
