"""Where a gallery came from: kept beside its clips, so that it can be judged and reported later."""

from pathlib import Path

from pydantic import Field, ValidationError

from motionfocal.errors import GalleryError
from motionfocal.generation.sampler import SamplingSettings
from motionfocal.reading import read_text
from motionfocal.settings import Settings
from motionfocal.video.files import replace_text
from motionfocal.worlds.benchmark import SpritesBenchmark

_FILE = "origin.json"


class Origin(Settings):
    """A gallery of a world's benchmark."""

    benchmark: SpritesBenchmark = Field(description="The questions.")
    sampling: SamplingSettings = Field(description="How the clips were sampled.")
    seed: int = Field(0, ge=0, description="Drew the noise.")
    run: Path | None = Field(description="The run that trained the model, relative to the gallery; None if unknown.")


def save_origin(gallery: Path, origin: Origin) -> None:
    """Write it into the gallery's folder. Raises MediaError when it cannot be written."""
    replace_text(gallery / _FILE, origin.model_dump_json(indent=2))


def has_origin(gallery: Path) -> bool:
    """Whether a gallery is one of a world's benchmark."""
    return (gallery / _FILE).is_file()


def load_origin(gallery: Path) -> Origin:
    """Read it back.

    Raises:
        GalleryError: the gallery does not say of which benchmark it is, or not in a way that can be read.
    """
    path = gallery / _FILE
    if not path.is_file():
        raise GalleryError(
            f"{gallery}: no {_FILE}; the oracle judges galleries that 'motionfocal animate --world' made"
        )
    try:
        return Origin.model_validate_json(read_text(path, GalleryError))
    except ValidationError as error:
        first = error.errors()[0]
        why = ": ".join(filter(None, (".".join(map(str, first["loc"])), first["msg"])))
        raise GalleryError(f"{path}: {why}; run 'motionfocal animate --world' into this folder again") from error
