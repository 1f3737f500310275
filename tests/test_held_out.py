"""Clips that are held out: the same everywhere, never trained on, measured while it trains, and a benchmark of them."""

import re
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from motionfocal.benchmarks import BenchmarkItem, load_benchmark
from motionfocal.benchmarks.rows import require_usable_ids
from motionfocal.cli import app
from motionfocal.cli.console import console
from motionfocal.cli.train import held_out_line
from motionfocal.cli.train import run as train_command
from motionfocal.data.benchmark import _file_name, write_benchmark
from motionfocal.data.files import VideoFile
from motionfocal.data.held_out import part_of
from motionfocal.data.manifest import Caption
from motionfocal.data.prepare import prepare
from motionfocal.data.sources import read_window
from motionfocal.errors import ConfigError, ManifestError, MediaError
from motionfocal.generation.checking import check_gallery
from motionfocal.generation.gallery import Gallery
from motionfocal.generation.generate import item_seed
from motionfocal.jsonl import read_jsonl
from motionfocal.models.build import load_model
from motionfocal.models.protocol import Condition
from motionfocal.training.config import dump_config, load_config
from motionfocal.training.held_out import HeldOutLoss
from motionfocal.training.objective import stable_seed
from motionfocal.training.records import unread_in
from motionfocal.training.run import cache_spec, frozen_model, open_data, run_training
from motionfocal.video import read_clip, read_image, write_clip

from .clips import folder_data, moving, text_of, write_clips, write_table
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
        "data.held_out=0.45", "motion.scale=2", "motion.floor=0.1", "model.family=compact", "model.width=16",
        "model.text_width=16", "validation.every=2", "validation.images=2", "validation.steps=2", *changes,
    ])  # fmt: skip


def trained(config, run, callbacks=()):
    run_training(config, open_data(config), run, callbacks)
    return read_jsonl(run / "held_out.jsonl")


# Which clips


ids = st.lists(st.text("abc", min_size=1, max_size=6), min_size=2, max_size=40, unique=True)


def files_of(captions):
    return {caption.video for caption in captions}


@given(ids, st.floats(0.001, 0.999), st.randoms())
def test_every_clip_is_on_one_side_whatever_the_tables_order(names, share, random):
    """Some files have a second row, some ids a file of another ending, which is then the second of its id."""
    rows = [(name, ending) for name in names for ending in (".mp4", ".mov")[: 1 + (len(name) > 4)]]
    rows += rows[::3]
    random.shuffle(rows)
    captions = list(numbered(rows))
    training, held_out = (part_of(captions, share, part) for part in ("training", "held-out"))
    assert sorted(training + held_out, key=captions.index) == captions
    assert training
    assert held_out
    assert not files_of(held_out) & files_of(training)
    assert files_of(part_of(list(numbered(sorted(rows))), share, "held-out")) == files_of(held_out)


def numbered(rows):
    """As the manifest numbers rows of one id."""
    seen = {}
    for name, ending in rows:
        seen[name] = count = seen.get(name, 0) + 1
        yield Caption(name if count == 1 else f"{name}#{count}", VideoFile(Path(f"{name}{ending}")), str(count))


def test_about_the_share_is_held_out():
    captions = [Caption(str(n), VideoFile(Path(f"{n}.mp4")), "") for n in range(10_000)]
    assert 0.09 < len(part_of(captions, 0.1, "held-out")) / 10_000 < 0.11


@given(ids, ids, st.floats(0.2, 0.8))
def test_a_clip_stays_on_its_side_when_others_come(names, others, share):
    few = [Caption(name, VideoFile(Path(name)), "") for name in names]
    many = [*few, *(Caption(name, VideoFile(Path(name)), "") for name in others if name not in names)]
    before, after = (files_of(part_of(captions, share, "held-out")) for captions in (few, many))
    if 1 < len(before) < len(few) - 1:  # else one was held out, or was not, since there must be one
        assert after & files_of(few) == before


@pytest.mark.parametrize("name", ["absolute", "link", "dotted"])
def test_one_file_by_two_names_is_on_one_side(tmp_path, name):
    write_clips(tmp_path / "sub", 12)
    other = {
        "absolute": lambda n: tmp_path / "sub" / f"{n}.mp4",
        "link": lambda n: Path(f"link{n}.mp4"),
        "dotted": lambda n: Path(f"sub/../sub/{n}.mp4"),
    }[name]
    for n in range(12):
        (tmp_path / f"link{n}.mp4").symlink_to(tmp_path / "sub" / f"{n}.mp4")
    names = [path for n in range(12) for path in (f"sub/{n}.mp4", other(n))]
    write_table(tmp_path / "metadata.csv", [str(path) for path in names])
    data = folder_data(tmp_path, cache=None, held_out=0.4)
    held_out, training = ({c.video.path.resolve() for c in data.clips(part)} for part in ("held-out", "training"))
    assert held_out
    assert not held_out & training


def test_without_a_share_all_are_trained_on():
    captions = [Caption("a", VideoFile(Path("a")), "")]
    assert part_of(captions, 0.0, "training") == captions
    assert part_of(captions, 0.0, "held-out") == []


