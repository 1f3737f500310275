"""A study is made of galleries: what must fit does, nothing tells the models, and the same design is the same study."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from motionfocal.errors import StudyError, UnknownNameError
from motionfocal.generation.gallery import INDEX
from motionfocal.study.create import create_study
from motionfocal.study.design import Checks, load_design
from motionfocal.study.plan import PLAN, SECRETS, Study
from motionfocal.video import content_of, read_clip, read_image

from .study_server import FORM, MODELS, small_design


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Study:
    folder = tmp_path_factory.mktemp("made")
    return create_study(small_design(folder), folder / "study")


def test_every_model_and_item_is_there_in_one_form(made):
    assert made.plan.models == MODELS
    assert len(made.plan.pairs) == len(made.plan.shown) == 6
    for clip in made.plan.clips:
        frames = read_clip(made.path(clip.file)).frames
        assert frames.shape == (FORM.frames, FORM.height, FORM.width, 3)
        assert content_of(made.path(clip.file)) == clip.content
    for shown in made.plan.shown:
        assert read_image(made.path(shown.picture)).shape == (FORM.height, FORM.width, 3)


def test_pairs_are_of_one_item_and_of_two_models(made):
    for pair in made.plan.pairs:
        first, second = made.plan.clip(pair.first), made.plan.clip(pair.second)
        assert first.item == second.item == pair.item
        assert (first.model, second.model) == MODELS


def test_nothing_that_is_served_tells_the_model(made):
    names = [path.name for folder in ("clips", "pictures") for path in (made.folder / folder).rglob("*.*")]
    names = [name for name in names if name.endswith((".mp4", ".png"))]
    assert not [name for name in names for model in MODELS if model.lower() in name.lower()]
    for clip in made.plan.clips:
        content = made.path(clip.file).read_bytes().lower()
        assert not [model for model in MODELS if model.lower().encode() in content]
        assert b"x264" not in content
        assert b"lavf" not in content


def test_secrets_are_for_nobody_else(made):
    assert (made.folder / SECRETS).stat().st_mode & 0o077 == 0


def test_checks_have_what_their_kind_says(made):
    checks = made.plan.checks
    assert Counter(check.kind for check in checks) == dict.fromkeys(
        ("corrupted", "instructed", "identical", "frozen", "mismatched"), 4
    )
    for check in checks:
        first, second = made.plan.clip(check.first), made.plan.clip(check.second)
        own, other = read_clip(made.path(first.file)).frames, read_clip(made.path(second.file)).frames
        assert first.item == check.item
        if check.kind == "identical":
            assert first == second
        if check.kind == "frozen":
            changes = np.abs(np.diff(other.astype(int), axis=0)).mean()
            assert changes < 0.5 < np.abs(np.diff(own.astype(int), axis=0)).mean()
        if check.kind == "corrupted":
            assert np.abs(own.astype(int) - other).mean() > 30
        if check.kind == "mismatched":
            assert made.plan.item(first.item).image != made.plan.item(second.item).image
        assert check.right == ("" if check.kind in ("identical", "instructed") else check.first)


def test_examples_favour_each_side(made):
    assert [example.better for example in made.plan.examples] == ["left", "right"]
    assert len(made.plan.training) == 2
    for example in (*made.plan.examples, *made.plan.training):
        assert example.why
        assert example.left != example.right


def test_a_study_never_changes(made):
    with pytest.raises(StudyError, match="holds a study already"):
        create_study(made.design, made.folder)
    assert Study.open(made.folder).plan == made.plan


def test_what_was_cut_off_goes_on_with_the_same_names(tmp_path):
    design = small_design(tmp_path)
    first = create_study(design, tmp_path / "study")
    clips = {clip.id for clip in first.plan.clips if clip.model}
    (tmp_path / "study" / PLAN).unlink()
    again = create_study(design, tmp_path / "study")
    assert {clip.id for clip in again.plan.clips if clip.model} == clips
    assert again.plan.pairs == first.plan.pairs


def test_what_was_cut_off_while_its_secrets_were_written_goes_on(tmp_path, monkeypatch):
    """A process that is killed cleans up nothing: neither does this one."""
    design, whole = small_design(tmp_path), Path.write_text

    def cut_off(path, text, **how):
        if SECRETS in path.name:
            raise KeyboardInterrupt
        return whole(path, text, **how)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_text", cut_off)
        patched.setattr(Path, "unlink", lambda path, **how: None)
        with pytest.raises(KeyboardInterrupt):
            create_study(design, tmp_path / "study")
    made = create_study(design, tmp_path / "study")
    assert Study.open(made.folder).plan == made.plan


def test_what_was_cut_off_can_go_on_in_another_form(tmp_path):
    design = small_design(tmp_path)
    create_study(design, tmp_path / "study")
    (tmp_path / "study" / PLAN).unlink()
    form = FORM.model_copy(update={"height": 16, "width": 24})
    again = create_study(design.model_copy(update={"form": form}), tmp_path / "study")
    sizes = {read_clip(again.path(clip.file)).frames.shape[1:3] for clip in again.plan.clips}
    sizes |= {read_image(again.path(shown.picture)).shape[:2] for shown in again.plan.shown}
    assert sizes == {(16, 24)}


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"pairs": "Nobody"}, "no gallery is of"),
        ({"pairs": (("Quillfire", "Quillfire"),)}, "two different models"),
        ({"pairs": (("Quillfire", "Nobody"),)}, "no gallery is of Nobody"),
        ({"items": 7}, "cannot be drawn of 6"),
        ({"tasks": 14, "checks": Checks()}, "hold 1 that can fail one.*it takes 2; raise share to 0.11,"),
        ({"tasks": 4, "checks": Checks()}, "hold 0 that.*raise share to 0.38,"),
        ({"tasks": 2, "checks": Checks()}, "hold 0 that.*raise tasks,"),
        ({"tasks": 40, "checks": Checks(fail_on=("mismatched",))}, "hold 0 that.*raise share to 0.29,"),
    ],
)
def test_a_design_that_does_not_fit_is_refused(tmp_path, changes, complaint):
    with pytest.raises(StudyError, match=complaint):
        create_study(small_design(tmp_path, **changes), tmp_path / "study")


@pytest.mark.parametrize("checks", [Checks(fail_on=()), Checks(share=0), Checks(share=0.5)])
def test_few_tasks_need_checks_that_can_fail_or_none(tmp_path, checks):
    """Refused for its number of items alone, which comes later."""
    with pytest.raises(StudyError, match="cannot be drawn"):
        create_study(small_design(tmp_path, tasks=4, checks=checks, items=7), tmp_path / "study")


def test_an_unknown_item_is_refused(tmp_path):
    with pytest.raises(UnknownNameError, match="item9"):
        create_study(small_design(tmp_path, items=("item0", "item9")), tmp_path / "study")


def without_row(folder, item):
    index = folder / INDEX
    rows = [line for line in index.read_text().splitlines(keepends=True) if json.loads(line)["id"] != item]
    index.write_text("".join(rows))


def test_a_model_that_lacks_an_item_is_named(tmp_path):
    design = small_design(tmp_path)
    without_row(tmp_path / MODELS[1], "item3")
    with pytest.raises(StudyError, match=f"{MODELS[1]} lacks item3"):
        create_study(design, tmp_path / "study")
    common = design.model_copy(update={"items": "common"})
    assert len(create_study(common, tmp_path / "other").plan.shown) == 5


def test_a_gallery_that_was_asked_something_else_is_named(tmp_path):
    design = small_design(tmp_path)
    index = tmp_path / MODELS[0] / INDEX
    index.write_text(index.read_text().replace("way 2", "another way"))
    with pytest.raises(StudyError, match="item2 was made from another text"):
        create_study(design, tmp_path / "study")


def test_a_clip_that_is_none_is_named(tmp_path):
    design = small_design(tmp_path)
    (tmp_path / MODELS[0] / "item1.mp4").write_text("no video")
    with pytest.raises(StudyError, match="item1"):
        create_study(design, tmp_path / "study")
    assert not (tmp_path / "study" / PLAN).exists()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("name: x\ngalleries: [a, b]\nvoets: 5\n", "voets"),
        ("name: x\ngalleries: [a]\n", "galleries"),
        ("name: x\ngalleries: [a, b]\npreset: own\n", "given with preset 'own'"),
        ("name: x\ngalleries: [a, b]\nchecks: {fail_on: [repeat]}\n", "no right answer"),
        ("name: x\ngalleries: [a, b]\ntraining: {tasks: 1, right: 2}\n", "cannot be right"),
        ("name: [\n", "YAML"),
        ("- a\n", "study"),
    ],
)
def test_a_wrong_design_names_the_key(tmp_path, text, complaint):
    path = tmp_path / "design.yaml"
    path.write_text(text)
    with pytest.raises(StudyError, match=complaint):
        load_design(path)


def test_folders_are_relative_to_the_file(tmp_path):
    path = tmp_path / "design.yaml"
    path.write_text("name: x\ngalleries: [g/a, g/b]\n")
    assert load_design(path).galleries == (tmp_path / "g/a", tmp_path / "g/b")
    with pytest.raises(StudyError, match="no such file"):
        load_design(tmp_path / "none.yaml")


def test_what_is_no_study_is_refused(tmp_path, made):
    with pytest.raises(StudyError, match="no study here"):
        Study.open(tmp_path)
    with pytest.raises(StudyError, match="not inside"):
        made.path("../secret")
