"""One page that shows a comparison of two models: results in, HTML out. It computes no result of its own."""

from motionfocal.report.contents import (
    Fact,
    Headline,
    ModelClip,
    MotionRow,
    Panel,
    Report,
    ReportItem,
    TrainingCurve,
    TrainingPoint,
    ValidationPoint,
)
from motionfocal.report.page import render, write_report

__all__ = [
    "Fact",
    "Headline",
    "ModelClip",
    "MotionRow",
    "Panel",
    "Report",
    "ReportItem",
    "TrainingCurve",
    "TrainingPoint",
    "ValidationPoint",
    "render",
    "write_report",
]
