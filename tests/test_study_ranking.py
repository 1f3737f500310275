"""Ranking: published fits, evalica, statsmodels, the likelihood by brute force, and simulated truth."""

import math
from collections.abc import Sequence
from dataclasses import replace

import evalica
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.sparse.csgraph import connected_components
from statsmodels.genmod.families import Binomial
from statsmodels.genmod.generalized_linear_model import GLM

from motionfocal.errors import ConfigError
from motionfocal.study.analysis.contents import Ranking
from motionfocal.study.analysis.ranking import cluster_covariance, count_cycles, fit, rank
from motionfocal.study.protocol import Judgement, Preference

FLIPPED: dict[Preference, Preference] = {"left": "right", "right": "left", "tie": "tie"}


def vote(left: str, right: str, preference: Preference, item: int = 0, rater: int = 0) -> Judgement:
    return Judgement(f"{item}:{left}:{right}", f"i{item}", f"p{item}", left, right, f"r{rater}", preference, ())


def games(rows: Sequence[tuple[str, str, int, int, int]]) -> list[Judgement]:
    """Votes of rows (left, right, for left, for right, ties), each by a rater of its own on an item of its own."""
    chosen = [
        (left, right, preference)
        for left, right, *counts in rows
        for preference, count in zip(("left", "right", "tie"), counts, strict=True)
        for _ in range(count)
    ]
    return [vote(left, right, preference, number, number) for number, (left, right, preference) in enumerate(chosen)]


def exchange(judgement: Judgement) -> Judgement:
    """The same answer with the clips on the other sides."""
    return replace(
        judgement,
        left_model=judgement.right_model,
        right_model=judgement.left_model,
        preference=FLIPPED[judgement.preference],
    )


def simulated(
    strengths: Sequence[float],
    draw: np.random.Generator,
    *,
    left: float = 0.0,
    nu: float = 0.0,
    items: int = 40,
    raters: int = 10,
    item_sd: float = 0.0,
    rater_sd: float = 0.0,
) -> list[Judgement]:
    """Every rater judges every item on one random pair; an item shifts its pairs, a rater has a taste of its own."""
    models = [f"m{k}" for k in range(len(strengths))]
    of_item = draw.normal(0, item_sd, (items, len(models)))
    of_rater = draw.normal(0, rater_sd, (raters, len(models)))
    own = (np.asarray(strengths) + of_item[:, None] + of_rater).tolist()
    judgements = []
    for item in range(items):
        for rater in range(raters):
            i, j = draw.choice(len(models), 2, replace=False)
            eta = own[item][rater][i] - own[item][rater][j] + left
            of_left, of_right = math.exp(eta / 2), math.exp(-eta / 2)
            drawn = draw.random() * (of_left + of_right + nu)
            answer = "left" if drawn < of_left else "right" if drawn < of_left + of_right else "tie"
            judgements.append(vote(models[i], models[j], answer, item, rater))
    return judgements


# --- published examples ---------------------------------------------------------------------------------------------

# Agresti 1990, Table 10.11: home and away wins of the American League East, 1987.
TEAMS = ("Milwaukee", "Detroit", "Toronto", "New York", "Boston", "Cleveland", "Baltimore")
BASEBALL = """
. 4-3 4-2 4-3 6-1 4-2 6-0
3-3 . 4-2 4-3 6-0 6-1 4-3
2-5 4-3 . 2-4 4-3 4-2 6-0
3-3 5-1 2-5 . 4-3 4-2 6-1
5-1 2-5 3-3 4-2 . 5-2 6-0
2-5 3-3 3-4 4-3 4-2 . 2-4
2-5 1-5 1-6 2-4 1-6 3-4 .
"""

# Davidson 1970: chocolate puddings i and j, preferred i, preferred j, no preference.
PUDDINGS = """
1 2 19 22 16
1 3 16 19 12
2 3 19 19 10
1 4 18 23 13
2 4 23 19 9
3 4 19 20 15
1 5 13 19 18
2 5 16 20 12
3 5 16 15 17
4 5 17 14 16
1 6 18 21 12
2 6 22 20 12
3 6 13 18 10
4 6 14 19 18
5 6 11 21 12
"""


def baseball() -> list[Judgement]:
    rows = []
    for home, line in zip(TEAMS, BASEBALL.split("\n")[1:-1], strict=True):
        results = [(away, cell) for away, cell in zip(TEAMS, line.split(), strict=True) if cell != "."]
        rows += [(home, away, *map(int, cell.split("-")), 0) for away, cell in results]
    return games(rows)


