"""What is told of an experiment: intervals hold over seeds and images, pairs are pairs, and what is missing is said."""

import json
import math
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit
from scipy.stats import t
from statsmodels.stats.multitest import multipletests

from motionfocal.errors import ConfigError
from motionfocal.experiments.analysis import analyze_experiment, first_reached, load_results
from motionfocal.experiments.figures import contrasts_figure, curves_figure, noise_figure
from motionfocal.experiments.machine import Machine
from motionfocal.experiments.plan import ExperimentPlan
from motionfocal.experiments.report import settings_table, write_experiment_report
from motionfocal.experiments.result import Asked, NoiseBin, RunResult, load_result, result_path, save_result
from motionfocal.experiments.tables import arms_table, catch_up_table, contrasts_table, curve_table, markdown
from motionfocal.report.page import MINUS
from motionfocal.report.study_page import NOTHING
from motionfocal.study.analysis.twoway import two_way_mean, two_way_t_mean, two_way_t_test, two_way_test
from motionfocal.study.protocol import REASONS, Judgement
from motionfocal.study.statistics import reason_shares
from motionfocal.worlds.oracle import Measurement, reasons_for

DASH = f" {NOTHING} |"
PAPER = (63.1, 36.9, 10.3, 10.7, 34.9, 16.4, 32.9, 16.4, 18.2, 20.8)
IMAGES, TEXTS = 6, 3
ITEMS = tuple(f"scene{image:04}_red{text}_left" for image in range(IMAGES) for text in range(TEXTS))


def planned(**changes) -> ExperimentPlan:
    """Three arms, two contrasts, two worlds, three seeds."""
    fields = {
        "name": "Strength",
        "about": "How strong should the loss be?",
        "arms": {"motif": {}, "none": {"loss.weighting": "none"}, "double": {"loss.strength": 2.0}},
        "contrasts": [{"ours": "motif", "theirs": "none", "paper": PAPER}, {"ours": "motif", "theirs": "double"}],
        "seeds": [0, 1, 2],
        "worlds": {"own": {}, "crowded": {"sprites": 4}},
        "images": IMAGES,
        "texts": TEXTS,
    }
    return ExperimentPlan.model_validate(fields | changes)


def clip(rng: np.random.Generator, chance: float) -> Measurement:
    right = bool(rng.random() < chance)
    return Measurement(
        right_sprite=right or bool(rng.random() < 0.5),
        right_motion=right,
        seen_motion="left",
        displacement_ratio=1.0 if rng.random() < 0.9 else math.nan,
        others_deviation=float(rng.exponential(0.2)),
        agreement=float(rng.uniform(0.3, 1)) if right else float(rng.choice([0.0, 0.5])),
        ground_error=float(rng.uniform(0, 6)) if right else 3.0,
        first_frame_error=3.0,
        artefacts=float(rng.choice([0.0, 4.0])),
    )


def made_up(run, rng, chance=0.5, curve=((150, 0.2), (300, 0.6), (450, 0.9))) -> RunResult:
    return RunResult(
        run=run.fingerprint,
        arm="what another experiment called it",
        seed=run.seed,
        settings={},
        curve=curve,
        worlds={world: Asked.of(ITEMS, [clip(rng, chance) for _ in ITEMS]) for world in run.asked},
        noise=tuple(NoiseBin(level=level, moving=2 + run.seed, overall=1 + level) for level in (1.0, 0.5)),
        steps=450,
        seconds=100.0 + 10 * (run.arm == "motif") + run.seed,
        parameters=1234,
        machine=Machine(processor="one", torch="2", motionfocal="0"),
    )


def results_of(plan, without=(), **more):
    """Made-up results of all runs but ``without``, each drawn from its own arm and seed."""
    chances = {"motif": 0.8, "none": 0.3, "double": 0.6}
    return {
        (run.arm, run.seed): made_up(
            run, np.random.default_rng([list(plan.arms).index(run.arm), run.seed]), chances.get(run.arm, 0.5), **more
        )
        for run in plan.runs(Path())
        if (run.arm, run.seed) not in without
    }


def analyzed(plan, results):
    return analyze_experiment(plan, plan.runs(Path()), results)


def saved(plan, folder, without=()):
    for result in results_of(plan, without).values():
        save_result(folder, result)


# --- intervals over seeds and images ----------------------------------------------------------------------------------


