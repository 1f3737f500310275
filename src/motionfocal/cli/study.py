"""``motionfocal study``: make a study, serve it, invite raters, watch it, and take out what is in it."""

import json
import logging
import math
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
from pydantic import ValidationError
from rich.progress import TaskID
from rich.table import Table
from sqlalchemy import select
from sqlalchemy.orm import Session

from motionfocal.cli.console import console, progress_bar
from motionfocal.errors import ConfigError, StudyError
from motionfocal.intervals import Interval
from motionfocal.jsonl import rewrite_jsonl
from motionfocal.study.analysis.export import write_checks, write_codebook, write_votes
from motionfocal.study.crowds import mturk
from motionfocal.study.design import load_design
from motionfocal.study.fieldwork.database import Database, sqlite_file
from motionfocal.study.fieldwork.exclusion import forget
from motionfocal.study.fieldwork.monitor import overview
from motionfocal.study.fieldwork.outcome import PAID, has_ended, outcome_of
from motionfocal.study.fieldwork.overview import Overview
from motionfocal.study.fieldwork.people import invite
from motionfocal.study.fieldwork.records import EventRecord, RaterRecord
from motionfocal.study.fieldwork.votes_of import check_rows, left_out, vote_rows
from motionfocal.study.plan import DATABASE, Study
from motionfocal.study.raters.comparisons import machine_judgements
from motionfocal.study.web.admin_auth import set_password
from motionfocal.study.web.context import ServerSettings
from motionfocal.video.files import replace_text, replacing


@contextmanager
def opened(folder: Path, url: str | None) -> Iterator[tuple[Study, Database]]:
    """A study and its database."""
    study = Study.open(folder)
    database = Database(url or study.database)
    try:
        database.belong_to(study.plan.fingerprint())
        yield study, database
    finally:
        database.close()


