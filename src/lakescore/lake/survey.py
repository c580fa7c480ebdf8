"""What is known of rows before they are judged: how many, how many in scope, whether a key repeats.

Keys are compared by 64-bit hashes. Each task sorts the hashes of its rows and hands them on in
buckets, a bucket holds every row's hash of one range and is sorted again: eight bytes a row are
shuffled, not rows. Two keys may share a hash (one pair is to be expected in six billion rows): such
rows are taken to repeat, and then compared by their values.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from pyspark.sql import functions as F

from lakescore.arrow_task import map_in_arrow
from lakescore.config.base import quoted
from lakescore.lake.contract import in_scope, told_apart_by

if TYPE_CHECKING:
    import numpy.typing as npt
    from pyspark.sql import DataFrame

    Hashes = npt.NDArray[np.int64]

_BUCKETS = 64
#: Where each bucket after the first begins: the hashes are cut into ranges of one length.
_EDGES = (np.arange(1, _BUCKETS, dtype=np.int64) - _BUCKETS // 2) << 58
#: Hashes that a task holds before it hands them on: 8 MiB.
_HELD = 1 << 20
_PIECE = "bucket int, rows bigint, outside bigint, hashes binary"
_FOUND = "rows bigint, outside bigint, repeats boolean"


@dataclass(frozen=True)
class Survey:
    """Rows `read`, how many of them are out of scope, whether a key `repeats` among the others."""

    read: int
    out_of_scope: int
    repeats: bool


def survey(rows: DataFrame, key: Sequence[str], where: str | None = None) -> Survey:
    """In one pass over the key columns; `where` is `predictions.where`.

    Rows that share the parts of their key that they have repeat as well: they may be copies.
    """
    hashed = F.xxhash64(*(F.col(quoted(name)) for name in told_apart_by(rows, key)))
    in_question = hashed if where is None else F.when(in_scope(where), hashed)
    pieces = map_in_arrow(rows.select(in_question.alias("hash")), _pieces, _PIECE)
    buckets = pieces.repartition("bucket").sortWithinPartitions("bucket")
    found = map_in_arrow(buckets, _compared, _FOUND).collect()
    return Survey(
        read=sum(part["rows"] for part in found),
        out_of_scope=sum(part["outside"] for part in found),
        repeats=any(part["repeats"] for part in found),
    )


def _pieces(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The task's hashes, sorted and cut into buckets; null ones are of rows out of scope."""
    held: list[Hashes] = []
    size = outside = 0
    for batch in batches:
        hashes = batch.column(0)
        outside += hashes.null_count
        held.append(hashes.drop_null().to_numpy())
        size += len(held[-1])
        if size >= _HELD:
            yield _piece(held, outside)
            held, size, outside = [], 0, 0
    if held:
        yield _piece(held, outside)


def _piece(held: Sequence[Hashes], outside: int) -> pa.RecordBatch:
    hashes = np.sort(np.concatenate(held))
    cut = np.split(hashes, np.searchsorted(hashes, _EDGES))
    kept = [bucket for bucket, one in enumerate(cut) if len(one) or bucket == 0]
    columns = {
        "bucket": pa.array(kept, pa.int32()),
        "rows": pa.array([len(cut[bucket]) + outside * (bucket == 0) for bucket in kept]),
        "outside": pa.array([outside * (bucket == 0) for bucket in kept]),
        "hashes": pa.array([cut[bucket].tobytes() for bucket in kept], pa.binary()),
    }
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))


def _compared(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Rows counted, and whether a hash comes twice; one bucket is held at a time."""
    rows = outside = 0
    bucket, held, repeats = None, list[bytes](), False
    for batch in batches:
        for piece in batch.to_pylist():
            rows, outside = rows + piece["rows"], outside + piece["outside"]
            if piece["bucket"] != bucket:
                repeats = repeats or _comes_twice(held)
                bucket, held = piece["bucket"], []
            held.append(piece["hashes"])
    repeats = repeats or _comes_twice(held)
    yield pa.RecordBatch.from_arrays(
        [pa.array([rows]), pa.array([outside]), pa.array([repeats])],
        names=["rows", "outside", "repeats"],
    )


def _comes_twice(held: Sequence[bytes]) -> bool:
    hashes = np.sort(np.frombuffer(b"".join(held), dtype=np.int64))
    return bool((hashes[1:] == hashes[:-1]).any())
