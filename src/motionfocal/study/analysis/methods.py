"""The paragraph on methods that a paper needs, written from what a study was and what its analysis found."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from motionfocal.intervals import Interval
from motionfocal.study.analysis.contents import AgreementWithPeople, Analysis, ComparisonRow, Table
from motionfocal.study.design import LEAST_MISSED, StudyDesign


def methods_paragraph(analysis: Analysis, design: StudyDesign | None = None) -> str:
    """Who voted on what, how answers were checked, and how each figure was estimated; plain text, facts only.

    What only ``design`` knows (training, checks, the clips' form) is left unsaid without it.
    """
    people = [table for table in analysis.tables if table.kind == "person"]
    sentences = list(_who(people)) if people else []
    if design:
        sentences += _how(design)
    sentences += _left_out(analysis)
    if people:
        sentences += _estimators(people)
        sentences += [sentence for table in people for sentence in _found(table, several=len(people) > 1)]
    for table in analysis.tables:
        if table.kind != "person":
            sentences += _machines(table, analysis.with_people)
    return " ".join([*sentences, _software(analysis)])


def _who(people: Sequence[Table]) -> Iterator[str]:
    """What was compared, by how many."""
    rows = [row for table in people for row in table.rows]
    yield (
        f"{_models(rows)} on {_range([row.items for row in rows], 'item')} of"
        f" {_range([row.images for row in rows], 'image')}, in pairs of clips made from the same image and text."
    )
    for table in people:
        asked = f"To the question “{table.question}”, " if len(people) > 1 else ""
        reasons = list(dict.fromkeys(reason for row in table.rows for reason in row.reasons))
        yield (
            f"{asked}{_count(len(table.raters), 'person', 'people')} gave"
            f" {_count(sum(row.votes for row in table.rows), 'vote')}, {_range(list(_votes_of(table)), 'vote')} on each"
            f" pair{f', and could name {_listed(reasons)} as reasons' if reasons else ''}."
        )


def _how(design: StudyDesign) -> Iterator[str]:
    """What the study's file says."""
    form, training, checks = design.form, design.training, design.checks
    yield (
        f"Clips were shown side by side, without names, all at {form.width} x {form.height} pixels and {form.frames}"
        f" frames at {form.fps:g} frames a second; which of two clips stood on the left was counterbalanced, and the"
        " order of pairs was drawn for each rater."
    )
    yield "A tie could be chosen." if design.ties else "A tie was not offered."
    if training.tasks:
        yield (
            f"Before their first vote, raters read instructions with examples and had to answer {training.right} of"
            f" {_count(training.tasks, 'training task')} correctly, in at most {_count(training.rounds, 'round')}."
        )
    dealt, graded = checks.dealt(design.tasks), checks.graded(design.tasks)
    if dealt:
        yield (
            f"Of a rater's {design.tasks} tasks at most, {100 * len(dealt) / design.tasks:.0f} % were attention checks"
            f" ({_listed(list(dict.fromkeys(dealt)))})."
        )
    if len(graded) >= LEAST_MISSED:
        kinds = _listed(list(dict.fromkeys(graded)), "or")
        yield (
            f"Raters who had missed at least {LEAST_MISSED} checks of kind {kinds}, and passed"
            f" fewer than {100 * checks.pass_share:.0f} % of these, were replaced."
        )


def _left_out(analysis: Analysis) -> Iterator[str]:
    if analysis.excluded:
        reasons = Counter(analysis.excluded.values()).most_common()
        told = "; ".join(f"{reason}: {count}" for reason, count in reasons)
        yield f"The votes of {_count(len(analysis.excluded), 'rater')} were left out ({told})."


def _estimators(people: Sequence[Table]) -> Iterator[str]:
    """How the figures were made."""
    rows = max(len(table.rows) for table in people)
    ties = any(row.tied_items for table in people for row in table.rows)
    yield (
        "The TI2V score is the share of items on which most votes prefer the model"
        f"{', an item without a majority counting one half' if ties else ''}, with an interval that is clustered by"
        " image; shares of votes have intervals that are clustered by item and by rater (both Wilson's, of as many"
        " independent outcomes as have the cluster-robust variance)."
    )
    yield (
        "Whether items are won as often as lost was tested by exact two-sided sign-flip tests, which keep the items of"
        " an image together" + (f", adjusted for {rows} comparisons by Holm's method." if rows > 1 else ".")
    )
    ranked = [table.ranking for table in people if len(table.ranking.models) > 2]
    if ranked:
        kind = "Davidson's extension of the Bradley-Terry model to ties" if ranked[0].tie else "a Bradley-Terry model"
        side = " with a term for the side" if ranked[0].left else ""
        yield f"Over all models {kind}{side} was fitted, with cluster-robust intervals (item and rater)."


def _found(table: Table, *, several: bool) -> Iterator[str]:
    """How far raters agree, and what else their answers depend on."""
    agreement, side, again = table.agreement, table.side, table.consistency
    on = f" on “{table.question}”" if several else ""
    if agreement.percent.estimate == agreement.percent.estimate:  # NaN where no two raters saw the same pair
        yield (
            f"Two raters of a pair agreed{on} in {_percent(agreement.percent)} of cases (Fleiss' kappa"
            f" {_number(agreement.fleiss)}, Krippendorff's alpha {_number(agreement.alpha)}, Gwet's AC1"
            f" {_number(agreement.ac1)}; intervals from resampled items)."
        )
    if side.votes:
        yield f"The left clip was chosen{on} in {_percent(side.left)} of votes (p {_p_value(side.p_value)})."
    if again.same:
        yield (
            f"Of {_count(again.repeats, 'pair')} shown again with sides exchanged, the same clip was chosen{on} in"
            f" {_percent(again.same)}."
        )


def _machines(table: Table, against: Sequence[AgreementWithPeople]) -> Iterator[str]:
    """What was asked of machine raters."""
    raters = sorted({row.rater for row in table.raters})
    named = f" ({_listed(raters)})" if raters else ""
    flips = f" ({_percent(table.flips)})" if table.flips else ""
    yield (
        f"Apart from people, raters of kind “{table.kind}”{named} judged each pair in both orders on"
        f" “{table.question}”; answers that changed with the order{flips} were left out."
    )
    for one in against:
        if (one.question, one.kind) == (table.question, table.kind) and one.items:
            yield (
                f"{one.rater} preferred the same model as most people on {_percent(one.same)} of"
                f" {_count(one.items, 'pair')} (AC1 {one.ac1:.2f})."
            )


def _software(analysis: Analysis) -> str:
    settings = analysis.settings
    versions = settings.get("versions")
    made = ", ".join(f"{name} {value}" for name, value in versions.items()) if isinstance(versions, Mapping) else ""
    return (
        f"Intervals are at 95 %; those from resampling use {settings.get('resamples'):,} resamples with seed"
        f" {settings.get('seed')}. Software: {made}."
    )


def _models(rows: Sequence[ComparisonRow]) -> str:
    """The sentence's beginning: what was compared with what."""
    models = list(dict.fromkeys(row.model for row in rows))
    baselines = list(dict.fromkeys(row.baseline for row in rows))
    if len(models) == 1:
        return f"{models[0]} was compared with {_listed(baselines)}"
    pairs = {(row.model, row.baseline) for row in rows}
    return f"{_listed(sorted({*models, *baselines}))} were compared with one another ({len(pairs)} pairs of models)"


def _votes_of(table: Table) -> Iterator[int]:
    """How many votes pairs had."""
    for split in table.agreement.splits:
        yield sum(map(int, split.split("-")))


def _range(counts: Sequence[int], noun: str) -> str:
    """The one number that all share, or from the least to the most."""
    least, most = min(counts), max(counts)
    return _count(most, noun) if least == most else f"{least:,} to {_count(most, noun)}"


def _count(count: int, noun: str, plural: str = "") -> str:
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def _listed(names: Sequence[str], last: str = "and") -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {last} {names[-1]}"


def _percent(share: Interval) -> str:
    return f"{100 * share.estimate:.1f} % [{100 * share.low:.1f}, {100 * share.high:.1f}]"


def _number(value: Interval) -> str:
    return f"{value.estimate:.2f} [{value.low:.2f}, {value.high:.2f}]"


def _p_value(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"
