"""Agreement, sides, orders and raters: published examples to the printed digit, libraries, and what must not matter."""

import warnings
from collections.abc import Sequence
from dataclasses import replace

import krippendorff
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import binomtest
from statsmodels.stats.inter_rater import fleiss_kappa as fleiss_of_statsmodels

from motionfocal.errors import ConfigError, ShapeError
from motionfocal.intervals import Interval, wilson
from motionfocal.study.analysis.agreement import (
    agreement_of,
    fleiss_kappa,
    gwet_ac1,
    krippendorff_alpha,
    percent_agreement,
    unit_of,
)
from motionfocal.study.analysis.orders import Settled, settle, with_people
from motionfocal.study.analysis.raters import rater_rows
from motionfocal.study.analysis.sides import consistency, share_by_groups, side_bias
from motionfocal.study.protocol import Judgement, Preference

STATISTICS = (percent_agreement, fleiss_kappa, krippendorff_alpha, gwet_ac1)
FLIPPED: dict[Preference, Preference] = {"left": "right", "right": "left", "tie": "tie"}


def vote(
    item: int | str, rater: str, chosen: str | None, pair: tuple[str, str] = ("a", "b"), *, flip: bool = False
) -> Judgement:
    """One vote on ``item`` for ``chosen`` of ``pair``, the first of which is on the left unless ``flip``."""
    left, right = reversed(pair) if flip else pair
    preference: Preference = "tie" if chosen is None else "left" if chosen == left else "right"
    return Judgement(f"{item}:{pair}", f"i{item}", f"p{item}", left, right, rater, preference, ())


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def exchange(judgement: Judgement) -> Judgement:
    """The same answer with the clips on the other sides."""
    return replace(
        judgement,
        left_model=judgement.right_model,
        right_model=judgement.left_model,
        preference=FLIPPED[judgement.preference],
    )


def table(rows: Sequence[str], marks: str) -> list[list[int]]:
    """Counts [units, categories] of ratings, written as a row of marks a rater."""
    ratings = [row.split() for row in rows]
    return [[sum(row[unit] == mark for row in ratings) for mark in marks] for unit in range(len(ratings[0]))]


# --- published examples ---------------------------------------------------------------------------------------------

# Fleiss 1971, as worked through in textbooks: 14 raters, 10 subjects, 5 categories.
FOURTEEN_RATERS = [
    [0, 0, 0, 0, 14],
    [0, 2, 6, 4, 2],
    [0, 0, 3, 5, 6],
    [0, 3, 9, 2, 0],
    [2, 2, 8, 1, 1],
    [7, 7, 0, 0, 0],
    [3, 2, 6, 3, 0],
    [2, 5, 3, 2, 2],
    [6, 5, 2, 1, 0],
    [0, 2, 2, 3, 7],
]

# Gwet's irrCAC: distrib.6raters (15 of the patients of Fleiss 1971) and cac.raw4raters, with its printed results.
SIX_RATERS = [
    [0, 0, 0, 6, 0],
    [0, 3, 0, 0, 3],
    [0, 1, 4, 0, 1],
    [0, 0, 0, 0, 6],
    [0, 3, 0, 3, 0],
    [2, 0, 4, 0, 0],
    [0, 0, 4, 0, 2],
    [2, 0, 3, 1, 0],
    [2, 0, 0, 4, 0],
    [0, 0, 0, 0, 6],
    [1, 0, 0, 5, 0],
    [1, 1, 0, 4, 0],
    [0, 3, 3, 0, 0],
    [1, 0, 0, 5, 0],
    [0, 2, 0, 3, 1],
]
FOUR_RATERS = (
    "1 2 3 3 2 1 4 1 2 . . .",
    "1 2 3 3 2 2 4 1 2 5 . .",
    ". 3 3 3 2 3 4 2 2 5 1 3",
    "1 2 3 3 2 4 4 1 2 5 1 .",
)

# Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability", examples A to C, and the one of encyclopaedias.
TWO_OBSERVERS_BINARY = ("0 1 0 0 0 0 0 0 1 0", "1 1 1 0 0 1 0 0 0 0")
TWO_OBSERVERS = ("a a b b d c c c e d d a", "b a b b b c c c e d d d")
FOUR_OBSERVERS = (
    "1 2 3 3 2 1 4 1 2 . . .",
    "1 2 3 3 2 2 4 1 2 5 . 3",
    ". 3 3 3 2 3 4 2 2 5 1 .",
    "1 2 3 3 2 4 4 1 2 5 1 .",
)
THREE_CODERS = (
    ". . . . . 3 4 1 2 1 1 3 3 . 3",
    "1 . 2 1 3 3 4 3 . . . . . . .",
    ". . 2 1 3 4 4 . 2 1 1 3 3 . 4",
)


def test_fleiss_1971() -> None:
    assert f"{fleiss_kappa(FOURTEEN_RATERS):.3f}" == "0.210"
    assert fleiss_kappa(FOURTEEN_RATERS) == pytest.approx(fleiss_of_statsmodels(np.array(FOURTEEN_RATERS)), abs=1e-12)


@pytest.mark.parametrize(
    ("ratings", "marks", "printed"),
    [
        (TWO_OBSERVERS_BINARY, "01", "0.095"),
        (TWO_OBSERVERS, "abcde", "0.692"),
        (FOUR_OBSERVERS, "12345", "0.743"),
        (THREE_CODERS, "1234", "0.691"),
    ],
)
def test_krippendorff_2011(ratings: Sequence[str], marks: str, printed: str) -> None:
    counts = table(ratings, marks)
    assert f"{krippendorff_alpha(counts):.3f}" == printed
    library = krippendorff.alpha(value_counts=counts, level_of_measurement="nominal")
    assert krippendorff_alpha(counts) == pytest.approx(library, abs=1e-12)


def test_gwet_with_missing_ratings() -> None:
    counts = table(FOUR_RATERS, "12345")
    printed = ("0.8181818", "0.76117", "0.74342", "0.77544")
    for statistic, digits in zip(STATISTICS, printed, strict=True):
        assert f"{statistic(counts):.{len(digits) - 2}f}" == digits, statistic.__name__


def test_gwet_with_six_raters_each() -> None:
    printed = ("0.5511111", "0.4139265", "0.4204384", "0.4448007")
    for statistic, digits in zip(STATISTICS, printed, strict=True):
        assert f"{statistic(SIX_RATERS):.7f}" == digits, statistic.__name__


def test_gwet_with_two_raters() -> None:
    """irrCAC's cont3x3abstractors: two abstractors, three kinds of pregnancy; Scott's pi is Fleiss' kappa of two."""
    cells = [[13, 0, 0], [0, 20, 7], [0, 4, 56]]
    counts = [np.eye(3)[i] + np.eye(3)[j] for i in range(3) for j in range(3) for _ in range(cells[i][j])]
    printed = ("0.8900000", "0.7962397", "0.7972585", "0.8493305")
    for statistic, digits in zip(STATISTICS, printed, strict=True):
        assert f"{statistic(counts):.7f}" == digits, statistic.__name__


def test_gwets_paradox() -> None:
    """Gwet 2002: cells 118, 5, 2, 0. Nearly all agree, kappa is below 0, AC1 is not."""
    counts = [[2, 0]] * 118 + [[1, 1]] * 7
    assert f"{percent_agreement(counts):.3f}" == "0.944"
    assert f"{gwet_ac1(counts):.4f}" == "0.9408"
    assert fleiss_kappa(counts) < 0


# --- counts in general ----------------------------------------------------------------------------------------------

tables = st.integers(2, 4).flatmap(
    lambda k: st.lists(st.lists(st.integers(0, 5), min_size=k, max_size=k), min_size=1, max_size=12)
)


@given(tables)
def test_alpha_is_that_of_the_library(counts: list[list[int]]) -> None:
    pairable = np.array([row for row in counts if sum(row) > 1])
    assume(len(pairable) and (pairable.sum(0) > 0).sum() > 1)
    library = krippendorff.alpha(value_counts=pairable, level_of_measurement="nominal")
    assert krippendorff_alpha(counts) == pytest.approx(library, abs=1e-9)


