"""Convert a whole lvdm checkpoint (``model.ckpt``) to a folder in diffusers' layout, each part loadable by its class.

Tensors keep the checkpoint's dtype. Nothing is guessed: a tensor that is missing, left over or of another shape is an
error, and the folder appears under its name only when all of it is written.
"""

import json
import pickle
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMScheduler
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from motionfocal.errors import CheckpointError, UnknownNameError
from motionfocal.models.pipeline_folder import INDEX
from motionfocal.models.videocrafter import ImageProjector, VideoCrafterUNet
from motionfocal.models.videocrafter.names import projector_sources
from motionfocal.models.videocrafter.params import FRAME_TOKENS
from motionfocal.models.videocrafter.sizes import first_stage_params, projector_config, unet_params
from motionfocal.models.videocrafter.tokenizer import build_tokenizer
from motionfocal.models.videocrafter.towers import image_encoder, text_encoder
from motionfocal.models.videocrafter.weights import fill, gather, unet_of, vae_of

State = dict[str, Tensor]


@dataclass(frozen=True)
class Kind:
    """What the tensors of a checkpoint do not tell: params of its UNet, and its schedule."""

    unet: dict[str, object]
    schedule: dict[str, object]
    images: bool = False
    xcat: bool = False
    own_frame_tokens: bool = False


_EPSILON: dict[str, object] = {"prediction_type": "epsilon", "timestep_spacing": "leading", "steps_offset": 1}
_ZERO_SNR_V: dict[str, object] = {
    "prediction_type": "v_prediction",
    "timestep_spacing": "trailing",
    "rescale_betas_zero_snr": True,
}

KINDS = {
    "videocrafter2": Kind({"fps_cond": True}, _EPSILON),
    "videocrafter1": Kind({"fps_cond": True, "use_image_attention": True}, _EPSILON, images=True),
    "dynamicrafter": Kind(
        {"fs_condition": True, "default_fs": 24, "image_cross_attention": True, "dropout": 0.1},
        _ZERO_SNR_V,
        images=True,
        xcat=True,
        own_frame_tokens=True,
    ),
}
"""VideoCrafter2 (text to video), VideoCrafter1 I2V-512, DynamiCrafter-512."""

_PREFIXES = {
    "unet": "model.diffusion_model.",
    "vae": "first_stage_model.",
    "text_encoder": "cond_stage_model.model.",
    "image_encoder": "embedder.model.",
    "image_projector": "image_proj_model.",
}
_BUFFERS = {
    "betas",
    "alphas_cumprod",
    "alphas_cumprod_prev",
    "sqrt_alphas_cumprod",
    "sqrt_one_minus_alphas_cumprod",
    "log_one_minus_alphas_cumprod",
    "sqrt_recip_alphas_cumprod",
    "sqrt_recipm1_alphas_cumprod",
    "posterior_variance",
    "posterior_log_variance_clipped",
    "posterior_mean_coef1",
    "posterior_mean_coef2",
    "lvlb_weights",
    "logvar",
    "scale_arr",
}
"""The schedule's tables, which the scheduler computes again; of ``scale_arr`` the signal scale is kept."""


def convert(kind: str, checkpoint: Path, out: Path, tokenizer: Path | None = None) -> dict[str, int]:
    """Write ``out`` from a checkpoint of one of ``KINDS``; the number of weights by part.

    ``tokenizer`` is the folder of a CLIP tokenizer; unset, the vocabulary comes from open_clip_torch.
    ``model_index.json`` names the parts, and the ``signal_scale`` that noisy latents have from timestep 400 on.

    Raises:
        UnknownNameError: there is no such kind.
        CheckpointError: the checkpoint cannot be read or does not fit the kind, or ``out`` holds something.
        UnavailableError: there is no vocabulary for the tokenizer.
    """
    if kind not in KINDS:
        raise UnknownNameError("checkpoint kind", kind, list(KINDS))
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise CheckpointError(f"{out}: exists and is not an empty folder; remove it or name another one")
    words = build_tokenizer(tokenizer)
    state = _read(checkpoint)
    modules = _modules(KINDS[kind], _by_part(state, KINDS[kind], checkpoint))
    parts: dict[str, Any] = {**modules, "tokenizer": words, "scheduler": _scheduler(KINDS[kind])}
    scale = state.get("scale_arr")
    _write(out, parts, {"kind": kind, "signal_scale": None if scale is None else round(float(scale[-1]), 4)})
    return {name: sum(weight.numel() for weight in module.parameters()) for name, module in modules.items()}


