"""The compact family's image conditions: beside the noisy latents, as tokens in cross-attention, and both."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from motionfocal.errors import ShapeError
from motionfocal.models.build import CARD, ModelCard, build_model, load_model, save_model
from motionfocal.models.families import compact
from motionfocal.models.protocol import ClipShape, Condition

CONDITIONS = ("xcat", "cross_attention", "dual")
SHAPE = ClipShape(frames=4, height=16, width=24, fps=8)


def family(**chosen):
    return compact.Family(width=16, text_width=16, **chosen)


def built(condition, *, woken=True, shape=SHAPE, seed=0):
    model = build_model(family(image_condition=condition), shape, seed)
    model.network.eval()
    if woken:
        wake(model.network, seed)
    return model


@torch.no_grad()
def wake(network, seed=0):
    """Give zero-initialised layers weights, so that what reaches them shows."""
    rng = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        parameter.add_(0.05 * torch.randn(parameter.shape, generator=rng))


def images(seed, shape=SHAPE):
    rng = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (2, shape.height, shape.width, 3), generator=rng, dtype=torch.uint8)


def predict(model, image=0, shape=SHAPE):
    grid = model.spec.grid(shape.frames, shape.height, shape.width)
    noisy = torch.randn(2, model.spec.channels, *grid, generator=torch.Generator().manual_seed(1))
    texts = model.encode_text(["the red circle moves left", ""])
    condition = Condition(model.encode_image(images(image, shape), shape.frames), texts, torch.tensor([8.0, 12.0]))
    return model.predict(noisy, torch.tensor([500, 20]), condition)


def tokens_of(model, image):
    return model.network.denoiser.image(model.encode_image(images(image), SHAPE.frames)["latent"][:, :, 0])


def image_names(network):
    """Weights that only image tokens need."""
    return {name for name in network.state_dict() if "image" in name.split(".")}


def size(tensor):
    return tensor.double().abs().sum().item()


@torch.no_grad()
@pytest.mark.parametrize("condition", CONDITIONS)
@settings(max_examples=10)
@given(frames=st.integers(2, 5), cells=st.tuples(st.integers(2, 6), st.integers(2, 6)), smaller=st.integers(0, 1))
def test_clips_of_any_shape_up_to_the_largest_are_predicted(condition, frames, cells, smaller):
    largest = ClipShape(frames=frames, height=4 * cells[0], width=4 * cells[1], fps=8)
    model = built(condition, shape=largest)
    shape = largest.model_copy(update={"height": largest.height - 4 * smaller, "frames": frames - smaller})
    prediction = predict(model, shape=shape)
    assert prediction.shape == (2, 12, shape.frames, shape.height // 2, shape.width // 2)
    difference = (prediction - predict(model, 5, shape)).abs().amax((1, 3, 4))
    assert (difference > 0).all(), "every frame of every clip knows its image"


@pytest.mark.parametrize("condition", CONDITIONS)
@pytest.mark.parametrize(("height", "width"), [(16, 24), (16, 16), (8, 24), (12, 8)])
def test_a_place_is_the_same_place_in_clips_of_every_shape(condition, height, width):
    """A row and a column have the embedding that they have in the largest clips, whose places are 4 by 6."""
    model = built(condition)
    predict(model, shape=SHAPE.model_copy(update={"height": height, "width": width})).square().sum().backward()
    expected = torch.zeros(4, 6, dtype=torch.bool)
    expected[: height // 4, : width // 4] = True
    denoiser = model.network.denoiser
    for module in [*denoiser.middle_space, *([] if condition == "xcat" else [denoiser.image])]:
        assert torch.equal(module.places.grad.abs().sum(1).view(4, 6) > 0, expected)


@pytest.mark.parametrize(("frames", "height", "width"), [(4, 24, 16), (4, 12, 32), (4, 20, 8), (5, 16, 24)])
def test_clips_with_a_place_that_the_largest_have_not_are_refused(frames, height, width):
    """Even where they have no more places."""
    with pytest.raises(ShapeError, match=f"clips of {frames}x{height}x{width} do not fit this model"):
        built("xcat").check(ClipShape(frames=frames, height=height, width=width, fps=8))


@torch.no_grad()
@pytest.mark.parametrize("seed", range(3))
def test_with_cross_attention_the_image_enters_by_its_tokens_alone(seed):
    for condition in ("cross_attention", "dual"):
        model = built(condition, seed=seed)
        first, second, tokens = predict(model, 0), predict(model, 1), tokens_of(model, 0)
        model.network.denoiser.image.register_forward_hook(lambda *_, tokens=tokens: tokens)
        assert not torch.equal(first, second)
        assert torch.equal(predict(model, 0), first)
        assert torch.equal(predict(model, 1), first) == (condition == "cross_attention")
        assert not torch.equal(predict(model, 1), second), "the tokens are heard"


@torch.no_grad()
def test_dual_begins_as_xcat():
    """The attention to the image adds nothing until it has learned."""
    xcat, dual = built("xcat"), built("dual", woken=False)
    found = dual.network.load_state_dict(xcat.network.state_dict(), strict=False)
    assert set(found.missing_keys) == image_names(dual.network) != set()
    assert torch.equal(predict(dual), predict(xcat))
    wake(dual.network)
    xcat.network.load_state_dict(dual.network.state_dict(), strict=False)
    assert not torch.equal(predict(dual), predict(xcat))


@torch.no_grad()
def test_cross_attention_is_dual_that_does_not_see_the_latent():
    attends, dual = built("cross_attention"), built("dual")
    weights = attends.network.state_dict()
    for name, tensor in dual.network.state_dict().items():
        if tensor.shape != weights[name].shape:  # the noisy latents' channels stand before the image's
            rows = weights[name]
            weights[name] = torch.zeros_like(tensor)
            weights[name][tuple(map(slice, rows.shape))] = rows
    dual.network.load_state_dict(weights)
    torch.testing.assert_close(predict(dual), predict(attends), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_xcat_is_the_default_and_what_it_was():
    """Weights and predictions as of the family's first version, which had no other condition."""
    assert family() == family(image_condition="xcat")
    model = built("xcat", woken=False)
    weights = model.network.state_dict()
    assert not image_names(model.network)
    assert (len(weights), sum(weight.numel() for weight in weights.values())) == (117, 175_860)
    assert sum(map(size, weights.values())) == pytest.approx(57_736.88878, rel=1e-6)
    wake(model.network)
    assert size(predict(model)) == pytest.approx(3342.7964, rel=1e-4)


