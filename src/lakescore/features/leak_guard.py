"""Refuses features that are known only after the prediction time.

`refuse_leaks` reads the declarations, before anything runs. `refuse_rows_known_late` looks at
the rows. What neither can see is a table that was changed after the fact: `known_at` is believed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from lakescore.config.base import quoted
from lakescore.config.expressions import check_expression
from lakescore.config.workload import Context, Feature, Label, Source
from lakescore.errors import LeakRefused
from lakescore.features.context_checks import check_is_time, place
from lakescore.features.intervals import micros
from lakescore.features.resolve import check_columns, data_type, expression_types

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

#: What a column's name hardly has and an expression nearly always does.
_EXPRESSION = re.compile(r"[()+*/]|\binterval\b", re.IGNORECASE)


def refuse_leaks(
    *,
    source: Source,
    contexts: Mapping[str, Context],
    features: Sequence[Feature],
    label: Label | None,
    scored_where: str | None = None,
) -> None:
    """Raise LeakRefused, naming the place and the column, when a declaration lets the future in.

    Late are the source's columns of which its label is made, those in `columns_known_at`, and
    the columns that say when those become known. No feature, prediction time or join key may
    read them. A table whose rows become known over time may not be a static lookup, and a context
    over the label's or the source's own table must take late columns by the time at which they
    became known. `scored_where` is `predictions.where`: see `refuse_late_scope`.
    """
    late = late_columns(source, label)
    for where, sql in _expressions(source, features):
        _refuse_late_reads(
            where,
            sql,
            late,
            hint="use what is known by the prediction time; an earlier value of it can come from a "
            "context with `known_at`",
        )
    if scored_where is not None:
        refuse_late_scope(source, scored_where)
    for name, context in contexts.items():
        _refuse_late_keys(name, context, late)
        _refuse_known_at_expression(name, context)
        _refuse_static(name, context, _tables_over_time(source, contexts, label))
        _refuse_early_reads(name, context, _known_at_of(source, label))


def refuse_late_scope(source: Source, scored_where: str) -> None:
    """Raise LeakRefused where `predictions.where` reads a column of `source.columns_known_at`.

    Nobody knows it when the prediction is made, so a replay would score other rows than the runs
    of the day did. The label's own columns are allowed: ``outcome IS NULL`` is how the rows that
    are still open are asked for, and no model sees it.
    """
    _refuse_late_reads(
        "predictions.where",
        scored_where,
        late_columns(source, None),
        hint="choose the rows by what is known by the prediction time",
    )


def _refuse_late_reads(where: str, sql: str, late: Mapping[str, str], *, hint: str) -> None:
    for used in sorted(check_expression(sql, where=where, params=("as_of",))):
        if used.lower() in late:
            raise LeakRefused(
                f"`{sql}` reads '{used}': {late[used.lower()]}", where=where, hint=hint
            )


def late_columns(source: Source, label: Label | None) -> dict[str, str]:
    """Lower-case source column -> why it is not known at the prediction time."""
    late = {}
    if label is not None and label.table is None:
        for column in check_expression(label.expression, where="label.expression"):
            late[column.lower()] = "the label is made of it"
    for column, known_at in source.columns_known_at.items():
        if known_at != source.known_at:
            late[known_at.lower()] = f"it says when '{column}' became known"
    for column, known_at in source.columns_known_at.items():
        late[column.lower()] = f"it becomes known later, at '{known_at}'"
    return late


def refuse_rows_known_late(rows: DataFrame, source: Source) -> None:
    """Raise LeakRefused when rows became known after their prediction time (one aggregate).

    Rows where either time is null are not counted. Raises ColumnMissing, TypeMismatch and
    ExpressionRefused for times that cannot be read.
    """
    if source.known_at is None or source.prediction_time is None:
        return
    _check_times(rows, source.known_at, source.prediction_time)
    times = rows.select(
        F.expr(micros(quoted(source.known_at))).alias("known"),
        F.expr(micros(source.prediction_time)).alias("t"),
    )
    late = F.expr("known > t")
    found = times.agg(
        F.count("*").alias("rows"),
        F.count(F.when(late, 1)).alias("late"),
        F.min(F.when(late, F.col("t"))).alias("first"),
    )
    day = F.expr("cast(to_date(timestamp_micros(first)) as string)").alias("day")
    (counts,) = found.select("rows", "late", day).collect()
    if counts["late"]:
        raise LeakRefused(
            f"{counts['late']} of {counts['rows']} rows became known ('{source.known_at}') after "
            f"their prediction time ({source.prediction_time}), the first on {counts['day']}",
            where=f"source ({source.table})",
            hint="predict later, or take the rows that are late out in a view",
        )


def _check_times(rows: DataFrame, known_at: str, prediction_time: str) -> None:
    check_columns(rows, [known_at], where="source.known_at")
    check_is_time(data_type(rows, known_at).typeName(), f"'{known_at}'", "source.known_at")
    where = "source.prediction_time"
    found = expression_types(rows, {where: prediction_time})[where].typeName()
    check_is_time(found, f"'{prediction_time}'", where)


def _expressions(source: Source, features: Sequence[Feature]) -> Iterator[tuple[str, str]]:
    for feature in features:
        yield f"feature '{feature.name}'", feature.expression
    if source.prediction_time is not None:
        yield "source.prediction_time", source.prediction_time


def _refuse_late_keys(name: str, context: Context, late: Mapping[str, str]) -> None:
    for column in context.on:
        if column.lower() in late:
            raise LeakRefused(
                f"it is joined by '{column}': {late[column.lower()]}",
                where=place(name, context),
                hint="join by columns that are known by the prediction time",
            )


def _refuse_known_at_expression(name: str, context: Context) -> None:
    if context.known_at is not None and _EXPRESSION.search(context.known_at):
        raise LeakRefused(
            f"known_at is a column, and `{context.known_at}` is an expression",
            where=place(name, context),
            hint="write the time at which a row became known into a column of the table",
        )


def _tables_over_time(
    source: Source, contexts: Mapping[str, Context], label: Label | None
) -> dict[str, str]:
    """Table -> why its rows are known to come over time."""
    over_time = {}
    for name, context in contexts.items():
        if not context.static:
            why = f"the context '{name}' reads it by '{context.known_at}'"
            over_time[_table(context.table)] = why
    if source.known_at is not None or source.columns_known_at:
        over_time[_table(source.table)] = "the source reads it with the times it became known"
    if label is not None:
        over_time[_table(label.table or source.table)] = "the label is in it"
    return over_time


def _refuse_static(name: str, context: Context, over_time: Mapping[str, str]) -> None:
    if context.static and _table(context.table) in over_time:
        raise LeakRefused(
            f"it is a static lookup, but {over_time[_table(context.table)]}",
            where=place(name, context),
            hint="say when its rows became known (`known_at` and `lookback_window`)",
        )


def _known_at_of(source: Source, label: Label | None) -> dict[tuple[str, str], str | None]:
    """(table, column) -> the column that says when its values became known; None: nobody says."""
    known_at: dict[tuple[str, str], str | None] = {}
    if label is not None:
        table = _table(label.table or source.table)
        for column in check_expression(label.expression, where="label.expression"):
            known_at[table, column.lower()] = label.known_at
    for column, time in source.columns_known_at.items():
        known_at[_table(source.table), column.lower()] = time
    return known_at


def _refuse_early_reads(
    name: str, context: Context, known_at: Mapping[tuple[str, str], str | None]
) -> None:
    """A late column taken by the time at which only its row became known."""
    aggregated = [one.column for one in context.aggregates.values()]
    for column in (*context.latest.values(), *aggregated):
        key = (_table(context.table), column.lower())
        if context.static or key not in known_at:
            continue
        time = known_at[key]
        if time is None:
            raise LeakRefused(
                f"it reads '{column}', of which the label is made, and nothing says when that "
                "becomes known",
                where=place(name, context),
                hint="declare it: `source.columns_known_at`, or `label.known_at`",
            )
        if time.lower() != str(context.known_at).lower():
            raise LeakRefused(
                f"it reads '{column}' by '{context.known_at}', but that becomes known at '{time}'",
                where=place(name, context),
                hint=f"set known_at to {time}",
            )


def _table(name: str) -> str:
    """A table's name as it is compared. Case aside: two names that differ in it are rare."""
    return name.strip().rstrip("/").lower()
