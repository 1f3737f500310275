"""HunyuanVideo-1.5 against diffusers' own pipeline, on a tiny random checkpoint in the real folder layout."""

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
from motionfocal.models.build import trained_weights
from motionfocal.models.family import known_families
from motionfocal.models.protocol import ClipShape, Condition
from motionfocal.motion.latent import from_layout, to_layout
from motionfocal.training.config import load_config
from motionfocal.training.loop import trainable_model

from . import tiny_ltx
from .tiny_hunyuanvideo15 import CHANNELS, GRID, SHAPE, TEXT, stock_frames, stock_pipeline, write_folder

CELLS = math.prod(GRID)
LATENTS = (CHANNELS, *GRID)
TIMESTEP = torch.tensor([500.0])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hunyuanvideo15")
    write_folder(folder)
    return folder


def build(folder, shape=SHAPE, **fields):
    family = known_families()["hunyuanvideo15"]
    return family(weights=str(folder), **{"dtype": "float32"} | fields).build(shape, seed=0)


@pytest.fixture(scope="module")
def model(folder):
    return build(folder)


@pytest.fixture(scope="module")
def stock(folder):
    return stock_pipeline(folder)


def test_the_vae_works_in_tiles_and_a_cache_knows_it(folder, model, monkeypatch):
    assert model.vae.use_tiling
    family = known_families()["hunyuanvideo15"]
    tiled = family(weights=str(folder)).encoder_fingerprint()
    monkeypatch.setattr(family, "tiles", False)
    assert family(weights=str(folder)).encoder_fingerprint() != tiled


def normal(seed, *shape):
    return torch.randn(shape, generator=Generator().manual_seed(seed))


def picture(seed):
    return tiny_ltx.picture(seed, SHAPE.height, SHAPE.width)


def images(*seeds):
    return torch.stack([torch.from_numpy(picture(seed)) for seed in seeds])


def film(seed):
    """Noise over a picture: [1,T,H,W,3]."""
    size = (1, SHAPE.frames, SHAPE.height, SHAPE.width, 3)
    noise = torch.randint(-40, 40, size, generator=Generator().manual_seed(seed))
    return (images(seed)[:, None] + noise).clamp(0, 255).to(torch.uint8)


def condition(model, seeds=(0,), texts=(TEXT,)):
    image = model.encode_image(images(*seeds), SHAPE.frames)
    return Condition(image, model.encode_text(texts), torch.full((len(seeds),), SHAPE.fps))


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
    assert (model.spec.temporal, model.spec.spatial, model.spec.causal, model.spec.layout) == (4, 16, True, "bcthw")
    assert model.spec.grid(SHAPE.frames, SHAPE.height, SHAPE.width) == GRID


def test_the_image_is_encoded_as_in_the_stock_pipeline(model, stock):
    ours = model.encode_image(images(0, 1), SHAPE.frames)
    for place, seed in enumerate((0, 1)):
        image, cpu = Image.fromarray(picture(seed)), torch.device("cpu")
        with torch.no_grad():
            latent = stock._get_image_latents(stock.vae, stock.video_processor, image, SHAPE.height, SHAPE.width, cpu)
            tokens = stock.encode_image(image, 1, cpu, torch.float32)
        torch.testing.assert_close(ours["latent"][place : place + 1], latent, atol=1e-5, rtol=0)
        torch.testing.assert_close(ours["tokens"][place : place + 1], tokens, atol=1e-5, rtol=0)


def test_frames_are_encoded_to_the_scaled_mode(model, stock):
    frames = film(3)
    pixels = stock.video_processor.preprocess_video([Image.fromarray(frame) for frame in frames[0].numpy()])
    with torch.no_grad():
        expected = stock.vae.encode(pixels).latent_dist.mode() * stock.vae.config.scaling_factor
    latents = model.encode(frames)
    assert latents.shape == (1, *LATENTS) and latents.dtype == torch.float32
    torch.testing.assert_close(latents, expected, atol=1e-5, rtol=0)