def run_create(design: Path, out: Path) -> None:
    """Make a study, with a bar for each part of the work."""
    from motionfocal.study.create import create_study  # it loads torch, which a server does not need

    with progress_bar() as progress:
        tasks: dict[str, TaskID] = {}

        def report(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = progress.add_task(what, total=total, note="")
            progress.update(tasks[what], completed=done, total=total)

        study = create_study(load_design(design), out, report)
    plan, asked = study.plan, study.design
    console.print(
        f"{out}: {' against '.join(plan.models) if len(plan.models) == 2 else f'{len(plan.models)} models'},"
        f" {len(plan.shown)} items, {len(plan.pairs)} pairs, {asked.votes} votes each:"
        f" {len(plan.pairs) * asked.votes} votes; fingerprint {plan.fingerprint()}"
    )
    console.print(f"next: motionfocal study serve {out}, and motionfocal study invite {out} 1", highlight=False)


def run_serve(
    folder: Path,
    url: str | None,
    host: str,
    port: int,
    public_url: str,
    proxies: Sequence[str],
    frames: Sequence[str],
    *,
    production: bool,
) -> None:
    """Serve until interrupted."""
    from motionfocal.study.web.app import create_app
    from motionfocal.study.web.serving import server_of

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        settings = ServerSettings(
            public_url=public_url, proxies=tuple(proxies), frame_ancestors=tuple(frames), sandbox=not production
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(f"--{str(first['loc'][0]).replace('_', '-')}: {first['msg']}") from error
    with opened(folder, url) as (study, database):
        app = create_app(study, database, settings=settings)
        where = public_url or f"http://{host}:{port}"
        admin = f"{where}/admin" if study.secrets.admin else f"off; motionfocal study password {folder}"
        console.print(f"{study.plan.name}: {where}   admin pages: {admin}", highlight=False, soft_wrap=True)
        if study.design.mturk:
            sites = "the real site alone" if production else "its sandbox, too; --production closes it"
            console.print(f"workers of Mechanical Turk: {sites}", highlight=False, soft_wrap=True)
        console.file.flush()
        server_of(app, settings, host=host, port=port).run()


def run_password(folder: Path, password: str) -> None:
    """Set the admin pages' password."""
    set_password(folder, password)
    console.print(f"{folder}: the admin pages have a new password; start the server again")


def run_invite(folder: Path, count: int, url: str | None, where: str, days: float, label: str) -> None:
    """Print new links, one a line."""
    now = time.time()
    with opened(folder, url) as (_, database), database.write() as session:
        expires = now + 86_400 * days if days else None
        for made in invite(session, count, now, expires=expires, label=label):
            print(f"{where.rstrip('/')}/join/{made.code}")  # noqa: T201 - plain, for a mail or a file


def run_mturk(folder: Path, count: int, where: str, batch: int, *, production: bool) -> None:
    """Put up a HIT."""
    study = Study.open(folder)
    hit = mturk.post(mturk.connect(sandbox=not production), study, where, count, batch=batch)
    console.print(f"HIT {hit.id} ({hit.status}): {hit.wanted} assignments, {hit.available} open, {hit.completed} done")


def run_approve(folder: Path, url: str | None, *, production: bool) -> None:
    """Pay who did all that there was to do, and list with their ends those who wait for a decision."""
    with opened(folder, url) as (study, database), database.read() as session:
        ends = _ends(session, study)
    client = mturk.connect(sandbox=not production)
    for hit in mturk.hits(client, study):
        paid, waiting = mturk.approve(client, hit, {id_ for id_, end in ends.items() if end in PAID})
        console.print(f"HIT {hit.id}: {len(paid)} assignments approved, {len(waiting)} wait for your decision")
        for assignment in waiting:
            console.print(f"  {assignment}  {ends.get(assignment, 'of nobody in this study')}", highlight=False)


def _ends(session: Session, study: Study) -> dict[str, str]:
    """How each assignment on Mechanical Turk ended, by its id; of one that has not, where its worker stands.

    Anybody can come with the id of another's assignment: one that deserves its pay keeps that end.
    """
    ends: dict[str, str] = {}
    for rater in session.scalars(select(RaterRecord).where(RaterRecord.source == "mturk")).all():
        id_ = rater.session.get("assignmentId", "")  # it is gone with those who withdrew
        if id_ and ends.get(id_) not in PAID:
            ends[id_] = outcome_of(session, study, rater) if has_ended(rater) else rater.state
    return ends


def run_status(folder: Path, url: str | None) -> None:
    """Print what the admin page shows first."""
    with opened(folder, url) as (study, database), database.read() as session:
        found = overview(session, study, time.time(), np.random.default_rng(study.design.seed))
    _print_status(study, found)


def run_export(folder: Path, out: Path, url: str | None) -> None:
    """Write all tables."""
    with opened(folder, url) as (study, database), database.read() as session:
        votes, checks, excluded = vote_rows(session, study), check_rows(session, study), left_out(session)
        raters = list(session.scalars(select(RaterRecord).order_by(RaterRecord.id)))
        events = list(session.scalars(select(EventRecord).order_by(EventRecord.id)))
    names = {rater.id: rater.name for rater in raters}
    write_votes([row for row in votes if row.counts], out)
    write_votes([row for row in votes if not row.counts], out, "left_out")
    write_checks(checks, out)
    machines = machine_judgements(study)
    if machines:
        write_votes(machines, out, "machines")
    write_codebook(out)
    rewrite_jsonl(
        out / "events.jsonl",
        (
            {
                "rater": names.get(event.rater_id or 0, ""),
                "impression": event.impression,
                "kind": event.kind,
                "at": event.at,
                "what": event.what,
            }
            for event in events
            if not event.kind.startswith("admin")  # they hold sessions and addresses
        ),
    )
    about = {
        "design": study.design.model_dump(mode="json", exclude={"galleries"}),  # folders of this machine
        "models": study.plan.models,
        "plan": study.plan.fingerprint(),
        "excluded": excluded,
        "raters": [
            {"rater": r.name, "source": r.source, "state": r.state, "seed": r.seed, "consent": r.consent}
            for r in raters
        ],
    }
    replace_text(out / "study.json", json.dumps(about, indent=1) + "\n")
    counted = sum(row.counts for row in votes)
    console.print(f"{out}: {counted} votes that count, {len(votes) - counted} that do not, {len(checks)} checks")


def run_backup(folder: Path, out: Path, url: str | None) -> None:
    """Copy the SQLite file, consistent although it may be written to."""
    study = Study.open(folder)
    source = sqlite_file(url or study.database)
    if out.exists():
        raise StudyError(f"{out}: is there already; give a new file")
    try:
        with replacing(out) as new, closing(sqlite3.connect(source)) as original, closing(sqlite3.connect(new)) as copy:
            original.backup(copy)
            (answers,) = copy.execute("SELECT count(*) FROM votes").fetchone()
    except sqlite3.Error as error:
        raise StudyError(f"{source}: cannot be copied to {out}: {error}") from error
    console.print(
        f"{out}: {answers} answers to tasks; to restore a study, put it back as {DATABASE} beside all else that is in"
        f" {folder}"
    )


def run_forget(folder: Path, rater: str, url: str | None) -> None:
    """Erase a rater's traces."""
    with opened(folder, url) as (_, database), database.write() as session:
        forget(session, rater, time.time())
    console.print(f"{rater}: forgotten; the votes are void")


def shown_share(share: Interval) -> str:
    """A share with its interval, in per cent."""
    return f"{100 * share.estimate:.1f} % [{100 * share.low:.1f}, {100 * share.high:.1f}]"


def _print_status(study: Study, found: Overview) -> None:
    """Pairs of models with their scores so far, then people, checks and cost in a few lines."""
    scores = {(score.model, score.baseline): score for asked in found.questions[:1] for score in asked.scores}
    table = Table("models", "votes", "pairs of clips done", "out now", "TI2V score so far", title=study.plan.name)
    for pair in found.pairs:
        score = scores.get((pair.model, pair.baseline))
        shown = shown_share(score.ti2v_score) if score else ""
        table.add_row(
            f"{pair.model} / {pair.baseline}",
            f"{pair.votes} of {pair.wanted}",
            f"{pair.complete} of {pair.pairs}",
            str(pair.leases),
            shown,
        )
    console.print(table)
    counts = found.screening.states.items()
    states = [f"{count} {state.replace('_', ' ')}" for state, count in counts if count]
    states += [f"{found.screening.excluded} excluded"] if found.screening.excluded else []
    console.print(f"people: {', '.join(states) or 'none yet'}; {found.needed} more are needed")
    for asked in found.questions:
        if asked.agreement and not math.isnan(asked.agreement.percent.estimate):
            on = f" on {asked.id}" if len(found.questions) > 1 else ""
            agreed, ac1 = shown_share(asked.agreement.percent), asked.agreement.ac1.estimate
            console.print(f"agreement{on}: two raters of a pair agree in {agreed}, AC1 {ac1:.2f}", highlight=False)
    for check in found.checks:
        graded = f"{check.passed} passed, {check.failed} failed" if check.passed + check.failed else "not graded"
        console.print(f"check {check.kind}: {graded}")
    if found.time:
        console.print(
            f"time on a task: {found.time.median:.0f} s [{found.time.lower:.0f}, {found.time.upper:.0f}] (quartiles)"
        )
    if found.pay and found.pay.expected_cost is not None:
        pay = found.pay
        console.print(f"pay: {pay.cost:.2f} {pay.currency} so far, {pay.expected_cost:.2f} in all, without fees")
    for name, count in found.machines.items():
        console.print(f"{name}: {count} judgements, both orders", highlight=False)
    console.print("The number of votes is fixed before a study: do not stop on a good score.")
