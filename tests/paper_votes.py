"""Votes whose item majorities and reasons are the counts behind the paper's Figure 4."""

import numpy as np

from motionfocal.study.analysis.votes import comparison_id
from motionfocal.study.protocol import REASONS, Judgement

MODEL = "MotiF"
ITEMS, IMAGES, VOTES, RATERS = 320, 88, 5, 40

FIGURE_4 = {
    "DynamiCrafter": ((60.3, 39.7), (12.8, 11.2), (36.0, 17.6), (27.7, 20.0), (19.9, 21.4)),
    "VideoCrafter": ((86.6, 13.4), (48.2, 6.4), (46.4, 8.5), (37.3, 6.6), (34.8, 7.9)),
    "Cinemo": ((66.6, 33.4), (16.3, 11.2), (41.1, 15.4), (39.3, 15.6), (24.3, 18.8)),
    "I2VGen-XL": ((77.2, 22.8), (33.9, 11.0), (39.5, 14.5), (30.4, 11.8), (39.6, 12.4)),
    "SEINE": ((72.5, 27.5), (27.1, 10.7), (41.3, 15.7), (32.1, 12.8), (34.3, 13.1)),
    "Cond-leak": ((62.5, 37.5), (16.6, 11.4), (40.5, 16.5), (33.5, 20.1), (19.8, 22.3)),
    "TI2V-Zero": ((84.7, 15.3), (36.8, 4.9), (39.2, 14.0), (38.3, 8.6), (55.8, 5.8)),
    "AnimateAnything": ((68.1, 31.9), (14.8, 10.0), (42.4, 14.8), (39.6, 13.5), (23.3, 16.8)),
    "ConsistI2V": ((68.8, 31.2), (23.5, 10.3), (35.8, 20.0), (28.4, 16.2), (33.4, 12.2)),
}
"""Baseline: per cent for MotiF and for it, of the TI2V score and of the four reasons in the order of REASONS."""


def paper_votes(seed: int = 0) -> list[Judgement]:
    """9 baselines x 320 items x 5 votes: majorities are 5-0, 4-1 and 3-2 in turn, sides and reasons are drawn."""
    rng = np.random.default_rng(seed)
    return [vote for number, baseline in enumerate(FIGURE_4) for vote in _against(baseline, number, rng)]


def _against(baseline: str, number: int, rng: np.random.Generator) -> list[Judgement]:
    score, *reasons = FIGURE_4[baseline]
    wins = round(score[0] * ITEMS / 100)
    won = rng.permutation(np.arange(ITEMS) < wins)
    support = 5 - np.arange(ITEMS) % 3  # votes for the winner
    for_model = np.where(won, support, VOTES - support)
    prefers = np.arange(VOTES) < for_model[:, None]  # [items, votes]
    given = {side: _reasons(prefers == (side == 0), [share[side] for share in reasons], rng) for side in (0, 1)}
    votes = []
    for item in range(ITEMS):
        for k in range(VOTES):
            chosen = MODEL if prefers[item, k] else baseline
            left, right = (MODEL, baseline) if rng.random() < 0.5 else (baseline, MODEL)
            votes.append(
                Judgement(
                    comparison=comparison_id(f"item-{item:03d}", left, right),
                    item=f"item-{item:03d}",
                    image=f"image-{item * IMAGES // ITEMS:02d}",
                    left_model=left,
                    right_model=right,
                    rater=f"r{(item + number + 8 * k) % RATERS:02d}",
                    preference="left" if left == chosen else "right",
                    reasons=given[int(chosen != MODEL)].get((item, k), ()),
                    kind="person",
                )
            )
    return votes


def _reasons(chose: np.ndarray, percents: list[float], rng: np.random.Generator) -> dict[tuple[int, int], tuple]:
    """Who of those that ``chose`` [items, votes] a side gave which reasons, as often as ``percents`` of votes say."""
    places = np.argwhere(chose)
    found = {tuple(place): () for place in places.tolist()}
    for reason, percent in zip(REASONS, percents, strict=True):
        count = round(percent * ITEMS * VOTES / 100)
        for place in rng.permutation(places)[:count].tolist():
            found[tuple(place)] += (reason,)
    return found
