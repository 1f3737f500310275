"""How a command is run, and how errors reach a person."""

import errno
import sys

from motionfocal.cli.app import app

_OF_DISKS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR}
"""What a disk refuses: no room, a file too large for it, nothing may be written, a folder that is a file."""


def main() -> None:
    """Entry point: a known error, or one of the disk, is printed as one line; any other keeps its traceback."""
    from motionfocal.errors import MotionFocalError

    try:
        app()
    except MotionFocalError as error:
        sys.stderr.write(f"error: {error}\n")
        raise SystemExit(1) from error
    except OSError as error:
        if error.errno not in _OF_DISKS:
            raise
        where = error.filename or "a file"
        advice = "make room, or choose a folder that may be written to; the same command then goes on"
        sys.stderr.write(f"error: {where}: {error.strerror}; {advice}\n")
        raise SystemExit(1) from error