@pytest.mark.parametrize("condition", CONDITIONS)
def test_every_weight_gets_a_gradient(condition):
    model = built(condition)
    predict(model).square().mean().backward()
    assert not [name for name, p in model.network.named_parameters() if p.grad is None or not p.grad.any()]


@torch.no_grad()
@pytest.mark.parametrize("condition", CONDITIONS)
def test_a_model_saves_and_loads_whole(condition, tmp_path):
    model = built(condition)
    card = ModelCard(name="tiny", model=family(image_condition=condition), shape=SHAPE)
    save_model(tmp_path, card, model.network.state_dict())
    again = load_model(tmp_path)
    assert again.card == card
    assert torch.equal(predict(again.model), predict(model))


@torch.no_grad()
def test_models_from_before_the_setting_are_xcat(tmp_path):
    model = built("xcat")
    save_model(tmp_path, ModelCard(name="old", model=family(), shape=SHAPE), model.network.state_dict())
    card = json.loads((tmp_path / CARD).read_text())
    del card["model"]["image_condition"]
    (tmp_path / CARD).write_text(json.dumps(card))
    assert torch.equal(predict(load_model(tmp_path).model), predict(model))


def test_what_was_encoded_serves_all_conditions():
    assert len({family(image_condition=condition).encoder_fingerprint() for condition in CONDITIONS}) == 1