@given(st.integers(2, 7), st.lists(st.lists(st.integers(0, 2), min_size=7, max_size=7), min_size=1, max_size=12))
def test_kappa_is_that_of_the_library(raters: int, ratings: list[list[int]]) -> None:
    counts = np.array([np.bincount(row[:raters], minlength=3) for row in ratings])
    assume((counts.sum(0) > 0).sum() > 1)
    assert fleiss_kappa(counts) == pytest.approx(fleiss_of_statsmodels(counts), abs=1e-9)


@given(tables)
def test_what_no_statistic_may_depend_on(counts: list[list[int]]) -> None:
    """The order of units and of categories, and units that nobody rated; no statistic is above 1."""
    others = (counts[::-1], [row[::-1] for row in counts], [*counts, [0] * len(counts[0])])
    for statistic in STATISTICS:
        value = statistic(counts)
        assert np.isnan(value) or value <= 1 + 1e-12
        for other in others:
            assert statistic(other) == pytest.approx(value, abs=1e-9, nan_ok=True), statistic.__name__


@given(st.lists(st.integers(0, 1), min_size=1, max_size=9))
def test_perfect_agreement(chosen: list[int]) -> None:
    counts = [np.eye(2, dtype=int)[category] * 5 for category in chosen]
    both = len(set(chosen)) == 2
    assert percent_agreement(counts) == 1
    assert gwet_ac1(counts) == 1
    for statistic in (fleiss_kappa, krippendorff_alpha):  # where all chose one category, there is no chance to beat
        assert statistic(counts) == pytest.approx(1 if both else np.nan, nan_ok=True)


def test_all_items_split() -> None:
    """The five votes of an item 3-2, half of them each way: the -0.2 that Emu Video's supplement names."""
    counts = [[3, 2], [2, 3]] * 10
    assert fleiss_kappa(counts) == pytest.approx(-0.2)


def test_undefined_without_a_second_rater() -> None:
    for statistic in STATISTICS:
        assert np.isnan(statistic([[1, 0], [0, 1]])), statistic.__name__
        assert np.isnan(statistic(np.zeros((0, 2)))), statistic.__name__


def test_counts_of_another_rank() -> None:
    with pytest.raises(ShapeError, match=r"\[units, categories\], got \[3\]"):
        fleiss_kappa([1, 2, 3])


# --- from judgements ------------------------------------------------------------------------------------------------


def five_votes(item: int, for_a: int, pair: tuple[str, str] = ("a", "b")) -> list[Judgement]:
    return [vote(item, f"r{k}", pair[0] if k < for_a else pair[1], pair, flip=(item + k) % 2 == 0) for k in range(5)]


def test_agreement_of_judgements() -> None:
    wins = [5, 4, 3, 2, 1, 0, 5, 5, 4, 3]
    judgements = [judgement for item, k in enumerate(wins) for judgement in five_votes(item, k)]
    found = agreement_of(judgements, rng())
    counts = [[k, 5 - k] for k in wins]
    assert found.splits == {"5-0": 4, "4-1": 3, "3-2": 3}
    assert list(found.splits) == ["5-0", "4-1", "3-2"]
    for interval, statistic in zip((found.percent, found.fleiss, found.alpha, found.ac1), STATISTICS, strict=True):
        assert interval.estimate == pytest.approx(statistic(counts), abs=1e-12)
        assert interval.low < interval.estimate < interval.high <= 1


def test_sides_and_order_of_votes_make_no_difference() -> None:
    judgements = [judgement for item in range(12) for judgement in five_votes(item, item % 6)]
    once = agreement_of(judgements, rng(), 200)
    again = agreement_of([exchange(judgement) for judgement in reversed(judgements)], rng(), 200)
    assert once == again


def test_several_pairs_are_judged_apart_and_drawn_together() -> None:
    """Two pairs that are each of one mind agree fully; an item is drawn with all its pairs."""
    pairs = (("a", "b"), ("b", "c"))
    judgements = [judgement for item in range(6) for pair in pairs for judgement in five_votes(item, 5, pair)]
    found = agreement_of(judgements, rng(), 100)
    assert found.splits == {"5-0": 12}
    assert found.percent == Interval(1, 1, 1)
    mixed = [judgement for item in range(6) for judgement in (*five_votes(item, 5), *five_votes(item, 3, ("b", "c")))]
    drawn = agreement_of(mixed, rng(), 100).percent
    assert drawn.low == pytest.approx(drawn.estimate) == pytest.approx(drawn.high)  # all items are alike


