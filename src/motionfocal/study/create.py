"""Make a study of its design: galleries checked, clips brought to one form and hidden names, all draws made once."""

import hashlib
import secrets
from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import yaml

from motionfocal.benchmarks import Benchmark, BenchmarkItem, narrowed
from motionfocal.errors import StudyError
from motionfocal.generation.asked import benchmark_of
from motionfocal.generation.gallery import Gallery
from motionfocal.generation.normalizing import normalize
from motionfocal.study.design import LEAST_MISSED, StudyDesign
from motionfocal.study.plan import (
    DESIGN,
    PLAN,
    SECRETS,
    ClipFile,
    PairPlan,
    Plan,
    Secrets,
    Shown,
    Study,
    read_secrets,
    write_secrets,
)
from motionfocal.study.trials import Trials
from motionfocal.video import content_of, write_image
from motionfocal.video.files import replace_text

Report = Callable[[str, int, int], None]
"""Is told what is being done, and how many of how many are done."""


def create_study(design: StudyDesign, folder: Path, report: Report = lambda what, done, total: None) -> Study:
    """Make a study in ``folder``; one that was cut off goes on. It is there, whole, when this returns.

    Raises:
        StudyError: the folder holds a study, the attention checks could fail nobody, a gallery lacks items or was asked
            something else, or a clip is bad; the text lists what is wrong.
        GalleryError, ManifestError, UnknownNameError: a gallery, the benchmark or an item cannot be found.
    """
    _require_checks_that_can_fail(design)
    if (folder / PLAN).exists():
        raise StudyError(f"{folder}: holds a study already, which never changes; make the new one in another folder")
    galleries = {gallery.model: gallery for gallery in map(Gallery.open, design.galleries)}
    if len(galleries) < len(design.galleries):
        raise StudyError("galleries: two are of the same model; a study compares different ones")
    models = tuple(galleries)
    pairs = _model_pairs(design, models)
    items = _items(design, benchmark_of(list(galleries.values()), design.benchmark), list(galleries.values()))
    _require_whole(list(galleries.values()), items)

    folder.mkdir(parents=True, exist_ok=True)
    kept = _secrets(folder)
    shown = _pictures(items, design, folder, kept.salt, report)
    clips = {
        model: _clips(gallery, items, design, folder, place, report)
        for place, (model, gallery) in enumerate(galleries.items())
    }
    planned = tuple(_pair(item.id, one, two, clips, kept.salt) for one, two in pairs for item in items)
    trials = Trials(
        design, folder, shown, planned, {clip.id: clip for of_model in clips.values() for clip in of_model.values()}
    )
    checks = trials.checks(report)
    examples, training = trials.examples(report)
    plan = Plan(
        name=design.name,
        models=models,
        shown=shown,
        clips=(*(clip for of_model in clips.values() for clip in of_model.values()), *trials.made),
        pairs=planned,
        checks=checks,
        examples=examples,
        training=training,
    )
    replace_text(folder / DESIGN, yaml.safe_dump(design.model_dump(mode="json"), sort_keys=False, allow_unicode=True))
    replace_text(folder / PLAN, plan.model_dump_json(indent=1) + "\n")
    return Study.open(folder)


def _require_checks_that_can_fail(design: StudyDesign) -> None:
    """A study whose file says who fails must be able to fail somebody; one that is there already is left as it is."""
    checks, tasks = design.checks, design.tasks
    graded = len(checks.graded(tasks))
    if not checks.share or not checks.fail_on or graded >= LEAST_MISSED:
        return
    shares = (percent / 100 for percent in range(1, 51))
    enough = (s for s in shares if len(checks.model_copy(update={"share": s}).graded(tasks)) >= LEAST_MISSED)
    needed = next(enough, None)
    raised = "raise tasks" if needed is None else f"raise share to {needed:g}"
    raise StudyError(
        f"checks: at a share of {checks.share:g} the {tasks} tasks of a rater hold {graded} that can fail one"
        f" ({', '.join(checks.fail_on)}), and it takes {LEAST_MISSED}; {raised}, or set fail_on: [] to fail nobody,"
        " or share: 0 to check nobody"
    )


def _model_pairs(design: StudyDesign, models: Sequence[str]) -> list[tuple[str, str]]:
    """The pairs of models to compare, each in the order of the galleries."""
    if design.pairs == "all":
        return list(combinations(models, 2))
    asked = (
        [(design.pairs, other) for other in models if other != design.pairs]
        if isinstance(design.pairs, str)
        else design.pairs
    )
    unknown = sorted({model for pair in asked for model in pair} - set(models))
    if unknown:
        raise StudyError(f"pairs: no gallery is of {', '.join(unknown)}; there are {', '.join(models)}")
    ordered = [(min(pair, key=models.index), max(pair, key=models.index)) for pair in asked]
    if any(one == two for one, two in ordered) or len(set(ordered)) < len(ordered):
        raise StudyError("pairs: each is of two different models, and given once")
    return ordered


