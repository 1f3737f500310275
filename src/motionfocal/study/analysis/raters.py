"""One row for each rater: how much, how one-sided, and how far from the others."""

from collections import defaultdict
from collections.abc import Sequence

from motionfocal.study.analysis.agreement import Unit, counts_of, preferred_by_most, unit_of
from motionfocal.study.analysis.contents import RaterRow
from motionfocal.study.protocol import Judgement


def rater_rows(judgements: Sequence[Judgement]) -> tuple[RaterRow, ...]:
    """A row for each rater of one question, those who agree least with the others first, those alone last.

    ``agrees`` compares a rater's choices with what most of the others chose on the same item and models. The rater's
    ties do not count for it, nor do items on which the others, their ties aside, are divided evenly. ``left`` is a
    share of the votes that chose a side, NaN without any. Raises ConfigError as ``agreement.unit_of`` does.
    """
    counts = counts_of(judgements)
    votes: dict[str, list[Judgement]] = defaultdict(list)
    for judgement in judgements:
        votes[judgement.rater].append(judgement)
    rows = [_row(rater, votes[rater], counts) for rater in sorted(votes)]
    return tuple(sorted(rows, key=lambda row: (row.agrees != row.agrees, row.agrees)))  # NaN differs from itself


def _row(rater: str, votes: Sequence[Judgement], counts: dict[Unit, tuple[int, int, int]]) -> RaterRow:
    choices = [vote for vote in votes if vote.preference != "tie"]
    others = [(vote, _most_others(vote, counts)) for vote in choices]
    judged = [vote.preferred == most for vote, most in others if most is not None]
    left = [vote.preference == "left" for vote in choices]
    return RaterRow(rater, len(votes), _share(left), _share(judged), len(votes) - len(choices))


def _most_others(vote: Judgement, counts: dict[Unit, tuple[int, int, int]]) -> str | None:
    """What most of the others chose."""
    unit = unit_of(vote)
    first, second, _ = counts[unit]
    own = vote.preferred == unit.first
    return preferred_by_most(unit, first - own, second - (not own))


def _share(hits: Sequence[bool]) -> float:
    return sum(hits) / len(hits) if hits else float("nan")
