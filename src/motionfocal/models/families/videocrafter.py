"""The VideoCrafter family: VideoCrafter2 as the paper fine-tunes it, VideoCrafter1-I2V and DynamiCrafter-512.

Folders come from ``motionfocal convert``. A text-to-video checkpoint gets the inputs that its image condition needs,
zero-initialised; one that was made for images keeps its own condition.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from motionfocal.errors import ConfigError, ShapeError
from motionfocal.models.pipeline_folder import PipelineFolder
from motionfocal.models.pipeline_model import PipelineFamily, PipelineModel, pixels_of
from motionfocal.models.protocol import MOTION_MASK, MOTION_SCORE, ClipShape, Condition, ImageCondition, Tensors
from motionfocal.models.schedule import DiffusionSchedule, DiffusionSettings
from motionfocal.motion.latent import LatentSpec

if TYPE_CHECKING:
    from motionfocal.models.videocrafter import ImageProjector, VideoCrafterUNet

_CLIP_SIDE = 224
_CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
_CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


class Family(PipelineFamily):
    """Settings of the VideoCrafter family."""

    pipelines: ClassVar = ("VideoCrafter",)
    encoder_fields: ClassVar = ("dtype", "image_condition", "image_encoder")

    family: Literal["videocrafter"] = "videocrafter"
    weights: str = Field(
        description="A folder that 'motionfocal convert' wrote, or its name or name@revision on the hub."
    )
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

    def _model(self, seed: int) -> "VideoCrafterModel":
        """The seed draws the image projector of a checkpoint that has none."""
        return VideoCrafterModel(self, seed)


class VideoCrafterModel(PipelineModel):
    """VideoCrafter as a ``VideoModel``.

    Latents ``[B,4,T,h,w]`` are the mean of Stable Diffusion's VAE, frame by frame, times 0.18215. With x-cat the
    image's latent stands beside the latents of every frame; with cross-attention a projector turns the image encoder's
    tokens into some that the UNet attends to. The text is 77 tokens of OpenCLIP ViT-H, padded with token 0. Without
    text, the image's tokens are those of a grey image (as both projects sample), and its latent stays. All frames are
    generated. VAE, text and image encoder are frozen.
    """

    def __init__(self, settings: Family, seed: int) -> None:
        """Reads the folder's configs alone.

        Raises:
            CheckpointError: the folder is of another family.
            ConfigError: the checkpoint has another image condition than the one asked for, or lacks an image encoder.
        """
        super().__init__(settings)
        self._settings, self._seed = settings, seed
        self._unet_config, vae = self.folder.config("unet"), self.folder.config("vae")
        self._from_text = _own_condition(self._unet_config) is None
        self.image_condition = self._agreed_condition()
        self.priors = frozenset(name for name in (MOTION_SCORE, MOTION_MASK) if getattr(settings, name))
        self.spec = LatentSpec(vae["latent_channels"], spatial=2 ** (len(vae["block_out_channels"]) - 1))
        self.schedule = self._schedule()

    def _agreed_condition(self) -> ImageCondition:
        own, asked = _own_condition(self._unet_config), self._settings.image_condition
        if own and asked and own != asked:
            raise ConfigError(f"model.image_condition is {asked}, but {self.folder.folder} was made for {own}")
        condition: ImageCondition = asked or own or "xcat"
        given = self._settings.image_encoder is not None
        if condition == "xcat" and given:
            raise ConfigError("model.image_encoder has no effect with image_condition=xcat; leave it out")
        if condition != "xcat" and not given and not self.folder.has("image_encoder"):
            raise ConfigError(
                f"model.image_condition={condition} needs an image encoder, and {self.folder.folder} has none: set"
                " model.image_encoder to a converted DynamiCrafter or VideoCrafter1 folder"
            )
        return condition

    def _schedule(self) -> DiffusionSchedule:
        if self._settings.schedule is not None or self._from_text:
            return (self._settings.schedule or DiffusionSettings()).build()
        return DiffusionSchedule(self.folder.load("scheduler"), self.folder.index.get("signal_scale") or 1.0)

    @property
    def _attends(self) -> bool:
        return self.image_condition != "xcat"

    @cached_property
    def parts(self) -> dict[str, nn.Module]:
        """See ``VideoModel``: the ``unet`` and, with cross-attention, the ``image_projector``."""
        unet = {"unet": self._unet().requires_grad_()}
        return unet | {"image_projector": self._image_projector().requires_grad_()} if self._attends else unet

    @cached_property
    def fresh(self) -> frozenset[str]:
        """See ``VideoModel``: what was added for the image and the motion priors, by its name before any adapter."""
        with torch.device("meta"):
            held = self.folder.load("unet").state_dict()
        new = {f"unet.{name}" for name in self.parts["unet"].state_dict() if name not in held}
        beside = self._from_text and self.image_condition != "cross_attention"
        wider = {"unet.conv_in.weight"} if beside or MOTION_MASK in self.priors else set()
        projector = self.parts.get("image_projector")
        names = [] if projector is None or self.folder.has("image_projector") else projector.state_dict()
        return frozenset(new | wider | {f"image_projector.{name}" for name in names})

    def _load_network(self) -> nn.Module:
        return UNetAndProjector(**self.parts)

    def _unet(self) -> "VideoCrafterUNet":
        from motionfocal.models.videocrafter import extend

        unet: VideoCrafterUNet = self.folder.load("unet", self.dtype)
        new = dict.fromkeys(self.priors, True)
        if self._from_text:
            new |= {"xcat": self.image_condition != "cross_attention", "image_attention": self._attends}
        return extend(unet, **new) if new else unet

    def _image_projector(self) -> "ImageProjector":
        from motionfocal.models.videocrafter import ImageProjector

        if self.folder.has("image_projector"):
            projector: ImageProjector = self.folder.load("image_projector", self.dtype)
            return projector
        width, tokens = self._images.config("image_encoder")["hidden_size"], self._unet_config["cross_attention_dim"]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._seed)  # layers draw their weights from the global generator
            return ImageProjector(image_width=width, width=tokens, out_width=tokens).to(self.dtype)

    @property
    def _images(self) -> PipelineFolder:
        """Where the image encoder is."""
        return PipelineFolder(self._settings.image_encoder) if self._settings.image_encoder else self.folder

    def check(self, shape: ClipShape) -> None:
        """See ``VideoModel``."""
        super().check(shape)
        frames = self.folder.config("image_projector")["frames"] if self.folder.has("image_projector") else None
        if frames is not None and shape.frames != frames:
            raise ShapeError(f"{shape.frames} frames do not fit: this checkpoint has image tokens for {frames} frames")

    def _mode(self, pixels: Tensor) -> Tensor:
        """Frame by frame: the VAE is one of images."""
        return super()._mode(pixels.transpose(1, 2).flatten(0, 1)).unflatten(0, (len(pixels), -1)).transpose(1, 2)

    def _decoded(self, latents: Tensor) -> Tensor:
        return super()._decoded(latents.transpose(1, 2).flatten(0, 1)).unflatten(0, (len(latents), -1)).transpose(1, 2)

    @torch.no_grad()
    def encode_image(self, images: Tensor, frames: int) -> Tensors:
        """See ``VideoModel``: ``latent`` ``[B,4,1,h,w]``; ``tokens`` of the image and of ``nothing`` ``[B,257,D]``."""
        encoded = {} if self.image_condition == "cross_attention" else super().encode_image(images, frames)
        if self._attends:
            grey = torch.full_like(images[:1], 127, dtype=torch.float32) + 0.5
            nothing = self._image_tokens(grey).expand(len(images), -1, -1)
            encoded |= {"tokens": self._image_tokens(images), "nothing": nothing}
        return encoded

    def _image_tokens(self, images: Tensor) -> Tensor:
        inputs = clip_inputs(pixels_of(images.to(self.device))).to(self.dtype)
        encoder = self.frozen("image_encoder", folder=self._images)
        tokens: Tensor = encoder(inputs).last_hidden_state
        return tokens.float()

    def _blank_image(self, shape: ClipShape, clips: int) -> Tensors:
        blank = {} if self.image_condition == "cross_attention" else super()._blank_image(shape, clips)
        if not self._attends:
            return blank
        encoder = self._images.config("image_encoder")
        places = (_CLIP_SIDE // encoder["patch_size"]) ** 2 + 1
        tokens = torch.zeros(clips, places, encoder["hidden_size"])
        return blank | {"tokens": tokens, "nothing": tokens}

    def _blank_text(self, clips: int) -> Tensors:
        embeds = torch.zeros(clips, 77, self._unet_config["cross_attention_dim"])
        return {"embeds": embeds, "empty": torch.zeros(clips, dtype=torch.bool)}

    @torch.no_grad()
    def encode_text(self, texts: Sequence[str]) -> Tensors:
        """See ``VideoModel``: ``embeds`` ``[B,77,D]``, and whether a text is ``empty`` ``[B]``."""
        from motionfocal.models.videocrafter.tokenizer import tokenize

        tokens = tokenize(self.frozen("tokenizer"), texts).to(self.device)
        embeds = self.frozen("text_encoder")(tokens).last_hidden_state.float()
        return {"embeds": embeds, "empty": torch.tensor([not text for text in texts], device=self.device)}

    def predict(self, noisy: Tensor, timestep: Tensor, condition: Condition) -> Tensor:
        """See ``VideoModel``. The fps is told as a whole number, as in both projects."""
        image, dtype = condition.image, self.network_dtype
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
