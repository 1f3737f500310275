"""Every form of a data set gives the same list of clips and texts, and what is wrong with one is named by its row."""

import json
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motionfocal.data.files import find_shards
from motionfocal.data.manifest import Caption, read_manifest
from motionfocal.data.sources import FolderData, read_window
from motionfocal.data.windows import Window
from motionfocal.errors import ManifestError, MediaError

from .clips import text_of, write_clips, write_table, write_tar


def pairs(captions: list[Caption]) -> list[tuple[str, str, str]]:
    return [(caption.id, caption.video.path.name, caption.text) for caption in captions]


EXPECTED = [(str(n), f"{n}.mp4", text_of(f"{n}.mp4")) for n in range(3)]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "clips").mkdir()
    for n in range(3):
        (tmp_path / "clips" / f"{n}.mp4").write_bytes(bytes([n]) * 100)
    return tmp_path / "clips"


NAMES = ["0.mp4", "1.mp4", "2.mp4"]


@pytest.mark.parametrize("column", ["text", "prompt", "caption"])
@pytest.mark.parametrize("name", ["mine.csv", "mine.jsonl"])
def test_a_table_beside_the_folder(folder, tmp_path, name, column):
    table = write_table(tmp_path / name, NAMES, column)
    assert pairs(read_manifest(folder, table)) == EXPECTED


@pytest.mark.parametrize("name", ["metadata.csv", "metadata.jsonl"])
def test_a_hugging_face_video_folder(folder, name):
    write_table(folder / name, NAMES)
    assert pairs(read_manifest(folder)) == EXPECTED


def test_a_table_in_a_subfolder_names_clips_of_that_subfolder(folder):
    write_table(folder / "metadata.csv", NAMES)
    assert pairs(read_manifest(folder.parent)) == EXPECTED


def test_prompts_and_videos_line_by_line(folder):
    (folder / "prompts.txt").write_text("".join(f"{text_of(name)}\n" for name in NAMES))
    (folder / "videos.txt").write_text("\r\n".join(NAMES))
    assert pairs(read_manifest(folder)) == EXPECTED
    assert pairs(read_manifest(folder, folder / "prompts.txt")) == EXPECTED


def members(names=NAMES, as_json=False):
    found = {}
    for number, name in enumerate(names):
        key = name.split(".")[0]
        found[name] = bytes([number]) * 100
        text = {"width": 3, "caption": text_of(name)}
        found |= {f"{key}.json": json.dumps(text).encode()} if as_json else {f"{key}.txt": text_of(name).encode()}
    return found


@pytest.mark.parametrize("as_json", [False, True])
def test_tar_shards_hold_what_webdataset_finds_in_them(tmp_path, as_json):
    webdataset = pytest.importorskip("webdataset")
    for shard in range(2):
        with_folders = {f"part/{shard}_{name}": content for name, content in members(as_json=as_json).items()}
        write_tar(tmp_path / f"set-{shard:03d}.tar", with_folders)
    stock = list(webdataset.WebDataset(str(tmp_path / "set-{000..001}.tar"), shardshuffle=False, empty_check=False))
    ours = read_manifest(tmp_path / "set-{000..001}.tar")
    assert [f"set-00{n // 3}/{sample['__key__']}" for n, sample in enumerate(stock)] == [one.id for one in ours]
    for sample, one in zip(stock, ours, strict=True):
        assert one.text == (json.loads(sample["json"])["caption"] if as_json else sample["txt"].decode())
        with one.video.opened() as path:
            assert path.read_bytes() == sample["mp4"]
            assert path.suffix == ".mp4"
        assert not path.exists()


def test_a_member_is_the_same_clip_as_the_file(tmp_path):
    write_clips(tmp_path / "clips", 1)
    path = tmp_path / "clips" / "0.mp4"
    write_table(tmp_path / "clips" / "metadata.csv", ["0.mp4"])
    write_tar(tmp_path / "set.tar", {"./0.txt": text_of("0").encode(), "./0.mp4": path.read_bytes()})
    [file], [member] = read_manifest(tmp_path / "clips"), read_manifest(tmp_path / "set.tar")
    assert (member.id, member.text) == ("set/0", file.text)
    assert member.video.content() == file.video.content()
    window = Window(0, 1, 4, 16, 16)
    assert (read_window(member.video, window).frames == read_window(file.video, window).frames).all()
    with pytest.raises(MediaError, match=r"set.tar: ./0.mp4: 40 frames"):
        read_window(member.video, Window(0, 1, 40, 16, 16))


def test_shards_as_a_glob_a_list_and_absolute_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").mkdir()
    paths = [write_tar(tmp_path / "a" / f"{n}.tar", members()) for n in range(2)]
    settings = [
        FolderData(videos="a/*.tar"), FolderData(videos=str(tmp_path / "*" / "?.tar")),
        FolderData(videos=["a/0.tar", "a/1.tar"]), FolderData(videos="a/{0..1}.tar"),
    ]  # fmt: skip
    for one in settings:
        found = read_manifest(one.videos)
        assert [caption.video.path.name for caption in found] == ["0.tar"] * 3 + ["1.tar"] * 3
        assert len({caption.id for caption in found}) == 6
    assert find_shards([paths[1], paths[0]]) == [paths[1], paths[0]]


