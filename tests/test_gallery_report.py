"""The page of galleries as files: all it needs is in its folder, under opaque names, whole or not at all."""

import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from motionfocal.benchmarks import Benchmark, load_benchmark
from motionfocal.cli.app import app
from motionfocal.errors import DamagedFileError, GalleryError, ManifestError, MotionFocalError
from motionfocal.generation.asked import remember_benchmark
from motionfocal.generation.gallery import Gallery
from motionfocal.report.gallery_page import questions_of, write_gallery_page
from motionfocal.report.media import MediaFolder
from motionfocal.report.results import read_results
from motionfocal.video import probe, read_clip, read_image, write_clip

from .films import film
from .page_galleries import gallery, moving, some_benchmark, write_results

NASTY = "</script><script>alert('x')</script> \"quoted\" & <b> é 猫 \u2028"


@pytest.fixture
def benchmark(tmp_path) -> Benchmark:
    return some_benchmark(tmp_path / "bench", 4)


@pytest.fixture
def galleries(tmp_path, benchmark) -> list[Gallery]:
    """Two models; the second has no clip of the last item."""
    for k in range(4):
        write_clip(tmp_path / "clips" / f"{k}.mp4", moving(k, frames=6, side=64), 8)
    clips = {item: tmp_path / "clips" / f"{k}.mp4" for k, item in enumerate(benchmark.items)}
    last = benchmark.items[-1]
    return [
        gallery(tmp_path / "one", "secretly-ours", clips),
        gallery(tmp_path / "two", "theirs", {item: clip for item, clip in clips.items() if item != last}),
    ]


def data_of(folder: Path) -> dict:
    """What the page's script gets to see."""
    (name,) = re.findall(
        r'<script src="(assets/\w+\.js)" defer></script>\n<script', (folder / "index.html").read_text()
    )
    text = (folder / name).read_text()
    return json.loads(text.removeprefix('"use strict";window.GALLERY=').removesuffix(";\n"))


