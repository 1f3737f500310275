"""Parts of a pipeline folder: each is loaded, or downloaded, when it is first needed, and is whole."""

import hashlib
import json
import os
import shutil
from fnmatch import fnmatch
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled
from huggingface_hub.hf_api import BlobLfsInfo, RepoSibling

from motionfocal.errors import CheckpointError, ConfigError
from motionfocal.models.pipeline_folder import PipelineFolder
from motionfocal.training.config import load_config
from motionfocal.training.need import training_need
from motionfocal.training.run import cache_spec

from . import tiny_hunyuanvideo15, tiny_videocrafter, tiny_wan
from .tiny_wan import SHAPE, write_folder

REPOSITORY, REVISION = "Wan-AI/Wan2.2-TI2V-5B-Diffusers", "5c0ffee"
PINNED = ("v1.0", "refs/pr/1", REVISION)
WEIGHTS = (".safetensors", ".bin")


class Hub:
    """Stands in for the hub: gives the files that match, into one snapshot folder of links, as its library does."""

    def __init__(self, source: Path, cache: Path) -> None:
        self.source, self.snapshot, self.answers = source, cache / "snapshots" / REVISION, True
        self.asked: list[str | None] = []
        (cache / "blobs").mkdir(parents=True)

    def model_info(self, repository, *, revision, files_metadata):
        """As ``HfApi.model_info``: weights are told by SHA-256, other files by git's hash."""
        assert (repository, revision, files_metadata) == (REPOSITORY, REVISION, True)
        if not self.answers:
            raise OfflineModeIsEnabled("offline")
        siblings = [self._sibling(path) for path in self.source.rglob("*") if path.is_file()]
        return SimpleNamespace(siblings=siblings)

    def _sibling(self, path):
        content = path.read_bytes()
        blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        lfs = BlobLfsInfo(len(content), hashlib.sha256(content).hexdigest(), 1) if path.suffix in WEIGHTS else None
        return RepoSibling(str(path.relative_to(self.source)), len(content), blob, lfs)

    def download(self, repository, *, revision=None, allow_patterns):
        assert repository == REPOSITORY
        self.asked.append(revision)
        assert revision == REVISION or "*/*config.json" in allow_patterns, "later parts are of the same commit"
        for path in (path for path in self.source.rglob("*") if path.is_file()):
            name = path.relative_to(self.source)
            if any(fnmatch(str(name), pattern) for pattern in allow_patterns):
                self._give(path, name)
        return str(self.snapshot)

    def _give(self, path, name):
        told = self._sibling(path)
        blob = self.snapshot.parent.parent / "blobs" / (told.lfs.sha256 if told.lfs else told.blob_id)
        shutil.copy(path, blob)
        (self.snapshot / name).parent.mkdir(parents=True, exist_ok=True)
        (self.snapshot / name).unlink(missing_ok=True)
        (self.snapshot / name).symlink_to(os.path.relpath(blob, (self.snapshot / name).parent))

    def weights(self) -> set[str]:
        return {path.parent.name for path in self.snapshot.rglob("*.safetensors")}


@pytest.fixture
def hub(tmp_path, monkeypatch):
    write_folder(tmp_path / "source")
    (tmp_path / "source" / "everything-in-fp32.safetensors").write_bytes(b"what many repositories hold beside it")
    hub = Hub(tmp_path / "source", tmp_path / "cache")
    monkeypatch.setattr("huggingface_hub.snapshot_download", hub.download)
    monkeypatch.setattr("huggingface_hub.HfApi", lambda: hub)
    return hub


@pytest.mark.parametrize("revision", PINNED)
def test_a_pinned_revision_is_the_one_that_is_asked_for(hub, revision):
    folder = PipelineFolder(f"{REPOSITORY}@{revision}")
    assert hub.asked == [revision]
    folder.load("vae")
    assert hub.asked == [revision, REVISION]
    plain = PipelineFolder(REPOSITORY)
    assert hub.asked[2:] == [None]
    assert folder.fingerprint() == plain.fingerprint(), "the same files are the same, whatever they are called"
    assert folder.name == plain.name == "Wan2.2-TI2V-5B-Diffusers"


@pytest.mark.parametrize("revision", ["", " ", "-v1", "../main", "a//b", "v1@2", "/v1", "v1/", "a b"])
def test_what_is_no_revision_is_named(hub, revision):
    with pytest.raises(ConfigError, match=f"model.weights: {REPOSITORY}@.*'{revision}' is no revision; give a branch"):
        PipelineFolder(f"{REPOSITORY}@{revision}")
    assert hub.asked == []


def test_a_folder_with_an_at_in_its_name_is_a_folder(hub, monkeypatch):
    monkeypatch.chdir(hub.source.parent)
    there = Path("owner/model@")
    there.parent.mkdir()
    shutil.copytree(hub.source, there)
    folder = PipelineFolder(str(there))
    assert folder.folder == there
    assert folder.name == "model@"
    folder.load("vae")
    assert hub.asked == []


def test_a_part_is_downloaded_when_it_is_first_loaded(hub):
    folder = PipelineFolder(REPOSITORY)
    assert folder.config("transformer")["in_channels"] == 48
    assert hub.weights() == set()
    folder.load("vae")
    assert hub.weights() == {"vae"}
    assert not list(hub.snapshot.glob("*.safetensors"))
    theirs = PipelineFolder(str(hub.source)).load("transformer").state_dict()
    for name, weight in folder.load("transformer").state_dict().items():
        assert torch.equal(weight, theirs[name])