def test_the_image_is_the_first_latent_of_the_clip(model):
    """What training is told and what sampling is told agree: the VAE is causal."""
    frames = film(3)
    alone = model.encode_image(frames[:, 0], SHAPE.frames)["latent"]
    torch.testing.assert_close(alone, model.encode(frames)[:, :, :1], atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        "",
        "kite " * 600,
        "  Two   KITES!\n",
        "a sign “OPEN” beside “SHUT” and “OPEN”",
        '""',
        'an odd " quote',
        "q" + '"x' * 300 + '"',
    ],
)
def test_texts_are_encoded_as_in_the_stock_pipeline(model, stock, text):
    expected = stock.encode_prompt([text, ""], batch_size=2)
    ours = model.encode_text([text, ""])
    for name, tensor in zip(("embeds", "embeds_mask", "glyphs", "glyphs_mask"), expected, strict=True):
        torch.testing.assert_close(ours[name].float(), tensor, atol=1e-5, rtol=0)
    assert ours["embeds"].shape[:2] == (2, 1000) and ours["glyphs"].shape[:2] == (2, 256)
    assert ours["embeds_mask"].dtype == ours["glyphs_mask"].dtype == torch.bool


def test_the_text_begins_where_the_system_message_ends(model):
    tokenizer = model.frozen("tokenizer")
    ours = model.encode_text(["kite", "kite flies"])
    assert ours["embeds_mask"][0].sum() == len(tokenizer("kite<|im_end|>\n<|im_start|>assistant\n").input_ids)
    same = (ours["embeds"][0] - ours["embeds"][1]).abs().amax(1) < 1e-5
    assert same[: len(tokenizer("kite").input_ids)].all() and not same[len(tokenizer("kite").input_ids)]


def test_only_texts_that_quote_need_the_glyph_encoder(folder, tmp_path):
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    (tmp_path / "text_encoder_2" / "model.safetensors").unlink()
    model = build(tmp_path)
    assert not model.encode_text(["a red kite"])["glyphs_mask"].any()
    with pytest.raises(CheckpointError, match="text_encoder_2"):
        model.encode_text([TEXT])


def test_encoding_a_batch_is_encoding_each(model):
    frames = torch.cat([film(1), film(2)])
    assert torch.equal(model.encode(frames), torch.cat([model.encode(clip) for clip in frames.split(1)]))
    latents = normal(0, 2, *LATENTS)
    assert torch.equal(model.decode(latents), torch.cat([model.decode(clip) for clip in latents.split(1)]))


@pytest.mark.parametrize("frame", [0, 1, 4, 5, 8])
def test_a_pixel_frame_first_reaches_the_latent_that_pooling_gives_it(model, frame):
    frames = film(4)
    changed = frames.clone()
    changed[:, frame] = 255 - changed[:, frame]
    moved = (model.encode(changed) - model.encode(frames)).abs().amax((0, 1, 3, 4)) > 1e-4
    assert moved.nonzero()[0].item() == (frame + 3) // 4


def test_frames_are_rounded_as_in_the_stock_pipeline(model, stock):
    latents = normal(0, 1, *LATENTS)
    with torch.no_grad():
        pixels = stock.vae.decode(latents / stock.vae.config.scaling_factor).sample
    (expected,) = stock.video_processor.postprocess_video(pixels, output_type="pil")
    assert np.array_equal(model.decode(latents)[0], np.stack([np.asarray(frame) for frame in expected]))


def test_what_is_frozen_works_where_the_device_is(folder):
    model, frames = build(folder), film(3)
    model.encode(frames)  # loaded before the device changes
    model.device = torch.device("meta")
    given = [model.encode(frames), model.decode(normal(0, 1, *LATENTS)), *model._spell(["a dog"]).values()]
    given += model.encode_image(frames[:, 0], SHAPE.frames).values()
    assert all(tensor.is_meta for tensor in given)
    with pytest.raises(
        RuntimeError, match="cannot be called on meta tensors"
    ):  # Qwen looks at its mask, which is there
        model.encode_text([TEXT])
    assert not any(weight.is_meta for weight in model.network.parameters())


