"""The recipes that ship: they load, fit the real bases, and need what they and docs/recipes.md say."""

import importlib.util
import re
import shlex
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from motionfocal.cli import app
from motionfocal.models.lora import ATTENTION
from motionfocal.models.protocol import ClipShape
from motionfocal.training.config import load_config
from motionfocal.training.estimate import count_parameters

ROOT = Path(__file__).parents[1]
CONFIGS = {path.stem: path for path in (ROOT / "src" / "motionfocal" / "configs").glob("*.yaml")}
DOCUMENT = (ROOT / "docs" / "recipes.md").read_text()
ADAPTERS = sorted(set(CONFIGS) - {"paper", "clips", "sprites"})
BASES = ["paper", *ADAPTERS]

LATENTS = {
    "paper": (4, 8, 1, False, 0),
    "wan22-ti2v-5b": (48, 16, 4, True, 0),
    "wan22-i2v-a14b": (16, 8, 4, True, 0),
    "wan21-i2v-14b": (16, 8, 4, True, 0),
    "cogvideox-5b-i2v": (16, 8, 4, True, 0),
    "cogvideox15-5b-i2v": (16, 8, 4, True, 1),
    "ltx-video": (128, 32, 8, True, 0),
    "hunyuanvideo15-i2v": (32, 16, 4, True, 0),
}
"""Channels, pixels and frames a cell, causal, copies of the first: as the bases are published."""


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


def load_placed(name):
    """A recipe, where it needs weights with a placeholder for them."""
    return load_config(CONFIGS[name], ["model.weights=placeholder"] if name in BASES else [])


@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_it_loads_and_says_how_it_is_run(name):
    config = load_placed(name)
    assert config.name
    head = CONFIGS[name].read_text().split("\nname:")[0]
    if name in BASES:
        assert f"motionfocal train {name} " in head
        assert f"motionfocal prepare {name} " in head
        assert f"python benchmarks/estimates.py {name}" in head


def test_models_whose_latents_are_pixels_are_sampled_at_the_guidance_of_pixels():
    """docs/choices.md: 7.5 overdoes motion and colours there."""
    compact = {name: config for name in CONFIGS if (config := load_placed(name)).model.family == "compact"}
    assert {name: config.validation.guidance_scale for name, config in compact.items()} == {"clips": 2, "sprites": 2}


@pytest.mark.parametrize("name", BASES)
def test_its_clips_fit_the_real_base(name, tmp_path, estimates):
    estimates.BASES[name].write(tmp_path)
    config = load_config(CONFIGS[name], [f"model.weights={tmp_path}"])
    sampling = config.data.sampling
    for height, width in sampling.sizes:
        shape = ClipShape(frames=max(sampling.lengths), height=height, width=width, fps=24)
        model = config.model.build(shape, seed=0)  # which refuses what it cannot take
    spec = model.spec
    assert (spec.channels, spec.spatial, spec.temporal, spec.causal, spec.lead) == LATENTS[name]


@pytest.mark.parametrize("name", BASES)
def test_the_networks_have_the_published_size(name, tmp_path, estimates):
    estimates.BASES[name].write(tmp_path)
    config = load_config(CONFIGS[name], [f"model.weights={tmp_path}"])
    model = config.model.build(estimates.largest(config), seed=0)
    with torch.device("meta"):
        parts = model.parts
    for network in parts.values():
        assert count_parameters(network) / 1e9 == pytest.approx(estimates.BASES[name].published, rel=0.015)
        layers = [layer for layer, module in network.named_modules() if isinstance(module, torch.nn.Linear)]
        assert all(any(layer.endswith(f".{target}") for layer in layers) for target in ATTENTION)
    if name == "paper":
        assert count_parameters(parts["unet"]) == 1_413_284_420 + 11_520


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
@pytest.mark.parametrize("name", ["ltx-video", pytest.param("paper", marks=pytest.mark.long)])
def test_the_document_has_the_benchmarks_figures(name, tmp_path, estimates):
    estimates.BASES[name].write(tmp_path)
    row = estimates.row(name, load_config(CONFIGS[name]), tmp_path)
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
