"""Several processes train as one does: the same gradients, losses and weights, plain (DDP) or sharded (FSDP2).

Processes are real, and a run that goes on is started by torchrun or ``accelerate launch``.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor

from motionfocal.data.batches import load_parts
from motionfocal.data.sources import SpritesSource
from motionfocal.errors import ConfigError
from motionfocal.generation.world import world_items
from motionfocal.jsonl import read_jsonl
from motionfocal.models.build import load_model
from motionfocal.training.config import load_config
from motionfocal.training.held_out import HeldOutLoss
from motionfocal.training.loop import Trainer
from motionfocal.training.processes import distribute, join_processes
from motionfocal.training.records import RunRecords
from motionfocal.training.validation import Validation
from motionfocal.video import read_image
from motionfocal.worlds.benchmark import SpritesBenchmark

from . import warm
from .tiny_wan import write_folder

STEPS = 3
RUN = [f"steps={STEPS}", "batch_size=4", "threads=1", "device=cpu", "optimizer.warmup_steps=0", "data.kind=sprites"]
COMPACT = ["data.world.size=16", "data.world.frames=4", "model.family=compact", "model.width=16", "model.text_width=16"]
WAN = ["data.world.size=64", "data.world.frames=9", "model.family=wan", "model.dtype=float32", "batch_size=2"]
FSDP = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}

CASES = {
    "paper": [*COMPACT, "text_dropout=0.5"],
    "motionfocal": [*COMPACT, "loss.weighting=motionfocal", "micro_batch_size=1"],
    "without an average": [*COMPACT, "loss.weighting=motionfocal", "ema_decay=null"],
    "wan": [*WAN, "model.weights=ti2v-5b", "gradient_checkpointing=true"],
    "lora": [*WAN, "model.weights=ti2v-5b", "lora.rank=2", "batch_size=4", "micro_batch_size=1"],
    "bfloat16": [*WAN, "model.weights=ti2v-5b", "model.dtype=bfloat16", "precision=bf16", "lora.rank=2"],
    "experts": [*WAN, "model.weights=i2v-2.2", "batch_size=4"],
}
SHARDED = [name for name in CASES if name != "experts"]


def config_of(name, bases):
    overrides = [o.replace("weights=", f"weights={bases}/") for o in [*RUN, *CASES[name]]]
    return load_config(None, overrides)


def in_passes_of_a_half(config):
    """Passes as large as those of two processes: on some processors a kernel rounds by how many clips it is given."""
    if config.micro_batch_size is not None:
        return config
    return config.model_copy(update={"micro_batch_size": config.batch_size // 2})


def whole(tensor):
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def wake(model):
    """Give zero-initialised weights values, so that every weight has a gradient at once."""
    rng = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.network.parameters():
            if parameter.requires_grad:
                parameter.add_(0.02 * torch.randn(parameter.shape, generator=rng))


def trainer_of(config):
    """A trainer of woken weights, woken before they are wrapped or sharded."""

    def distribute_woken(model, *rest):
        wake(model)
        distribute(model, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("motionfocal.training.loop.distribute", distribute_woken)
        return Trainer(config, SpritesSource(config.data, config.seed))


def record(config):
    """A short run: the gradients of its first step, its figures, its result, and what its checkpoint holds."""
    trainer = trainer_of(config)
    gradients, update = {}, trainer.learner.update

    def recording(*arguments):
        if not gradients:
            named = trainer.learner.weights.items()
            gradients.update({name: whole(weight.grad).clone() for name, weight in named if weight.grad is not None})
        return update(*arguments)

    trainer.learner.update = recording
    parts = iter(load_parts(trainer.source, trainer.split, range(STEPS), trainer.parts, 0))
    figures = [trainer.train_step(parts) for _ in range(STEPS)]
    state, result = trainer.state(), trainer.learner.result()
    units = sum(isinstance(module, FSDPModule) for module in trainer.model.network.modules())
    return {"gradients": gradients, "figures": figures, "result": result, "state": state, "units": units}


class ThreeClips(SpritesSource):
    numbers: ClassVar = {"a": 0, "b": 1, "c": 2}

    def bucket(self, number):
        return self.shape.frames, self.shape.height, self.shape.width


def sample_together(config, folder):
    """A validation of three items and of three held-out clips, which two processes cannot share equally."""
    folder.mkdir(exist_ok=True)
    trainer = trainer_of(config)
    items = world_items(SpritesBenchmark(world=config.data.world, images=3, texts=1))
    validation = Validation(config.validation, items, folder, lambda item, clip: item == items[0])
    held_out = HeldOutLoss(config.validation, (clips := ThreeClips(config.data, seed=9)), clips.shapes)
    with RunRecords(folder, 0, trainer.processes.is_main_process) as records:
        for callback in (validation, held_out):
            callback.after_step(config.steps, {}, trainer, records)


VALIDATION = ["validation.steps=2", "validation.guidance_scale=2"]


def work(bases, out):
    """What each of the processes does."""
    torch.set_num_threads(1)
    first = os.environ["RANK"] == "0"
    for kind, environment, names in (("ddp", {}, list(CASES)), ("fsdp", FSDP, SHARDED)):
        os.environ |= environment
        for name in names:
            recorded = record(config_of(name, bases))
            if first:
                torch.save(recorded, out / f"{kind}-{name}.pt")
        sample_together(load_config(None, [*RUN, *COMPACT, *VALIDATION]), out / kind)
    errors = []
    for name, changed in {"experts": {}, "paper": {"FSDP_VERSION": "1"}}.items():
        os.environ |= changed
        try:
            trainer_of(config_of(name, bases))
        except ConfigError as error:
            errors.append(str(error))
    if first:
        (out / "errors.json").write_text(json.dumps(errors))
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bases")
    for variant in ("ti2v-5b", "i2v-2.2"):
        write_folder(folder / variant, variant=variant)
    return folder


ROOT = Path(__file__).parents[1]
TORCHRUN = ("torch.distributed.run", "--standalone", "--nproc_per_node=2")
ACCELERATE = ("accelerate.commands.launch", "--num_processes=2", "--main_process_port=0")


def launch(*arguments):
    """Start processes by a launcher's command; they end together when they fail."""
    process = subprocess.Popen(
        [sys.executable, "-m", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        cwd=ROOT,
        start_new_session=True,
    )
    try:
        _, errors = process.communicate(timeout=300)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert process.returncode == 0, errors[-3000:]


def start_two(*arguments, **environment):
    """Start two processes with what a launcher tells its own, and without the time that it takes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    told = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return [
        warm.Warm(
            "-m", *arguments, cwd=ROOT,
            env=os.environ | {"OMP_NUM_THREADS": "1", "RANK": rank, "LOCAL_RANK": rank} | told | environment,
        )
        for rank in ("0", "1")
    ]  # fmt: skip


def finish(processes):
    try:
        said = [process.communicate(timeout=300) for process in processes]
    finally:
        for process in processes:
            process.kill()
    for process, (_, errors) in zip(processes, said, strict=True):
        assert process.returncode == 0, errors[-3000:]


@pytest.fixture(scope="module")
def together(bases, tmp_path_factory):
    """What two processes left."""
    out = tmp_path_factory.mktemp("together")
    finish(start_two("tests.test_distributed", bases, out))
    return out


@pytest.fixture(scope="module")
def alone(bases):
    """What one process measures, by case."""
    return {name: record(in_passes_of_a_half(config_of(name, bases))) for name in CASES}


def close(a, b, tolerance):
    """Whether two sets of named tensors agree, relative to the size of each tensor's largest value."""
    assert a.keys() == b.keys()
    for name in a:
        apart = (a[name] - b[name]).abs().max() / a[name].abs().max().clamp(min=1e-8)
        assert apart <= tolerance, f"{name}: {apart:.2e} apart"


ROUNDING = {"bfloat16": 2**-7}
"""Where sums are rounded, whatever the number of processes: in bfloat16 after each clip's pass."""


@pytest.mark.parametrize("name", CASES)
def test_two_processes_have_the_gradients_of_one(alone, together, name):
    check(alone[name], torch.load(together / f"ddp-{name}.pt"), ROUNDING.get(name, 1e-5))


@pytest.mark.parametrize("name", SHARDED)
def test_sharded_processes_have_the_gradients_of_one(alone, together, name):
    sharded = torch.load(together / f"fsdp-{name}.pt")
    check(alone[name], sharded, ROUNDING.get(name, 1e-4))
    assert sharded["units"] == (1 if COMPACT[0] in CASES[name] else 3)  # Wan's two blocks, and the rest


def check(one, two, rounding):
    """Gradients agree; so do figures, and, Adam dividing small differences by small numbers, weights a little less."""
    assert one["gradients"]
    close(one["gradients"], two["gradients"], rounding)
    for a, b in zip(one["figures"], two["figures"], strict=True):
        for key in a.keys() - {"seconds"}:
            assert a[key] == pytest.approx(b[key], rel=max(rounding, 1e-4), nan_ok=True), key
    learners = [recorded["state"]["learner"] for recorded in (one, two)]
    for kind in ("weights", "average"):
        close(learners[0][kind], learners[1][kind], 10 * max(rounding, 1e-4))
    close(one["result"], two["result"], 10 * max(rounding, 1e-4))
    assert learners[0]["optimizer"]["state"].keys() == learners[1]["optimizer"]["state"].keys()


def test_validation_is_shared_out(together, tmp_path):
    sample_together(load_config(None, [*RUN, *COMPACT, *VALIDATION]), tmp_path / "alone")
    picture = read_image(tmp_path / "alone" / "samples" / f"step-{STEPS:06d}.png").astype(int)
    for kind in ("ddp", "fsdp"):
        assert abs(read_image(together / kind / "samples" / f"step-{STEPS:06d}.png") - picture).max() <= 1
        assert read_jsonl(together / kind / "validation.jsonl") == [
            {"step": STEPS, "followed": pytest.approx(1 / 3), "items": 3}
        ]
        (there,), (here,) = (read_jsonl(place / "held_out.jsonl") for place in (together / kind, tmp_path / "alone"))
        assert there == {key: pytest.approx(value, rel=1e-4) for key, value in here.items()}
        assert there["clips"] == 3


def test_sharding_that_cannot_work_is_refused(together):
    experts, version = json.loads((together / "errors.json").read_text())
    assert "model.experts=high" in experts
    assert "--fsdp_version 2" in version


@pytest.mark.skipif(torch.accelerator.is_available(), reason="there is a device that processes can share")
def test_processes_that_would_train_alone_are_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="2 processes were started"):
        join_processes("auto")


