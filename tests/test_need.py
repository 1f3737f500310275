"""What training would need, told without weights: against the real network in training, for every base."""

import pytest
import torch

from motionfocal.models.build import trained_weights
from motionfocal.training.config import load_config
from motionfocal.training.estimate import count_parameters, count_pass
from motionfocal.training.loop import trainable_model
from motionfocal.training.need import training_need

from . import tiny_cogvideox, tiny_hunyuanvideo15, tiny_ltx, tiny_videocrafter, tiny_wan

BASES = {
    "videocrafter2": ("videocrafter", tiny_videocrafter, {}),
    "videocrafter1": ("videocrafter", tiny_videocrafter, {"kind": "videocrafter1"}),
    "dynamicrafter": ("videocrafter", tiny_videocrafter, {"kind": "dynamicrafter"}),
    "wan22-ti2v-5b": ("wan", tiny_wan, {"variant": "ti2v-5b"}),
    "wan21-i2v-14b": ("wan", tiny_wan, {"variant": "i2v-2.1"}),
    "wan22-i2v-a14b": ("wan", tiny_wan, {"variant": "i2v-2.2"}),
    "cogvideox-5b-i2v": ("cogvideox", tiny_cogvideox, {}),
    "cogvideox15-5b-i2v": ("cogvideox", tiny_cogvideox, {"version": "1.5"}),
    "ltx-video": ("ltx", tiny_ltx, {}),
    "hunyuanvideo15-i2v": ("hunyuanvideo15", tiny_hunyuanvideo15, {}),
}
CLIPS = 2


@pytest.fixture(scope="module", params=BASES)
def base(request, tmp_path_factory):
    """A tiny checkpoint of a base: its config's beginning, and the shape of its clips."""
    family, tiny, options = BASES[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    tiny.write_folder(folder, **options)
    return [f"model.family={family}", f"model.weights={folder}", "model.dtype=bfloat16"], tiny.SHAPE


def config_of(settings, *more):
    return load_config(
        None, ["data.kind=folder", "data.videos=x", "batch_size=4", f"micro_batch_size={CLIPS}", *settings, *more]
    )


def test_blank_conditions_are_like_those_that_are_encoded(base):
    settings, shape = base
    model = config_of(settings).model.build(shape, seed=0)
    blank = model.blank(shape, CLIPS)
    images = torch.randint(0, 256, (CLIPS, shape.height, shape.width, 3), dtype=torch.uint8)
    encoded = model.encode_image(images, shape.frames), model.encode_text(["a red ball", ""])
    for ours, theirs in zip((blank.image, blank.text), encoded, strict=True):
        assert {name: (t.shape, t.dtype) for name, t in ours.items()} == {
            name: (t.shape, t.dtype) for name, t in theirs.items()
        }


@pytest.mark.parametrize("lora", [None, "{rank: 2}"], ids=["all", "adapters"])
def test_it_is_what_the_real_network_takes(base, lora):
    settings, shape = base
    config = config_of(settings, f"lora={lora or 'null'}", "gradient_checkpointing=true", "precision=bf16")
    need = training_need(config, shape)
    model = trainable_model(config, [shape])
    network, grid = model.network, model.spec.grid(shape.frames, shape.height, shape.width)
    assert need.weights == count_parameters(network)
    assert need.trained == sum(weight.numel() for weight in trained_weights(network).values())
    assert need.memory.gradients == 4 * need.trained, "what is trained is float32"
    noisy, timestep = torch.randn(CLIPS, model.spec.channels, *grid), torch.full((CLIPS,), 950)
    condition = model.blank(shape, CLIPS)
    real = count_pass(network, lambda: model.predict(noisy, timestep, condition), torch.bfloat16)
    # The CPU's attention works in other pieces than the GPU's, and its operations are not counted.
    assert need.cost.activations == pytest.approx(real.activations, rel=0.25)
    assert need.cost.forward_flops > real.forward_flops
    assert need.run_flops == config.steps * 2 * need.cost.flops


@pytest.mark.parametrize("family", ["compact", "unet3d"])
def test_families_that_draw_their_weights_are_estimated_too(family):
    config = load_config(None, [f"model.family={family}", "micro_batch_size=2"])
    shape = tiny_ltx.SHAPE
    need = training_need(config, shape)
    assert need.weights == need.trained == count_parameters(trainable_model(config, [shape]).network)
    assert need.memory.average == 4 * need.weights
    assert need.cost.activations > 0


def test_no_weights_are_read(tmp_path):
    tiny_wan.write_folder(tmp_path)
    for path in tmp_path.rglob("*.safetensors"):
        path.unlink()
    config = config_of(["model.family=wan", f"model.weights={tmp_path}"], "lora.rank=2")
    few, many = (
        training_need(config, tiny_wan.SHAPE.model_copy(update={"height": side, "width": side})).memory
        for side in (256, 512)
    )
    assert 2 * few.activations < many.activations < 4 * few.activations
    assert many.weights == few.weights
