"""Scores one frame with several scorers that share a preprocessor, encoding each batch once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa
from pyspark.sql import functions as F

from lakescore.config.base import quoted

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
    kept, inputs = list(keep), list(preprocessor.input_columns)
    schema = df.select(*map(quoted, kept)).schema
    for column in scorers:
        schema = schema.add(column, "double")
    # By position: mapInArrow cannot take a column whose name has a dot or a backtick.
    rows = df.select(*(F.col(quoted(name)).alias(f"k{i}") for i, name in enumerate(kept)), *inputs)

    def score_partition(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            matrix = preprocessor.encode(batch)
            scores = [pa.array(scorer.predict(matrix)) for scorer in scorers.values()]
            columns = batch.columns[: len(kept)]
            yield pa.RecordBatch.from_arrays([*columns, *scores], names=[*kept, *scorers])

    return rows.mapInArrow(score_partition, schema)