LONG = [
    "steps=12", "checkpoint_every=3", "validation.every=6", "validation.images=3", "validation.texts=1",
    "validation.steps=2", "text_dropout=0.3", "loss.weighting=motionfocal", "micro_batch_size=1",
]  # fmt: skip


def training(run):
    """``motionfocal train``"""
    empty = run.with_name("empty.yaml")
    empty.write_text("")
    return [
        "motionfocal",
        "train",
        str(empty),
        f"--out={run}",
        *(f"--set={change}" for change in [*RUN, *COMPACT, *LONG]),
    ]


def train_and_kill(run, **environment):
    """Kill both processes between two checkpoints."""
    processes, metrics = start_two(*training(run), **environment), run / "metrics.jsonl"
    deadline = time.monotonic() + 240
    while (not metrics.is_file() or len(metrics.read_text().splitlines()) < 5) and time.monotonic() < deadline:
        time.sleep(0.01)
    for process in processes:
        process.kill()
        process.wait()
    assert 5 <= len(losses(run)) < 12, "the kill came too late to prove anything"


def losses(run):
    return [row["loss"] for row in read_jsonl(run / "metrics.jsonl")]


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory):
    run = tmp_path_factory.mktemp("whole") / "run"
    warm.run("-m", *training(run), check=True)
    return run


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ddp", "fsdp"])
def test_a_killed_run_of_two_processes_goes_on(whole_run, tmp_path, kind):
    """Digit for digit with two processes, and like one process within rounding; only the first process writes."""
    told = {} if kind == "ddp" else FSDP
    finish(start_two(*training(tmp_path / "two"), **told))
    train_and_kill(tmp_path / "killed", **told)
    launcher = TORCHRUN if kind == "ddp" else (*ACCELERATE, "--use_fsdp", "--fsdp_version=2")
    launch(*launcher, "-m", *training(tmp_path / "killed"))
    assert losses(tmp_path / "killed") == losses(tmp_path / "two")
    assert losses(tmp_path / "two") == pytest.approx(losses(whole_run), rel=1e-4)
    assert len(losses(tmp_path / "two")) == 12
    names = {path.relative_to(tmp_path / "two").as_posix() for path in (tmp_path / "two").rglob("*.*")}
    expected = {path.relative_to(whole_run).as_posix() for path in whole_run.rglob("*.*")}
    assert {name for name in names if "tfevents" not in name} == {name for name in expected if "tfevents" not in name}


@pytest.mark.slow
def test_the_number_of_processes_may_change(whole_run, tmp_path):
    train_and_kill(tmp_path / "run")
    warm.run("-m", *training(tmp_path / "run"), check=True)
    assert losses(tmp_path / "run") == pytest.approx(losses(whole_run), rel=1e-5)
    one, two = (load_model(run / "model").model.network.state_dict() for run in (whole_run, tmp_path / "run"))
    close(one, two, 1e-3)


if __name__ == "__main__":
    work(Path(sys.argv[1]), Path(sys.argv[2]))
