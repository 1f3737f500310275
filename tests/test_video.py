"""Reading whatever the world's cameras and tools write, and writing what every browser plays."""

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from motionfocal.errors import ConfigError, MediaError, ShapeError
from motionfocal.video import (
    Clip,
    iter_frames,
    probe,
    read_clip,
    read_image,
    resize_and_crop,
    write_clip,
    write_image,
)

from .films import cut, film, number, numbers, picture, remux


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return 10 * np.log10(255**2 / np.mean((a.astype(float) - b.astype(float)) ** 2))


# Reading: containers, codecs, pixel formats

KINDS = {
    "h264.mp4": {},
    "fragments.mp4": {"movflags": "frag_keyframe+empty_moov", "options": {"g": "10"}},
    "ten_bit.mp4": {"pix_fmt": "yuv420p10le"},
    "full_range.mp4": {"pix_fmt": "yuvj420p"},
    "grey.mp4": {"pix_fmt": "gray"},
    "grey_odd.mkv": {"codec": "ffv1", "pix_fmt": "gray", "size": (33, 71)},
    "grey_16.mkv": {"codec": "ffv1", "pix_fmt": "gray16le"},
    "alpha.mkv": {"codec": "ffv1", "pix_fmt": "bgra"},
    "h264.mkv": {},
    "vp9.webm": {"codec": "libvpx-vp9"},
    "vp9_odd.webm": {"codec": "libvpx-vp9", "size": (47, 65)},
    "vp8.webm": {"codec": "libvpx", "options": {"auto-alt-ref": "1", "lag-in-frames": "16"}},
    "prores.mov": {"codec": "prores_ks", "pix_fmt": "yuv422p10le"},
    "mjpeg.avi": {"codec": "mjpeg", "pix_fmt": "yuvj420p"},
    "mpeg4.avi": {"codec": "mpeg4"},
    "b_frames.avi": {"options": {"bf": "3"}},
    "animation.gif": {"codec": "gif", "pix_fmt": "rgb8", "rate": 10},
    "h264.ts": {},
    "interlaced.ts": {"options": {"x264-params": "interlaced=1:tff=1"}},
    "mpeg2.mpg": {"codec": "mpeg2video", "rate": 25},
    "flash.flv": {},
    "bare.h264": {},
}


@pytest.mark.parametrize("name", KINDS)
def test_every_frame_once_in_order(name: str, tmp_path: Path) -> None:
    kind = KINDS[name]
    path = film(tmp_path / name, **kind)
    clip = read_clip(path)
    assert numbers(clip.frames) == list(range(30))
    assert clip.frames.shape[1:] == (*kind.get("size", (48, 64)), 3)
    assert clip.fps == pytest.approx(kind.get("rate", 30))
    assert (clip.stride, clip.source) == (1, str(path))


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts", "a.flv"])
@pytest.mark.parametrize("rate", [8, Fraction(24000, 1001), Fraction(30000, 1001), 60, 120])
def test_rounded_timestamps_of_a_constant_rate_lose_no_frame(name: str, rate: Fraction | int, tmp_path: Path) -> None:
    clip = read_clip(film(tmp_path / name, 90, rate=rate))
    assert numbers(clip.frames) == list(range(90))
    assert clip.fps == pytest.approx(float(rate), rel=1e-6 if name != "a.flv" else 1e-3)


def test_a_first_timestamp_far_from_zero(tmp_path: Path) -> None:
    path = remux(film(tmp_path / "a.mp4"), tmp_path / "late.mp4", 15360 * 5)
    assert numbers(iter_frames(path)) == list(range(30))
    assert probe(path).duration == pytest.approx(1)


@pytest.mark.parametrize("b_frames", ["0", "2"])
def test_frames_that_an_edit_list_hides_stay_hidden(b_frames: str, tmp_path: Path) -> None:
    whole = film(tmp_path / "a.mp4", 60, options={"g": "12", "bf": b_frames})
    path = remux(whole, tmp_path / "edited.mp4", -17 * 512)
    assert numbers(read_clip(path).frames) == list(range(17, 60))


