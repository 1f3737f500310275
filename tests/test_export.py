"""Exports: what was trained here gives the same frames in the stock pipelines of diffusers."""

import os
from dataclasses import dataclass
from types import ModuleType

import numpy as np
import pytest
import torch

from motionfocal.cli.export import run as export_verb
from motionfocal.cli.train import run as train_verb
from motionfocal.errors import ConfigError
from motionfocal.generation.sampler import ClipNoise, SamplingSettings, sample
from motionfocal.models.build import ModelCard, build_model, load_model, save_model, trained_weights
from motionfocal.models.export import export_model
from motionfocal.models.families import cogvideox, compact, hunyuanvideo15, ltx, wan
from motionfocal.models.lora import LoraSettings, add_lora
from motionfocal.models.protocol import ClipShape

from . import tiny_cogvideox, tiny_hunyuanvideo15, tiny_ltx, tiny_wan

SEED, STEPS, GUIDANCE, TEXT = 5, 3, 2.0, "a red ball rolls left"


@dataclass(frozen=True)
class Case:
    """A family, its tiny checkpoints, and what its stock pipeline is called with besides."""

    tiny: ModuleType
    family: type
    shape: ClipShape
    written: dict
    settings: dict
    stock: dict


CASES = {
    "wan": Case(tiny_wan, wan.Family, tiny_wan.SHAPE, {}, {}, {}),
    "wan_experts": Case(tiny_wan, wan.Family, tiny_wan.SHAPE, {"variant": "i2v-2.2"}, {}, {}),
    "wan_low": Case(tiny_wan, wan.Family, tiny_wan.SHAPE, {"variant": "i2v-2.2"}, {"experts": "low"}, {}),
    "cogvideox": Case(tiny_cogvideox, cogvideox.Family, tiny_cogvideox.SHAPE, {}, {}, {}),
    "ltx": Case(tiny_ltx, ltx.Family, tiny_ltx.SHAPE, {}, {}, {"fps": tiny_ltx.SHAPE.fps}),
    "hunyuanvideo15": Case(tiny_hunyuanvideo15, hunyuanvideo15.Family, tiny_hunyuanvideo15.SHAPE, {}, {}, {}),
}


@pytest.fixture(params=CASES, ids=CASES)
def case(request):
    return CASES[request.param]


@pytest.fixture
def base(case, tmp_path):
    case.tiny.write_folder(tmp_path / "base", **case.written)
    return tmp_path / "base"


def settings_of(case, base):
    return case.family(weights=str(base), dtype="float32", **case.settings)


def trained(case, base, folder, lora, change=0.1):
    """A model folder as a run leaves it, its trained weights changed visibly."""
    settings = settings_of(case, base)
    model = build_model(settings, case.shape, 0)
    if lora is not None:
        add_lora(model, lora, 0)
    rng, weights = torch.Generator().manual_seed(1), trained_weights(model.network)
    with torch.no_grad():
        for weight in weights.values():
            weight.add_(change * torch.randn(weight.shape, generator=rng))
    save_model(folder, ModelCard(name="mine", model=settings, shape=case.shape, lora=lora), weights)
    return folder


def picture(shape):
    return tiny_ltx.picture(2, shape.height, shape.width)


def ours(folder):
    loaded = load_model(folder)
    settings = SamplingSettings(steps=STEPS, guidance_scale=GUIDANCE)
    return sample(loaded, picture(loaded.card.shape)[None], [TEXT], [SEED], settings)[0]


def stock(case, base, monkeypatch, exported):
    """The stock pipeline's frames, the pipeline being made by the lines that the export says."""
    names = {}
    exec("\n".join(exported.usage), names)  # the lines are what is tested
    pipeline = names["pipeline"]
    pipeline.set_progress_bar_config(disable=True)
    monkeypatch.setattr(case.tiny, "stock_pipeline", lambda folder: pipeline)
    spec = build_model(settings_of(case, base), case.shape, 0).spec
    grid = spec.grid(case.shape.frames, case.shape.height, case.shape.width)
    noise = ClipNoise([SEED], (spec.channels, *grid), torch.device("cpu"))()
    image = picture(case.shape)
    image = torch.from_numpy(image) if case.tiny is tiny_wan else image
    return np.asarray(case.tiny.stock_frames(base, image, TEXT, noise, STEPS, GUIDANCE, **case.stock))


@pytest.mark.parametrize("lora", [LoraSettings(rank=3, alpha=5), None], ids=["adapters", "all"])
def test_the_stock_pipeline_makes_the_same_frames(case, base, tmp_path, monkeypatch, lora):
    model = trained(case, base, tmp_path / "model", lora)
    mine = ours(model).astype(int)
    theirs = stock(case, base, monkeypatch, export_model(model, tmp_path / "out"))
    assert np.abs(mine - theirs).max() <= 1
    untrained = trained(case, base, tmp_path / "untrained", lora, change=0)
    assert np.abs(mine - ours(untrained)).mean() > 2, "training changed nothing to be seen"


WAN = CASES["wan"]


