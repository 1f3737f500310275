"""Sampling and galleries: seeded and resumable."""

import json
import re
from functools import partial

import numpy as np
import pytest
import torch

from motionfocal.benchmarks import BenchmarkItem
from motionfocal.errors import ConfigError, GalleryError, GenerationError, ShapeError
from motionfocal.generation.animator import Failed, Made
from motionfocal.generation.animators.checkpoint import CheckpointAnimator
from motionfocal.generation.gallery import Gallery
from motionfocal.generation.generate import SETTINGS, generate, item_seed
from motionfocal.generation.origin import load_origin
from motionfocal.generation.sampler import SamplingSettings, sample, sampling_of
from motionfocal.generation.world import animate_world, drawn, world_items
from motionfocal.models.build import LoadedModel, ModelCard, build_model, save_model
from motionfocal.models.families import compact
from motionfocal.models.protocol import ClipShape
from motionfocal.shard import Shard
from motionfocal.video import Clip, content_of, probe, read_clip, resize_and_crop, write_image
from motionfocal.worlds import SpritesSettings
from motionfocal.worlds.benchmark import SpritesBenchmark

SHAPE = ClipShape(frames=4, height=16, width=16, fps=8)
QUICK = SamplingSettings(steps=3, guidance_scale=2.0)


@pytest.fixture(scope="module")
def loaded():
    card = ModelCard(name="tiny", model=compact.Family(width=16, text_width=16, motion_score=True), shape=SHAPE)
    model = build_model(card.model, SHAPE, seed=0)
    with torch.no_grad():
        rng = torch.Generator().manual_seed(1)
        for parameter in model.network.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=rng))
    model.network.eval()
    return LoadedModel(card, model)


def items(count=5):
    rng = np.random.default_rng(0)
    return [
        drawn(f"item{n}", f"image{n // 2}", rng.integers(0, 256, (16, 16, 3), np.uint8), f"text {n}")
        for n in range(count)
    ]


def animate(loaded, asked, folder, *, sampling=QUICK, weights="w", batch_size=8, **how):
    """A gallery by the tiny model."""
    animator = CheckpointAnimator(loaded.card, lambda: loaded, sampling, weights, batch_size=batch_size)
    return generate(animator, asked, folder, **how).gallery


def pictures(count):
    return np.stack([item.picture() for item in items(count)])


def test_a_clip_depends_on_its_own_seed_and_not_on_its_neighbours(loaded):
    texts = ["a", "b", "c"]
    together = sample(loaded, pictures(3), texts, [7, 8, 9], QUICK)
    alone = sample(loaded, pictures(3)[1:2], texts[1:2], [8], QUICK)
    assert together.shape == (3, 4, 16, 16, 3)
    assert np.abs(together[1].astype(int) - alone[0]).max() <= 1  # other batch sizes may round differently
    assert (sample(loaded, pictures(3), texts, [7, 8, 10], QUICK)[2] != together[2]).any()
    assert (sample(loaded, pictures(3), texts, [7, 8, 9], QUICK) == together).all()


def test_guidance_moves_away_from_the_unconditional_clip(loaded):
    plain, strong = (
        sample(loaded, pictures(1), ["a"], [0], SamplingSettings(steps=3, guidance_scale=g)) for g in (1, 9)
    )
    assert (plain != strong).any()
    empty = [sample(loaded, pictures(1), [""], [0], SamplingSettings(steps=3, guidance_scale=g)) for g in (1, 9)]
    assert np.abs(empty[0].astype(int) - empty[1]).max() <= 1  # the empty text is the unconditional one


@pytest.mark.parametrize(("guidance", "encoded"), [(1, [["a"]]), (2, [["a"], [""]])])
def test_the_empty_text_is_encoded_for_guidance_alone(loaded, monkeypatch, guidance, encoded):
    encode, seen = loaded.model.encode_text, []
    monkeypatch.setattr(loaded.model, "encode_text", lambda texts: seen.append(list(texts)) or encode(texts))
    sample(loaded, pictures(1), ["a"], [0], SamplingSettings(steps=2, guidance_scale=guidance))
    assert seen == encoded


def test_defaults_are_the_papers():
    assert (SamplingSettings().steps, SamplingSettings().guidance_scale) == (50, 7.5)


