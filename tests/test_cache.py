"""Entries survive anything or say that they did not; what training reads is what the model and the flow gave."""

import json
import pickle
import shutil

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from motionfocal.data.cache import CacheSource, CacheSpec
from motionfocal.data.cache_folder import CacheFolder, CacheWriter, FileFacts
from motionfocal.data.files import Stamp, VideoFile
from motionfocal.data.manifest import Caption
from motionfocal.data.prepare import prepare
from motionfocal.data.windows import Footage
from motionfocal.engine import Lost
from motionfocal.errors import CheckpointError, ConfigError, DamagedFileError, ManifestError, ShapeError
from motionfocal.jsonl import append_jsonl, read_jsonl
from motionfocal.motion import motion_of, pool_to_latent
from motionfocal.motion.heatmap import HeatmapSettings
from motionfocal.motion.latent import LatentSpec
from motionfocal.shard import Shard
from motionfocal.video import read_clip, write_clip

from .clips import (
    CAUSAL,
    MOTION,
    SPEC,
    CountingEncoder,
    cache_spec,
    folder_data,
    moving,
    prepared,
    text_of,
    write_clips,
    write_table,
)  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    write_table(tmp_path / "clips" / "metadata.csv", write_clips(tmp_path / "clips", 3))
    return tmp_path / "clips"


DTYPES = st.sampled_from(["float64", "float32", "float16", "bfloat16", "int64", "uint8", "bool"])
SHAPES = st.lists(st.integers(0, 4), max_size=3).map(tuple)
TENSORS = st.dictionaries(st.sampled_from(["a", "image.b", "c"]), st.tuples(SHAPES, DTYPES), min_size=1)


@given(TENSORS, st.sampled_from([None, torch.float32, torch.bfloat16, torch.float16]), st.integers(0, 99))
def test_an_entry_comes_back_rounded_as_asked_and_in_its_own_dtype(new_folder, tensors, dtype, seed):
    rng = torch.Generator().manual_seed(seed)
    given_ = {
        name: (8 * torch.rand(shape, generator=rng)).to(getattr(torch, kind)) for name, (shape, kind) in tensors.items()
    }
    folder = CacheFolder(new_folder())
    with CacheWriter(folder, Shard()) as writer:
        writer.entries.write("latents", "ab12", given_, dtype)
    back = folder.read("latents", "ab12")
    assert set(back) == set(given_)
    for name, tensor in given_.items():
        rounds = dtype is not None and tensor.is_floating_point() and tensor.itemsize > dtype.itemsize
        assert back[name].dtype == tensor.dtype
        assert torch.equal(back[name], tensor.to(dtype).to(tensor.dtype) if rounds else tensor)
    assert [path.name for path in folder.root.rglob("*")] == ["latents", "ab", "ab12.safetensors"]


def test_equal_entries_are_equal_files(tmp_path):
    tensors = {f"image.{n}": torch.arange(9.0, dtype=torch.float64) * n for n in range(20)}
    contents = set()
    for n in range(5):
        folder = CacheFolder(tmp_path / str(n))
        with CacheWriter(folder, Shard()) as writer:
            writer.entries.write("latents", "ab", tensors, torch.float32)
        contents.add(folder.path("latents", "ab").read_bytes())
    assert len(contents) == 1


@pytest.mark.parametrize("kind", ["latents", "texts", "heatmaps"])
@pytest.mark.parametrize("share", [0, 0.02, 0.5, 0.99, None])
def test_a_damaged_entry_is_named_with_what_to_do(folder, kind, share):
    made = prepared(folder)
    source = CacheSource(made, 0)
    for path in (made.folder.root / kind).rglob("*.safetensors"):
        data = path.read_bytes()
        if share is None:
            path.unlink()
        else:
            path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(DamagedFileError, match=rf"/{kind}/.*safetensors: damaged.*delete it.*motionfocal prepare"):
        source.batch(0, 1)


def one_window(made: CacheSpec, text: str = "t", content: str = "c", frames: int = 9):
    caption = Caption("id", VideoFile(made.data.cache / "x.mp4"), text)
    return made.windows(caption, FileFacts(content, Footage(frames, 24, 32, 8.0)))[0].keys


