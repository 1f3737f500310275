"""Start-up: seconds of `motionfocal --help` and of `import motionfocal`, as whole processes.

python benchmarks/startup.py
"""

import statistics
import subprocess
import sys
import time

from figures import Figure, spread, tell

RUNS = 7
COMMANDS = {
    "motionfocal --help": [sys.executable, "-m", "motionfocal", "--help"],
    "import motionfocal": [sys.executable, "-c", "import motionfocal"],
    "python -c pass": [sys.executable, "-c", "pass"],
}


def seconds(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    print("| command | median s | min s | max s |\n|---|---|---|---|")
    found = {}
    for name, command in COMMANDS.items():
        seconds(command)
        times = found[name] = [seconds(command) for _ in range(RUNS)]
        print(f"| {name} | {statistics.median(times):.3f} | {min(times):.3f} | {max(times):.3f} |")
    tell(*(Figure(f"`{name}`, seconds", spread(times)) for name, times in found.items()))


if __name__ == "__main__":
    main()
