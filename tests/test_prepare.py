"""Preparing: nothing is done twice, nothing is lost by a kill, a bad clip stops nobody, a plan comes true."""

import copy
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from safetensors.torch import load

from motionfocal.cli import prepare as command
from motionfocal.data import making
from motionfocal.data import prepare as preparing
from motionfocal.data.cache import CacheSource, CacheSpec
from motionfocal.data.plan import plan
from motionfocal.data.prepare import prepare
from motionfocal.engine import Local
from motionfocal.errors import CheckpointError, ConfigError, ManifestError, ShapeError
from motionfocal.jsonl import read_jsonl
from motionfocal.motion import register_estimator
from motionfocal.motion.heatmap import HeatmapSettings
from motionfocal.motion.latent import LatentSpec
from motionfocal.shard import Shard
from motionfocal.training.config import load_config
from motionfocal.training.run import open_data
from motionfocal.video import write_clip

from .clips import (
    MOTION,
    SPEC,
    CountingEncoder,
    cache_spec,
    files_of,
    folder_data,
    moving,
    text_of,
    write_clips,
    write_tar,
)
from .clips import write_table as table_of
from .films import film

NOTHING = {"latents": 0, "texts": 0, "heatmaps": 0}
ALL = {"latents": 3, "texts": 4, "heatmaps": 3}


@pytest.fixture
def folder(tmp_path):
    table_of(tmp_path / "clips" / "metadata.csv", write_clips(tmp_path / "clips", 3))
    return tmp_path / "clips"


@pytest.fixture
def forbid_reading(monkeypatch):
    def forbid():
        def forbidden(*args, **kwargs):
            raise AssertionError("a clip was opened")

        monkeypatch.setattr(making, "read_window", forbidden)
        monkeypatch.setattr(preparing, "look_at", forbidden)

    return forbid


def test_a_second_run_does_nothing(folder, forbid_reading):
    model = CountingEncoder()
    first = prepare(cache_spec(folder), model)
    assert (first.made, first.kept, first.rejected) == (ALL, NOTHING, [])
    assert model.calls == {"encode": 3, "encode_image": 3, "encode_text": 4}
    assert model.loads == 1
    before = files_of(folder.parent / "cache")
    forbid_reading()
    second = prepare(cache_spec(folder), model)
    assert (second.made, second.kept, second.rejected) == (NOTHING, ALL, [])
    assert model.calls == {"encode": 3, "encode_image": 3, "encode_text": 4}
    assert model.loads == 1
    assert files_of(folder.parent / "cache") == before


@pytest.mark.parametrize(
    ("change", "calls", "made"),
    [
        ({"motion": HeatmapSettings(scale=3.0, floor=0.1)}, (0, 0), {"heatmaps": 3}),
        ({"motion": HeatmapSettings(scale=2.0, floor=0.4)}, (0, 0), {"heatmaps": 3}),
        ({"height": 32}, (3, 0), {"latents": 3, "heatmaps": 3}),
        ({"stride": 2, "frames": 3}, (3, 0), {"latents": 3, "heatmaps": 3}),
        ({"encoder": "another"}, (3, 4), {"latents": 3, "texts": 4}),
        ({"cache_dtype": "bfloat16"}, (3, 4), {"latents": 3, "texts": 4}),
        ({"captions": "other.csv"}, (0, 3), {"texts": 3}),
    ],
)
def test_a_change_makes_anew_what_depends_on_it_alone(folder, change, calls, made):
    prepare(cache_spec(folder), CountingEncoder())
    before = files_of(folder.parent / "cache")
    if "captions" in change:
        change = {"captions": folder / "other.csv"}
        text = (folder / "metadata.csv").read_text().replace("number", "no.")
        change["captions"].write_text(text)
    model = CountingEncoder()
    report = prepare(cache_spec(folder, **change), model)
    assert report.made == NOTHING | made
    assert (model.calls["encode"], model.calls["encode_text"]) == calls
    assert model.loads == (calls != (0, 0))
    after = files_of(folder.parent / "cache")
    assert all(after[name] == content for name, content in before.items() if name.endswith(".safetensors"))
    back = prepare(cache_spec(folder), model)
    assert back.made == NOTHING
    assert len(CacheSource(cache_spec(folder), 0)) == 3


