"""Networks of single images: DINO, CLIP, the aesthetic head on CLIP, MUSIQ, DreamSim."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from motionfocal.errors import CheckpointError, ManifestError
from motionfocal.metrics.backbones.backbone import Backbone, load_state, require
from motionfocal.metrics.backbones.weights import BackboneSettings, WeightFile

DINO = WeightFile(
    "dino_model/dino_vitbase16_pretrain.pth",
    "the DINO project, ViT-B/16 backbone only",
    url="https://dl.fbaipublicfiles.com/dino/dino_vitbase16_pretrain/dino_vitbase16_pretrain.pth",
)
_OPENAI = "https://openaipublic.azureedge.net/clip/models"
_B32 = "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af"
_L14 = "b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836"
OPENAI_CLIP = {
    "ViT-B-32": WeightFile("clip_model/ViT-B-32.pt", "OpenAI's CLIP", url=f"{_OPENAI}/{_B32}/ViT-B-32.pt", sha256=_B32),
    "ViT-L-14": WeightFile("clip_model/ViT-L-14.pt", "OpenAI's CLIP", url=f"{_OPENAI}/{_L14}/ViT-L-14.pt", sha256=_L14),
}
"""OpenAI's weights by open_clip's model name; the hash is part of their published address."""

AESTHETIC = WeightFile(
    "aesthetic_model/emb_reader/sa_0_4_vit_l_14_linear.pth",
    "LAION-AI/aesthetic-predictor, the linear head for ViT-L/14",
    url="https://github.com/LAION-AI/aesthetic-predictor/raw/main/sa_0_4_vit_l_14_linear.pth",
)
MUSIQ_SPAQ = WeightFile(
    "pyiqa_model/musiq_spaq_ckpt-358bb6af.pth",
    "chaofengc/IQA-PyTorch, release v0.1-weights",
    url="https://github.com/chaofengc/IQA-PyTorch/releases/download/v0.1-weights/musiq_spaq_ckpt-358bb6af.pth",
)
_ENSEMBLE = "the DreamSim project's dreamsim_ensemble_checkpoint.zip (release v0.2.0-checkpoints), unpacked"
_DINO_CODE = "a checkout of facebookresearch/dino, whose code DreamSim takes from torch.hub"
DREAMSIM = tuple(
    WeightFile(f"dreamsim_model/{name}", source)
    for name, source in (
        ("ensemble_lora", _ENSEMBLE),
        ("dino_vitb16_pretrain.pth", _ENSEMBLE),
        ("clip_vitb16_pretrain.pth.tar", _ENSEMBLE),
        ("open_clip_vitb16_pretrain.pth.tar", _ENSEMBLE),
        ("facebookresearch_dino_main/hubconf.py", _DINO_CODE),
        ("checkpoints/dino_vitbase16_pretrain.pth", f"{DINO.source}: {DINO.url}"),
    )
)
"""All that the dreamsim package would otherwise fetch by itself, hub code among it: nothing is fetched unasked."""


class DinoFeatures(nn.Module):
    """The class token ``[N,D]`` of a timm ViT after its last norm, for images ``[N,3,h,w]`` of any size.

    Position embeddings of another grid are resized as DINO does (Caron et al., ICCV 2021, released code): bicubic
    without antialiasing, by the ratio ``(cells + 0.1) / cells of the pretraining grid``. timm resizes them otherwise,
    and refuses sides that the patch does not divide; a rest at the right and below is left out here, as in DINO.
    """

    def __init__(self, vit: Any) -> None:  # noqa: ANN401 - timm's class is untyped
        super().__init__()
        self.vit = vit

    def forward(self, images: Tensor) -> Tensor:
        """Class tokens of images normalised by ImageNet's mean and deviation."""
        patches = self.vit.patch_embed.proj(images)
        tokens = torch.cat([self.vit.cls_token.expand(len(images), -1, -1), patches.flatten(2).transpose(1, 2)], dim=1)
        square = images.shape[-2] == images.shape[-1]
        return self.vit.norm(self.vit.blocks(tokens + self._positions(*patches.shape[-2:], square=square)))[:, 0]

    def _positions(self, rows: int, columns: int, *, square: bool) -> Tensor:
        embedding = self.vit.pos_embed
        side = round((embedding.shape[1] - 1) ** 0.5)
        if square and rows == side:  # DINO resizes for 224x231, though the grid is the one it was trained with
            return embedding
        grid = embedding[:, 1:].unflatten(1, (side, side)).permute(0, 3, 1, 2)
        ratio = ((rows + 0.1) / side, (columns + 0.1) / side)
        resized = F.interpolate(grid, scale_factor=ratio, mode="bicubic", align_corners=False)
        return torch.cat([embedding[:, :1], resized.flatten(2).transpose(1, 2)], dim=1)


def build_dino(paths: tuple[Path, ...]) -> nn.Module:
    """DINO ViT-B/16 from the project's checkpoint or from timm's of the same network (the names are the same)."""
    timm = require("timm", "DINO")
    vit = timm.create_model("vit_base_patch16_224", pretrained=False, num_classes=0)
    load_state(vit, paths[0])
    return DinoFeatures(vit)


