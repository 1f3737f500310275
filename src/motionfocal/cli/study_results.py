"""``motionfocal study``: plan a study, rehearse it, have other raters judge it, and find out what it says."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from rich.progress import Progress, TaskID
from rich.table import Table

from motionfocal.cli.console import console, list_failures, progress_bar
from motionfocal.cli.study import opened, shown_share
from motionfocal.errors import ConfigError, StudyError
from motionfocal.generation.gallery import Gallery
from motionfocal.generation.origin import has_origin, load_origin
from motionfocal.metrics.chat import Chat, ChatSettings, HttpChat
from motionfocal.metrics.local_chat import TransformersChat
from motionfocal.report.results import read_results
from motionfocal.report.study_folder import analyze_to
from motionfocal.study.analysis.contents import Analysis
from motionfocal.study.analysis.export import VoteRow
from motionfocal.study.analysis.planning import power_plan
from motionfocal.study.analysis.simulation import Population
from motionfocal.study.analysis.votes import read_votes
from motionfocal.study.fieldwork.database import Database
from motionfocal.study.fieldwork.simulated import raters_needed, simulate
from motionfocal.study.fieldwork.votes_of import check_rows, left_out, repeats_of, vote_rows
from motionfocal.study.plan import DATABASE, Study
from motionfocal.study.protocol import Rater
from motionfocal.study.questions import Question
from motionfocal.study.raters.both_orders import judge_both_orders
from motionfocal.study.raters.comparisons import comparisons_of, machine_judgements, store_of
from motionfocal.study.raters.metric import MetricRater
from motionfocal.study.raters.oracle import oracle_of
from motionfocal.study.raters.vlm import VlmRater, VlmRaterSettings


def run_analyze(votes: Path, out: Path, model: str | None, url: str | None, seed: int) -> Analysis:
    """Analyze a table or a study, and print what matters."""
    again = f"motionfocal study analyze {votes.name} --out {out.name}" + (f" --model {model}" if model else "")
    command = f"{again} --seed {seed}"
    if not votes.is_dir():
        analysis = analyze_to(read_votes(votes), out, name=votes.stem, model=model, seed=seed, commands=(command,))
    else:
        with opened(votes, url) as (study, database):
            analysis = _analyzed(study, database, out, model, seed, (command,))
    _print(analysis, out)
    return analysis


def run_simulate(
    folder: Path,
    out: Path,
    raters: int | None,
    effect: float,
    side: float,
    careless: float,
    item_sd: float,
    rater_sd: float,
    seed: int,
) -> None:
    """Rehearse a study, and print what was put in beside what came out; unset, as many raters vote as it needs."""
    study = Study.open(folder)
    raters = raters or raters_needed(study)
    path = out / DATABASE
    if path.exists():
        raise StudyError(f"{path}: a rehearsal is there already; give another folder")
    out.mkdir(parents=True, exist_ok=True)
    population = Population(effect=effect, item_sd=item_sd, rater_sd=rater_sd, side=side, careless=careless)
    database = Database(f"sqlite:///{path.absolute()}")
    try:
        with progress_bar() as progress:
            task = progress.add_task("voting", total=raters, note="")
            made = simulate(
                study,
                database,
                population,
                raters,
                np.random.default_rng(seed),
                partial(_show, progress, task),
            )
        analysis = _analyzed(study, database, out, None, seed, (), rehearsal=True)
    finally:
        database.close()
    _print(analysis, out)
    wanted = len(study.plan.pairs) * study.design.votes
    people = analysis.tables[0]
    console.print(
        f"put in: {100 * population.preference:.1f} % of votes for the first model, {100 * population.left:.1f} % left,"
        f" {len(made.careless)} careless of {raters}"
    )
    votes = sum(row.votes for row in people.rows)
    console.print(
        f"came out: {votes} of {wanted} votes, {shown_share(people.side.left)} left; left out:", highlight=False
    )
    console.print(f"  {', '.join(analysis.excluded) or 'nobody'} (careless: {', '.join(made.careless) or 'nobody'})")
    if votes < wanted:
        console.print("[yellow]Not enough raters: some pairs lack votes.[/yellow]")


def run_rate(folder: Path, rater: str, results: Path | None, url: str | None, model: str | None, frames: int) -> None:
    """Have a rater that is no person judge every pair in both orders."""
    study = Study.open(folder)
    failures: list[str] = []
    with progress_bar() as progress:
        for question in study.design.asked[:1] if rater == "oracle" else study.design.asked:  # it knows one
            judge = _rater(study, question, rater, results, url, model, frames)
            task = progress.add_task(f"{judge.name}: {question.id}", total=None, note="")
            outcome = judge_both_orders(
                judge,
                comparisons_of(study),
                store_of(study, judge.name),
                partial(_show, progress, task),
                question=question.id,
            )
            console.print(f"{judge.name}: {len(outcome.judgements)} judgements, both orders", highlight=False)
            failures += [str(failure.error) for failure in outcome.failures]
    list_failures("comparisons", failures)
    if failures:
        raise SystemExit(1)


def run_plan(
    items: int,
    images: int,
    baselines: int,
    votes: int,
    aim: float | None,
    tasks: int,
    checks: float,
    seconds: float,
    hourly: float | None,
) -> None:
    """Print what a study of this size would show, and what it takes."""
    plan = power_plan(
        items=items,
        images=images,
        pairs=baselines,
        votes=votes,
        aim=aim,
        tasks=tasks,
        checks=checks,
        seconds=seconds,
        hourly=hourly,
    )
    table = Table(title=f"{items} items on {images} images, {votes} votes each, power 80 % at the 5 % level")
    for row in plan.detectable if images < items else plan.detectable[:1]:
        cells = {
            "correlation within an image": f"{row.icc:g}",
            "smallest TI2V score that shows": f"{100 * row.score:.1f} % ({100 * row.preference:.1f} % of votes)",
        }
        if baselines > 1:
            cells[f"of all {baselines} (Bonferroni)"] = f"{100 * row.corrected_score:.1f} %"
        if aim is not None:
            cells[f"items to show {100 * aim:.0f} %"] = str(row.items_needed)
        if not table.columns:
            for name in cells:
                table.add_column(name)
        table.add_row(*cells.values())
    console.print(table)
    effort = plan.effort
    pay = "" if effort.pay is None else f", {effort.pay:.2f} of pay"
    console.print(f"{effort.votes} votes: {effort.raters} raters at {tasks} tasks, {effort.hours:.1f} hours{pay}")


def _show(progress: Progress, task: TaskID, done: int, total: int) -> None:
    progress.update(task, completed=done, total=total)


def _analyzed(
    study: Study,
    database: Database,
    out: Path,
    model: str | None,
    seed: int,
    commands: Sequence[str],
    *,
    rehearsal: bool = False,
) -> Analysis:
    with database.read() as session:
        rows, repeats = vote_rows(session, study), repeats_of(session, study)
        checks, excluded = check_rows(session, study), left_out(session)
    if not rehearsal:
        rows += [VoteRow(judgement) for judgement in machine_judgements(study)]
    return analyze_to(
        rows,
        out,
        name=f"{study.plan.name}: a rehearsal, nobody voted" if rehearsal else study.plan.name,
        foreword="A rehearsal: all that is called people here was made up." if rehearsal else "",
        model=model or _reference(study),
        repeats=repeats,
        excluded=excluded,
        checks=checks,
        design=study.design,
        commands=commands,
        seed=seed,
    )


def _reference(study: Study) -> str | None:
    """The model that is compared with all others, if the design says so; of two, the first."""
    pairs = study.design.pairs
    if isinstance(pairs, str) and pairs in study.plan.models:
        return pairs
    return study.plan.models[0] if len(study.plan.models) == 2 else None


def _rater(
    study: Study,
    question: Question,
    rater: str,
    results: Path | None,
    url: str | None,
    model: str | None,
    frames: int,
) -> Rater:
    kind, _, name = rater.partition(":")
    _refuse_idle(kind, results=results, url=url, model=model)
    if kind == "oracle":
        galleries = [Gallery.open(folder) for folder in study.design.galleries]
        if not all(has_origin(gallery.folder) for gallery in galleries):
            raise ConfigError("oracle: knows its own world only; these galleries were not made by 'animate --world'")
        return oracle_of(study, load_origin(galleries[0].folder).benchmark)
    if kind == "metric" and name:
        if results is None:
            raise ConfigError("--results: a metric needs the results.json of 'motionfocal metrics'")
        return MetricRater(read_results(results), name, question.id)
    if kind == "vlm":
        if model is None:
            raise ConfigError("--model: say which vision-language model")
        chat: Chat = HttpChat(ChatSettings(url=url, model=model)) if url else TransformersChat(model)
        settings = VlmRaterSettings(frames=frames, cache=study.folder / "machine" / "answers" / "vlm.jsonl")
        return VlmRater(chat, question, ties=study.design.ties, settings=settings)
    raise ConfigError(f"rater: oracle, metric:NAME or vlm, got {rater}")


def _refuse_idle(kind: str, **given: Path | str | None) -> None:
    """A setting that would have no effect is refused."""
    used = {"oracle": (), "metric": ("results",), "vlm": ("url", "model")}.get(kind, tuple(given))
    idle = [f"--{name}" for name, value in given.items() if value is not None and name not in used]
    if idle:
        raise ConfigError(f"{', '.join(idle)}: no setting of the rater {kind!r}; leave it out")


def _print(analysis: Analysis, out: Path) -> None:
    """A table a question and kind of rater."""
    for found in analysis.tables:
        table = Table(
            "model / baseline", "items", "votes", "TI2V score", "share of votes", "p (Holm)",
            title=f"{found.question}, raters: {found.kind}",
        )  # fmt: skip
        for row in found.rows:
            table.add_row(
                f"{row.model} / {row.baseline}",
                str(row.items),
                str(row.votes),
                shown_share(row.ti2v_score),
                shown_share(row.vote_score),
                f"{row.p_holm:.2g}",
            )
        console.print(table)
        if found.flips:
            console.print(f"answers that changed with the order: {shown_share(found.flips)}")
    console.print(f"{out / 'index.html'}: everything, with the paper's Figure 4", highlight=False)
