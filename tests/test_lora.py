"""Adapters: where they are, that they alone learn, and that a model of adapters is saved and loaded whole."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from motionfocal.data.batches import load_parts
from motionfocal.data.sources import SpritesSource
from motionfocal.errors import CheckpointError, ConfigError
from motionfocal.models.build import (
    CARD,
    WEIGHTS,
    ModelCard,
    build_model,
    load_model,
    recompute_activations,
    save_model,
    trained_weights,
)
from motionfocal.models.families import compact, dit3d, unet3d, wan
from motionfocal.models.lora import ATTENTION, LoraSettings, add_lora
from motionfocal.models.protocol import ClipShape, Condition
from motionfocal.training.config import load_config
from motionfocal.training.loop import Trainer, trainable_model
from motionfocal.training.run import open_data, run_training

from .tiny_wan import SHAPE, write_folder

TEXT = "a red ball rolls left"
SMALL = SHAPE.model_copy(update={"width": 64})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("ti2v")
    write_folder(made)
    return made


def model_of(folder, lora=None, dtype="float32", seed=0):
    model = build_model(wan.Family(weights=str(folder), dtype=dtype), SMALL, seed)
    if lora is not None:
        add_lora(model, lora, seed)
    return model


def noise(model, seed=0):
    grid = model.spec.grid(SMALL.frames, SMALL.height, SMALL.width)
    return torch.randn(1, model.spec.channels, *grid, generator=torch.Generator().manual_seed(seed))


def predict(model):
    image = torch.randint(0, 256, (1, 64, 64, 3), generator=torch.Generator().manual_seed(2), dtype=torch.uint8)
    condition = Condition(model.encode_image(image, SMALL.frames), model.encode_text([TEXT]), torch.tensor([24.0]))
    return model.predict(noise(model), torch.tensor([700.0]), condition)


def wake(model, seed=0):
    """Give the adapters' zeros values."""
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in trained_weights(model.network).values():
            weight.add_(0.1 * torch.randn(weight.shape, generator=rng))
    return model


def trainer_of(folder, *overrides):
    config = load_config(None, [
        "steps=9", "batch_size=2", "threads=1", "device=cpu", "optimizer.warmup_steps=0", "data.kind=sprites",
        "data.world.size=64", "data.world.frames=9", "model.family=wan", f"model.weights={folder}", *overrides,
    ])  # fmt: skip
    return Trainer(config, SpritesSource(config.data, 0))


def run(trainer, steps):
    parts = iter(load_parts(trainer.source, trainer.split, range(steps), trainer.parts, 0))
    return [trainer.train_step(parts) for _ in range(steps)]


def test_adapters_are_those_of_diffusers(folder):
    """Same names, shapes and scale as the stock model's own adapter, and the same prediction with the same values."""
    from diffusers import WanTransformer3DModel
    from peft import LoraConfig

    ours = wake(model_of(folder, LoraSettings(rank=3, alpha=6)))
    stock = model_of(folder)
    stock.network = WanTransformer3DModel.from_pretrained(folder / "transformer")
    stock.network.add_adapter(LoraConfig(r=3, lora_alpha=6, target_modules=list(ATTENTION)))
    theirs = {name: weight for name, weight in stock.network.named_parameters() if "lora" in name}
    mine = trained_weights(ours.network)
    assert {name: weight.shape for name, weight in mine.items()} == {name: w.shape for name, w in theirs.items()}
    assert len(mine) == 2 * 2 * 2 * 4  # A and B of four layers of two attentions of two blocks
    with torch.no_grad():
        for name, weight in theirs.items():
            weight.copy_(mine[name])
        torch.testing.assert_close(predict(ours), predict(stock))
        assert (predict(ours) - predict(model_of(folder))).abs().max() > 0.01


@torch.no_grad()
def test_adapters_change_nothing_at_first(folder):
    plain = predict(model_of(folder))
    first, again, other = (model_of(folder, LoraSettings(rank=3), seed=seed) for seed in (0, 0, 1))
    assert torch.equal(predict(first), plain)
    weights = [
        torch.cat([weight.flatten() for weight in trained_weights(model.network).values()])
        for model in (first, again, other)
    ]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