def _items(design: StudyDesign, benchmark: Benchmark, galleries: Sequence[Gallery]) -> tuple[BenchmarkItem, ...]:
    """The items of the study, in the benchmark's order."""
    if design.items is None:
        return benchmark.items
    if design.items == "common":
        common = set.intersection(*({row.id for row in gallery.rows()} for gallery in galleries))
        if not common & {item.id for item in benchmark.items}:
            raise StudyError(f"items: no item of {benchmark.name} is in every gallery")
        return benchmark.select(lambda item: item.id in common).items
    if isinstance(design.items, tuple):
        return narrowed(benchmark, ids=design.items).items
    if not 0 < design.items <= len(benchmark.items):
        raise StudyError(f"items: {design.items} cannot be drawn of {len(benchmark.items)}")
    drawn = np.random.default_rng([design.seed, 3]).choice(len(benchmark.items), design.items, replace=False)
    return tuple(benchmark.items[place] for place in sorted(drawn))


def _require_whole(galleries: Sequence[Gallery], items: Sequence[BenchmarkItem]) -> None:
    """Every model must have every item, and must have been asked what the benchmark asks."""
    wrong = []
    for gallery in galleries:
        rows = {row.id: row for row in gallery.rows()}
        missing = [item.id for item in items if item.id not in rows]
        if missing:
            more = f" and {len(missing) - 10} more" if len(missing) > 10 else ""
            wrong.append(f"{gallery.folder}: {gallery.model} lacks {', '.join(missing[:10])}{more}")
        wrong += [
            f"{gallery.folder}: {item.id} was made from another {what}"
            for item in items
            if item.id in rows
            for what, has, should in (
                ("text", rows[item.id].text, item.text),
                ("image", rows[item.id].image, item.image),
            )
            if has != should
        ]
    if wrong:
        raise StudyError(
            "the galleries cannot be compared:\n  "
            + "\n  ".join(wrong[:20])
            + "\nsee 'motionfocal gallery check GALLERY... --benchmark NAME'; 'items: common' takes what all have"
        )


def _secrets(folder: Path) -> Secrets:
    """The study's secrets; those of a creation that was cut off are kept, for names hang on them."""
    path = folder / SECRETS
    if path.is_file():
        return read_secrets(path)
    made = Secrets(key=secrets.token_urlsafe(48), salt=secrets.token_urlsafe(48))
    write_secrets(path, made)
    return made


def _pictures(
    items: Sequence[BenchmarkItem], design: StudyDesign, folder: Path, salt: str, report: Report
) -> tuple[Shown, ...]:
    """The first frames, cropped as the clips are, a file a picture; made anew each time: the form may be another."""
    files: dict[str, str] = {}
    for done, item in enumerate(items, 1):
        if item.image not in files:
            files[item.image] = f"pictures/{_digest(salt, 'picture', item.image)}.png"
            write_image(folder / files[item.image], item.picture((design.form.height, design.form.width)))
        report("pictures", done, len(items))
    return tuple(Shown(item=item.id, image=item.image, text=item.text, picture=files[item.image]) for item in items)


def _clips(
    gallery: Gallery, items: Sequence[BenchmarkItem], design: StudyDesign, folder: Path, place: int, report: Report
) -> dict[str, ClipFile]:
    """A model's clips in normal form, by item."""
    wanted = Gallery(gallery.folder, [gallery.row(item.id) for item in items])
    target, done = folder / "clips" / str(place), 0

    def advance() -> None:
        nonlocal done
        done += 1
        report(f"clips of {gallery.model}", done, len(items))

    result = normalize(wanted, target, design.form, progress=advance)
    if result.failed:
        raise StudyError(
            f"clips of {gallery.model} do not take the study's form ({design.form.frames} frames of"
            f" {design.form.height}x{design.form.width}; change 'form' in the design):\n  "
            + "\n  ".join(result.failed[:20])
        )
    return {
        row.id: ClipFile(
            id=Path(row.file).stem,
            model=gallery.model,
            item=row.id,
            file=f"clips/{place}/{row.file}",
            content=content_of(target / row.file),
        )
        for row in Gallery.open(target).rows()
        if row.id in {item.id for item in items}
    }


def _pair(item: str, one: str, two: str, clips: dict[str, dict[str, ClipFile]], salt: str) -> PairPlan:
    return PairPlan(
        id=_digest(salt, "pair", item, one, two), item=item, first=clips[one][item].id, second=clips[two][item].id
    )


def _digest(*parts: str) -> str:
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:20]
