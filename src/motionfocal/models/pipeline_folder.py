"""A model folder in diffusers' pipeline layout: ``model_index.json`` and one subfolder a part."""

import hashlib
import importlib
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from motionfocal.errors import CheckpointError
from motionfocal.models.hub_hashes import hashes
from motionfocal.models.repository import Repository, repository_of
from motionfocal.reading import read_json

INDEX = "model_index.json"

_TRAINED = ("transformer", "unet", "image_projector", "scheduler")
"""Beginnings of the names of parts that decide nothing of what is encoded."""

_CONFIGS = [INDEX, "*/*config.json"]
"""All that is read of a repository before one of its parts is loaded."""

_MEGABYTE = 2**20

_WHOLE = "tokenizer.json"
"""A tokenizer in one file, which stands for all others."""


class PipelineFolder:
    """Loads the parts of a pipeline one by one, each when it is first needed, and refuses weights that do not fit."""

    def __init__(self, weights: str) -> None:
        """``weights`` is a folder, or the name of a repository on the Hugging Face hub, which may end in @revision.

        Of a repository only the configs are downloaded now, and each part when it is first loaded: many hold other
        versions of the same weights beside the pipeline.

        Raises:
            ConfigError: it is neither, or the revision is none.
            CheckpointError: the hub does not give it.
        """
        self._repository = repository = None if Path(weights).is_dir() else repository_of(weights)
        self.folder = Path(weights) if repository is None else _download(repository, repository.revision, _CONFIGS)

    @property
    def name(self) -> str:
        """The folder's own name, or the repository's without owner and revision."""
        return self.folder.resolve().name if self._repository is None else Path(self._repository.name).name

    def fetch(self, *parts: str) -> None:
        """Make sure that the files of parts are here. Raises CheckpointError when the hub does not give them."""
        if self._repository is not None:  # a snapshot's folder is named by its commit
            _download(self._repository, self.folder.name, [f"{part}/*" for part in parts])

    @cached_property
    def index(self) -> dict[str, Any]:
        """``model_index.json``: the pipeline's class, its settings, and ``part -> (library, class)``."""
        index: dict[str, Any] = _json(self.folder / INDEX)
        return index

    def has(self, part: str) -> bool:
        """Whether the pipeline has a part of this name."""
        entry = self.index.get(part)
        return isinstance(entry, list) and entry[1] is not None

    def config(self, part: str) -> dict[str, Any]:
        """A part's ``config.json``, without loading it."""
        config: dict[str, Any] = _json(self.folder / part / "config.json")
        return config

    def fingerprint(self) -> str:
        """A short hash of the parts that no family trains; no weights are downloaded for it.

        A repository's files are told by the hashes that the hub has of them. A folder's weights are told by their
        headers, sizes and last megabytes: reading all of a large text encoder takes minutes. So a repository and a copy
        of it in a folder have two fingerprints.

        Raises:
            CheckpointError: the hub does not answer, and not all of these parts are in its cache.
        """
        digest = hashlib.sha256()
        frozen = [part for part in sorted(self.index) if self.has(part) and not part.startswith(_TRAINED)]
        if self._repository is not None:
            told = hashes(self._repository, self.folder, frozen)
            return hashlib.sha256(repr(sorted(told.items())).encode()).hexdigest()[:16]
        for path in (path for part in frozen for path in sorted((self.folder / part).glob("*"))):
            if path.is_file():
                digest.update(f"{path.relative_to(self.folder)} {path.stat().st_size}\n".encode())
                with path.open("rb") as file:
                    digest.update(file.read(_MEGABYTE))
                    file.seek(max(0, path.stat().st_size - _MEGABYTE))
                    digest.update(file.read())
        return digest.hexdigest()[:16]

    def load(self, part: str, dtype: torch.dtype = torch.float32) -> Any:  # noqa: ANN401 - any class of three libraries
        """A part in evaluation mode, frozen, in the dtype; tokenizers, processors and schedulers as they are.

        Under ``torch.device("meta")`` a network of diffusers is built from its config, and no weights are read.

        Raises:
            CheckpointError: the part is missing or damaged, its weights lack, exceed or misfit the tensors of its
                class, or it is a tokenizer without a vocabulary.
        """
        if not self.has(part):
            raise CheckpointError(f"{self.folder}: {INDEX} names no {part}; is this a model of another family?")
        on_meta = torch.get_default_device().type == "meta"
        if not on_meta:
            self.fetch(part)
        if not (self.folder / part).is_dir():
            raise CheckpointError(f"{self.folder}: the folder {part} is missing")
        library, name = self.index[part]
        loader = getattr(importlib.import_module(library), name, None)
        if loader is None:
            raise CheckpointError(f"{self.folder}: this version of {library} has no class {name}; update {library}")
        if not issubclass(loader, torch.nn.Module):
            return _load_helper(loader, self.folder / part)
        return (_on_meta if on_meta else _load_module)(loader, self.folder / part, dtype)


