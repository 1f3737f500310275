"""Sibling-prompt accuracy: does a clip match its own text better than the other texts of the same picture?"""

from collections.abc import Mapping, Sequence

from motionfocal.metrics.frame import Frame
from motionfocal.metrics.metric import Observer, Output, Sample, Values
from motionfocal.metrics.scorers import TextScorer
from motionfocal.video import Frames


class SiblingAccuracy:
    """A scorer says how well a clip matches each text of its picture; the clip is right when its own is matched best.

    Of k texts that share the best place each counts 1/k, so a scorer that tells nothing is at chance, 1 over the number
    of texts, and so is a still video, whose scores are the same for every item of the picture: 27.5 % over TI2V-Bench.
    The gain is the score of the own text, less that of the still picture with the same text. An item whose picture has
    one text has no accuracy.
    """

    version, reads_text = 2, True
    outputs: Sequence[Output] = (
        Output("sibling_accuracy", "higher", "Own text matched best among the picture's texts: 1, or 1/k.", True),
        Output("sibling_chance", "neither", "What guessing gives: 1 over the number of the picture's texts."),
        Output("text_gain", "higher", "Score of the own text, less that of the still picture with it.", True),
    )

    def __init__(self, scorer: TextScorer) -> None:
        self._scorer = scorer
        self.name = f"siblings_{scorer.name}"
        self.uses_network = scorer.uses_network

    @property
    def settings(self) -> Mapping[str, object]:
        """See ``Metric``: the scorer's."""
        return {"scorer": self._scorer.name, "version": self._scorer.version, **self._scorer.settings}

    def begin(self, sample: Sample) -> Observer:
        """See ``Metric``."""
        return _Siblings(sample, self._scorer)


class _Siblings:
    def __init__(self, sample: Sample, scorer: TextScorer) -> None:
        self._sample, self._scorer = sample, scorer
        self._clip, self._still = scorer.begin(sample), scorer.begin(sample)
        self._picture: Frames | None = None

    def see(self, frame: Frame) -> None:
        self._clip.see(frame)
        if self._picture is None:
            height, width = frame.rgb.shape[:2]
            self._picture = self._sample.item.picture((height, width))
        self._still.see(Frame(frame.index, self._picture, None))

    def values(self) -> Values:
        texts = list(dict.fromkeys(item.text for item in self._sample.siblings))
        scores = dict(zip(texts, self._clip.scores(texts), strict=True))
        own, best = scores[self._sample.text], max(scores.values())
        ties = sum(score == best for score in scores.values())
        (still,) = self._still.scores([self._sample.text])
        alone = len(texts) == 1
        return {
            "sibling_accuracy": None if alone else (own == best) / ties,
            "sibling_chance": None if alone else 1 / len(texts),
            "text_gain": own - still,
        }
