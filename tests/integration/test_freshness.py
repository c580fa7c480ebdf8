"""A declared freshness: what stops a scoring run, what only warns, and what tells nothing."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from lakescore.errors import ColumnMissing, StaleSource, TypeMismatch
from lakescore.lake.freshness import newest_moment
from lakescore.workflows.plan import plan_scoring
from lakescore.workflows.run_result import Status, read_results
from lakescore.workflows.status import status
from lakescore.workflows.steps import requested
from tests.linear import Life

pytestmark = pytest.mark.spark

NOW = datetime.now(timezone.utc).replace(microsecond=0)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
SCHEMA = "id int, x double, day date, loaded_at timestamp"
BOUNDS = {"column": "loaded_at", "warn_after": "12 hours", "error_after": "1 day"}


def land(life: Life, *rows: tuple[int, datetime | None], schema: str = SCHEMA) -> None:
    kept = [(key, 1.0, NOW.date(), moment) for key, moment in rows]
    frame = life.spark.createDataFrame(kept, schema).coalesce(1)
    frame.write.format("delta").mode("append").save(life.source.path)


def test_a_stale_source_fails_the_run_even_when_nothing_is_new(life) -> None:
    one = life(source={"freshness": BOUNDS})
    land(one, (1, NOW - HOUR))
    assert one.score().details["freshness"]["state"] == "fresh"
    assert one.score().status is Status.NOTHING_TO_DO

    one.sql("UPDATE {t} SET loaded_at = loaded_at - INTERVAL 2 DAYS")
    with pytest.raises(StaleSource) as caught:
        one.score(full=True)
    before = f"{NOW - HOUR - 2 * DAY:%Y-%m-%d %H:%M:%S} UTC, 2 d 1 h ago"
    assert caught.value.what == (
        f"the newest `loaded_at` is {before}; warn_after is 12 hours; error_after is 1 day"
    )
    assert caught.value.where == "events@1"
    assert "run again when it has caught up" in str(caught.value.hint)
    assert caught.value.exit_code == 1
    assert one.scores() == [(1, 3.0, "1")]
    assert read_results(one.settings.runs)[-1].details["freshness"]["state"] == "stale"
    asked = requested(None, full=True)
    told = "\n".join(plan_scoring(one.spark, one.settings, one.workload, asked).lines())
    assert f"freshness    stale: the newest `loaded_at` is {before}" in told
    note = status(one.spark, one.settings, [one.workload])[0].note
    assert note is not None
    assert note.startswith("stale: the newest")


def test_a_late_source_is_scored_with_a_warning(life, caplog) -> None:
    one = life(source={"freshness": BOUNDS})
    land(one, (1, NOW - 13 * HOUR))
    result = one.score()
    assert result.status is Status.DONE
    assert len(result.warnings) == 1
    assert "events@0: the newest `loaded_at` is" in result.warnings[0]
    assert re.search(r"13 h \d+ min ago; warn_after is 12 hours", result.warnings[0])
    assert result.warnings[0] in caplog.text
    (again,) = one.score().warnings
    assert again.startswith("events@0: the newest `loaded_at` is")


@pytest.mark.parametrize("rows", [[], [(1, None)], [(1, NOW + 3 * DAY)]])
def test_a_source_that_tells_no_moment_is_stale(life, rows) -> None:
    one = life(source={"freshness": BOUNDS})
    land(one, *rows)
    with pytest.raises(StaleSource, match="no row has a `loaded_at` that counts"):
        one.score()


def test_moments_ahead_tell_nothing_beyond_a_day(life) -> None:
    one = life(source={"freshness": BOUNDS})
    land(one, (1, NOW - 30 * HOUR), (2, NOW + 40 * DAY), (3, NOW + 50 * DAY))
    with pytest.raises(StaleSource, match="1 d 6 h ago"):
        one.score()
    land(one, (4, NOW + 2 * HOUR))
    result = one.score()
    assert result.details["freshness"]["age_seconds"] == 0
    assert "`loaded_at` of 2 rows is more than a day ahead" in result.warnings[0]


def test_a_date_is_its_midnight(life) -> None:
    one = life(source={"freshness": {"column": "day", "error_after": "2 days"}})
    land(one, (1, None))
    found = one.score().details["freshness"]
    assert found["newest"] == f"{NOW.date()}T00:00:00+00:00"
    one.sql("UPDATE {t} SET day = day - INTERVAL 3 DAYS")
    with pytest.raises(StaleSource, match="error_after is 2 days"):
        one.score()


def test_other_columns_are_refused(life) -> None:
    one = life(source={"freshness": {"column": "x", "error_after": "1 day"}})
    land(one, (1, NOW))
    with pytest.raises(TypeMismatch, match="'x' is double, and must be a timestamp or a date"):
        one.score()
    with pytest.raises(ColumnMissing, match="'loaded' "):
        life(source={"freshness": {"column": "loaded", "error_after": "1 day"}}).score()


def test_old_files_are_not_read_while_there_is_a_new_row(life, spark) -> None:
    one = life(source={"freshness": BOUNDS})
    land(one, (1, NOW - 9 * DAY))
    old = {path.name for path in Path(str(one.source.path)).glob("*.parquet")}
    land(one, (2, NOW - HOUR))
    for name in old:
        (Path(str(one.source.path)) / name).unlink()
    rows = one.source.read(spark)
    found = newest_moment(rows, "loaded_at", now=NOW, within=DAY, where="events")
    assert found.moment == NOW - HOUR