def experiment(rng, seeds=5, images=32, texts=4, suits_seed=0.4, suits_image=0.5):
    """Differences of the followed verdicts of two arms that are equally good in the long run, images and seeds.

    An arm may suit a seed and an image; how hard an image is, is the same for both arms in every seed.
    """
    hard = rng.normal(0, 1, (images, 1)) + rng.normal(0, 1, (images, texts))

    def followed():
        suits = rng.normal(0, suits_seed, (seeds, 1, 1)) + rng.normal(0, suits_image, (1, images, 1))
        return rng.random((seeds, images, texts)) < expit(hard + suits)

    seed, image, _ = np.indices((seeds, images, texts))
    return (followed().astype(float) - followed()).ravel(), image.ravel(), seed.ravel()


def test_the_interval_of_a_difference_covers_and_its_test_keeps_its_size():
    rng, repetitions = np.random.default_rng(0), 300
    held = refused = naive = 0
    for _ in range(repetitions):
        differences, images, seeds = experiment(rng)
        interval = two_way_t_mean(differences, images, seeds)
        held += interval.low <= 0 <= interval.high
        refused += two_way_t_test(differences, images, seeds) < 0.05
        naive += abs(differences.mean()) < 1.96 * differences.std() / np.sqrt(len(differences))
    assert held / repetitions > 0.95 - 3 * np.sqrt(0.95 * 0.05 / repetitions)
    assert refused == repetitions - held > 0
    assert naive / repetitions < 0.8


def test_the_variance_is_statsmodels_two_way_cluster_variance():
    differences, images, seeds = experiment(np.random.default_rng(1))
    ones = np.ones(len(differences))
    groups = np.stack([images, seeds], 1)
    variance = sm.OLS(differences, ones).fit(cov_type="cluster", cov_kwds={"groups": groups}).bse[0] ** 2
    parts = [
        sm.OLS(differences, ones).fit(cov_type="cluster", cov_kwds={"groups": way}).bse[0] ** 2 for way in groups.T
    ]
    freedom = variance**2 / (parts[0] ** 2 / 31 + parts[1] ** 2 / 4)
    interval = two_way_t_mean(differences, images, seeds)
    assert interval.high - interval.low == pytest.approx(2 * t.ppf(0.975, freedom) * np.sqrt(variance), rel=1e-6)


def test_seeds_that_happen_to_agree_do_not_make_an_interval_too_narrow():
    """The variance by seed is drawn from five of them: where it comes out small the seeds may differ all the same."""
    rng, found = np.random.default_rng(0), []
    for _ in range(400):
        differences, images, seeds = experiment(rng, suits_seed=0.2, suits_image=0)
        interval = two_way_t_mean(differences, images, seeds)
        spread = np.bincount(seeds, differences).std()
        found.append((spread, interval.low <= 0 <= interval.high))
    agreeing = [held for _, held in sorted(found)[:100]]
    assert np.mean(agreeing) > 0.95 - 3 * np.sqrt(0.95 * 0.05 / 100)


def test_seeds_that_add_no_variance_leave_their_few_degrees_of_freedom():
    image, seed = np.tile(np.arange(8), 5), np.repeat(np.arange(5), 8)
    values = ((image + seed) % 2).astype(float)  # the mean is about the same in every image and seed
    interval = two_way_t_mean(values, image, seed)
    assert interval.high - interval.low == pytest.approx(2 * t.ppf(0.975, 4) * values.std(ddof=1) / np.sqrt(40))


@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(1, 6))
def test_a_test_refuses_just_what_its_interval_leaves_out(draw, seeds, images):
    rng = np.random.default_rng(draw)
    image, seed = rng.integers(0, images, 24), rng.integers(0, seeds, 24)
    wins = rng.choice([0, 0.5, 1], 24, p=[0.1, 0.1, 0.8])
    interval = two_way_mean(wins, image, seed)
    assert (two_way_test(wins, image, seed) < 0.05) == (not interval.low <= 0.5 <= interval.high)
    interval = two_way_t_mean(wins - 0.5, image, seed)
    if not math.isnan(interval.low):
        assert (two_way_t_test(wins - 0.5, image, seed) < 0.05) == (not interval.low <= 0 <= interval.high)


