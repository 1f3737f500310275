"""``motionfocal convert``: from a checkpoint of VideoCrafter or DynamiCrafter to a folder that models load from."""

from pathlib import Path

from rich.table import Table

from motionfocal.cli.console import console
from motionfocal.models.convert import convert


def run(kind: str, checkpoint: Path, out: Path, tokenizer: Path | None) -> None:
    """Write the folder, and print the weights of each part."""
    weights = convert(kind, checkpoint, out, tokenizer)
    table = Table("part", "weights")
    for part, count in weights.items():
        table.add_row(part, f"{count:,}")
    console.print(table)
    console.print(f"written to {out}")
