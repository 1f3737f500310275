"""What models from a folder in diffusers' pipeline layout share: a family's file says only what is its own."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from PIL import Image
from pydantic import Field
from torch import Tensor, nn

from motionfocal.errors import CheckpointError
from motionfocal.models.family import FamilySettings, known_families
from motionfocal.models.pipeline_folder import PipelineFolder
from motionfocal.models.protocol import NO_PRIORS, ClipShape, Condition, Schedule, Tensors, VideoModel
from motionfocal.motion.latent import LatentSpec


class PipelineFamily(FamilySettings):
    """Base of the settings of a family whose weights are a pipeline folder."""

    pipelines: ClassVar[tuple[str, ...]]
    """The classes that folders of this family name in their index."""

    encoder_fields: ClassVar[tuple[str, ...]] = ("dtype",)

    weights: str = Field(description="A folder in diffusers' layout, or its name or name@revision on the hub.")
    dtype: Literal["float32", "bfloat16"] = Field(
        "bfloat16", description="Of the network and the frozen parts as loaded."
    )

    def build(self, shape: ClipShape, seed: int) -> VideoModel:
        """See ``FamilySettings``."""
        model = self._model(seed)
        model.check(shape)
        return model

    def _model(self, seed: int) -> VideoModel:
        """The model; the seed is for what the folder does not hold."""
        raise NotImplementedError


class PipelineModel:
    """Base of a ``VideoModel`` whose network and frozen parts are those of a pipeline.

    Parts are loaded when first used: preparing needs no network, training on what was prepared no frozen part. Latents
    are the mode of the posterior of the pipeline's VAE, made the network's by ``_normalised``.
    """

    spec: LatentSpec
    schedule: Schedule
    given_frames = 0
    priors = NO_PRIORS
    pipeline_class: str | None = None

    vae_dtype: torch.dtype | None = None
    """Of the VAE as loaded; None: that of the other frozen parts."""

    def __init__(self, settings: PipelineFamily) -> None:
        """Reads the folder's index alone.

        Raises:
            CheckpointError: it names a pipeline that is not the family's.
        """
        self.folder = PipelineFolder(settings.weights)
        _refuse_others(self.folder, settings.pipelines)
        self.dtype: torch.dtype = getattr(torch, settings.dtype)
        self._device = torch.device("cpu")
        self._network: nn.Module | None = None
        self._frozen: dict[str, Any] = {}

    @property
    def device(self) -> torch.device:
        """See ``VideoModel``. Frozen parts that are loaded move when it is set, so that they can make room."""
        return self._device

    @device.setter
    def device(self, device: torch.device) -> None:
        self._device = device
        for part in self._frozen.values():
            if isinstance(part, nn.Module):
                part.to(device)

    @property
    def fresh(self) -> frozenset[str]:
        """See ``VideoModel``."""
        return frozenset()

    @property
    def network(self) -> nn.Module:
        """See ``VideoModel``."""
        if self._network is None:
            self._network = self._load_network()
        return self._network

    @network.setter
    def network(self, network: nn.Module) -> None:
        self._network = network

    def _load_network(self) -> nn.Module:
        return self.parts["transformer"]

    @cached_property
    def parts(self) -> dict[str, nn.Module]:
        """See ``VideoModel``; as they were loaded, whatever the network is wrapped into."""
        return {"transformer": self.trained("transformer")}

    @property
    def network_dtype(self) -> torch.dtype:
        """What the network takes: a trainer may have made its weights more precise than they were loaded."""
        part: Any = next(iter(self.parts.values()))
        dtype: torch.dtype = part.dtype  # diffusers passes over the weights that a class always keeps in float32
        return dtype

    def trained(self, part: str) -> nn.Module:
        """A part to be trained, loaded anew."""
        module: nn.Module = self.folder.load(part, self.dtype)
        return module.requires_grad_()

    def frozen(self, part: str, dtype: torch.dtype | None = None, folder: PipelineFolder | None = None) -> Any:  # noqa: ANN401 - any class of three libraries
        """A frozen part, loaded once and kept where ``device`` is; a tokenizer or a processor as it is.

        ``dtype`` and ``folder`` are the model's own unless given.
        """
        if part not in self._frozen:
            found = (folder or self.folder).load(part, dtype or self.dtype)
            self._frozen[part] = found.to(self.device) if isinstance(found, nn.Module) else found
        return self._frozen[part]

    @property
    def vae(self) -> Any:  # noqa: ANN401 - see above
        """The first stage. It takes a batch one by one, and so needs no more memory than for one."""
        vae = self.frozen("vae", self.vae_dtype)
        vae.enable_slicing()
        return vae

    def check(self, shape: ClipShape) -> None:
        """See ``VideoModel``."""
        self._check_size(shape.frames, shape.height, shape.width)

    def _check_size(self, frames: int, height: int, width: int) -> None:
        """Refuse what the VAE cannot take, or would cut without a word."""
        self.spec.grid(frames, height, width)

    @torch.no_grad()
    def encode(self, frames: Tensor) -> Tensor:
        """See ``VideoModel``.

        Raises:
            ShapeError: the frames do not fit the latent grid.
        """
        self._check_size(*frames.shape[1:4])
        return self._normalised(self._mode(pixels_of(frames)))

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """See ``VideoModel``."""
        return frames_of(self._decoded(self._denormalised(latents.to(self.device))))

    def encode_image(self, images: Tensor, frames: int) -> Tensors:
        """See ``VideoModel``: the image's ``latent`` ``[B,C,1,h,w]``."""
        return {"latent": self.encode(images[:, None])}

    def blank(self, shape: ClipShape, clips: int) -> Condition:
        """See ``VideoModel``."""
        return Condition(self._blank_image(shape, clips), self._blank_text(clips), torch.zeros(clips))

    def _blank_image(self, shape: ClipShape, clips: int) -> Tensors:
        """As ``encode_image`` gives it."""
        _, height, width = self.spec.grid(shape.frames, shape.height, shape.width)
        return {"latent": torch.zeros(clips, self.spec.channels, 1, height, width)}

    def _blank_text(self, clips: int) -> Tensors:
        """As ``encode_text`` gives it."""
        raise NotImplementedError

    def _mode(self, pixels: Tensor) -> Tensor:
        """The mode of the VAE's posterior for pixels ``[B,3,T,H,W]``, float32 ``[B,C,T',h,w]``."""
        mode: Tensor = self.vae.encode(pixels.to(self.device, self.vae.dtype)).latent_dist.mode()
        return mode.float()

    def _decoded(self, latents: Tensor) -> Tensor:
        """Pixels ``[B,3,T,H,W]`` of the VAE's latents, in its dtype."""
        pixels: Tensor = self.vae.decode(latents.to(self.vae.dtype)).sample
        return pixels

    def _normalised(self, latents: Tensor) -> Tensor:
        """The VAE's latents as the network takes them."""
        if (statistics := self._statistics()) is None:
            return latents * self.vae.config.scaling_factor
        mean, std = statistics
        return (latents - mean) / std

    def _denormalised(self, latents: Tensor) -> Tensor:
        """The inverse of ``_normalised``."""
        if (statistics := self._statistics()) is None:
            return latents / self.vae.config.scaling_factor
        mean, std = statistics
        return latents * std + mean

    def _statistics(self) -> tuple[Tensor, Tensor] | None:
        """Mean and standard deviation of the VAE's channels ``[1,C,1,1,1]``; None where it has one scale for all."""
        return None

    def _tokens(self, texts: Sequence[str], length: int, tokenizer: str = "tokenizer") -> Any:  # noqa: ANN401
        """``input_ids`` and ``attention_mask`` ``[B,length]`` of texts, padded or cut to the length."""
        return self.frozen(tokenizer)(
            list(texts),
            padding="max_length",
            max_length=length,
            truncation=True,
            return_attention_mask=True,
            return_tensors="pt",
        ).to(self.device)

    def complete(self, latents: Tensor, condition: Condition) -> Tensor:
        """See ``VideoModel``."""
        if not self.given_frames:
            return latents
        return torch.cat([condition.image["latent"].to(latents), latents[:, :, self.given_frames :]], dim=2)

    def _token_timesteps(self, timestep: Tensor, noisy: Tensor, patch: int = 1) -> Tensor:
        """Timesteps ``[B]`` of clips as those of their tokens ``[B,T'*h/patch*w/patch]``: 0 in given frames."""
        frames, height, width = noisy.shape[2:]
        steps = timestep[:, None].repeat(1, frames)
        steps[:, : self.given_frames] = 0
        return steps.repeat_interleave(height // patch * (width // patch), dim=1)


def pixels_of(frames: Tensor) -> Tensor:
    """Frames ``[B,...,3]`` in 0..255 as float32 ``[B,3,...]`` in [-1, 1]."""
    return frames.movedim(-1, 1).float() / 255 * 2 - 1


def frames_of(pixels: Tensor) -> Tensor:
    """Pixels ``[B,3,...]`` as frames uint8 ``[B,...,3]``; what lies outside of [-1, 1] is clipped."""
    return ((pixels * 0.5 + 0.5).clamp(0, 1).float() * 255).round().to(torch.uint8).movedim(1, -1)


def pictures_of(images: Tensor) -> list[Image.Image]:
    """Images uint8 ``[B,H,W,3]`` as the processors of image encoders take them."""
    return [Image.fromarray(image) for image in images.cpu().numpy()]


def then_zeros(first: Tensor, frames: int) -> Tensor:
    """A first frame ``[B,C,1,h,w]`` with zeros after it, ``[B,C,frames,h,w]``."""
    return F.pad(first, (0, 0, 0, 0, 0, frames - 1))


def refuse_patches(folder: PipelineFolder) -> None:
    """Refuse a network that packs several latent cells into a token, where the family knows of no such network.

    Raises:
        CheckpointError: it is one.
    """
    network = folder.config("transformer")
    if (network["patch_size"], network["patch_size_t"]) != (1, 1):
        raise CheckpointError(
            f"{folder.folder}: the network patches {network['patch_size_t']} x {network['patch_size']} latent cells,"
            f" and only patches of one cell are known of {folder.index['_class_name']}"
        )


def _refuse_others(folder: PipelineFolder, wanted: tuple[str, ...]) -> None:
    found = folder.index.get("_class_name")
    if found not in wanted:
        raise CheckpointError(
            f"{folder.folder}: the weights of {found}, not of {' or '.join(wanted)}; {_advice(str(found), wanted)}"
        )


def _advice(found: str, wanted: tuple[str, ...]) -> str:
    """What to do with a pipeline that is not wanted here."""
    if found.replace("Pipeline", "ImageToVideoPipeline") in wanted:
        return "it takes no image: use the image-to-video model of its kind"
    for name, family in known_families().items():
        if issubclass(family, PipelineFamily) and found in family.pipelines:
            return f"set model.family to {name}"
    return "no family takes these"
