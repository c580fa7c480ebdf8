"""Multiclass metrics, exact on all rows.

How sure a model is of the class that it says is a binary score of whether that is the right one,
so calibration is measured as that of binary scores: the "confidence calibration" of Guo et al.,
"On calibration of modern neural networks" (ICML 2017).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from pyspark.sql import functions as F

from lakescore.evaluation.binary import calibration_error, profile_of, ranked_rows
from lakescore.evaluation.ranked_bucket import LOG_LOSS_EPSILON
from lakescore.evaluation.results import ModelResult
from lakescore.evaluation.scored_rows import (
    LABEL,
    SPLIT,
    ScoredRows,
    confidence_column,
    hit_column,
    score_column,
)
from lakescore.matrix import Task

if TYPE_CHECKING:
    from pyspark.sql import Column

    from lakescore.evaluation.ranked_bucket import RankedBucket


def evaluate_multiclass(rows: ScoredRows) -> tuple[ModelResult, ...]:
    """One result a model and split, models within splits. Raises as `metrics.evaluate` does."""
    totals = rows.totals({})
    counts = {split: found["rows"] for split, found in totals.items()}
    by_class = _sums_by_class(rows)
    confidence = [_confidence(rows, model, counts) for model in range(len(rows.models))]
    return tuple(
        _result(name, split, by_class[split], model, confidence[model][split])
        for split in counts
        for model, name in enumerate(rows.models)
    )


def loss_of(score: Column) -> Column:
    """Negative log likelihood of the right class, whose probability is `score`."""
    kept = F.least(F.greatest(score, F.lit(LOG_LOSS_EPSILON)), F.lit(1 - LOG_LOSS_EPSILON))
    return -F.log(kept)


def _sums_by_class(rows: ScoredRows) -> dict[str, list[Mapping[str, Any]]]:
    """Split -> one row for each class that is there."""
    sums = [F.count(F.lit(1)).alias("rows")]
    for model in range(len(rows.models)):
        sums += [
            F.sum(loss_of(F.col(score_column(model)))).alias(f"loss_{model}"),
            F.sum(hit_column(model)).alias(f"hits_{model}"),
            F.sum(confidence_column(model)).alias(f"confidence_{model}"),
        ]
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows.frame.groupBy(SPLIT, LABEL).agg(*sums).collect():
        found.setdefault(row[SPLIT], []).append(row.asDict())
    return found


def _confidence(rows: ScoredRows, model: int, counts: Mapping[str, int]) -> dict[str, RankedBucket]:
    """The rows by how sure the model is, positive where it is right."""
    frame = rows.frame.select(
        F.col(SPLIT),
        F.col(hit_column(model)).alias(LABEL),
        F.col(confidence_column(model)).alias(score_column(0)),
    )
    alone = ScoredRows(frame, Task.BINARY, (rows.models[model],), rows.splits)
    return {split: ranked for (split, _), ranked in ranked_rows(alone, counts).items()}


def _result(
    name: str,
    split: str,
    by_class: Sequence[Mapping[str, Any]],
    model: int,
    confidence: RankedBucket,
) -> ModelResult:
    profile = profile_of(confidence)
    counts, hits, loss, sure = (
        np.array([row[column] for row in by_class], dtype=np.float64)
        for column in ("rows", f"hits_{model}", f"loss_{model}", f"confidence_{model}")
    )
    rows = counts.sum()
    metrics = {
        "log_loss": loss.sum() / rows,
        "accuracy": hits.sum() / rows,
        "balanced_accuracy": (hits / counts).mean(),
        "calibration_error": calibration_error(profile),
        "mean_confidence": sure.sum() / rows,
    }
    values = {metric: float(value) for metric, value in metrics.items()}
    return ModelResult(name, split, int(rows), None, values, profile)
