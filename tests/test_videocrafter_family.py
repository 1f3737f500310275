"""The VideoCrafter family: each image condition, fresh or from its checkpoint, trains and samples as it should."""

import copy
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from motionfocal.errors import CheckpointError, ConfigError, ShapeError
from motionfocal.generation.sampler import SamplingSettings, sample
from motionfocal.loss import MotionFocalLoss
from motionfocal.models.build import LoadedModel, ModelCard, build_model, load_model, save_model, trained_weights
from motionfocal.models.families import videocrafter
from motionfocal.models.lora import LoraSettings, add_lora
from motionfocal.models.pipeline_folder import PipelineFolder
from motionfocal.models.protocol import Condition
from motionfocal.training.config import load_config
from motionfocal.training.loop import trainable_model

from .tiny_videocrafter import SHAPE, wake, write_folder

GRID = (2, 4, SHAPE.frames, SHAPE.height // 2, SHAPE.width // 2)
CONDITIONS = ("xcat", "cross_attention", "dual")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("weights")
    for kind in ("videocrafter2", "videocrafter1", "dynamicrafter"):
        write_folder(root / kind, kind=kind)
    return root


def family(folders, kind="videocrafter2", **settings):
    return videocrafter.Family(weights=str(folders / kind), **settings)


def fresh(folders, condition):
    """A text-to-video checkpoint about to be fine-tuned with an image condition."""
    encoder = {} if condition == "xcat" else {"image_encoder": str(folders / "dynamicrafter")}
    return family(folders, image_condition=condition, motion_score=True, motion_mask=True, **encoder)


@pytest.fixture(scope="module")
def models(folders):
    """Models by kind or by condition, each built once: see ``with_own_network``."""

    @cache
    def model_of(kind):
        settings = fresh(folders, kind) if kind in CONDITIONS else family(folders, kind)
        model = build_model(settings, SHAPE, seed=0)
        if kind != "videocrafter2":  # the vocabulary of all is the same, and slow to read
            model._frozen["tokenizer"] = model_of("videocrafter2").frozen("tokenizer")
        return model

    return model_of


def with_own_network(model):
    """The same frozen parts, and a network that a test may change."""
    own = copy.copy(model)
    own.network = copy.deepcopy(model.network)
    return own


def images(seed, count=2):
    rng = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, SHAPE.height, SHAPE.width, 3), generator=rng, dtype=torch.uint8)


@cache
def told(model, image, texts):
    """The condition of two clips, encoded once."""
    return Condition(model.encode_image(images(image), 4), model.encode_text(texts), torch.full((2,), SHAPE.fps))


@torch.no_grad()
def predict(model, image=0, texts=("a dog runs", "a"), fps=8.0, timestep=(500, 20), score=None, mask=None):
    noisy = torch.randn(GRID, generator=torch.Generator().manual_seed(0))
    condition = replace(told(model, image, texts), fps=torch.full((2,), fps), motion_score=score, motion_mask=mask)
    return model.predict(noisy, torch.tensor(timestep), condition)


