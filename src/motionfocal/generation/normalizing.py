"""Bring the clips of a gallery to one size, length and rate, so that people compare what models did and not how.

The authors of TI2V-Bench show all clips at 320x320, 16 frames, 8 fps. Names, tags and the encoder's message about
itself are gone afterwards: nothing but the pictures can tell which model made a clip.
"""

import hashlib
import secrets
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from motionfocal.errors import GalleryError, MediaError
from motionfocal.generation.gallery import INDEX, Gallery, GalleryRow, read_rows, write_row
from motionfocal.generation.measure import Form, form_of
from motionfocal.jsonl import rewrite_jsonl
from motionfocal.settings import Settings
from motionfocal.video import Frames, content_of, iter_frames, resize_and_crop, write_clip
from motionfocal.video.traces import remove_traces


class NormalForm(Settings):
    """What all clips become. The defaults are the form of the authors' published clips."""

    height: int = Field(320, ge=2, multiple_of=2, description="Pixels; clips are scaled to cover it, and cropped.")
    width: int = Field(320, ge=2, multiple_of=2, description="Pixels.")
    frames: int = Field(16, ge=2, description="Frames of every clip.")
    fps: float = Field(8.0, gt=0, description="Rate at which they are shown.")
    time: Literal["whole", "real"] = Field(
        "whole",
        description="whole: the frames are spread over the whole clip, however long it is, and shown at fps;"
        " real: the clip's first frames / fps seconds, at the speed that it was made for.",
    )

    def picks(self, frames: int, fps: float) -> NDArray[np.int64]:
        """Which frames of a clip are taken, increasing, the first one always.

        Frame ``k`` of a clip is shown at ``k / fps``. ``whole``: the frames nearest to ``self.frames`` instants at
        equal distances from the first frame to the last one. ``real``: those nearest to ``n / self.fps``. Of two that
        are equally near it is the earlier one. A clip that is in normal form is taken as it is.

        Raises:
            MediaError: the clip is too short, so that a frame would be shown twice, or has to be made up.
        """
        if self.time == "whole":
            instants = np.arange(self.frames) * ((frames - 1) / (self.frames - 1))
        else:
            instants = np.arange(self.frames) * (fps / self.fps)
        picks = np.ceil(np.round(instants, 6) - 0.5).astype(np.int64)
        if picks[-1] >= frames or not np.all(np.diff(picks) > 0):
            raise MediaError(self._too_short(frames, fps))
        return picks

    def _too_short(self, frames: int, fps: float) -> str:
        asked = f"{self.frames} different frames"
        if self.time == "real":
            asked += f" in {self.frames / self.fps:g} seconds at {self.fps:g} fps"
        return f"has {frames} frames at {fps:g} fps, too few for {asked}; take fewer frames"


@dataclass
class Normalized:
    """Clips in the new gallery, those that were new, how much faster than made each is shown, and what failed."""

    clips: int = 0
    added: int = 0
    speeds: dict[str, float] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)


def normalize(
    gallery: Gallery,
    folder: Path,
    form: NormalForm,
    *,
    progress: Callable[[], None] = lambda: None,
) -> Normalized:
    """Write the clips of a gallery into another one in normal form, under names that tell nothing.

    H.264 yuv420p for faststart, without sound or tags. A clip that is there already, in this form and from the same
    file, is left alone, so that a run that was killed goes on. A bad clip is listed and the others go on. A row keeps
    the model's own ``native_size``; its frames and rate are those of the new file.

    Raises:
        GalleryError: ``folder`` is the gallery itself, or holds a gallery of another model.
    """
    there = _rows_of(folder, gallery)
    salt = next((row.salt for row in there.values() if row.salt), "") or secrets.token_hex(16)
    folder.mkdir(parents=True, exist_ok=True)
    rewrite_jsonl(folder / INDEX, map(asdict, there.values()))
    result = Normalized()
    for row in gallery.rows():
        try:
            speed, new = _normalized(gallery, row, folder, form, there.get(row.id), salt)
        except MediaError as error:
            result.failed.append(f"{row.id}: {error}")
        else:
            result.clips += 1
            result.added += new is not None
            result.speeds[row.id] = speed
            if new is not None:
                write_row(folder, there, new)
        progress()
    return result


def _rows_of(folder: Path, gallery: Gallery) -> dict[str, GalleryRow]:
    """Normalised clips that are there and still belong to the gallery."""
    if folder.resolve() == gallery.folder.resolve():
        raise GalleryError(f"{folder}: is the gallery itself; give another folder")
    rows = read_rows(folder / INDEX)
    if any(not row.salt for row in rows) or {row.model for row in rows} - {gallery.model}:
        raise GalleryError(f"{folder}: holds another gallery; give a folder of its own to {gallery.model}")
    asked = {row.id for row in gallery.rows()}
    return {row.id: row for row in rows if row.id in asked and (folder / row.file).is_file()}


def _normalized(
    gallery: Gallery, row: GalleryRow, folder: Path, form: NormalForm, there: GalleryRow | None, salt: str
) -> tuple[float, GalleryRow | None]:
    """How much faster a clip is shown than it was made for, and its new row unless ``there`` is still good."""
    path = gallery.folder / row.file
    source = form_of(path, decode=False)
    picks = form.picks(source.frames, source.fps)
    speed = float(picks[-1]) / source.fps / ((form.frames - 1) / form.fps)
    made_by = hashlib.sha256(f"{form.fingerprint()}|{content_of(path)}".encode()).hexdigest()[:16]
    if there and there.settings == made_by and there.content == content_of(folder / there.file):
        return speed, None
    file = folder / f"{hashlib.sha256(f'{salt}|{row.model}|{row.id}'.encode()).hexdigest()[:20]}.mp4"
    write_clip(file, _pictures(path, picks, form), form.fps)
    remove_traces(file)
    made = _require_form(file, form)
    return speed, replace(
        row,
        file=file.name,
        frames=form.frames,
        fps=made.fps,
        settings=made_by,
        content=content_of(file),
        salt=salt,
    )


def _pictures(path: Path, picks: NDArray[np.int64], form: NormalForm) -> Iterator[Frames]:
    """The picked frames in their new size; the clip is decoded to its end, so that damage anywhere is found."""
    wanted = set(picks.tolist())
    for index, image in enumerate(iter_frames(path)):
        if index in wanted:
            yield resize_and_crop(image, (form.height, form.width))


def _require_form(file: Path, form: NormalForm) -> Form:
    """The form of a written clip, which must be what was asked for."""
    found, expected = form_of(file, decode=False), Form(form.height, form.width, form.frames, form.fps)
    if replace(found, fps=form.fps) != expected or abs(found.fps - form.fps) > 0.01:
        raise MediaError(f"{file}: became {found} instead of {expected}; take a rate that MP4 holds, such as 8")
    return found