def test_a_file_that_was_only_touched_is_hashed_again_and_nothing_else(folder):
    prepare(cache_spec(folder), CountingEncoder())
    os.utime(folder / "1.mp4", (1, 1))
    model = CountingEncoder()
    assert prepare(cache_spec(folder), model).made == NOTHING
    assert not model.loads
    assert len(CacheSource(cache_spec(folder), 0)) == 3


def test_a_copy_and_a_member_of_a_shard_are_the_clip_they_copy(folder, tmp_path):
    prepare(cache_spec(folder), CountingEncoder())
    shutil.copy(folder / "0.mp4", folder / "copy.mp4")
    table_of(folder / "metadata.csv", ["copy.mp4", "1.mp4"])
    model = CountingEncoder()
    assert prepare(cache_spec(folder), model).made == {"latents": 0, "texts": 1, "heatmaps": 0}
    members = {name: (folder / name).read_bytes() for name in ("0.mp4", "1.mp4", "2.mp4")}
    members |= {name.replace("mp4", "txt"): text_of(name).encode() for name in members}
    shard = write_tar(tmp_path / "set.tar", members)
    assert prepare(cache_spec(folder, videos=shard), model).made == NOTHING
    assert len(CacheSource(cache_spec(folder, videos=shard), 0)) == 3
    assert model.calls == {"encode": 0, "encode_image": 0, "encode_text": 1}


def test_two_clips_of_one_content_are_encoded_once(folder):
    shutil.copy(folder / "0.mp4", folder / "copy.mp4")
    table_of(folder / "metadata.csv", ["0.mp4", "copy.mp4"])
    model = CountingEncoder()
    assert prepare(cache_spec(folder), model).made == {"latents": 1, "texts": 3, "heatmaps": 1}
    assert model.calls["encode"] == 1
    assert len(CacheSource(cache_spec(folder), 0)) == 2


def damaged(path: Path) -> None:
    """A clip whose fourth frame cannot be decoded, though a probe finds nothing wrong with it."""
    film(path, 12, options={"bf": "0"})
    with av.open(str(path)) as container:
        start = [packet.pos for packet in container.demux(video=0) if packet.size][3]
    data = bytearray(path.read_bytes())
    data[start : start + 12] = b"\xff" * 12
    path.write_bytes(data)


def test_bad_clips_are_reported_and_the_others_go_on(folder):
    damaged(folder / "broken.mp4")
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "text.mp4").write_text("no video")
    write_clip(folder / "short.mp4", moving(0, 3), 8)
    names = ["empty.mp4", "0.mp4", "broken.mp4", "1.mp4", "text.mp4", "short.mp4", "2.mp4"]
    table_of(folder / "metadata.csv", names)
    for _ in range(2):  # again, they are tried again and nothing is added to the index
        report = prepare(cache_spec(folder, frames=6), CountingEncoder())
        bad = sorted(clip.path.stem for clip in report.rejected)
        assert bad == ["broken", "empty", "short", "text"]
        assert all(str(clip.path) in clip.reason for clip in report.rejected)
    rows = read_jsonl(folder.parent / "cache" / "clips.jsonl")
    assert [row["id"] for row in rows] == ["0", "broken", "1", "2"]
    source = CacheSource(cache_spec(folder, frames=6), 0)
    assert (len(source), len(source.rejected)) == (3, 4)
    write_clip(folder / "broken.mp4", moving(9), 8)
    report = prepare(cache_spec(folder, frames=6), CountingEncoder())
    assert report.made == {"latents": 1, "texts": 0, "heatmaps": 1}
    assert len(CacheSource(cache_spec(folder, frames=6), 0)) == 4


def test_a_clip_that_failed_for_a_while_is_made_by_the_next_run(folder, monkeypatch):
    read = making.read_window

    def unlucky(video, window):
        if video.path.name == "1.mp4":
            raise preparing.MediaError(f"{video}: the network drive is away")
        return read(video, window)

    monkeypatch.setattr(making, "read_window", unlucky)
    assert len(prepare(cache_spec(folder), CountingEncoder()).rejected) == 1
    assert len(CacheSource(cache_spec(folder), 0)) == 2
    monkeypatch.undo()
    assert prepare(cache_spec(folder), CountingEncoder()).made == {"latents": 1, "texts": 0, "heatmaps": 1}
    assert len(CacheSource(cache_spec(folder), 0)) == 3


class Elsewhere:
    """An engine whose workers are other processes, with copies of the work."""

    def map(self, work, items):
        return map(copy.deepcopy(work), items)


