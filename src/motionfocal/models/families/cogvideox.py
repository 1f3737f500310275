"""CogVideoX image-to-video: CogVideoX-5b-I2V and CogVideoX1.5-5B-I2V (Yang et al. 2024, arXiv 2408.06072).

Which of the two a folder holds is read from its configs: 1.5 is the one whose patches span two latent frames.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from motionfocal.errors import ShapeError
from motionfocal.models.pipeline_folder import PipelineFolder
from motionfocal.models.pipeline_model import PipelineFamily, PipelineModel, pixels_of, then_zeros
from motionfocal.models.protocol import ClipShape, Condition, Tensors
from motionfocal.models.schedule import DiffusionSchedule
from motionfocal.motion.latent import LatentSpec, from_layout, to_layout

if TYPE_CHECKING:
    from diffusers import CogVideoXDDIMScheduler

_PIPELINE = "CogVideoXImageToVideoPipeline"

_DECODED_TOGETHER = 2
"""Latent frames that the VAE decodes at a time: only of an odd number does it give the first a pixel frame alone."""

_OFS = 2.0
"""The one value that 1.5's "ofs" embedding is ever given."""


class Family(PipelineFamily):
    """Settings of CogVideoX. Its noise schedule is part of the checkpoint: there is none to choose."""

    pipelines: ClassVar = (_PIPELINE,)

    family: Literal["cogvideox"] = "cogvideox"
    weights: str = Field(
        description="CogVideoX-5b-I2V or CogVideoX1.5-5B-I2V: a folder in diffusers' layout, or its name or"
        " name@revision on the hub."
    )

    def _model(self, seed: int) -> "CogVideoX":
        return CogVideoX(self)


