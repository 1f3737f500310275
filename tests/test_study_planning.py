"""Plans: the published figures, statsmodels' power, and what more items, votes and checks must do."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.power import normal_power_het

from motionfocal.errors import ConfigError
from motionfocal.study.analysis.planning import (
    design_effect,
    detectable_score,
    effort_of,
    independent_items_needed,
    majority_score,
    power_plan,
    preference_of,
)


def percent(share: float) -> float:
    return round(100 * share, 1)


def test_scores_that_the_benchmarks_size_can_detect() -> None:
    """TI2V-Bench: 320 items on 88 images, nine baselines (research/evaluation.md, 3.4)."""
    plan = power_plan(items=320, images=88, pairs=9)
    assert [percent(row.score) for row in plan.detectable] == [57.8, 58.8, 59.6, 60.4]
    assert [row.icc for row in plan.detectable] == [0, 0.1, 0.2, 0.3]
    assert percent(plan.detectable[0].corrected_score) == 60.1
    assert percent(plan.detectable[3].corrected_score) == 63.4
    assert percent(detectable_score(100)) == 63.8


def test_design_effects_of_the_benchmark() -> None:
    assert [round(design_effect(320, 88, icc), 2) for icc in (0.1, 0.2, 0.3)] == [1.26, 1.53, 1.79]


def test_a_majority_of_five_sharpens_a_preference() -> None:
    assert round(majority_score(0.6, 5), 3) == 0.683


@given(items=st.integers(20, 5000), comparisons=st.integers(1, 20))
def test_the_power_of_a_detectable_score_is_statsmodels(items: int, comparisons: int) -> None:
    score = detectable_score(items, comparisons=comparisons)
    power = normal_power_het(
        score - 0.5,
        items,
        0.05 / 2 / comparisons,
        std_null=0.5,
        std_alternative=math.sqrt(score * (1 - score)),
        alternative="larger",
    )
    assert power == pytest.approx(0.8, abs=1e-9)


@given(items=st.floats(20, 1e5), comparisons=st.integers(1, 20))
def test_items_needed_undo_the_detectable_score(items: float, comparisons: int) -> None:
    score = detectable_score(items, comparisons=comparisons)
    assert independent_items_needed(score, comparisons=comparisons) == pytest.approx(items, rel=1e-6)
    assert independent_items_needed(1 - score, comparisons=comparisons) == pytest.approx(items, rel=1e-6)
    assert detectable_score(items * 1.1, comparisons=comparisons) < score


def test_a_detectable_score_is_found_in_four_of_five_studies() -> None:
    score = detectable_score(320)
    wins = np.random.default_rng(0).binomial(320, score, 20_000) / 320
    found = np.abs(wins - 0.5) > 1.959964 * 0.5 / math.sqrt(320)
    assert found.mean() == pytest.approx(0.8, abs=0.03)  # whole counts leave steps of 0.02


@given(preference=st.floats(0, 1), votes=st.integers(1, 15))
def test_a_majority_is_fair_and_sharpens(preference: float, votes: int) -> None:
    score = majority_score(preference, votes)
    assert score == pytest.approx(1 - majority_score(1 - preference, votes), abs=1e-12)
    assert abs(score - 0.5) >= abs(preference - 0.5) - 1e-12
    assert majority_score(0.5, votes) == pytest.approx(0.5)
    assert majority_score(preference, 1) == pytest.approx(preference)


def test_a_majority_of_drawn_votes() -> None:
    """Of an even number, too, where no majority counts one half."""
    drawn = np.random.default_rng(0).binomial(4, 0.6, 200_000)
    assert majority_score(0.6, 4) == pytest.approx(((np.sign(drawn - 2) + 1) / 2).mean(), abs=0.004)


@given(score=st.floats(0.01, 0.99), votes=st.integers(1, 15))
def test_a_preference_is_found_again(score: float, votes: int) -> None:
    assert majority_score(preference_of(score, votes), votes) == pytest.approx(score, abs=1e-6)


def test_items_needed_grow_with_the_design_effect_and_reach_the_aim() -> None:
    plan = power_plan(items=320, images=88, aim=0.6)
    needed = [row.items_needed for row in plan.detectable]
    assert needed[0] == 194  # ((1.96 * 0.5 + 0.8416 * 0.4899) / 0.1)^2 = 193.8
    assert needed == sorted(needed, key=lambda items: items or 0)
    assert detectable_score(194) <= 0.6 < detectable_score(193)
    assert all(row.items_needed is None for row in power_plan(items=320, images=88).detectable)


def test_effort_by_hand() -> None:
    """1600 votes at 36 a rater: 45 raters, 1778 tasks with checks and 135 of training, at a minute each."""
    effort = effort_of(1600, 5, tasks=40, checks=0.1, training=3, seconds=60, hourly=12)
    assert (effort.votes, effort.raters, effort.tasks) == (1600, 45, 1913)
    assert effort.hours == pytest.approx(1913 / 60)
    assert effort.pay == pytest.approx(12 * 1913 / 60)


@given(votes=st.integers(1, 10_000), tasks=st.integers(1, 200), checks=st.floats(0, 0.5), training=st.integers(0, 6))
def test_an_effort_suffices(votes: int, tasks: int, checks: float, training: int) -> None:
    if tasks - round(tasks * checks) < 1:
        return
    effort = effort_of(votes, 5, tasks=tasks, checks=checks, training=training, seconds=45, hourly=None)
    assert effort.raters * (tasks - round(tasks * checks)) >= votes
    assert effort.raters >= 5
    assert effort.tasks >= votes + training * effort.raters
    assert effort.pay is None


def test_what_cannot_be_detected_is_said() -> None:
    with pytest.raises(ConfigError, match="at least 4"):
        detectable_score(3)
    with pytest.raises(ConfigError, match=r"other than 0\.5"):
        independent_items_needed(0.5)


def test_bad_numbers_are_named() -> None:
    with pytest.raises(ConfigError, match="images"):
        power_plan(items=10, images=11)
    with pytest.raises(ConfigError, match="checks"):
        power_plan(items=320, images=88, tasks=1, checks=1.0)
    with pytest.raises(ConfigError, match="preference"):
        majority_score(1.2, 5)
    with pytest.raises(ConfigError, match="score"):
        independent_items_needed(1.2)