def test_where_nothing_differs_little_is_known():
    image, seed = np.tile(np.arange(8), 5), np.repeat(np.arange(5), 8)
    always = two_way_t_mean(np.ones(40), image, seed)
    assert always.estimate == 1
    assert math.isnan(always.low)
    assert two_way_t_test(np.zeros(40), image, seed) == 1
    assert two_way_t_test(np.ones(40), image, seed) == 2 / 2**5  # a sign test of five seeds


def test_texts_that_cancel_within_every_image_do_not_make_an_interval_of_no_width():
    image, seed = np.repeat(np.arange(4), 4), np.tile([0, 0, 1, 1], 4)
    wins = np.tile([0.0, 1.0], 8)
    interval = two_way_mean(wins, image, seed)
    assert interval.high - interval.low > 0.3
    assert two_way_test(wins, image, seed) == pytest.approx(1)


# --- arms and contrasts -----------------------------------------------------------------------------------------------


def test_an_arm_is_the_mean_of_its_clips():
    plan = planned()
    results = results_of(plan, without=[("none", 1)])
    row = next(row for row in analyzed(plan, results).arms if (row.arm, row.world) == ("none", "crowded"))
    clips = [clip for seed in (0, 2) for clip in results["none", seed].worlds["crowded"].measurements()]
    assert (row.seeds, row.items, row.images) == ((0, 2), len(ITEMS), IMAGES)
    for name in ("followed", "agreement", "ground_error", "first_frame_error", "others_deviation"):
        assert row.figures[name].estimate == pytest.approx(np.mean([getattr(clip, name) for clip in clips]))
    assert 0 < row.figures["followed"].low < row.figures["followed"].high < 1


def test_a_contrast_pairs_clips_and_gives_reasons_as_a_study_does():
    plan = planned(worlds={"own": {}})
    results = results_of(plan)
    row = analyzed(plan, results).contrasts[0]
    pairs = [
        pair
        for seed in plan.seeds
        for pair in zip(*(results[arm, seed].worlds["own"].measurements() for arm in ("motif", "none")), strict=True)
    ]
    judged = [judgement(str(number), *pair) for number, pair in enumerate(pairs)]
    assert row.ties == sum(one.preference == "tie" for one in judged) > 0
    won = sum(one.preferred == "motif" for one in judged)
    assert row.score.interval.estimate == pytest.approx((won + row.ties / 2) / len(pairs))
    assert row.difference.interval.estimate == pytest.approx(np.mean([a.followed - b.followed for a, b in pairs]))
    expected = reason_shares(judged, "motif")
    assert {reason: pytest.approx(expected[reason]) for reason in REASONS} == row.reasons
    assert row.extra_seconds == pytest.approx(10)
    assert row.seconds_per_point == pytest.approx(10 / (100 * row.difference.interval.estimate))


def judgement(item: str, ours: Measurement, theirs: Measurement) -> Judgement:
    for_ours, for_theirs = reasons_for(ours, theirs), reasons_for(theirs, ours)
    preference, reasons = "tie", ()
    if ours.score > theirs.score and for_ours:
        preference, reasons = "left", for_ours
    if ours.score < theirs.score and for_theirs:
        preference, reasons = "right", for_theirs
    return Judgement(item, item, item, "motif", "none", "oracle", preference, reasons, kind="oracle")


def test_arms_exchanged_exchange_all_that_is_told():
    arms = [{"ours": "motif", "theirs": "none"}, {"ours": "none", "theirs": "motif"}]
    there, back = analyzed(planned(contrasts=arms, worlds={"own": {}}), results_of(planned())).contrasts
    one, other = there.score.interval, back.score.interval
    assert (one.estimate, one.low) == pytest.approx((1 - other.estimate, 1 - other.high))
    assert there.difference.interval.low == pytest.approx(-back.difference.interval.high)
    assert there.difference.p_value == pytest.approx(back.difference.p_value)
    assert there.reasons == {reason: shares[::-1] for reason, shares in back.reasons.items()}
    assert there.seconds_per_point > 0
    assert back.seconds_per_point is None  # nothing was gained


def test_a_contrast_uses_the_seeds_that_both_arms_have():
    plan, without = planned(), [("motif", 0), ("none", 2), ("double", 2)]
    found = analyzed(plan, results_of(plan, without))
    assert {row.seeds for row in found.contrasts} == {(1,)}
    assert found.missing == (("motif", 0), ("none", 2), ("double", 2))
    fewer = planned(seeds=[1])
    assert [row.score for row in found.contrasts] == [row.score for row in analyzed(fewer, results_of(fewer)).contrasts]


