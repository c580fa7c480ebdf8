"""Scores one frame with several scorers that share a preprocessor, encoding each batch once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, DoubleType

from lakescore.arrow_task import map_in_arrow
from lakescore.config.base import quoted

if TYPE_CHECKING:
    import numpy.typing as npt
    from pyspark.sql import DataFrame

    from lakescore.features.preprocessor import Preprocessor
    from lakescore.models.base import Scorer


NONE: Mapping[str, Scorer] = MappingProxyType({})


def compare_frame(
    df: DataFrame,
    preprocessor: Preprocessor,
    scorers: Mapping[str, Scorer],
    *,
    keep: Sequence[str],
    quantiles: Mapping[str, Scorer] = NONE,
) -> DataFrame:
    """The `keep` columns of `df`, untouched, then what each scorer gives, under its column.

    That is a double, or an array of doubles, one a class, the same that the scorer gives in a
    model package. Then the quantiles of those in `quantiles`, as arrays. `df` holds the feature
    columns of the SQL stage.
    """
    kept, inputs = list(keep), list(preprocessor.input_columns)
    schema = df.select(*map(quoted, kept)).schema
    for column, scorer in scorers.items():
        schema = schema.add(column, ArrayType(DoubleType()) if scorer.classes else DoubleType())
    for column in quantiles:
        schema = schema.add(column, ArrayType(DoubleType()))
    names = [*kept, *scorers, *quantiles]
    # By position: mapInArrow cannot take a column whose name has a dot or a backtick.
    rows = df.select(*(F.col(quoted(name)).alias(f"k{i}") for i, name in enumerate(kept)), *inputs)

    def score_partition(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            matrix = preprocessor.encode(batch)
            scores = [_as_array(scorer.predict(matrix)) for scorer in scorers.values()]
            for scorer in quantiles.values():
                scores.append(_as_array(scorer.predict_with_quantiles(matrix)[:, 1:]))
            columns = batch.columns[: len(kept)]
            yield pa.RecordBatch.from_arrays([*columns, *scores], names=names)

    return map_in_arrow(rows, score_partition, schema)


def _as_array(scores: npt.NDArray[np.float64]) -> pa.Array:
    if scores.ndim == 1:
        return pa.array(scores)
    rows, classes = scores.shape
    ends = np.arange(rows + 1, dtype=np.int32) * classes
    return pa.ListArray.from_arrays(pa.array(ends), pa.array(scores.ravel()))