@pytest.mark.parametrize(
    ("change", "changed"),
    [
        ({}, ""),
        ({"content": "d"}, "latents heatmaps"),
        ({"text": "u"}, "texts"),
        ({"data": {"height": 32}}, "latents heatmaps"),
        ({"data": {"frames": 8}}, "latents heatmaps"),
        ({"data": {"stride": 2}}, "latents heatmaps"),
        ({"data": {"stride": [2, 2]}}, "latents heatmaps"),
        ({"data": {"cache_dtype": "bfloat16"}}, "latents texts"),
        ({"data": {"cache": "elsewhere"}}, ""),
        ({"encoder": "another"}, "latents texts"),
        ({"motion": {"scale": 3.0}}, "heatmaps"),
        ({"motion": {"floor": 0.2}}, "heatmaps"),
        ({"motion": {"estimator": "dis"}}, "heatmaps"),
        ({"motion": {"camera": "compensated"}}, "heatmaps"),
        ({"latent": LatentSpec(12, 4)}, "heatmaps"),
        ({"latent": LatentSpec(12, 2, lead=1)}, "heatmaps"),
        ({"latent": LatentSpec(16, 2, layout="tokens")}, ""),
        ({"frames": 10}, ""),
    ],
)
def test_an_entrys_name_depends_on_what_it_is_made_of_and_nothing_else(tmp_path, change, changed):
    def keys(data=None, motion=None, latent=SPEC, encoder="e", text="t", content="c", frames=9):
        made = CacheSpec(folder_data(tmp_path, **(data or {})), MOTION.model_copy(update=motion or {}), latent, encoder)
        return one_window(made, text, content, frames)

    before, after = keys(), keys(**change)
    assert {kind for kind in before._fields if getattr(before, kind) != getattr(after, kind)} == set(changed.split())


def test_windows_are_drawn_by_clip_and_number_whatever_the_runs_seed(tmp_path):
    made = cache_spec(tmp_path, stride=[1, 4], windows_per_clip=6, frames=3)
    footage = FileFacts("c", Footage(90, 24, 32, 8.0))
    clips = [Caption(name, VideoFile(tmp_path / "x.mp4"), "t") for name in "ab"]
    windows = [[one.window for one in made.windows(clip, footage)] for clip in clips]
    assert len(set(windows[0])) > 3
    assert windows[0] != windows[1]
    assert windows == [[one.window for one in made.windows(clip, footage)] for clip in clips]
    other = cache_spec(tmp_path, stride=[1, 4], windows_per_clip=6, frames=3, window_seed=1)
    assert windows[0] != [one.window for one in other.windows(clips[0], footage)]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("spec", [SPEC, CAUSAL], ids=["frames", "causal"])
def test_examples_are_what_the_model_and_the_flow_give(folder, spec, dtype):
    made = CacheSpec(folder_data(folder, frames=5, cache_dtype=dtype), MOTION, spec, "pixels")
    prepare(made, CountingEncoder(spec))
    source, model = CacheSource(made, seed=0), CountingEncoder(spec)
    assert (source.shape.frames, source.shape.height, source.shape.width, source.shape.fps) == (5, 16, 16, 8)
    assert not source.rejected
    rounding = torch.bfloat16 if dtype == "bfloat16" else torch.float32
    for example in source.batch(0, 3):
        clip = read_clip(folder / f"{example.key}.mp4", frames=5, size=(16, 16))
        frames = torch.from_numpy(clip.frames)[None]
        assert torch.equal(example.latents, model.encode(frames)[0].to(rounding).float())
        image, text = model.encode_image(frames[:, 0], 5), model.encode_text([text_of(example.key)])
        assert torch.equal(example.image["mean"], image["mean"][0].to(rounding).float())
        assert torch.equal(example.image["frames"], image["frames"][0])
        assert torch.equal(example.text["embedding"], text["embedding"][0].to(rounding).float())
        assert torch.equal(example.text["codes"], text["codes"][0])
        motion = motion_of(clip.frames, MOTION)
        heat = pool_to_latent(motion.heat, spec)
        assert example.heat.dtype == torch.float32
        assert example.heat.shape == heat.shape == example.latents.shape[1:]
        assert (example.heat - heat).abs().max() <= 1 / 510 + 1e-6
        assert heat.max() > 0.5
        assert example.score == pytest.approx(motion.score, rel=1e-6)
        assert (example.caption, example.fps) == (text_of(example.key), 8)
    assert torch.equal(source.text("")["mask"], model.encode_text([""])["mask"][0])


def test_a_clip_more_or_another_window_is_another_fingerprint(folder):
    made = prepared(folder, stride=[1, 2])
    other = prepared(folder, stride=[1, 2], window_seed=1)
    before = CacheSource(made, 0).fingerprint
    assert CacheSource(other, 0).fingerprint != before
    write_clip(folder / "more.mp4", moving(7, 12, (24, 24)), 8)
    write_table(folder / "metadata.csv", ["0.mp4", "1.mp4", "2.mp4", "more.mp4"])
    assert CacheSource(prepared(folder, stride=[1, 2]), 0).fingerprint != before