def files_of(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_the_folder_has_all_that_the_page_names(galleries, benchmark, tmp_path):
    written = write_gallery_page(galleries, tmp_path / "page", benchmark=benchmark)
    assert written == type(written)(tmp_path / "page" / "index.html", ())
    data = data_of(tmp_path / "page")
    assert [model["name"] for model in data["models"]] == ["secretly-ours", "theirs"]
    assert [item["text"] for item in data["items"]] == [item.text for item in benchmark.items]
    assert data["items"][0]["tags"] == ["several objects"]
    assert data["items"][2]["scenario"] == "dog"
    for model, source in zip(data["clips"], galleries, strict=True):
        for item, clip in zip(data["items"], data["clips"][model], strict=True):
            if clip is None:
                assert (model, item["id"]) == ("theirs", "item003")
                continue
            video = tmp_path / "page" / "media" / clip["video"]
            assert video.read_bytes() == source.path(item["id"]).read_bytes()
            assert (clip["width"], clip["frames"], clip["fps"], clip["heat"]) == (64, 6, 8.0, "")
            assert max(read_image(video.with_name(clip["poster"])).shape) == 64
    for item in data["items"]:
        assert (tmp_path / "page" / "media" / item["picture"]).is_file()


def test_names_are_opaque_and_the_folder_can_be_moved(galleries, benchmark, tmp_path):
    write_gallery_page(galleries, tmp_path / "page", benchmark=benchmark)
    for path in (tmp_path / "page").rglob("*"):
        assert not re.search(r"ours|theirs|item\d", path.name)
        if path.suffix in {".js", ".html", ".css"}:
            assert str(tmp_path) not in path.read_text()
            assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|@import|url\(", path.read_text())


def test_the_same_galleries_give_the_same_page_and_work_is_not_done_twice(galleries, benchmark, tmp_path):
    page = tmp_path / "page"
    write_gallery_page(galleries, page, benchmark=benchmark, heatmaps=True)
    before, text = files_of(page), (page / "index.html").read_text()
    write_gallery_page(galleries, page, benchmark=benchmark, heatmaps=True)
    after = files_of(page)
    assert {k: v for k, v in before.items() if "media" in k} == {k: v for k, v in after.items() if "media" in k}
    assert set(before) == set(after)
    assert (page / "index.html").read_text() == text
    write_gallery_page(galleries[:1], page)
    assert len(list((page / "assets").iterdir())) == 3, "what an older page needed is gone"
    assert data_of(page)["clips"]["secretly-ours"][0]["heat"], "heatmaps that are there are shown"


def test_heatmaps_are_overlays_of_the_same_frames(galleries, tmp_path):
    write_gallery_page(galleries[:1], tmp_path / "page", heatmaps=True)
    clip = data_of(tmp_path / "page")["clips"]["secretly-ours"][1]
    media = tmp_path / "page" / "media"
    plain, heated = read_clip(media / clip["video"]), read_clip(media / clip["heat"])
    assert heated.frames.shape == plain.frames.shape
    assert heated.fps == plain.fps
    assert abs(heated.frames.astype(int) - plain.frames).max() > 60, "something moves, and is lit"


def test_without_a_benchmark_items_come_from_the_galleries(galleries, tmp_path):
    write_gallery_page(galleries[1:], tmp_path / "page")
    data = data_of(tmp_path / "page")
    assert [item["id"] for item in data["items"]] == ["item000", "item001", "item002"]
    assert not any("picture" in item or item["scenario"] for item in data["items"])


def test_what_cannot_be_shown_is_told_and_the_rest_goes_on(benchmark, tmp_path):
    write_clip(tmp_path / "good.mp4", moving(0, frames=6), 8)
    whole = (tmp_path / "good.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.mp4").write_text("no video")
    names = ("good.mp4", "cut.mp4", "text.mp4", "lost.mp4")
    clips = {item: tmp_path / name for item, name in zip(benchmark.items, names, strict=True)}
    benchmark.items[3].file.unlink()
    written = write_gallery_page([gallery(tmp_path / "g", "m", clips)], tmp_path / "page", benchmark=benchmark)
    data = data_of(tmp_path / "page")
    assert [clip.get("why") for clip in data["clips"]["m"]] == [
        None, "the file cannot be read", "the file cannot be read", "the file is missing",
    ]  # fmt: skip
    told = "\n".join(written.failures)
    assert all(name in told for name in (*names[1:], benchmark.items[3].file.name))
    assert str(tmp_path) not in json.dumps(data)


def test_a_film_that_browsers_do_not_play_is_encoded_anew(tmp_path):
    source = film(tmp_path / "old.avi", 12, codec="mpeg4", rate=12)
    shown = MediaFolder(tmp_path / "media").clip(source)
    info = probe(tmp_path / "media" / shown.video)
    assert shown.video.endswith(".mp4")
    assert (info.codec, info.frames, info.fps) == ("h264", 12, 12.0)


def test_clips_are_copied_where_links_are_not_possible(galleries, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError("another disk")

    monkeypatch.setattr(os, "link", refuse)
    write_gallery_page(galleries, tmp_path / "page")
    clip = data_of(tmp_path / "page")["clips"]["theirs"][0]
    assert (tmp_path / "page" / "media" / clip["video"]).read_bytes() == galleries[1].path("item000").read_bytes()


def test_a_killed_run_leaves_the_page_that_was_there(galleries, tmp_path):
    page = tmp_path / "page"
    write_gallery_page(galleries[:1], page)
    before, data = (page / "index.html").read_bytes(), data_of(page)

    def killed():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_gallery_page(galleries, page, advance=killed)
    assert (page / "index.html").read_bytes() == before
    assert data_of(page) == data
    assert not list(page.rglob("*.part"))


def test_texts_and_names_cannot_break_out(galleries, benchmark, tmp_path):
    items = tuple(replace(item, text=NASTY, scenario=NASTY, tags=frozenset({NASTY})) for item in benchmark.items)
    nasty = gallery(tmp_path / "nasty", NASTY, {item: galleries[0].path(item.id) for item in items})
    write_gallery_page([nasty], tmp_path / "page", benchmark=Benchmark(NASTY, items), title=NASTY)
    html = (tmp_path / "page" / "index.html").read_text()
    assert html.count("<script") == 2
    assert "<b>" not in html
    data = data_of(tmp_path / "page")
    assert data["items"][0]["text"] == data["models"][0]["name"] == data["title"] == NASTY
    for script in (tmp_path / "page" / "assets").glob("*.js"):
        assert "</script" not in script.read_text()
        assert not re.search(r"innerHTML|insertAdjacentHTML|document\.write|\beval\b", script.read_text())


def test_galleries_of_different_questions_are_refused(galleries, benchmark, tmp_path):
    clip = galleries[0].path("item000")
    with pytest.raises(GalleryError, match="two galleries are of the model theirs"):
        questions_of([galleries[1], galleries[1]], None)
    other = gallery(tmp_path / "other", "other", {replace(benchmark.items[0], text="something else"): clip})
    with pytest.raises(GalleryError, match="something else"):
        questions_of([*galleries, other], None)
    with pytest.raises(GalleryError, match="something else"):
        questions_of([other], benchmark)
    stranger = gallery(tmp_path / "stranger", "stranger", {replace(benchmark.items[0], id="unheard"): clip})
    with pytest.raises(GalleryError, match="unheard"):
        questions_of([stranger], benchmark)


def test_results_stand_beside_their_clips(galleries, benchmark, tmp_path):
    names = ("secretly-ours", "theirs")
    results = read_results(write_results(tmp_path / "results.json", benchmark, names))
    write_gallery_page(galleries, tmp_path / "page", benchmark=benchmark, results=results)
    data = data_of(tmp_path / "page")
    assert data["scores"]["gain"]["theirs"] == [1, 2.125, 3.25, 1.375]
    assert data["scores"]["still"]["static"][0] is None
    assert data["scores"]["pan"]["theirs"] == ["none", "left", "left", "left"]
    assert data["results"]["references"] == ["static"]
    assert data["results"]["models"] == [*names, "static"]
    assert data["results"]["metrics"]["gain"] == {"better": "higher", "description": "What the text adds."}
    assert data["results"]["summary"][0]["low"] == 0.25
    assert "motionfocal 0.1.0" in (tmp_path / "page" / "index.html").read_text()


def test_results_without_a_report_are_plain_means(tmp_path):
    values = [{"model": "m", "id": str(k), "metric": "x", "value": value} for k, value in enumerate((1.0, 2.0, None))]
    (tmp_path / "r.json").write_text(json.dumps([*values, {"model": "m", "id": "0", "metric": "y", "value": None}]))
    results = read_results(tmp_path / "r.json")
    found = {row.metric: (row.estimate, row.low, row.n) for row in results.summary}
    assert found == {"x": (1.5, None, 2), "y": (None, None, 0)}
    assert list(results.metrics) == ["x", "y"]


@pytest.mark.parametrize("text", ["{", "{}", '[{"model": "m"}]', '[{"model":"m","id":"0","metric":"x","value":NaN}]'])
def test_results_of_another_form_are_an_error(tmp_path, text):
    (tmp_path / "r.json").write_text(text)
    with pytest.raises(DamagedFileError, match=r"r\.json"):
        read_results(tmp_path / "r.json")
    with pytest.raises(DamagedFileError, match=r"lost\.json"):
        read_results(tmp_path / "lost.json")


def run(*arguments):
    return CliRunner().invoke(app, ["report", *map(str, arguments)])


def test_the_verb_makes_the_page_and_lists_what_failed(galleries, tmp_path):
    folders = [gallery.folder for gallery in galleries]
    assert run(*folders, "--out", tmp_path / "page").exit_code == 0
    assert len(data_of(tmp_path / "page")["items"]) == 4
    galleries[0].path("item001").unlink()
    out = run(*folders, "--out", tmp_path / "page")
    assert out.exit_code == 1
    assert "2 clips or pictures failed" in out.output
    assert data_of(tmp_path / "page")["clips"]["theirs"][1] == {"why": "the file is missing"}


def test_the_verb_finds_the_benchmark_that_galleries_remember(galleries, benchmark, tmp_path):
    table = [f"{item.id},{item.file.name},{item.text.replace(',', ';')},{item.scenario}" for item in benchmark.items]
    (tmp_path / "bench" / "prompts.csv").write_text("\n".join(["id,image,prompt,scenario", *table]))
    rows = {item: galleries[0].path(item.id) for item in load_benchmark(tmp_path / "bench").items}
    kept = gallery(tmp_path / "kept", "kept", rows)
    assert "no pictures" in run(kept.folder, "--out", tmp_path / "page").output
    assert "picture" not in data_of(tmp_path / "page")["items"][0]
    remember_benchmark(kept.folder, str(tmp_path / "bench"))
    assert run(kept.folder, "--out", tmp_path / "page").exit_code == 0
    data = data_of(tmp_path / "page")
    assert data["title"] == "kept on bench"
    assert [item["scenario"] for item in data["items"]] == [item.scenario for item in benchmark.items]
    assert all((tmp_path / "page" / "media" / item["picture"]).is_file() for item in data["items"])
    (tmp_path / "bench").rename(tmp_path / "moved")
    out = run(kept.folder, "--out", tmp_path / "page")
    assert out.exit_code == 0
    assert "no pictures, scenarios and tags on the page" in out.output
    assert "picture" not in data_of(tmp_path / "page")["items"][0]
    named = run(kept.folder, "--out", tmp_path / "page", "--benchmark", tmp_path / "bench")
    assert isinstance(named.exception, ManifestError), "who names one is told that it is not there"


def test_the_verb_tells_kinds_of_folders_apart(galleries, tmp_path):
    one = galleries[0].folder
    shutil.copytree(one, tmp_path / "copy")
    for arguments, word in (
        ([one], "--out"),
        ([one, tmp_path / "nowhere", "--out", tmp_path / "p"], "no gallery here"),
        ([tmp_path / "nowhere"], "no comparison here"),
        ([tmp_path / "nowhere", "--heatmaps"], "--heatmaps"),
        ([one, tmp_path / "copy", "--out", tmp_path / "p"], "two galleries"),
        ([one, "--out", tmp_path / "p", "--results", tmp_path / "lost.json"], "lost.json"),
    ):
        out = run(*arguments)
        assert isinstance(out.exception, MotionFocalError)
        assert word in str(out.exception)
        assert not (tmp_path / "p" / "index.html").exists()
