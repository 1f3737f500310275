"""Child processes: another project's program in its own environment, its output in a log, ended when we end."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from motionfocal.errors import UnavailableError

_GRACE = 10.0
"""Seconds that a program has to end by itself after it was asked to."""

_LAST_LINES, _LAST_CHARACTERS = 12, 2000
_OURS = ("PYTHON", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__")
"""How variables begin that describe our interpreter and would mislead another one."""


def child_environment(python: Path, extra: Mapping[str, str]) -> dict[str, str]:
    """Our environment without what describes our own interpreter, with the programs beside ``python`` first.

    The child reads and writes UTF-8 and does not hold its output back. ``extra`` is added last.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    path = os.pathsep.join(filter(None, [str(python.parent), kept.get("PATH", "")]))
    return kept | {"PATH": path, "PYTHONUTF8": "1", "PYTHONUNBUFFERED": "1"} | dict(extra)


@contextmanager
def running(
    command: Sequence[str], cwd: Path, environment: Mapping[str, str], log: Path
) -> Iterator["subprocess.Popen[bytes]"]:
    """Start a program, what it says going to ``log``; when the block ends, however it ends, so does the program.

    It leads a process group of its own, and the whole group is ended, also when its leader has ended before: first
    asked, then killed. A SIGTERM to us, and the SIGHUP of a terminal that closes, end the block too, in the main
    thread; ``kill -9`` of us leaves it running. Raises UnavailableError when it cannot be started.
    """
    with log.open("wb") as sink, _ended_by(signal.SIGTERM), _ended_by(signal.SIGHUP):
        try:
            process = subprocess.Popen(  # noqa: S603 - an argument list, no shell
                list(command),
                cwd=cwd,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise UnavailableError(
                f"{command[0]}: cannot be started ({error}); give the environment's python"
            ) from error
        try:
            yield process
        finally:
            _end(process)


def how_it_ended(code: int | None) -> str:
    """An exit code in words; None for a program that we ended."""
    if code is None:
        return "the program was stopped"
    if code < 0:
        return f"the program was ended by signal {-code}"
    return f"the program ended with exit code {code}"


def last_lines(log: Path) -> str:
    """The end of a log; bars of progress, which overwrite themselves, count as lines."""
    text = log.read_bytes().decode(errors="replace") if log.is_file() else ""
    lines = [line for line in text.replace("\r", "\n").split("\n") if line.strip()]
    return "\n".join(lines[-_LAST_LINES:])[-_LAST_CHARACTERS:] or "(nothing)"


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Ask the program and all that it started to end, and kill whoever has not when it has, or after a while."""
    with suppress(ProcessLookupError):  # nobody of its group is left
        os.killpg(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@contextmanager
def _ended_by(number: signal.Signals) -> Iterator[None]:
    """Turn a signal that nobody handles or ignores into SystemExit, so that blocks are left in order."""
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(number) is not signal.SIG_DFL:
        yield
        return
    signal.signal(number, _leave)
    try:
        yield
    finally:
        signal.signal(number, signal.SIG_DFL)


def _leave(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)