@torch.no_grad()
def test_alpha_scales_what_they_add(folder):
    plain, half, one, two = (
        predict(model_of(folder) if lora is None else wake(model_of(folder, lora), seed=4))
        for lora in (None, *(LoraSettings(rank=4, alpha=a, targets=("proj_out",)) for a in (2, None, 8)))
    )
    torch.testing.assert_close(one - plain, 2 * (half - plain), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(two - plain, 2 * (one - plain), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_adapters_alone_learn_in_float32_on_a_bfloat16_base(folder, precision):
    trainer = trainer_of(folder, "model.dtype=bfloat16", "lora.rank=4", f"precision={precision}", "ema_decay=null")
    network = trainer.model.network
    before = {name: weight.detach().clone() for name, weight in network.named_parameters()}
    figures = run(trainer, 2)
    changed = {name for name, weight in network.named_parameters() if not torch.equal(weight, before[name])}
    assert changed == set(trained_weights(network)) == {name for name in before if "lora" in name}
    assert {weight.dtype for weight in trained_weights(network).values()} == {torch.float32}
    assert network.patch_embedding.weight.dtype == torch.bfloat16
    assert all(figure["grad_norm"] > 0 for figure in figures)


def test_autocast_leaves_the_timestep_in_float32_and_casts_nothing_twice(folder):
    """What an adapter is given is not copied in float32, and neither its output nor its gradients change by that."""
    trainer = trainer_of(folder, "model.dtype=bfloat16", "lora.rank=4", "precision=bf16", "ema_decay=null")
    wake(trainer.model)
    network, found = trainer.model.network, []
    embedder = network.condition_embedder.time_embedder
    embedder.register_forward_hook(lambda module, given, made: found.append((given[0].dtype, made.dtype)))
    tuned = [module for module in network.modules() if hasattr(module, "cast_input_dtype_enabled")]
    assert tuned
    made = []
    for cast in (False, True):
        for module in tuned:
            assert cast or not module.cast_input_dtype_enabled
            module.cast_input_dtype_enabled = cast
        output = predict(trainer.model)
        weights = trained_weights(network)
        made.append([output, *torch.autograd.grad(output.float().square().mean(), weights.values())])
    for without, with_casts in zip(*made, strict=True):
        assert torch.equal(without, with_casts)
    assert set(found) == {(torch.float32, torch.float32)}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_all_weights_of_a_bfloat16_base_learn_in_float32(folder, precision):
    """Steps of 1e-6 a weight, which bfloat16 would swallow."""
    trainer = trainer_of(folder, f"precision={precision}", "optimizer.learning_rate=1e-6", "ema_decay=null")
    before = {name: weight.detach().clone() for name, weight in trainer.learner.weights.items()}
    run(trainer, 2)
    for name, weight in trainer.learner.weights.items():
        assert weight.dtype == torch.float32
        assert not torch.equal(weight, before[name]), name


def test_adapters_learn(folder):
    """The loss of the same clips, timesteps and noise falls."""
    trainer = trainer_of(folder, "lora.rank=8", "optimizer.learning_rate=0.02", "text_dropout=0")
    batch = trainer.source.load(0, 2, range(2))
    losses = []
    for _ in range(8):
        losses.append(trainer.train_step(iter([batch]))["loss"])
        trainer.step = 0
    assert losses[-1] < 0.9 * losses[0]


WRONG = {
    "query": "to_q",  # a name of other models: what there is is told
    "to_out": r"to_out\.0",  # no layer itself
    "to_out.1": "net.2",  # a dropout
}


@pytest.mark.parametrize(("target", "told"), WRONG.items(), ids=WRONG)
def test_a_target_that_is_no_layer_is_named_with_those_there_are(folder, target, told):
    with pytest.raises(ConfigError, match=rf"lora.targets: no layer .* ends in {target}; there are .*{told}"):
        model_of(folder, LoraSettings(targets=("to_q", target)))


def test_other_families_take_adapters_where_they_are_told_to():
    shape = SHAPE.model_copy(update={"height": 16, "width": 16})
    for family, targets in ((compact.Family(width=16, text_width=16), ("query", "out")), (unet3d.Family(), None)):
        model = build_model(family, shape, 0)
        add_lora(model, LoraSettings(rank=2, targets=targets), 0)
        assert all("lora_" in name for name in trained_weights(model.network))
    for inside in ("linear1", "out_proj"):  # read past an adapter by PyTorch's fused block
        model = build_model(compact.Family(width=16, text_width=16), shape, 0)
        with pytest.raises(ConfigError, match=f"ends in {inside}"):
            add_lora(model, LoraSettings(targets=(inside,)), 0)


@pytest.mark.parametrize("lora", [LoraSettings(rank=2), None], ids=["adapters", "all"])
def test_a_model_is_saved_and_loaded_whole(folder, tmp_path, lora):
    model = wake(model_of(folder, lora))
    card = ModelCard(name="m", model=wan.Family(weights=str(folder), dtype="float32"), shape=SMALL, lora=lora)
    save_model(tmp_path, card, trained_weights(model.network))
    loaded = load_model(tmp_path)
    assert loaded.card == card
    with torch.no_grad():
        assert torch.equal(predict(loaded.model), predict(model))
    stored = load_file(tmp_path / WEIGHTS)
    assert all("lora_" in name for name in stored) == (lora is not None)


@pytest.mark.parametrize("family", [dit3d.Family(layers=1), unet3d.Family()], ids=["dit3d", "unet3d"])
def test_adapters_are_loaded_onto_the_base_that_they_learnt_on(tmp_path, family):
    """Of a family without a checkpoint, the seed draws the base."""
    lora, card = ["lora.rank=2", "lora.targets=[to_q]"], family.model_dump_json()
    config = load_config(None, [
        "steps=1", "batch_size=1", "threads=1", "device=cpu", "seed=5", "data.kind=sprites", "data.world.size=16",
        "optimizer.warmup_steps=0", "data.world.frames=9", f"model={card}", *lora,
    ])  # fmt: skip
    run_training(config, open_data(config), tmp_path, [])
    trained = trainable_model(config, [ClipShape(frames=9, height=16, width=16, fps=8)]).network.state_dict()
    loaded = load_model(tmp_path / "model")
    assert loaded.card.seed == 5
    frozen = [name for name in trained if "lora_" not in name]
    assert all(torch.equal(loaded.model.network.state_dict()[name], trained[name]) for name in frozen)


def test_a_card_of_before_the_seed_was_written_still_loads(folder, tmp_path):
    model = model_of(folder)
    card = ModelCard(name="m", model=wan.Family(weights=str(folder), dtype="float32"), shape=SMALL)
    save_model(tmp_path, card, trained_weights(model.network))
    told = json.loads((tmp_path / CARD).read_text())
    del told["seed"]
    (tmp_path / CARD).write_text(json.dumps(told))
    assert load_model(tmp_path).card == card


@settings(max_examples=8)
@given(drawn=st.data())
def test_a_file_that_does_not_fit_is_refused_with_the_names(folder, new_folder, drawn):
    path, lora = new_folder(), LoraSettings(rank=2)
    model = model_of(folder, lora)
    card = ModelCard(name="m", model=wan.Family(weights=str(folder), dtype="float32"), shape=SMALL, lora=lora)
    save_model(path, card, trained_weights(model.network))
    stored = load_file(path / WEIGHTS)
    name = drawn.draw(st.sampled_from(sorted(stored)))
    damage = drawn.draw(st.sampled_from(["missing", "superfluous", "another shape"]))
    match damage:
        case "missing":
            del stored[name]
        case "superfluous":
            stored[name := f"{name}.more"] = torch.zeros(1)
        case _:
            stored[name] = torch.zeros(5, 7)
    save_file(stored, path / WEIGHTS)
    with pytest.raises(CheckpointError, match=rf"1 tensors .*{damage}: {name}"):
        load_model(path)


@pytest.mark.parametrize("lora", [[], ["lora.rank=2"]], ids=["all", "adapters"])
def test_gradients_are_the_same_when_activations_are_forgotten(folder, lora):
    gradients = []
    for checkpointing in (False, True):
        trainer = trainer_of(folder, *lora, "model.dtype=float32", f"gradient_checkpointing={checkpointing}")
        wake(trainer.model)
        saved = count_saved(trainer)
        gradients.append(({name: weight.grad for name, weight in trainer.learner.weights.items()}, saved))
    (plain, kept), (again, forgotten) = gradients
    assert forgotten < 0.7 * kept, "nothing was forgotten"
    for name, gradient in plain.items():
        torch.testing.assert_close(again[name], gradient, atol=1e-6, rtol=1e-5)


def count_saved(trainer):
    """Numbers that a forward pass keeps for the backward pass."""
    numbers = 0

    def pack(tensor):
        nonlocal numbers
        numbers += tensor.numel()
        return tensor

    trainer.learner.update = lambda *_: 0.0
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        run(trainer, 1)
    return numbers


def test_forgetting_activations_reaches_the_layers_of_videocrafter():
    shape = SHAPE.model_copy(update={"height": 16, "width": 16})
    model = build_model(unet3d.Family(), shape, 0)
    recompute_activations(model)
    assert sum(getattr(module, "gradient_checkpointing", False) for module in model.network.modules()) > 1


def test_a_family_that_cannot_forget_activations_is_refused():
    with pytest.raises(ConfigError, match="gradient_checkpointing: XCatNetwork"):
        config = load_config(None, ["gradient_checkpointing=true", "data.kind=sprites", "device=cpu"])
        Trainer(config, SpritesSource(config.data, 0))
