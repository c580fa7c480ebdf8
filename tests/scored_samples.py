"""Small samples of labels and scores, and their profiles, in memory."""

from __future__ import annotations

import numpy as np

from lakescore.evaluation import binary
from lakescore.evaluation.ranked_bucket import Place, RankedBucket, rank_bucket
from lakescore.evaluation.results import ScoreProfile


def sample(rows: int, seed: int, noise: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Labels with a base rate near 0.2, and scores that are informative but not calibrated."""
    rng = np.random.default_rng(seed)
    signal = rng.normal(size=rows)
    labels = (rng.random(rows) < 1 / (1 + np.exp(1.6 - signal))).astype(float)
    return labels, 1 / (1 + np.exp(1.6 - signal - noise * rng.normal(size=rows)))


def ranked(labels: np.ndarray, scores: np.ndarray) -> RankedBucket:
    """All rows in one bucket."""
    counts = np.ones(len(labels), dtype=np.int64), labels.astype(np.int64)
    place = Place(0, 0, len(labels))
    return rank_bucket(scores, *counts, place, binary.PROFILE_RESOLUTION)


def profile_of(labels: np.ndarray, scores: np.ndarray) -> ScoreProfile:
    return binary.profile_of(ranked(labels, scores))
