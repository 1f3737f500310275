"""A small text encoder of our own for worlds and tests: words in, token embeddings out, no vocabulary file."""

import re
import zlib
from collections.abc import Sequence

import torch
from torch import Tensor, nn

_WORD = re.compile(r"[\w']+")
PADDING = 0


LENGTH = 16
"""Words a text; the worlds' texts have at most eleven."""
_BUCKETS = 4096


def tokenize(texts: Sequence[str], buckets: int = _BUCKETS, length: int = LENGTH) -> Tensor:
    """Lower-cased words as hash buckets 1..buckets-1, int64 ``[B,length]``, padded with 0.

    CRC-32 gives a word the same bucket on every machine. Words past ``length`` are cut off.
    """
    ids = torch.full((len(texts), length), PADDING, dtype=torch.long)
    for row, text in enumerate(texts):
        words = _WORD.findall(text.lower())[:length]
        for column, word in enumerate(words):
            ids[row, column] = 1 + zlib.crc32(word.encode()) % (buckets - 1)
    return ids


def count_words(text: str) -> int:
    """Words of a text as ``tokenize`` takes them."""
    return len(_WORD.findall(text))


class WordEncoder(nn.Module):
    """Embeds hashed words with their positions and lets them see each other once."""

    def __init__(self, width: int, heads: int = 4) -> None:
        super().__init__()
        self.words = nn.Embedding(_BUCKETS, width)
        self.positions = nn.Parameter(torch.randn(LENGTH, width) * 0.5)
        self.mixer = nn.TransformerEncoderLayer(
            width, heads, 2 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """Token embeddings ``[B,length,width]`` of ``tokenize``d texts ``[B,length]``."""
        return self.mixer(self.words(tokens) + self.positions)
