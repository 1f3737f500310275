"""Read and write single pictures."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from motionfocal.errors import MediaError
from motionfocal.video.clip import Frames, require_rgb, resize_and_crop
from motionfocal.video.files import replacing, require_file


def read_image(path: str | Path, size: tuple[int, int] | None = None) -> Frames:
    """A picture as uint8 ``[H,W,3]`` RGB, at ``size = (H, W)`` if given (``resize_and_crop``).

    Any format Pillow reads, turned as its EXIF says; transparency is laid on white, grey becomes RGB,
    16 bits become 8, and of an animation it is the first frame. Raises MediaError when the file is
    missing, empty, cut off, or no picture.
    """
    path = Path(path)
    require_file(path)
    try:
        with Image.open(path) as opened:
            image = _rgb(ImageOps.exif_transpose(opened))
    except (
        OSError,
        SyntaxError,
        ValueError,
        Image.DecompressionBombError,
    ) as error:  # Pillow raises all four
        raise MediaError(f"{path}: cannot be read as an image ({error}); save it again as PNG or JPEG") from error
    except MemoryError as error:
        raise MediaError(f"{path}: takes more memory than there is; scale it down") from error
    return image if size is None else resize_and_crop(image, size)


def _rgb(image: Image.Image) -> Frames:
    if image.mode.startswith("I"):  # 16-bit grey, which Pillow would clip at 255
        image = Image.fromarray((np.asarray(image) // 256).astype(np.uint8))
    if "A" in image.getbands() or "transparency" in image.info:
        opaque = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", opaque.size, "white"), opaque)
    return np.array(image.convert("RGB"))


def write_image(path: str | Path, image: Frames, *, quality: int = 95) -> None:
    """Write uint8 ``[H,W,3]`` RGB in the format that the name's ending says (PNG keeps every pixel).

    ``quality`` is JPEG's, 1 to 95. The file appears whole or not at all; makes the folder. Raises ShapeError for
    another type or rank, MediaError for an unknown ending or when it cannot be written.
    """
    path = Path(path)
    require_rgb(image, rank=3)
    kind = Image.registered_extensions().get(path.suffix.lower())
    if kind is None:
        raise MediaError(f"{path}: no image format is called {path.suffix!r}; end the name in .png or .jpg")
    with replacing(path) as partial:
        try:
            Image.fromarray(image).save(partial, format=kind, quality=quality)
        except (KeyError, OSError) as error:  # a format that is only read, or a full disk
            raise MediaError(f"{path}: cannot be written as {kind} ({error}); try .png") from error
