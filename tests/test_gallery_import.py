"""Galleries of other people's videos: everything that fits goes in, everything else is named, nothing is made up."""

import json
import shutil
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from typer.testing import CliRunner

from motionfocal.benchmarks import Benchmark, BenchmarkItem, load_benchmark
from motionfocal.cli import app
from motionfocal.cli.gallery import form_from
from motionfocal.errors import ConfigError, GalleryError, MediaError, MotionFocalError
from motionfocal.generation.asked import benchmark_of
from motionfocal.generation.checking import check_gallery, compare
from motionfocal.generation.gallery import INDEX, Gallery, GalleryRow, read_rows
from motionfocal.generation.importing import import_videos, match_videos
from motionfocal.generation.normalizing import NormalForm, normalize
from motionfocal.generation.origin import Origin, has_origin, load_origin, save_origin
from motionfocal.generation.sampler import SamplingSettings
from motionfocal.jsonl import read_jsonl, rewrite_jsonl
from motionfocal.video import probe, read_clip, resize_and_crop, write_clip, write_image
from motionfocal.worlds import SpritesSettings
from motionfocal.worlds.benchmark import SpritesBenchmark

from .clips import files_of, moving

SMALL = NormalForm(height=24, width=24, frames=4, fps=8)


def bench_of(folder: Path, *ids: str) -> Benchmark:
    return Benchmark("B", tuple(BenchmarkItem(id_, f"p{id_}", folder / "p.png", f"text {id_}") for id_ in ids))


@pytest.fixture
def bench(tmp_path):
    return bench_of(tmp_path, "a", "b", "c")


@pytest.fixture
def videos(tmp_path):
    """One video each of a, b, and c, the last with a seed in its name."""
    folder = tmp_path / "videos"
    for n, name in enumerate(("a.mp4", "b.mp4", "c_7.mp4")):
        write_clip(folder / name, moving(n), 8)
    return folder


def gallery_of(bench, videos, folder, model="m", **options):
    assert not import_videos(bench, videos, folder, model, **options).problems()
    return Gallery.open(folder)


def test_an_import_is_the_videos_and_what_they_measure(bench, videos, tmp_path):
    result = import_videos(bench, videos, tmp_path / "g", "m")
    assert (result.clips, result.added, result.problems()) == (3, 3, [])
    gallery = Gallery.open(tmp_path / "g")
    for item, name, seed in zip(bench.items, ("a.mp4", "b.mp4", "c_7.mp4"), (None, None, 7), strict=True):
        row = gallery.row(item.id)
        assert (row.image, row.text, row.model, row.seed) == (item.image, item.text, "m", seed)
        assert (row.native_size, row.frames, row.fps) == ((24, 32), 6, 8.0)
        assert row.file == f"{item.id}.mp4"
        assert gallery.path(item.id).read_bytes() == (videos / name).read_bytes()


def test_real_clips(ti2v_bench, tmp_path):
    bench = load_benchmark(ti2v_bench)
    for path in sorted(ti2v_bench.glob("videos/motif/*.mp4"))[::4]:
        (tmp_path / "videos").mkdir(exist_ok=True)
        (tmp_path / "videos" / path.name).symlink_to(path)
    result = import_videos(bench, tmp_path / "videos", tmp_path / "g", "motif")
    assert (result.clips, len(result.missing)) == (13, 307)
    assert result.problems(allow_missing=True) == []
    assert len(result.problems()) == 307
    checked = check_gallery(tmp_path / "g", bench)
    assert (checked.problems, len(checked.missing), checked.forms.total()) == ([], 307, 13)
    assert str(next(iter(checked.forms))) == "320x320, 16 frames at 8 fps"


def test_an_import_run_again_does_nothing(bench, videos, tmp_path):
    gallery_of(bench, videos, tmp_path / "g")
    before, times = files_of(tmp_path / "g"), [path.stat().st_mtime_ns for path in (tmp_path / "g").glob("*.mp4")]
    again = import_videos(bench, videos, tmp_path / "g", "m")
    assert (again.added, again.problems(), files_of(tmp_path / "g")) == (0, [], before)
    assert [path.stat().st_mtime_ns for path in (tmp_path / "g").glob("*.mp4")] == times


