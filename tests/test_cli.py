"""The command line as a person uses it: real files, real processes, errors that say what to do."""

import json
import os
from pathlib import Path
from typing import get_args, get_type_hints

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.main import get_command

from motionfocal.cli import app, compare_verbs, heatmap, train_verbs
from motionfocal.cli.console import progress_bar
from motionfocal.errors import ConfigError
from motionfocal.jsonl import read_jsonl
from motionfocal.metrics.sets import SETS
from motionfocal.models.convert import KINDS
from motionfocal.motion import heatmap_of, known_estimators
from motionfocal.motion.heatmap import CameraMode
from motionfocal.training.config import load_config
from motionfocal.training.run import open_data
from motionfocal.video import probe, read_clip, read_image, write_clip

from . import warm
from .clips import write_table, write_tar

WORLD = ["--set=data.world.size=16", "--set=data.world.frames=4"]
SMALL = ["--set=model.width=16", "--set=model.text_width=16", "--set=batch_size=2", "--set=optimizer.warmup_steps=1"]


def motionfocal(*arguments, fails=False):
    out = warm.run("-m", "motionfocal", *arguments)
    assert (out.returncode != 0) == fails, out.stdout + out.stderr
    assert "Traceback" not in out.stderr, out.stderr
    return out.stdout + out.stderr


def moving_square(path: Path, frames: int = 6):
    rng = np.random.default_rng(0)
    ground = rng.integers(90, 160, (48, 64, 3), dtype=np.uint8).repeat(2, 0).repeat(2, 1)
    clip = np.stack([ground] * frames)
    for t in range(frames):
        clip[t, 30:60, 20 + 5 * t : 50 + 5 * t] = ground[:30, :30][::-1]
    write_clip(path, clip, 8)