def test_a_model_is_sampled_with_the_guidance_of_its_validation_unless_another_is_asked_for(loaded):
    assert sampling_of(loaded.card, {"steps": 3}) == SamplingSettings(steps=3)
    card = loaded.card.model_copy(update={"guidance_scale": 3.0})
    assert sampling_of(card, {"steps": 3}) == SamplingSettings(steps=3, guidance_scale=3.0)
    assert sampling_of(card, {"guidance_scale": 5.0}) == SamplingSettings(guidance_scale=5.0)


@pytest.mark.parametrize("asked", [{"guidance_scale": float("inf")}, {"motion_score": float("nan")}, {"stepps": 3}])
def test_sampling_that_cannot_be_is_refused_in_one_line(loaded, asked):
    with pytest.raises(ConfigError, match=rf"{next(iter(asked))}: .*; settings are steps, guidance_scale"):
        sampling_of(loaded.card, asked)


def test_a_motion_score_reaches_the_clip(loaded):
    said = [sample(loaded, pictures(1), ["a"], [0], SamplingSettings(steps=3, motion_score=m))[0] for m in (None, 0, 5)]
    assert (said[0] != said[1]).any()
    assert (said[1] != said[2]).any()


def test_priors_that_a_model_does_not_take_are_refused(loaded):
    with pytest.raises(ConfigError, match="tiny was not trained with a motion mask"):
        sample(loaded, pictures(1), ["a"], [0], QUICK, motion_mask=np.ones((1, 16, 16), np.float32))


def test_images_of_another_size_are_refused(loaded):
    with pytest.raises(ShapeError, match=r"\[B,16,16,3\]"):
        sample(loaded, np.zeros((1, 16, 20, 3), np.uint8), ["a"], [0], QUICK)


def test_a_gallery_holds_a_clip_and_a_row_for_every_item(loaded, tmp_path):
    gallery = animate(loaded, items(), tmp_path, batch_size=2, upscale=4)
    assert [row.id for row in gallery.rows()] == [f"item{n}" for n in range(5)]
    row = gallery.row("item3")
    assert (row.model, row.image, row.text, row.native_size, row.frames, row.fps, row.steps) == (
        "tiny", "image1", "text 3", (16, 16), 4, 8, 3)  # fmt: skip
    info = probe(gallery.path("item3"))
    assert (info.width, info.height, info.codec, info.pixel_format) == (64, 64, "h264", "yuv420p")
    assert Gallery.open(tmp_path).rows() == gallery.rows()
    assert gallery.model == "tiny"


def test_written_clips_are_what_was_sampled(loaded, tmp_path):
    item = items(1)[0]
    gallery = animate(loaded, [item], tmp_path, upscale=8)
    sampled = sample(loaded, item.picture()[None], [item.text], [item_seed(0, item.id)], QUICK)[0]
    read = resize_and_crop(read_clip(gallery.path("item0")).frames, (16, 16))
    assert np.abs(read.astype(int) - sampled).mean() < 8


def test_a_half_made_gallery_goes_on(loaded, tmp_path, monkeypatch):
    made = []
    original = sample
    monkeypatch.setattr(
        "motionfocal.generation.animators.checkpoint.sample",
        lambda loaded, pictures, texts, *rest: made.extend(texts) or original(loaded, pictures, texts, *rest),
    )
    animate(loaded, items(3), tmp_path, batch_size=1)
    whole = (tmp_path / "gallery.jsonl").read_text()
    (tmp_path / "item1.mp4").unlink()  # a lost file
    (tmp_path / "gallery.jsonl").write_text(whole + whole.splitlines()[0][:40])  # and a torn last line
    made.clear()
    told = []
    gallery = animate(loaded, items(5), tmp_path, batch_size=1, progress=told.append)
    assert made == ["text 1", "text 3", "text 4"]
    assert told == [2, 1, 1, 1]
    assert [row.id for row in gallery.rows()] == [f"item{n}" for n in range(5)]
    assert len(Gallery.open(tmp_path).rows()) == 5
    made.clear()
    animate(loaded, items(5), tmp_path)
    assert not made


@pytest.mark.parametrize(
    "change", [{"weights": "other"}, {"seed": 1}, {"sampling": SamplingSettings(steps=2)}, {"name": "another"}]
)
def test_clips_of_other_settings_are_made_anew(loaded, tmp_path, change):
    arguments = {"weights": "w", "seed": 0, "sampling": QUICK}

    def make(**how):
        return animate(loaded, items(1), tmp_path, **how).row("item0")

    before = make(**arguments)
    after = make(**{**arguments, **change})
    assert before.settings != after.settings
    assert len(Gallery.open(tmp_path).rows()) == 1