# Sampling


@pytest.mark.parametrize(("text", "guidance"), [(TEXT, 6.0), ("a dog runs", 1.0)])
def test_sampling_gives_the_frames_of_the_stock_pipeline(folder, model, text, guidance):
    noise = normal(1, 1, *LATENTS)
    expected = stock_frames(folder, picture(0), text, noise, steps=4, guidance=guidance)
    ours = sampled(model, condition(model, texts=(text,)), noise, steps=4, guidance=guidance)[0]
    assert ours.shape == expected.shape
    assert np.abs(ours.astype(int) - expected).max() <= 1
    assert expected.std(axis=0).mean() > 10, "a clip that moves, or the test shows nothing"


def test_clips_of_a_batch_do_not_see_each_other(model):
    """Not their pictures, not their texts: one of them quotes, the other does not."""
    noise, timestep = normal(2, 2, *LATENTS), torch.tensor([700.0, 300.0])
    both = condition(model, (0, 1), (TEXT, "a dog"))
    apart = [condition(model, (0,), (TEXT,)), condition(model, (1,), ("a dog",))]
    with torch.no_grad():
        together = model.predict(noise, timestep, both)
        alone = [model.predict(noise[i : i + 1], timestep[i : i + 1], apart[i]) for i in range(2)]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-5, rtol=0)


# The network


def test_every_condition_changes_the_prediction(model):
    noise, base = normal(0, 1, *LATENTS), condition(model)
    other = condition(model, (1,), ('a blue fish "no fishing here"',))

    @torch.no_grad()
    def change(timestep=TIMESTEP, **fields):
        changed = model.predict(noise, timestep, replace(base, **fields))
        return (changed - model.predict(noise, TIMESTEP, base)).abs().mean()

    for name in ("latent", "tokens"):
        assert change(image=base.image | {name: other.image[name]}) > 0.02, name
    for names in (("embeds", "embeds_mask"), ("glyphs", "glyphs_mask")):
        assert change(text=base.text | {name: other.text[name] for name in names}) > 0.02, names
    assert change(timestep=torch.tensor([900.0])) > 0.02
    assert change(fps=torch.tensor([30.0])) == 0, "this base knows of no frame rate"


@pytest.mark.parametrize("name", ["embeds", "glyphs"])
def test_padding_behind_the_text_is_not_seen(model, name):
    base, noise = condition(model), normal(0, 1, *LATENTS)
    padded = base.text[name].masked_fill(~base.text[f"{name}_mask"][..., None], 7)
    with torch.no_grad():
        seen = model.predict(noise, TIMESTEP, replace(base, text=base.text | {name: padded}))
        torch.testing.assert_close(seen, model.predict(noise, TIMESTEP, base), atol=1e-6, rtol=0)


def test_the_network_is_called_once_with_latents_image_and_mask(model):
    seen = []

    class Spy(torch.nn.Module):
        def __init__(self, network):
            super().__init__()
            self.network = network

        def forward(self, **inputs):
            seen.append(inputs)
            return self.network(**inputs)

    network, base, noise = model.network, condition(model), normal(0, 1, *LATENTS)
    model.network = Spy(network)
    try:
        with torch.no_grad():
            model.predict(noise, TIMESTEP, base)
        assert model.parts["transformer"] is network
    finally:
        model.network = network
    (inputs,) = seen
    latents, given, mask = inputs["hidden_states"].split([CHANNELS, CHANNELS, 1], dim=1)
    assert torch.equal(latents, noise)
    assert torch.equal(given[:, :, :1], base.image["latent"]) and not given[:, :, 1:].any()
    assert mask[:, :, 0].eq(1).all() and not mask[:, :, 1:].any()
    assert inputs["timestep"].tolist() == [500.0]


