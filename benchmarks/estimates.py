"""What a recipe needs: weights, tokens, operations, memory and hours, of its real network on the meta device.

    python benchmarks/estimates.py                                # all recipes: minutes on one core, no weights needed
    python benchmarks/estimates.py ltx-video wan22-ti2v-5b
    python benchmarks/estimates.py wan22-ti2v-5b --set data.frames=49 --set 'data.buckets=[[480,832]]'

The networks are diffusers' classes with the arguments of the published configs (those of its conversion scripts); the
number of weights is printed beside the published one. Sizes, adapter, precision and steps are the recipe's. How it is
counted and what is left out: motionfocal.training.estimate.
"""

import argparse
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from motionfocal.cli.train import recipe
from motionfocal.models.lora import add_lora
from motionfocal.motion import LatentSpec
from motionfocal.motion.latent import Grid
from motionfocal.training.config import TrainingConfig, load_config
from motionfocal.training.estimate import (
    A100,
    H100,
    PassCost,
    StepMemory,
    count_parameters,
    count_pass,
    step_memory,
)

Inputs = dict[str, object]
GB = 1e9


@dataclass(frozen=True)
class Base:
    """A network at its real size: weights as published (billions), latents, cells a token, constructor, inputs."""

    published: float
    spec: LatentSpec
    cells: int
    build: Callable[[], nn.Module]
    inputs: Callable[[int, Grid, torch.dtype], Inputs]


def wan(**config: object) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        from diffusers import WanTransformer3DModel

        return WanTransformer3DModel(**config)

    return build


def cogvideox(**config: object) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        from diffusers import CogVideoXTransformer3DModel

        sizes = {"num_attention_heads": 48, "num_layers": 42, "in_channels": 32}
        return CogVideoXTransformer3DModel(**sizes, use_rotary_positional_embeddings=True, **config)

    return build


def ltx() -> nn.Module:
    from diffusers import LTXVideoTransformer3DModel

    return LTXVideoTransformer3DModel()  # the class's defaults are 0.9's 2B


def hunyuanvideo15() -> nn.Module:
    from diffusers import HunyuanVideo15Transformer3DModel

    return HunyuanVideo15Transformer3DModel()  # the class's defaults are 480p_i2v


def videocrafter() -> nn.Module:
    from motionfocal.models.videocrafter import VideoCrafterUNet

    return VideoCrafterUNet(in_channels=8)  # x-cat