class Scripted:
    """An animator of grey clips, in any order, that fails where it is told to."""

    name, steps, group = "scripted", None, 100
    settings = {"version": 1}  # noqa: RUF012

    def __init__(self, failing=(), silent=()):
        self.failing, self.silent, self.asked = failing, silent, []

    def animate(self, items, seeds):
        self.asked += [item.id for item in items]
        for item, seed in reversed(list(zip(items, seeds, strict=True))):
            if item.id in self.failing:
                yield Failed(item.id, "out of memory")
            elif item.id not in self.silent:
                yield Made(item.id, Clip(np.full((3, 16, 20, 3), seed % 256, np.uint8), 8), seed)


def test_a_failing_item_does_not_stop_the_others_and_is_tried_again(tmp_path):
    told = []
    made = generate(Scripted(failing=["item1"], silent=["item3"]), items(), tmp_path, progress=told.append)
    assert {failure.id: failure.reason for failure in made.failed} == {
        "item1": "out of memory", "item3": "scripted gave no clip and no reason"}  # fmt: skip
    assert sum(told) == 5
    assert [row.id for row in made.gallery.rows()] == ["item0", "item2", "item4"]
    assert made.gallery.row("item0").native_size == (16, 20)
    again = Scripted()
    assert not generate(again, items(), tmp_path).failed
    assert again.asked == ["item1", "item3"]
    assert json.loads((tmp_path / SETTINGS).read_text())["settings"] == {"version": 1}


class OneByOne(Scripted):
    """Items one after the other, as pipelines take them."""

    group = 1


def test_a_model_that_animates_nothing_is_not_asked_for_all(tmp_path):
    every, told = [f"item{n}" for n in range(9)], []
    hopeless = OneByOne(failing=every)
    with pytest.raises(GenerationError, match="the first 3 items failed alike, so no more were tried: out of memory"):
        generate(hopeless, items(9), tmp_path, tell=told.append)
    assert hopeless.asked == every[:3] == [failed.id for failed in told]
    for some in (every[1:], every[:2] + every[3:]):  # one of the first three is made
        assert len(generate(OneByOne(failing=some), items(9), tmp_path / some[0], tell=told.append).failed) == 8
    assert len(generate(Scripted(failing=every), items(9), tmp_path / "at once").failed) == 9


def test_a_clip_of_a_picture_that_changed_is_made_anew(tmp_path):
    def asked_for(asked):
        again = Scripted()
        generate(again, asked, tmp_path / "gallery")
        return again.asked

    files = [tmp_path / f"{n}.png" for n in range(2)]
    for n, file in enumerate(files):
        write_image(file, np.full((8, 8, 3), n, np.uint8))
    ask = [partial(BenchmarkItem, f"item{n}", file.name, file, "a text") for n, file in enumerate(files)]
    assert asked_for([item() for item in ask]) == ["item0", "item1"]
    write_image(files[1], np.full((8, 8, 3), 99, np.uint8))
    assert asked_for([item() for item in ask]) == ["item1"]
    assert asked_for([item() for item in ask]) == []
    assert Gallery.open(tmp_path / "gallery").row("item1").picture == content_of(files[1])
    files[0].unlink()
    assert asked_for([item() for item in ask]) == [], "what cannot be compared is kept"
    index = tmp_path / "gallery" / "gallery.jsonl"
    index.write_text(re.sub(r', "picture": "\w*"', "", index.read_text()))
    assert asked_for([item() for item in ask]) == [], "galleries of before have no such hash"


def test_shards_share_a_folder_and_are_one_gallery(tmp_path):
    whole = generate(Scripted(), items(9), tmp_path / "whole").gallery
    one, two = Scripted(), Scripted()
    first = generate(one, items(9), tmp_path / "parts", shard=Shard(1, 2)).gallery
    generate(two, items(9), tmp_path / "parts", shard=Shard(2, 2))
    assert one.asked
    assert two.asked
    assert sorted(one.asked + two.asked) == [item.id for item in items(9)]
    assert [row.id for row in first.rows()] == one.asked
    merged = Gallery.open(tmp_path / "parts")
    assert sorted(merged.rows(), key=lambda row: row.id) == sorted(whole.rows(), key=lambda row: row.id)
    for row in whole.rows():
        assert merged.path(row.id).read_bytes() == whole.path(row.id).read_bytes()
    for shard in (Shard(), Shard(1, 3), Shard(2, 2)):  # nothing is made twice, whoever asks
        again = Scripted()
        generate(again, items(9), tmp_path / "parts", shard=shard)
        assert not again.asked
    assert [path.name for path in (tmp_path / "parts").glob("gallery*.jsonl")] == ["gallery.jsonl"]


