"""Machine raters judge every pair in both orders: what changes with the sides is a habit, no judgement."""

from collections.abc import Callable, Sequence

from motionfocal.errors import AnswerError, GalleryError, MediaError
from motionfocal.study.judging import Outcome, pass_over
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

    def judge(comparison: Comparison) -> list[Judgement]:
        return [
            store.get(comparison.id, rater.name, question, order.left_model) or store.add(rater.judge(order))
            for order in (comparison, comparison.exchanged())
        ]

    return pass_over(comparisons, judge, (MediaError, GalleryError, AnswerError), progress)