class CogVideoX(PipelineModel):
    """CogVideoX as a ``VideoModel``.

    Latents have 16 channels; a cell spans 4 frames of 8x8 pixels, and frame 0 is alone (causal VAE). They are the mode
    of the posterior times ``scaling_factor``. The network takes them as ``[B,T',C,h,w]`` in patches of 2x2 cells.

    The patches of 1.5 span two latent frames, and a clip has an odd number of them. Like its authors' own training, the
    latents therefore begin with a second copy of frame 0: it has noise of its own, is denoised, and is in the loss. So
    81 frames are 22 latent frames, and ``spec`` says so. Decoding drops the copy, as the stock pipeline does.

    The image's latent enters beside the noisy latents, along the channels: at the first latent frame (in 1.5 the copy),
    with zeros at all others. Where the VAE says ``invert_scale_latents`` it is divided by the scale. All frames are
    generated, frame 0 too, and all are in the loss.

    CogVideoX was trained on images with noise of level exp(N(-3, 0.5)), and trainers repeat that. It is random, so it
    has no place in ``encode_image``, which may be cached: it is left out.

    The target is v at integer timesteps, with the zero terminal SNR and the SNR shift of the folder's scheduler.
    Sampling is DDIM (``CogVideoXDDIMScheduler``). Of a folder that names ``CogVideoXDPMScheduler``, another solver of
    the same process that adds noise, the config is taken for DDIM.

    Texts are T5 embeddings of ``max_text_seq_length`` (226) tokens; the network attends to the padding too.
    """

    pipeline_class = _PIPELINE

    def __init__(self, settings: Family) -> None:
        """Reads the folder's configs alone.

        Raises:
            CheckpointError: the folder holds something else than CogVideoX image-to-video.
        """
        super().__init__(settings)
        self._config, self._vae_config = self.folder.config("transformer"), self.folder.config("vae")
        self._patch, self._patch_frames = self._config["patch_size"], self._config.get("patch_size_t") or 1
        self.spec = LatentSpec(
            channels=self._vae_config["latent_channels"],
            spatial=2 ** (len(self._vae_config["block_out_channels"]) - 1),
            temporal=self._vae_config["temporal_compression_ratio"],
            causal=True,
            layout="btchw",
            lead=self._patch_frames - 1,  # the number of latent frames is odd, see _DECODED_TOGETHER
        )
        self.schedule = DiffusionSchedule(_ddim(self.folder))

    def check(self, shape: ClipShape) -> None:
        """See ``VideoModel``."""
        super().check(shape)
        if self._config.get("use_learned_positional_embeddings"):
            self._check_learned((shape.frames, shape.height, shape.width))

    def _check_size(self, frames: int, height: int, width: int) -> None:
        self._check_length(frames)
        self._check_sides(height, width)

    def _check_length(self, frames: int) -> None:
        group = _DECODED_TOGETHER * self.spec.temporal
        groups = max((frames - 1) // group, 1)
        if frames != groups * group + 1:
            near = f"{groups * group + 1} or {(groups + 1) * group + 1}"
            raise ShapeError(f"{frames} frames do not fit CogVideoX: lengths are {group} * k + 1, such as {near}")

    def _check_sides(self, height: int, width: int) -> None:
        cell = self.spec.spatial * self._patch
        if height % cell or width % cell:
            raise ShapeError(f"frames of {height}x{width} do not fit CogVideoX: sides are multiples of {cell}")
        most = self._native_size()
        if self._patch_frames > 1 and (height > most[0] or width > most[1]):
            raise ShapeError(f"frames of {height}x{width} do not fit this CogVideoX: at most {most[0]}x{most[1]}")

    def _check_learned(self, given: tuple[int, int, int]) -> None:
        """Another length would run as well, but on positions that the network was never trained with."""
        learned = (self._config["sample_frames"], *self._native_size())
        if given != learned:
            text = "{} frames of {}x{} do not fit this CogVideoX: it has learned positions, for {} frames of {}x{} only"
            raise ShapeError(text.format(*given, *learned))

    def _native_size(self) -> tuple[int, int]:
        """Height and width in pixels, as the network's config has them."""
        return self._config["sample_height"] * self.spec.spatial, self._config["sample_width"] * self.spec.spatial

    @torch.no_grad()
    def encode_image(self, images: Tensor, frames: int) -> Tensors:
        """See ``VideoModel``: the image's ``latent`` ``[B,C,1,h,w]``."""
        self._check_sides(*images.shape[1:3])
        mode, scale = self._mode(pixels_of(images[:, None])), self._vae_config["scaling_factor"]
        return {"latent": mode / scale if self._vae_config.get("invert_scale_latents") else mode * scale}

    def _normalised(self, latents: Tensor) -> Tensor:
        """Scaled, and with the copies of frame 0 in front."""
        scaled = super()._normalised(latents)
        return torch.cat([*[scaled[:, :, :1]] * self.spec.lead, scaled], dim=2)

    def _denormalised(self, latents: Tensor) -> Tensor:
        return super()._denormalised(latents[:, :, self.spec.lead :])

    @torch.no_grad()
    def encode_text(self, texts: Sequence[str]) -> Tensors:
        """See ``VideoModel``: ``embeds`` ``[B,226,D]``."""
        tokens = self._tokens(texts, self._config["max_text_seq_length"])
        return {"embeds": self.frozen("text_encoder")(tokens.input_ids)[0]}

    def _blank_text(self, clips: int) -> Tensors:
        length, width = self._config["max_text_seq_length"], self._config["text_embed_dim"]
        return {"embeds": torch.zeros(clips, length, width, dtype=self.dtype)}

    def predict(self, noisy: Tensor, timestep: Tensor, condition: Condition) -> Tensor:
        """See ``VideoModel``."""
        dtype = self.network_dtype
        image = then_zeros(condition.image["latent"].to(noisy), noisy.shape[2])
        beside = torch.cat([to_layout(noisy, self.spec), to_layout(image, self.spec)], dim=2)
        (prediction,) = self.network(
            hidden_states=beside.to(dtype),
            encoder_hidden_states=condition.text["embeds"].to(dtype),
            timestep=timestep,
            ofs=torch.full((1,), _OFS, device=noisy.device) if self._config.get("ofs_embed_dim") else None,
            image_rotary_emb=self._rotary(noisy) if self._config["use_rotary_positional_embeddings"] else None,
            return_dict=False,
        )
        frames, height, width = noisy.shape[2:]
        return from_layout(prediction.float(), self.spec, (frames, height, width))

    def _rotary(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Cosine and sine ``[tokens,D]`` of the positions of patches.

        They are fitted into the native grid of the network, or, in 1.5, counted from its corner.
        """
        from diffusers.models.embeddings import get_3d_rotary_pos_embed
        from diffusers.pipelines.cogvideo.pipeline_cogvideox_image2video import get_resize_crop_region_for_grid

        grid = latents.shape[3] // self._patch, latents.shape[4] // self._patch
        native = self._config["sample_height"] // self._patch, self._config["sample_width"] // self._patch
        counted = self._patch_frames > 1
        cosine, sine = get_3d_rotary_pos_embed(
            embed_dim=self._config["attention_head_dim"],
            crops_coords=None if counted else get_resize_crop_region_for_grid(grid, native[1], native[0]),
            grid_size=grid,
            temporal_size=latents.shape[2] // self._patch_frames,
            grid_type="slice" if counted else "linspace",
            max_size=native if counted else None,
            device=latents.device,
        )
        return cosine, sine


def _ddim(folder: PipelineFolder) -> "CogVideoXDDIMScheduler":
    from diffusers import CogVideoXDDIMScheduler

    return CogVideoXDDIMScheduler.from_config(folder.load("scheduler").config)
