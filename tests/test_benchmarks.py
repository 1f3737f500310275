"""Benchmarks are whole when they load; what is wrong with one is named by its row; filters never widen."""

import csv
import json
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from motionfocal.benchmarks import (
    Benchmark,
    BenchmarkItem,
    load_animatebench,
    load_benchmark,
    load_folder,
    load_ti2v_bench,
    narrowed,
)
from motionfocal.benchmarks.rows import item_id
from motionfocal.benchmarks.ti2v_bench import SCENARIOS
from motionfocal.errors import ConfigError, ManifestError, UnavailableError, UnknownNameError
from motionfocal.video import write_image


def picture(path, shade=100):
    write_image(path, np.full((8, 8, 3), shade, np.uint8))


@pytest.fixture
def copy(ti2v_bench, tmp_path):
    """A copy of TI2V-Bench whose table can be damaged."""
    folder = tmp_path / "copy"
    folder.mkdir()
    shutil.copy(ti2v_bench / "prompt.csv", folder)
    (folder / "images").symlink_to(ti2v_bench / "images")
    return folder


def rows_of(folder, name="prompt.csv"):
    with (folder / name).open(newline="") as file:
        return list(csv.DictReader(file))


def write_rows(path, rows):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def test_ti2v_bench_is_whole(ti2v_bench):
    bench = load_benchmark(str(ti2v_bench))
    assert bench.name == "TI2V-Bench"
    counts = [len({getattr(item, name) for item in bench.items}) for name in ("id", "scenario", "image", "text")]
    assert counts == [320, 22, 88, 133]
    assert [sum(getattr(s, n) for s in SCENARIOS.values()) for n in ("items", "texts")] == [320, 133]
    assert all(2 <= len(bench.siblings(item)) <= 6 for item in bench.items)
    assert bench.items[0].picture().shape == (320, 320, 3)
    assert bench.items[0].picture((64, 32)).shape == (64, 32, 3)


def test_ids_name_the_published_clips(ti2v_bench):
    ids = {item.id for item in load_ti2v_bench(ti2v_bench).items}
    published = {path.stem.rpartition("_")[0] for path in ti2v_bench.glob("videos/*/*.mp4")}
    assert published == ids


def test_hard_cases_are_tagged(ti2v_bench):
    bench = load_ti2v_bench(ti2v_bench)
    several = narrowed(bench, tags=["several objects"])
    new = narrowed(bench, tags=["new object"])
    assert {item.scenario for item in several.items} == {"balloon", "bulbs"}
    assert {item.text for item in new.items if item.scenario == "volcano"} == {
        "a plane fly across the volcano peak",
        "lightning bolts strike hit volcano peak",
    }
    plain = [bench.item(f"balloon{n}_the_balloons_drifting_higher_into_the_sky") for n in range(1, 5)]
    assert not any(item.tags for item in plain)
    assert (len(several.items), len(new.items)) == (24, 21)


def test_the_published_form_without_ids_is_the_same_benchmark(ti2v_bench, tmp_path):
    """Pictures beside the table in a folder of any name, with another ending; signs in the texts; no ids."""
    ours = load_ti2v_bench(ti2v_bench)
    (tmp_path / "TI2V-Bench").mkdir()
    for path in (ti2v_bench / "images").iterdir():
        (tmp_path / "TI2V-Bench" / f"{path.stem}.jpeg").symlink_to(path)
    rows = [
        {"scenario": row["scenario"], "image": f"{item.image}.png", "prompt": item.text.replace("trees", "tree's")}
        for row, item in zip(rows_of(ti2v_bench), ours.items, strict=True)
    ]
    write_rows(tmp_path / "prompt.csv", rows)
    theirs = load_benchmark(tmp_path)
    same = [(item.id, item.image, item.scenario, item.tags) for item in ours.items]
    assert [(item.id, item.image, item.scenario, item.tags) for item in theirs.items] == same


def change(row, **values):
    return lambda rows: rows[row - 1].update(values)


