"""Converting a whole checkpoint: every part under its own class, nothing left over, and no half-written folder."""

import json
import math

import pytest
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, DDIMScheduler
from safetensors.torch import load_file, save_file
from transformers import CLIPTextModel, CLIPTokenizer, CLIPVisionModelWithProjection

from motionfocal.cli.convert import run
from motionfocal.errors import CheckpointError, UnknownNameError
from motionfocal.models.convert import KINDS, convert
from motionfocal.models.pipeline_folder import PipelineFolder
from motionfocal.models.videocrafter import ImageProjector, VideoCrafterUNet

from .lvdm import CLOSE, load_lvdm_unet, load_lvdm_vae, random_state, random_tensor, random_vae_state
from .test_videocrafter import DC, DDCONFIG, VC2

open_clip = pytest.importorskip("open_clip")

PARAMS = {"videocrafter2": VC2, "videocrafter1": VC2 | {"use_image_attention": True}, "dynamicrafter": DC}
FRAMES = 3


def clip_state():
    torch.manual_seed(0)
    vision = {"layers": 2, "width": 80, "head_width": 80, "patch_size": 14, "image_size": 28}
    text = {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 2}
    return open_clip.model.CLIP(embed_dim=32, vision_cfg=vision, text_cfg=text).eval().state_dict()


def resampler_state(queries):
    rng = torch.Generator().manual_seed(0)
    shapes = {
        "latents": [1, queries, 24], "proj_in.weight": [24, 80], "proj_in.bias": [24], "proj_out.weight": [16, 24],
        "proj_out.bias": [16], "norm_out.weight": [16], "norm_out.bias": [16],
    }  # fmt: skip
    for layer in ("layers.0", "layers.1"):
        for norm in ("0.norm1", "0.norm2", "1.0"):
            shapes |= {f"{layer}.{norm}.weight": [24], f"{layer}.{norm}.bias": [24]}
        shapes |= {f"{layer}.0.to_q.weight": [128, 24], f"{layer}.0.to_kv.weight": [256, 24]}
        shapes |= {
            f"{layer}.0.to_out.weight": [24, 128],
            f"{layer}.1.1.weight": [48, 24],
            f"{layer}.1.3.weight": [24, 48],
        }
    return {name: random_tensor(name, shape, rng) for name, shape in shapes.items()}


