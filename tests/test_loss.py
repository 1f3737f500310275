"""The motion focal loss: the paper's equation, its weightings, and the rules that past projects broke."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from motionfocal.errors import ConfigError, ShapeError
from motionfocal.loss import WEIGHTINGS, MotionFocalLoss, StrengthSchedule

LAYOUTS = {
    "bcthw": ((2, 4, 3, 5, 6), (2, 1, 3, 5, 6)),
    "btchw": ((2, 3, 4, 5, 6), (2, 3, 1, 5, 6)),
    "bthwc": ((2, 3, 5, 6, 4), (2, 3, 5, 6, 1)),
    "tokens": ((2, 90, 4), (2, 90, 1)),
    "image": ((2, 4, 5, 6), (2, 1, 5, 6)),
}


def tensors(shape=(2, 4, 3, 5, 6), heat_shape=(2, 1, 3, 5, 6), seed=0):
    rng = torch.Generator().manual_seed(seed)
    return (
        torch.randn(shape, generator=rng),
        torch.randn(shape, generator=rng),
        torch.rand(heat_shape, generator=rng),
    )


@pytest.mark.parametrize(("shape", "heat_shape"), LAYOUTS.values(), ids=LAYOUTS)
def test_paper_weighting_is_the_papers_equation_in_every_layout(shape, heat_shape):
    prediction, target, heat = tensors(shape, heat_shape)
    out = MotionFocalLoss(strength=2.5)(prediction, target, heat)
    error = prediction - target
    torch.testing.assert_close(out.diffusion, error.square().mean())
    torch.testing.assert_close(out.motif, (heat * error).square().mean())
    torch.testing.assert_close(out.total, ((1 + 2.5 * heat**2) * error**2).mean())


@pytest.mark.parametrize("some_are_given", [False, True])
@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.parametrize(("shape", "heat_shape"), LAYOUTS.values(), ids=LAYOUTS)
def test_a_trainer_that_weighs_its_own_errors_gets_the_same_total(shape, heat_shape, weighting, some_are_given):
    prediction, target, heat = tensors(shape, heat_shape)
    generated = torch.ones(heat_shape)
    if some_are_given:
        generated[..., :1, :] = 0
    scale = torch.tensor([0.3, 0.8])
    loss = MotionFocalLoss(2.0, weighting)
    weighted = loss.weight(heat, generated, scale) * (prediction - target).square()
    mine = (weighted * generated).sum() / generated.expand(shape).sum()
    torch.testing.assert_close(mine, loss(prediction, target, heat, generated, scale).total)


def test_the_weight_refuses_what_does_not_fit():
    heat = tensors()[2]
    with pytest.raises(ShapeError, match="generated"):
        MotionFocalLoss().weight(heat, heat[:, :, 1:])
    with pytest.raises(ShapeError, match="one number per clip"):
        MotionFocalLoss().weight(heat, scale=torch.ones(3))


def test_heat_as_a_cache_stores_it_is_refused():
    prediction, target, heat = tensors()
    with pytest.raises(ConfigError, match="uint8"):
        MotionFocalLoss()(prediction, target, (255 * heat).to(torch.uint8))


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_a_clips_scale_is_a_factor_on_its_own_strength(weighting):
    """Scaling every clip equals another strength, and each clip's loss depends on its own scale alone."""
    prediction, target, heat = tensors()
    scaled = MotionFocalLoss(3.0, weighting)(prediction, target, heat, scale=torch.tensor([0.5, 0.5]))
    torch.testing.assert_close(scaled.total, MotionFocalLoss(1.5, weighting)(prediction, target, heat).total)
    mixed = MotionFocalLoss(3.0, weighting)(prediction, target, heat, scale=torch.tensor([0.0, 1.0])).total
    alone = [
        MotionFocalLoss(s, weighting)(*(x[n : n + 1] for x in (prediction, target, heat))).total
        for n, s in enumerate((0.0, 3.0))
    ]
    torch.testing.assert_close(mixed, torch.stack(alone).mean())


def test_motif_includes_the_scale_so_that_the_total_adds_up():
    prediction, target, heat = tensors()
    out = MotionFocalLoss(2.0)(prediction, target, heat, scale=torch.tensor([0.2, 0.9]))
    torch.testing.assert_close(out.total, out.diffusion + 2.0 * out.motif)


