"""What every stand-in shares: clips that show which picture, text and seed they were made of, and faults on request.

A frame is 64x128: its left half has the picture's mean colour, its right half 8x8 cells of 8x8 pixels, black or white:
the 32 bits of the text's checksum, then those of the seed's (0: no seed).
"""

import os
import sys
import time
import zlib
from pathlib import Path

import av
import numpy as np
from PIL import Image

FRAMES = 16


def checksum(value):
    return zlib.crc32(str(value).encode())


def frames(picture, text, seed=None):
    _fault(text)
    image = np.zeros((64, 128, 3), np.uint8)
    image[:, :64] = np.asarray(Image.open(picture), np.uint8)[..., :3].mean((0, 1))
    words = [checksum(text), 0 if seed is None else checksum(seed)]
    bits = [word >> bit & 1 for word in words for bit in range(32)]
    cells = 255 * np.array(bits, np.uint8).reshape(8, 8)
    image[:, 64:] = cells.repeat(8, 0).repeat(8, 1)[..., None]
    return [image] * FRAMES


def write_mp4(path, images, text="", fps=8):
    path = str(path)
    with av.open(path, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    if asked("half", text):
        content = Path(path).read_bytes()
        Path(path).write_bytes(content[: len(content) // 2])
        sys.exit("out of memory")


def write_gif(path, images):
    first, *rest = [Image.fromarray(image) for image in images]
    first.save(path, save_all=True, append_images=rest, duration=125)


def asked(fault, text):
    kind, _, of = os.environ.get("STAND_IN_FAULT", "").partition(":")
    return kind == fault and of == text


def plain(value):
    """Refuse what OmegaConf would not read as it is."""
    if isinstance(value, str) and ("${" in value or value == "???"):
        raise SystemExit(f"interpolation or missing value: {value}")
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else []:
        plain(inner)
    return value


def only(config, known):
    """Refuse a config with a key that the official one lacks, or without one that it has."""
    if set(config) != set(known):
        raise SystemExit(f"keys differ: {set(config) ^ set(known)}")


def _fault(text):
    if asked("die", text):
        print(f"RuntimeError: CUDA out of memory for {text}", file=sys.stderr)
        sys.exit(3)
    if asked("hang", text):
        Path(os.environ["STAND_IN_PID"]).write_text(str(os.getpid()))
        time.sleep(60)
