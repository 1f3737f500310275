"""Which weights and data sets are here already, without fetching anything."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import torch
from huggingface_hub import CachedRepoInfo, CachedRevisionInfo, constants, scan_cache_dir
from huggingface_hub.errors import CacheNotFound
from huggingface_hub.utils import get_session
from rich.filesize import decimal
from torchvision.models.optical_flow import Raft_Large_Weights, Raft_Small_Weights

from motionfocal.benchmarks.load import REPOSITORIES
from motionfocal.doctor.finding import Finding
from motionfocal.errors import UnavailableError
from motionfocal.metrics.animatebench import animatebench
from motionfocal.metrics.backbones.motion import i3d
from motionfocal.metrics.backbones.weights import BackboneSettings, WeightFile, locate
from motionfocal.metrics.vbench import vbench_i2v
from motionfocal.models.repository import names_repository, repository_of
from motionfocal.training.config import load_config, recipes

_PATIENCE = 3.0
"""Seconds for the hub to answer."""

_WEIGHTS = {".safetensors", ".bin", ".pt", ".pth", ".ckpt"}

_Sizes = Mapping[tuple[str, str], int]
"""Bytes that are here, by the kind of a repository of the hub and its name, with or without a revision behind an @."""


def weights() -> list[Finding]:
    """The hub, the bases of the recipes, the benchmarks, RAFT, and what the metrics with networks need."""
    here = in_cache()
    return [hub(), *_bases(here), *_benchmarks(here), *_raft(), *_metrics()]


def hub() -> Finding:
    """Whether the Hugging Face hub answers, asked as downloads ask it; or was said to be left alone."""
    if constants.HF_HUB_OFFLINE:
        return Finding("the hub", "absent", "offline by HF_HUB_OFFLINE: only what is here can be used")
    try:
        get_session().head(constants.ENDPOINT, timeout=_PATIENCE)  # through a proxy, where one is set
    except Exception as error:  # whatever it is, downloads would meet it
        return Finding("the hub", "absent", f"{constants.ENDPOINT} does not answer ({error}): what is here works")
    return Finding("the hub", "good", f"{constants.ENDPOINT} answers: what is missing is fetched when it is needed")


def in_cache() -> _Sizes:
    """What the hub's cache holds: of a model its weights alone, as its configs may be here without them."""
    try:
        found = scan_cache_dir().repos
    except CacheNotFound:
        return {}
    return {
        (repo.repo_type, name): _size_of(revisions, only_weights=repo.repo_type == "model")
        for repo in found
        for name, revisions in _named(repo)
    }


def _named(repository: CachedRepoInfo) -> Iterator[tuple[str, Iterable[CachedRevisionInfo]]]:
    """What a repository is called, and what each of its revisions is: by its commit, and by its branches and tags."""
    yield repository.repo_id, repository.revisions
    for revision in repository.revisions:
        yield from ((f"{repository.repo_id}@{name}", [revision]) for name in (revision.commit_hash, *revision.refs))


def _size_of(revisions: Iterable[CachedRevisionInfo], *, only_weights: bool) -> int:
    files = {file.blob_path: file for revision in revisions for file in revision.files}
    return sum(file.size_on_disk for file in files.values() if not only_weights or file.file_path.suffix in _WEIGHTS)


def _bases(here: _Sizes) -> Iterator[Finding]:
    for name, config in recipes().items():
        base = str(getattr(load_config(config).model, "weights", ""))
        if names_repository(base):
            yield _of_hub(here, base, "model", f"recipe {name}", repository_of(base).download)


def _benchmarks(here: _Sizes) -> Iterator[Finding]:
    for name, repository in REPOSITORIES.items():
        remedy = f"hf download --repo-type dataset {repository}, or give --benchmark the folder of a copy"
        yield _of_hub(here, repository, "dataset", f"--benchmark {name}", remedy)


def _of_hub(here: _Sizes, repository: str, kind: str, purpose: str, remedy: str) -> Finding:
    if size := here.get((kind, repository)):
        return Finding(repository, "good", f"{purpose}: {decimal(size)} here")
    return Finding(repository, "absent", f"{purpose}: not here", remedy)


def _raft() -> Iterator[Finding]:
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    for name, file in (("raft_large", Raft_Large_Weights), ("raft_small", Raft_Small_Weights)):
        path = folder / file.DEFAULT.url.rsplit("/", 1)[-1]
        if path.is_file():
            yield Finding(name, "good", f"--estimator {name}: here")
        else:
            yield Finding(name, "absent", f"--estimator {name}: not here", f"put {file.DEFAULT.url} at {path}")


def _metrics() -> Iterator[Finding]:
    settings = BackboneSettings(offline=True)
    asked: dict[WeightFile, list[str]] = {}
    networks = [(metric.name, getattr(metric, "backbone", None)) for metric in [*vbench_i2v(), *animatebench()]]
    for name, backbone in [*networks, ("fvd", i3d(settings))]:
        for file in backbone.files if backbone else ():
            asked.setdefault(file, []).append(name)
    for file, metrics in asked.items():
        purpose = f"metrics: {', '.join(metrics)}"
        try:
            where = locate(file, settings)
        except UnavailableError:
            remedy = f"{file.url or file.source}, to {settings.roots[0] / file.path}"
            yield Finding(file.path, "absent", purpose, remedy)
        else:
            yield Finding(file.path, "good", f"{purpose}: {_size(where)}")


def _size(path: Path) -> str:
    return decimal(path.stat().st_size) if path.is_file() else "a folder"