def test_what_changed_or_vanished_is_imported_anew(bench, videos, tmp_path):
    gallery = gallery_of(bench, videos, tmp_path / "g")
    write_clip(videos / "b.mp4", moving(9, frames=5), 8)
    gallery.path("c").unlink()
    again = import_videos(bench, videos, tmp_path / "g", "m")
    rows = read_rows(tmp_path / "g" / INDEX)
    assert (again.added, [row.id for row in rows], rows[1].frames) == (2, ["a", "b", "c"], 5)


def test_two_folders_fill_one_gallery(bench, videos, tmp_path):
    (tmp_path / "more").mkdir()
    (videos / "b.mp4").rename(tmp_path / "more" / "b.mp4")
    assert import_videos(bench, videos, tmp_path / "g", "m").problems() == ["b: no video"]
    assert import_videos(bench, tmp_path / "more", tmp_path / "g", "m").problems() == []


def test_videos_that_lie_in_the_gallery_stay_there(bench, videos):
    before = {path.name for path in videos.iterdir()}
    gallery = gallery_of(bench, videos, videos)
    assert {path.name for path in videos.iterdir()} == before | {INDEX}
    assert gallery.row("c").file == "c_7.mp4"


def test_every_mismatch_is_named_and_the_good_goes_in(bench, videos, tmp_path):
    whole = (videos / "b.mp4").read_bytes()
    (videos / "b.mp4").write_bytes(whole[: len(whole) * 2 // 3])
    shutil.copy(videos / "c_7.mp4", videos / "c_8.webm")
    shutil.copy(videos / "a.mp4", videos / "zebra_0.mp4")
    shutil.copy(videos / "a.mp4", videos / ".a.mp4")
    (videos / "notes.txt").touch()
    more = Benchmark("B", (*bench.items, *bench_of(tmp_path, "d").items))
    result = import_videos(more, videos, tmp_path / "g", "m")
    assert result.added == 1
    several, stray, broken, missing = result.problems()
    assert several == "c: several videos, c_7.mp4, c_8.webm; choose a seed"
    assert stray == f"{videos / 'zebra_0.mp4'}: matches no item"
    assert broken.startswith("b: ")
    assert missing == "d: no video"
    assert result.problems(allow_missing=True) == [several, stray, broken]
    chosen = import_videos(more, videos, tmp_path / "g", "m", seed=7)
    assert (chosen.added, chosen.several, Gallery.open(tmp_path / "g").row("c").seed) == (1, {}, 7)


def damaged(path: Path) -> None:
    """Zero bytes inside the pictures: the packets are all there, and one does not decode."""
    content = bytearray(path.read_bytes())
    start = content.find(b"mdat") + 1200
    content[start : start + 900] = bytes(900)
    path.write_bytes(content)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"this is no video"),
        lambda path: path.write_bytes(path.read_bytes()[:-300]),
        damaged,
    ],
)
def test_a_video_that_cannot_be_read_is_not_imported(bench, videos, tmp_path, spoil):
    spoil(videos / "b.mp4")
    result = import_videos(bench, videos, tmp_path / "g", "m")
    (problem,) = result.problems()
    assert problem.startswith(f"b: {videos / 'b.mp4'}: ")
    assert not (tmp_path / "g" / "b.mp4").exists()


NAMES = st.sets(
    st.sampled_from(["a", "a_1", "a_1_2", "a_x", "b_0", "b_1", "c", "_1", "1", "a_", "a_-1", "a_²"]), min_size=1
)


@given(NAMES, st.sampled_from([None, 0, 1, 2]))
def test_every_video_is_matched_or_named(new_folder, names, seed):
    folder = new_folder()
    for name in names:
        (folder / f"{name}.mp4").touch()
    bench = bench_of(folder, "a", "a_1", "b", "c")
    found = match_videos(bench, folder, seed)
    told = [match.path for match in found.found] + [p for paths in found.several.values() for p in paths]
    assert len(told) == len(set(told))
    assert not set(told) & set(found.strays)
    of_other_seeds = {folder / f"{name}.mp4" for name in names} - set(told) - set(found.strays)
    assert not of_other_seeds or seed is not None
    assert {path.stem for path in found.strays} == names & {"a_x", "_1", "1", "a_", "a_-1", "a_²"}
    assert all(match.seed == seed for match in found.found if seed is not None)
    if seed is None and "a_1" in names:
        assert ("a_1" in found.several) == ("a_1_2" in names)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"model": "other"}, "holds clips of other; import m into a folder of its own"),
        ({"settings": "abc"}, "were made here, not imported"),
    ],
)
def test_a_gallery_of_something_else_is_left_alone(bench, videos, tmp_path, row, said):
    gallery = gallery_of(bench, videos, tmp_path / "g")
    rewrite_jsonl(tmp_path / "g" / INDEX, [asdict(replace(old, **row)) for old in gallery.rows()])
    before = files_of(tmp_path / "g")
    with pytest.raises(GalleryError, match=said):
        import_videos(bench, videos, tmp_path / "g", "m")
    assert files_of(tmp_path / "g") == before


