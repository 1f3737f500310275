"""Tables that the admin page gives out, as ``motionfocal study export`` names them, and machines apart."""

import tempfile
from pathlib import Path
from typing import Literal

from sqlalchemy.orm import Session

from motionfocal.study.analysis.export import write_checks, write_votes
from motionfocal.study.fieldwork.votes_of import check_rows, vote_rows
from motionfocal.study.plan import Study
from motionfocal.study.raters.comparisons import machine_judgements

Table = Literal["votes", "left_out", "checks", "machines"]
"""Votes of people that count, those that do not, checks and training; and the votes of machine raters."""


def csv_of(session: Session, study: Study, table: Table) -> str:
    """A table as CSV; people and other raters never stand in one."""
    with tempfile.TemporaryDirectory() as folder:
        if table == "checks":
            write_checks(check_rows(session, study), Path(folder), table)
        elif table == "machines":
            write_votes(machine_judgements(study), Path(folder), table)
        else:
            rows = [row for row in vote_rows(session, study) if row.counts == (table == "votes")]
            write_votes(rows, Path(folder), table)
        return (Path(folder) / f"{table}.csv").read_text(encoding="utf-8")
