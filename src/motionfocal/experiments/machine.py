"""What a run was made by."""

import platform
from pathlib import Path
from typing import Literal

import torch
from pydantic import Field

from motionfocal import __version__
from motionfocal.models.build import best_device
from motionfocal.settings import Settings


class Machine(Settings):
    """What a run was made by: times are compared only where all of it is the same."""

    processor: str = Field(description="The GPU where the run trained on one, else the CPU.")
    torch: str = Field(description="Version of PyTorch.")
    motionfocal: str = Field(description="Version of this package.")


def this_machine(device: Literal["auto", "cpu"]) -> Machine:
    """What trains here, on the device that a config asks for."""
    used = best_device(device)
    name = torch.cuda.get_device_name(used) if used.type == "cuda" else processor()
    return Machine(processor=name, torch=torch.__version__, motionfocal=__version__)


def processor() -> str:
    """The CPU's model where the system names it (Linux), else its kind."""
    told = Path("/proc/cpuinfo")
    lines = told.read_text().splitlines() if told.is_file() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()
