"""What machine raters judge of a study, and where their judgements are kept: never with those of people."""

from pathlib import Path
from urllib.parse import quote

from motionfocal.study.plan import PairPlan, Study
from motionfocal.study.protocol import Comparison, Judgement
from motionfocal.study.storage import JudgementStore

MACHINE = "machine"
"""The folder of their judgements within a study's, a file a rater."""


def comparisons_of(study: Study) -> list[Comparison]:
    """All pairs of a study, in its order, of the clips and pictures that people are shown; the first clip is left.

    Raises UnknownNameError when the plan lacks a clip or an item that it names, StudyError for a file outside of it.
    """
    return [_comparison(study, pair) for pair in study.plan.pairs]


def _comparison(study: Study, pair: PairPlan) -> Comparison:
    shown = study.plan.item(pair.item)
    left, right = study.plan.clip(pair.first), study.plan.clip(pair.second)
    return Comparison(
        id=pair.id,
        item=pair.item,
        image=shown.image,
        text=shown.text,
        left=study.path(left.file),
        right=study.path(right.file),
        left_model=left.model,
        right_model=right.model,
        picture=study.path(shown.picture),
    )


def store_of(study: Study, rater: str) -> JudgementStore:
    """The store of the rater with this name. Raises DamagedFileError as ``JudgementStore`` does."""
    return JudgementStore(_folder(study) / f"{quote(rater, safe='')}.jsonl")


def machine_judgements(study: Study) -> list[Judgement]:
    """What all such raters said of the study's pairs, rater by rater, where it is there in both orders of the clips.

    Raises DamagedFileError, with file and line, for a file that cannot be read.
    """
    found: list[Judgement] = []
    pairs = {pair.id for pair in study.plan.pairs}
    for path in sorted(_folder(study).glob("*.jsonl")):
        stored = [judgement for judgement in JudgementStore(path).judgements() if judgement.comparison in pairs]
        orders = {_order(judgement) for judgement in stored}
        found += [judgement for judgement in stored if _order(judgement, turned=True) in orders]
    return found


def _order(judgement: Judgement, *, turned: bool = False) -> tuple[str, str, str, str]:
    """An order of the clips in which a rater answered a question; ``turned``, the other one."""
    left = judgement.right_model if turned else judgement.left_model
    return judgement.rater, judgement.question, judgement.comparison, left


def _folder(study: Study) -> Path:
    return study.folder / MACHINE
