"""Broken files, thousands of them, at every door that reads one: a typed error or a result, never anything else.

    python -m tests.fuzz --minutes 60
    python -m tests.fuzz --door votes --case 1234      # one case again, with its file kept

A case is a number: it decides the door, which of its good files are broken, and how. Doors are tried in a process
of their own, with bounded time and memory, so that a crash, a hang or a decompression bomb is one more finding.
"""

import argparse
import json
import re
import resource
import select
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from motionfocal.errors import MotionFocalError

from .fuzz_doors import DOORS, Door, good_files

SECONDS, MEGABYTES = 30, 1500
"""What one file may take of time, and of memory above what the process holds."""
WORDS = (
    *(b"", b"null", b"nan", b"-1", b"0", b"1e999", b"9" * 5000, b"true", b"[]", b"{}", b"''", b'"', b"'", b": ", b"- "),
    *(b"../../etc/passwd", b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", "ü\u202e".encode(), b"#", b"|", b"," * 50, b"\t"),
    *(b"!!python/object/apply:os.abort []", b"[" * 5000, b"{a: " * 3000, b'{"a": ' * 3000, b"&a [*a]", b"*a", b"\r\n"),
    *(b"9" * 25, b"2147483648", b"%00", b"%ED%A0%80", b"%2e%2e%2f", b"x" * 100_000),
)  # fmt: skip
"""What a word of a text becomes."""


@dataclass(frozen=True)
class Finding:
    """A case that came out neither as a result nor as an error of ours."""

    door: str
    case: int
    what: str


def broken(content: bytes, other: bytes, text: bool, rng: np.random.Generator) -> bytes:
    """One to four changes."""
    for _ in range(rng.integers(1, 5)):
        content = _word(content, rng) if text and rng.random() < 0.7 else _bytes(content, other, rng)
    return content


def _bytes(content: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    data = bytearray(content)
    if not data:
        return other[:1000]
    start = int(rng.integers(len(data)))
    end = min(len(data), start + int(2 ** rng.uniform(0, 12)))
    match rng.integers(7):
        case 0:
            for place in rng.integers(len(data), size=rng.integers(1, 17)):
                data[place] ^= 1 << rng.integers(8)
        case 1:
            data[start:end] = rng.bytes(end - start)
        case 2:
            data[start:end] = bytes([rng.choice([0, 255])]) * (end - start)
        case 3:
            del data[start:end]
        case 4:
            data[start:start] = data[start:end]
        case 5:
            data[start : start + 4] = int(rng.choice([0, 1, 2**31 - 1, 2**31, 2**32 - 1])).to_bytes(4, "big")
        case _:
            cut = int(rng.integers(len(other) + 1))
            data[start:] = other[cut:] if rng.random() < 0.5 else b""
    return bytes(data)


def _word(content: bytes, rng: np.random.Generator) -> bytes:
    lines = content.split(b"\n")
    number = int(rng.integers(len(lines)))
    match rng.integers(5):
        case 0:
            del lines[number]
        case 1:
            lines.insert(number, lines[int(rng.integers(len(lines)))])
        case _:
            words = re.split(rb"([\s,:;/?&=\"\[\]{}]+)", lines[number])  # what is between them has odd places
            words[2 * int(rng.integers((len(words) + 1) // 2))] = WORDS[int(rng.integers(len(WORDS)))]
            lines[number] = b"".join(words)
    return b"\n".join(lines)


def write_case(door: Door, case: int, good: Path, folder: Path) -> None:
    """The folder of a case: the door's good files, one of them broken, or every one."""
    rng = np.random.default_rng(case)
    shutil.copytree(good / door.name, folder)
    targets = sorted(path for path in folder.rglob(door.breaks) if path.is_file())
    for target in targets if door.every else [targets[int(rng.integers(len(targets)))]]:
        other = targets[int(rng.integers(len(targets)))].read_bytes()
        target.write_bytes(broken(target.read_bytes(), other, door.text, rng))


class Trier:
    """A process that tries doors, and is replaced when it dies or does not answer."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[str] | None = None

    def try_door(self, door: Door, folder: Path) -> str:
        """'ok', 'refused', or what went wrong."""
        if self.process is None:
            command = [sys.executable, "-m", "tests.fuzz", "--answer"]
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
        asking, answers = self.process.stdin, self.process.stdout
        try:
            asking.write(json.dumps([door.name, str(folder)]) + "\n")
            asking.flush()
        except BrokenPipeError:
            self.close()
            return "the process died between two cases"
        if not select.select([answers], [], [], SECONDS)[0]:
            self.close()
            return f"no answer in {SECONDS} s"
        if line := answers.readline():
            return json.loads(line)
        code = self.process.wait()
        self.close()
        return f"the process died, exit code {code}"

    def close(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            with suppress(BrokenPipeError):  # what it was not told any more
                self.process.stdin.close()
            self.process.stdout.close()
            self.process = None


def answer() -> None:
    """What runs in the process: a door and a folder a line in, an outcome a line out."""
    told = sys.stdout
    sys.stdout = sys.stderr
    held = None
    for line in sys.stdin:
        name, folder = json.loads(line)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        if held is None:
            held = before
            resource.setrlimit(resource.RLIMIT_AS, (2**33, 2**33))
        outcome = outcome_of(DOORS[name], Path(folder))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        if peak - max(before, held) > MEGABYTES:
            outcome = f"took {peak - before:.0f} MB"
        told.write(json.dumps(outcome) + "\n")
        told.flush()


def outcome_of(door: Door, folder: Path) -> str:
    """'ok', 'refused', or the error that is none of ours."""
    try:
        door.opens(folder)
    except MotionFocalError as error:
        return "refused" if str(error).strip() else f"{type(error).__name__} without a text"
    except BaseException as error:
        where = traceback.extract_tb(error.__traceback__)
        ours = [frame for frame in where if "motionfocal" in frame.filename] or where
        return f"{type(error).__name__} at {Path(ours[-1].filename).name}:{ours[-1].lineno}: {str(error)[:200]}"
    return "ok"


def fuzz(
    doors: list[Door], cases: Iterator[int], until: float, keep: Path | None = None
) -> tuple[Counter, list[Finding]]:
    """Try cases until a time; how they came out by door, and the findings, one of a kind."""
    outcomes: Counter[tuple[str, str]] = Counter()
    findings: dict[tuple[str, str], Finding] = {}
    trier = Trier()
    with tempfile.TemporaryDirectory() as name:
        good = Path(name) / "good"
        good_files(good)
        for case in cases:
            if time.monotonic() > until:
                break
            door, folder = doors[case % len(doors)], Path(name) / "case"
            write_case(door, case, good, folder)
            said = trier.try_door(door, folder)
            kind = said if said in ("ok", "refused") else "FOUND"
            outcomes[door.name, kind] += 1
            if kind == "FOUND" and (key := (door.name, said.partition(": ")[0])) not in findings:
                findings[key] = Finding(door.name, case, said)
                print(f"{door.name}, case {case}: {said}", flush=True)
            if keep:
                shutil.copytree(folder, keep, dirs_exist_ok=True)
            shutil.rmtree(folder)
    trier.close()
    return outcomes, list(findings.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=1)
    parser.add_argument("--door", choices=sorted(DOORS), help="this one only")
    parser.add_argument("--first", type=int, default=0, help="the number to begin with")
    parser.add_argument("--case", type=int, help="this case only; its folder is kept as ./fuzzed")
    parser.add_argument("--answer", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.answer:
        answer()
        return
    doors = [DOORS[asked.door]] if asked.door else list(DOORS.values())
    cases = range(asked.first, sys.maxsize) if asked.case is None else (asked.case,)
    keep = None if asked.case is None else Path("fuzzed")
    outcomes, findings = fuzz(doors, iter(cases), time.monotonic() + 60 * asked.minutes, keep)
    for name in sorted({door for door, _ in outcomes}):
        print(f"{name:20}" + "  ".join(f"{kind} {outcomes[name, kind]:6}" for kind in ("ok", "refused", "FOUND")))
    sys.exit(bool(findings))


if __name__ == "__main__":
    main()
