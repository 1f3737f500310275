"""The machine, and whether what every verb is built on works here: each is tried for real, on a small clip."""

import os
import platform
import shutil
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import psutil
import torch
from rich.filesize import decimal
from torch import nn

from motionfocal import __version__
from motionfocal.doctor.finding import Finding, tried
from motionfocal.errors import MediaError, TrainingError
from motionfocal.loss import MotionFocalLoss
from motionfocal.models.build import best_device
from motionfocal.motion import estimate_flow, motion_heatmap
from motionfocal.video import Frames, read_clip, write_clip

_LOW_DISC = 10e9
"""Bytes; a cache or a checkpoint of a large base takes more."""

_MOST_OFF = 20.0
"""Grey levels; noise, as the trials have it, suffers most from compression."""

_STEP = 3
"""Pixels a frame that the square of the trials moves."""


def facts() -> list[Finding]:
    """What there is: versions, cores, memory, space where the command was called, GPUs."""
    free = shutil.disk_usage(Path.cwd()).free
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return [
        Finding("MotionFocal", "good", f"{__version__} on Python {platform.python_version()}"),
        Finding("system", "good", f"{platform.system()} {platform.release()}, {platform.machine()}"),
        Finding("cores", "good", f"{cores}, of which PyTorch uses {torch.get_num_threads()}"),
        Finding("memory", "good", f"{decimal(psutil.virtual_memory().available)} free"),
        Finding(
            "disc",
            "good" if free > _LOW_DISC else "absent",
            f"{decimal(free)} free in {Path.cwd()}",
            "" if free > _LOW_DISC else "work in a folder on a larger disc",
        ),
        *_gpus(),
    ]


def _gpus() -> list[Finding]:
    if not torch.cuda.is_available():
        told = f"none that PyTorch {torch.__version__} sees: networks run on the CPU"
        remedy = "with an NVIDIA GPU, install PyTorch's build for its driver"
        return [Finding("GPU", "absent", told, remedy)]
    found = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    return [Finding("GPU", "good", f"{gpu.name}, {decimal(gpu.total_memory)}") for gpu in found]


def trials() -> list[Finding]:
    """What was done here, and how it went: a video, its flow, its heatmap, and a step of training."""
    return [
        tried("video", _video, "pip install --force-reinstall av"),
        tried("optical flow", _flow, "pip install --force-reinstall opencv-python-headless"),
        tried("heatmap", _heatmap, "please report it"),
        tried("training", _training, "pip install --force-reinstall torch, in the build for this machine"),
    ]


def _moving_square() -> Frames:
    """Eight frames of 64x64: a bright, textured square on a dark ground."""
    rng = np.random.default_rng(0)
    ground, square = rng.integers(0, 60, (64, 64, 3)), rng.integers(120, 255, (16, 16, 3))
    frames = np.repeat(ground[None], 8, axis=0).astype(np.uint8)
    for index, frame in enumerate(frames):
        frame[24:40, 8 + _STEP * index : 24 + _STEP * index] = square
    return frames


def _video() -> str:
    frames = _moving_square()
    with TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        write_clip(path, frames, 8)
        read = read_clip(path).frames
    if read.shape != frames.shape:
        raise MediaError(f"wrote frames {list(frames.shape)} and read {list(read.shape)}")
    off = float(np.abs(read.astype(float) - frames).mean())
    if off > _MOST_OFF:
        raise MediaError(f"what was read is {off:.1f} grey levels off what was written")
    return f"H.264 written and read back, {off:.1f} grey levels off"


def _flow() -> str:
    found = float(np.median(estimate_flow(_moving_square())[0, 26:38, 12:20, 0]))
    told = f"a square that moves {_STEP} pixels a frame was seen to move {found:.1f}"
    if abs(found - _STEP) > 1:
        raise MediaError(told)
    return told


def _heatmap() -> str:
    heat = motion_heatmap(estimate_flow(_moving_square()))
    inside, outside = float(heat[0, 26:38, 12:20].mean()), float(heat[0, :8].mean())
    if inside < 0.5 or outside > 0.1:
        raise MediaError(f"heat {inside:.2f} where it moves and {outside:.2f} where nothing does")
    return f"heat {inside:.2f} where it moves, {outside:.2f} where nothing does"


def _training() -> str:
    device = best_device()
    generator = torch.Generator().manual_seed(0)
    network = nn.Conv3d(4, 4, 3, padding=1).to(device)
    noisy, target = (torch.randn(1, 4, 4, 16, 16, generator=generator).to(device) for _ in range(2))
    heat = torch.rand(1, 1, 4, 16, 16, generator=generator).to(device)
    began = time.perf_counter()
    MotionFocalLoss()(network(noisy), target, heat).total.backward()
    if not all(weight.grad is not None and weight.grad.isfinite().all() for weight in network.parameters()):
        raise TrainingError(f"the gradient of a small network on {device} is not finite")
    return f"a weighted step on {device} in {1000 * (time.perf_counter() - began):.0f} ms"
