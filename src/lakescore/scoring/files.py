"""Scores Parquet files inside the tasks: they read the files, score, and write what they scored.

The direct road: no row crosses between Python and the JVM. What a task wrote counts once the task
has told its name, so a second attempt of a task, or one that was lost, leaves a file that nobody
reads.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lakescore.arrow_task import map_in_arrow
from lakescore.arrow_types import arrow_type
from lakescore.errors import CorruptFile, TypeMismatch
from lakescore.scoring.arrow import BatchScorer, Layout, made_ready, scored

if TYPE_CHECKING:
    import numpy.typing as npt
    from pyspark.sql import SparkSession

    #: Which rows of a batch are left to others: shape (rows,).
    Mask = Callable[[pa.RecordBatch], npt.NDArray[np.bool_]]

#: A task reads so many bytes; of less, so many that there are eight tasks, or one a core where
#: there are more cores; but no less than `_LEAST_BYTES`: to start one takes Spark about 0.1 s.
_TASK_BYTES, _LEAST_BYTES, _TASKS = 128 << 20, 4 << 20, max(8, os.cpu_count() or 1)
_TOLD = "path string, left bigint"
#: Spark before 3.0 wrote times of another calendar; from this day on the two are one.
_ONE_CALENDAR = np.datetime64("1900-01-01", "us")


@dataclass(frozen=True)
class Columns:
    """What is read of each row, by the names of the source: column -> Spark type.

    `inputs` maps what the model calls its inputs to columns.
    """

    types: Mapping[str, str]
    inputs: Mapping[str, str]


@dataclass(frozen=True)
class ScoredFiles:
    """The files that hold the predictions; `left` rows were left to others."""

    paths: tuple[str, ...]
    left: int


@dataclass(frozen=True)
class _Work:
    """What a task does with each row that it reads."""

    columns: Columns
    layout: Layout
    leave: Mask
    folder: str


@dataclass(frozen=True)
class _Part:
    """Some row groups of a file: `first` to before `last`; all when None."""

    path: str
    first: int = 0
    last: int | None = None


def score_files(
    spark: SparkSession,
    paths: Sequence[str],
    model: BatchScorer,
    *,
    columns: Columns,
    layout: Layout,
    leave: Mask,
    folder: str,
) -> ScoredFiles:
    """Score the rows of local Parquet files into files below the local `folder`.

    They hold the columns of `layout.keep`, then the prediction and its class. Rows for which
    `leave` is true, given the columns read, are passed over and counted. Raises CorruptFile for a
    file that is gone or cannot be read, TypeMismatch for one that holds another type than the
    table says, and ModelBroken as `score_frame` does; tasks raise them, see `error_from_task`.
    """
    Path(folder).mkdir(parents=True, exist_ok=True)
    tasks = _tasks(paths)
    if not tasks:
        return ScoredFiles((), 0)
    numbers = spark.range(0, len(tasks), 1, len(tasks))
    work = _Work(columns, layout, leave, folder)
    told = map_in_arrow(numbers, _task(tasks, model, work), _TOLD).collect()
    return ScoredFiles(
        paths=tuple(row["path"] for row in told if row["path"] is not None),
        left=sum(row["left"] for row in told),
    )


def _tasks(paths: Sequence[str]) -> list[tuple[_Part, ...]]:
    """The files, cut between row groups where one is large, gathered where they are small."""
    sizes = {path: _size(path) for path in paths}
    target = min(_TASK_BYTES, max(_LEAST_BYTES, sum(sizes.values()) // _TASKS))
    tasks: list[tuple[_Part, ...]] = []
    held: list[_Part] = []
    filled = 0
    for path, size in sizes.items():
        if size > target:
            tasks += [(part,) for part in _parts(path, -(-size // target))]
            continue
        if held and filled + size > target:
            tasks.append(tuple(held))
            held, filled = [], 0
        held.append(_Part(path))
        filled += size
    return [*tasks, tuple(held)] if held else tasks


def _size(path: str) -> int:
    with _reading(path):
        return Path(path).stat().st_size


def _parts(path: str, wanted: int) -> list[_Part]:
    """At most `wanted` parts of about as many row groups each."""
    with _reading(path):
        groups = pq.read_metadata(path).num_row_groups
    edges = np.linspace(0, groups, min(wanted, max(groups, 1)) + 1).astype(int).tolist()
    return [_Part(path, first, last) for first, last in pairwise(edges)]


def _task(
    tasks: Sequence[tuple[_Part, ...]], model: BatchScorer, work: _Work
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def score_parts(numbers: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        scorer = made_ready(model)
        for batch in numbers:
            for number in batch.column(0).to_pylist():
                path, left = _score(tasks[number], scorer, work)
                told = [pa.array([path], pa.string()), pa.array([left])]
                yield pa.RecordBatch.from_arrays(told, names=["path", "left"])

    return score_parts


def _score(parts: Sequence[_Part], scorer: BatchScorer, work: _Work) -> tuple[str | None, int]:
    """The file that was written (None without a row), and the rows left."""
    path = f"{work.folder}/{uuid.uuid4().hex}.parquet"
    left = 0
    with ExitStack() as opened:
        writer: pq.ParquetWriter | None = None
        for part in parts:
            for batch in _batches(part, work.columns.types, work.layout.batch_rows):
                mine, others = _divided(batch, work.leave)
                left += others
                result = scored(_named(mine, work.columns.inputs), scorer, work.layout)
                if result.num_rows and writer is None:
                    writer = opened.enter_context(_writer(path, result.schema))
                if writer is not None:
                    writer.write_batch(result)
        return (None if writer is None else path), left


def _divided(batch: pa.RecordBatch, leave: Mask) -> tuple[pa.RecordBatch, int]:
    """The rows to score, and how many are left to others."""
    others = leave(batch)
    if not others.any():
        return batch, 0
    return batch.filter(pa.array(~others)), int(others.sum())


def _writer(path: str, schema: pa.Schema) -> pq.ParquetWriter:
    """For columns of which hardly a value comes twice, read once and by Spark."""
    return pq.ParquetWriter(
        path, schema, compression="snappy", use_dictionary=False, write_statistics=False,
        store_schema=False,
    )  # fmt: skip


@contextmanager
def _reading(path: str) -> Iterator[None]:
    """Raises CorruptFile, with the file's name, for one that is gone or is not what it claims."""
    try:
        yield
    except FileNotFoundError as error:
        raise CorruptFile(
            f"the file {path} is named by the table but is not there",
            hint="it was removed by VACUUM or by hand: run again on the table's newest version, "
            "or RESTORE the table to a version that is whole",
        ) from error
    except (pa.ArrowInvalid, OSError) as error:
        raise CorruptFile(
            f"the file {path} cannot be read: {str(error).partition(chr(10))[0]}",
            hint="restore the file from its source or a backup, then run again; nothing was "
            "committed",
        ) from error


