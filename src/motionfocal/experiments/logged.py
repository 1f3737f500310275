"""A process whose output goes to a log, and what is told of one that ended before its work was done."""

import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOG = "log.txt"


@contextmanager
def logged(folder: Path) -> Iterator[None]:
    """Add what this process prints to the log of a folder; an error goes there as well and ends the process with 1."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOG).open("a", buffering=1) as log:
        sys.stdout = sys.stderr = log
        try:
            yield
        except BaseException:
            traceback.print_exc(file=log)
            raise SystemExit(1) from None


def ending(folder: Path, exitcode: int) -> str:
    """Why the process that logged into a folder failed: the signal that killed it, the last line of its log."""
    log = folder / LOG
    lines = log.read_text().strip().splitlines() if log.is_file() else []
    last = lines[-1] if lines else "nothing was logged"
    if exitcode < 0:
        memory = ", as when memory runs out" if exitcode == -signal.SIGKILL else ""
        last = f"killed by signal {-exitcode} ({signal.strsignal(-exitcode)}){memory}; its log ends: {last}"
    return f"{last} (exit code {exitcode}; the whole story: {log})"
