"""Wan: the same numbers as the stock pipeline, three models told apart, and two experts that act as one network."""

import shutil
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from motionfocal.errors import CheckpointError, ConfigError, ShapeError
from motionfocal.loss import MotionFocalLoss
from motionfocal.models.family import known_families
from motionfocal.models.protocol import ClipShape, Condition
from motionfocal.models.schedule import FlowSettings
from motionfocal.motion.latent import to_layout

from .tiny_wan import BOUNDARY, SHAPE, VARIANTS, edit_json, stock_frames, stock_pipeline, write_folder

TEXT = "a red ball rolls left"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    made = {variant: tmp_path_factory.mktemp(variant) for variant in VARIANTS}
    for variant, folder in made.items():
        write_folder(folder, variant=variant)
    return made


@pytest.fixture(params=VARIANTS)
def variant(request):
    return request.param


@pytest.fixture
def folder(folders, variant):
    return folders[variant]


@pytest.fixture
def model(folder):
    return build(folder)


def build(folder, shape=SHAPE, **settings):
    return known_families()["wan"](weights=str(folder), **{"dtype": "float32"} | settings).build(shape, seed=0)


def noise_of(model, count=1, seed=1):
    size = (count, model.spec.channels, *model.spec.grid(SHAPE.frames, SHAPE.height, SHAPE.width))
    return torch.randn(size, generator=torch.Generator().manual_seed(seed))


def frames_of(count=1, seed=2, frames=SHAPE.frames):
    """Soft random clips, uint8 [B,T,H,W,3]."""
    rng = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, frames, 4, 6, generator=rng)
    fine = torch.nn.functional.interpolate(coarse, size=(frames, SHAPE.height, SHAPE.width), mode="trilinear")
    return (fine * 255).round().to(torch.uint8).movedim(1, -1)


def condition_of(model, images, texts):
    count = len(texts)
    return Condition(
        model.encode_image(images, SHAPE.frames), model.encode_text(texts), torch.full((count,), SHAPE.fps)
    )


def pil(image):
    return Image.fromarray(image.numpy())


def close(ours, stock):
    torch.testing.assert_close(ours, stock, rtol=1e-4, atol=1e-4)


def sample(model, image, text, latents, steps, guidance):
    """A plain loop with classifier-free guidance."""
    told, untold = condition_of(model, image[None], [text]), model.encode_text([""])
    sampler = model.schedule.sampler(steps, latents[0, 0].numel())
    for timestep in sampler.timesteps:
        now = timestep.expand(len(latents))
        conditional = model.predict(latents, now, told)
        free = model.predict(latents, now, replace(told, text=untold))
        latents = sampler.step(free + guidance * (conditional - free), timestep, latents, torch.randn)
    return model.decode(model.complete(latents, told))[0]


@torch.no_grad()
def assert_samples_like_stock(model, folder, steps=6):
    image, latents = frames_of()[0, 0], noise_of(model)
    ours = sample(model, image, TEXT, latents, steps, guidance=4.0)
    stock = stock_frames(folder, image, TEXT, latents, steps, guidance=4.0)
    assert ours.dtype == stock.dtype and ours.shape == stock.shape == (SHAPE.frames, SHAPE.height, SHAPE.width, 3)
    assert (ours.int() - stock.int()).abs().max() <= 1
    assert stock.float().std() > 20, "a grey clip would prove nothing"


# What is frozen


def test_the_image_is_encoded_as_by_the_stock(model, folder, variant):
    stock, images, noise = stock_pipeline(folder), frames_of(count=2)[:, 0], noise_of(model)
    encoded = model.encode_image(images, SHAPE.frames)
    for index, image in enumerate(images):
        pixels = stock.video_processor.preprocess(pil(image), SHAPE.height, SHAPE.width)
        _, expected, *mask = stock.prepare_latents(
            pixels, 1, model.spec.channels, SHAPE.height, SHAPE.width, SHAPE.frames, torch.float32, latents=noise
        )
        ours = encoded["latent"][index : index + 1]
        close(ours if mask else torch.cat([model._mask(noise), ours], dim=1), expected)
    if variant == "i2v-2.1":
        close(encoded["tokens"], torch.cat([stock.encode_image(pil(image)) for image in images]))
    assert set(encoded) == {"latent", "tokens"} if variant == "i2v-2.1" else {"latent"}