def test_a_weight_lies_on_the_cell_it_belongs_to(model):
    latents, weight = normal(0, 2, *LATENTS), normal(1, 2, 1, *GRID)
    product = from_layout(to_layout(latents, model.spec) * to_layout(weight, model.spec), model.spec, GRID)
    assert torch.equal(product, latents * weight)


def test_gradients_reach_every_weight_and_training_lowers_the_loss(folder):
    model = build(folder)
    network = model.network.train()
    clean, noise, base = model.encode(film(6)), normal(0, 1, *LATENTS), condition(model, seeds=(6,))
    assert model.given_frames == 0 and torch.equal(model.complete(noise, base), noise), "all frames are generated"
    heat = torch.rand((1, 1, *GRID), generator=Generator().manual_seed(0))
    timestep = torch.tensor([600.0])
    noisy, target = model.schedule.add_noise(clean, noise, timestep), model.schedule.target(clean, noise, timestep)
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    losses = []
    for _ in range(6):
        optimizer.zero_grad()
        loss = MotionFocalLoss()(model.predict(noisy, timestep, base), target, heat).total
        loss.backward()
        gradients = {name: weight.grad for name, weight in network.named_parameters() if weight.requires_grad}
        assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients.values())
        assert gradients["transformer_blocks.0.attn.to_q.weight"].abs().max() > 0
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]


def test_what_the_network_leaves_unread_is_frozen(folder):
    """The text's way out of the last block: whatever stands there, the prediction is the same."""
    model = build(folder)
    unread = {name: weight for name, weight in model.network.named_parameters() if not weight.requires_grad}
    layers = ("attn.to_add_out", "ff_context.net.0.proj", "ff_context.net.2")
    assert set(unread) == {f"transformer_blocks.1.{layer}.{kind}" for layer in layers for kind in ("weight", "bias")}
    noise, base = normal(0, 1, *LATENTS), condition(model)
    with torch.no_grad():
        before = model.predict(noise, TIMESTEP, base)
        for weight in unread.values():
            weight.fill_(7)
        assert torch.equal(model.predict(noise, TIMESTEP, base), before)


@pytest.mark.parametrize("text", [TEXT, "a dog", ""])
def test_several_processes_find_no_unused_parameter(folder, text):
    """DistributedDataParallel refuses a second step when a gradient of the first one never came."""
    from torch.distributed import HashStore, destroy_process_group, init_process_group

    model = build(folder)
    base = condition(model, texts=(text,))
    init_process_group("gloo", store=HashStore(), rank=0, world_size=1)
    try:
        model.network = torch.nn.parallel.DistributedDataParallel(model.network)
        for _ in range(2):
            model.predict(normal(0, 1, *LATENTS), TIMESTEP, base).sum().backward()
    finally:
        destroy_process_group()


def test_bfloat16_predicts_in_float32(folder):
    model = build(folder, dtype="bfloat16")
    base = condition(model)
    with torch.no_grad():
        prediction = model.predict(normal(0, 1, *LATENTS), TIMESTEP, base)
    assert next(model.network.parameters()).dtype == torch.bfloat16
    model.network.float()  # as a trainer does
    assert 0 < (model.predict(normal(0, 1, *LATENTS), TIMESTEP, base) - prediction).abs().mean() < 0.1
    assert prediction.dtype == base.image["latent"].dtype == torch.float32
    assert model.decode(prediction).dtype == torch.uint8


def test_all_of_it_trains_as_it_is_loaded_unless_told_otherwise(folder):
    """What the network leaves unread becomes float32 with the rest, or no layer of the last block could use both."""
    config = load_config(None, ["model.family=hunyuanvideo15", f"model.weights={folder}"])
    model = trainable_model(config, [SHAPE])
    model.predict(normal(0, 1, *LATENTS), TIMESTEP, condition(model)).square().mean().backward()
    assert all(weight.grad is not None for weight in trained_weights(model.network).values())
    assert {weight.dtype for weight in model.network.parameters()} == {torch.float32}


# The schedule


