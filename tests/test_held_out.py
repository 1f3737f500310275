"""Clips that are held out: the same everywhere, never trained on, measured while it trains, and a benchmark of them."""

import csv

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from motionfocal.benchmarks import load_benchmark
from motionfocal.cli import app
from motionfocal.cli.console import console
from motionfocal.cli.train import held_out_line
from motionfocal.cli.train import run as train_command
from motionfocal.data.benchmark import write_benchmark
from motionfocal.data.files import VideoFile
from motionfocal.data.held_out import part_of
from motionfocal.data.manifest import Caption
from motionfocal.data.prepare import prepare
from motionfocal.errors import ConfigError, ManifestError
from motionfocal.generation.checking import check_gallery
from motionfocal.generation.gallery import Gallery
from motionfocal.jsonl import read_jsonl
from motionfocal.models.build import load_model
from motionfocal.models.protocol import Condition
from motionfocal.training.config import dump_config, load_config
from motionfocal.training.objective import stable_seed
from motionfocal.training.run import cache_spec, frozen_model, open_data, run_training
from motionfocal.video import read_clip, read_image, write_clip

from .clips import folder_data, text_of, write_clips, write_table
from .test_training import Stop, StopAt

CLIPS, HELD_OUT = 7, 2


@pytest.fixture
def folder(tmp_path):
    write_table(tmp_path / "clips" / "metadata.csv", write_clips(tmp_path / "clips", CLIPS))
    return tmp_path / "clips"


def config_of(folder, *changes):
    return load_config(None, [
        "steps=4", "batch_size=2", "threads=1", "device=cpu", "checkpoint_every=2", "optimizer.warmup_steps=1",
        "data.kind=folder", f"data.videos={folder}", "data.frames=4", "data.height=16", "data.width=16",
        "data.held_out=0.3", "motion.scale=2", "motion.floor=0.1", "model.family=compact", "model.width=16",
        "model.text_width=16", "validation.every=2", "validation.images=2", "validation.steps=2", *changes,
    ])  # fmt: skip


def trained(config, run, callbacks=()):
    run_training(config, open_data(config), run, callbacks)
    return read_jsonl(run / "held_out.jsonl")


# Which clips


@given(
    st.lists(st.text("abc/", min_size=1, max_size=6), min_size=2, max_size=40, unique=True),
    st.floats(0.001, 0.999),
    st.randoms(),
)
def test_every_clip_is_on_one_side_whatever_the_tables_order(names, share, random):
    """Some files have a second row, which is on the side of the first."""
    captions = [Caption(name, VideoFile(name), "once") for name in names]
    captions += [Caption(f"{name}#2", VideoFile(name), "again") for name in names[::3]]
    training, held_out = (part_of(captions, share, part) for part in ("training", "held-out"))
    assert sorted(training + held_out, key=captions.index) == captions
    files = {caption.video for caption in held_out}
    assert not files & {caption.video for caption in training}
    assert len(files) == min(max(1, round(share * len(names))), len(names) - 1)
    shuffled = sorted(captions, key=lambda caption: (caption.text == "again", random.random()))
    assert {caption.video for caption in part_of(shuffled, share, "held-out")} == files


def test_without_a_share_all_are_trained_on():
    captions = [Caption("a", VideoFile("a"), "")]
    assert part_of(captions, 0.0, "training") == captions
    assert part_of(captions, 0.0, "held-out") == []


def test_one_clip_cannot_be_on_both_sides():
    twice = [Caption("a", VideoFile("a"), "jumps"), Caption("a#2", VideoFile("a"), "runs")]
    with pytest.raises(ManifestError, match=r"data\.held_out is 0\.5, and there is but one clip"):
        part_of(twice, 0.5, "training")


def test_training_never_sees_them(folder):
    data = open_data(config_of(folder))
    assert (len(data.source), len(data.held_out)) == (CLIPS - HELD_OUT, HELD_OUT)
    seen = {example.text for step in range(20) for example in data.source.batch(step, 2)}
    kept = {data.held_out.batch(n, 1)[0].text for n in range(HELD_OUT)}
    assert len(kept) == HELD_OUT
    assert seen | kept == {text_of(f"{n}.mp4") for n in range(CLIPS)}
    assert not seen & kept


def test_without_validation_nothing_is_measured(folder):
    config = config_of(folder).model_copy(update={"validation": None})
    data = open_data(config)
    assert (len(data.source), data.held_out) == (CLIPS - HELD_OUT, None)


# Their loss


