"""Windows, buckets and the order of clips: pure functions of numbers, and sources that keep to them."""

import hashlib
import math
import pickle
from collections import Counter

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from motionfocal.data.sources import FolderData, SpritesData, SpritesSource, load_folder, look_at, read_window
from motionfocal.data.windows import Bucket, BucketedOrder, Footage, Sampling, nearest_size, rng_of
from motionfocal.errors import ManifestError, MediaError, ShapeError
from motionfocal.video import write_clip
from motionfocal.worlds import SpritesWorld

from .clips import folder_data, text_of, write_clips, write_table, write_tar
from .films import film, numbers

SIDES = st.integers(8, 2000)
SIZES = st.lists(st.tuples(SIDES, SIDES), min_size=1, max_size=6)
LENGTHS = st.lists(st.integers(2, 200), min_size=1, max_size=4, unique=True).map(tuple)
STRIDES = st.tuples(st.integers(1, 9), st.integers(0, 9)).map(lambda pair: (pair[0], pair[0] + pair[1]))
FOOTAGE = st.builds(Footage, st.integers(1, 2000), SIDES, SIDES, st.just(24.0))
SAMPLINGS = st.builds(Sampling, LENGTHS, SIZES.map(tuple), STRIDES, st.booleans())


@given(SIDES, SIDES, SIZES)
def test_the_nearest_size_crops_least(height, width, sizes):
    """Scaled to cover a size, a clip loses all but this share; the nearest log ratio loses least."""

    def kept(size):
        scale = max(size[0] / height, size[1] / width)
        return size[0] * size[1] / (height * width * scale**2)

    assert kept(nearest_size(height, width, sizes)) == pytest.approx(max(kept(size) for size in sizes))


@given(SAMPLINGS, FOOTAGE, st.integers(0, 2**32))
def test_a_window_lies_in_its_clip(sampling, footage, seed):
    least = (min(sampling.lengths) - 1) * sampling.stride[0] + 1
    if footage.frames < least:
        with pytest.raises(ShapeError, match=f"has {footage.frames} frames.* need {least}"):
            sampling.window(footage, np.random.default_rng(seed))
        return
    window, bucket = sampling.window(footage, np.random.default_rng(seed)), sampling.bucket(footage)
    assert (window.frames, window.height, window.width) == bucket
    assert window.start >= 0
    assert window.start + window.span <= footage.frames
    assert sampling.stride[0] <= window.stride <= sampling.stride[1]
    longer = [length for length in sampling.lengths if length > window.frames]
    assert all((length - 1) * sampling.stride[0] + 1 > footage.frames for length in longer)
    if not sampling.drawn:
        assert (window.start, window.stride) == (0, sampling.stride[0])


