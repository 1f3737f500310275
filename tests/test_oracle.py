"""The world's oracle: true clips pass, every kind of failure is caught, and the verdict says which it was."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import pairwise, product

import numpy as np
import pytest
from numpy.typing import NDArray

from motionfocal.errors import ShapeError
from motionfocal.video import read_clip, resize_and_crop, write_clip
from motionfocal.worlds import Action, SpritesSettings, SpritesWorld, WorldItem
from motionfocal.worlds.oracle import DAMAGE_LIMIT, Measurement, SpritesOracle, reasons_for, wins
from motionfocal.worlds.sprites import MOTIONS, TEXTS

Frames = NDArray[np.uint8]
WORLD = SpritesWorld(SpritesSettings())
ORACLE = SpritesOracle(WORLD)
RNG = np.random.default_rng(0)


@cache
def items() -> list[WorldItem]:
    """One item a motion, each in a scene of its own."""
    found = {item.action.motion: item for item in WORLD.items(12, 6, seed=11)}
    assert found.keys() == set(MOTIONS)
    return list(found.values())


def true_clip(item: WorldItem) -> Frames:
    return WORLD.render(item.scene, item.action)


@cache
def true_measurements() -> list[Measurement]:
    return [ORACLE.measure(true_clip(item), item) for item in items()]


def other_sprite(item: WorldItem) -> int:
    return (item.action.sprite + 1) % 3


def both(item: WorldItem, second: Action) -> Frames:
    """The true clip, in which another sprite acts too."""
    also = WORLD.render(item.scene, second)
    still = WORLD.render(item.scene, Action(0, "still"))
    return np.where((also != still).any(-1, keepdims=True), also, true_clip(item))


def share_of_motion(item: WorldItem, share: float) -> Frames:
    """The asked motion, carried out at the same pace to a share of what was asked, in eighths."""
    slow = SpritesWorld(WORLD.settings.model_copy(update={"frames": 1 + 7 * 8}))
    return slow.render(item.scene, item.action)[np.arange(8) * round(8 * share)]


# --- every failure: how to make it, which part of the verdict must say so, and the reasons against it ----------------


def wrong_object(item: WorldItem) -> Frames:
    return WORLD.render(item.scene, Action(other_sprite(item), item.action.motion))


def wrong_motion(item: WorldItem) -> Frames:
    opposite = {"left": "right", "right": "left", "up": "down", "down": "up", "grow": "shrink", "shrink": "grow"}
    return WORLD.render(item.scene, Action(item.action.sprite, opposite.get(item.action.motion, "left")))  # type: ignore[arg-type]


def frozen(item: WorldItem) -> Frames:
    return true_clip(item)[:1].repeat(8, 0)


def other_moves_too(item: WorldItem) -> Frames:
    return both(item, Action(other_sprite(item), "left" if item.action.motion == "right" else "right"))


def too_short(item: WorldItem) -> Frames:
    return share_of_motion(item, 1 / 4)


def brighter_ground(item: WorldItem) -> Frames:
    return np.clip(true_clip(item).astype(int) + 24, 0, 255).astype(np.uint8)


def other_ground(item: WorldItem) -> Frames:
    stranger = WORLD.scene(np.random.default_rng(99))
    swapped = type(item.scene)(stranger.ground, item.scene.sprites)
    return WORLD.render(swapped, item.action)


def noise_as_first_frame(item: WorldItem) -> Frames:
    frames = true_clip(item)
    frames[0] = RNG.integers(0, 256, frames[0].shape)
    return frames


def random_pixels(item: WorldItem) -> Frames:
    return RNG.integers(0, 256, true_clip(item).shape, dtype=np.uint8)


def black(item: WorldItem) -> Frames:
    return np.zeros_like(true_clip(item))


def sprites_melt(item: WorldItem) -> Frames:
    frames = true_clip(item)
    frames[1:] = np.rint(WORLD.ground(item.scene, item.action)[1:])
    return frames


TEXT, MOTION, IMAGE, QUALITY = "text alignment", "object motion", "image alignment", "overall quality"
FAILURES: list[tuple[Callable[[WorldItem], Frames], str, set[str]]] = [
    (wrong_object, "right_sprite", {TEXT, MOTION}),
    (wrong_motion, "right_motion", {TEXT, MOTION}),
    (frozen, "right_motion", {TEXT, MOTION}),
    (other_moves_too, "right_sprite", {TEXT, MOTION}),
    (too_short, "right_motion", {TEXT, MOTION}),
    (brighter_ground, "undamaged", {IMAGE, QUALITY}),
    (other_ground, "undamaged", {IMAGE, QUALITY}),
    (noise_as_first_frame, "undamaged", {IMAGE, QUALITY}),
    (random_pixels, "undamaged", {IMAGE, TEXT, MOTION, QUALITY}),
    (black, "undamaged", {IMAGE, TEXT, MOTION, QUALITY}),
    (sprites_melt, "right_sprite", {TEXT, MOTION}),
]
PURE = {wrong_object, wrong_motion, frozen, other_moves_too, too_short, sprites_melt}
"""Failures that leave the picture whole: image and quality are no reasons against them."""


def test_true_clips_are_followed_exactly() -> None:
    for item, seen in zip(items(), true_measurements(), strict=True):
        assert seen.followed
        assert seen.right_sprite
        assert seen.seen_motion == item.action.motion
        assert seen.displacement_ratio == pytest.approx(1)
        assert seen.agreement == pytest.approx(1)
        assert seen.others_deviation == pytest.approx(0, abs=1e-9)
        assert max(seen.ground_error, seen.first_frame_error) < 0.5
        assert seen.score > 1.9


@pytest.mark.parametrize(("failure", "verdict", "reasons"), FAILURES, ids=lambda value: getattr(value, "__name__", ""))
def test_failures_are_caught_and_named(failure: Callable[[WorldItem], Frames], verdict: str, reasons: set[str]) -> None:
    for item, true in zip(items(), true_measurements(), strict=True):
        seen = ORACLE.measure(failure(item), item)
        assert not seen.followed, item.id
        assert not getattr(seen, verdict), item.id
        assert true.score > seen.score, item.id
        given_reasons = set(reasons_for(true, seen))
        assert given_reasons >= reasons, item.id
        assert reasons_for(seen, true) == ()
        assert (wins(true, seen), wins(seen, true), wins(seen, seen)) == (1, 0, 0.5), item.id
        if failure in PURE:
            assert seen.undamaged, item.id
            assert given_reasons == reasons, item.id


def test_what_was_seen_is_named() -> None:
    for item in items()[::3]:
        sprite = item.action.sprite
        for motion in TEXTS:
            seen = ORACLE.measure(WORLD.render(item.scene, Action(sprite, motion)), item)
            assert seen.seen_motion == motion
        assert ORACLE.measure(frozen(item), item).seen_motion == "still"


def test_the_wrong_object_is_not_the_wrong_motion_of_the_right_one() -> None:
    alone = 0
    for item in items():
        other_too = ORACLE.measure(other_moves_too(item), item)
        assert other_too.right_motion
        assert not other_too.right_sprite
        assert other_too.others_deviation > 0.3
        wrong_way = ORACLE.measure(wrong_motion(item), item)
        assert not wrong_way.right_motion
        alone += wrong_way.right_sprite
    assert alone >= len(items()) - 1  # on a wrong way it may hide another sprite


def test_score_grows_with_displacement_and_falls_beyond_it() -> None:
    for item in (item for item in items() if item.action.motion in ("up", "shrink", "vanish")):
        scores = [ORACLE.measure(share_of_motion(item, k / 8), item).score for k in (0, 1, 2, 3, 4, 6, 8)]
        assert all(more > less for less, more in pairwise(scores)), item.id
    grown = next(item for item in items() if item.action.motion == "grow")
    overshoot = SpritesWorld(WORLD.settings.model_copy(update={"frames": 4})).render(grown.scene, grown.action)
    beyond = ORACLE.measure(np.concatenate([overshoot, overshoot[-1:].repeat(4, 0)]), grown)
    assert 1 < beyond.displacement_ratio < 1.5
    assert beyond.score < 1.8


def test_displacement_ratio_is_the_share_that_was_carried_out() -> None:
    moving = next(item for item in items() if item.action.motion == "right")
    for share in (0.25, 0.5, 0.75):
        seen = ORACLE.measure(share_of_motion(moving, share), moving)
        assert seen.displacement_ratio == pytest.approx(share, abs=0.05)
        assert share == 0.5 or seen.followed == (share > 0.5)


def test_too_little_and_too_much_are_not_followed() -> None:
    true = true_measurements()[0]
    for ratio, enough in ((0.4, False), (0.5, True), (1.5, True), (1.6, False), (float("nan"), False)):
        assert replace(true, displacement_ratio=ratio).followed is enough
    assert replace(true, seen_motion="still", displacement_ratio=float("nan")).followed


def test_h264_at_the_quality_of_galleries_is_still_followed(tmp_path) -> None:
    for item in items():
        write_clip(tmp_path / "clip.mp4", true_clip(item), 8, crf=16, upscale=8)
        frames = resize_and_crop(read_clip(tmp_path / "clip.mp4").frames, (32, 32))
        seen = ORACLE.measure(frames, item)
        assert seen.followed, item.id
        assert seen.displacement_ratio == pytest.approx(1, abs=0.05)
        assert 0 < max(seen.ground_error, seen.first_frame_error) < 2.5
        assert seen.score > 1.9


@pytest.mark.parametrize("camera", ["still", "pan", "mixed"])
@pytest.mark.parametrize("noise", [0.0, 8.0])
def test_true_clips_of_other_worlds_are_followed(camera: str, noise: float) -> None:
    world = SpritesWorld(SpritesSettings.model_validate({"camera": camera, "noise": noise, "still_share": 0.3}))
    oracle = SpritesOracle(world)
    asked = world.items(5, 3, seed=4)
    assert {"still"} < {item.action.motion for item in asked}
    for item in asked:
        seen = oracle.measure(world.render(item.scene, item.action, np.random.default_rng(1)), item)
        assert seen.followed, item.id


HARD = SpritesWorld(SpritesSettings(radius=0.05, camera="mixed", noise=4.0, still_share=0.15))
"""Sprites of 1 % of the area, a camera that may pan, sensor noise, and clips in which nothing moves."""


def hard_items() -> list[WorldItem]:
    asked = HARD.items(5, 3, seed=2)
    assert {(item.action.motion == "still", item.action.pan != (0, 0)) for item in asked} == set(
        product((False, True), repeat=2)
    )
    return asked


@pytest.mark.parametrize("error", [0.0, 4.0])
def test_true_clips_of_the_hard_world_are_followed(error: float) -> None:
    """Also when they come with a mean error of so many grey levels; a normal error's mean is 0.8 of its deviation."""
    oracle, rng = SpritesOracle(HARD), np.random.default_rng(2)
    for item in hard_items():
        true = HARD.render(item.scene, item.action, rng)
        sent = np.clip(np.rint(true + rng.normal(0, error * np.sqrt(np.pi / 2), true.shape)), 0, 255).astype(np.uint8)
        assert np.abs(sent - true.astype(float)).mean() == pytest.approx(error, rel=0.1)
        seen = oracle.measure(sent, item)
        assert seen.followed, item.id
        assert seen.seen_motion == item.action.motion


