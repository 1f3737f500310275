"""The recipes that ship: they load, fit the real bases, and need what they and docs/recipes.md say."""

import importlib.util
import json
import re
import shlex
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from motionfocal.cli import app
from motionfocal.models.lora import ATTENTION
from motionfocal.models.protocol import ClipShape
from motionfocal.training.config import load_config

from . import tiny_cogvideox, tiny_hunyuanvideo15, tiny_ltx, tiny_videocrafter, tiny_wan

ROOT = Path(__file__).parents[1]
CONFIGS = {path.stem: path for path in (ROOT / "src" / "motionfocal" / "configs").glob("*.yaml")}
DOCUMENT = (ROOT / "docs" / "recipes.md").read_text()
ADAPTERS = sorted(set(CONFIGS) - {"paper", "clips", "sprites"})
BASES = ["paper", *ADAPTERS]

TINY = {
    "videocrafter": tiny_videocrafter,
    "wan": tiny_wan,
    "cogvideox": tiny_cogvideox,
    "ltx": tiny_ltx,
    "hunyuanvideo15": tiny_hunyuanvideo15,
}
VARIANTS = {
    "wan22-ti2v-5b": {"variant": "ti2v-5b"},
    "wan22-i2v-a14b": {"variant": "i2v-2.2"},
    "wan21-i2v-14b": {"variant": "i2v-2.1"},
    "cogvideox15-5b-i2v": {"version": "1.5"},
}
REAL_VAES = {
    "videocrafter": {"block_out_channels": [128, 256, 512, 512], "latent_channels": 4},
    "cogvideox": {"latent_channels": 16, "block_out_channels": [128, 256, 256, 512], "temporal_compression_ratio": 4},
    "ltx": {
        "latent_channels": 128, "patch_size": 4, "patch_size_t": 1,
        "spatio_temporal_scaling": [True, True, True, False],
        "spatial_compression_ratio": None, "temporal_compression_ratio": None,
    },
    "hunyuanvideo15": {"latent_channels": 32, "spatial_compression_ratio": 16, "temporal_compression_ratio": 4},
}  # fmt: skip


@pytest.fixture(scope="module")
def estimates():
    """benchmarks/estimates.py"""
    spec = importlib.util.spec_from_file_location("estimates", ROOT / "benchmarks" / "estimates.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def table(heading: str) -> dict[str, list[str]]:
    """Rows of the first table after a heading, by the recipe in their first cell."""
    after = DOCUMENT[DOCUMENT.index(heading) :]
    first = re.search(r"(^\|.*\n)+", after, re.M).group(0)
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in first.splitlines()[2:]]
    return {row[0].strip("`"): row[1:] for row in rows}


def write_folder(folder: Path, name: str, family: str, network) -> None:
    """A tiny checkpoint under the configs of the real network and VAE, which are all that is read of it here."""
    TINY[family].write_folder(folder, **VARIANTS.get(name, {}))
    for part in ("transformer", "transformer_2", "unet"):
        if (folder / part).is_dir():
            network.save_config(folder / part)
    path = folder / "vae" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | REAL_VAES.get(family, {})))


@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_it_loads_and_says_how_it_is_run(name):
    config = load_config(CONFIGS[name], ["model.weights=placeholder"] if name in BASES else [])
    assert config.name
    head = CONFIGS[name].read_text().split("\nname:")[0]
    if name in BASES:
        assert f"motionfocal train {name} " in head
        assert f"motionfocal prepare {name} " in head
        assert f"python benchmarks/estimates.py {name}" in head


@pytest.mark.parametrize("name", BASES)
def test_its_clips_fit_the_real_base(name, tmp_path, estimates):
    base = estimates.BASES[name]
    with torch.device("meta"):
        network = base.build()
    family = load_config(CONFIGS[name]).model.family
    write_folder(tmp_path, name, family, network)
    config = load_config(CONFIGS[name], [f"model.weights={tmp_path}"])
    sampling = config.data.sampling
    for height, width in sampling.sizes:
        shape = ClipShape(frames=max(sampling.lengths), height=height, width=width, fps=24)
        model = config.model.build(shape, seed=0)  # which refuses what it cannot take
        assert model.spec.grid(shape.frames, height, width) == base.spec.grid(shape.frames, height, width)
    assert replace(model.spec, layout="bcthw") == base.spec


