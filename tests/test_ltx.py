"""LTX-Video against diffusers' own pipeline, on a tiny random checkpoint in the real folder layout."""

import json
import math
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Generator

from motionfocal.errors import CheckpointError, ConfigError, ShapeError
from motionfocal.loss import MotionFocalLoss
from motionfocal.models.family import known_families
from motionfocal.models.protocol import ClipShape, Condition
from motionfocal.motion.latent import from_layout, to_layout

from .tiny_ltx import CHANNELS, GRID, SHAPE, TEXT, picture, stock_frames, stock_given, stock_pipeline, write_folder

CELLS = math.prod(GRID)
LATENTS = (CHANNELS, *GRID)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ltx")
    write_folder(folder)
    return folder


def build(folder, shape=SHAPE, **fields):
    return known_families()["ltx"](weights=str(folder), **{"dtype": "float32"} | fields).build(shape, seed=0)


@pytest.fixture(scope="module")
def model(folder):
    return build(folder)


@pytest.fixture(scope="module")
def stock(folder):
    return stock_pipeline(folder)


def normal(seed, *shape):
    return torch.randn(shape, generator=Generator().manual_seed(seed))


def images(*seeds):
    return torch.stack([torch.from_numpy(picture(seed)) for seed in seeds])


def film(seed, frames=SHAPE.frames):
    """Noise over a picture: [1,T,H,W,3]."""
    noise = torch.randint(-40, 40, (1, frames, SHAPE.height, SHAPE.width, 3), generator=Generator().manual_seed(seed))
    return (images(seed)[:, None] + noise).clamp(0, 255).to(torch.uint8)


def condition(model, seeds=(0,), texts=(TEXT,), fps=(SHAPE.fps,)):
    image = model.encode_image(images(*seeds), SHAPE.frames)
    return Condition(image, model.encode_text(texts), torch.tensor(fps))


@torch.no_grad()
def sampled(model, condition, noise, steps, guidance):
    """Classifier-free guidance in a plain loop: uint8 [B,T,H,W,3]."""
    blank = replace(condition, text=model.encode_text([""] * len(noise)))
    sampler = model.schedule.sampler(steps, noise[0, 0].numel())
    for timestep in sampler.timesteps:
        told, untold = (model.predict(noise, timestep.expand(len(noise)), given) for given in (condition, blank))
        noise = sampler.step(untold + guidance * (told - untold), timestep, noise, lambda: pytest.fail("drew noise"))
    return model.decode(model.complete(noise, condition)).numpy()


# The frozen parts


def test_the_grid_is_known_without_weights(model):
    assert (model.spec.temporal, model.spec.spatial, model.spec.causal, model.spec.layout) == (8, 32, True, "tokens")
    assert model.spec.grid(SHAPE.frames, SHAPE.height, SHAPE.width) == GRID


def test_the_image_is_encoded_as_in_the_stock_pipeline(model, stock):
    latents = model.encode_image(images(0, 1), SHAPE.frames)["latent"]
    for latent, seed in zip(latents, (0, 1), strict=True):
        torch.testing.assert_close(latent[None], stock_given(stock, picture(seed)), atol=2e-5, rtol=0)


def test_frames_are_encoded_to_the_normalised_mode(model, stock):
    frames = film(3)
    pixels = stock.video_processor.preprocess_video([Image.fromarray(frame) for frame in frames[0].numpy()])
    with torch.no_grad():
        mode = stock.vae.encode(pixels).latent_dist.mode()
    expected = stock._normalize_latents(mode, stock.vae.latents_mean, stock.vae.latents_std)
    latents = model.encode(frames)
    assert latents.shape == (1, *LATENTS) and latents.dtype == torch.float32
    torch.testing.assert_close(latents, expected, atol=2e-5, rtol=0)


