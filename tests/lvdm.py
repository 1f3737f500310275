"""lvdm's UNet written down once more, on nothing but its state dict: what other sizes are held against.

The golden files hold the real reference at three tiny sizes; this walk through the names of a state dict agrees with
them, and then says what the reference would at other depths, shapes and frame counts.
"""

import json
import math
import re

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from safetensors import safe_open

from motionfocal.models.videocrafter import VideoCrafterUNet
from motionfocal.models.videocrafter.names import unet_sources, vae_sources
from motionfocal.models.videocrafter.params import first_stage_config, unet_config
from motionfocal.models.videocrafter.weights import unet_of, vae_of

CLOSE = {"atol": 2e-5, "rtol": 1e-4}


def read_golden(path):
    """All arrays, the weights as float32 under their own names, and the config."""
    with safe_open(path, "pt") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = {key: json.loads(text) for key, text in file.metadata().items() if text.startswith(("{", "["))}
    state = {name.removeprefix("state."): arrays.pop(name).float() for name in list(arrays) if name[:6] == "state."}
    return arrays, state, metadata


def random_state(params, seed=0):
    """Random tensors with lvdm's names and shapes; none is zero, so that nothing hides."""
    with torch.device("meta"):
        unet = VideoCrafterUNet(**unet_config(params)[0])
    rng = torch.Generator().manual_seed(seed)
    state = {}
    shapes = {ours: list(tensor.shape) for ours, tensor in unet.state_dict().items()}
    for ours, source in unet_sources(unet, ()).items():
        shape = shapes[ours]
        if re.search(r"proj_(in|out)\.weight$", ours) and (
            ours.startswith("transformer_in") or not params["use_linear"]
        ):
            shape += [1] if "temp" in ours or "transformer_in" in ours else [1, 1]
        state[source.name] = random_tensor(source.name, shape, rng)
    return state


def random_vae_state(ddconfig, seed=0):
    """As ``random_state``, of a first stage."""
    with torch.device("meta"):
        vae = AutoencoderKL(**first_stage_config(ddconfig))
    rng = torch.Generator().manual_seed(seed)
    state = {}
    shapes = {ours: list(tensor.shape) for ours, tensor in vae.state_dict().items()}
    for ours, source in vae_sources(shapes, len(ddconfig["ch_mult"])).items():
        shape = shapes[ours]
        if re.search(r"\.(q|k|v|proj_out)\.weight$", source.name):
            shape += [1, 1]
        state[source.name] = random_tensor(source.name, shape, rng)
    return state


def random_tensor(name, shape, rng):
    noise = torch.randn(shape, generator=rng)
    if len(shape) > 1:
        return noise * 0.8 / math.sqrt(math.prod(shape[1:]))
    return noise * 0.1 + (1 if name.endswith("weight") else 0)