def test_strength_follows_the_noise_level_and_the_training():
    level = torch.tensor([0.0, 0.25, 1.0])
    assert StrengthSchedule()(level, 0).tolist() == [1.0, 1.0, 1.0]
    assert StrengthSchedule("rising")(level, 0).tolist() == [0.0, 0.25, 1.0]
    fading = StrengthSchedule("constant", "fading", steps=4)
    assert [fading(level, step)[0].item() for step in range(4)] == [1.0, 0.75, 0.5, 0.25]
    assert StrengthSchedule("rising", "fading", steps=2)(level, 1).tolist() == [0.0, 0.125, 0.5]


@pytest.mark.parametrize(
    ("schedule", "said"),
    [
        (("raising",), "over_noise is 'raising'; choose one of constant, rising"),
        (("rising", "fade", 10), "over_training is 'fade'; choose one of constant, fading"),
        (("rising", "fading"), "steps is None; a strength that fades needs the steps"),
        (("rising", "fading", 0), "steps is 0"),
    ],
)
def test_a_strength_that_follows_nothing_is_refused(schedule, said):
    with pytest.raises(ConfigError, match=said):
        StrengthSchedule(*schedule)


@pytest.mark.parametrize("step", [-1, 4, 500])
def test_a_strength_does_not_fade_beyond_the_training(step):
    with pytest.raises(ConfigError, match=f"step is {step}; the strength fades over the steps 0 to 3"):
        StrengthSchedule("rising", "fading", 4)(torch.ones(1), step)


@pytest.mark.parametrize("shape", [(1, 4, 3, 2, 2), (1, 4, 1, 2, 2)])
def test_what_is_generated_has_the_shape_of_the_heat(shape):
    prediction, target, heat = tensors((1, 4, 3, 2, 2), (1, 1, 3, 2, 2))
    with pytest.raises(ShapeError, match="generated"):
        MotionFocalLoss()(prediction, target, heat, torch.ones(shape))


def test_a_scale_of_the_wrong_length_is_refused():
    with pytest.raises(ShapeError, match="one number per clip"):
        MotionFocalLoss()(*tensors(), scale=torch.ones(3))


def test_default_is_the_papers_strength():
    assert MotionFocalLoss() == MotionFocalLoss(strength=1.0, weighting="paper")


def test_weight_one_everywhere_is_the_mse_bit_for_bit():
    prediction, target, heat = tensors()
    mse = F.mse_loss(prediction, target)
    assert torch.equal(MotionFocalLoss()(prediction, target, torch.ones_like(heat)).motif, mse)
    assert torch.equal(MotionFocalLoss(weighting="none")(prediction, target, heat).total, mse)
    assert torch.equal(MotionFocalLoss(strength=0)(prediction, target, heat).total, mse)
    uniform = MotionFocalLoss(weighting="motionfocal")(prediction, target, torch.full_like(heat, 0.25))
    assert torch.equal(uniform.motif, mse)


def test_weight_zero_gives_exactly_zero_gradient_there():
    prediction, target, heat = tensors()
    prediction.requires_grad_()
    heat[:, :, 1] = 0
    MotionFocalLoss()(prediction, target, heat).motif.backward()
    assert (prediction.grad[:, :, 1] == 0).all()
    assert (prediction.grad[:, :, 0] != 0).any()


def test_gradient_of_the_total_is_the_weighted_error():
    prediction, target, heat = tensors()
    prediction.requires_grad_()
    MotionFocalLoss(strength=3)(prediction, target, heat).total.backward()
    expected = 2 * (1 + 3 * heat**2) * (prediction - target).detach() / prediction.numel()
    torch.testing.assert_close(prediction.grad, expected)


def test_no_gradient_flows_into_the_heatmap():
    prediction, target, heat = tensors()
    heat.requires_grad_()
    prediction.requires_grad_()
    MotionFocalLoss(weighting="motionfocal")(prediction, target, heat).total.backward()
    assert heat.grad is None or (heat.grad == 0).all()


BAD_SHAPES = [
    ((2, 4, 3, 5, 6), (2, 4, 3, 5, 7), (2, 1, 3, 5, 6)),  # target differs
    ((2, 4, 3, 5, 6), (2, 4, 3, 5, 6), (2, 1, 3, 5, 5)),  # heat differs
    ((2, 4, 3, 5, 6), (2, 4, 3, 5, 6), (3, 5, 6)),  # rank differs
    ((2, 4, 3, 5, 6), (2, 4, 3, 5, 6), (1, 1, 3, 5, 6)),  # would broadcast over the batch
    ((2, 4, 3, 5, 6), (2, 4, 3, 5, 6), (1, 4, 3, 5, 6)),  # would broadcast over the batch alone
    ((2, 4, 3, 5, 6), (2, 4, 3, 5, 6), (2, 1, 1, 5, 6)),  # would broadcast over two axes
    ((2, 4, 3, 5, 6), (2, 4, 3, 5, 6), (2, 4, 3, 1, 6)),  # no layout has its channels there
    ((2, 4), (2, 4), (2, 1)),  # not a latent
]


