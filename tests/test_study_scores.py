"""What votes say of two models: statsmodels' intervals, the paper's arithmetic, what symmetry demands, coverage."""

from collections.abc import Sequence
from dataclasses import replace
from random import Random

import krippendorff
import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, t
from statsmodels.stats.proportion import proportion_confint

from motionfocal.errors import ConfigError, ShapeError, UnknownNameError
from motionfocal.intervals import Interval
from motionfocal.study import REASONS, Judgement
from motionfocal.study.analysis.contents import ComparisonRow
from motionfocal.study.analysis.reasons import reason_shares, reasons_of
from motionfocal.study.analysis.rows import comparison_rows
from motionfocal.study.analysis.scores import (
    item_outcomes,
    score_test,
    ti2v_score,
    ti2v_score_by_item,
    vote_outcomes,
    vote_score,
    vote_score_naive,
)
from motionfocal.study.analysis.simulation import (
    BASELINE,
    MODEL,
    Crowd,
    Population,
    ReasonHabit,
    simulated_votes,
)
from motionfocal.study.analysis.twoway import two_way_mean, two_way_test


def vote(
    item: int, rater: int, chosen: str | None, *reasons: str, pair: tuple[str, str] = ("ours", "theirs")
) -> Judgement:
    """A vote for one of a pair, or for neither; four items share an image, and sides alternate."""
    left, right = pair if (item + rater) % 2 == 0 else pair[::-1]
    preference = "tie" if chosen is None else "left" if chosen == left else "right"
    return Judgement(
        f"c{item}", f"i{item:03}", f"p{item // 4}", left, right, f"r{rater}", preference, reasons, kind="person"
    )


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def values(interval: Interval) -> tuple[float, float, float]:
    return interval.estimate, interval.low, interval.high


def mirrored(interval: Interval) -> object:
    return pytest.approx((1 - interval.estimate, 1 - interval.high, 1 - interval.low), abs=1e-9)


def approx(interval: Interval) -> object:
    return pytest.approx(values(interval), abs=1e-9, nan_ok=True)


@st.composite
def studies(draw: st.DrawFn, ties: bool = True) -> list[Judgement]:
    """Up to ten items, each judged by some of up to six raters, sides, answers and reasons at random."""
    raters = draw(st.integers(1, 6))
    judgements = []
    for item in range(draw(st.integers(1, 10))):
        for rater in draw(st.sets(st.integers(0, raters - 1), min_size=1)):
            chosen = draw(st.sampled_from(["ours", "theirs", None] if ties else ["ours", "theirs"]))
            reasons = draw(st.sets(st.sampled_from([*REASONS, "charm"]))) if chosen else ()
            judgements.append(vote(item, rater, chosen, *sorted(reasons)))
    return judgements


def simulated(seed: int = 0, population: Population = Population()) -> list[Judgement]:  # noqa: B008 - frozen
    """80 items on 22 images, 20 raters, 5 votes an item: every rater has as many."""
    generator = np.random.default_rng(seed)
    crowd = Crowd.draw(population, 80, 20, generator)
    return simulated_votes(crowd, 5, generator, images=22)


# --- against statsmodels and krippendorff -----------------------------------------------------------------------------


@given(studies(ties=False))
def test_intervals_of_counts_are_statsmodels_wilson(judgements: list[Judgement]) -> None:
    votes = vote_outcomes(judgements, "ours")
    low, high = proportion_confint(sum(votes), len(votes), method="wilson")
    assert values(vote_score_naive(judgements, "ours")) == pytest.approx((np.mean(votes), low, high), abs=1e-9)
    outcomes = list(item_outcomes(judgements, "ours").values())
    score = ti2v_score_by_item(judgements, "ours")
    assert score.estimate == pytest.approx(np.mean(outcomes))
    if sum(outcomes) == int(sum(outcomes)):
        low, high = proportion_confint(sum(outcomes), len(outcomes), method="wilson")
        assert (score.low, score.high) == pytest.approx((low, high), abs=1e-9)


def wilson_variance(interval: Interval, quantile: float) -> float:
    """The variance of a mean that Wilson's interval was made of."""
    both = interval.low + interval.high
    spread = (both - 2 * interval.estimate) / (1 - both)
    return interval.estimate * (1 - interval.estimate) * spread / quantile**2


