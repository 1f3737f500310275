"""Where work is done: in this process, in others, on a real Ray cluster of two nodes; the results are the same."""

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from motionfocal.cli.app import app
from motionfocal.data.prepare import prepare
from motionfocal.engine import HERE, Local, Lost, RayCluster, Stages, as_it_is, engine_of, ray_cluster
from motionfocal.errors import ConfigError, MediaError, UnavailableError, UnknownNameError
from motionfocal.generation.animators.checkpoint import CheckpointAnimator
from motionfocal.generation.generate import generate
from motionfocal.generation.sampler import SamplingSettings
from motionfocal.metrics.dynamics import FlowDynamics
from motionfocal.metrics.engine import measure
from motionfocal.metrics.metric import Output
from motionfocal.metrics.references import jobs_of
from motionfocal.metrics.results import rows_of
from motionfocal.metrics.sets import metrics_of
from motionfocal.metrics.store import SampleStore
from motionfocal.models.build import ModelCard, build_model, save_model, trained_weights
from motionfocal.models.families import compact
from motionfocal.models.protocol import ClipShape
from motionfocal.motion import estimate_flow

from .clips import CountingEncoder, cache_spec, files_of, moving, write_clips, write_table
from .test_metrics_engine import bench, galleries  # noqa: F401 - fixtures

ENGINES = ["here", "processes", "ray"]


@pytest.fixture
def engine(request):
    if request.param == "ray":
        cloudpickle = pytest.importorskip("ray", reason="Ray is not installed").cloudpickle
        cloudpickle.register_pickle_by_value(sys.modules[__name__])  # no node has the tests
        return RayCluster(request.getfixturevalue("ray_address"))
    return HERE if request.param == "here" else Local(2)


