"""The sprites world: three small sprites on a textured ground, and a text that names which one does what.

The first frame is drawn before the motion is chosen, and every sprite has room for every motion, so the picture
says nothing about what will happen: only the text does. A model that leans on the image alone must fail here.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from motionfocal.errors import ConfigError
from motionfocal.settings import Settings
from motionfocal.worlds.drawing import COLOURS, GROUNDS, SHAPES, Ground, coverage

Motion = Literal["left", "right", "up", "down", "grow", "shrink", "jump", "vanish", "still"]

TEXTS: dict[Motion, str] = {
    "left": "moves left",
    "right": "moves right",
    "up": "moves up",
    "down": "moves down",
    "grow": "grows",
    "shrink": "shrinks",
    "jump": "jumps and comes back",
    "vanish": "vanishes",
}
MOTIONS: tuple[Motion, ...] = tuple(TEXTS)

_DIRECTIONS = {"left": (-1.0, 0.0), "right": (1.0, 0.0), "up": (0.0, -1.0), "down": (0.0, 1.0)}
_GROWTH = {"grow": 1.5, "shrink": 0.6}
_PATH = 0.2
"""How far a moving sprite goes, as a share of the frame's side."""
_BENCHMARK = 0xBE
"""A third seed that keeps a benchmark's scenes apart from all training clips, whatever their seeds."""
_LEAST_RADIUS = 0.9
"""Pixels of radius below which the oracle, with sensor noise, misjudges more than one true clip in a hundred."""
_SCENES_TRIED = 1000
"""How often a scene is drawn anew for lack of allowed actions, before that counts as impossible."""


class SpritesSettings(Settings):
    """What the world looks like. The defaults are those of ``motionfocal demo``."""

    size: int = Field(32, ge=16, le=512, description="Side of the square frame, in pixels.")
    frames: int = Field(8, ge=3, le=256, description="Frames a clip; two cannot show a jump.")
    fps: float = Field(8.0, gt=0, description="Frames a second; recorded with each clip.")
    sprites: int = Field(3, ge=1, le=4, description="Sprites a scene, each with a colour of its own.")
    radius: float = Field(
        0.075,
        ge=0.03,
        le=0.12,
        description="Radius of a sprite, as a share of the side; a circle covers pi r^2 of the area.",
    )
    ground: Ground = Field(
        "texture", description="What the sprites stand on: a 'texture' of three scales, or 'stripes' of any direction."
    )
    camera: Literal["still", "pan", "mixed"] = Field(
        "still",
        description="'pan': the camera moves too, and the text says where; 'mixed': it does in half of the clips.",
    )
    pan_path: float = Field(
        0.2, gt=0, le=0.5, description="How far the camera goes in a clip that pans, as a share of the side."
    )
    noise: float = Field(0.0, ge=0, le=64, description="Standard deviation of the sensor noise, in grey levels of 255.")
    still_share: float = Field(
        0.0, ge=0, le=1, description="Share of the clips in which nothing moves ('nothing moves')."
    )
    held_out: float = Field(
        0.0, ge=0, lt=1, description="Share of the combinations of sprite and motion that training never shows."
    )

    @model_validator(mode="after")
    def _sprites_are_seen_and_find_a_place(self) -> Self:
        """With less than a radius of room for each sprite nearly no draw of their centres is apart: it would hang."""
        if self.radius * self.size < _LEAST_RADIUS:
            raise ValueError(
                f"radius {self.radius} is {self.radius * self.size:.2f} pixels in a frame of side {self.size}, too"
                f" small to tell what a sprite does; take at least {_LEAST_RADIUS} pixels, or a larger size"
            )
        room = self.size * (1 - 2 * (self.radius + _PATH)) - 1
        if room < self.sprites * self.radius * self.size:
            raise ValueError(
                f"radius {self.radius} leaves no room for {self.sprites} sprites apart in a frame of side {self.size};"
                " take a smaller radius, or fewer sprites"
            )
        return self


