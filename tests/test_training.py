"""Training: exact resume, honest records, and a condition that reaches the model."""

import errno
import json
import math
import re
import subprocess
import sys
import threading
import time
from contextlib import nullcontext
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from motionfocal.cli.console import console
from motionfocal.cli.train import run as train_command
from motionfocal.data.batches import ClipBatch, ClipBatches, MotionBatch
from motionfocal.data.prepare import prepare
from motionfocal.data.sources import FolderData, SpritesData, SpritesSource, load_folder
from motionfocal.errors import CheckpointError, ConfigError, ManifestError, MediaError, ShapeError, TrainingError
from motionfocal.jsonl import append_jsonl, read_jsonl
from motionfocal.loss import MotionFocalLoss, StrengthSchedule
from motionfocal.models.build import ModelCard, best_device, build_model, load_model, save_model
from motionfocal.models.families import compact, unet3d, wan
from motionfocal.models.protocol import ClipShape, Condition
from motionfocal.models.schedule import DiffusionSettings, FlowSettings
from motionfocal.motion import HeatmapSettings, LatentSpec, run_networks_on
from motionfocal.motion.raft import Raft
from motionfocal.training.checkpoint import (
    alone_in,
    checkpoints,
    claim,
    load_checkpoint,
    refuse_other_run,
    save_checkpoint,
)
from motionfocal.training.config import dump_config, load_config
from motionfocal.training.dropout import ClipDropouts
from motionfocal.training.learner import Learner
from motionfocal.training.loop import Trainer, learning_rate, refuse_forked_networks, split_of, trainable_model
from motionfocal.training.objective import ClipSeeds, DiffusionObjective, dropout_seed, stable_seed
from motionfocal.training.processes import join_processes
from motionfocal.training.records import RunRecords, figures_of, summands, unread_in
from motionfocal.training.run import cache_spec, open_data, run_training
from motionfocal.training.validation import filmstrip
from motionfocal.video import probe, read_image, write_clip, write_image

from . import warm
from .tiny_wan import write_folder

SHAPE = ClipShape(frames=4, height=16, width=16, fps=8)
FAMILIES = {
    "compact": compact.Family(width=16, text_width=16, motion_score=True, motion_mask=True),
    "unet3d": unet3d.Family(text_width=16),
}
SCHEDULES = [
    DiffusionSettings(prediction_type="epsilon"),
    DiffusionSettings(),
    DiffusionSettings(signal_scale=0.7),
    FlowSettings(),
]
CPU = torch.device("cpu")
TINY = [
    "steps=6", "batch_size=2", "threads=1", "device=cpu", "checkpoint_every=2", "optimizer.warmup_steps=2",
    "data.kind=sprites", "data.world.size=16", "data.world.frames=4",
    "model.family=compact", "model.width=16", "model.text_width=16",
]  # fmt: skip


def tiny(*overrides):
    return load_config(None, [*TINY, *overrides])


def trainer_of(config):
    return Trainer(config, SpritesSource(config.data, config.seed))


def losses(run):
    return [(row["step"], row["loss"], row["moving_loss"]) for row in read_jsonl(run / "metrics.jsonl")]


class Stop(Exception):
    pass


class StopAt:
    """A callback that ends a run after a step, as a kill would."""

    def __init__(self, step):
        self.step = step

    def after_step(self, step, figures, trainer, records):
        if step == self.step:
            raise Stop


def same(a, b):
    """Equal digit for digit, NaN being equal to itself."""
    return json.dumps(a) == json.dumps(b)


@pytest.fixture(params=FAMILIES, ids=FAMILIES)
def model(request):
    model = build_model(FAMILIES[request.param], SHAPE, seed=0)
    wake(model)
    return model


def wake(model):
    """Give zero-initialised layers weights, so that what reaches them shows."""
    rng = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.network.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=rng))
    model.network.eval()


