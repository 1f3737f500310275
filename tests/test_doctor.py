"""The doctor: what it says is good was tried, and what it says is missing is."""

import http.server
import threading
from importlib.metadata import metadata
from types import SimpleNamespace

import huggingface_hub
import psutil
import pytest
import torch
from huggingface_hub import constants
from typer.testing import CliRunner

from motionfocal import __version__
from motionfocal.cli import app
from motionfocal.doctor import extras, machine, needs, weights
from motionfocal.doctor.finding import tried
from motionfocal.errors import ConfigError, MediaError
from motionfocal.training.config import load_config, recipe, recipes
from motionfocal.video import write_clip

from .page_galleries import moving


def by_name(findings):
    return {finding.name: finding for finding in findings}


def test_all_trials_go_well_here():
    assert {trial.name: trial.state for trial in machine.trials()} == dict.fromkeys(
        ("video", "optical flow", "heatmap", "training"), "good"
    )


@pytest.mark.parametrize(
    ("broken", "trial"),
    [("read_clip", "video"), ("estimate_flow", "optical flow"), ("motion_heatmap", "heatmap"), ("nn", "training")],
)
def test_a_trial_that_fails_says_why_and_the_others_go_on(monkeypatch, broken, trial):
    def fails(*_):
        raise OSError("the library is broken")

    monkeypatch.setattr(machine, broken, fails)
    found = by_name(machine.trials())
    assert found[trial].state == "bad"
    assert found[trial].remedy
    assert found["video"].state == ("bad" if trial == "video" else "good")


def test_a_flow_that_answers_wrongly_is_found(monkeypatch):
    right = machine.estimate_flow
    monkeypatch.setattr(machine, "estimate_flow", lambda frames: -right(frames))
    assert by_name(machine.trials())["optical flow"].state == "bad"


def test_what_is_tried_may_raise_anything():
    def trial():
        raise MediaError("clip.mp4: no frames")

    assert tried("video", trial, "look at it").told == "MediaError: clip.mp4: no frames"


def test_facts_name_the_gpu_or_say_that_there_is_none():
    assert {"MotionFocal", "cores", "memory", "GPU"} <= set(by_name(machine.facts()))


def test_every_extra_for_users_is_examined():
    assert set(extras.USES) == set(metadata("motionfocal").get_all("Provides-Extra")) - {"dev"}


def test_an_extra_says_what_it_lacks_and_what_is_too_old(monkeypatch):
    installed = extras.version

    def version(name):
        if name == "ray":
            return "2.1"
        if name == "boto3":
            raise extras.PackageNotFoundError(name)
        return installed(name)

    monkeypatch.setattr(extras, "version", version)
    found = by_name(extras.extras())
    assert found["ray"].state == found["mturk"].state == "absent"
    assert "ray>=2.40 (here: 2.1)" in found["ray"].told
    assert "boto3" in found["mturk"].told
    assert found["mturk"].remedy == "pip install 'motionfocal[mturk]'"
    assert found["study"].state == "good"


@pytest.mark.parametrize("lost", ["everything", "its requirements"])
def test_without_metadata_no_extra_is_called_good(monkeypatch, lost):
    def requires(name):
        if lost == "everything":
            raise extras.PackageNotFoundError(name)

    def version(name):
        raise extras.PackageNotFoundError(name)

    monkeypatch.setattr(extras, "requires", requires)
    monkeypatch.setattr("importlib.metadata.version", version)
    (found,) = extras.extras()
    assert found.state == "absent"
    assert "force-reinstall" in found.remedy
    assert by_name(machine.facts())["MotionFocal"].told.startswith(__version__)


