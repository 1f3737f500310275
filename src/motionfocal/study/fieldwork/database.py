"""One database a study: SQLite in its folder, or PostgreSQL by URL. Whoever writes, writes alone."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, create_engine, event, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry

from motionfocal.errors import StudyError, UnavailableError
from motionfocal.study.fieldwork.records import Record, StudyRecord

_READS = "motionfocal_reads"
_LOCK = 0x4D6F7469  # of PostgreSQL: any number that all servers of a study share
_KINDS = "sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME"
_READING: dict[str, dict[str, object]] = {
    "sqlite": {_READS: True},
    # Each statement would have a view of its own at PostgreSQL's usual level.
    "postgresql": {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True},
}
_ADVICE = {
    "sqlite": "give a study's own file in a folder that is there, or restore it from a backup",
    "postgresql": "check that the server runs, and USER, PASSWORD, HOST and NAME",
}


class Database:
    """Where a study keeps what raters do. A transaction that has been left is on disk."""

    def __init__(self, url: str) -> None:
        """Connect; tables are made when they are not there.

        Raises:
            StudyError: no such database, or it cannot be reached.
            UnavailableError: its driver is not installed.
        """
        self.engine = _engine(url)
        self._writing = threading.Lock()
        self._reader = self.engine.execution_options(**_READING[self.engine.dialect.name])
        try:
            Record.metadata.create_all(self.engine)
        except DBAPIError as error:
            advice = _ADVICE[self.engine.dialect.name]
            raise StudyError(f"{_public(url)}: cannot be opened: {str(error.orig).strip()}; {advice}") from error

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A transaction that nobody else's comes between: committed, and on disk, when the block ends without error."""
        with self._writing, Session(self.engine, expire_on_commit=False) as session, session.begin():
            if self.engine.dialect.name == "postgresql":
                session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
            yield session

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A consistent view, for reading alone: what others write meanwhile is not in it."""
        with Session(self._reader) as session:
            yield session

    def belong_to(self, plan: str) -> None:
        """Tie the database to the plan with this fingerprint. Raises StudyError when it belongs to another one."""
        with self.write() as session:
            found = session.scalar(select(StudyRecord.plan))
            if found is None:
                session.add(StudyRecord(plan=plan))
            elif found != plan:
                raise StudyError("the database belongs to another study; give this one a database of its own")

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def sqlite_file(url: str) -> Path:
    """The file of an SQLite database. Raises StudyError for a database of another kind, and when it is not there."""
    parsed = _parsed(url)
    if parsed.get_backend_name() != "sqlite":
        raise StudyError(f"{_public(url)}: the study is kept in PostgreSQL, which pg_dump copies")
    path = Path(parsed.database or "")
    if not path.is_file():
        raise StudyError(f"{path}: no SQLite database here; if the study is kept in PostgreSQL, pg_dump copies it")
    return path


def _engine(url: str) -> Engine:
    parsed = _parsed(url)
    if parsed.get_backend_name() == "sqlite":
        engine = create_engine(parsed, connect_args={"check_same_thread": False, "timeout": 30})
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin)
        return engine
    try:
        return create_engine(parsed, pool_size=8, max_overflow=8, pool_pre_ping=True)
    except ModuleNotFoundError as error:
        raise UnavailableError(f"{_public(url)}: needs {error.name}; pip install 'motionfocal[postgres]'") from error


def _parsed(url: str) -> URL:
    """A URL taken apart, PostgreSQL's with our driver. Raises StudyError when it is of neither kind."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:  # ValueError: a port that is no number
        raise StudyError(f"{_public(url)}: not a database: {error}; take {_KINDS}") from error
    if parsed.drivername in ("postgresql", "postgres"):
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername not in ("sqlite", "postgresql+psycopg"):
        raise StudyError(f"{_public(url)}: a study is not kept in {parsed.drivername}; take {_KINDS}")
    return parsed


def _public(url: str) -> str:
    """A URL without its password."""
    try:
        return make_url(url).render_as_string(hide_password=True)
    except (ArgumentError, ValueError):
        return "the database's URL"


def _prepare_sqlite(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # we begin transactions ourselves
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=30000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: Connection) -> None:
    """A writer takes the lock at once: one that read first, and then wants to write, could only fail."""
    reads = connection.get_execution_options().get(_READS, False)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")
