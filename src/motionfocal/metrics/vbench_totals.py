"""VBench-I2V's totals. A clip that stands still beats every model in them; they stand beside that row or nowhere."""

from collections.abc import Mapping
from dataclasses import dataclass

from motionfocal.errors import ConfigError

QUALITY = {
    "subject_consistency": (0.1462, 1.0, 1.0),
    "background_consistency": (0.2615, 1.0, 1.0),
    "motion_smoothness": (0.7060, 0.9975, 1.0),
    "dynamic_degree": (0.0, 1.0, 0.5),
    "aesthetic_quality": (0.0, 1.0, 1.0),
    "imaging_quality": (0.0, 1.0, 1.0),
}
"""By dimension: the value that counts 0, the value that counts 1, the weight (VBench, scripts/constant.py)."""

I2V = {
    "camera_motion": (0.0, 1.0, 0.1),
    "i2v_subject": (0.1462, 1.0, 1.0),
    "i2v_background": (0.2615, 1.0, 1.0),
}


@dataclass(frozen=True)
class Totals:
    """In percent."""

    quality: float
    i2v: float
    total: float


def vbench_totals(dimensions: Mapping[str, float]) -> Totals:
    """VBench-I2V's quality, I2V and total score of a model's nine dimensions, each 0..1 (not percent).

    ``z = (v - min)/(max - min)``, weighted means over the six and the three dimensions, the total their mean; nothing
    is clipped, and temporal flickering is no part (scripts/cal_i2v_final_score.py). Raises ConfigError for a dimension
    that is missing (VBench counts it as 0) or out of 0..1.
    """
    for name in (*QUALITY, *I2V):
        if name not in dimensions:
            raise ConfigError(f"vbench totals: no {name}; measure all of {', '.join((*QUALITY, *I2V))}")
        if not 0 <= dimensions[name] <= 1:
            raise ConfigError(f"vbench totals: {name} is {dimensions[name]}; give shares of 1, not percent")
    quality, i2v = _mean(dimensions, QUALITY), _mean(dimensions, I2V)
    return Totals(100 * quality, 100 * i2v, 50 * (quality + i2v))


def _mean(dimensions: Mapping[str, float], table: Mapping[str, tuple[float, float, float]]) -> float:
    scores = ((dimensions[name] - low) / (high - low) * weight for name, (low, high, weight) in table.items())
    return sum(scores) / sum(weight for _, _, weight in table.values())
