"""Whether what a workload says of its rows resolves in the real tables.

Told from the schemas alone, before a job runs. Spark would refuse the same, deep in a plan and in
its own words.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lakescore.config.workload import TimeSplit

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from lakescore.config.workload import Feature, Label, Workload
    from lakescore.workflows.pins import Pins


def check_training_rows(
    spark: SparkSession, workload: Workload, pins: Pins, features: Sequence[Feature]
) -> None:
    """Check contract, contexts, features, split and label of a workload that trains.

    Raises ColumnMissing, TypeMismatch, ExpressionRefused, and LeakRefused as `check_source_rows`.
    """
    from lakescore.features.sql_stage import resolve_features
    from lakescore.lake.contract import check_schema

    rows = pins.source.read(spark)
    check_source_rows(rows, workload, table=str(pins.source))
    check_schema(rows, workload.source, workload.report.segments, where=str(pins.source))
    resolve_features(
        rows,
        source=workload.source,
        contexts=workload.context,
        frames=pins.frames(spark),
        features=features,
    )
    if isinstance(workload.split, TimeSplit):
        _check_time_split(rows, workload.split, str(pins.source))
    if workload.label is not None:
        labels = pins.label.read(spark) if pins.label else None
        _check_label(rows, workload.label, labels, str(pins.label or pins.source))


def check_source_rows(rows: DataFrame, workload: Workload, *, table: str) -> None:
    """Check the expressions over the source's own `rows`; `table` is how messages call them.

    They are `prediction_time`, the expectations and `predictions.where`. Raises ColumnMissing,
    TypeMismatch, ExpressionRefused, and LeakRefused for a scope that reads what is known later.
    """
    from lakescore.features.leak_guard import refuse_late_scope
    from lakescore.features.resolve import check_type, expression_types

    source, predictions = workload.source, workload.predictions
    declared = {f"expectation '{name}'": sql for name, sql in source.expectations.items()}
    if source.prediction_time is not None:
        declared["source.prediction_time"] = source.prediction_time
    expression_types(rows, {f"{what} ({table})": sql for what, sql in declared.items()})
    if predictions is None or predictions.where is None:
        return
    check_type(
        rows,
        predictions.where,
        ("boolean",),
        "a condition",
        where=f"predictions.where ({table})",
        hint="compare it with something, like `status = 'open'`",
    )
    refuse_late_scope(source, predictions.where)


def _check_time_split(rows: DataFrame, split: TimeSplit, table: str) -> None:
    from lakescore.features.resolve import TIMESTAMPS, check_type

    check_type(
        rows,
        split.by,
        {"date", *TIMESTAMPS},
        "a date or timestamp",
        where=f"split.by ({table})",
        hint="make it one, like `to_date(x)` or `timestamp_seconds(x)`",
    )


def _check_label(rows: DataFrame, label: Label, labels: DataFrame | None, table: str) -> None:
    """`labels` is the label's own table, called `table`; None for a label in the rows."""
    from lakescore.features.context_checks import check_key_types
    from lakescore.features.resolve import check_columns, expression_types

    known = rows if labels is None else labels
    if labels is not None:
        where = f"label.on ({table})"
        check_columns(rows, label.on, where="label.on, the source's side")
        check_columns(labels, label.on.values(), where=where)
        check_key_types(rows, label.on, labels, "label", where)
    expression_types(known, {f"label.expression ({table})": label.expression})
    for key, column in (("known_at", label.known_at), ("unlabelled_by", label.unlabelled_by)):
        check_columns(known, [column] if column else [], where=f"label.{key} ({table})")
