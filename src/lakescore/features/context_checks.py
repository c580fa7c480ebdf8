"""Whether contexts fit the rows that they are joined to, told from schemas alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from lakescore.config.workload import Context
from lakescore.errors import TypeMismatch, UsageError
from lakescore.features.resolve import (
    INTEGERS,
    NESTED,
    TIMESTAMPS,
    check_columns,
    data_type,
    expression_types,
)
from lakescore.features.windows import output_types

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def place(name: str, context: Context) -> str:
    """How messages call a context."""
    return f"context '{name}' ({context.table})"


def check_contexts(
    rows: DataFrame,
    contexts: Mapping[str, Context],
    frames: Mapping[str, DataFrame],
    prediction_time: str | None,
) -> None:
    """Whether the contexts can be joined to `rows`, from the schemas alone; runs no job.

    Raises ColumnMissing, TypeMismatch, ExpressionRefused, and UsageError when an output has
    the name of a column or a prediction time is needed and not given.
    """
    for name, context in contexts.items():
        where = place(name, context)
        check_columns(rows, context.on, where=f"{where}, the source's side of `on`")
        read = [aggregate.column for aggregate in context.aggregates.values()]
        time = [] if context.known_at is None else [context.known_at]
        needed = [*context.on.values(), *time, *context.latest.values(), *read]
        check_columns(frames[name], needed, where=where)
        check_key_types(rows, context.on, frames[name], "context", where)
        _check_outputs_are_new(rows, context, where)
        output_types(context, frames[name], where)
        if context.known_at is not None:
            found = data_type(frames[name], context.known_at).typeName()
            check_is_time(found, f"known_at '{context.known_at}'", where)
    if prediction_time is None and not all(context.static for context in contexts.values()):
        raise UsageError("point-in-time joins need source.prediction_time")
    if prediction_time is not None:
        where = "source.prediction_time"
        found = expression_types(rows, {where: prediction_time})[where].typeName()
        check_is_time(found, f"'{prediction_time}'", where)


def check_key_types(
    rows: DataFrame, on: Mapping[str, str], frame: DataFrame, whose: str, where: str
) -> None:
    """Raise TypeMismatch unless both sides of `on` have one type; `whose` names `frame`."""
    for ours, theirs in on.items():
        left, right = data_type(rows, ours), data_type(frame, theirs)
        integers = left.typeName() in INTEGERS and right.typeName() in INTEGERS
        if left != right and not integers:
            raise TypeMismatch(
                f"the source's '{ours}' is {left.simpleString()}, "
                f"the {whose}'s '{theirs}' is {right.simpleString()}",
                where=where,
                hint="give both one type where the tables are made; nothing is cast silently",
            )
        if left.typeName() in NESTED:
            raise TypeMismatch(f"'{ours}' is {left.simpleString()}, not a key", where=where)


def _check_outputs_are_new(rows: DataFrame, context: Context, where: str) -> None:
    taken = {name.lower() for name in rows.columns}
    for output in context.outputs:
        if output.lower() in taken:
            raise UsageError(
                f"its output '{output}' is also a column of the source",
                where=where,
                hint=f"give it another name, like `latest: {{my_{output}: {output}}}`",
            )


def check_is_time(found: str, what: str, where: str) -> None:
    if found in TIMESTAMPS:
        return
    hint = "say when in the day, like `CAST(day AS TIMESTAMP) + INTERVAL 1 DAY`"
    if found != "date":
        hint = "make it a timestamp, like `CAST(x AS TIMESTAMP)` or `timestamp_seconds(x)`"
    raise TypeMismatch(f"{what} is {found}, not a timestamp", where=where, hint=hint)
