"""What becomes of a run when the columns of its source changed since the last one."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from lakescore.errors import ColumnMissing, LakescoreError, TypeMismatch, UsageError
from lakescore.workflows.pins import pin_tables
from lakescore.workflows.plan import plan_scoring
from lakescore.workflows.row_expressions import check_training_rows
from lakescore.workflows.steps import Request
from lakescore.workflows.training_data import valid_rows
from lakescore.workflows.validate import validate_against_lake
from tests.linear import SCHEMA, Life, day, workload

pytestmark = pytest.mark.spark


def rewrite(one: Life, schema: str, *rows: tuple[Any, ...]) -> None:
    """Overwrite the source under another schema."""
    frame = one.spark.createDataFrame(list(rows), schema).coalesce(1)
    writer = frame.write.format("delta").mode("overwrite").option("overwriteSchema", "true")
    writer.save(one.source.path)


@pytest.mark.parametrize("feed", [True, False])
def test_an_upsert_stops_at_a_retyped_column_and_full_reads_it_anew(life, feed: bool) -> None:
    one = life(feed=feed, mode="upsert")
    one.append((1, 1.0, day(1)))
    one.score()
    rewrite(one, "id int, x float, day date", (1, 1.0, day(1)), (2, 2.0, day(1)))
    with pytest.raises(TypeMismatch, match="'x' was double and is float") as caught:
        one.score()
    assert "lakescore score NAME --full" in str(caught.value.hint)
    assert one.scores() == [(1, 3.0, "1")]
    one.score(full=True)
    assert one.scores() == [(1, 3.0, "1"), (2, 5.0, "1")]


def test_a_retyped_column_that_is_not_in_use_does_not_stop_an_upsert(life) -> None:
    one = life(feed=False, mode="upsert")
    one.append((1, 1.0, day(1)))
    rewrite(one, f"{SCHEMA}, note int", (1, 1.0, day(1), 5))
    one.score()
    rewrite(one, f"{SCHEMA}, note array<int>, new int", (1, 1.0, day(1), [5], 1))
    assert one.score().counts["predicted"] == 1
    assert one.scores() == [(1, 3.0, "1")]


def test_appends_stop_where_a_column_was_dropped_and_added_with_another_type(life) -> None:
    one = life()
    one.append((1, 1.0, day(1)))
    one.score()
    one.sql(
        "ALTER TABLE {t} SET TBLPROPERTIES (delta.columnMapping.mode = 'name', "
        "delta.minReaderVersion = 2, delta.minWriterVersion = 5)"
    )
    one.sql("ALTER TABLE {t} DROP COLUMN x")
    with pytest.raises(ColumnMissing, match="no column 'x'"):
        one.score()
    one.sql("ALTER TABLE {t} ADD COLUMNS (x string)")
    one.sql("INSERT INTO {t} VALUES (2, DATE'2024-01-01', '2.0')")
    with pytest.raises(TypeMismatch, match="'x' was double and is string"):
        one.score()


def test_a_feed_that_delta_does_not_read_over_a_dropped_column_is_a_clear_stop(life) -> None:
    """An unrelated column dropped: an upsert compares both ends; appends cannot be told apart."""
    rows = ((1, 1.0, day(1), 5),)
    append, upsert = life(), life(mode="upsert", table="upserted")
    append.append((1, 1.0, day(1)))
    rewrite(append, f"{SCHEMA}, note int", *rows)
    append.sql(
        "ALTER TABLE {t} SET TBLPROPERTIES (delta.columnMapping.mode = 'name', "
        "delta.minReaderVersion = 2, delta.minWriterVersion = 5)"
    )
    append.score()
    upsert.score()
    append.sql("INSERT INTO {t} VALUES (2, 2.0, DATE'2024-01-01', 5)")
    append.sql("ALTER TABLE {t} DROP COLUMN note")
    append.sql("INSERT INTO {t} VALUES (3, 3.0, DATE'2024-01-01')")
    try:
        assert append.score().counts["read"] == 2
    except LakescoreError as error:
        assert error.hint
    assert upsert.score().counts["predicted"] == 2


def test_the_declared_types_hold_for_validating_training_and_scoring_alike(life) -> None:
    one = life(source={"columns": {"x": "float", "day": "date not null"}})
    one.append((1, 1.0, day(1)), (2, 2.0, None))
    pins = pin_tables(one.spark, one.lake, one.workload.source, {})
    for check in (
        one.score,
        lambda: validate_against_lake(one.spark, one.settings, one.workload),
        lambda: check_training_rows(one.spark, one.workload, pins, ()),
    ):
        with pytest.raises(TypeMismatch, match=r"'x' is double, source\.columns says float"):
            check()
    assert not one.lake.table("scores").exists(one.spark)
    one.workload = life(source={"columns": {"x": "double", "day": "date not null"}}).workload
    judged = valid_rows(one.spark, one.workload, pins).orderBy("id").collect()
    assert [row["_reasons"] for row in judged] == [[], ["day is null"]]
    assert one.score().details["quarantine_reasons"] == {"day is null": 1}
    assert one.refused() == [('{"id":2}', 1)]


def test_snapshots_beside_rows_of_another_mode_are_refused(life) -> None:
    one = life()
    one.append((1, 1.0, day(1)))
    one.score()
    snapshot = life(mode="snapshot")
    with pytest.raises(UsageError, match=r"made in mode append.*\n.*new predictions.table"):
        snapshot.score(as_of=day(2))


def test_a_plan_says_which_columns_its_run_adds(life) -> None:
    one = life()
    one.append((1, 1.0, day(1)))
    assert "adds" not in lines(one)
    one.score()
    one.append((2, 2.0, day(1)))
    one.workload = workload({"passthrough": ["day", "x"], "class_column": "high"})
    assert "adds         x double, high int to the predictions" in lines(one)
    one.score()
    columns = one.lake.table("scores").read(one.spark).columns
    assert columns[-2:] == ["x", "high"]
    assert "adds" not in lines(one)


def lines(one: Life) -> str:
    plan = plan_scoring(one.spark, one.settings, one.workload, Request(date(2024, 1, 1)))
    return "\n".join(plan.lines())