def test_it_is_the_mean_error_of_the_averaged_weights(folder, tmp_path):
    """Computed here once more, from the written model, at the noise levels that the seeds give."""
    config = config_of(folder)
    row = trained(config, tmp_path / "run")[-1]
    model, clips = load_model(tmp_path / "run" / "model").model, open_data(config).held_out
    errors = []
    for n in range(HELD_OUT):
        (clip,) = clips.batch(n, 1)
        frames = torch.from_numpy(clip.frames)[None]
        latents = model.encode(frames)
        told = Condition(model.encode_image(frames[:, 0], 4), model.encode_text([clip.text]), torch.tensor([clip.fps]))
        for draw in range(4):
            rng = torch.Generator().manual_seed(stable_seed(config.validation.seed, draw, n))
            torch.rand(2, generator=rng)
            time = model.schedule.draw(latents[0, 0].numel(), rng)[None]
            noise = torch.randn(latents.shape[1:], generator=rng)[None]
            with torch.no_grad():
                prediction = model.predict(model.schedule.add_noise(latents, noise, time), time, told)
            errors.append(float((prediction - model.schedule.target(latents, noise, time)).square().mean()))
    assert row["diffusion"] == pytest.approx(np.mean(errors), rel=1e-4)
    assert (row["step"], row["clips"]) == (4, HELD_OUT)
    assert 0 < row["moving_share"] < 1


def test_measuring_changes_no_digit_of_the_training(folder, tmp_path):
    trained(config_of(folder), tmp_path / "measured")
    trained(config_of(folder).model_copy(update={"validation": None}), tmp_path / "alone")
    measured, alone = (read_jsonl(tmp_path / name / "metrics.jsonl") for name in ("measured", "alone"))
    assert [row["loss"] for row in measured] == [row["loss"] for row in alone]
    assert not (tmp_path / "alone" / "held_out.jsonl").exists()


def test_all_losses_are_measured_by_the_same_noise(folder, tmp_path):
    """Weights that hardly move: what is left of the weighting is nothing."""
    still = ["optimizer.learning_rate=1e-12", "text_dropout=0.9", "validation.clips=1"]
    one, two = (
        trained(config_of(folder, *still, f"loss.weighting={name}"), tmp_path / name) for name in ("none", "paper")
    )
    assert [row["clips"] for row in one] == [1, 1]
    assert [row["diffusion"] for row in one] == pytest.approx([row["diffusion"] for row in two], rel=1e-6)
    assert one[0]["diffusion"] == pytest.approx(one[1]["diffusion"], rel=1e-6), "and the same at every step"


def test_a_cache_gives_the_same(folder, tmp_path):
    cached = config_of(folder, f"data.cache={tmp_path / 'cache'}")
    prepare(cache_spec(cached, cached.data), lambda: frozen_model(cached, cached.data))
    rows = [trained(config, tmp_path / name) for name, config in (("a", config_of(folder)), ("b", cached))]
    for one, two in zip(*rows, strict=True):
        assert one["diffusion"] == pytest.approx(
            two["diffusion"], rel=1e-3
        )  # heat, which training weighs by, is rounded
        assert one["moving_loss"] == pytest.approx(two["moving_loss"], rel=1e-2)


def test_a_resumed_run_records_each_step_once(folder, tmp_path):
    whole = trained(config_of(folder), tmp_path / "whole")
    with pytest.raises(Stop):
        trained(config_of(folder), tmp_path / "broken", [StopAt(3)])
    assert trained(config_of(folder), tmp_path / "broken") == whole
    assert [row["step"] for row in whole] == [2, 4]


def test_they_are_what_validation_samples(folder, tmp_path):
    """One sampling step from almost no noise is far from the clip, but its first frame is given beside it."""
    config = config_of(folder, "steps=1", "optimizer.warmup_steps=0")
    trained(config, tmp_path / "run")
    assert len(list((tmp_path / "run" / "samples" / "step-000001").glob("*.mp4"))) == HELD_OUT


def test_a_share_without_a_clip_of_the_common_shape_says_so(folder, tmp_path):
    with (folder / "metadata.csv").open() as file:
        names = [row["file_name"] for row in csv.DictReader(file)]
    kept = {caption.video.path.name for caption in config_of(folder).data.clips("held-out")}
    for name in names:
        if name in kept:
            write_clip(folder / name, np.zeros((3, 24, 32, 3), np.uint8), 8)
    config = config_of(folder, "data.frames=[4, 3]")
    with pytest.raises(ConfigError, match=r"data\.held_out: no clip that is held out is of 4x16x16"):
        trained(config, tmp_path / "run")