DAMAGE = {
    "a row gone": (
        lambda rows: rows.pop(4),
        r"319 items, 22 scenarios, 88 images, 133 prompts instead of 320, 22, 88 and 133: scenario aerial_car has"
        r" 15 items instead of 16 \(rows 1 to 15; its rarest prompt is 'a car changing its lane', row 1, 8, 12\)",
    ),
    "a scenario gone": (
        lambda rows: rows.__setitem__(slice(None), [r for r in rows if r["scenario"] != "tide"]),
        "312 items, 21 scenarios, 84 images, 131 prompts .*scenario tide has 0 items instead of 8",
    ),
    "a row twice": (lambda rows: rows.append(rows[0]), "row 321: id aerial_car1_.* is also that of .*row 1;"),
    "an empty prompt": (change(7, prompt=" "), "row 7: nothing in column prompt"),
    "an empty id": (change(7, id=""), "row 7: nothing in column id"),
    "an empty image": (change(7, image=""), "row 7: nothing in column image"),
    "a missing image": (change(9, image="images/aerial_car9.png"), "row 9: no image images/aerial_car9.png"),
    "an image outside": (change(9, image="../images/tide1.png"), "row 9: image .* is not below"),
    "an absolute image": (change(9, image="/images/tide1.png"), "row 9: image .* is not below"),
    "another prompt": (change(3, prompt="a car flying"), "row 3: id .* does not say its image and prompt"),
    "another image": (change(3, image="images/tide1.png"), "row 3: image tide1 is of scenario tide, not aerial_car"),
    "another scenario": (change(3, scenario="aerial"), "row 3: image aerial_car1 is of scenario aerial_car, not"),
    "another item": (
        change(3, prompt="a car flying", id="aerial_car1_a_car_flying"),
        "320 items, 22 scenarios, 88 images, 134 prompts.*aerial_car has 5 prompts instead of 4.*'a car flying', row 3",
    ),
}


@pytest.mark.parametrize("damage", list(DAMAGE))
def test_a_damaged_ti2v_bench_is_named_by_its_row(copy, damage):
    what, said = DAMAGE[damage]
    rows = rows_of(copy)
    what(rows)
    write_rows(copy / "prompt.csv", rows)
    with pytest.raises(ManifestError, match=said):
        load_benchmark(copy)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("aerial_car1_x,aerial_car,images/aerial_car1.png,a car, red\n", "row 321: more fields than columns"),
        ("aerial_car1_x,aerial_car\n", "row 321: nothing in column image, prompt"),
    ],
)
def test_odd_lines_are_named(copy, line, said):
    with (copy / "prompt.csv").open("a") as file:
        file.write(line)
    with pytest.raises(ManifestError, match=said):
        load_benchmark(copy)


def test_a_damaged_header_does_not_make_it_ones_own(copy):
    table = (copy / "prompt.csv").read_text()
    (copy / "prompt.csv").write_text(table.replace("id,scenario,image,prompt", "id,scenario,image,promt", 1))
    with pytest.raises(ManifestError, match="row 1: no text"):
        load_benchmark(copy)
    (copy / "prompt.csv").write_text(table.partition("\n")[2])
    with pytest.raises(ManifestError, match="row 1"):
        load_benchmark(copy)


def test_an_empty_picture_is_named(copy, ti2v_bench):
    (copy / "images").unlink()
    (copy / "images").mkdir()
    for path in (ti2v_bench / "images").iterdir():
        (copy / "images" / path.name).symlink_to(path)
    (copy / "images" / "tide1.png").unlink()
    (copy / "images" / "tide1.png").touch()
    with pytest.raises(ManifestError, match=r"row \d+: image .*tide1.png is empty"):
        load_benchmark(copy)


def test_a_part_of_ti2v_bench_is_ones_own_under_another_name(copy):
    write_rows(copy / "prompts.csv", rows_of(copy)[:51])
    with pytest.raises(ManifestError, match="51 items"):
        (copy / "prompts.csv").rename(copy / "prompt.csv")
        load_benchmark(copy)
    (copy / "prompt.csv").rename(copy / "prompts.csv")
    assert len(load_benchmark(copy).items) == 51


@pytest.fixture
def own(tmp_path):
    folder = tmp_path / "mine"
    picture(folder / "cat.png")
    picture(folder / "more" / "dog.jpg")
    return folder


