"""Behaves as DynamiCrafter's scripts/evaluation/ddp_wrapper.py is documented to, but refuses unknown arguments."""

import argparse
import importlib
import os

parser = argparse.ArgumentParser(allow_abbrev=False)
parser.add_argument("--module", default="inference")
parser.add_argument("--local_rank", type=int, nargs="?", default=0)
known, rest = parser.parse_known_args()
module = importlib.import_module(known.module)
given = module.get_parser().parse_args(rest)
if os.environ.get("STAND_IN_VARIANT") == "seed in folder":
    given.savedir += f"_seed{given.seed}"
module.run_inference(given)