def test_every_window_comes_once_an_epoch_in_batches_of_one_shape(folder):
    write_clip(folder / "wide.mp4", moving(7, 12, (24, 48)), 8)
    write_table(folder / "metadata.csv", ["0.mp4", "1.mp4", "2.mp4", "wide.mp4"])
    made = prepared(folder, buckets=[(16, 16), (16, 32)], frames=[3, 6], stride=[1, 2], windows_per_clip=2)
    source = CacheSource(made, 0)
    assert len(source) == 8
    assert [(one.frames, one.width) for one in source.shapes] == [(6, 16), (6, 32)]
    batches = [source.batch(step, 2) for step in range(8)]
    for batch in batches:
        assert len({example.latents.shape for example in batch}) == 1
    for epoch in (batches[:4], batches[4:]):
        keys = sorted(example.key for batch in epoch for example in batch)
        assert keys == sorted(f"{name}@{n}" for name in ("0", "1", "2", "wide") for n in range(2))
    again = pickle.loads(pickle.dumps(CacheSource(made, 0)))
    assert again.fingerprint == source.fingerprint
    for step in (5, 2):
        parts = again.batch(step, 2, range(1)) + again.batch(step, 2, range(1, 2))
        assert [one.key for one in parts] == [one.key for one in batches[step]]
        assert all(torch.equal(a.heat, b.heat) for a, b in zip(parts, batches[step], strict=True))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"motion": HeatmapSettings(scale=3.0, floor=0.1)},
         r"of 3 windows it lacks 0 latents, 0 texts, 3 heatmaps; changed since: motion.scale \(was 2.0, is 3.0\)"),
        ({"height": 32}, r"3 latents, 0 texts, 3 heatmaps; changed since: window.height \(was 16, is 32\)"),
        ({"encoder": "new"}, r"3 latents, 3 texts, 0 heatmaps; the empty text .*: encoder \(was pixels, is new\)"),
        ({"cache_dtype": "float16"}, r"3 latents, 3 texts.*cache_dtype \(was float32, is float16\)"),
    ],
)  # fmt: skip
def test_a_cache_for_other_settings_says_what_is_missing_and_what_changed(folder, change, said):
    prepared(folder)
    with pytest.raises(CheckpointError, match=said + r".*Run 'motionfocal prepare CONFIG'"):
        CacheSource(cache_spec(folder, **change), 0)


def test_a_cache_that_was_never_prepared_says_so(folder):
    with pytest.raises(CheckpointError, match="3 clips were never looked at"):
        CacheSource(cache_spec(folder), 0)
    with pytest.raises(ConfigError, match=r"data.cache: unset"):
        CacheSource(cache_spec(folder, cache=None), 0)
    with pytest.raises(ManifestError):
        CacheSource(cache_spec(folder / "nowhere"), 0)
    with pytest.raises(ShapeError, match="multiples of 2"):
        CacheSource(cache_spec(folder, height=15), 0)


def test_a_clip_or_text_that_changed_is_told(folder):
    made = prepared(folder)
    write_clip(folder / "1.mp4", moving(99), 8)
    with pytest.raises(CheckpointError, match="1 clips were never looked at, or their files changed"):
        CacheSource(made, 0)
    prepare(made, CountingEncoder())
    table = folder / "metadata.csv"
    table.write_text(table.read_text().replace("number 2", "number two"))
    with pytest.raises(CheckpointError, match=r"0 latents, 1 texts, 0 heatmaps; changed since: text \(was .*two"):
        CacheSource(made, 0)
    prepare(made, CountingEncoder())
    assert len(CacheSource(made, 0)) == 3


def test_clips_that_failed_are_left_out_and_listed(folder):
    (folder / "1.mp4").write_text("no video")
    write_clip(folder / "2.mp4", moving(2, 3), 8)
    made = prepared(folder)
    source = CacheSource(made, 0)
    assert [example.key for example in source.batch(0, 2)] == ["0", "0"]
    assert [clip.path.name for clip in source.rejected] == ["1.mp4", "2.mp4"]
    (folder / "0.mp4").write_text("nor this")
    prepare(made, CountingEncoder())
    with pytest.raises(ManifestError, match="none of 3 training clips can be used"):
        CacheSource(made, 0)


class Losing:
    """An engine whose worker dies of one clip."""

    def __init__(self, clip: str) -> None:
        self._clip = clip

    def map(self, work, items):
        for item in items:
            yield Lost("its worker died") if item.window.caption.id == self._clip else work(item)


