"""Measuring galleries: decoded once, computed once, nothing lost, and a report that a still video cannot win."""

import json
import shutil
import time
from collections import Counter
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from motionfocal.benchmarks import Benchmark, BenchmarkItem
from motionfocal.cli import app
from motionfocal.errors import AnswerError, DamagedFileError, GalleryError
from motionfocal.generation.asked import benchmark_of, remember_benchmark
from motionfocal.generation.gallery import INDEX, Gallery, GalleryRow
from motionfocal.generation.origin import Origin, save_origin
from motionfocal.generation.sampler import SamplingSettings
from motionfocal.intervals import grouped_mean, holm, sign_flip_test
from motionfocal.jsonl import append_jsonl
from motionfocal.metrics import clips
from motionfocal.metrics.engine import measure
from motionfocal.metrics.metric import Output
from motionfocal.metrics.references import PAN_ONLY, STATIC, jobs_of
from motionfocal.metrics.results import Row, findings_of, rows_of
from motionfocal.metrics.sets import metrics_of
from motionfocal.metrics.store import SampleStore
from motionfocal.video import write_clip, write_image
from motionfocal.worlds import SpritesSettings, SpritesWorld
from motionfocal.worlds.benchmark import SpritesBenchmark

from . import warm
from .clips import moving

WORDS = ("moves left", "moves right", "stands")


def gallery_of(folder, model, items, clip_of, fps=8.0):
    for item in items:
        frames = clip_of(item)
        write_clip(folder / f"{item.id}.mp4", frames, fps)
        row = GalleryRow(item.id, item.image, item.text, f"{item.id}.mp4", model, frames.shape[1:3], len(frames), fps)
        append_jsonl(folder / INDEX, asdict(row))
    return Gallery.open(folder)


@pytest.fixture
def bench(tmp_path):
    """Four pictures with three texts each, in a folder that can be loaded by name."""
    lines = ["id,image,prompt"]
    for n in range(4):
        write_image(tmp_path / "bench" / "images" / f"p{n}.png", moving(n)[0])
        lines += [f"p{n}_{k},images/p{n}.png,thing {n} {word}" for k, word in enumerate(WORDS)]
    (tmp_path / "bench" / "prompts.csv").write_text("\n".join(lines) + "\n")
    items = tuple(
        BenchmarkItem(f"p{n}_{k}", f"images/p{n}.png", tmp_path / "bench" / "images" / f"p{n}.png", f"thing {n} {word}")
        for n in range(4)
        for k, word in enumerate(WORDS)
    )
    return Benchmark("bench", items)


@pytest.fixture
def galleries(bench, tmp_path):
    """One model moves things, the other nothing; no two of their clips are the same."""

    def moves(item):
        return moving(int(item.id[1]) + 10 * int(item.id[3]))

    return [
        gallery_of(tmp_path / "a", "a", bench.items, moves),
        gallery_of(tmp_path / "b", "b", bench.items, lambda item: np.stack([moves(item)[0]] * 6)),
    ]


class LengthOfText:
    """A metric that reads texts, and counts what it is asked."""

    name, version, settings, reads_text, uses_network = "length", 1, {}, True, False
    outputs = (Output("length", "higher", "letters"),)

    def __init__(self):
        self.asked = Counter()

    def begin(self, sample):
        self.asked[sample.model] += 1
        outer = self

        class Watch:
            def see(self, frame):
                outer.asked["frames"] += 1

            def values(self):
                return {"length": float(len(sample.text))}

        return Watch()


class TooLarge(LengthOfText):
    """Needs more memory than a GPU has for the clips of one picture."""

    name = "too_large"
    outputs = (Output("too_large", "higher", "letters"),)

    def begin(self, sample):
        if sample.item.id.startswith("p0"):
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().begin(sample)


def test_a_network_too_large_for_the_gpu_costs_its_values_alone(bench, galleries, tmp_path):
    jobs, store = jobs_of(galleries[:1], bench, [TooLarge(), LengthOfText()]), SampleStore(tmp_path / "samples")
    failures = measure(jobs, store)
    assert {failure.id[:2] for failure in failures} == {"p0"}
    assert all(failure.metric == "too_large" and "too little memory" in failure.reason for failure in failures)
    assert {row.id for row in rows_of(jobs, store) if row.metric == "length"} == {item.id for item in bench.items}
    assert not {row.id for row in rows_of(jobs, store) if row.metric == "too_large"} & {"p0_0", "p0_1", "p0_2"}


