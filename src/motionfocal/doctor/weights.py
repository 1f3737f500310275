"""Which weights and data sets are here already, without fetching anything."""

import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import torch
from huggingface_hub import constants, scan_cache_dir
from huggingface_hub.errors import CacheNotFound
from rich.filesize import decimal
from torchvision.models.optical_flow import Raft_Large_Weights, Raft_Small_Weights

from motionfocal.benchmarks.load import REPOSITORIES
from motionfocal.doctor.finding import Finding
from motionfocal.errors import UnavailableError
from motionfocal.metrics.animatebench import animatebench
from motionfocal.metrics.backbones.motion import i3d
from motionfocal.metrics.backbones.weights import BackboneSettings, WeightFile, locate
from motionfocal.metrics.vbench import vbench_i2v
from motionfocal.training.config import load_config, recipes

_PATIENCE = 3.0
"""Seconds for the hub to answer."""


def weights() -> list[Finding]:
    """The hub, the bases of the recipes, the benchmarks, RAFT, and what the metrics with networks need."""
    return [hub(), *_bases(), *_benchmarks(), *_raft(), *_metrics()]


def hub() -> Finding:
    """Whether the Hugging Face hub answers, or was said to be left alone."""
    if constants.HF_HUB_OFFLINE:
        return Finding("the hub", "absent", "offline by HF_HUB_OFFLINE: only what is here can be used")
    address = urlsplit(constants.ENDPOINT)
    try:
        port = address.port or (443 if address.scheme == "https" else 80)
        socket.create_connection((address.hostname or "", port), timeout=_PATIENCE).close()
    except OSError as error:
        return Finding("the hub", "absent", f"{constants.ENDPOINT} does not answer ({error}): what is here works")
    return Finding("the hub", "good", f"{constants.ENDPOINT} answers: what is missing is fetched when it is needed")


def repository_size(repository: str, kind: str = "model") -> int:
    """Bytes of a repository of the hub that are on this machine."""
    try:
        found = scan_cache_dir().repos
    except CacheNotFound:
        return 0
    return sum(repo.size_on_disk for repo in found if repo.repo_id == repository and repo.repo_type == kind)


def _bases() -> Iterator[Finding]:
    for name, config in recipes().items():
        base = str(getattr(load_config(config).model, "weights", ""))
        if "/" in base:
            yield _of_hub(base, "model", f"recipe {name}", f"hf download {base}")


def _benchmarks() -> Iterator[Finding]:
    for name, repository in REPOSITORIES.items():
        remedy = f"hf download --repo-type dataset {repository}, or give --benchmark the folder of a copy"
        yield _of_hub(repository, "dataset", f"--benchmark {name}", remedy)


def _of_hub(repository: str, kind: str, purpose: str, remedy: str) -> Finding:
    size = repository_size(repository, kind)
    if size:
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