@pytest.mark.parametrize(("shape", "target_shape", "heat_shape"), BAD_SHAPES)
def test_a_shape_that_does_not_fit_is_an_error_with_both_shapes(shape, target_shape, heat_shape):
    with pytest.raises(ShapeError) as error:
        MotionFocalLoss()(torch.zeros(shape), torch.zeros(target_shape), torch.zeros(heat_shape))
    assert str(tuple(shape)) in str(error.value)
    assert any(str(tuple(other)) in str(error.value) for other in (target_shape, heat_shape))


def test_inverse_lights_what_paper_leaves_dark():
    prediction, target, heat = tensors()
    inverse = MotionFocalLoss(weighting="inverse")(prediction, target, heat)
    mirrored = MotionFocalLoss(weighting="paper")(prediction, target, 1 - heat)
    torch.testing.assert_close(inverse.total, mirrored.total)


@given(share=st.floats(0.01, 0.9), strength=st.floats(0.1, 8), seed=st.integers(0, 99))
@settings(max_examples=40)
def test_every_clip_weighs_the_same_where_no_bound_bites(share, strength, seed):
    prediction, target, heat = tensors(seed=seed)
    heat = (heat < share).float()
    heat[:, :, 0, 0, 0] = 1
    loss = MotionFocalLoss(strength, "motionfocal", max_weight=1e9)
    torch.testing.assert_close(loss(prediction, target, heat).stats.mean_weight, torch.tensor(1 + strength))


@given(strength=st.floats(0.1, 8), seed=st.integers(0, 99))
@settings(max_examples=20)
def test_motionfocal_adds_the_mean_error_of_what_moves(strength, seed):
    prediction, target, heat = tensors(seed=seed)
    heat = (heat < 0.1).float()
    heat[:, :, 0, 0, 0] = 1
    out = MotionFocalLoss(strength, "motionfocal", max_weight=1e9)(prediction, target, heat)
    squared = (prediction - target).square()
    moving = [squared[n][:, heat[n, 0] == 1].mean() for n in range(len(heat))]
    torch.testing.assert_close(out.motif, torch.stack(moving).mean())
    torch.testing.assert_close(out.total, squared.mean() + strength * out.motif)


def test_the_size_of_what_moves_does_not_change_its_share():
    error = torch.ones(1, 1, 4, 8, 8)
    for moving in (4, 64):
        heat = torch.zeros(1, 1, 4, 8, 8)
        heat.view(-1)[:moving] = 1
        prediction = error * heat  # wrong in the moving cells alone
        out = MotionFocalLoss(1.0, "motionfocal", max_weight=1e9)(prediction, torch.zeros_like(error), heat)
        assert out.motif.item() == pytest.approx(1.0, rel=1e-5)


def test_bound_keeps_a_tiny_object_from_weighing_hundreds():
    heat = torch.zeros(1, 1, 4, 32, 32)
    heat[..., 0, 0, 0] = 1
    prediction = torch.zeros_like(heat)
    prediction[..., 0, 0, 0] = 1
    weight = lambda loss: (loss(prediction, torch.zeros_like(heat), heat).total * heat.numel()).item()  # noqa: E731
    assert weight(MotionFocalLoss(1.0, "motionfocal", max_weight=1e9)) > 4000
    assert weight(MotionFocalLoss(1.0, "motionfocal", max_weight=32)) == pytest.approx(33)