def test_the_variance_is_statsmodels_two_way_cluster_variance() -> None:
    """Where all clusters of a way are equal, both corrections of the variance are the same one."""
    judgements = simulated(population=Population(item_sd=1.0, rater_sd=1.0))
    outcomes = np.array(vote_outcomes(judgements, MODEL))
    codes = [np.unique(names, return_inverse=True)[1] for names in ids(judgements)]
    fit = sm.OLS(outcomes, np.ones(len(outcomes))).fit(cov_type="cluster", cov_kwds={"groups": np.stack(codes, 1)})
    by_way = [
        sm.OLS(outcomes, np.ones(len(outcomes))).fit(cov_type="cluster", cov_kwds={"groups": code}).bse[0] ** 2
        for code in codes
    ]
    variance = fit.bse[0] ** 2
    freedom = variance**2 / (by_way[0] ** 2 / 79 + by_way[1] ** 2 / 19)
    interval = vote_score(judgements, MODEL)
    assert wilson_variance(interval, t.ppf(0.975, freedom)) == pytest.approx(variance, rel=1e-6)


def ids(judgements: Sequence[Judgement]) -> tuple[list[str], list[str]]:
    return [j.item for j in judgements], [j.rater for j in judgements]


@settings(max_examples=40)
@given(studies())
def test_alpha_of_a_reason_is_krippendorffs(judgements: list[Judgement]) -> None:
    shares = reason_shares(judgements, "ours", reasons_of(judgements))
    chosen = [j for j in judgements if j.preferred is not None]
    for reason, share in shares.items():
        items = sorted({j.item for j in chosen})
        counts = np.zeros((len(items), 2), int)
        for judgement in chosen:
            counts[items.index(judgement.item), int(reason in judgement.reasons)] += 1
        paired = counts[counts.sum(1) > 1]
        if len(paired) and (paired.sum(0) > 0).all():
            expected = krippendorff.alpha(value_counts=counts, level_of_measurement="nominal")
            assert share.alpha == pytest.approx(expected, abs=1e-9)
        else:
            assert np.isnan(share.alpha)


# --- the paper's arithmetic -------------------------------------------------------------------------------------------


def test_a_row_by_hand() -> None:
    """Three items of three votes: won 3-0, won 2-1, lost 0-3; reasons of each side."""
    judgements = [vote(0, r, "ours", "object motion") for r in range(3)]
    judgements += [vote(1, 0, "ours", "object motion", "text alignment"), vote(1, 1, "ours")]
    judgements += [vote(1, 2, "theirs", "overall quality")]
    judgements += [vote(2, 0, "theirs", "text alignment"), vote(2, 1, "theirs", "text alignment"), vote(2, 2, "theirs")]
    (row,) = comparison_rows(judgements, "ours", rng(), resamples=200)
    assert (row.model, row.baseline) == ("ours", "theirs")
    assert (row.items, row.images, row.raters, row.votes) == (3, 1, 3, 9)
    assert (row.wins, row.losses, row.ties, row.tied_items) == (5, 4, 0, 0)
    assert row.ti2v_score.estimate == row.ti2v_score_by_item.estimate == pytest.approx(2 / 3)
    assert row.vote_score.estimate == row.vote_score_naive.estimate == pytest.approx(5 / 9)
    assert row.p_value == row.p_holm == 1
    assert list(row.reasons) == list(REASONS)
    motion, text = row.reasons["object motion"], row.reasons["text alignment"]
    assert (motion.model.estimate, motion.baseline.estimate) == pytest.approx((4 / 9, 0))
    assert (text.model.estimate, text.baseline.estimate) == pytest.approx((1 / 9, 2 / 9))
    assert (motion.model_by_majority, motion.baseline_by_majority) == pytest.approx(
        (1 / 3, 0)
    )  # one of two is not most
    assert (text.model_by_majority, text.baseline_by_majority) == pytest.approx((0, 1 / 3))
    assert row.reasons["overall quality"].baseline.estimate == pytest.approx(1 / 9)
    assert row.reasons["overall quality"].baseline_by_majority == 0  # theirs lost that item
    assert row.agreement.splits == {"3-0": 2, "2-1": 1}
    assert row.side.votes == 9


def test_ties_count_one_half() -> None:
    judgements = [vote(0, 0, "ours"), vote(0, 1, "theirs"), vote(1, 0, "ours"), vote(1, 1, None), vote(2, 0, None)]
    assert item_outcomes(judgements, "ours") == {"i000": 0.5, "i001": 1.0, "i002": 0.5}
    assert ti2v_score(judgements, "ours").estimate == pytest.approx(2 / 3)
    assert vote_score(judgements, "ours").estimate == pytest.approx(0.6)
    assert score_test(judgements, "ours") == 1


