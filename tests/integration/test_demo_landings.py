"""The demo's December lands once, whether as one commit, day by day, or half of it each way."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from lakescore.config.settings import Settings
from lakescore.lake.tables import Lake
from lakescore.workflows.demo.landings import Bronze, december

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

DAYS = [date(2013, 12, day) for day in (1, 2, 29)]


def test_december_lands_once_in_whatever_form_the_demo_is_run(
    spark: SparkSession, settings: Settings
) -> None:
    lake = Lake(settings.lake)
    frame = spark.createDataFrame([(str(day), day) for day in DAYS], "id string, observed_on date")

    def run(*, replay: bool, days: list[date] = DAYS) -> list[str]:
        """Land what has one of the days; the landings that made a commit."""
        bronze = Bronze.of(spark, lake, {"weather": frame})
        landings = [one for one in december(replay=replay) if one.days & set(days)]
        return [
            landing.name
            for landing in landings
            if any(outcome.committed for outcome in bronze.land(("weather",), landing).values())
        ]

    # A replay that stopped after its first day, then the short form, then each again.
    assert run(replay=True, days=DAYS[:1]) == ["2013-12-01"]
    assert run(replay=False) == ["december 1 to 28", "2013-12-29"]
    assert run(replay=True) == []
    assert run(replay=False) == []
    rows = lake.table("bronze.weather").read(spark).select("id").collect()
    assert sorted(row["id"] for row in rows) == [str(day) for day in DAYS]
