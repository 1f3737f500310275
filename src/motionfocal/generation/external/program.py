"""What all adapters share: check, write the input, run, pick up the clips as they appear, tell what is missing."""

import json
import re
import shutil
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

from pydantic import Field

from motionfocal.benchmarks import BenchmarkItem
from motionfocal.errors import ConfigError, MediaError, UnavailableError
from motionfocal.generation.animator import Failed, Made
from motionfocal.generation.animators.weights import hash_path
from motionfocal.generation.external.process import child_environment, how_it_ended, last_lines, running
from motionfocal.generation.external.texts import one_line, refusal
from motionfocal.settings import Settings
from motionfocal.video import Clip, read_clip, write_image

FPS = 8.0
"""All six programs write 8 frames a second; a GIF's own clock is not trusted, as its unit changed between writers."""

_PATIENCE = 3
"""Runs in a row without a clip before the rest is given up: then it is the environment, not the item."""

_POLL = 0.2
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


class ProgramSettings(Settings):
    """What every adapter can be told."""

    steps: int = Field(ge=1, description="Sampling steps.")
    minutes: float | None = Field(
        None, gt=0, description="End a program that has made no clip for so long, loading included; None waits."
    )


_S = TypeVar("_S", bound=ProgramSettings)


@dataclass(frozen=True)
class Task:
    """One item of a run: its place from 0, its text as one line, its picture (a PNG), the program's seed."""

    place: int
    id: str
    text: str
    seed: int | None
    picture: Path


@dataclass(frozen=True)
class Launch:
    """What follows ``python`` on the command line, and variables of the environment."""

    arguments: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Needed:
    """A file or folder that must be there, and how to get it."""

    path: Path
    advice: str
    decides: bool = True
    """Whether a clip depends on what is in it."""