def _read(checkpoint: Path) -> State:
    """All tensors by lvdm's names, mapped from the file rather than read."""
    if not checkpoint.is_file():
        raise CheckpointError(f"{checkpoint}: no such file")
    try:
        if checkpoint.suffix == ".safetensors":
            return load_file(checkpoint)
        content = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(checkpoint))
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{checkpoint}: holds more than tensors, which is not loaded for safety; if you trust it, save its"
            " state_dict alone to a file of its own"
        ) from error
    except (RuntimeError, EOFError, OSError, SafetensorError) as error:
        raise CheckpointError(f"{checkpoint}: cannot be read: {error}") from error
    return _tensors(content, checkpoint)


def _tensors(content: object, checkpoint: Path) -> State:
    """The state dict in a checkpoint of Lightning or of DeepSpeed, or the content itself."""
    if isinstance(content, dict) and "state_dict" in content:
        content = content["state_dict"]
    elif isinstance(content, dict) and isinstance(content.get("module"), dict):
        content = {name.removeprefix("_forward_module."): tensor for name, tensor in content["module"].items()}
    if not isinstance(content, dict) or not all(isinstance(tensor, Tensor) for tensor in content.values()):
        raise CheckpointError(f"{checkpoint}: holds no state_dict of tensors")
    return content


def _by_part(state: State, kind: Kind, checkpoint: Path) -> dict[str, State]:
    """The tensors of each part without the part's prefix."""
    wanted = {part: prefix for part, prefix in _PREFIXES.items() if kind.images or not part.startswith("image_")}
    parts = {
        part: {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
        for part, prefix in wanted.items()
    }
    for part, tensors in parts.items():
        if not tensors:
            raise CheckpointError(f"{checkpoint}: no {part} in it: no tensor's name begins with {wanted[part]}")
    strange = sorted(name for name in state if not name.startswith(tuple(wanted.values())) and name not in _BUFFERS)
    if strange:
        raise CheckpointError(f"{checkpoint}: {len(strange)} extra: {', '.join(strange[:3])}; is it of another kind?")
    return parts


def _modules(kind: Kind, parts: dict[str, State]) -> dict[str, nn.Module]:
    modules: dict[str, nn.Module] = {
        "unet": _unet(kind, parts["unet"]),
        "vae": vae_of(parts["vae"], first_stage_params(parts["vae"])),
        "text_encoder": text_encoder(parts["text_encoder"]),
    }
    if kind.images:
        modules["image_encoder"] = image_encoder(parts["image_encoder"])
        modules["image_projector"] = _image_projector(kind, parts["image_projector"])
    return modules


def _unet(kind: Kind, state: State) -> VideoCrafterUNet:
    params = unet_params(state)
    expected = (1 + kind.xcat) * state["out.2.weight"].shape[0]
    if params["in_channels"] != expected:
        raise CheckpointError(
            f"UNet: it takes {params['in_channels']} channels, one of this kind {expected}; is it of another kind?"
        )
    gate = {"image_cross_attention_scale_learnable": True} if any(name.endswith(".alpha") for name in state) else {}
    return unet_of(state, params | kind.unet | gate)


def _image_projector(kind: Kind, state: State) -> ImageProjector:
    config = projector_config(state)
    if kind.own_frame_tokens:
        config |= {"tokens": FRAME_TOKENS, "frames": state["latents"].shape[1] // FRAME_TOKENS}
    with torch.device("meta"):
        projector = ImageProjector(**config)
    tensors = gather(projector, state, projector_sources(projector.state_dict()), "image projector")
    return fill(projector, tensors, copy=False)


def _scheduler(kind: Kind) -> DDIMScheduler:
    """lvdm's "linear" is what diffusers calls scaled linear."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        **kind.schedule,
    )


def _write(out: Path, parts: dict[str, Any], notes: dict[str, object]) -> None:
    """All parts and the index into a folder beside ``out``, which then takes its name."""
    partial = out.parent / f".{out.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    for name, part in parts.items():
        part.save_pretrained(partial / name)
    index = {name: [_library(part), type(part).__name__] for name, part in parts.items()}
    (partial / INDEX).write_text(json.dumps({"_class_name": "VideoCrafter", **notes, **index}, indent=2) + "\n")
    partial.replace(out)


def _library(part: object) -> str:
    """Where the part's class can be imported from."""
    library = type(part).__module__.split(".", 1)[0]
    return "motionfocal.models.videocrafter" if library == "motionfocal" else library
