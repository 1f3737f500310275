"""The Wan family: Wan2.2-TI2V-5B, Wan2.1-I2V-14B and Wan2.2-I2V-A14B, told apart by the configs of their folder.

| model | latents | the image enters as | networks |
|---|---|---|---|
| Wan2.2-TI2V-5B | 48 channels, 4 frames x 16 pixels | latent frame 0, at timestep 0 | one |
| Wan2.1-I2V-14B | 16 channels, 4 frames x 8 pixels | 20 more input channels, and CLIP tokens | one |
| Wan2.2-I2V-A14B | 16 channels, 4 frames x 8 pixels | 20 more input channels | one for much noise, one for little |
"""

import html
from collections.abc import Callable, Sequence
from functools import cache, cached_property, partial
from typing import TYPE_CHECKING, Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from motionfocal.errors import CheckpointError, ConfigError, ShapeError
from motionfocal.models.family import FamilySettings
from motionfocal.models.pipeline_folder import PipelineFolder
from motionfocal.models.protocol import NO_PRIORS, ClipShape, Condition, Schedule, Tensors, VideoModel
from motionfocal.models.schedule import FlowSchedule, FlowSettings
from motionfocal.motion.latent import LatentSpec

if TYPE_CHECKING:
    from diffusers import AutoencoderKLWan, WanTransformer3DModel

HIGH, LOW = "transformer", "transformer_2"
"""The pipeline's names of the network (of the one for much noise, where there are two) and of the one for little."""

_TEXT_TOKENS = 512
"""Length that every text is padded or cut to; the networks count on it."""

Experts = Literal["both", "high", "low"]


class Family(FamilySettings):
    """Settings of the Wan family."""

    family: Literal["wan"] = "wan"
    weights: str = Field(
        description="A folder in diffusers' layout, or its name on the hub: Wan2.2-TI2V-5B, Wan2.1-I2V-14B (480P, 720P)"
        " or Wan2.2-I2V-A14B."
    )
    dtype: Literal["float32", "bfloat16"] = Field(
        "bfloat16", description="Of the network and the text encoder as loaded; the VAE and CLIP are kept in float32."
    )
    experts: Experts = Field(
        "both",
        description="Which networks of Wan2.2-I2V-A14B are trained, each on its own timesteps: 'high' is the one for "
        "much noise. The other is loaded for sampling only.",
    )
    schedule: FlowSettings = Field(
        FlowSettings(shift=5.0), description="Training's draw of sigma; sampling goes by the folder's own scheduler."
    )

    def build(self, shape: ClipShape, seed: int) -> VideoModel:
        """See ``FamilySettings``; everything is read from the folder, nothing is drawn."""
        model = WanModel(PipelineFolder(self.weights), getattr(torch, self.dtype), self.experts, self.schedule)
        model.check(shape)
        return model