def puddings() -> list[Judgement]:
    return games([(i, j, *map(int, counts)) for i, j, *counts in map(str.split, PUDDINGS.split("\n")[1:-1])])


def test_agrestis_baseball() -> None:
    """The estimates that BradleyTerry2 prints, Baltimore being 0, without and with the advantage at home."""
    for position, printed in (
        (False, ("1.1077", "0.6839", "1.4364", "1.5814", "1.2476", "1.2945")),
        (True, ("1.1438", "0.7047", "1.4754", "1.6196", "1.2813", "1.3271")),
    ):
        found = fit(baseball(), position=position)
        assert found is not None
        assert tuple(f"{strength:.4f}" for strength in (found.strengths - found.strengths[0])[1:]) == printed
    assert found.left is not None
    assert f"{found.left:.4f}" == "0.3023"


def test_davidsons_puddings() -> None:
    found = fit(puddings(), position=False)
    assert found is not None
    assert found.log_tie is not None
    worths = np.exp(found.strengths) / np.exp(found.strengths).sum()
    assert [f"{worth:.4f}" for worth in worths] == ["0.1388", "0.1730", "0.1617", "0.1654", "0.1587", "0.2024"]
    assert f"{np.exp(found.log_tie):.4f}" == "0.7468"


# --- libraries and brute force --------------------------------------------------------------------------------------


def evalicas(judgements: Sequence[Judgement]) -> dict[str, float]:
    """Log strengths of evalica, with mean zero."""
    winners = {"left": evalica.Winner.X, "right": evalica.Winner.Y}
    result = evalica.bradley_terry(
        [judgement.left_model for judgement in judgements],
        [judgement.right_model for judgement in judgements],
        [winners[judgement.preference] for judgement in judgements],
        tolerance=1e-13,
        limit=1_000_000,
    )
    logs = np.log(result.scores)
    return dict(logs - logs.mean())


@st.composite
def tournaments(draw: st.DrawFn, ties: bool = False) -> list[Judgement]:
    """Two to five models with up to forty votes between them, sides as they come."""
    models = [f"m{k}" for k in range(draw(st.integers(2, 5)))]
    pairs = st.permutations(models).map(lambda order: order[:2])
    answers = st.sampled_from(["left", "right", "tie"] if ties else ["left", "right"])
    rows = draw(st.lists(st.tuples(pairs, answers), min_size=4, max_size=40))
    return [vote(*pair, answer, k % 7, k % 5) for k, (pair, answer) in enumerate(rows)]


@given(tournaments())
def test_strengths_are_those_of_evalica(judgements: list[Judgement]) -> None:
    found = fit(judgements, position=False)
    assume(found is not None)
    ours = dict(zip(found.models, found.strengths, strict=True))
    assert ours == pytest.approx(evalicas(judgements), abs=1e-6)


def test_where_full_steps_of_newton_lose() -> None:
    """A lopsided circle on which steps from zero must be halved; at the maximum, votes are as many as expected."""
    judgements = games([("a", "c", 0, 133, 0), ("c", "a", 63, 0, 0), ("b", "c", 4, 0, 0), ("a", "b", 651, 0, 0)])
    judgements += games([("c", "b", 0, 3, 0)])
    found = fit(judgements, position=True)
    assert found is not None
    assert found.left is not None
    strengths = dict(zip(found.models, found.strengths, strict=True))
    surplus = dict.fromkeys([*strengths, "left side"], 0.0)  # votes beyond those expected
    for judgement in judgements:
        gap = strengths[judgement.left_model] - strengths[judgement.right_model] + found.left
        beyond = (judgement.preference == "left") - 1 / (1 + np.exp(-gap))
        surplus[judgement.left_model] += beyond
        surplus[judgement.right_model] -= beyond
        surplus["left side"] += beyond
    assert list(surplus.values()) == pytest.approx([0] * 4, abs=1e-6)


def test_with_balanced_sides_the_side_changes_nothing() -> None:
    """Where each answer was given in both orders, delta is 0 and strengths are those without it, as evalica's."""
    once = simulated([0.8, 0.1, -0.2, -0.7], np.random.default_rng(1), left=0.4)
    judgements = once + [exchange(judgement) for judgement in once]
    found = rank(judgements)
    assert found.left is not None
    assert found.left.estimate == pytest.approx(0, abs=1e-9)
    ours = {ranked.model: ranked.strength.estimate for ranked in found.models}
    assert ours == pytest.approx(evalicas(judgements), abs=1e-6)


