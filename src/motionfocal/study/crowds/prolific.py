"""Prolific: ids come in with the rater, a completion code goes out."""

from urllib.parse import urlencode

from motionfocal.study.crowds import Outcome
from motionfocal.study.design import Prolific

_COMPLETE = "https://app.prolific.com/submissions/complete"


def completion_code(codes: Prolific, outcome: Outcome) -> str:
    """The code of the study's page on Prolific for this end; finished work and work that ran out have the same."""
    if outcome == "screened_out":
        return codes.screened_out
    return codes.failed if outcome == "failed" else codes.completed


def completion_link(codes: Prolific, outcome: Outcome) -> str:
    """Where the rater's browser goes at the end."""
    return f"{_COMPLETE}?{urlencode({'cc': completion_code(codes, outcome)})}"
