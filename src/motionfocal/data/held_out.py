"""Which clips are held out of the training: the same ones in every run and on every machine."""

import hashlib
from collections.abc import Sequence
from typing import Literal, get_args

from motionfocal.data.files import VideoFile
from motionfocal.data.manifest import Caption
from motionfocal.errors import ManifestError

Part = Literal["training", "held-out"]
PARTS: tuple[Part, ...] = get_args(Part)


def part_of(captions: Sequence[Caption], share: float, part: Part) -> list[Caption]:
    """The captions of a part, in their order; at share 0 all are for training.

    Of n files, ``share`` times n are held out, to the nearest whole number, at least one and at most n - 1: those whose
    ids have the smallest hashes, whatever the order of the table. Rows that name one file stay together.

    Raises:
        ManifestError: there is one file alone, which cannot be on both sides.
    """
    if not share:
        return list(captions) if part == "training" else []
    names: dict[VideoFile, str] = {}
    for caption in captions:
        names.setdefault(caption.video, caption.id)
    if len(names) < 2:
        raise ManifestError(f"data.held_out is {share:g}, and there is but one clip: set it to 0, or add clips")
    count = min(max(1, round(share * len(names))), len(names) - 1)
    held_out = set(sorted(names, key=lambda file: _hash(names[file]))[:count])
    return [caption for caption in captions if (caption.video in held_out) == (part == "held-out")]


def _hash(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()
