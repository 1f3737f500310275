"""Shared fixtures: real clips from the benchmark beside the project, and a texture to move things on."""

import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

from .postgres import postgres_server

if TYPE_CHECKING:
    from playwright.sync_api import Browser
    from ray.cluster_utils import Cluster

os.environ["COLUMNS"] = "200"  # the console reads it once, when it is first imported: tables do not wrap in tests


# How long an example takes says how busy the machine is, and nothing of the code.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


def find_shared() -> Path | None:
    """The folder with TI2V-Bench and the golden fixtures: MOTIONFOCAL_SHARED, or ../shared beside the project."""
    folder = Path(os.environ.get("MOTIONFOCAL_SHARED", Path(__file__).parents[2] / "shared"))
    return folder if (folder / "ti2v_bench").is_dir() else None


class OneBrowserAtATime(LoadScopeScheduling):
    """A file's tests run in one process, and all files that drive a browser or a Ray cluster in the same one.

    Two browsers on two cores, or a browser beside a cluster, would disturb the clocks of pages, which some tests
    measure. (``--dist loadgroup`` is made for that, and groups nothing under pytest 9.2.)
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::", 1)[0]
        return "one at a time" if Path(file).name in ONE_AT_A_TIME else file

    def _assign_work_unit(self, node: WorkerController) -> None:
        """Files with slow tests first, and then those with many: else one process ends minutes after the other."""
        longest = max(self.workqueue, key=lambda scope: (Path(scope).name not in QUICK, len(self.workqueue[scope])))
        self.workqueue.move_to_end(longest, last=False)
        super()._assign_work_unit(node)


TEXTS = {path.name: path.read_text() for path in Path(__file__).parent.glob("test_*.py")}
ONE_AT_A_TIME = {name for name, text in TEXTS.items() if "playwright" in text or "ray_address" in text}
QUICK = {name for name, text in TEXTS.items() if "pytest.mark.slow" not in text}


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> OneBrowserAtATime:
    """How ``-n`` divides the tests."""
    return OneBrowserAtATime(config, log)


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


@pytest.fixture(scope="session")
def new_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """Makes folders for the many examples of a test; pytest's own would look at those of all tests for each."""
    folder, numbers = tmp_path_factory.mktemp("examples"), itertools.count()

    def make() -> Path:
        (made := folder / str(next(numbers))).mkdir()
        return made

    return make


@pytest.fixture
def estimators() -> Iterator[dict]:
    """The registered flow estimators, put back afterwards."""
    from motionfocal.motion import flow

    before = dict(flow._FACTORIES)
    yield flow._FACTORIES
    flow._FACTORIES.clear()
    flow._FACTORIES.update(before)
    flow._made.cache_clear()


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a PostgreSQL server that is started for the tests."""
    with postgres_server() as url:
        yield url


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a real Chromium, which Playwright drives."""
    pytest.importorskip("playwright", reason="browser tests need Playwright (pip install .[dev])")
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no Chromium here: apt-get install chromium, or set CHROMIUM to its path")
    return path


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator["Browser"]:
    """A real Chromium, one a test file."""
    from playwright import sync_api as playwright

    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def ray_cluster() -> "Iterator[Cluster]":
    """A real Ray cluster on this machine: a head without cores, and two nodes with one each."""
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'motionfocal[ray]'")
    from ray.cluster_utils import Cluster

    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 - Ray's spelling; at 15, tests beside it starve its workers
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for _ in range(2):
        cluster.add_node(num_cpus=1)
    yield cluster
    cluster.shutdown()


@pytest.fixture(scope="module")
def ray_address(ray_cluster: "Cluster") -> str:
    """Its address."""
    return ray_cluster.address
