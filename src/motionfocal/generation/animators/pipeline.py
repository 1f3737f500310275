"""Animate with any image-to-video pipeline of diffusers, by its folder or its name on the hub."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from motionfocal.benchmarks import BenchmarkItem
from motionfocal.errors import CheckpointError, ConfigError, MediaError, MotionFocalError
from motionfocal.generation.animator import Failed, Made
from motionfocal.generation.animators.pipeline_call import PipelineOptions, Size, class_of, plan_call
from motionfocal.generation.animators.weights import hash_path, hash_pipeline
from motionfocal.models.build import best_device
from motionfocal.models.pipeline_folder import PipelineFolder
from motionfocal.video import Clip, Frames

_LORA = "pytorch_lora_weights.safetensors"

_TOO_LARGE = "the GPU has too little memory; try --set offload=model, a smaller --size or fewer --frames"


class PipelineAnimator:
    """Calls a pipeline for one item at a time, with the keywords that its ``__call__`` takes and no others.

    Pictures are scaled and cropped to the size of the clip; pipelines that choose the size by the picture, or crop it
    themselves, get all of it. Each item has a generator on the CPU, so noise is the same on every device (but for
    LTX-Video with a VAE that is told the timestep); what a pipeline draws without it comes from the global generator,
    which is seeded too.
    """

    group = 1

    def __init__(self, weights: str, options: PipelineOptions | None = None, *, name: str | None = None) -> None:
        """Reads the folder's configs alone.

        Raises:
            ConfigError: ``weights`` is neither a folder nor the name of a repository, or the pipeline does not take
                one of the options.
            CheckpointError: the hub does not give it, or it is no image-to-video pipeline.
        """
        self._options = options or PipelineOptions()
        self._folder = PipelineFolder(weights)
        self._call = plan_call(self._folder, self._options)
        self.name = name or self._folder.name
        self._dtype: str = self._options.dtype or self._call.native.dtype

    @property
    def steps(self) -> int:
        """See ``Animator``."""
        return self._call.steps

    @property
    def takes_text(self) -> bool:
        """Whether the text decides anything: Stable Video Diffusion takes none."""
        return self._call.takes_text

    @cached_property
    def settings(self) -> Mapping[str, object]:
        """See ``Animator``."""
        import diffusers

        lora = self._options.lora
        return {
            "pipeline": self._call.class_name,
            "diffusers": diffusers.__version__,
            "weights": hash_pipeline(self._folder),
            "dtype": self._dtype,
            "size": self._call.size,
            "fps": self._call.fps,
            "call": dict(self._call.keywords),
            "guidance": self._call.guider,
            **({"tiled": True} if self._call.native.tiled else {}),
            "lora": None if lora is None else hash_path(lora),
        }

    def animate(self, items: Sequence[BenchmarkItem], seeds: Sequence[int]) -> Iterator[Made | Failed]:
        """See ``Animator``.

        Raises:
            CheckpointError: parts are missing, or their weights are missing or do not fit.
        """
        pipeline = self._pipeline
        for item, seed in zip(items, seeds, strict=True):
            try:
                yield Made(item.id, Clip(self._frames(pipeline, item, seed), self._call.fps, source=self.name), seed)
                continue
            except torch.OutOfMemoryError:
                failed = Failed(item.id, _TOO_LARGE)
            except (MotionFocalError, RuntimeError, ValueError, TypeError) as error:
                kind = "" if isinstance(error, MotionFocalError) else f"{type(error).__name__}: "
                failed = Failed(item.id, f"{kind}{error}")
            _make_room(pipeline)
            yield failed

    def _frames(self, pipeline: Any, item: BenchmarkItem, seed: int) -> Frames:  # noqa: ANN401 - any class of diffusers
        size = self._size(pipeline)
        keywords = dict(self._call.keywords)
        if self._call.takes_size and size is not None:
            keywords |= {"height": size[0], "width": size[1]}
        if self._call.takes_text:
            keywords["prompt"] = item.text
        picture = Image.fromarray(self._picture(item, size))
        device = best_device()
        with torch.random.fork_rng([] if device.type == "cpu" else [device], device_type=device.type):
            torch.manual_seed(seed)
            generator = torch.Generator(_drawing_device(pipeline)).manual_seed(seed)
            made = pipeline(image=picture, generator=generator, output_type="np", **keywords).frames
        return _frames_of(made)

    def _size(self, pipeline: Any) -> Size | None:  # noqa: ANN401 - see above
        """Of the clip; None where the pipeline chooses it by the picture."""
        if self._call.size is not None or not self._call.takes_size:
            return self._call.size
        network, scale = pipeline.transformer.config, pipeline.vae_scale_factor_spatial
        return network.sample_height * scale, network.sample_width * scale

    def _picture(self, item: BenchmarkItem, size: Size | None) -> Frames:
        if size is None or not self._call.native.wide:
            return item.picture(size)
        picture = item.picture()
        height, width = picture.shape[:2]
        scale = max(size[0] / height, size[1] / width)
        return item.picture((max(size[0], round(height * scale)), max(size[1], round(width * scale))))

    @cached_property
    def _pipeline(self) -> Any:  # noqa: ANN401 - see above
        """The pipeline, built part by part: ``from_pretrained`` fills with noise what is missing."""
        call, index = self._call, self._folder.index
        loader = class_of(call.class_name)
        takes = set(signature(loader.__init__).parameters)
        parts = {name: self._part(name) for name in index if name in takes and self._folder.has(name)}
        if call.class_name == "I2VGenXLPipeline":
            _name_text_model(parts["text_encoder"])
        missing = {
            name: None for name in index if name in takes and isinstance(index[name], list) and name not in parts
        }
        values = {name: value for name, value in index.items() if name in takes and not isinstance(value, list)}
        try:
            pipeline = loader(**parts, **missing, **values)
        except (TypeError, ValueError) as error:
            raise CheckpointError(f"{self._folder.folder}: not a whole {call.class_name}: {error}") from error
        pipeline.set_progress_bar_config(disable=True)
        if call.native.tiled:
            pipeline.vae.enable_tiling()
        if call.guider is not None:
            pipeline.guider = pipeline.guider.new(guidance_scale=call.guider)
        if self._options.lora is not None:
            _load_lora(pipeline, self._options.lora)
        return self._placed(pipeline)

    def _part(self, name: str) -> Any:  # noqa: ANN401 - any class of three libraries
        precise = name in self._call.native.precise and self._options.dtype is None
        try:
            return self._folder.load(name, torch.float32 if precise else getattr(torch, self._dtype))
        except ModuleNotFoundError as error:
            library = self._folder.index[name][0]
            raise CheckpointError(
                f"{self._folder.folder}: {name} needs the library {library}, which is not installed"
            ) from error

    def _placed(self, pipeline: Any) -> Any:  # noqa: ANN401 - see above
        device = best_device()  # of the process that animates
        if self._options.offload == "none" or device.type == "cpu":
            return pipeline.to(device)
        if self._options.offload == "model":
            pipeline.enable_model_cpu_offload()
        else:
            pipeline.enable_sequential_cpu_offload()
        return pipeline


def _drawing_device(pipeline: Any) -> torch.device:  # noqa: ANN401 - any class of diffusers
    """Of an item's generator: LTX's pipeline draws the noise that its decoder is given where it works, by the same."""
    conditioned = getattr(getattr(pipeline, "vae", None), "config", {}).get("timestep_conditioning")
    device: torch.device = pipeline._execution_device if conditioned else torch.device("cpu")
    return device


def _make_room(pipeline: Any) -> None:  # noqa: ANN401 - any class of diffusers
    """After a call that failed: parts that offloading left on the GPU go back, and what the call held is given free."""
    pipeline.maybe_free_model_hooks()
    torch.cuda.empty_cache()


def _frames_of(made: Any) -> Frames:  # noqa: ANN401 - what pipelines return
    """Frames uint8 ``[T,H,W,3]`` of a batch of one ``[1,T,H,W,3]`` in [0, 1].

    Raises:
        MediaError: it is something else, or not a number.
    """
    frames = np.asarray(made[0])
    if frames.ndim != 4 or frames.shape[-1] != 3:
        raise MediaError(f"the pipeline gave {list(frames.shape)}, not frames [T,H,W,3]")
    if frames.dtype == np.uint8:
        return frames
    if not np.isfinite(frames).all():
        raise MediaError("the pipeline gave frames that are not numbers; try --set dtype=float32 or bfloat16")
    return np.asarray((frames * 255).round().clip(0, 255).astype(np.uint8))


def _name_text_model(encoder: Any) -> None:  # noqa: ANN401 - a class of transformers
    """I2VGenXLPipeline, which nobody mends any more, looks for CLIP's layers where transformers 4 had them."""
    if not hasattr(encoder, "text_model"):
        vars(encoder)["text_model"] = encoder  # past nn.Module, which would take it for a part of itself