@given(st.integers(0, 120), st.integers(0, 12), st.integers(1, 4))
def test_ranges_of_shards_are_those_of_braceexpand(first, more, digits):
    braceexpand = pytest.importorskip("braceexpand").braceexpand
    pattern = f"some/x-{{{first:0{digits}d}..{first + more:0{digits}d}}}-y.tar"
    from motionfocal.data.files import _ranged

    assert list(_ranged(pattern)) == list(braceexpand(pattern))


def test_rows_by_id_find_all_seeds_and_may_lack_a_clip(folder, tmp_path):
    for name in ("0_7.mp4", "0_8.webm", "0_x.mp4", "other.mp4"):
        (folder / name).write_bytes(b"x")
    (tmp_path / "prompt.csv").write_text("id,prompt\n0,nothing\n99,no clip\n2,a second\n")
    found = read_manifest(folder, tmp_path / "prompt.csv")
    assert [caption.id for caption in found] == ["0", "0_7", "0_8", "2"]
    (tmp_path / "ids.jsonl").write_text('{"id": 0, "prompt": "a number for an id"}\n')
    assert [caption.id for caption in read_manifest(folder, tmp_path / "ids.jsonl")] == ["0", "0_7", "0_8"]
    (folder / "2.webm").write_bytes(b"x")
    with pytest.raises(ManifestError, match="two clips of one id"):
        read_manifest(folder, tmp_path / "prompt.csv")


def test_a_clip_belongs_to_the_row_whose_id_is_its_whole_name(folder, tmp_path):
    for name in ("dog.mp4", "dog_2.mp4", "dog_3.mp4"):
        (folder / name).write_bytes(b"x")
    (tmp_path / "t.csv").write_text("id,text\ndog,a dog sits\ndog_2,a dog runs\n")
    found = read_manifest(folder, tmp_path / "t.csv")
    texts = {"dog": "a dog sits", "dog_3": "a dog sits", "dog_2": "a dog runs"}
    assert {caption.id: caption.text for caption in found} == texts


def test_the_benchmarks_own_table(ti2v_bench):
    found = read_manifest(ti2v_bench / "videos" / "motif", ti2v_bench / "prompt.csv")
    assert len(found) == 51
    assert all(caption.text.replace(" ", "_")[:10] in caption.id for caption in found)


def test_a_clip_with_two_texts_has_two_ids(folder, tmp_path):
    (tmp_path / "t.csv").write_text("file_name,text\n0.mp4,one\n1.mp4,other\n0.mp4,two\n")
    found = read_manifest(folder, tmp_path / "t.csv")
    assert [(caption.id, caption.text) for caption in found] == [("0", "one"), ("1", "other"), ("0#2", "two")]


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), min_size=1).filter(str.strip)


@given(st.lists(TEXTS, min_size=1, max_size=4), st.booleans())
def test_any_text_survives_a_table(new_folder, texts, spreadsheet):
    import csv

    folder = new_folder()
    (folder / "0.mp4").touch()
    with (folder / "t.csv").open("w", newline="", encoding="utf-8-sig" if spreadsheet else "utf-8") as file:
        writer = csv.writer(file)
        writer.writerows([["file_name", "text"], *(["0.mp4", text] for text in texts)])
    with (folder / "t.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(json.dumps({"text": text, "video": "0.mp4"}, ensure_ascii=False) + "\n" for text in texts)
    for table in ("t.csv", "t.jsonl"):
        assert [caption.text for caption in read_manifest(folder, folder / table)] == [text.strip() for text in texts]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("t.csv", b"file_name,text\n0.mp4,fine\n1.mp4,a dog, running\n", "row 2: more fields"),
        ("t.csv", b"file_name,text\n0.mp4,\n", "row 1: no text"),
        ("t.csv", b"file_name,text\n0.mp4\n", "row 1: no text"),
        ("t.csv", b"file_name,text\n9.mp4,gone\n", "row 1: no clip 9.mp4"),
        ("t.csv", b"path,text\n0.mp4,what\n", "row 1: names no clip"),
        ("t.csv", b"file_name,text\n0.mp4,\xff\xfe\n", "not UTF-8"),
        ("t.csv", b"file_name,text\n", "not a single clip"),
        ("t.csv", b"id,text\nzzz,nobody\n", "not a single clip"),
        ("t.jsonl", b'{"file": "0.mp4", "text": "fine"}\n{"file"\n', "row 2: not JSON"),
        ("t.jsonl", b'["0.mp4", "fine"]\n', "row 1: expected an object"),
        ("t.jsonl", b'{"file": "0.mp4", "text": ["a", "b"]}\n', "row 1: text is not a text"),
        ("prompts.txt", b"one\ntwo\n", "prompts.txt has 2 lines and videos.txt 1"),
        ("prompts.txt", b"\n", "row 1: no text"),
    ],
)
def test_what_is_wrong_with_a_table_is_named(folder, name, content, said):
    (folder / name).write_bytes(content)
    (folder / "videos.txt").write_text("0.mp4\n")
    with pytest.raises(ManifestError, match=said):
        read_manifest(folder, folder / name)