@pytest.mark.parametrize("name", ["prompts.csv", "prompt.csv", "metadata.csv", "prompts.jsonl", "metadata.jsonl"])
@pytest.mark.parametrize("columns", [("image", "prompt"), ("file_name", "text"), ("image", "caption")])
def test_a_folder_of_ones_own(own, name, columns):
    pairs = [("cat.png", "It jumps!"), ("more/dog.jpg", "A dog, barking")]
    rows = [dict(zip(columns, pair, strict=True)) for pair in pairs]
    if name.endswith("csv"):
        write_rows(own / name, rows)
    else:
        (own / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    bench = load_benchmark(own)
    assert bench.name == "mine"
    assert [(item.id, item.image, item.text) for item in bench.items] == [
        ("cat_it_jumps", "cat.png", "It jumps!"),
        ("dog_a_dog_barking", "more/dog.jpg", "A dog, barking"),
    ]


def test_ids_scenarios_and_tags_of_ones_own(own):
    row = {"id": "7", "image": "cat.png", "prompt": "x", "scenario": "pets", "tags": "new object; fast ;;", "by": "me"}
    write_rows(own / "prompts.csv", [row])
    (item,) = load_folder(own).items
    assert (item.id, item.scenario, item.tags) == ("7", "pets", {"new object", "fast"})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("image,prompt\n", "has no row"),
        ("image,prompt\ncat.png,\n", "row 1: no text"),
        ("image,prompt\n,jumps\n", "row 1: names no image"),
        ("picture,prompt\ncat.png,jumps\n", "row 1: names no image"),
        ("image,prompt\ncow.png,jumps\n", "row 1: no image cow.png"),
        ("image,prompt\n../mine/cat.png,jumps\n", "row 1: image ../mine/cat.png is not below"),
        ("image,prompt\ncat.png,jumps!\ncat.png,jumps?\n", "row 2: id cat_jumps is also that of .*row 1"),
        ("image,prompt\ncat.png,jumps, high\n", "row 1: more fields"),
        ("id,image,prompt\na/b,cat.png,jumps\n", "row 1: id 'a/b' cannot name a file"),
        ("id,image,prompt\n..,cat.png,jumps\n", "row 1: id '..' cannot name a file"),
    ],
)
def test_what_is_wrong_with_ones_own_is_named(own, content, said):
    (own / "prompts.csv").write_text(content)
    with pytest.raises(ManifestError, match=said):
        load_benchmark(own)


def test_a_missing_second_or_ambiguous_thing_is_an_error(own, tmp_path):
    with pytest.raises(ManifestError, match=r"no benchmark here; expected a table prompts.csv"):
        load_benchmark(own)
    with pytest.raises(ManifestError, match="no such folder, and no benchmark of the names ti2v-bench, animatebench"):
        load_benchmark(str(tmp_path / "nowhere"))
    (own / "prompts.csv").write_text("image,prompt\ncat,jumps\n")
    assert load_benchmark(own).items[0].image == "cat.png"
    picture(own / "cat.jpg")
    with pytest.raises(ManifestError, match="row 1: image cat could be"):
        load_benchmark(own)
    shutil.copy(own / "prompts.csv", own / "metadata.csv")
    with pytest.raises(ManifestError, match=r"several tables \(prompts.csv, metadata.csv\)"):
        load_benchmark(own)


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=400))
def test_an_id_can_always_name_a_file(text):
    made = item_id("cat", text)
    assert made == item_id("cat", text)
    assert made.startswith("cat_")
    assert len(f"{made}_123456.mp4".encode()) < 255
    assert not set(made) & set('/\\\n\0:*?"<>|')


@given(st.text(min_size=200, max_size=300), st.text(min_size=200, max_size=300))
def test_long_texts_keep_different_ids(one, other):
    one, other = "word " * 60 + one, "word " * 60 + other
    assert (item_id("cat", one) == item_id("cat", other)) == (one == other)


def animatebench(folder, prompts=None):
    for model in ("film", "lyriel", "majicmix", "MoonFile", "rcnzCartoon", "realistic_vision", "toonyou"):
        for n in range(1, 6):
            picture(folder / "img" / model / f"{n}.{'png' if n < 4 else 'jpg'}")
        lists = [[f"{text} {n}" for text in ("smiling", "in rain", "on fire")] for n in range(1, 6)]
        (folder / "configs").mkdir(exist_ok=True)
        (folder / "configs" / f"{model}.yaml").write_text(json.dumps({"prompts": prompts or lists, "n_prompt": ["x"]}))
    return folder