def test_a_held_out_clip_that_cannot_be_used_is_told_with_the_others(folder):
    config = config_of(folder)
    first, second = (caption.video.path for caption in config.data.clips("held-out"))
    first.write_bytes(b"no video")
    data = open_data(config)
    assert ([rejected.path for rejected in data.rejected], len(data.held_out)) == ([first], 1)
    second.write_bytes(b"nor this")
    with pytest.raises(ManifestError, match="none of 2 held-out clips can be used"):
        open_data(config)


def test_the_command_tells_the_last_loss_and_the_lowest(folder, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(dump_config(config_of(folder)))
    with console.capture() as said:
        train_command(str(path), tmp_path / "run", [])
    assert "loss of 2 held-out clips:" in said.get()
    rows = [{"step": step, "clips": 3.0, "diffusion": loss} for step, loss in ((2, None), (4, 0.25), (6, 0.5))]
    assert held_out_line(rows) == "loss of 3 held-out clips: 0.5000 after 6 steps; the lowest was 0.2500, after 4 steps"
    assert held_out_line(rows[:2]) == "loss of 3 held-out clips: 0.2500 after 4 steps; its lowest"


# A benchmark of them


def test_a_benchmark_asks_about_them_and_shows_what_came(folder, tmp_path):
    data = config_of(folder).data
    written = write_benchmark(data, tmp_path / "held out")
    benchmark = written.benchmark
    kept = data.clips("held-out")
    assert not written.rejected
    assert {(item.id, item.text) for item in benchmark.items} == {(caption.id, caption.text) for caption in kept}
    assert load_benchmark(tmp_path / "held out").items == benchmark.items
    assert not check_gallery(tmp_path / "held out" / "real", benchmark).problems
    for item, caption in zip(benchmark.items, kept, strict=True):
        true = read_clip(caption.video.path, frames=4, size=(16, 16)).frames
        assert (read_image(item.file) == true[0]).all()
        shown = read_clip(written.real.gallery.path(item.id)).frames
        assert shown.shape == true.shape
        assert abs(shown.astype(int) - true).mean() < 12, "the same clip, written anew"


def test_rows_of_one_clip_ask_about_one_picture(tmp_path):
    clips = tmp_path / "clips"
    write_clips(clips / "a", 2)
    rows = [("a/0.mp4", "jumps"), ("a/0.mp4", "runs"), ("a/1.mp4", "jumps"), ("a/1.mp4", "runs")]
    (clips / "metadata.csv").write_text("\n".join(["file_name,text", *(",".join(row) for row in rows)]) + "\n")
    data = folder_data(clips, cache=None, held_out=0.5, stride=[1, 2])
    written = write_benchmark(data, tmp_path / "bench")
    benchmark, gallery = written.benchmark, written.real.gallery
    first, second = benchmark.items
    assert benchmark.siblings(first) == (first, second)
    assert first.id.startswith("a-")
    assert gallery.row(first.id).content == gallery.row(second.id).content


def test_a_benchmark_is_made_once(folder, tmp_path):
    data = config_of(folder).data
    made = write_benchmark(data, tmp_path / "bench").real
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "bench" / "real").glob("*.mp4")}
    assert len(files) == len(made.gallery.rows()) == HELD_OUT
    write_benchmark(data, tmp_path / "bench")
    assert {path: path.stat().st_mtime_ns for path in files} == files
    assert len(Gallery.open(tmp_path / "bench" / "real").rows()) == HELD_OUT


def test_the_command_goes_on_past_a_clip_that_cannot_be_read(folder, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(dump_config(config_of(folder)))
    config_of(folder).data.clips("held-out")[0].video.path.write_bytes(b"no video")
    said = CliRunner().invoke(app, ["benchmark", str(path), "--out", str(tmp_path / "bench")])
    assert said.exit_code == 1
    assert "1 items in" in said.output
    assert "1 clips failed" in said.output or "no video" in said.output


@pytest.mark.parametrize(
    ("changes", "said"),
    [(["data.held_out=0"], "data.held_out is 0: there is no clip to ask about"), ([], "none of 2 held-out clips")],
    ids=["none is held out", "none can be read"],
)
def test_a_benchmark_of_nothing_is_refused(folder, tmp_path, changes, said):
    config = config_of(folder, *changes)
    for caption in config.data.clips("held-out"):
        caption.video.path.write_bytes(b"no video")
    with pytest.raises((ConfigError, ManifestError), match=said):
        write_benchmark(config.data, tmp_path / "bench")


def test_a_world_brings_its_own(tmp_path):
    said = CliRunner().invoke(app, ["benchmark", "sprites", "--out", str(tmp_path / "bench")])
    assert "animate --world" in str(said.exception)