def test_an_arm_without_results_leaves_dashes_and_counts_for_holm():
    plan = planned(worlds={"own": {}})
    found = analyzed(plan, results_of(plan, [("double", seed) for seed in plan.seeds]))
    known, lacking = found.contrasts
    assert (lacking.score, lacking.difference, lacking.seeds) == (None, None, ())
    assert known.score.p_holm == pytest.approx(min(1, 2 * known.score.p_value))
    assert f"| double | 0 of 3 |{5 * DASH}\n" in arms_table(found.arms, 3) + "\n"
    assert f"| motif / double | 0 of 3 | 0 (0) |{7 * DASH}\n" in contrasts_table(found.contrasts, 3) + "\n"
    assert f"| double | 0 of 3 |{4 * DASH}\n" in curve_table(found.curves, 3) + "\n"
    for draw, rows in ((curves_figure, found.curves), (contrasts_figure, found.contrasts), (noise_figure, found.noise)):
        ElementTree.fromstring(draw(rows))


def test_a_contrast_of_one_seed_is_not_tested_and_counts_for_no_other(tmp_path):
    plan = planned(worlds={"own": {}})
    results = results_of(plan, [("double", 1), ("double", 2)])
    known, lone = analyzed(plan, results).contrasts
    assert lone.seeds == (0,)
    assert lone.score.interval.low < lone.score.interval.high
    assert known.score.p_holm == known.score.p_value < 0.5
    assert known.difference.p_holm == known.difference.p_value
    assert contrasts_table([lone], 3).splitlines()[-1].count(f"] | {NOTHING} |") == 2
    for result in results.values():
        save_result(tmp_path, result)
    written = write_experiment_report(plan, plan.runs(Path()), tmp_path, tmp_path / "out")
    assert "motif / double: these intervals hold over images for that training" in written.read_text()


def test_seconds_are_compared_on_one_machine_alone(tmp_path):
    plan = planned(worlds={"own": {}})
    one, other = (Machine(processor=name, torch="2", motionfocal="0") for name in ("one", "other"))
    for machine, seconds in ((one, 10), (other, None), (None, None)):
        results = results_of(plan)
        results["none", 2] = results["none", 2].model_copy(update={"machine": machine})
        row = analyzed(plan, results).contrasts[0]
        assert row.extra_seconds == (seconds and pytest.approx(seconds))
        assert (row.seconds_per_point is None) == (seconds is None)
        assert contrasts_table([row], 3).endswith(2 * DASH) == (seconds is None)
    run = plan.runs(Path())[0]
    save_result(tmp_path, results["motif", 0])
    path = result_path(tmp_path, run.fingerprint)
    old = json.loads(path.read_text())
    del old["machine"]
    path.write_text(json.dumps(old))
    assert load_result(tmp_path, run).machine is None


def test_p_values_are_adjusted_within_a_world():
    rows = analyzed(planned(), results_of(planned())).contrasts
    for world in ("own", "crowded"):
        for figure in ("score", "difference"):
            tested = [getattr(row, figure) for row in rows if row.world == world]
            expected = multipletests([one.p_value for one in tested], method="holm")[1]
            assert [one.p_holm for one in tested] == pytest.approx(expected)


def test_arms_that_were_asked_about_different_scenes_make_no_pairs():
    plan = planned(arms={"motif": {}, "none": {"data.world.sprites": 2}, "double": {}})
    with pytest.raises(ConfigError, match=r"'own' motif and none.*different scenes"):
        analyzed(plan, results_of(plan))
    one = planned(contrasts=[{"ours": "motif", "theirs": "none"}])
    results = results_of(one)
    odd = results["none", 1].worlds["own"].model_copy(update={"items": ITEMS[::-1]})
    results["none", 1] = results["none", 1].model_copy(update={"worlds": {"own": odd, "crowded": odd}})
    with pytest.raises(ConfigError, match="arm none, seed 1, world own"):
        analyzed(one, results)


# --- over training, by noise ------------------------------------------------------------------------------------------


