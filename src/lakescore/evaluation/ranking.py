"""Scores in descending order with running totals, over any number of rows.

A window over all rows of a model would run in one task. Here each model's scores are cut into
buckets at approximate quantiles; a window runs within each bucket, and the totals of the buckets
above, a small table, are added. Where the cuts lie changes nothing but the balance of the work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from pyspark.sql import Window
from pyspark.sql import functions as F

if TYPE_CHECKING:
    import numpy.typing as npt
    from pyspark.sql import Column, DataFrame

_TALLY = (
    "dimension int, code int, model int, bucket int, score double, rows bigint, positives bigint"
)
_SERIES = ["dimension", "code", "model"]
_BUCKET = [*_SERIES, "bucket"]


def rank_scores(
    df: DataFrame,
    *,
    groups: Sequence[str],
    label: str,
    scores: Sequence[str],
    cuts: Sequence[Sequence[float]],
) -> DataFrame:
    """Scored counts, each with all that lies at or above its score, equal scores included.

    A series is (dimension, code, model): the rows where the int column `groups[dimension]` holds
    `code` (null: in no series), with the scores of `scores[model]`, cut at `cuts[model]`
    (ascending). `label` holds 0.0 and 1.0. Gives `score`, `rows` and `positives` (one score may
    come in several parts), `above_rows`, `above_positives`, and the series' `all_rows` and
    `all_positives`.
    """
    tallied = df.select(*groups, label, *scores).mapInArrow(_tally(len(groups), cuts), _TALLY)
    # One shuffle serves the windows and the totals of the buckets.
    placed = tallied.repartition(*_BUCKET)
    at_or_above = (
        Window.partitionBy(*_BUCKET)
        .orderBy(F.desc("score"))
        .rangeBetween(Window.unboundedPreceding, Window.currentRow)
    )
    same_bucket = [F.col(name) == F.col(f"of_{name}") for name in _BUCKET]
    return (
        placed.withColumn("within_rows", F.sum("rows").over(at_or_above))
        .withColumn("within_positives", F.sum("positives").over(at_or_above))
        .join(F.broadcast(_bucket_offsets(placed)), same_bucket)
        .withColumn("above_rows", F.col("within_rows") + F.col("before_rows"))
        .withColumn("above_positives", F.col("within_positives") + F.col("before_positives"))
    )


def rank_sums() -> dict[str, Column]:
    """Aggregates over ranked scores, all of them sums, for the metrics that depend on the order.

    `not_below` counts the pairs of a positive and a negative where the positive scores at least
    as high, `not_above` those where it scores at most as high: see `roc_auc`. `steps` adds the
    precision at each positive, equal scores taken together: average precision x positives.
    """
    rows, positives = F.col("rows"), F.col("positives")
    above_rows, above_positives = F.col("above_rows"), F.col("above_positives")
    return {
        "rows": F.sum(rows),
        "positives": F.sum(positives),
        "score_sum": F.sum(F.col("score") * rows),
        "not_below": F.sum((rows - positives) * above_positives.cast("double")),
        "not_above": F.sum(positives * (above_rows - above_positives).cast("double")),
        "steps": F.sum(positives * above_positives / above_rows),
    }


def roc_auc(not_below: float, not_above: float, pairs: float) -> float:
    """The area under the ROC curve: the share of pairs in the right order, ties counting half.

    With ties in both counts: wins + ties/2 = (not_below + pairs - not_above) / 2, the
    Mann-Whitney statistic (Hanley & McNeil, Radiology 143, 1982).
    """
    return (not_below + pairs - not_above) / 2 / pairs


def _bucket_offsets(placed: DataFrame) -> DataFrame:
    """The totals of each series, and of its buckets with higher scores."""
    series = Window.partitionBy(*_SERIES)
    higher = series.orderBy(F.desc("bucket")).rowsBetween(Window.unboundedPreceding, -1)
    totals = placed.groupBy(*_BUCKET).agg(
        F.sum("rows").alias("bucket_rows"), F.sum("positives").alias("bucket_positives")
    )
    return totals.select(
        # New names: a join of a frame with itself must not have to tell columns apart.
        *[F.col(name).alias(f"of_{name}") for name in _BUCKET],
        F.coalesce(F.sum("bucket_rows").over(higher), F.lit(0)).alias("before_rows"),
        F.coalesce(F.sum("bucket_positives").over(higher), F.lit(0)).alias("before_positives"),
        F.sum("bucket_rows").over(series).alias("all_rows"),
        F.sum("bucket_positives").over(series).alias("all_positives"),
    )


def _tally(
    dimensions: int, cuts: Sequence[Sequence[float]]
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """Rows -> distinct scores of each Arrow batch, so that ties do not pile up in one bucket."""
    edges = [np.asarray(cut, dtype=np.float64) for cut in cuts]

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            labels, *scores = (column.to_numpy() for column in batch.columns[dimensions:])
            for dimension in range(dimensions):
                codes = batch.column(dimension).fill_null(-1).to_numpy()
                for model, score in enumerate(scores):
                    yield _distinct_scores(dimension, model, codes, score, labels, edges[model])

    return run


def _distinct_scores(
    dimension: int,
    model: int,
    codes: npt.NDArray[np.int32],
    scores: npt.NDArray[np.float64],
    labels: npt.NDArray[np.float64],
    edges: npt.NDArray[np.float64],
) -> pa.RecordBatch:
    order = np.lexsort((scores, codes))
    order = order[np.searchsorted(codes[order], 0) :]
    codes, scores, labels = codes[order], scores[order], labels[order]
    new = np.ones(len(order), dtype=bool)
    new[1:] = (codes[1:] != codes[:-1]) | (scores[1:] != scores[:-1])
    starts = np.flatnonzero(new)
    running = np.concatenate(([0], np.cumsum(labels.astype(np.int64))))
    ends = np.append(starts[1:], len(order)).astype(np.int64)
    first = scores[starts]
    arrays = (
        np.full(len(starts), dimension, dtype=np.int32),
        codes[starts].astype(np.int32),
        np.full(len(starts), model, dtype=np.int32),
        np.searchsorted(edges, first, side="right").astype(np.int32),
        first,
        ends - starts,
        running[ends] - running[starts],
    )
    names = ["dimension", "code", "model", "bucket", "score", "rows", "positives"]
    return pa.RecordBatch.from_arrays([pa.array(item) for item in arrays], names=names)