def test_a_folder_without_videos_is_an_error(bench, tmp_path):
    with pytest.raises(GalleryError, match="no such folder of videos"):
        import_videos(bench, tmp_path / "nowhere", tmp_path / "g", "m")
    (tmp_path / "a.txt").touch()
    with pytest.raises(GalleryError, match="no video in this folder"):
        import_videos(bench, tmp_path, tmp_path / "g", "m")
    assert not (tmp_path / "g").exists()


def test_rows_of_older_galleries_still_load(tmp_path):
    row = {"id": "a", "image": "p", "text": "t", "file": "a.mp4", "model": "m", "native_size": [4, 4], "frames": 2}
    (tmp_path / INDEX).write_text(json.dumps({**row, "fps": 8}) + "\n")
    assert (Gallery.open(tmp_path).row("a").content, Gallery.open(tmp_path).row("a").salt) == ("", "")


KILLED = """
import os, signal, sys
from pathlib import Path
from motionfocal.benchmarks import Benchmark, BenchmarkItem
from motionfocal.generation.gallery import Gallery
from motionfocal.generation.importing import import_videos
from motionfocal.generation.normalizing import NormalForm, normalize
done = []
def progress():
    done.append(1)
    if len(done) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
verb, source, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
if verb == "import":
    bench = Benchmark("B", tuple(BenchmarkItem(i, f"p{i}", source, f"text {i}") for i in "abc"))
    import_videos(bench, source, out, "m", progress=progress)
else:
    form = NormalForm(height=24, width=24, frames=4, fps=8)
    normalize(Gallery.open(source), out, form, progress=progress)
"""


def killed(verb, source, out):
    """Run a verb in a process that is killed after two clips, and leave a half-written line behind."""
    run = subprocess.run([sys.executable, "-c", KILLED, verb, source, out], check=False, capture_output=True)
    assert run.returncode == -signal.SIGKILL, run.stderr.decode()
    with (out / INDEX).open("a") as file:
        file.write('{"id": "c", "image"')


def test_a_killed_import_and_a_killed_normalize_go_on(bench, videos, tmp_path):
    killed("import", videos, tmp_path / "g")
    result = import_videos(bench, videos, tmp_path / "g", "m")
    assert (result.clips, result.added, result.problems()) == (3, 1, [])
    assert files_of(tmp_path / "g") == files_of(gallery_of(bench, videos, tmp_path / "other").folder)

    killed("normalize", tmp_path / "g", tmp_path / "n")
    there = files_of(tmp_path / "n")
    again = normalize(Gallery.open(tmp_path / "g"), tmp_path / "n", SMALL)
    assert (again.clips, again.added, again.failed) == (3, 1, [])
    assert {name: there[name] for name in there if name != INDEX}.items() <= files_of(tmp_path / "n").items()
    assert check_gallery(tmp_path / "n", bench).problems == []