def test_ties_are_a_category_of_their_own() -> None:
    judgements = [vote(0, "r0", "a"), vote(0, "r1", None), vote(0, "r2", "b"), vote(0, "r3", "b")]
    judgements += [vote(1, f"r{k}", "b") for k in range(4)]
    found = agreement_of(judgements, rng(), 100)
    assert found.splits == {"4-0-0": 1, "2-1-1": 1}
    assert found.ac1.estimate == pytest.approx(gwet_ac1([[1, 2, 1], [0, 4, 0]]))


def test_one_winner_throughout() -> None:
    judgements = [judgement for item in range(4) for judgement in five_votes(item, 5)]
    found = agreement_of(judgements, rng(), 50)
    assert (found.ac1.estimate, found.percent.estimate) == (1, 1)
    assert np.isnan([found.fleiss.estimate, found.fleiss.low, found.alpha.estimate, found.alpha.high]).all()


def test_nothing_to_agree_on() -> None:
    with pytest.raises(ConfigError, match="no judgements"):
        agreement_of([], rng())
    with pytest.raises(ConfigError, match="both clips are of a"):
        unit_of(Judgement("c", "i", "p", "a", "a", "r", "left", ()))


def test_agreement_intervals_cover() -> None:
    """Items' chances of a vote are drawn from a beta; over 200 studies the interval of alpha holds the truth."""
    draw, inside = rng(), 0
    truth = 1 / (2 + 2 + 1)  # the intraclass correlation of a beta(2, 2)
    for _ in range(200):
        votes = draw.binomial(5, draw.beta(2, 2, 100))
        judgements = [judgement for item, k in enumerate(votes) for judgement in five_votes(item, int(k))]
        found = agreement_of(judgements, draw, 300).alpha
        inside += found.low <= truth <= found.high
    assert binomtest(inside, 200, 0.94).pvalue > 0.01


# --- sides ----------------------------------------------------------------------------------------------------------


def lefts(shares: Sequence[float], votes: int, draw: np.random.Generator) -> list[Judgement]:
    """Votes of raters who choose left with these probabilities."""
    return [
        vote(item, f"r{rater}", "a" if left else "b")
        for rater, share in enumerate(shares)
        for item, left in enumerate(draw.random(votes) < share)
    ]


def test_a_planted_side_bias_is_found() -> None:
    found = side_bias(lefts([0.6] * 30, 40, rng()), rng())
    assert found.votes == 1200
    assert found.left.low < 0.6 < found.left.high
    assert found.left.low > 0.5
    assert found.p_value < 0.01


def test_habits_of_single_raters_are_no_common_bias() -> None:
    """Raters lean either way by much: the test keeps its level, one that takes votes for independent does not."""
    draw, rejected, naive = rng(), 0, 0
    for _ in range(300):
        judgements = lefts(draw.choice([0.2, 0.8], 12), 30, draw)
        rejected += side_bias(judgements, draw, 400).p_value < 0.05
        naive += binomtest(sum(judgement.preference == "left" for judgement in judgements), 360).pvalue < 0.05
    assert rejected <= 26  # 0.05 of 300 is 15
    assert naive > 100


def test_side_bias_leaves_ties_out() -> None:
    judgements = [vote(0, "r0", "a"), vote(1, "r0", "a"), vote(2, "r0", None), vote(3, "r0", "b")]
    found = side_bias(judgements, rng())
    assert (found.votes, found.left) == (3, wilson(2, 3))
    assert found.p_value == pytest.approx(binomtest(2, 3).pvalue)
    none = side_bias([vote(0, "r0", None)], rng())
    assert none.votes == 0
    assert np.isnan([none.left.estimate, none.left.low, none.p_value]).all()


@given(st.lists(st.tuples(st.booleans(), st.sampled_from("xyz")), min_size=1, max_size=20))
def test_a_share_is_never_surer_than_independent_votes(votes: list[tuple[bool, str]]) -> None:
    hits, groups = [hit for hit, _ in votes], [group for _, group in votes]
    found, independent = share_by_groups(hits, groups, rng(), 100), wilson(sum(hits), len(hits))
    assert found.estimate == pytest.approx(independent.estimate)
    assert 0 <= found.low <= independent.low <= independent.high <= found.high <= 1


