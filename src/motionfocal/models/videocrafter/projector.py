"""The image projector of VideoCrafter1 and DynamiCrafter: an image encoder's tokens to those the UNet attends to."""

from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.embeddings import IPAdapterPlusImageProjection
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor


class ImageProjector(ModelMixin, ConfigMixin):
    """Queries that attend to an image's tokens (the Resampler of IP-Adapter Plus); the defaults are VideoCrafter1's."""

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        image_width: int = 1280,
        width: int = 1024,
        out_width: int = 1024,
        depth: int = 4,
        heads: int = 12,
        head_width: int = 64,
        expansion: int = 4,
        tokens: int = 16,
        frames: int | None = None,
    ) -> None:
        """``tokens`` come out an image; with ``frames``, so many for each of that many frames."""
        super().__init__()
        self.resampler = IPAdapterPlusImageProjection(
            embed_dims=image_width,
            output_dims=out_width,
            hidden_dims=width,
            depth=depth,
            dim_head=head_width,
            heads=heads,
            num_queries=tokens * (frames or 1),
            ffn_ratio=expansion,
        )

    def forward(self, hidden_states: Tensor) -> Tensor:
        """The image encoder's ``last_hidden_state`` ``[B,P,C]`` to tokens ``[B,N,D]``, or ``[B,T,N,D]`` with frames."""
        tokens = self.resampler(hidden_states)
        return tokens if self.config.frames is None else tokens.unflatten(1, (self.config.frames, -1))
