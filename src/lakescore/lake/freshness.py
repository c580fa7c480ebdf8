"""The newest moment that a table's rows tell, at a cost that follows the newest rows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from lakescore.config.base import quoted
from lakescore.errors import ColumnMissing, TypeMismatch, did_you_mean
from lakescore.lake.spark_errors import reading

if TYPE_CHECKING:
    from pyspark.sql import DataFrame
    from pyspark.sql.types import StructType

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_KINDS = ("timestamp", "timestamp_ntz", "date")
#: A moment so far ahead may come from another clock or time zone; a later one is a mistake.
LEEWAY = timedelta(days=1)


@dataclass(frozen=True)
class Newest:
    """`moment` is in UTC, None without a value; `ahead` counts rows beyond LEEWAY from now."""

    moment: datetime | None
    ahead: int = 0


def newest_moment(
    rows: DataFrame, column: str, *, now: datetime, within: timedelta, where: str
) -> Newest:
    """The newest value of a timestamp or date column (a date is its midnight, in UTC).

    Rows older than `within` are looked at only when none is newer, so that Delta skips the files
    that hold old rows. Values more than LEEWAY after `now` are counted, and tell nothing. Raises
    ColumnMissing and TypeMismatch.
    """
    kind = check_moments(rows.schema, column, where=where)
    name = quoted(column)
    recent = rows.where(f"{name} >= {_literal(now - within, kind)}")
    last = _literal(now + LEEWAY, kind)
    with reading(where):
        found = _newest(recent, name, last)
        return found if found.moment is not None else _newest(rows, name, last)


def check_moments(schema: StructType, column: str, *, where: str) -> str:
    """The type of the column. Raises ColumnMissing, and TypeMismatch where it tells no moment."""
    for field in schema:
        if field.name.lower() == column.lower():
            kind = str(field.dataType.simpleString())
            if kind in _KINDS:
                return kind
            raise TypeMismatch(
                f"source.freshness.column '{column}' is {kind}, and must be a timestamp or a date",
                where=where,
            )
    raise ColumnMissing(
        f"missing: '{column}' (source.freshness.column)",
        where=where,
        hint=did_you_mean(column, schema.names),
    )


def _newest(rows: DataFrame, name: str, last: str) -> Newest:
    micros = f"unix_micros(cast({name} as timestamp))"
    found = rows.agg(
        F.expr(f"max(CASE WHEN {name} <= {last} THEN {micros} END)").alias("newest"),
        F.expr(f"count(CASE WHEN {name} > {last} THEN 1 END)").alias("ahead"),
    ).collect()[0]
    return Newest(None if found["newest"] is None else _moment(found["newest"]), found["ahead"])


def _literal(moment: datetime, kind: str) -> str:
    """SQL of the column's own type, so that files are skipped by their statistics."""
    text = moment.astimezone(timezone.utc).replace(tzinfo=None).isoformat(sep=" ")
    return f"cast(TIMESTAMP'{text} UTC' as {kind})"


def _moment(micros: int) -> datetime:
    try:
        return _EPOCH + timedelta(microseconds=micros)
    except OverflowError:  # before the year 1
        return datetime.min.replace(tzinfo=timezone.utc)