def fault(gallery: Gallery, kind: str) -> None:
    rows, index = gallery.rows(), gallery.folder / INDEX
    if kind == "twice":
        shutil.copy(gallery.path("a"), gallery.folder / "a2.mp4")
        rows.append(replace(rows[0], file="a2.mp4"))
    elif kind == "unnamed":
        shutil.copy(gallery.path("a"), gallery.folder / "zebra.mp4")
    elif kind == "gone":
        gallery.path("a").unlink()
    elif kind == "changed":
        write_clip(gallery.path("a"), moving(8), 8)
    elif kind == "unreadable":
        gallery.path("a").write_bytes(b"no video")
    elif kind == "damaged":
        damaged(gallery.path("a"))
    else:
        values = {"text": {"text": "x"}, "image": {"image": "x"}, "extra": {"id": "z"}, "length": {"frames": 7}}
        rows[0] = replace(rows[0], **{**values, "rate": {"fps": 9}, "model": {"model": "x"}}[kind])
    rewrite_jsonl(index, map(asdict, rows))


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("twice", ["a: named twice, a.mp4 and a2.mp4"]),
        ("unnamed", ["zebra.mp4: no row names this video"]),
        ("gone", ["a: its file a.mp4 is missing"]),
        ("changed", ["a: a.mp4 is not the file that was put there"]),
        ("unreadable", ["a.mp4: cannot be opened"]),
        ("damaged", ["a.mp4: only "]),
        ("text", ["a: its text is 'x', and 'text a' in B"]),
        ("image", ["a: its image is 'x', and 'pa' in B"]),
        ("extra", ["z: no item of B"]),
        ("length", ["a: its row says 7 frames at 8 fps, its file has 6 at 8"]),
        ("rate", ["a: its row says 6 frames at 9 fps, its file has 6 at 8"]),
        ("model", ["holds clips of several models: m, x"]),
    ],
)
def test_check_names_what_is_wrong(bench, videos, tmp_path, kind, said):
    gallery = gallery_of(bench, videos, tmp_path / "g")
    assert check_gallery(gallery.folder, bench).problems == []
    fault(gallery, kind)
    checked = check_gallery(gallery.folder, bench)
    assert len(checked.problems) == len(said), checked.problems
    assert all(part in problem for part, problem in zip(said, checked.problems, strict=True)), checked.problems
    assert checked.missing == (["a"] if kind == "extra" else [])


def test_galleries_of_other_forms_cannot_be_compared(bench, videos, tmp_path):
    one = gallery_of(bench, videos, tmp_path / "one")
    write_clip(videos / "b.mp4", moving(1, frames=9), 8)
    two = gallery_of(bench, videos, tmp_path / "two")
    checked = [check_gallery(gallery.folder, bench) for gallery in (one, two)]
    assert compare(checked[:1]) == compare([checked[0], checked[0]]) == []
    (mixed,) = compare(checked)
    assert (
        mixed == f"{tmp_path / 'two'}: clips of 2 forms: 2 of 24x32, 6 frames at 8 fps; 1 of 24x32, 9 frames at 8 fps"
    )
    normalize(one, tmp_path / "small", SMALL)
    (differ,) = compare([checked[0], check_gallery(tmp_path / "small", bench)])
    assert "24x32, 6 frames at 8 fps" in differ
    assert "24x24, 4 frames at 8 fps; bring them to one" in differ


@given(st.integers(1, 300), st.floats(1, 60), st.integers(2, 40), st.floats(1, 60), st.sampled_from(["whole", "real"]))
def test_which_frames_are_taken(frames, fps, wanted, at, time):
    """Against the definition: the nearest frame to each instant, the earlier of two; never one twice."""
    form = NormalForm(frames=wanted, fps=at, time=time)
    end = (frames - 1) / fps if time == "whole" else (wanted - 1) / at
    places = np.linspace(0, end * fps, wanted)  # in frames of the clip
    distances = np.abs(np.arange(2 * frames + 2)[None] - places[:, None])
    assume(np.abs(places % 1 - 0.5).min() > 1e-4)
    nearest = distances.argmin(1)
    if nearest[-1] >= frames or len(set(nearest)) < wanted:
        with pytest.raises(MediaError, match="too few"):
            form.picks(frames, fps)
        return
    picks = form.picks(frames, fps)
    assert picks.tolist() == nearest.tolist()
    assert picks[0] == 0
    assert time == "real" or picks[-1] == frames - 1


def test_the_frames_of_common_models():
    form = NormalForm()
    assert form.picks(16, 8).tolist() == list(range(16))
    assert form.picks(49, 8).tolist() == [0, 3, 6, 10, 13, 16, 19, 22, 26, 29, 32, 35, 38, 42, 45, 48]
    real = NormalForm(time="real")
    assert real.picks(16, 8).tolist() == list(range(16))
    assert real.picks(81, 16).tolist() == list(range(0, 31, 2))
    assert real.picks(121, 24).tolist() == list(range(0, 46, 3))
    for time, frames, fps in (("whole", 15, 8), ("real", 15, 8), ("real", 16, 16), ("real", 16, 4)):
        with pytest.raises(MediaError, match=f"has {frames} frames at {fps} fps, too few for 16 different"):
            NormalForm(time=time).picks(frames, fps)


