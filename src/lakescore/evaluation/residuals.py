"""How a regression model errs: predicted against actual, and the histogram of its errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from lakescore.evaluation.curves import CalibrationBin, Histogram
from lakescore.evaluation.normal import mean_interval
from lakescore.evaluation.results import ALL_ROWS, Evaluation
from lakescore.evaluation.scored_rows import LABEL, ScoredRows

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_BINS = 20
_INTERVALS = 40
_ACCURACY = 1000


@dataclass(frozen=True)
class Residuals:
    """predicted_vs_actual: bins of about equally many rows by ascending prediction. errors:
    prediction minus label; the outermost counts hold all that lies beyond the edges."""

    predicted_vs_actual: tuple[CalibrationBin, ...]
    errors: Histogram


def residuals(
    df: DataFrame, evaluation: Evaluation, *, model: str, split: str = ALL_ROWS
) -> Residuals:
    """The errors of one model on one split of the rows of `evaluation`; reads `df` twice.

    The edges are approximate quantiles: for reading, not for deciding.
    Raises LakescoreError for a model or split that was not evaluated.
    """
    rows = ScoredRows.evaluated(df, evaluation, models=[model], split=split)
    (score,) = rows.score_columns
    frame = rows.frame.select(score, LABEL, (F.col(score) - F.col(LABEL)).alias("error"))
    cuts, low, high = _edges(frame, score)
    found = _counted(frame, score, cuts, (low, high))
    width = (high - low) / _INTERVALS
    edges = tuple(low + width * index for index in range(_INTERVALS + 1))
    counts = tuple(
        sum(row["rows"] for row in found if row["interval"] == index) for index in range(_INTERVALS)
    )
    return Residuals(_bins(found), Histogram(edges, {"rows": counts}))


def _counted(
    frame: DataFrame, score: str, cuts: Sequence[float], ends: tuple[float, float]
) -> list[Any]:
    """Sums by bin of the prediction and interval of the error: at most their product of rows."""
    low, high = ends
    interval = F.floor((F.col("error") - low) / ((high - low) / _INTERVALS))
    place = sum(((F.col(score) >= cut).cast("int") for cut in cuts), F.lit(0))
    grouped = frame.groupBy(
        place.alias("place"),
        F.least(F.greatest(interval, F.lit(0)), F.lit(_INTERVALS - 1)).alias("interval"),
    )
    sums = grouped.agg(
        F.count(F.lit(1)).alias("rows"),
        F.sum(score).alias("predicted"),
        F.sum(LABEL).alias("actual"),
        F.sum(F.col(LABEL) * F.col(LABEL)).alias("squares"),
    )
    return list(sums.collect())


def _edges(frame: DataFrame, score: str) -> tuple[Sequence[float], float, float]:
    shares = [step / _BINS for step in range(1, _BINS)]
    (cuts, ends), *_ = frame.agg(
        F.percentile_approx(score, shares, _ACCURACY),
        F.percentile_approx("error", [0.01, 0.99], _ACCURACY),
    ).collect()
    low, high = ends
    if low == high:
        low, high = low - 0.5, high + 0.5
    return sorted(set(cuts)), low, high


def _bins(found: Sequence[Any]) -> tuple[CalibrationBin, ...]:
    bins = []
    for place in sorted({row["place"] for row in found}):
        parts = [row for row in found if row["place"] == place]
        rows, predicted, actual, squares = (
            sum(row[name] for row in parts) for name in ("rows", "predicted", "actual", "squares")
        )
        mean = actual / rows
        deviation = sqrt(max(0.0, squares / rows - mean * mean))
        interval = mean_interval(mean, deviation, rows)
        bins.append(CalibrationBin(predicted / rows, mean, rows, *interval))
    return tuple(bins)
