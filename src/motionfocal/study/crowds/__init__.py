"""Where paid raters come from, and how each site is told that somebody has done the work."""

import hashlib
import hmac
from typing import Literal

from motionfocal.study.plan import Study

Outcome = Literal["finished", "screened_out", "failed", "closed"]
"""How a rater's work ended: all done; turned away after the training; turned away by the checks; nothing (left) to do.

closed: it is paid as finished work is.
"""


def receipt_code(study: Study, rater: int, outcome: Outcome) -> str:
    """A code for the rater's end that only the study's server can make: 16 hexadecimal digits."""
    said = f"receipt {study.plan.fingerprint()} {rater} {outcome}".encode()
    return hmac.new(study.secrets.key.encode(), said, hashlib.sha256).hexdigest()[:16]
