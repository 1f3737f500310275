"""A real PostgreSQL server of its own, for as long as the tests run."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def postgres_server() -> Iterator[str]:
    """The URL of a fresh server's database; skips where Debian's package ``postgresql`` is not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb")) or [shutil.which("initdb")]
    if not found[-1]:
        pytest.skip("PostgreSQL is not here: apt-get install postgresql")
    binaries = Path(found[-1]).parent
    as_user = _user()
    folder = Path(tempfile.mkdtemp(prefix="motionfocal-pg-"))
    if as_user:
        shutil.chown(folder, as_user)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    data = folder / "data"
    _run([binaries / "initdb", "-D", data, "-U", "study", "--auth=trust", "-E", "UTF8"], as_user)
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c max_connections=60"
    try:
        _run([binaries / "pg_ctl", "-D", data, "-w", "-l", folder / "log", "-o", options, "start"], as_user)
        yield f"postgresql://study@127.0.0.1:{port}/postgres"
    finally:
        _run([binaries / "pg_ctl", "-D", data, "-m", "immediate", "stop"], as_user, check=False)
        shutil.rmtree(folder, ignore_errors=True)


def _user() -> str | None:
    """PostgreSQL does not run as root: then its own user runs it."""
    if os.getuid() != 0:
        return None
    try:
        return pwd.getpwnam("postgres").pw_name
    except KeyError:
        pytest.skip("PostgreSQL does not run as root, and there is no user postgres")


def _run(command, as_user, check=True) -> None:
    subprocess.run(list(map(str, command)), user=as_user, cwd="/tmp", check=check, capture_output=True)