def test_one_clip_cannot_be_on_both_sides():
    twice = [Caption("a", VideoFile(Path("a")), "jumps"), Caption("a#2", VideoFile(Path("a")), "runs")]
    with pytest.raises(ManifestError, match=r"data\.held_out is 0\.5, and there is but one clip"):
        part_of(twice, 0.5, "training")


def test_training_never_sees_them(folder):
    data = open_data(config_of(folder))
    assert (len(data.source), len(data.held_out)) == (CLIPS - HELD_OUT, HELD_OUT)
    seen = {example.text for step in range(20) for example in data.source.batch(step, 2)}
    kept = {data.held_out[n].text for n in data.held_out.numbers.values()}
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
    for name, number in clips.numbers.items():
        clip = clips[number]
        frames = torch.from_numpy(clip.frames)[None]
        latents = model.encode(frames)
        told = Condition(model.encode_image(frames[:, 0], 4), model.encode_text([clip.text]), torch.tensor([clip.fps]))
        for draw in range(4):
            rng = torch.Generator().manual_seed(stable_seed(item_seed(config.validation.seed, name), draw, 0))
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


@pytest.mark.parametrize("change", ["text_dropout=0.9", "image_noise=3", "loss.weighting=none", "seed=5"])
def test_whatever_the_training_does_the_same_is_measured(folder, tmp_path, change):
    """What a run drops, adds or weighs has no part in it."""
    usual = objective_of(config_of(folder), tmp_path / "usual")
    changed = objective_of(config_of(folder, change), tmp_path / "changed")
    for one, two in zip(usual, changed, strict=True):
        assert torch.equal(one, two)


def objective_of(config, run):
    """What the network is given for the held-out clips, in order: noisy latents, timesteps, image, text."""
    given = []

    class Watched(HeldOutLoss):
        def after_step(self, step, figures, trainer, records):
            predict = trainer.model.predict

            def watched(noisy, timestep, condition):
                given.extend([noisy, timestep, condition.image["latent"], condition.text["tokens"]])
                return predict(noisy, timestep, condition)

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(trainer.model, "predict", watched)
                super().after_step(step, figures, trainer, records)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("motionfocal.training.run.HeldOutLoss", Watched)
        trained(config, run)
    assert len(given) == 2 * HELD_OUT * 4 * 4, "two validations, four draws of each clip, four tensors"
    return given


def test_a_cache_gives_the_same(folder, tmp_path):
    cached = config_of(folder, f"data.cache={tmp_path / 'cache'}")
    prepare(cache_spec(cached, cached.data), partial(frozen_model, cached, cached.data))
    rows = [trained(config, tmp_path / name) for name, config in (("a", config_of(folder)), ("b", cached))]
    for one, two in zip(*rows, strict=True):
        assert one["diffusion"] == pytest.approx(
            two["diffusion"], rel=1e-3
        )  # heat, which training weighs by, is rounded
        assert one["moving_loss"] == pytest.approx(two["moving_loss"], rel=1e-2)


def test_a_damaged_entry_of_a_cache_is_left_out_and_told(folder, tmp_path):
    config = config_of(folder, f"data.cache={tmp_path / 'cache'}")
    prepare(cache_spec(config, config.data), partial(frozen_model, config, config.data))
    first = config.data.clips("held-out")[0].id
    key = next(row["keys"]["latents"] for row in read_jsonl(tmp_path / "cache" / "clips.jsonl") if row["id"] == first)
    (tmp_path / "cache" / "latents" / key[:2] / f"{key}.safetensors").write_bytes(b"junk")
    assert [row["clips"] for row in trained(config, tmp_path / "run")] == [1, 1]
    assert set(unread_in(tmp_path / "run")) == {first}


def test_a_resumed_run_records_each_step_once(folder, tmp_path):
    """It stops after the third step, and goes on from the second: the third row is of steps that are done again."""
    config = config_of(folder, "validation.every=1")
    whole = trained(config, tmp_path / "whole")
    with pytest.raises(Stop):
        trained(config, tmp_path / "broken", [StopAt(3)])
    assert len(read_jsonl(tmp_path / "broken" / "held_out.jsonl")) == 3
    assert trained(config, tmp_path / "broken") == whole
    assert [row["step"] for row in whole] == [1, 2, 3, 4]


def test_they_are_what_validation_samples(folder, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "motionfocal.training.validation.sample",
        lambda loaded, pictures, texts, *rest: asked.extend(texts) or np.zeros((len(texts), 4, 16, 16, 3), np.uint8),
    )
    config = config_of(folder, "validation.images=5", "validation.every=4")
    trained(config, tmp_path / "run")
    assert sorted(asked) == sorted(caption.text for caption in config.data.clips("held-out"))


def test_clips_of_a_shape_that_is_not_trained_on_are_left_out(folder, tmp_path):
    """The network has no place for the longer one. Where all are longer, training clips are what is sampled."""
    config = config_of(folder, "data.frames=[4, 8]")
    first, second = (caption.video.path for caption in config.data.clips("held-out"))
    write_clip(first, moving(1, 12), 8)
    assert [row["clips"] for row in trained(config, tmp_path / "one")] == [1, 1]
    write_clip(second, moving(2, 12), 8)
    assert trained(config, tmp_path / "none") == []
    assert len(list((tmp_path / "none" / "samples" / "step-000004").glob("*.mp4"))) == 2


