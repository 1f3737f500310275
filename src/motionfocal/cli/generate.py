"""``motionfocal generate``: any model on any benchmark, into a gallery."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from motionfocal.benchmarks import load_benchmark, narrowed
from motionfocal.cli.console import console, finish, list_notes, progress_bar
from motionfocal.engine import HERE, Engine
from motionfocal.errors import ConfigError
from motionfocal.generation.asked import remember_benchmark
from motionfocal.generation.generate import generate
from motionfocal.generation.open import Options, open_animator
from motionfocal.reading import parse_yaml
from motionfocal.shard import WHOLE, Shard


def run(
    model: str,
    benchmark: str,
    out: Path,
    options: Options,
    *,
    name: str | None = None,
    seed: int = 0,
    shard: str | None = None,
    scenarios: Sequence[str] = (),
    tags: Sequence[str] = (),
    ids: Sequence[str] = (),
    limit: int | None = None,
    engine: Engine = HERE,
) -> None:
    """Animate what the gallery lacks; the exit code is 1 when an item failed."""
    part = WHOLE if shard is None else Shard.parse(shard)
    animator = open_animator(model, options)
    whole = load_benchmark(benchmark)
    items = narrowed(whole, ids=ids, scenarios=scenarios, tags=tags).items[:limit]
    if not getattr(animator, "takes_text", True):
        console.print(f"{animator.name} takes no text: items of one picture differ by their noise alone")
    remember = cache(lambda: remember_benchmark(out, benchmark))
    with progress_bar() as progress:
        mine = sum(part.holds(item.id) for item in items)
        task = progress.add_task(f"animating {whole.name}", total=mine, note="")

        def advance(done: int) -> None:
            """Told first when the folder has been accepted, before the first clip."""
            remember()
            progress.advance(task, done)

        made = generate(
            animator,
            items,
            out,
            name=name,
            seed=seed,
            shard=part,
            known=[item.id for item in whole.items],
            engine=engine,
            progress=advance,
            tell=lambda failed: list_notes([f"{failed.id}: {failed.reason}"]),
        )
    console.print(f"{len(made.gallery.rows())} clips in {out}", highlight=False, soft_wrap=True)
    if made.failed:
        console.print("the same command tries again what failed, and keeps the rest")
    finish("items", [f"{failure.id}: {failure.reason}" for failure in made.failed])


def parse_settings(texts: Sequence[str]) -> dict[str, object]:
    """``KEY=VALUE``, values in YAML. Raises ConfigError."""
    settings: dict[str, object] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise ConfigError(f"--set {text}: expected KEY=VALUE, such as eta=1")
        settings[key] = parse_yaml(value, f"--set {text}", ConfigError)
    return settings