class Square:
    """Work that loads something once a worker."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.loaded = folder, False

    def __call__(self, number: int) -> int:
        if not self.loaded:
            self.loaded = True
            (self.folder / f"{os.getpid()}-{time.monotonic_ns()}").touch()
        time.sleep(0.01 * (number % 3))
        return number * number


@pytest.mark.parametrize("engine", ENGINES, indirect=True)
def test_results_come_in_the_order_of_the_items(engine, tmp_path):
    assert list(engine.map(Square(tmp_path), range(40))) == [n * n for n in range(40)]
    assert 1 <= len(list(tmp_path.iterdir())) <= 2, "what is loaded is kept by its worker"
    assert list(engine.map(Square(tmp_path), [])) == []


def flow_of(seed: int) -> float:
    frames = moving(seed, 3, (96, 128))
    return float(np.abs(estimate_flow(frames, "farneback")).sum())


@pytest.mark.parametrize("engine", ["processes"], indirect=True)
def test_processes_of_a_process_whose_opencv_has_threads_work(engine):
    threads = cv2.getNumThreads()
    cv2.setNumThreads(4)
    try:
        here = [flow_of(seed) for seed in range(4)]
        assert list(engine.map(flow_of, range(4))) == here
        assert cv2.getNumThreads() == 4
    finally:
        cv2.setNumThreads(threads)


def refuse(number: int) -> int:
    if number == 3:
        raise MediaError("the third is bad")
    return number


@pytest.mark.parametrize("engine", ENGINES, indirect=True)
def test_what_work_raises_is_raised(engine):
    results = engine.map(refuse, range(6))
    with pytest.raises(MediaError) as caught:
        list(results)
    assert str(caught.value) == "the third is bad", "and nothing of where it was raised"


def look_up(number: int) -> int:
    raise UnknownNameError("flow estimator", "best", ["raft", "dis"])


@pytest.mark.parametrize("engine", ENGINES, indirect=True)
def test_an_error_keeps_its_type_and_what_it_knows(engine):
    with pytest.raises(UnknownNameError, match="known: dis, raft") as caught:
        list(engine.map(look_up, range(2)))
    assert (caught.value.name, caught.value.known) == ("best", ["dis", "raft"])


class Deadly:
    """Work on 5 ends its process, always or the first time."""

    def __init__(self, folder: Path, *, always: bool) -> None:
        self.folder, self.always = folder, always

    def __call__(self, number: int) -> int:
        if number == 5 and (self.always or not (self.folder / "died").exists()):
            (self.folder / "died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return number


@pytest.mark.parametrize("engine", ["ray"], indirect=True)
def test_a_worker_that_dies_once_costs_nothing(engine, tmp_path):
    assert list(engine.map(Deadly(tmp_path, always=False), range(12))) == list(range(12))
    assert (tmp_path / "died").exists()


@pytest.mark.parametrize("engine", ["ray"], indirect=True)
def test_an_item_that_kills_every_worker_is_lost_alone(engine, tmp_path, monkeypatch):
    monkeypatch.setattr("motionfocal.engine.ray_cluster.LIVES", 1)  # a worker takes seconds to begin again
    results = list(engine.map(Deadly(tmp_path, always=True), range(12)))
    assert isinstance(results[5], Lost)
    assert "died, 2 times" in results[5].reason
    assert results[:5] + results[6:] == [*range(5), *range(6, 12)]


@pytest.mark.parametrize("engine", ENGINES[1:], indirect=True)
def test_caches_are_the_same_byte_for_byte(engine, tmp_path):
    folder = tmp_path / "clips"
    write_clips(folder, 3)
    (folder / "bad.mp4").write_text("bad")
    write_table(folder / "metadata.csv", ["0.mp4", "bad.mp4", "1.mp4", "2.mp4"])
    made = {}
    for name, used in {"here": HERE, "there": engine}.items():
        report = prepare(cache_spec(folder, cache=tmp_path / name), CountingEncoder(), engine=used)
        assert len(report.rejected) == 1
        made[name] = files_of(tmp_path / name)
    assert made["here"] == made["there"]


@pytest.mark.parametrize("engine", ["ray"], indirect=True)
def test_the_command_prepares_on_a_cluster(engine, tmp_path):
    """Whatever number of this machine's processes the config has for training."""
    write_table(tmp_path / "clips" / "metadata.csv", write_clips(tmp_path / "clips", 2))
    overrides = [
        "model.family=compact", "model.width=16", "data.kind=folder", f"data.videos={tmp_path / 'clips'}",
        "data.frames=4", "data.height=24", "data.width=32", "threads=1", "workers=2",
    ]  # fmt: skip
    config = tmp_path / "config.yaml"
    config.write_text("name: tiny\n")
    made = {}
    for name, options in {"here": (), "ray": ("--engine", "ray", "--address", engine.address)}.items():
        changes = [*overrides, f"data.cache={tmp_path / name}"]
        said = [part for change in changes for part in ("-s", change)]
        ran = CliRunner().invoke(app, ["prepare", str(config), *said, *options], catch_exceptions=False)
        assert ran.exit_code == 0, ran.output
        made[name] = files_of(tmp_path / name)
    assert made["here"] == made["ray"]


@pytest.mark.parametrize("engine", ["ray"], indirect=True)
def test_killing_workers_changes_no_cache(engine, tmp_path):
    folder = tmp_path / "clips"
    write_clips(folder, 8)
    write_table(folder / "metadata.csv", [f"{n}.mp4" for n in range(8)])
    killed, stop = [], threading.Event()

    def kill() -> None:
        while len(killed) < 2 and not stop.wait(0.05):
            found = subprocess.run(["pgrep", "-f", "ray::_Worker.work"], capture_output=True, text=True, check=False)
            for process in map(int, found.stdout.split()[:1]):
                os.kill(process, signal.SIGKILL)
                killed.append(process)

    killer = threading.Thread(target=kill)
    killer.start()
    prepare(cache_spec(folder, cache=tmp_path / "ray"), CountingEncoder(), engine=engine)
    stop.set()
    killer.join()
    assert killed, "all was done before a worker was found"
    prepare(cache_spec(folder, cache=tmp_path / "here"), CountingEncoder())
    assert files_of(tmp_path / "ray") == files_of(tmp_path / "here")


@pytest.fixture
def model(tmp_path):
    """A folder of a tiny model of ours, with random weights."""
    family, shape = compact.Family(width=16, text_width=16), ClipShape(frames=4, height=16, width=16, fps=8)
    built = build_model(family, shape, seed=0)
    save_model(tmp_path / "model", ModelCard(name="tiny", model=family, shape=shape), trained_weights(built.network))
    return tmp_path / "model"


