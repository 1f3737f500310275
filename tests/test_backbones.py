"""Backbones: preprocessing to the digit, the real architectures, weights found, fetched, refused and fingerprinted."""

import hashlib
import sys
import textwrap
import types
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import nn
from torchvision.models.optical_flow import raft_large
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Normalize, Resize, ToTensor
from transformers import ViTConfig, ViTModel

from motionfocal.engine import Local
from motionfocal.errors import CheckpointError, ManifestError, UnavailableError
from motionfocal.metrics.backbones import Backbone, BackboneSettings, Stream, WeightFile, images, motion, recipes
from motionfocal.metrics.backbones.backbone import load_state, read_state, require
from motionfocal.metrics.backbones.weights import fingerprint, locate

from .tiny_backbones import TINY_CLIP, backbone_of, moving, tiny_clip, tiny_dino, tiny_vit

SIDES = st.integers(230, 640)
IMAGENET = Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CLIP = Normalize((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
SHAPES = [(240, 426), (320, 320), (512, 288), (231, 639)]


def frame(shape):
    return np.random.default_rng(1).integers(0, 256, (*shape, 3), np.uint8)


# Preprocessing, against torchvision's classes as VBench composes them, with antialias said aloud.


@pytest.mark.parametrize("shape", SHAPES)
def test_frames_are_prepared_as_by_vbench(shape):
    rgb = frame(shape)
    pixels = torch.from_numpy(rgb).permute(2, 0, 1)[None].float()
    bicubic = InterpolationMode.BICUBIC
    dino = IMAGENET(Resize(224, antialias=False)(pixels) / 255)[0]
    clip = CLIP(CenterCrop(224)(Resize(224, interpolation=bicubic, antialias=False)(pixels)) / 255)[0]
    near = IMAGENET(CenterCrop(224)(Resize(256, interpolation=bicubic, antialias=False)(pixels)) / 255)[0]
    whole = (Resize((224, 224), interpolation=bicubic, antialias=False)(pixels) / 255)[0]
    torch.testing.assert_close(recipes.SUBJECT(rgb), dino)
    torch.testing.assert_close(recipes.CLIP_FRAME(rgb), clip)
    torch.testing.assert_close(recipes.i2v_subject(antialias=False)[0](rgb), near)
    torch.testing.assert_close(recipes.i2v_background(antialias=False)[0](rgb), whole)


@pytest.mark.parametrize("shape", SHAPES)
def test_pictures_are_prepared_by_pillow(shape):
    rgb = frame(shape)
    bicubic = InterpolationMode.BICUBIC
    picture = Image.fromarray(rgb)
    near = Compose([Resize(256, interpolation=bicubic), CenterCrop(224), ToTensor(), IMAGENET])(picture)
    whole = Compose([Resize((224, 224), interpolation=bicubic), ToTensor()])(picture)
    clip = Compose([Resize(224, interpolation=bicubic), CenterCrop(224), ToTensor(), CLIP])(picture)
    torch.testing.assert_close(recipes.i2v_subject(antialias=False)[1](rgb), near)
    torch.testing.assert_close(recipes.i2v_background(antialias=False)[1](rgb), whole)
    torch.testing.assert_close(recipes.CLIP_PICTURE(rgb), clip)


@settings(max_examples=15)
@given(SIDES, SIDES)
def test_the_longer_side_is_cut_down_and_never_up(height, width):
    prepared = recipes.MUSIQ(frame((height, width)))
    scale = 512.0 / max(height, width)
    wanted = (height, width) if scale >= 1 else (int(scale * height), int(scale * width))
    assert prepared.shape[1:] == wanted
    assert prepared.min() >= 0 and prepared.max() <= 1


def test_antialiasing_matters_which_is_why_it_is_pinned():
    rgb = frame((720, 1280))
    with_, without = (recipes.i2v_subject(antialias=choice)[0](rgb) for choice in (True, False))
    assert (with_ - without).abs().mean() > 0.3


@settings(max_examples=30)
@given(st.integers(8, 300), st.integers(8, 300), st.integers(8, 300), st.integers(8, 300))
def test_a_picture_is_cut_to_the_clips_shape_at_its_centre(tall, wide, height, width):
    picture = np.zeros((tall, wide, 3), np.uint8)
    cut = recipes.cut_to_shape(picture, height, width)
    assert cut.shape[0] == tall or cut.shape[1] == wide
    h, w = cut.shape[:2]
    assert abs(h - w * height / width) <= 1 + height / width or abs(w - h * width / height) <= 1 + width / height


# The real architectures.


def test_dino_is_the_vit_that_transformers_has():
    vit = tiny_vit()
    size = {"hidden_size": 192, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 768}
    other = ViTModel(ViTConfig(layer_norm_eps=1e-6, **size), add_pooling_layer=False).eval()
    state = vit.state_dict()
    renamed = {
        "embeddings.cls_token": state["cls_token"],
        "embeddings.position_embeddings": state["pos_embed"],
        "embeddings.patch_embeddings.projection.weight": state["patch_embed.proj.weight"],
        "embeddings.patch_embeddings.projection.bias": state["patch_embed.proj.bias"],
        "layernorm.weight": state["norm.weight"],
        "layernorm.bias": state["norm.bias"],
    }
    other.load_state_dict(renamed | layers_of(state, other), strict=True)
    image = torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        expected = other(image).last_hidden_state[:, 0]
        torch.testing.assert_close(images.DinoFeatures(vit.eval())(image), expected, rtol=1e-4, atol=1e-4)


def layers_of(state, other):
    """timm's blocks under whatever names this version of transformers gives them."""
    names = [name for name in other.state_dict() if ".0." in name]
    found = {}
    for name in names:
        for block in (0, 1):
            found[name.replace(".0.", f".{block}.", 1)] = part_of(state, name, block)
    return found


def part_of(state, name, block):
    kind = name.rsplit(".", 1)[1]
    for word, third in (("query", 0), ("q_proj", 0), ("key", 1), ("k_proj", 1), ("value", 2), ("v_proj", 2)):
        if word in name:
            return state[f"blocks.{block}.attn.qkv.{kind}"].chunk(3)[third]
    for words, ours in (
        (("attention.output", "o_proj"), "attn.proj"),
        (("intermediate", "fc1"), "mlp.fc1"),
        (("layernorm_before",), "norm1"),
        (("layernorm_after",), "norm2"),
        (("output.dense", "fc2"), "mlp.fc2"),
    ):
        if any(word in name for word in words):
            return state[f"blocks.{block}.{ours}.{kind}"]
    raise AssertionError(name)


@pytest.mark.parametrize(("height", "width"), [(224, 398), (240, 224), (224, 231)])
def test_dino_resizes_its_positions_as_released(height, width):
    vit = tiny_vit(depth=1).eval()
    rows, columns = height // 16, width // 16
    square = vit.pos_embed[:, 1:].reshape(1, 14, 14, 192).permute(0, 3, 1, 2)
    ratio = ((rows + 0.1) / 14, (columns + 0.1) / 14)
    grid = F.interpolate(square, scale_factor=ratio, mode="bicubic")
    assert grid.shape[-2:] == (rows, columns)
    image = torch.randn(1, 3, height, width)
    with torch.no_grad():
        tokens = vit.patch_embed.proj(image).flatten(2).transpose(1, 2)
        positions = vit.pos_embed[:, :1], grid.permute(0, 2, 3, 1).reshape(1, -1, 192)
        x = torch.cat([vit.cls_token, tokens], 1) + torch.cat(positions, 1)
        expected = vit.norm(vit.blocks(x))[:, 0]
        torch.testing.assert_close(images.DinoFeatures(vit)(image), expected)


def test_clip_is_loaded_from_a_checkpoint_or_from_openais_archive(tmp_path, monkeypatch):
    import open_clip

    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "tiny-clip", TINY_CLIP)
    network = tiny_clip().clip
    plain, archive = tmp_path / "plain.pt", tmp_path / "archive.pt"
    torch.save({"state_dict": {f"module.{n}": t for n, t in network.state_dict().items()}}, plain)
    scripted = torch.jit.script(Archive(network.state_dict()))
    scripted.save(str(archive))
    texts, image = ["a dog", "a cat"], torch.randn(2, 3, 224, 224)
    for file in (plain, archive):
        loaded = images.BuildClip("tiny-clip", quick_gelu=True)((file,)).eval()
        torch.testing.assert_close(loaded(image), network.eval().encode_image(image))
        torch.testing.assert_close(loaded.texts(texts), network.encode_text(loaded.tokenizer(texts)))


class Archive(nn.Module):
    """Tensors under a model's names and OpenAI's three numbers, as a TorchScript module."""

    def __init__(self, state):
        super().__init__()
        for name, tensor in state.items():
            *path, last = name.split(".")
            self._at(path).register_buffer(last, tensor)
        for name in ("input_resolution", "context_length", "vocab_size"):
            self.register_buffer(name, torch.tensor(7))

    def _at(self, path):
        module = self
        for name in path:
            if name not in dict(module.named_children()):
                module.add_module(name, nn.Module())
            module = getattr(module, name)
        return module

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def test_a_text_that_clip_would_cut_is_refused():
    with pytest.raises(ManifestError, match="82 tokens, but this CLIP reads 77"):
        tiny_clip().texts(["short", "dog " * 80])


def test_the_aesthetic_head_reads_normalised_features():
    head = nn.Linear(32, 1)
    clip = tiny_clip()
    image = torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        features = clip(image)
        expected = features / features.norm(dim=1, keepdim=True) @ head.weight.T + head.bias
        torch.testing.assert_close(images.Aesthetic(clip, head)(image), expected)


# RAFT: the project's names, from its layers one by one.


def project_names():
    """Torchvision's name by RAFT's own, written out from RAFT's extractor.py and update.py."""
    pairs = {}
    for short, long in (("fnet", "feature_encoder"), ("cnet", "context_encoder")):
        norm = short == "cnet"
        pairs |= layer(f"{short}.conv1", f"{short}.norm1" if norm else None, f"{long}.convnormrelu")
        pairs[f"{short}.conv2"] = f"{long}.conv"
        for stage in (1, 2, 3):
            for block in (0, 1):
                a, b = f"{short}.layer{stage}.{block}", f"{long}.layer{stage}.{block}"
                for i in (1, 2):
                    pairs |= layer(f"{a}.conv{i}", f"{a}.norm{i}" if norm else None, f"{b}.convnormrelu{i}")
                if stage > 1 and block == 0:
                    pairs |= layer(f"{a}.downsample.0", f"{a}.downsample.1" if norm else None, f"{b}.downsample")
    own, tv = "update_block.encoder", "update_block.motion_encoder"
    pairs |= {f"{own}.convc{i}": f"{tv}.convcorr{i}.0" for i in (1, 2)}
    pairs |= {f"{own}.convf{i}": f"{tv}.convflow{i}.0" for i in (1, 2)} | {f"{own}.conv": f"{tv}.conv.0"}
    for gate in "zrq":
        for i in (1, 2):
            pairs[f"update_block.gru.conv{gate}{i}"] = f"update_block.recurrent_block.convgru{i}.conv{gate}"
    pairs |= {f"update_block.flow_head.conv{i}": f"update_block.flow_head.conv{i}" for i in (1, 2)}
    return pairs | {"update_block.mask.0": "mask_predictor.convrelu.0", "update_block.mask.2": "mask_predictor.conv"}


def layer(conv, norm, theirs):
    return {conv: f"{theirs}.0"} | ({norm: f"{theirs}.1"} if norm else {})


def test_rafts_own_checkpoint_fills_torchvisions_network(tmp_path):
    torch.manual_seed(0)
    network = raft_large(weights=None).eval()
    state = network.state_dict()
    own = {}
    for name, theirs in project_names().items():
        for key in state:
            if key.rsplit(".", 1)[0] == theirs:
                own[f"module.{name}.{key.rsplit('.', 1)[1]}"] = state[key]
                if ".downsample.1" in name:
                    shared = name.replace("downsample.1", "norm3")
                    own[f"module.{shared}.{key.rsplit('.', 1)[1]}"] = state[key]
    torch.save(own, tmp_path / "raft-things.pth")
    torch.save(state, tmp_path / "torchvision.pth")
    for file in ("raft-things.pth", "torchvision.pth"):
        loaded = motion.build_raft((tmp_path / file,))
        assert all(torch.equal(loaded.raft.state_dict()[key], state[key]) for key in state)
    with pytest.raises(CheckpointError, match=r"raft-things\.pth: these weights are not of this DinoFeatures"):
        load_state(tiny_dino(), tmp_path / "raft-things.pth")


def test_raft_pads_evenly_and_takes_twenty_steps():
    seen = {}

    class Recorder(nn.Module):
        def forward(self, a, b, num_flow_updates):
            seen.update(a=a, b=b, steps=num_flow_updates)
            return [torch.zeros(1), a[:, :2]]

    image = torch.full((1, 3, 131, 133), 255.0)
    flow = motion.RaftFlow(Recorder())(image, image * 0)
    assert flow.shape == (1, 2, 136, 136) and seen["steps"] == 20
    assert seen["a"].min() == seen["a"].max() == 1 and seen["b"].max() == -1
    image[..., 0] = 7
    padded, (top, left) = motion.pad_evenly(image, 8)
    assert (top, left) == (2, 1) and (padded[..., :2] == 7).all() and padded[..., 2:].min() == 255


# AMT and CoTracker: the user's checkouts.

AMT_NETWORK = """
    import torch
    from {package}networks.blocks.tools import half

    class Model(torch.nn.Module):
        def __init__(self, corr_radius=3, corr_lvls=4, num_flows=3):
            super().__init__()
            self.gain = torch.nn.Parameter(torch.ones(1))
            self.size = (corr_radius, corr_lvls, num_flows)

        def forward(self, a, b, embt, scale_factor=1.0, eval=False):
            assert a.shape[-1] % 16 == 0 and a.shape[-2] % 16 == 0
            return {{"imgt_pred": half(a, b) * self.gain * 2 * embt}}
"""


@pytest.mark.parametrize("kind", ["amt", "vbench"])
def test_amt_comes_from_a_checkout_of_either_project(tmp_path, monkeypatch, kind):
    checkout, package = tmp_path / "code", "vbench.third_party.amt." if kind == "vbench" else ""
    folder = checkout / "vbench/third_party/amt" if kind == "vbench" else checkout
    (folder / "networks/blocks").mkdir(parents=True)
    (checkout / "vbench").mkdir(exist_ok=True)
    (checkout / "vbench/__init__.py").write_text("raise ImportError('decord is not needed here')")
    (folder / "networks/blocks/tools.py").write_text("def half(a, b):\n    return (a + b) / 2\n")
    (folder / "networks/AMT-S.py").write_text(textwrap.dedent(AMT_NETWORK.format(package=package)))
    (tmp_path / "weights/amt_model").mkdir(parents=True)
    torch.save({"state_dict": {"gain": torch.ones(1)}}, tmp_path / "weights/amt_model/amt-s.pth")
    path, modules = list(sys.path), set(sys.modules)
    backbone = motion.amt(BackboneSettings(folder=tmp_path / "weights", amt=checkout, device="cpu"))
    a, b = torch.rand(2, 1, 3, 30, 50).unbind(0)
    torch.testing.assert_close(backbone(a, b), (a + b) / 2)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rglob", None)
        torch.testing.assert_close(backbone(b, a), (a + b) / 2)
    assert set(backbone.identity["weights"]) == {"amt-s.pth", "networks"}
    assert sys.path == path and not {m for m in set(sys.modules) - modules if m.split(".")[0] in ("networks", "vbench")}


def test_without_a_checkout_the_message_says_what_to_clone(tmp_path):
    (tmp_path / "amt_model").mkdir()
    (tmp_path / "amt_model/amt-s.pth").touch()
    for make, project in ((motion.amt, "MCG-NKU/AMT"), (motion.cotracker, "cotracker2.pth")):
        with pytest.raises(UnavailableError, match=project):
            _ = make(BackboneSettings(folder=tmp_path)).network


HUBCONF = """
    import torch
    dependencies = ["torch"]

    class Predictor(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = torch.nn.Linear(1, 1)
            self.interp_shape = (384, 512)

        def forward(self, video, grid_size):
            return video.new_zeros(1, video.shape[1], grid_size**2, 2), None

    def cotracker2(*, pretrained=True, **kwargs):
        assert not pretrained and not kwargs
        return Predictor()
"""


def test_cotracker_comes_from_a_checkout_and_must_fit_its_weights(tmp_path):
    checkout, weights = tmp_path / "code", tmp_path / "cotracker_model/cotracker2.pth"
    (checkout / "cotracker").mkdir(parents=True)
    weights.parent.mkdir()
    (checkout / "hubconf.py").write_text(textwrap.dedent(HUBCONF))
    torch.save(nn.Linear(1, 1).state_dict(), weights)
    backbone = motion.cotracker(BackboneSettings(folder=tmp_path, cotracker=checkout, device="cpu"))
    assert backbone(torch.zeros(1, 4, 3, 8, 8)).shape == (1, 4, 100, 2)
    assert backbone.network.shape == (384, 512)
    torch.save(nn.Linear(2, 1).state_dict(), weights)  # as if the entry gave CoTracker3
    with pytest.raises(CheckpointError, match=r"cotracker2\.pth: these weights are not of this"):
        _ = backbone.network


# DreamSim and MUSIQ: packages that the tests do without.


def test_dreamsim_fetches_nothing_and_leaves_the_hub_alone(tmp_path, monkeypatch):
    class Model(nn.Module):
        extractor_list = (types.SimpleNamespace(device="elsewhere"),)

        def embed(self, image):
            return image.flatten(1)

    def load(pretrained, device, cache_dir):
        torch.hub.set_dir(cache_dir)
        return Model(), None

    monkeypatch.setitem(sys.modules, "dreamsim", types.SimpleNamespace(dreamsim=load))
    backbone = images.dreamsim(BackboneSettings(folder=tmp_path, device="cpu"))
    for file in images.DREAMSIM:
        with pytest.raises(UnavailableError, match=Path(file.path).name):
            _ = backbone.network
        (tmp_path / file.path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file.path).touch()
    hub = torch.hub.get_dir()
    assert backbone(torch.zeros(5, 3, 4, 4)).shape == (5, 48)
    assert torch.hub.get_dir() == hub
    assert Model.extractor_list[0].device == torch.device("cpu")


def test_a_missing_library_says_which_extra_has_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyiqa", None)
    file = tmp_path / images.MUSIQ_SPAQ.path
    file.parent.mkdir()
    file.touch()
    with pytest.raises(UnavailableError, match=r"imaging quality needs pyiqa.*motionfocal\[vbench\]"):
        _ = images.musiq(BackboneSettings(folder=tmp_path)).network


# Loading, batching, weights.


def test_a_network_is_built_once_per_process_and_frozen(tmp_path):
    built = []

    def build(paths):
        built.append(paths)
        return nn.Sequential(nn.Flatten(), nn.Linear(3, 2), nn.Dropout(0.9))

    file = tmp_path / "w.pth"
    file.write_bytes(b"one")
    settings = BackboneSettings(folder=tmp_path, device="cpu", batch=2)
    first, second = (Backbone("n", build, (WeightFile("w.pth", "me"),), settings=settings) for _ in range(2))
    rows = first(torch.ones(5, 3))
    assert rows.shape == (5, 2) and not rows.requires_grad
    torch.testing.assert_close(second(torch.ones(5, 3)), rows)
    assert built == [(file,)] and not first.network.training
    file.write_bytes(b"another file")
    first(torch.ones(1, 3))
    assert len(built) == 2


def test_worker_processes_share_the_gpus(monkeypatch):
    def device(named):
        return str(Backbone("n", nn.Identity, settings=BackboneSettings(device=named)).device)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for count, devices in ((2, ["cuda:0", "cuda:1"]), (1, ["cuda:0", "cuda:0"])):
        monkeypatch.setattr(torch.cuda, "device_count", lambda count=count: count)
        assert list(Local(2).map(device, [None, None])) == devices
    assert list(Local(2).map(device, ["cpu", "cuda:0"])) == ["cpu", "cuda:0"], "what the settings name holds"
    assert device(None) == "cuda"


def test_a_stream_gives_the_rows_of_the_whole_clip(rng):
    clip = moving(rng, frames=7)
    network = tiny_dino()
    stream = Stream(backbone_of(network, batch=3), recipes.SUBJECT)
    for rgb in clip:
        stream.see(rgb)
    whole = network(torch.stack([recipes.SUBJECT(rgb) for rgb in clip]))
    torch.testing.assert_close(stream.rows(), whole.detach(), rtol=1e-4, atol=1e-5)


def test_a_frame_that_is_the_one_before_it_costs_nothing(rng):
    """As of the reference of still videos, which shows one picture again and again."""
    first, second = moving(rng, frames=2)
    shown, prepared = [first, first, second, second, second, first], []

    def recipe(rgb):
        prepared.append(rgb)
        return recipes.SUBJECT(rgb)

    network = tiny_dino()
    stream = Stream(backbone_of(network, batch=2), recipe)
    for rgb in shown:
        stream.see(rgb)
    assert len(prepared) == 3
    whole = network(torch.stack([recipes.SUBJECT(rgb) for rgb in shown]))
    torch.testing.assert_close(stream.rows(), whole.detach(), rtol=1e-4, atol=1e-5)


def test_offline_names_the_file_and_where_it_is_from(tmp_path, monkeypatch):
    monkeypatch.setenv("MOTIONFOCAL_OFFLINE", "1")
    with pytest.raises(
        UnavailableError, match=r"dino_vitbase16_pretrain.pth.*offline.*dl.fbaipublicfiles.*" + str(tmp_path)
    ):
        _ = images.dino(BackboneSettings(folder=tmp_path)).network
    with pytest.raises(UnavailableError, match="offline"):
        _ = images.openai_clip("ViT-B-32", BackboneSettings(folder=tmp_path)).identity
    monkeypatch.delenv("MOTIONFOCAL_OFFLINE")
    assert not BackboneSettings().is_offline and BackboneSettings(offline=True).is_offline
    with pytest.raises(UnavailableError, match=r"no weights i3d_torchscript.pt\. Get them from StyleGAN-V"):
        _ = motion.i3d(BackboneSettings(folder=tmp_path)).network


def test_a_file_is_fetched_once_and_its_hash_is_checked(tmp_path):
    served = tmp_path / "served.pth"
    served.write_bytes(b"weights")
    sha256 = hashlib.sha256(b"weights").hexdigest()
    settings = BackboneSettings(folder=tmp_path / "here", offline=False)
    file = WeightFile("a/b.pth", "me", url=served.as_uri(), sha256=sha256[:8])
    assert locate(file, settings).read_bytes() == b"weights"
    served.unlink()
    assert fingerprint([locate(file, settings)]) == sha256
    served.write_bytes(b"other")
    with pytest.raises(UnavailableError, match=r"c.pth.*me.*failed"):
        locate(WeightFile("c.pth", "me", url=served.as_uri(), sha256=sha256[:8]), settings)
    assert not (settings.folder / "c.pth").exists()


def test_weights_are_looked_for_in_vbenchs_cache_too(tmp_path, monkeypatch):
    monkeypatch.setenv("MOTIONFOCAL_WEIGHTS", str(tmp_path / "own"))
    monkeypatch.setenv("VBENCH_CACHE_DIR", str(tmp_path / "vbench"))
    path = tmp_path / "vbench/raft_model/models/raft-things.pth"
    path.parent.mkdir(parents=True)
    path.touch()
    assert locate(motion.RAFT_THINGS, BackboneSettings(offline=True)) == path


def test_fingerprints_tell_files_and_folders_apart(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.py").write_text("1")
    same = fingerprint([tmp_path / "a"]), fingerprint([tmp_path / "b"])
    (tmp_path / "b/y.py").write_text("2")
    assert same[0] == same[1] != fingerprint([tmp_path / "b"])


def test_unreadable_weights_and_missing_libraries_are_named(tmp_path):
    (tmp_path / "bad.pth").write_bytes(b"not weights")
    with pytest.raises(CheckpointError, match=r"bad.pth: cannot be read"):
        read_state(tmp_path / "bad.pth")
    with pytest.raises(UnavailableError, match=r"imaging needs no_such_library.*motionfocal\[vbench\]"):
        require("no_such_library", "imaging")


def test_a_pickle_that_would_run_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return (print, ("run",))

    torch.save({"a": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(CheckpointError, match=r"evil\.pth"):
        read_state(tmp_path / "evil.pth")