def resample(state, x):
    """The reference's Resampler, on its own tensors; two heads of 64."""

    def norm(name, y):
        return F.layer_norm(y, y.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"])

    latents, x = state["latents"].repeat(len(x), 1, 1), F.linear(x, state["proj_in.weight"], state["proj_in.bias"])
    for layer in ("layers.0", "layers.1"):
        own = norm(f"{layer}.0.norm2", latents)
        query = F.linear(own, state[f"{layer}.0.to_q.weight"])
        both = torch.cat([norm(f"{layer}.0.norm1", x), own], 1)
        key, value = F.linear(both, state[f"{layer}.0.to_kv.weight"]).chunk(2, -1)
        query, key, value = (y.unflatten(-1, (2, 64)).transpose(1, 2) for y in (query, key, value))
        mixed = ((query @ key.transpose(-1, -2)) / math.sqrt(64)).softmax(-1) @ value
        latents = latents + F.linear(mixed.transpose(1, 2).flatten(2), state[f"{layer}.0.to_out.weight"])
        hidden = F.gelu(F.linear(norm(f"{layer}.1.0", latents), state[f"{layer}.1.1.weight"]))
        latents = latents + F.linear(hidden, state[f"{layer}.1.3.weight"])
    return norm("norm_out", F.linear(latents, state["proj_out.weight"], state["proj_out.bias"]))


def checkpoint_state(kind):
    """A whole model.ckpt with lvdm's names, and its parts by prefix."""
    clip = clip_state()
    text = {name: tensor for name, tensor in clip.items() if not name.startswith("visual.")}
    vision = {name: tensor for name, tensor in clip.items() if not name.startswith("transformer.")}
    parts = {
        "model.diffusion_model.": random_state(PARAMS[kind]),
        "first_stage_model.": random_vae_state(DDCONFIG),
        "cond_stage_model.model.": text,
    }
    if kind != "videocrafter2":
        parts["embedder.model."] = vision
        parts["image_proj_model."] = resampler_state(16 * (FRAMES if kind == "dynamicrafter" else 1))
    state = {prefix + name: tensor for prefix, part in parts.items() for name, tensor in part.items()}
    state |= {"betas": torch.zeros(1000), "scale_arr": torch.linspace(1, 0.7, 1400)}
    return state, parts


@pytest.fixture(scope="module", params=sorted(KINDS))
def converted(request, tmp_path_factory):
    state, parts = checkpoint_state(request.param)
    folder = tmp_path_factory.mktemp(request.param)
    torch.save({"state_dict": state, "global_step": 7}, folder / "model.ckpt")
    convert(request.param, folder / "model.ckpt", folder / "out")
    return request.param, parts, folder / "out"


def test_the_unet_is_the_checkpoints(converted):
    kind, parts, out = converted
    config = {"videocrafter1": 16, "videocrafter2": 16, "dynamicrafter": 24}
    rng = torch.Generator().manual_seed(0)
    sample = torch.randn(1, PARAMS[kind]["in_channels"], FRAMES, 8, 8, generator=rng)
    tokens = torch.randn(1, 77 + 16 * FRAMES, 16, generator=rng)
    expected = load_lvdm_unet(parts["model.diffusion_model."], PARAMS[kind])
    weights = expected.state_dict()
    for unet in (
        VideoCrafterUNet.from_pretrained(out / "unet"),
        PipelineFolder(str(out)).load("unet"),
    ):
        assert unet.config.default_fps == config[kind]
        assert not unet.training
        assert all(torch.equal(weight, weights[name]) for name, weight in unet.state_dict().items())
        with torch.no_grad():  # tensors may lie otherwise in memory, and then sums are rounded otherwise
            found = unet(sample, torch.tensor([500]), tokens)
            torch.testing.assert_close(found, expected(sample, torch.tensor([500]), tokens), **CLOSE)


def test_the_other_parts_load_with_their_own_classes(converted):
    kind, parts, out = converted
    folder = PipelineFolder(str(out))
    vae, text_encoder = AutoencoderKL.from_pretrained(out / "vae"), CLIPTextModel.from_pretrained(out / "text_encoder")
    expected = load_lvdm_vae(parts["first_stage_model."], DDCONFIG)
    assert type(folder.load("vae")) is AutoencoderKL
    frames = torch.randn(1, 3, 16, 24, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(vae.encode(frames).latent_dist.mean, expected.encode(frames).latent_dist.mean)
    assert vae.config.scaling_factor == 0.18215

    tokenizer = CLIPTokenizer.from_pretrained(out / "tokenizer")
    tokens = tokenizer(["fly by!"], padding="max_length", truncation=True, return_tensors="pt").input_ids
    assert torch.equal(tokens, open_clip.tokenize(["fly by!"]))
    clip = _open_clip_text(parts["cond_stage_model.model."])
    with torch.no_grad():
        torch.testing.assert_close(text_encoder(tokens).last_hidden_state, clip(tokens), **CLOSE)

    scheduler = DDIMScheduler.from_pretrained(out / "scheduler")
    zero_snr = kind == "dynamicrafter"
    assert scheduler.config.prediction_type == ("v_prediction" if zero_snr else "epsilon")
    assert scheduler.alphas_cumprod[999].item() == pytest.approx(0 if zero_snr else 0.00466, abs=1e-5)
    index = json.loads((out / "model_index.json").read_text())
    assert (index["kind"], index["signal_scale"]) == (kind, 0.7)
    assert {path.name for path in out.iterdir() if path.is_dir()} == {
        name for name, value in index.items() if isinstance(value, list)
    }


def _open_clip_text(state):
    """The first layer of OpenCLIP's text tower, with the final norm: lvdm's penultimate of two layers."""
    text = {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 2}
    vision = {"layers": 1, "width": 16, "head_width": 16, "patch_size": 8, "image_size": 8}
    tower = open_clip.model.CLIP(embed_dim=32, vision_cfg=vision, text_cfg=text).eval()
    tower.load_state_dict(state, strict=False)

    def penultimate(tokens):
        hidden = tower.token_embedding(tokens) + tower.positional_embedding
        return tower.ln_final(tower.transformer.resblocks[0](hidden, attn_mask=tower.attn_mask))

    return penultimate


def test_image_parts_are_the_checkpoints(converted):
    kind, parts, out = converted
    if kind == "videocrafter2":
        assert not (out / "image_encoder").exists()
        return
    encoder = CLIPVisionModelWithProjection.from_pretrained(out / "image_encoder")
    projector = ImageProjector.from_pretrained(out / "image_projector")
    with torch.no_grad():
        states = encoder(torch.randn(2, 3, 28, 28)).last_hidden_state
        tokens, expected = projector(states), resample(parts["image_proj_model."], states)
    assert tokens.shape == ((2, FRAMES, 16, 16) if kind == "dynamicrafter" else (2, 16, 16))
    torch.testing.assert_close(tokens.reshape(expected.shape), expected, **CLOSE)


@pytest.fixture(scope="module")
def videocrafter2():
    return checkpoint_state("videocrafter2")[0]


def test_dtype_is_kept_and_other_containers_are_read(videocrafter2, tmp_path):
    half = {name: tensor.half() for name, tensor in videocrafter2.items()}
    save_file(half, tmp_path / "model.safetensors")
    torch.save({"module": {f"_forward_module.{name}": tensor for name, tensor in half.items()}}, tmp_path / "deep.ckpt")
    torch.save(half, tmp_path / "old.ckpt", _use_new_zipfile_serialization=False)
    for name in ("model.safetensors", "deep.ckpt", "old.ckpt"):
        weights = convert("videocrafter2", tmp_path / name, tmp_path / f"out-{name}")
        unet = load_file(tmp_path / f"out-{name}" / "unet" / "diffusion_pytorch_model.safetensors")
        assert {tensor.dtype for tensor in unet.values()} == {torch.float16}
        assert weights["unet"] == sum(tensor.numel() for tensor in unet.values())
        assert torch.equal(unet["conv_out.bias"], half["model.diffusion_model.out.2.bias"])


def test_an_interrupted_conversion_leaves_no_folder_and_the_next_one_succeeds(videocrafter2, tmp_path, monkeypatch):
    torch.save(videocrafter2, tmp_path / "model.ckpt")

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(DDIMScheduler, "save_pretrained", killed)
        with pytest.raises(KeyboardInterrupt):
            convert("videocrafter2", tmp_path / "model.ckpt", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (tmp_path / ".out.partial" / "stale").write_text("left by the first")
    convert("videocrafter2", tmp_path / "model.ckpt", tmp_path / "out")
    assert not (tmp_path / "out" / "stale").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.ckpt", "out"]
    with pytest.raises(CheckpointError, match="not an empty folder"):
        convert("videocrafter2", tmp_path / "model.ckpt", tmp_path / "out")


class Unsafe:
    """Something that only an unrestricted unpickler would make."""


def test_what_cannot_be_converted_is_refused(videocrafter2, tmp_path):
    def attempt(content, kind="videocrafter2"):
        torch.save(content, tmp_path / "model.ckpt")
        convert(kind, tmp_path / "model.ckpt", tmp_path / "out")

    with pytest.raises(UnknownNameError, match="dynamicrafter, videocrafter1, videocrafter2"):
        convert("wan", tmp_path / "model.ckpt", tmp_path / "out")
    with pytest.raises(CheckpointError, match="no such file"):
        convert("videocrafter2", tmp_path / "model.ckpt", tmp_path / "out")
    with pytest.raises(CheckpointError, match="no image_encoder in it: no tensor's name begins with embedder"):
        attempt(videocrafter2, "videocrafter1")
    with pytest.raises(CheckpointError, match=r"2 extra: embedder\.model\.x, model_ema\.decay; is it of another kind"):
        attempt(videocrafter2 | {"model_ema.decay": torch.ones(1), "embedder.model.x": torch.ones(1)})
    with pytest.raises(CheckpointError, match=r"UNet: 1 missing: .*input_blocks\.0\.0\.weight"):
        attempt({name: tensor for name, tensor in videocrafter2.items() if "input_blocks.0.0.weight" not in name})
    with pytest.raises(CheckpointError, match=r"UNet: 1 missing: .*temopral_conv\.conv2\.3\.bias"):
        attempt(
            {
                name: t
                for name, t in videocrafter2.items()
                if not name.endswith("middle_block.0.temopral_conv.conv2.3.bias")
            }
        )
    with pytest.raises(CheckpointError, match=r"text encoder: 1 missing: ln_final\.bias"):
        attempt({name: tensor for name, tensor in videocrafter2.items() if not name.endswith("ln_final.bias")})
    with pytest.raises(CheckpointError, match="no state_dict of tensors"):
        attempt([1, 2])
    with pytest.raises(CheckpointError, match="more than tensors"):
        attempt({"state_dict": videocrafter2, "config": Unsafe()})
    torch.save(videocrafter2, tmp_path / "model.ckpt")
    (tmp_path / "model.ckpt").write_bytes((tmp_path / "model.ckpt").read_bytes()[:100_000])
    with pytest.raises(CheckpointError, match="cannot be read"):
        convert("videocrafter2", tmp_path / "model.ckpt", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_checkpoint_of_another_kind_is_refused(tmp_path):
    """Its UNet has the same tensors as VideoCrafter1's, but for the channels of the first."""
    torch.save(checkpoint_state("dynamicrafter")[0], tmp_path / "model.ckpt")
    with pytest.raises(CheckpointError, match="takes 8 channels, one of this kind 4"):
        convert("videocrafter1", tmp_path / "model.ckpt", tmp_path / "out")


def test_the_command_lists_the_parts(videocrafter2, tmp_path, capsys):
    torch.save(videocrafter2, tmp_path / "model.ckpt")
    run("videocrafter2", tmp_path / "model.ckpt", tmp_path / "out", None)
    printed = capsys.readouterr().out
    assert all(part in printed for part in ("unet", "vae", "text_encoder"))
    assert "written to" in printed
    run("videocrafter2", tmp_path / "model.ckpt", tmp_path / "again", tmp_path / "out" / "tokenizer")
    tokens = [(tmp_path / name / "tokenizer" / "tokenizer.json").read_text() for name in ("out", "again")]
    assert tokens[0] == tokens[1]
