"""Resolve columns and expressions against a frame's schema, without running anything."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, NoReturn

from pyspark.sql import functions as F

from lakescore.config.base import quoted
from lakescore.config.expressions import check_expression
from lakescore.errors import (
    ColumnMissing,
    ExpressionRefused,
    LakescoreError,
    TypeMismatch,
    did_you_mean,
)

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame
    from pyspark.sql.types import DataType

INTEGERS = frozenset({"byte", "short", "integer", "long"})
FRACTIONS = frozenset({"float", "double", "decimal"})
NUMBERS = INTEGERS | FRACTIONS
NESTED = frozenset({"map", "array", "struct", "variant"})
TIMESTAMPS = frozenset({"timestamp", "timestamp_ntz"})


def col(name: str) -> Column:
    """A column by its whole name: dots in it are part of the name."""
    return F.col(quoted(name))


def data_type(df: DataFrame, name: str) -> DataType:
    """The type of a column, found without regard to case, as Spark does."""
    return next(one.dataType for one in df.schema if one.name.lower() == name.lower())


def check_columns(df: DataFrame, names: Iterable[str], *, where: str) -> None:
    """Raise ColumnMissing, with what is there, for names that `df` lacks."""
    known = {name.lower() for name in df.columns}
    missing = [name for name in dict.fromkeys(names) if name.lower() not in known]
    if missing:
        listed = ", ".join(f"'{name}'" for name in missing)
        raise ColumnMissing(
            f"no column {listed}", where=where, hint=did_you_mean(missing[0], df.columns)
        )


def expression_types(df: DataFrame, expressions: Mapping[str, str]) -> dict[str, DataType]:
    """Where -> type, for ``where -> SQL`` over the columns of `df`. Runs no job.

    Raises ColumnMissing for a name that is not there and ExpressionRefused for what the
    analyser does not take, each with the expression.
    """
    columns = [F.expr(sql).alias(str(i)) for i, sql in enumerate(_parsed(expressions).values())]
    try:
        schema = df.select(*columns).schema
    except _analysis_errors():
        for where, sql in expressions.items():
            _resolve_one(df, where, sql)
        raise
    return {where: field.dataType for where, field in zip(expressions, schema, strict=True)}


def check_type(
    df: DataFrame, sql: str, types: Collection[str], expected: str, *, where: str, hint: str
) -> None:
    """Raise TypeMismatch unless `sql` gives one of `types`, else as `expression_types`."""
    found = expression_types(df, {where: sql})[where]
    if found.typeName() not in types:
        raise TypeMismatch(
            f"`{sql}` is {found.simpleString()}, not {expected}", where=where, hint=hint
        )


def _parsed(expressions: Mapping[str, str]) -> Mapping[str, str]:
    """The same, once Spark's parser took each."""
    for where, sql in expressions.items():
        try:
            F.expr(sql)
        except _analysis_errors() as error:
            raise _refused(where, sql, error) from error
    return expressions


def _resolve_one(df: DataFrame, where: str, sql: str) -> None:
    try:
        _ = df.select(F.expr(sql)).schema
    except _analysis_errors() as error:
        _raise_for(df, where, sql, error)


def _raise_for(df: DataFrame, where: str, sql: str, error: Exception) -> NoReturn:
    known = {name.lower() for name in df.columns}
    used = check_expression(sql, where=where)
    missing = sorted(name for name in used if name.lower() not in known)
    if not missing:
        raise _refused(where, sql, error) from error
    raise ColumnMissing(
        f"no column '{missing[0]}' for the expression: {sql}",
        where=where,
        hint=did_you_mean(missing[0], df.columns),
    ) from error


def _refused(where: str, sql: str, error: Exception) -> LakescoreError:
    said = str(error).strip().split("\n", 1)[0].split("; line ", 1)[0]
    return ExpressionRefused(f"Spark does not take the expression: {sql}", where=where, hint=said)


def _analysis_errors() -> tuple[type[Exception], ...]:
    """Spark's own, on every line: 3.3 has them elsewhere, and Connect raises subclasses."""
    try:
        from pyspark.errors import AnalysisException, ParseException
    except ImportError:
        from pyspark.sql.utils import AnalysisException, ParseException
    return (AnalysisException, ParseException)
