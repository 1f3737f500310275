"""Where paid raters come from, and how each site is told that somebody has done the work."""

import hashlib
import hmac

from motionfocal.study.fieldwork.outcome import Outcome
from motionfocal.study.plan import Study


def receipt_code(study: Study, rater: int, outcome: Outcome) -> str:
    """A code for the rater's end that only the study's server can make: 16 hexadecimal digits."""
    said = f"receipt {study.plan.fingerprint()} {rater} {outcome}".encode()
    return hmac.new(study.secrets.key.encode(), said, hashlib.sha256).hexdigest()[:16]