class Program(ABC, Generic[_S]):
    """An animator that runs another project's program. One small subclass a project says how."""

    name: ClassVar[str]
    documented: ClassVar[tuple[str, ...]]
    """The arguments of the project's documented command that we pass; no other is ever passed."""

    script: ClassVar[str]
    pairs_by_order: ClassVar[bool] = False
    """The program pairs pictures and texts by order, so that a wrong count of clips makes every pair doubtful."""

    def __init__(self, checkout: Path, python: Path, options: _S, work: Path | None = None) -> None:
        """``checkout`` is the project's folder, ``python`` the interpreter of its environment.

        ``work`` is where input, logs and clips of runs are kept; without, they go to a temporary folder, and are
        deleted.
        """
        self.checkout = checkout.expanduser().absolute()
        self.python, self.options, self._work = python, options, work
        self._fruitless = 0

    @property
    def settings(self) -> Mapping[str, object]:
        """The options, the program's version, and its config and weights. Raises UnavailableError."""
        self.check()
        return {
            "program": self.name,
            "options": self.options.model_dump(mode="json", exclude={"minutes"}),
            "commit": _commit(self.checkout),
            "files": {self._named(needed.path): hash_path(needed.path) for needed in self.needs() if needed.decides},
        }

    @property
    def steps(self) -> int:
        """Sampling steps."""
        return self.options.steps

    @property
    def group(self) -> int:
        """Items that one process of the program is given."""
        return 1

    def animate(self, items: Sequence[BenchmarkItem], seeds: Sequence[int]) -> Iterator[Made | Failed]:
        """Each item once, each as soon as its clip is there.

        Raises:
            UnavailableError: the checkout, its python, weights or config are not there. Nothing has run.
            ConfigError: an option does not fit the checkout.
        """
        self.check()
        return self._animate(list(zip(items, seeds, strict=True)))

    def check(self) -> None:
        """Raise UnavailableError when something that the program needs is not there."""
        if not self.checkout.is_dir():
            raise UnavailableError(
                f"{self.name}: no checkout at {self.checkout}; clone the project and give its folder "
                "(docs/baselines.md)"
            )
        self._interpreter()
        for needed in self.needs():
            if not needed.path.exists():
                raise UnavailableError(f"{self.name}: {needed.path} is not there; {needed.advice}")

    @abstractmethod
    def needs(self) -> Sequence[Needed]:
        """What must be there before anything runs."""

    @abstractmethod
    def launch(self, tasks: Sequence[Task], folder: Path) -> Launch:
        """Write the program's own form of input into ``folder`` and say how to start it."""

    @abstractmethod
    def output(self, task: Task, folder: Path) -> Path | None:
        """The file of a task's clip, which may not be whole yet; None while there is none."""

    def size(self) -> tuple[int, int] | None:
        """(height, width) to which pictures are scaled and cropped first; None gives them as they are."""
        return None

    def refusal(self, text: str) -> str | None:
        """Why this program cannot be given a text; None if it can."""
        return None

    def seed(self, seed: int) -> int | None:
        """The seed that the program is given for ours; None where it takes none."""
        return seed

    def ready(self, task: Task, tasks: Sequence[Task], folder: Path) -> bool:
        """Whether the clip is whole while the program runs: the next one has been begun."""
        return any(self.output(later, folder) for later in tasks[task.place + 1 :])

    def stem(self, place: int, folder: Path) -> str:
        """The name of a picture without its ending: no dots, and in the order of places."""
        del folder
        return f"{place:05d}"

    def read(self, task: Task, file: Path, folder: Path) -> Clip:
        """The clip in a file of the program. Raises MediaError."""
        del folder
        return Clip(read_clip(file).frames, FPS, source=f"{self.name}: {task.id}")

    def done(self, folder: Path) -> None:
        """Called when a run is over: take away what the program wrote elsewhere."""

    def weights(self, value: str, advice: str) -> Sequence[Needed]:
        """A folder of weights, or nothing for a name on the hub, which the program downloads by itself."""
        path = self.checkout / value
        return () if _HUB_NAME.fullmatch(value) and not path.exists() else (Needed(path, advice),)

    def _named(self, path: Path) -> str:
        inside = path.is_relative_to(self.checkout)
        return path.relative_to(self.checkout).as_posix() if inside else path.name

    def _interpreter(self) -> Path:
        # Not resolved: a virtual environment's python is a link, and means its environment.
        found = shutil.which(str(self.python.expanduser()))
        if found is None:
            raise UnavailableError(
                f"{self.name}: {self.python} is no python that can be run; make the project's environment "
                "(docs/baselines.md) and give its python"
            )
        return Path(found).absolute()

    def _animate(self, asked: Sequence[tuple[BenchmarkItem, int]]) -> Iterator[Made | Failed]:
        for start in range(0, len(asked), self.group):
            group = asked[start : start + self.group]
            if self._fruitless == _PATIENCE:
                why = f"not tried, as the last {_PATIENCE} runs of {self.name} made no clip; their reasons say why"
                yield from (Failed(item.id, why) for item, _ in group)
                continue
            clips = yield from self._run(group)
            if clips is not None:
                self._fruitless = 0 if clips else self._fruitless + 1

    def _run(self, group: Sequence[tuple[BenchmarkItem, int]]) -> Generator[Made | Failed, None, int | None]:
        """Give a group to one process; returns how many clips it made, None if there was nothing to give."""
        if self._work is not None:
            self._work.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f"{self.name}-", dir=self._work)).absolute()
        tasks: list[Task] = []
        try:
            for item, seed in group:
                task = self._task(item, seed, len(tasks), folder)
                if isinstance(task, Failed):
                    yield task
                else:
                    tasks.append(task)
            if not tasks:
                return None
            _write_manifest(folder / "manifest.jsonl", tasks)
            return (yield from self._results(tasks, folder))
        finally:
            self.done(folder)
            if self._work is None:
                shutil.rmtree(folder, ignore_errors=True)

    def _task(self, item: BenchmarkItem, seed: int, place: int, folder: Path) -> Task | Failed:
        text = one_line(item.text)
        if reason := refusal(text) or self.refusal(text):
            return Failed(item.id, reason)
        picture = folder / "pictures" / f"{self.stem(place, folder)}.png"
        try:
            write_image(picture, item.picture(self.size()))
        except MediaError as error:
            return Failed(item.id, str(error))
        return Task(place, item.id, text, self.seed(seed), picture)

    def _results(self, tasks: Sequence[Task], folder: Path) -> Generator[Made | Failed, None, int]:
        launch, python = self.launch(tasks, folder), self._interpreter()
        command = [str(python), *launch.arguments]
        environment = child_environment(python, launch.environment)
        log, clips = folder / "log.txt", 0
        waiting = {task.place: task for task in tasks}
        with running(command, self.checkout, environment, log) as process:
            for task, file in self._appearing(process, tasks, folder):
                del waiting[task.place]
                result = self._result(task, file, folder)
                clips += isinstance(result, Made)
                yield result
            code = process.poll()
        for task in list(waiting.values()) if self._trusted(code, tasks, folder) else []:
            if written := self.output(task, folder):
                del waiting[task.place]
                result = self._result(task, written, folder)
                clips += isinstance(result, Made)
                yield result
        for task in waiting.values():
            yield Failed(task.id, self._missing(code, tasks, folder, log))
        return clips

    def _appearing(
        self, process: "subprocess.Popen[bytes]", tasks: Sequence[Task], folder: Path
    ) -> Iterator[tuple[Task, Path]]:
        """Clips that are whole while the program runs, until it has ended, is given up, or has made all."""
        waiting = list(tasks)
        since, count = time.monotonic(), 0
        while waiting and not _over(process):
            for task in [] if self.pairs_by_order else list(waiting):
                file = self.output(task, folder)
                if file and self.ready(task, tasks, folder):
                    waiting.remove(task)
                    yield task, file
            if (now := self._count(tasks, folder)) != count:
                since, count = time.monotonic(), now
            if self.options.minutes is not None and time.monotonic() - since > 60 * self.options.minutes:
                return

    def _result(self, task: Task, file: Path, folder: Path) -> Made | Failed:
        try:
            return Made(task.id, self.read(task, file, folder), task.seed)
        except MediaError as error:
            return Failed(task.id, f"{self.name}: {error}; its log ends:\n{last_lines(folder / 'log.txt')}")

    def _trusted(self, code: int | None, tasks: Sequence[Task], folder: Path) -> bool:
        """Whether what lies there is paired rightly: a program that ended well must have made as many as asked."""
        return not self.pairs_by_order or code != 0 or self._count(tasks, folder) == len(tasks)

    def _count(self, tasks: Sequence[Task], folder: Path) -> int:
        return sum(self.output(task, folder) is not None for task in tasks)

    def _missing(self, code: int | None, tasks: Sequence[Task], folder: Path, log: Path) -> str:
        counted = f"{self._count(tasks, folder)} of {len(tasks)} clips of this run are there"
        kept = "" if self._work is None else f" (all of it: {log})"
        end = f"{self.name}: {how_it_ended(code)}; {counted}"
        if code is None and self.options.minutes is not None:
            end += f"; it had made none for {self.options.minutes:g} minutes"
        return f"{end}; its log{kept} ends:\n{last_lines(log)}"