def test_a_stream_cut_between_key_frames_starts_at_the_next_one(tmp_path: Path) -> None:
    whole = film(tmp_path / "a.ts", 60, options={"x264-params": "open-gop=1:scenecut=0:keyint=12:bframes=2"})
    found = numbers(read_clip(cut(whole, tmp_path / "cut.ts", 0.3, 1)).frames)
    assert found == list(range(found[0], 60))
    assert found[0] in (12, 24, 36)


def test_tags_that_are_not_utf8_and_a_colon_in_the_name(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        container.metadata["title"] = "caf@@"
        stream = container.add_stream("libx264", rate=10)
        stream.height, stream.width = 48, 64
        container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(5), format="rgb24")))
        container.mux(stream.encode())
    data = path.read_bytes()
    assert b"caf@@" in data
    odd = tmp_path / "https:clip.mp4"
    odd.write_bytes(data.replace(b"caf@@", b"caf\xe9\xff"))
    assert numbers(read_clip(odd).frames) == [5]


# Reading: variable rate

SLOWER = [*range(30), *range(30, 90, 2)]  # 30 frames at 30 fps, then 30 at 15


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
def test_a_variable_rate_is_laid_on_a_uniform_grid(name: str, tmp_path: Path) -> None:
    clip = read_clip(film(tmp_path / name, 60, times=SLOWER))
    assert clip.fps == pytest.approx(20, rel=0.02)  # 60 frames in 3 seconds; no file says how long the last stays
    seconds = (np.arange(60) + 0.5) / clip.fps
    # At a tie the milliseconds of Matroska decide.
    early, late = (
        [int(np.flatnonzero(np.array(SLOWER) / 30 <= t + slack)[-1]) for t in seconds] for slack in (-2e-3, 2e-3)
    )
    found = numbers(clip.frames)
    assert all(a <= k <= b for a, k, b in zip(early, found, late, strict=True))
    assert (found[0], found[-1]) == (0, 59)
    assert sum(a != b for a, b in zip(early, late, strict=True)) < 5


def test_a_last_frame_that_stays_long_does_not_bend_a_constant_rate(tmp_path: Path) -> None:
    """The header averages it in, and a grid of that rate would skip and repeat frames."""
    path = film(tmp_path / "a.mp4", 16, rate=8)
    data = bytearray(path.read_bytes())
    at = data.index(b"stts") + 8  # one run of 16 equal steps becomes 15 of them
    assert data[at : at + 8] == (1).to_bytes(4, "big") + (16).to_bytes(4, "big")
    data[at + 4 : at + 8] = (15).to_bytes(4, "big")
    path.write_bytes(data)
    clip = read_clip(path)
    assert clip.fps == pytest.approx(8, rel=1e-3)
    assert numbers(clip.frames) == list(range(len(clip.frames)))


def test_a_dropped_frame_is_bridged_by_one_repeat(tmp_path: Path) -> None:
    times = [t for t in range(60) if t != 30]
    found = numbers(read_clip(film(tmp_path / "a.mp4", 59, times=times)).frames)
    assert len(found) == 59
    assert sorted(found) == found
    assert len(set(found)) >= 58


def test_jitter_below_half_a_frame_changes_nothing(tmp_path: Path, rng: np.random.Generator) -> None:
    times = [33 * k + int(rng.integers(-9, 10)) for k in range(60)]
    path = film(tmp_path / "a.mp4", 60, rate=1000, times=[t - times[0] for t in times])
    assert numbers(read_clip(path).frames) == list(range(60))


# Reading: turned cameras

CORNERS = np.zeros((48, 64, 3), np.uint8)
CORNERS[:24, :32] = (255, 0, 0)
CORNERS[24:, 32:] = (0, 0, 255)
QUARTER_TURNS = {0: (1, 0, 0, 1), 90: (0, -1, 1, 0), 180: (-1, 0, 0, -1), 270: (0, 1, -1, 0)}


