"""The world's oracle as a scorer of texts: exact, and without weights."""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from motionfocal.errors import MediaError
from motionfocal.metrics.frame import Frame
from motionfocal.metrics.metric import Sample
from motionfocal.video import Frames
from motionfocal.worlds import SpritesWorld
from motionfocal.worlds.benchmark import SpritesBenchmark
from motionfocal.worlds.oracle import SpritesOracle


class OracleScorer:
    """Scores a clip of a world's item by the agreement of all tracks with what a text asks for, in [0, 1]."""

    name, version, uses_network = "oracle", 1, False

    def __init__(self, benchmark: SpritesBenchmark) -> None:
        world = SpritesWorld(benchmark.world)
        self.oracle, self.side = SpritesOracle(world), benchmark.world.size
        self.questions = {(item.id.split("_")[0], item.text): item for item in benchmark.items()}
        self.settings: Mapping[str, object] = {"benchmark": benchmark.fingerprint()}

    def begin(self, sample: Sample) -> "_Watcher":
        """See ``TextScorer``."""
        return _Watcher(self, sample)


class _Watcher:
    """Keeps the frames, at the world's own small size."""

    def __init__(self, scorer: OracleScorer, sample: Sample) -> None:
        self._scorer, self._sample = scorer, sample
        self._frames: list[Frames] = []

    def see(self, frame: Frame) -> None:
        side = self._scorer.side
        self._frames.append(np.asarray(cv2.resize(frame.rgb, (side, side), interpolation=cv2.INTER_AREA), np.uint8))

    def scores(self, texts: Sequence[str]) -> list[float]:
        """See ``TextWatcher``. Raises MediaError for a text that the world does not know of the picture."""
        clip, found = np.stack(self._frames), []
        for text in texts:
            question = self._scorer.questions.get((self._sample.item.image, text))
            if question is None:
                raise MediaError(f"{self._sample.item.id}: the world asks no {text!r} of this picture")
            found.append(self._scorer.oracle.measure(clip, question).agreement)
        return found