@pytest.mark.parametrize("engine", ENGINES[1:], indirect=True)
def test_galleries_are_the_same_byte_for_byte(engine, model, bench, tmp_path):  # noqa: F811
    items = [*bench.items[:4], replace(bench.items[0], id="gone", file=tmp_path / "gone.png")]
    made = {}
    for name, used in {"here": HERE, "there": engine}.items():
        animator = CheckpointAnimator.open(model, SamplingSettings(steps=2), batch_size=2)
        found = generate(animator, items, tmp_path / name, engine=used)
        assert [failed.id for failed in found.failed] == ["gone"]
        made[name] = files_of(tmp_path / name)
    assert len(made["here"]) == 4 + 2
    assert made["here"] == made["there"]


@pytest.mark.parametrize("engine", ["ray"], indirect=True)
def test_the_command_animates_on_a_cluster(engine, model, bench, tmp_path):  # noqa: F811
    benchmark = str(bench.items[0].file.parents[1])
    said = ["generate", str(model), "-b", benchmark, "--limit", "2", "--steps", "2", "--engine", "ray"]
    said += ["--address", engine.address, "-o", str(tmp_path / "gallery")]
    ran = CliRunner().invoke(app, said, catch_exceptions=False)
    assert ran.exit_code == 0, ran.output
    assert "2 clips in" in ran.output


class Mortal(CheckpointAnimator):
    """Dies of one item."""

    def animate(self, items, seeds):
        if items[0].id.endswith("_1"):
            os.kill(os.getpid(), signal.SIGKILL)
        yield from super().animate(items, seeds)


