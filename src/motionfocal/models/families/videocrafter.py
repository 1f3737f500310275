"""The VideoCrafter family: VideoCrafter2 as the paper fine-tunes it, VideoCrafter1-I2V and DynamiCrafter-512.

Folders come from ``motionfocal convert``. A text-to-video checkpoint gets the inputs that its image condition needs,
zero-initialised; one that was made for images keeps its own condition.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from motionfocal.errors import CheckpointError, ConfigError, ShapeError
from motionfocal.models.family import FamilySettings
from motionfocal.models.pipeline_folder import PipelineFolder
from motionfocal.models.protocol import MOTION_MASK, MOTION_SCORE, ClipShape, Condition, Schedule, Tensors, VideoModel
from motionfocal.models.schedule import DiffusionSchedule, DiffusionSettings
from motionfocal.motion.latent import LatentSpec

if TYPE_CHECKING:
    from diffusers import AutoencoderKL

    from motionfocal.models.videocrafter import ImageProjector, VideoCrafterUNet

ImageCondition = Literal["xcat", "cross_attention", "dual"]

_CLIP_SIDE = 224
_CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
_CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


class Family(FamilySettings):
    """Settings of the VideoCrafter family."""

    family: Literal["videocrafter"] = "videocrafter"
    weights: str = Field(description="A folder that 'motionfocal convert' wrote, or its name on the hub.")
    image_condition: ImageCondition | None = Field(
        None,
        description="How the image enters: beside the noisy latents (xcat, the paper's), as tokens in cross-attention,"
        " or both (dual). Unset: the checkpoint's own; of a text-to-video checkpoint, xcat.",
    )
    image_encoder: str | None = Field(
        None,
        description="Folder to take the image encoder from, for cross_attention or dual on a text-to-video checkpoint.",
    )
    motion_score: bool = Field(False, description="Tell the network how much moves (mean flow), embedded like fps.")
    motion_mask: bool = Field(False, description="Tell the network where something may move, as an input channel.")
    dtype: Literal["float32", "bfloat16"] = Field("float32", description="Of the network and the encoders as loaded.")
    schedule: DiffusionSettings | None = Field(
        None,
        description="Unset: the checkpoint's own; of a text-to-video checkpoint the paper's, v-prediction without"
        " signal scale.",
    )

    def build(self, shape: ClipShape, seed: int) -> VideoModel:
        """See ``FamilySettings``; the seed draws the image projector of a checkpoint that has none."""
        return VideoCrafterModel(self, PipelineFolder(self.weights), seed)


class VideoCrafterModel:
    """VideoCrafter as a ``VideoModel``.

    Latents ``[B,4,T,h,w]`` are the mean of Stable Diffusion's VAE, frame by frame, times 0.18215. With x-cat the
    image's latent stands beside the latents of every frame; with cross-attention a projector turns the image encoder's
    tokens into some that the UNet attends to. The text is 77 tokens of OpenCLIP ViT-H, padded with token 0. Without
    text, the image's tokens are those of a grey image (as both projects sample), and its latent stays. All frames are
    generated. VAE, text and image encoder are frozen.
    """

    given_frames = 0
    pipeline_class: str | None = None

    def __init__(self, settings: Family, folder: PipelineFolder, seed: int) -> None:
        """Reads the folder's configs alone.

        Raises:
            CheckpointError: the folder is of another family.
            ConfigError: the checkpoint has another image condition than the one asked for, or lacks an image encoder.
        """
        if (name := folder.index.get("_class_name")) != "VideoCrafter":
            raise CheckpointError(f"{folder.folder}: a model of {name}, which is not of the family videocrafter")
        self._settings, self._folder, self._seed = settings, folder, seed
        self._dtype: torch.dtype = getattr(torch, settings.dtype)
        self._unet_config, vae = folder.config("unet"), folder.config("vae")
        self._from_text = _own_condition(self._unet_config) is None
        self.image_condition = self._agreed_condition()
        self.priors = frozenset(name for name in (MOTION_SCORE, MOTION_MASK) if getattr(settings, name))
        self.spec = LatentSpec(vae["latent_channels"], spatial=2 ** (len(vae["block_out_channels"]) - 1))
        self.schedule: Schedule = self._schedule()
        self._network: nn.Module | None = None
        self._device = torch.device("cpu")

    def _agreed_condition(self) -> ImageCondition:
        own, asked = _own_condition(self._unet_config), self._settings.image_condition
        if own and asked and own != asked:
            raise ConfigError(f"model.image_condition is {asked}, but {self._folder.folder} was made for {own}")
        condition: ImageCondition = asked or own or "xcat"
        given = self._settings.image_encoder is not None
        if condition == "xcat" and given:
            raise ConfigError("model.image_encoder has no effect with image_condition=xcat; leave it out")
        if condition != "xcat" and not given and not self._folder.has("image_encoder"):
            raise ConfigError(
                f"model.image_condition={condition} needs an image encoder, and {self._folder.folder} has none: set"
                " model.image_encoder to a converted DynamiCrafter or VideoCrafter1 folder"
            )
        return condition

    def _schedule(self) -> DiffusionSchedule:
        if self._settings.schedule is not None or self._from_text:
            return (self._settings.schedule or DiffusionSettings()).build()
        return DiffusionSchedule(self._folder.load("scheduler"), self._folder.index.get("signal_scale") or 1.0)

    @property
    def _attends(self) -> bool:
        return self.image_condition != "xcat"

    @property
    def network(self) -> nn.Module:
        """See ``VideoModel``: the UNet and, with cross-attention, the image projector; loaded when first used."""
        if self._network is None:
            self._network = UNetAndProjector(**self.parts)
        return self._network

    @network.setter
    def network(self, network: nn.Module) -> None:
        self._network = network

    @cached_property
    def parts(self) -> dict[str, nn.Module]:
        """See ``VideoModel``."""
        unet = {"unet": self._unet().requires_grad_()}
        return unet | {"image_projector": self._image_projector().requires_grad_()} if self._attends else unet

    def _unet(self) -> "VideoCrafterUNet":
        from motionfocal.models.videocrafter import extend

        unet: VideoCrafterUNet = self._folder.load("unet", self._dtype)
        new = dict.fromkeys(self.priors, True)
        if self._from_text:
            new |= {"xcat": self.image_condition != "cross_attention", "image_attention": self._attends}
        return extend(unet, **new) if new else unet

    def _image_projector(self) -> "ImageProjector":
        from motionfocal.models.videocrafter import ImageProjector

        if self._folder.has("image_projector"):
            projector: ImageProjector = self._folder.load("image_projector", self._dtype)
            return projector
        width, tokens = self._images.config("image_encoder")["hidden_size"], self._unet_config["cross_attention_dim"]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._seed)  # layers draw their weights from the global generator
            return ImageProjector(image_width=width, width=tokens, out_width=tokens).to(self._dtype)

    @property
    def _images(self) -> PipelineFolder:
        """Where the image encoder is."""
        return PipelineFolder(self._settings.image_encoder) if self._settings.image_encoder else self._folder

    @cached_property
    def _vae(self) -> "AutoencoderKL":
        vae = self._folder.load("vae", self._dtype)
        vae.enable_slicing()  # frame by frame: a clip needs no more memory than an image
        return vae

    @cached_property
    def _text_encoder(self) -> tuple[Any, Any]:
        return self._folder.load("tokenizer"), self._folder.load("text_encoder", self._dtype)

    @cached_property
    def _image_encoder(self) -> nn.Module:
        encoder: nn.Module = self._images.load("image_encoder", self._dtype)
        return encoder

    def check(self, shape: ClipShape) -> None:
        """See ``VideoModel``."""
        self.spec.grid(shape.frames, shape.height, shape.width)
        frames = self._folder.config("image_projector")["frames"] if self._folder.has("image_projector") else None
        if frames is not None and shape.frames != frames:
            raise ShapeError(f"{shape.frames} frames do not fit: this checkpoint has image tokens for {frames} frames")

    @torch.no_grad()
    def encode(self, frames: Tensor) -> Tensor:
        """See ``VideoModel``."""
        pixels, vae = _pixels(frames).flatten(0, 1).to(self._dtype), self._vae.to(frames.device)
        latents = vae.encode(pixels).latent_dist.mode() * vae.config.scaling_factor
        self._device = frames.device
        return latents.float().unflatten(0, frames.shape[:2]).transpose(1, 2)

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """See ``VideoModel``."""
        vae = self._vae.to(latents.device)
        images = latents.transpose(1, 2).flatten(0, 1).to(self._dtype) / vae.config.scaling_factor
        pixels = vae.decode(images).sample.float().unflatten(0, (len(latents), -1))
        return ((pixels * 0.5 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8).movedim(2, -1)

    @torch.no_grad()
    def encode_image(self, images: Tensor, frames: int) -> Tensors:
        """See ``VideoModel``: ``latent`` ``[B,4,1,h,w]``; ``tokens`` of the image and of ``nothing`` ``[B,257,D]``."""
        encoded = {} if self.image_condition == "cross_attention" else {"latent": self.encode(images[:, None])}
        if self._attends:
            grey = torch.full_like(images[:1], 127, dtype=torch.float32) + 0.5
            nothing = self._image_tokens(grey).expand(len(images), -1, -1)
            encoded |= {"tokens": self._image_tokens(images), "nothing": nothing}
        return encoded

    def _image_tokens(self, images: Tensor) -> Tensor:
        inputs = clip_inputs(_pixels(images)).to(self._dtype)
        tokens: Tensor = self._image_encoder.to(images.device)(inputs).last_hidden_state
        return tokens.float()

    @torch.no_grad()
    def encode_text(self, texts: Sequence[str]) -> Tensors:
        """See ``VideoModel``: ``embeds`` ``[B,77,D]``, and whether a text is ``empty`` ``[B]``."""
        from motionfocal.models.videocrafter.tokenizer import tokenize

        tokenizer, encoder = self._text_encoder
        tokens = tokenize(tokenizer, texts).to(self._device)
        embeds = encoder.to(self._device)(tokens).last_hidden_state.float()
        return {"embeds": embeds, "empty": torch.tensor([not text for text in texts], device=self._device)}

    def predict(self, noisy: Tensor, timestep: Tensor, condition: Condition) -> Tensor:
        """See ``VideoModel``. The fps is told as a whole number, as in both projects."""
        image, dtype = condition.image, self._dtype
        sample = torch.cat([noisy, image["latent"].expand_as(noisy)], dim=1) if "latent" in image else noisy
        tokens = None
        if self._attends:
            empty = condition.text["empty"][:, None, None]
            tokens = torch.where(empty, image["nothing"], image["tokens"]).to(dtype)
        prediction: Tensor = self.network(
            sample.to(dtype),
            timestep,
            condition.text["embeds"].to(dtype),
            condition.fps.round(),
            tokens,
            condition.motion_score,
            condition.motion_mask,
        )
        return prediction.float()

    def complete(self, latents: Tensor, condition: Condition) -> Tensor:
        """See ``VideoModel``."""
        return latents


class UNetAndProjector(nn.Module):
    """The UNet and, where it attends to images, the projector of their tokens, as one network."""

    def __init__(self, unet: nn.Module, image_projector: nn.Module | None = None) -> None:
        super().__init__()
        self.unet, self.image_projector = unet, image_projector

    def forward(
        self,
        sample: Tensor,
        timestep: Tensor,
        text: Tensor,
        fps: Tensor,
        image: Tensor | None,
        motion_score: Tensor | None,
        motion_mask: Tensor | None,
    ) -> Tensor:
        """As ``VideoCrafterUNet``, with the image encoder's tokens ``[B,P,D]``."""
        tokens = None if self.image_projector is None else self.image_projector(image)
        return self.unet(sample, timestep, text, fps, tokens, motion_score, motion_mask)


