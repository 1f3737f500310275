"""Prolific: ids come in with the rater, a completion code goes out."""

from urllib.parse import urlencode

from motionfocal.study.design import Prolific
from motionfocal.study.fieldwork.outcome import PAID, Outcome

_COMPLETE = "https://app.prolific.com/submissions/complete"


def completion_code(codes: Prolific, outcome: Outcome) -> str:
    """The code of the study's page on Prolific for this end; finished work and work that ran out have the same."""
    if outcome in PAID:
        return codes.completed
    return codes.screened_out if outcome == "screened_out" else codes.failed


def completion_link(codes: Prolific, outcome: Outcome) -> str:
    """Where the rater's browser goes at the end."""
    return f"{_COMPLETE}?{urlencode({'cc': completion_code(codes, outcome)})}"
