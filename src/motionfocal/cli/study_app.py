"""The verbs of ``motionfocal study``; light, as ``motionfocal --help`` reads them."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

study_app = typer.Typer(
    no_args_is_help=True,
    help="A human study: people compare two videos side by side and say why; docs/study.md goes from pilot to paper.",
)

Folder = Annotated[Path, typer.Argument(metavar="STUDY", help="A study's folder, as 'study create' makes it.")]
Database = Annotated[
    str | None,
    typer.Option(
        envvar="MOTIONFOCAL_DATABASE",
        help="postgresql://USER:PASSWORD@HOST/NAME; default: the SQLite file in the study's folder.",
    ),
]
Out = Annotated[Path, typer.Option("--out", "-o", help="Folder for what is written.")]
Model = Annotated[
    str | None,
    typer.Option("--model", "-m", help="The model that all others are baselines of; default: the one in every pair."),
]
PublicUrl = Annotated[
    str,
    typer.Option(
        "--public-url", help="Where raters reach the study, as https://study.example.org; needed behind a proxy."
    ),
]


@study_app.callback()
def require_extra() -> None:
    """A study needs libraries that nothing else does."""
    from motionfocal.errors import UnavailableError

    missing = [name for name in ("fastapi", "pyarrow", "sqlalchemy") if find_spec(name) is None]
    if missing:
        raise UnavailableError(f"a study needs {', '.join(missing)}: pip install 'motionfocal[study]'")


@study_app.command()
def plan(
    items: Annotated[int, typer.Option(min=1, help="Items (an image and a text each).")] = 320,
    images: Annotated[
        int | None, typer.Option(min=1, help="Different images among them; default: one per item.")
    ] = None,
    baselines: Annotated[int, typer.Option(min=1, help="Pairs of models that are compared.")] = 1,
    votes: Annotated[int, typer.Option(min=1, help="Votes per pair of clips.")] = 5,
    aim: Annotated[float | None, typer.Option(min=0.5, max=1.0, help="TI2V score that should show, as 0.6.")] = None,
    tasks: Annotated[
        int,
        typer.Option(
            min=1,
            help="Comparisons one rater makes, checks included; 3 practice tasks come on top, in hours and in pay.",
        ),
    ] = 40,
    checks: Annotated[
        float, typer.Option(min=0, max=0.5, help="Share of a rater's comparisons that are attention checks.")
    ] = 0.1,
    seconds: Annotated[float, typer.Option(min=1, help="Seconds that one comparison takes.")] = 45,
    hourly: Annotated[
        float | None, typer.Option(min=0, help="What an hour is paid, in any currency; the pay is printed in the same.")
    ] = None,
) -> None:
    """Before a study: the smallest score that would show, and how many raters, hours and how much pay that takes."""
    from motionfocal.cli.study_results import run_plan

    run_plan(items, images or items, baselines, votes, aim, tasks, checks, seconds, hourly)


@study_app.command()
def create(
    design: Annotated[Path, typer.Argument(metavar="DESIGN.yaml", help="What is compared and asked; docs/study.md.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="The study's folder; a creation that was cut off is resumed.")
    ],
) -> None:
    """Make a study: check that all models have every item, bring the clips to one form, fix all seeds.

    Nothing in the clips, in their names or in what browsers get tells which model made them.
    """
    from motionfocal.cli.study import run_create

    run_create(design, out)


@study_app.command()
def serve(
    study: Folder,
    database: Database = None,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8000,
    public_url: PublicUrl = "",
    proxy: Annotated[
        list[str] | None, typer.Option(help="Address of a proxy whose X-Forwarded headers are believed.")
    ] = None,
    frame: Annotated[list[str] | None, typer.Option(help="A site that may show the pages in a frame.")] = None,
    production: Annotated[
        bool,
        typer.Option(
            "--production", help="Of Mechanical Turk let in the real site's workers only; else its sandbox's, too."
        ),
    ] = False,
) -> None:
    """Serve the pages of a study to raters, and to you under /admin once 'study password' has set a password.

    Every vote is on disk before it is acknowledged: stop or kill the server whenever you like, and start it again.
    """
    from motionfocal.cli.study import run_serve

    run_serve(study, database, host, port, public_url, proxy or [], frame or [], production=production)


@study_app.command()
def password(
    study: Folder,
    new: Annotated[
        str | None,
        typer.Option(
            "--password",
            prompt=True,
            hide_input=True,
            confirmation_prompt=True,
            help="Left out, it is asked for, and stays out of the shell's history.",
        ),
    ] = None,
) -> None:
    """Set the password of the admin pages; a running server keeps the old one."""
    from motionfocal.cli.study import run_password

    run_password(study, new or "")


@study_app.command()
def invite(
    context: typer.Context,
    study: Folder,
    count: Annotated[int, typer.Argument(min=1, help="Links, each for one rater; on MTurk, assignments.")],
    database: Database = None,
    public_url: PublicUrl = "http://127.0.0.1:8000",
    days: Annotated[float, typer.Option(min=0, help="The links work for so many days; 0 for ever.")] = 0,
    label: Annotated[str, typer.Option(help="A note that the admin page shows.")] = "",
    mturk: Annotated[
        bool, typer.Option("--mturk", help="Put up a HIT on Mechanical Turk instead of making links.")
    ] = False,
    production: Annotated[
        bool, typer.Option("--production", help="With --mturk: on its real site, which costs money; else its sandbox.")
    ] = False,
    batch: Annotated[int, typer.Option(min=1, help="With --mturk: number of the HIT; each is put up once.")] = 1,
) -> None:
    """Invitation links for raters (who may leave and come back by the same link), or a HIT on Mechanical Turk.

    On Prolific, give the study PUBLIC-URL/prolific as its address; see docs/study.md.
    """
    from motionfocal.cli.study import run_invite, run_mturk

    if mturk:
        _refuse(context, ("database", "days", "label"), "is for links; leave it out, or --mturk")
        run_mturk(study, count, public_url, batch, production=production)
    else:
        _refuse(context, ("production", "batch"), "is for Mechanical Turk; leave it out, or add --mturk")
        run_invite(study, count, database, public_url, days, label)


def _refuse(context: typer.Context, names: Sequence[str], why: str) -> None:
    """Raise ConfigError for options of the command line that would have no effect; the environment is for all verbs."""
    from motionfocal.errors import ConfigError

    sources = {name: context.get_parameter_source(name) for name in names}
    given = [f"--{name}" for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"]
    if given:
        raise ConfigError(f"{', '.join(given)}: {why}")


@study_app.command()
def approve(
    study: Folder,
    database: Database = None,
    production: Annotated[
        bool, typer.Option("--production", help="On its real site, which pays; else its sandbox.")
    ] = False,
) -> None:
    """Pay the assignments on Mechanical Turk whose workers did all that there was for them; the others are listed.

    What was paid is not paid again, however often you run this.
    """
    from motionfocal.cli.study import run_approve

    run_approve(study, database, production=production)


@study_app.command()
def status(study: Folder, database: Database = None) -> None:
    """How far a study is: votes of each pair of models, raters, checks, agreement, and what it will cost."""
    from motionfocal.cli.study import run_status

    run_status(study, database)


@study_app.command()
def rate(
    study: Folder,
    rater: Annotated[
        str, typer.Argument(metavar="oracle|metric:NAME|vlm", help="Who judges; docs/study.md says what each is.")
    ],
    results: Annotated[Path | None, typer.Option(help="metric: the results.json of 'motionfocal metrics'.")] = None,
    url: Annotated[
        str | None, typer.Option(help="vlm: an OpenAI-compatible server (vLLM, SGLang), as http://127.0.0.1:8000/v1.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="vlm: the model's name there; without --url, a folder.")] = None,
    frames: Annotated[int, typer.Option(min=8, help="vlm: frames of each clip that it is shown.")] = 8,
) -> None:
    """Have a rater that is no person judge every pair of a study, in both orders; it resumes where it stopped.

    Its answers stand in tables of their own. An answer that changes with the order of the clips is an abstention. A
    server's key is read from MOTIONFOCAL_VLM_KEY.
    """
    from motionfocal.cli.study_results import run_rate

    run_rate(study, rater, results, url, model, frames)


@study_app.command()
def export(study: Folder, out: Out, database: Database = None) -> None:
    """Write the tidy votes (CSV, Parquet, JSONL), checks, events, exclusions and seeds, with a codebook."""
    from motionfocal.cli.study import run_export

    run_export(study, out, database)


@study_app.command()
def analyze(
    votes: Annotated[
        Path,
        typer.Argument(metavar="STUDY|VOTES.csv", help="A study, or a table of votes: see docs/study-analysis.md."),
    ],
    out: Out,
    model: Model = None,
    database: Database = None,
    seed: Annotated[int, typer.Option(min=0, help="Draws resamples; equal seeds, equal figures.")] = 0,
) -> None:
    """All figures of a study, with intervals: analysis.json, a page with the paper's Figure 4, and the tidy votes.

    A table has the columns item, image, model_left, model_right, rater, choice (left, right, tie) and reasons
    (separated by ;). The same command on the same votes gives the same figures.
    """
    from motionfocal.cli.study_results import run_analyze

    run_analyze(votes, out, model, database, seed)


@study_app.command()
def simulate(
    study: Folder,
    out: Out,
    raters: Annotated[
        int | None, typer.Option(min=1, help="How many people; default: as many as the study needs.")
    ] = None,
    effect: Annotated[float, typer.Option(help="Their preference for the first model, on the logit scale.")] = 0.5,
    side: Annotated[float, typer.Option(help="What standing on the left adds, on the logit scale.")] = 0.0,
    careless: Annotated[float, typer.Option(min=0, max=1, help="Share who choose sides at random.")] = 0.0,
    item_sd: Annotated[float, typer.Option(min=0, help="How much items differ, on the logit scale.")] = 1.0,
    rater_sd: Annotated[float, typer.Option(min=0, help="How much raters differ, on the logit scale.")] = 0.5,
    seed: Annotated[
        int, typer.Option(min=0, help="Draws the people, their answers and resamples; equal seeds, equal figures.")
    ] = 0,
) -> None:
    """Rehearse a study with made-up people of known preferences, in a database of its own, and analyze it.

    They go through the same assignment, checks and storage as real ones: does the study find what was put in?
    """
    from motionfocal.cli.study_results import run_simulate

    run_simulate(study, out, raters, effect, side, careless, item_sd, rater_sd, seed)


@study_app.command()
def backup(
    study: Folder, out: Annotated[Path, typer.Option("--out", "-o", help="A new file.")], database: Database = None
) -> None:
    """Copy the SQLite database of a study, also while it is served. (For PostgreSQL: pg_dump.)"""
    from motionfocal.cli.study import run_backup

    run_backup(study, out, database)


@study_app.command()
def forget(
    study: Folder,
    rater: Annotated[str, typer.Argument(help="The rater's name in exports, as r0007.")],
    database: Database = None,
) -> None:
    """Erase what could lead to a rater who withdraws: ids, comments, events, device. The votes become void."""
    from motionfocal.cli.study import run_forget

    run_forget(study, rater, database)
