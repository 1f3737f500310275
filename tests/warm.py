"""Processes that need not import torch and diffusers first: a server has imported them, and forks one a command.

All else is as in ``python -m``: a process imports our modules itself, and has its own folder, environment, limits,
output, signals and exit code. Only the seed of hashes is the server's; so where a test asks whether two processes do
the same digit for digit, one of them is a plain ``python``.
"""

import atexit
import contextlib
import functools
import importlib
import json
import os
import resource
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from pathlib import Path

LIBRARIES = (
    "accelerate", "av", "cv2", "diffusers.models.modeling_utils", "diffusers.pipelines.pipeline_utils",
    "diffusers.training_utils", "matplotlib.figure", "peft", "pydantic.dataclasses", "pydantic.json_schema",
    "pydantic.main", "rich.live", "rich.progress", "rich.table", "safetensors.torch", "scipy.stats", "torch",
    "torch.distributed.checkpoint.state_dict", "torch.utils.tensorboard", "torchvision",
    "transformers.modeling_utils", "typer",
)  # fmt: skip


# In a test


@functools.cache
def _address() -> str:
    """Where the server listens, which ends with this process."""
    folder = tempfile.mkdtemp(prefix="warm")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{folder}/s")
        listener.listen()
        number = listener.fileno()
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        server = subprocess.Popen(
            [sys.executable, __file__, str(number)], stdin=subprocess.PIPE, pass_fds=[number], env=environment
        )

    def end() -> None:
        server.communicate()
        shutil.rmtree(folder)

    atexit.register(end)
    return f"{folder}/s"


class Warm:
    """``python ARGUMENTS`` with ``-m`` or ``-c`` or a script, as far as the tests use of ``Popen``."""

    def __init__(self, *arguments: object, cwd: Path | None = None, env: dict[str, str] | None = None,
                 largest_file: int | None = None) -> None:  # fmt: skip
        asked = {
            "arguments": [str(argument) for argument in arguments], "cwd": str(cwd or Path.cwd()),
            "env": dict(os.environ if env is None else env), "largest_file": largest_file,
        }  # fmt: skip
        self._server = socket.socket(socket.AF_UNIX)
        self._server.connect(_address())
        self._said = ["", ""]
        pipes = [os.pipe(), os.pipe()]
        socket.send_fds(self._server, [b"."], [end for _, end in pipes])
        self._readers = [threading.Thread(target=self._read, args=(n, pipes[n][0])) for n in (0, 1)]
        for (_, end), reader in zip(pipes, self._readers, strict=True):
            os.close(end)
            reader.start()
        self._answers = self._server.makefile("rw")
        self._answers.write(json.dumps(asked) + "\n")
        self._answers.flush()
        self.arguments, self.pid, self.returncode = asked["arguments"], int(self._answers.readline()), None

    def _read(self, number: int, end: int) -> None:
        with open(end, errors="replace") as file:
            self._said[number] = file.read()

    def poll(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not select.select([self._server], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.arguments, timeout)
            self.returncode = int(self._answers.readline())
            self._answers.close()
            self._server.close()
        return self.returncode

    def kill(self) -> None:
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What it wrote to its output and to its errors, once it has ended."""
        self.wait(timeout)
        for reader in self._readers:
            reader.join()
        return self._said[0], self._said[1]


def run(
    *arguments: object, timeout: float = 300, check: bool = False, **how: object
) -> subprocess.CompletedProcess[str]:
    """Like ``subprocess.run`` with ``capture_output``."""
    process = Warm(*arguments, **how)
    try:
        out, errors = process.communicate(timeout)
    finally:
        process.kill()
    assert not check or process.returncode == 0, out + errors
    return subprocess.CompletedProcess(process.arguments, process.returncode, out, errors)


# In the server


def serve(listener: socket.socket) -> tuple[dict, list[int]]:
    """Fork for each who connects; returns in the forks alone: what was asked, and where output and errors go."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # who has ended is let go
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupted test closes our input
    while sys.stdin not in select.select([listener, sys.stdin], [], [])[0]:
        client, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            return attend(client)
        client.close()
    os._exit(0)


def attend(client: socket.socket) -> tuple[dict, list[int]]:
    """Tell a client the number of its process, and when that has ended its exit code; returns in the process alone."""
    _, ends, _, _ = socket.recv_fds(client, 1, 2)
    answers = client.makefile("rw")
    asked = json.loads(answers.readline())
    if (pid := os.fork()) == 0:
        answers.close()
        client.close()
        return asked, ends
    for end in ends:
        os.close(end)
    answers.write(f"{pid}\n")
    answers.flush()
    _, status = os.waitpid(pid, 0)
    answers.write(f"{os.waitstatus_to_exitcode(status)}\n")
    with contextlib.suppress(BrokenPipeError):  # nobody waits any more
        answers.flush()
    os._exit(0)


def become(asked: dict, ends: list[int]) -> None:
    """Be the process that was asked for."""
    for number, end in enumerate([os.open(os.devnull, os.O_RDONLY), *ends]):
        os.dup2(end, number)
        os.close(end)
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["env"])
    added = asked["env"].get("PYTHONPATH", "").split(os.pathsep)
    sys.path[1:1] = [folder for folder in added if folder and folder not in sys.path]
    if asked["largest_file"] is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (asked["largest_file"], asked["largest_file"]))
    importlib.import_module("numpy").random.seed()  # else the same in all forks
    code = 1
    try:
        execute(*asked["arguments"])
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        if isinstance(ended.code, str):
            print(ended.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    # What Python does at its end, but for giving back all that the libraries hold, which takes it a second.
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def execute(kind: str, *rest: str) -> None:
    if kind == "-m":
        sys.argv, sys.path[0] = list(rest), str(Path.cwd())
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif kind == "-c":
        sys.argv, sys.path[0] = ["-c", *rest[1:]], ""
        exec(rest[0], {"__name__": "__main__"})
    else:
        sys.argv, sys.path[0] = [kind, *rest], str(Path(kind).parent)
        runpy.run_path(kind, run_name="__main__")


if __name__ == "__main__":
    for library in LIBRARIES:
        importlib.import_module(library)
    become(*serve(socket.socket(fileno=int(sys.argv[1]))))
