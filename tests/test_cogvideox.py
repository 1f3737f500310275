"""CogVideoX against the stock pipeline of diffusers, on tiny random checkpoints of both releases."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from motionfocal.errors import CheckpointError, ShapeError
from motionfocal.loss import MotionFocalLoss
from motionfocal.models.families.cogvideox import CogVideoX
from motionfocal.models.family import known_families
from motionfocal.models.protocol import ClipShape, Condition
from motionfocal.models.schedule import DiffusionSchedule
from motionfocal.motion.latent import pool_to_latent, to_layout

from . import tiny_cogvideox as tiny

VERSIONS = ["1.0", "1.5"]
LEAD = {"1.0": 0, "1.5": 1}
TEXT, LONG_TEXT = "a dog runs", "a very long text of many words and 1001 letters"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    made = {version: tmp_path_factory.mktemp(f"cogvideox{version}") for version in VERSIONS}
    for version, folder in made.items():
        tiny.write_folder(folder, version=version)
    return made


@pytest.fixture(params=VERSIONS)
def version(request):
    return request.param


@pytest.fixture
def folder(folders, version):
    return folders[version]


@pytest.fixture
def model(folder):
    return build(folder)


def build(folder, shape=tiny.SHAPE, dtype="float32"):
    return known_families()["cogvideox"](weights=str(folder), dtype=dtype).build(shape, seed=0)


def pixels(*shape, seed=0):
    return torch.randint(0, 256, (*shape, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def noise_for(model, batch=1, seed=0):
    grid = model.spec.grid(tiny.SHAPE.frames, tiny.SHAPE.height, tiny.SHAPE.width)
    return normal(batch, model.spec.channels, *grid, seed=seed)


def condition_for(model, images, texts):
    return Condition(model.encode_image(images, 9), model.encode_text(texts), torch.full((len(texts),), 8.0))


def inputs_of(network):
    """The inputs of every call of the network from now on."""
    calls = []
    network.register_forward_pre_hook(lambda _, args, kwargs: calls.append(kwargs), with_kwargs=True)
    return calls


# What goes into the network


def test_latents_are_the_scaled_mode_with_frame_0_in_front_as_often_as_patches_need(model, folder, version):
    frames = pixels(2, 9, 32, 48)
    vae = tiny.stock_pipeline(folder).vae
    with torch.no_grad():
        stock = vae.encode(frames.permute(0, 4, 1, 2, 3) / 127.5 - 1).latent_dist.mode() * tiny.SCALE
    latents = model.encode(frames)
    assert latents.dtype == torch.float32
    assert tuple(latents.shape[2:]) == model.spec.grid(9, 32, 48)
    torch.testing.assert_close(latents[:, :, LEAD[version] :], stock, atol=1e-5, rtol=1e-5)
    for copy in range(LEAD[version]):
        assert torch.equal(latents[:, :, copy], latents[:, :, LEAD[version]])


def test_decoding_is_the_stock_pipelines_without_the_copies(model, folder, version):
    latents = noise_for(model, batch=2)
    pipeline = tiny.stock_pipeline(folder)
    with torch.no_grad():
        video = pipeline.decode_latents(latents[:, :, LEAD[version] :].transpose(1, 2))
    stock = pipeline.video_processor.postprocess_video(video, output_type="np")
    difference = np.abs(model.decode(latents).numpy().astype(int) - (stock * 255).round())
    assert difference.max() <= 1
    assert difference.mean() < 1e-3


@pytest.mark.parametrize("text", ["", TEXT, LONG_TEXT])
def test_texts_are_encoded_as_by_the_stock_pipeline(model, folder, text):
    with torch.no_grad():
        stock, _ = tiny.stock_pipeline(folder).encode_prompt(text, max_sequence_length=tiny.TEXT_LENGTH)
    embeds = model.encode_text([text, "another"])["embeds"]
    torch.testing.assert_close(embeds[:1], stock)
    assert not torch.allclose(embeds[0], embeds[1])


def test_the_network_is_given_what_the_stock_pipeline_gives_it(model, folder):
    image, noise = pixels(32, 48), noise_for(model)
    pipeline = tiny.stock_pipeline(folder)
    stock_calls, calls = inputs_of(pipeline.transformer), inputs_of(model.network)
    pipeline(
        image=Image.fromarray(image.numpy()),
        prompt=TEXT,
        height=32,
        width=48,
        num_frames=9,
        num_inference_steps=1,
        guidance_scale=1.0,
        latents=noise.transpose(1, 2),
        max_sequence_length=tiny.TEXT_LENGTH,
        output_type="latent",
    )
    model.predict(noise, torch.tensor([999]), condition_for(model, image[None], [TEXT]))
    (stock,), (ours,) = stock_calls, calls
    for name in ("hidden_states", "encoder_hidden_states", "timestep", "ofs", "image_rotary_emb"):
        torch.testing.assert_close(ours[name], stock[name], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("guidance", [1.0, 4.0])
def test_sampling_gives_the_frames_of_the_stock_pipeline(model, folder, guidance):
    image, noise = pixels(32, 48), noise_for(model)
    stock = tiny.stock_frames(folder, image.numpy(), TEXT, noise, steps=5, guidance=guidance)
    ours = sampled(model, image, noise, steps=5, guidance=guidance)
    assert 30 < stock.std() < 110, "the comparison is worth little on frames that are flat or black and white"
    assert np.abs(ours.astype(int) - stock).max() <= 1


@torch.no_grad()
def sampled(model, image, noise, steps, guidance):
    condition = condition_for(model, image[None], [TEXT])
    empty = replace(condition, text=model.encode_text([""]))
    sampler = model.schedule.sampler(steps, noise[0, 0].numel())
    latents = noise
    for timestep in sampler.timesteps:
        without = model.predict(latents, timestep[None], empty)
        guided = without + guidance * (model.predict(latents, timestep[None], condition) - without)
        latents = sampler.step(guided, timestep, latents, lambda: pytest.fail("DDIM is deterministic"))
    return model.decode(model.complete(latents, condition))[0].numpy()


def test_a_larger_clip_has_the_positions_of_the_stock_pipeline(folders):
    """Only 1.5 takes sizes other than its own."""
    shape = ClipShape(frames=17, height=64, width=32, fps=8)
    model = build(folders["1.5"], shape)
    image, noise = pixels(64, 32), normal(1, tiny.CHANNELS, *model.spec.grid(17, 64, 32))
    stock = tiny.stock_frames(folders["1.5"], image.numpy(), TEXT, noise, steps=2, guidance=2.0, frames=17)
    ours = sampled(model, image, noise, steps=2, guidance=2.0)
    assert ours.shape == (17, 64, 32, 3)
    assert np.abs(ours.astype(int) - stock).max() <= 1


def test_what_is_frozen_works_where_the_device_is(model):
    frames = pixels(1, 9, 32, 48)
    model.encode(frames)  # loaded before the device changes
    model.device = torch.device("meta")
    given = [model.encode(frames), model.decode(noise_for(model)), *model.encode_text([TEXT]).values()]
    given += model.encode_image(frames[:, 0], 9).values()
    assert all(tensor.is_meta for tensor in given)
    assert not any(weight.is_meta for weight in model.network.parameters())


# What comes out of it


def test_every_condition_changes_the_prediction(model):
    images, noise, timestep = pixels(1, 32, 48), noise_for(model), torch.tensor([500])
    condition = condition_for(model, images, [TEXT])
    with torch.no_grad():
        base = model.predict(noise, timestep, condition)
        others = [
            model.predict(noise, timestep, replace(condition, image=model.encode_image(255 - images, 9))),
            model.predict(noise, timestep, replace(condition, text=model.encode_text(["a car"]))),
            model.predict(noise, torch.tensor([100]), condition),
            model.predict(noise.flip(2), timestep, condition),
        ]
        again = model.predict(noise, timestep.float(), condition)
    assert torch.equal(again, base)
    assert base.shape == noise.shape
    assert base.dtype == torch.float32
    for other in others:
        assert (other - base).abs().mean() > 0.02 * base.abs().mean()


def test_a_clip_does_not_depend_on_its_neighbours(model):
    images, noise, timestep = pixels(2, 32, 48), noise_for(model, batch=2), torch.tensor([900, 30])
    condition = condition_for(model, images, [TEXT, "a car"])
    with torch.no_grad():
        both = model.predict(noise, timestep, condition)
        alone = model.predict(noise[1:], timestep[1:], condition_for(model, images[1:], ["a car"]))
    torch.testing.assert_close(both[1:], alone, atol=1e-5, rtol=1e-5)


def test_training_reaches_all_of_the_network_and_lowers_the_loss(model):
    torch.manual_seed(0)
    network = model.network.train()
    clean, noise, timestep = model.encode(pixels(2, 9, 32, 48)), noise_for(model, batch=2), torch.tensor([200, 800])
    condition = condition_for(model, pixels(2, 32, 48), [TEXT, "a car"])
    noisy, target = (f(clean, noise, timestep) for f in (model.schedule.add_noise, model.schedule.target))
    heat = torch.rand(clean[:, :1].shape, generator=torch.Generator().manual_seed(1))
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    losses = []
    for _ in range(12):
        loss = MotionFocalLoss()(model.predict(noisy, timestep, condition), target, heat).total
        optimizer.zero_grad()
        loss.backward()
        gradients = {name: weight.grad for name, weight in network.named_parameters()}
        for name, gradient in gradients.items():
            assert gradient is not None, name
            assert gradient.isfinite().all(), name
            assert gradient.abs().max() > 0, name
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


def test_it_runs_in_bfloat16(folder):
    model = build(folder, dtype="bfloat16")
    latents = model.encode(pixels(1, 9, 32, 48))
    condition = condition_for(model, pixels(1, 32, 48), [TEXT])
    prediction = model.predict(latents, torch.tensor([500]), condition)
    assert (latents.dtype, prediction.dtype) == (torch.float32, torch.float32)
    assert {weight.dtype for weight in model.network.parameters()} == {torch.bfloat16}
    assert model.decode(latents).shape == (1, 9, 32, 48, 3)
    model.network.float()  # as a trainer does
    assert 0 < (model.predict(latents, torch.tensor([500]), condition) - prediction).abs().mean() < 0.1


# Which cell is which


def test_each_cell_is_in_the_patch_that_the_network_predicts_it_from(model):
    """Without its blocks the network works patch by patch: a changed cell may change its own patch alone."""
    network = model.network
    network.transformer_blocks = nn.ModuleList()
    span = (network.config.patch_size_t or 1, 2, 2)
    noise, condition = noise_for(model), condition_for(model, pixels(1, 32, 48), [TEXT])
    frames, height, width = noise.shape[2:]
    with torch.no_grad():
        base = model.predict(noise, torch.tensor([500]), condition)
        for cell in [(0, 0, 0), (frames - 1, 3, 0), (1, 2, 5), (frames - 1, height - 1, width - 1)]:
            moved = noise.clone()
            moved[:, :, *cell] += 1
            changed = (model.predict(moved, torch.tensor([500]), condition) != base)[0].any(0)
            patch = torch.zeros_like(changed)
            patch[tuple(slice(c // s * s, c // s * s + s) for c, s in zip(cell, span, strict=True))] = True
            assert torch.equal(changed, patch)


def test_a_weight_is_laid_out_with_its_latents(model):
    latents = noise_for(model)
    assert torch.equal(to_layout(latents, model.spec)[:, :, :1], to_layout(latents[:, :1], model.spec))
    calls = inputs_of(model.network)
    model.predict(latents, torch.tensor([500]), condition_for(model, pixels(1, 32, 48), [TEXT]))
    assert torch.equal(calls[0]["hidden_states"][:, :, : tiny.CHANNELS], to_layout(latents, model.spec))


def test_the_image_stands_at_the_first_latent_frame_and_zeros_at_the_others(model, version):
    calls, images = inputs_of(model.network), pixels(1, 32, 48)
    condition = condition_for(model, images, [TEXT])
    model.predict(noise_for(model), torch.tensor([500]), condition)
    beside = calls[0]["hidden_states"][:, :, tiny.CHANNELS :]
    assert torch.equal(beside[:, 0], condition.image["latent"][:, :, 0])
    assert not beside[:, 1:].any()
    scale = tiny.SCALE**2 if version == "1.5" else 1
    torch.testing.assert_close(
        condition.image["latent"] * scale, model.encode(images[:, None].repeat(1, 9, 1, 1, 1))[:, :, :1]
    )


def without_norms(model):
    """Group norms look at all frames at once: without them, what is left of the encoder is causal."""
    for module in list(model.vae.encoder.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.GroupNorm):
                setattr(module, name, nn.Identity())
    return model


@pytest.mark.parametrize("moved", [0, 1, 4, 5, 8, 9, 16])
def test_a_pixel_frame_reaches_no_latent_before_its_own(model, version, moved):
    assert reached(without_norms(model), moved)[0] == (0 if moved == 0 else LEAD[version] + (moved + 3) // 4)


def reached(model, moved):
    """Latent frames that a pixel frame of 17 makes a difference to."""
    frames = pixels(1, 17, 32, 48)
    other = frames.clone()
    other[:, moved] = 255 - other[:, moved]
    difference = (model.encode(frames) - model.encode(other)).abs().amax((0, 1, 3, 4))
    return (difference > 1e-5).nonzero()[:, 0].tolist()


def test_heat_lies_on_the_latent_frames_that_hold_the_motion(model, version):
    without_norms(model)
    for moved in (0, 1, 4, 5, 8, 9, 16):
        heat = np.zeros((17, 32, 48), np.float32)
        heat[moved] = 1
        pooled = pool_to_latent(heat, model.spec)
        assert tuple(pooled.shape) == model.spec.grid(17, 32, 48)
        lit = pooled.amax((1, 2)).nonzero()[:, 0].tolist()
        assert lit == (list(range(LEAD[version] + 1)) if moved == 0 else [LEAD[version] + (moved + 3) // 4])
        assert lit[0] == reached(model, moved)[0]


def test_frame_0_is_generated_and_in_the_loss(model):
    latents = noise_for(model)
    assert model.given_frames == 0
    assert model.complete(latents, condition_for(model, pixels(1, 32, 48), [TEXT])) is latents


# The process


@pytest.mark.parametrize("spacing", ["trailing", "linspace", "leading"])
@pytest.mark.parametrize("steps", [1, 5, 8, 30, 50, 125])
@pytest.mark.parametrize("own", [{"snr_shift_scale": 1.0, "rescale_betas_zero_snr": True}, {"snr_shift_scale": 3.0}])
def test_sampling_steps_are_those_of_the_stock_scheduler(spacing, steps, own):
    from diffusers import CogVideoXDDIMScheduler

    stock = CogVideoXDDIMScheduler(prediction_type="v_prediction", timestep_spacing=spacing, clip_sample=False, **own)
    sampler = DiffusionSchedule(stock).sampler(steps, cells=1)
    stock.set_timesteps(steps)
    assert torch.equal(sampler.timesteps, stock.timesteps)
    sample, reference = normal(2, 4, 3, 2, 2), normal(2, 4, 3, 2, 2)
    for number, timestep in enumerate(stock.timesteps):
        prediction = normal(2, 4, 3, 2, 2, seed=number)
        sample = sampler.step(prediction, timestep, sample, lambda: pytest.fail("DDIM is deterministic"))
        reference = stock.step(prediction, int(timestep), reference).prev_sample.float()
        torch.testing.assert_close(sample, reference, atol=1e-5, rtol=1e-4)


def test_noise_and_target_are_the_stock_schedulers(model, folder):
    stock = tiny.stock_pipeline(folder).scheduler
    clean, noise = noise_for(model, batch=4, seed=1), noise_for(model, batch=4, seed=2)
    timestep = torch.tensor([0, 300, 998, 999])
    noisy = model.schedule.add_noise(clean, noise, timestep)
    target = model.schedule.target(clean, noise, timestep)
    torch.testing.assert_close(noisy, stock.add_noise(clean, noise, timestep))
    torch.testing.assert_close(target, stock.get_velocity(clean, noise, timestep))
    assert torch.equal(noisy[3], noise[3]), "the last timestep is pure noise"
    level = model.schedule.noise_level(timestep).float()
    torch.testing.assert_close(level, (1 - stock.alphas_cumprod[timestep]).sqrt().float())
    # The authors' loss, (x_0 of the prediction - x_0)^2 / (1 - abar), is the plain error of v.
    wrong = target + normal(*target.shape, seed=3)
    error = (stock.get_velocity(wrong, noisy, timestep) - clean) ** 2 / level.view(-1, 1, 1, 1, 1) ** 2
    torch.testing.assert_close(error[1:], ((wrong - target) ** 2)[1:], atol=1e-3, rtol=1e-3)


def test_a_right_prediction_is_sampled_to_the_clean_latents(model):
    clean, noise = noise_for(model, seed=1), noise_for(model, seed=2)
    sampler, latents = model.schedule.sampler(10, 1), noise
    for timestep in sampler.timesteps:
        target = model.schedule.target(clean, noise, timestep[None])
        latents = sampler.step(target, timestep, latents, lambda: noise)
    torch.testing.assert_close(latents, clean, atol=1e-4, rtol=1e-4)


def test_of_a_dpm_scheduler_the_process_is_taken_and_the_solver_left(tmp_path, folders):
    tiny.write_folder(tmp_path, scheduler="CogVideoXDPMScheduler")
    assert json.loads((tmp_path / "model_index.json").read_text())["scheduler"][1] == "CogVideoXDPMScheduler"
    ours, reference = build(tmp_path).schedule, build(folders["1.0"]).schedule
    every = torch.arange(1000)
    assert torch.equal(ours.noise_level(every), reference.noise_level(every))
    assert torch.equal(ours.sampler(7, 1).timesteps, reference.sampler(7, 1).timesteps)


# What is refused, and what is loaded


def test_accepted_lengths_are_those_that_the_vae_gives_back(folders):
    vae = build(folders["1.5"]).vae
    for frames in range(2, 27):
        with torch.no_grad():
            latents = vae.encode(torch.zeros(1, 3, frames, 16, 16)).latent_dist.mode()
            back = vae.decode(latents).sample.shape[2]
        alone = frames % 4 == 1  # else the first latent frame is not the first frame's own
        if back == frames and alone:
            build(folders["1.5"], ClipShape(frames=frames, height=16, width=16, fps=8))
        else:
            with pytest.raises(ShapeError, match=r"8 \* k \+ 1, such as \d+ or \d+"):
                build(folders["1.5"], ClipShape(frames=frames, height=16, width=16, fps=8))


@pytest.mark.parametrize(
    ("version", "frames", "height", "width", "says"),
    [
        ("1.0", 17, 32, 48, "learned positions, for 9 frames of 32x48"),
        ("1.0", 9, 48, 32, "learned positions, for 9 frames of 32x48"),
        ("1.0", 9, 32, 40, "multiples of 16"),
        ("1.0", 10, 32, 48, "such as 9 or 17"),
        ("1.0", 5, 32, 48, "such as 9 or 17"),
        ("1.5", 9, 24, 48, "multiples of 16"),
        ("1.5", 9, 32, 112, "at most 96x96"),
    ],
)
def test_clips_that_do_not_fit_are_refused(folders, version, frames, height, width, says):
    with pytest.raises(ShapeError, match=says):
        build(folders[version], ClipShape(frames=frames, height=height, width=width, fps=8))


def test_frames_that_do_not_fit_are_not_encoded(model):
    with pytest.raises(ShapeError, match="lengths are"):
        model.encode(pixels(1, 8, 32, 48))
    with pytest.raises(ShapeError, match="multiples of 16"):
        model.encode(pixels(1, 9, 32, 40))
    with pytest.raises(ShapeError, match="multiples of 16"):
        model.encode_image(pixels(1, 40, 48), 9)


@pytest.mark.parametrize(
    ("pipeline", "says"),
    [
        ("WanImageToVideoPipeline", "set model.family to wan"),
        ("LTXPipeline", "set model.family to ltx"),
        ("CogVideoXPipeline", "takes no image"),
        ("SoraPipeline", f"SoraPipeline, not of {CogVideoX.pipeline_class}; no family takes these"),
    ],
)
def test_folders_of_other_models_are_refused(tmp_path, pipeline, says):
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": pipeline}))
    with pytest.raises(CheckpointError, match=says):
        build(tmp_path)


def test_encoding_needs_no_network_and_training_no_frozen_parts(tmp_path, folder):
    shutil.copytree(folder, tmp_path / "frozen")
    shutil.copytree(folder, tmp_path / "trained")
    (tmp_path / "frozen/transformer/diffusion_pytorch_model.safetensors").unlink()
    (tmp_path / "trained/vae/diffusion_pytorch_model.safetensors").unlink()
    shutil.rmtree(tmp_path / "trained/text_encoder")
    frozen, trained = build(tmp_path / "frozen"), build(tmp_path / "trained")
    latents = frozen.encode(pixels(1, 9, 32, 48))
    trained.predict(latents, torch.tensor([1]), condition_for(frozen, pixels(1, 32, 48), [TEXT]))
    with pytest.raises(CheckpointError, match="transformer"):
        frozen.network  # noqa: B018
    with pytest.raises(CheckpointError, match="text_encoder"):
        trained.encode_text([TEXT])


def test_missing_and_surplus_tensors_are_refused(tmp_path, folder):
    from safetensors.torch import load_file, save_file

    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    weights = tmp_path / "transformer/diffusion_pytorch_model.safetensors"
    tensors = load_file(weights)
    save_file({name: tensor for name, tensor in tensors.items() if name != "proj_out.bias"}, weights)
    with pytest.raises(CheckpointError, match=r"missing tensors.*proj_out\.bias"):
        build(tmp_path).network  # noqa: B018
    save_file(tensors | {"surplus": torch.zeros(1)}, weights)
    with pytest.raises(CheckpointError, match=r"unexpected tensors.*surplus"):
        build(tmp_path).network  # noqa: B018


def test_the_network_may_be_replaced(model):
    class Wrapped(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner, self.calls = inner, 0

        def forward(self, **inputs):
            self.calls += 1
            return self.inner(**inputs)

    network = model.network
    model.network = Wrapped(network)
    assert model.parts == {"transformer": network}
    model.predict(noise_for(model), torch.tensor([1]), condition_for(model, pixels(1, 32, 48), [TEXT]))
    assert model.network.calls == 1