def test_lists_of_shards_are_never_mixed_with_other_settings_nor_dropped(tmp_path):
    generate(Scripted(), items(9), tmp_path, shard=Shard(1, 2))
    theirs = tmp_path / "gallery.1-of-2.jsonl"
    before = theirs.read_text()
    other = Scripted()
    other.settings = {"version": 1, "call": {"dtype": "float32"}}
    for shard in (Shard(2, 2), Shard()):  # nor by the run that would put all lists into one
        with pytest.raises(GalleryError, match=r"gallery\.1-of-2\.jsonl: lists clips made with other settings.*repeat"):
            generate(Scripted(), items(9), tmp_path, seed=1, shard=shard)
        with pytest.raises(GalleryError, match=r"\(settings\.call\.dtype was None, is 'float32'\)"):
            generate(other, items(9), tmp_path, shard=shard)
        assert theirs.read_text() == before
        assert json.loads((tmp_path / SETTINGS).read_text())["seed"] == 0
    theirs.unlink()
    again = Scripted()
    generate(again, items(9), tmp_path, seed=1)
    assert len(again.asked) == 9
    assert len({row.settings for row in Gallery.open(tmp_path).rows()}) == 1


def test_a_part_of_a_benchmark_keeps_the_clips_of_the_rest(tmp_path):
    known = [item.id for item in items(4)]
    generate(Scripted(), items(4), tmp_path, known=known)
    part = generate(Scripted(), items(4)[:1], tmp_path, known=known).gallery
    assert [row.id for row in part.rows()] == ["item0"]
    assert len(Gallery.open(tmp_path).rows()) == 4
    generate(Scripted(), items(2), tmp_path)  # of another benchmark, with fewer items
    assert len(Gallery.open(tmp_path).rows()) == 2


@pytest.mark.parametrize("name", ["a/b", "../a", ".a"])
def test_ids_that_are_no_file_names_are_refused(tmp_path, name):
    with pytest.raises(GalleryError, match="cannot be the name"):
        generate(Scripted(), [drawn(name, "x", pictures(1)[0], "t")], tmp_path)


def test_what_is_not_a_gallery_is_named(tmp_path):
    with pytest.raises(GalleryError, match="no gallery here"):
        Gallery.open(tmp_path)
    (tmp_path / "gallery.jsonl").write_text(json.dumps({"id": "x"}) + "\n")
    with pytest.raises(GalleryError, match="not the index"):
        Gallery.open(tmp_path)
    with pytest.raises(GalleryError, match="no clip for item y"):
        Gallery(tmp_path, []).row("y")
    with pytest.raises(GalleryError, match="origin"):
        load_origin(tmp_path)


def test_a_worlds_items_are_asked_and_remembered(loaded, tmp_path):
    benchmark = SpritesBenchmark(world=SpritesSettings(size=16, frames=4), images=2, texts=2)
    save_model(tmp_path / "run" / "model", loaded.card, loaded.model.network.state_dict())
    gallery = animate_world(tmp_path / "run", tmp_path / "run" / "gallery", benchmark, QUICK)
    assert [row.id for row in gallery.rows()] == [item.id for item in benchmark.items()]
    assert [row.text for row in gallery.rows()] == [item.text for item in benchmark.items()]
    assert len({row.image for row in gallery.rows()}) == 2
    origin = load_origin(gallery.folder)
    assert origin.benchmark == benchmark
    assert (gallery.folder / origin.run).resolve() == (tmp_path / "run").resolve()


def test_siblings_share_their_picture():
    found = world_items(SpritesBenchmark(images=2, texts=3))
    small = found[0].picture()
    side = len(small)
    assert (found[0].picture((3 * side, 3 * side))[1::3, 1::3] == small).all(), "enlarged as clips are"
    assert found[0].picture((side + 1, side)).shape == (side + 1, side, 3)
    assert (small == found[2].picture()).all()
    assert (found[0].picture() != found[3].picture()).any()
    assert len({item.text for item in found[:3]}) == 3
