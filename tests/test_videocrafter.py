"""VideoCrafter's networks: parity with the reference, strict loading, and what fine-tuning adds."""

import csv
import json

import pytest
import torch
from diffusers import UNet3DConditionModel
from hypothesis import given, settings
from hypothesis import strategies as st

from motionfocal.errors import CheckpointError, ConfigError, ShapeError, UnavailableError
from motionfocal.models.videocrafter import (
    ImageProjector,
    VideoCrafterUNet,
    extend,
)

from .lvdm import CLOSE, Reference, load_lvdm_unet, load_lvdm_vae, random_state, random_vae_state, read_golden

TINY = {
    "in_channels": 4, "out_channels": 4, "model_channels": 32, "attention_resolutions": [1], "num_res_blocks": 1,
    "channel_mult": [1, 2], "num_head_channels": 16, "transformer_depth": 1, "context_dim": 16, "use_linear": True,
    "temporal_conv": True, "temporal_attention": True, "temporal_selfatt_only": True, "use_relative_position": False,
    "use_causal_attention": False, "temporal_length": 4, "addition_attention": True,
}  # fmt: skip
VC2 = TINY | {"fps_cond": True}
DC = TINY | {"in_channels": 8, "fs_condition": True, "default_fs": 24, "image_cross_attention": True}
DDCONFIG = {
    "double_z": True, "z_channels": 4, "resolution": 32, "in_channels": 3, "out_ch": 3, "ch": 32, "ch_mult": [1, 2],
    "num_res_blocks": 1, "attn_resolutions": [], "dropout": 0.0,
}  # fmt: skip


@pytest.fixture(scope="module")
def vc2(golden):
    return read_golden(golden / "vc2_unet_tiny_t2v.safetensors")


@pytest.fixture(scope="module")
def dc(golden):
    return read_golden(golden / "dc_unet_tiny.safetensors")


def inputs(batch=2, channels=4, frames=3, height=8, width=8, tokens=77, seed=1, depth=16):
    rng = torch.Generator().manual_seed(seed)
    sample = torch.randn(batch, channels, frames, height, width, generator=rng)
    text = torch.randn(batch, tokens, depth, generator=rng)
    return sample, torch.tensor([3, 977])[:batch], text, torch.tensor([8, 24])[:batch]


@pytest.fixture(scope="module")
def unet():
    return load_lvdm_unet(random_state(VC2), VC2)


# Parity with the reference


