"""Dropout that is drawn for each clip, so that a clip loses the same whatever part of the batch it comes in."""

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from motionfocal.training.objective import ClipSeeds


class ClipDropouts:
    """The dropout layers of a network. ``clips`` are those of the pass at hand, whose backward pass included."""

    def __init__(self, network: nn.Module) -> None:
        """Replace the layers in place; their numbers are those of their order in the network."""
        self.clips: ClipSeeds | None = None
        for number, (parent, name, layer) in enumerate(_layers(network)):
            setattr(parent, name, _ClipDropout(layer.p, number, self))


def _layers(network: nn.Module) -> list[tuple[nn.Module, str, nn.Dropout]]:
    """All layers that drop something, with their parents and names."""
    found = [(parent, name, child) for parent in network.modules() for name, child in parent.named_children()]
    return [(parent, name, child) for parent, name, child in found if type(child) is nn.Dropout and child.p > 0]


class _ClipDropout(nn.Dropout):
    """Drops of each clip what its seed, the step and the layer's number say, and nothing else.

    The mask is drawn anew from these alone each time: with gradient checkpointing, it is the same in both passes.
    """

    def __init__(self, p: float, number: int, dropouts: ClipDropouts) -> None:
        super().__init__(p)
        self._number, self._dropouts = number, dropouts

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """``input`` ``[B*n,...]``, a clip's rows being neighbours; of any other, all rows are drawn together."""
        clips = self._dropouts.clips
        if not self.training or clips is None or len(input) % len(clips.clips):
            return F.dropout(input, self.p, self.training)
        kept = torch.empty(input.shape, dtype=torch.bool, device=input.device)
        for rows, seed in zip(kept.chunk(len(clips.clips)), clips.dropout_seeds(self._number), strict=True):
            rows.bernoulli_(1 - self.p, generator=Generator(input.device).manual_seed(seed))
        return input * kept / (1 - self.p)
