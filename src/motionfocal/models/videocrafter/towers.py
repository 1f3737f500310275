"""OpenCLIP's towers as transformers' CLIP models: what lvdm encodes texts and first images with."""

from collections.abc import Mapping

from accelerate import init_empty_weights  # the meta device would also take the buffers, which no checkpoint holds
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPVisionConfig, CLIPVisionModelWithProjection

from motionfocal.models.videocrafter.names import clip_sources
from motionfocal.models.videocrafter.sizes import text_config, vision_config
from motionfocal.models.videocrafter.weights import fill, gather

_TEXT_REST = {"logit_scale", "text_projection"}
_VISION_REST = {*_TEXT_REST, "positional_embedding", "token_embedding.weight", "ln_final.weight", "ln_final.bias"}
"""Of a text tower without its transformer, which lvdm leaves in the image embedder."""


def text_encoder(state: Mapping[str, Tensor], heads: int | None = None) -> CLIPTextModel:
    """OpenCLIP's text tower without its last layer; ``last_hidden_state`` is lvdm's "penultimate".

    ``state`` has OpenCLIP's names. Sizes are read off the tensors but for the heads, which are 64 wide unless their
    number is given. The tensors are taken as they are, not copied. Its tokens are padded with 0, see ``tokenizer``.

    Raises:
        CheckpointError: tensors are missing, left over or of the wrong shape.
    """
    sizes = text_config(state) | ({"num_attention_heads": heads} if heads else {})
    last = f"transformer.resblocks.{sizes['num_hidden_layers']}."
    unused = _TEXT_REST | {name for name in state if name.startswith(last)}
    with init_empty_weights():
        model = CLIPTextModel(CLIPTextConfig(**sizes))
    return fill(model, gather(model, state, clip_sources(model.state_dict()), "text encoder", unused), copy=False)


def image_encoder(state: Mapping[str, Tensor], heads: int | None = None) -> CLIPVisionModelWithProjection:
    """OpenCLIP's vision tower; ``last_hidden_state`` is what lvdm's image projector takes.

    ``state`` has OpenCLIP's names, which begin with ``visual.``; heads are 80 wide unless their number is given.

    Raises:
        CheckpointError: tensors are missing, left over or of the wrong shape.
    """
    sizes = vision_config(state) | ({"num_attention_heads": heads} if heads else {})
    with init_empty_weights():
        model = CLIPVisionModelWithProjection(CLIPVisionConfig(**sizes))
    sources = clip_sources(model.state_dict(), "visual.")
    return fill(model, gather(model, state, sources, "image encoder", _VISION_REST), copy=False)