class Stumbles(LengthOfText):
    """Cannot say anything about one text, from one of the steps of an observer on."""

    def __init__(self, step, text):
        super().__init__()
        self.name, self.step, self.text = f"stumbles_{step}", step, text
        self.outputs = (Output(self.name, "higher", "letters"),)

    def begin(self, sample):
        watch = super().begin(sample)
        self._or_stumble("begin", sample, lambda: None)()
        watch.see = self._or_stumble("see", sample, watch.see)
        watch.values = self._or_stumble("values", sample, lambda: {self.name: float(len(sample.text))})
        return watch

    def _or_stumble(self, step, sample, act):
        def acting(*arguments):
            if step == self.step and sample.text == self.text:
                raise AnswerError(f"no answer about {sample.text!r}")
            return act(*arguments)

        return acting


def run(*arguments, fails=False):
    done = CliRunner().invoke(app, ["metrics", *map(str, arguments)], env={"COLUMNS": "120"})
    assert bool(done.exit_code) == fails, done.output + str(done.exception)
    return done.output + str(done.exception)


def test_a_clip_is_decoded_once_for_all_metrics_and_never_again(bench, galleries, tmp_path, monkeypatch):
    decoded = Counter()
    stock = clips.iter_frames
    monkeypatch.setattr(clips, "iter_frames", lambda path: (decoded.update([path.name]), stock(path))[1])
    jobs = jobs_of(galleries, bench, [*metrics_of("weights-free", galleries)])
    assert measure(jobs, SampleStore(tmp_path / "s")) == []
    assert sum(decoded.values()) == 24
    assert measure(jobs, SampleStore(tmp_path / "s")) == []
    assert sum(decoded.values()) == 24
    more = jobs_of(galleries, bench, [*metrics_of("weights-free", galleries), LengthOfText()])
    measure(more, SampleStore(tmp_path / "s"))
    assert sum(decoded.values()) == 24 + 48, "the new metric alone: each clip with its own text and with another"


def test_what_is_the_same_is_measured_once(bench, galleries, tmp_path):
    metric = LengthOfText()
    same = shutil.copytree(galleries[0].folder, tmp_path / "c")
    text = (same / INDEX).read_text().replace('"model": "a"', '"model": "c"')
    (same / INDEX).write_text(text)
    jobs = jobs_of([galleries[0], Gallery.open(same)], bench, [metric])
    store = SampleStore(tmp_path / "s")
    measure(jobs, store)
    assert metric.asked["a"] == 12
    assert metric.asked["c"] == 0, "equal files, equal values"
    assert Counter(row.model for row in rows_of(jobs, store))["c"] == 12


def test_references_stand_in_every_report(bench, galleries, tmp_path):
    jobs = jobs_of(galleries, bench, [*metrics_of("weights-free", galleries), LengthOfText()])
    store = SampleStore(tmp_path / "s")
    measure(jobs, store)
    rows = rows_of(jobs, store)
    models = {row.model for row in rows}
    assert models == {"a", "b", "static", "pan only", "shuffled texts"}
    value = {(row.model, row.id, row.metric): row.value for row in rows}
    for item in bench.items:
        siblings = bench.siblings(item)
        other = siblings[(siblings.index(item) + 1) % 3]
        assert value["a", item.id, "length"] == len(item.text)
        assert value["shuffled texts", item.id, "length"] == len(other.text)
        path = "object_path"
        assert value["shuffled texts", item.id, path] == np.mean([value[m, item.id, path] for m in "ab"])
    findings = findings_of(rows)
    means = {(s.model, s.metric): s.estimate for s in findings.summaries}
    for metric in ("object_path", "object_share"):
        assert means["static", metric] == min(means[m, metric] for m in models) == means["b", metric]
        assert means["a", metric] > 0