class WanModel:
    """Wan as a ``VideoModel``.

    Latents ``[B,C,T',h,w]`` are the mode of the VAE's posterior, shifted and scaled channel by channel; pixel frame 0
    has latent 0 to itself, frames 4k-3..4k are latent k. The target is the flow noise - clean.

    TI2V-5B is given its first latent frame: it stands in for the noisy one, its tokens have timestep 0, and
    ``given_frames`` is 1. The I2V models see the latents of the image followed by grey frames beside the noisy ones,
    with a mask of the given pixel frames in between, and generate all frames.

    The VAE, UMT5 and CLIP are frozen. They are loaded when first used, onto the device of the frames last seen.
    """

    pipeline_class: str | None = "WanImageToVideoPipeline"
    priors = NO_PRIORS

    def __init__(self, folder: PipelineFolder, dtype: torch.dtype, experts: Experts, schedule: FlowSettings) -> None:
        """Reads the folder's configs alone.

        Raises:
            CheckpointError: the folder holds something else than these three models.
            ConfigError: ``experts`` chooses between two networks where there is one.
        """
        _refuse_others(folder)
        boundary: float | None = folder.index.get("boundary_ratio")
        self._trained, sigmas = _trained(experts, boundary)
        self._folder, self._dtype, self._boundary = folder, dtype, boundary
        self._config, vae = folder.config(HIGH), folder.config("vae")
        self.given_frames = int(folder.index.get("expand_timesteps", False))
        self.spec = LatentSpec(
            channels=vae["z_dim"],
            spatial=vae.get("scale_factor_spatial", 8),  # Wan2.1's config is older than these two
            temporal=vae.get("scale_factor_temporal", 4),
            causal=True,
        )
        self._refuse_other_inputs()
        self.schedule: Schedule = FlowSchedule(schedule, folder.load("scheduler"), trained=sigmas)
        self._network: nn.Module | None = None
        self._device = torch.device("cpu")

    def _refuse_other_inputs(self) -> None:
        """Other Wans (first and last frame, control, ...) come in the same pipeline with other input channels."""
        channels = self.spec.channels if self.given_frames else 2 * self.spec.channels + self.spec.temporal
        found, wanted = (self._config["in_channels"], self._config.get("pos_embed_seq_len")), (channels, None)
        if found != wanted:
            raise CheckpointError(
                f"{self._folder.folder}: a Wan of another kind: (in_channels, pos_embed_seq_len) of its network are"
                f" {found}, and {wanted} where a first frame is animated"
            )

    @cached_property
    def parts(self) -> dict[str, "WanTransformer3DModel"]:
        """See ``VideoModel``: ``transformer``, ``transformer_2`` or both."""
        return {name: self._folder.load(name, self._dtype).requires_grad_() for name in self._trained}

    @property
    def network(self) -> nn.Module:
        """See ``VideoModel``: the one network, or the trained ones behind a ``Router``; loaded when first used."""
        if self._network is None:
            self._network = self._load_network()
        return self._network

    @network.setter
    def network(self, network: nn.Module) -> None:
        self._network = network

    def _load_network(self) -> nn.Module:
        if self._boundary is None:
            return self.parts[HIGH]
        return Router(self.parts, 1000 * self._boundary, cache(partial(self._folder.load, dtype=self._dtype)))

    @cached_property
    def _vae(self) -> "AutoencoderKLWan":
        vae = self._folder.load("vae")
        vae.enable_slicing()  # clip by clip: a batch needs no more memory than one
        return vae

    @cached_property
    def _text_encoder(self) -> tuple[Any, Any]:
        return self._folder.load("tokenizer"), self._folder.load("text_encoder", self._dtype)

    @cached_property
    def _image_encoder(self) -> tuple[Any, Any]:
        return self._folder.load("image_processor"), self._folder.load("image_encoder")

    def check(self, shape: ClipShape) -> None:
        """See ``VideoModel``."""
        cell = self.spec.spatial * self._config["patch_size"][1]
        if shape.height % cell or shape.width % cell:
            near = [max(round(side / cell), 1) * cell for side in (shape.height, shape.width)]
            raise ShapeError(
                f"frames of {shape.height}x{shape.width} do not fit this Wan: height and width are multiples of {cell},"
                f" such as {near[0]}x{near[1]}"
            )
        self.spec.latent_frames(shape.frames)

    @torch.no_grad()
    def encode(self, frames: Tensor) -> Tensor:
        """See ``VideoModel``."""
        self.spec.grid(*frames.shape[1:4])
        return self._latents_of(_pixels(frames))

    def _latents_of(self, pixels: Tensor) -> Tensor:
        """Pixels in [-1, 1] ``[B,3,T,H,W]`` to latents."""
        self._device = pixels.device
        mean, std = self._scale()
        return (self._vae.to(pixels.device).encode(pixels).latent_dist.mode() - mean) / std

    def _scale(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the VAE's channels, ``[1,C,1,1,1]``."""
        config = self._vae.config
        scale = torch.tensor([config.latents_mean, config.latents_std], device=self._device)
        mean, std = scale.view(2, 1, -1, 1, 1, 1)
        return mean, std

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """See ``VideoModel``."""
        self._device = latents.device
        mean, std = self._scale()
        pixels = self._vae.to(latents.device).decode(latents * std + mean).sample
        return ((pixels * 0.5 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8).movedim(1, -1)

    @torch.no_grad()
    def encode_image(self, images: Tensor, frames: int) -> Tensors:
        """See ``VideoModel``: ``latents`` ``[B,C,1,h,w]`` or ``[B,C,T',h,w]``, and CLIP's ``tokens`` ``[B,L,D]``."""
        pixels = _pixels(images[:, None])
        if self.given_frames:
            return {"latents": self._latents_of(pixels)}
        encoded = {"latents": self._latents_of(F.pad(pixels, (0, 0, 0, 0, 0, frames - 1)))}
        return encoded if self._config.get("image_dim") is None else encoded | {"tokens": self._clip_tokens(images)}

    def _clip_tokens(self, images: Tensor) -> Tensor:
        """What CLIP's last layer but one says of images uint8 ``[B,H,W,3]``."""
        from PIL import Image

        processor, encoder = self._image_encoder
        inputs = processor(images=[Image.fromarray(image) for image in images.cpu().numpy()], return_tensors="pt")
        pixels = inputs.pixel_values.to(images.device)
        return encoder.to(images.device)(pixels, output_hidden_states=True).hidden_states[-2]

    @torch.no_grad()
    def encode_text(self, texts: Sequence[str]) -> Tensors:
        """See ``VideoModel``: ``embeds`` ``[B,512,D]``, zero behind each text's end."""
        tokenizer, encoder = self._text_encoder
        tokens = tokenizer(
            [_clean(text) for text in texts],
            padding="max_length",
            max_length=_TEXT_TOKENS,
            truncation=True,
            return_attention_mask=True,
            return_tensors="pt",
        ).to(self._device)
        embeds = encoder.to(self._device)(tokens.input_ids, tokens.attention_mask).last_hidden_state
        return {"embeds": embeds.masked_fill(tokens.attention_mask[..., None] == 0, 0)}

    def predict(self, noisy: Tensor, timestep: Tensor, condition: Condition) -> Tensor:
        """See ``VideoModel``."""
        dtype = next(iter(self.parts.values())).dtype
        inputs = {"encoder_hidden_states": condition.text["embeds"].to(dtype)}
        if "tokens" in condition.image:
            inputs["encoder_hidden_states_image"] = condition.image["tokens"].to(dtype)
        if self.given_frames:
            sample, timestep = self.complete(noisy, condition), self._token_timesteps(timestep, noisy)
        else:
            sample = torch.cat([noisy, self._mask(noisy), condition.image["latents"].to(noisy)], dim=1)
        prediction: Tensor = self.network(sample.to(dtype), timestep, **inputs, return_dict=False)[0]
        return prediction.float()

    def _token_timesteps(self, timestep: Tensor, noisy: Tensor) -> Tensor:
        """Timesteps ``[B]`` of the clips as timesteps ``[B,T'*h/p*w/p]`` of their tokens: 0 in the given frame."""
        patch, (frames, height, width) = self._config["patch_size"], noisy.shape[2:]
        steps = timestep[:, None].repeat(1, frames)
        steps[:, : self.given_frames] = 0
        return steps.repeat_interleave(height // patch[1] * (width // patch[2]), dim=1)

    def _mask(self, noisy: Tensor) -> Tensor:
        """A channel for each pixel frame of a latent, ``[B,4,T',h,w]``: 1 where it is given, as in latent frame 0."""
        mask = torch.zeros_like(noisy[:, : self.spec.temporal])
        mask[:, :, 0] = 1
        return mask

    def complete(self, latents: Tensor, condition: Condition) -> Tensor:
        """See ``VideoModel``."""
        if not self.given_frames:
            return latents
        return torch.cat([condition.image["latents"].to(latents), latents[:, :, self.given_frames :]], dim=2)


class Router(nn.Module):
    """Wan2.2-I2V-A14B's networks as one: ``transformer`` from a timestep on, ``transformer_2`` below it.

    It holds the networks that are trained; the other one is loaded when a timestep first asks for it, and is no part
    of this module: it is not saved, averaged or wrapped.
    """

    def __init__(self, trained: dict[str, nn.Module], boundary: float, load: Callable[[str], nn.Module]) -> None:
        super().__init__()
        self._boundary, self._load = boundary, load
        for name, network in trained.items():
            self.add_module(name, network)

    def forward(
        self, hidden_states: Tensor, timestep: Tensor, encoder_hidden_states: Tensor, return_dict: bool = False
    ) -> tuple[Tensor]:
        """As ``WanTransformer3DModel``, each sample ``[B,...]`` through the network of its timestep ``[B]``."""
        high = timestep >= self._boundary
        places = {HIGH: high.nonzero()[:, 0], LOW: (~high).nonzero()[:, 0]}
        predictions = [
            self._network(name, hidden_states.device)(
                hidden_states[place], timestep[place], encoder_hidden_states[place], return_dict=return_dict
            )[0]
            for name, place in places.items()
            if len(place)
        ]
        return (torch.cat(predictions)[torch.cat([*places.values()]).argsort()],)

    def _network(self, name: str, device: torch.device) -> nn.Module:
        return getattr(self, name) if hasattr(self, name) else self._load(name).to(device)


def _refuse_others(folder: PipelineFolder) -> None:
    name = folder.index.get("_class_name")
    if name == "WanPipeline" and not folder.index.get("expand_timesteps"):
        raise CheckpointError(f"{folder.folder}: a text-to-video Wan, which takes no image; use an I2V or TI2V one")
    if name not in ("WanPipeline", WanModel.pipeline_class):  # TI2V-5B is published as the former
        raise CheckpointError(
            f"{folder.folder}: the weights of {name}, not of Wan; set model.family to the family of that pipeline"
        )


def _trained(experts: Experts, boundary: float | None) -> tuple[tuple[str, ...], tuple[float, float]]:
    """The names of the networks to train, and the range of sigma that is theirs."""
    if boundary is not None:
        return {
            "both": ((HIGH, LOW), (0.0, 1.0)),
            "high": ((HIGH,), (boundary, 1.0)),
            "low": ((LOW,), (0.0, boundary)),
        }[experts]
    if experts != "both":
        raise ConfigError(f"model.experts is {experts!r}, but this Wan has a single network; leave it out")
    return (HIGH,), (0.0, 1.0)


def _pixels(frames: Tensor) -> Tensor:
    """Frames uint8 ``[B,T,H,W,3]`` as ``[B,3,T,H,W]`` in [-1, 1]."""
    return frames.movedim(-1, 1).float() / 255 * 2 - 1


def _clean(text: str) -> str:
    """Broken characters mended, HTML entities resolved (twice, as in Wan's own data), white space made single."""
    import ftfy

    return " ".join(html.unescape(html.unescape(ftfy.fix_text(text))).split())