def test_the_given_frame_is_the_first_of_the_clip(model):
    """What training is given and what sampling is given agree: the VAE is causal."""
    frames = film(3)
    alone = model.encode_image(frames[:, 0], SHAPE.frames)["latent"]
    torch.testing.assert_close(alone, model.encode(frames)[:, :, :1], atol=2e-5, rtol=0)


@pytest.mark.parametrize("text", [TEXT, "", "kite " * 60, "  Two   KITES!\n"])
def test_texts_are_encoded_as_in_the_stock_pipeline(model, stock, text):
    told, told_mask, untold, untold_mask = stock.encode_prompt([text])
    ours = model.encode_text([text, ""])
    torch.testing.assert_close(ours["embeds"], torch.cat([told, untold]), atol=1e-5, rtol=0)
    assert torch.equal(ours["mask"], torch.cat([told_mask, untold_mask]))
    assert ours["embeds"].shape[:2] == ours["mask"].shape == (2, 128)


def test_encoding_a_batch_is_encoding_each(model):
    frames = torch.cat([film(1), film(2)])
    apart = torch.cat([model.encode(clip) for clip in frames.split(1)])
    assert torch.equal(model.encode(frames), apart)
    latents = normal(0, 2, *LATENTS)
    assert torch.equal(model.decode(latents), torch.cat([model.decode(clip) for clip in latents.split(1)]))


def test_frames_are_rounded_as_in_the_stock_pipeline(model, stock):
    latents = normal(0, 1, *LATENTS)
    with torch.no_grad():
        pixels = stock.vae.decode(stock._denormalize_latents(latents, stock.vae.latents_mean, stock.vae.latents_std))
    (expected,) = stock.video_processor.postprocess_video(pixels.sample, output_type="pil")
    assert np.array_equal(model.decode(latents)[0], np.stack([np.asarray(frame) for frame in expected]))


@pytest.mark.parametrize("frame", [0, 1, 8, 9, 16])
def test_a_pixel_frame_first_reaches_the_latent_that_pooling_gives_it(model, frame):
    frames = film(4)
    changed = frames.clone()
    changed[:, frame] = 255 - changed[:, frame]
    moved = (model.encode(changed) - model.encode(frames)).abs().amax((0, 1, 3, 4)) > 1e-4
    assert moved.nonzero()[0].item() == (frame + 7) // 8


def test_what_is_frozen_works_where_the_device_is(folder):
    model, frames = build(folder), film(3)
    model.encode(frames)  # loaded before the device changes
    model.device = torch.device("meta")
    given = [model.encode(frames), model.decode(normal(0, 1, *LATENTS)), *model.encode_text([TEXT]).values()]
    given += model.encode_image(frames[:, 0], SHAPE.frames).values()
    assert all(tensor.is_meta for tensor in given)
    assert not any(weight.is_meta for weight in model.network.parameters())


# Sampling


@pytest.mark.parametrize("noisy_decoder", [False, True])
def test_sampling_gives_the_frames_of_the_stock_pipeline(tmp_path, noisy_decoder):
    write_folder(tmp_path, seed=5, noisy_decoder=noisy_decoder)
    model = build(tmp_path)
    noise = normal(1, 1, *LATENTS)
    expected = stock_frames(tmp_path, picture(0), TEXT, noise, steps=4, guidance=3.0, fps=SHAPE.fps)
    ours = sampled(model, condition(model), noise, steps=4, guidance=3.0)[0]
    assert ours.shape == expected.shape
    assert np.abs(ours.astype(int) - expected).max() <= 1
    assert expected.std(axis=0).mean() > 10, "a clip that moves, or the test shows nothing"


def test_clips_of_a_batch_do_not_see_each_other(model):
    """Not their pictures, not their texts, not their frame rates."""
    noise = normal(2, 2, *LATENTS)
    both = condition(model, (0, 1), (TEXT, "a dog"), (10.0, 24.0))
    apart = [condition(model, (0,), (TEXT,), (10.0,)), condition(model, (1,), ("a dog",), (24.0,))]
    timestep = torch.tensor([700.0, 300.0])
    with torch.no_grad():
        together = model.predict(noise, timestep, both)
        alone = [model.predict(noise[i : i + 1], timestep[i : i + 1], apart[i]) for i in range(2)]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-5, rtol=0)