def _batches(part: _Part, types: Mapping[str, str], rows: int) -> Iterator[pa.RecordBatch]:
    """The part's rows as `types` says; a column that was added after the file is null."""
    with (
        _reading(part.path),
        pq.ParquetFile(part.path, memory_map=True, coerce_int96_timestamp_unit="us") as file,
    ):
        groups = range(part.first, file.num_row_groups if part.last is None else part.last)
        present = {name.lower(): name for name in file.schema_arrow.names}
        stored = [present[name.lower()] for name in types if name.lower() in present]
        old = part.path if _has_other_calendar(file.metadata.metadata or {}) else None
        batches = file.iter_batches(
            batch_size=rows, row_groups=list(groups), columns=stored, use_threads=False
        )
        for batch in batches:
            found = dict(zip(map(str.lower, batch.schema.names), batch.columns, strict=True))
            arrays = []
            for name, type_ in types.items():
                wanted, array = arrow_type(type_, name), found.get(name.lower())
                if array is None:
                    array = pa.nulls(batch.num_rows, wanted)
                _refuse_ancient(array, name, old)
                arrays.append(_as(array, wanted, name, part.path))
            yield pa.RecordBatch.from_arrays(arrays, names=list(types))


def _as(array: pa.Array, wanted: pa.DataType, name: str, path: str) -> pa.Array:
    if array.type == wanted:
        return array
    try:
        return array.cast(wanted)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise TypeMismatch(
            f"'{name}' is {array.type} in the file, and {wanted} in the table: {error}",
            where=path,
            hint="set `scoring.road: general`, so that Spark reads the files",
        ) from error


def _refuse_ancient(array: pa.Array, name: str, old: str | None) -> None:
    """`old` is the path of a file that may count days by another calendar."""
    if old is None or not pa.types.is_temporal(array.type):
        return
    earliest = pc.min(array.cast(pa.timestamp("us"))).as_py()
    if earliest is not None and np.datetime64(earliest, "us") < _ONE_CALENDAR:
        raise TypeMismatch(
            f"'{name}' has times before 1900 in a file of another calendar, by an old Spark",
            where=old,
            hint="set `scoring.road: general`, so that Spark reads the files",
        )


def _has_other_calendar(metadata: Mapping[bytes, bytes]) -> bool:
    """Spark's own rule: what Spark before 3.0 wrote, or a later one when told to."""
    version = metadata.get(b"org.apache.spark.version", b"3")
    legacy = {b"org.apache.spark.legacyDateTime", b"org.apache.spark.legacyINT96"}
    return version < b"3" or bool(legacy & set(metadata))


def _named(read: pa.RecordBatch, inputs: Mapping[str, str]) -> pa.RecordBatch:
    """The columns read, and those that the model knows by other names."""
    added = {name: column for name, column in inputs.items() if name != column}
    arrays = [*read.columns, *(read.column(column) for column in added.values())]
    return pa.RecordBatch.from_arrays(arrays, names=[*read.schema.names, *added])
