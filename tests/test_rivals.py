"""The rivals and ablations that experiments compare with: other heat, the frame-difference loss, noise on the image."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from motionfocal.data.batches import ClipBatches
from motionfocal.data.sources import SpritesData, SpritesSource
from motionfocal.errors import ConfigError, ShapeError
from motionfocal.loss import WEIGHTINGS, MotionFocalLoss, StrengthSchedule
from motionfocal.models.build import build_model
from motionfocal.models.families import compact
from motionfocal.models.protocol import ClipShape, Condition
from motionfocal.models.schedule import DiffusionSettings, FlowSettings
from motionfocal.models.xcat import XCatModel
from motionfocal.motion import HeatmapSettings, LatentSpec, heatmap, heatmap_of, motion_of, pool_to_latent
from motionfocal.training.config import load_config, recipe
from motionfocal.training.loop import Trainer
from motionfocal.training.need import training_need
from motionfocal.training.objective import ClipSeeds, DiffusionObjective
from motionfocal.worlds import SpritesSettings, SpritesWorld

CPU = torch.device("cpu")
SHAPE = ClipShape(frames=4, height=16, width=16, fps=8)
WORLD = {"size": 16, "frames": 4}
TINY = [
    "steps=2", "batch_size=2", "threads=1", "device=cpu", "optimizer.warmup_steps=1",
    "data.kind=sprites", "data.world.size=16", "data.world.frames=4",
    "model.family=compact", "model.width=16", "model.text_width=16",
]  # fmt: skip
DIFFERENCE, TRUTH = HeatmapSettings(source="difference"), HeatmapSettings(source="truth")


def tiny(*overrides):
    return load_config(None, [*TINY, *overrides])


def trainer_of(config):
    return Trainer(config, SpritesSource(config.data, config.seed))


def steps_of(config):
    """The figures of all steps."""
    trainer, clips = trainer_of(config), range(config.batch_size)
    batches = (trainer.source.load(step, config.batch_size, clips) for step in range(config.steps))
    return [trainer.train_step(batches) for _ in range(config.steps)]


# --- heat from differences ------------------------------------------------------------------------------------------


def by_loops(frames):
    """The heat by its definition, one pixel at a time."""
    count, height, width, _ = frames.shape
    change = np.zeros((count, height, width))
    for t in range(count):
        for y in range(height):
            for x in range(width):
                pairs = [
                    sum(abs(int(a) - int(b)) for a, b in zip(frames[t, y, x], frames[s, y, x], strict=True)) / 3
                    for s in (t - 1, t + 1)
                    if 0 <= s < count
                ]
                change[t, y, x] = max(pairs)
    top = math.log(1 + np.percentile(change, 99))
    heat = [0.0 if d == 0 else 1.0 if top == 0 else min(math.log(1 + d) / top, 1) for d in change.flat]
    return np.reshape(heat, change.shape)


@given(seed=st.integers(0, 999), count=st.integers(2, 5), share=st.sampled_from([0.0, 0.002, 0.1, 1.0]))
@settings(max_examples=30)
def test_heat_of_differences_is_its_definition(seed, count, share):
    rng = np.random.default_rng(seed)
    frames = rng.integers(0, 256, (1, 9, 11, 3), dtype=np.uint8).repeat(count, axis=0)
    where = rng.random(frames.shape) < share
    frames[where] = rng.integers(0, 256, where.sum(), dtype=np.uint8)
    heat = heatmap_of(frames, DIFFERENCE)
    assert (heat.dtype, heat.shape) == (np.float32, frames.shape[:3])
    np.testing.assert_allclose(heat, by_loops(frames), atol=1e-6)


def test_a_flash_lights_its_frame_and_the_neighbours_alone():
    frames = np.full((5, 20, 20, 3), 100, np.uint8)
    frames[2, 3, 4] = 130
    heat = heatmap_of(frames, DIFFERENCE)
    assert (heat[1:4, 3, 4] == 1).all(), "less than a hundredth changes, so all of it counts in full"
    assert heat.sum() == 3
    assert not heatmap_of(frames[:2], DIFFERENCE).any(), "a clip at rest is dark"


def test_differences_need_no_flow_and_their_score_is_the_mean_heat(monkeypatch):
    monkeypatch.setattr(heatmap, "estimate_flow", None)
    frames = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    motion = motion_of(frames, DIFFERENCE)
    assert 0 < motion.score < 1
    assert motion.score == pytest.approx(motion.heat.mean())


@pytest.mark.parametrize("frames", [np.zeros((1, 8, 8, 3), np.uint8), np.zeros((3, 8, 8, 3)), np.zeros((3, 8, 8))])
def test_frames_without_a_difference_are_refused(frames):
    with pytest.raises(ShapeError, match=r"uint8 frames \[T>=2,H,W,3\]"):
        heatmap_of(frames, DIFFERENCE)


IDLE = ["estimator=dis", "scale=2.0", "camera=compensated", "midpoint=0.1", "steepness=9", "floor=0.1"]


@pytest.mark.parametrize("source", ["difference", "truth"])
@pytest.mark.parametrize("setting", IDLE)
def test_settings_of_the_flow_are_refused_without_flow(source, setting):
    with pytest.raises(ConfigError, match=f"motion: {setting.split('=')[0]}: no effect"):
        tiny(f"motion.source={source}", f"motion.{setting}")
    assert tiny(f"motion.{setting}").motion.source == "flow"


def test_a_recipe_that_tunes_the_flow_takes_another_source_whole():
    assert load_config(recipe("sprites"), ["motion={source: difference}"]).motion == DIFFERENCE
    with pytest.raises(ConfigError, match="scale, floor: no effect"):
        load_config(recipe("sprites"), ["motion.source=difference"])


# --- heat from the truth --------------------------------------------------------------------------------------------


def test_the_truth_is_the_worlds_mask_on_the_latent_grid():
    batches = ClipBatches(SpritesSource(SpritesData(world=WORLD), 3), TRUTH, LatentSpec(12, 2))
    motion, world = batches.load(0, 4, range(4)).motion, SpritesWorld(SpritesSettings(**WORLD))
    for place in range(4):
        rng = np.random.default_rng((3, place))
        scene = world.scene_for(1, rng, "train")
        mask = world.moving_mask(scene, world.action(scene, rng, "train"))
        assert 0 < mask.mean() < 0.2
        assert torch.equal(motion.heat[place, 0], pool_to_latent(mask.astype(np.float32), LatentSpec(12, 2)))
        assert motion.score[place] == pytest.approx(mask.mean())


def test_what_changes_most_is_what_truly_moves():
    """A pixel that is less than half covered before and after cannot change much."""
    inside = []
    for example in SpritesSource(SpritesData(), 5).batch(0, 12):
        changes = np.abs(np.diff(example.frames.astype(int), axis=0)).mean(-1) > 50
        inside += list((example.moving[1:] | example.moving[:-1])[changes])
    assert len(inside) > 100
    assert np.mean(inside) > 0.95


def test_the_truth_of_clips_is_not_known():
    with pytest.raises(ConfigError, match="the data are clips"):
        load_config(None, ["motion.source=truth", "data.kind=folder", "data.videos=x"])
    frames = np.zeros((3, 8, 8, 3), np.uint8)
    with pytest.raises(ConfigError, match="only a world knows"):
        motion_of(frames, TRUTH)
    with pytest.raises(ShapeError, match=r"\[3, 8, 9\] does not fit"):
        motion_of(frames, TRUTH, np.zeros((3, 8, 9), bool))


def test_each_source_of_heat_trains():
    """All see the same clips, timesteps and noise, so that their plain loss is one and their weights differ."""
    figures = {source: steps_of(tiny(f"motion.source={source}"))[0] for source in ("flow", "difference", "truth")}
    assert len({figure["diffusion"] for figure in figures.values()}) == 1
    assert len({figure["mean_weight"] for figure in figures.values()}) == 3


# --- the frame-difference loss --------------------------------------------------------------------------------------


def tensors(shape=(2, 4, 3, 5, 6), seed=0):
    rng = torch.Generator().manual_seed(seed)
    heat = torch.rand((shape[0], 1, *shape[2:]), generator=rng)
    return torch.randn(shape, generator=rng), torch.randn(shape, generator=rng), heat


@given(weighting=st.sampled_from(WEIGHTINGS), share=st.floats(0, 1), frames=st.integers(2, 5), seed=st.integers(0, 99))
@settings(max_examples=40)
def test_a_share_of_the_loss_is_the_error_of_changes(weighting, share, frames, seed):
    prediction, target, heat = tensors((2, 4, frames, 5, 6), seed)
    without = MotionFocalLoss(2.0, weighting)(prediction, target, heat)
    out = MotionFocalLoss(2.0, weighting, difference=share)(prediction, target, heat)
    of_changes = np.square(np.diff(prediction.numpy(), axis=2) - np.diff(target.numpy(), axis=2)).mean()
    assert out.total.item() == pytest.approx((1 - share) * without.total.item() + share * of_changes, rel=1e-5)
    assert torch.equal(out.diffusion, without.diffusion)
    assert torch.equal(out.motif, without.motif)


def test_an_error_that_stays_the_same_is_no_error_of_changes():
    prediction, _, heat = tensors()
    offset = torch.randn(2, 4, 1, 5, 6)
    assert MotionFocalLoss(difference=1)(prediction, prediction + offset, heat).total.item() < 1e-12
    assert MotionFocalLoss(difference=0.5)(prediction, prediction + offset, heat).total.item() > 0.1


def test_given_frames_are_out_of_the_changes_too():
    prediction, target, heat = tensors()
    prediction.requires_grad_()
    generated = torch.ones_like(heat)
    generated[:, :, 0] = 0
    loss = MotionFocalLoss(difference=0.3)
    out = loss(prediction, target, heat, generated)
    out.total.backward()
    assert (prediction.grad[:, :, 0] == 0).all()
    torch.testing.assert_close(out.total, loss(*(x[:, :, 1:] for x in (prediction, target, heat))).total)


def test_splitting_a_batch_does_not_change_the_mixed_loss():
    tensor, loss = tensors((4, 4, 3, 5, 6)), MotionFocalLoss(weighting="motionfocal", difference=0.4)
    parts = [loss(*(x[n : n + 1] for x in tensor)).total for n in range(4)]
    torch.testing.assert_close(loss(*tensor).total, torch.stack(parts).mean())


NO_TIME = {
    "btchw": ((2, 3, 4, 5, 6), (2, 3, 1, 5, 6)),
    "bthwc": ((2, 3, 5, 6, 4), (2, 3, 5, 6, 1)),
    "tokens": ((2, 90, 4), (2, 90, 1)),
    "image": ((2, 4, 5, 6), (2, 1, 5, 6)),
    "one frame": ((2, 4, 1, 5, 6), (2, 1, 1, 5, 6)),
}


@pytest.mark.parametrize(("shape", "heat_shape"), NO_TIME.values(), ids=NO_TIME)
def test_changes_need_frames_in_their_place(shape, heat_shape):
    error, heat = torch.ones(shape), torch.ones(heat_shape)
    assert MotionFocalLoss()(error, 0 * error, heat).total.item() == 2
    with pytest.raises(ShapeError, match="difference needs") as raised:
        MotionFocalLoss(difference=0.1)(error, 0 * error, heat)
    assert str(tuple(shape)) in str(raised.value)


def test_changes_need_two_generated_frames():
    prediction, target, heat = tensors((2, 4, 2, 5, 6))
    generated = torch.ones_like(heat)
    generated[:, :, 0] = 0
    with pytest.raises(ShapeError, match="two neighbouring latent frames"):
        MotionFocalLoss(difference=0.1)(prediction, target, heat, generated)


def test_a_share_of_changes_reaches_training_and_is_a_share():
    plain, mixed = (steps_of(tiny(f"loss.difference={share}"))[0] for share in (0, 0.25))
    assert mixed["diffusion"] == plain["diffusion"]
    assert mixed["loss"] != plain["loss"]
    assert trainer_of(tiny("loss.difference=0.25")).objective.loss == MotionFocalLoss(difference=0.25)
    for share in (-0.1, 1.1):
        with pytest.raises(ConfigError, match="difference"):
            MotionFocalLoss(difference=share)
        with pytest.raises(ConfigError, match=r"loss\.difference"):
            tiny(f"loss.difference={share}")


@pytest.mark.parametrize("setting", ["weighting=none", "strength=2", "over_noise=rising"])
def test_nothing_else_weighs_where_changes_are_all(setting):
    with pytest.raises(ConfigError, match=r"no effect with loss\.difference=1"):
        tiny("loss.difference=1", f"loss.{setting}")
    assert tiny("loss.difference=0.9", f"loss.{setting}").loss.difference == 0.9


# --- noise on the image ---------------------------------------------------------------------------------------------


def model_of(schedule=None):
    family = compact.Family(width=16, text_width=16, schedule=schedule or DiffusionSettings())
    return build_model(family, SHAPE, 0)


def batch_of(model, clips=2):
    source = SpritesSource(SpritesData(world=WORLD), 0)
    return ClipBatches(source, DIFFERENCE, model.spec).load(0, clips, range(clips)).encode(model, CPU)


def objective_of(model, image_noise):
    return DiffusionObjective(model, MotionFocalLoss(), StrengthSchedule(), 0.5, model.encode_text([""]), image_noise)


def seen_by(model, image_noise, steps=1):
    """What the network is given in each step: noisy latents, timesteps, condition; and the batch."""
    batch, seen = batch_of(model), []
    model.predict = lambda *given: seen.append(given) or given[0]
    for step in range(steps):
        objective_of(model, image_noise)(batch, ClipSeeds(7, step, range(2)))
    return seen, batch


def test_arms_with_and_without_image_noise_draw_all_else_the_same():
    (without, plain), (with_it, batch) = (seen_by(model_of(), deviation, steps=8) for deviation in (0.0, 2.0))
    for (noisy, timestep, told), (noisy_2, timestep_2, told_2) in zip(without, with_it, strict=True):
        assert torch.equal(noisy, noisy_2)
        assert torch.equal(timestep, timestep_2)
        assert torch.equal(told.text["tokens"], told_2.text["tokens"])
        assert torch.equal(told.image["latent"], plain.image["latent"])
        assert not torch.equal(told_2.image["latent"], plain.image["latent"])
    assert torch.equal(batch.image["latent"], plain.image["latent"]), "the batch itself stays clean"


@pytest.mark.parametrize("schedule", [DiffusionSettings(), FlowSettings()], ids=["diffusion", "flow"])
def test_image_noise_is_the_square_of_a_uniform_share_of_the_noise_level(schedule):
    model = model_of(schedule)
    seen, batch = seen_by(model, 3.0, steps=200)
    deviations = torch.stack([(told.image["latent"] - batch.image["latent"]).flatten(1).std(1) for *_, told in seen])
    levels = torch.stack([model.schedule.noise_level(timestep) for _, timestep, _ in seen])
    shares = ((deviations / 3.0).sqrt() / levels)[levels > 0.05]  # below that, float32 has no digits left
    assert len(shares) > 300
    for tenth in range(1, 10):
        # 300 draws have a standard deviation of at most 0.029, a clip's own deviation is measured to 3 %.
        assert (shares < tenth / 10).float().mean().item() == pytest.approx(tenth / 10, abs=0.1)
    assert shares.max() < 1.07


def test_a_clip_draws_the_same_image_noise_in_any_part_of_a_batch():
    model = model_of()
    batch, objective = batch_of(model, 4), objective_of(model, 1.0)
    image = batch.image["latent"]
    whole = objective._draw(batch.latents, ClipSeeds(7, 3, range(4)), image).image_noise
    part = objective._draw(batch.latents[2:], ClipSeeds(7, 3, range(2, 4)), image[2:]).image_noise
    assert torch.equal(whole[2:], part)
    assert whole.std(dim=(1, 2, 3, 4)).unique().numel() == 4
    narrow = objective._draw(batch.latents, ClipSeeds(7, 3, range(4)), image.bfloat16()).image_noise
    assert narrow.dtype == torch.bfloat16


def test_image_noise_reaches_training():
    plain, noisy = (steps_of(tiny(f"image_noise={deviation}")) for deviation in (0, 2))
    assert plain[0]["loss"] == noisy[0]["loss"], "the network begins with zeros and cannot see it yet"
    assert plain[1]["loss"] != noisy[1]["loss"]
    assert trainer_of(tiny("image_noise=2")).objective.image_noise == 2
    with pytest.raises(ConfigError, match="image_noise"):
        tiny("image_noise=-1")


def test_a_family_without_an_image_latent_is_refused(monkeypatch):
    clean = XCatModel.blank

    def tokens_alone(self, shape, clips):
        return dataclasses.replace(clean(self, shape, clips), image={"tokens": torch.zeros(clips, 4, 8)})

    monkeypatch.setattr(XCatModel, "blank", tokens_alone)
    assert isinstance(model_of().blank(SHAPE, 1), Condition)
    trainer_of(tiny())
    wrong = tiny("image_noise=1")
    for begin in (trainer_of, lambda config: training_need(config, SHAPE)):
        with pytest.raises(ConfigError, match="image_noise: this family is told of the image by tokens alone"):
            begin(wrong)


def test_the_rivals_are_off_by_default():
    config = tiny()
    assert (config.motion.source, config.loss.difference, config.image_noise) == ("flow", 0, 0)
    assert MotionFocalLoss().difference == 0
