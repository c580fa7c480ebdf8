"""Closed-form intervals, for numbers that are only shown and do not decide."""

from __future__ import annotations

from math import sqrt
from statistics import NormalDist


def z_score(confidence: float) -> float:
    """How many standard errors a two-sided interval reaches to each side."""
    return NormalDist().inv_cdf(0.5 + confidence / 2)


def wilson_interval(
    positives: float, rows: int, *, confidence: float = 0.95
) -> tuple[float, float]:
    """The score interval of a share (Wilson, JASA 22, 1927)."""
    z = z_score(confidence)
    share = positives / rows
    middle = share + z * z / (2 * rows)
    reach = z * sqrt(share * (1 - share) / rows + (z / (2 * rows)) ** 2)
    scale = 1 + z * z / rows
    return max(0.0, (middle - reach) / scale), min(1.0, (middle + reach) / scale)


def hanley_mcneil_interval(
    auc: float, positives: int, negatives: int, *, confidence: float = 0.95
) -> tuple[float, float]:
    """The interval of an area under the ROC curve (Hanley & McNeil, Radiology 143, 1982)."""
    both_above = auc / (2 - auc)
    both_below = 2 * auc * auc / (1 + auc)
    variance = (
        auc * (1 - auc)
        + (positives - 1) * (both_above - auc * auc)
        + (negatives - 1) * (both_below - auc * auc)
    ) / (positives * negatives)
    reach = z_score(confidence) * sqrt(max(0.0, variance))
    return max(0.0, auc - reach), min(1.0, auc + reach)


def mean_interval(
    mean: float, deviation: float, rows: int, *, confidence: float = 0.95
) -> tuple[float, float]:
    """The interval of a mean by the central limit theorem; `deviation` is of single rows."""
    reach = z_score(confidence) * deviation / sqrt(rows)
    return mean - reach, mean + reach