@pytest.fixture
def wan_base(tmp_path):
    tiny_wan.write_folder(tmp_path / "base")
    return tmp_path / "base"


def test_a_run_goes_through_the_verbs(wan_base, tmp_path, capsys):
    """Train, export, load in the stock pipeline: the adapters are those of the run."""
    settings = [
        "steps=2", "batch_size=1", "device=cpu", "threads=1", "optimizer.warmup_steps=0", "lora.rank=2",
        "data.kind=sprites", "data.world.size=64", "data.world.frames=9",
        "model.family=wan", f"model.weights={wan_base}", "model.dtype=float32",
    ]  # fmt: skip
    (tmp_path / "empty.yaml").write_text("")
    train_verb(str(tmp_path / "empty.yaml"), tmp_path / "run", settings)
    capsys.readouterr()
    export_verb(tmp_path / "run", tmp_path / "out")
    said = capsys.readouterr().out
    lines = [line.strip() for line in said.splitlines() if line.startswith("  ")]
    assert lines[0] == "import torch"
    names = {}
    exec("\n".join(lines), names)
    theirs = {k: v for k, v in names["pipeline"].transformer.state_dict().items() if "lora" in k}
    mine = trained_weights(load_model(tmp_path / "run" / "model").model.network)
    assert {k.replace("default_0", "default"): v.shape for k, v in theirs.items()} == {
        k: v.shape for k, v in mine.items()
    }
    for name, weight in theirs.items():
        assert torch.equal(weight, mine[name.replace("default_0", "default")])


def test_what_was_not_trained_is_linked_and_nothing_is_left_out(wan_base, tmp_path):
    out = export_model(trained(WAN, wan_base, tmp_path / "model", None), tmp_path / "out").folder
    (weights,) = (out / "vae").glob("*.safetensors")
    assert weights.samefile(wan_base / "vae" / weights.name)
    files = [{p.relative_to(folder) for p in folder.rglob("*") if p.is_file()} for folder in (wan_base, out)]
    assert files[0] == files[1]
    (mine,) = (out / "transformer").glob("*.safetensors")
    assert not mine.samefile(wan_base / "transformer" / mine.name)


def test_a_hubs_folder_of_links_is_exported_as_files(wan_base, tmp_path):
    """Snapshots of the hub hold links into a store of blobs."""
    snapshot = tmp_path / "snapshot"
    for path in [p for p in wan_base.rglob("*") if p.is_file()]:
        link = snapshot / path.relative_to(wan_base)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path)
    out = export_model(trained(WAN, snapshot, tmp_path / "model", None), tmp_path / "out").folder
    assert not any(path.is_symlink() for path in out.rglob("*"))


@pytest.mark.parametrize(
    ("weights", "loads"),
    [
        ("owner/base", '"owner/base"'),
        ("owner/base@v1.0", '"owner/base", revision="v1.0"'),
        ("here/base@v1.0", '"here/base@v1.0"'),
    ],
)
def test_the_lines_name_the_base_as_it_was_trained_on(wan_base, tmp_path, monkeypatch, weights, loads):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "base@v1.0").symlink_to(wan_base)
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: str(wan_base))
    model = trained(WAN, weights, tmp_path / "model", LoraSettings(rank=2))
    line = f"pipeline = WanImageToVideoPipeline.from_pretrained({loads}, torch_dtype=torch.float32)"
    assert line in export_model(model, tmp_path / "out").usage


def test_another_file_system_gets_copies(wan_base, tmp_path, monkeypatch):
    def refuse(source, target):
        raise OSError("another file system")

    monkeypatch.setattr(os, "link", refuse)
    out = export_model(trained(WAN, wan_base, tmp_path / "model", None), tmp_path / "out").folder
    (weights,) = (out / "vae").glob("*.safetensors")
    assert weights.read_bytes() == (wan_base / "vae" / weights.name).read_bytes()
    assert not weights.samefile(wan_base / "vae" / weights.name)


@pytest.mark.parametrize("lora", [LoraSettings(rank=2), None], ids=["adapters", "all"])
def test_a_broken_export_never_looks_complete(wan_base, tmp_path, monkeypatch, lora):
    model, out = trained(WAN, wan_base, tmp_path / "model", lora), tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr("motionfocal.models.export._load_line", None)  # the last thing, or the first, to happen
        with pytest.raises(TypeError):
            export_model(model, out)
    assert not out.exists()
    export_model(model, out)
    assert out.is_dir()
    assert not list(tmp_path.glob(".*.partial"))
    with pytest.raises(ConfigError, match="exists already"):
        export_model(model, out)


def test_a_family_without_a_pipeline_says_what_is_possible(tmp_path):
    shape, settings = ClipShape(frames=4, height=16, width=16, fps=8), compact.Family(width=16, text_width=16)
    model = build_model(settings, shape, 0)
    save_model(tmp_path / "model", ModelCard(name="m", model=settings, shape=shape), trained_weights(model.network))
    with pytest.raises(ConfigError, match=r"no pipeline for the family compact.*weights\.safetensors"):
        export_model(tmp_path / "model", tmp_path / "out")
    assert not (tmp_path / "out").exists()
