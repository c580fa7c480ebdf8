"""Functions over Arrow batches, as Spark runs them in its Python workers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING
from zipimport import zipimporter

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame
    from pyspark.sql.types import StructType

    Task = Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]


def map_in_arrow(df: DataFrame, task: Task, schema: StructType | str) -> DataFrame:
    """`df.mapInArrow(task, schema)`, whose Python workers start their later tasks at once.

    Before each task Spark has Python look for new modules, and Python reads the directory of every
    archive on its path anew: Spark's own, a dozen times, 0.2 to 0.3 s a task. What Python
    remembers of archives is dropped when a task ends; an import brings it back.
    """
    return df.mapInArrow(_LightTask(task), schema)


@dataclass(frozen=True)
class _LightTask:
    """Travels to the workers as its module's name and the task."""

    task: Task

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        try:
            yield from self.task(batches)
        finally:
            for path, finder in list(sys.path_importer_cache.items()):
                if isinstance(finder, zipimporter):
                    del sys.path_importer_cache[path]