def test_a_clip_that_breaks_is_left_out_and_told(folder, tmp_path, monkeypatch):
    """After it was looked at: what others are measured by does not change."""
    config = config_of(folder)
    first, second = (caption.video for caption in config.data.clips("held-out"))
    broken = set()

    def read(video, window):
        if video in broken:
            raise MediaError(f"{video}: broken")
        return read_window(video, window)

    monkeypatch.setattr("motionfocal.data.sources.read_window", read)
    whole = trained(config, tmp_path / "whole")[0]
    alone = []
    for video in (first, second):
        broken = {video}
        rows = trained(config, tmp_path / video.path.stem)
        assert [row["clips"] for row in rows] == [1, 1]
        assert unread_in(tmp_path / video.path.stem) == {video.path.stem: f"{video}: broken"}
        alone.append(rows[0]["diffusion"])
    assert np.mean(alone) == pytest.approx(whole["diffusion"])
    broken = {first, second}
    assert trained(config, tmp_path / "none") == []
    assert len(unread_in(tmp_path / "none")) == 2


def test_a_run_shorter_than_the_draws_is_measured(folder, tmp_path):
    """The strength of our weighting is a function of the training's step, which the draws have none of."""
    brief = config_of(folder, "steps=1", "optimizer.warmup_steps=0", "loss.weighting=motionfocal")
    assert len(trained(brief, tmp_path / "run")) == 1


def test_windows_of_one_clip_count_once(folder, tmp_path):
    config = config_of(folder, f"data.cache={tmp_path / 'cache'}", "data.windows_per_clip=3", "data.stride=[1,1]")
    prepare(cache_spec(config, config.data), partial(frozen_model, config, config.data))
    assert [row["clips"] for row in trained(config, tmp_path / "run")] == [HELD_OUT, HELD_OUT]


def test_processes_that_see_different_clips_are_refused(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("motionfocal.training.held_out.same_everywhere", lambda value: False)
    with pytest.raises(ManifestError, match="the processes see different held-out clips"):
        trained(config_of(folder), tmp_path / "run")


def test_a_held_out_clip_that_cannot_be_used_is_told_with_the_others(folder):
    config = config_of(folder)
    first, second = (caption.video.path for caption in config.data.clips("held-out"))
    first.write_bytes(b"no video")
    data = open_data(config)
    assert ([rejected.path for rejected in data.rejected], len(data.held_out)) == ([first], 1)
    second.write_bytes(b"nor this")
    data = open_data(config)
    assert data.held_out is None
    assert re.search("none of 2 held-out clips can be used.*; their loss is not measured", data.notes[-1])


def test_the_command_tells_the_last_loss_and_the_lowest(folder, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(dump_config(config_of(folder)))
    with console.capture() as said:
        train_command(str(path), tmp_path / "run", [])
    assert "loss of 2 held-out clips:" in said.get()
    steps = ((1, 0.1, 2.0), (2, None, 3.0), (4, 0.25, 3.0), (6, 0.5, 3.0))
    rows = [{"step": step, "clips": clips, "diffusion": loss} for step, loss, clips in steps]
    assert held_out_line(rows) == "loss of 3 held-out clips: 0.5000 after 6 steps; the lowest was 0.2500, after 4 steps"
    assert held_out_line(rows[:3]) == "loss of 3 held-out clips: 0.2500 after 4 steps; its lowest"


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
    assert re.fullmatch(r"a-\d-[0-9a-f]{8}", first.id), "a folder's slash cannot stand in a name"
    assert gallery.row(first.id).content == gallery.row(second.id).content


@pytest.mark.parametrize("table", ["prompts.csv", "metadata.csv"])
def test_somebodys_folder_is_left_as_it_is(folder, tmp_path, table):
    own = tmp_path / "own"
    own.mkdir()
    (own / table).write_text("image,prompt\ncat.png,it jumps\n")
    with pytest.raises(ConfigError, match=f"own: holds a {table} that 'motionfocal benchmark' did not write"):
        write_benchmark(config_of(folder).data, own)
    assert [path.name for path in own.iterdir()] == [table]


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
    assert re.search(r"clips[\s\S]*0\.mp4", said.output)


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


@given(st.lists(st.text(min_size=1, max_size=300), unique=True, max_size=8))
def test_every_id_gives_a_name_of_its_own(names):
    files = [_file_name(name) for name in names]
    assert len(set(files)) == len(names)
    items = [(file, BenchmarkItem(file, file, Path(), "")) for file in files]
    assert len(require_usable_ids(items)) == len(names)


def test_a_usable_id_is_kept():
    assert _file_name("dog4_a_dog_standing#2") == "dog4_a_dog_standing#2"


def test_a_world_brings_its_own(tmp_path):
    said = CliRunner().invoke(app, ["benchmark", "sprites", "--out", str(tmp_path / "bench")])
    assert "animate --world" in str(said.exception)
