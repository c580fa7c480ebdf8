"""Regression metrics, exact on all rows, in the one pass that checks them."""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from lakescore.evaluation.results import ModelResult
from lakescore.evaluation.scored_rows import LABEL, ScoredRows, score_column

if TYPE_CHECKING:
    from pyspark.sql import Column


def evaluate_regression(rows: ScoredRows) -> tuple[ModelResult, ...]:
    """One result a model and split, models within splits. Raises as `metrics.evaluate` does."""
    aggregates = {"label_variance": F.var_pop(LABEL)}
    for position in range(len(rows.models)):
        aggregates.update(_error_sums(position))
    totals = rows.totals(aggregates)
    return tuple(
        ModelResult(name, split, found["rows"], None, _metrics(position, found))
        for split, found in totals.items()
        for position, name in enumerate(rows.models)
    )


def _error_sums(model: int) -> dict[str, Column]:
    error = F.col(score_column(model)) - F.col(LABEL)
    return {
        f"error_{model}": F.sum(error),
        f"absolute_{model}": F.sum(F.abs(error)),
        f"squared_{model}": F.sum(error * error),
    }


def _metrics(model: int, sums: Mapping[str, Any]) -> dict[str, float]:
    rows, squared = sums["rows"], sums[f"squared_{model}"]
    return {
        "rmse": sqrt(squared / rows),
        "mae": sums[f"absolute_{model}"] / rows,
        "r2": explained(squared, rows * sums["label_variance"]),
        "bias": sums[f"error_{model}"] / rows,
        "mean_label": sums["label_sum"] / rows,
    }


def explained(squared_errors: float, squared_deviations: float) -> float:
    """R squared; for a constant label 1 when there is no error and 0 otherwise (scikit-learn's)."""
    if squared_deviations == 0:
        return 1.0 if squared_errors == 0 else 0.0
    return 1.0 - squared_errors / squared_deviations