def test_other_clips_of_the_hard_world_are_not_followed() -> None:
    oracle, rng = SpritesOracle(HARD), np.random.default_rng(2)
    for item in hard_items():
        asked = item.action
        other = MOTIONS[(MOTIONS.index(asked.motion) + 1) % len(MOTIONS)] if asked.motion != "still" else "left"
        pan = (asked.pan[1], asked.pan[0]) if asked.pan != (0, 0) else (0, 1)
        wrong = {
            "other motion": Action(asked.sprite, other, asked.pan),
            "other camera": Action(asked.sprite, asked.motion, pan),
        }
        if asked.motion != "still":
            wrong["other sprite"] = Action(other_sprite(item), asked.motion, asked.pan)
            wrong["only the camera"] = Action(asked.sprite, "still", asked.pan)
        if asked.pan != (0, 0):
            wrong["no pan"] = Action(asked.sprite, asked.motion)
        for what, action in wrong.items():
            assert not oracle.measure(HARD.render(item.scene, action, rng), item).followed, (item.id, what)


@pytest.mark.parametrize("size", [16, 48])
def test_other_sizes_and_lengths(size: int) -> None:
    world = SpritesWorld(SpritesSettings(size=size, frames=5, sprites=2))
    oracle = SpritesOracle(world)
    for item in world.items(3, 3, seed=0):
        assert oracle.measure(world.render(item.scene, item.action), item).followed
        frozen = world.first_frame(item.scene)[None].repeat(5, 0)
        assert not oracle.measure(frozen, item).followed