@dataclass(frozen=True)
class Sprite:
    """One sprite of a scene; centre and radius in pixels of the first frame."""

    colour: str
    shape: str
    x: float
    y: float
    radius: float

    @property
    def name(self) -> str:
        """How a text calls it."""
        return f"{self.colour} {self.shape}"


@dataclass(frozen=True)
class Scene:
    """All that a first frame shows. ``ground`` is float32 ``[H+2M,W+2M,3]``, M the margin that a pan may use."""

    ground: NDArray[np.float32]
    sprites: tuple[Sprite, ...]


@dataclass(frozen=True)
class Action:
    """What happens in a clip: which sprite does what, and where the camera goes (a unit vector or zero)."""

    sprite: int
    motion: Motion
    pan: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class WorldItem:
    """One question to a model: a scene and a text, with the action that answers it."""

    id: str
    scene: Scene
    action: Action
    text: str


class SpritesWorld:
    """Draws scenes, chooses actions, renders clips. All randomness comes from the generator that is passed in."""

    def __init__(self, settings: SpritesSettings) -> None:
        self.settings = settings

    @cached_property
    def _margin(self) -> int:
        """Pixels of ground beyond each side of the first frame."""
        return int(np.ceil(self.settings.pan_path * self.settings.size)) + 1 if self.settings.camera != "still" else 0

    @property
    def cameras(self) -> tuple[tuple[int, int], ...]:
        """Where a camera may go: nowhere, and where it may pan at all, in each direction."""
        pans = () if self.settings.camera == "still" else tuple(_DIRECTIONS.values())
        return (0, 0), *((int(dx), int(dy)) for dx, dy in pans)

    def scene(self, rng: np.random.Generator) -> Scene:
        """Draw a ground and sprites of different colours that do not touch, each with room for every motion.

        Under a pan the room is that of a still camera: a sprite that goes against the camera may leave the frame.
        """
        size = self.settings.size
        radius = self.settings.radius * size
        colours = rng.permutation(list(COLOURS))[: self.settings.sprites]
        while True:
            centres = _apart(rng, self.settings.sprites, radius + _PATH * size, size, 2.5 * radius)
            sprites = tuple(
                Sprite(str(colour), str(rng.choice(SHAPES)), x, y, radius)
                for colour, (x, y) in zip(colours, centres, strict=True)
            )
            if not _touch(sprites, size):
                return Scene(GROUNDS[self.settings.ground](rng, size + 2 * self._margin), sprites)

    def action(
        self, scene: Scene, rng: np.random.Generator, combinations: Literal["train", "held_out", "any"] = "any"
    ) -> Action:
        """Choose what happens, uniformly among the allowed combinations of sprite and motion."""
        pan = self._pan(rng)
        if rng.random() < self.settings.still_share:
            return Action(0, "still", pan)
        allowed = self._allowed(scene, combinations)
        if not allowed:
            raise ConfigError(
                f"no {combinations} combination in a scene of {len(scene.sprites)} sprites: held_out is"
                f" {self.settings.held_out}; take another scene or change the share"
            )
        sprite, motion = allowed[int(rng.integers(len(allowed)))]
        return Action(sprite, motion, pan)

    def _pan(self, rng: np.random.Generator) -> tuple[int, int]:
        """Where the camera goes; a camera that has no choice draws nothing."""
        camera = self.settings.camera
        if camera == "still" or (camera == "mixed" and rng.random() < 0.5):
            return 0, 0
        dx, dy = _DIRECTIONS[str(rng.choice(list(_DIRECTIONS)))]
        return int(dx), int(dy)

    def _allowed(self, scene: Scene, combinations: Literal["train", "held_out", "any"]) -> list[tuple[int, Motion]]:
        """The combinations of a scene's sprites and the motions that may be asked."""
        return [
            (k, m)
            for k, sprite in enumerate(scene.sprites)
            for m in MOTIONS
            if combinations == "any" or self.is_held_out(sprite, m) == (combinations == "held_out")
        ]

    def is_held_out(self, sprite: Sprite, motion: Motion) -> bool:
        """Whether training never shows this combination; the same on every machine and for every seed."""
        digest = hashlib.sha256(f"{sprite.name}|{motion}".encode()).digest()
        return int.from_bytes(digest[:4]) / 2**32 < self.settings.held_out

    def text(self, scene: Scene, action: Action) -> str:
        """The prompt that asks for the action."""
        if action.motion == "still":
            what = "nothing moves"
        else:
            what = f"the {scene.sprites[action.sprite].name} {TEXTS[action.motion]}"
        pan = _direction(action.pan)
        return f"{what}, the camera pans {pan}" if pan else what

    def masks(self, scene: Scene, action: Action) -> NDArray[np.float32]:
        """What share of each pixel each sprite covers, float32 ``[N,T,H,W]``, occlusion left aside."""
        size, steps = self.settings.size, self.settings.frames
        masks = np.empty((len(scene.sprites), steps, size, size), np.float32)
        for k, sprite in enumerate(scene.sprites):
            motion = action.motion if k == action.sprite else "still"
            for t in range(steps):
                shift = self._pan_shift(action.pan, t)
                masks[k, t] = _frame_coverage(sprite, motion, shift, t / (steps - 1), size)
        return masks

    def render(self, scene: Scene, action: Action, rng: np.random.Generator | None = None) -> NDArray[np.uint8]:
        """The clip, uint8 ``[T,H,W,3]``. The acting sprite is drawn last. ``rng`` draws the sensor noise, if any."""
        masks = self.masks(scene, action)
        frames = self.ground(scene, action).copy()
        for k in sorted(range(len(scene.sprites)), key=lambda k: k == action.sprite):
            alpha = masks[k][..., None]
            frames += alpha * (np.asarray(COLOURS[scene.sprites[k].colour], np.float32) - frames)
        if self.settings.noise:
            if rng is None:
                raise ConfigError("the world has sensor noise: pass the generator that draws it")
            frames += rng.normal(0, self.settings.noise, frames.shape).astype(np.float32)
        return np.clip(np.rint(frames), 0, 255).astype(np.uint8)

    def ground(self, scene: Scene, action: Action) -> NDArray[np.float32]:
        """The ground without sprites as the camera sees it, float32 ``[T,H,W,3]``."""
        size, margin = self.settings.size, self._margin
        shifts = [self._pan_shift(action.pan, t) for t in range(self.settings.frames)]
        return np.stack([_window(scene.ground, margin + dy, margin + dx, size) for dx, dy in shifts])

    def _pan_shift(self, pan: tuple[int, int], frame: int) -> tuple[float, float]:
        """Where the camera stands in a frame, in pixels from its start."""
        gone = self.settings.pan_path * self.settings.size * frame / (self.settings.frames - 1)
        return pan[0] * gone, pan[1] * gone

    def first_frame(self, scene: Scene) -> NDArray[np.uint8]:
        """The picture that a model is given, uint8 ``[H,W,3]``, free of noise."""
        still = Action(0, "still")
        quiet = SpritesWorld(self.settings.model_copy(update={"noise": 0.0, "frames": 2}))
        return quiet.render(scene, still)[0]

    def moving_mask(self, scene: Scene, action: Action) -> NDArray[np.bool_]:
        """The pixels of the acting sprite, bool ``[T,H,W]``: the truth that a heatmap should find."""
        if action.motion == "still":
            return np.zeros((self.settings.frames, self.settings.size, self.settings.size), bool)
        return self.masks(scene, action)[action.sprite] > 0.5

    def items(
        self,
        images: int,
        texts: int,
        seed: int,
        combinations: Literal["train", "held_out", "any"] = "any",
    ) -> list[WorldItem]:
        """A benchmark: ``images`` scenes with ``texts`` different actions each, the same for the same seed.

        Raises ConfigError when no scene allows that many.
        """
        found: list[WorldItem] = []
        for index in range(images):
            rng = np.random.default_rng((seed, index, _BENCHMARK))
            scene = self.scene_for(texts, rng, combinations)
            actions: list[Action] = []
            while len(actions) < texts:
                action = self.action(scene, rng, combinations)
                if action not in actions:
                    actions.append(action)
            found += [WorldItem(_item_id(index, scene, a), scene, a, self.text(scene, a)) for a in actions]
        return found

    def scene_for(
        self, texts: int, rng: np.random.Generator, combinations: Literal["train", "held_out", "any"]
    ) -> Scene:
        """The first scene drawn that allows so many different actions; ConfigError when none seems to.

        Something may move in it unless nothing ever does: ``action`` has something to choose whatever it draws.
        """
        cameras = {"still": 1, "pan": len(_DIRECTIONS), "mixed": len(_DIRECTIONS) + 1}[self.settings.camera]
        share = self.settings.still_share
        for _ in range(_SCENES_TRIED):
            scene = self.scene(rng)
            moving = len(self._allowed(scene, combinations)) if share < 1 else 0
            if (moving or share == 1) and cameras * (moving + (share > 0)) >= texts:
                return scene
        raise ConfigError(
            f"texts: no scene has {texts} different {combinations} actions with still_share {share} and held_out"
            f" {self.settings.held_out}; ask for fewer texts"
        )


