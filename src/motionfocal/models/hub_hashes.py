"""The hashes by which the Hugging Face hub names files: it tells them without sending a file, and so does its cache."""

from collections.abc import Sequence
from pathlib import Path

from motionfocal.errors import CheckpointError
from motionfocal.models.repository import Repository
from motionfocal.reading import read_json

_WEIGHTS = (".safetensors", ".bin")


def hashes(repository: Repository, snapshot: Path, parts: Sequence[str]) -> dict[str, str]:
    """By name (``vae/config.json``) the hashes of the files of some parts; the same with and without a network.

    ``snapshot`` is the repository's folder in the hub's cache, which is named by a commit.

    Raises:
        CheckpointError: the hub does not answer, and not all of the parts are in its cache.
    """
    from huggingface_hub import HfApi

    try:
        files = HfApi().model_info(repository.name, revision=snapshot.name, files_metadata=True).siblings or []
    except Exception as error:  # whatever it is, a download would meet it; what is here may be enough
        return _in_cache(repository, snapshot, parts, error)
    named = {file.rfilename: str(file.lfs.sha256 if file.lfs else file.blob_id) for file in files}
    return {name: value for name, value in named.items() if name.count("/") == 1 and name.split("/")[0] in parts}


def _in_cache(repository: Repository, snapshot: Path, parts: Sequence[str], why: Exception) -> dict[str, str]:
    """A file of the cache is a link to one that bears its hash as its name."""
    paths = [path for part in parts for path in (snapshot / part).glob("*") if path.is_file()]
    lacking = [part for part in parts if not _is_whole(snapshot / part)]
    if lacking or not all(path.is_symlink() for path in paths):
        what = f"{', '.join(lacking)} is not here" if lacking else "the cache here has no links, which tell the hashes"
        raise CheckpointError(
            f"model.weights: {repository}: the hub does not tell what is in it ({why}), and {what};"
            f" go online, or first run '{repository.download}' where there is a network"
        )
    return {f"{path.parent.name}/{path.name}": path.readlink().name for path in paths}


def _is_whole(part: Path) -> bool:
    """Whether a part has all that its configs call for: they alone are downloaded first."""
    names = {path.name for path in part.glob("*")}
    for index in part.glob("*.index.json"):
        told = read_json(index, CheckpointError)
        shards = told.get("weight_map") if isinstance(told, dict) else None
        if isinstance(shards, dict) and not set(shards.values()) <= names:
            return False
    if "config.json" in names:  # a network
        return any(name.endswith(_WEIGHTS) for name in names)
    return "tokenizer_config.json" not in names or any(not name.endswith("config.json") for name in names)