def test_a_missing_or_second_table_is_an_error_that_says_where_it_looked(folder, tmp_path):
    with pytest.raises(ManifestError, match=r"looked for metadata.csv, .*, and prompts.txt with videos.txt"):
        read_manifest(folder)
    with pytest.raises(ManifestError, match="no such folder"):
        read_manifest(tmp_path / "nowhere")
    with pytest.raises(ManifestError, match="no such table"):
        read_manifest(folder, tmp_path / "nowhere.csv")
    (folder / "prompts.txt").write_text("a\nb\nc\n")
    with pytest.raises(ManifestError, match=r"videos.txt: missing"):
        read_manifest(folder)
    (folder / "train").mkdir()
    write_table(folder / "train" / "metadata.jsonl", NAMES)
    with pytest.raises(ManifestError, match=r"several tables.*prompts.txt.*train/metadata.jsonl"):
        read_manifest(folder)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"0.txt": None, "0.json": None}, "set.tar: 0.mp4: no text"),
        ({"0.txt": b" \n"}, "no text"),
        ({"0.txt": b"\xff"}, "0.txt: not UTF-8"),
        ({"0.txt": None, "0.json": b"{"}, "its .json: not JSON"),
        ({"0.txt": None, "0.json": b'{"url": "x"}'}, "its .json: no text"),
        ({"1.mp4": None}, "1 texts have no clip beside them, the first is 1.txt"),
        ({"0.webm": b"x"}, "two clips of one key"),
        ({"9.v2.mp4": b"x", "9.v2.txt": b"text"}, "9.v2.mp4: a clip's key ends at the first dot .* no clip 9; rename"),
    ],
)
def test_what_is_wrong_with_a_shard_is_named(tmp_path, change, said):
    content = {name: content for name, content in (members() | change).items() if content is not None}
    with pytest.raises(ManifestError, match=said):
        read_manifest(write_tar(tmp_path / "set.tar", content))


def test_other_members_of_a_shard_are_left_alone(tmp_path):
    more = {
        "0.flow.npy": b"x",
        "0.left.mp4": b"x",
        "0.jpg": b"x",
        "about.json": b"[]",
        "._0.mp4": b"x",
        ".hidden/x.mp4.part": b"x",
    }
    assert len(read_manifest(write_tar(tmp_path / "set.tar", members() | more))) == 3


def test_a_shard_cut_anywhere_is_an_error(tmp_path):
    whole = write_tar(tmp_path / "whole.tar", {name: content * 7 for name, content in members().items()})
    with tarfile.open(whole) as archive:
        end = archive.getmembers()[-1].offset_data + 512
    for size in range(1, end, 199):
        (tmp_path / "cut.tar").write_bytes(whole.read_bytes()[:size])
        with pytest.raises(ManifestError, match=r"cut.tar: not a whole, uncompressed tar"):
            read_manifest(tmp_path / "cut.tar")
    (tmp_path / "cut.tar").write_bytes(whole.read_bytes()[: end + 512])
    assert len(read_manifest(tmp_path / "cut.tar")) == 3


def test_a_member_that_cannot_be_copied_is_an_error_of_that_clip(tmp_path):
    shard = write_tar(tmp_path / "set.tar", {f"{'n' * 300}.mp4": b"x", f"{'n' * 300}.txt": b"a long name"})
    (caption,) = read_manifest(shard)
    with caption.video.opened() as copy:
        assert copy.read_bytes() == b"x"
    shard.unlink()
    with (
        pytest.raises(MediaError, match=r"cannot be copied to .*; see that the shard is there"),
        caption.video.opened(),
    ):
        pass


def test_a_range_that_runs_backwards_is_refused(tmp_path):
    write_tar(tmp_path / "b.tar", members())
    with pytest.raises(ManifestError, match=r"\{0003..0000\} runs backwards; write the smaller number first"):
        find_shards([tmp_path / "a-{0003..0000}.tar", tmp_path / "b.tar"])


def test_shards_that_cannot_be_used_are_errors(tmp_path):
    whole = write_tar(tmp_path / "set.tar", members())
    with tarfile.open(tmp_path / "packed.tar", "w:gz") as archive:
        archive.add(whole, "x.tar")
    for name, said in (
        ("packed.tar", "not a whole, uncompressed"),
        ("gone.tar", "no such shard"),
        ("gone-*.tar", "no such shards"),
        ("{set,x}.tar", "no such shard"),
    ):
        with pytest.raises(ManifestError, match=said):
            read_manifest(tmp_path / name)
    with pytest.raises(ManifestError, match="named twice"):
        read_manifest([whole, tmp_path / "s*.tar"])
