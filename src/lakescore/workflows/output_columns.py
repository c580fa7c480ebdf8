"""The columns that a workload writes into its predictions table, known before anything runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import DataFrame
    from pyspark.sql.types import DataType

    from lakescore.config.workload import Context, Predictions, Source


@dataclass(frozen=True)
class OutputColumn:
    """A column, and which line of the workload declares it."""

    name: str
    type: DataType
    declared: str


def output_columns(
    rows: DataFrame,
    source: Source,
    predictions: Predictions,
    contexts: Mapping[str, Context],
    frames: Mapping[str, DataFrame],
) -> tuple[OutputColumn, ...]:
    """Key, pass-through and prediction columns, in their order, without lineage.

    `rows` is the source, `frames` the context tables by name. Runs no job; what is not in the
    source nor joined to it is left out, for scoring itself to refuse.
    """
    from pyspark.sql.types import DoubleType, IntegerType

    from lakescore.features.point_in_time import with_output_columns

    joined = with_output_columns(rows, contexts, frames) if contexts else rows
    types = {field.name.lower(): field.dataType for field in joined.schema}
    kept = dict.fromkeys(predictions.passthrough, "predictions.passthrough")
    kept |= dict.fromkeys(source.key, "source.key")
    made = [OutputColumn(predictions.column, DoubleType(), "predictions.column")]
    if predictions.class_column is not None:
        made.append(
            OutputColumn(predictions.class_column, IntegerType(), "predictions.class_column")
        )
    order = dict.fromkeys([*source.key, *predictions.passthrough])
    found = [
        OutputColumn(name, types[name.lower()], kept[name])
        for name in order
        if name.lower() in types
    ]
    return (*found, *made)
