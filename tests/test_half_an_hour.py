"""The page "Half an hour", walked line by line as it stands there, with fewer steps and a browser that votes."""

import asyncio
import re
import shlex
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from .analysis_file import read_analysis
from .driving import REASONS, Driver, Said

PAGE = (Path(__file__).parents[1] / "docs" / "half-an-hour.md").read_text()
FASTER = "--set steps=4 --set data.clips=4 --set optimizer.warmup_steps=0 --set model.width=16 --set validation=null"

pytestmark = [pytest.mark.slow, pytest.mark.long]


def run(line: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *shlex.split(line)], check=False, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    return done.stdout


async def vote(link: str, chromium: str) -> Driver:
    from playwright.async_api import async_playwright

    async def left(uid: str) -> Said:
        return Said("left", (REASONS[0],))

    person = Driver(link, left, keyboard=True)
    async with async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        await person.take_part(await browser.new_context())
        await browser.close()
    return person


def test_every_step_works_as_written(tmp_path, monkeypatch, chromium):
    monkeypatch.chdir(tmp_path)
    install, train, look, ask, read = re.findall(r"```bash\n(.*?)```", PAGE, re.S)
    assert "pip install '.[study]'" in install
    for line in train.splitlines():
        run(line.replace("--set steps=800", FASTER))
    for line in look.splitlines():
        said = run(f"{line} --images 2" if " animate " in line else line)
    assert (tmp_path / re.search(r"[\w/.]+\.html", said).group()).is_file()

    (tmp_path / "study.yaml").write_text(re.search(r"```yaml\n(.*?)```", PAGE, re.S).group(1))
    create, invite, serve = ask.splitlines()
    run(create)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    link = re.search(r"http://\S+", run(f"{invite} --public-url {address}")).group()
    server = subprocess.Popen([sys.executable, "-m", *shlex.split(f"{serve} --port {port}")])
    try:
        wait_for(address)
        person = asyncio.run(vote(link, chromium))
    finally:
        server.terminate()
        server.wait()
    assert len(person.acknowledged) == 2
    assert not person.troubles

    status, analyze = read.splitlines()
    assert "2 of 2" in run(status)
    run(analyze)
    assert (tmp_path / "results" / "index.html").is_file()
    (row,) = read_analysis(tmp_path / "results" / "analysis.json").tables[0].rows
    assert row.items == 2


def wait_for(address: str) -> None:
    """Until the server answers."""
    until = time.monotonic() + 120
    while True:
        try:
            httpx.get(f"{address}/health").raise_for_status()
            return
        except httpx.TransportError:
            assert time.monotonic() < until, "the server does not answer"
            time.sleep(0.2)
