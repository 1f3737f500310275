"""Comparisons with a known answer, made of the study's own clips: attention checks, worked examples, training."""

import secrets
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from motionfocal.study.design import CheckKind, StudyDesign
from motionfocal.study.plan import CheckPlan, ClipFile, Example, PairPlan, Shown
from motionfocal.video import Frames, content_of, read_clip, read_image, write_clip
from motionfocal.video.traces import remove_traces

_EACH = 4
"""Checks of each kind: a rater meets a kind seldom twice, and never the same check."""

_CANDIDATES = 24
"""Clips that are looked at to find one that moves enough beside a still one."""

_EXAMPLES: tuple[CheckKind, ...] = ("corrupted", "frozen", "mismatched")

_WHY = {
    "corrupted": "The other video falls to pieces: blocks and noise cover it, and its frames are out of order.",
    "frozen": "The other video stands still, though the text says that something happens.",
    "mismatched": "The other video was made from another picture, and does not show what the text says.",
}
_REASONS = {
    "corrupted": ("overall quality",),
    "frozen": ("object motion",),
    "mismatched": ("image alignment", "text alignment"),
}


class Trials:
    """Makes checks and examples; the broken and frozen clips that it writes are in ``made``."""

    def __init__(
        self,
        design: StudyDesign,
        folder: Path,
        shown: Sequence[Shown],
        pairs: Sequence[PairPlan],
        clips: dict[str, ClipFile],
    ) -> None:
        self._design, self._folder, self._clips, self._pairs = design, folder, clips, pairs
        self._shown = {item.item: item for item in shown}
        self._rng = np.random.default_rng([design.seed, 4])
        self.made: list[ClipFile] = []

    def checks(self, report: Callable[[str, int, int], None]) -> tuple[CheckPlan, ...]:
        """The checks of all kinds of the design, save repeats, which are drawn from what a rater has seen."""
        if self._design.checks.share == 0:
            return ()
        kinds = [kind for kind in self._design.checks.kinds if kind != "repeat"]
        made = []
        for done, kind in enumerate(kinds, 1):
            made += [self._check(kind, clip) for clip in self._good_clips(kind, _EACH)]
            report("attention checks", done, len(kinds))
        return tuple(made)

    def examples(self, report: Callable[[str, int, int], None]) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
        """Two for the instructions, each side better once, and those of the training."""
        kinds = [kind for kind in _EXAMPLES if kind != "mismatched" or self._images() > 1]
        wanted = 2 + self._design.training.tasks
        made = []
        for place in range(wanted):
            kind = kinds[place % len(kinds)]
            clip = next(iter(self._good_clips(kind, 1)))
            made.append(self._example(self._check(kind, clip), better=self._better_side(place)))
            report("examples", place + 1, wanted)
        return tuple(made[:2]), tuple(made[2:])

    def _better_side(self, place: int) -> str:
        """Left, right, left in the instructions and the round, so that no side is the good one."""
        return "right" if place % 2 else "left"

    def _good_clips(self, kind: CheckKind, count: int) -> Iterator[ClipFile]:
        """Clips of models, each of another item as far as there are; beside a still one, those that move most."""
        compared = [id_ for pair in self._pairs for id_ in (pair.first, pair.second)]
        drawn = [self._clips[compared[place]] for place in self._rng.permutation(len(compared))]
        if kind == "mismatched" and self._images() < 2:
            return
        if kind == "frozen":
            drawn = sorted(drawn[: max(_CANDIDATES, count)], key=self._motion, reverse=True)
        used: set[str] = set()
        for clip in drawn:
            if clip.item not in used and len(used) < count:
                used.add(clip.item)
                yield clip

    def _images(self) -> int:
        return len({item.image for item in self._shown.values()})

    def _motion(self, clip: ClipFile) -> float:
        """Mean change from frame to frame, in grey levels."""
        frames = read_clip(self._folder / clip.file).frames.astype(np.int16)
        return float(np.abs(np.diff(frames, axis=0)).mean())

    def _check(self, kind: CheckKind, clip: ClipFile) -> CheckPlan:
        other = self._other(kind, clip)
        right = "" if kind in ("identical", "instructed") else clip.id
        return CheckPlan(
            id=secrets.token_hex(10), kind=kind, item=clip.item, first=clip.id, second=other.id, right=right
        )

    def _other(self, kind: CheckKind, clip: ClipFile) -> ClipFile:
        """What a clip stands beside in a check."""
        if kind == "frozen":
            picture = read_image(self._folder / self._shown[clip.item].picture)
            return self._write(clip.item, [picture] * self._design.form.frames)
        if kind == "corrupted":
            return self._write(clip.item, _broken(read_clip(self._folder / clip.file).frames, self._rng))
        if kind == "mismatched":
            image = self._shown[clip.item].image
            others = [
                other
                for other in self._clips.values()
                if other.model == clip.model and self._shown[other.item].image != image
            ]
            return others[self._rng.integers(len(others))]
        if kind == "instructed":
            pair = next(pair for pair in self._pairs if clip.id in (pair.first, pair.second))
            return self._clips[pair.second if clip.id == pair.first else pair.first]
        return clip

    def _write(self, item: str, frames: Frames | list[Frames]) -> ClipFile:
        name = secrets.token_hex(10)
        path = self._folder / "clips" / "checks" / f"{name}.mp4"
        write_clip(path, frames, self._design.form.fps)
        remove_traces(path)
        clip = ClipFile(id=name, model="", item=item, file=f"clips/checks/{name}.mp4", content=content_of(path))
        self.made.append(clip)
        return clip

    def _example(self, check: CheckPlan, better: str) -> Example:
        sides = (check.first, check.second) if better == "left" else (check.second, check.first)
        known = {reason.id for reason in self._design.asked[0].reasons}
        reasons = tuple(reason for reason in _REASONS[check.kind] if reason in known)
        return Example(
            id=check.id,
            item=check.item,
            left=sides[0],
            right=sides[1],
            better=better,
            why=_WHY[check.kind],
            reasons=reasons,
        )


def _broken(frames: Frames, rng: np.random.Generator) -> Frames:
    """A clip that nobody can like: frames out of order, a third of its blocks elsewhere, strong noise."""
    frames = frames[rng.permutation(len(frames))].copy()
    side = max(8, min(frames.shape[1:3]) // 10)
    rows, columns = frames.shape[1] // side, frames.shape[2] // side
    for frame in frames:
        for _ in range(rows * columns // 3):
            to_row, to_column, row, column = (int(rng.integers(most)) * side for most in (rows, columns) * 2)
            frame[to_row : to_row + side, to_column : to_column + side] = frame[
                row : row + side, column : column + side
            ].copy()
    noise = rng.normal(0, 45, frames.shape)
    return np.clip(frames + noise, 0, 255).astype(np.uint8)