def test_the_texts_of_a_clip_that_cannot_be_read_are_encoded_where_all_others_are(folder):
    damaged(folder / "0.mp4")
    table = (folder / "metadata.csv").read_text()
    (folder / "metadata.csv").write_text(table.replace("number 1", "number 0"))  # the text of a clip that can be read
    model = CountingEncoder()
    report = prepare(cache_spec(folder, frames=6), model, engine=Elsewhere())
    assert report.made == {"latents": 2, "texts": 3, "heatmaps": 2}
    assert len(report.rejected) == 1
    assert not model.loads


class Narrow(CountingEncoder):
    """A model on a GPU that has no room for the second clip, or for the second text."""

    def __init__(self, what: str, error: Exception):
        super().__init__()
        self.what, self.error = what, error

    def encode(self, frames):
        latents = super().encode(frames)
        self._require_room("encode")
        return latents

    def encode_text(self, texts):
        tensors = super().encode_text(texts)
        self._require_room("encode_text")
        return tensors

    def _require_room(self, what: str) -> None:
        if what == self.what and self.calls[what] == 2:
            raise self.error


@pytest.fixture
def emptied(monkeypatch):
    """The errors that were in hand whenever the GPU's memory was given back."""
    found = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: found.append(sys.exc_info()[1]))
    return found


def test_a_clip_too_large_for_the_gpu_fails_alone_and_is_tried_again(folder, emptied):
    report = prepare(cache_spec(folder), Narrow("encode", torch.OutOfMemoryError("CUDA out of memory")))
    (failed,) = report.rejected
    assert failed.path.name == "1.mp4"
    assert "1.mp4: 4x16x16 is more than the GPU has memory for; set data.frames" in failed.reason
    assert report.made == {"latents": 2, "texts": 4, "heatmaps": 2}
    assert emptied == [None], "after the error, which holds what fills the memory"
    assert prepare(cache_spec(folder), CountingEncoder()).made == {"latents": 1, "texts": 0, "heatmaps": 1}
    assert len(CacheSource(cache_spec(folder), 0)) == 3


def test_other_errors_of_a_gpu_end_the_run(folder, emptied):
    broken = RuntimeError("CUDA error: an illegal memory access was encountered")
    for what, error in (("encode", broken), ("encode_text", torch.OutOfMemoryError("CUDA out of memory"))):
        with pytest.raises(type(error), match="CUDA"):
            prepare(cache_spec(folder, cache=folder.parent / what), Narrow(what, error))
    assert not emptied


def test_numbers_that_do_not_fit_the_cache_are_refused(folder):
    report = prepare(cache_spec(folder, cache_dtype="float16"), CountingEncoder(scale=1e6))
    assert len(report.rejected) == 3
    assert "its latents is not finite in torch.float16; set data.cache_dtype" in report.rejected[0].reason
    assert report.made == {"latents": 0, "texts": 4, "heatmaps": 0}
    with pytest.raises(ManifestError, match="none of 3"):
        CacheSource(cache_spec(folder, cache_dtype="float16"), 0)
    assert not prepare(cache_spec(folder, cache_dtype="bfloat16"), CountingEncoder(scale=1e6)).rejected


def test_a_model_whose_latents_have_another_grid_is_an_error(folder):
    with pytest.raises(ShapeError, match=r"latents are \[1, 48, 4, 4, 4\], expected \[1, 12, 4, 8, 8\]"):
        prepare(cache_spec(folder, frames=4), CountingEncoder(LatentSpec(48, 4)))


@pytest.mark.parametrize("writes", [0, 1, 3, 4, 5, 7])
def test_a_full_disk_is_an_error_that_leaves_the_cache_whole(folder, monkeypatch, writes):
    made, left, sync = cache_spec(folder), [writes], os.fsync

    def fsync(file):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(28, "No space left on device")
        sync(file)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(CheckpointError, match=r"cannot be written .*No space left.*run again"):
        prepare(made, CountingEncoder())
    monkeypatch.undo()
    assert prepare(made, CountingEncoder()).rejected == []
    assert len(CacheSource(made, 0)) == 3


def test_a_cache_that_may_not_be_written_is_an_error(folder):
    (folder.parent / "cache").write_text("a file stands where the folder should be")
    with pytest.raises(CheckpointError, match="cannot be written"):
        prepare(cache_spec(folder), CountingEncoder())


def entries(files: dict[str, bytes]) -> dict[str, bytes]:
    return {name: content for name, content in files.items() if name.endswith(".safetensors")}