def _item_id(index: int, scene: Scene, action: Action) -> str:
    """What is asked, readable, and different for all items of a benchmark."""
    what = f"scene{index:04d}_{scene.sprites[action.sprite].colour}_{action.motion}"
    pan = _direction(action.pan)
    return f"{what}_{pan}" if pan else what


def _direction(pan: tuple[int, int]) -> str:
    """The name of a camera's direction, empty when it stands still."""
    return next((name for name, direction in _DIRECTIONS.items() if direction == pan), "")


def _touch(sprites: Sequence[Sprite], size: int) -> bool:
    """Whether two sprites share a pixel: which one acts, and is drawn last, would then show in the first frame."""
    covered = [coverage(sprite.shape, sprite.x, sprite.y, sprite.radius, size) > 0 for sprite in sprites]
    return bool((np.sum(covered, axis=0) > 1).any())


def _apart(
    rng: np.random.Generator, count: int, margin: float, size: int, distance: float
) -> Sequence[tuple[float, float]]:
    """Centres at least ``margin`` from the frame's border and ``distance`` from each other, by rejection."""
    while True:
        points = rng.uniform(margin, size - 1 - margin, (count, 2))
        gaps = np.linalg.norm(points[:, None] - points[None], axis=-1)[np.triu_indices(count, 1)]
        if (gaps >= distance).all():
            return [(float(x), float(y)) for x, y in points]