def test_the_step_is_found_between_points():
    curve = ((100, 0.2), (200, 0.4), (300, 0.9), (400, 0.3), (500, 1.0))
    assert first_reached(curve, 0.5) == pytest.approx(220)
    assert first_reached(curve, 0.1) == 100
    assert first_reached(curve[:2], 0.5) is None


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.floats(0.01, 1))
def test_before_the_step_a_curve_is_below_and_at_it_is_there(shares, share):
    curve = [(10 * place, value) for place, value in enumerate(shares)]
    step = first_reached(curve, share)
    if step is None:
        assert max(shares) < share
    else:
        steps = [at for at, _ in curve]
        assert np.interp(step, steps, shares) == pytest.approx(share) or step == 0
        before = np.linspace(0, step, 50)[:-1] if step else []
        assert all(np.interp(before, steps, shares) < share + 1e-9)


def test_seeds_that_never_get_there_are_the_last():
    plan = planned(arms={"a": {}}, contrasts=[], seeds=[0, 1, 2, 3])
    ends = {0: 0.55, 1: 0.85, 2: 0.6, 3: 0.3}
    results = results_of(plan)
    results = {
        key: result.model_copy(update={"curve": ((100, 0.0), (200, ends[result.seed]))})
        for key, result in results.items()
    }
    row = analyzed(plan, results).curves[0]
    half, most = row.reached
    slower = sorted(100 + 100 * 0.5 / ends[seed] for seed in (0, 1, 2))
    assert (half.seeds, half.step) == (3, pytest.approx((slower[1] + slower[2]) / 2))
    assert (most.seeds, most.step) == (1, None)
    assert (row.followed[-1].lowest, row.followed[-1].highest) == (0.3, 0.85)
    assert row.followed[-1].mean.estimate == pytest.approx(0.575)


def test_ratios_by_noise_have_students_interval_over_seeds():
    row = analyzed(planned(), results_of(planned())).noise[0]
    assert row.levels == (1.0, 0.5)
    ratios = np.array([2, 3, 4]) / 1.5
    half = t.ppf(0.975, 2) * ratios.std(ddof=1) / np.sqrt(3)
    mean = row.ratio[1].mean
    assert (mean.estimate, mean.low) == pytest.approx((ratios.mean(), ratios.mean() - half))


# --- the report -------------------------------------------------------------------------------------------------------


def test_the_report_tells_all_and_is_the_same_again(tmp_path):
    plan = planned()
    saved(plan, tmp_path, without=[("double", 1)])
    runs = plan.runs(Path())
    first, second = (write_experiment_report(plan, runs, tmp_path, tmp_path / out) for out in ("a", "b"))
    files = sorted(path.name for path in first.parent.iterdir())
    assert files == ["contrasts.svg", "curves.svg", "figures.json", "noise.svg", "report.md"]
    assert all((first.parent / name).read_bytes() == (second.parent / name).read_bytes() for name in files)
    text = first.read_text()
    assert "1 of 9 runs have no result yet (double: seed 1)" in text
    assert "| motif / double | 2 of 3 |" in text
    assert "63.1 / 36.9" in text
    assert "| paper | 10.3 / 10.7 | 34.9 / 16.4 | 32.9 / 16.4 | 18.2 / 20.8 |" in text
    assert "of other seeds nothing can be said" not in text
    assert all(run.fingerprint in text for run in runs)
    for name in ("contrasts.svg", "curves.svg", "noise.svg"):
        assert f"({name})" in text
        svg = (first.parent / name).read_text()
        assert "var(" not in svg
        assert "#0a0b" not in svg
        ElementTree.fromstring(svg)


def test_the_numbers_of_the_report_can_be_read_back(tmp_path):
    plan = planned()
    saved(plan, tmp_path)
    found = analyzed(plan, load_results(plan.runs(Path()), tmp_path))
    write_experiment_report(plan, plan.runs(Path()), tmp_path, tmp_path / "out")
    told = json.loads((tmp_path / "out" / "figures.json").read_text())
    row = told["contrasts"][0]
    assert row["score"]["interval"]["low"] == found.contrasts[0].score.interval.low
    assert row["reasons"]["object motion"] == list(found.contrasts[0].reasons["object motion"])
    assert told["curves"][2]["steps"] == [150, 300, 450]