def rows(files: dict[str, bytes], name: str) -> list[str]:
    return sorted(
        line for file, content in files.items() if file.startswith(name) for line in content.decode().splitlines()
    )


def test_shards_make_together_what_one_run_makes(tmp_path):
    table_of(tmp_path / "clips" / "metadata.csv", write_clips(tmp_path / "clips", 7))
    whole, parts = [cache_spec(tmp_path / "clips", cache=tmp_path / name) for name in ("whole", "parts")]
    prepare(whole, CountingEncoder())
    models = [CountingEncoder() for _ in range(3)]
    for index, model in enumerate(models, 1):
        prepare(parts, model, shard=Shard(index, 3))
    assert sorted(model.calls["encode"] for model in models) == sorted(len(held) for held in _held(7))
    one, three = files_of(tmp_path / "whole"), files_of(tmp_path / "parts")
    assert entries(one) == entries(three)
    assert rows(one, "clips") == rows(three, "clips")
    assert rows(one, "files") == rows(three, "files")
    assert [e.key for e in CacheSource(whole, 0).batch(1, 3)] == [e.key for e in CacheSource(parts, 0).batch(1, 3)]
    assert prepare(parts, CountingEncoder()).made == NOTHING


def _held(count: int) -> list[list[int]]:
    return [[n for n in range(count) if Shard(index, 3).holds(str(n))] for index in (1, 2, 3)]


def test_workers_make_the_same_files(folder, tmp_path):
    (folder / "bad.mp4").write_text("bad")
    table_of(folder / "metadata.csv", ["0.mp4", "bad.mp4", "1.mp4", "2.mp4"])
    for workers in (0, 2):
        report = prepare(cache_spec(folder, cache=tmp_path / str(workers)), CountingEncoder(), engine=Local(workers))
        assert len(report.rejected) == 1
    assert files_of(tmp_path / "0") == files_of(tmp_path / "2")


class Still:
    """Stands in for RAFT: nothing moves. Keeps the processes in which it was asked."""

    asked: list[int] = []  # noqa: RUF012

    def __call__(self, frames_from, frames_to):
        self.asked.append(os.getpid())
        return np.zeros((*frames_from.shape[:3], 2), np.float32)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_network_measures_motion_where_the_model_encodes(folder, workers, estimators, monkeypatch):
    """On a GPU, which no process can use that was forked from one that uses it, and no core of a cluster has."""
    monkeypatch.setattr(Still, "asked", [])
    register_estimator("raft_small", Still)
    made = cache_spec(folder, motion=HeatmapSettings(estimator="raft_small"))
    assert prepare(made, CountingEncoder(), engine=Local(workers)).made == ALL
    assert Still.asked == [os.getpid()] * 6, "forth and back"
    shutil.rmtree(folder.parent / "cache" / "heatmaps")
    model = CountingEncoder()
    assert prepare(made, model, engine=Local(workers)).made == NOTHING | {"heatmaps": 3}
    assert not model.loads
    assert len(CacheSource(made, 0)) == 3


def test_camera_fallbacks_are_noted(tmp_path):
    plain = np.full((4, 32, 32, 3), 128, np.uint8)
    for t in range(4):
        plain[t, 8:24, 4 + 4 * t : 16 + 4 * t] = 255 - t
    write_clip(tmp_path / "clips" / "0.mp4", plain, 8)
    table_of(tmp_path / "clips" / "metadata.csv", ["0.mp4"])
    motion = HeatmapSettings(camera="compensated")
    report = prepare(cache_spec(tmp_path / "clips", motion=motion), CountingEncoder())
    assert [note.split(": ")[0] for note in report.notes] == [str(tmp_path / "clips" / "0.mp4")]
    assert "camera motion stays" in report.notes[0]