def test_covariance_is_that_of_statsmodels() -> None:
    """Logistic regression with two-way clusters; its covariance of the same contrasts, less its factor for K."""
    judgements = simulated([0.5, 0.2, -0.7], np.random.default_rng(2), left=0.3, item_sd=1, rater_sd=0.5)
    found = fit(judgements, position=True)
    assert found is not None
    column = {model: k for k, model in enumerate(found.models)}
    design = np.zeros((len(judgements), 3))
    for row, judgement in zip(design, judgements, strict=True):
        row[column[judgement.left_model]] += 1
        row[column[judgement.right_model]] -= 1
    design[:, 2] = 1  # strengths against the last model, then the side
    won = np.array([judgement.preference == "left" for judgement in judgements], float)
    names = [[judgement.item for judgement in judgements], [judgement.rater for judgement in judgements]]
    groups = np.stack([np.unique(name, return_inverse=True)[1] for name in names], axis=1)
    result = GLM(won, design, family=Binomial()).fit(tol=1e-14, cov_type="cluster", cov_kwds={"groups": groups})
    contrast = np.array([[1, 0, -1, 0], [0, 1, -1, 0], [0, 0, 0, 1]])
    estimates = contrast @ np.append(found.strengths, found.left)
    assert estimates == pytest.approx(result.params, abs=1e-8)
    factor = (len(judgements) - 1) / (len(judgements) - 3)
    theirs = result.cov_params() / factor
    assert contrast @ found.covariance @ contrast.T == pytest.approx(theirs, rel=1e-6, abs=1e-10)
    assert found.degrees == 9


def negative_likelihood(parameters: np.ndarray, judgements: Sequence[Judgement], models: Sequence[str]) -> float:
    """Davidson's, as written in the paper: worths, and a factor for the left in the manner of Davidson & Beaver.

    Their nu is ours over the root of that factor.
    """
    worth = dict(zip(models, np.exp([*parameters[:-2], -parameters[:-2].sum()]), strict=True))
    gamma, nu = np.exp(parameters[-2]), np.exp(parameters[-1])
    total = 0.0
    for judgement in judgements:
        left, right = gamma * worth[judgement.left_model], worth[judgement.right_model]
        tie = nu * np.sqrt(left * right)
        total -= np.log({"left": left, "right": right, "tie": tie}[judgement.preference] / (left + right + tie))
    return total


@pytest.mark.parametrize("seed", range(3))
def test_ties_by_brute_force(seed: int) -> None:
    judgements = simulated([0.6, 0.0, -0.6], np.random.default_rng(seed), left=0.3, nu=0.8, items=20, raters=5)
    found = fit(judgements, position=True)
    assert found is not None
    best = minimize(negative_likelihood, np.zeros(4), (judgements, found.models), method="BFGS", options={"gtol": 1e-7})
    expected = [*best.x[:2], -best.x[:2].sum(), *best.x[2:]]
    assert [*found.strengths, found.left, found.log_tie] == pytest.approx(expected, abs=1e-5)


# --- where there is no estimate -------------------------------------------------------------------------------------


def strongly_connected(judgements: Sequence[Judgement]) -> bool:
    """Ford's condition on the graph from losers to winners; a tie goes both ways."""
    models = sorted({model for judgement in judgements for model in (judgement.left_model, judgement.right_model)})
    graph = np.zeros((len(models), len(models)), int)
    for judgement in judgements:
        left, right = models.index(judgement.left_model), models.index(judgement.right_model)
        graph[right, left] |= judgement.preference != "right"
        graph[left, right] |= judgement.preference != "left"
    return connected_components(graph, directed=True, connection="strong")[0] == 1


@given(tournaments())
def test_a_finite_estimate_exists_where_ford_says_so(judgements: list[Judgement]) -> None:
    found = rank(judgements)
    assert found.connected == strongly_connected(judgements)
    assert bool(found.models) == found.connected
    assert (fit(judgements, position=False) is not None) == found.connected


