"""Flights as they would land in the lake: history at once, then December day by day."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

from lakescore.workflows.demo.flights import DAILY

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from lakescore.lake.tables import Lake

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

    def rows(self, frame: DataFrame, day_column: str) -> DataFrame:
        from pyspark.sql import functions as F

        day = F.col(day_column)
        if self.first is not None:
            frame = frame.where(day >= F.lit(self.first))
        return frame if self.last is None else frame.where(day <= F.lit(self.last))


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


def land(
    spark: SparkSession,
    lake: Lake,
    frames: Mapping[str, DataFrame],
    landings: Mapping[str, Sequence[Landing]],
) -> None:
    """Table -> what lands in it: one commit each, in order, exactly once however often called.

    The tables that do not grow by the day are taken whole.
    """
    from lakescore.lake.copies import append_frame

    def append(name: str) -> None:
        day_column = "observed_on" if name == "weather" else "flight_date"
        table = lake.table(f"bronze.{name}")
        for landing in landings[name]:
            rows = landing.rows(frames[name], day_column) if name in DAILY else frames[name]
            append_frame(spark, table, rows.coalesce(2), f"flights:{landing.name}")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(append, landings))