def test_the_command_writes_rows_and_says_who_differs(bench, galleries, tmp_path):
    remember_benchmark(galleries[0].folder, str(tmp_path / "bench"))
    said = run(tmp_path / "a", tmp_path / "b", "--out", tmp_path / "r.json")
    rows = json.loads((tmp_path / "r.json").read_text())
    assert {"model", "id", "metric", "value"} <= rows[0].keys()
    assert Counter(row["model"] for row in rows)["a"] == 12 * 10
    assert "There is no total of our own" in said
    assert "object_path" in said
    report = json.loads((tmp_path / "r.report.json").read_text())
    assert {s["model"] for s in report["summary"]} == {"a", "b", "static", "pan only", "shuffled texts"}
    assert report["versions"]["motionfocal"]
    assert report["metrics"]["object_share"]["headline"] is True
    before = (tmp_path / "r.json").read_bytes()
    run(tmp_path / "a", tmp_path / "b", "--out", tmp_path / "r.json", "--workers", 2)
    assert (tmp_path / "r.json").read_bytes() == before


def test_shards_put_together_are_one_run_to_the_byte(bench, galleries, tmp_path):
    both = [tmp_path / "a", tmp_path / "b", "-b", tmp_path / "bench"]
    run(*both, "--out", tmp_path / "whole" / "r.json")
    for part in ("2/3", "1/3", "3/3"):
        said = run(*both, "--out", tmp_path / "parts" / "r.json", "--shard", part)
        assert "is measured" in said
        assert not (tmp_path / "parts" / "r.json").exists()
    measured = {path.name for path in (tmp_path / "parts" / "r.samples").iterdir()}
    assert len(measured) == 3
    run(*both, "--out", tmp_path / "parts" / "r.json")
    assert {path.name for path in (tmp_path / "parts" / "r.samples").iterdir()} == measured, "nothing was left to do"
    for name in ("r.json", "r.report.json"):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.slow
def test_killed_at_any_moment_it_goes_on_and_ends_the_same(bench, galleries, tmp_path):
    both = ["metrics", tmp_path / "a", tmp_path / "b", "-b", tmp_path / "bench"]
    command = ["-m", "motionfocal", *both, "--out", tmp_path / "killed" / "r.json"]
    samples = tmp_path / "killed" / "r.samples" / "samples.jsonl"
    counts = [0]
    for _ in range(2):
        process = warm.Warm(*command)
        until = time.monotonic() + 60
        while time.monotonic() < until and process.poll() is None:
            if samples.is_file() and samples.read_text().count("\n") > counts[-1] + 5:
                break
        process.kill()
        process.wait()
        counts.append(samples.read_text().count("\n"))
    assert counts[2] > counts[1] > 0
    with samples.open("a") as file:
        file.write('{"key": "half a li')
    before = samples.read_text().splitlines()[: counts[2]]
    run(*both[1:], "--out", tmp_path / "killed" / "r.json")
    lines = samples.read_text().splitlines()
    assert lines[: counts[2]] == before
    assert len({json.loads(line)["key"] for line in lines}) == len(lines), "nothing was computed twice"
    run(*both[1:], "--out", tmp_path / "whole" / "r.json")
    assert (tmp_path / "killed" / "r.json").read_bytes() == (tmp_path / "whole" / "r.json").read_bytes()


def test_a_bad_clip_is_named_and_the_others_go_on(bench, galleries, tmp_path):
    (tmp_path / "a" / "p0_1.mp4").write_bytes(b"no video")
    (tmp_path / "b" / "p1_2.mp4").unlink()
    said = run(tmp_path / "a", tmp_path / "b", "-b", tmp_path / "bench", "--out", tmp_path / "r.json", fails=True)
    assert "2 clips failed" in said
    assert "a, p0_1" in said
    assert "b, p1_2" in said
    rows = json.loads((tmp_path / "r.json").read_text())
    ids = {model: {row["id"] for row in rows if row["model"] == model} for model in "ab"}
    assert len(ids["a"]) == len(ids["b"]) == 11
    assert "p0_1" not in ids["a"]


