"""Which clips are held out of the training: the same ones in every run, by a hash of their ids."""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

from motionfocal.data.manifest import Caption
from motionfocal.errors import ManifestError

Part = Literal["training", "held-out"]
PARTS: tuple[Part, ...] = get_args(Part)

_Clip = tuple[Path, str]
"""A file as the system knows it, whatever a row calls it, and the member of a shard."""


def part_of(captions: Sequence[Caption], share: float, part: Part) -> list[Caption]:
    """The captions of a part, in their order; at share 0 all are for training.

    A clip is held out where the hash of its id, a number in [0, 1), is below ``share``: about that share of them are,
    and a clip stays on its side when others come or go, but for this: where that would be none, the lowest one is, and
    where it would be all, the highest one is not. Rows that name one file stay together.

    Raises:
        ManifestError: there is one file alone, which cannot be on both sides.
    """
    if not share:
        return list(captions) if part == "training" else []
    numbers: dict[_Clip, float] = {}
    resolved = {path: path.resolve() for path in {caption.video.path for caption in captions}}
    clips = [(resolved[caption.video.path], caption.video.member) for caption in captions]
    for caption, clip in zip(captions, clips, strict=True):
        numbers[clip] = min(numbers.get(clip, 1.0), _number(caption))
    if len(numbers) < 2:
        raise ManifestError(f"data.held_out is {share:g}, and there is but one clip: set it to 0, or add clips")
    lowest, *_, highest = sorted(numbers, key=numbers.__getitem__)
    held_out = {clip for clip, number in numbers.items() if number < share} | {lowest}
    if len(held_out) == len(numbers):
        held_out.remove(highest)
    sides = zip(captions, clips, strict=True)
    return [caption for caption, clip in sides if (clip in held_out) == (part == "held-out")]


def _number(caption: Caption) -> float:
    """Of the id, without what tells rows of one id apart, and of the file's ending: whatever the table's order."""
    video = caption.video
    name = re.sub(r"#\d+$", "", caption.id) + Path(video.member or video.path).suffix.lower()
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:6]) / 2**48