def test_a_heatmap_that_failed_costs_its_clip_alone(folder):
    """The latents of the clip are there from before: it is left out and listed, as when they had failed."""
    made = prepared(folder)
    other = cache_spec(folder, motion=HeatmapSettings(scale=3.0, floor=0.1))
    assert [clip.path.name for clip in prepare(other, CountingEncoder(), engine=Losing("1")).rejected] == ["1.mp4"]
    source = CacheSource(other, 0)
    assert (len(source), [clip.path.name for clip in source.rejected]) == (2, ["1.mp4"])
    assert len(CacheSource(made, 0)) == 3, "by the settings before, nothing is lacking"
    assert prepare(other, CountingEncoder()).made == {"latents": 0, "texts": 0, "heatmaps": 1}
    assert len(CacheSource(other, 0)) == 3


def test_what_one_shard_could_not_read_another_may_have(tmp_path):
    stamp, facts = Stamp("a.mp4", 5, 7), FileFacts("00", Footage(4, 8, 8, 8.0))
    for shard, found in ((Shard(), "no decoder"), (Shard(1, 2), facts), (Shard(2, 2), "no decoder")):
        with CacheWriter(CacheFolder(tmp_path), shard) as writer:
            writer.add_file(stamp, found)
    assert CacheFolder(tmp_path).files() == {stamp: facts}


@pytest.mark.parametrize(
    "row", [{"id": "a", "n": 0}, {"id": "a", "n": 0, "rejected": 5}, {"rejected": "x", "keys": {"latents": "y"}}]
)
def test_a_row_that_lacks_what_is_read_of_it_is_damaged(folder, row):
    made = prepared(folder)
    append_jsonl(made.folder.root / "clips.jsonl", row)
    for use in (lambda: CacheSource(made, 0), lambda: prepare(made, CountingEncoder())):
        with pytest.raises(DamagedFileError, match=r"clips.jsonl, line 4: not a row of a cache"):
            use()


def test_a_failure_of_before_keys_were_written_down_is_tried_again(folder):
    made = prepared(folder)
    append_jsonl(made.folder.root / "clips.jsonl", {"id": "9", "n": 0, "latents": "ab", "rejected": "no decoder"})
    assert len(CacheSource(made, 0)) == 3
    assert not prepare(made, CountingEncoder()).rejected


def test_training_needs_the_data_set_only_to_know_what_belongs_to_it(folder, monkeypatch):
    """Nothing is decoded or hashed: a file may hold anything, as long as it looks untouched."""
    made = prepared(folder)
    from motionfocal.data import sources

    def forbidden(*args, **kwargs):
        raise AssertionError("a clip was opened")

    for name in ("read_clip", "probe"):
        monkeypatch.setattr(sources, name, forbidden)
    monkeypatch.setattr(VideoFile, "content", forbidden)
    assert len(CacheSource(made, 0).batch(0, 3)) == 3


def test_the_index_can_be_read_by_anyone(folder):
    made = prepared(folder)
    rows = read_jsonl(made.folder.root / "clips.jsonl")
    assert [row["id"] for row in rows] == ["0", "1", "2"]
    for row in rows:
        assert row["window"] == {"start": 0, "stride": 1, "frames": 4, "height": 16, "width": 16}
        assert row["text"] == text_of(row["id"])
        assert row["fps"] == 8
        assert 0.02 < row["moving_share"] < 0.9
        assert row["score"] > 0
        for kind, key in row["keys"].items():
            assert made.folder.path(kind, key).is_file()
    assert json.loads((made.folder.root / "files.jsonl").read_text().splitlines()[0])["frames"] == 6


def test_a_cache_may_move_to_another_place(folder, tmp_path):
    made = prepared(folder)
    shutil.move(tmp_path / "cache", tmp_path / "elsewhere")
    assert len(CacheSource(cache_spec(folder, cache=tmp_path / "elsewhere"), 0)) == 3
    assert not made.folder.keys("latents")


def test_shards_share_out_all_clips():
    clips = [f"clip {n}" for n in range(999)]
    held = [[Shard(index, 4).holds(clip) for index in (1, 2, 3, 4)] for clip in clips]
    assert all(sum(row) == 1 for row in held)
    assert min(np.sum(held, axis=0)) > 200
    for wrong in ((0, 4), (5, 4), (1, 0)):
        with pytest.raises(ConfigError, match="shards run from 1"):
            Shard(*wrong)


@pytest.mark.parametrize("rounded", ['{"a": "float3"}', '{"b": "float32"}', "[1]", "{", '{"a": 1}'])
def test_an_entry_whose_metadata_is_odd_is_damaged(tmp_path, rounded):
    folder = CacheFolder(tmp_path)
    path = folder.path("latents", "ab")
    path.parent.mkdir(parents=True)
    save_file({"a": torch.zeros(2)}, path, {"rounded": rounded})
    with pytest.raises(DamagedFileError, match="run 'motionfocal prepare' again"):
        folder.read("latents", "ab")
