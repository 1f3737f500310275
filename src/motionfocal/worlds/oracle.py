"""The sprites world's exact judge: it measures from pixels what each sprite did, and compares it with the truth.

Every pixel is explained as ground or as a mixture of the ground and one sprite's colour; a sprite's area and centre
follow from its pixels. The same measurement of the rendered truth says what should have been seen, occlusion and
edge effects included, so that no threshold has to know about them.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from motionfocal.errors import ShapeError
from motionfocal.worlds.drawing import COLOURS
from motionfocal.worlds.sprites import MOTIONS, Action, Motion, Scene, SpritesWorld, WorldItem

Reason = Literal["image alignment", "text alignment", "object motion", "overall quality"]

OTHERS_TOLERANCE = 0.3
"""Root mean square deviation, in sprite diameters, up to which another sprite counts as having stayed."""
RATIO_RANGE = (0.5, 1.5)
"""Displacement over the asked displacement within which a motion counts as carried out."""
AGREEMENT_MINIMUM = 0.3
"""Agreement of all tracks below which a clip does something else on the way, such as cutting to the end."""
DAMAGE_LIMIT = 16.0
"""Mean error of ground or first frame, in grey levels of 255, above which a clip counts as damaged."""

_OPAQUE = 0.3
"""A pixel belongs to a sprite when at least this share of it has the sprite's colour."""


@dataclass(frozen=True)
class Measurement:
    """What an oracle saw in one clip. Errors are mean absolute grey levels of 255."""

    right_sprite: bool
    """The named sprite did most, and the others stayed."""
    right_motion: bool
    """Of all motions of the world and of standing still, the asked one is nearest to what the sprite did."""
    seen_motion: Motion
    """The nearest one."""
    displacement_ratio: float
    """What the sprite did along the asked motion, over what was asked; 1 is exact, NaN where nothing was asked."""
    others_deviation: float
    """Largest root mean square deviation of another sprite from where it should be, in sprite diameters."""
    agreement: float
    """1 minus the relative distance of all sprites' tracks from the truth, in [0, 1]."""
    ground_error: float
    first_frame_error: float
    artefacts: float
    """Mean colour error of what neither ground nor sprites explain."""
    right_camera: bool = True
    """Of a camera that stands still and one that pans in any direction, the asked one shows the ground that was seen.
    A world whose camera never pans has no other."""

    @property
    def undamaged(self) -> bool:
        """Whether the ground and the first frame were kept."""
        return self.ground_error <= DAMAGE_LIMIT and self.first_frame_error <= DAMAGE_LIMIT

    @property
    def followed(self) -> bool:
        """The verdict: the right sprite did the right thing, all the way and not too far, the camera went where it
        should, and nothing was damaged.
        """
        enough = self.seen_motion == "still" or RATIO_RANGE[0] <= self.displacement_ratio <= RATIO_RANGE[1]
        smooth = self.seen_motion == "still" or self.agreement >= AGREEMENT_MINIMUM
        return self.right_sprite and self.right_motion and self.right_camera and enough and smooth and self.undamaged

    @property
    def score(self) -> float:
        """One number to compare clips by, in [-1, 2]: the verdict, then how near the tracks are, less the damage."""
        damage = min(1.0, (self.ground_error + self.first_frame_error) / 128)
        return float(self.followed) + self.agreement - damage


@dataclass(frozen=True)
class _Explanation:
    """Per pixel ``[T,H,W]``: the sprite that it shows (-1: ground), how opaque, and the colour left unexplained."""

    owner: NDArray[np.int64]
    opacity: NDArray[np.float32]
    residual: NDArray[np.float32]