def test_decoding_leaves_the_global_generator_alone(tmp_path):
    write_folder(tmp_path, noisy_decoder=True)
    model = build(tmp_path)
    assert model.vae.config.decoder_inject_noise[0]  # loaded by now, which draws numbers too
    before = torch.random.get_rng_state()
    first = model.decode(normal(0, 1, *LATENTS))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(model.decode(normal(0, 1, *LATENTS)), first)


# The network


def test_every_condition_changes_the_prediction(model):
    noise, timestep = normal(0, 1, *LATENTS), torch.tensor([500.0])
    base = condition(model)

    @torch.no_grad()
    def change(timestep=timestep, noise=noise, **fields):
        other = model.predict(noise, timestep, replace(base, **fields))
        return (other - model.predict(noise, torch.tensor([500.0]), base))[:, :, 1:].abs().mean()

    assert change(image=model.encode_image(images(1), SHAPE.frames)) > 0.05
    assert change(text=model.encode_text(["a blue fish"])) > 0.05
    assert change(fps=torch.tensor([30.0])) > 0.01
    assert change(timestep=torch.tensor([900.0])) > 0.01
    ruined = noise.clone()
    ruined[:, :, 0] = 100
    assert change(noise=ruined) == 0, "what stands on the given frame is put aside"


def test_padding_behind_the_text_is_not_seen(model):
    base = condition(model)
    embeds = base.text["embeds"].clone()
    embeds[:, base.text["mask"][0].sum() :] = 7
    noise, timestep = normal(0, 1, *LATENTS), torch.tensor([500.0])
    with torch.no_grad():
        seen = model.predict(noise, timestep, replace(base, text=base.text | {"embeds": embeds}))
        assert torch.equal(seen, model.predict(noise, timestep, base))


def test_the_given_frame_is_completed(model):
    base, noise = condition(model), normal(0, 1, *LATENTS)
    whole = model.complete(noise, base)
    assert torch.equal(whole[:, :, :1], base.image["latent"]) and torch.equal(whole[:, :, 1:], noise[:, :, 1:])


def test_timesteps_are_zero_on_the_tokens_of_the_given_frame_alone(model):
    seen = {}

    class Spy(torch.nn.Module):
        def __init__(self, network):
            super().__init__()
            self.network = network

        def forward(self, **inputs):
            assert not seen, "one call a prediction"
            seen.update(inputs)
            return self.network(**inputs)

    network = model.network
    model.network = Spy(network)
    try:
        with torch.no_grad():
            model.predict(normal(0, 1, *LATENTS), torch.tensor([400.0]), condition(model))
        assert model.parts["transformer"] is network
    finally:
        model.network = network
    frame = GRID[1] * GRID[2]
    assert seen["timestep"].tolist() == [[0.0] * frame + [400.0] * (CELLS - frame)]
    assert seen["hidden_states"].shape == (1, CELLS, CHANNELS)


def test_a_weight_lies_on_the_token_of_its_cell(model, stock):
    latents, weight = normal(0, 2, *LATENTS), normal(1, 2, 1, *GRID)
    packed, packed_weight = to_layout(latents, model.spec), to_layout(weight, model.spec)
    assert torch.equal(packed, stock._pack_latents(latents)) and torch.equal(packed_weight, stock._pack_latents(weight))
    product = from_layout(packed * packed_weight, model.spec, GRID)
    assert torch.equal(product, latents * weight)


