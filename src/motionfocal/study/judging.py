"""From two galleries to judgements: pair the clips, then have a rater go through the pairs."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from motionfocal.errors import AnswerError, GalleryError, MediaError
from motionfocal.study.protocol import Comparison, Judgement, Rater
from motionfocal.study.storage import JudgementStore

if TYPE_CHECKING:  # a study needs no torch, which makes galleries
    from motionfocal.generation.gallery import Gallery


@dataclass(frozen=True)
class Failure:
    """A comparison that could not be judged, and why."""

    comparison: Comparison
    error: MediaError | AnswerError | GalleryError


@dataclass(frozen=True)
class Outcome:
    """What came of a pass over comparisons: the judgements or a failure of each, in their order."""

    judgements: tuple[Judgement, ...]
    failures: tuple[Failure, ...]


def pair(one: "Gallery", two: "Gallery", seed: int) -> list[Comparison]:
    """One comparison an item, sorted by item; ``seed`` draws the half in which a model stands on the left.

    The order of the two galleries makes no difference. A clip that was made anew with other settings or
    weights makes a new comparison. Raises GalleryError, naming the items, when one gallery lacks some or was
    given another image or text for them, and when both are of the same model.
    """
    first, second = sorted((one, two), key=lambda gallery: gallery.model)
    _require_comparable(first, second)
    items = sorted(row.id for row in first.rows())
    swaps = _half(len(items), np.random.default_rng(seed))
    return [
        _comparison(item, second, first, seed) if swap else _comparison(item, first, second, seed)
        for item, swap in zip(items, swaps, strict=True)
    ]


def judge_all(
    rater: Rater,
    comparisons: Sequence[Comparison],
    store: JudgementStore,
    progress: Callable[[int, int], None] | None = None,
) -> Outcome:
    """Have ``rater`` judge what it has not judged in ``store`` yet, and store each judgement at once.

    A clip that cannot be read (MediaError) fails its comparison, not the pass: run again once it is mended.
    ``progress`` is told how many of how many comparisons are done.
    """

    def judge(comparison: Comparison) -> list[Judgement]:
        return [store.get(comparison.id, rater.name) or store.add(rater.judge(comparison))]

    return pass_over(comparisons, judge, (MediaError,), progress)


def pass_over(
    comparisons: Sequence[Comparison],
    judge: Callable[[Comparison], Sequence[Judgement]],
    failing: tuple[type[MediaError | AnswerError | GalleryError], ...],
    progress: Callable[[int, int], None] | None,
) -> Outcome:
    """Call ``judge`` on each comparison; an error of ``failing`` fails its comparison, any other the pass.

    ``progress`` is told how many of how many comparisons are done.
    """
    judgements: list[Judgement] = []
    failures = []
    for done, comparison in enumerate(comparisons, 1):
        try:
            judgements += judge(comparison)
        except failing as error:
            failures.append(Failure(comparison, error))
        if progress is not None:
            progress(done, len(comparisons))
    return Outcome(tuple(judgements), tuple(failures))


def _require_comparable(first: "Gallery", second: "Gallery") -> None:
    if first.model == second.model:
        raise GalleryError(f"both galleries are of model {first.model!r}; compare two models")
    ours, theirs = ({row.id: (row.image, row.text) for row in gallery.rows()} for gallery in (first, second))
    for gallery, missing in ((second, ours.keys() - theirs), (first, theirs.keys() - ours)):
        if missing:
            raise GalleryError(f"the gallery of {gallery.model!r} lacks {_named(missing)}; generate them first")
    differing = {item for item in ours if ours[item] != theirs[item]}
    if differing:
        raise GalleryError(
            f"{first.model!r} and {second.model!r} were given another image or text for {_named(differing)};"
            " generate both from the same benchmark"
        )


def _named(items: set[str]) -> str:
    """The first few of some items, and how many more."""
    shown = sorted(items)[:10]
    more = len(items) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _half(count: int, rng: np.random.Generator) -> list[bool]:
    """True for half of ``count`` places (the odd one at random), shuffled."""
    sides = (np.arange(count) + rng.integers(2)) % 2 == 0
    return [bool(side) for side in rng.permutation(sides)]


def _comparison(item: str, left: "Gallery", right: "Gallery", seed: int) -> Comparison:
    row = left.row(item)
    clips = sorted((gallery.model, gallery.row(item).settings) for gallery in (left, right))
    digest = hashlib.sha256(json.dumps([item, clips, seed]).encode()).hexdigest()
    return Comparison(
        id=digest[:16],
        item=item,
        image=row.image,
        text=row.text,
        left=left.path(item),
        right=right.path(item),
        left_model=left.model,
        right_model=right.model,
    )