def test_heatmap_writes_overlays_and_goes_on_past_bad_clips(tmp_path):
    clips = tmp_path / "clips"
    moving_square(clips / "good.mp4")
    moving_square(clips / "other.mp4")
    (clips / "empty.mp4").write_bytes(b"")
    (clips / "text.mp4").write_text("this is no video")
    write_clip(clips / "single.mp4", np.zeros((1, 32, 32, 3), np.uint8), 8)
    whole = (clips / "good.mp4").read_bytes()
    (clips / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    said = motionfocal("heatmap", clips, "--out", tmp_path / "heat", fails=True)
    assert "4 clips failed" in said
    for name in ("empty.mp4", "text.mp4", "single.mp4", "cut.mp4"):
        assert name in said
    for name in ("good", "other"):
        assert read_clip(tmp_path / "heat" / f"{name}.mp4").frames.shape == (6, 96, 128, 3)
        assert read_image(tmp_path / "heat" / f"{name}.png").shape[2] == 3
    assert "moving share" in said
    said = motionfocal("heatmap", clips / "good.mp4", "--out", clips, fails=True)
    assert "its overlay would take its place; choose another --out" in " ".join(said.split())
    assert (clips / "good.mp4").read_bytes() == whole


def test_the_moving_share_is_that_of_the_moving_object(tmp_path):
    moving_square(tmp_path / "square.mp4")
    said = motionfocal("heatmap", tmp_path / "square.mp4", "--out", tmp_path / "heat")
    share = float(next(line for line in said.splitlines() if "square.mp4" in line).split("%")[0].split()[-1])
    assert 5 < share < 30  # the square covers 7 %, and a heatmap lights where it comes from and goes to


def test_a_clip_too_long_for_memory_is_refused_with_a_way_out(tmp_path, monkeypatch):
    moving_square(tmp_path / "long.mp4", frames=12)
    clips = heatmap.clips_at([tmp_path / "long.mp4"])
    monkeypatch.setattr(heatmap, "MOST_PIXELS", 128 * 96 * 8)
    with pytest.raises(SystemExit):
        heatmap.run(clips, tmp_path / "none", heatmap.look_of({}, None, 1))
    assert not list(tmp_path.glob("none/*"))
    heatmap.run(clips, tmp_path / "few", heatmap.look_of({}, 8, 1))
    heatmap.run(clips, tmp_path / "wide", heatmap.look_of({}, None, 2))
    assert len(list(tmp_path.glob("*/long.mp4"))) == 2


@pytest.mark.parametrize("by", ["clips", "config"])
@pytest.mark.parametrize("stride", ["2", "[2, 3]"])
def test_a_heatmap_by_a_config_is_that_of_its_training(tmp_path, monkeypatch, stride, by):
    """The frames that an example has, and the weight that its pixels get."""
    moving_square(tmp_path / "clips" / "square.mp4", frames=8)
    (tmp_path / "clips" / "metadata.csv").write_text("file_name,text\nsquare.mp4,it moves\n")
    (tmp_path / "my.yaml").write_text(
        f"data: {{kind: folder, videos: {tmp_path / 'clips'}, frames: 4, stride: {stride}, height: 48, width: 40}}\n"
        "motion: {scale: 4.0, midpoint: 0.5, reach: clip}\n"
    )
    looked = []
    monkeypatch.setattr(heatmap, "overlay", lambda frames, heat: (looked.append((frames, heat)), frames)[1])
    config = str(tmp_path / "my.yaml")
    clips = heatmap.clips_at([tmp_path / "clips"]) if by == "clips" else heatmap.clips_of(config)
    heatmap.run(clips, tmp_path / "heat", heatmap.look_by(config))
    ((frames, heat),) = looked
    config = load_config(tmp_path / "my.yaml")
    source = open_data(config).source
    assert any(np.array_equal(frames, source.batch(step, 1)[0].frames) for step in range(40))
    assert frames.shape == (4, 48, 40, 3)
    assert np.array_equal(heat, heatmap_of(frames, config.motion))


def config_of(folder: Path, **data) -> str:
    """A config that trains on clips."""
    values = {"kind": "folder", "frames": 4, "height": 48, "width": 64} | data
    (folder / "my.yaml").write_text(json.dumps({"data": values}))
    return str(folder / "my.yaml")


def overlays(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_the_clips_of_a_config_are_those_that_its_table_names_each_once(tmp_path):
    for name in ("a/dog.mp4", "b/dog.mp4", "b/unnamed.mp4"):
        moving_square(tmp_path / "clips" / name)
    (tmp_path / "clips" / "b" / "bad.mp4").write_text("this is no video")
    names = ["a/dog.mp4", "b/bad.mp4", "b/dog.mp4", "a/dog.mp4"]
    table = write_table(tmp_path / "texts.csv", names)
    config = config_of(tmp_path, videos=str(tmp_path / "clips"), captions=str(table))
    said = motionfocal("heatmap", "--config", config, "--out", tmp_path / "heat", fails=True)
    assert "1 clips failed" in said
    assert f"{tmp_path / 'clips' / 'b' / 'bad.mp4'}: " in said
    assert said.count("a/dog.mp4 ") == said.count("b/dog.mp4 ") == 1
    assert overlays(tmp_path / "heat") == {"a/dog.mp4", "a/dog.png", "b/dog.mp4", "b/dog.png"}
    assert read_clip(tmp_path / "heat" / "a" / "dog.mp4").frames.shape == (4, 48, 64, 3)


def test_a_clip_in_a_shard_has_the_heatmap_of_the_file(tmp_path, capsys):
    moving_square(tmp_path / "dog.mp4", frames=9)
    content = (tmp_path / "dog.mp4").read_bytes()
    text = {"dog.txt": b"it moves", "bad.txt": b"nothing"}
    for n in range(2):
        write_tar(tmp_path / f"set-{n}.tar", {"bad.mp4": b"no video", "dog.mp4": content, **text})
    config = config_of(tmp_path, videos=str(tmp_path / "set-{0..1}.tar"), stride=[1, 2])
    look = heatmap.look_by(config)
    with pytest.raises(SystemExit):
        heatmap.run(heatmap.clips_of(config), tmp_path / "heat", look)
    said = capsys.readouterr().out
    assert "2 clips failed" in said
    assert f"{tmp_path / 'set-0.tar'}: bad.mp4: " in said
    heatmap.run(heatmap.clips_at([tmp_path / "dog.mp4"]), tmp_path / "file", look)
    assert overlays(tmp_path / "heat") == {f"set-{n}/dog.{ending}" for n in range(2) for ending in ("mp4", "png")}
    for path in (tmp_path / "file").iterdir():
        assert path.read_bytes() == (tmp_path / "heat" / "set-1" / path.name).read_bytes()


def test_no_id_of_a_table_leads_out_of_the_folder_of_the_overlays(tmp_path):
    moving_square(tmp_path / "clips" / "x.mp4")
    moving_square(tmp_path / "else" / "y.mp4")
    content = (tmp_path / "else" / "y.mp4").read_bytes()
    write_table(tmp_path / "clips" / "metadata.csv", ["x.mp4", "../else/y.mp4", str(tmp_path / "else" / "y.mp4")])
    config = config_of(tmp_path, videos=str(tmp_path / "clips"))
    heatmap.run(heatmap.clips_of(config), tmp_path / "heat", heatmap.look_by(config))
    names = ("x", "%../else/y", f"%{tmp_path}/else/y")
    assert overlays(tmp_path / "heat") == {f"{name}.{ending}" for name in names for ending in ("mp4", "png")}
    assert (tmp_path / "else" / "y.mp4").read_bytes() == content


def test_no_key_of_a_shard_leads_out_of_the_folder_of_the_overlays(tmp_path, capsys):
    moving_square(tmp_path / "x.mp4")
    keys = ("../../up", "a[/b]", "nul\0é", "n" * 300)
    clips = {f"{key}.mp4": (tmp_path / "x.mp4").read_bytes() for key in keys}
    write_tar(tmp_path / "set.tar", clips | {f"{key}.txt": b"it moves" for key in keys})
    config = config_of(tmp_path, videos=str(tmp_path / "set.tar"))
    with pytest.raises(SystemExit):
        heatmap.run(heatmap.clips_of(config), tmp_path / "tar", heatmap.look_by(config))
    assert "1 clips failed" in capsys.readouterr().out
    names = ("%../%../up", "a[/b]", "nul%00é")
    assert overlays(tmp_path / "tar") == {f"set/{name}.{ending}" for name in names for ending in ("mp4", "png")}


@given(st.sets(st.text("a%./\0"), min_size=2, max_size=2))
def test_two_ids_never_share_a_place(ids):
    places = {os.path.normpath(f"/out/{heatmap._place_of(clip_id)}.mp4") for clip_id in ids}
    assert len(places) == 2
    assert all(place.startswith("/out/") and "\0" not in place for place in places)


@pytest.mark.parametrize("by", ["clips", "config"])
@pytest.mark.parametrize(("limit", "looked"), [(1, "0"), (3, "025"), (9, "01234567")])
def test_a_limit_spreads_evenly(tmp_path, monkeypatch, by, limit, looked):
    names = [f"{n}.mp4" for n in range(8)]
    for name in names:
        (tmp_path / name).write_bytes(b"looked at by nobody")
    write_table(tmp_path / "metadata.csv", names)
    seen = []
    monkeypatch.setattr(heatmap, "_one", lambda clip, out, look: (seen.append(clip.name), ([], []))[1])
    config = config_of(tmp_path, videos=str(tmp_path))
    clips = heatmap.clips_at([tmp_path]) if by == "clips" else heatmap.clips_of(config)
    heatmap.run(clips, tmp_path / "heat", heatmap.look_of({}, None, 1), limit)
    assert "".join(seen) == looked


@pytest.mark.parametrize("scale", ["foo", "0", "-3", "nan"])
def test_an_odd_scale_is_told_what_a_scale_may_be(scale):
    with pytest.raises(ConfigError, match=f"--scale: {scale}: .* or a number of pixels above 0"):
        heatmap.look_of({"scale": scale}, None, 1)
    assert heatmap.look_of({"scale": "2.5"}, None, 1).motion.scale == 2.5


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["heatmap", "nowhere.mp4"], "nowhere.mp4"),
        (["heatmap", "x.mp4", "--estimator", "raft_huge"], "raft_huge"),
        (["heatmap", "x.mp4", "--scale", "big"], "--scale"),
        (["heatmap", "a/x.mp4", "b/x.webm"], "the same name"),
        (["heatmap", "x.mp4", "--config", "clips", "--floor", "0.5", "--stride", "1"], "--floor, --stride: the config"),
        (["heatmap", "x.mp4", "--config", "sprites"], "not on clips"),
        (["heatmap", "--config", "sprites"], "not on clips"),
        (["heatmap", "--config", "clips"], "clips: no such folder of clips"),
        (["heatmap", "--out", "heat"], "CLIPS are needed, or --config"),
        (["heatmap", "x.mp4", "--limit", "0"], "--limit"),
        (["train", "nonsense", "--out", "run"], "recipes: clips, cogvideox-5b-i2v"),
        (["train", "sprites", "--out", "run", "--set", "loss.strenght=2"], "loss.strenght"),
        (["animate", "nowhere.png", "text", "--model", "nowhere"], "no model here"),
        (["animate", "--world", "--model", "nowhere"], "not a run folder"),
        (["animate"], "IMAGE and TEXT"),
        (["animate", "x.png", "it moves"], "--model is needed"),
        (["animate", "--world"], "--model is needed"),
        (["animate", "x.png", "it moves", "--images", "3"], "they need --world"),
        (["heatmap", "x.mp4", "--camera", "fixed"], "compensated"),
        (["train", "sprites"], "--out is needed"),
        (["judge", "a", "b"], "origin.json"),
        (["report", "nowhere"], "no comparison here"),
    ],
)
def test_errors_say_what_was_wrong(arguments, named, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert named in motionfocal(*arguments, fails=True)


def test_the_choices_of_help_are_those_that_there_are():
    """Help is written down without loading what it speaks of."""
    kind, metric_set = (
        get_args(get_args(get_type_hints(verb, include_extras=True)[name])[0])
        for verb, name in ((train_verbs.convert, "kind"), (compare_verbs.metrics, "metric_set"))
    )
    assert set(kind) == set(KINDS)
    assert metric_set == SETS
    shown = {
        param.name: param.metavar for name in ("heatmap", "metrics") for param in get_command(app).commands[name].params
    }
    assert shown["metric_set"].split("|") == list(SETS)
    assert shown["camera"].split("|") == list(get_args(CameraMode))
    assert set(shown["estimator"].split("|")) <= set(known_estimators())


def test_what_two_verbs_take_is_explained_alike():
    one, other = ({p.name: p.help for p in get_command(app).commands[verb].params} for verb in ("animate", "generate"))
    for name in ("steps", "guidance"):
        assert one[name] == other[name]


def test_show_prints_the_resolved_config_and_needs_no_folder():
    said = motionfocal("train", "sprites", "--show", "--set", "loss.strength=2.5")
    assert "strength: 2.5" in said


@pytest.mark.slow
def test_the_readmes_way_from_training_to_a_page(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    validation = ["--set=validation.images=2", "--set=validation.texts=1", "--set=validation.steps=2"]
    for name, weighting in (("motif", "paper"), ("plain", "none")):
        arguments = [*WORLD, *SMALL, *validation, "--set=steps=3", f"--set=name={name}"]
        motionfocal("train", "sprites", "--out", f"runs/{name}", *arguments, f"--set=loss.weighting={weighting}")
        motionfocal("animate", "--world", "--model", f"runs/{name}", "--images", 2, "--texts", 2, "--steps", 2)
    said = motionfocal("judge", "runs/motif/gallery", "runs/plain/gallery", "--out", "runs/comparison")
    assert "TI2V score" in said
    assert "text followed" in said
    assert "4 pairs" in said
    again = motionfocal("judge", "runs/motif/gallery", "runs/plain/gallery", "--out", "runs/comparison")
    assert "TI2V score" in again
    assert len(read_jsonl(Path("runs/comparison/judgements.jsonl"))) == 4
    summary = json.loads(Path("runs/comparison/summary.json").read_text())
    assert set(summary["followed"]) == {"motif", "plain"}
    motionfocal("report", "runs/comparison")
    page = Path("runs/comparison/report.html").read_text()
    assert "TI2V" in page
    assert page.count("scene0000_") >= 2


@pytest.mark.slow
def test_real_clips_train_a_model_that_animates_a_real_image(ti2v_bench, tmp_path):
    said = motionfocal(
        "train", "clips", "--out", tmp_path / "run", "--set", f"data.videos={ti2v_bench / 'videos' / 'motif'}",
        "--set", f"data.captions={ti2v_bench / 'prompt.csv'}", "--set=steps=3", "--set=validation.steps=2",
        "--set=optimizer.warmup_steps=1", "--set=model.width=16",
    )  # fmt: skip
    assert "model in" in said
    clip = tmp_path / "car.mp4"
    image = ti2v_bench / "images" / "aerial_car1.png"
    motionfocal("animate", image, "a car moving forward", "--model", tmp_path / "run", "--out", clip, "--steps", 2)
    info = probe(clip)
    assert (info.width, info.height, info.frames) == (256, 256, 16)


def test_real_clips_have_heatmaps(ti2v_bench, tmp_path):
    clips = sorted((ti2v_bench / "videos" / "motif").glob("*.mp4"))[:3]
    said = motionfocal("heatmap", *clips, "--out", tmp_path)
    assert all(clip.name[:20] in said for clip in clips)
    assert len(list(tmp_path.glob("*.png"))) == 3


@pytest.mark.slow
@pytest.mark.long
def test_a_small_demo_runs_and_goes_on(tmp_path):
    arguments = ["demo", "--out", tmp_path, "--steps", 2, "--images", 1, "--texts", 2, "--no-open"]
    said = motionfocal(*arguments)
    assert "follows" in said
    assert (tmp_path / "comparison" / "report.html").is_file()
    before = (tmp_path / "motif" / "metrics.jsonl").read_text()
    motionfocal(*arguments)
    assert (tmp_path / "motif" / "metrics.jsonl").read_text() == before


def test_time_left_is_told_of_slow_steps():
    progress, clock = progress_bar(), iter(range(0, 1000, 60))
    progress.get_time = lambda: next(clock)
    task = progress.add_task("animating", total=10, note="")
    for _ in range(3):
        progress.advance(task)
    assert progress.tasks[task].time_remaining == 7 * 60
