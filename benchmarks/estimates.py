"""What a recipe needs: weights, tokens, operations, memory and hours, of its real network on the meta device.

    python benchmarks/estimates.py                                # all recipes: minutes on one core, no weights needed
    python benchmarks/estimates.py ltx-video wan22-ti2v-5b
    python benchmarks/estimates.py wan22-ti2v-5b --set data.frames=49 --set 'data.buckets=[[480,832]]'

It asks what 'motionfocal prepare CONFIG --dry-run' asks, of folders that hold a base's published configs and nothing
else; the number of weights is printed beside the published one. Sizes, adapter, precision and steps are the recipe's.
How it is counted and what is left out: motionfocal.training.estimate.
"""

import argparse
import importlib
import json
import logging
import math
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from motionfocal.models.protocol import ClipShape
from motionfocal.training.config import TrainingConfig, load_config, recipe
from motionfocal.training.estimate import A100, H100
from motionfocal.training.need import Need, training_need

Config = dict[str, object]
GB = 1e9


@dataclass(frozen=True)
class Base:
    """A base as published: weights of its network in billions, cells a token, pipeline, and its parts' configs.

    Of a config only what differs from the defaults of its class is here; those are often the published ones.
    """

    published: float
    cells: int
    pipeline: str
    parts: dict[str, tuple[str, Config]]
    options: Config = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Write a folder in diffusers' layout, without weights."""
        index: Config = {"_class_name": self.pipeline, **self.options}
        for name, (kind, config) in self.parts.items():
            library, class_name = kind.rsplit(".", 1)
            index[name] = [library, class_name]
            part = getattr(importlib.import_module(library), class_name)
            if library == "transformers":
                part.config_class(**config).save_pretrained(folder / name)
                continue
            with torch.device("cpu" if name == "scheduler" else "meta"):
                part(**config).save_config(folder / name)
        (folder / "model_index.json").write_text(json.dumps(index))


def wan(cells: int, published: float, transformer: Config, vae: Config, options: Config, clip: bool = False) -> Base:
    parts = {
        "transformer": ("diffusers.WanTransformer3DModel", transformer),
        "vae": ("diffusers.AutoencoderKLWan", vae),
        "scheduler": ("diffusers.UniPCMultistepScheduler", {"use_flow_sigmas": True}),
    }
    if clip:
        tower = {"image_size": 224, "patch_size": 14, "hidden_size": 1280, "num_attention_heads": 16}
        parts["image_encoder"] = ("transformers.CLIPVisionModel", tower)
    return Base(published, cells, "WanImageToVideoPipeline", parts, options)


def cogvideox(cells: int, **transformer: object) -> Base:
    sizes = {"num_attention_heads": 48, "num_layers": 42, "in_channels": 32}
    vae = {"latent_channels": 16, "block_out_channels": [128, 256, 256, 512], "temporal_compression_ratio": 4}
    parts = {
        "transformer": (
            "diffusers.CogVideoXTransformer3DModel",
            sizes | {"use_rotary_positional_embeddings": True} | transformer,
        ),
        "vae": ("diffusers.AutoencoderKLCogVideoX", vae),
        "scheduler": ("diffusers.CogVideoXDDIMScheduler", {"prediction_type": "v_prediction"}),
    }
    return Base(5.6, cells, "CogVideoXImageToVideoPipeline", parts)


