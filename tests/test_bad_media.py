"""Files that are no clips, or half of one: each a MediaError that begins with the path and gives advice."""

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from motionfocal.errors import MediaError
from motionfocal.video import demux, iter_frames, probe, read_clip, read_image

from .films import cut, film, numbers, picture, sound


def complaint(path: Path, read: Callable[..., object] = read_clip) -> str:
    """What the MediaError says after the path; it must begin with it, and advise after a semicolon."""
    with pytest.raises(MediaError) as caught:
        read(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert "; " in text
    assert "\n" not in text
    return text.removeprefix(f"{path}: ")


def first_frame(path: Path) -> object:
    return next(iter_frames(path))


READERS = [read_clip, probe, first_frame]


@pytest.mark.parametrize("read", [*READERS, read_image])
def test_no_file_no_bytes_no_file_but_a_folder(read: Callable[..., object], tmp_path: Path) -> None:
    assert "no such file" in complaint(tmp_path / "missing.mp4", read)
    (tmp_path / "empty.mp4").touch()
    assert "empty" in complaint(tmp_path / "empty.mp4", read)
    assert "folder" in complaint(tmp_path, read)


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("text", ["hello, I am a text\n" * 20, '{"frames": 16}', "id,prompt\n1,a cat\n" * 9])
def test_a_text_named_mp4(read: Callable[..., object], text: str, tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_text(text)
    assert "cannot be opened as a video" in complaint(path, read)


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("cover", [False, True])
def test_sound_without_pictures(read: Callable[..., object], cover: bool, tmp_path: Path) -> None:
    said = complaint(sound(tmp_path / "a.mp4", cover=cover), read)
    assert said.startswith("holds no video stream, only audio")


def test_subtitles_named_mp4(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_text("WEBVTT\n\n00:00.000 --> 00:01.000\nhello\n")
    assert "only subtitle" in complaint(path)


@pytest.mark.parametrize("read", READERS)
def test_a_codec_nobody_knows(read: Callable[..., object], tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", 3)
    path.write_bytes(path.read_bytes().replace(b"avc1", b"zzzz"))
    assert "no decoder" in complaint(path, read)


@pytest.mark.parametrize("read", READERS)
def test_a_header_and_no_frame(read: Callable[..., object], tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", 5, movflags="+faststart")
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat") + 8
    data[start:] = bytes(len(data) - start)
    path.write_bytes(data)
    assert "no frame of its video can be decoded" in complaint(path, read)


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(("transfer", "name"), [(16, "PQ"), (18, "HLG")])
def test_colours_of_hdr(read: Callable[..., object], transfer: int, name: str, tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", 3, pix_fmt="yuv420p10le", transfer=transfer)
    said = complaint(path, read)
    assert f"HDR ({name})" in said
    assert "convert it to SDR" in said
    assert len(read_clip(film(tmp_path / "b.mp4", 3, pix_fmt="yuv420p10le", transfer=1)).frames) == 3


@pytest.mark.parametrize("read", READERS)
def test_a_small_file_of_enormous_frames(read: Callable[..., object], tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", 2, size=(48, 64))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demux, "MOST_PIXELS", 48 * 64 - 1)
        assert "64x48 pixels, more than is taken for a clip" in complaint(path, read)


def test_frames_that_turn_enormous_on_the_way(tmp_path: Path) -> None:
    """The container's header is harmless, and the stream's later one is not."""
    parts = [film(tmp_path / f"{n}.h264", 5, size=(48 * n, 64 * n)) for n in (1, 4)]
    path = tmp_path / "a.h264"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    assert "those before" in complaint(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demux, "MOST_PIXELS", 48 * 64)
        assert "of 10 frames can be decoded (Invalid data" in complaint(path)


# Cut off


@pytest.mark.parametrize("read", READERS)
def test_an_mp4_cut_before_its_index(read: Callable[..., object], tmp_path: Path) -> None:
    path = cut(film(tmp_path / "whole.mp4"), tmp_path / "a.mp4", 0, 0.5)
    assert "cut off before its index" in complaint(path, read)


CUT = {
    "faststart.mp4": ({"movflags": "+faststart"}, 120),
    "fragments.mp4": ({"movflags": "frag_keyframe+empty_moov", "options": {"g": "40"}}, None),
    "h264.mkv": ({}, 120),
    "vp9.webm": ({"codec": "libvpx-vp9"}, 120),
    "mpeg4.avi": ({"codec": "mpeg4"}, 120),
    "flash.flv": ({}, 120),
}


@pytest.mark.parametrize("name", CUT)
def test_a_cut_clip_is_not_taken_for_the_whole(name: str, tmp_path: Path) -> None:
    kind, promised = CUT[name]
    path = cut(film(tmp_path / f"whole_{name}", 120, **kind), tmp_path / name, 0, 0.6)
    said = complaint(path)
    done, of = int(said.split()[1]), int(said.split()[3])
    assert 5 < done < of
    if promised is not None:  # a fragment promises only itself
        assert of == pytest.approx(promised, abs=1)
    assert numbers(read_clip(path, frames=5).frames) == list(range(5))
    assert probe(path).frames == of
    assert f"has {done} of {of}" in complaint(path, lambda p: read_clip(p, frames=200))

    came: list[int] = []

    def drain(p: Path) -> None:
        for frame in iter_frames(p):
            came.append(numbers([frame])[0])

    assert complaint(path, drain) == said
    assert came == list(range(done))


def test_the_last_frames_may_be_taken_from_a_cut_clip(tmp_path: Path) -> None:
    whole = film(tmp_path / "whole.mp4", 120, movflags="+faststart", options={"bf": "0"})
    path = cut(whole, tmp_path / "a.mp4", 0, 0.6)
    done = int(complaint(path).split()[1])
    assert numbers(read_clip(path, frames=done).frames) == list(range(done))
    complaint(path, lambda p: read_clip(p, frames=done + 1))


# Damaged inside


def overwrite(path: Path, index: int, offset: int, by: bytes) -> Path:
    """Put ``by`` in place of the bytes at ``offset`` in packet ``index``."""
    with av.open(str(path)) as container:
        at = [packet.pos for packet in container.demux(video=0) if packet.size][index]
    data = bytearray(path.read_bytes())
    data[at + offset : at + offset + len(by)] = by
    path.write_bytes(data)
    return path


def test_damage_inside_is_told_and_what_comes_before_can_be_read(tmp_path: Path) -> None:
    path = overwrite(film(tmp_path / "a.mp4", 60, options={"bf": "0"}), 30, 0, b"\xff" * 12)
    said = complaint(path)
    assert said.startswith("only 30 of 60")
    assert numbers(read_clip(path, frames=30).frames) == list(range(30))
    assert complaint(path, lambda p: read_clip(p, frames=31)) == said


@pytest.mark.parametrize("read", READERS)
def test_damage_in_the_first_frame(read: Callable[..., object], tmp_path: Path) -> None:
    path = overwrite(film(tmp_path / "a.mp4", 5, codec="mpeg4"), 0, 0, b"\xff" * 12)
    assert complaint(path, read).startswith("only 0 of 5")


def test_a_frame_that_the_decoder_swallows_is_missed_at_once(tmp_path: Path) -> None:
    """Its followers must not take its place: they would be shown too early."""
    path = overwrite(film(tmp_path / "a.mp4", 20, codec="mpeg4"), 9, 4, b"\xff" * 12)
    said = complaint(path)
    assert said.startswith("only 9 of 20 frames can be decoded (the next one did not come out)")
    assert complaint(path, lambda p: read_clip(p, frames=12)) == said
    assert numbers(read_clip(path, frames=9).frames) == list(range(9))


def test_a_single_frame_that_the_decoder_swallows(tmp_path: Path) -> None:
    path = overwrite(film(tmp_path / "a.mkv", 1, codec="libvpx"), 0, 4, b"\x0c")
    for read in READERS:
        assert complaint(path, read).startswith("only 0 of 1")


def test_a_colour_space_that_nobody_converts(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        stream.codec_context.colorspace = 8  # YCgCo
        container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(1), format="rgb24")))
        container.mux(stream.encode())
    assert "its colours" in complaint(path)


def test_a_stream_that_turns_up_on_the_way(tmp_path: Path) -> None:
    path = film(tmp_path / "a.flv", 240)
    data = path.read_bytes()
    assert data[4] == 1  # the header announces pictures only
    sound_tag = bytes([8, 0, 0, 5, 0, 32, 0, 0, 0, 0, 0]) + bytes([0x2E, 0, 0, 0, 0]) + bytes([0, 0, 0, 16])
    path.write_bytes(data + sound_tag)
    assert "a stream begins on the way" in complaint(path)


def test_a_size_that_changes_on_the_way(tmp_path: Path) -> None:
    small, large = film(tmp_path / "s.h264", 10), film(tmp_path / "l.h264", 10, size=(64, 96))
    path = tmp_path / "a.h264"
    path.write_bytes(small.read_bytes() + large.read_bytes())
    assert "frame 10 is (64, 96)" in complaint(path)
    assert len(read_clip(path, frames=10).frames) == 10


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.mp4", {"movflags": "+faststart"}),
        ("a.mkv", {}),
        ("a.webm", {"codec": "libvpx-vp9"}),
        ("a.avi", {"codec": "mpeg4"}),
        ("a.ts", {}),
        ("a.gif", {"codec": "gif", "pix_fmt": "rgb8"}),
    ],
)
def test_noise_in_a_file_ends_in_a_clip_or_a_media_error(
    name: str, kind: dict[str, object], tmp_path: Path, rng: np.random.Generator
) -> None:
    whole = film(tmp_path / name, 12, **kind).read_bytes()
    path = tmp_path / f"noisy_{name}"
    refused = 0
    for _ in range(40):
        data = np.frombuffer(whole, np.uint8).copy()
        reach = min(len(data), int(rng.choice([200, 2000, len(data)])))
        places = rng.integers(0, reach, int(rng.choice([1, 5, 40])))
        data[places] = rng.integers(0, 256, len(places))
        path.write_bytes(data.tobytes())
        try:
            clip = read_clip(path)
        except MediaError as error:
            refused += 1
            assert str(error).startswith(f"{path}: ")
        else:
            assert clip.frames.ndim == 4
    assert refused > 0


# Images


def test_images_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("not a picture, whatever its name")
    assert "cannot be read as an image" in complaint(tmp_path / "a.png", read_image)
    film(tmp_path / "b.mp4", 2).rename(tmp_path / "b.jpg")
    assert "cannot be read as an image" in complaint(tmp_path / "b.jpg", read_image)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_an_image_cut_off(name: str, share: float, tmp_path: Path, rng: np.random.Generator) -> None:
    Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(tmp_path / f"whole_{name}")
    path = cut(tmp_path / f"whole_{name}", tmp_path / name, 0, share)
    assert "cannot be read as an image" in complaint(path, read_image)


def test_an_image_too_large_to_be_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(picture(1)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert "exceeds limit" in complaint(tmp_path / "a.png", read_image)


def test_a_picture_that_does_not_fit_into_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(picture(1)).save(path)

    def no_memory(self: Image.Image, *_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Image.Image, "convert", no_memory)
    assert "memory" in complaint(path, read_image)
