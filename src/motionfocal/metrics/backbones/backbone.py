"""A frozen network behind one door: loaded at first use, kept for the process, run in batches without gradients."""

import importlib
import warnings
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import get_worker_info

from motionfocal.errors import CheckpointError, UnavailableError
from motionfocal.metrics.backbones.recipes import Recipe
from motionfocal.metrics.backbones.weights import BackboneSettings, WeightFile, fingerprint, locate
from motionfocal.video import Frames

Build = Callable[[tuple[Path, ...]], nn.Module]
"""Makes a network from its located weight files, on the CPU. Equal builders make equal networks: they are a key."""

_LOADED: dict[Hashable, nn.Module] = {}


@dataclass(frozen=True)
class Backbone:
    """A network, its weight ``files`` and the ``libraries`` (distributions) whose code it is.

    Calling it with tensors that share their first axis runs the network on ``settings.batch`` rows at a time and gives
    its float32 rows on the CPU.
    """

    name: str
    build: Build
    files: tuple[WeightFile, ...] = ()
    libraries: tuple[str, ...] = ()
    settings: BackboneSettings = field(default_factory=BackboneSettings)

    @property
    def identity(self) -> dict[str, object]:
        """What decides the network's values, JSON: the hash of each weight file and the libraries' versions.

        Raises UnavailableError when a weight file is missing (``weights.locate``).
        """
        weights = {Path(file.path).name: fingerprint([locate(file, self.settings)]) for file in self.files}
        return {"backbone": self.name, "weights": weights, "libraries": {lib: _version(lib) for lib in self.libraries}}

    @property
    def device(self) -> torch.device:
        """Where it runs; of the worker processes beside this one, each takes the next GPU."""
        if self.settings.device or not torch.cuda.is_available():
            return torch.device(self.settings.device or "cpu")
        worker = get_worker_info()
        return torch.device("cuda" if worker is None else f"cuda:{worker.id % torch.cuda.device_count()}")

    @property
    def network(self) -> nn.Module:
        """The network, in evaluation mode on the device; one per process and state of its weight files.

        The code of a checkout is not looked at again once it is loaded.

        Raises UnavailableError (weights or a library are missing), CheckpointError (they are of another network).
        """
        paths = tuple(locate(file, self.settings) for file in self.files)
        weights = tuple(fingerprint([path]) if path.is_file() else str(path) for path in paths)
        key = (self.name, self.build, weights, str(self.device))
        if key not in _LOADED:
            _LOADED[key] = self.build(paths).eval().requires_grad_(False).to(self.device)
        return _LOADED[key]

    @torch.inference_mode()
    def __call__(self, *inputs: Tensor) -> Tensor:
        """The network's rows ``[N,...]`` for inputs ``[N,...]``."""
        network, size = self.network, self.settings.batch
        rows = [
            network(*(tensor[start : start + size].to(self.device) for tensor in inputs)).float().cpu()
            for start in range(0, len(inputs[0]), size)
        ]
        return torch.cat(rows)


class Stream:
    """The rows of a clip's frames, computed a batch at a time; between batches it holds prepared images only.

    A frame that is the one before it, as in a still video, costs nothing.
    """

    def __init__(self, backbone: Backbone, recipe: Recipe) -> None:
        self.backbone, self.recipe = backbone, recipe
        self._last: Frames | None = None
        self._waiting: list[Tensor] = []
        self._done: list[Tensor] = []
        self._places: list[int] = []

    def see(self, rgb: Frames) -> None:
        """Take the next frame, uint8 ``[H,W,3]``."""
        if rgb is self._last:
            self._places.append(self._places[-1])
            return
        self._last = rgb
        self._waiting.append(self.recipe(rgb))
        self._places.append(self._places[-1] + 1 if self._places else 0)
        if len(self._waiting) == self.backbone.settings.batch:
            self._run()

    def rows(self) -> Tensor:
        """The rows ``[T,...]`` of all frames so far."""
        if self._waiting:
            self._run()
        return torch.cat(self._done)[self._places]

    def _run(self) -> None:
        self._done.append(self.backbone(torch.stack(self._waiting)))
        self._waiting.clear()


def require(module: str, what: str) -> Any:  # noqa: ANN401 - the modules are untyped
    """Import a library of the extra ``vbench``. Raises UnavailableError that says how to install it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UnavailableError(f"{what} needs {module} ({error}): pip install 'motionfocal[vbench]'") from error


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint: safetensors, a pickle of tensors (nothing else is run), or a TorchScript archive.

    Wrappings are taken off: ``state_dict``, ``params`` or ``model`` around it, ``module.`` before each name.
    Raises CheckpointError when it cannot be read.
    """
    try:
        state = _raw_state(path)
    except Exception as error:  # the readers raise errors of many types
        raise CheckpointError(f"{path}: cannot be read as weights ({error}); fetch it again") from error
    for wrapping in ("state_dict", "params", "model"):
        if isinstance(state.get(wrapping), dict):
            state = state[wrapping]
    return {name.removeprefix("module."): tensor for name, tensor in state.items() if isinstance(tensor, Tensor)}


def load_state(network: nn.Module, path: Path, *, rename: Callable[[str], str | None] = str) -> None:
    """Fill a network from a checkpoint: every tensor, each once. ``rename`` gives None for what the network lacks.

    Raises CheckpointError: it cannot be read, or is of another network.
    """
    named = ((rename(name), tensor) for name, tensor in read_state(path).items())
    state = {name: tensor for name, tensor in named if name is not None}
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        kind = type(network).__name__
        raise CheckpointError(f"{path}: these weights are not of this {kind}: {str(error)[:600]}") from error


def _raw_state(path: Path) -> dict[str, Any]:
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return dict(load_file(path))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of TorchScript's age: OpenAI's files are such archives
        try:
            return dict(torch.load(path, map_location="cpu", weights_only=True))
        except RuntimeError:  # a TorchScript archive
            return dict(torch.jit.load(str(path), map_location="cpu").state_dict())


def _version(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:
        return None
