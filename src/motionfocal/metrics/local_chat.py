"""A vision-language model of transformers on this machine, asked as servers are."""

import io
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from motionfocal.errors import CheckpointError, ConfigError, UnavailableError
from motionfocal.metrics.backbones.weights import BackboneSettings, fingerprint
from motionfocal.metrics.chat import Prompt, Reply


class TransformersChat:
    """Asks a model that ``AutoModelForImageTextToText`` knows, by its own chat template, taking the likeliest tokens.

    Nothing holds the answer to a schema here: the words have to ask for its form.
    """

    def __init__(self, weights: str, settings: BackboneSettings | None = None) -> None:
        """``weights`` is a folder, or a repository's name; the model is loaded at the first question.

        Of ``settings`` the device counts, and whether something may be fetched.
        """
        self.weights = weights
        self.settings = settings or BackboneSettings()

    @cached_property
    def model(self) -> str:
        """The repository's name; of a folder its name with a hash of all that is in it."""
        folder = Path(self.weights)
        return f"{folder.name}@{fingerprint([folder])[:12]}" if folder.is_dir() else self.weights

    @property
    def where(self) -> str:
        """See ``Chat``."""
        return f"{self.model} on {self._device}"

    @property
    def _device(self) -> torch.device:
        return torch.device(self.settings.device or ("cuda" if torch.cuda.is_available() else "cpu"))

    @torch.inference_mode()
    def ask(self, prompt: Prompt, about: str) -> Reply:
        """See ``Chat``. Raises UnavailableError and CheckpointError when the model cannot be loaded."""
        if prompt.top_logprobs:
            raise ConfigError("top_logprobs: only servers give them; ask for a text")
        processor, network = self._loaded
        inputs = processor.apply_chat_template(
            [{"role": "user", "content": [_part(part) for part in prompt.content]}],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        ).to(network.device, dtype=network.dtype)
        tokens = network.generate(**inputs, do_sample=False, max_new_tokens=prompt.max_tokens)
        answer = tokens[:, inputs["input_ids"].shape[1] :]
        return Reply(text=processor.batch_decode(answer, skip_special_tokens=True)[0])

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        """The processor, and the model in evaluation mode on its device."""
        from transformers import AutoModelForImageTextToText, AutoProcessor

        local = {"local_files_only": self.settings.is_offline}
        try:
            processor = AutoProcessor.from_pretrained(self.weights, **local)
            network, report = AutoModelForImageTextToText.from_pretrained(
                self.weights, dtype="auto", output_loading_info=True, **local
            )
        except (OSError, ValueError) as error:
            raise UnavailableError(f"{self.weights}: no vision-language model to load here: {error}") from error
        if missing := sorted(map(str, report["missing_keys"])):
            raise CheckpointError(f"{self.weights}: lacks weights: {', '.join(missing[:3])}; get the whole checkpoint")
        return processor, network.eval().to(self._device)


def _part(part: str | bytes) -> dict[str, object]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    return {"type": "image", "image": Image.open(io.BytesIO(part)).convert("RGB")}