def _download(repository: Repository, revision: str | None, patterns: list[str]) -> Path:
    """The local copy of a repository, where the files of these patterns now are."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(repository.name, revision=revision, allow_patterns=patterns))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise CheckpointError(
            f"model.weights: {repository}: not a folder, and the hub does not give it: {error}"
        ) from error


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise CheckpointError(f"{path}: missing; expected a folder in diffusers' pipeline layout")
    content = read_json(path, CheckpointError)
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: expected an object, found {type(content).__name__}")
    return content


def _load_helper(loader: Any, folder: Path) -> Any:  # noqa: ANN401 - a tokenizer, processor or scheduler
    """Of a folder without a vocabulary, transformers makes a tokenizer that knows no word; here that is an error."""
    names = set((getattr(loader, "vocab_files_names", None) or {}).values())  # none of one that reads bytes
    there = {path.name for path in folder.iterdir()}
    apart = names - {_WHOLE}
    if names and _WHOLE not in there and not (apart and apart <= there):
        wanted = f"{_WHOLE} or {' and '.join(sorted(apart))}" if apart else _WHOLE
        raise CheckpointError(f"{folder}: a tokenizer without its vocabulary; expected {wanted}")
    try:
        return loader.from_pretrained(folder)
    except Exception as error:  # of a damaged file, these libraries raise anything
        raise CheckpointError(f"{folder}: cannot be loaded: {type(error).__name__}: {error}") from error


def _on_meta(loader: type[torch.nn.Module], folder: Path, dtype: torch.dtype) -> torch.nn.Module:
    """As ``from_pretrained`` would give it, which keeps some of the weights of a class in float32."""
    empty: torch.nn.Module = loader.from_config(loader.load_config(folder))  # type: ignore[attr-defined]
    kept = set(getattr(loader, "_keep_in_fp32_modules", None) or ())
    for name, weight in empty.named_parameters():
        if not kept & set(name.split(".")):
            weight.data = weight.data.to(dtype)
    return empty.eval().requires_grad_(False)


def _load_module(loader: type[torch.nn.Module], folder: Path, dtype: torch.dtype) -> torch.nn.Module:
    """``from_pretrained`` warns and fills with noise what is missing; here that is an error."""
    name = "dtype" if loader.__module__.startswith("transformers") else "torch_dtype"
    try:
        module, report = loader.from_pretrained(  # type: ignore[attr-defined]
            folder, output_loading_info=True, **{name: dtype}
        )
    except (OSError, RuntimeError, ValueError) as error:
        raise CheckpointError(f"{folder}: cannot be loaded: {error}") from error
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if wrong := sorted(map(str, report.get(kind) or ())):
            shown = ", ".join(wrong[:3]) + (f" and {len(wrong) - 3} more" if len(wrong) > 3 else "")
            raise CheckpointError(f"{folder}: {kind.removesuffix('_keys')} tensors for {loader.__name__}: {shown}")
    return module.eval().requires_grad_(False)
