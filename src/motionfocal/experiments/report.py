"""The report of an experiment: a Markdown file, its figures, and all numbers as JSON, from result files alone."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from motionfocal.errors import ConfigError
from motionfocal.experiments.analysis import (
    REACHED,
    ExperimentAnalysis,
    Results,
    analyze_experiment,
    load_results,
)
from motionfocal.experiments.figures import contrasts_figure, curves_figure, noise_figure
from motionfocal.experiments.plan import Changes, ExperimentPlan, RunPlan
from motionfocal.experiments.tables import (
    arms_table,
    catch_up_table,
    contrast_name,
    contrasts_table,
    costs_table,
    curve_table,
    markdown,
    reasons_table,
)
from motionfocal.jsonl import without_nan
from motionfocal.report.study_page import NOTHING
from motionfocal.settings import dotted
from motionfocal.video.files import replace_text

REPORT, FIGURES = "report.md", "figures.json"
CURVES_SVG, CONTRASTS_SVG, NOISE_SVG = "curves.svg", "contrasts.svg", "noise.svg"

_NO_SETTINGS = ("name", "seed")
"""Keys of a training config in which runs always differ."""


def write_experiment_report(plan: ExperimentPlan, runs: Sequence[RunPlan], folder: Path, out: Path) -> Path:
    """Write ``report.md``, the SVGs it shows and ``figures.json`` into ``out``; the path of ``report.md``.

    ``folder`` is where the results of ``runs`` lie; runs without one are named in the report. Equal results give equal
    files.

    Raises:
        ConfigError: no run has a result, one is damaged, or a contrast's arms are asked about different scenes.
        MediaError: ``out`` cannot be written to.
    """
    results = load_results(runs, folder)
    if not results:
        raise ConfigError(f"{folder}: none of the {len(runs)} runs of {plan.name!r} has a result; run it first")
    found = analyze_experiment(plan, runs, results)
    drawn = _drawn(found)
    for name, svg in drawn.items():
        replace_text(out / name, svg)
    replace_text(out / FIGURES, _as_json(plan, found))
    replace_text(out / REPORT, "\n\n".join(_report(plan, runs, results, found, drawn)) + "\n")
    return out / REPORT


def _drawn(found: ExperimentAnalysis) -> dict[str, str]:
    """The figures that have something to show, by file name."""
    drawn = {}
    if any(row.steps for row in found.curves):
        drawn[CURVES_SVG] = curves_figure(found.curves)
    if any(row.score for row in found.contrasts):
        drawn[CONTRASTS_SVG] = contrasts_figure(found.contrasts)
    if any(row.levels for row in found.noise):
        drawn[NOISE_SVG] = noise_figure(found.noise)
    return drawn


def _as_json(plan: ExperimentPlan, found: ExperimentAnalysis) -> str:
    """All numbers; what is not defined is null."""
    told = {"name": plan.name, "about": plan.about, "seeds": plan.seeds, **asdict(found)}
    return json.dumps(without_nan(told), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _report(
    plan: ExperimentPlan, runs: Sequence[RunPlan], results: Results, found: ExperimentAnalysis, drawn: dict[str, str]
) -> Iterator[str]:
    """The blocks of the report, which an empty line parts."""
    yield f"# {plan.name}"
    if plan.about:
        yield plan.about
    yield from _missing(runs, found)
    yield "## Arms"
    yield _setup(plan)
    if len(plan.arms) > 1:
        yield "The settings in which they differ:"
        yield settings_table(runs)
    yield from _world_tables(plan, found)
    if CONTRASTS_SVG in drawn:
        yield f"![TI2V scores of all contrasts with their intervals]({CONTRASTS_SVG})"
        if any(row.paper for row in found.contrasts):
            yield "Dots are these scores with their intervals, open diamonds the paper's."
    yield "## Over training"
    yield curve_table(found.curves, len(plan.seeds))
    yield _reading_of_steps(plan)
    if plan.contrasts:
        yield (
            "The step at which ours, seed by seed, first follows as many texts as theirs does at its last one, over the"
            " seeds in which theirs follows any then:"
        )
        yield catch_up_table(found.catching_up, len(plan.seeds))
    if CURVES_SVG in drawn:
        yield f"![Share of texts followed over training]({CURVES_SVG})"
    if NOISE_SVG in drawn:
        yield "## Error by noise (Figure 6)"
        yield (
            "Held-out error over the cells that truly move, divided by that over all cells: above 1 the network is"
            " worse where something moves."
        )
        yield f"![Moving over overall error by noise level]({NOISE_SVG})"
    yield "## Cost"
    yield costs_table(found.costs, len(plan.seeds))
    yield "## Methods"
    yield " ".join(methods(plan))
    yield "## Runs"
    yield _runs_table(runs, results)


def _missing(runs: Sequence[RunPlan], found: ExperimentAnalysis) -> Iterator[str]:
    if found.missing:
        seeds: dict[str, list[str]] = {}
        for arm, seed in found.missing:
            seeds.setdefault(arm, []).append(str(seed))
        named = "; ".join(f"{arm}: seed{'s' * (len(of) > 1)} {', '.join(of)}" for arm, of in seeds.items())
        yield f"**Not complete:** {len(found.missing)} of {len(runs)} runs have no result yet ({named})."


def _setup(plan: ExperimentPlan) -> str:
    shared = f" with {_changes(plan.set)}" if plan.set else ""
    seeds = f"seed{'s' if len(plan.seeds) > 1 else ''} {', '.join(map(str, plan.seeds))}"
    worlds = [f"{world} ({_changes(changes)})" if changes else world for world, changes in plan.worlds.items()]
    return (
        f"All arms start from the recipe `{plan.recipe}`{shared}, with {seeds}."
        f" Worlds that they are asked about: {'; '.join(worlds)}."
    )


def _changes(changes: Changes) -> str:
    return ", ".join(f"`{key}: {value}`" for key, value in changes.items())


def settings_table(runs: Sequence[RunPlan]) -> str:
    """The resolved settings in which arms differ, an arm a row; a dash where an arm has no such setting."""
    by_arm = {
        run.arm: {key: str(value) for key, value in dotted(run.config.model_dump(mode="json")).items()}
        for run in reversed(runs)
    }
    arms = list(dict.fromkeys(run.arm for run in runs))
    keys = dict.fromkeys(key for arm in arms for key in by_arm[arm] if key not in _NO_SETTINGS)
    differing = [key for key in keys if len({by_arm[arm].get(key) for arm in arms}) > 1]
    return markdown(
        ["Arm", *(f"`{key}`" for key in differing)],
        [[arm, *(by_arm[arm].get(key, NOTHING) for key in differing)] for arm in arms],
    )


def _world_tables(plan: ExperimentPlan, found: ExperimentAnalysis) -> Iterator[str]:
    for world in plan.worlds:
        yield f"## World: {world}"
        yield arms_table([row for row in found.arms if row.world == world], len(plan.seeds))
        contrasts = [row for row in found.contrasts if row.world == world]
        if contrasts:
            yield contrasts_table(contrasts, len(plan.seeds))
            yield "What the oracle preferred them for, as shares of all pairs, ours / theirs:"
            yield reasons_table(contrasts)
        lone = [row.arm for row in found.arms if row.world == world and len(row.seeds) == 1]
        lone += [contrast_name(row) for row in contrasts if len(row.seeds) == 1]
        if lone:
            yield (
                f"One seed alone stands for {', '.join(lone)}: these intervals hold over images for that training; of"
                " other seeds nothing can be said, and nothing is tested."
            )


def _reading_of_steps(plan: ExperimentPlan) -> str:
    half, most = (f"{100 * share:.0f} %" for share in REACHED)
    over = (
        "One seed was planned: its curve has no interval."
        if len(plan.seeds) == 1
        else "The figure's bands reach from the lowest seed to the highest."
    )
    return (
        f"The steps are those at which a seed first follows {half} and {most} of the {2 * plan.curve_images} texts of"
        f" the curve, on straight lines between points every {plan.curve_every} steps: the median over all seeds, one"
        f" that never gets there being the last, and in brackets how many do. {over}"
    )


def methods(plan: ExperimentPlan) -> Iterator[str]:
    """How the figures are made, sentence by sentence."""
    yield (
        f"Each model was asked {plan.texts} texts on each of {plan.images} scenes of every world; an exact oracle"
        " measured one clip a text. All arms of a seed saw the same clips, timesteps and noise."
    )
    if plan.contrasts:
        yield (
            "The TI2V score is the share of pairs, of the same seed and text, in which the oracle prefers ours for one"
            " of the four reasons; a pair in which it sees no difference is a tie and counts one half. It is tested"
            " against one half. The difference of followed shares is"
            " paired in the same way and tested against 0. Contrasts use the seeds that both arms have. The paper's"
            " figures are people's, of other models on other clips."
        )
    yield _intervals(plan)
    if plan.contrasts:
        yield (
            f"p-values are two-sided and adjusted by Holm's method for the plan's contrasts ({len(plan.contrasts)}) in"
            " a world, scores and differences apart; a contrast without a result counts as one of them, one of a"
            " single seed is not tested. Seconds are of the training steps alone, and are compared where all runs of a"
            " contrast name the same processor and versions; seconds a point are the seconds that ours took longer for"
            " each point of per cent that it follows more, where it does."
        )


def _intervals(plan: ExperimentPlan) -> str:
    if len(plan.seeds) == 1:
        return (
            "Intervals are at 95 % and hold over images for this one training: with a single seed nothing can be said"
            " of other seeds, by interval or by p. Texts of one image are taken for one cluster."
        )
    return (
        "Intervals are at 95 % and hold over seeds and images together: the variance is clustered in both ways"
        " (Cameron, Gelbach and Miller 2011), freed of bias for few clusters, with a t quantile of Satterthwaite's"
        " degrees of freedom, which few seeds make small, and where these seem to add no variance no more than their"
        " number less one; of shares they are Wilson's, of errors and differences plain t intervals. Where an arm has"
        " one seed alone they hold over images for that training. Intervals of the"
        " curve and of Figure 6 are over seeds, for these texts and clips, and need two seeds."
    )


def _runs_table(runs: Sequence[RunPlan], results: Results) -> str:
    return markdown(
        ["Arm", "Seed", "Run", "Result"],
        [
            [run.arm, str(run.seed), f"`{run.fingerprint}`", "yes" if (run.arm, run.seed) in results else "missing"]
            for run in runs
        ],
    )
