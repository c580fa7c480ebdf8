"""How a model does on the rows that share one value of a column."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from lakescore.evaluation.binary import bucket_count, position_in
from lakescore.evaluation.multiclass import loss_of
from lakescore.evaluation.normal import hanley_mcneil_interval
from lakescore.evaluation.ranked_bucket import RankedBucket, Resolution
from lakescore.evaluation.ranking import Ranking, rank
from lakescore.evaluation.results import ALL_ROWS, Evaluation, ScoreProfile
from lakescore.evaluation.scored_rows import (
    LABEL,
    ScoredRows,
    confidence_column,
    hit_column,
    require_columns,
    score_column,
)
from lakescore.evaluation.top_values import TopValues, as_text, top_values
from lakescore.matrix import Task

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

#: How the values beyond the most frequent ones are called, taken together.
OTHER = "(other)"
_TOP = 20


@dataclass(frozen=True)
class Segment:
    """One model on the rows with one value. Means are of the label and of the score.

    metrics: roc_auc and average_precision (left out where the rows have one class), log_loss and
    accuracy of several classes, or rmse, mae and bias. low, high: the Hanley-McNeil interval of
    roc_auc, where there is one. Of several classes the means are of whether the class that is said
    is the right one, and of its probability.
    """

    value: str
    model: str
    rows: int
    positives: int | None
    mean_label: float
    mean_prediction: float
    metrics: Mapping[str, float]
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class SegmentTable:
    """The segments of one column, most rows first, `OTHER` last; it holds `left_out` values."""

    column: str
    split: str
    left_out: int
    segments: tuple[Segment, ...]

    def describe(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


def evaluate_segments(
    df: DataFrame,
    evaluation: Evaluation,
    *,
    columns: Sequence[str],
    models: Sequence[str] = (),
    split: str = ALL_ROWS,
    confidence: float = 0.95,
) -> tuple[SegmentTable, ...]:
    """The 20 largest segments of each column, and the rest as one, for `models` (default: all).

    `df` holds the rows of `evaluation`. One job counts values, one evaluates all segments of all
    columns and models: exact, as the metrics of all rows are.
    Raises ColumnMissing; LakescoreError for a model or split that was not evaluated.
    """
    if not columns:
        return ()
    require_columns(df, columns, "the segment table")
    models = tuple(models or evaluation.scores)
    results = [evaluation.result(model, split) for model in models]
    rows = ScoredRows.evaluated(
        df,
        evaluation,
        models=models,
        split=split,
        keep={_value_column(index): as_text(name) for index, name in enumerate(columns)},
    )
    names = [_value_column(index) for index in range(len(columns))]
    counted = top_values(rows.frame, names, top=_TOP)
    tops = [counted[name] for name in names]
    coded = rows.frame.select(
        *[_code_of(name, top).alias(name) for name, top in zip(names, tops, strict=True)],
        LABEL,
        *rows.statistic_columns,
    )
    if evaluation.task is Task.BINARY:
        cuts = tuple(_cuts(result.profile) for result in results if result.profile is not None)
        ranking = Ranking(tuple(names), LABEL, rows.score_columns, cuts, Resolution())
        found = _binary_segments(coded, ranking, confidence)
    else:
        found = _segments_of_means(coded, names, _MEANS[evaluation.task], len(models))
    return tuple(
        SegmentTable(
            column,
            split,
            max(0, tops[index].distinct - _TOP),
            tuple(_named(found, index, tops[index], models)),
        )
        for index, column in enumerate(columns)
    )


def _value_column(index: int) -> str:
    return f"segment_{index}"


def _code_of(column: str, top: TopValues) -> Column:
    values = [value for value, _ in top.values]
    return F.coalesce(position_in(column, values), F.lit(len(values)))


def _cuts(profile: ScoreProfile) -> list[float]:
    """Bounds of buckets of about equally many rows, ascending."""
    ascending = profile.lowest[::-1]
    buckets = bucket_count(int(profile.rows.sum()))
    return [float(ascending[len(ascending) * step // buckets]) for step in range(1, buckets)]


def _named(
    found: Mapping[tuple[int, int, int], Mapping[str, Any]],
    dimension: int,
    top: TopValues,
    models: Sequence[str],
) -> list[Segment]:
    values = [*(value for value, _ in top.values), OTHER]
    return [
        Segment(value=value, model=name, **found[dimension, code, model])
        for code, value in enumerate(values)
        for model, name in enumerate(models)
        if (dimension, code, model) in found
    ]


def _binary_segments(
    coded: DataFrame, ranking: Ranking, confidence: float
) -> dict[tuple[int, int, int], dict[str, Any]]:
    found = rank(coded, ranking)
    return {series: _binary_segment(ranked, confidence) for series, ranked in found.items()}


def _binary_segment(ranked: RankedBucket, confidence: float) -> dict[str, Any]:
    rows, positives, auc = ranked.rows, ranked.positives, ranked.roc_auc
    segment = {
        "rows": rows,
        "positives": positives,
        "mean_label": positives / rows,
        "mean_prediction": float(ranked.column("score_sum").sum()) / rows,
        "metrics": {},
    }
    if auc is None:
        return segment
    low, high = hanley_mcneil_interval(auc, positives, rows - positives, confidence=confidence)
    metrics = {"roc_auc": auc, "average_precision": ranked.average_precision}
    return {**segment, "metrics": metrics, "low": low, "high": high}


def _regression_means(model: int) -> dict[str, Column]:
    score = F.col(score_column(model))
    error = score - F.col(LABEL)
    return {
        "label": F.col(LABEL),
        "prediction": score,
        "squared": error * error,
        "mae": F.abs(error),
        "bias": error,
    }


def _multiclass_means(model: int) -> dict[str, Column]:
    hit = F.col(hit_column(model))
    return {
        "label": hit,
        "prediction": F.col(confidence_column(model)),
        "log_loss": loss_of(F.col(score_column(model))),
        "accuracy": hit,
    }


#: What is averaged over the rows of a segment.
_MEANS = {Task.REGRESSION: _regression_means, Task.MULTICLASS: _multiclass_means}


def _segments_of_means(
    coded: DataFrame,
    codes: Sequence[str],
    means_of: Callable[[int], dict[str, Column]],
    models: int,
) -> dict[tuple[int, int, int], dict[str, Any]]:
    pairs = [
        F.struct(F.lit(dimension).alias("dimension"), F.col(code).alias("code"))
        for dimension, code in enumerate(codes)
    ]
    averages = [
        F.avg(column).alias(f"{name}_{model}")
        for model in range(models)
        for name, column in means_of(model).items()
    ]
    pairwise = coded.withColumn("pair", F.explode(F.array(*pairs)))
    sums = [F.count(F.lit(1)).alias("rows"), *averages]
    found = pairwise.groupBy("pair.dimension", "pair.code").agg(*sums).collect()
    return {
        (row["dimension"], row["code"], model): _segment_of_means(
            row["rows"], {name: row[f"{name}_{model}"] for name in means_of(model)}
        )
        for row in found
        for model in range(models)
    }


def _segment_of_means(rows: int, means: dict[str, float]) -> dict[str, Any]:
    label, prediction = means.pop("label"), means.pop("prediction")
    if "squared" in means:
        means = {"rmse": sqrt(means.pop("squared")), **means}
    return {
        "rows": rows,
        "positives": None,
        "mean_label": label,
        "mean_prediction": prediction,
        "metrics": means,
    }
