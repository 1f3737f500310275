"""A contest from two galleries on disk to figures and a page: nothing here trains a model."""

import json
import shlex
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from typer.main import get_command
from typer.testing import CliRunner

from motionfocal.cli import app
from motionfocal.errors import GalleryError, MediaError
from motionfocal.generation.gallery import INDEX, Gallery, GalleryRow
from motionfocal.generation.origin import Origin, load_origin, save_origin
from motionfocal.generation.sampler import SamplingSettings
from motionfocal.jsonl import read_jsonl, rewrite_jsonl
from motionfocal.report.collect import Entrant, report_of
from motionfocal.report.page import write_report
from motionfocal.study.contest import (
    Contestants,
    hold_contest,
    load_contestants,
    save_contestants,
)
from motionfocal.training.config import TrainingConfig, dump_config
from motionfocal.video import write_clip
from motionfocal.worlds import SpritesWorld
from motionfocal.worlds.benchmark import SpritesBenchmark

BENCHMARK = SpritesBenchmark(images=4, texts=3)


def gallery_of(folder, model, frames_of):
    """A gallery with a clip for every item, as ``frames_of(world, item)`` draws it."""
    world = SpritesWorld(BENCHMARK.world)
    rows = []
    for item in BENCHMARK.items():
        write_clip(folder / f"{item.id}.mp4", frames_of(world, item), 8, upscale=8)
        image = item.id.split("_")[0]
        rows.append(
            GalleryRow(item.id, image, item.text, f"{item.id}.mp4", model, (32, 32), 8, 8.0, 50, 0, f"made by {model}")
        )
    rewrite_jsonl(folder / INDEX, map(asdict, rows))
    save_origin(folder, Origin(benchmark=BENCHMARK, sampling=SamplingSettings(), run=None))
    return Gallery.open(folder)


def truth(world, item):
    return world.render(item.scene, item.action)


def frozen(world, item):
    return world.first_frame(item.scene)[None].repeat(8, axis=0)


@pytest.fixture
def galleries(tmp_path):
    return gallery_of(tmp_path / "good" / "gallery", "good", truth), gallery_of(
        tmp_path / "ice" / "gallery", "ice", frozen
    )


def test_the_truth_beats_a_frozen_clip_in_every_pair(galleries, tmp_path):
    told = []
    contest = hold_contest(*galleries, BENCHMARK, tmp_path / "out", lambda done, total: told.append((done, total)))
    assert told[-1] == (12, 12)
    assert contest.table.item_score.estimate == 1
    assert contest.table.reasons["text alignment"] == (1.0, 0.0)
    assert (contest.followed["good"].estimate, contest.followed["ice"].estimate) == (1, 0)
    assert contest.difference.estimate == 1
    assert contest.p_value == 2 * 0.5**4  # four images, three items each
    turned = hold_contest(galleries[1], galleries[0], BENCHMARK, tmp_path / "turned")
    assert turned.table.item_score.estimate == 0
    assert turned.difference.estimate == -1


def test_figures_are_written_and_judgements_kept(galleries, tmp_path):
    first = hold_contest(*galleries, BENCHMARK, tmp_path / "out")
    again = hold_contest(*galleries, BENCHMARK, tmp_path / "out")
    assert again.table == first.table
    assert len(read_jsonl(tmp_path / "out" / "judgements.jsonl")) == 12
    assert len(read_jsonl(tmp_path / "out" / "measurements.jsonl")) == 24
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["followed"]["good"]["estimate"] == 1
    assert summary["table"]["items"] == 12


def test_an_unreadable_clip_costs_its_item_alone(galleries, tmp_path):
    lost = galleries[1].rows()[2].id
    galleries[1].path(lost).write_bytes(b"broken")
    contest = hold_contest(*galleries, BENCHMARK, tmp_path / "out")
    assert contest.table.items == 11
    assert [failure.comparison.item for failure in contest.failures] == [lost]
    for row in galleries[1].rows():
        galleries[1].path(row.id).write_bytes(b"broken")
    with pytest.raises(GalleryError, match="no pair could be judged"):
        hold_contest(*galleries, BENCHMARK, tmp_path / "none")


def test_the_verbs_fail_where_a_pair_did(galleries, tmp_path):
    ours, theirs = (str(gallery.folder) for gallery in galleries)
    galleries[0].path(BENCHMARK.items()[4].id).write_bytes(b"")
    for arguments in (["judge", ours, theirs, "--out", str(tmp_path / "c")], ["report", str(tmp_path / "c")]):
        ended = CliRunner().invoke(app, arguments)
        assert ended.exit_code == 1
        assert "1 pairs failed" in ended.output
    assert (tmp_path / "c" / "report.html").is_file()


def test_a_clip_that_was_judged_and_broke_since_is_an_error(galleries, tmp_path):
    hold_contest(*galleries, BENCHMARK, tmp_path / "out")
    galleries[0].path(galleries[0].rows()[0].id).write_bytes(b"broken")
    with pytest.raises(MediaError):
        hold_contest(*galleries, BENCHMARK, tmp_path / "out")


def test_contestants_move_with_their_folders(galleries, tmp_path):
    (tmp_path / "out").mkdir()
    save_contestants(tmp_path / "out", Contestants(ours=galleries[0].folder, theirs=galleries[1].folder))
    assert not json.loads((tmp_path / "out" / "contestants.json").read_text())["ours"].startswith("/")
    found = load_contestants(tmp_path / "out")
    assert found.ours.resolve() == galleries[0].folder.resolve()
    with pytest.raises(GalleryError, match="no comparison here"):
        load_contestants(tmp_path)


