"""Read, write, resize and sample clips and images; the only room that decodes or encodes."""

from motionfocal.video.clip import Clip, Frames, resize_and_crop
from motionfocal.video.files import content_of
from motionfocal.video.image import read_image, write_image
from motionfocal.video.reader import VideoInfo, iter_frames, probe, read_clip
from motionfocal.video.writer import write_clip

__all__ = [
    "Clip",
    "Frames",
    "VideoInfo",
    "content_of",
    "iter_frames",
    "probe",
    "read_clip",
    "read_image",
    "resize_and_crop",
    "write_clip",
    "write_image",
]