@pytest.mark.parametrize("condition", CONDITIONS)
def test_step_zero_is_the_text_to_video_model_bit_for_bit(folders, models, condition):
    model = models(condition)
    unet = PipelineFolder(str(folders / "videocrafter2")).load("unet")
    noisy = torch.randn(GRID, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        text = model.encode_text(("a dog runs", "a"))["embeds"]
        plain = unet(noisy, torch.tensor([500, 20]), text, fps=8)
    for image in (0, 1):
        assert torch.equal(predict(model, image, score=torch.ones(2)), plain)


@pytest.mark.parametrize("kind", ["videocrafter1", "dynamicrafter", *CONDITIONS])
def test_every_condition_reaches_the_model(models, kind):
    model = with_own_network(models(kind))
    wake(model.network)
    reference = predict(model)
    assert reference.shape == GRID
    changed = [predict(model, image=1), predict(model, texts=("a dog sits", "a")), predict(model, fps=24.0)]
    changed += [predict(model, timestep=(501, 20))]
    if kind in CONDITIONS:
        changed += [predict(model, score=torch.tensor([3.0, -1])), predict(model, mask=torch.zeros(2, 1, 1, *GRID[3:]))]
    for other in changed:
        assert (other[0] - reference[0]).abs().max() > 1e-5
    assert torch.equal(changed[1][1], reference[1])  # the second clip's text is the same


def test_without_text_the_images_tokens_are_those_of_a_grey_image(models):
    """As VideoCrafter1 and DynamiCrafter sample; the latent beside the noise stays that of the image."""
    model = models("videocrafter1")
    one, two = predict(model, 0, texts=("", "a")), predict(model, 1, texts=("", "a"))
    assert torch.equal(one[0], two[0])
    assert not torch.equal(one[1], two[1])
    dual = models("dynamicrafter")
    assert not torch.equal(predict(dual, 0, texts=("", "a"))[0], predict(dual, 1, texts=("", "a"))[0])


@torch.no_grad()
def test_latents_are_the_vaes_mean_frame_by_frame(folders, models):
    model = models("videocrafter2")
    clip = torch.stack([images(n, 4) for n in range(2)])
    vae = PipelineFolder(str(folders / "videocrafter2")).load("vae")
    latents = model.encode(clip)
    frame = clip[1, 2].permute(2, 0, 1)[None] / 127.5 - 1
    torch.testing.assert_close(latents[1, :, 2], 0.18215 * vae.encode(frame).latent_dist.mean[0], rtol=1e-4, atol=1e-5)
    assert torch.equal(model.encode_image(clip[:, 0], 4)["latent"], model.encode(clip[:, :1]))
    shown = (vae.decode(latents[1, :, 2][None] / 0.18215).sample[0].permute(1, 2, 0) / 2 + 0.5).clamp(0, 1) * 255
    assert (model.decode(latents)[1, 2] - shown).abs().max() <= 0.51


def test_the_text_is_padded_with_token_0_to_77(folders, models):
    model = models("videocrafter2")
    encoder = PipelineFolder(str(folders / "videocrafter2")).load("text_encoder")
    tokens = torch.zeros(1, 77, dtype=torch.long)
    tokens[0, :4] = torch.tensor([49406, 320, 1929, 49407])  # start, "a", "dog", end
    with torch.no_grad():
        expected = encoder(tokens).last_hidden_state
    torch.testing.assert_close(model.encode_text(["a dog"])["embeds"], expected)


def test_an_images_tokens_come_from_the_normalised_224_square():
    square = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0)) * 2 - 1
    mean, std = torch.tensor(videocrafter._CLIP_MEAN), torch.tensor(videocrafter._CLIP_STD)
    expected = (square / 2 + 0.5 - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    torch.testing.assert_close(videocrafter.clip_inputs(square), expected, rtol=1e-4, atol=1e-4)
    ramp = torch.linspace(-1, 1, 512).expand(1, 3, 320, 512)
    inner = videocrafter.clip_inputs(ramp)[0, 0, 100, 10:-10]
    assert videocrafter.clip_inputs(ramp).shape == (1, 3, 224, 224)
    torch.testing.assert_close(inner.diff(), inner.diff().mean().expand(203), rtol=0.06, atol=1e-4)


def test_what_is_frozen_works_where_the_device_is(folders):
    model = build_model(family(folders, "dynamicrafter"), SHAPE, seed=0)
    clip = images(0, SHAPE.frames)[None]
    model.encode(clip)  # loaded before the device changes
    model.device = torch.device("meta")
    given = [model.encode(clip), model.decode(torch.zeros(GRID)), *model.encode_text(["a dog"]).values()]
    given += model.encode_image(clip[:, 0], SHAPE.frames).values()
    assert all(tensor.is_meta for tensor in given)
    assert not any(weight.is_meta for weight in model.network.parameters())


def test_it_runs_in_bfloat16(folders, models):
    model = build_model(family(folders, "dynamicrafter", dtype="bfloat16"), SHAPE, seed=0)
    exact, prediction = predict(models("dynamicrafter")), predict(model)
    latents = model.encode(images(0, SHAPE.frames)[None])
    assert prediction.dtype == latents.dtype == torch.float32
    assert 0 < (prediction - exact).abs().mean() < 0.1 * exact.abs().mean()
    assert model.decode(latents).dtype == torch.uint8
    model.network.float()  # as a trainer does
    assert predict(model).dtype == torch.float32


def test_what_was_encoded_serves_all_with_the_same_frozen_parts(folders):
    prints = [
        family(folders).encoder_fingerprint(),
        family(folders, "dynamicrafter").encoder_fingerprint(),
        family(folders, dtype="bfloat16").encoder_fingerprint(),
        *(fresh(folders, condition).encoder_fingerprint() for condition in ("dual", "cross_attention")),
    ]
    assert len(set(prints)) == len(prints)
    assert family(folders, motion_score=True).encoder_fingerprint() == prints[0]


@pytest.mark.parametrize("kind", ["dynamicrafter", *CONDITIONS])
def test_it_learns_and_every_new_weight_gets_a_gradient(models, kind):
    model = with_own_network(models(kind))
    model.network.train()
    rng = torch.Generator().manual_seed(0)
    clean, noise = (torch.randn(GRID, generator=rng) for _ in range(2))
    heat = torch.rand(2, 1, *GRID[2:], generator=rng)
    score = torch.tensor([2.0, -1.0]) if model.priors else None
    timestep = torch.tensor([500, 100])
    noisy = model.schedule.add_noise(clean, noise, timestep)
    target = model.schedule.target(clean, noise, timestep)
    condition = replace(told(model, 0, ("a dog", "a cat")), motion_score=score)
    optimizer = torch.optim.AdamW(model.network.parameters(), 3e-3)
    losses = []
    for _ in range(5):
        optimizer.zero_grad()
        loss = MotionFocalLoss()(model.predict(noisy, timestep, condition), target, heat).total
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]
    silent = [name for name, p in model.network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not silent


NEW = {
    "videocrafter2": {"conv_in"},  # its image condition is xcat unless another is asked for
    "dynamicrafter": set(),
    "xcat": {"conv_in", "motion_score_embedding"},
    "cross_attention": {"conv_in", "motion_score_embedding", "attn2", "image_projector"},
    "dual": {"conv_in", "motion_score_embedding", "attn2", "image_projector"},
}


@pytest.mark.parametrize("kind", NEW)
def test_beside_adapters_what_no_checkpoint_has_trained_learns_too(folders, kind):
    """An adapter beside an x-cat input whose weights stay zero would train a model that never sees the image."""
    model = build_model(fresh(folders, kind) if kind in CONDITIONS else family(folders, kind), SHAPE, seed=0)
    add_lora(model, LoraSettings(rank=2), seed=0)
    whole = {name for name, weight in model.network.named_parameters() if weight.requires_grad and "lora" not in name}
    assert {place for name in whole for place in NEW[kind] if place in name} == NEW[kind]
    assert all(any(place in name for place in NEW[kind]) for name in whole)
    assert not any(".attn2.to_k." in name for name in whole), "the text's own keys are frozen"
    assert all(weight.dtype == torch.float32 for weight in trained_weights(model.network).values())


def test_what_was_trained_in_a_bfloat16_network_can_be_sampled(folders, tmp_path):
    """New weights learn in float32 under autocast; a loaded model has them in the dtype of the layers around them."""
    values = ["data.kind=folder", "data.videos=x", "model.family=videocrafter", "lora.rank=2", "model.dtype=bfloat16"]
    values += [f"model.weights={folders / 'videocrafter2'}", "precision=bf16", "model.motion_score=true"]
    config = load_config(None, values)
    trained = trainable_model(config, [SHAPE])
    assert all(weight.dtype == torch.float32 for weight in trained_weights(trained.network).values())
    card = ModelCard(name="m", model=config.model, shape=SHAPE, lora=config.lora)
    save_model(tmp_path, card, trained_weights(trained.network))
    loaded = load_model(tmp_path)
    clip = sample(loaded, images(0, 1).numpy(), ["a dog runs"], [0], SamplingSettings(steps=1, motion_score=2.0))
    assert clip.shape == (1, SHAPE.frames, SHAPE.height, SHAPE.width, 3)


def test_new_weights_in_float32_need_autocast_in_a_bfloat16_network(folders):
    values = ["data.kind=folder", "data.videos=x", "model.family=videocrafter", "lora.rank=2", "model.dtype=bfloat16"]
    values.append(f"model.weights={folders / 'videocrafter2'}")
    with pytest.raises(ConfigError, match=r"unet\.conv_in\.weight.*set precision=bf16"):
        trainable_model(load_config(None, values), [SHAPE])
    trainable_model(load_config(None, [*values, "precision=bf16"]), [SHAPE])


@pytest.mark.parametrize("kind", ["videocrafter2", "dynamicrafter"])
def test_it_animates(folders, models, kind):
    loaded = LoadedModel(ModelCard(name="tiny", model=family(folders, kind), shape=SHAPE), models(kind))
    sampling = SamplingSettings(steps=4, guidance_scale=3, eta=1.0, guidance_rescale=0.7)
    clips = [sample(loaded, images(0, 1).numpy(), ["a dog runs"], [seed], sampling) for seed in (0, 0, 1)]
    assert clips[0].shape == (1, SHAPE.frames, SHAPE.height, SHAPE.width, 3)
    assert (clips[0] == clips[1]).all()
    assert (clips[0] != clips[2]).any()
    assert np.isfinite(clips[0]).all()


def test_a_schedule_is_the_checkpoints_own_or_the_papers(models):
    paper, own = models("videocrafter2").schedule, models("dynamicrafter").schedule
    last = torch.tensor([999])
    assert paper.noise_level(last).item() == pytest.approx((1 - 0.00466) ** 0.5, abs=1e-5)
    assert paper.signal_scale.min() == 1
    assert own.noise_level(last).item() == 1
    assert own.signal_scale[[0, 200, 400, 999]].tolist() == pytest.approx([1, 0.85, 0.7, 0.7], abs=1e-3)


def test_what_cannot_be_is_refused(folders, tmp_path):
    with pytest.raises(ConfigError, match=r"image_condition is xcat, but .* was made for dual"):
        build_model(family(folders, "dynamicrafter", image_condition="xcat"), SHAPE, 0)
    with pytest.raises(ConfigError, match=r"set model\.image_encoder"):
        build_model(family(folders, image_condition="dual"), SHAPE, 0)
    with pytest.raises(ConfigError, match="no effect"):
        build_model(family(folders, image_encoder=str(folders / "dynamicrafter")), SHAPE, 0)
    with pytest.raises(ShapeError, match="image tokens for 4 frames"):
        build_model(family(folders, "dynamicrafter"), SHAPE.model_copy(update={"frames": 8}), 0)
    with pytest.raises(ShapeError, match="multiples of 2"):
        build_model(family(folders), SHAPE.model_copy(update={"width": 33}), 0)
    (tmp_path / "model_index.json").write_text('{"_class_name": "WanPipeline"}')
    with pytest.raises(CheckpointError, match=r"WanPipeline, not of VideoCrafter; set model\.family to wan"):
        build_model(videocrafter.Family(weights=str(tmp_path)), SHAPE, 0)