class ClipModel(nn.Module):
    """open_clip's model: image features ``[N,D]`` when called, text features from ``texts``; neither normalised."""

    def __init__(self, network: Any, tokenizer: Any) -> None:  # noqa: ANN401 - open_clip is untyped
        super().__init__()
        self.clip, self.tokenizer = network, tokenizer

    def forward(self, images: Tensor) -> Tensor:
        """Features of images normalised by CLIP's mean and deviation."""
        return self.clip.encode_image(images)

    @torch.inference_mode()
    def texts(self, texts: Sequence[str]) -> Tensor:
        """Features ``[N,D]`` of texts, float32 on the CPU.

        Raises ManifestError for a text that has more tokens than the model reads, rather than cut it.
        """
        for text in texts:
            self._require_short(text)
        device = next(self.clip.parameters()).device
        return self.clip.encode_text(self.tokenizer(list(texts)).to(device)).float().cpu()

    def _require_short(self, text: str) -> None:
        tokens, most = self._count(text), self.tokenizer.context_length
        if tokens > most:
            raise ManifestError(f"text {text!r}: {tokens} tokens, but this CLIP reads {most}; shorten the text")

    def _count(self, text: str) -> int:
        encode = getattr(self.tokenizer, "encode", None)
        if encode is not None:
            return len(encode(text)) + 2  # the marks of begin and end
        return len(self.tokenizer.tokenizer(text)["input_ids"])


@dataclass(frozen=True)
class BuildClip:
    """Builds open_clip's ``model`` from one checkpoint in open_clip's or OpenAI's names, in float32."""

    model: str
    quick_gelu: bool = False

    def __call__(self, paths: tuple[Path, ...]) -> ClipModel:
        """Raises UnavailableError, CheckpointError."""
        open_clip = require("open_clip", "CLIP")
        network = open_clip.create_model(
            self.model, pretrained=None, precision="fp32", force_quick_gelu=self.quick_gelu, pretrained_text=False
        )
        load_state(network, paths[0], rename=_clip_name)
        return ClipModel(network, open_clip.get_tokenizer(self.model))


def _clip_name(name: str) -> str | None:
    return None if name in ("input_resolution", "context_length", "vocab_size") else name  # OpenAI's archives hold them


class Aesthetic(nn.Module):
    """LAION's linear predictor on normalised CLIP features: ``[N,1]``, about 1 to 10."""

    def __init__(self, clip: nn.Module, head: nn.Linear) -> None:
        super().__init__()
        self.clip, self.head = clip, head

    def forward(self, images: Tensor) -> Tensor:
        """Scores of images normalised by CLIP's mean and deviation."""
        return self.head(F.normalize(self.clip(images).float(), dim=-1))


def build_aesthetic(paths: tuple[Path, ...]) -> nn.Module:
    """OpenAI's ViT-L/14 and LAION's head."""
    clip = BuildClip("ViT-L-14", quick_gelu=True)(paths[:1])
    head = nn.Linear(768, 1)
    load_state(head, paths[1])
    return Aesthetic(clip, head)


def build_musiq(paths: tuple[Path, ...]) -> nn.Module:
    """MUSIQ (Ke et al., ICCV 2021) from pyiqa: ``[N,1]`` in 0..100 for images ``[N,3,h,w]`` in 0..1."""
    musiq = require("pyiqa.archs.musiq_arch", "imaging quality").MUSIQ(pretrained=False)
    load_state(musiq, paths[0])
    return musiq


class DreamSimFeatures(nn.Module):
    """DreamSim's embedding ``[N,D]`` (Fu et al., NeurIPS 2023) of images ``[N,3,224,224]`` in 0..1."""

    def __init__(self, model: Any) -> None:  # noqa: ANN401 - dreamsim is untyped
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        """Embeddings."""
        for extractor in self.model.extractor_list:
            extractor.device = images.device  # its projections, plain tensors, follow this and not ``to``
        return self.model.embed(images)


def build_dreamsim(paths: tuple[Path, ...]) -> nn.Module:
    """The ensemble of the dreamsim package, whose files lie together in one folder."""
    package = require("dreamsim", "the I2V background score")
    folder, hub = paths[0].parent, torch.hub.get_dir()
    try:
        model, _ = package.dreamsim(pretrained=True, device="cpu", cache_dir=str(folder))
    except (OSError, RuntimeError, KeyError) as error:
        raise CheckpointError(f"{folder}: DreamSim cannot be loaded from there ({error}); unpack it again") from error
    finally:
        torch.hub.set_dir(hub)  # the package moves it
    return DreamSimFeatures(model)


def dino(settings: BackboneSettings) -> Backbone:
    """DINO ViT-B/16, class tokens ``[N,768]``."""
    return Backbone("dino-vitb16", build_dino, (DINO,), ("timm",), settings)


def openai_clip(model: str, settings: BackboneSettings) -> Backbone:
    """OpenAI's CLIP, ``model`` ``ViT-B-32`` (512 features) or ``ViT-L-14`` (768), in float32."""
    build = BuildClip(model, quick_gelu=True)
    return Backbone(f"clip-{model}-openai", build, (OPENAI_CLIP[model],), ("open_clip_torch",), settings)


def aesthetic(settings: BackboneSettings) -> Backbone:
    """LAION's aesthetic predictor, ``[N,1]``."""
    files = (OPENAI_CLIP["ViT-L-14"], AESTHETIC)
    return Backbone("laion-aesthetic", build_aesthetic, files, ("open_clip_torch",), settings)


def musiq(settings: BackboneSettings) -> Backbone:
    """MUSIQ trained on SPAQ, ``[N,1]`` in 0..100."""
    return Backbone("musiq-spaq", build_musiq, (MUSIQ_SPAQ,), ("pyiqa",), settings)


def dreamsim(settings: BackboneSettings) -> Backbone:
    """DreamSim's ensemble."""
    return Backbone("dreamsim-ensemble", build_dreamsim, DREAMSIM, ("dreamsim",), settings)
