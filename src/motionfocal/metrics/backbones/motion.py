"""Networks of pairs and clips: RAFT, AMT-S, CoTracker2, I3D."""

import importlib.util
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from motionfocal.errors import UnavailableError
from motionfocal.metrics.backbones.backbone import Backbone, load_state, read_state
from motionfocal.metrics.backbones.weights import BackboneSettings, WeightFile

RAFT_THINGS = WeightFile(
    "raft_model/raft_large_C_T_V1-22a6c225.pth",
    "torchvision's port of RAFT's raft-things.pth (or raft_model/models/raft-things.pth as VBench keeps it)",
    url="https://download.pytorch.org/models/raft_large_C_T_V1-22a6c225.pth",
    sha256="22a6c225",
    also=("raft_model/models/raft-things.pth",),
)
AMT_S = WeightFile("amt_model/amt-s.pth", "the AMT project's model hub (lalala125/AMT, file amt-s.pth)")
COTRACKER2 = WeightFile("cotracker_model/cotracker2.pth", "the co-tracker project's model hub (file cotracker2.pth)")
I3D_KINETICS = WeightFile(
    "i3d_model/i3d_torchscript.pt", "StyleGAN-V's TorchScript port of the I3D of the first FVD (i3d_torchscript.pt)"
)
RAFT_STEPS = 20
RAFT_SMALLEST = 128
"""Four correlation levels on features at an eighth of the size: a smaller side leaves the last level empty."""

GRID = 10
"""CoTracker follows a grid of so many points a side."""