@pytest.mark.parametrize("name", BASES)
def test_the_networks_have_the_published_size(name, estimates):
    base = estimates.BASES[name]
    with torch.device("meta"):
        network = base.build()
    assert estimates.count_parameters(network) / 1e9 == pytest.approx(base.published, rel=0.015)
    layers = [layer for layer, module in network.named_modules() if isinstance(module, torch.nn.Linear)]
    assert all(any(layer.endswith(f".{target}") for layer in layers) for target in ATTENTION)
    if name == "paper":
        assert estimates.count_parameters(network) == 1_413_284_420 + 11_520


def test_the_paper_is_followed():
    """The table of settings in the paper, as far as it states them."""
    config = load_config(CONFIGS["paper"])
    assert (config.steps, config.batch_size, config.optimizer.learning_rate) == (32_000, 64, 5e-5)
    assert (config.data.frames, config.data.height, config.data.width) == (16, 320, 512)
    assert config.data.sampling.drawn
    assert (config.loss.weighting, config.loss.strength, config.loss.over_noise) == ("paper", 1.0, "constant")
    assert (config.text_dropout, config.lora) == (0.1, None)
    assert (config.model.image_condition, config.model.motion_score, config.model.motion_mask) == ("xcat", False, False)
    schedule = config.model.schedule
    assert (schedule.prediction_type, schedule.train_steps) == ("v_prediction", 1000)
    assert (schedule.beta_schedule, schedule.signal_scale, schedule.zero_terminal_snr) == ("scaled_linear", 1.0, False)
    assert (config.validation.steps, config.validation.guidance_scale) == (50, 7.5)
    assert config.motion.estimator == "raft_large"


def test_the_document_knows_every_recipe():
    overview = DOCUMENT[: DOCUMENT.index("## What they need")]
    assert set(re.findall(r"`([a-z0-9-]+)`", overview)) >= set(CONFIGS)
    assert set(table("## What they need")) == set(BASES)


@pytest.mark.parametrize("name", ADAPTERS)
def test_the_recipe_says_what_the_document_says(name):
    row = table("## What they need")[name]
    head = " ".join(CONFIGS[name].read_text().split("\nname:")[0].split())
    memory, of_a100, of_h100 = row[4].split()[0], row[5], row[6]
    assert f"{memory} GB of GPU memory; {of_a100} hours on one A100, {of_h100} on an H100" in head
    less = table("Less, by keys").get(name)
    assert ("# Less:" in head) == (less is not None and name != "ltx-video")
    if "# Less:" in head:
        assert f"{less[0].strip('`')} # {less[1]} GB; {less[2]} and " in head


def test_the_paper_says_what_the_document_says():
    row = table("## What they need")["paper"]
    head = CONFIGS["paper"].read_text()
    assert f"{row[7].split()[0]} GB on each of 8 GPUs; {int(row[5]) / 8:.0f} hours on A100s" in head
    assert f"({row[5]} A100 hours, {row[6]} on H100s)" in head


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ltx-video", "paper"])
def test_the_document_has_the_benchmarks_figures(name, estimates):
    row = estimates.row(name, load_config(CONFIGS[name]))
    assert [cell.strip() for cell in row.strip("|").split("|")[1:]] == table("## What they need")[name]


def commands() -> list[str]:
    heads = "\n".join(path.read_text().split("\nname:")[0] for path in CONFIGS.values())
    lines = re.findall(r"^(?:# +)?(?:accelerate launch .*-m )?(motionfocal [a-z].*)$", DOCUMENT + heads, re.M)
    return sorted(set(lines))


def test_there_are_commands():
    assert {line.split()[1] for line in commands()} >= {"prepare", "train", "export", "convert", "heatmap"}


@pytest.mark.parametrize("line", commands())
def test_every_command_and_option_exists(line):
    verb, *rest = shlex.split(line)[1:]
    said = CliRunner().invoke(app, [verb, "--help"], env={"COLUMNS": "200"})
    assert said.exit_code == 0
    assert all(word in said.output for word in rest if word.startswith("--"))
    if verb in ("train", "prepare"):
        changes = [value for key, value in pairwise(rest) if key == "--set"]
        load_config(CONFIGS[rest[0]], changes)