@given(SAMPLINGS, FOOTAGE, st.integers(0, 2**32))
def test_a_stride_is_lowered_only_as_far_as_the_clip_demands(sampling, footage, seed):
    assume(sampling.drawn and footage.frames > (min(sampling.lengths) - 1) * sampling.stride[0])
    window = sampling.window(footage, np.random.default_rng(seed))
    endless = Footage(10**9, footage.height, footage.width, footage.fps)
    wished = Sampling((window.frames,), sampling.sizes, sampling.stride, drawn=True)
    stride = wished.window(endless, np.random.default_rng(seed)).stride
    fits = window.frames > 1 and (window.frames - 1) * stride < footage.frames
    assert window.stride == (stride if fits else (footage.frames - 1) // (window.frames - 1))


def test_strides_and_starts_are_drawn_uniformly():
    sampling = Sampling((8,), ((16, 16),), (2, 5), drawn=True)
    windows = [sampling.window(Footage(40, 16, 16, 8), rng_of("window", n)) for n in range(4000)]
    strides = Counter(window.stride for window in windows)
    assert sorted(strides) == [2, 3, 4, 5]
    assert all(abs(count - 1000) < 5 * math.sqrt(1000) for count in strides.values())
    starts = Counter(window.start for window in windows if window.stride == 5)
    assert sorted(starts) == [0, 1, 2, 3, 4]
    assert min(starts.values()) > 0.7 * max(starts.values())


def test_a_window_is_read_from_the_frames_that_it_names(tmp_path):
    film(tmp_path / "long.mp4", 60, size=(48, 96))
    (tmp_path / "t.csv").write_text("file_name,text\nlong.mp4,numbers\n")
    settings = FolderData(
        videos=tmp_path, captions=tmp_path / "t.csv", frames=(5, 9), stride=(3, 6), buckets=[(16, 16), (24, 48)]
    )
    source, rejected = load_folder(settings, seed=3)
    assert not rejected
    seen = set()
    for step in range(12):
        [example] = source.batch(step, 1)
        found = numbers(example.frames)
        assert example.frames.shape == (9, 24, 48, 3)
        stride = found[1] - found[0]
        assert found == list(range(found[0], found[0] + 9 * stride, stride))
        assert example.fps == 30 / stride
        assert example.key is None
        seen.add((found[0], stride))
    assert len(seen) > 6


BUCKETS = st.lists(st.integers(0, 3).map(lambda n: Bucket(8, 16, 16 + n)), min_size=1, max_size=40)


@given(st.integers(1, 40), st.integers(1, 9), st.integers(0, 5), st.integers(0, 3))
def test_the_order_of_one_bucket_is_that_of_the_first_versions(count, size, seed, epoch):
    order, steps = BucketedOrder([Bucket(8, 16, 16)] * count, seed), math.ceil(count / size)
    rng = rng_of("epoch", seed, epoch)
    batches = np.resize(rng.permutation(np.arange(count)), steps * size).reshape(-1, size).tolist()
    places = rng.permutation(steps)
    assert [order.batch(epoch * steps + n, size) for n in range(steps)] == [batches[place] for place in places]


@given(BUCKETS.filter(lambda buckets: len(set(buckets)) > 1), st.integers(1, 9), st.integers(0, 5))
def test_items_of_small_and_large_buckets_come_equally_often(buckets, size, seed):
    order, members = BucketedOrder(buckets, seed), Counter(buckets)
    visits: Counter[int] = Counter()
    for step in range(60):
        batch = order.batch(step, size)
        assert len(batch) == size
        assert len({buckets[item] for item in batch}) == 1
        visits.update(batch)
        seen = {bucket: sum(visits[n] for n, one in enumerate(buckets) if one == bucket) for bucket in members}
        epochs = sum(seen.values()) / len(buckets)
        for bucket, count in members.items():
            # Of each bucket, a batch may be on its way; of an epoch, the batches come in any order.
            assert abs(seen[bucket] - epochs * count) <= 2 * count + (len(members) + 1) * size
            each = [visits[n] for n, one in enumerate(buckets) if one == bucket]
            assert max(each) - min(each) <= 3  # the order's start and end lie within epochs, and so does a batch's


def test_a_clip_alone_in_its_bucket_is_seen_once_an_epoch_in_expectation():
    """It was seen once a place of every batch of its bucket: 64 times an epoch."""
    buckets = [*[Bucket(8, 16, 16)] * 640, Bucket(8, 16, 32)]
    epochs, starts = 128, set()
    for seed in range(8):
        order = BucketedOrder(buckets, seed)
        batches = [order.batch(step, 64) for step in range(epochs * 641 // 64)]
        alone = [step for step, batch in enumerate(batches) if 640 in batch]
        assert len(alone) == 2
        assert all(set(batches[step]) == {640} for step in alone)
        starts.add(alone[0])
    assert len(starts) > 4, "when it comes is drawn, so that a short run may see it too"


@given(st.lists(st.integers(1, 6), min_size=2, max_size=4), st.integers(0, 5), st.integers(0, 3))
def test_an_epoch_of_buckets_that_batches_divide_visits_every_item_once(counts, seed, epoch):
    buckets = [Bucket(8, 16, 16 + n) for n, count in enumerate(counts) for _ in range(3 * count)]
    order = BucketedOrder(buckets, seed)
    batches = [order.batch(step, 3) for step in range(epoch * sum(counts), (epoch + 1) * sum(counts))]
    assert sorted(item for batch in batches for item in batch) == list(range(len(buckets)))


def test_a_run_with_several_buckets_does_not_go_on_where_they_were_ordered_otherwise(tmp_path):
    """That of one bucket does: its order is what it was."""
    folder = folder_of_shapes(tmp_path / "clips")
    for changes, same in (({}, True), (SHAPES, False)):
        source, _ = load_folder(folder_data(folder, **({"cache": None} | changes)), seed=0)
        digest = hashlib.sha256()
        for shot in source._shots:
            digest.update(f"{(shot.caption.id, shot.caption.text, shot.footage)!r}\n".encode())
        assert (source.fingerprint == digest.hexdigest()[:16]) == same


@given(BUCKETS, st.integers(1, 5), st.lists(st.integers(0, 60), min_size=1, max_size=8))
def test_a_batch_is_a_pure_function_of_the_step(buckets, size, steps):
    fresh = [BucketedOrder(buckets, 7).batch(step, size) for step in steps]
    used = BucketedOrder(buckets, 7)
    assert [used.batch(step, size) for step in steps] == fresh
    assert [pickle.loads(pickle.dumps(used)).batch(step, size) for step in steps] == fresh


def test_epochs_and_seeds_differ_and_buckets_mix():
    buckets = [Bucket(8, 16, 16 + n % 2) for n in range(64)]
    first = [BucketedOrder(buckets, 0).batch(step, 4) for step in range(32)]
    assert first[:16] != first[16:]
    assert first != [BucketedOrder(buckets, 1).batch(step, 4) for step in range(32)]
    kinds = [buckets[batch[0]] for batch in first[:16]]
    assert kinds != sorted(kinds)
    assert kinds != sorted(kinds, reverse=True)


def test_sprites_come_by_their_number_whatever_the_batch(tmp_path):
    settings = SpritesData.model_validate({"world": {"size": 16, "frames": 4}, "clips": 10})
    source = SpritesSource(settings, 5)
    assert source.shapes == (source.shape,)
    flat = [example for step in range(4) for example in source.batch(step, 3)]
    parts = [
        example for step in range(4) for part in (range(2), range(2, 3)) for example in source.batch(step, 3, part)
    ]
    world = SpritesWorld(settings.world)
    for number, example in enumerate(flat):
        rng = np.random.default_rng((5, number % 10))  # what the source drew in every version so far
        scene = world.scene_for(1, rng, "train")
        action = world.action(scene, rng, "train")
        assert (example.frames == world.render(scene, action, rng)).all()
        assert (parts[number].frames == example.frames).all()
        assert example.key == str(number % 10)


def folder_of_shapes(folder):
    """Three square clips, two wide ones, one of them short."""
    write_clips(folder, 3, frames=6, size=(32, 32))
    rows = [f"{n}.mp4" for n in range(3)]
    for name, frames in (("wide", 9), ("short", 6)):
        write_clip(folder / f"{name}.mp4", np.zeros((frames, 24, 48, 3), np.uint8), 16)
        rows.append(f"{name}.mp4")
    write_table(folder / "metadata.csv", rows)
    return folder


SHAPES = {"frames": (4, 8), "buckets": [(16, 16), (16, 32)], "cache": None}


def test_a_folders_batches_have_one_shape_each(tmp_path):
    source, rejected = load_folder(folder_data(folder_of_shapes(tmp_path / "clips"), **SHAPES), seed=0)
    assert not rejected
    assert len(source) == 5
    shapes = [(one.frames, one.height, one.width, one.fps) for one in source.shapes]
    assert shapes == [(4, 16, 16, 8), (4, 16, 32, 16), (8, 16, 32, 16)]
    assert source.shape == source.shapes[0]
    found = set()
    for step in range(8):
        frames = np.stack([example.frames for example in source.batch(step, 2)])
        found.add(frames.shape)
    assert found == {(2, 4, 16, 16, 3), (2, 4, 16, 32, 3), (2, 8, 16, 32, 3)}


@pytest.mark.parametrize("stride", [1, (1, 2)])
def test_a_folders_batches_are_pure_and_can_be_had_in_parts(tmp_path, stride):
    settings = folder_data(folder_of_shapes(tmp_path / "clips"), **(SHAPES | {"frames": 3, "stride": stride}))
    source, _ = load_folder(settings, seed=0)
    again, _ = load_folder(settings, seed=0)
    list(again.batch(3, 2))
    for step in range(5):
        whole = source.batch(step, 2)
        parts = again.batch(step, 2, range(1, 2)) + again.batch(step, 2, range(1))
        assert again.batch(step, 2, range(0)) == []
        for one, other in zip(whole, reversed(parts), strict=True):
            assert (one.frames == other.frames).all()
            assert (one.text, one.fps, one.key) == (other.text, other.fps, other.key)
            assert (one.key is None) == (stride != 1)


def test_bad_clips_are_found_at_opening_and_the_others_go_on(tmp_path):
    folder = tmp_path / "clips"
    names = write_clips(folder, 5, frames=12)
    write_table(folder / "metadata.csv", names)
    (folder / "1.mp4").write_text("not a video")
    write_clip(folder / "2.mp4", np.zeros((3, 24, 32, 3), np.uint8), 8)
    (folder / "3.mp4").write_bytes(b"")
    source, rejected = load_folder(folder_data(folder, cache=None), seed=0)
    assert [example.text for example in sorted(source.batch(0, 2), key=lambda one: one.text)] == [
        text_of("0.mp4"), text_of("4.mp4")
    ]  # fmt: skip
    assert [clip.path.name for clip in rejected] == ["1.mp4", "2.mp4", "3.mp4"]
    assert all(str(clip.path) in clip.reason for clip in rejected)
    assert "has 3 frames; 4 at stride 1 need 4" in rejected[1].reason
    for name in ("0", "4"):
        (folder / f"{name}.mp4").write_text("nor this")
    with pytest.raises(ManifestError, match="none of 5 training clips can be used"):
        load_folder(folder_data(folder, cache=None), seed=0)


def test_of_a_clip_cut_off_the_frames_that_are_there_are_used(tmp_path):
    whole = film(tmp_path / "whole.mkv", 40)
    data = whole.read_bytes()
    (tmp_path / "cut.mkv").write_bytes(data[: int(0.7 * len(data))])
    (tmp_path / "t.csv").write_text("file_name,text\ncut.mkv,numbers\n")
    settings = FolderData(videos=tmp_path, captions=tmp_path / "t.csv", frames=8, stride=(1, 4))
    source, rejected = load_folder(settings, seed=0)
    assert not rejected
    for step in range(20):
        assert len(source.batch(step, 1)[0].frames) == 8


def test_clips_in_a_shard_are_read_like_files(tmp_path):
    folder = tmp_path / "clips"
    names = write_clips(folder, 3)
    write_table(folder / "metadata.csv", names)
    members = {}
    for name in names:
        members |= {name: (folder / name).read_bytes(), name.replace("mp4", "txt"): text_of(name).encode()}
    members |= {"bad.mp4": b"this is no video", "bad.txt": b"bad"}
    write_tar(tmp_path / "set.tar", members)
    files, _ = load_folder(folder_data(folder, cache=None), seed=0)
    shard, rejected = load_folder(folder_data(folder, videos=tmp_path / "set.tar", cache=None), seed=0)
    assert [clip.reason.split(": ")[:2] for clip in rejected] == [[str(tmp_path / "set.tar"), "bad.mp4"]]
    by_text = {example.text: example for example in shard.batch(0, 3)}
    for example in files.batch(0, 3):
        assert (by_text[example.text].frames == example.frames).all()


def test_the_next_clip_of_a_bucket_stands_in_for_one_that_breaks_later(tmp_path):
    source, _ = load_folder(folder_data(folder_of_shapes(tmp_path / "clips"), **SHAPES), seed=0)
    before = [source.batch(step, 2) for step in range(8)]
    (tmp_path / "clips" / "1.mp4").unlink()
    broken, other = text_of("1.mp4"), text_of("2.mp4")
    for step, batch in enumerate(before):
        for one, now in zip(batch, source.batch(step, 2), strict=True):
            assert now.text == (other if one.text == broken else one.text)
            assert list(now.unread) == (["1"] if one.text == broken else [])
            assert (one.text == broken) or (now.frames == one.frames).all()
    assert any(one.text == broken for batch in before for one in batch)


def test_the_only_clip_of_a_bucket_that_breaks_later_is_an_error_with_its_name(tmp_path):
    names = write_clips(tmp_path / "clips", 1)
    write_table(tmp_path / "clips" / "metadata.csv", names)
    source, _ = load_folder(folder_data(tmp_path / "clips", cache=None), seed=0)
    (tmp_path / "clips" / "0.mp4").unlink()
    with pytest.raises(MediaError, match=r"0.mp4"):
        source.batch(0, 1)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"videos": 5}, "the path of a folder"),
        ({"videos": []}, "the path of a folder"),
        ({"frames": 1}, "frames from 2 on"),
        ({"frames": []}, "frames from 2 on"),
        ({"frames": [8, 8]}, "stands twice"),
        ({"frames": "many"}, "frames from 2 on"),
        ({"stride": 0}, "from 1 on"),
        ({"stride": [3, 2]}, "least, most"),
        ({"stride": [1, 2, 3]}, "least, most"),
        ({"stride": 1.5}, "least, most"),
        ({"buckets": []}, "at least one size"),
        ({"buckets": [[64, 64], [32, 32]]}, "one aspect ratio"),
        ({"buckets": [[64, 4]]}, "greater than or equal to 8"),
        ({"buckets": [[64, 32]], "height": 128}, "no effect with buckets"),
        ({"windows_per_clip": 2, "cache": "c"}, "the same window again"),
        ({"windows_per_clip": 2, "stride": [1, 2]}, "no effect without a cache"),
        ({"window_seed": 2, "cache": "c"}, "no effect with a fixed stride"),
        ({"window_seed": 2, "stride": [1, 2]}, "no effect without a cache"),
        ({"cache_dtype": "float16"}, "no effect without a cache"),
        ({"videos": "x.tar", "captions": "x.csv"}, "no effect with tar shards"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes, said):
    with pytest.raises(ValidationError, match=said) as caught:
        FolderData.model_validate({"videos": "clips"} | changes)
    assert caught.value.error_count() == 1


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"frames": [8, 16], "stride": [1, 4], "buckets": [[64, 64], [64, 96]], "videos": ["a.tar", "b.tar"]},
        {"stride": [2, 2], "cache": "c", "windows_per_clip": 3, "window_seed": 1, "cache_dtype": "bfloat16"},
    ],
)
def test_settings_come_back_from_their_resolved_form(changes):
    settings = FolderData.model_validate({"videos": "clips"} | changes)
    assert FolderData.model_validate(settings.model_dump(mode="json")) == settings


def test_a_footage_is_what_a_person_sees(ti2v_bench):
    from motionfocal.data.files import VideoFile
    from motionfocal.data.windows import Window

    path = next((ti2v_bench / "videos" / "motif").glob("*.mp4"))
    assert look_at(VideoFile(path)) == Footage(16, 320, 320, 8.0)
    clip = read_window(VideoFile(path), Window(1, 3, 5, 32, 64))
    assert clip.frames.shape == (5, 32, 64, 3)
    assert clip.fps == pytest.approx(8 / 3)