class SpritesOracle:
    """Judges clips of one sprites world."""

    def __init__(self, world: SpritesWorld) -> None:
        """The world's settings must be those of the clips: size, frames and camera."""
        self.world = SpritesWorld(world.settings.model_copy(update={"noise": 0.0}))

    def measure(self, frames: NDArray[np.uint8], item: WorldItem) -> Measurement:
        """Measure one clip, uint8 ``[T,H,W,3]`` at the world's own size, against what ``item`` asks for.

        Raises:
            ShapeError: the clip has another size or length than the world.
        """
        scene, asked = item.scene, item.action
        truth = self.world.render(scene, asked)
        if frames.shape != truth.shape:
            raise ShapeError(f"clip {frames.shape} is not of the world's size {truth.shape}")
        explained = self._explain(frames, scene, asked)
        rest = self._tracks(self._still(scene, asked), scene, asked)
        seen = _tracks(explained, scene) - rest
        ideal = self._tracks(truth, scene, asked) - rest
        others = [_rms(seen[k] - ideal[k]) for k in range(len(scene.sprites)) if k != asked.sprite]
        others_deviation = max(others, default=0.0)
        nearest = self._nearest_motion(seen[asked.sprite], rest[asked.sprite], scene, asked)
        ground_error, right_camera = self._against_grounds(frames, explained, scene, asked)
        moves = asked.motion != "still"
        return Measurement(
            right_sprite=others_deviation <= OTHERS_TOLERANCE
            and (not moves or _rms(seen[asked.sprite]) > others_deviation),
            right_motion=nearest == asked.motion,
            seen_motion=nearest,
            displacement_ratio=_projection(seen[asked.sprite], ideal[asked.sprite]) if moves else float("nan"),
            others_deviation=others_deviation,
            agreement=1 - min(1.0, _rms(seen - ideal) / max(_rms(ideal), 0.1)),
            ground_error=ground_error,
            first_frame_error=float(np.abs(frames[0].astype(np.float32) - truth[0]).mean()),
            artefacts=float(explained.residual.mean()),
            right_camera=right_camera,
        )

    def _still(self, scene: Scene, asked: Action) -> NDArray[np.uint8]:
        """The clip in which only the camera moves."""
        return self.world.render(scene, Action(asked.sprite, "still", asked.pan))

    def _explain(self, frames: NDArray[np.uint8], scene: Scene, asked: Action) -> _Explanation:
        """Split each pixel's colour c as g + a (s - g): ground g, sprite colour s, opacity a by least squares."""
        ground = self.world.ground(scene, asked)
        offset = frames.astype(np.float32) - ground
        best = np.square(offset).sum(-1)
        owner = np.full(best.shape, -1)
        opacity = np.zeros_like(best)
        for k, sprite in enumerate(scene.sprites):
            toward = np.asarray(COLOURS[sprite.colour], np.float32) - ground
            alpha = np.clip((offset * toward).sum(-1) / np.square(toward).sum(-1), 0, 1)
            error = np.square(offset - alpha[..., None] * toward).sum(-1)
            better = (error < best) & (alpha > _OPAQUE)
            best = np.where(better, error, best)
            owner = np.where(better, k, owner)
            opacity = np.where(better, alpha, opacity)
        return _Explanation(owner, opacity, np.sqrt(best / 3))

    def _tracks(self, frames: NDArray[np.uint8], scene: Scene, asked: Action) -> NDArray[np.float64]:
        return _tracks(self._explain(frames, scene, asked), scene)

    def _nearest_motion(
        self, seen: NDArray[np.float64], rest: NDArray[np.float64], scene: Scene, asked: Action
    ) -> Motion:
        """The motion of the asked sprite whose rendered truth looks most like what was seen, ``[T,3]`` each."""
        candidates: tuple[Motion, ...] = (*MOTIONS, "still")

        def distance(motion: Motion) -> float:
            action = Action(asked.sprite, motion, asked.pan)
            ideal = self._tracks(self.world.render(scene, action), scene, action)[asked.sprite] - rest
            return _rms(seen - ideal)

        return min(candidates, key=distance)

    def _against_grounds(
        self, frames: NDArray[np.uint8], explained: _Explanation, scene: Scene, asked: Action
    ) -> tuple[float, bool]:
        """Mean error where neither the truth nor the clip shows a sprite, and whether no other camera has a smaller."""
        bare = (self.world.masks(scene, asked).max(0) == 0) & (explained.owner < 0)
        if not bare.any():
            return 255.0, False
        seen = frames[bare].astype(np.float32)

        def error(pan: tuple[int, int]) -> float:
            return float(np.abs(seen - self.world.ground(scene, replace(asked, pan=pan))[bare]).mean())

        others = [pan for pan in self.world.cameras if pan != asked.pan]
        return (own := error(asked.pan)), all(own <= error(pan) for pan in others)


def wins(ours: Measurement, theirs: Measurement) -> float:
    """1 where the oracle prefers our clip of a pair, 0 where it prefers theirs, one half where it sees no difference.

    It prefers the clip of the higher score, where a reason speaks for that one: who cannot say why has to guess.
    """
    better, worse = (ours, theirs) if ours.score > theirs.score else (theirs, ours)
    if ours.score == theirs.score or not reasons_for(better, worse):
        return 0.5
    return float(better is ours)


def reasons_for(preferred: Measurement, other: Measurement) -> tuple[Reason, ...]:
    """The paper's four reasons, each given when the preferred clip is better at it by a visible margin."""
    found: list[Reason] = []
    if _unlike_image(preferred) < _unlike_image(other) - 1:
        found.append("image alignment")
    if (preferred.right_sprite, preferred.right_motion) > (other.right_sprite, other.right_motion):
        found.append("text alignment")
    if preferred.agreement > other.agreement + 0.1:
        found.append("object motion")
    if preferred.artefacts < other.artefacts - 1:
        found.append("overall quality")
    return tuple(found)


def _unlike_image(measured: Measurement) -> float:
    return (measured.ground_error + measured.first_frame_error) / 2


def _tracks(explained: _Explanation, scene: Scene) -> NDArray[np.float64]:
    """Each sprite's centre in its diameters and its area over that of a circle of its radius, ``[N,T,3]``.

    A sprite that is nearly gone keeps the centre that it had: what is left of it is noise.
    """
    steps, height, width = explained.owner.shape
    ys, xs = np.mgrid[:height, :width]
    tracks = np.empty((len(scene.sprites), steps, 3))
    for k, sprite in enumerate(scene.sprites):
        expected = np.pi * sprite.radius**2
        centre = (sprite.x, sprite.y)
        for t in range(steps):
            mass = np.where(explained.owner[t] == k, explained.opacity[t], 0)
            area = float(mass.sum())
            if area > 0.2 * expected:
                centre = (float((mass * xs).sum() / area), float((mass * ys).sum() / area))
            tracks[k, t] = (centre[0] / (2 * sprite.radius), centre[1] / (2 * sprite.radius), area / expected)
    return tracks


def _rms(deviation: NDArray[np.float64]) -> float:
    """Root mean square length of track vectors over time (and sprites)."""
    return float(np.sqrt(np.square(deviation).sum(-1).mean()))


def _projection(seen: NDArray[np.float64], ideal: NDArray[np.float64]) -> float:
    """How many times the ideal motion the seen one holds, by least squares."""
    return float((seen * ideal).sum() / np.square(ideal).sum())
