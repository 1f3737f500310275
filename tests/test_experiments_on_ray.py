"""Experiments on a real Ray cluster of two nodes: the same results, lost workers, failures."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from motionfocal.cli.app import app
from motionfocal.errors import ConfigError, UnavailableError
from motionfocal.experiments.cluster import run_on_ray, scratch_of
from motionfocal.experiments.plan import ExperimentPlan
from motionfocal.experiments.result import load_result
from motionfocal.experiments.work import carry_out, run_folder
from motionfocal.jsonl import read_jsonl
from motionfocal.training.records import METRICS

from .test_experiments import TINY, content


def runs_of(**changes: object):
    return ExperimentPlan.model_validate(content(**changes)).runs(Path())


def without_time(result):
    return result.model_dump(exclude={"seconds"})


def test_a_cluster_gives_the_results_of_one_process(ray_address, tmp_path):
    runs, ended = runs_of(), []
    assert run_on_ray(runs, tmp_path / "ray", ray_address, ended.append) == []
    assert ended[-1] == 4
    assert ended == sorted(ended)
    for run in runs:
        found = load_result(tmp_path / "ray", run)
        assert without_time(found) == without_time(carry_out(run, tmp_path / "here"))
        assert not scratch_of(run).exists(), "nothing stays on the node"


def test_one_run_that_fails_does_not_stop_the_others(ray_address, tmp_path):
    good, *_ = runs_of(seeds=[7])
    bad = runs_of(set={**TINY, "optimizer.learning_rate": 1e30, "optimizer.max_grad_norm": 1e30}, seeds=[7])[0]
    failed = run_on_ray([bad, good], tmp_path, ray_address)
    assert [fail.run.fingerprint for fail in failed] == [bad.fingerprint]
    assert "TrainingError" in failed[0].reason
    assert load_result(tmp_path, good) is not None
    assert load_result(tmp_path, bad) is None


def test_a_lost_worker_costs_what_came_after_its_last_checkpoint(ray_address, tmp_path):
    """The run is begun again, on whichever node, and ends with the result of one that nobody disturbed."""
    run = runs_of(set={**TINY, "steps": 120}, curve_every=30, seeds=[8])[0]
    killed = []

    def kill_once(ended):
        if not killed and len(read_jsonl(run_folder(scratch_of(run), run) / METRICS)) >= 40:
            found = subprocess.run(["pgrep", "-f", "ray::_work"], capture_output=True, text=True, check=True)
            killed.extend(map(int, found.stdout.split()))
            for process in killed:
                os.kill(process, signal.SIGKILL)

    assert run_on_ray([run], tmp_path / "ray", ray_address, kill_once) == []
    assert killed, "it ended before it was killed"
    found = load_result(tmp_path / "ray", run)
    assert without_time(found) == without_time(carry_out(run, tmp_path / "here"))


def test_no_cluster_is_said(tmp_path):
    started = time.monotonic()
    with pytest.raises(UnavailableError, match=r"no Ray cluster at 127\.0\.0\.1:1"):
        run_on_ray(runs_of(), tmp_path, "127.0.0.1:1")
    assert time.monotonic() - started < 60


def test_the_command_takes_an_address(ray_address, tmp_path):
    import yaml

    file = tmp_path / "tiny.yaml"
    file.write_text(yaml.safe_dump(content(seeds=[9])))

    def call(*options):
        return CliRunner().invoke(app, ["experiment", "run", str(file), *options])

    ran = call("--engine", "ray", "--address", ray_address)
    assert ran.exit_code == 0, ran.output
    assert "2 runs are done, 0 to do" in call().output
    for wrong in (("--engine", "ray", "--workers", "2"), ("--address", ray_address)):
        assert isinstance(call(*wrong).exception, ConfigError)
