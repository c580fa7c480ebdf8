"""The encoded rows as shards, written once by Spark, and a rank's share of them on its own disk.

Rows lie in the order of a hash of their content and the seed. That order is as good as random,
and depends neither on how Spark cut the rows nor on which machine did what: rows that tie are the
same. A rank copies its share, an interval of that order, into one local file of doubles and reads
blocks of it, so its memory holds a few blocks whatever the size of the table.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lakescore.errors import EnvironmentProblem
from lakescore.matrix import LABEL, MatrixSchema
from lakescore.models.deep.job import Shards, Standard

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from pyspark.sql import DataFrame

    Rows = npt.NDArray[np.float64]

_ORDER = "_order"
#: Cells of one shard (8 bytes each), and bytes of its row groups: a rank reads whole groups.
_SHARD_CELLS = 32_000_000
_GROUP_BYTES = 8 << 20
#: A rank reads so many rows at once, and mixes so many of these blocks.
_BLOCK_ROWS = 2_048
_MIXED_BLOCKS = 16


def write_shards(rows: DataFrame, schema: MatrixSchema, count: int, folder: str, seed: int) -> None:
    """Write the matrix columns and the label of `count` rows below `folder`, in their order."""
    from pyspark.sql import functions as F

    names = [*schema.names, LABEL]
    columns = [F.col(f"`{name}`") for name in names]
    ordered = rows.select(*columns, F.xxhash64(F.lit(seed), *columns).alias(_ORDER))
    parts = max(1, math.ceil(count * len(names) / _SHARD_CELLS))
    placed = ordered.repartitionByRange(parts, _ORDER).sortWithinPartitions(_ORDER, *columns)
    writer = placed.drop(_ORDER).write.mode("overwrite")
    writer.option("parquet.block.size", _GROUP_BYTES).parquet(folder)


def find_shards(folder: str) -> Shards:
    """The shards below a folder, in their order; their rows are told by their footers."""
    from pyarrow import parquet

    found = sorted(Path(local_path(folder)).glob("part-*.parquet"))
    counted = ((str(path), parquet.read_metadata(path).num_rows) for path in found)
    return Shards(tuple((path, rows) for path, rows in counted if rows))


def local_path(uri: str) -> str:
    """The path by which every machine opens it. Raises EnvironmentProblem where there is none."""
    scheme, colon, rest = uri.partition(":")
    if not colon or uri.startswith("/"):
        return uri
    if scheme == "file":
        return "/" + rest.lstrip("/")
    if scheme == "dbfs":
        return "/dbfs/" + rest.lstrip("/")
    raise EnvironmentProblem(
        "ranks of a net read and write plain files, and this folder is none",
        where=uri,
        hint="set `staging` to a folder that every machine mounts (on Databricks: /Volumes/…)",
    )


def standards(
    rows: DataFrame, schema: MatrixSchema, mean: float
) -> tuple[list[Standard], Standard]:
    """How numeric columns, and the label of mean `mean`, come to mean 0 and deviation 1.

    A column that does not vary has scale 1. Sums are exact in whatever order partitions come.
    """
    from pyspark.sql import functions as F

    numeric = [(c.name, c.mean) for c in schema.columns if not c.is_categorical]
    wanted = [*numeric, (LABEL, mean)]
    sums = []
    for index, (name, middle) in enumerate(wanted):
        off = F.col(f"`{name}`") - F.lit(middle)
        present = ~F.isnan(off)
        sums.append(F.sum(F.when(present, off * off)).alias(f"s{index}"))
        sums.append(F.count(F.when(present, F.lit(1))).alias(f"n{index}"))
    parts = rows.groupBy(F.spark_partition_id()).agg(*sums).collect()
    made = []
    for index, (_, middle) in enumerate(wanted):
        total = math.fsum(part[f"s{index}"] or 0.0 for part in parts)
        count = sum(part[f"n{index}"] for part in parts)
        scale = math.sqrt(total / count) if count else 0.0
        made.append(Standard(middle, scale if 0 < scale < math.inf else 1.0))
    return made[:-1], made[-1]


class LocalRows:
    """A rank's rows in a local file without a name: the matrix, then the label, row by row.

    The file goes with the process, however that ends.
    """

    def __init__(
        self,
        shards: Shards,
        share: tuple[int, int],
        schema: MatrixSchema,
        beat: Callable[[], None] = lambda: None,
    ) -> None:
        """Copy a share of the shards' order; `beat` is called after each row group."""
        from pyarrow import parquet

        names, (start, end), at = [*schema.names, LABEL], share, 0
        self.rows, self._width = end - start, len(names)
        self._row_bytes = 8 * self._width
        self._file = tempfile.TemporaryFile(prefix="lakescore-")  # noqa: SIM115 - it lives as long
        for path, rows in shards.files:
            if at < end and at + rows > start:
                stored = parquet.ParquetFile(path)
                for part in _within(stored, names, start - at, end - at):
                    self._file.write(part.tobytes())
                    beat()
            at += rows
        self._file.flush()

    def close(self) -> None:
        self._file.close()

    def in_order(self, size: int) -> Iterator[Rows]:
        """Batches of `size` rows, the last one shorter."""
        for start in range(0, self.rows, size):
            yield self._read(start, min(size, self.rows - start))

    def shuffled(self, size: int, seed: int) -> Iterator[Rows]:
        """As `in_order`, in an order that depends on the seed and the number of rows alone."""
        import numpy as np

        random = np.random.default_rng(seed)
        blocks = random.permutation(-(-self.rows // _BLOCK_ROWS))
        left: Rows = np.empty((0, self._width))
        for first in range(0, len(blocks), _MIXED_BLOCKS):
            mixed = np.concatenate([left, *map(self._block, blocks[first : first + _MIXED_BLOCKS])])
            mixed = mixed[random.permutation(len(mixed))]
            whole = len(mixed) // size * size
            for start in range(0, whole, size):
                yield mixed[start : start + size]
            left = mixed[whole:]
        if len(left):
            yield left

    def _block(self, number: int) -> Rows:
        start = int(number) * _BLOCK_ROWS
        return self._read(start, min(_BLOCK_ROWS, self.rows - start))

    def _read(self, start: int, count: int) -> Rows:
        import numpy as np

        wanted = bytearray(count * self._row_bytes)
        view, at = memoryview(wanted), start * self._row_bytes
        while view:
            got = os.preadv(self._file.fileno(), [view], at)
            if got == 0:
                raise OSError(f"the local copy ends before row {start + count}")
            view, at = view[got:], at + got
        return np.frombuffer(wanted, dtype=np.float64).reshape(count, self._width)


def _within(stored: Any, names: list[str], start: int, end: int) -> Iterator[Rows]:
    """The rows [start, end) of one Parquet file, a row group at a time."""
    import numpy as np

    at = 0
    for group in range(stored.num_row_groups):
        rows = stored.metadata.row_group(group).num_rows
        if at < end and at + rows > start:
            table = stored.read_row_group(group, columns=names)
            part = table.slice(max(0, start - at), min(rows, end - at) - max(0, start - at))
            columns = [part.column(name).to_numpy() for name in names]
            yield np.ascontiguousarray(np.stack(columns, axis=1), dtype=np.float64)
        at += rows
