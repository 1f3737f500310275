"""What the tests of the network metrics share: clips, samples, and small random networks of the real classes."""

import numpy as np
import open_clip
import timm
import torch
from torch import nn

from motionfocal.benchmarks import BenchmarkItem
from motionfocal.metrics.backbones import Backbone, BackboneSettings
from motionfocal.metrics.backbones.images import ClipModel, DinoFeatures
from motionfocal.metrics.frame import Frame
from motionfocal.metrics.metric import Sample
from motionfocal.video import write_image

TEXTS = ("a dog runs, camera pans left", "a dog sits down")


def moving(rng, frames=5, height=40, width=56):
    """Frames uint8 of a noise that slides by one pixel a frame."""
    ground = rng.integers(0, 256, (height, width + frames, 3), np.uint8)
    return np.stack([ground[:, i : i + width] for i in range(frames)])


def sample_of(folder, picture, text=TEXTS[0], fps=8.0):
    path = folder / "picture.png"
    if not path.exists():
        write_image(path, picture)
    items = tuple(BenchmarkItem(str(i), "picture", path, each) for i, each in enumerate(TEXTS))
    return Sample("model", items[0], text, items, fps, 5)


def watched(metric, sample, clip):
    """The values of a clip, seen frame by frame."""
    observer, previous = metric.begin(sample), None
    for index, rgb in enumerate(clip):
        previous = Frame(index, rgb, previous)
        observer.see(previous)
    return observer.values()


def scored(scorer, sample, clip, texts):
    """The scores of texts for a clip, seen frame by frame."""
    scores, previous = scorer.begin(sample), None
    for index, rgb in enumerate(clip):
        previous = Frame(index, rgb, previous)
        scores.see(previous)
    return scores.scores(texts)


class FixedBuild:
    """Builds one network that a test made."""

    def __init__(self, network):
        self.network = network

    def __call__(self, paths):
        return self.network


def backbone_of(network, batch=3, **settings):
    return Backbone("tiny", FixedBuild(network), settings=BackboneSettings(batch=batch, device="cpu", **settings))


def tiny_vit(depth=2):
    torch.manual_seed(0)
    vit = timm.create_model("vit_tiny_patch16_224", pretrained=False, num_classes=0, depth=depth)
    nn.init.normal_(vit.pos_embed, std=0.5)
    return vit


def tiny_dino():
    return DinoFeatures(tiny_vit())


TINY_CLIP = {
    "embed_dim": 32,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 224, "layers": 2, "width": 64, "patch_size": 32},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}


def tiny_clip():
    torch.manual_seed(0)
    network = open_clip.CLIP(**TINY_CLIP)
    return ClipModel(network, open_clip.get_tokenizer("ViT-B-32"))