def _frame_coverage(
    sprite: Sprite, motion: Motion, camera: tuple[float, float], u: float, size: int
) -> NDArray[np.float32]:
    """The sprite's share of each pixel at time u in [0, 1], float32 ``[size,size]``, the camera's place in pixels."""
    x, y, radius, opacity = sprite.x, sprite.y, sprite.radius, 1.0
    path = _PATH * size
    if motion in _DIRECTIONS:
        dx, dy = _DIRECTIONS[motion]
        x, y = x + dx * path * u, y + dy * path * u
    elif motion in _GROWTH:
        radius *= 1 + (_GROWTH[motion] - 1) * u
    elif motion == "jump":
        y -= path * np.sin(np.pi * u)
    elif motion == "vanish":
        opacity = max(0.0, 1 - 2 * u)
    return np.float32(opacity) * coverage(sprite.shape, x - camera[0], y - camera[1], radius, size)


def _window(ground: NDArray[np.float32], top: float, left: float, size: int) -> NDArray[np.float32]:
    """A square of the ground at a fractional position, by bilinear interpolation."""
    y, x = int(np.floor(top)), int(np.floor(left))
    fy, fx = np.float32(top - y), np.float32(left - x)
    rows = ground[y : y + size] if fy == 0 else (1 - fy) * ground[y : y + size] + fy * ground[y + 1 : y + size + 1]
    return rows[:, x : x + size] if fx == 0 else (1 - fx) * rows[:, x : x + size] + fx * rows[:, x + 1 : x + size + 1]