def test_text_to_video_is_the_references_layer_by_layer(vc2):
    arrays, state, meta = vc2
    unet = load_lvdm_unet(state, meta["config"])
    seen = {}

    def watch(module, name, pick=lambda out: out):
        module.register_forward_hook(lambda _, __, out: seen.__setitem__(name, pick(out)))

    watch(unet.time_embedding, "time_embed")
    watch(unet.fps_embedding, "fps_embedding")
    watch(unet.conv_in, "input_blocks.0")
    watch(unet.transformer_in, "init_attn", lambda out: out[0])
    watch(unet.down_blocks[0], "input_blocks.1", lambda out: out[0])
    watch(unet.down_blocks[0].downsamplers[0], "input_blocks.2")
    watch(unet.down_blocks[1], "input_blocks.3", lambda out: out[0])
    watch(unet.mid_block, "middle_block")
    watch(unet.up_blocks[0].temp_convs[0], "output_blocks.0")
    watch(unet.up_blocks[0], "output_blocks.1")
    watch(unet.up_blocks[1].temp_attentions[0], "output_blocks.2", lambda out: out[0])
    watch(unet.up_blocks[1], "output_blocks.3")
    with torch.no_grad():
        out = unet(arrays["in.x"], arrays["in.timesteps"], arrays["in.context"], fps=arrays["in.fps"])
        unet(
            arrays["in.x"], arrays["in.timesteps"], arrays["in.context"]
        )  # activations were recorded at the default fps
    torch.testing.assert_close(out, arrays["out.y"], **CLOSE)
    acts = {name.removeprefix("act."): array for name, array in arrays.items() if name.startswith("act.")}
    assert acts.keys() == seen.keys()
    for name, expected in acts.items():
        torch.testing.assert_close(seen[name], expected, **CLOSE, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("fps", [None, 16, torch.tensor([16, 16])])
def test_fps_is_16_unless_said(vc2, fps):
    arrays, state, meta = vc2
    unet = load_lvdm_unet(state, meta["config"])
    with torch.no_grad():
        out = unet(arrays["in.x"], arrays["in.timesteps"], arrays["in.context"], fps=fps)
    torch.testing.assert_close(out, arrays["out.y_fps16"], **CLOSE)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradients_are_the_references(vc2, checkpointing):
    arrays, state, meta = vc2
    unet = load_lvdm_unet(state, meta["config"] | {"use_checkpoint": checkpointing})
    assert unet.is_gradient_checkpointing == checkpointing
    out = unet(arrays["in.x"], arrays["in.timesteps"], arrays["in.context"], fps=arrays["in.fps"])
    loss = (out - arrays["grad.target"]).square().mean()
    loss.backward()
    torch.testing.assert_close(loss.detach(), arrays["grad.loss"], **CLOSE)
    norm = torch.stack([weight.grad.norm() for weight in unet.parameters()]).norm()
    torch.testing.assert_close(norm, arrays["grad.total_norm"], **CLOSE)
    for name, module in {
        "fps_embedding.2": unet.fps_embedding.linear_2, "input_blocks.0.0": unet.conv_in,
        "out.2": unet.conv_out, "time_embed.0": unet.time_embedding.linear_1,
    }.items():  # fmt: skip
        torch.testing.assert_close(module.weight.grad, arrays[f"grad.{name}.weight"], **CLOSE)


def test_xcat_is_the_references(vc2, golden):
    _, state, meta = vc2
    arrays, _, meta_xcat = read_golden(golden / "vc2_unet_tiny_xcat.safetensors")
    params = meta_xcat["config"]
    repeated = arrays["in.image_latent"][:, :, None].repeat(1, 1, 4, 1, 1)
    first = torch.cat([repeated[:, :, :1], torch.zeros_like(repeated[:, :, 1:])], 2)
    text_only = load_lvdm_unet(state, meta["config"])
    trained = load_lvdm_unet(
        state | {"input_blocks.0.0.weight": arrays["trained.input_blocks.0.0.weight"].float()}, params
    )
    widened = extend(text_only, xcat=True)

    def predict(unet, *parts):
        with torch.no_grad():
            return unet(torch.cat(parts, 1), arrays["in.timesteps"], arrays["in.context"], fps=arrays["in.fps"])

    assert torch.equal(predict(widened, arrays["in.x"], repeated), predict(text_only, arrays["in.x"]))
    torch.testing.assert_close(predict(widened, arrays["in.x"], repeated), arrays["zero_init.y_repeat"], **CLOSE)
    torch.testing.assert_close(predict(trained, arrays["in.x"], repeated), arrays["trained.y_repeat"], **CLOSE)
    torch.testing.assert_close(predict(trained, arrays["in.x"], first), arrays["trained.y_first_frame_only"], **CLOSE)


def test_dual_cross_attention_is_the_references(dc):
    arrays, state, meta = dc
    unet = load_lvdm_unet(state, meta["config"])
    gates = {name.removeprefix("alpha."): array for name, array in arrays.items() if name.endswith(".alpha")}
    gated = load_lvdm_unet(state | gates, meta["config_alpha"])
    text, own, shared = arrays["in.text"], arrays["in.image_tokens_perframe"], arrays["in.image_tokens_shared"]

    def check(model, expected, tokens, **condition):
        with torch.no_grad():
            out = model(arrays["in.x_cat"], arrays["in.timesteps"], tokens, **condition)
        torch.testing.assert_close(out, arrays[expected], **CLOSE)

    check(unet, "out.y_perframe", torch.cat([text, own], 1), fps=arrays["in.fs"])
    check(unet, "out.y_shared", torch.cat([text, shared], 1), fps=arrays["in.fs"])
    check(unet, "out.y_default_fs", torch.cat([text, own], 1))
    check(gated, "alpha.y_perframe", torch.cat([text, own], 1), fps=arrays["in.fs"])
    check(unet, "out.y_perframe", text, fps=arrays["in.fs"], image_tokens=own.unflatten(1, (4, 16)))
    check(unet, "out.y_shared", text, fps=arrays["in.fs"], image_tokens=shared)


def test_first_stage_is_the_references(golden):
    arrays, state, meta = read_golden(golden / "vae_tiny.safetensors")
    vae = load_lvdm_vae(state, meta["config"]["ddconfig"])
    with torch.no_grad():
        latent = vae.encode(arrays["in.x"]).latent_dist
        sample = latent.mean + latent.std * arrays["in.noise"]
        decoded = {"out.decode_mode": vae.decode(latent.mean).sample, "out.decode_sample": vae.decode(sample).sample}
    found = decoded | {
        "out.moments": latent.parameters, "out.mean": latent.mean, "out.logvar": latent.logvar, "out.kl": latent.kl(),
        "out.sample": sample, "out.sample_scaled": vae.config.scaling_factor * sample,
    }  # fmt: skip
    for name, tensor in found.items():
        torch.testing.assert_close(tensor, arrays[name], **CLOSE, msg=lambda text, name=name: f"{name}: {text}")


def test_the_second_reference_agrees_with_the_first(vc2, dc):
    """What the tests below rely on."""
    arrays, state, meta = vc2
    out = Reference(state, meta["config"])(
        arrays["in.x"], arrays["in.timesteps"], arrays["in.context"], arrays["in.fps"]
    )
    torch.testing.assert_close(out, arrays["out.y"], **CLOSE)
    arrays, state, meta = dc
    tokens = torch.cat([arrays["in.text"], arrays["in.image_tokens_perframe"]], 1)
    state = state | {name.removeprefix("alpha."): array for name, array in arrays.items() if name.endswith(".alpha")}
    out = Reference(state, meta["config_alpha"])(arrays["in.x_cat"], arrays["in.timesteps"], tokens, arrays["in.fs"])
    torch.testing.assert_close(out, arrays["alpha.y_perframe"], **CLOSE)


OTHER_SIZES = {
    "three levels": (VC2 | {"channel_mult": [1, 2, 4], "attention_resolutions": [4, 2, 1]}, {"height": 4, "width": 12}),
    "two blocks a level": (VC2 | {"num_res_blocks": 2, "channel_mult": [1, 1, 2], "attention_resolutions": [2]}, {}),
    "attention at the coarsest alone": (VC2 | {"channel_mult": [1, 2, 3], "attention_resolutions": [4]}, {}),
    "one level": (VC2 | {"channel_mult": [1]}, {"height": 5, "width": 7}),
    "no level attends": (VC2 | {"attention_resolutions": []}, {}),
    "one frame": (VC2 | {"num_res_blocks": 2}, {"frames": 1, "height": 6, "width": 10}),
    "narrow heads": (VC2 | {"num_head_channels": 8}, {"batch": 1}),
    "heads that do not divide": (VC2 | {"num_head_channels": 24}, {}),
    "wide heads": (VC2 | {"model_channels": 64, "num_head_channels": 64}, {}),
    "deep transformers": (VC2 | {"transformer_depth": 2, "temporal_transformer_depth": 3}, {}),
    "no fps": (TINY, {}),
    "no input attention": (VC2 | {"addition_attention": False}, {}),
    "convolutions as projections": (VC2 | {"use_linear": False}, {}),
    "no attention over time": (VC2 | {"temporal_attention": False, "num_res_blocks": 2}, {}),
    "no convolution over time": (VC2 | {"temporal_conv": False}, {}),
    "image attention": (VC2 | {"use_image_attention": True}, {"tokens": 77 + 16}),
    "longer text": (VC2, {"tokens": 100}),
    "own image tokens": (
        DC | {"channel_mult": [1, 2, 2], "attention_resolutions": [2, 1]}, {"tokens": 77 + 48, "channels": 8}
    ),
    "own image tokens of one frame": (DC, {"tokens": 77 + 16, "frames": 1, "channels": 8}),
    "shared image tokens": (DC | {"num_head_channels": 32}, {"tokens": 77 + 16, "channels": 8}),
    "gated image tokens": (DC | {"image_cross_attention_scale_learnable": True}, {"tokens": 77 + 5, "channels": 8}),
    "DynamiCrafter without image or fps": (
        DC | {"image_cross_attention": False, "fs_condition": False}, {"tokens": 90, "channels": 8}
    ),
    "deep DynamiCrafter": (DC | {"transformer_depth": 2, "temporal_length": 16}, {"tokens": 77 + 48, "channels": 8}),
}  # fmt: skip


@pytest.mark.parametrize(("params", "shape"), OTHER_SIZES.values(), ids=OTHER_SIZES)
def test_other_sizes_are_the_references(params, shape):
    state = random_state(params)
    sample, timestep, text, fps = inputs(**shape)
    with torch.no_grad():
        expected = Reference(state, params)(sample, timestep, text, fps)
        found = load_lvdm_unet(state, params)(sample, timestep, text, fps=fps)
    assert expected.std() > 0.1
    torch.testing.assert_close(found, expected, **CLOSE)


def test_no_image_tokens_are_no_image_attention():
    params = VC2 | {"use_image_attention": True}
    state = random_state(params)
    sample, timestep, text, fps = inputs()
    plain = {name: tensor for name, tensor in state.items() if "_ip." not in name}
    with torch.no_grad():
        found = load_lvdm_unet(state, params)(sample, timestep, text, fps=fps)
        expected = load_lvdm_unet(plain, VC2)(sample, timestep, text, fps=fps)
    torch.testing.assert_close(found, expected, **CLOSE)


@pytest.fixture(scope="module")
def stock_and_ours():
    stock = UNet3DConditionModel(
        block_out_channels=(32, 32, 64), layers_per_block=1, cross_attention_dim=16, attention_head_dim=16,
        down_block_types=("CrossAttnDownBlock3D", "DownBlock3D", "CrossAttnDownBlock3D"),
        up_block_types=("CrossAttnUpBlock3D", "UpBlock3D", "CrossAttnUpBlock3D"),
    ).eval()  # fmt: skip
    ours = VideoCrafterUNet(
        block_out_channels=(32, 32, 64), layers_per_block=1, cross_attention_dim=16, attention_head_dim=16,
        attention_levels=(True, False, True), fps_condition=False,
    ).eval()  # fmt: skip
    ours.load_state_dict(stock.state_dict())
    return stock, ours


@settings(max_examples=8)
@given(frames=st.integers(1, 4), height=st.integers(5, 11), width=st.integers(5, 11), batch=st.integers(1, 2))
def test_it_is_the_stock_class_at_any_size(stock_and_ours, frames, height, width, batch):
    stock, ours = stock_and_ours
    sample, timestep, text, _ = inputs(batch, 4, frames, height, width, tokens=7)
    with torch.no_grad():
        assert torch.equal(ours(sample, timestep, text), stock(sample, timestep, text).sample)


@pytest.mark.parametrize("attended", [[], [16], [32, 16]])
def test_first_stages_with_attention_keep_every_tensor(attended):
    """No golden file has them: that each tensor goes somewhere, and matters."""
    ddconfig = DDCONFIG | {"attn_resolutions": attended}
    state = random_vae_state(ddconfig)
    frames = torch.rand(1, 3, 16, 24, generator=torch.Generator().manual_seed(0)) * 2 - 1
    vae = load_lvdm_vae(state, ddconfig)
    vae.decode(vae.encode(frames).latent_dist.mean).sample.square().sum().backward()
    assert len(list(vae.parameters())) == len(state)
    silent = {name for name, weight in vae.named_parameters() if not weight.grad.any() and "to_k.bias" not in name}
    assert silent <= {"quant_conv.bias"}


# Every tensor, and nothing else


@pytest.mark.parametrize("name", ["videocrafter2", "videocrafter1_i2v", "dynamicrafter512"])
def test_every_tensor_of_the_real_unets_has_its_place(golden, name):
    listed = json.loads((golden / f"{name}_unet_keys.json").read_text())
    state = {key: torch.empty(shape, device="meta") for key, shape in listed["keys"].items()}
    weights = list(load_lvdm_unet(state, listed["config"]).parameters())
    assert (len(weights), sum(weight.numel() for weight in weights)) == (listed["num_tensors"], listed["num_params"])


def test_every_tensor_of_the_real_first_stage_has_its_place(golden):
    listed = json.loads((golden / "videocrafter2_vae_keys.json").read_text())
    state = {key: torch.empty(shape, device="meta") for key, shape in listed["keys"].items()}
    ddconfig = DDCONFIG | {"ch": 128, "ch_mult": [1, 2, 4, 4], "num_res_blocks": 2, "resolution": 512}
    weights = list(load_lvdm_vae(state, ddconfig).parameters())
    assert (len(weights), sum(weight.numel() for weight in weights)) == (listed["num_tensors"], listed["num_params"])


def test_wrong_tensors_are_named_as_the_checkpoint_names_them():
    state = random_state(VC2)
    with pytest.raises(CheckpointError, match=r"UNet: 1 missing: out\.2\.bias$"):
        load_lvdm_unet({name: tensor for name, tensor in state.items() if name != "out.2.bias"}, VC2)
    with pytest.raises(CheckpointError, match=r"5 extra: extra\.0, extra\.1, extra\.2 and 2 more$"):
        load_lvdm_unet(state | {f"extra.{i}": torch.zeros(1) for i in range(5)}, VC2)
    wrong = state | {"input_blocks.0.0.weight": torch.zeros(32, 8, 3, 3)}
    with pytest.raises(
        CheckpointError, match=r"1 misshapen: input_blocks\.0\.0\.weight \[32, 8, 3, 3\] \(ours: \[32, 4,"
    ):
        load_lvdm_unet(wrong, VC2)
    with pytest.raises(CheckpointError, match=r"missing: .*; \d+ extra: .*; \d+ misshapen: "):
        load_lvdm_unet(state, VC2 | {"attention_resolutions": [2], "num_head_channels": 8})
    vae = random_vae_state(DDCONFIG)
    vae["loss.logvar"] = vae.pop("encoder.mid.attn_1.q.weight")
    with pytest.raises(CheckpointError, match=r"1 missing: encoder\.mid\.attn_1\.q\.weight; 1 extra: loss\.logvar"):
        load_lvdm_vae(vae, DDCONFIG)


UNSUPPORTED = {
    "dims": 3, "conv_resample": False, "use_scale_shift_norm": True, "resblock_updown": True, "tempspatial_aware": True,
    "temporal_selfatt_only": False, "use_relative_position": True, "use_causal_attention": True, "use_fp16": True,
    "channel_mult": [2, 4], "num_head_channels": -1, "num_res_blocks": [1, 2], "context_dim": None,
    "model_channels": 48, "use_image_atention": True, "image_cross_attention": True,
}  # fmt: skip


@pytest.mark.parametrize("key", UNSUPPORTED)
def test_params_that_are_not_honoured_are_refused_by_name(key):
    """The last two are misspelt, and DynamiCrafter's beside VideoCrafter's ``fps_cond``."""
    with pytest.raises(ConfigError, match=key if key != "image_cross_attention" else "fps_cond"):
        load_lvdm_unet({}, VC2 | {key: UNSUPPORTED[key]})


def test_relative_positions_are_the_references_default():
    with pytest.raises(ConfigError, match="use_relative_position = True is not supported"):
        load_lvdm_unet({}, {key: value for key, value in VC2.items() if key != "use_relative_position"})


@pytest.mark.parametrize(
    ("key", "value"),
    [("double_z", False), ("dropout", 0.1), ("attn_type", "linear"), ("tanh_out", True), ("ch", 33), ("x", 1)],
)
def test_ddconfigs_that_are_not_honoured_are_refused_by_name(key, value):
    with pytest.raises(ConfigError, match=rf"ddconfig\.{key}"):
        load_lvdm_vae({}, DDCONFIG | {key: value})


def test_dropout_of_the_reference_is_kept():
    unet = load_lvdm_unet(random_state(DC), DC | {"dropout": 0.25})
    assert {block.dropout.p for level in unet.down_blocks for block in level.resnets} == {0.25}


# What fine-tuning adds


def gradients(unet, sample, timestep, text, **condition):
    unet.zero_grad()
    torch.manual_seed(5)  # dropout draws from the global generator
    out = unet(sample, timestep, text, **condition)
    out.square().mean().backward()
    return out.detach(), {name: weight.grad.clone() for name, weight in unet.named_parameters()}


def test_gradient_checkpointing_changes_no_digit():
    """In training mode, so that dropout has to be drawn again as it was."""
    unet = load_lvdm_unet(random_state(DC), DC | {"dropout": 0.3}).train()
    sample, timestep, text, fps = inputs(channels=8, tokens=77 + 48)
    out, plain = gradients(unet, sample, timestep, text, fps=fps)
    runs = []
    unet.down_blocks[0].resnets[0].register_forward_hook(lambda *_: runs.append(1))
    unet.enable_gradient_checkpointing()
    again, checkpointed = gradients(unet, sample, timestep, text, fps=fps)
    assert len(runs) == 2
    assert torch.equal(out, again)
    assert all(torch.equal(plain[name], checkpointed[name]) for name in plain)
    unet.disable_gradient_checkpointing()
    gradients(unet, sample, timestep, text, fps=fps)
    assert len(runs) == 3


CONDITIONS = [{"xcat": True}, {"image_attention": True}, {"xcat": True, "image_attention": True}]


@pytest.mark.parametrize("priors", [{}, {"motion_score": True, "motion_mask": True}])
@pytest.mark.parametrize("asked", CONDITIONS)
def test_new_inputs_change_nothing_at_first_and_then_learn(unet, asked, priors):
    extended = extend(unet, **asked, **priors)
    sample, timestep, text, fps = inputs()
    rng = torch.Generator().manual_seed(3)
    condition = {"fps": fps}
    if "image_attention" in asked:
        condition["image_tokens"] = torch.randn(2, 3, 5, 16, generator=rng)
    if priors:
        condition |= {"motion_score": torch.tensor([0.0, 2.5]), "motion_mask": torch.rand(2, 1, 3, 8, 8, generator=rng)}
    wide = torch.cat([sample, torch.randn(sample.shape, generator=rng)], 1) if "xcat" in asked else sample
    out, grads = gradients(extended, wide, timestep, text, **condition)
    with torch.no_grad():
        assert torch.equal(out, unet(sample, timestep, text, fps=fps))
    assert all(grads[name].any() for name in grads if "to_v_ip" in name or "score_embedding.linear_2" in name)
    assert all(grads["conv_in.weight"][:, channel].any() for channel in range(wide.shape[1] + len(priors) // 2))
    with torch.no_grad():
        for name, weight in extended.named_parameters():
            weight.sub_(10 * grads[name] * (weight == 0))
        learned = extended(wide, timestep, text, **condition)
        assert not torch.allclose(learned, out, atol=1e-3)
        for name, value in condition.items():
            if name != "fps":
                other = extended(wide, timestep, text, **(condition | {name: value.flip(0)}))
                assert not torch.allclose(other, learned, atol=1e-5), f"{name} is not heard"


def test_an_extended_network_is_a_copy(unet):
    before = unet.conv_out.weight.detach().clone()
    extended = extend(unet, xcat=True)
    assert (extended.config.in_channels, unet.config.in_channels) == (8, 4)
    with torch.no_grad():
        extended.conv_out.weight.zero_()
    assert torch.equal(unet.conv_out.weight, before)
    assert extend(load_lvdm_unet(random_state(VC2), VC2).bfloat16(), xcat=True).dtype == torch.bfloat16
    with pytest.raises(ConfigError, match="xcat"):
        extend(extended, xcat=True)
    with pytest.raises(ConfigError, match="motion_mask"):
        extend(extend(extended, motion_mask=True), motion_mask=True)


def test_a_mask_stays_the_last_channel_when_xcat_comes_later(unet):
    """Weights of a mask that has learned something are not taken for the image's."""
    masked = extend(unet, motion_mask=True)
    with torch.no_grad():
        masked.conv_in.weight[:, 4:] = 1.0
    sample, timestep, text, fps = inputs()
    mask = torch.rand(2, 1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = masked(sample, timestep, text, fps=fps, motion_mask=mask)
        found = extend(masked, xcat=True)(torch.cat([sample, sample], 1), timestep, text, fps=fps, motion_mask=mask)
    torch.testing.assert_close(found, expected, **CLOSE)


def test_a_score_below_zero_and_a_mask_of_ones_say_nothing(unet):
    extended = extend(unet, motion_score=True, motion_mask=True)
    with torch.no_grad():
        for weight in (*extended.motion_score_embedding.parameters(), extended.conv_in.weight):
            weight.normal_(generator=torch.Generator().manual_seed(0))
    sample, timestep, text, fps = inputs()
    ones = torch.ones(2, 1, 3, 8, 8)
    with torch.no_grad():
        unsaid = extended(sample, timestep, text, fps=fps)
        said = extended(sample, timestep, text, fps=fps, motion_score=torch.tensor([-1.0, 1.0]), motion_mask=ones)
    torch.testing.assert_close(said[0], unsaid[0], **CLOSE)
    assert not torch.allclose(said[1], unsaid[1], atol=1e-3)


def test_a_mask_for_all_frames_is_one_for_each(unet):
    taker = extend(unet, motion_mask=True)
    with torch.no_grad():
        taker.conv_in.weight.normal_(generator=torch.Generator().manual_seed(0))
    sample, timestep, text, _ = inputs()
    mask = torch.rand(2, 1, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        each = taker(sample, timestep, text, motion_mask=mask.expand(-1, -1, 3, -1, -1))
        assert torch.equal(taker(sample, timestep, text, motion_mask=mask), each)


def test_what_a_network_does_not_take_is_refused(unet):
    sample, timestep, text, _ = inputs()
    with pytest.raises(ShapeError, match=r"\[any, 4, any, any, any\], got \[2, 8, 3, 8, 8\]"):
        unet(torch.cat([sample, sample], 1), timestep, text)
    with pytest.raises(ShapeError, match=r"\[2, any, 16\], got \[1, 77, 16\]"):
        unet(sample, timestep, text[:1])
    taker = extend(unet, image_attention=True, motion_mask=True)
    with pytest.raises(ShapeError, match=r"image_attention: expected \[2, 3, any, 16\], got \[2, 1, 77, 16\]"):
        taker(sample, timestep, text, image_tokens=text[:, None])
    with pytest.raises(ShapeError, match=r"motion_mask: expected \[2, 1, 3, 8, 8\]"):
        taker(sample, timestep, text, motion_mask=sample[:, :1, :2])
    for option, value in {
        "image_attention": {"image_tokens": text},
        "motion_score": {"motion_score": timestep},
    }.items():
        with pytest.raises(ConfigError, match=f"without {option}"):
            unet(sample, timestep, text, **value)
    with pytest.raises(ConfigError, match="multiples of 32"):
        VideoCrafterUNet(block_out_channels=(32, 48))
    with pytest.raises(ConfigError, match="attention_levels"):
        VideoCrafterUNet(block_out_channels=(32, 64))


def test_another_text_timestep_or_fps_is_another_prediction(unet):
    sample, timestep, text, fps = inputs()
    with torch.no_grad():
        out = unet(sample, timestep, text, fps=fps)
        others = [
            unet(sample, timestep, text.flip(0), fps=fps),
            unet(sample, timestep.flip(0), text, fps=fps),
            unet(sample, timestep, text, fps=fps.flip(0)),
        ]
    assert not any(torch.allclose(out, other, atol=1e-3) for other in others)


def test_a_clip_does_not_depend_on_its_neighbours(dc):
    arrays, state, meta = dc
    unet = load_lvdm_unet(state, meta["config"])
    tokens = torch.cat([arrays["in.text"], arrays["in.image_tokens_perframe"]], 1)
    with torch.no_grad():
        both = unet(arrays["in.x_cat"], arrays["in.timesteps"], tokens, fps=arrays["in.fs"])
        alone = unet(arrays["in.x_cat"][1:], arrays["in.timesteps"][1:], tokens[1:], fps=arrays["in.fs"][1:])
    torch.testing.assert_close(both[1:], alone, **CLOSE)


# Texts and images


def test_text_encoder_is_the_references(golden):
    from motionfocal.models.videocrafter.towers import text_encoder

    arrays, state, meta = read_golden(golden / "openclip_text_tiny.safetensors")
    encoder = text_encoder(state, heads=meta["config"]["text_cfg"]["heads"])
    with torch.no_grad():
        hidden = encoder(arrays["in.tokens"].long()).last_hidden_state
    torch.testing.assert_close(hidden, arrays["out.penultimate"], **CLOSE)


def test_image_encoder_is_open_clips():
    open_clip = pytest.importorskip("open_clip")
    from motionfocal.models.videocrafter.towers import image_encoder

    torch.manual_seed(0)
    vision = {"layers": 3, "width": 80, "head_width": 40, "patch_size": 14, "image_size": 28}
    text = {"context_length": 77, "vocab_size": 10, "width": 64, "heads": 1, "layers": 1}
    tower = open_clip.model.CLIP(embed_dim=32, vision_cfg=vision, text_cfg=text).eval()
    state = {name: tensor for name, tensor in tower.state_dict().items() if not name.startswith("transformer.")}
    images = torch.randn(2, 3, 28, 28)
    tokens = []
    tower.visual.transformer.register_forward_hook(lambda _, __, out: tokens.append(out))
    with torch.no_grad():
        out = image_encoder(state, heads=2)(images)
        torch.testing.assert_close(out.image_embeds, tower.visual(images), **CLOSE)
    torch.testing.assert_close(out.last_hidden_state, tokens[0], **CLOSE)


def test_tokens_are_open_clips(golden, ti2v_bench):
    open_clip = pytest.importorskip("open_clip")
    from motionfocal.models.videocrafter.tokenizer import build_tokenizer, tokenize

    tokenizer = build_tokenizer()
    arrays, _, meta = read_golden(golden / "openclip_text_tiny.safetensors")
    assert torch.equal(tokenize(tokenizer, meta["prompts"]), arrays["in.tokens"].long())
    with (ti2v_bench / "prompt.csv").open() as file:
        texts = [row["prompt"] for row in csv.DictReader(file)]
    texts += [
        "it\u2019s \u201cso\u201d fast",
        "wow! ! !! !?",
        "a &amp; b",
        "naïve café 日本語 😀",
        "x" * 500,
        "tab\tand\nline",
    ]
    assert torch.equal(tokenize(tokenizer, texts), open_clip.tokenize(texts))


@settings(max_examples=30)
@given(text=st.text(st.characters(categories=["L", "N", "P", "S", "Zs", "M"]), max_size=120))
def test_any_text_is_tokenised_as_by_open_clip(text):
    open_clip = pytest.importorskip("open_clip")
    assert torch.equal(_tokens(text), open_clip.tokenize([text]))


def _tokens(text, cache={}):  # noqa: B006
    from motionfocal.models.videocrafter.tokenizer import build_tokenizer, tokenize

    if not cache:
        cache["tokenizer"] = build_tokenizer()
    return tokenize(cache["tokenizer"], [text])


def test_without_a_vocabulary_the_error_says_what_to_do(monkeypatch, tmp_path):
    from motionfocal.models.videocrafter import tokenizer

    def missing(name):
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(tokenizer, "files", missing)
    with pytest.raises(UnavailableError, match="videocrafter"):
        tokenizer.build_tokenizer()
    with pytest.raises(CheckpointError, match="CLIP tokenizer"):
        tokenizer.build_tokenizer(tmp_path)


def test_an_image_projector_gives_each_frame_its_tokens():
    projector = ImageProjector(image_width=8, width=16, out_width=12, depth=1, heads=2, head_width=4, frames=3)
    states = torch.randn(2, 5, 8)
    tokens = projector(states)
    assert tokens.shape == (2, 3, 16, 12)
    assert torch.equal(tokens.flatten(1, 2), projector.resampler(states))