def test_the_test_by_hand() -> None:
    """Twenty items won, none lost, on five images: 2 / 2^5. An image of their own each: the sign test's 2 / 2^20."""
    judgements = [vote(item, 0, "ours") for item in range(20)] + [vote(20, 0, None)]
    assert score_test(judgements, "ours") == pytest.approx(2 / 2**5)
    assert score_test([replace(j, image=j.item) for j in judgements], "ours") == pytest.approx(2 / 2**20)
    assert score_test([vote(0, 0, None)], "ours") == 1


def test_the_interval_is_wider_where_images_decide() -> None:
    """All four items of an image go the same way: 20 images are worth 20 items, not 80."""
    judgements = [vote(item, 0, "ours" if item // 4 % 2 else "theirs") for item in range(80)]
    by_item, by_image = ti2v_score_by_item(judgements, "ours"), ti2v_score(judgements, "ours")
    assert by_image.high - by_image.low > 1.6 * (by_item.high - by_item.low)


def test_where_each_image_has_one_item_the_interval_is_nearly_wilsons() -> None:
    judgements = [replace(vote(item, 0, "ours" if item % 3 else "theirs"), image=str(item)) for item in range(320)]
    expected = ti2v_score_by_item(judgements, "ours")
    assert values(ti2v_score(judgements, "ours")) == pytest.approx(values(expected), abs=5e-4)


def test_the_score_holds_the_truth_and_the_test_its_level_where_images_decide() -> None:
    """Items of an image share its effect, one to seven items an image; nobody is preferred, so one half is true."""
    random = np.random.default_rng(0)
    image = np.sort(np.concatenate([np.arange(40), random.integers(40, size=100)]))
    studies, held, rejected, naive = 300, 0, 0, 0
    for _ in range(studies):
        won = random.random(140) < 1 / (1 + np.exp(random.normal(0, 1.5, 40)[image]))
        judgements = [
            replace(vote(item, 0, "ours" if won[item] else "theirs"), image=f"p{image[item]}") for item in range(140)
        ]
        interval, by_item = ti2v_score(judgements, "ours"), ti2v_score_by_item(judgements, "ours")
        held += interval.low <= 0.5 <= interval.high
        naive += by_item.low <= 0.5 <= by_item.high
        rejected += score_test(judgements, "ours") < 0.05
    assert naive < 0.88 * studies < 0.92 * studies <= held
    assert 0.01 * studies <= rejected <= 0.08 * studies


# --- what symmetry demands --------------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(studies())
def test_the_other_model_has_the_mirrored_scores(judgements: list[Judgement]) -> None:
    (ours,) = comparison_rows(judgements, "ours", rng(), resamples=50)
    (theirs,) = comparison_rows(judgements, "theirs", rng(), resamples=50)
    for score in ("ti2v_score", "ti2v_score_by_item", "vote_score", "vote_score_naive"):
        assert values(getattr(theirs, score)) == mirrored(getattr(ours, score))
    assert (ours.wins, ours.losses, ours.ties) == (theirs.losses, theirs.wins, theirs.ties)
    assert ours.p_value == pytest.approx(theirs.p_value)
    for reason, shares in ours.reasons.items():
        assert shares.model == theirs.reasons[reason].baseline
        assert shares.baseline_by_majority == theirs.reasons[reason].model_by_majority


def scores_of(row: ComparisonRow) -> list[Interval]:
    reasons = [share for shares in row.reasons.values() for share in (shares.model, shares.baseline)]
    return [row.ti2v_score, row.ti2v_score_by_item, row.vote_score, row.vote_score_naive, *reasons]


@settings(max_examples=40)
@given(studies(), st.randoms(use_true_random=False))
def test_the_order_of_votes_and_the_names_of_raters_say_nothing(judgements: list[Judgement], random: Random) -> None:
    changed = [replace(judgement, rater=f"z{judgement.rater}") for judgement in judgements]
    random.shuffle(changed)
    (row,), (other,) = (comparison_rows(votes, "ours", rng(), resamples=50) for votes in (judgements, changed))
    assert row.reasons.keys() == other.reasons.keys()
    for one, two in zip(
        scores_of(row), scores_of(replace(other, reasons={k: other.reasons[k] for k in row.reasons})), strict=True
    ):
        assert values(two) == approx(one)


@settings(max_examples=40)
@given(studies())
def test_exchanging_all_sides_changes_no_score(judgements: list[Judgement]) -> None:
    flip = {"left": "right", "right": "left", "tie": "tie"}
    exchanged = [
        replace(j, left_model=j.right_model, right_model=j.left_model, preference=flip[j.preference])
        for j in judgements
    ]
    (row,), (other,) = (comparison_rows(votes, "ours", rng(), resamples=50) for votes in (judgements, exchanged))
    assert scores_of(row) == scores_of(other)
    assert row.side.left.estimate == pytest.approx(1 - other.side.left.estimate, nan_ok=True)


@settings(max_examples=40)
@given(studies())
def test_shares_and_intervals_are_in_order(judgements: list[Judgement]) -> None:
    (row,) = comparison_rows(judgements, "ours", rng(), resamples=50)
    for interval in scores_of(row):
        assert 0 <= interval.low <= interval.estimate + 1e-12
        assert interval.estimate - 1e-12 <= interval.high <= 1
    assert row.vote_score.high - row.vote_score.low > 0
    assert row.wins + row.losses + row.ties == row.votes
    for shares in row.reasons.values():
        assert shares.model.estimate + shares.baseline.estimate <= 1 + 1e-12
        assert shares.model_by_majority + shares.baseline_by_majority <= 1 + 1e-12


# --- the two-way interval ---------------------------------------------------------------------------------------------


def width(interval: Interval) -> float:
    return interval.high - interval.low


@given(studies(ties=False))
def test_the_interval_is_never_within_the_naive_one(judgements: list[Judgement]) -> None:
    two_way, naive = vote_score(judgements, "ours"), vote_score_naive(judgements, "ours")
    assert two_way.low <= naive.low + 1e-9
    assert two_way.high >= naive.high - 1e-9


def test_votes_that_seem_to_avoid_each_other_count_as_independent() -> None:
    """Three of four items are split evenly, by 200 raters of one vote each: half the variance of independent votes.

    The items, which are fewer, say how well that variance is known.
    """
    outcomes = [1, 0] * 75 + [1, 1] * 15 + [0, 0] * 10
    interval = two_way_mean(outcomes, [vote // 2 for vote in range(200)], range(200))
    assert wilson_variance(interval, t.ppf(0.975, 99)) == pytest.approx(np.var(outcomes, ddof=1) / 200, rel=1e-6)


def test_two_ways_are_wider_than_none_where_raters_and_items_differ() -> None:
    judgements = simulated(population=Population(item_sd=1.5, rater_sd=1.5))
    assert width(vote_score(judgements, MODEL)) > 1.5 * width(vote_score_naive(judgements, MODEL))


def test_raters_of_one_vote_each_leave_the_items() -> None:
    """Then every rater's cluster is a vote, and only items are clusters: whatever raters are called."""
    outcomes = [1, 1, 1, 1, 0, 0, 0, 1]
    items = [0, 0, 1, 1, 2, 2, 3, 3]
    one_each = two_way_mean(outcomes, items, range(8))
    fit = sm.OLS(outcomes, np.ones(8)).fit(cov_type="cluster", cov_kwds={"groups": np.array(items)})
    by_votes = np.var(outcomes, ddof=1) / 8
    freedom = fit.bse[0] ** 4 / (fit.bse[0] ** 4 / 3 + by_votes**2 / 7)
    assert wilson_variance(one_each, t.ppf(0.975, max(1, freedom))) == pytest.approx(fit.bse[0] ** 2, rel=1e-6)


def test_a_single_rater_leaves_the_items() -> None:
    """As every oracle and metric is: nothing can be said of other raters."""
    outcomes, items = [1, 0, 1, 1, 1, 0], list(range(6))
    assert two_way_mean(outcomes, items, [0] * 6) == two_way_mean(outcomes, [0] * 6, items)
    judgements = [vote(item, 0, "ours" if item % 3 else "theirs") for item in range(300)]
    assert width(vote_score(judgements, "ours")) == pytest.approx(width(vote_score_naive(judgements, "ours")), rel=0.02)


def test_votes_that_never_differ_leave_room_by_the_fewer_clusters() -> None:
    judgements = [vote(item, rater, "ours") for item in range(40) for rater in range(10)]
    low, high = proportion_confint(10, 10, method="beta")  # Clopper and Pearson's
    assert values(vote_score(judgements, "ours")) == pytest.approx((1.0, low, high), abs=1e-9)
    none = two_way_mean(np.zeros(400), np.arange(400) % 40, np.arange(400) // 40)
    assert values(none) == pytest.approx((0.0, 1 - high, 1 - low), abs=1e-9)


@pytest.mark.parametrize("outcome", [0, 1])
@pytest.mark.parametrize("raters", [3, 5, 6, 12])
def test_votes_that_never_differ_are_tested_as_so_few(outcome: int, raters: int) -> None:
    """Five that agree cannot be significant at 0.05, and six can: interval and test say the same."""
    clusters = np.arange(40 * raters) % 40, np.arange(40 * raters) // 40
    outcomes = np.full(40 * raters, outcome)
    p_value = two_way_test(outcomes, *clusters)
    assert p_value == pytest.approx(binomtest(outcome * raters, raters).pvalue)
    interval = two_way_mean(outcomes, *clusters)
    assert (p_value < 0.05) == (not interval.low <= 0.5 <= interval.high) == (raters > 5)


def test_two_way_mean_refuses_what_does_not_fit() -> None:
    with pytest.raises(ShapeError, match=r"\[votes\]"):
        two_way_mean([0, 1], ["a", "b"], ["r"])
    with pytest.raises(ConfigError, match="no votes"):
        two_way_mean([], [], [])


@pytest.mark.slow
def test_the_two_way_interval_covers_and_the_naive_one_does_not() -> None:
    """The bar's study, 150 times; benchmarks/study_coverage.py measures it well."""
    population = Population(effect=0.45, item_sd=1.0, rater_sd=0.5, reasons=())
    generator, truth = rng(), population.preference
    held = {"two-way": 0, "naive": 0}
    for _ in range(150):
        judgements = simulated_votes(Crowd.draw(population, 320, 40, generator), 5, generator)
        for name, interval in (
            ("two-way", vote_score(judgements, MODEL)),
            ("naive", vote_score_naive(judgements, MODEL)),
        ):
            held[name] += interval.low <= truth <= interval.high
    assert 0.90 <= held["two-way"] / 150 <= 0.99
    assert held["naive"] / 150 <= 0.85


# --- reasons ----------------------------------------------------------------------------------------------------------


def test_reasons_stand_in_the_papers_order_then_by_first_use() -> None:
    assert reasons_of([vote(0, 0, "ours", "object motion")]) == REASONS
    mixed = [vote(0, 0, "ours", "zeal", "overall quality"), vote(0, 1, "ours", "charm", "image alignment")]
    assert reasons_of(mixed) == ("image alignment", "overall quality", "zeal", "charm")
    assert reasons_of([vote(0, 0, "ours")]) == ()


# --- rows -------------------------------------------------------------------------------------------------------------


def three_models() -> list[Judgement]:
    """a wins against b on eight of eight items, against c on six of eight; b against c is even. An image an item."""
    judgements = []
    for pair, won in ((("a", "b"), 8), (("a", "c"), 6), (("b", "c"), 4)):
        for item in range(8):
            judgements += [vote(item, r, pair[0] if item < won else pair[1], pair=pair) for r in range(3)]
    return [replace(judgement, image=judgement.item) for judgement in judgements]


def test_rows_are_pairs_and_p_values_are_holms() -> None:
    rows = comparison_rows(three_models(), None, rng(), resamples=50)
    assert [(row.model, row.baseline) for row in rows] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert [row.ti2v_score.estimate for row in rows] == pytest.approx([1, 0.75, 0.5])
    assert rows[0].p_value == pytest.approx(2 / 256)
    assert rows[0].p_holm == pytest.approx(3 * 2 / 256)
    assert all(row.p_holm >= row.p_value for row in rows)


def test_the_named_model_stands_first() -> None:
    rows = comparison_rows(three_models(), "c", rng(), resamples=50)
    assert [(row.model, row.baseline) for row in rows] == [("c", "a"), ("c", "b")]
    assert [row.ti2v_score.estimate for row in rows] == pytest.approx([0.25, 0.5])


def test_a_model_in_all_pairs_stands_first() -> None:
    judgements = [j for j in three_models() if "b" in (j.left_model, j.right_model)]
    rows = comparison_rows(judgements, None, rng(), resamples=50)
    assert [(row.model, row.baseline) for row in rows] == [("b", "a"), ("b", "c")]
    single = [j for j in judgements if "c" in (j.left_model, j.right_model)]
    assert [row.model for row in comparison_rows(single, None, rng(), resamples=50)] == ["b"]


def test_rows_share_their_reasons() -> None:
    judgements = [
        replace(j, reasons=("charm",)) if "b" not in (j.left_model, j.right_model) else j for j in three_models()
    ]
    assert {tuple(row.reasons) for row in comparison_rows(judgements, None, rng(), resamples=50)} == {("charm",)}


def test_what_makes_no_table_is_refused() -> None:
    with pytest.raises(ConfigError, match="no votes"):
        comparison_rows([], None, rng())
    with pytest.raises(UnknownNameError, match=r"'d'.*a, b, c"):
        comparison_rows(three_models(), "d", rng())
    with pytest.raises(ConfigError, match="overall of oracle, overall of person"):
        comparison_rows([vote(0, 0, "ours"), replace(vote(0, 1, "ours"), kind="oracle")], None, rng())
    with pytest.raises(ConfigError, match="quality of person"):
        comparison_rows([vote(0, 0, "ours"), replace(vote(0, 1, "ours"), question="quality")], None, rng())
    with pytest.raises(ConfigError, match="against one other model"):
        ti2v_score(three_models(), "a")


# --- simulated people -------------------------------------------------------------------------------------------------


def test_simulated_votes_keep_the_design() -> None:
    judgements = simulated()
    by_item = {item: [j for j in judgements if j.item == item] for item in {j.item for j in judgements}}
    assert len(by_item) == 80
    assert len({j.image for j in judgements}) == 22
    for votes in by_item.values():
        assert len({j.rater for j in votes}) == 5 == len(votes)
        assert sum(j.left_model == MODEL for j in votes) in (2, 3)
        assert len({j.image for j in votes}) == 1
    loads = np.unique([j.rater for j in judgements], return_counts=True)[1]
    assert loads.min() == loads.max() == 20
    assert sum(j.left_model == MODEL for j in judgements) == 200
    assert all(j.reasons for j in judgements)


def planted_share(population: Population, reason: str) -> tuple[float, float]:
    """The true shares of all votes that choose the model, and the baseline, for ``reason``."""
    habit = next(habit for habit in population.reasons if habit.reason == reason)
    without_model = np.prod([1 - other.model for other in population.reasons])
    without_baseline = np.prod([1 - other.baseline for other in population.reasons])
    share = population.preference
    return share * habit.model / (1 - without_model), (1 - share) * habit.baseline / (1 - without_baseline)


def test_votes_recover_what_was_planted() -> None:
    population = Population(effect=0.5, item_sd=1.0, rater_sd=0.5, side=0.6, careless=0.2)
    generator = rng()
    judgements = simulated_votes(Crowd.draw(population, 4000, 1000, generator), 5, generator)
    votes = vote_outcomes(judgements, MODEL)
    assert np.mean(votes) == pytest.approx(population.preference, abs=0.02)
    assert np.mean([j.preference == "left" for j in judgements]) == pytest.approx(population.left, abs=0.02)
    for reason, shares in reason_shares(judgements, MODEL, REASONS).items():
        planted = planted_share(population, reason)
        assert (shares.model.estimate, shares.baseline.estimate) == pytest.approx(planted, abs=0.02)


def test_the_true_preference_is_the_integral() -> None:
    assert Population(effect=0.0, side=1.0).preference == pytest.approx(0.5)
    assert Population(effect=0.0, side=1.0).left > 0.6
    assert Population(effect=1.0, item_sd=0, rater_sd=0).preference == pytest.approx(1 / (1 + np.exp(-1)))
    assert Population(effect=9.0, item_sd=0, rater_sd=0, careless=0.5).preference == pytest.approx(0.75, abs=1e-3)
    drawn = 0.45 + np.hypot(1.0, 0.5) * rng().standard_normal(400_000)
    assert Population(effect=0.45).preference == pytest.approx((1 / (1 + np.exp(-drawn))).mean(), abs=0.001)


def test_impossible_people_are_refused() -> None:
    with pytest.raises(ConfigError, match="votes"):
        simulated_votes(Crowd.draw(Population(), 3, 4, rng()), 5, rng())
    with pytest.raises(ConfigError, match="item_sd"):
        Population(item_sd=-1)
    with pytest.raises(ConfigError, match="careless"):
        Population(careless=1.5)
    with pytest.raises(ConfigError, match="at least one"):
        Population(reasons=(ReasonHabit("charm", 0.5, 0),))


def test_the_same_seed_gives_the_same_votes() -> None:
    assert simulated(3) == simulated(3) != simulated(4)
    assert BASELINE in {j.preferred for j in simulated(3)}