def test_gradients_reach_every_weight_and_training_lowers_the_loss(folder):
    model = build(folder)
    network = model.network.train()
    clean, noise, base = model.encode(film(6)), normal(0, 1, *LATENTS), condition(model, seeds=(6,))
    heat = torch.rand((1, 1, *GRID), generator=Generator().manual_seed(0))
    generated = torch.ones_like(heat)
    generated[:, :, : model.given_frames] = 0
    timestep = torch.tensor([600.0])
    noisy, target = model.schedule.add_noise(clean, noise, timestep), model.schedule.target(clean, noise, timestep)
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    losses = []
    for _ in range(6):
        optimizer.zero_grad()
        loss = MotionFocalLoss()(model.predict(noisy, timestep, base), target, heat, generated).total
        loss.backward()
        gradients = {name: weight.grad for name, weight in network.named_parameters()}
        assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients.values())
        assert gradients["transformer_blocks.0.attn1.to_q.weight"].abs().max() > 0
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]


def test_bfloat16_predicts_in_float32(folder):
    model = build(folder, dtype="bfloat16")
    base = condition(model)
    with torch.no_grad():
        prediction = model.predict(normal(0, 1, *LATENTS), torch.tensor([500.0]), base)
    assert next(model.network.parameters()).dtype == torch.bfloat16
    model.network.float()  # as a trainer does
    assert 0 < (model.predict(normal(0, 1, *LATENTS), torch.tensor([500.0]), base) - prediction).abs().mean() < 0.1
    assert prediction.dtype == base.image["latent"].dtype == torch.float32
    assert model.decode(prediction).dtype == torch.uint8


# The schedule


def test_noise_and_target_are_those_of_the_stock_scheduler(model, stock):
    stock.scheduler.set_timesteps(sigmas=np.linspace(1, 0.25, 4), mu=0.7)
    clean, noise, timesteps = normal(0, 4, *LATENTS), normal(1, 4, *LATENTS), stock.scheduler.timesteps
    noisy = model.schedule.add_noise(clean, noise, timesteps)
    torch.testing.assert_close(noisy, stock.scheduler.scale_noise(clean, timesteps, noise))
    target = model.schedule.target(clean[:1], noise[:1], timesteps[:1])
    stepped = stock.scheduler.step(target, timesteps[0], noisy[:1]).prev_sample
    torch.testing.assert_close(stepped, model.schedule.add_noise(clean[:1], noise[:1], timesteps[1:2]))


def test_sampling_with_the_true_flow_ends_on_the_clip(model):
    clean, noise = normal(0, 1, *LATENTS), normal(1, 1, *LATENTS)
    sampler, sample = model.schedule.sampler(7, CELLS), noise
    for timestep in sampler.timesteps:
        sample = sampler.step(noise - clean, timestep, sample, lambda: pytest.fail("drew noise"))
    torch.testing.assert_close(sample, clean, atol=1e-5, rtol=0)


def test_sampling_draws_no_noise(model):
    with pytest.raises(ConfigError, match="eta"):
        model.schedule.sampler(4, CELLS, eta=1.0)


def test_a_single_step_is_refused(model):
    """The stock scheduler divides by zero there: it begins at 1 and ends at ``shift_terminal``."""
    with pytest.raises(ConfigError, match="steps is 1"):
        model.schedule.sampler(1, CELLS)


@settings(max_examples=20)
@given(cells=st.integers(1, 200), steps=st.integers(2, 60))
def test_timesteps_shift_with_the_number_of_tokens_as_in_the_stock_pipeline(model, stock, cells, steps):
    from diffusers.pipelines.ltx.pipeline_ltx_image2video import calculate_shift, retrieve_timesteps

    mu = calculate_shift(cells, base_seq_len=8, max_seq_len=64, base_shift=0.95, max_shift=2.05)
    timesteps, _ = retrieve_timesteps(stock.scheduler, steps, "cpu", sigmas=np.linspace(1.0, 1 / steps, steps), mu=mu)
    torch.testing.assert_close(model.schedule.sampler(steps, cells).timesteps, timesteps)