KILLED = """
import os, random, shutil, signal, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from clips import CountingEncoder, cache_spec, files_of
from motionfocal.data.prepare import prepare

folder, cache = Path(sys.argv[2]), Path(sys.argv[2]).parent / "killed"

def begin(cache, before=lambda: None):
    child = os.fork()
    if not child:
        before()
        prepare(cache_spec(folder, cache=cache), CountingEncoder())
        os._exit(0)
    return child

def end(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

def die_at(number):
    # in the n-th write, with the last bytes still missing
    sync, count = os.fsync, [0]
    def fsync(file):
        count[0] += 1
        if count[0] == number:
            os.ftruncate(file, os.fstat(file).st_size - 7)
            os.kill(os.getpid(), signal.SIGKILL)
        sync(file)
    os.fsync = fsync

started = time.perf_counter()
assert end(begin(folder.parent / "whole")) == 0
whole = time.perf_counter() - started
expected = files_of(folder.parent / "whole")

def require_no_broken_entry():
    for path in cache.glob("*/??/*"):
        assert expected[str(path.relative_to(cache))] == path.read_bytes(), path

writes = 0
while end(begin(cache, lambda: die_at(writes + 1))) == -signal.SIGKILL:
    writes += 1
    require_no_broken_entry()
    assert end(begin(cache)) == 0
    assert files_of(cache) == expected, writes
    shutil.rmtree(cache)

shutil.rmtree(cache)
dice, kills, code = random.Random(0), 0, None
while code != 0:
    child = begin(cache)
    time.sleep(dice.uniform(0, whole / 8 * (kills + 1)))  # three of them are less than a run, on any machine
    os.kill(child, signal.SIGKILL)  # a child that has ended is still there to be waited for
    code = end(child)
    kills += code != 0
    require_no_broken_entry()
assert files_of(cache) == expected
print(writes, kills)
"""


def test_a_killed_run_goes_on_and_ends_with_the_same_files(tmp_path):
    """SIGKILL in every write of a run, each followed by a run that is left alone; then again and again, at any time."""
    write_clips(tmp_path / "clips", 2)
    (tmp_path / "clips" / "bad.mp4").write_text("bad")
    damaged(tmp_path / "clips" / "broken.mp4")
    table_of(tmp_path / "clips" / "metadata.csv", ["0.mp4", "bad.mp4", "broken.mp4", "1.mp4"])
    out = subprocess.run(
        [sys.executable, "-c", KILLED, str(Path(__file__).parent), str(tmp_path / "clips")],
        capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=False,
    )  # fmt: skip
    assert out.returncode == 0, out.stderr[-2000:]
    writes, kills = map(int, out.stdout.split())
    assert (
        writes == 4 + 1 + 2 + 2 * 4
    )  # files, the empty text, a failure and its text; of each clip 3 entries and a row
    assert kills > 2


def test_an_unfinished_line_of_an_index_is_mended(folder):
    prepare(cache_spec(folder), CountingEncoder())
    cache = folder.parent / "cache"
    expected = files_of(cache)
    for name in ("clips.jsonl", "files.jsonl"):
        whole = (cache / name).read_bytes()
        for cut in (1, 20, len(whole.splitlines()[-1])):
            (cache / name).write_bytes(whole[:-cut])
            report = prepare(cache_spec(folder), CountingEncoder())
            assert report.made == NOTHING
            assert files_of(cache) == expected


def test_a_plan_comes_true_and_writes_nothing(folder):
    (folder / "bad.mp4").write_text("bad")
    write_clip(folder / "wide.mp4", moving(3, 12, (24, 48)), 8)
    table_of(folder / "metadata.csv", ["0.mp4", "bad.mp4", "1.mp4", "2.mp4", "wide.mp4"])
    made = cache_spec(folder, buckets=[(16, 16), (16, 32)], frames=[4, 8], stride=[1, 2], windows_per_clip=2)
    before = plan(made, CountingEncoder().blank)
    assert not (folder.parent / "cache").exists()
    assert [str(bucket.bucket) for bucket in before.buckets] == ["4x16x16", "8x16x32"]
    assert [(bucket.clips, bucket.windows) for bucket in before.buckets] == [(3, 6), (1, 2)]
    assert [bucket.grid for bucket in before.buckets] == [(4, 8, 8), (8, 8, 16)]
    assert [bucket.cells for bucket in before.buckets] == [256, 1024]
    assert [clip.path.name for clip in before.rejected] == ["bad.mp4"]
    assert before.amounts["texts"].entries == 5
    assert not any(amount.there for amount in before.amounts.values())
    report = prepare(made, CountingEncoder())
    after, files = plan(made, CountingEncoder().blank), files_of(folder.parent / "cache")
    assert files == files_of(folder.parent / "cache")
    for kind, amount in after.amounts.items():
        assert amount.entries == amount.there == report.made[kind] <= before.amounts[kind].entries
        stored = [load(content) for name, content in files.items() if name.startswith(kind)]
        assert amount.bytes == sum(tensor.nbytes for entry in stored for tensor in entry.values())
    assert after.amounts["texts"] == replace(before.amounts["texts"], there=5)


