"""Hand a trained model to diffusers: adapters that its pipelines load, or a whole pipeline folder."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from motionfocal.errors import ConfigError
from motionfocal.models.build import WEIGHTS, LoadedModel, load_model
from motionfocal.models.pipeline_folder import INDEX, PipelineFolder
from motionfocal.models.repository import repository_of

_FIRST = "transformer"
"""The part that ``load_lora_weights`` loads when it is told nothing else."""


@dataclass(frozen=True)
class Exported:
    """A folder, and the lines of Python that load it with nothing but diffusers."""

    folder: Path
    usage: tuple[str, ...]


def export_model(model: Path, out: Path) -> Exported:
    """Write a model folder's weights for diffusers into a new folder; of adapters, these alone.

    What was trained whole is rounded to the dtype of ``model.dtype`` and comes with all else of its base, hard-linked
    where the file system can and copied where it cannot. The folder appears when it is complete.

    Raises:
        CheckpointError: there is no model, or its base is gone.
        ConfigError: ``out`` exists, or diffusers has no pipeline for the family.
    """
    if out.exists():
        raise ConfigError(f"{out}: exists already; choose a new folder")
    loaded = load_model(model)
    card = loaded.card
    if loaded.model.pipeline_class is None:
        raise ConfigError(
            f"{model}: diffusers has no pipeline for the family {card.model.family}; its weights are in"
            f" {model / WEIGHTS}, which safetensors reads and 'motionfocal animate' uses"
        )
    with _appearing(out) as partial:
        usage = _export_whole(loaded, partial, out) if card.lora is None else _export_adapters(loaded, partial, out)
    return Exported(out, ("import torch", f"from diffusers import {loaded.model.pipeline_class}", *usage))


@contextmanager
def _appearing(out: Path) -> Iterator[Path]:
    """A folder beside ``out`` that takes its name when the context ends well."""
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    yield partial
    partial.rename(out)


def _export_adapters(loaded: LoadedModel, folder: Path, out: Path) -> list[str]:
    """A file a part, by the pipeline's own writer: the first part's in the folder itself, another's in one inside."""
    import diffusers
    from diffusers.loaders import HunyuanVideoLoraLoaderMixin
    from peft import get_peft_model_state_dict

    pipeline = getattr(diffusers, str(loaded.model.pipeline_class))
    known = hasattr(pipeline, "save_lora_weights")
    writer = pipeline if known else HunyuanVideoLoraLoaderMixin  # the file is the same for all
    usage = [_load_line(loaded, _as_arguments(_base(loaded)))]
    parts: dict[str, Any] = loaded.model.parts
    for name, part in parts.items():
        inside = "" if name == _FIRST else name
        writer.save_lora_weights(
            folder / inside,
            transformer_lora_layers=get_peft_model_state_dict(part),
            transformer_lora_adapter_metadata=part.peft_config["default"].to_dict(),
        )
        where = f'"{out / inside}", weight_name="pytorch_lora_weights.safetensors"'
        second = "" if name == _FIRST else f", load_into_{name}=True"
        loader = "load_lora_weights" if known else f"{name}.load_lora_adapter"
        usage.append(f"pipeline.{loader}({where}{second})")
    return usage


def _export_whole(loaded: LoadedModel, folder: Path, out: Path) -> list[str]:
    """The trained parts as diffusers saves them, the others as they are in the base."""
    base = PipelineFolder(_base(loaded))
    parts: dict[str, Any] = loaded.model.parts
    for name, part in parts.items():
        part.save_pretrained(folder / name)
    others = [name for name in base.index if base.has(name) and name not in parts]
    base.fetch(*others)
    for name in [INDEX, *others]:
        _link(base.folder / name, folder / name)
    return [_load_line(loaded, f'"{out}"')]


def _link(source: Path, target: Path) -> None:
    """Hard-link a file, or the files of a folder, or copy them."""
    if source.is_dir():
        for entry in source.iterdir():
            _link(entry, target / entry.name)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source.resolve(), target)  # a hub's folder holds links to files elsewhere
    except OSError:
        shutil.copy2(source, target)


def _load_line(loaded: LoadedModel, source: str) -> str:
    dtype = loaded.card.model.model_dump()["dtype"]
    return f"pipeline = {loaded.model.pipeline_class}.from_pretrained({source}, torch_dtype=torch.{dtype})"


def _as_arguments(weights: str) -> str:
    """How ``from_pretrained`` is told a base, its revision apart."""
    if Path(weights).is_dir():
        return f'"{weights}"'
    repository = repository_of(weights)
    pinned = "" if repository.revision is None else f', revision="{repository.revision}"'
    return f'"{repository.name}"{pinned}'


def _base(loaded: LoadedModel) -> str:
    """Where the base is; the settings of every family with a pipeline say so."""
    weights: str = loaded.card.model.model_dump()["weights"]
    return weights