def test_one_seed_and_no_contrast_say_what_cannot_be_said(tmp_path):
    plan = planned(arms={"alone": {}}, contrasts=[], seeds=[7])
    saved(plan, tmp_path)
    text = write_experiment_report(plan, plan.runs(Path()), tmp_path, tmp_path / "out").read_text()
    assert "of other seeds nothing can be said" in text
    assert "its curve has no interval" in text
    assert "TI2V" not in text
    assert not (tmp_path / "out" / "contrasts.svg").exists()
    told = json.loads((tmp_path / "out" / "figures.json").read_text())
    assert told["curves"][0]["followed"][0]["mean"]["low"] is None


def test_without_any_result_there_is_nothing_to_report(tmp_path):
    plan = planned()
    with pytest.raises(ConfigError, match="none of the 9 runs of 'Strength' has a result"):
        write_experiment_report(plan, plan.runs(Path()), tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_only_settings_that_differ_are_shown():
    lines = settings_table(planned().runs(Path())).splitlines()
    assert lines[0] == "| Arm | `loss.weighting` | `loss.strength` |"
    assert lines[2:] == ["| motif | paper | 1.0 |", "| none | none | 1.0 |", "| double | paper | 2.0 |"]


def test_a_name_does_not_break_a_table():
    assert markdown(["a"], [["x|y\nz"]]).splitlines() == ["| a |", "| --- |", r"| x\|y z |"]


def test_signs_and_missing_ends_are_shown():
    plan = planned(worlds={"own": {}}, contrasts=[{"ours": "none", "theirs": "motif"}])
    found = analyzed(plan, results_of(plan))
    (row,) = found.contrasts
    assert MINUS in contrasts_table([row], 3)
    alike = replace(row.difference.interval, estimate=0.0, low=math.nan, high=math.nan)
    shown = contrasts_table([replace(row, difference=replace(row.difference, interval=alike, p_holm=1.0))], 3)
    assert "| 0.0 | 1.000 |" in shown


def test_the_camera_has_a_column_where_it_may_be_wrong():
    """And results that are older than the figure are read as those of a camera that never pans."""
    plan, rng = planned(), np.random.default_rng(0)
    runs = plan.runs(Path())
    results = {(run.arm, run.seed): made_up(run, rng) for run in runs}
    assert "Right camera" not in arms_table(analyze_experiment(plan, runs, results).arms, 3)
    old = results["motif", 0]
    columns = {key: values for key, values in old.worlds["own"].columns.items() if key != "right_camera"}
    assert all(seen.right_camera for seen in Asked(items=ITEMS, columns=columns).measurements())
    panned = Asked(items=ITEMS, columns=columns | {"right_camera": (False, *[True] * (len(ITEMS) - 1))})
    results["motif", 0] = old.model_copy(update={"worlds": old.worlds | {"own": panned}})
    rows = analyze_experiment(plan, runs, results).arms
    assert "Right camera" in arms_table([row for row in rows if row.world == "own"], 3)
    assert "Right camera" not in arms_table([row for row in rows if row.world == "crowded"], 3)


def test_catching_up_is_told_seed_by_seed():
    """Ours has theirs' last share at steps 225, 300 and never: the median of all three is 300.

    In the last seed theirs ends where it began, at none: that is no mark to reach.
    """
    plan, rng = planned(worlds={"own": {}}, seeds=[0, 1, 2, 3]), np.random.default_rng(0)
    ours = {
        0: ((150, 0.2), (300, 0.6)),
        1: ((150, 0.0), (300, 0.5)),
        2: ((150, 0.1), (300, 0.1)),
        3: ((150, 0.0), (300, 0.3)),
    }
    theirs = {
        0: ((150, 0.0), (300, 0.4)),
        1: ((150, 0.1), (300, 0.5)),
        2: ((150, 0.1), (300, 0.2)),
        3: ((150, 0.0), (300, 0.0)),
    }
    results = {}
    for run in plan.runs(Path()):
        if run.arm != "double":
            curve = (ours if run.arm == "motif" else theirs)[run.seed]
            results[run.arm, run.seed] = made_up(run, rng, curve=curve)
    first, second = analyze_experiment(plan, plan.runs(Path()), results).catching_up
    assert (first.seeds, first.step, first.reached, first.marks, first.last) == ((0, 1, 2, 3), 300, 2, 3, 300)
    assert (second.seeds, second.step, second.last) == ((), None, None)
    assert "| motif / none | 4 of 4 | 300 (2 of 3) | 300 |" in catch_up_table([first], 4)
    assert f"| motif / double | 0 of 3 | {NOTHING} (0 of 0) | {NOTHING} |" in catch_up_table([second], 3)
