"""The sprites world's oracle as a rater: it knows what should have happened, and never tires."""

from collections.abc import Mapping
from pathlib import Path

from motionfocal.errors import GalleryError, MediaError, StudyError
from motionfocal.study.plan import Study
from motionfocal.study.protocol import Comparison, Judgement, Preference
from motionfocal.study.questions import PRESETS, Question
from motionfocal.video import read_clip
from motionfocal.worlds import SpritesWorld, WorldItem
from motionfocal.worlds.benchmark import SpritesBenchmark
from motionfocal.worlds.oracle import Measurement, SpritesOracle, reasons_for, wins

(_PAPERS,) = PRESETS["motif"]


class OracleRater:
    """Prefers a clip, and says why by those of the paper's four reasons that are offered; see ``wins``."""

    name = "oracle"

    def __init__(self, world: SpritesWorld, items: Mapping[str, WorldItem], question: Question = _PAPERS) -> None:
        """``items`` by id are what was asked of the models; ``world`` must have the settings that drew them.

        ``question`` is the one that the judgements answer, and that offers reasons.
        """
        self.question = question.id
        self._offered = {reason.id for reason in question.reasons}
        self._world = world
        self._items = items
        self._oracle = SpritesOracle(world)
        self._measured: dict[Path, Measurement] = {}

    def judge(self, comparison: Comparison) -> Judgement:
        """Measure both clips and prefer the better one; a tie where no reason speaks for it. Raises as ``measure``."""
        left = self.measure(comparison.left, comparison.item)
        right = self.measure(comparison.right, comparison.item)
        if (won := wins(left, right)) == 0.5:
            return comparison.judged(self.name, "tie", question=self.question)
        side: Preference = "left" if won else "right"
        why = reasons_for(left, right) if won else reasons_for(right, left)
        reasons = tuple(reason for reason in why if reason in self._offered)
        return comparison.judged(self.name, side, reasons, question=self.question)

    def measure(self, path: Path, item: str) -> Measurement:
        """What the clip in ``path`` shows, against what the item with this id asks for; a file is read once.

        A clip that was stored enlarged is brought back to the world's size. Raises MediaError when it cannot
        be read or has another length than the world's clips, GalleryError when there is no such item.
        """
        if item not in self._items:
            raise GalleryError(f"no item {item!r} in this benchmark; the gallery was made for another one")
        if path not in self._measured:
            settings = self._world.settings
            frames = read_clip(path, size=(settings.size, settings.size)).frames
            if len(frames) != settings.frames:
                raise MediaError(f"{path}: has {len(frames)} frames, the world's clips have {settings.frames}")
            self._measured[path] = self._oracle.measure(frames, self._items[item])
        return self._measured[path]


def oracle_of(study: Study, benchmark: SpritesBenchmark) -> OracleRater:
    """The oracle of the world that a study's items are of, for the study's first question.

    The galleries' ``load_origin`` has the benchmark.

    Raises StudyError when the study's form leaves other clips than the world's: more or fewer frames, or a part of the
    picture (a world's clips are square).
    """
    form, world = study.design.form, benchmark.world
    if (form.frames, form.width) != (world.frames, form.height):
        raise StudyError(
            f"form: the oracle needs square clips of {world.frames} frames, as its world has; the study's are"
            f" {form.height}x{form.width}, {form.frames} frames; create it with form: {{frames: {world.frames}}}"
        )
    return OracleRater(SpritesWorld(world), {item.id: item for item in benchmark.items()}, study.design.asked[0])