def test_a_clip_without_motion_has_no_place_that_counts_more():
    prediction, target, _ = tensors()
    rest = torch.full((2, 1, 3, 5, 6), 0.0067)
    out = MotionFocalLoss(weighting="motionfocal")(prediction, target, rest)
    torch.testing.assert_close(out.motif, F.mse_loss(prediction, target))
    nothing = MotionFocalLoss(weighting="motionfocal")(prediction, target, torch.zeros_like(rest))
    torch.testing.assert_close(nothing.total, F.mse_loss(prediction, target))


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_splitting_a_batch_does_not_change_the_objective(weighting):
    prediction, target, heat = tensors((4, 4, 3, 5, 6), (4, 1, 3, 5, 6))
    heat[0] *= 0.01
    loss = MotionFocalLoss(weighting=weighting)
    whole = loss(prediction, target, heat).total
    parts = [loss(prediction[i : i + 1], target[i : i + 1], heat[i : i + 1]).total for i in range(4)]
    torch.testing.assert_close(whole, torch.stack(parts).mean())


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_given_frames_are_out_of_the_loss(weighting):
    prediction, target, heat = tensors()
    prediction.requires_grad_()
    generated = torch.ones_like(heat)
    generated[:, :, 0] = 0
    out = MotionFocalLoss(weighting=weighting)(prediction, target, heat, generated)
    out.total.backward()
    assert (prediction.grad[:, :, 0] == 0).all()
    without = MotionFocalLoss(weighting=weighting)(prediction[:, :, 1:], target[:, :, 1:], heat[:, :, 1:])
    torch.testing.assert_close(out.total, without.total)
    for name, value in dataclasses.asdict(out.stats).items():
        torch.testing.assert_close(value, getattr(without.stats, name))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_loss_is_computed_in_float32(dtype):
    prediction, target, heat = (x.to(dtype) for x in tensors())
    out = MotionFocalLoss()(prediction, target, heat)
    reference = MotionFocalLoss()(prediction.float(), target.float(), heat.float())
    assert out.total.dtype == torch.float32
    assert torch.equal(out.total, reference.total)


def test_stats_say_what_moves_and_how_well_it_is_predicted():
    heat = torch.zeros(1, 1, 2, 4, 4)
    heat[..., :2] = 0.9
    error = torch.ones(1, 3, 2, 4, 4)
    error[..., :2] = 2
    stats = MotionFocalLoss()(error, torch.zeros_like(error), heat).stats
    assert stats.moving_share.item() == 0.5
    assert stats.moving_loss.item() == 4
    assert stats.loss_ratio.item() == pytest.approx(4 / 2.5)
    assert stats.mean_weight.item() == pytest.approx(1 + 0.81 / 2)


def test_a_clip_at_rest_has_no_figure_for_moving_cells():
    prediction, target, heat = tensors()
    assert MotionFocalLoss()(prediction, target, heat * 0).stats.moving_loss.isnan()


@pytest.mark.parametrize(
    ("arguments", "word"),
    [({"weighting": "papper"}, "papper"), ({"strength": -1}, "strength"), ({"max_weight": 0.5}, "max_weight")],
)
def test_a_setting_that_cannot_be_is_named(arguments, word):
    with pytest.raises(ConfigError, match=word):
        MotionFocalLoss(**arguments)


@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.parametrize("given_first", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gradients_are_those_of_the_formula(weighting, given_first, dtype):
    """The way back is written by hand; autograd goes it through the formula."""
    generator = torch.Generator().manual_seed(3)
    prediction, target = (torch.randn(2, 3, 4, 5, 6, generator=generator).to(dtype) for _ in range(2))
    heat, scale = torch.rand(2, 1, 4, 5, 6, generator=generator), torch.tensor([0.5, 2.0])
    generated = torch.ones_like(heat)
    generated[:, :, 0] = 0 if given_first else 1
    loss = MotionFocalLoss(strength=1.7, weighting=weighting)

    ours = [tensor.clone().requires_grad_() for tensor in (prediction, target)]
    out = loss(*ours, heat, generated if given_first else None, scale)
    (out.total + 0.3 * out.motif).backward()

    theirs = [tensor.clone().requires_grad_() for tensor in (prediction, target)]
    squared = (theirs[0].float() - theirs[1].float()) ** 2 * generated
    count = generated.expand_as(squared).sum()
    focus = (1 - heat if weighting == "inverse" else heat) ** 2
    if weighting == "motionfocal":
        mean = (focus * generated).sum((1, 2, 3, 4), keepdim=True) / generated.sum((1, 2, 3, 4), keepdim=True)
        focus = (focus / mean).clamp(max=loss.max_weight)
    motif = (squared * focus * scale[:, None, None, None, None]).sum() / count
    (squared.sum() / count + (0.3 + (1.7 if weighting != "none" else 0)) * motif).backward()

    for mine, other in zip(ours, theirs, strict=True):
        assert mine.grad.dtype == dtype
        torch.testing.assert_close(mine.grad, other.grad)


def test_a_prediction_that_needs_no_gradient_is_measured_alone():
    prediction, target, heat = torch.randn(1, 2, 3, 4, 4), torch.randn(1, 2, 3, 4, 4), torch.rand(1, 1, 3, 4, 4)
    out = MotionFocalLoss()(prediction, target, heat)
    assert not out.total.requires_grad
    assert not MotionFocalLoss()(prediction.requires_grad_(), target, heat).stats.moving_loss.requires_grad
