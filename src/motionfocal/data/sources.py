"""Where training clips come from. A source is an endless sequence: example n is the same in every run and process."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from motionfocal.data.manifest import Caption, read_captions
from motionfocal.errors import ManifestError, MotionFocalError
from motionfocal.models.build import ClipShape
from motionfocal.settings import Settings
from motionfocal.video import Clip, read_clip
from motionfocal.worlds import SpritesSettings, SpritesWorld


@dataclass(frozen=True)
class Example:
    """One clip to train on. ``key`` names the clip where a source repeats it, and is None where it never does."""

    frames: NDArray[np.uint8]
    text: str
    fps: float
    key: str | None = None


class ClipSource(Protocol):
    """An endless sequence of examples of one shape."""

    shape: ClipShape

    def __getitem__(self, index: int) -> Example:
        """Example ``index`` (0 or more): a pure function of the index."""
        ...


class SpritesData(Settings):
    """Clips of the sprites world."""

    kind: Literal["sprites"] = "sprites"
    clips: int | None = Field(
        None, ge=1, description="Different clips, which come back every epoch; unset: endless, none comes twice."
    )
    world: SpritesSettings = Field(default_factory=SpritesSettings, description="What the world looks like.")


class FolderData(Settings):
    """A folder of clips and a table of texts."""

    kind: Literal["folder"] = "folder"
    videos: Path = Field(description="Folder of the clips.")
    captions: Path = Field(description="CSV or JSONL with a text column and a file or id column; see the README.")
    frames: int = Field(16, ge=2, description="Frames a clip.")
    stride: int = Field(1, ge=1, description="Take every n-th frame.")
    height: int = Field(64, ge=8, description="Clips are scaled to cover this height ...")
    width: int = Field(64, ge=8, description="... and this width, and cropped around the centre.")


DataSettings = Annotated[SpritesData | FolderData, Field(discriminator="kind")]


class SpritesSource:
    """Clips drawn from the world when they are asked for; held-out combinations never appear."""

    def __init__(self, settings: SpritesData, seed: int) -> None:
        self._world, self._clips, self._seed = SpritesWorld(settings.world), settings.clips, seed
        self._drawn: dict[int, Example] = {}
        world = settings.world
        self.shape = ClipShape(frames=world.frames, height=world.size, width=world.size, fps=world.fps)

    def __getitem__(self, index: int) -> Example:
        """See ``ClipSource``."""
        if self._clips is None:
            return self._draw(index, key=None)
        index %= self._clips
        if index not in self._drawn:
            self._drawn[index] = self._draw(index, key=str(index))
        return self._drawn[index]

    def _draw(self, index: int, key: str | None) -> Example:
        rng = np.random.default_rng((self._seed, index))
        scene = self._world.scene_for(1, rng, "train")
        action = self._world.action(scene, rng, "train")
        frames = self._world.render(scene, action, rng)
        return Example(frames, self._world.text(scene, action), self.shape.fps, key)


class FolderSource:
    """Clips in memory, shuffled anew every epoch."""

    def __init__(self, clips: list[tuple[Caption, Clip]], shape: ClipShape, seed: int) -> None:
        self._clips, self.shape, self._seed = clips, shape, seed

    def __len__(self) -> int:
        return len(self._clips)

    def __getitem__(self, index: int) -> Example:
        """See ``ClipSource``."""
        epoch, position = divmod(index, len(self._clips))
        order = np.random.default_rng((self._seed, epoch)).permutation(len(self._clips))
        caption, clip = self._clips[order[position]]
        return Example(clip.frames, caption.text, clip.fps, key=caption.id)


@dataclass(frozen=True)
class Rejected:
    """A clip that could not be used, and why."""

    path: Path
    reason: str


def load_folder(
    settings: FolderData, seed: int, track: Callable[[list[Caption]], Iterable[Caption]] = iter
) -> tuple[FolderSource, list[Rejected]]:
    """Read every clip that the table names; a bad one is rejected with its reason and the others go on.

    ``track`` wraps the list of captions, to show progress.

    Raises:
        ManifestError: the table is wrong, or not a single clip could be read.
    """
    clips: list[tuple[Caption, Clip]] = []
    rejected: list[Rejected] = []
    size = (settings.height, settings.width)
    for caption in track(read_captions(settings.captions, settings.videos)):
        try:
            clips.append((caption, read_clip(caption.video, frames=settings.frames, stride=settings.stride, size=size)))
        except MotionFocalError as error:
            rejected.append(Rejected(caption.video, str(error)))
    if not clips:
        raise ManifestError(
            f"{settings.videos}: none of {len(rejected)} clips could be read; first: {rejected[0].reason}"
        )
    fps = float(np.median([clip.fps for _, clip in clips]))
    shape = ClipShape(frames=settings.frames, height=settings.height, width=settings.width, fps=fps)
    return FolderSource(clips, shape, seed), rejected
