"""A folder with all that comes of a study: the analysis, its page and figures, the tidy votes, and how to read them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from motionfocal.report.figure4 import figure4, standalone
from motionfocal.report.study_page import write_study_page
from motionfocal.study.analysis.analyze import Repeat, analyze, write_analysis
from motionfocal.study.analysis.contents import Analysis
from motionfocal.study.analysis.export import CheckRow, VoteRow, write_checks, write_codebook, write_votes
from motionfocal.study.analysis.methods import methods_paragraph
from motionfocal.study.design import StudyDesign
from motionfocal.study.protocol import Judgement
from motionfocal.video.files import replace_text


def analyze_to(
    votes: Sequence[VoteRow | Judgement],
    out: Path,
    *,
    name: str,
    model: str | None = None,
    repeats: Sequence[Repeat] = (),
    excluded: Mapping[str, str] | None = None,
    checks: Sequence[CheckRow] = (),
    design: StudyDesign | None = None,
    commands: Sequence[str] = (),
    foreword: str = "",
    seed: int = 0,
    resamples: int = 2000,
) -> Analysis:
    """Analyse votes and write everything into the folder ``out``, the page last; see docs/study-analysis.md.

    Only rows that count are analysed (see ``VoteRow.counts``); where states are known, the others are written as
    ``left_out``. ``design`` and a ``foreword`` add to the paragraph on methods, ``commands`` stand on the page. The
    other arguments are those of ``analyze``.

    Raises:
        ConfigError, UnknownNameError: as ``analyze``; nothing is written then.
        MediaError: the folder cannot be written to.
    """
    rows = [vote if isinstance(vote, VoteRow) else VoteRow(vote) for vote in votes]
    analysis = analyze(
        [row.judgement for row in rows if row.counts],
        name,
        model=model,
        repeats=repeats,
        excluded=excluded,
        seed=seed,
        resamples=resamples,
    )
    methods = f"{foreword} {methods_paragraph(analysis, design)}".strip()
    write_analysis(analysis, out / "analysis.json")
    write_votes([row for row in rows if row.counts], out)
    if any(row.state for row in rows):
        write_votes([row for row in rows if not row.counts], out, "left_out")
    if checks:
        write_checks(checks, out)
    write_codebook(out)
    replace_text(out / "methods.txt", methods + "\n")
    for file, svg in _figures(analysis).items():
        replace_text(out / file, svg)
    write_study_page(analysis, out / "index.html", methods=methods, commands=commands)
    return analysis


def _figures(analysis: Analysis) -> dict[str, str]:
    """Figure 4 of each table with rows, by file name, in the order of the tables."""
    drawn = [standalone(figure4(table.rows)) for table in analysis.tables if table.rows]
    return {f"figure4{f'-{number}' if number > 1 else ''}.svg": svg for number, svg in enumerate(drawn, 1)}