def test_what_training_needs_is_told_before_anything_is_downloaded(hub):
    config = load_config(None, ["data.kind=folder", "data.videos=x", "model.family=wan", f"model.weights={REPOSITORY}"])
    assert training_need(config, SHAPE).weights > 0
    assert hub.weights() == set()


def config_of(tmp_path):
    made = ["data.kind=folder", f"data.videos={tmp_path}", f"data.cache={tmp_path / 'prepared'}", "data.frames=9"]
    return load_config(None, [*made, "model.family=wan", f"model.weights={REPOSITORY}"])


def test_what_a_cache_must_hold_is_told_before_any_weights_are_downloaded(hub, tmp_path):
    config = config_of(tmp_path)
    before = cache_spec(config, config.data).encoder
    assert hub.weights() == set()
    PipelineFolder(REPOSITORY).fetch("vae", "text_encoder", "tokenizer")
    assert cache_spec(config, config.data).encoder == before
    hub.answers = False
    assert cache_spec(config, config.data).encoder == before


def test_other_frozen_weights_on_the_hub_have_another_fingerprint(hub):
    before = PipelineFolder(REPOSITORY).fingerprint()
    for part, same in (("transformer", True), ("vae", False)):
        path = next((hub.source / part).glob("*.safetensors"))
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
        assert (PipelineFolder(REPOSITORY).fingerprint() == before) == same


def test_without_the_hub_a_part_that_is_not_here_is_named(hub):
    folder = PipelineFolder(REPOSITORY)
    hub.answers = False
    for part, missing in (("vae", "text_encoder, tokenizer"), ("text_encoder", "tokenizer")):
        folder.fetch(part)
        with pytest.raises(CheckpointError, match=rf"{missing} is not here; go online, or first run 'hf download"):
            folder.fingerprint()
    with pytest.raises(CheckpointError, match=f"first run 'hf download {REPOSITORY} --revision v1.0'"):
        PipelineFolder(f"{REPOSITORY}@v1.0").fingerprint()


def test_a_shard_that_is_not_here_is_noticed(hub):
    folder = PipelineFolder(REPOSITORY)
    folder.fetch("vae", "text_encoder", "tokenizer")
    index = {"weight_map": {"a": "model.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (hub.snapshot / "text_encoder" / "model.safetensors.index.json").write_text(json.dumps(index))
    hub.answers = False
    with pytest.raises(CheckpointError, match="text_encoder is not here"):
        folder.fingerprint()


def test_a_cache_without_links_needs_the_hub(hub):
    folder = PipelineFolder(REPOSITORY)
    folder.fetch("vae", "text_encoder", "tokenizer")
    before, link = folder.fingerprint(), hub.snapshot / "vae" / "config.json"
    content = link.read_bytes()
    link.unlink()
    link.write_bytes(content)
    assert folder.fingerprint() == before
    hub.answers = False
    with pytest.raises(CheckpointError, match="the cache here has no links"):
        folder.fingerprint()


def test_what_is_neither_a_folder_nor_on_the_hub_is_named(monkeypatch):
    for name in ("nowhere", "./no/where", "a/b/c", "nowhere@v1", "@a/b", "./no/where@v1"):
        with pytest.raises(ConfigError, match="no such folder"):
            PipelineFolder(name)

    def refuse(repository, **options):
        raise LocalEntryNotFoundError("offline")

    monkeypatch.setattr("huggingface_hub.snapshot_download", refuse)
    for name in ("owner/model", "owner/model@v1"):
        with pytest.raises(CheckpointError, match=f"{name}: not a folder, and the hub does not give it"):
            PipelineFolder(name)


WORDS = {
    "t5": (tiny_wan.write_folder, r"tokenizer: .*; expected tokenizer\.json or spiece\.model"),
    "clip": (tiny_videocrafter.write_folder, r"tokenizer: .*; expected tokenizer\.json or merges\.txt and vocab\.json"),
}


@pytest.mark.parametrize(("write", "said"), WORDS.values(), ids=WORDS)
def test_a_tokenizer_without_its_vocabulary_is_refused(tmp_path, write, said):
    """transformers makes one that knows no word, and the network would never hear a text."""
    write(tmp_path)
    assert len(PipelineFolder(str(tmp_path)).load("tokenizer")) > 10
    (tmp_path / "tokenizer" / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match=said):
        PipelineFolder(str(tmp_path)).load("tokenizer")


def test_a_tokenizer_of_bytes_needs_no_vocabulary(tmp_path):
    tiny_hunyuanvideo15.write_folder(tmp_path)
    assert PipelineFolder(str(tmp_path)).load("tokenizer_2")("go").input_ids


@pytest.mark.parametrize("text", ["junk", "{}"])
def test_a_damaged_tokenizer_is_named(tmp_path, text):
    tiny_wan.write_folder(tmp_path)
    (tmp_path / "tokenizer" / "tokenizer.json").write_text(text)
    with pytest.raises(CheckpointError, match="tokenizer: cannot be loaded"):
        PipelineFolder(str(tmp_path)).load("tokenizer")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_network_without_weights_has_the_dtypes_of_the_one_with_them(hub, dtype):
    folder = PipelineFolder(str(hub.source))
    real = folder.load("transformer", dtype)
    with torch.device("meta"):
        empty = folder.load("transformer", dtype)
    assert {n: (w.shape, w.dtype) for n, w in real.named_parameters()} == {
        n: (w.shape, w.dtype) for n, w in empty.named_parameters()
    }
    assert len({weight.dtype for weight in real.parameters()}) == (1 if dtype == torch.float32 else 2)