FLOW = ("diffusers.FlowMatchEulerDiscreteScheduler", {"use_dynamic_shifting": True})
WAN21 = {"z_dim": 16, "scale_factor_spatial": 8, "scale_factor_temporal": 4}
WAN22 = {"z_dim": 48, "scale_factor_spatial": 16, "scale_factor_temporal": 4}
FIVE = {"num_attention_heads": 24, "num_layers": 30, "ffn_dim": 14336, "in_channels": 48, "out_channels": 48}
LONGER = {"patch_size_t": 2, "ofs_embed_dim": 512, "patch_bias": False, "sample_height": 300, "sample_width": 300}
SIGLIP = {"image_size": 384, "patch_size": 14, "hidden_size": 1152, "num_attention_heads": 16}
BASES = {
    "paper": Base(
        1.413,
        1,
        "VideoCrafter",
        {
            "unet": ("motionfocal.models.videocrafter.VideoCrafterUNet", {}),
            "vae": ("diffusers.AutoencoderKL", {"block_out_channels": [128, 256, 512, 512], "latent_channels": 4}),
            "scheduler": ("diffusers.DDIMScheduler", {}),
        },
    ),
    "wan22-ti2v-5b": wan(4, 5.0, FIVE, WAN22, {"expand_timesteps": True}),
    "wan22-i2v-a14b": wan(4, 14.3, {"in_channels": 36}, WAN21, {"boundary_ratio": 0.9}),
    "wan21-i2v-14b": wan(
        4, 16.4, {"in_channels": 36, "image_dim": 1280, "added_kv_proj_dim": 5120}, WAN21, {}, clip=True
    ),
    "cogvideox-5b-i2v": cogvideox(4, use_learned_positional_embeddings=True),
    "cogvideox15-5b-i2v": cogvideox(8, **LONGER),
    "ltx-video": Base(
        1.9,
        1,
        "LTXImageToVideoPipeline",
        {
            "transformer": ("diffusers.LTXVideoTransformer3DModel", {}),
            "vae": ("diffusers.AutoencoderKLLTXVideo", {"latent_channels": 128}),
            "scheduler": FLOW,
        },
    ),
    "hunyuanvideo15-i2v": Base(
        8.3,
        1,
        "HunyuanVideo15ImageToVideoPipeline",
        {
            "transformer": ("diffusers.HunyuanVideo15Transformer3DModel", {}),  # the class's defaults are 480p_i2v's
            "vae": ("diffusers.AutoencoderKLHunyuanVideo15", {"latent_channels": 32}),
            "scheduler": FLOW,
            "image_encoder": ("transformers.SiglipVisionModel", SIGLIP),
        },
    ),
}
"""By the names of the recipes."""

HEADER = (
    "| recipe | weights (published), billions | tokens a clip | forward, TFLOP | a clip's step, TFLOP (passes) |"
    " adapter: memory, GB | hours on an A100 | on an H100 | all weights: memory, GB |"
)


def largest(config: TrainingConfig) -> ClipShape:
    sampling = config.data.sampling
    height, width = max(sampling.sizes, key=math.prod)
    return ClipShape(frames=max(sampling.lengths), height=height, width=width, fps=1)


def row(name: str, config: TrainingConfig, folder: Path) -> str:
    """A line of the table; ``folder`` is the base's."""
    model = config.model.model_copy(update={"weights": str(folder)})
    config, shape = config.model_copy(update={"model": model}), largest(config)
    of_all = training_need(config.model_copy(update={"lora": None}), shape)
    chosen = training_need(config, shape) if config.lora else of_all
    spec = model.build(shape, seed=0).spec
    clips = chosen.clips
    cells = [
        name,
        f"{of_all.weights / 1e9:.2f} ({BASES[name].published})",
        f"{math.prod(spec.grid(shape.frames, shape.height, shape.width)) // BASES[name].cells:,}",
        f"{chosen.cost.forward_flops / clips / 1e12:,.1f}",
        f"{chosen.cost.flops / clips / 1e12:,.0f} ({chosen.cost.passes:.1f})",
        memory_of(chosen) if config.lora else "",
        f"{A100.hours(chosen.run_flops):,.0f}",
        f"{H100.hours(chosen.run_flops):,.0f}",
        memory_of(of_all),
    ]
    return f"| {' | '.join(cells)} |"


def memory_of(need: Need) -> str:
    return f"{need.memory.total / GB:.0f} ({need.memory.activations / GB:.0f} of activations)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="*", metavar="RECIPE", help=f"of {', '.join(BASES)}")
    parser.add_argument("--set", "-s", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    chosen = parser.parse_args()
    logging.disable(logging.WARNING)  # the libraries warn of weights that are not there
    print(f"{HEADER}\n|{'---|' * HEADER.count('| ')}")
    for name in chosen.recipes or BASES:
        with TemporaryDirectory() as folder:
            BASES[name].write(Path(folder))
            print(row(name, load_config(recipe(name), chosen.overrides), Path(folder)), flush=True)


if __name__ == "__main__":
    main()