@pytest.mark.parametrize("step", ["begin", "see", "values"])
def test_what_one_metric_cannot_say_of_a_clip_costs_no_other_value(step, bench, galleries, tmp_path):
    text = bench.items[1].text
    length, stumbles = LengthOfText(), Stumbles(step, text)
    jobs, store = jobs_of(galleries, bench, [length, stumbles]), SampleStore(tmp_path / "s")
    failures = measure(jobs, store)
    models = ["a", "b", "static", "pan only"]
    told = [(failure.model, failure.id, failure.metric, failure.reason) for failure in failures]
    why = (stumbles.name, f"no answer about {text!r}")
    assert told == [*((model, "p0_1", *why) for model in models), *(("shuffled texts", "p0_0", *why) for _ in "ab")]
    rows = rows_of(jobs, store)
    assert Counter(row.metric for row in rows) == {"length": 5 * 12, stumbles.name: 5 * 12 - 5}
    asked = length.asked.total(), stumbles.asked.total()
    assert measure(jobs, store) == failures
    assert length.asked.total() == asked[0], "what could be said is kept"
    assert stumbles.asked.total() > asked[1]


def test_a_bad_clip_of_one_model_takes_nothing_from_the_shuffled_texts_of_another(bench, galleries, tmp_path):
    (tmp_path / "a" / "p0_1.mp4").write_bytes(b"no video")
    jobs, store = jobs_of(galleries, bench, [LengthOfText()]), SampleStore(tmp_path / "s")
    (failure,) = measure(jobs, store)
    assert (failure.model, failure.id, failure.metric) == ("a", "p0_1", "")
    assert Counter(row.model for row in rows_of(jobs, store)) == {
        "a": 11, "b": 12, "static": 12, "pan only": 12, "shuffled texts": 12,
    }  # fmt: skip


def test_a_picture_that_is_gone_is_named(bench, galleries, tmp_path):
    (tmp_path / "bench" / "images" / "p1.png").write_bytes(b"")
    said = run(tmp_path / "a", "-b", tmp_path / "bench", "--out", tmp_path / "r.json", fails=True)
    assert "p1.png" in said


def test_what_makes_no_sense_is_refused(bench, galleries, tmp_path):
    with pytest.raises(GalleryError, match=r"two galleries are of 'a'"):
        jobs_of([galleries[0], galleries[0]], bench, [])
    with pytest.raises(GalleryError, match="p0_0: no item of other; generate it again, or give the benchmark"):
        jobs_of(galleries, Benchmark("other", ()), [])
    with pytest.raises(GalleryError, match="does not remember one; say it by --benchmark"):
        benchmark_of(galleries)
    static = gallery_of(tmp_path / "s", "static", bench.items[:1], lambda item: moving(0))
    with pytest.raises(GalleryError, match="like a reference"):
        jobs_of([static], bench, [])
    said = run(tmp_path / "a", "--out", tmp_path / "r.csv", fails=True)
    assert not (tmp_path / "r.csv").exists(), said
    folder = tmp_path / "store"
    folder.mkdir()
    (folder / "samples.jsonl").write_text('{"value": 3}\n')
    with pytest.raises(DamagedFileError, match="without key and values"):
        SampleStore(folder)


@pytest.mark.parametrize("what", ["text", "image"])
def test_a_clip_of_another_text_or_picture_is_refused(what, bench, galleries):
    changed = replace(bench.items[4], **{what: "another"})
    other = Benchmark("bench", tuple(changed if item.id == changed.id else item for item in bench.items))
    said = rf"p1_1: its {what} is '{getattr(bench.items[4], what)}', and 'another' in bench; generate it again"
    with pytest.raises(GalleryError, match=said):
        jobs_of(galleries, other, [])


def test_texts_are_shuffled_only_where_a_picture_has_several(bench, tmp_path):
    texts = {"p0_1": "thing 0 moves left", "p1_1": "thing 1 moves left", "p1_2": "thing 1 moves left"}
    items = [replace(item, text=texts.get(item.id, item.text)) for item in bench.items[:6]]
    alone = replace(bench.items[6], image="p2", id="p2_0")
    some = Benchmark("some", (*items, alone))
    gallery = gallery_of(tmp_path / "s", "m", some.items, lambda item: moving(0))
    shuffled = [
        job.sample for job in jobs_of([gallery], some, [LengthOfText()]) if job.sample.model == "shuffled texts"
    ]
    assert {sample.item.id: sample.text for sample in shuffled} == {
        "p0_0": "thing 0 stands",  # its sibling's text is its own: the next but one
        "p0_1": "thing 0 stands",
        "p0_2": "thing 0 moves left",
    }