def _own_condition(unet: dict[str, Any]) -> ImageCondition | None:
    """The image condition that a UNet was made with; None of a text-to-video one."""
    beside = unet["in_channels"] > unet["out_channels"]
    if unet["image_attention"]:
        return "dual" if beside else "cross_attention"
    return "xcat" if beside else None


def clip_inputs(pixels: Tensor) -> Tensor:
    """Images in [-1, 1] ``[B,3,H,W]`` as OpenCLIP sees them in both projects: stretched to 224x224, normalised.

    They are blurred before they are made smaller, and resampled bicubically with aligned corners.
    """
    from torchvision.transforms.functional import gaussian_blur

    deviations = [max((side / _CLIP_SIDE - 1) / 2, 0.001) for side in pixels.shape[-1:-3:-1]]  # of width, height
    if max(pixels.shape[-2:]) > _CLIP_SIDE:
        pixels = gaussian_blur(
            pixels, [int(max(4 * deviation, 3)) // 2 * 2 + 1 for deviation in deviations], deviations
        )
    small = nn.functional.interpolate(pixels, (_CLIP_SIDE, _CLIP_SIDE), mode="bicubic", align_corners=True)
    mean, std = (torch.tensor(x, device=pixels.device).view(3, 1, 1) for x in (_CLIP_MEAN, _CLIP_STD))
    return (small / 2 + 0.5 - mean) / std


def _pixels(frames: Tensor) -> Tensor:
    """Frames ``[...,H,W,3]`` in 0..255 as ``[...,3,H,W]`` in [-1, 1]."""
    return frames.movedim(-1, -3).float() / 127.5 - 1