def test_consistency() -> None:
    steady = [(vote(k, "r", "a"), vote(k, "r", "a", flip=True)) for k in range(3)]
    habit = [(vote(9, "r", "a"), vote(9, "r", "b", flip=True))]
    ties = [(vote(10, "r", None), vote(10, "r", None, flip=True))]
    found = consistency(steady + habit + ties)
    assert (found.repeats, found.same) == (5, wilson(4, 5))
    assert consistency([]).same is None


@pytest.mark.parametrize("second", [vote(1, "r", "a"), vote(1, "s", "a", flip=True), vote(2, "r", "a", flip=True)])
def test_consistency_refuses_what_is_no_repeat(second: Judgement) -> None:
    with pytest.raises(ConfigError, match=r"comparison 1:.* does not repeat it"):
        consistency([(vote(1, "r", "a"), second)])


# --- machine raters -----------------------------------------------------------------------------------------------


def both_orders(item: int, first: str | None, second: str | None) -> list[Judgement]:
    made = [vote(item, "clip", first), vote(item, "clip", second, flip=True)]
    return [replace(judgement, kind="metric") for judgement in made]


def test_settled_answers_are_those_that_outlast_the_exchange() -> None:
    judgements = [*both_orders(0, "a", "a"), *both_orders(1, "a", "b"), *both_orders(2, None, None)]
    judgements += both_orders(3, None, "b")
    found = settle(judgements)
    assert [(judgement.item, judgement.preferred) for judgement in found.judgements] == [("i0", "a"), ("i2", None)]
    assert [judgement.item for judgement in found.abstained] == ["i1", "i3"]
    assert found.flips == wilson(2, 4)


def test_settled_reasons_are_those_of_both_orders() -> None:
    first, second = both_orders(0, "a", "a")
    first = replace(first, reasons=("object motion", "text alignment"))
    second = replace(second, reasons=("overall quality", "text alignment"))
    assert settle([first, second]).judgements == (replace(first, reasons=("text alignment",)),)


def test_raters_and_questions_are_settled_apart() -> None:
    once = both_orders(0, "a", "a")
    other = [replace(judgement, rater="vlm") for judgement in both_orders(0, "b", "b")]
    asked = [replace(judgement, question="motion") for judgement in both_orders(0, "a", "b")]
    found = settle([once[0], other[0], asked[0], once[1], other[1], asked[1]])
    assert (len(found.judgements), len(found.abstained)) == (2, 1)


@given(st.lists(st.tuples(*[st.sampled_from(["a", "b", None])] * 2), min_size=1, max_size=15))
def test_settling_leaves_nothing_over(answers: list[tuple[str | None, str | None]]) -> None:
    found = settle([judgement for item, pair in enumerate(answers) for judgement in both_orders(item, *pair)])
    assert len(found.judgements) == sum(first == second for first, second in answers)
    assert len(found.judgements) + len(found.abstained) == len(answers)


def test_one_order_alone_is_refused() -> None:
    one, two = both_orders(4, "a", "a")
    for judgements in ([one], [one, one], [one, two, two]):
        with pytest.raises(ConfigError, match=r"rater clip, question overall, comparison 4:.*each order"):
            settle(judgements)
    with pytest.raises(ConfigError, match="nothing"):
        settle([])


def test_a_metric_against_the_majority_of_people() -> None:
    """12 items: 8 alike, 2 otherwise, one tie of people, one abstention; and one that people did not see."""
    people = [j for item in range(10) for j in five_votes(item, 4 if item % 2 else 1)]
    people += [vote(10, "r0", "a"), vote(10, "r1", "b"), vote(10, "r2", None), *five_votes(11, 5)]
    right = {item: "a" if item % 2 else "b" for item in range(10)}
    answers = [j for item, model in right.items() for j in both_orders(item, model, model) if item < 8]
    answers += [*both_orders(8, "a", "a"), *both_orders(9, "b", "b"), *both_orders(10, "a", "a")]
    answers += [*both_orders(11, "a", "b"), *both_orders(12, "a", "a")]
    found = with_people(settle(answers), people, rng())
    assert (found.rater, found.kind, found.question) == ("clip", "metric", "overall")
    assert (found.items, found.left_out) == (10, 2)
    assert found.same.estimate == 0.8
    assert found.same.low <= wilson(8, 10).low
    assert found.same.high >= wilson(8, 10).high
    counts = [[0, 2], [2, 0]] * 4 + [[1, 1], [1, 1]]
    assert found.ac1 == pytest.approx(gwet_ac1(counts))


