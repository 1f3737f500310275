"""A benchmark of the clips that a config holds out: their first frames, their texts, and the clips to compare with."""

import csv
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from io import StringIO
from pathlib import Path

from motionfocal.benchmarks import Benchmark, BenchmarkItem, load_folder
from motionfocal.benchmarks.own_folder import TABLES
from motionfocal.data.files import VideoFile
from motionfocal.data.prepare import Progress, silent
from motionfocal.data.sources import FolderData, Rejected, look_at, read_window, shot_of
from motionfocal.data.windows import Window, rng_of
from motionfocal.errors import ConfigError, ManifestError, MediaError
from motionfocal.generation.animator import Failed, Made
from motionfocal.generation.generate import Generated, generate
from motionfocal.video import write_image
from motionfocal.video.files import replace_text

PICTURES, TABLE, REAL = "pictures", "prompts.csv", "real"

_MARK = "made-of-held-out-clips.txt"
_LONGEST = 200
"""Bytes of an id that are kept in a file's name."""


@dataclass(frozen=True)
class Taken:
    """The window of a held-out clip that a benchmark asks about, with the text."""

    id: str
    picture: str
    text: str
    video: VideoFile
    window: Window


@dataclass(frozen=True)
class Written:
    """A benchmark, the clips that it cannot ask about, and the gallery of the real ones."""

    benchmark: Benchmark
    rejected: list[Rejected]
    real: Generated


def write_benchmark(data: FolderData, folder: Path, progress: Progress = silent) -> Written:
    """Write the held-out clips of a data set as a benchmark, and beside it, in ``folder/real``, as a gallery.

    An item's picture is the first frame of a window such as training takes, at the size of its bucket, and its clip in
    the gallery is that window. Called again, it goes on where it was killed.

    Raises:
        ConfigError: no clip is held out, or the folder holds a table that was not made here.
        ManifestError: not one of them can be used, or an id cannot name a file.
        MediaError: the folder cannot be written to.
    """
    if not data.held_out:
        raise ConfigError(
            "data.held_out is 0: there is no clip to ask about; hold out a share, such as 0.1, and train so"
        )
    _claim(folder)
    taken, rejected = _pictures(data, folder, progress)
    if not taken:
        raise ManifestError(f"none of {len(rejected)} held-out clips can be used; first: {rejected[0].reason}")
    replace_text(folder / TABLE, _table(taken))
    benchmark = load_folder(folder)
    done = 0

    def advance(clips: int) -> None:
        nonlocal done
        done += clips
        progress("real clips", done, len(taken))

    animator = _RealClips({one.id: one for one in taken}, asdict(data.sampling))
    return Written(benchmark, rejected, generate(animator, benchmark.items, folder / REAL, progress=advance))


def _claim(folder: Path) -> None:
    """Mark a folder as one of ours, before anything is in it. Raises ConfigError where it is somebody else's."""
    theirs = [name for name in TABLES if (folder / name).is_file()]
    if theirs and not (folder / _MARK).is_file():
        raise ConfigError(
            f"{folder}: holds a {theirs[0]} that 'motionfocal benchmark' did not write; choose another --out"
        )
    replace_text(folder / _MARK, "Made of held-out clips by 'motionfocal benchmark'.\n")


def _pictures(data: FolderData, folder: Path, progress: Progress) -> tuple[list[Taken], list[Rejected]]:
    """Choose a window of each clip and write its first frame; rows of one file share both."""
    captions = data.clips("held-out")
    names: dict[VideoFile, str] = {}
    taken, rejected = [], []
    for number, caption in enumerate(captions, 1):
        name = names.setdefault(caption.video, _file_name(caption.id))
        try:
            footage = shot_of(caption, look_at(caption.video), data.sampling).footage
            window = data.sampling.window(footage, rng_of("benchmark", name))
            frame = read_window(caption.video, window).frames[0]  # of a window that can be read to its end
        except MediaError as error:
            rejected.append(Rejected(caption.video.path, str(error)))
        else:
            write_image(folder / PICTURES / f"{name}.png", frame)
            taken.append(Taken(_file_name(caption.id), name, caption.text, caption.video, window))
        progress("first frames", number, len(captions))
    return taken, rejected


def _file_name(clip: str) -> str:
    """A clip's id as the name of a file: itself, or as much of it as can be and a hash, so that no two are the same."""
    kept = re.sub(r"[^\w .#,()+=-]", "-", clip).lstrip(".").encode()[:_LONGEST].decode(errors="ignore")
    return clip if kept == clip else f"{kept}-{hashlib.sha256(clip.encode()).hexdigest()[:8]}"


def _table(taken: Sequence[Taken]) -> str:
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["id", "image", "prompt"])
    writer.writerows([one.id, f"{PICTURES}/{one.picture}.png", one.text] for one in taken)
    return text.getvalue()


@dataclass(frozen=True)
class _RealClips:
    """Animates each picture as it truly went on; see ``Animator``."""

    taken: Mapping[str, Taken]
    settings: Mapping[str, object]
    name: str = REAL
    steps: None = None
    group: int = 1

    def animate(self, items: Sequence[BenchmarkItem], seeds: Sequence[int]) -> Iterator[Made | Failed]:
        for item in items:
            one = self.taken[item.id]
            try:
                yield Made(item.id, read_window(one.video, one.window), seed=None)
            except MediaError as error:
                yield Failed(item.id, str(error))
