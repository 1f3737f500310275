"""OpenCLIP's tokenizer as transformers' ``CLIPTokenizer``: 77 tokens, padded with token 0, the end token kept."""

import gzip
import html
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import ftfy
from torch import Tensor
from transformers import CLIPTokenizer

from motionfocal.errors import CheckpointError, UnavailableError

LENGTH = 77
_TOKENS = 49_408
_MERGES = _TOKENS - 2 * 256 - 2  # the rest are bytes, bytes that end a word, and two special tokens


def build_tokenizer(folder: Path | None = None) -> CLIPTokenizer:
    """From a folder in transformers' layout, or else from the vocabulary that open_clip_torch brings along.

    Raises:
        CheckpointError: the folder holds no CLIP tokenizer.
        UnavailableError: no folder is given and open_clip_torch is not installed.
    """
    if folder is None:
        vocabulary, merges = _open_clip_vocabulary()
        return CLIPTokenizer(vocab=vocabulary, merges=merges, **_PADDED)
    try:
        tokenizer = CLIPTokenizer.from_pretrained(folder, **_PADDED)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folder}: no CLIP tokenizer can be read here: {error}") from error
    if len(tokenizer) != _TOKENS:  # an empty folder gives an empty tokenizer
        raise CheckpointError(f"{folder}: a CLIP tokenizer has {_TOKENS} tokens, this one {len(tokenizer)}")
    return tokenizer


# Token 0 is "!". Without the last setting, padding with it would turn every "!" of a text into padding.
_PADDED = {"pad_token": "!", "model_max_length": LENGTH, "split_special_tokens": True}


def tokenize(tokenizer: CLIPTokenizer, texts: Sequence[str]) -> Tensor:
    """Tokens ``[B,77]``, those that ``open_clip.tokenize`` gives."""
    clean = [html.unescape(html.unescape(ftfy.fix_text(text))) for text in texts]
    return tokenizer(clean, padding="max_length", truncation=True, max_length=LENGTH, return_tensors="pt").input_ids


def _open_clip_vocabulary() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Numbers of the tokens: bytes, bytes that end a word, merges, start and end; and the merges by rank."""
    try:
        packed = (files("open_clip") / "bpe_simple_vocab_16e6.txt.gz").read_bytes()
    except (ModuleNotFoundError, FileNotFoundError) as error:
        raise UnavailableError(
            "the tokenizer's vocabulary is not here: pip install 'motionfocal[videocrafter]', or give the folder of a"
            " CLIP tokenizer (--tokenizer)"
        ) from error
    lines = gzip.decompress(packed).decode().split("\n")[1 : _MERGES + 1]
    merges = [(first, second) for first, second in (line.split() for line in lines)]
    letters = _byte_letters()
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), *("".join(merge) for merge in merges)]
    return {token: number for number, token in enumerate([*tokens, "<|startoftext|>", "<|endoftext|>"])}, merges


def _byte_letters() -> list[str]:
    """A printable letter for each byte: itself where it is one, else one from 256 on (GPT-2's byte-level BPE)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    return [chr(code) for code in (*printable, *range(256, 512 - len(printable)))]