def pad_evenly(images: Tensor, multiple: int) -> tuple[Tensor, tuple[int, int]]:
    """Repeat the border of ``[N,C,H,W]`` until both sides are whole multiples, half on each side.

    Gives the images and the rows above and columns left that were added.
    """
    height, width = images.shape[-2:]
    tall, wide = -height % multiple, -width % multiple
    padding = (wide // 2, wide - wide // 2, tall // 2, tall - tall // 2)
    return F.pad(images, padding, mode="replicate"), (tall // 2, wide // 2)


class RaftFlow(nn.Module):
    """RAFT (Teed and Deng, ECCV 2020), 20 steps: flow ``[N,2,H',W']`` in pixels of images ``[N,3,H,W]`` in 0..255.

    H' and W' are the sides filled up to multiples of 8: VBench reads its statistics of the padded flow.
    """

    def __init__(self, raft: nn.Module) -> None:
        super().__init__()
        self.raft = raft

    def forward(self, images_from: Tensor, images_to: Tensor) -> Tensor:
        """Flow of each pair."""
        pair = [pad_evenly(images, 8)[0] * (2 / 255) - 1 for images in (images_from, images_to)]
        return self.raft(*pair, num_flow_updates=RAFT_STEPS)[-1]


def build_raft(paths: tuple[Path, ...]) -> nn.Module:
    """Torchvision's RAFT-large from its own file, or from the project's, whose names are translated."""
    from torchvision.models.optical_flow import raft_large

    network = raft_large(weights=None, progress=False)
    if not any(name.startswith("fnet.") for name in read_state(paths[0])):
        load_state(network, paths[0])
        return RaftFlow(network)
    load_state(network, paths[0], rename=raft_name)
    return RaftFlow(network)


_RAFT_NAMES = (
    (r"^fnet\.", "feature_encoder."),
    (r"^cnet\.", "context_encoder."),
    (r"^(\w+_encoder)\.conv1\.", r"\1.convnormrelu.0."),
    (r"^(\w+_encoder)\.norm1\.", r"\1.convnormrelu.1."),
    (r"^(\w+_encoder)\.conv2\.", r"\1.conv."),
    (r"(layer\d\.\d)\.conv(\d)\.", r"\1.convnormrelu\2.0."),
    (r"(layer\d\.\d)\.norm([12])\.", r"\1.convnormrelu\2.1."),
    (r"^update_block\.encoder\.convc(\d)\.", r"update_block.motion_encoder.convcorr\1.0."),
    (r"^update_block\.encoder\.convf(\d)\.", r"update_block.motion_encoder.convflow\1.0."),
    (r"^update_block\.encoder\.conv\.", "update_block.motion_encoder.conv.0."),
    (r"^update_block\.gru\.conv([zrq])(\d)\.", r"update_block.recurrent_block.convgru\2.conv\1."),
    (r"^update_block\.mask\.0\.", "mask_predictor.convrelu.0."),
    (r"^update_block\.mask\.2\.", "mask_predictor.conv."),
)


def raft_name(name: str) -> str | None:
    """Torchvision's name of a tensor of RAFT's own checkpoint, None for the second name (norm3) of a shared layer."""
    if ".norm3." in name:
        return None
    for pattern, replacement in _RAFT_NAMES:
        name = re.sub(pattern, replacement, name)
    return name


class MiddleFrame(nn.Module):
    """AMT's frame half way between two, ``[N,3,H,W]`` in 0..1, padded to multiples of 16 and cut back."""

    def __init__(self, amt: nn.Module) -> None:
        super().__init__()
        self.amt = amt

    def forward(self, before: Tensor, after: Tensor) -> Tensor:
        """The middle frame of each pair, in 0..1."""
        height, width = before.shape[-2:]
        padded, (top, left) = pad_evenly(before, 16)
        half = torch.full((1, 1, 1, 1), 0.5, device=before.device)
        middle = self.amt(padded, pad_evenly(after, 16)[0], half, scale_factor=1.0, eval=True)["imgt_pred"]
        return middle[..., top : top + height, left : left + width]


def build_amt(paths: tuple[Path, ...]) -> nn.Module:
    """AMT-S (Li et al., CVPR 2023) with the code of a checkout, whose folder ``networks`` is the second path.

    Raises UnavailableError when the code cannot be imported, CheckpointError for other weights.
    """
    folder = paths[1].parent
    with _importable(folder):
        module = _module_of(folder / "networks/AMT-S.py")
    network = module.Model(corr_radius=3, corr_lvls=4, num_flows=3)
    load_state(network, paths[0])
    return MiddleFrame(network)


def _module_of(file: Path) -> Any:  # noqa: ANN401 - the module is untyped
    spec = importlib.util.spec_from_file_location("motionfocal_amt_s", file)
    if spec is None or spec.loader is None:
        raise UnavailableError(f"{file}: cannot be imported; check the checkout")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except ImportError as error:
        raise UnavailableError(f"{file}: cannot be imported ({error}); install what the checkout needs") from error
    return module


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Let the checkout's files import each other, without running VBench's package files, and undo it after."""
    before = dict(sys.modules)
    sys.path.insert(0, str(folder))
    if folder.parts[-3:] == ("vbench", "third_party", "amt"):
        for name, path in _packages_above(folder):
            module = ModuleType(name)
            module.__path__ = [str(path)]
            sys.modules[name] = module
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name in set(sys.modules) - set(before):
            if name.split(".")[0] in ("networks", "utils", "vbench"):
                del sys.modules[name]
        sys.modules.update({name: module for name, module in before.items() if name.split(".")[0] == "vbench"})


def _packages_above(folder: Path) -> list[tuple[str, Path]]:
    return [
        ("vbench", folder.parent.parent),
        ("vbench.third_party", folder.parent),
        ("vbench.third_party.amt", folder),
    ]


class GridTracks(nn.Module):
    """Tracks ``[1,T,100,2]`` (x, y) of a 10×10 grid set in frame 0, of a video ``[1,T,3,H,W]`` in 0..255."""

    def __init__(self, predictor: Any) -> None:  # noqa: ANN401 - the checkout's class
        super().__init__()
        self.predictor = predictor

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width that CoTracker itself scales every video to, corners aligned."""
        height, width = self.predictor.interp_shape
        return int(height), int(width)

    def forward(self, video: Tensor) -> Tensor:
        """Tracks in pixels of the video."""
        return self.predictor(video, grid_size=GRID)[0]


def build_cotracker(paths: tuple[Path, ...]) -> nn.Module:
    """CoTracker2 (Karaev et al., ECCV 2024) with the code of a checkout, whose folder ``cotracker`` is the second path.

    Raises UnavailableError when the code cannot be imported, CheckpointError for other weights, or for a checkout of
    the last months of 2024, whose entry ``cotracker2`` gives CoTracker3 (co-tracker issue 142).
    """
    checkout = paths[1].parent
    try:
        predictor = torch.hub.load(str(checkout), "cotracker2", source="local", pretrained=False, verbose=False)
    except (ImportError, OSError) as error:
        raise UnavailableError(f"{checkout}: cannot be imported ({error}); install what the checkout needs") from error
    load_state(predictor.model, paths[0])
    return GridTracks(predictor)


class I3dLogits(nn.Module):
    """The 400 Kinetics logits ``[N,400]`` of videos ``[N,3,T,224,224]`` in -1..1."""

    def __init__(self, script: Any) -> None:  # noqa: ANN401 - a TorchScript module
        super().__init__()
        self.script = script

    def forward(self, videos: Tensor) -> Tensor:
        """Logits; neither scaled nor resized inside."""
        return self.script(videos, rescale=False, resize=False, return_features=True)


def build_i3d(paths: tuple[Path, ...]) -> nn.Module:
    """The TorchScript file. Raises UnavailableError when it is none."""
    try:
        return I3dLogits(torch.jit.load(str(paths[0]), map_location="cpu"))
    except RuntimeError as error:
        raise UnavailableError(f"{paths[0]}: not a TorchScript archive ({error}); fetch it again") from error


def raft(settings: BackboneSettings) -> Backbone:
    """RAFT trained on Chairs and Things, one pair at a time."""
    one = settings.model_copy(update={"batch": 1})
    return Backbone("raft-things", build_raft, (RAFT_THINGS,), ("torchvision",), one)


def amt(settings: BackboneSettings) -> Backbone:
    """AMT-S, one pair at a time."""
    given = settings.amt.absolute() if settings.amt else Path("checkouts/AMT")
    inner = (f"{given}/vbench/third_party/amt/networks", "checkouts/VBench/vbench/third_party/amt/networks")
    also = inner[:1] if settings.amt else inner[1:]
    source = "a checkout of MCG-NKU/AMT or Vchitect/VBench (or name its folder in the setting amt)"
    code = WeightFile(f"{given}/networks", source, also=also)
    one = settings.model_copy(update={"batch": 1})
    return Backbone("amt-s", build_amt, (AMT_S, code), (), one)


def cotracker(settings: BackboneSettings) -> Backbone:
    """CoTracker2."""
    given = settings.cotracker.absolute() if settings.cotracker else Path("checkouts/co-tracker")
    source = "a checkout of facebookresearch/co-tracker (or name its folder in the setting cotracker)"
    code = WeightFile(f"{given}/cotracker", source)
    return Backbone("cotracker2", build_cotracker, (COTRACKER2, code), (), settings)


def i3d(settings: BackboneSettings) -> Backbone:
    """I3D on Kinetics-400, logits."""
    return Backbone("i3d-kinetics400", build_i3d, (I3D_KINETICS,), (), settings)
