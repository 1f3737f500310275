"""All benchmarks, one after another on an idle machine, and the table of their figures.

    python benchmarks/run.py                            # all, about half an hour on two cores
    python benchmarks/run.py loss_overhead startup      # some; the others' figures stay what they were
    python benchmarks/run.py --table README.md docs/figures.md    # no measuring: write the table between its marks

Figures are kept in ``benchmarks/figures.json`` with the machine that gave them. A benchmark that fails keeps its
earlier figures, and is named at the end.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from figures import ASKED

from motionfocal.experiments.machine import processor

HERE = Path(__file__).parent
KEPT = HERE / "figures.json"
BENCHMARKS = {
    "prepare_throughput": ["--clips", "8"],
    "prepare_memory": [],
    "flow_peers": [],
    "heatmap_accuracy": [],
    "loss_overhead": [],
    "trainer_step": [],
    "decode_once": [],
    "cluster_schedule": ["--clips-a-worker", "200"],
    "study_load": [],
    "study_coverage": [],
    "twin_players": ["--seconds", "30", "--burners", "4"],
    "startup": [],
}
MARKS = ("<!-- figures: python benchmarks/run.py -->\n", "<!-- end of figures -->")


def machine() -> str:
    """Processor and cores."""
    return f"{processor()}, {os.cpu_count()} cores"


def measured(name: str) -> list[dict[str, str]]:
    """The figures of one benchmark, whose output is shown as it comes.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    command = [sys.executable, str(HERE / f"{name}.py"), *BENCHMARKS[name]]
    print(f"\n$ python benchmarks/{name}.py {' '.join(BENCHMARKS[name])}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder) / "figures.json"
        subprocess.run(command, check=True, env=os.environ | {ASKED: str(told)})
        return json.loads(told.read_text())


def table(kept: dict[str, dict]) -> str:
    """Rows in the order of the benchmarks, and the machines that gave them."""
    lines = ["| what | figure | bar | `benchmarks/` |", "|---|---|---|---|"]
    known = [name for name in BENCHMARKS if name in kept]
    for name in known:
        command = " ".join([f"{name}.py", *BENCHMARKS[name]])
        lines += [f"| {row['what']} | {row['value']} | {row['bar']} | `{command}` |" for row in kept[name]["figures"]]
    machines = dict.fromkeys(kept[name]["machine"] for name in known)
    return "\n".join([*lines, "", f"Measured on: {'; '.join(machines)}."]) + "\n"


def write_table(document: Path, text: str) -> None:
    """Put the table between the marks of a document."""
    before, rest = document.read_text().split(MARKS[0])
    document.write_text(before + MARKS[0] + text + MARKS[1] + rest.split(MARKS[1])[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}")
    parser.add_argument("--table", nargs="+", type=Path, default=[], metavar="DOCUMENT", help="write it, and stop")
    asked = parser.parse_args()
    if unknown := set(asked.names) - BENCHMARKS.keys():
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}")
    kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    failed = []
    for name in () if asked.table else asked.names or BENCHMARKS:
        try:
            kept[name] = {"machine": machine(), "figures": measured(name)}
        except (subprocess.CalledProcessError, OSError) as error:
            failed.append(f"{name}: {error}")
            continue
        KEPT.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")
    for document in asked.table:
        write_table(document, table(kept))
    if not asked.table:
        print(f"\n{table(kept)}")
    if failed:
        sys.exit("failed:\n" + "\n".join(failed))


if __name__ == "__main__":
    main()
