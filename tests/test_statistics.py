"""Scores and intervals: the paper's arithmetic, what swapping and adding must do, and coverage."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from motionfocal.errors import ConfigError, ShapeError
from motionfocal.intervals import Interval, exact_sign_flip_test, grouped_mean, sign_flip_test, wilson
from motionfocal.study import REASONS, Judgement, Preference, Reason
from motionfocal.study.analysis.scores import ti2v_score_by_item
from motionfocal.study.statistics import (
    comparison_table,
    followed_rate,
    rate_difference,
    rate_difference_test,
    reason_shares,
    ti2v_score,
    vote_score,
)

Z = 1.959963984540054
FLIP: dict[Preference, Preference] = {"left": "right", "right": "left", "tie": "tie"}


def vote(
    item: int, rater: int, chosen: str | None, reasons: tuple[Reason, ...] = (), *, ours_left: bool = True
) -> Judgement:
    """One vote for "ours", "theirs" or neither; four items share an image."""
    left, right = ("ours", "theirs") if ours_left else ("theirs", "ours")
    preference: Preference = "tie" if chosen is None else "left" if chosen == left else "right"
    return Judgement(f"c{item}", f"i{item}", f"p{item // 4}", left, right, f"r{rater}", preference, reasons)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def approx(interval: Interval) -> object:
    return pytest.approx((interval.estimate, interval.low, interval.high), abs=1e-12)


def values(interval: Interval) -> tuple[float, float, float]:
    return interval.estimate, interval.low, interval.high


@st.composite
def studies(draw: st.DrawFn, raters: int = 5) -> list[Judgement]:
    """Up to twelve items, each judged by one to ``raters``, sides and reasons at random."""
    judgements = []
    for item in range(draw(st.integers(1, 12))):
        for rater in range(draw(st.integers(1, raters))):
            chosen = draw(st.sampled_from(["ours", "theirs", None]))
            reasons = draw(st.sets(st.sampled_from(REASONS))) if chosen else ()
            judgements.append(vote(item, rater, chosen, tuple(reasons), ours_left=draw(st.booleans())))
    return judgements


# --- the paper's arithmetic -----------------------------------------------------------------------------------------


def test_a_row_of_the_paper_by_hand() -> None:
    """Table 2, no MotiF loss: 63.1 / 36.9, text alignment 34.9 / 16.4, over 320 items and five votes."""
    judgements = []
    for item in range(320):
        winner, loser = ("ours", "theirs") if item < 202 else ("theirs", "ours")
        judgements += [vote(item, r, winner if r < 3 else loser, ours_left=(item + r) % 2 == 0) for r in range(5)]
    for model, count in (("ours", 558), ("theirs", 262)):
        mine = [k for k, judgement in enumerate(judgements) if judgement.preferred == model]
        for k in mine[:count]:
            judgements[k] = replace(judgements[k], reasons=("text alignment",))
    judgements = [replace(judgement, image=judgement.item) for judgement in judgements]
    row = comparison_table(judgements, "ours", rng(), resamples=500)
    assert (row.model, row.baseline, row.items, row.votes) == ("ours", "theirs", 320, 1600)
    assert (row.tied_votes, row.tied_items) == (0, 0)
    assert row.item_score.estimate == 202 / 320
    assert f"{row.item_score.estimate:.1%}" == "63.1%"
    assert values(row.item_score)[1:] == pytest.approx((0.5772, 0.6823), abs=5e-4)  # Wilson's, for independent items
    assert row.vote_score.estimate == (202 * 3 + 118 * 2) / 1600
    assert [f"{share:.1%}" for share in row.reasons["text alignment"]] == ["34.9%", "16.4%"]
    assert row.reasons["object motion"] == (0, 0)
    assert tuple(row.reasons) == ("image alignment", "text alignment", "object motion", "overall quality")


def test_a_majority_makes_a_preference_look_stronger() -> None:
    """Votes for us at 0.6, independent: by majority of five 0.683 of the items."""
    draws = np.random.default_rng(1).random((4000, 5)) < 0.6
    judgements = [vote(item, r, "ours" if draws[item, r] else "theirs") for item in range(4000) for r in range(5)]
    assert vote_score(judgements, "ours", rng(), 100).estimate == pytest.approx(0.6, abs=0.01)
    assert ti2v_score(judgements, "ours").estimate == pytest.approx(0.683, abs=0.02)


def test_reasons_are_shares_of_all_votes_ties_included() -> None:
    judgements = [
        vote(0, 0, "ours", ("object motion", "text alignment")),
        vote(0, 1, "theirs", ("text alignment",)),
        vote(1, 0, None),
        vote(1, 1, "ours"),
    ]
    shares = reason_shares(judgements, "ours")
    assert shares["object motion"] == (0.25, 0)
    assert shares["text alignment"] == (0.25, 0.25)
    assert shares["image alignment"] == (0, 0)
    row = comparison_table(judgements, "ours", rng(), 50)
    assert (row.items, row.votes, row.tied_votes, row.tied_items) == (2, 4, 1, 1)
    assert row.item_score.estimate == 0.75
    assert row.vote_score.estimate == 0.625


def test_an_item_without_a_majority_counts_half_and_widens_the_interval() -> None:
    judgements = [vote(item, 0, "ours") for item in range(10)] + [vote(10, 0, "ours"), vote(10, 1, "theirs")]
    score = ti2v_score_by_item(judgements, "ours")
    assert score.estimate == 10.5 / 11
    assert (score.low, score.high) == (wilson(10, 11).low, wilson(11, 11).high)


def test_ties_are_no_votes_in_a_majority() -> None:
    judgements = [vote(0, 0, "ours"), *(vote(0, rater, None) for rater in (1, 2, 3))]
    assert ti2v_score(judgements, "ours").estimate == 1


# --- invariants -----------------------------------------------------------------------------------------------------


@given(studies())
@settings(max_examples=60)
def test_which_side_a_model_stood_on_changes_nothing(judgements: list[Judgement]) -> None:
    swapped = [
        replace(j, left_model=j.right_model, right_model=j.left_model, preference=FLIP[j.preference])
        for j in judgements
    ]
    assert comparison_table(swapped, "ours", rng(), 50) == comparison_table(judgements, "ours", rng(), 50)


@given(studies())
@settings(max_examples=60)
def test_scores_of_the_two_models_sum_to_one(judgements: list[Judgement]) -> None:
    ours = comparison_table(judgements, "ours", rng(), 50)
    theirs = comparison_table(judgements, "theirs", rng(), 50)
    for one, other in ((ours.item_score, theirs.item_score), (ours.vote_score, theirs.vote_score)):
        assert (1 - other.estimate, 1 - other.high, 1 - other.low) == approx(one)
    assert {reason: shares[::-1] for reason, shares in theirs.reasons.items()} == ours.reasons
    assert (ours.model, ours.baseline) == (theirs.baseline, theirs.model)


@given(studies(raters=1))
@settings(max_examples=40)
def test_with_one_vote_an_item_both_scores_agree(judgements: list[Judgement]) -> None:
    assert ti2v_score(judgements, "ours").estimate == vote_score(judgements, "ours", rng(), 50).estimate


@given(studies(), st.sampled_from(["ours", "theirs"]))
@settings(max_examples=60)
def test_a_unanimous_item_moves_the_score_its_way(judgements: list[Judgement], winner: str) -> None:
    more = [*judgements, *(vote(99, rater, winner) for rater in range(5))]
    for score in (lambda js: ti2v_score(js, "ours"), lambda js: vote_score(js, "ours", rng(), 50)):
        before, after = score(judgements).estimate, score(more).estimate
        limit = 1.0 if winner == "ours" else 0.0
        assert abs(after - limit) < abs(before - limit) or before == after == limit


@given(studies(), st.randoms(use_true_random=False))
@settings(max_examples=30)
def test_the_order_of_the_votes_does_not_matter(judgements: list[Judgement], random) -> None:
    shuffled = random.sample(judgements, len(judgements))
    assert comparison_table(shuffled, "ours", rng(), 50) == comparison_table(judgements, "ours", rng(), 50)


@given(studies())
@settings(max_examples=40)
def test_intervals_contain_their_estimates_and_stay_in_range(judgements: list[Judgement]) -> None:
    row = comparison_table(judgements, "ours", rng(), 400)
    for interval in (row.item_score, row.vote_score):
        assert 0 <= interval.low <= interval.estimate <= interval.high <= 1
        assert interval.level == 0.95


def test_judgements_of_other_models_are_refused() -> None:
    mixed = [vote(0, 0, "ours"), replace(vote(1, 0, "ours"), right_model="third")]
    for score in (ti2v_score, reason_shares):
        with pytest.raises(ConfigError, match="'ours' against one other model, got ours / theirs, ours / third"):
            score(mixed, "ours")
        with pytest.raises(ConfigError, match="'absent' against one other model, got ours / theirs"):
            score(mixed[:1], "absent")
        with pytest.raises(ConfigError, match="got nothing"):
            score([], "ours")
    with pytest.raises(ConfigError, match="'third' against one other"):
        vote_score([*mixed, replace(vote(2, 0, "ours"), left_model="other")], "third", rng())


# --- intervals ------------------------------------------------------------------------------------------------------


@given(st.integers(1, 500), st.data())
@settings(max_examples=60)
def test_wilson_by_its_formula(n: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(0, n))
    p = k / n
    centre = (p + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * np.sqrt(p * (1 - p) / n + Z**2 / (4 * n**2))
    interval = wilson(k, n)
    assert values(interval) == pytest.approx((p, centre - half, centre + half), abs=1e-9)
    scipy = binomtest(k, n).proportion_ci(0.95, method="wilson")
    assert (interval.low, interval.high) == (scipy.low, scipy.high)


def test_wilson_known_values() -> None:
    """Rounded as in Newcombe, Statistics in Medicine 17 (1998), table I: 81/263, 15/148, 0/20, 1/29."""
    for k, n, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        assert values(wilson(k, n))[1:] == pytest.approx((low, high), abs=5e-5)
    clips = [str(clip) for clip in range(263)]
    assert followed_rate([True] * 81 + [False] * 182, clips).low == pytest.approx(wilson(81, 263).low, abs=5e-4)
    with pytest.raises(ConfigError, match="a mean of nothing"):
        followed_rate([], [])


def _clustered(random: np.random.Generator) -> tuple[np.ndarray, list[str]]:
    """Verdicts on 60 images with four prompts each, whose mean differs from image to image; 0.6 on average."""
    chance = random.beta(1.2, 0.8, 60)
    return (random.random((60, 4)) < chance[:, None]).astype(float).ravel(), [f"p{k // 4}" for k in range(240)]


def test_bootstrap_over_images_covers_and_a_naive_interval_does_not() -> None:
    random, runs = np.random.default_rng(5), 400
    grouped = naive = 0
    for _ in range(runs):
        verdicts, images = _clustered(random)
        interval = grouped_mean(verdicts, images, random, resamples=500)
        grouped += interval.low <= 0.6 <= interval.high
        simple = wilson(int(verdicts.sum()), 240)
        naive += simple.low <= 0.6 <= simple.high
    assert 0.91 < grouped / runs < 0.98
    assert naive / runs < 0.88


def test_difference_covers() -> None:
    random, runs, covered = np.random.default_rng(6), 300, 0
    for _ in range(runs):
        first, images = _clustered(random)
        second = np.where(random.random(240) < 0.3, random.random(240) < 0.3, first)  # 0.51 on average
        interval = rate_difference(first.astype(bool), second.astype(bool), images, random, resamples=400)
        covered += interval.low <= 0.09 <= interval.high
    assert 0.91 < covered / runs < 0.98


def test_resampling_whole_images_is_wider_when_siblings_agree() -> None:
    verdicts = np.repeat(np.random.default_rng(0).random(50) < 0.5, 4).astype(float)
    together = grouped_mean(verdicts, [str(k // 4) for k in range(200)], rng())
    apart = grouped_mean(verdicts, [str(k) for k in range(200)], rng())
    assert together.estimate == apart.estimate == verdicts.mean()
    assert (together.high - together.low) / (apart.high - apart.low) == pytest.approx(2, rel=0.1)


def test_bootstrap_agrees_with_theory_for_single_items() -> None:
    verdicts = np.array([1.0] * 60 + [0.0] * 40)
    interval = grouped_mean(verdicts, [str(k) for k in range(100)], rng())
    assert (interval.low, interval.high) == pytest.approx((0.6 - Z * 0.049, 0.6 + Z * 0.049), abs=0.011)


def test_bootstrap_repeats_with_its_generator_and_knows_its_limits() -> None:
    verdicts, images = _clustered(np.random.default_rng(0))
    assert grouped_mean(verdicts, images, rng(), 300) == grouped_mean(verdicts, images, rng(), 300)
    assert values(grouped_mean([1, 1, 1], ["a", "b", "c"], rng())) == (1, 1, 1)
    assert values(grouped_mean([1, 0], ["a", "a"], rng())) == (0.5, 0.5, 0.5)
    with pytest.raises(ShapeError, match=r"values \[3\] and groups \[1\]"):
        grouped_mean([1, 0, 1], ["a"], rng())
    with pytest.raises(ConfigError, match="no item was judged"):
        grouped_mean([], [], rng())


# --- two models' verdicts -------------------------------------------------------------------------------------------

verdict_pairs = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40)


@given(verdict_pairs)
@settings(max_examples=50)
def test_difference_is_paired_and_antisymmetric(pairs: list[tuple[bool, bool]]) -> None:
    a, b = zip(*pairs, strict=True)
    images = [str(k // 3) for k in range(len(a))]
    forth, back = (rate_difference(x, y, images, rng(), 200) for x, y in ((a, b), (b, a)))
    assert forth.estimate == pytest.approx(np.mean(a) - np.mean(b))
    assert (-back.estimate, -back.high, -back.low) == approx(forth)
    assert forth.low <= forth.estimate <= forth.high
    assert rate_difference_test(a, b, images) == rate_difference_test(b, a, images)
    assert values(rate_difference(a, a, images, rng(), 50)) == (0, 0, 0)
    assert rate_difference_test(a, a, images) == 1


@given(verdict_pairs, st.booleans())
@settings(max_examples=30)
def test_items_on_which_both_agree_do_not_move_the_test(pairs: list[tuple[bool, bool]], both: bool) -> None:
    assume(pairs)
    a, b = zip(*pairs, strict=True)
    images = [str(k // 3) for k in range(len(a))]
    assert rate_difference_test((*a, both), (*b, both), [*images, "new"]) == rate_difference_test(a, b, images)


def mcnemar(a: list[bool], b: list[bool]) -> float:
    return rate_difference_test(a, b, [str(k) for k in range(len(a))])


def test_with_an_item_an_image_it_is_mcnemars_by_hand() -> None:
    assert mcnemar([True] * 5 + [False], [False] * 6) == pytest.approx(2 * 0.5**5)
    assert mcnemar([True] * 8 + [False] * 2, [False] * 8 + [True] * 2) == pytest.approx(2 * (1 + 10 + 45) / 1024)
    with pytest.raises(ShapeError, match=r"verdicts \[2\] and \[1\]"):
        mcnemar([True, False], [True])
    with pytest.raises(ShapeError, match="the same items"):
        rate_difference([True, False], [True], ["a", "b"], rng())


def test_items_of_an_image_that_go_together_count_once() -> None:
    """Ten items, two to an image: five signs can be flipped, not ten."""
    images = [str(k // 2) for k in range(10)]
    assert rate_difference_test([True] * 10, [False] * 10, images) == 2 * 0.5**5


@given(st.lists(st.tuples(st.integers(-2, 2), st.integers(0, 5)), min_size=1, max_size=20))
@settings(max_examples=20)
def test_the_exact_test_is_what_drawn_signs_approach(differences: list[tuple[int, int]]) -> None:
    halves, groups = [value / 2 for value, _ in differences], [str(group) for _, group in differences]
    drawn = sign_flip_test(halves, groups, rng(), 20_000)
    assert exact_sign_flip_test(halves, groups) == pytest.approx(drawn, abs=0.02)


def test_the_exact_test_is_for_verdicts_alone() -> None:
    with pytest.raises(ConfigError, match="whole and half numbers"):
        exact_sign_flip_test([0.3, 0.5], ["a", "b"])


def test_the_test_keeps_its_level_where_the_image_decides() -> None:
    """Two models that follow equally many texts, 320 items on 88 images: McNemar's would reject far more often."""
    random = np.random.default_rng(0)
    image = np.sort(np.concatenate([np.arange(88), random.integers(88, size=232)]))
    by_image, by_item = 0, 0
    for _ in range(300):
        chances = random.beta(0.5, 0.5, (2, 88))
        ours, theirs = (random.random(320) < chance[image] for chance in chances)
        by_image += rate_difference_test(ours, theirs, list(map(str, image))) < 0.05
        by_item += rate_difference_test(ours, theirs, list(map(str, range(320)))) < 0.05
    assert by_image <= binomtest(15, 300).proportion_ci(0.99).high * 300 <= by_item