def images(seed, count=2):
    return torch.randint(0, 256, (count, 16, 16, 3), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


@torch.no_grad()
def test_every_condition_reaches_the_model(model):
    noisy = torch.randn(2, 12, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    timestep = torch.tensor([500, 20])

    def predict(image=0, texts=("the red circle moves left", "a"), fps=8.0, timestep=timestep):
        condition = Condition(model.encode_image(images(image), 4), model.encode_text(texts), torch.full((2,), fps))
        return model.predict(noisy, timestep, condition)

    reference = predict()
    assert reference.shape == noisy.shape
    assert torch.equal(reference, predict())
    for other in (
        predict(image=1),
        predict(texts=("the red circle moves right", "a")),
        predict(fps=24.0),
        predict(timestep=torch.tensor([501, 20])),
    ):
        assert (other[0] - reference[0]).abs().max() > 1e-6
    word_order = predict(texts=("circle the red left moves", "a"))
    assert (word_order[0] - reference[0]).abs().max() > 1e-6
    assert torch.equal(predict(texts=("the red circle moves right", "a"))[1], reference[1])


def test_first_stage_is_exactly_invertible(model):
    frames = images(3, 8).reshape(2, 4, 16, 16, 3)
    assert torch.equal(model.decode(model.encode(frames)), frames)


def test_latents_have_the_shape_that_the_spec_says(model):
    frames = images(3, 8).reshape(2, 4, 16, 16, 3)
    assert model.encode(frames).shape == (2, model.spec.channels, *model.spec.grid(4, 16, 16))


def test_a_model_saves_and_loads_whole(model, tmp_path):
    family = "compact" if "Compact" in type(model.network.denoiser).__name__ else "unet3d"
    card = ModelCard(name="tiny", model=FAMILIES[family], shape=SHAPE)
    save_model(tmp_path, card, model.network.state_dict())
    again = load_model(tmp_path)
    assert again.card == card
    for name, tensor in model.network.state_dict().items():
        assert torch.equal(tensor, again.model.network.state_dict()[name]), name


def test_a_folder_without_a_model_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="no model here"):
        load_model(tmp_path)
    (tmp_path / "model.json").write_text("{}")
    (tmp_path / "weights.safetensors").write_bytes(b"junk")
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        load_model(tmp_path)


@pytest.mark.parametrize(
    ("size", "absurd"),
    [('"frames":4', '"frames":40000000000'), ('"text_width":16', f'"text_width":{16 * 2**62}')],
    ids=["more than there is memory", "more than a number holds"],
)
def test_a_card_of_absurd_sizes_is_named(tmp_path, size, absurd):
    model = build_model(FAMILIES["compact"], SHAPE, seed=0)
    save_model(tmp_path, ModelCard(name="tiny", model=FAMILIES["compact"], shape=SHAPE), model.network.state_dict())
    card = (tmp_path / "model.json").read_text().replace(" ", "")
    assert size in card
    (tmp_path / "model.json").write_text(card.replace(size, absurd))
    with pytest.raises(CheckpointError, match=r"model\.json: describes a model that cannot be built here: "):
        load_model(tmp_path)


def test_sizes_that_do_not_fit_a_family_are_refused():
    with pytest.raises(ShapeError, match="multiples of 4"):
        build_model(compact.Family(), SHAPE.model_copy(update={"height": 18}), 0)


LARGER = {"longer": {"frames": 8}, "larger": {"height": 24}, "of another form": {"height": 8, "width": 40}}


@pytest.mark.parametrize("change", LARGER.values(), ids=LARGER)
def test_a_second_shape_that_compact_has_no_place_for_is_refused_before_the_run(change):
    config, other = tiny(), SHAPE.model_copy(update=change)
    trainable_model(config, [SHAPE, SHAPE.model_copy(update={"frames": 2, "width": 8})])
    with pytest.raises(ShapeError, match=f"{other.frames}x{other.height}x{other.width} do not fit .* 4x16x16, and no"):
        trainable_model(config, [SHAPE, other])
    trainable_model(tiny("model={family: unet3d}"), [SHAPE, other])


def test_every_weight_gets_a_gradient(model):
    """None is cut off: a second backward pass of a woken network reaches the first layer and the text."""
    model.network.train()
    objective = objective_of(model)
    objective(batch_of(model), ClipSeeds(0, 1, range(2))).total.backward()
    silent = [name for name, p in model.network.named_parameters() if p.grad is None or not p.grad.any()]
    # UNet3DConditionModel has no unused weights; a word that does not occur has no gradient, but its table has.
    assert not silent


def objective_of(model, text_dropout=0.1):
    return DiffusionObjective(model, MotionFocalLoss(), StrengthSchedule(), text_dropout, model.encode_text([""]))


def sprites(seed=0):
    return SpritesSource(SpritesData(world={"size": 16, "frames": 4}), seed=seed)


def batch_of(model, clips=2):
    return ClipBatches(sprites(), HeatmapSettings(), model.spec).load(0, clips, range(clips)).encode(model, CPU)


@pytest.mark.parametrize(
    "schedule",
    SCHEDULES,
    ids=["epsilon", "v", "v_scaled", "flow"],
)
def test_a_perfect_prediction_has_no_loss(schedule):
    """The target is what sampling in one exact step turns back into the clean latents."""
    model = build_model(FAMILIES["compact"].model_copy(update={"schedule": schedule}), SHAPE, 0)
    batch = batch_of(model)
    seen = {}

    def predict(noisy, timestep, condition):
        seen["noise"] = objective._draw(batch.latents, seeds).noise
        return model.schedule.target(batch.latents, seen["noise"], timestep)

    objective, seeds = objective_of(model), ClipSeeds(0, 0, range(2))
    model.predict = predict
    assert objective(batch, seeds).total.item() == 0


def test_given_frames_stay_out_of_the_objective():
    model = build_model(FAMILIES["compact"], SHAPE, 0)
    model.given_frames = 1
    noise = {}

    def predict(noisy, timestep, condition):
        noise["x"] = torch.zeros_like(noisy, requires_grad=True)
        return noise["x"]

    model.predict = predict
    objective_of(model)(batch_of(model), ClipSeeds(0, 0, range(2))).total.backward()
    assert (noise["x"].grad[:, :, 0] == 0).all()
    assert (noise["x"].grad[:, :, 1:] != 0).any()


def conditions_seen(model, draws=200):
    seen = []
    original = model.predict
    model.predict = lambda noisy, timestep, condition: seen.append(condition) or original(noisy, timestep, condition)
    objective, batch = objective_of(model), batch_of(model)
    for step in range(draws):
        objective(batch, ClipSeeds(0, step, range(2)))
    return seen, batch


def test_texts_are_dropped_at_their_share():
    model = build_model(FAMILIES["compact"], SHAPE, 0)
    seen, batch = conditions_seen(model)
    empty = model.encode_text([""])["tokens"]
    dropped = sum(int((condition.text["tokens"] == empty).all(1).sum()) for condition in seen)
    assert 20 <= dropped <= 62  # 400 draws at 10 %: within 3.5 standard deviations
    kept = next(condition for condition in seen if not (condition.text["tokens"] == empty).all(1).any())
    assert torch.equal(kept.text["tokens"], batch.text["tokens"])


def test_motion_priors_come_from_the_clip_and_are_withheld_from_half():
    seen, batch = conditions_seen(build_model(FAMILIES["compact"], SHAPE, 0))
    unsaid = sum(int((condition.motion_score == -1).sum()) for condition in seen)
    assert 160 <= unsaid <= 240
    for condition in seen:
        for n in range(2):
            if condition.motion_score[n] == -1:
                assert (condition.motion_mask[n] == 1).all()
            else:
                assert condition.motion_score[n] == batch.motion.score[n]
                moves = (batch.motion.heat[n, 0] > 0.5).any(0)
                assert torch.equal(condition.motion_mask[n, 0], moves.float().expand(4, -1, -1))


def test_families_without_priors_are_told_none():
    seen, _ = conditions_seen(build_model(FAMILIES["unet3d"], SHAPE, 0), draws=2)
    assert seen[0].motion_score is None
    assert seen[0].motion_mask is None


@torch.no_grad()
def test_motion_priors_reach_the_compact_model():
    model = build_model(FAMILIES["compact"], SHAPE, 0)
    wake(model)
    noisy = torch.randn(1, 12, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    image, text = model.encode_image(images(0, 1), 4), model.encode_text(["a"])

    def predict(score, mask):
        return model.predict(noisy, torch.tensor([500]), Condition(image, text, torch.tensor([8.0]), score, mask))

    unsaid = predict(None, None)
    assert torch.equal(unsaid, predict(torch.tensor([-1.0]), torch.ones(1, 1, 4, 8, 8)))
    assert (unsaid - predict(torch.tensor([1.0]), None)).abs().max() > 1e-4
    assert (unsaid - predict(None, torch.zeros(1, 1, 1, 8, 8))).abs().max() > 1e-4


def test_a_clip_draws_the_same_in_any_part_of_a_batch():
    model = build_model(FAMILIES["compact"], SHAPE, 0)
    batch, objective = batch_of(model, 4), objective_of(model)
    whole = objective._draw(batch.latents, ClipSeeds(7, 3, range(4)))
    part = objective._draw(batch.latents[2:], ClipSeeds(7, 3, range(2, 4)))
    assert torch.equal(whole.noise[2:], part.noise)
    assert torch.equal(whole.timestep[2:], part.timestep)
    assert not torch.equal(whole.noise, objective._draw(batch.latents, ClipSeeds(7, 4, range(4))).noise)


def test_batches_are_functions_of_the_step():
    batches = ClipBatches(sprites(3), HeatmapSettings(), LatentSpec(12, 2))
    again = ClipBatches(sprites(3), HeatmapSettings(), LatentSpec(12, 2))
    five = batches.load(5, 2, range(2))
    assert torch.equal(five.frames, again.load(5, 2, range(2)).frames)
    assert torch.equal(five.frames[1:], again.load(5, 2, range(1, 2)).frames)
    assert not torch.equal(five.frames, batches.load(6, 2, range(2)).frames)
    assert five.motion.heat.shape == (2, 1, 4, 8, 8)
    assert (five.motion.score > 0).all()


def test_a_finite_world_comes_back_every_epoch():
    world = {"size": 16, "frames": 4}
    finite = SpritesSource(SpritesData(world=world, clips=3), seed=3)
    endless = SpritesSource(SpritesData(world=world), seed=3)
    assert (finite[4].frames == finite[1].frames).all()
    assert (finite[1].frames == endless[1].frames).all()
    assert (endless[4].frames != endless[1].frames).any()
    assert (finite[4].key, endless[4].key) == ("1", None)
    batches = ClipBatches(finite, HeatmapSettings(), LatentSpec(12, 2))
    assert torch.equal(batches.load(0, 3, range(3)).motion.heat, batches.load(1, 3, range(3)).motion.heat)


def test_heat_belongs_to_the_clip_that_the_model_sees():
    source = SpritesSource(SpritesData(), seed=3)
    batches = ClipBatches(source, HeatmapSettings(scale=2.0, floor=0.1), LatentSpec(12, 2))
    batch = batches.load(0, 4, range(4))
    heat = batch.motion.heat
    changes = (batch.frames[:, 1:].float() - batch.frames[:, :-1].float()).abs().mean(-1)
    where = torch.nn.functional.avg_pool2d(changes, 2) > 20
    assert heat[:, 0, 1:][where].mean() > 3 * heat[:, 0, 1:][~where].mean()


def test_learning_rate_warms_up_and_decays():
    settings = tiny("optimizer.decay=cosine", "optimizer.learning_rate=1").optimizer
    rates = [learning_rate(settings, step, 100) for step in range(100)]
    assert rates[0] == pytest.approx(0.5, rel=0.01)
    assert max(rates) <= 1
    assert rates[-1] == pytest.approx(0.1, abs=0.01)
    assert all(a >= b for a, b in pairwise(rates[1:]))


def test_a_run_leaves_everything_that_it_should(tmp_path):
    config = tiny("validation.every=3", "validation.images=2", "validation.texts=1", "validation.steps=2")
    run_training(config, open_data(config), tmp_path / "run", [])
    run = tmp_path / "run"
    assert load_config(run / "config.yaml") == config
    assert [row["step"] for row in read_jsonl(run / "metrics.jsonl")] == [1, 2, 3, 4, 5, 6]
    assert [row["step"] for row in read_jsonl(run / "validation.jsonl")] == [3, 6]
    for step in (3, 6):
        assert read_image(run / "samples" / f"step-00000{step}.png").shape == (2 * 96, 4 * 96, 3)
        clips = sorted((run / "samples" / f"step-00000{step}").iterdir())
        assert [clip.name for clip in clips] == ["00.mp4", "01.mp4"]
        assert probe(clips[0]).fps == 8
    assert [path.stem for path in checkpoints(run)] == ["00000004", "00000006"]
    assert list((run / "tensorboard").iterdir())
    assert load_model(run / "model").card.name == "motif"


def test_arms_see_the_same_clips_and_noise(tmp_path):
    """Paired by seed: before the first update, both arms measure the same errors."""
    for name, weighting in (("a", "paper"), ("b", "none")):
        config = tiny("steps=2", f"loss.weighting={weighting}")
        run_training(config, open_data(config), tmp_path / name, [])
    first = [read_jsonl(tmp_path / name / "metrics.jsonl")[0] for name in ("a", "b")]
    assert first[0]["diffusion"] == first[1]["diffusion"]
    assert first[0]["loss"] > first[1]["loss"]


def test_resume_continues_the_same_losses(tmp_path):
    whole = tiny()
    run_training(whole, open_data(whole), tmp_path / "whole", [])

    with pytest.raises(Stop):
        run_training(whole, open_data(whole), tmp_path / "broken", [StopAt(5)])
    assert len(losses(tmp_path / "broken")) == 5
    run_training(whole, open_data(whole), tmp_path / "broken", [])
    assert same(losses(tmp_path / "broken"), losses(tmp_path / "whole"))
    one, two = (load_model(tmp_path / name / "model").model.network.state_dict() for name in ("whole", "broken"))
    assert all(torch.equal(one[name], two[name]) for name in one)


VALIDATED = [
    "checkpoint_every=3", "validation.every=3", "validation.images=2", "validation.texts=1", "validation.steps=2",
]  # fmt: skip


@pytest.fixture(scope="module")
def validated(tmp_path_factory):
    """A run with validations at its steps 3 and 6, that nothing disturbed."""
    run, config = tmp_path_factory.mktemp("validated") / "run", tiny(*VALIDATED)
    run_training(config, open_data(config), run, [])
    return run


@pytest.mark.parametrize("step", [3, 6])
def test_a_validation_that_fails_loses_no_step(validated, tmp_path, monkeypatch, step):
    """It comes after the step's checkpoint and, at the end, after the model; a run that goes on makes up for it."""
    config, run = tiny(*VALIDATED), tmp_path / "run"

    def out_of_memory(path, picture):
        if path.stem == f"step-{step:06d}":
            raise torch.OutOfMemoryError("no room for a validation")
        write_image(path, picture)

    with monkeypatch.context() as patch:
        patch.setattr("motionfocal.training.validation.write_image", out_of_memory)
        with pytest.raises(torch.OutOfMemoryError):
            run_training(config, open_data(config), run, [])
    assert int(checkpoints(run)[-1].stem) == step
    assert (run / "model" / "weights.safetensors").is_file() == (step == 6)
    require_the_records_of(validated, run, config)


@pytest.mark.parametrize("step", [3, 4, 6])
def test_what_callbacks_record_of_a_step_is_recorded_once(validated, tmp_path, step):
    """A later callback fails, after the validation has written its row."""
    config, run = tiny(*VALIDATED), tmp_path / "run"
    with pytest.raises(Stop):
        run_training(config, open_data(config), run, [StopAt(step)])
    require_the_records_of(validated, run, config)


def require_the_records_of(whole, run, config):
    """Go on with a run that was disturbed, and again when it has ended: both times it has the records of the other."""
    for _ in range(2):
        called = Calls()
        run_training(config, open_data(config), run, [called])
        assert same(losses(run), losses(whole))
        assert read_jsonl(run / "validation.jsonl") == read_jsonl(whole / "validation.jsonl")
        pictures = [sorted(folder.glob("samples/*.png")) for folder in (run, whole)]
        assert [path.read_bytes() for path in pictures[0]] == [path.read_bytes() for path in pictures[1]]
    assert not called.steps, "what has ended is not done again"


class Calls:
    """A callback that remembers the steps it was called for."""

    def __init__(self):
        self.steps = []

    def after_step(self, step, figures, trainer, records):
        self.steps.append(step)
        assert figures["loss"] > 0


def test_callbacks_of_a_run_of_an_older_version_have_ended(tmp_path):
    """It called them before it wrote the step's checkpoint, and did not write down that they ended."""
    config = tiny(*VALIDATED)
    with pytest.raises(Stop):
        run_training(config, open_data(config), tmp_path, [StopAt(4)])
    (tmp_path / "ended.jsonl").unlink()
    run_training(config, open_data(config), tmp_path, [called := Calls()])
    assert called.steps == [4, 5, 6]
    assert [row["step"] for row in read_jsonl(tmp_path / "validation.jsonl")] == [3, 6]


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_resume_after_kill_gives_the_same_losses_digit_for_digit(tmp_path, family):
    arguments = [f"--set={o}" for o in [*TINY, "steps=12", "checkpoint_every=3"] if not o.startswith("model.")]
    arguments += [f"--set=model.family={family}", "--set=model.text_width=16"]

    def command(out):
        return ["-m", "motionfocal", "train", str(empty), "--out", str(out), *arguments]

    empty = tmp_path / "empty.yaml"
    empty.write_text("")
    warm.run(*command(tmp_path / "whole"), check=True)
    process = warm.Warm(*command(tmp_path / "killed"))
    metrics = tmp_path / "killed" / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while (not metrics.is_file() or len(metrics.read_text().splitlines()) < 5) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.communicate()
    killed_at = len(losses(tmp_path / "killed"))
    assert 5 <= killed_at < 12, "the kill came too late to prove anything"
    goes_on = [sys.executable, *command(tmp_path / "killed")]
    done = subprocess.run(goes_on, check=False, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert same(losses(tmp_path / "killed"), losses(tmp_path / "whole"))


def test_a_run_folder_of_other_settings_is_refused(tmp_path):
    config = tiny("steps=2")
    run_training(config, open_data(config), tmp_path, [])
    other = tiny("steps=2", "seed=1", "loss.strength=3")
    with pytest.raises(CheckpointError, match=r"another seed, loss\.strength; choose"):
        run_training(other, open_data(other), tmp_path, [])


def test_a_run_goes_on_with_other_settings_that_change_no_digit(tmp_path):
    whole = tiny()
    run_training(whole, open_data(whole), tmp_path / "whole", [])
    with pytest.raises(Stop):
        run_training(whole, open_data(whole), tmp_path / "broken", [StopAt(5)])
    other = tiny("workers=1", "checkpoint_every=3", "validation.images=1", "validation.texts=1", "validation.steps=1")
    run_training(other, open_data(other), tmp_path / "broken", [])
    assert same(losses(tmp_path / "broken"), losses(tmp_path / "whole"))
    assert load_config(tmp_path / "broken" / "config.yaml") == other


def test_a_cache_may_move_but_neither_come_nor_go(tmp_path):
    clips, cached, moved = (
        load_config(None, ["data.kind=folder", "data.videos=x", *cache])
        for cache in ([], ["data.cache=a"], ["data.cache=b"])
    )
    claim(tmp_path, cached)
    refuse_other_run(tmp_path, moved)
    with pytest.raises(CheckpointError, match=r"another data\.cache"):
        refuse_other_run(tmp_path, clips)


def test_a_damaged_checkpoint_is_named(tmp_path):
    path = tmp_path / "00000001.pt"
    path.write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(path, {}, averaged=False, data="")


DAMAGES = {
    "1 tensors missing: a": lambda learner: learner["weights"].pop("a"),
    "1 tensors superfluous: c": lambda learner: learner["average"].update(c=torch.zeros(1)),
    r"1 tensors of another shape: b \[3\], not \[2\]": lambda learner: learner["average"].update(b=torch.zeros(3)),
    r"another shape: a \[1\]": lambda learner: learner["optimizer"]["state"]["a"].update(exp_avg=torch.zeros(1)),
    "superfluous: other": lambda learner: learner["optimizer"]["state"].update(other={"exp_avg": torch.zeros(2)}),
}


@pytest.mark.parametrize(("said", "damage"), DAMAGES.items(), ids=DAMAGES)
def test_a_checkpoint_that_does_not_fit_is_named(tmp_path, said, damage):
    network = torch.nn.ParameterDict({"a": torch.zeros(2, 2), "b": torch.zeros(2)})
    learner = Learner(network, tiny().optimizer, ema_decay=0.9)
    for weight in network.values():
        weight.grad = torch.ones_like(weight)
    learner.update(0.1, 0)
    state = learner.state()
    save_checkpoint(tmp_path, {"step": 1, "learner": state})
    load_checkpoint(checkpoints(tmp_path)[0], learner.weights, averaged=True, data="")
    damage(state)
    save_checkpoint(tmp_path, {"step": 2, "learner": state})
    with pytest.raises(CheckpointError, match=said):
        load_checkpoint(checkpoints(tmp_path)[1], learner.weights, averaged=True, data="")


def test_the_average_is_that_of_diffusers():
    from diffusers.training_utils import EMAModel

    rng = torch.Generator().manual_seed(0)
    network = torch.nn.ParameterDict({"a": torch.randn(5, generator=rng)})
    learner, stock = Learner(network, tiny().optimizer, 0.9), EMAModel(network.parameters(), decay=0.9)
    for step in range(30):
        network["a"].grad = torch.randn(5, generator=rng)
        learner.update(0.1, step)
        stock.step(network.parameters())
        assert torch.allclose(learner.result()["a"], stock.shadow_params[0], atol=1e-6)
    raw = network["a"].detach().clone()
    with learner.averaged():
        assert torch.allclose(network["a"], stock.shadow_params[0], atol=1e-6)
    assert torch.equal(network["a"], raw)


def test_without_an_average_the_weights_are_the_result(tmp_path):
    config = tiny("ema_decay=null", "steps=3")
    run_training(config, open_data(config), tmp_path, [])
    trainer = trainer_of(config)
    state = load_checkpoint(checkpoints(tmp_path)[-1], trainer.learner.weights, averaged=False, data=trainer.data)
    result = load_model(tmp_path / "model").model.network.state_dict()
    assert state["learner"]["average"] == {}
    assert all(torch.equal(result[name], weight) for name, weight in state["learner"]["weights"].items())


def test_figures_do_not_depend_on_how_a_step_is_divided():
    """Against the loss of all clips at once."""
    rng = torch.Generator().manual_seed(0)
    prediction, target = torch.randn(2, 4, 3, 2, 5, 5, generator=rng)
    heat = torch.rand(4, 1, 2, 5, 5, generator=rng) * torch.tensor([1.0, 0.0, 0.7, 0.9]).view(4, 1, 1, 1, 1)
    loss = MotionFocalLoss(weighting="motionfocal")
    whole = loss(prediction, target, heat)
    parts = [loss(*(t[n : n + 1] for t in (prediction, target, heat))) for n in range(4)]
    figures = figures_of(torch.stack([summands(part) for part in parts]))
    assert figures["loss"] == pytest.approx(whole.total.item(), rel=1e-5)
    for name in ("moving_loss", "loss_ratio", "moving_share", "mean_weight"):
        assert figures[name] == pytest.approx(getattr(whole.stats, name).item(), rel=1e-5)
    assert math.isnan(figures_of(summands(parts[1])[None])["moving_loss"])


def test_figures_are_computed_where_there_is_float64():
    """On the CPU: Apple's GPUs refuse float64."""

    class OnApple(torch.Tensor):
        def cpu(self):
            return self.as_subclass(torch.Tensor)

        def double(self):
            raise TypeError("Cannot convert a MPS Tensor to float64 dtype")

    parts = torch.rand(2, 6, generator=torch.Generator().manual_seed(0))
    assert figures_of(parts.as_subclass(OnApple)) == figures_of(parts)


def test_training_and_sampling_take_the_same_device(monkeypatch):
    asked = []
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("mps"))
    monkeypatch.setattr(
        "accelerate.PartialState", lambda cpu, timeout: asked.append(cpu) or SimpleNamespace(num_processes=1)
    )
    assert best_device() == torch.device("mps")
    join_processes("auto")
    join_processes("cpu")
    assert asked == [False, True]


def test_a_loss_that_is_not_finite_stops_the_run():
    trainer = trainer_of(tiny())
    batch = trainer.source.load(0, 2, range(2))
    motion = MotionBatch(batch.motion.heat * float("nan"), batch.motion.score)
    with pytest.raises(TrainingError, match=r"step 0: the loss .* start anew in another folder with a lower"):
        trainer.train_step(iter([ClipBatch(batch.frames, batch.texts, motion, batch.fps)]))


def test_a_gradient_that_is_not_finite_stops_the_run():
    trainer = trainer_of(tiny())
    weight = next(iter(trainer.learner.weights.values()))
    weight.register_hook(lambda gradient: gradient / 0)
    before = weight.detach().clone()
    with pytest.raises(TrainingError, match="step 0: the gradient"):
        trainer.train_step(iter([trainer.source.load(0, 2, range(2))]))
    assert torch.equal(weight, before)


def test_a_step_that_cannot_be_shared_equally_is_refused():
    assert split_of(tiny("batch_size=8", "micro_batch_size=2"), 2).clips(3) == range(6, 8)
    with pytest.raises(ConfigError, match="3 processes"):
        split_of(tiny(), 3)
    with pytest.raises(ConfigError, match="micro_batch_size is 2"):
        split_of(tiny("batch_size=3", "micro_batch_size=2"), 1)


UNET3D = ["model={family: unet3d, text_width: 16}"]
"""It drops a tenth of what its convolutions over time give."""

DIVIDED = {"compact": [], "dropout": UNET3D, "recomputed": [*UNET3D, "gradient_checkpointing=true"]}


@pytest.mark.parametrize("changes", DIVIDED.values(), ids=DIVIDED)
def test_accumulation_does_not_change_the_gradient(changes):
    """One pass over four clips, two over two, four over one: the same update."""
    norms = []
    for size in (4, 2, 1):
        config = tiny("batch_size=4", f"micro_batch_size={size}", "loss.weighting=motionfocal", *changes)
        trainer = trainer_of(config)
        wake(trainer.model)
        trainer.model.network.train()
        parts = (trainer.source.load(0, 4, trainer.split.clips(part)) for part in trainer.parts)
        norms.append(trainer.train_step(parts))
    for other in norms[1:]:
        assert other["grad_norm"] == pytest.approx(norms[0]["grad_norm"], rel=1e-5)
        assert other["loss"] == pytest.approx(norms[0]["loss"], rel=1e-5)


def folder_of_clips(folder, count=3, frames=6):
    rng = np.random.default_rng(0)
    rows = ["file_name,text"]
    for n in range(count):
        clip = rng.integers(0, 256, (frames, 24, 32, 3), dtype=np.uint8)
        write_clip(folder / f"{n}.mp4", clip, 8)
        rows.append(f"{n}.mp4,clip number {n}")
    (folder / "metadata.csv").write_text("\n".join(rows) + "\n")
    return FolderData(videos=folder, captions=folder / "metadata.csv", frames=4, height=16, width=16)


def test_a_folder_of_clips_is_read_and_shuffled_every_epoch(tmp_path):
    source, rejected = load_folder(folder_of_clips(tmp_path), seed=0)
    assert not rejected
    epochs = [[example.text for example in source.batch(epoch, 3)] for epoch in range(8)]
    assert all(sorted(epoch) == ["clip number 0", "clip number 1", "clip number 2"] for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1
    assert source.batch(0, 1)[0].frames.shape == (4, 16, 16, 3)
    assert source.shape.fps == 8


def test_one_bad_clip_is_reported_and_the_others_go_on(tmp_path):
    settings = folder_of_clips(tmp_path)
    (tmp_path / "1.mp4").write_text("not a video")
    write_clip(tmp_path / "2.mp4", np.zeros((2, 24, 32, 3), np.uint8), 8)
    source, rejected = load_folder(settings, seed=0)
    assert len(source) == 1
    assert {r.path.name for r in rejected} == {"1.mp4", "2.mp4"}
    assert all(r.reason for r in rejected)
    (tmp_path / "0.mp4").write_text("nor this")
    with pytest.raises(ManifestError, match="none of 3"):
        load_folder(settings, seed=0)


def test_texts_that_are_not_read_to_their_end_are_told(tmp_path, monkeypatch):
    """Seventeen words: a family with a text encoder of our own reads sixteen."""
    folder_of_clips(tmp_path)
    table = tmp_path / "metadata.csv"
    table.write_text(table.read_text().replace("clip number 1", " ".join(["it's", *"abcdefghijklmnop"])))
    config = clips_config(tmp_path)
    assert open_data(config).notes == ["1 text is longer than 16 words; compact does not read the rest"]
    monkeypatch.setattr("motionfocal.cli.train.run_training", lambda *arguments: None)
    path = tmp_path / "config.yaml"
    path.write_text(dump_config(config))
    with console.capture() as said:
        train_command(str(path), tmp_path / "run", [])
    assert "1 text is longer than 16 words" in said.get()
    table.write_text(table.read_text().replace(" p\n", "\n"))
    assert open_data(config).notes == []
    assert wan.Family(weights="x").notes_on([50 * "word "]) == [], "its encoder counts tokens"


def test_training_on_a_folder_runs_end_to_end(tmp_path):
    folder_of_clips(tmp_path)
    config = load_config(None, [
        "steps=3", "batch_size=2", "threads=1", "device=cpu", "optimizer.warmup_steps=1", "data.kind=folder",
        f"data.videos={tmp_path}", f"data.captions={tmp_path / 'metadata.csv'}",
        "data.frames=4", "data.height=16", "data.width=16", "model.family=compact", "model.width=16",
        "model.text_width=16", "validation.images=2", "validation.steps=2",
    ])  # fmt: skip
    run_training(config, open_data(config), tmp_path / "run", [])
    assert len(losses(tmp_path / "run")) == 3
    assert not read_jsonl(tmp_path / "run" / "validation.jsonl")
    assert (tmp_path / "run" / "samples" / "step-000003.png").is_file()


def clips_config(folder):
    return load_config(None, [
        *TINY[:6], "data.kind=folder", f"data.videos={folder}", "data.frames=4", "data.height=16", "data.width=16",
        "model.family=compact", "model.width=16", "model.text_width=16",
    ])  # fmt: skip


CHANGES = {
    "a clip came": lambda folder: folder_of_clips(folder, count=4),
    "a clip cannot be read": lambda folder: (folder / "1.mp4").write_bytes(b"junk"),
    "a clip is longer": lambda folder: write_clip(folder / "1.mp4", np.zeros((9, 24, 32, 3), np.uint8), 8),
    "a text": lambda folder: (folder / "metadata.csv").write_text(
        (folder / "metadata.csv").read_text().replace("clip number 2", "another")
    ),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_run_does_not_go_on_with_other_clips(tmp_path, change):
    folder_of_clips(tmp_path / "clips")
    config = clips_config(tmp_path / "clips")
    with pytest.raises(Stop):
        run_training(config, open_data(config), tmp_path / "run", [StopAt(3)])
    change(tmp_path / "clips")
    with pytest.raises(CheckpointError, match=r"00000002\.pt: was written with other clips"):
        run_training(config, open_data(config), tmp_path / "run", [])


def break_after_its_first_frame(path):
    """The file stays as long, and what looks at it sees nothing: frames from the middle on are zeros."""
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat") + 4
    length = int.from_bytes(data[start - 8 : start - 4]) - 8
    data[start + length // 2 : start + length] = bytes(length - length // 2)
    path.write_bytes(data)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_clip_that_breaks_after_its_first_frame_is_told_and_the_run_goes_on(tmp_path, workers):
    folder_of_clips(tmp_path / "clips")
    break_after_its_first_frame(tmp_path / "clips" / "1.mp4")
    config = clips_config(tmp_path / "clips").model_copy(update={"workers": workers})
    data = open_data(config)
    assert not data.rejected
    assert len(data.source) == 3
    for run, stop in (("whole", []), ("killed", [StopAt(3)])):
        with pytest.raises(Stop) if stop else nullcontext():
            run_training(config, open_data(config), tmp_path / run, stop)
    run_training(config, open_data(config), tmp_path / "killed", [])
    assert same(losses(tmp_path / "whole"), losses(tmp_path / "killed"))
    for run in ("whole", "killed"):
        (row,) = read_jsonl(tmp_path / run / "unread.jsonl")
        assert (row["step"], row["clip"]) == (1, "1")
        assert re.search(r"1\.mp4: only \d of 6 frames can be decoded", row["reason"])
        assert unread_in(tmp_path / run) == {"1": row["reason"]}


def test_the_command_lists_at_its_end_the_clips_that_could_not_be_read(tmp_path, capsys):
    folder_of_clips(tmp_path / "clips")
    break_after_its_first_frame(tmp_path / "clips" / "1.mp4")
    (tmp_path / "config.yaml").write_text(dump_config(clips_config(tmp_path / "clips")))
    train_command(str(tmp_path / "config.yaml"), tmp_path / "run", [])
    assert re.search(r"model in .*1 clips failed:\s+\S*1\.mp4: only \d of 6", capsys.readouterr().out, re.DOTALL)


def test_where_nothing_moves_the_records_are_json(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss": 1.0, "moving_loss": NaN}\n')  # of an older version
    figures = figures_of(torch.tensor([[1.0, 1.0, 0.0, 1.0, 0.0, 0.0]]))
    assert math.isnan(figures["moving_loss"])
    with RunRecords(tmp_path, 1) as records:
        records.add("metrics.jsonl", 2, figures)

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    first, second = (json.loads(line, parse_constant=refuse) for line in lines)
    assert (first["moving_loss"], second["moving_loss"], second["loss_ratio"]) == (None, None, None)
    assert second["loss"] == 1.0


def test_numbers_that_are_not_finite_are_null_in_a_list(tmp_path):
    row = {"a": [1.0, math.inf], "b": {"c": math.nan, "d": "NaN"}, "e": (2, True)}
    append_jsonl(tmp_path / "list.jsonl", row)
    assert read_jsonl(tmp_path / "list.jsonl") == [{"a": [1.0, None], "b": {"c": None, "d": "NaN"}, "e": [2, True]}]


def test_what_another_process_could_not_read_is_told_too(tmp_path, monkeypatch):
    folder_of_clips(tmp_path)
    break_after_its_first_frame(tmp_path / "1.mp4")
    config = clips_config(tmp_path)
    trainer = Trainer(config, open_data(config).source)
    monkeypatch.setattr("accelerate.utils.gather_object", lambda values: [*values, {"9": "9.mp4: gone"}])
    missed = next(step for step in range(3) if trainer.source.load(step, 2, range(2)).unread)
    assert trainer.unread == {}
    trainer.train_step(iter([trainer.source.load(missed, 2, range(2))]))
    assert list(trainer.unread) == ["1", "9"]


def test_networks_in_forked_processes_on_a_gpu_are_refused():
    gpu = torch.device("cuda", 1)
    asked = ["workers=2", "motion.estimator=raft_small"]
    refused = tiny(*asked)
    with pytest.raises(ConfigError, match=r"workers is 2.*motion\.estimator=raft_small would: set workers=0, or"):
        refuse_forked_networks(refused, gpu)
    refuse_forked_networks(refused, CPU)
    for fine in (["workers=0"], ["motion.estimator=dis"]):
        refuse_forked_networks(tiny(*asked, *fine), gpu)
    refuse_forked_networks(tiny("workers=2", "motion.source=difference"), gpu)


def test_flow_is_computed_where_the_training_is(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(Raft, "usual_device", None)
    trainer_of(tiny("device=cpu"))
    assert Raft(load=lambda size: torch.nn.Identity()).device == CPU, "though there is a GPU"
    run_networks_on(torch.device("cuda", 1))
    assert Raft.usual_device == "cuda", "the process's current one, which accelerate sets"


def test_a_run_without_a_clip_to_read_ends(tmp_path):
    folder_of_clips(tmp_path)
    config = clips_config(tmp_path)
    data = open_data(config)
    for n in range(3):
        (tmp_path / f"{n}.mp4").unlink()
    with pytest.raises(MediaError, match=r"none of 3 clips of 4x16x16 can be read any more; first: .*\.mp4"):
        run_training(config, data, tmp_path / "run", [])


def test_a_checkpoint_of_before_clips_were_written_down_goes_on(tmp_path):
    config = tiny()
    run_training(config, open_data(config), tmp_path, [])
    state = torch.load(checkpoints(tmp_path)[-1], weights_only=True)
    del state["data"]
    save_checkpoint(tmp_path, state)
    trainer_of(config).resume(checkpoints(tmp_path)[-1])


def test_processes_that_see_different_clips_are_refused(monkeypatch):
    monkeypatch.setattr("accelerate.utils.gather_object", lambda values: [*values, "another machine's"])
    with pytest.raises(ManifestError, match="the processes see different clips"):
        trainer_of(tiny())


HOLD = """
import sys, time
from pathlib import Path
from motionfocal.training.checkpoint import alone_in
with alone_in(Path(sys.argv[1]) / "run"):
    (Path(sys.argv[1]) / "held").touch()
    time.sleep(600)
"""


@pytest.fixture
def occupant(tmp_path):
    """Another process that trains in ``tmp_path / "run"``."""
    process = warm.Warm("-c", HOLD, tmp_path)
    while not (tmp_path / "held").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    yield process
    process.kill()
    process.wait()


def test_two_processes_do_not_train_in_one_folder(tmp_path, occupant, monkeypatch):
    monkeypatch.setattr("motionfocal.training.checkpoint._PATIENCE", 0.2)
    config = tiny("steps=2")
    with pytest.raises(CheckpointError, match="run: another process trains here; wait for it, or end it"):
        run_training(config, open_data(config), tmp_path / "run", [])
    assert [path.name for path in (tmp_path / "run").iterdir()] == [".lock"], "something was written all the same"
    occupant.kill()
    occupant.wait()
    run_training(config, open_data(config), tmp_path / "run", [])
    run_training(config, open_data(config), tmp_path / "run", [])


def test_a_run_waits_for_one_whose_command_was_killed(tmp_path, occupant):
    threading.Timer(1.0, occupant.kill).start()
    config = tiny("steps=2")
    run_training(config, open_data(config), tmp_path / "run", [])
    assert len(losses(tmp_path / "run")) == 2


def test_a_file_system_without_locks_is_taken_as_it_is(tmp_path, monkeypatch):
    def refuse(file, how):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.lockf", refuse)
    with alone_in(tmp_path / "run"):
        pass


def test_a_folder_that_cannot_be_is_named(tmp_path):
    (tmp_path / "run").write_text("a file")
    with pytest.raises(CheckpointError, match="run: cannot be written to"), alone_in(tmp_path / "run"):
        pass


WAN_CLIPS = ["data.kind=folder", "data.frames=9", "data.height=64", "data.width=64", "model.family=wan"]


def test_training_from_a_cache_is_training_from_clips(tmp_path):
    """Latents, texts and heatmaps come from the cache; what validation looks at comes from the clips."""
    write_folder(tmp_path / "base")
    folder_of_clips(tmp_path / "clips", frames=9)
    base = [
        *TINY[:6], *WAN_CLIPS, f"data.videos={tmp_path / 'clips'}", f"model.weights={tmp_path / 'base'}", "steps=3",
        "model.dtype=float32", "lora.rank=2", "validation.steps=2", "validation.images=2", "text_dropout=0.4",
    ]  # fmt: skip
    config, cached = load_config(None, base), load_config(None, [*base, f"data.cache={tmp_path / 'cache'}"])
    with pytest.raises(CheckpointError, match="motionfocal prepare"):
        open_data(cached)
    spec = cache_spec(cached, cached.data)
    prepare(spec, lambda: build_model(cached.model, ClipShape(frames=9, height=64, width=64, fps=8), 0))
    for name, chosen in (("clips-run", config), ("cache-run", cached)):
        run_training(chosen, open_data(chosen), tmp_path / name, [])
    from_clips, from_cache = (read_jsonl(tmp_path / name / "metrics.jsonl") for name in ("clips-run", "cache-run"))
    for one, two in zip(from_clips, from_cache, strict=True):
        assert one["diffusion"] == pytest.approx(two["diffusion"], rel=1e-5)
        assert one["loss"] == pytest.approx(two["loss"], rel=1e-2)  # heat is cached in 255 levels
    pictures = [read_image(tmp_path / name / "samples" / "step-000003.png") for name in ("clips-run", "cache-run")]
    assert abs(pictures[0].astype(int) - pictures[1]).mean() < 1


def test_a_run_goes_on_where_a_network_was_not_used_yet(tmp_path):
    """One of two experts has seen no clip when the checkpoint is written: it has no moments, as in the whole run."""
    write_folder(tmp_path / "base", variant="i2v-2.2")
    config = load_config(None, [
        *TINY[:7], "steps=4", "batch_size=1", "checkpoint_every=1", "data.world.size=64", "data.world.frames=9",
        "model.family=wan", f"model.weights={tmp_path / 'base'}", "model.dtype=float32", "model.schedule.shift=1",
        "ema_decay=null", "lora.rank=2",
    ])  # fmt: skip
    run_training(config, open_data(config), tmp_path / "whole", [])

    with pytest.raises(Stop):
        run_training(config, open_data(config), tmp_path / "broken", [StopAt(2)])
    trainer = trainer_of(config)
    trainer.resume(checkpoints(tmp_path / "broken")[-1])
    assert len(trainer.learner.optimizer.state) < len(trainer.learner.weights), "both were used: nothing is shown"
    run_training(config, open_data(config), tmp_path / "broken", [])
    assert same(losses(tmp_path / "broken"), losses(tmp_path / "whole"))


def test_a_run_that_cannot_begin_leaves_no_claim(tmp_path):
    """The config that is put right can have the folder."""
    wrong = tiny("steps=2", "lora.targets=[nothing]")
    with pytest.raises(ConfigError, match=r"lora\.targets"):
        run_training(wrong, open_data(wrong), tmp_path / "run", [])
    right = tiny("steps=2", "lora.targets=[query]")
    run_training(right, open_data(right), tmp_path / "run", [])
    assert load_model(tmp_path / "run" / "model").card.lora == right.lora


def test_motionfocal_brings_the_course_of_its_strength_and_both_can_be_set():
    def courses(*overrides):
        loss = load_config(None, overrides).loss
        return loss.over_noise, loss.over_training

    assert courses() == ("constant", "constant")
    assert courses("loss.weighting=motionfocal") == ("rising", "fading")
    assert courses("loss.weighting=motionfocal", "loss.over_noise=constant") == ("constant", "fading")
    assert courses("loss.over_training=fading") == ("constant", "fading")
    assert courses("loss.weighting=motionfocal", "loss.strength=0") == ("constant", "constant"), "nothing to steer"


def test_the_strength_of_a_step_fades_over_the_training(tmp_path):
    """What a run adds to the weight of 1, against a run on the same clips whose strength does not fade."""

    def added(course):
        config = tiny(
            "steps=4", "loss.weighting=motionfocal", "loss.over_noise=constant", f"loss.over_training={course}"
        )
        run_training(config, open_data(config), tmp_path / course, [])
        return np.array([float(row["mean_weight"]) - 1 for row in read_jsonl(tmp_path / course / "metrics.jsonl")])

    np.testing.assert_allclose(added("fading") / added("constant"), [1.0, 0.75, 0.5, 0.25], rtol=1e-5)


IDLE = {
    "loss.over_noise has no effect": ["loss.strength=0", "loss.over_noise=rising"],
    "loss.over_training has no effect": ["loss.weighting=none", "loss.over_training=fading"],
    "micro_batch_size is 4, more than batch_size": ["micro_batch_size=4"],
    "validation.texts has no effect on clips": ["validation.texts=3", "data.kind=folder", "data.videos=x"],
    "ema_decay": ["ema_decay=0"],
    "lora.rank": ["lora.rank=0"],
    "lora.targets": ["lora.targets=[]"],
    "lora.dropout: unknown key": ["lora.dropout=0.1"],
}


@pytest.mark.parametrize(("said", "overrides"), IDLE.items(), ids=IDLE)
def test_settings_without_effect_are_refused(said, overrides):
    base = [o for o in TINY if not o.startswith("data.")]
    with pytest.raises(ConfigError, match=said):
        load_config(None, [*base, *overrides])


def test_a_picture_of_a_large_clip_stays_small():
    clip = np.arange(40 * 400 * 600, dtype=np.uint32).astype(np.uint8).reshape(40, 400, 600, 1).repeat(3, axis=3)
    picture = filmstrip([clip, clip])
    assert picture.shape == (2 * 400 // 3 + 1, 16 * 600 // 3, 3)
    assert (picture[:134, :200] == clip[0, ::3, ::3]).all()
    assert (picture[:133, -200:] == clip[-1, :399:3, ::3]).all()


def dropped(trainer, step, clips, rows=6):
    """What the first layer with dropout leaves of ones."""
    trainer.dropouts.clips = ClipSeeds(trainer.config.seed, step, clips)
    layer = next(m for m in trainer.model.network.modules() if isinstance(m, torch.nn.Dropout) and m.p > 0)
    return layer(torch.ones(len(clips) * rows, 500))


def test_what_is_dropped_of_a_clip_depends_on_seed_step_and_place_alone():
    trainer = trainer_of(tiny(*UNET3D))
    whole = dropped(trainer, 0, range(4))
    assert torch.equal(whole, dropped(trainer, 0, range(4)))
    assert torch.equal(whole[6:18], dropped(trainer, 0, range(1, 3)))
    assert not torch.equal(whole[:6], whole[6:12])
    assert not torch.equal(whole, dropped(trainer, 1, range(4)))
    assert whole.unique().tolist() == [0.0, pytest.approx(1 / 0.9)]
    assert (whole == 0).float().mean().item() == pytest.approx(0.1, abs=0.015)
    with trainer.averaged():
        assert (dropped(trainer, 0, range(4)) == 1).all()


def test_dropout_layers_differ_and_keep_their_place():
    inner = torch.nn.Sequential(torch.nn.Dropout(0.5))
    network = torch.nn.Sequential(torch.nn.Dropout(0.5), inner, torch.nn.Dropout(0))
    names = [name for name, _ in network.named_modules()]
    dropouts = ClipDropouts(network)
    dropouts.clips = ClipSeeds(0, 0, range(2))
    assert [name for name, _ in network.named_modules()] == names
    ones = torch.ones(4, 100)
    assert not torch.equal(network[0](ones), network[1](ones))
    assert network[0](torch.ones(3, 100)).shape == (3, 100), "rows that are no clips' are drawn together"


def test_dropout_draws_from_no_clips_stream():
    clips = {stable_seed(7, 3, clip) for clip in range(64)}
    layers = {seed for layer in range(4) for seed in ClipSeeds(7, 3, range(64)).dropout_seeds(layer)}
    assert len(clips | layers | {dropout_seed(7, 3, process) for process in range(8)}) == 328
