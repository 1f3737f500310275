"""AnimateBench of PIA (arXiv 2312.13964): 35 pictures of 7 personalised models, three texts each, 105 questions."""

import re
from collections.abc import Iterator
from pathlib import Path

from motionfocal.benchmarks.benchmark import Benchmark, BenchmarkItem
from motionfocal.benchmarks.rows import item_id, require_usable_ids
from motionfocal.errors import ManifestError
from motionfocal.reading import read_yaml
from motionfocal.video.files import IMAGE_SUFFIXES

NAME = "AnimateBench"
CONFIGS, PICTURES = "configs", "img"
_COUNTS = (105, 35)


def load_animatebench(folder: Path) -> Benchmark:
    """AnimateBench from a folder with ``configs/<model>.yaml`` and ``img/<model>/<n>.png`` (or another ending).

    That is the layout on the hub. Each config has ``prompts`` in the form of PIA's examples, which we assume here: a
    list with one list of texts for each picture, in the order of the pictures' numbers. A config with a single list
    has it for all of its pictures. The model's name is the scenario; there are no tags.

    Raises:
        ManifestError: a config or a picture does not fit that, or it is not 105 items on 35 pictures.
    """
    configs = sorted((folder / CONFIGS).glob("*.yaml"))
    if not configs:
        raise ManifestError(f"{folder}: no {CONFIGS}/*.yaml here; {NAME} is a folder with {CONFIGS} and {PICTURES}")
    items = require_usable_ids((str(config), item) for config in configs for item in _items(config, folder))
    counts = (len(items), len({item.image for item in items}))
    if counts != _COUNTS:
        raise ManifestError(
            f"{folder}: {counts[0]} items on {counts[1]} images instead of {_COUNTS[0]} on {_COUNTS[1]};"
            f" copy {NAME} again, or list your own in prompts.csv"
        )
    return Benchmark(NAME, items)


def looks_like_animatebench(folder: Path) -> bool:
    """Whether a folder has AnimateBench's two folders."""
    return (folder / CONFIGS).is_dir() and (folder / PICTURES).is_dir()


def _items(config: Path, folder: Path) -> Iterator[BenchmarkItem]:
    place = folder / PICTURES / config.stem
    if not place.is_dir():
        raise ManifestError(f"{config}: no folder {place} with its images")
    files = sorted((path for path in place.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES), key=_number_first)
    texts = _texts(config)
    texts = texts * len(files) if len(texts) == 1 else texts
    if len(texts) != len(files):
        raise ManifestError(f"{config}: {len(texts)} lists of prompts for {len(files)} images in {place}")
    for file, of_file in zip(files, texts, strict=True):
        for text in of_file:
            name = f"{config.stem}_{file.stem}"
            yield BenchmarkItem(item_id(name, text), f"{config.stem}/{file.stem}", file, text, config.stem)


def _texts(config: Path) -> list[list[str]]:
    """The config's lists of texts."""
    content = read_yaml(config, ManifestError)
    prompts = content.get("prompts") if isinstance(content, dict) else None
    lists = [prompts] if isinstance(prompts, list) and all(isinstance(text, str) for text in prompts) else prompts
    if not isinstance(lists, list) or not lists or not all(_is_list_of_texts(texts) for texts in lists):
        raise ManifestError(f"{config}: prompts is not a list of texts, nor a list of such lists, but {prompts!r}")
    return [[str(text).strip() for text in texts] for texts in lists]


def _is_list_of_texts(texts: object) -> bool:
    return isinstance(texts, list) and bool(texts) and all(isinstance(text, str) and text.strip() for text in texts)


def _number_first(path: Path) -> tuple[int, str]:
    """Order 2.png before 10.png."""
    digits = re.search(r"\d+", path.stem)
    return int(digits[0]) if digits else 0, path.name