def with_matrix(path: Path, a: int, b: int, c: int, d: int) -> Path:
    """Overwrite the display matrix in the track header of an MP4."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 44
    assert data[at : at + 4] == (1 << 16).to_bytes(4, "big")
    for place, entry in {0: a, 4: b, 12: c, 16: d}.items():
        data[at + place : at + place + 4] = (entry << 16).to_bytes(4, "big", signed=True)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("degrees", QUARTER_TURNS)
def test_rotation_is_applied(degrees: int, tmp_path: Path) -> None:
    path = with_matrix(film(tmp_path / "a.mp4", 2, pictures=[CORNERS] * 2), *QUARTER_TURNS[degrees])
    upright = np.rot90(CORNERS, degrees // 90)
    info, clip = probe(path), read_clip(path)
    assert info.rotation == degrees
    assert (info.height, info.width) == upright.shape[:2]
    assert clip.frames.shape == (2, *upright.shape)
    assert psnr(clip.frames[1], upright) > 25


@pytest.mark.parametrize(
    ("matrix", "mirrored"), [((-1, 0, 0, 1), CORNERS[:, ::-1]), ((0, 1, 1, 0), CORNERS.swapaxes(0, 1))]
)
def test_a_mirrored_picture_is_unmirrored(matrix: tuple[int, ...], mirrored: np.ndarray, tmp_path: Path) -> None:
    path = with_matrix(film(tmp_path / "a.mp4", 1, pictures=[CORNERS]), *matrix)
    assert psnr(read_clip(path).frames[0], mirrored) > 25


# Sampling


@pytest.fixture(scope="module")
def fifty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return film(tmp_path_factory.mktemp("films") / "fifty.mkv", 50)


@settings(max_examples=40)
@given(stride=st.integers(1, 20), start=st.integers(0, 60), count=st.none() | st.integers(1, 60))
def test_stride_and_start_slice_the_list_of_all_frames(fifty: Path, stride: int, start: int, count: int | None) -> None:
    expected = list(range(50))[start::stride]
    assert numbers(iter_frames(fifty, stride=stride, start=start)) == expected
    if len(expected) < (count or 1):
        with pytest.raises(MediaError, match="it has 50;"):
            read_clip(fifty, frames=count, stride=stride, start=start)
    else:
        clip = read_clip(fifty, frames=count, stride=stride, start=start)
        assert numbers(clip.frames) == expected[:count]
        assert (clip.fps, clip.stride) == (pytest.approx(30 / stride), stride)


@settings(max_examples=30)
@given(frames=st.integers(2, 60), stride=st.integers(1, 60), start=st.integers(0, 60))
def test_the_stride_that_the_error_names_fits_and_the_next_does_not(
    fifty: Path, frames: int, stride: int, start: int
) -> None:
    assume(len(range(start, 50, stride)) < frames)
    with pytest.raises(MediaError) as caught:
        read_clip(fifty, frames=frames, stride=stride, start=start)
    advice = str(caught.value).rpartition("; ")[2].split()
    if advice[0] == "stride":
        fits = int(advice[1])
        assert len(range(start, 50, fits)) >= frames > len(range(start, 50, fits + 1))
    else:
        assert int(advice[2]) == max(50 - start, 0) < frames


@pytest.mark.parametrize("bad", [{"stride": 0}, {"start": -1}, {"frames": 0}])
def test_impossible_sampling_names_the_setting(fifty: Path, bad: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=next(iter(bad))):
        read_clip(fifty, **bad)


def test_frames_are_resized_as_they_come(fifty: Path) -> None:
    whole = read_clip(fifty, frames=9, stride=3, start=2)
    small = read_clip(fifty, frames=9, stride=3, start=2, size=(20, 24))
    np.testing.assert_array_equal(small.frames, resize_and_crop(whole.frames, (20, 24)))


def test_the_file_is_closed_when_reading_stops_early(fifty: Path) -> None:
    frames = iter_frames(fifty)
    assert number(next(frames)) == 0
    frames.close()
    open_files = Path("/proc/self/fd")
    if not open_files.is_dir():
        pytest.skip("no /proc to list open files")
    assert str(fifty) not in {str(link.resolve()) for link in open_files.iterdir() if link.exists()}


def test_reading_is_deterministic(fifty: Path) -> None:
    np.testing.assert_array_equal(read_clip(fifty).frames, read_clip(fifty).frames)


def test_probe(tmp_path: Path) -> None:
    info = probe(film(tmp_path / "a.webm", 20, codec="libvpx-vp9", rate=Fraction(30000, 1001), size=(35, 63)))
    assert (info.width, info.height, info.frames, info.rotation) == (63, 35, 20, 0)
    assert (info.codec, info.pixel_format) == ("vp9", "yuv420p")
    assert info.fps == pytest.approx(30000 / 1001)
    assert info.duration == pytest.approx(20 * 1001 / 30000)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts", "a.gif", "a.avi"])
def test_one_frame_is_a_clip(name: str, tmp_path: Path) -> None:
    kind = {"codec": "gif", "pix_fmt": "rgb8"} if name == "a.gif" else {}
    clip = read_clip(film(tmp_path / name, 1, **kind))
    assert clip.frames.shape == (1, 48, 64, 3)
    assert clip.fps == pytest.approx(100 / 3 if name == "a.gif" else 30)  # a GIF counts hundredths of a second


def test_one_frame_that_tells_no_rate(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mkv", 1, codec="ffv1")
    data = bytearray(path.read_bytes())
    at = data.index(bytes.fromhex("23E383"))  # DefaultDuration becomes Void
    data[at : at + 4] = bytes([0xEC, 0x80 + data[at + 3] - 0x80 + 2, 0, 0])
    path.write_bytes(data)
    clip = read_clip(path)
    assert len(clip.frames) == 1
    assert clip.fps > 0


MEMORY = """
import sys, numpy as np
from motionfocal.video import iter_frames, write_clip
path, count = sys.argv[1], int(sys.argv[2])
shade = lambda k: np.full((128, 128, 3), k % 256, np.uint8)
write_clip(path, (shade(k) for k in range(count)), 30)
assert sum(1 for _ in iter_frames(path)) == count
peak = [line for line in open("/proc/self/status") if line.startswith("VmHWM")][0]
print(int(peak.split()[1]) / 1024)
"""


def peak_megabytes(path: Path, count: int) -> float:
    out = subprocess.run(
        [sys.executable, "-c", MEMORY, str(path), str(count)], capture_output=True, text=True, check=True
    )
    return float(out.stdout)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_memory_does_not_grow_with_the_length(tmp_path: Path) -> None:
    short, long = (peak_megabytes(tmp_path / f"{n}.mp4", n) for n in (64, 2000))
    assert long - short < 12  # the 1,936 frames more are 95 MB


def test_real_clips(ti2v_bench: Path) -> None:
    for path in sorted((ti2v_bench / "videos" / "motif").glob("*.mp4"))[:5]:
        clip = read_clip(path)
        assert clip.frames.shape == (16, 320, 320, 3)
        assert (clip.fps, probe(path).frames) == (8, 16)
        assert clip.frames.std() > 5
        with av.open(str(path)) as container:
            last = list(container.decode(video=0))[-1].to_ndarray(format="rgb24")
        np.testing.assert_array_equal(clip.frames[-1], last)


# Clip and resize_and_crop


@pytest.mark.parametrize(
    "bad", [np.zeros((2, 4, 4, 3)), np.zeros((4, 4, 3), np.uint8), np.zeros((2, 4, 4, 4), np.uint8)]
)
def test_a_clip_is_uint8_rgb_of_rank_four(bad: np.ndarray) -> None:
    with pytest.raises(ShapeError, match="uint8"):
        Clip(bad, 8.0)


sides = st.integers(1, 70)


@settings(max_examples=60)
@given(sides, sides, sides, sides, st.integers(0, 255), st.booleans())
def test_a_constant_image_stays_constant(height: int, width: int, h: int, w: int, value: int, many: bool) -> None:
    shape = (2, height, width, 3) if many else (height, width, 3)
    out = resize_and_crop(np.full(shape, value, np.uint8), (h, w))
    assert out.shape == (*shape[:-3], h, w, 3)
    assert (out == value).all()


@settings(max_examples=60)
@given(st.integers(8, 80), st.integers(8, 80), st.integers(8, 80), st.integers(8, 80))
def test_the_aspect_ratio_stays_and_the_centre_is_kept(height: int, width: int, h: int, w: int) -> None:
    """Coordinates drawn as colours come back as those of a centred window with one scale on both axes."""
    y, x = np.mgrid[:height, :width]
    image = np.stack([y * 3, x * 3, y * 0], -1).astype(np.uint8)
    out = resize_and_crop(image, (h, w)).astype(float) / 3
    scale = max(h / height, w / width)
    expected_y = (np.arange(h) + 0.5 - h / 2) / scale + height / 2 - 0.5
    expected_x = (np.arange(w) + 0.5 - w / 2) / scale + width / 2 - 0.5
    tolerance = 0.6 + 1.1 / scale + max(height, width) / max(h, w) / 2  # a pixel of rounding on either side
    assert np.abs(out[..., 0].mean(1) - expected_y).max() < tolerance
    assert np.abs(out[..., 1].mean(0) - expected_x).max() < tolerance


def test_a_size_that_is_there_is_the_same_array(rng: np.random.Generator) -> None:
    frames = rng.integers(0, 256, (3, 5, 7, 3), dtype=np.uint8)
    assert resize_and_crop(frames, (5, 7)) is frames
    np.testing.assert_array_equal(resize_and_crop(frames, (5, 3)), frames[:, :, 2:5])  # only a crop


def test_shrinking_averages_areas(rng: np.random.Generator) -> None:
    small = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
    np.testing.assert_array_equal(resize_and_crop(small.repeat(4, 0).repeat(4, 1)[:, ::-1], (6, 6)), small[:, ::-1])


def test_resizing_wants_rgb_and_a_size() -> None:
    with pytest.raises(ShapeError, match=r"\[4, 4\]"):
        resize_and_crop(np.zeros((4, 4), np.uint8), (2, 2))
    with pytest.raises(ConfigError, match="size"):
        resize_and_crop(np.zeros((4, 4, 3), np.uint8), (0, 2))


# Writing


def smooth_clip(rng: np.random.Generator, height: int = 64, width: int = 96) -> np.ndarray:
    """A soft picture that pans a pixel a frame."""
    grid = rng.integers(40, 216, (6, 9, 3)).astype(np.float32)
    wide = cv2.resize(grid, (width + 16, height), interpolation=cv2.INTER_CUBIC).clip(0, 255).astype(np.uint8)
    return np.stack([wide[:, k : k + width] for k in range(16)])


def test_what_is_written_is_what_browsers_play(tmp_path: Path, rng: np.random.Generator) -> None:
    path = tmp_path / "new" / "folder" / "a.mp4"
    write_clip(path, smooth_clip(rng), 8)
    data = path.read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert (stream.average_rate, stream.frames) == (8, 16)
        frame = next(container.decode(stream))
        assert (frame.colorspace, frame.color_range) == (6, 1)  # BT.601, limited
    assert [p.name for p in path.parent.iterdir()] == ["a.mp4"]


@pytest.mark.parametrize("fps", [1, 7.3, 8, 23.976, 29.97, 30000 / 1001, 60])
def test_the_rate_survives(fps: float, tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", np.stack([picture(k) for k in range(12)]), fps)
    clip = read_clip(tmp_path / "a.mp4")
    assert clip.fps == pytest.approx(fps, rel=1e-6)
    assert numbers(clip.frames) == list(range(12))


def test_a_soft_clip_survives(tmp_path: Path, rng: np.random.Generator) -> None:
    frames = smooth_clip(rng)
    write_clip(tmp_path / "a.mp4", frames, 8)
    back = read_clip(tmp_path / "a.mp4").frames
    assert psnr(back, frames) > 36
    assert np.abs(back.mean((0, 1, 2)) - frames.mean((0, 1, 2))).max() < 2  # no colour cast


def test_sprites_survive_upscaled(tmp_path: Path) -> None:
    """A 32x32 world with saturated sprites a few pixels wide, as the synthetic worlds draw them."""
    frames = np.full((12, 32, 32, 3), (60, 90, 70), np.uint8)
    for k in range(12):
        frames[k, 4:9, 2 * k : 2 * k + 5] = (230, 20, 20)
        frames[k, 14 + k, 20:23] = (20, 40, 240)
        frames[k, 25:27, 28 - 2 * k : 31 - 2 * k] = (250, 220, 0)
    write_clip(tmp_path / "a.mp4", frames, 8, upscale=8)
    clip = read_clip(tmp_path / "a.mp4")
    assert clip.frames.shape == (12, 256, 256, 3)
    back = resize_and_crop(clip.frames, (32, 32))
    assert np.abs(back.astype(int) - frames).max() <= 4
    assert np.abs(back.astype(int) - frames).mean() < 1
    write_clip(tmp_path / "plain.mp4", frames, 8)
    plain = read_clip(tmp_path / "plain.mp4").frames
    assert np.abs(plain.astype(int) - frames).max() > 40  # what upscaling is for


@pytest.mark.parametrize("size", [(1, 1), (33, 64), (48, 31), (17, 19)])
def test_odd_sides_are_padded_by_their_last_row_or_column(size: tuple[int, int], tmp_path: Path) -> None:
    h, w = size
    ramp = np.linspace(60, 200, h * w).reshape(h, w, 1).astype(np.uint8).repeat(3, 2)
    write_clip(tmp_path / "a.mp4", [ramp] * 3, 8)
    back = read_clip(tmp_path / "a.mp4").frames
    assert back.shape == (3, h + h % 2, w + w % 2, 3)
    expected = np.pad(ramp, ((0, h % 2), (0, w % 2), (0, 0)), mode="edge")
    assert np.abs(back[0].astype(int) - expected).max() < 14


def test_a_generator_streams_and_a_lower_crf_is_better(tmp_path: Path, rng: np.random.Generator) -> None:
    frames = smooth_clip(rng)
    for crf in (10, 40):
        write_clip(tmp_path / f"{crf}.mp4", (frame for frame in frames), 8, crf=crf)
    fine, coarse = (psnr(read_clip(tmp_path / f"{crf}.mp4").frames, frames) for crf in (10, 40))
    assert fine > coarse + 3


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write_clip(path, [picture(7)], 8)
    before = path.read_bytes()

    def breaks():
        yield from [picture(1)] * 5
        raise RuntimeError("the sampler stopped")

    with pytest.raises(RuntimeError, match="sampler"):
        write_clip(path, breaks(), 8)
    with pytest.raises(ShapeError, match=r"\[20, 64, 3\].*\[48, 64, 3\]"):
        write_clip(path, [picture(1), picture(2, 20)], 8)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_the_same_frames_become_the_same_bytes(tmp_path: Path, rng: np.random.Generator) -> None:
    frames = np.stack([picture(k) for k in range(4)])
    written = set()
    for _ in range(60):
        unclean = [rng.random(size) for size in rng.integers(10, 5000, 20)]  # memory that an encoder may meet again
        del unclean
        write_clip(tmp_path / "a.mp4", frames, 8)
        written.add((tmp_path / "a.mp4").read_bytes())
    assert len(written) == 1


def test_writing_refuses_what_it_cannot_write(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with pytest.raises(MediaError, match=r"a\.mp4: there are no frames"):
        write_clip(path, np.zeros((0, 4, 4, 3), np.uint8), 8)
    with pytest.raises(ShapeError, match="float64"):
        write_clip(path, np.zeros((2, 4, 4, 3)), 8)
    with pytest.raises(ShapeError, match=r"\[4, 3\]"):
        write_clip(path, np.zeros((4, 4, 3), np.uint8), 8)
    for fps in (0, -1, float("nan"), float("inf")):
        with pytest.raises(ConfigError, match="fps"):
            write_clip(path, [picture(1)], fps)
    with pytest.raises(ConfigError, match="upscale"):
        write_clip(path, [picture(1)], 8, upscale=0)
    with pytest.raises(MediaError, match=r"a\.gif: clips are written as MP4"):
        write_clip(tmp_path / "a.gif", [picture(1)], 8)
    with pytest.raises(MediaError, match=r"a\.mp4: cannot be encoded"):
        write_clip(path, [np.zeros((2, 17000, 3), np.uint8)], 8)  # wider than H.264 allows
    assert list(tmp_path.iterdir()) == []


def test_a_target_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(MediaError, match=r"a\.mp4: cannot be written"):
        write_clip(tmp_path / "file" / "a.mp4", [picture(1)], 8)
    (tmp_path / "b.mp4").mkdir()
    with pytest.raises(MediaError, match=r"b\.mp4: is a folder"):
        write_clip(tmp_path / "b.mp4", [picture(1)], 8)
    with pytest.raises(MediaError, match=r"nnn\.mp4: cannot be written"):
        write_clip(tmp_path / f"{'n' * 300}.mp4", [picture(1)], 8)


# Images


def test_png_keeps_every_pixel(tmp_path: Path, rng: np.random.Generator) -> None:
    image = rng.integers(0, 256, (7, 9, 3), dtype=np.uint8)
    path = tmp_path / "new" / "a.png"
    write_image(path, image)
    np.testing.assert_array_equal(read_image(path), image)
    np.testing.assert_array_equal(read_image(path, (3, 3)), resize_and_crop(image, (3, 3)))
    assert list(path.parent.iterdir()) == [path]
    write_image(tmp_path / "a.JPG", CORNERS)
    assert psnr(read_image(tmp_path / "a.JPG"), CORNERS) > 28


def test_exif_orientation(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn a quarter clockwise to see it upright
    Image.fromarray(CORNERS).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), np.rot90(CORNERS, -1))


def test_modes_become_rgb(tmp_path: Path) -> None:
    def read(image: Image.Image, name: str = "a.png") -> list[int]:
        image.save(tmp_path / name)
        return read_image(tmp_path / name)[0, 0].tolist()

    assert read(Image.new("L", (4, 4), 90)) == [90] * 3
    assert read(Image.new("1", (4, 4), 1)) == [255] * 3
    assert read(Image.fromarray(np.full((4, 4), 90 * 256 + 7, np.uint16))) == [90] * 3
    assert read(Image.new("RGBA", (4, 4), (10, 20, 30, 0))) == [255] * 3  # transparent: white
    assert read(Image.new("RGBA", (4, 4), (0, 0, 0, 128))) == [127] * 3
    assert read(Image.new("LA", (4, 4), (10, 255))) == [10] * 3
    assert read(Image.new("CMYK", (4, 4), (0, 255, 255, 0)), "a.tif") == [255, 0, 0]
    palette = Image.new("P", (4, 4), 3)
    palette.putpalette([200, 100, 50] * 256)
    assert read(palette, "a.gif") == [200, 100, 50]
    palette.info["transparency"] = 3
    assert read(palette) == [255] * 3


def test_images_are_rgb_and_named_by_a_format(tmp_path: Path) -> None:
    with pytest.raises(ShapeError, match=r"\[4, 4\]"):
        write_image(tmp_path / "a.png", np.zeros((4, 4), np.uint8))
    with pytest.raises(MediaError, match=r"a\.xyz: no image format"):
        write_image(tmp_path / "a.xyz", CORNERS)
    with pytest.raises(MediaError, match=r"a\.psd: cannot be written"):
        write_image(tmp_path / "a.psd", CORNERS)
    assert list(tmp_path.iterdir()) == []