def test_without_weights_the_metric_is_named_and_how_to_get_them(bench, galleries, tmp_path, monkeypatch):
    monkeypatch.setenv("MOTIONFOCAL_OFFLINE", "1")
    monkeypatch.setenv("MOTIONFOCAL_WEIGHTS", str(tmp_path / "none"))
    arguments = [tmp_path / "a", "-b", tmp_path / "bench", "--metrics", "animatebench", "--out", tmp_path / "r.json"]
    done = CliRunner().invoke(app, ["metrics", *map(str, arguments)])
    assert "none of these metrics can be measured here" in str(done.exception)
    said = run(*arguments[:4], "vbench-i2v", "--out", tmp_path / "v.json", fails=True)
    assert "metrics failed" in said
    assert "subject_consistency" in said
    rows = json.loads((tmp_path / "v.json").read_text())
    assert {row["metric"] for row in rows} == {"temporal_flickering"}, "what needs no weights is measured all the same"


# Sibling prompts, by the oracle


@pytest.fixture(scope="module")
def world():
    return SpritesBenchmark(world=SpritesSettings(size=32, frames=8), images=2, texts=4)


def of_world(folder, model, world, action_of):
    sprites = SpritesWorld(world.world)
    questions = {item.id: item for item in world.items()}
    save_origin(folder, Origin(benchmark=world, sampling=SamplingSettings(), run=None))
    for item in questions.values():
        frames = sprites.render(item.scene, action_of(item, world.items()))
        write_clip(folder / f"{item.id}.mp4", frames, 8, upscale=8)
        image = item.id.split("_")[0]
        append_jsonl(
            folder / INDEX, asdict(GalleryRow(item.id, image, item.text, f"{item.id}.mp4", model, (32, 32), 8, 8.0))
        )
    return Gallery.open(folder)


def test_siblings_a_still_video_is_at_chance_and_the_truth_is_always_right(world, tmp_path):
    def another(item, items):
        same = [other for other in items if other.id.split("_")[0] == item.id.split("_")[0]]
        return same[([other.id for other in same].index(item.id) + 1) % len(same)].action

    right = of_world(tmp_path / "right", "right", world, lambda item, items: item.action)
    wrong = of_world(tmp_path / "wrong", "wrong", world, another)
    bench = benchmark_of([right, wrong])
    metrics = [metric for metric in metrics_of("weights-free", [right, wrong]) if metric.reads_text]
    jobs, store = jobs_of([right, wrong], bench, metrics), SampleStore(tmp_path / "s")
    assert measure(jobs, store) == []
    rows = rows_of(jobs, store)
    means = {(s.model, s.metric): s.estimate for s in findings_of(rows).summaries}
    assert means["right", "sibling_accuracy"] == 1
    assert means["wrong", "sibling_accuracy"] == 0
    assert means["static", "sibling_accuracy"] == pytest.approx(0.25)
    assert means["pan only", "sibling_accuracy"] <= 0.5
    assert means["shuffled texts", "sibling_accuracy"] == pytest.approx(0.5), "one model's are right, the other's wrong"
    assert means["right", "text_gain"] > 0.3
    assert means["static", "text_gain"] == pytest.approx(0)


def test_references_of_a_world_are_measured_at_the_size_of_its_files(tmp_path):
    small = SpritesBenchmark(world=SpritesSettings(size=32, frames=8), images=3, texts=1)
    gallery = of_world(tmp_path / "right", "right", small, lambda item, items: item.action)
    metrics = [metric for metric in metrics_of("weights-free", [gallery]) if not metric.reads_text]
    jobs = jobs_of([gallery], benchmark_of([gallery]), metrics)
    store = SampleStore(tmp_path / "s")
    assert measure(jobs, store) == []
    means = {(s.model, s.metric): s.estimate for s in findings_of(rows_of(jobs, store)).summaries}
    assert means["static", "first_frame_ssim"] == pytest.approx(1)
    assert means["right", "first_frame_ssim"] > 0.97, "a perfect first frame, but for the encoder"
    assert means["right", "first_frame_psnr"] > 38
    assert means["static", "object_path"] == 0
    assert means["pan only", "object_path"] < 1, "pairs in which the camera cannot be told say nothing"