@pytest.mark.parametrize("cells", [8, 64, 100])
def test_training_draws_the_shifted_logit_normal_of_ltx_trainers(model, cells):
    """sigmoid(normal + mu), mu linear in the tokens."""
    rng = Generator().manual_seed(0)
    sigmas = torch.stack([model.schedule.draw(cells, rng) for _ in range(4000)]) / 1000
    logits = (sigmas / (1 - sigmas)).log()
    assert abs(logits.mean() - (0.95 + 1.1 * (cells - 8) / 56)) < 0.06
    assert abs(logits.std() - 1) < 0.05


# What is refused


@pytest.mark.parametrize(
    ("shape", "text"),
    [
        ({"frames": 16}, "8 \\* k \\+ 1.*9 or 17"),
        ({"height": 80}, "multiples of 32"),
        ({"width": 100}, "multiples of 32"),
    ],
)
def test_a_clip_that_does_not_fit_is_refused_with_what_does(folder, shape, text):
    with pytest.raises(ShapeError, match=text):
        build(folder, SHAPE.model_copy(update=shape))


def test_frames_that_do_not_fit_are_refused_before_the_vae_cuts_them(model):
    with pytest.raises(ShapeError, match="frames do not fit"):
        model.encode(film(0)[:, :-1])
    with pytest.raises(ShapeError, match="multiples of"):
        model.encode(film(0)[:, :, :-1])


def test_a_folder_of_another_family_is_refused(folder, tmp_path):
    index = json.loads((folder / "model_index.json").read_text())
    (tmp_path / "model_index.json").write_text(json.dumps(index | {"_class_name": "WanImageToVideoPipeline"}))
    with pytest.raises(CheckpointError, match=r"WanImageToVideoPipeline, not of LTXPipeline.*family to wan"):
        build(tmp_path)


def test_a_network_that_patches_is_refused(folder, tmp_path):
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "transformer" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"patch_size": 2}))
    with pytest.raises(CheckpointError, match="patches"):
        build(tmp_path)


def test_parts_are_loaded_when_they_are_needed_and_strictly(folder, tmp_path):
    """Without a network one can still prepare, without frozen parts one can still train."""
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "transformer" / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    del weights["proj_in.weight"]
    save_file(weights, path)
    model = build(tmp_path)
    base = condition(model)
    with pytest.raises(CheckpointError, match=r"proj_in\.weight"):
        model.predict(normal(0, 1, *LATENTS), torch.tensor([500.0]), base)

    for part in ("vae", "text_encoder"):
        for weights in (folder / part).glob("*.safetensors"):
            (tmp_path / part / weights.name).unlink()
    shutil.copy(folder / "transformer" / path.name, path)
    model = build(tmp_path)
    model.predict(normal(0, 1, *LATENTS), torch.tensor([500.0]), base)
    with pytest.raises(CheckpointError, match="vae"):
        model.encode(film(0))


def test_the_published_configs_give_the_published_grid(folder, tmp_path):
    """128 channels, 8 frames, 32 pixels; from configs alone, some of which are older than their class."""
    shutil.copytree(folder / "scheduler", tmp_path / "scheduler")
    shutil.copy(folder / "model_index.json", tmp_path)
    configs = {
        "vae": {"latent_channels": 128, "patch_size": 4, "patch_size_t": 1, "encoder_causal": True,
                "spatio_temporal_scaling": [True, True, True, False]},
        "transformer": {"patch_size": 1, "patch_size_t": 1},
    }  # fmt: skip
    for part, config in configs.items():
        (tmp_path / part).mkdir()
        (tmp_path / part / "config.json").write_text(json.dumps(config))
    model = build(tmp_path, ClipShape(frames=161, height=512, width=704, fps=25.0))
    assert model.spec.channels == 128
    assert model.spec.grid(161, 512, 704) == (21, 16, 22)