def test_progress_ends_at_the_whole(folder):
    seen = []
    prepare(cache_spec(folder), CountingEncoder(), progress=lambda *args: seen.append(args))
    assert seen[-1] == ("preparing windows", 3, 3)
    assert ("looking at clips", 3, 3) in seen


def test_real_clips(ti2v_bench, tmp_path):
    settings = {"frames": 9, "buckets": [(48, 48), (32, 64)], "captions": tmp_path / "few.csv"}
    lines = (ti2v_bench / "prompt.csv").read_text().splitlines()
    (tmp_path / "few.csv").write_text("\n".join(lines[:12]) + "\n")
    made = CacheSpec(
        folder_data(ti2v_bench / "videos" / "cogvideox", cache=tmp_path / "cache", **settings), MOTION, SPEC, "pixels"
    )
    report = prepare(made, CountingEncoder())
    assert report.made["latents"] == 11
    assert not report.rejected
    batch = CacheSource(made, 0).batch(0, 4)
    assert {tuple(example.latents.shape) for example in batch} == {(12, 9, 24, 24)}
    assert all(example.caption.replace(" ", "_")[:8] in example.key for example in batch)
    assert len({float(example.heat.mean()) for example in batch}) > 1


CONFIG = """
data: {{kind: folder, videos: {folder}, frames: 4, height: 16, width: 16, cache: {cache}}}
model: {{family: compact, width: 16, text_width: 16}}
"""


def call(tmp_path, capfd, *overrides, dry_run=False, shard=None, fails=False):
    if fails:
        with pytest.raises(SystemExit):
            command.run(str(tmp_path / "run.yaml"), overrides, dry_run, shard)
    else:
        command.run(str(tmp_path / "run.yaml"), overrides, dry_run, shard)
    return re.sub(r"\s+", " ", capfd.readouterr().out)


def test_the_command_plans_makes_and_keeps(folder, tmp_path, capfd, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "run.yaml").write_text(CONFIG.format(folder=folder, cache=tmp_path / "cache"))
    said = call(tmp_path, capfd, dry_run=True)
    assert "4x16x16 │ 3 │ 3 │ 4x8x8 │ 256" in said
    assert "latents │ 3 │ 0" in said
    assert "at the highest" in said
    assert "600 steps of 16 clips" in said
    assert not (tmp_path / "cache").exists()
    assert "latents │ 3 │ 0" in call(tmp_path, capfd)
    assert "latents │ 0 │ 3" in call(tmp_path, capfd)
    assert "heatmaps │ 3 │ 0" in call(tmp_path, capfd, "motion.scale=5.0")
    (folder / "1.mp4").write_text("no video")
    said = call(tmp_path, capfd, fails=True)
    assert "1 clips failed" in said
    assert "1.mp4" in said
    assert "1.mp4" in call(tmp_path, capfd, dry_run=True, fails=True)


def test_the_command_and_the_training_tell_of_texts_that_are_cut(folder, tmp_path, capfd):
    (tmp_path / "run.yaml").write_text(CONFIG.format(folder=folder, cache=tmp_path / "cache"))
    table = folder / "metadata.csv"
    table.write_text(f"{table.read_text().rstrip()}{17 * ' more'}\n")
    told = "1 text is longer than 16 words; compact does not read the rest"
    assert told in call(tmp_path, capfd, dry_run=True)
    assert told in call(tmp_path, capfd)
    assert open_data(load_config(tmp_path / "run.yaml")).notes == [told]


@pytest.mark.parametrize(
    ("overrides", "shard", "said"),
    [
        (["data.cache=null"], None, "data.cache: unset"),
        ([], "2", "expected I/N"),
        ([], "0/4", "shards run from 1/4"),
        ([], "a/b", "expected I/N"),
        (["data={kind: sprites}"], None, "nothing to prepare"),
    ],
)
def test_a_command_that_makes_no_sense_is_refused(folder, tmp_path, overrides, shard, said):
    (tmp_path / "run.yaml").write_text(CONFIG.format(folder=folder, cache=tmp_path / "cache"))
    with pytest.raises(ConfigError, match=said):
        command.run(str(tmp_path / "run.yaml"), overrides, True, shard)


def test_launchers_of_several_processes_are_told_of_shards(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    (tmp_path / "run.yaml").write_text(CONFIG.format(folder=folder, cache=tmp_path / "cache"))
    with pytest.raises(ConfigError, match="--shard 1/4"):
        command.run(str(tmp_path / "run.yaml"), [], False, None)