def test_people_are_asked_the_same_question() -> None:
    people = [*five_votes(0, 5), *(replace(judgement, question="motion") for judgement in five_votes(0, 0) * 2)]
    assert with_people(settle(both_orders(0, "a", "a")), people, rng()).same.estimate == 1


def test_items_of_one_image_are_drawn_together() -> None:
    """Eight images of ten items each, all alike or all otherwise: as sure as eight items, not as eighty."""
    people = [replace(j, image=f"p{item // 10}") for item in range(80) for j in five_votes(item, 5)]
    answers = [("a", "b")[item // 10 % 2] for item in range(80)]
    judgements = [j for item, model in enumerate(answers) for j in both_orders(item, model, model)]
    together = settle([replace(j, image=f"p{int(j.item[1:]) // 10}") for j in judgements])
    apart, grouped = (with_people(settled, people, rng()).same for settled in (settle(judgements), together))
    assert apart.estimate == grouped.estimate == 0.5
    assert grouped.high - grouped.low > 2 * (apart.high - apart.low)


def test_a_rater_that_never_chose() -> None:
    found = with_people(settle(both_orders(0, None, None)), five_votes(0, 5), rng())
    assert (found.items, found.left_out) == (0, 1)
    assert np.isnan([found.same.estimate, found.ac1]).all()


def test_comparing_with_people_needs_one_rater_and_something_in_common() -> None:
    with pytest.raises(ConfigError, match="people judged nothing of the same"):
        with_people(settle(both_orders(0, "a", "a")), five_votes(1, 5), rng())
    other = [replace(judgement, rater="vlm", kind="model") for judgement in both_orders(0, "a", "a")]
    with pytest.raises(ConfigError, match=r"clip \(metric\) on overall; vlm \(model\) on overall"):
        with_people(settle([*both_orders(0, "a", "a"), *other]), five_votes(0, 5), rng())
    with pytest.raises(ConfigError, match="got none"):
        with_people(Settled((), (), wilson(0, 1)), five_votes(0, 5), rng())


# --- rows of raters -------------------------------------------------------------------------------------------------


def test_the_rater_who_disagrees_comes_first() -> None:
    judgements = [vote(item, f"r{k}", "a", flip=item % 2 == 0) for item in range(6) for k in range(4)]
    judgements += [vote(item, "bad", "b") for item in range(6)] + [vote(item, "alone", "a") for item in (20, 21)]
    judgements += [vote(0, "tired", None), vote(1, "tired", "a")]
    rows = {row.rater: row for row in rater_rows(judgements)}
    assert list(rows) == ["bad", "r0", "r1", "r2", "r3", "tired", "alone"]
    assert (rows["bad"].agrees, rows["bad"].left, rows["bad"].votes) == (0, 0, 6)
    assert (rows["r0"].agrees, rows["r0"].left) == (1, 0.5)
    assert (rows["tired"].votes, rows["tired"].ties, rows["tired"].agrees) == (2, 1, 1)
    assert np.isnan(rows["alone"].agrees)


def test_a_rater_is_not_a_part_of_the_others() -> None:
    """Two against one: each of the two has one voice on either side among the others, so there is no majority."""
    judgements = [vote(0, "x", "a"), vote(0, "y", "a"), vote(0, "z", "b")]
    agrees = {row.rater: row.agrees for row in rater_rows(judgements)}
    assert agrees["z"] == 0
    assert np.isnan([agrees["x"], agrees["y"]]).all()


def test_only_ties() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (row,) = rater_rows([vote(0, "x", None)])
    assert (row.votes, row.ties) == (1, 1)
    assert np.isnan([row.left, row.agrees]).all()
    assert rater_rows([]) == ()