def test_references_are_made_at_the_models_size_where_the_file_cannot_be_read(bench, galleries, tmp_path):
    (tmp_path / "a" / "p0_0.mp4").write_bytes(b"no video")
    jobs = [job for job in jobs_of(galleries[:1], bench, []) if job.sample.model == "static"]
    sizes = {job.sample.item.id: job.clip.size for job in jobs}
    assert len(sizes) == 12
    assert set(sizes.values()) == {moving(0).shape[1:3]}


def test_chance_on_the_benchmark_is_what_the_texts_say(ti2v_bench):
    bench = benchmark_of([], str(ti2v_bench))
    chance = np.mean([1 / len(bench.siblings(item)) for item in bench.items])
    assert chance == pytest.approx(0.275, abs=5e-4)


# What the rows say


def test_differences_are_paired_and_adjusted():
    rng = np.random.default_rng(0)
    rows = []
    for image in range(40):
        hard = rng.normal()  # the same for all models: a paired test sees through it
        for text in range(3):
            item, shift = f"{image}_{text}", rng.normal(0, 0.05)
            for model, better in (("a", 0.0), ("b", 0.1), ("c", 0.0)):
                rows.append(Row(model, item, str(image), "m", hard + shift + better + rng.normal(0, 0.02)))
    rows += [
        Row("a", "alone", "99", "m", 1e6),
        Row("a", "0_0", "0", "kind", "static"),
        Row("b", "0_0", "0", "m2", None),
    ]
    found = findings_of(rows)
    clear = {(d.a, d.b): d.is_clear for d in found.differences}
    assert clear == {("a", "b"): True, ("a", "c"): False, ("b", "c"): True}
    assert all(difference.n == 120 for difference in found.differences), "only what both have"
    summary = {s.model: s for s in found.summaries}
    assert summary["b"].low < summary["c"].estimate < summary["b"].high, "unpaired, nobody would see it"
    assert [(c.model, c.shares) for c in found.classes] == [("a", {"static": 1.0})]
    assert found == findings_of(rows)


def test_references_do_not_count_among_the_comparisons_of_models():
    rng = np.random.default_rng(0)
    rows = [
        Row(model, f"{image}", f"{image}", "m", rng.normal(mean, 1))
        for image in range(40)
        for model, mean in (("a", 0.0), ("b", 0.3), (STATIC, 0.5), (PAN_ONLY, 0.6))
    ]
    (alone,) = findings_of([row for row in rows if row.model in ("a", "b")]).differences
    found = {(d.a, d.b): d.p for d in findings_of(rows).differences}
    assert found["a", "b"] == alone.p
    controls = [
        findings_of([row for row in rows if row.model in pair]).differences[0].p for pair in found if pair != ("a", "b")
    ]
    assert [p for pair, p in found.items() if pair != ("a", "b")] == holm(controls)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_is_its_definition(p_values):
    adjusted = holm(p_values)
    order = sorted(range(len(p_values)), key=lambda k: p_values[k])
    expected, highest = {}, 0.0
    for rank, k in enumerate(order):
        highest = max(highest, min(1, p_values[k] * (len(p_values) - rank)))
        expected[k] = highest
    assert adjusted == pytest.approx([expected[k] for k in range(len(p_values))])


@pytest.mark.slow
def test_a_test_that_finds_nothing_where_there_is_nothing():
    """Of clustered values without a difference, 5 % are called one; of unclustered tests many more would be."""
    rng, found = np.random.default_rng(1), []
    for _ in range(300):
        groups = np.repeat(np.arange(30), 4)
        values = rng.normal(0, 1, 30)[groups] + rng.normal(0, 0.5, 120)
        found.append(sign_flip_test(values, groups.astype(str).tolist(), rng, resamples=500))
    assert 0.02 <= np.mean(np.array(found) <= 0.05) <= 0.09
    mean = grouped_mean(values, groups.astype(str).tolist(), rng)
    assert mean.low < values.mean() < mean.high
