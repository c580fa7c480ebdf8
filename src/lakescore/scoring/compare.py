"""Scores one frame with several scorers that share a preprocessor, encoding each batch once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from lakescore.features.preprocessor import Preprocessor
    from lakescore.models.base import Scorer


def compare_frame(
    df: DataFrame,
    preprocessor: Preprocessor,
    scorers: Mapping[str, Scorer],
    *,
    keep: Sequence[str],
) -> DataFrame:
    """The `keep` columns of `df`, untouched, then one double for each scorer, under its column.

    `df` holds the feature columns of the SQL stage. A prediction is the same double that the
    scorer gives in a model package.
    """
    kept = list(keep)
    schema = df.select(*(_quoted(name) for name in kept)).schema
    for column in scorers:
        schema = schema.add(column, "double")

    def score_partition(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            matrix = preprocessor.encode(batch)
            scores = [pa.array(scorer.predict(matrix)) for scorer in scorers.values()]
            columns = [batch.column(name) for name in kept]
            yield pa.RecordBatch.from_arrays([*columns, *scores], names=[*kept, *scorers])

    return df.mapInArrow(score_partition, schema)


def _quoted(name: str) -> str:
    return f"`{name.replace('`', '``')}`"
