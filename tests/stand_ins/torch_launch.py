"""Stands in for torch.distributed.launch: one process, which is given its rank."""

import argparse
import subprocess
import sys

parser = argparse.ArgumentParser(allow_abbrev=False)
for name in ("nproc_per_node", "nnodes", "master_addr", "master_port", "node_rank"):
    parser.add_argument(f"--{name}", required=True)
parser.add_argument("script")
parser.add_argument("rest", nargs=argparse.REMAINDER)
given = parser.parse_args()
sys.exit(subprocess.run([sys.executable, given.script, "--local_rank=0", *given.rest], check=False).returncode)