@pytest.fixture
def empty_caches(monkeypatch, tmp_path):
    """Neither weights nor a hub that answers."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(weights, "scan_cache_dir", lambda: scan(tmp_path / "hub"))
    monkeypatch.setenv("MOTIONFOCAL_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setattr(weights.torch.hub, "get_dir", lambda: str(tmp_path / "torch"))
    return tmp_path


scan = weights.scan_cache_dir


def put_in_hub(
    folder, kind, owner, name, content=b"weights", file="model.safetensors", commit="0123abc", branch="main"
):
    repository = folder / "hub" / f"{kind}s--{owner}--{name}"
    snapshot = repository / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (snapshot / file).write_bytes(content)
    (repository / "refs" / branch).parent.mkdir(parents=True, exist_ok=True)
    (repository / "refs" / branch).write_text(commit)


def test_weights_that_are_not_here_come_with_the_way_to_get_them(empty_caches):
    found = by_name(weights.weights())
    bases = {str(load_config(path).model.weights) for name, path in recipes().items() if "-" in name}
    assert bases <= set(found)
    assert {finding.state for finding in found.values()} == {"absent"}
    assert all(finding.remedy for name, finding in found.items() if name != "the hub")
    assert str(empty_caches / "weights/i3d_model/i3d_torchscript.pt") in found["i3d_model/i3d_torchscript.pt"].remedy


def test_weights_that_are_here_are_found(empty_caches):
    put_in_hub(empty_caches, "model", "Lightricks", "LTX-Video", b"0" * 2000)
    put_in_hub(empty_caches, "dataset", "wang-sj16", "TI2V-Bench")
    network = empty_caches / "weights/clip_model/ViT-B-32.pt"
    network.parent.mkdir(parents=True)
    network.write_bytes(b"0" * 3000)
    raft = empty_caches / "torch/checkpoints" / weights.Raft_Small_Weights.DEFAULT.url.rsplit("/")[-1]
    raft.parent.mkdir(parents=True)
    raft.write_bytes(b"0")
    found = by_name(weights.weights())
    good = {name for name, finding in found.items() if finding.state == "good"}
    assert good == {"Lightricks/LTX-Video", "wang-sj16/TI2V-Bench", "clip_model/ViT-B-32.pt", "raft_small"}
    assert "2.0 kB" in found["Lightricks/LTX-Video"].told
    assert "background_consistency" in found["clip_model/ViT-B-32.pt"].told


def test_configs_alone_are_no_base(empty_caches, monkeypatch):
    put_in_hub(empty_caches, "model", "Wan-AI", "Wan2.2-TI2V-5B-Diffusers", file="config.json")
    scans = []
    monkeypatch.setattr(weights, "scan_cache_dir", lambda: (scans.append(1), scan(empty_caches / "hub"))[1])
    assert by_name(weights.weights())["Wan-AI/Wan2.2-TI2V-5B-Diffusers"].state == "absent"
    assert len(scans) == 1
    base = by_name(needs.needs(load_config(recipe("wan22-ti2v-5b"), ["data.videos=nowhere"])))["base"]
    assert base.state == "bad"
    assert "not here" in base.told


def test_the_hub_answers_through_a_proxy(monkeypatch):
    class Proxy(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()

    asked = []
    server = http.server.HTTPServer(("127.0.0.1", 0), Proxy)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    close = getattr(huggingface_hub, "close_session", lambda: None)  # a session remembers its proxy
    close()
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{server.server_port}")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://hub.invalid")
    try:
        assert weights.hub().state == "good"
        assert asked[0].startswith("http://hub.invalid")
    finally:
        close()
        server.shutdown()
        server.server_close()


def test_the_hub_answers_or_is_left_alone(monkeypatch):
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    assert weights.hub().state == "good"
    server.shutdown()
    server.server_close()
    assert weights.hub().state == "absent"
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE" in weights.hub().told


@pytest.fixture
def clips(tmp_path):
    folder = tmp_path / "clips"
    folder.mkdir()
    write_clip(folder / "a.mp4", moving(0, 16, 64), 8)
    (folder / "metadata.csv").write_text("file_name,text\na.mp4,it moves\n")
    return folder


def naming(clips):
    """Overrides that name a folder of clips."""
    return [f"data.videos={clips}", f"data.captions={clips}/metadata.csv"]


def test_a_training_that_could_begin(clips, empty_caches):
    found = by_name(needs.needs(load_config(recipe("clips"), naming(clips))))
    assert found["clips"].state == found["memory"].state == found["time"].state == "good"
    assert found["clips"].told.startswith("1 ")
    assert "at least" in found["time"].told


def test_a_training_that_lacks_clips_and_memory(empty_caches, monkeypatch):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=10_000_000))
    found = by_name(needs.needs(load_config(recipe("clips"), naming("nowhere"))))
    assert found["clips"].state == found["memory"].state == "bad"
    assert "micro_batch_size" in found["memory"].remedy


def test_memory_and_time_are_those_of_the_device_of_the_config(clips, empty_caches, monkeypatch):
    asked = []
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("cuda"))
    monkeypatch.setattr(needs, "operations_a_second", lambda device, dtype: asked.append(device.type) or 1e12)
    found = by_name(needs.needs(load_config(recipe("clips"), [*naming(clips), "device=cpu"])))
    assert asked == ["cpu"]
    assert "this machine has free" in found["memory"].told


def test_the_first_product_is_not_timed(monkeypatch):
    clock = iter([0.0, 0.4, 0.4, 1.0, 1.0])
    monkeypatch.setattr(needs, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    products = []
    ones = torch.ones

    class Factor:
        def __matmul__(self, other):
            products.append(1)
            return ones(1, 1)

    monkeypatch.setattr(needs.torch, "ones", lambda *size, **_: Factor())
    assert needs.operations_a_second(torch.device("cpu"), torch.float32) == 2 * 2 * 1024**3
    assert len(products) == 3


def test_a_training_that_lacks_its_base(clips, empty_caches):
    found = by_name(needs.needs(load_config(recipe("wan22-ti2v-5b"), [f"data.videos={clips}"])))
    assert found["base"].state == "bad"
    assert found["base"].remedy.startswith("hf download Wan-AI/Wan2.2-TI2V-5B-Diffusers")
    assert found["clips"].state == "good"
    found = by_name(needs.needs(load_config(recipe("paper"), [f"data.videos={clips}"])))
    assert "convert" in found["base"].remedy


def test_a_base_that_is_pinned_is_here_at_its_revision_or_not_at_all(empty_caches):
    def base(revision):
        change = f"model.weights=Lightricks/LTX-Video{revision}"
        return by_name(needs.needs(load_config(recipe("ltx-video"), ["data.videos=nowhere", change])))["base"]

    put_in_hub(empty_caches, "model", "Lightricks", "LTX-Video", b"0" * 2000)
    put_in_hub(empty_caches, "model", "Lightricks", "LTX-Video", b"0" * 3000, commit="4567def", branch="refs/pr/1")
    told = {"": "5.0 kB", "@main": "2.0 kB", "@0123abc": "2.0 kB", "@refs/pr/1": "3.0 kB", "@4567def": "3.0 kB"}
    for revision, size in told.items():
        assert f"LTX-Video{revision}: {size} here" in base(revision).told
    assert base("@v9").state == "bad"
    assert base("@v9").remedy.startswith("hf download Lightricks/LTX-Video --revision v9;")
    assert base("@").state == "bad"
    assert "model.weights: Lightricks/LTX-Video@: '' is no revision" in base("@").told


def test_a_cache_is_said_to_be_complete_only_when_it_is(clips, empty_caches):
    overrides = [*naming(clips), f"data.cache={empty_caches / 'cache'}"]
    config = load_config(recipe("clips"), overrides)
    assert by_name(needs.needs(config))["cache"].state == "absent"
    overridden = [part for override in overrides for part in ("--set", override)]
    assert CliRunner().invoke(app, ["prepare", "clips", *overridden]).exit_code == 0
    found = by_name(needs.needs(config))["cache"]
    assert found.state == "good"
    assert found.told.startswith("1 windows")


def test_the_command_fails_when_a_training_could_not_begin(clips, empty_caches):
    def doctor(folder):
        overrides = [part for override in naming(folder) for part in ("--set", override)]
        return CliRunner().invoke(app, ["doctor", "clips", *overrides])

    good, bad = doctor(clips), doctor("nowhere")
    assert good.exit_code == 0, good.output
    assert "to train clips" in good.output
    assert bad.exit_code == 1
    assert "set data.videos" in bad.output


def test_changes_of_no_config_are_refused():
    said = CliRunner().invoke(app, ["doctor", "--set", "steps=3"]).exception
    assert isinstance(said, ConfigError)
    assert "--set steps=3: changes a config, and none is named" in str(said)


def test_the_command_lists_what_is_here(empty_caches):
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 0, result.output
    for title in ("this machine", "tried here", "extras", "weights and data sets"):
        assert title in result.output
    longest = "to " + str(empty_caches / "weights/aesthetic_model/emb_reader/sa_0_4_vit_l_14_linear.pth")
    assert longest in result.output, "paths can be copied whole"
