"""Experiments: what a file means, what decides a run, and runs that are killed, fail, and go on."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from motionfocal.cli.app import app
from motionfocal.errors import ConfigError
from motionfocal.experiments import measure
from motionfocal.experiments.logged import LOG, ending
from motionfocal.experiments.machine import this_machine
from motionfocal.experiments.plan import ExperimentPlan, load_plan
from motionfocal.experiments.pool import Pending, run_side_by_side
from motionfocal.experiments.result import load_result, result_path, save_result
from motionfocal.experiments.work import carry_out, run_folder, training_config
from motionfocal.generation.sampler import sample
from motionfocal.jsonl import read_jsonl
from motionfocal.models.build import LoadedModel, ModelCard, build_model
from motionfocal.models.protocol import ClipShape
from motionfocal.training.records import METRICS
from motionfocal.worlds import SpritesWorld

TINY = {
    "steps": 4,
    "batch_size": 2,
    "threads": 1,
    "data.world": {"size": 16, "frames": 3, "sprites": 1},
    "model": {"family": "compact", "width": 16},
    "optimizer.warmup_steps": 1,
}
NOISY = {"size": 16, "frames": 3, "sprites": 1, "noise": 2.0}


def content(**changes: object) -> dict[str, object]:
    """An experiment that takes seconds."""
    values = {
        "name": "tiny",
        "set": TINY,
        "arms": {"motif": {}, "none": {"loss.weighting": "none"}},
        "contrasts": [{"ours": "motif", "theirs": "none", "paper": [63.1, 36.9]}],
        "seeds": [0, 1],
        "images": 2,
        "texts": 2,
        "sampling": {"steps": 2, "guidance_scale": 2.0},
        "curve_every": 2,
        "curve_images": 1,
    }
    return values | changes


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(content()))
    return path


def runs_of(**changes: object):
    return ExperimentPlan.model_validate(content(**changes)).runs(Path())


def test_arms_of_a_seed_differ_by_what_the_file_says_alone():
    motif, none, *_ = runs_of()
    assert (motif.arm, motif.seed, none.arm, none.seed) == ("motif", 0, "none", 0)
    first, second = (run.config.model_dump(exclude={"name", "loss"}) for run in (motif, none))
    assert first == second
    assert none.config.loss.weighting == "none"
    assert motif.curve == none.curve
    assert motif.asked == none.asked


def test_what_decides_a_run_decides_its_fingerprint():
    prints = [run.fingerprint for run in runs_of()]
    assert len(set(prints)) == 4
    assert prints == [run.fingerprint for run in runs_of()]
    renamed = runs_of(arms={"first": {}, "second": {"loss.weighting": "none"}}, contrasts=[], name="other", about="!")
    assert [run.fingerprint for run in renamed] == prints, "experiments share runs"
    more_threads = runs_of(set={**TINY, "threads": 2, "checkpoint_every": 1})
    assert [run.fingerprint for run in more_threads] == prints
    by_default = runs_of(arms={"motif": {"loss.strength": 1.0}, "none": {"loss.weighting": "none"}})
    assert [run.fingerprint for run in by_default] == prints, "to say a default changes nothing"
    for changes in (
        {"set": {**TINY, "steps": 5}},
        {"set": {**TINY, "data.world": {"size": 16, "frames": 4, "sprites": 1}}},
        {"images": 3},
        {"texts": 1},
        {"sampling": {"steps": 3, "guidance_scale": 2.0}},
        {"curve_every": 1},
        {"worlds": {"own": {"noise": 1.0}}},
        {"worlds": {"another name": {}}},
    ):
        assert not {run.fingerprint for run in runs_of(**changes)} & set(prints), changes


def test_what_an_arm_changes_stays_with_it():
    world = {"size": 16, "frames": 4, "sprites": 2}
    first, second, *_ = runs_of(
        set={**TINY, "data.world": world}, arms={"a": {"data.world.noise": 2.0}, "b": {}}, contrasts=[]
    )
    assert (first.world.noise, second.world.noise) == (2.0, 0.0)


def test_worlds_are_changes_of_the_one_that_was_trained_on():
    asked = runs_of(
        set={**TINY, "data.world": {"size": 16, "frames": 3, "sprites": 2, "held_out": 0.3}},
        worlds={"own": {}, "pan": {"camera": "pan"}, "new": {"combinations": "held_out"}},
        texts=1,
    )[0].asked
    assert asked["pan"].world == asked["own"].world.model_copy(update={"camera": "pan"})
    assert asked["new"].world == asked["own"].world
    assert (asked["own"].combinations, asked["new"].combinations) == ("any", "held_out")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"armz": {}}, "armz: unknown key"),
        ({"arms": {}}, "arms"),
        ({"contrasts": [{"ours": "motif", "theirs": "nobody"}]}, "contrasts name the arm 'nobody'"),
        ({"contrasts": [{"ours": "motif", "theirs": "none", "paper": [1.0]}]}, "paper has 1 figures"),
        ({"seeds": [1, 1]}, "a seed stands twice"),
        ({"arms": {"a": {"loss.strenght": 2}}, "contrasts": []}, "arm a: loss.strenght: unknown key"),
        ({"arms": {"a": {"loss": 2}}, "contrasts": []}, "arm a: loss: "),
        ({"set": {**TINY, "stepz": 2}}, "set: stepz: unknown key"),
        ({"set": {**TINY, "steps.more": 2}}, "set: steps is a value"),
        ({"arms": {"a": {"seed": 3}}, "contrasts": []}, "arm a: seed has no effect"),
        ({"set": {**TINY, "name": "b"}}, "set: name has no effect"),
        ({"seeds": [-1]}, "seeds: seed: "),
        ({"worlds": {"own": {"camera": "drone"}}}, "worlds.own: world.camera"),
        ({"recipe": "nowhere"}, "nowhere: no such config file, and no recipe"),
        ({"recipe": 3000 * "x"}, "xxx: no such config file, and no recipe"),
        ({"recipe": "clips", "set": {"data.videos": "v"}}, "trains on clips, which no oracle can judge"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(tmp_path, changes, said):
    path = tmp_path / "wrong.yaml"
    path.write_text(yaml.safe_dump(content(**changes)))
    with pytest.raises(ConfigError) as caught:
        load_plan(path).runs(path.parent)
    assert said in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match="no such experiment file"):
        load_plan(tmp_path / "no.yaml")


@pytest.mark.parametrize("told", [True, False])
def test_a_model_that_takes_a_mask_is_told_where_what_is_asked_for_moves(told, monkeypatch):
    changes = {"model": {"family": "compact", "width": 16, "motion_mask": told}, "data.world": NOISY}
    run = runs_of(set=TINY | changes)[0]
    masks = []

    def watched(*args, motion_mask=None, **kwargs):
        masks.append(motion_mask)
        return sample(*args, motion_mask=motion_mask, **kwargs)

    monkeypatch.setattr(measure, "sample", watched)
    card = ModelCard(name="m", model=run.config.model, shape=ClipShape(frames=3, height=16, width=16, fps=8.0))
    loaded = LoadedModel(card, build_model(card.model, card.shape, seed=0))
    items, _ = measure.answers(loaded, run.curve, run.plan.sampling, seed=0)
    if not told:
        assert masks == [None]
        return
    world = SpritesWorld(run.world)
    assert masks[0].shape == (len(items), 16, 16)
    for mask, item in zip(masks[0], items, strict=True):
        moving = world.moving_mask(item.scene, item.action).any(axis=0)
        assert mask[moving].all(), "the way of what moves lies within"
        assert moving.mean() <= mask.mean() < 0.5


class Reached(Exception):
    pass


def test_a_run_is_judged_where_it_trained(tmp_path, monkeypatch):
    """On the device that its machine names."""
    run = runs_of()[0]

    def load(folder, device):
        raise Reached(device)

    monkeypatch.setattr("motionfocal.experiments.work.best_device", lambda asked: f"the best for {asked}")
    monkeypatch.setattr("motionfocal.experiments.work.load_model", load)
    with pytest.raises(Reached, match="the best for auto"):
        carry_out(run, tmp_path)


def test_the_error_by_noise_is_computed_where_the_network_is(monkeypatch):
    card = ModelCard(name="m", model=runs_of()[0].config.model, shape=ClipShape(frames=3, height=16, width=16, fps=8.0))
    model = build_model(card.model, card.shape, seed=0)
    model.network.to("meta")

    def predict(noisy, timestep, condition):
        entered = [noisy, timestep, condition.fps, *condition.image.values(), *condition.text.values()]
        raise Reached([tensor.device.type for tensor in entered])

    monkeypatch.setattr(model, "predict", predict)
    with pytest.raises(Reached) as reached:
        measure.error_by_noise(LoadedModel(card, model), runs_of()[0].world)
    assert set(reached.value.args[0]) == {"meta"}


def test_a_run_is_trained_once_and_judged_on_every_world(tmp_path):
    run = runs_of(worlds={"own": {}, "noisy": {"noise": 4.0}})[0]
    result = carry_out(run, tmp_path)
    assert load_result(tmp_path, run) == result
    assert [step for step, _ in result.curve] == [2, 4]
    assert set(result.worlds) == {"own", "noisy"}
    assert all(len(asked.measurements()) == 4 for asked in result.worlds.values())
    assert [len(set(asked.images)) for asked in result.worlds.values()] == [2, 2]
    levels = [at.level for at in result.noise]
    assert levels == sorted(levels, reverse=True)
    assert all(at.overall > 0 and at.moving > 0 for at in result.noise)
    assert result.settings["seed"] == 0
    assert result.machine == this_machine("auto")
    assert result.machine.processor
    trained = (run_folder(tmp_path, run) / METRICS).stat().st_mtime_ns
    assert carry_out(run, tmp_path) == result
    assert (run_folder(tmp_path, run) / METRICS).stat().st_mtime_ns == trained
    assert result_path(tmp_path, run.fingerprint).stat().st_size < 20_000


def test_looking_at_the_curve_changes_no_training(tmp_path):
    often, seldom = (runs_of(curve_every=every)[0] for every in (1, 4))
    losses = []
    for run in (often, seldom):
        carry_out(run, tmp_path)
        losses.append([row["loss"] for row in read_jsonl(run_folder(tmp_path, run) / METRICS)])
    assert losses[0] == losses[1]


def test_a_damaged_result_is_named(tmp_path):
    run = runs_of()[0]
    path = result_path(tmp_path, run.fingerprint)
    path.parent.mkdir()
    path.write_text("{}")
    with pytest.raises(ConfigError, match="not a result"):
        Pending.of([run], tmp_path)


def test_a_result_from_before_a_default_changed_is_refused(tmp_path):
    run = runs_of()[0]
    result = carry_out(run, tmp_path)
    older = {**result.settings, "loss": {**result.settings["loss"], "strength": 0.5}}
    del older["image_noise"]  # a setting that is newer than the result
    save_result(tmp_path, result.model_copy(update={"settings": older}))
    with pytest.raises(ConfigError, match=r"was made with another loss\.strength; delete it"):
        load_result(tmp_path, run)


def test_one_run_that_fails_does_not_stop_the_others(tmp_path):
    good, *_ = runs_of()
    bad = runs_of(set={**TINY, "optimizer.learning_rate": 1e30, "optimizer.max_grad_norm": 1e30})[0]
    failed = run_side_by_side([bad, good], tmp_path, workers=1)
    assert [fail.run.fingerprint for fail in failed] == [bad.fingerprint]
    assert "TrainingError" in failed[0].reason
    assert load_result(tmp_path, good) is not None
    assert load_result(tmp_path, bad) is None


def test_a_run_beside_others_may_have_readers_of_its_own(tmp_path):
    (run, *_), (same, *_) = runs_of(set={**TINY, "workers": 1}), runs_of()
    assert run_side_by_side([run], tmp_path / "with", workers=1) == []
    with_readers, without = load_result(tmp_path / "with", run), carry_out(same, tmp_path / "without")
    assert (with_readers.curve, with_readers.worlds) == (without.curve, without.worlds)


def test_a_run_that_is_killed_is_told_by_what_and_its_log_is_kept(tmp_path):
    run = runs_of(set={**TINY, "steps": 5000})[0]
    log = run_folder(tmp_path, run) / LOG
    log.parent.mkdir(parents=True)
    log.write_text("what was said before\n")
    seen = []

    def kill(active):
        seen.append(len(active))
        for worker in multiprocessing.active_children():
            worker.kill()

    (failed,) = run_side_by_side([run], tmp_path, 1, kill)
    assert "killed by signal 9 (Killed), as when memory runs out; its log ends: " in failed.reason
    assert f"(exit code -9; the whole story: {log})" in failed.reason
    assert log.read_text().startswith("what was said before")
    assert seen[-1] == 0, "the bar of all runs reaches its end"
    assert (
        ending(tmp_path / "none", 3) == f"nothing was logged (exit code 3; the whole story: {tmp_path / 'none' / LOG})"
    )


def test_a_run_beside_others_takes_one_thread_unless_it_says():
    without = {key: value for key, value in TINY.items() if key != "threads"}
    assert [training_config(run).threads for run in runs_of(set=without, arms={"a": {}, "b": {"threads": 2}},
            contrasts=[], seeds=[0])] == [1, 2]  # fmt: skip


def test_run_status_report(file):
    def call(verb: str, *options: str):
        return CliRunner().invoke(app, ["experiment", verb, str(file), *options], catch_exceptions=False)

    assert "0 of 2" in call("status").output
    ran = call("run", "--workers", "2")
    assert ran.exit_code == 0, ran.output
    assert "4 to do" in ran.output
    assert "2 of 2" in call("status").output
    assert "4 runs are done, 0 to do" in call("run").output
    reported = call("report")
    assert reported.exit_code == 0, reported.output
    elsewhere = call("report", "--results", str(file.parent), "--out", str(file.parent / "pages"))
    assert Path(elsewhere.output.strip()) == file.parent / "pages" / "tiny" / "report.md"
    page = Path(reported.output.strip())
    assert page == file.parent / "reports" / "tiny" / "report.md"
    text = page.read_text()
    assert "motif" in text
    assert "63.1" in text
    json.loads((page.parent / "figures.json").read_text())


@pytest.mark.slow
@pytest.mark.long
def test_killed_it_goes_on_where_it_stopped(tmp_path):
    file = tmp_path / "tiny.yaml"
    file.write_text(yaml.safe_dump(content(set={**TINY, "steps": 160}, curve_every=40, seeds=[0])))
    command = [sys.executable, "-m", "motionfocal", "experiment", "run", str(file), "--workers", "1"]
    run, other = load_plan(file).runs(tmp_path)
    killed = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    checkpoints = run_folder(tmp_path, run) / "checkpoints"
    deadline = time.monotonic() + 120
    while not list(checkpoints.glob("*.pt")):
        assert time.monotonic() < deadline
        assert killed.poll() is None
        time.sleep(0.02)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    log = run_folder(tmp_path, run) / "log.txt"
    while "the command was killed" not in log.read_text():
        assert time.monotonic() < deadline, "the run ends with its command"
        time.sleep(0.1)
    done = len(read_jsonl(run_folder(tmp_path, run) / METRICS))
    assert 40 <= done < 160
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    again = load_result(tmp_path, run)
    assert again is not None
    assert [step for step, _ in again.curve] == [40, 80, 120, 160]
    assert load_result(tmp_path, other) is not None
    alone = carry_out(run, tmp_path / "alone")
    assert (alone.curve, alone.worlds, alone.noise) == (again.curve, again.worlds, again.noise)
    assert training_config(run).name == run.fingerprint