@pytest.mark.parametrize("path", [0.04, 0.1, 0.2, 0.4])
def test_pan_must_be_followed_too(path: float) -> None:
    world = SpritesWorld(SpritesSettings(camera="pan", pan_path=path))
    oracle = SpritesOracle(world)
    for item in world.items(3, 1, seed=1):
        dx, dy = item.action.pan
        true = oracle.measure(world.render(item.scene, item.action), item)
        for pan in ((0, 0), (-dx, -dy), (dy, dx)):
            astray = Action(item.action.sprite, item.action.motion, pan)
            seen = oracle.measure(world.render(item.scene, astray), item)
            assert not seen.followed
            assert not seen.right_camera
            assert true.score > seen.score
            assert seen.ground_error > 5 * true.ground_error


@pytest.mark.parametrize("camera", ["still", "pan"])
def test_stripes_are_judged_like_any_ground(camera: str) -> None:
    world = SpritesWorld(SpritesSettings.model_validate({"ground": "stripes", "camera": camera}))
    oracle = SpritesOracle(world)
    for item in world.items(6, 3, seed=0):
        assert oracle.measure(world.render(item.scene, item.action), item).followed, item.id
        frozen = world.first_frame(item.scene)[None].repeat(8, 0)
        assert not oracle.measure(frozen, item).followed, item.id


