"""Whether what a workload says of its rows resolves in the real tables: split, label and scope.

Told from the schemas alone, before a job runs. Spark would refuse the same, deep in a plan and in
its own words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lakescore.config.workload import TimeSplit

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from lakescore.config.workload import Label, Workload
    from lakescore.workflows.pins import Pins


def check_training_rows(spark: SparkSession, workload: Workload, pins: Pins) -> None:
    """Check the split, the label and the scope of a workload that trains.

    Raises ColumnMissing, TypeMismatch, ExpressionRefused, and LeakRefused as `check_scope`.
    """
    rows = pins.source.read(spark)
    if isinstance(workload.split, TimeSplit):
        _check_time_split(rows, workload.split, str(pins.source))
    if workload.label is not None:
        labels = pins.label.read(spark) if pins.label else None
        _check_label(rows, workload.label, labels, str(pins.label or pins.source))
    check_scope(rows, workload, table=str(pins.source))


def check_scope(rows: DataFrame, workload: Workload, *, table: str) -> None:
    """Check `predictions.where` over the source's `rows`; `table` is how messages call them.

    Raises ColumnMissing, TypeMismatch, ExpressionRefused, and LeakRefused for a column that is
    known later.
    """
    from lakescore.features.leak_guard import refuse_late_scope
    from lakescore.features.resolve import check_type

    if workload.predictions is None or workload.predictions.where is None:
        return
    check_type(
        rows,
        workload.predictions.where,
        ("boolean",),
        "a condition",
        where=f"predictions.where ({table})",
        hint="compare it with something, like `status = 'open'`",
    )
    refuse_late_scope(workload.source, workload.predictions.where)


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
