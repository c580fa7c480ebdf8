"""Flights as they would land in the lake: history at once, then December day by day."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

from lakescore.workflows.demo.flights import DAILY

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from lakescore.lake.tables import Lake
    from lakescore.lake.writes import WriteOutcome

DECEMBER = date(2013, 12, 1)
LAST_DAY = date(2013, 12, 31)
#: Days after this one land one by one, unless all of December is replayed.
FIRST_SINGLE_DAY = date(2013, 12, 29)


@dataclass(frozen=True)
class Landing:
    """Rows of the days in [first, last]; None means no bound."""

    name: str
    first: date | None
    last: date | None

    @property
    def days(self) -> frozenset[date]:
        """Each day between the bounds; none without both."""
        if self.first is None or self.last is None:
            return frozenset()
        count = (self.last - self.first).days + 1
        return frozenset(self.first + timedelta(days=offset) for offset in range(count))

    def rows(self, frame: DataFrame, day_column: str, without: Set[date]) -> DataFrame:
        """The frame's rows of these days, but for the days `without`."""
        from pyspark.sql import functions as F

        day = F.col(day_column)
        if self.first is not None:
            frame = frame.where(day >= F.lit(self.first))
        if self.last is not None:
            frame = frame.where(day <= F.lit(self.last))
        known = sorted(without & self.days)
        return frame.where(~day.isin(known)) if known else frame


HISTORY = Landing("january to november", None, DECEMBER - timedelta(days=1))


def december(*, replay: bool) -> list[Landing]:
    """The landings of December: most of it at once, or each day by itself."""
    single_from = DECEMBER if replay else FIRST_SINGLE_DAY
    days = (LAST_DAY - single_from).days + 1
    singles = [_single(single_from + timedelta(days=offset)) for offset in range(days)]
    if replay:
        return singles
    until = FIRST_SINGLE_DAY - timedelta(days=1)
    return [Landing("december 1 to 28", DECEMBER, until), *singles]


def _single(day: date) -> Landing:
    return Landing(day.isoformat(), day, day)


@dataclass(frozen=True)
class Bronze:
    """The demo's tables, what is to land in them, and the days of December that were in before.

    December lands in one commit or in one a day, and the demo may be run in one way and then in
    the other: the numbers of the commits alone would not keep its days from landing twice.
    """

    spark: SparkSession
    lake: Lake
    frames: Mapping[str, DataFrame]
    days_in: Mapping[str, Set[date]]

    @classmethod
    def of(cls, spark: SparkSession, lake: Lake, frames: Mapping[str, DataFrame]) -> Bronze:
        with ThreadPoolExecutor(4) as pool:
            found = pool.map(lambda name: _days_in(spark, lake, name), DAILY)
            return cls(spark, lake, frames, dict(zip(DAILY, found, strict=True)))

    def land(self, names: Sequence[str], landing: Landing) -> dict[str, WriteOutcome]:
        """One commit for each of these tables, exactly once however often called.

        The tables that do not grow by the day are taken whole. Tables that have all the days
        already are left out of the outcomes.
        """
        open_ones = [name for name in names if not self._has(name, landing)]
        with ThreadPoolExecutor(4) as pool:
            outcomes = pool.map(lambda name: self._append(name, landing), open_ones)
            return dict(zip(open_ones, outcomes, strict=True))

    def _has(self, name: str, landing: Landing) -> bool:
        return bool(landing.days) and landing.days <= self.days_in.get(name, frozenset())

    def _append(self, name: str, landing: Landing) -> WriteOutcome:
        from lakescore.lake.copies import append_frame

        rows = self.frames[name]
        if name in DAILY:
            rows = landing.rows(rows, _day_column(name), self.days_in[name])
        table = self.lake.table(f"bronze.{name}")
        return append_frame(self.spark, table, rows.coalesce(2), f"flights:{landing.name}")


def _days_in(spark: SparkSession, lake: Lake, name: str) -> frozenset[date]:
    """The days of December of which a daily table has rows: a day lands whole or not at all."""
    from pyspark.sql import functions as F

    table = lake.table(f"bronze.{name}")
    if not table.exists(spark):
        return frozenset()
    day = F.col(_day_column(name))
    days = table.read(spark).where(day >= F.lit(DECEMBER)).select(day.alias("day")).distinct()
    return frozenset(row["day"] for row in days.collect())


def _day_column(name: str) -> str:
    return "observed_on" if name == "weather" else "flight_date"