def test_noise_and_target_are_those_of_the_stock_scheduler(model, stock):
    stock.scheduler.set_timesteps(sigmas=np.linspace(1, 0.25, 4))
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


@settings(max_examples=20)
@given(steps=st.integers(1, 60), cells=st.integers(1, 10_000))
def test_timesteps_are_those_of_the_stock_pipeline(model, stock, steps, cells):
    stock.scheduler.set_timesteps(sigmas=np.linspace(1.0, 0.0, steps + 1)[:-1])
    assert torch.equal(model.schedule.sampler(steps, cells).timesteps, stock.scheduler.timesteps)


def test_training_draws_the_shifted_logit_normal_of_the_published_trainer(model):
    """A logit-normal sigma, shifted by 3; the scheduler's own shift of 5 is for sampling."""
    rng = Generator().manual_seed(0)
    sigmas = torch.stack([model.schedule.draw(CELLS, rng) for _ in range(4000)]) / 1000
    logits = (sigmas / (1 - sigmas)).log()
    assert abs(logits.mean() - math.log(3)) < 0.06
    assert abs(logits.std() - 1) < 0.05


# What is refused


@pytest.mark.parametrize(
    ("shape", "text"),
    [
        ({"frames": 16}, "4 \\* k \\+ 1.*13 or 17"),
        ({"height": 40}, "multiples of 16"),
        ({"width": 100}, "multiples of 16"),
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


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("LTXImageToVideoPipeline", "LTXImageToVideoPipeline, not of HunyuanVideo15.*family to ltx"),
        ("HunyuanVideo15Pipeline", "takes no image"),
    ],
)
def test_a_folder_of_another_kind_is_refused(folder, tmp_path, name, text):
    index = json.loads((folder / "model_index.json").read_text())
    (tmp_path / "model_index.json").write_text(json.dumps(index | {"_class_name": name}))
    with pytest.raises(CheckpointError, match=text):
        build(tmp_path)


@pytest.mark.parametrize(("field", "text"), [({"use_meanflow": True}, "distilled"), ({"patch_size": 2}, "patches")])
def test_a_network_that_is_asked_otherwise_is_refused(folder, tmp_path, field, text):
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "transformer" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | field))
    with pytest.raises(CheckpointError, match=text):
        build(tmp_path)


def test_parts_are_loaded_when_they_are_needed_and_strictly(folder, tmp_path):
    """Without a network one can still prepare, without frozen parts one can still train."""
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "transformer" / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    del weights["proj_out.weight"]
    save_file(weights, path)
    model = build(tmp_path)
    base = condition(model)
    with pytest.raises(CheckpointError, match=r"proj_out\.weight"):
        model.predict(normal(0, 1, *LATENTS), TIMESTEP, base)

    for part in ("vae", "text_encoder", "text_encoder_2", "image_encoder"):
        for weights in (tmp_path / part).glob("*.safetensors"):
            weights.unlink()
    shutil.copy(folder / "transformer" / path.name, path)
    model = build(tmp_path)
    model.predict(normal(0, 1, *LATENTS), TIMESTEP, base)
    with pytest.raises(CheckpointError, match="vae"):
        model.encode(film(0))


def test_the_published_configs_give_the_published_grid(folder, tmp_path):
    """32 channels, 4 frames, 16 pixels; from configs alone."""
    shutil.copytree(folder / "scheduler", tmp_path / "scheduler")
    shutil.copy(folder / "model_index.json", tmp_path)
    configs = {
        "vae": {"latent_channels": 32, "spatial_compression_ratio": 16, "temporal_compression_ratio": 4},
        "transformer": {"patch_size": 1, "patch_size_t": 1, "use_meanflow": False},
    }
    for part, config in configs.items():
        (tmp_path / part).mkdir()
        (tmp_path / part / "config.json").write_text(json.dumps(config))
    model = build(tmp_path, ClipShape(frames=121, height=480, width=832, fps=24.0))
    assert model.spec.channels == 32
    assert model.spec.grid(121, 480, 832) == (31, 30, 52)
