"""The columns that a workload writes into its predictions table, known before anything runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lakescore.config.predictions import AS_OF, WITHDRAWN
from lakescore.matrix import Answers

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.types import DataType

    from lakescore.config.workload import Context, Predictions, Source
    from lakescore.lake.tables import Lake
    from lakescore.workflows.plan import ScoringPlan


ONE_NUMBER = Answers()


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
    *,
    answers: Answers = ONE_NUMBER,
) -> tuple[OutputColumn, ...]:
    """Key, pass-through and prediction columns, in their order, without lineage.

    `answers` are those of the model. `rows` is the source, `frames` the context tables by name.
    Runs no job; what is not in the source nor joined to it is left out, for scoring itself to
    refuse.
    """
    from lakescore.features.point_in_time import with_output_columns
    from lakescore.scoring.arrow import prediction_types

    joined = with_output_columns(rows, contexts, frames) if contexts else rows
    types = {field.name.lower(): field.dataType for field in joined.schema}
    kept = dict.fromkeys(predictions.passthrough, "predictions.passthrough")
    kept |= dict.fromkeys(source.key, "source.key")
    names = (predictions.column, predictions.class_column, predictions.probabilities)
    declared = ("column", "class_column", "probabilities")
    lines = dict(zip(names, declared, strict=True))
    made = [
        OutputColumn(field.name, field.dataType, f"predictions.{lines.get(field.name, 'column')}")
        for field in prediction_types(*names, answers)
    ]
    order = dict.fromkeys([*source.key, *predictions.passthrough])
    found = [
        OutputColumn(name, types[name.lower()], kept[name])
        for name in order
        if name.lower() in types
    ]
    return (*found, *made)


def added_columns(spark: SparkSession, lake: Lake, plan: ScoringPlan) -> tuple[str, ...]:
    """Name and type of the columns that the plan's commit adds to the table that is there.

    None where the table is yet to be made. Raises TypeMismatch for a column of another type.
    """
    from pyspark.sql.types import StructType

    from lakescore.lake.lineage import lineage_schema
    from lakescore.lake.schemas import check_rows_fit

    step, table = plan.step, lake.table(plan.predictions.table)
    if step is None or not table.exists(spark):
        return ()
    workload, pins = plan.workload, plan.pins
    outputs = output_columns(
        pins.source.read(spark),
        workload.source,
        plan.predictions,
        plan.model.contexts(workload),
        pins.frames(spark),
        answers=plan.model.answers,
    )
    rows = StructType()
    for output in outputs:
        rows.add(output.name, output.type)
    if step.merge_by:
        rows.add(WITHDRAWN, "string")
    rows = StructType([*rows, *lineage_schema()])
    if step.as_of is not None:
        rows.add(AS_OF, "date")
    added = check_rows_fit(rows, table.read(spark).schema, where=table.name)
    return tuple(f"{name} {rows[name].dataType.simpleString()}" for name in added)