@pytest.mark.parametrize("engine", ["ray"], indirect=True)
def test_an_item_that_kills_its_worker_fails_alone(engine, model, bench, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr("motionfocal.engine.ray_cluster.LIVES", 1)
    found = generate(
        Mortal.open(model, SamplingSettings(steps=2)), bench.items[:3], tmp_path / "gallery", engine=engine
    )
    assert [(failed.id, "died" in failed.reason) for failed in found.failed] == [("p0_1", True)]
    assert [row.id for row in found.gallery.rows()] == ["p0_0", "p0_2"]


def gpus(_: object = None) -> str:
    return os.environ.get("CUDA_VISIBLE_DEVICES", "all")


def on_the_first(number: int) -> tuple[int, str, int]:
    if number == 7:
        raise MediaError("the seventh is bad")
    return number, gpus(), os.getpid()


def on_the_second(found: tuple[int, str, int]) -> tuple[int, str, str, bool]:
    number, first, process = found
    time.sleep(0.01 * (number % 3))
    return number, first, gpus(), process == os.getpid()


@pytest.mark.parametrize("engine", ENGINES, indirect=True)
def test_stages_follow_one_another(engine):
    found = list(engine.map(Stages(on_the_first, on_the_second), range(6)))
    assert [number for number, *_ in found] == list(range(6))
    assert [same for *_, same in found] == [engine != Local(2)] * 6


@pytest.mark.parametrize("engine", ["ray"], indirect=True)
def test_where_there_are_gpus_the_second_stage_has_them(engine, ray_cluster):
    """The cluster believes in a GPU that is not there."""
    node = ray_cluster.add_node(num_cpus=1, num_gpus=1)
    try:
        found = list(engine.map(Stages(on_the_first, on_the_second), range(6)))
        assert found == [(number, "", "0", False) for number in range(6)]
        assert list(engine.map(gpus, range(4))) == [""] * 4, "work without stages is a core's"
        with pytest.raises(MediaError, match="the seventh is bad"):
            list(engine.map(Stages(on_the_first, on_the_second), range(9)))
    finally:
        ray_cluster.remove_node(node)


class Promise(SimpleNamespace):
    """What a worker will have done."""

    __hash__ = object.__hash__


class FastCores:
    """Stands in for the module ``ray``, on a cluster whose cores need no time. Counts what lies between the stages."""

    exceptions = SimpleNamespace(RayTaskError=RuntimeError, RayError=OSError)

    def __init__(self, cores, gpus):
        self.there, self.workers, self.between, self.most_between = {"CPU": cores, "GPU": gpus}, [], 0, 0

    def cluster_resources(self):
        return self.there

    def remote(self, *, num_gpus, **_):
        return lambda _: SimpleNamespace(remote=lambda work: self._worker(work, num_gpus))

    def _worker(self, work, num_gpus):
        self.workers.append(num_gpus)

        def call(item):
            self.between -= isinstance(item, Promise)
            return Promise(stage=num_gpus, value=work(item.value if isinstance(item, Promise) else item))

        return SimpleNamespace(work=SimpleNamespace(remote=call))

    def wait(self, promises, *, fetch_local):
        assert not fetch_local, "a result of the first stage would come to the head"
        ready = min(promises, key=lambda promise: promise.stage)
        self.between += not ready.stage
        self.most_between = max(self.most_between, self.between)
        return [ready], []

    def get(self, promise):
        return promise.value


def test_cores_read_ahead_no_more_than_gpus_need():
    ray = FastCores(4, 2)
    pools = ray_cluster._pools(ray, Stages(str, int), 500)
    assert list(ray_cluster._in_order(ray, pools, range(500))) == list(range(500))
    assert ray.workers.count(0) == 4
    assert ray.workers.count(1) == 2
    assert 2 <= ray.most_between <= 4 + 2 * ray_cluster._WAITING


def test_a_first_stage_that_does_nothing_has_no_workers():
    ray = FastCores(4, 2)
    pools = ray_cluster._pools(ray, Stages(as_it_is, str), 3)
    assert list(ray_cluster._in_order(ray, pools, range(3))) == ["0", "1", "2"]
    assert ray.workers == [1, 1]


@pytest.mark.parametrize("engine", ENGINES[1:], indirect=True)
def test_metrics_are_the_same(engine, bench, galleries, tmp_path):  # noqa: F811
    jobs = jobs_of(galleries, bench, metrics_of("weights-free", galleries))
    for name, used in {"here": HERE, "there": engine}.items():
        assert measure(jobs, SampleStore(tmp_path / name), engine=used) == []
    assert files_of(tmp_path / "here") == files_of(tmp_path / "there")


class SeenBy:
    """A metric of where it was measured."""

    version, settings, reads_text = 1, {}, False

    def __init__(self, name: str, *, uses_network: bool) -> None:
        self.name, self.uses_network = name, uses_network
        self.outputs = (Output(name, "neither", "GPU or core"),)

    def begin(self, sample):
        if sample.item.id == "p0_0":
            raise MediaError(f"{self.name}: not this one")
        return self

    def see(self, frame):
        pass

    def values(self):
        return {self.name: "a GPU" if gpus() == "0" else "a core"}


@pytest.mark.parametrize("engine", ["ray"], indirect=True)
def test_where_there_are_gpus_networks_measure_on_them(engine, ray_cluster, bench, galleries, tmp_path):  # noqa: F811
    (galleries[0].folder / "p0_1.mp4").write_text("broken")
    metrics = [SeenBy("eye", uses_network=False), FlowDynamics(), SeenBy("network", uses_network=True)]
    jobs = jobs_of(galleries, bench, metrics)
    here, there = SampleStore(tmp_path / "here"), SampleStore(tmp_path / "there")
    node = ray_cluster.add_node(num_cpus=1, num_gpus=1)
    try:
        failed = measure(jobs, there, engine=engine)
    finally:
        ray_cluster.remove_node(node)
    assert failed == measure(jobs, here)
    assert {failure.metric for failure in failed} == {"", "eye", "network"}
    rows = [replace(row, value="a GPU") if row.metric == "network" else row for row in rows_of(jobs, here)]
    assert rows_of(jobs, there) == rows
    assert {row.value for row in rows if row.metric == "eye"} == {"a core"}


def test_no_cluster_is_said():
    with pytest.raises(UnavailableError, match=r"no Ray cluster at 127\.0\.0\.1:1: .*refused"):
        list(RayCluster("127.0.0.1:1").map(refuse, [0]))


def test_what_fits_no_engine_is_refused():
    assert engine_of("local", 2, None) == Local(2)
    assert engine_of("ray", None, "auto") == RayCluster("auto")
    with pytest.raises(ConfigError, match="leave their number out"):
        engine_of("ray", 2, None)
    with pytest.raises(ConfigError, match="--engine ray"):
        engine_of("local", None, "auto")
