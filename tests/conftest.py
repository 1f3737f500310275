"""Shared fixtures: real clips from the benchmark beside the project, and a texture to move things on."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from .postgres import postgres_server

os.environ["COLUMNS"] = "200"  # the console reads it once, when it is first imported: tables do not wrap in tests


def find_shared() -> Path | None:
    """The folder with TI2V-Bench and the golden fixtures: MOTIONFOCAL_SHARED, or ../shared beside the project."""
    folder = Path(os.environ.get("MOTIONFOCAL_SHARED", Path(__file__).parents[2] / "shared"))
    return folder if (folder / "ti2v_bench").is_dir() else None


@pytest.fixture(scope="session")
def ti2v_bench() -> Path:
    """TI2V-Bench at 320x320 with real generated clips."""
    shared = find_shared()
    if shared is None:
        pytest.skip("TI2V-Bench is not here: set MOTIONFOCAL_SHARED to the folder that holds ti2v_bench/")
    return shared / "ti2v_bench"


@pytest.fixture(scope="session")
def golden() -> Path:
    """Outputs of the reference networks and samplers, as safetensors."""
    shared = find_shared()
    if shared is None or not (shared / "golden").is_dir():
        pytest.skip("the golden fixtures are not here: set MOTIONFOCAL_SHARED to the folder that holds golden/")
    return shared / "golden"


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a PostgreSQL server that is started for the tests."""
    with postgres_server() as url:
        yield url