class Reference:
    """The forward pass of the UNets of VideoCrafter and DynamiCrafter in evaluation mode."""

    def __init__(self, state, params):
        self.state, self.params = state, params
        self.head = params["num_head_channels"]
        self.parts = {}
        for name in state:
            if match := re.match(r"((?:in|out)put_blocks\.\d+|middle_block)\.(\d+)\.", name):
                self.parts.setdefault(match[1], set()).add(int(match[2]))

    def __call__(self, x, timesteps, context, fps):
        p, frames, self.batch = self.params, x.shape[2], len(x)
        embedding = self.mlp("time_embed", timesteps)
        if p.get("fps_cond") or p.get("fs_condition"):
            embedding = embedding + self.mlp("fps_embedding", fps)
        self.embedding = embedding.repeat_interleave(frames, 0)
        if "fs_condition" in p and context.shape[1] == 77 + 16 * frames:
            own = context[:, 77:].reshape(self.batch * frames, 16, -1)
            context = torch.cat([context[:, :77].repeat_interleave(frames, 0), own], 1)
        else:
            context = context.repeat_interleave(frames, 0)
        h = self.conv("input_blocks.0.0", x.transpose(1, 2).flatten(0, 1))
        if p.get("addition_attention"):
            h = self.temporal("init_attn.0", h)
        skips = [h]
        for i in range(1, 1 + sum(name.startswith("in") for name in self.parts) - 1):
            skips.append(self.block(f"input_blocks.{i}", skips[-1], context))
        h = self.block("middle_block", skips[-1], context)
        for i in range(sum(name.startswith("out") for name in self.parts)):
            h = self.block(f"output_blocks.{i}", torch.cat([h, skips.pop()], 1), context)
        h = self.conv("out.2", F.silu(self.norm("out.0", h, 1e-5)))
        return h.reshape(self.batch, frames, *h.shape[1:]).transpose(1, 2)

    def block(self, name, h, context):
        for part in sorted(self.parts[name]):
            prefix = f"{name}.{part}"
            if f"{prefix}.in_layers.0.weight" in self.state:
                h = self.residual(prefix, h)
            elif f"{prefix}.op.weight" in self.state:
                h = self.conv(f"{prefix}.op", h, stride=2)
            elif f"{prefix}.conv.weight" in self.state:
                h = self.conv(f"{prefix}.conv", F.interpolate(h, scale_factor=2, mode="nearest"))
            else:
                h = self.spatial(prefix, h, context) if part == 1 else self.temporal(prefix, h)
        return h

    def residual(self, name, x):
        h = self.conv(f"{name}.in_layers.2", F.silu(self.norm(f"{name}.in_layers.0", x, 1e-5)))
        h = h + self.linear(f"{name}.emb_layers.1", F.silu(self.embedding))[:, :, None, None]
        h = self.conv(f"{name}.out_layers.3", F.silu(self.norm(f"{name}.out_layers.0", h, 1e-5)))
        h = h + (self.conv(f"{name}.skip_connection", x) if f"{name}.skip_connection.weight" in self.state else x)
        if not self.params.get("temporal_conv"):
            return h
        clip = step = h.reshape(self.batch, -1, *h.shape[1:]).transpose(1, 2)
        for number, last in ((1, 2), (2, 3), (3, 3), (4, 3)):
            conv = f"{name}.temopral_conv.conv{number}"
            weight, bias = self.state[f"{conv}.{last}.weight"], self.state[f"{conv}.{last}.bias"]
            step = F.conv3d(F.silu(self.norm(f"{conv}.0", step, 1e-5)), weight, bias, padding=(1, 0, 0))
        return (clip + step).transpose(1, 2).flatten(0, 1)

    def spatial(self, name, x, context):
        height, width = x.shape[-2:]
        h = self.linear(f"{name}.proj_in", self.norm(f"{name}.norm", x, 1e-6).flatten(2).transpose(1, 2))
        h = self.linear(f"{name}.proj_out", self.transform(name, h, context))
        return x + h.transpose(1, 2).reshape(x.shape[0], -1, height, width)

    def temporal(self, name, x):
        clips = x.reshape(self.batch, -1, *x.shape[1:]).transpose(1, 2)  # B C T H W
        h = self.norm(f"{name}.norm", clips, 1e-6).permute(0, 3, 4, 2, 1)
        rows = self.linear(f"{name}.proj_in", h.flatten(0, 2))
        h = self.linear(f"{name}.proj_out", self.transform(name, rows, None)).reshape(h.shape)
        return (clips + h.permute(0, 4, 3, 1, 2)).transpose(1, 2).flatten(0, 1)

    def transform(self, name, h, context):
        depth = len(
            {
                n.split(".")[n.split(".").index("transformer_blocks") + 1]
                for n in self.state
                if n.startswith(f"{name}.transf")
            }
        )
        for number in range(depth):
            block = f"{name}.transformer_blocks.{number}"
            h = h + self.attend(f"{block}.attn1", self.layer_norm(f"{block}.norm1", h), None)
            h = h + self.attend(f"{block}.attn2", self.layer_norm(f"{block}.norm2", h), context)
            value, gate = self.linear(f"{block}.ff.net.0.proj", self.layer_norm(f"{block}.norm3", h)).chunk(2, -1)
            h = h + self.linear(f"{block}.ff.net.2", value * F.gelu(gate))
        return h

    def attend(self, name, x, context):
        query = self.linear(f"{name}.to_q", x)
        cut = 77 if "fs_condition" in self.params or self.params.get("use_image_attention") else None
        text = x if context is None else context[:, :cut]
        out = self.softmax(query, self.linear(f"{name}.to_k", text), self.linear(f"{name}.to_v", text))
        if f"{name}.to_k_ip.weight" in self.state:
            image = context[:, 77:]
            seen = self.softmax(query, self.linear(f"{name}.to_k_ip", image), self.linear(f"{name}.to_v_ip", image))
            out = out + seen * (self.state[f"{name}.alpha"].tanh() + 1 if f"{name}.alpha" in self.state else 1)
        return self.linear(f"{name}.to_out.0", out)

    def softmax(self, query, key, value):
        query, key, value = (y.unflatten(-1, (-1, self.head)).transpose(1, 2) for y in (query, key, value))
        weights = (query @ key.transpose(-1, -2) / self.head**0.5).softmax(-1)
        return (weights @ value).transpose(1, 2).flatten(2)

    def mlp(self, name, value):
        half = self.params["model_channels"] // 2
        angles = value[:, None].float() * torch.exp(-math.log(10000) * torch.arange(half) / half)
        h = torch.cat([angles.cos(), angles.sin()], -1)
        return self.linear(f"{name}.2", F.silu(self.linear(f"{name}.0", h)))

    def linear(self, name, x):
        return F.linear(x, self.state[f"{name}.weight"].flatten(1), self.state.get(f"{name}.bias"))

    def conv(self, name, x, stride=1):
        weight = self.state[f"{name}.weight"]
        return F.conv2d(x, weight, self.state[f"{name}.bias"], stride=stride, padding=weight.shape[-1] // 2)

    def norm(self, name, x, eps):
        return F.group_norm(x, 32, self.state[f"{name}.weight"], self.state[f"{name}.bias"], eps)

    def layer_norm(self, name, x):
        return F.layer_norm(x, x.shape[-1:], self.state[f"{name}.weight"], self.state[f"{name}.bias"])


def load_lvdm_unet(state, params) -> VideoCrafterUNet:
    """A UNet of copies of the tensors, in float32."""
    return unet_of({name: tensor.clone() for name, tensor in state.items()}, params).float()


def load_lvdm_vae(state, ddconfig) -> AutoencoderKL:
    """A first stage of copies of the tensors, in float32."""
    return vae_of({name: tensor.clone() for name, tensor in state.items()}, ddconfig).float()