@given(tournaments(ties=True))
def test_a_finite_estimate_with_ties(judgements: list[Judgement]) -> None:
    """What is found is a maximum: no small step in any direction is better."""
    found = fit(judgements, position=True)
    assume(found is not None and found.log_tie is not None)
    assert strongly_connected(judgements)
    place = np.array([*found.strengths[:-1], found.left, found.log_tie])
    least = negative_likelihood(place, judgements, found.models)
    for step in (*np.eye(len(place)), *-np.eye(len(place))):
        assert negative_likelihood(place + 1e-3 * step, judgements, found.models) > least


def test_a_model_that_always_wins_leaves_no_ranking() -> None:
    judgements = games([("a", "b", 5, 0, 0), ("b", "c", 3, 2, 0), ("c", "b", 2, 2, 0)])
    assert rank(judgements) == Ranking((), None, None, connected=False, cycles=0)
    assert rank([*judgements, *games([("b", "a", 1, 0, 0)])]).connected


def test_two_islands_leave_no_ranking() -> None:
    assert not rank(games([("a", "b", 3, 2, 0), ("c", "d", 3, 2, 0)])).connected


def test_what_ties_link() -> None:
    """A tie bounds a difference by nu, and a model that both wins and loses bounds nu; without that both grow."""
    won_or_tied = [("a", "b", 5, 0, 0), ("b", "a", 0, 5, 1)]
    assert not rank(games(won_or_tied)).connected
    found = rank(games([*won_or_tied, ("a", "c", 1, 1, 0), ("c", "a", 1, 1, 0)]))
    assert [ranked.model for ranked in found.models] == ["a", "c", "b"]
    assert not rank(games([("a", "b", 0, 0, 5), ("b", "a", 0, 0, 5)])).connected  # nothing but ties: nu is infinite


def test_a_side_that_cannot_be_told_from_the_models_is_left_out() -> None:
    always = games([("a", "b", 6, 4, 0)])
    found = rank(always)
    assert found.left is None
    assert found.models[0].strength.estimate == pytest.approx(np.log(6 / 4) / 2)
    only_left = rank(games([("a", "b", 3, 0, 0), ("b", "a", 3, 0, 0)]))
    assert (only_left.left, only_left.connected) == (None, True)


def test_without_sides() -> None:
    judgements = simulated([0.5, -0.5], np.random.default_rng(0), left=0.5)
    assert rank(judgements, sides=False).left is None
    assert rank(judgements).left is not None


def test_refusals() -> None:
    with pytest.raises(ConfigError, match="no judgements"):
        rank([])
    with pytest.raises(ConfigError, match="both clips are of a"):
        rank([vote("a", "a", "left")])


# --- what must not matter -------------------------------------------------------------------------------------------


@settings(max_examples=50)
@given(tournaments(ties=True))
def test_mirrored_votes_and_other_orders(judgements: list[Judgement]) -> None:
    """Exchanging all sides turns delta round and leaves the rest; the order of the votes says nothing."""
    found = fit(judgements, position=True)
    assume(found is not None)
    mirrored = fit([exchange(judgement) for judgement in reversed(judgements)], position=True)
    assert mirrored is not None
    assert mirrored.strengths == pytest.approx(found.strengths, abs=1e-7)
    assert mirrored.left == pytest.approx(-found.left, abs=1e-7)
    assert np.diag(mirrored.covariance) == pytest.approx(np.diag(found.covariance), rel=1e-5, abs=1e-9)
    assert found.strengths.sum() == pytest.approx(0, abs=1e-9)


def test_names_do_not_matter() -> None:
    judgements = simulated([0.9, 0.0, -0.9], np.random.default_rng(3), left=0.2, nu=0.5, item_sd=0.5)
    names = {"m0": "z", "m1": "y", "m2": "x"}
    renamed = [replace(j, left_model=names[j.left_model], right_model=names[j.right_model]) for j in judgements]
    one, two = rank(judgements), rank(renamed)
    assert [names[ranked.model] for ranked in one.models] == [ranked.model for ranked in two.models]
    for first, second in zip(one.models, two.models, strict=True):
        assert first.strength.low == pytest.approx(second.strength.low, abs=1e-7)


# --- covariance and cycles ------------------------------------------------------------------------------------------