def marked(path: Path, seed: int) -> None:
    """A clip with sound, a title and a comment."""
    with av.open(str(path), "w", format="mp4") as container:
        container.metadata.update({"title": "by model X", "comment": "model X"})
        video = container.add_stream("libx264", rate=8, options={"crf": "10"})
        video.height, video.width, video.pix_fmt = 24, 32, "yuv420p"
        sound = container.add_stream("aac", rate=16000)
        for image in moving(seed):
            container.mux(video.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(video.encode(None))
        tone = av.AudioFrame.from_ndarray(np.zeros((1, 12000), np.float32), format="fltp", layout="mono")
        tone.rate = 16000
        container.mux(sound.encode(tone))
        container.mux(sound.encode(None))


def test_a_normalised_clip_tells_nothing_but_its_pictures(bench, tmp_path):
    (tmp_path / "v").mkdir()
    for n, name in enumerate("abc"):
        marked(tmp_path / "v" / f"{name}.mp4", n)
    made = {}
    for model in ("one", "two"):
        source = gallery_of(bench, tmp_path / "v", tmp_path / model, model)
        assert normalize(source, tmp_path / f"{model}-n", SMALL).failed == []
        made[model] = Gallery.open(tmp_path / f"{model}-n")
    names = [{row.file for row in gallery.rows()} for gallery in made.values()]
    assert not names[0] & names[1]
    for item in bench.items:
        path = made["one"].path(item.id)
        content = path.read_bytes()
        assert content == made["two"].path(item.id).read_bytes()
        assert item.id not in path.stem.strip("0123456789abcdef")
        assert not [trace for trace in (b"x264", b"Lav", b"model", b"title", b"soun") if trace in content]
        assert content.find(b"moov") < content.find(b"mdat")
        info = probe(path)
        assert (info.codec, info.pixel_format, info.height, info.width) == ("h264", "yuv420p", 24, 24)
        assert (info.frames, info.fps) == (4, 8)
        with av.open(str(path)) as container:
            assert [stream.type for stream in container.streams] == ["video"]
            assert not {"encoder", "title", "comment"} & {*container.metadata, *container.streams[0].metadata}


def test_a_normalised_clip_shows_the_picked_frames(bench, videos, tmp_path):
    source = gallery_of(bench, videos, tmp_path / "g")
    form = NormalForm(height=48, width=48, frames=3, fps=5)
    result = normalize(source, tmp_path / "n", form)
    assert set(result.speeds.values()) == {(5 / 8) / (2 / 5)}
    for row in Gallery.open(tmp_path / "n").rows():
        clip = read_clip(tmp_path / "n" / row.file)
        picked = resize_and_crop(read_clip(source.path(row.id)).frames[form.picks(6, 8)], (48, 48))
        assert picked.shape == clip.frames.shape
        assert np.abs(picked.astype(int) - clip.frames).mean() < 6
        assert (row.frames, row.fps, row.native_size) == (3, 5.0, (24, 32))


def test_normalize_goes_on_past_bad_clips_and_again_does_nothing(bench, videos, tmp_path):
    write_clip(videos / "a.mp4", moving(0, frames=3), 8)
    source = gallery_of(bench, videos, tmp_path / "g")
    damaged(source.path("b"))
    result = normalize(source, tmp_path / "n", SMALL)
    assert (result.clips, result.added) == (1, 1)
    short, broken = result.failed
    assert short == "a: has 3 frames at 8 fps, too few for 4 different frames; take fewer frames"
    assert broken.startswith(f"b: {source.path('b')}: only ")
    assert len(list((tmp_path / "n").iterdir())) == 2
    before = files_of(tmp_path / "n")
    assert (normalize(source, tmp_path / "n", SMALL).added, files_of(tmp_path / "n")) == (0, before)
    other = normalize(source, tmp_path / "n", SMALL.model_copy(update={"width": 20}))
    assert (other.added, {Path(name).suffix for name in files_of(tmp_path / "n")}) == (1, {".mp4", ".jsonl"})
    assert len(files_of(tmp_path / "n")) == 2


def test_normalize_writes_over_no_other_gallery(bench, videos, tmp_path):
    one = gallery_of(bench, videos, tmp_path / "one", "one")
    two = gallery_of(bench, videos, tmp_path / "two", "two")
    with pytest.raises(GalleryError, match="is the gallery itself"):
        normalize(one, tmp_path / "one", SMALL)
    with pytest.raises(GalleryError, match="holds another gallery"):
        normalize(one, tmp_path / "two", SMALL)
    normalize(two, tmp_path / "n", SMALL)
    with pytest.raises(GalleryError, match="holds another gallery"):
        normalize(one, tmp_path / "n", SMALL)


@pytest.mark.parametrize(
    ("size", "frames", "fps", "said"),
    [
        ("320", 16, 8.0, "--size .*: expected HEIGHTxWIDTH"),
        ("320x-2", 16, 8.0, "--size .*: expected HEIGHTxWIDTH"),
        ("321x320", 16, 8.0, "--size: .*multiple of 2, got 321"),
        ("320x320", 1, 8.0, "--frames: "),
        ("320x320", 16, 0.0, "--fps: "),
    ],
)
def test_odd_options_are_named(size, frames, fps, said):
    with pytest.raises(ConfigError, match=said):
        form_from(size, frames, fps, "whole")
    assert form_from("24X32", 4, 8, "real") == NormalForm(height=24, width=32, frames=4, fps=8, time="real")


def run(*arguments):
    out = CliRunner().invoke(app, ["gallery", *map(str, arguments)], env={"COLUMNS": "200"})
    assert out.exception is None or isinstance(out.exception, SystemExit | MotionFocalError), out.exception
    return out.exit_code, out.output


def test_the_verbs(tmp_path, videos):
    write_image(tmp_path / "b" / "cat.png", moving(0)[0])
    (tmp_path / "b" / "prompts.csv").write_text("id,image,prompt\na,cat.png,x\nb,cat.png,y\nc,cat.png,z\nd,cat.png,w\n")
    asked = ["-b", tmp_path / "b"]
    bring = ["import", videos, *asked, "--name", "m", "-o", tmp_path / "g"]
    code, said = run(*bring)
    assert code == 1
    assert "3 clips of m" in said
    assert "d: no video" in said
    assert run(*bring, "--allow-missing")[0] == 0
    assert run("check", tmp_path / "g", *asked)[0] == 1
    assert run("check", tmp_path / "g") == run("check", tmp_path / "g", *asked), "it remembers its benchmark"
    code, said = run("check", tmp_path / "g", *asked, "--allow-missing")
    assert code == 0
    assert "3 of 4 items of b have a clip in every gallery" in said
    assert "3: 24x32, 6 frames at 8 fps" in said
    code, said = run("normalize", tmp_path / "g", "-o", tmp_path / "n", "--size", "16x16", "--frames", "4")
    assert code == 0
    assert "3 clips are shown at another speed than they were made for, 1.67 to 1.67 times" in said
    assert benchmark_of([Gallery.open(tmp_path / "n")]).items[3].text == "w", "it is on the same benchmark"
    code, said = run("normalize", tmp_path / "g", "-o", tmp_path / "m")
    assert code == 1
    assert said.count("too few for 16 different frames") == 3
    assert [row["id"] for row in read_jsonl(tmp_path / "n" / INDEX)] == ["a", "b", "c"]


def test_a_normalised_gallery_of_a_world_is_one_of_that_world(bench, videos, tmp_path):
    made = gallery_of(bench, videos, tmp_path / "run" / "g").folder
    world = SpritesBenchmark(images=1, texts=2, world=SpritesSettings(frames=4))
    save_origin(made, Origin(benchmark=world, sampling=SamplingSettings(), seed=3, run=Path("..")))
    out = tmp_path / "far" / "away" / "n"
    assert run("normalize", made, "-o", out, "--size", "16x16", "--frames", "4")[0] == 0
    for form in (["--size", "16x32", "--frames", "4"], ["--size", "16x16", "--frames", "3"]):
        assert run("normalize", made, "-o", tmp_path / "unjudged", *form)[0] == 0
        assert not has_origin(tmp_path / "unjudged"), "the oracle cannot judge these"
    origin = load_origin(out)
    assert (origin.benchmark, origin.seed) == (world, 3)
    assert (out / origin.run).resolve() == (tmp_path / "run").resolve()
    assert [item.id for item in benchmark_of([Gallery.open(out)]).items] == [item.id for item in world.items()]


def test_a_gallery_row_is_what_other_rooms_know():
    row = GalleryRow("a", "p", "t", "a.mp4", "m", (4, 4), 2, 8.0)
    assert (row.steps, row.seed, row.settings) == (None, None, "")
