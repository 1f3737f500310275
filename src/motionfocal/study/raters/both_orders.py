"""Raters that are no people judge every pair in both orders: what changes with the sides is a habit, no judgement."""

from collections.abc import Callable, Sequence

from motionfocal.errors import AnswerError, GalleryError, MediaError
from motionfocal.study.judging import Failure, Outcome
from motionfocal.study.protocol import OVERALL, Comparison, Judgement, Rater
from motionfocal.study.storage import JudgementStore


def judge_both_orders(
    rater: Rater,
    comparisons: Sequence[Comparison],
    store: JudgementStore,
    progress: Callable[[int, int], None] | None = None,
    question: str = OVERALL,
) -> Outcome:
    """Have ``rater`` judge each comparison in both orders, but for what ``store`` holds, and store each at once.

    ``question`` is the id of what the rater answers. A clip that cannot be read, has no value, or got no usable answer
    (MediaError, GalleryError, AnswerError) fails its comparison, not the pass: run again once it is mended. The outcome
    holds two judgements of each comparison that was judged in both orders, one after the other, and none of the others.
    ``progress`` is told how many of how many comparisons are done.
    """
    judgements: list[Judgement] = []
    failures = []
    for done, comparison in enumerate(comparisons, 1):
        try:
            judgements += [
                store.get(comparison.id, rater.name, question, order.left_model) or store.add(rater.judge(order))
                for order in (comparison, comparison.exchanged())
            ]
        except (MediaError, GalleryError, AnswerError) as error:
            failures.append(Failure(comparison, error))
        if progress is not None:
            progress(done, len(comparisons))
    return Outcome(tuple(judgements), tuple(failures))