def test_what_nobody_can_see_decides_nothing() -> None:
    true = true_measurements()[0]
    assert wins(true, replace(true, agreement=true.agreement - 0.09)) == 0.5
    assert wins(true, replace(true, agreement=true.agreement - 0.11)) == 1
    assert wins(replace(true, ground_error=true.ground_error + 1.9), true) == 0.5
    assert wins(replace(true, ground_error=true.ground_error + 2.1), true) == 0


def test_nothing_moves() -> None:
    world = SpritesWorld(SpritesSettings(still_share=1.0))
    oracle = SpritesOracle(world)
    (item,) = world.items(1, 1, seed=0)
    still = oracle.measure(world.render(item.scene, item.action), item)
    assert still.followed
    assert np.isnan(still.displacement_ratio)
    for k in range(3):
        moved = oracle.measure(world.render(item.scene, Action(k, "left")), item)
        assert not moved.followed
        assert moved.right_sprite == (k == item.action.sprite)  # "nothing moves" names sprite 0 for lack of another
        assert moved.score < still.score
        assert reasons_for(still, moved) == ("text alignment", "object motion")


def test_a_clip_of_another_size_or_length_is_refused() -> None:
    item = items()[0]
    for frames in (true_clip(item)[:-1], true_clip(item)[:, :-1]):
        with pytest.raises(ShapeError, match=r"not of the world's size \(8, 32, 32, 3\)"):
            ORACLE.measure(frames, item)


def test_lone_sprite_has_no_others() -> None:
    world = SpritesWorld(SpritesSettings(sprites=1))
    (item,) = world.items(1, 1, seed=2)
    seen = SpritesOracle(world).measure(world.render(item.scene, item.action), item)
    assert seen.followed
    assert seen.others_deviation == 0


def test_damage_limit_is_a_mean_error_in_grey_levels() -> None:
    item = items()[0]
    for shift, kept in ((DAMAGE_LIMIT - 2, True), (DAMAGE_LIMIT + 2, False)):
        frames = np.clip(true_clip(item).astype(int) + int(shift), 0, 255).astype(np.uint8)
        seen = ORACLE.measure(frames, item)
        assert seen.ground_error == pytest.approx(shift, abs=0.5)
        assert seen.undamaged is kept
