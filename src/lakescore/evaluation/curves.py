"""Curves, calibration and histograms of a binary model: bounded views of its score profile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lakescore.evaluation.binary import CALIBRATION_BINS, QUANTILE_BINS, SCORE_INTERVALS
from lakescore.evaluation.normal import wilson_interval

if TYPE_CHECKING:
    import numpy.typing as npt

    from lakescore.evaluation.results import ScoreProfile

#: Points of a curve, at most.
MOST_POINTS = 200

Points = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class CalibrationBin:
    """Predicted against actual of one bin of rows, with the interval of the actual mean."""

    predicted: float
    observed: float
    rows: int
    low: float
    high: float


@dataclass(frozen=True)
class Histogram:
    """Rows by value. `edges` are one more than the counts; `counts` has one series a name."""

    edges: tuple[float, ...]
    counts: dict[str, tuple[int, ...]]


def roc_points(profile: ScoreProfile) -> Points:
    """(false positive rate, true positive rate), from (0, 0) to (1, 1): exact points."""
    rows, positives = _above(profile)
    negatives = rows - positives
    points = zip(negatives / negatives[-1], positives / positives[-1], strict=True)
    return ((0.0, 0.0), *((float(x), float(y)) for x, y in points))


def precision_recall_points(profile: ScoreProfile) -> Points:
    """(recall, precision), by falling threshold: exact points."""
    rows, positives = _above(profile)
    points = zip(positives / positives[-1], positives / rows, strict=True)
    return tuple((float(x), float(y)) for x, y in points)


def gain_points(profile: ScoreProfile) -> Points:
    """(share of the rows, share of the positives among them), highest scores first."""
    rows, positives = _above(profile)
    points = zip(rows / rows[-1], positives / positives[-1], strict=True)
    return ((0.0, 0.0), *((float(x), float(y)) for x, y in points))


def _above(profile: ScoreProfile) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Rows and positives down to at most `MOST_POINTS` - 1 thresholds, evenly spread over rows."""
    place = profile.quantile * (MOST_POINTS - 1) // QUANTILE_BINS
    last = np.append(np.flatnonzero(np.diff(place)), len(place) - 1)
    return profile.rows.cumsum()[last], profile.positives.cumsum()[last]


def calibration_table(
    profile: ScoreProfile, *, bins: int = CALIBRATION_BINS, confidence: float = 0.95
) -> tuple[CalibrationBin, ...]:
    """Bins of equally many rows by ascending score, with Wilson intervals.

    Equal scores share a bin, so there may be fewer than `bins`, a divisor of 2000.
    """
    place = profile.quantile // (QUANTILE_BINS // bins)
    rows, positives, scores = (
        np.bincount(place, weights=values)
        for values in (profile.rows, profile.positives, profile.score_sum)
    )
    return tuple(
        CalibrationBin(
            float(scores[index] / rows[index]),
            float(positives[index] / rows[index]),
            int(rows[index]),
            *wilson_interval(float(positives[index]), int(rows[index]), confidence=confidence),
        )
        for index in np.flatnonzero(rows)[::-1]
    )


def score_histogram(
    profile: ScoreProfile, names: tuple[str, str] = ("negative", "positive")
) -> Histogram:
    """Negative and positive rows in equal intervals of [0, 1], under the two `names`."""
    edges = tuple(index / SCORE_INTERVALS for index in range(SCORE_INTERVALS + 1))
    by_class = dict(zip(names, (profile.rows - profile.positives, profile.positives), strict=True))
    counts = {
        name: np.bincount(profile.interval, weights=values, minlength=SCORE_INTERVALS)
        for name, values in by_class.items()
    }
    return Histogram(edges, {name: tuple(map(int, found)) for name, found in counts.items()})