def require_plain(folder: Path, word: str, name: str) -> None:
    """Raise ConfigError when a path holds a word that a program replaces in it."""
    if word in str(folder):
        raise ConfigError(
            f"work: {name} replaces {word!r} in every path, so {folder} would lead elsewhere; give another"
        )


def _over(process: "subprocess.Popen[bytes]") -> bool:
    """Wait a moment; whether the program has ended."""
    try:
        process.wait(_POLL)
    except subprocess.TimeoutExpired:
        return False
    return True


def _write_manifest(path: Path, tasks: Sequence[Task]) -> None:
    lines = (json.dumps(asdict(task) | {"picture": task.picture.name}) for task in tasks)
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")


def _commit(checkout: Path) -> str | None:
    """The commit that is checked out, None where that cannot be read."""
    folder = next(
        (parent / ".git" for parent in chain([checkout], checkout.parents) if (parent / ".git").exists()), None
    )
    if folder is None or not (folder / "HEAD").is_file():
        return None
    head = (folder / "HEAD").read_text().strip()
    if not head.startswith("ref: "):
        return head
    loose, packed = folder / head.removeprefix("ref: "), folder / "packed-refs"
    if loose.is_file():
        return loose.read_text().strip()
    lines = packed.read_text().splitlines() if packed.is_file() else []
    return next((line.split()[0] for line in lines if line.endswith(" " + head.removeprefix("ref: "))), None)