def wan_inputs(channels: int, clip: bool = False, timestep_a_token: bool = False) -> Callable[..., Inputs]:
    def inputs(clips: int, grid: Grid, dtype: torch.dtype) -> Inputs:
        steps = (clips, math.prod(grid) // 4) if timestep_a_token else (clips,)
        image = {"encoder_hidden_states_image": torch.empty(clips, 257, 1280, dtype=dtype)} if clip else {}
        return image | {
            "hidden_states": torch.empty(clips, channels, *grid, dtype=dtype),
            "timestep": torch.empty(steps),
            "encoder_hidden_states": torch.empty(clips, 512, 4096, dtype=dtype),
        }

    return inputs


def cogvideox_inputs(patch_frames: int) -> Callable[..., Inputs]:
    def inputs(clips: int, grid: Grid, dtype: torch.dtype) -> Inputs:
        frames, height, width = grid
        tokens = frames * height * width // (4 * patch_frames)
        return {
            "hidden_states": torch.empty(clips, frames, 32, height, width, dtype=dtype),
            "timestep": torch.empty(clips),
            "encoder_hidden_states": torch.empty(clips, 226, 4096, dtype=dtype),
            "image_rotary_emb": (torch.empty(tokens, 64), torch.empty(tokens, 64)),
            "ofs": torch.empty(1) if patch_frames > 1 else None,
        }

    return inputs


def ltx_inputs(clips: int, grid: Grid, dtype: torch.dtype) -> Inputs:
    tokens = math.prod(grid)
    return dict(zip(("num_frames", "height", "width"), grid, strict=True)) | {
        "hidden_states": torch.empty(clips, tokens, 128, dtype=dtype),
        "timestep": torch.empty(clips, tokens),
        "encoder_hidden_states": torch.empty(clips, 128, 4096, dtype=dtype),
        "encoder_attention_mask": torch.empty(clips, 128, dtype=torch.bool),
        "rope_interpolation_scale": (0.3, 32, 32),
    }


def hunyuanvideo15_inputs(clips: int, grid: Grid, dtype: torch.dtype) -> Inputs:
    return {
        "hidden_states": torch.empty(clips, 65, *grid, dtype=dtype),
        "timestep": torch.empty(clips),
        "encoder_hidden_states": torch.empty(clips, 1000, 3584, dtype=dtype),
        "encoder_attention_mask": torch.empty(clips, 1000, dtype=torch.bool),
        "encoder_hidden_states_2": torch.empty(clips, 256, 1472, dtype=dtype),
        "encoder_attention_mask_2": torch.empty(clips, 256, dtype=torch.bool),
        "image_embeds": torch.empty(clips, 729, 1152, dtype=dtype),
    }


def videocrafter_inputs(clips: int, grid: Grid, dtype: torch.dtype) -> Inputs:
    return {
        "sample": torch.empty(clips, 8, *grid, dtype=dtype),
        "timestep": torch.empty(clips),
        "encoder_hidden_states": torch.empty(clips, 77, 1024, dtype=dtype),
        "fps": torch.empty(clips),
    }


WAN21 = LatentSpec(16, 8, 4, causal=True)
FIVE = {"num_attention_heads": 24, "num_layers": 30, "ffn_dim": 14336, "in_channels": 48, "out_channels": 48}
WITH_CLIP = {"image_dim": 1280, "added_kv_proj_dim": 5120}
LONGER = {"patch_size_t": 2, "ofs_embed_dim": 512, "patch_bias": False, "sample_height": 300, "sample_width": 300}
BASES = {
    "paper": Base(1.413, LatentSpec(4, 8), 1, videocrafter, videocrafter_inputs),
    "wan22-ti2v-5b": Base(
        5.0, LatentSpec(48, 16, 4, causal=True), 4, wan(**FIVE), wan_inputs(48, timestep_a_token=True)
    ),
    "wan22-i2v-a14b": Base(14.3, WAN21, 4, wan(in_channels=36), wan_inputs(36)),
    "wan21-i2v-14b": Base(16.4, WAN21, 4, wan(in_channels=36, **WITH_CLIP), wan_inputs(36, clip=True)),
    "cogvideox-5b-i2v": Base(
        5.6, WAN21, 4, cogvideox(use_learned_positional_embeddings=True), cogvideox_inputs(patch_frames=1)
    ),
    "cogvideox15-5b-i2v": Base(
        5.6, LatentSpec(16, 8, 4, causal=True, lead=1), 8, cogvideox(**LONGER), cogvideox_inputs(patch_frames=2)
    ),
    "ltx-video": Base(1.9, LatentSpec(128, 32, 8, causal=True), 1, ltx, ltx_inputs),
    "hunyuanvideo15-i2v": Base(8.3, LatentSpec(32, 16, 4, causal=True), 1, hunyuanvideo15, hunyuanvideo15_inputs),
}
"""By the names of the recipes."""


class AllValid(TorchFunctionMode):
    """Answers what HunyuanVideo 1.5 asks of values, of which the meta device has none: every text fills its length."""

    def __torch_function__(self, function, types, args=(), kwargs=None):  # noqa: ANN001, ANN204
        result = None if function is Tensor.__bool__ else function(*self._known(function, args), **(kwargs or {}))
        if function is Tensor.__invert__:
            result.selects_nothing = True
        return False if function is Tensor.__bool__ else result

    @staticmethod
    def _known(function: object, args: tuple[object, ...]) -> tuple[object, ...]:
        if function is not Tensor.__getitem__ or getattr(args[1], "dtype", None) != torch.bool:
            return args
        return args[0], slice(0, 0 if hasattr(args[1], "selects_nothing") else None)


@dataclass(frozen=True)
class Estimate:
    """Of one clip's pass of a recipe."""

    network: nn.Module
    tokens: int
    cost: PassCost
    memory: StepMemory


def estimate(config: TrainingConfig, base: Base, adapter: bool) -> Estimate:
    """Forward and backward at the largest size of a recipe, of its adapter or (in float32) of all weights."""
    with torch.device("meta"):
        network = base.build().to(getattr(torch, config.model.dtype) if adapter else torch.float32).train()
        if config.gradient_checkpointing:
            network.enable_gradient_checkpointing()
        if adapter:
            add_lora(SimpleNamespace(network=network, parts={"transformer": network}), config.lora, seed=0)
        sampling = config.data.sampling
        frames, (height, width) = max(sampling.lengths), max(sampling.sizes, key=math.prod)
        grid = base.spec.grid(frames, height, width)
        clips = config.micro_batch_size or config.batch_size
        inputs = base.inputs(clips, grid, next(network.parameters()).dtype)

        def forward() -> Tensor:
            with AllValid():
                output = network(**inputs)
            return output if isinstance(output, Tensor) else output.sample

        cost = count_pass(network, forward, torch.bfloat16 if config.precision == "bf16" else None)
    one = PassCost(cost.forward_flops // clips, cost.flops // clips, cost.activations)
    averaged = config.ema_decay is not None
    return Estimate(network, math.prod(grid) // base.cells, one, step_memory(network, cost, averaged))


HEADER = (
    "| recipe | weights (published), billions | tokens a clip | forward, TFLOP | a clip's step, TFLOP (passes) |"
    " adapter: memory, GB | hours on an A100 | on an H100 | all weights: memory, GB |"
)


def row(name: str, config: TrainingConfig) -> str:
    """A line of the table."""
    base = BASES[name]
    of_all = estimate(config, base, adapter=False)
    chosen = estimate(config, base, adapter=True) if config.lora else of_all
    flops = config.steps * config.batch_size * chosen.cost.flops
    cells = [
        name,
        f"{count_parameters(of_all.network) / 1e9:.2f} ({base.published})",
        f"{chosen.tokens:,}",
        f"{chosen.cost.forward_flops / 1e12:,.1f}",
        f"{chosen.cost.flops / 1e12:,.0f} ({chosen.cost.passes:.1f})",
        f"{memory_of(chosen)}" if config.lora else "",
        f"{A100.hours(flops):,.0f}",
        f"{H100.hours(flops):,.0f}",
        memory_of(of_all),
    ]
    return f"| {' | '.join(cells)} |"


def memory_of(chosen: Estimate) -> str:
    return f"{chosen.memory.total / GB:.0f} ({chosen.memory.activations / GB:.0f} of activations)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="*", metavar="RECIPE", help=f"of {', '.join(BASES)}")
    parser.add_argument("--set", "-s", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    chosen = parser.parse_args()
    logging.disable(logging.WARNING)  # diffusers warns of dtypes that it would keep; nothing is computed here
    print(f"{HEADER}\n|{'---|' * HEADER.count('| ')}")
    for name in chosen.recipes or BASES:
        print(row(name, load_config(recipe(name), chosen.overrides)), flush=True)


if __name__ == "__main__":
    main()
