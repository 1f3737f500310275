"""Compare two models as people do it: pairs of clips, a preference and its reasons, and honest intervals.

A person, an oracle and a metric are each a ``Rater``: storage, statistics and report are the same for all.
"""

from motionfocal.study.protocol import REASONS, Comparison, Judgement, Preference, Rater
from motionfocal.worlds.oracle import Reason

__all__ = ["REASONS", "Comparison", "Judgement", "Preference", "Rater", "Reason"]
