"""Ranks the scores of many models and groups of rows at once, over any number of rows.

A global sort or window would run in one task. Here each model's scores are cut into buckets at
approximate quantiles; what lies in higher buckets is a small table of totals; and each bucket is
ranked on its own, in executors. Where the cuts lie changes nothing but the balance of the work.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pyspark import StorageLevel
from pyspark.sql import Window
from pyspark.sql import functions as F

from lakescore.evaluation.ranked_bucket import COLUMNS, RankedBucket, rank_bucket

if TYPE_CHECKING:
    import numpy.typing as npt
    from pyspark.sql import DataFrame

    Batches = Iterator[pa.RecordBatch]

_SERIES = ("dimension", "code", "model")
_BUCKET = (*_SERIES, "bucket")
_KEYS = "dimension int, code int, model int, bucket int"
_TALLY = f"{_KEYS}, rows bigint, positives bigint, scores binary"
_RANKED = f"{_KEYS}, groups binary, sums binary"
_PART = np.dtype([("score", "<f8"), ("rows", "<i4"), ("positives", "<i4")])


@dataclass(frozen=True)
class Ranking:
    """What to rank. A series is (dimension, code, model): the rows where the int column
    `groups[dimension]` holds `code` (null: in no series), with the scores of `scores[model]`.

    cuts: for each model the ascending scores that bound its buckets. quantiles, intervals: how
    finely `RankedBucket` groups the scores.
    """

    groups: tuple[str, ...]
    label: str
    scores: tuple[str, ...]
    cuts: tuple[Sequence[float], ...]
    quantiles: int = 1
    intervals: int = 1


def rank(df: DataFrame, ranking: Ranking) -> dict[tuple[int, int, int], RankedBucket]:
    """The ranked scores of each series. Labels hold 0.0 and 1.0, scores are finite.

    Reads `df` once. The driver gets at most `quantiles + intervals + buckets` groups a series.
    """
    columns = [*ranking.groups, ranking.label, *ranking.scores]
    tally = partial(_tally, len(ranking.groups), [np.asarray(cut) for cut in ranking.cuts])
    placed = df.select(*columns).mapInArrow(tally, _TALLY).repartition(*_BUCKET)
    placed = placed.persist(StorageLevel.MEMORY_AND_DISK)
    try:
        rows = _ranked(placed, ranking).collect()
    finally:
        placed.unpersist()
    found: dict[tuple[int, int, int], list[Any]] = {}
    for row in sorted(rows, key=itemgetter("bucket"), reverse=True):
        found.setdefault((row["dimension"], row["code"], row["model"]), []).append(row)
    return {series: _joined(parts) for series, parts in found.items()}


def _joined(parts: Sequence[Any]) -> RankedBucket:
    groups = [np.frombuffer(part["groups"]).reshape(-1, len(COLUMNS)) for part in parts]
    sums = [np.frombuffer(part["sums"]) for part in parts]
    return RankedBucket(np.concatenate(groups), np.sum(sums, axis=0))


def _ranked(placed: DataFrame, ranking: Ranking) -> DataFrame:
    same_bucket = [F.col(name) == F.col(f"of_{name}") for name in _BUCKET]
    return (
        placed.join(F.broadcast(_offsets(placed)), same_bucket)
        .sortWithinPartitions(*_BUCKET)
        .select(*_BUCKET, "scores", "before_rows", "before_positives", "all_rows")
        .mapInArrow(partial(_rank_buckets, ranking.quantiles, ranking.intervals), _RANKED)
    )


def _offsets(placed: DataFrame) -> DataFrame:
    """For each bucket the totals of its series, and of the buckets with higher scores."""
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
    )


def _tally(dimensions: int, cuts: Sequence[npt.NDArray[np.float64]], batches: Batches) -> Batches:
    """Rows -> the distinct scores of each batch with their counts, one row a bucket."""
    for batch in batches:
        if batch.num_rows == 0:
            continue
        labels, *scores = (column.to_numpy() for column in batch.columns[dimensions:])
        for dimension in range(dimensions):
            codes = batch.column(dimension).fill_null(-1).to_numpy()
            for model, score in enumerate(scores):
                buckets = np.searchsorted(cuts[model], score, side="right")
                yield _tally_batch(dimension, model, (codes, buckets, score, labels))


def _tally_batch(
    dimension: int, model: int, columns: tuple[npt.NDArray[Any], ...]
) -> pa.RecordBatch:
    codes, _, scores, _ = columns
    order = np.lexsort((scores, codes))
    order = order[np.searchsorted(codes[order], 0) :]
    codes, buckets, scores, labels = (column[order] for column in columns)
    starts = _starts(codes, scores)
    parts = np.empty(len(starts), dtype=_PART)
    parts["score"] = scores[starts]
    parts["rows"] = np.diff(starts, append=len(order))
    parts["positives"] = _sums(labels.astype(np.int64), starts)
    codes, buckets = codes[starts], buckets[starts]
    bounds = _starts(codes, buckets)
    arrays = {
        "dimension": np.full(len(bounds), dimension, dtype=np.int32),
        "code": codes[bounds].astype(np.int32),
        "model": np.full(len(bounds), model, dtype=np.int32),
        "bucket": buckets[bounds].astype(np.int32),
        "rows": _sums(parts["rows"].astype(np.int64), bounds),
        "positives": _sums(parts["positives"].astype(np.int64), bounds),
    }
    blobs = [piece.tobytes() for piece in np.split(parts, bounds[1:])] if len(bounds) else []
    columns_out = [pa.array(values) for values in arrays.values()]
    return pa.RecordBatch.from_arrays(
        [*columns_out, pa.array(blobs, type=pa.binary())], names=[*arrays, "scores"]
    )


def _starts(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Where a new pair of values begins, in columns sorted by both."""
    new = np.ones(len(first), dtype=bool)
    new[1:] = (first[1:] != first[:-1]) | (second[1:] != second[:-1])
    return np.flatnonzero(new)


def _sums(values: npt.NDArray[np.int64], starts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The sum of each run of `values` that begins at `starts`."""
    running = np.concatenate(([0], np.cumsum(values)))
    return np.diff(running[np.append(starts, len(values))])


def _rank_buckets(quantiles: int, intervals: int, batches: Batches) -> Batches:
    """Buckets, each in consecutive rows -> one row a bucket."""
    for key, rows in groupby(_rows(batches), key=itemgetter(*range(len(_BUCKET)))):
        blobs, before_rows, before_positives, all_rows = zip(
            *(row[4:] for row in rows), strict=True
        )
        parts = np.concatenate([np.frombuffer(blob, dtype=_PART) for blob in blobs])
        ranked = rank_bucket(
            parts["score"],
            parts["rows"].astype(np.int64),
            parts["positives"].astype(np.int64),
            before=(before_rows[0], before_positives[0]),
            all_rows=all_rows[0],
            resolution=(quantiles, intervals),
        )
        values = [pa.array([value], type=pa.int32()) for value in key]
        for array in (ranked.groups, ranked.sums):
            values.append(pa.array([array.tobytes()], type=pa.binary()))
        yield pa.RecordBatch.from_arrays(values, names=[*_BUCKET, "groups", "sums"])


def _rows(batches: Batches) -> Iterator[tuple[Any, ...]]:
    for batch in batches:
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)
