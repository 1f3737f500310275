"""One database a study: SQLite in its folder, or PostgreSQL by URL. Whoever writes, writes alone."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, create_engine, event, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, OperationalError
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry

from motionfocal.errors import StudyError, UnavailableError
from motionfocal.study.fieldwork.records import Record, StudyRecord

_READS = "motionfocal_reads"
_LOCK = 0x4D6F7469  # of PostgreSQL: any number that all servers of a study share


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
        try:
            Record.metadata.create_all(self.engine)
        except OperationalError as error:
            raise StudyError(f"{_public(url)}: cannot be opened: {error.orig}") from error

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A transaction that nobody else's comes between: committed, and on disk, when the block ends without error."""
        with self._writing, Session(self.engine, expire_on_commit=False) as session, session.begin():
            if self.engine.dialect.name == "postgresql":
                session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
            yield session

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A consistent view; changes to it are thrown away."""
        with Session(self.engine.execution_options(**{_READS: True})) as session:
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


def _engine(url: str) -> Engine:
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() == "sqlite":
            engine = create_engine(parsed, connect_args={"check_same_thread": False, "timeout": 30})
            event.listen(engine, "connect", _prepare_sqlite)
            event.listen(engine, "begin", _begin)
            return engine
        if parsed.drivername in ("postgresql", "postgres"):
            parsed = parsed.set(drivername="postgresql+psycopg")
        return create_engine(parsed, pool_size=8, max_overflow=8, pool_pre_ping=True)
    except (ArgumentError, NoSuchModuleError) as error:
        raise StudyError(f"{_public(url)}: not a database: {error}; take sqlite:///FILE or postgresql://...") from error
    except ModuleNotFoundError as error:
        raise UnavailableError(f"{_public(url)}: needs {error.name}; pip install 'motionfocal[postgres]'") from error


def _public(url: str) -> str:
    """A URL without its password."""
    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
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
