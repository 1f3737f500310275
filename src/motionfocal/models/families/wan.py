"""The Wan family: Wan2.2-TI2V-5B, Wan2.1-I2V-14B and Wan2.2-I2V-A14B, told apart by the configs of their folder.

| model | latents | the image enters as | networks |
|---|---|---|---|
| Wan2.2-TI2V-5B | 48 channels, 4 frames x 16 pixels | latent frame 0, at timestep 0 | one |
| Wan2.1-I2V-14B | 16 channels, 4 frames x 8 pixels | 20 more input channels, and CLIP tokens | one |
| Wan2.2-I2V-A14B | 16 channels, 4 frames x 8 pixels | 20 more input channels | one for much noise, one for little |
"""

import html
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from motionfocal.errors import CheckpointError, ConfigError, ShapeError
from motionfocal.models.pipeline_model import PipelineFamily, PipelineModel, pictures_of, pixels_of, then_zeros
from motionfocal.models.protocol import ClipShape, Condition, Tensors
from motionfocal.models.schedule import FlowSchedule, FlowSettings
from motionfocal.motion.latent import LatentSpec

HIGH, LOW = "transformer", "transformer_2"
"""The pipeline's names of the network (of the one for much noise, where there are two) and of the one for little."""

_TEXT_TOKENS = 512
"""Length that every text is padded or cut to; the networks count on it."""

Experts = Literal["both", "high", "low"]


