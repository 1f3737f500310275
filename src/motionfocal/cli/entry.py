"""How a command is run, and how errors reach a person."""

import errno
import sys

from motionfocal.cli.app import app

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR}
"""What is said of a path; without one it is of something else, as of a port."""


def main() -> None:
    """Entry point: a known error, or one of the disk, is printed as one line; any other keeps its traceback."""
    from motionfocal.errors import MotionFocalError

    try:
        app()
    except MotionFocalError as error:
        sys.stderr.write(f"error: {error}\n")
        raise SystemExit(1) from error
    except OSError as error:
        if error.errno in _FULL:
            advice = "make room; the same command then resumes"
        elif error.errno in _REFUSED and error.filename:
            advice = "choose another path, or see that this one may be used"
        else:
            raise
        sys.stderr.write(f"error: {error.filename or 'the disk'}: {error.strerror}; {advice}\n")
        raise SystemExit(1) from error