def test_one_way_is_enough_and_none_is_not() -> None:
    influences = np.random.default_rng(0).normal(size=(12, 2))
    influences -= influences.mean(0)
    items = [f"i{k // 2}" for k in range(12)]
    sums = influences.reshape(6, 2, 2).sum(1)
    covariance, degrees = cluster_covariance(influences, items, ["r"] * 12)
    assert covariance == pytest.approx(sums.T @ sums * 6 / 5)
    assert degrees == 5
    assert np.isnan(cluster_covariance(influences, ["i"] * 12, ["r"] * 12)[0]).all()
    lonely = rank([vote("a", "b", "left"), vote("b", "a", "left"), vote("a", "b", "right"), vote("a", "b", "left")])
    assert lonely.connected
    assert np.isnan([lonely.models[0].strength.low, lonely.models[0].strength.high]).all()


@given(st.integers(0, 2**32 - 1), st.integers(2, 6), st.integers(2, 6))
def test_no_variance_is_negative(seed: int, items: int, raters: int) -> None:
    draw = np.random.default_rng(seed)
    influences = draw.normal(size=(20, 3))
    names = [[f"{k}" for k in (0, 1, *draw.integers(count, size=18))] for count in (items, raters)]
    covariance, _ = cluster_covariance(influences, *names)
    assert np.linalg.eigvalsh(covariance).min() > -1e-9


def test_cycles() -> None:
    beats = [("a", "b", 3, 2, 0), ("b", "c", 3, 2, 0), ("c", "a", 3, 2, 0)]
    assert count_cycles(games(beats)) == 1
    assert rank(games(beats)).cycles == 1
    assert count_cycles(games([*beats[:2], ("a", "c", 3, 2, 0)])) == 0
    assert count_cycles(games([*beats[:2], ("a", "c", 2, 2, 1)])) == 0
    four = [*beats, ("d", "a", 1, 0, 0), ("b", "d", 1, 0, 0), ("c", "d", 1, 0, 0)]
    assert count_cycles(games(four)) == 2


# --- simulated truth ------------------------------------------------------------------------------------------------


def test_planted_strengths_side_and_ties_are_recovered() -> None:
    strengths = [1.0, 0.4, 0.0, -0.4, -1.0]
    judgements = simulated(strengths, np.random.default_rng(4), left=0.3, nu=0.6, items=150, raters=40)
    found = rank(judgements)
    assert [ranked.model for ranked in found.models] == ["m0", "m1", "m2", "m3", "m4"]
    for ranked, strength in zip(found.models, strengths, strict=True):
        assert ranked.strength.estimate == pytest.approx(strength, abs=0.1)
    assert found.left is not None
    assert found.tie is not None
    assert found.left.estimate == pytest.approx(0.3, abs=0.1)
    assert found.tie.estimate == pytest.approx(0.6, abs=0.06)
    assert found.tie.low < found.tie.estimate < found.tie.high


@pytest.mark.slow
def test_intervals_cover_where_items_and_raters_differ() -> None:
    """300 studies with items (sd 1) and raters (sd 0.5) of their own, the side term and equal models being known."""
    draw = np.random.default_rng(5)
    covered = {"strength": 0, "left": 0, "naive": 0}
    for _ in range(300):
        judgements = simulated([0.0, 0.0, 0.0], draw, left=0.3, items=60, raters=20, item_sd=1.0, rater_sd=0.5)
        found = fit(judgements, position=True)
        assert found is not None
        spread = np.sqrt(np.diag(found.covariance))
        reach = 2.093  # Student's with 19 degrees of freedom
        covered["strength"] += abs(found.strengths[0]) < reach * spread[0]
        covered["left"] += abs(found.left - 0.3 * SHRINKAGE) < reach * spread[3]
        alone = [replace(judgement, item=f"{k}", rater=f"{k}") for k, judgement in enumerate(judgements)]
        naive = fit(alone, position=True)
        covered["naive"] += abs(naive.strengths[0]) < 1.96 * np.sqrt(naive.covariance[0, 0])
    shares = {name: count / 300 for name, count in covered.items()}
    assert 0.91 < shares["strength"] < 0.985, shares
    assert 0.91 < shares["left"] < 0.985, shares
    assert shares["naive"] < 0.8, shares


def _shrinkage() -> float:
    """What is left of a side term of 0.3 once etas scatter: the logit of the mean chance of left, over 0.3.

    Two models' differences scatter by sqrt(2 (1 + 0.25)).
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    mean = (weights / (1 + np.exp(-(0.3 + np.sqrt(2.5) * nodes)))).sum() / weights.sum()
    return float(np.log(mean / (1 - mean)) / 0.3)


SHRINKAGE = _shrinkage()
