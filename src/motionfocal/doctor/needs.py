"""What a training by a config would need, and whether it is here."""

import time
from pathlib import Path

import psutil
import torch
from rich.filesize import decimal

from motionfocal.data.cache import CacheSource
from motionfocal.data.held_out import PARTS
from motionfocal.data.sources import FolderData, SpritesSource
from motionfocal.doctor.finding import Finding
from motionfocal.doctor.weights import hub, in_cache
from motionfocal.errors import ConfigError, MotionFocalError
from motionfocal.models.build import best_device
from motionfocal.models.protocol import ClipShape
from motionfocal.models.repository import repository_of
from motionfocal.training.config import TrainingConfig
from motionfocal.training.need import Need, training_need
from motionfocal.training.run import cache_spec, largest_shape

_BESIDE = 1e9
"""Bytes of a device that hold no tensors: the driver's context, the kernels' workspaces."""

_SECONDS = 0.5
"""For how long the speed of this machine is measured."""


def needs(config: TrainingConfig) -> list[Finding]:
    """The base, the clips, the cache, memory and time of a training."""
    base = _base(config)
    clips = [_clips(config.data)] if isinstance(config.data, FolderData) else []
    if base and base.state == "bad":
        later = Finding("memory, time", "absent", "told when at least the configs of the base are here")
        return [base, *clips, later]
    cache = [_cache(config, config.data)] if isinstance(config.data, FolderData) else []
    found = ([base] if base else []) + clips + cache
    try:
        need = training_need(config, _shape(config))
    except MotionFocalError as error:
        return [*found, Finding("memory, time", "bad", str(error), "change the config as it says")]
    return [*found, _memory(need, config), _time(need, config)]


def _shape(config: TrainingConfig) -> ClipShape:
    if isinstance(config.data, FolderData):
        return largest_shape(config.data)
    return SpritesSource(config.data, config.seed).shape


def _base(config: TrainingConfig) -> Finding | None:
    """Whether what the model starts from is here; None for a model that starts from nothing."""
    base = str(getattr(config.model, "weights", ""))
    if not base:
        return None
    if Path(base).is_dir():
        return Finding("base", "good", f"the folder {base}")
    try:
        repository = repository_of(base)
    except ConfigError as error:
        remedy = "set model.weights to a folder, such as 'motionfocal convert' writes, or to a name on the hub"
        return Finding("base", "bad", str(error), remedy)
    if size := in_cache().get(("model", base)):
        return Finding("base", "good", f"{base}: {decimal(size)} here")
    remedy = f"{repository.download}; or set model.weights to a folder"
    return Finding("base", "absent" if hub().state == "good" else "bad", f"{base}: not here", remedy)


def _clips(data: FolderData) -> Finding:
    try:
        captions = data.clips()
        data.clips("training")  # which a share that is held out may leave none of
    except MotionFocalError as error:
        return Finding("clips", "bad", str(error), "set data.videos to your clips (docs/recipes.md)")
    return Finding("clips", "good", f"{len(captions):,} with texts in {data.videos}")


def _cache(config: TrainingConfig, data: FolderData) -> Finding:
    if data.cache is None:
        return Finding("cache", "absent", "none: clips are encoded as training goes", "set data.cache to a folder")
    try:
        spec, parts = cache_spec(config, data), PARTS if data.held_out else PARTS[:1]
        windows = sum(len(CacheSource(spec, config.seed, part)) for part in parts)
    except MotionFocalError as error:
        return Finding("cache", "absent", str(error), "motionfocal prepare, with the same config")
    return Finding("cache", "good", f"{windows:,} windows in {data.cache}")


def _memory(need: Need, config: TrainingConfig) -> Finding:
    device = best_device(config.device)
    if device.type == "cuda":
        there, where = torch.cuda.get_device_properties(device).total_memory, "this GPU has"
    else:
        there, where = psutil.virtual_memory().available, "this machine has free"
    told = f"{decimal(need.memory.total)} at the highest; {where} {decimal(there)}"
    if need.memory.total + _BESIDE < there:
        return Finding("memory", "good", told)
    remedy = "set micro_batch_size: 1, gradient_checkpointing: true, lora; or shard it (--use_fsdp); or a larger GPU"
    return Finding("memory", "bad", told, remedy)


def _time(need: Need, config: TrainingConfig) -> Finding:
    dtype = torch.bfloat16 if config.precision == "bf16" else torch.float32
    rate = operations_a_second(best_device(config.device), dtype)
    hours = need.run_flops / rate / 3600
    speed = f"the {rate / 1e12:.3g} TFLOP/s of a matrix product here"
    return Finding("time", "good", f"at least {hours:,.1f} hours of {config.steps:,} steps, at {speed}")


def operations_a_second(device: torch.device, dtype: torch.dtype) -> float:
    """Floating-point operations a second of a large matrix product, measured now: no network gets more."""
    side = 8192 if device.type == "cuda" else 1024
    factor = torch.ones(side, side, dtype=dtype, device=device)

    def product() -> float:
        return float((factor @ factor)[0, 0])  # waits for the device

    product()  # the first one also loads and chooses kernels
    products, began = 0, time.perf_counter()
    while time.perf_counter() - began < _SECONDS:
        product()
        products += 1
    return products * 2 * side**3 / (time.perf_counter() - began)
