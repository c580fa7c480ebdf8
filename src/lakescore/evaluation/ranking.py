"""Ranks the scores of many models and groups of rows at once, over any number of rows.

A global sort or window would run in one task. Here each model's scores are cut into buckets at
approximate quantiles; what lies in higher buckets is a small table of totals; and each bucket is
ranked on its own, in executors. Where the cuts lie changes nothing but the balance of the work.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pyspark import StorageLevel
from pyspark.sql import functions as F

from lakescore.arrow_task import map_in_arrow
from lakescore.evaluation.ranked_bucket import (
    COLUMNS,
    Place,
    RankedBucket,
    Resolution,
    join_buckets,
    rank_bucket,
)

if TYPE_CHECKING:
    import numpy.typing as npt
    from pyspark.sql import DataFrame

    Batches = Iterator[pa.RecordBatch]

_BUCKET = ("dimension", "code", "model", "bucket")
_KEYS = "dimension int, code int, model int, bucket int"
_TALLY = f"{_KEYS}, rows bigint, positives bigint, scores binary"
_RANKED = f"{_KEYS}, groups binary, sums binary"
_PART = np.dtype([("score", "<f8"), ("rows", "<i4"), ("positives", "<i4")])


@dataclass(frozen=True)
class Ranking:
    """What to rank. A series is (dimension, code, model): the rows where the int column
    `groups[dimension]` holds `code` (null: in no series), with the scores of `scores[model]`.

    cuts: for each model the ascending scores that bound its buckets.
    """

    groups: tuple[str, ...]
    label: str
    scores: tuple[str, ...]
    cuts: tuple[Sequence[float], ...]
    resolution: Resolution


def rank(df: DataFrame, ranking: Ranking) -> dict[tuple[int, int, int], RankedBucket]:
    """The ranked scores of each series. Labels hold 0.0 and 1.0, scores are finite.

    Reads `df` once. The driver gets a bounded number of groups a series (`Resolution`: the sum of
    its three numbers, and one more a bucket).
    """
    columns = [*ranking.groups, ranking.label, *ranking.scores]
    tally = partial(_tally, len(ranking.groups), [np.asarray(cut) for cut in ranking.cuts])
    placed = map_in_arrow(df.select(*columns), tally, _TALLY).repartition(*_BUCKET)
    placed = placed.persist(StorageLevel.MEMORY_AND_DISK)
    try:
        places = _places(placed)
        ranked = map_in_arrow(
            placed.sortWithinPartitions(*_BUCKET),
            partial(_rank_buckets, places, ranking.resolution),
            _RANKED,
        )
        rows = ranked.collect()
    finally:
        placed.unpersist()
    found: dict[tuple[int, int, int], list[Any]] = {}
    for row in sorted(rows, key=itemgetter("bucket"), reverse=True):
        found.setdefault((row["dimension"], row["code"], row["model"]), []).append(row)
    return {series: _joined(parts, ranking.resolution) for series, parts in found.items()}


def _joined(parts: Sequence[Any], resolution: Resolution) -> RankedBucket:
    buckets = [
        RankedBucket(
            np.frombuffer(part["groups"]).reshape(-1, len(COLUMNS)), np.frombuffer(part["sums"])
        )
        for part in parts
    ]
    return join_buckets(buckets, resolution)


def _places(placed: DataFrame) -> dict[tuple[int, ...], Place]:
    """Where each bucket lies in its series."""
    totals = placed.groupBy(*_BUCKET).agg(F.sum("rows"), F.sum("positives")).collect()
    places = {}
    for _, buckets in groupby(sorted(totals, reverse=True), key=itemgetter(0, 1, 2)):
        series = list(buckets)
        all_rows = sum(row[4] for row in series)
        above = (0, 0)
        for *key, rows, positives in series:
            places[tuple(key)] = Place(*above, all_rows)
            above = above[0] + rows, above[1] + positives
    return places


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


def _rank_buckets(
    places: Mapping[tuple[int, ...], Place], resolution: Resolution, batches: Batches
) -> Batches:
    """Buckets, each in consecutive rows -> one row a bucket."""
    for key, rows in groupby(_rows(batches), key=itemgetter(*range(len(_BUCKET)))):
        blobs = [row[-1] for row in rows]
        parts = np.concatenate([np.frombuffer(blob, dtype=_PART) for blob in blobs])
        counts = (parts["rows"].astype(np.int64), parts["positives"].astype(np.int64))
        ranked = rank_bucket(parts["score"], *counts, places[key], resolution)
        values = [pa.array([value], type=pa.int32()) for value in key]
        for array in (ranked.groups, ranked.sums):
            values.append(pa.array([array.tobytes()], type=pa.binary()))
        yield pa.RecordBatch.from_arrays(values, names=[*_BUCKET, "groups", "sums"])


def _rows(batches: Batches) -> Iterator[tuple[Any, ...]]:
    for batch in batches:
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)
