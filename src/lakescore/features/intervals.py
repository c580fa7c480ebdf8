"""Which days of a context table the rows at hand need, and whether the table is fresh enough."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from pyspark.sql import functions as F

from lakescore.config.base import format_duration, quoted
from lakescore.config.workload import Context
from lakescore.errors import StaleContext
from lakescore.features.resolve import check_columns, col

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_DAY = timedelta(days=1)
#: Days outside the calendar of Python, which rows may hold by mistake, are read as its ends.
_FIRST, _LAST = (date(1, 1, 2) - _EPOCH.date()).days, (date(9999, 12, 30) - _EPOCH.date()).days
#: More ranges than this make a filter that is slower than what it saves; near ones are merged.
MAX_INTERVALS = 64


class Interval(NamedTuple):
    """Times t with ``after < t < before``, in UTC."""

    after: datetime
    before: datetime


@dataclass(frozen=True)
class PredictionTimes:
    """When the rows at hand are predicted: the days (UTC, sorted) and the last moment."""

    days: tuple[date, ...]
    last: datetime | None


def micros(sql: str) -> str:
    """SQL for a timestamp expression as microseconds since 1970 UTC (the session runs in UTC)."""
    return f"unix_micros(cast(({sql}) as timestamp))"


def floor_div(sql: str, unit: int) -> str:
    """SQL for a long divided by `unit` and rounded down, before 1970 too."""
    return f"({sql} - pmod({sql}, {unit}L)) div {unit}L"


def prediction_times(rows: DataFrame, prediction_time: str) -> PredictionTimes:
    """The days and the last moment at which `rows` are predicted: one aggregate, a row a day."""
    day_micros = _DAY // timedelta(microseconds=1)
    moments = rows.select(F.expr(micros(prediction_time)).alias("t")).where("t is not null")
    by_day = moments.groupBy(F.expr(floor_div("t", day_micros)).alias("day"))
    found = by_day.agg(F.max("t").alias("last")).collect()
    days = sorted({min(max(int(row["day"]), _FIRST), _LAST) for row in found})
    last = max((row["last"] for row in found), default=None)
    return PredictionTimes(
        days=tuple((_EPOCH + day * _DAY).date() for day in days),
        last=None if last is None else _moment(last),
    )


def needed_intervals(rows: DataFrame, prediction_time: str, lookback: timedelta) -> list[Interval]:
    """The times at which a context row that `rows` need became known, at most `MAX_INTERVALS`."""
    return intervals_of(prediction_times(rows, prediction_time).days, lookback)


def intervals_of(days: Sequence[date], lookback: timedelta) -> list[Interval]:
    """Each day extended back by `lookback`; those that touch or overlap are one."""
    merged: list[Interval] = []
    for day in sorted(days):
        start = datetime(day.year, day.month, day.day, tzinfo=timezone.utc)
        interval = Interval(_back(start, lookback), start + _DAY)
        if merged and interval.after <= merged[-1].before:
            interval = Interval(merged.pop().after, interval.before)
        merged.append(interval)
    return _at_most(MAX_INTERVALS, merged)


def known_within(frame: DataFrame, known_at: str, intervals: Sequence[Interval]) -> DataFrame:
    """The rows of `frame` known within any of `intervals`; Delta skips files by it."""
    known = col(known_at)
    wanted = F.lit(False)
    for after, before in intervals:
        wanted = wanted | ((known > F.expr(_literal(after))) & (known < F.expr(_literal(before))))
    return frame.where(wanted)


def check_max_lag(
    name: str, context: Context, frame: DataFrame, last_prediction: datetime | None
) -> None:
    """Raise StaleContext when the newest row of `frame` known by `last_prediction` is too old.

    `last_prediction` is `PredictionTimes.last`; None (no rows) and a context without `max_lag`
    pass. Reads the last `max_lag` of the table only, unless there is nothing in it.
    """
    if context.max_lag is None or context.known_at is None or last_prediction is None:
        return
    where = f"context '{name}' ({context.table})"
    check_columns(frame, [context.known_at], where=where)
    known = col(context.known_at)
    in_time = frame.where(known <= F.expr(_literal(last_prediction)))
    oldest = F.expr(_literal(_back(last_prediction, context.max_lag)))
    if in_time.where(known >= oldest).select(F.lit(1)).limit(1).count() > 0:
        return
    sql = micros(f"max({quoted(context.known_at)})")
    newest = in_time.agg(F.expr(sql).alias("newest")).collect()[0]["newest"]
    said = "has no row known by then" if newest is None else f"ends at {_text(_moment(newest))}"
    raise StaleContext(
        f"the rows are predicted up to {_text(last_prediction)}, and the table {said}; "
        f"max_lag is {format_duration(context.max_lag)}",
        where=where,
        hint="run again when the table has caught up; nothing was scored",
    )


def _back(moment: datetime, lookback: timedelta) -> datetime:
    try:
        return moment - lookback
    except OverflowError:
        return datetime.min.replace(tzinfo=timezone.utc)


def _at_most(count: int, intervals: list[Interval]) -> list[Interval]:
    """Fill the smallest gaps until no more than `count` intervals are left."""
    if len(intervals) <= count:
        return intervals
    gaps = [later.after - one.before for one, later in pairwise(intervals)]
    kept = set(sorted(range(len(gaps)), key=lambda i: gaps[i], reverse=True)[: count - 1])
    merged = [intervals[0]]
    for i, interval in enumerate(intervals[1:]):
        after = interval.after if i in kept else merged.pop().after
        merged.append(Interval(after, interval.before))
    return merged


def _moment(since_epoch: int) -> datetime:
    try:
        return _EPOCH + timedelta(microseconds=since_epoch)
    except OverflowError:
        end = datetime.max if since_epoch > 0 else datetime.min
        return end.replace(tzinfo=timezone.utc)


def _literal(moment: datetime) -> str:
    """A typed literal with its zone, so that neither Python's nor the session's zone matters."""
    return f"TIMESTAMP'{moment.replace(tzinfo=None).isoformat(sep=' ')} UTC'"


def _text(moment: datetime) -> str:
    return f"{moment.replace(tzinfo=None).isoformat(sep=' ', timespec='seconds')} UTC"
