"""The SQL stage on Delta tables: what it reads, what it makes, and what it says of mistakes."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from urllib.parse import unquote, urlparse

import pytest

from lakescore.config.workload import Context, Feature, Source
from lakescore.errors import (
    ColumnMissing,
    ExpressionRefused,
    LeakRefused,
    StaleContext,
    TypeMismatch,
    UsageError,
)
from lakescore.features.intervals import check_max_lag, needed_intervals, prediction_times
from lakescore.features.leak_guard import refuse_rows_known_late
from lakescore.features.sql_stage import (
    feature_frame,
    infer_features,
    resolve_features,
    unusable_columns,
)

pytestmark = pytest.mark.spark

SOURCE = Source.model_validate({"table": "flights", "key": "id", "prediction_time": "t"})
WEATHER = Context.model_validate(
    {
        "table": "weather",
        "on": "origin",
        "known_at": "known_at",
        "lookback_window": "6 hours",
        "latest": ["temp"],
        "max_lag": "3 hours",
    }
)
PLANES = Context.model_validate(
    {"table": "planes", "on": "tail", "static": True, "latest": ["seats"]}
)


def features(**expressions):
    return [Feature.model_validate({"name": name, **spec}) for name, spec in forms(expressions)]


def forms(expressions):
    for name, spec in expressions.items():
        yield name, spec if isinstance(spec, dict) else {"expression": spec}


def flights(spark, *days):
    """One flight a day, predicted at 03:00."""
    values = ", ".join(
        f"({i}, 'JFK', 'N{i}', 2.5, timestamp'{day} 03:00:00')" for i, day in enumerate(days)
    )
    return spark.sql(f"select * from values {values} f(id, origin, tail, distance, t)")


def weather_table(spark, root: Path):
    """A report every two hours of twelve days, one Delta file a day."""
    path = str(root / "weather")
    day = "sequence(timestamp'2020-01-01', timestamp'2020-01-12', interval 1 day)"
    hours = "sequence(day, day + interval 22 hours, interval 2 hours)"
    (
        spark.sql(f"select explode({day}) day")
        .selectExpr(f"explode({hours}) known_at")
        .selectExpr("known_at", "'JFK' origin", "dayofmonth(known_at) + hour(known_at) / 100 temp")
        .repartition(12, "known_at")
        .selectExpr("*", "to_date(known_at) day")
        .write.format("delta")
        .partitionBy("day")
        .save(path)
    )
    return spark.read.format("delta").load(path)


def file_of(frame, where):
    from pyspark.sql import functions as F

    rows = frame.where(where).select(F.input_file_name().alias("file")).distinct().collect()
    return [Path(unquote(urlparse(row["file"]).path)) for row in rows]


def test_only_the_days_that_the_rows_need_are_read(spark, lake_root):
    weather = weather_table(spark, lake_root)
    for file in file_of(weather, "known_at >= '2020-01-04' and known_at < '2020-01-08'"):
        file.unlink()
    rows = flights(spark, "2020-01-03", "2020-01-09")
    frame = feature_frame(
        rows,
        source=SOURCE,
        contexts={"weather": WEATHER},
        frames={"weather": weather},
        features=features(temp="temp"),
        keep=["id"],
    )
    assert {tuple(row) for row in frame.collect()} == {(0, 3.02), (1, 9.02)}


def test_needed_intervals_reach_back_and_merge(spark):
    rows = flights(spark, "2020-01-03", "2020-01-04", "2020-01-09").unionByName(
        spark.sql("select 9 id, 'JFK' origin, 'N' tail, 2.5 distance, cast(null as timestamp) t")
    )

    def day(number, hour=0):
        return datetime(2020, 1, number, hour, tzinfo=timezone.utc)

    assert needed_intervals(rows, "t", timedelta(hours=6)) == [
        (day(2, 18), day(5)),
        (day(8, 18), day(10)),
    ]
    assert needed_intervals(rows, "t", timedelta(days=4)) == [
        (datetime(2019, 12, 30, tzinfo=timezone.utc), day(10))
    ]
    assert needed_intervals(rows.limit(0), "t", timedelta(days=4)) == []
    times = prediction_times(rows, "t - INTERVAL 4 HOURS")
    assert times.days == (date(2020, 1, 2), date(2020, 1, 3), date(2020, 1, 8))
    assert times.last == day(8, 23)


def test_days_end_at_midnight_before_1970_too(spark):
    rows = spark.sql("select timestamp'1969-12-31 23:59:59.999999' t")
    assert prediction_times(rows, "t").days == (date(1969, 12, 31),)


def test_a_stale_context_stops_the_run(spark):
    reports = spark.sql(
        "select * from values (timestamp'2020-01-03 00:00:00', 1), "
        "(timestamp'2020-01-03 09:00:00', 2) w(known_at, temp)"
    )
    last = datetime(2020, 1, 3, 3, tzinfo=timezone.utc)
    check_max_lag("weather", WEATHER, reports, last)
    check_max_lag("weather", WEATHER, reports, None)
    with pytest.raises(StaleContext) as caught:
        check_max_lag("weather", WEATHER, reports, last + timedelta(seconds=1))
    assert str(caught.value).startswith(
        "context 'weather' (weather): the rows are predicted up to 2020-01-03 03:00:01 UTC, "
        "and the table ends at 2020-01-03 00:00:00 UTC; max_lag is 3 hours"
    )
    with pytest.raises(StaleContext, match="has no row known by then"):
        check_max_lag("weather", WEATHER, reports.where("temp = 2"), last)


def test_a_feature_and_a_kept_column_may_share_a_name(spark):
    planes = spark.sql("select 'N0' tail, 150 seats")
    frame = feature_frame(
        flights(spark, "2020-01-03", "2020-01-04"),
        source=SOURCE,
        contexts={"planes": PLANES, "weather": WEATHER},
        frames={
            "planes": planes,
            "weather": spark.sql("select 'JFK' origin, timestamp'2020-01-03' known_at, 1.5D temp"),
        },
        features=features(
            id="id * 2",
            tail="upper(tail)",
            seats="seats",
            big="seats > 100",
            hour={"expression": "hour(t)", "categorical": True},
            distance="cast(distance as decimal(10,1))",
        ),
        keep=["id", "tail"],
    )
    assert [(one.name, one.dataType.simpleString()) for one in frame.schema] == [
        ("id", "int"),
        ("tail", "string"),
        ("_f_id", "double"),
        ("_f_tail", "string"),
        ("_f_seats", "double"),
        ("_f_big", "double"),
        ("_f_hour", "string"),
        ("_f_distance", "double"),
    ]
    assert {tuple(row) for row in frame.collect()} == {
        (0, "N0", 0.0, "N0", 150.0, 1.0, "3", 2.5),
        (1, "N1", 2.0, "N1", None, None, "3", 2.5),
    }


def test_a_context_that_no_feature_uses_is_not_read(spark):
    doubled = spark.sql("select 'N0' tail, 150 seats").unionAll(spark.sql("select 'N0', 151"))
    frame = feature_frame(
        flights(spark, "2020-01-03"),
        source=SOURCE,
        contexts={"planes": PLANES},
        frames={"planes": doubled},
        features=features(distance="distance"),
        keep=[],
    )
    assert [tuple(row) for row in frame.collect()] == [(2.5,)]


@pytest.mark.parametrize(
    ("feature", "error", "said"),
    [
        (
            "distnce * 2",
            ColumnMissing,
            "feature 'x': no column 'distnce' for the expression: distnce * 2",
        ),
        ("distnce * 2", ColumnMissing, "did you mean 'distance'?"),
        ("no_such(distance)", ExpressionRefused, "no_such"),
        ("hour(origin) + array(1)", ExpressionRefused, "hour(origin) + array(1)"),
        ("t", TypeMismatch, "`t` is timestamp, not a number, boolean or string"),
        ("to_date(t)", TypeMismatch, "datediff"),
        ("array(1, 2)", TypeMismatch, "size(x)"),
        ("null", TypeMismatch, "cast it"),
        ({"expression": "origin", "categorical": False}, TypeMismatch, "CAST(x AS DOUBLE)"),
    ],
)
def test_a_feature_that_cannot_be_made_says_which_and_why(spark, feature, error, said):
    with pytest.raises(error) as caught:
        resolve_features(
            flights(spark, "2020-01-03"),
            source=SOURCE,
            contexts={},
            frames={},
            features=features(good="distance", x=feature),
        )
    assert said in str(caught.value)
    assert "feature 'x'" in str(caught.value)


@pytest.mark.parametrize(
    ("keep", "error", "said"),
    [("carier", ColumnMissing, "no column 'carier'"), ("_f_x", UsageError, "marks features")],
)
def test_kept_columns_are_checked(spark, keep, error, said):
    rows = flights(spark, "2020-01-03").withColumnRenamed("tail", "_f_x")
    with pytest.raises(error, match=said):
        feature_frame(
            rows,
            source=SOURCE,
            contexts={},
            frames={},
            features=features(d="distance"),
            keep=[keep],
        )


def test_features_all_takes_usable_columns_and_names_the_rest(spark):
    df = spark.sql(
        "select 1 id, 2 `a b`, 'x' `a.b`, true ok, 1.5BD price, current_date() day, array(1) list"
    )
    inferred = infer_features(df.schema, exclude=["ID"])
    assert {one.name: one.expression for one in inferred} == {
        "a_b": "`a b`",
        "a_b_2": "`a.b`",
        "ok": "`ok`",
        "price": "`price`",
    }
    assert unusable_columns(df.schema, exclude=["id"]) == {"day": "date", "list": "array<int>"}
    assert resolve_features(
        df,
        source=SOURCE.model_copy(update={"prediction_time": None}),
        contexts={},
        frames={},
        features=inferred,
    ) == {"a_b": "numeric", "a_b_2": "categorical", "ok": "numeric", "price": "numeric"}


def test_rows_known_after_their_prediction_are_refused_with_counts(spark):
    source = SOURCE.model_copy(update={"known_at": "published"})
    rows = flights(spark, "2020-01-03", "2020-01-04", "2020-01-05")
    on_time = rows.selectExpr("*", "t as published")
    refuse_rows_known_late(on_time, source)
    late = rows.selectExpr("*", "if(id = 0, t, t + interval 1 microsecond) as published")
    with pytest.raises(LeakRefused) as caught:
        refuse_rows_known_late(late, source)
    assert "2 of 3 rows became known ('published') after their prediction time (t)" in str(
        caught.value
    )
    assert "the first on 2020-01-04" in str(caught.value)