@pytest.mark.parametrize("prompts", [None, ["smiling", "in rain", "on fire"], [["smiling", "in rain", "on fire"]]])
def test_animatebench(tmp_path, prompts):
    bench = load_benchmark(animatebench(tmp_path, prompts))
    assert (bench.name, len(bench.items), len({item.image for item in bench.items})) == ("AnimateBench", 105, 35)
    assert all(len(bench.siblings(item)) == 3 for item in bench.items)
    item = bench.items[-1]
    assert (item.image, item.file.name, item.scenario) == ("toonyou/5", "5.jpg", "toonyou")
    assert item.text == ("on fire" if prompts else "on fire 5")


@pytest.mark.parametrize(
    ("path", "content", "said"),
    [
        ("configs/film.yaml", "prompts: [[a, b]]", r"100 items on 35 images instead of 105"),
        ("configs/film.yaml", "prompts: [[a, b], [c]]", r"film.yaml: 2 lists of prompts for 5 images"),
        ("configs/film.yaml", "prompts: {a: b}", r"film.yaml: prompts is not a list"),
        ("configs/film.yaml", "prompts: [[a, '']]", r"film.yaml: prompts is not a list"),
        ("configs/film.yaml", "[a", r"film.yaml: not YAML"),
        ("configs/film.yaml", "- a", r"film.yaml: prompts is not a list"),
        ("configs/other.yaml", "prompts: [[a]]", r"other.yaml: no folder .*other"),
    ],
)
def test_what_is_wrong_with_animatebench_is_named(tmp_path, path, content, said):
    animatebench(tmp_path)
    (tmp_path / path).write_text(content)
    with pytest.raises(ManifestError, match=said):
        load_benchmark(tmp_path)
    with pytest.raises(ManifestError, match="no configs"):
        load_animatebench(tmp_path / "configs")


def test_published_benchmarks_come_from_the_hub(ti2v_bench, tmp_path, monkeypatch):
    import huggingface_hub

    asked = []

    def snapshot_download(repository, **options):
        asked.append((repository, options["repo_type"]))
        return str(ti2v_bench if "TI2V" in repository else animatebench(tmp_path))

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    assert len(load_benchmark("ti2v-bench").items) == 320
    assert len(load_benchmark("animatebench").items) == 105
    assert asked == [("wang-sj16/TI2V-Bench", "dataset"), ("ymzhang319/AnimateBench", "dataset")]


@pytest.mark.parametrize("name", ["ti2v-bench", "animatebench"])
def test_without_a_network_it_says_so(name, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UnavailableError, match=r"hub does not give it .*give the folder of a copy"):
        load_benchmark(name)


def _items():
    names = st.sampled_from("abc")
    item = st.tuples(names, st.sampled_from(["", "s", "t"]), st.frozensets(st.sampled_from(["x", "y"])))
    return st.lists(item, min_size=1, max_size=8)


@given(_items(), st.data())
def test_a_filter_keeps_exactly_what_it_names(tmp_path_factory, rows, data):
    folder = tmp_path_factory.getbasetemp()
    items = tuple(
        BenchmarkItem(f"{image}{n}", image, folder / image, "text", scenario, tags)
        for n, (image, scenario, tags) in enumerate(rows)
    )
    bench = Benchmark("b", items)
    known = {
        "ids": {item.id for item in items},
        "scenarios": {item.scenario for item in items} - {""},
        "tags": {tag for item in items for tag in item.tags},
        "images": {item.image for item in items},
    }
    chosen = {
        kind: data.draw(st.lists(st.sampled_from(sorted(names)))) if names else [] for kind, names in known.items()
    }
    expected = [
        item
        for item in items
        if (not chosen["ids"] or item.id in chosen["ids"])
        and (not chosen["scenarios"] or item.scenario in chosen["scenarios"])
        and (not chosen["tags"] or item.tags & set(chosen["tags"]))
        and (not chosen["images"] or item.image in chosen["images"])
    ]
    if not expected:
        with pytest.raises(ConfigError, match="no item passes"):
            narrowed(bench, **chosen)
        return
    part = narrowed(bench, **chosen)
    assert list(part.items) == expected
    assert part.name == bench.name


@pytest.mark.parametrize("kind", ["ids", "scenarios", "tags", "images"])
def test_a_filter_of_an_unknown_name_lists_what_there_is(own, kind):
    write_rows(
        own / "prompts.csv", [{"id": "7", "image": "cat.png", "prompt": "x", "scenario": "pets", "tags": "fast"}]
    )
    with pytest.raises(UnknownNameError, match=r"of mine 'cow'; known: (7|cat.png|pets|fast)$"):
        narrowed(load_folder(own), **{kind: ["cow"]})