def _load_lora(pipeline: Any, lora: Path) -> None:  # noqa: ANN401 - see above
    """Adapters of one part, or of several as 'motionfocal export' writes them, each in a folder of its name.

    Raises:
        ConfigError: the pipeline takes none, or no weight in there is one of its layers'.
    """
    folder, name = (lora, _LORA) if lora.is_dir() else (lora.parent, lora.name)
    files = [(folder, "transformer")] if (folder / name).is_file() else []
    files += [
        (inside, inside.name) for inside in sorted(folder.iterdir()) if lora.is_dir() and (inside / name).is_file()
    ]
    if not files:
        raise ConfigError(f"--lora {lora}: no {name} in there; name the file")
    for where, part in files:
        module: Any = getattr(pipeline, part, None) or getattr(pipeline, "unet", None)
        try:
            if hasattr(pipeline, "load_lora_weights"):
                more = {} if where == folder else {f"load_into_{part}": True}
                pipeline.load_lora_weights(str(where), weight_name=name, **more)
            elif hasattr(module, "load_lora_adapter"):
                module.load_lora_adapter(str(where), weight_name=name)
            else:
                raise ConfigError(f"--lora: {type(pipeline).__name__} takes no adapters")
        except (ValueError, RuntimeError, KeyError, OSError) as error:
            raise ConfigError(f"--lora {where / name}: {error}") from error
        if not getattr(module, "peft_config", None):
            raise ConfigError(f"--lora {where / name}: none of its weights belongs to a layer of {part}")
