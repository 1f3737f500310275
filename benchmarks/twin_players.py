"""How far the two players of the annotator's page drift apart while they loop, on an idle and on a busy machine.

python benchmarks/twin_players.py [--seconds 60] [--burners 4]

``drift`` is the distance of the two clips' media times, in frames, at each tick of the screen while both play.
``shown`` is the distance of the frames last composed, around the loop: 1 where one changes a tick before the other.
Needs Playwright and Chromium (CHROMIUM, or on the PATH); each burner is a process that keeps a core busy.
"""

import argparse
import json
import multiprocessing
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
from figures import Figure, tell
from playwright.sync_api import sync_playwright

from motionfocal.study.design import Texts
from motionfocal.study.questions import PRESETS
from motionfocal.study.web.pages import STATIC, render, static_text
from motionfocal.study.web.views import TaskView
from motionfocal.video import write_clip, write_image

MEASURE = """async (seconds) => {
  const clips = [...document.querySelectorAll("video")].map((video) => ({ video, shown: null }));
  for (const clip of clips) {
    const note = (_, { mediaTime }) => { clip.shown = mediaTime; clip.video.requestVideoFrameCallback(note); };
    clip.video.requestVideoFrameCallback(note);
  }
  const ticks = [], end = performance.now() + 1000 * seconds;
  await new Promise((done) => {
    const tick = (now) => {
      const playing = clips.every(({ video }) => !video.seeking && !video.paused);
      if (clips.every(({ shown }) => shown !== null)) {
        ticks.push([now, playing, ...clips.map(({ video }) => video.currentTime), ...clips.map(({ shown }) => shown)]);
      }
      if (now < end) requestAnimationFrame(tick); else done();
    };
    requestAnimationFrame(tick);
  });
  return ticks;
}"""


def clip_files(folder: Path, frames: int, fps: float, side: int = 320) -> None:
    """Two clips of noise with a square that moves: costlier to decode than most."""
    rng = np.random.default_rng(0)
    for name in ("left", "right"):
        ground = rng.integers(0, 255, (side // 4, side // 4, 3), dtype=np.uint8).repeat(4, 0).repeat(4, 1)
        clip = np.stack([np.roll(ground, 3 * t, axis=1) for t in range(frames)])
        write_clip(folder / f"{name}.mp4", clip, fps)
    write_image(folder / "picture.png", ground)


@contextmanager
def serving(folder: Path, page: str) -> Iterator[str]:
    """The page, its scripts and its media from a thread."""
    types = {".mp4": "video/mp4", ".png": "image/png"} | {Path(name).suffix: kind for name, kind in STATIC.items()}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.rsplit("/", 1)[-1]
            if name == "page":
                kind, body = "text/html; charset=utf-8", page.encode()
            elif name in STATIC:
                kind, body = STATIC[name], static_text(name).encode()
            else:
                file = folder / ("picture.png" if name == "task" else name)
                kind, body = types[file.suffix], file.read_bytes()
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/page"
    server.shutdown()


def burn() -> None:
    while True:
        pass


@contextmanager
def busy(burners: int) -> Iterator[None]:
    """So many processes that do nothing useful."""
    processes = [multiprocessing.Process(target=burn, daemon=True) for _ in range(burners)]
    for process in processes:
        process.start()
    yield
    for process in processes:
        process.terminate()


def measure(url: str, seconds: float, burners: int) -> np.ndarray:
    """Ticks [N, 6]: milliseconds, both play, media time left and right, shown time left and right."""
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 720})
        page.goto(url)
        page.wait_for_selector(".sides:enabled", timeout=60_000)
        with busy(burners):
            ticks = page.evaluate(MEASURE, seconds)
        browser.close()
    return np.array(ticks, float)


def summary(ticks: np.ndarray, frames: int, fps: float) -> dict[str, float]:
    playing = ticks[ticks[:, 1] == 1]
    drift = np.abs(playing[:, 2] - playing[:, 3]) * fps
    shown = np.abs(np.floor(ticks[:, 4] * fps + 0.5) - np.floor(ticks[:, 5] * fps + 0.5))
    shown = np.minimum(shown, frames - shown)
    return {
        "loops": float((np.diff(ticks[:, 2]) < -0.5 * frames / fps).sum()),
        "ticks": float(len(ticks)),
        "longest tick ms": float(np.diff(ticks[:, 0]).max()),
        "drift max": float(drift.max()),
        "drift p99": float(np.quantile(drift, 0.99)),
        "shown max": float(shown.max()),
        "shown over 1 %": float(100 * (shown > 1).mean()),
        "ticks alike %": float(100 * (shown == 0).mean()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--burners", type=int, default=2 * (os.cpu_count() or 1))
    settings = parser.parse_args()
    rows = []
    for frames, fps in ((16, 8.0), (49, 24.0)):
        view = TaskView(
            Texts(), "/r/t", "task", False, 0, 1, "a square moves", "", PRESETS["motif"], False, frames, fps
        )
        with tempfile.TemporaryDirectory() as folder:
            clip_files(Path(folder), frames, fps)
            with serving(Path(folder), render(view)) as url:
                for burners in (0, settings.burners):
                    ticks = measure(url, settings.seconds, burners)
                    rows.append({"frames": frames, "fps": fps, "burners": burners} | summary(ticks, frames, fps))
                    print(json.dumps(rows[-1]))
    print("| " + " | ".join(rows[0]) + " |\n|" + "---|" * len(rows[0]))
    for row in rows:
        print("| " + " | ".join(f"{value:.3g}" for value in row.values()) + " |")
    tell(
        *(
            Figure(
                f"the study's two players at {row['fps']:g} fps, {row['burners']} busy processes: frames apart at most",
                f"{row['drift max']:.3f}",
                "at most 1",
            )
            for row in rows
        )
    )


if __name__ == "__main__":
    main()