def test_the_page_of_a_contest_without_runs(galleries, tmp_path):
    contest = hold_contest(*galleries, BENCHMARK, tmp_path / "out")
    entrants = [Entrant(gallery, load_origin(gallery.folder)) for gallery in galleries]
    report = report_of(contest, *entrants, tmp_path / "out")
    assert report.models == ("good", "ice")
    assert len(report.items) == 12
    assert not report.curves
    assert not report.items[0].panels
    assert sum(row.items for row in report.motions) == 12
    assert all(item.clips[0].followed and not item.clips[1].followed for item in report.items)
    assert "100.0 %" in report.summary[0]
    page = write_report(report, tmp_path / "report.html").read_text()
    assert "good" in page


def test_the_page_of_a_contest_with_runs_shows_heatmaps_curves_and_settings(galleries, tmp_path):
    for name in ("good", "ice"):
        run = tmp_path / name
        (run / "config.yaml").write_text(dump_config(TrainingConfig(name=name)))
        rewrite_jsonl(
            run / "metrics.jsonl",
            [{"step": 1, "loss": 1.0, "diffusion": 0.5, "moving_loss": float("nan"), "loss_ratio": 1.2}],
        )
        rewrite_jsonl(run / "validation.jsonl", [{"step": 1, "followed": 0.5, "items": 32}])
        save_origin(run / "gallery", Origin(benchmark=BENCHMARK, sampling=SamplingSettings(), run="../"))
    contest = hold_contest(*galleries, BENCHMARK, tmp_path / "out")
    entrants = [Entrant(gallery, load_origin(gallery.folder)) for gallery in galleries]
    report = report_of(contest, *entrants, tmp_path / "out")
    assert [curve.model for curve in report.curves] == ["good", "ice"]
    assert report.curves[0].validation[0].followed.estimate == 0.5
    assert set(report.settings) == {"good", "ice"}
    assert all(item.panels[0].video.is_file() for item in report.items)
    assert any("motionfocal judge" in line for line in report.commands)


def test_a_heatmap_of_other_settings_or_of_another_world_is_made_anew(galleries, tmp_path):
    def shown(**changes):
        dumped = dump_config(TrainingConfig(name="good", **changes))
        (tmp_path / "good" / "config.yaml").write_text(dumped)
        entrants = [Entrant(g, Origin(benchmark=BENCHMARK, sampling=SamplingSettings(), run="../")) for g in galleries]
        return report_of(contest, *entrants, tmp_path / "out").items[0].panels[0].video

    contest = hold_contest(*galleries, BENCHMARK, tmp_path / "out")
    before = shown()
    stamp = before.stat().st_mtime_ns
    other = shown(motion={"scale": 9.0})
    assert other.read_bytes() != before.read_bytes()
    assert shown() == before
    assert before.stat().st_mtime_ns == stamp, "what is there is kept"


def test_the_commands_repeat_how_the_clips_were_sampled(galleries, tmp_path):
    said = {
        "steps": 7, "guidance_scale": 2.0, "guidance_rescale": 0.7, "eta": 0.5, "motion_score": 0.123456789,
    }  # fmt: skip
    ours = Origin(benchmark=BENCHMARK, sampling=SamplingSettings(**said), seed=3, run=None)
    theirs = Origin(benchmark=BENCHMARK, sampling=SamplingSettings(), run=None)
    galleries = [gallery_of(tmp_path / "quoted", "it's ours", truth), galleries[1]]
    contest = hold_contest(*galleries, BENCHMARK, tmp_path / "out it's")
    entrants = (Entrant(galleries[0], ours), Entrant(galleries[1], theirs))
    commands = [shlex.split(line) for line in report_of(contest, *entrants, tmp_path / "out it's").commands]
    animate = next(command for command in commands if command[1] == "animate")
    parsed = get_command(app).commands["animate"].make_context("animate", animate[2:])
    names = {"guidance_scale": "guidance"}
    assert {key: parsed.params[names.get(key, key)] for key in SamplingSettings.model_fields} == said
    assert (parsed.params["seed"], parsed.params["images"], parsed.params["texts"]) == (3, 4, 3)
    assert parsed.params["model"] == Path("it's ours")
    assert commands[4][2:] == ["it's ours/gallery", "ice/gallery", "--out", "out it's"]
    assert "--steps" not in commands[3], "what is the default is not said"
    assert commands[3][commands[3].index("--guidance") + 1] == "7.5", "whose default is the model's"


def test_an_origin_that_is_damaged_is_named(tmp_path):
    (tmp_path / "origin.json").write_text('{"run": null, "sampling": {"steps": 0}}')
    with pytest.raises(GalleryError, match=r"origin\.json: benchmark: .*; run 'motionfocal animate --world'"):
        load_origin(tmp_path)


def test_an_origin_is_whole_or_the_one_before(tmp_path, monkeypatch):
    def full(path, text, **how):
        path.write_bytes(text.encode()[:9])
        raise OSError("No space left on device")

    before = Origin(benchmark=BENCHMARK, sampling=SamplingSettings(), run=None)
    save_origin(tmp_path, before)
    with monkeypatch.context() as disk:
        disk.setattr(Path, "write_text", full)
        with pytest.raises(MediaError, match="No space left"):
            save_origin(tmp_path, before.model_copy(update={"seed": 1}))
    assert load_origin(tmp_path) == before


def test_benchmarks_are_their_settings():
    again = SpritesBenchmark(images=4, texts=3)
    assert [item.id for item in again.items()] == [item.id for item in BENCHMARK.items()]
    other = SpritesBenchmark(images=4, texts=3, seed=1)
    assert (other.items()[0].scene.ground != BENCHMARK.items()[0].scene.ground).any()
    assert np.unique([item.text for item in BENCHMARK.items()[:3]]).size == 3