class Family(PipelineFamily):
    """Settings of the Wan family."""

    pipelines: ClassVar = ("WanPipeline", "WanImageToVideoPipeline")
    """TI2V-5B is published as the former."""

    family: Literal["wan"] = "wan"
    weights: str = Field(
        description="A folder in diffusers' layout, or its name or name@revision on the hub: Wan2.2-TI2V-5B,"
        " Wan2.1-I2V-14B (480P, 720P) or Wan2.2-I2V-A14B."
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

    def _model(self, seed: int) -> "WanModel":
        return WanModel(self)


class WanModel(PipelineModel):
    """Wan as a ``VideoModel``.

    Latents ``[B,C,T',h,w]`` are the mode of the VAE's posterior, shifted and scaled channel by channel; pixel frame 0
    has latent 0 to itself, frames 4k-3..4k are latent k. The target is the flow noise - clean.

    TI2V-5B is given its first latent frame: it stands in for the noisy one, its tokens have timestep 0, and
    ``given_frames`` is 1. The I2V models see the latents of the image followed by grey frames beside the noisy ones,
    with a mask of the given pixel frames in between, and generate all frames.
    """

    pipeline_class = "WanImageToVideoPipeline"
    vae_dtype = torch.float32

    def __init__(self, settings: Family) -> None:
        """Reads the folder's configs alone.

        Raises:
            CheckpointError: the folder holds something else than these three models.
            ConfigError: ``experts`` chooses between two networks where there is one.
        """
        super().__init__(settings)
        index, self._config, vae = self.folder.index, self.folder.config(HIGH), self.folder.config("vae")
        self._boundary: float | None = index.get("boundary_ratio")
        self._part_names, sigmas = _trained(settings.experts, self._boundary)
        self.given_frames = int(index.get("expand_timesteps", False))
        self.spec = LatentSpec(
            channels=vae["z_dim"],
            spatial=vae.get("scale_factor_spatial", 8),  # Wan2.1's config is older than these two
            temporal=vae.get("scale_factor_temporal", 4),
            causal=True,
        )
        self._refuse_other_inputs()
        self.schedule = FlowSchedule(settings.schedule, self.folder.load("scheduler"), trained=sigmas)

    def _refuse_other_inputs(self) -> None:
        """Other Wans (first and last frame, control, ...) come in the same pipelines with other input channels."""
        if self.folder.index["_class_name"] == "WanPipeline" and not self.given_frames:
            raise CheckpointError(
                f"{self.folder.folder}: a text-to-video Wan, which takes no image; use an I2V or TI2V one"
            )
        channels = self.spec.channels if self.given_frames else 2 * self.spec.channels + self.spec.temporal
        found, wanted = (self._config["in_channels"], self._config.get("pos_embed_seq_len")), (channels, None)
        if found != wanted:
            raise CheckpointError(
                f"{self.folder.folder}: a Wan of another kind: (in_channels, pos_embed_seq_len) of its network are"
                f" {found}, and {wanted} where a first frame is animated"
            )

    @cached_property
    def parts(self) -> dict[str, nn.Module]:
        """See ``VideoModel``: ``transformer``, ``transformer_2`` or both."""
        return {name: self.trained(name) for name in self._part_names}

    def _load_network(self) -> nn.Module:
        """The one network, or the trained ones behind a ``Router``."""
        if self._boundary is None:
            return self.parts[HIGH]
        return Router(self.parts, 1000 * self._boundary, self.frozen)

    def _check_size(self, frames: int, height: int, width: int) -> None:
        cell = self.spec.spatial * self._config["patch_size"][1]
        if height % cell or width % cell:
            near = [max(round(side / cell), 1) * cell for side in (height, width)]
            raise ShapeError(
                f"frames of {height}x{width} do not fit this Wan: height and width are multiples of {cell},"
                f" such as {near[0]}x{near[1]}"
            )
        self.spec.latent_frames(frames)

    def _statistics(self) -> tuple[Tensor, Tensor]:
        config = self.vae.config
        mean, std = torch.tensor([config.latents_mean, config.latents_std], device=self.device).view(2, 1, -1, 1, 1, 1)
        return mean, std

    @torch.no_grad()
    def encode_image(self, images: Tensor, frames: int) -> Tensors:
        """See ``VideoModel``: ``latent`` ``[B,C,1,h,w]`` or ``[B,C,T',h,w]``, and CLIP's ``tokens`` ``[B,L,D]``."""
        if self.given_frames:
            return super().encode_image(images, frames)
        encoded = {"latent": self._normalised(self._mode(then_zeros(pixels_of(images[:, None]), frames)))}
        return encoded if self._config.get("image_dim") is None else encoded | {"tokens": self._clip_tokens(images)}

    def _clip_tokens(self, images: Tensor) -> Tensor:
        """What CLIP's last layer but one says of images uint8 ``[B,H,W,3]``."""
        inputs = self.frozen("image_processor")(images=pictures_of(images), return_tensors="pt")
        encoder = self.frozen("image_encoder", torch.float32)
        return encoder(inputs.pixel_values.to(self.device), output_hidden_states=True).hidden_states[-2]

    def _blank_image(self, shape: ClipShape, clips: int) -> Tensors:
        if self.given_frames:
            return super()._blank_image(shape, clips)
        grid = self.spec.grid(shape.frames, shape.height, shape.width)
        image = {"latent": torch.zeros(clips, self.spec.channels, *grid)}
        if (width := self._config.get("image_dim")) is None:
            return image
        encoder = self.folder.config("image_encoder")
        places = (encoder["image_size"] // encoder["patch_size"]) ** 2 + 1
        return image | {"tokens": torch.zeros(clips, places, width)}

    def _blank_text(self, clips: int) -> Tensors:
        return {"embeds": torch.zeros(clips, _TEXT_TOKENS, self._config["text_dim"], dtype=self.dtype)}

    @torch.no_grad()
    def encode_text(self, texts: Sequence[str]) -> Tensors:
        """See ``VideoModel``: ``embeds`` ``[B,512,D]``, zero behind each text's end."""
        tokens = self._tokens([_clean(text) for text in texts], _TEXT_TOKENS)
        embeds = self.frozen("text_encoder")(tokens.input_ids, tokens.attention_mask).last_hidden_state
        return {"embeds": embeds.masked_fill(tokens.attention_mask[..., None] == 0, 0)}

    def predict(self, noisy: Tensor, timestep: Tensor, condition: Condition) -> Tensor:
        """See ``VideoModel``."""
        dtype = self.network_dtype
        inputs = {"encoder_hidden_states": condition.text["embeds"].to(dtype)}
        if "tokens" in condition.image:
            inputs["encoder_hidden_states_image"] = condition.image["tokens"].to(dtype)
        if self.given_frames:
            sample = self.complete(noisy, condition)
            timestep = self._token_timesteps(timestep, noisy, self._config["patch_size"][1])
        else:
            sample = torch.cat([noisy, self._mask(noisy), condition.image["latent"].to(noisy)], dim=1)
        prediction: Tensor = self.network(sample.to(dtype), timestep, **inputs, return_dict=False)[0]
        return prediction.float()

    def _mask(self, noisy: Tensor) -> Tensor:
        """A channel for each pixel frame of a latent, ``[B,4,T',h,w]``: 1 where it is given, as in latent frame 0."""
        return then_zeros(torch.ones_like(noisy[:, : self.spec.temporal, :1]), noisy.shape[2])


class Router(nn.Module):
    """Wan2.2-I2V-A14B's networks as one: ``transformer`` from a timestep on, ``transformer_2`` below it.

    It holds the networks that are trained. The other one is a frozen part of the model, got when a timestep asks for
    it, and no part of this module: it is not saved, averaged or wrapped.
    """

    def __init__(self, trained: dict[str, nn.Module], boundary: float, frozen: Callable[[str], nn.Module]) -> None:
        super().__init__()
        self._boundary, self._frozen = boundary, frozen
        for name, network in trained.items():
            self.add_module(name, network)

    def forward(
        self, hidden_states: Tensor, timestep: Tensor, encoder_hidden_states: Tensor, return_dict: bool = False
    ) -> tuple[Tensor]:
        """As ``WanTransformer3DModel``, each sample ``[B,...]`` through the network of its timestep ``[B]``."""
        high = timestep >= self._boundary
        places = {HIGH: high.nonzero()[:, 0], LOW: (~high).nonzero()[:, 0]}
        inputs = hidden_states, timestep, encoder_hidden_states
        predictions = [
            self._predict(name, *(tensor[place] for tensor in inputs)) for name, place in places.items() if len(place)
        ]
        return (torch.cat(predictions)[torch.cat([*places.values()]).argsort()],)

    def _predict(self, name: str, sample: Tensor, timestep: Tensor, text: Tensor) -> Tensor:
        network: Any = getattr(self, name) if hasattr(self, name) else self._frozen(name)
        dtype = network.dtype  # a trainer makes more precise what is trained, and not the other
        return network(sample.to(dtype), timestep, text.to(dtype), return_dict=False)[0]


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


def _clean(text: str) -> str:
    """Broken characters mended, HTML entities resolved (twice, as in Wan's own data), white space made single."""
    import ftfy

    return " ".join(html.unescape(html.unescape(ftfy.fix_text(text))).split())
