"""Fetch a data set from the Hugging Face hub, or say clearly that it cannot be had."""

from collections.abc import Sequence
from pathlib import Path

from motionfocal.errors import UnavailableError


def fetch(name: str, repository: str, patterns: Sequence[str]) -> Path:
    """The local copy of a data set of the hub, downloaded if it is not there yet.

    Raises:
        UnavailableError: it is not here and cannot be downloaded, as without a network.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(repository, repo_type="dataset", allow_patterns=list(patterns)))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise UnavailableError(
            f"{name}: the data set {repository} is not on this machine and the Hugging Face hub does not give it"
            f" ({str(error).splitlines()[0]}); try again with a network, or give the folder of a copy"
        ) from error