def test_texts_are_encoded_as_by_the_stock(model, folder):
    texts = [TEXT, "", "  a <ball> &amp;amp; a\n kite… ", "the cat jumps " * 400]
    ours = model.encode_text(texts)["embeds"]
    expected, _ = stock_pipeline(folder).encode_prompt(texts, None, False, max_sequence_length=512)
    close(ours, expected)
    lengths = (ours.abs().sum(-1) > 0).sum(1)
    assert lengths[1] == 1 and lengths[3] == 512, "an empty text is its end token; a long one is cut"


@torch.no_grad()
def test_clips_are_encoded_and_decoded_as_by_the_stock(model, folder):
    from diffusers import FlowMatchEulerDiscreteScheduler, WanVideoToVideoPipeline

    clips, vae = frames_of(count=2), stock_pipeline(folder).vae
    stock = WanVideoToVideoPipeline(None, None, None, vae, FlowMatchEulerDiscreteScheduler())
    stock.vae_scale_factor_spatial = model.spec.spatial  # it knows Wan2.1's alone
    video = stock.video_processor.preprocess_video([[pil(frame) for frame in clip] for clip in clips])
    clean = stock.prepare_latents(  # at timestep 1 nearly all is signal; the rest is taken away
        video, 2, model.spec.channels, SHAPE.height, SHAPE.width, torch.float32, timestep=torch.tensor([1.0]),
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    close(model.encode(clips), (clean - 0.001 * noise) / 0.999)

    mean, std = (torch.tensor(x).view(1, -1, 1, 1, 1) for x in (vae.config.latents_mean, vae.config.latents_std))
    vae.enable_slicing()
    decoded = stock.video_processor.postprocess_video(vae.decode(model.encode(clips) * std + mean).sample, "pil")
    for ours, frames in zip(model.decode(model.encode(clips)), decoded, strict=True):
        assert all(torch.equal(mine, as_tensor(theirs)) for mine, theirs in zip(ours, frames, strict=True))


def as_tensor(image):
    import numpy as np

    return torch.from_numpy(np.array(image))


def test_a_clip_does_not_depend_on_its_neighbours(model):
    clips = frames_of(count=2)
    close(model.encode(clips)[1:], model.encode(clips[1:]))
    assert (model.decode(noise_of(model, 2))[1:].int() - model.decode(noise_of(model, 2)[1:]).int()).abs().max() <= 1


@pytest.mark.parametrize("frame", [0, 1, 4, 5, 8])
def test_a_pixel_frame_reaches_its_latent_first(model, frame):
    clip = frames_of()
    other = clip.clone()
    other[:, frame] = 255 - other[:, frame]
    changed = (model.encode(clip) - model.encode(other)).abs().amax(dim=(0, 1, 3, 4)) > 1e-4
    assert changed.nonzero()[0] == (frame + 3) // 4


def test_what_is_frozen_works_where_the_device_is(model):
    clips = frames_of()
    model.encode(clips)  # loaded before the device changes
    model.device = torch.device("meta")
    given = [model.encode(clips), model.decode(noise_of(model)), *model.encode_image(clips[:, 0], 9).values()]
    assert all(tensor.is_meta for tensor in given)
    with pytest.raises(
        RuntimeError, match="cannot be called on meta tensors"
    ):  # UMT5 looks at its mask, which is there
        model.encode_text([TEXT])
    assert not any(weight.is_meta for weight in model.network.parameters())


def test_what_was_encoded_serves_all_with_the_same_frozen_parts(folders):
    def fingerprint(**settings):
        return known_families()["wan"](weights=str(folders["i2v-2.2"]), **settings).encoder_fingerprint()

    assert fingerprint() == fingerprint(experts="low", schedule={"shift": 2.0}) != fingerprint(dtype="float32")


# Sampling and the noise


def test_sampling_is_the_stocks(model, folder):
    assert_samples_like_stock(model, folder)


def test_the_folders_own_scheduler_samples(folders, tmp_path):
    from diffusers import FlowMatchEulerDiscreteScheduler

    folder = shutil.copytree(folders["i2v-2.1"], tmp_path / "euler")
    FlowMatchEulerDiscreteScheduler(shift=3.0).save_pretrained(folder / "scheduler")
    edit_json(folder / "model_index.json", scheduler=["diffusers", "FlowMatchEulerDiscreteScheduler"])
    assert_samples_like_stock(build(folder), folder)


def test_noise_and_target_are_the_stock_schedulers(model, folder):
    clean, noise = model.encode(frames_of()), noise_of(model)
    scheduler = stock_pipeline(folder).scheduler
    scheduler.set_timesteps(20)
    for index in (0, 7, 19):
        timestep = 1000 * scheduler.sigmas[index][None]
        noisy = model.schedule.add_noise(clean, noise, timestep)
        close(noisy, scheduler.add_noise(clean, noise, scheduler.timesteps[index][None]))
        scheduler._step_index = index
        recovered = scheduler.convert_model_output(model.schedule.target(clean, noise, timestep), sample=noisy)
        close(recovered, clean)


def test_the_shift_is_of_training_alone(folder):
    few, many = (build(folder, schedule=FlowSettings(shift=shift)) for shift in (1.0, 9.0))
    assert torch.equal(few.schedule.sampler(5, 1).timesteps, many.schedule.sampler(5, 1).timesteps)
    means = [mean_draw(model) for model in (few, many)]
    assert means[0] < 600 < 800 < means[1]


def mean_draw(model):
    rng = torch.Generator().manual_seed(0)
    return torch.stack([model.schedule.draw(1, rng) for _ in range(200)]).mean()


# The network


def test_everything_it_is_told_changes_the_prediction(model):
    clips, noisy, now = frames_of(count=2), noise_of(model), torch.tensor([400.0])
    base = condition_of(model, clips[:1, 0], [TEXT])
    prediction = model.predict(noisy, now, base)
    assert prediction.shape == noisy.shape and prediction.dtype == torch.float32
    others = [model.predict(noisy, now, condition_of(model, clips[1:, 0], [TEXT]))]
    others += [model.predict(noisy, now, condition_of(model, clips[:1, 0], ["the cat jumps"]))]
    others += [model.predict(noisy, now + 200, base), model.predict(noise_of(model, seed=5), now, base)]
    others += [
        model.predict(noisy, now, replace(base, image=base.image | {name: base.image[name].flip(-1)}))
        for name in base.image
    ]
    assert all((other - prediction).abs().mean() > 0.02 for other in others)


def test_the_given_frame_stands_in_for_the_noisy_one(model, variant):
    noisy, told = noise_of(model), condition_of(model, frames_of()[:, 0], [TEXT])
    other = noisy.clone()
    other[:, :, 0] += 3
    same = torch.equal(*[model.predict(x, torch.tensor([500.0]), told) for x in (noisy, other)])
    completed = model.complete(noisy, told)
    if variant == "ti2v-5b":
        assert model.given_frames == 1 and same
        close(completed[:, :, :1], model.encode(frames_of()[:, :1]))
        assert torch.equal(completed[:, :, 1:], noisy[:, :, 1:])
    else:
        assert model.given_frames == 0 and not same and completed is noisy


def test_the_given_frame_is_out_of_the_loss(folders):
    model = build(folders["ti2v-5b"])
    told, noise, clean = condition_of(model, frames_of()[:, 0], [TEXT]), noise_of(model), model.encode(frames_of())
    now = torch.tensor([700.0])
    generated = torch.ones(1, 1, *noise.shape[2:])
    generated[:, :, : model.given_frames] = 0

    def gradient(noise):
        model.network.zero_grad()
        prediction = model.predict(model.schedule.add_noise(clean, noise, now), now, told)
        loss = MotionFocalLoss()(prediction, model.schedule.target(clean, noise, now), generated, generated)
        loss.total.backward()
        return model.network.proj_out.weight.grad.clone()

    other = noise.clone()
    other[:, :, 0] += 5
    assert torch.equal(gradient(noise), gradient(other))


def test_tokens_have_the_stocks_timesteps(folders):
    """The stock flattens a mask [T',h,w] of every second cell; tokens are in the order of the latent's cells."""
    model, told_of = build(folders["ti2v-5b"]), {}
    model.network.register_forward_pre_hook(lambda _, args: told_of.update(timestep=args[1]))
    noisy = noise_of(model, count=2)
    now = torch.tensor([300.0, 900.0])
    model.predict(noisy, now, condition_of(model, frames_of(count=2)[:, 0], [TEXT, ""]))
    cells = now.view(2, 1, 1, 1, 1).repeat(1, 1, *noisy.shape[2:])
    cells[:, :, 0] = 0
    assert torch.equal(told_of["timestep"], cells[:, 0, :, ::2, ::2].flatten(1))


def test_a_weight_lies_on_the_cells_of_the_latent(model):
    """No packing outside of the network: cell k of a map is cell k of the latents that the network patches."""
    noisy = noise_of(model)
    heat = noisy[:, :1].clone()
    assert torch.equal(to_layout(heat, model.spec), to_layout(noisy, model.spec)[:, :1])
    told = condition_of(model, frames_of()[:, 0], [TEXT])
    prediction = model.predict(noisy, torch.tensor([500.0]), told)
    assert prediction.shape == noisy.shape


def test_it_learns(model):
    torch.manual_seed(0)
    clips, now = frames_of(count=2), torch.tensor([600.0, 950.0])
    clean, noise = model.encode(clips), noise_of(model, count=2)
    noisy, target = model.schedule.add_noise(clean, noise, now), model.schedule.target(clean, noise, now)
    told, heat = condition_of(model, clips[:, 0], [TEXT, ""]), torch.rand(2, 1, *clean.shape[2:])
    generated = torch.ones_like(heat)
    generated[:, :, : model.given_frames] = 0
    optimizer = torch.optim.AdamW(model.network.parameters(), lr=3e-3)
    losses = []
    for step in range(8):
        optimizer.zero_grad()
        loss = MotionFocalLoss()(model.predict(noisy, now, told), target, heat, generated).total
        loss.backward()
        losses.append(loss.item())
        if step == 0:
            gradients = {name: weight.grad for name, weight in model.network.named_parameters()}
            assert all(grad is not None and grad.isfinite().all() and grad.any() for grad in gradients.values())
            assert any(".blocks.0." in f".{name}" for name in gradients)
        optimizer.step()
    assert losses[-1] < 0.9 * losses[0]


def test_bfloat16_comes_out_as_float32(folder):
    model = build(folder, dtype="bfloat16")
    dtypes = {weight.dtype for weight in model.network.parameters()}
    assert dtypes == {torch.bfloat16, torch.float32}, "the class keeps its norms and time embedding in float32"
    exact = build(folder)
    told, noisy, now = condition_of(exact, frames_of()[:, 0], [TEXT]), noise_of(model), torch.tensor([400.0])
    prediction, wanted = model.predict(noisy, now, told), exact.predict(noisy, now, told)
    assert prediction.dtype == torch.float32
    assert 0 < (prediction - wanted).abs().mean() < 0.1 * wanted.abs().mean()
    assert model.encode(frames_of()).equal(exact.encode(frames_of())), "the VAE is in float32"


# Two experts


@pytest.fixture
def twins(folders):
    return folders["i2v-2.2"]


def test_a_mixed_batch_goes_to_both_experts_at_once(twins):
    model, stock = build(twins), stock_pipeline(twins)
    noisy, clips, texts = noise_of(model, 4), frames_of(count=4), [TEXT, "", "the cat jumps", "red"]
    told, now = condition_of(model, clips[:, 0], texts), torch.tensor([100.0, 950.0, 899.9, 900.0])
    with torch.no_grad():
        together = model.predict(noisy, now, told)
        for index, name in enumerate(["transformer_2", "transformer", "transformer_2", "transformer"]):
            one = slice(index, index + 1)
            sample = torch.cat([noisy[one], model._mask(noisy[one]), told.image["latent"][one]], dim=1)
            expected = getattr(stock, name)(sample, now[one], told.text["embeds"][one]).sample
            close(together[one], expected)


@pytest.mark.parametrize(("experts", "part"), [("high", "transformer"), ("low", "transformer_2")])
def test_one_expert_trains_and_both_sample(twins, experts, part):
    model = build(twins, experts=experts)
    assert set(model.parts) == {part}
    before = set(model.network.state_dict())
    assert before and all(name.startswith(f"{part}.") for name in before)

    rng, told = torch.Generator().manual_seed(0), condition_of(model, frames_of()[:, 0], [TEXT])
    draws = torch.stack([model.schedule.draw(1, rng) for _ in range(100)])
    assert ((draws >= 1000 * BOUNDARY) == (experts == "high")).all() and draws.std() > 10
    model.predict(noise_of(model), draws[:1], told).sum().backward()
    assert all(weight.grad is not None for weight in model.network.parameters())

    assert_samples_like_stock(model, twins)
    assert set(model.network.state_dict()) == before, "the other expert is no part of what is trained and saved"


def test_weights_that_a_trainer_made_more_precise_are_given_what_they_take(twins):
    model = build(twins, experts="high", dtype="bfloat16")
    told, noisy = condition_of(model, frames_of()[:, 0], [TEXT]), noise_of(model)
    before = [model.predict(noisy, torch.tensor([now]), told) for now in (950.0, 50.0)]
    model.network.float()
    after = [model.predict(noisy, torch.tensor([now]), told) for now in (950.0, 50.0)]
    for one, other in zip(before, after, strict=True):
        assert (one - other).abs().mean() < 0.1 * one.abs().mean()


def test_the_untrained_expert_is_not_loaded_for_training(twins, tmp_path):
    folder = shutil.copytree(twins, tmp_path / "lacking")
    weights = next((folder / "transformer_2").glob("*.safetensors"))
    weights.unlink()
    model = build(folder, experts="high")
    told = condition_of(model, frames_of()[:, 0], [TEXT])
    model.predict(noise_of(model), torch.tensor([950.0]), told)
    with pytest.raises(CheckpointError, match="transformer_2"):
        model.predict(noise_of(model), torch.tensor([50.0]), told)


@pytest.mark.parametrize("ratio", [0.9, 0.875])
def test_a_draw_beside_the_boundary_goes_where_it_was_drawn_for(ratio):
    """The draw compares sigma with the ratio, the network 1000 sigma with 1000 ratio: at the published ones, alike."""
    for towards in (0.0, 1.0):
        sigma = torch.tensor(ratio)
        for _ in range(4):
            assert bool(ratio <= sigma) == bool(1000 * sigma >= 1000 * ratio)
            sigma = torch.nextafter(sigma, torch.tensor(towards))


def test_experts_of_a_single_network_are_refused(folders):
    for variant in ("ti2v-5b", "i2v-2.1"):
        with pytest.raises(ConfigError, match=r"model\.experts"):
            build(folders[variant], experts="high")


# Loading


def test_the_network_can_be_wrapped(model):
    told, noisy, calls = condition_of(model, frames_of()[:, 0], [TEXT]), noise_of(model), []
    before = model.predict(noisy, torch.tensor([950.0]), told)
    model.network = torch.nn.Sequential(model.network)
    model.network.forward = lambda *args, **named: calls.append(1) or model.network[0](*args, **named)
    assert torch.equal(model.predict(noisy, torch.tensor([950.0]), told), before) and calls == [1]


def test_preparing_needs_no_network_and_training_no_encoders(folders, tmp_path, variant):
    lacking = shutil.copytree(folders[variant], tmp_path / "frozen")
    for weights in lacking.glob("transformer*/*.safetensors"):
        weights.unlink()
    model = build(lacking)
    told, latents = condition_of(model, frames_of()[:, 0], [TEXT]), model.encode(frames_of())

    lacking = shutil.copytree(folders[variant], tmp_path / "network")
    for part in ("vae", "text_encoder", "image_encoder"):
        for weights in (lacking / part).glob("*.safetensors"):
            weights.unlink()
    build(lacking).predict(latents, torch.tensor([500.0]), told)


def test_the_three_are_told_apart(folders):
    shapes = {variant: build(folder).spec for variant, folder in folders.items()}
    assert (shapes["ti2v-5b"].channels, shapes["ti2v-5b"].spatial) == (48, 16)
    assert (shapes["i2v-2.1"].channels, shapes["i2v-2.1"].spatial) == (16, 8)
    assert all(spec.causal and spec.temporal == 4 for spec in shapes.values())
    assert {name for folder in folders.values() for name in build(folder).parts} == {"transformer", "transformer_2"}


def test_wan_2_1_as_published_has_a_shorter_vae_config(folders, tmp_path):
    import json

    folder = shutil.copytree(folders["i2v-2.1"], tmp_path / "old")
    path = folder / "vae" / "config.json"
    newer = ("scale_factor_spatial", "scale_factor_temporal", "is_residual", "patch_size", "in_channels")
    path.write_text(json.dumps({key: value for key, value in json.loads(path.read_text()).items() if key not in newer}))
    assert build(folder).spec == build(folders["i2v-2.1"]).spec
    assert build(folder).encode(frames_of()).equal(build(folders["i2v-2.1"]).encode(frames_of()))


@given(frames=st.integers(2, 40), height=st.integers(8, 100), width=st.integers(8, 100))
def test_it_takes_what_divides(checked, frames, height, width):
    for model, cell in checked:
        shape = ClipShape(frames=frames, height=height, width=width, fps=16)
        if height % cell or width % cell or frames % 4 != 1:
            with pytest.raises(ShapeError, match=str(cell) if height % cell or width % cell else r"4 \* k \+ 1"):
                model.check(shape)
        else:
            model.check(shape)


@pytest.fixture(scope="module")
def checked(folders):
    return [(build(folders["ti2v-5b"]), 32), (build(folders["i2v-2.2"]), 16)]


def test_shapes_are_refused_at_once(folder, model):
    with pytest.raises(ShapeError, match="96x64"):
        build(folder, SHAPE.model_copy(update={"height": 90, "width": 70}))
    with pytest.raises(ShapeError, match="9 or 13"):
        build(folder, SHAPE.model_copy(update={"frames": 10}))
    with pytest.raises(ShapeError, match="5 or 9"):
        model.encode(frames_of(frames=7))


def test_folders_of_others_are_refused(folders, tmp_path):
    folder = shutil.copytree(folders["i2v-2.1"], tmp_path / "other")
    edit_json(folder / "model_index.json", _class_name="LTXImageToVideoPipeline")
    with pytest.raises(CheckpointError, match=r"LTXImageToVideoPipeline, not of Wan.*set model\.family to ltx"):
        build(folder)
    edit_json(folder / "model_index.json", _class_name="WanPipeline")
    with pytest.raises(CheckpointError, match="text-to-video"):
        build(folder)
    edit_json(folder / "model_index.json", _class_name="WanImageToVideoPipeline")
    edit_json(folder / "transformer" / "config.json", pos_embed_seq_len=34)  # first and last frame
    with pytest.raises(CheckpointError, match="34"):
        build(folder)
    edit_json(folder / "transformer" / "config.json", pos_embed_seq_len=None, in_channels=52)  # control
    with pytest.raises(CheckpointError, match="52"):
        build(folder)


def test_missing_tensors_are_refused(folders, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(folders["ti2v-5b"], tmp_path / "lacking")
    path = next((folder / "transformer").glob("*.safetensors"))
    weights = load_file(path)
    del weights["blocks.1.attn2.to_v.weight"]
    save_file(weights, path, metadata={"format": "pt"})
    model = build(folder)
    with pytest.raises(CheckpointError, match=r"blocks\.1\.attn2\.to_v\.weight"):
        _ = model.network


def test_frozen_parts_make_room_when_the_device_is_set(folders):
    """A trainer on cached clips brings them to its GPU for sampling, and takes them away again."""
    model = build(folders["ti2v-5b"])
    model.encode(frames_of())
    model.device = torch.device("meta")
    assert model.vae.device.type == "meta"
    assert next(model.frozen("text_encoder").parameters()).is_meta, "what is loaded later goes there, too"
    assert not any(weight.is_meta for weight in model.network.parameters())
