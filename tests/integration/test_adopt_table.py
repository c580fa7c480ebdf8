"""A predictions table that lakescore did not make is taken over, and goes on as its own."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from lakescore.errors import (
    ColumnMissing,
    DuplicateKeys,
    ForeignTable,
    LakescoreError,
    TypeMismatch,
    UsageError,
)
from lakescore.lake.tables import Table
from lakescore.workflows.adopt_table import adopt_table
from lakescore.workflows.plan import plan_scoring
from lakescore.workflows.run_result import RunResult, Status
from lakescore.workflows.status import status
from tests.linear import NAME, Life, day

pytestmark = pytest.mark.spark

SCORES = "id int, prediction double, day date, note string"


def stand(
    one: Life, *rows: tuple[Any, ...], schema: str = SCORES, files: int = 2, **options: str
) -> Table:
    """Write the table that an older job left at `scores`."""
    table = one.lake.table("scores")
    frame = one.spark.createDataFrame(list(rows), schema).repartition(files)
    frame.write.format("delta").options(**options).save(table.path)
    return table


def adopt(one: Life, version: int = 0, **options: Any) -> RunResult:
    options = {"table": "scores", "source_version": version, **options}
    return adopt_table(one.spark, one.settings, one.workload, **options)


def live_files(table: Table) -> set[str]:
    """The data files that the table's log names, by path."""
    assert table.path is not None
    live: set[str] = set()
    for commit in sorted(Path(table.path, "_delta_log").glob("*.json")):
        for line in commit.read_text().splitlines():
            action = json.loads(line)
            live |= {action["add"]["path"]} if "add" in action else set()
            live -= {action["remove"]["path"]} if "remove" in action else set()
    return live


def labels(one: Life) -> list[tuple[Any, ...]]:
    rows = one.lake.table("scores").read(one.spark)
    return sorted(map(tuple, rows.select("id", "prediction", "_model_version").collect()))


OLD = ((1, 0.1, day(1), "a"), (2, 0.2, day(1), "b"))


@pytest.fixture
def stood(life):
    """A source with two rows, and predictions of them that another job made."""

    def make(*rows: tuple[Any, ...], **predictions: Any) -> Life:
        one: Life = life(**predictions)
        one.append((1, 1.0, day(1)), (2, 2.0, day(2)))
        stand(one, *(rows or OLD))
        return one

    return make


def test_an_adopted_table_is_scored_on_from_its_source_version(stood) -> None:
    one = stood()
    table = one.lake.table("scores")
    with pytest.raises(ForeignTable, match="lakescore adopt NAME --table scores"):
        one.score()
    files, protocol = live_files(table), _protocol(one, table)
    result = adopt(one)
    assert result.status is Status.DONE
    assert result.counts["rows"] == 2
    assert result.warnings == ["null in new rows: note"]
    assert live_files(table) == files
    assert _protocol(one, table) == protocol
    assert table.properties(one.spark)["delta.logRetentionDuration"] == "interval 365 days"
    assert adopt(one).status is Status.ALREADY_DONE
    with pytest.raises(UsageError, match="with the predictions of version 0"):
        one.append((3, 3.0, day(2)))
        adopt(one, 1)

    assert "rows appended since @0" in "\n".join(
        plan_scoring(one.spark, one.settings, one.workload).lines()
    )
    assert one.score().counts["read"] == 1
    assert labels(one) == [(1, 0.1, None), (2, 0.2, None), (3, 7.0, "1")]
    assert live_files(table) > files
    assert one.score().status is Status.NOTHING_TO_DO
    (line,) = status(one.spark, one.settings, [one.workload])
    assert (line.rows, line.commit) == (3, 2)

    one.score(full=True)
    assert labels(one) == [(1, 3.0, "1"), (2, 5.0, "1"), (3, 7.0, "1")]


def test_an_update_of_an_adopted_row_gives_one_row(stood) -> None:
    one = stood(mode="upsert", on_delete="delete")
    adopt(one)
    one.sql("UPDATE {t} SET x = 10 WHERE id = 1")
    one.sql("DELETE FROM {t} WHERE id = 2")
    one.append((3, 3.0, day(2)))
    one.score()
    assert labels(one) == [(1, 21.0, "1"), (3, 7.0, "1")]


def test_a_backfill_replaces_adopted_rows_of_its_range(stood) -> None:
    one = stood((1, 0.1, day(1), "a"), (2, 0.2, day(2), "b"), backfill_by="day")
    adopt(one)
    one.backfill(first="2024-01-02")
    assert labels(one) == [(1, 0.1, None), (2, 5.0, "1")]


def test_an_adoption_outlives_its_history(stood, monkeypatch: pytest.MonkeyPatch) -> None:
    """An idle year: the starting commit is no longer shown, and no row has lineage yet."""
    one = stood()
    adopt(one)
    one.append((3, 3.0, day(2)))
    monkeypatch.setattr("lakescore.lake.commits._WINDOWS", (1,))
    one.score()
    assert labels(one) == [(1, 0.1, None), (2, 0.2, None), (3, 7.0, "1")]


def test_a_crash_before_the_mark_is_made_good_and_a_restore_takes_all_back(
    stood, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = stood()
    table = one.lake.table("scores")
    with monkeypatch.context() as crash:
        crash.setattr("lakescore.lake.adoption.mark_adopted", _dies)
        with pytest.raises(KeyboardInterrupt):
            adopt(one)
    with pytest.raises(ForeignTable, match="lakescore did not make it"):
        one.score()
    assert adopt(one).details["commit_seq"] == 1

    one.spark.sql(f"RESTORE TABLE {table.sql_name} TO VERSION AS OF 0")
    assert table.read(one.spark).columns == ["id", "prediction", "day", "note"]
    one.append((3, 3.0, day(2)))
    assert adopt(one, 1).details["commit_seq"] == 2
    assert one.score().status is Status.NOTHING_TO_DO


def test_a_comparison_says_how_far_apart_scores_are_and_changes_nothing(stood) -> None:
    one = stood((1, 3.0, day(1), "a"), (2, 5.5, day(2), "b"), (9, 1.0, day(2), None))
    one.append((3, 3.0, day(2)))
    table = one.lake.table("scores")
    version = len(list(Path(str(table.path), "_delta_log").glob("*.json")))
    result = adopt(one, 1, compare=True)
    expected = {"in_both": 2, "only_old": 1, "only_new": 1, "only_one_is_a_number": 0}
    assert result.counts == {"rows": 3, **expected}
    assert result.metrics == {
        "mean_difference": 0.25,
        "largest_difference": 0.5,
        "share_within_1e-9": 0.5,
        "share_within_1e-3": 0.5,
    }
    assert result.details["worst"] == [{"id": 2, "old": 5.5, "new": 5.0, "difference": 0.5}]
    assert result.next_command == f"lakescore adopt {NAME} --table scores --source-version 1"
    assert len(list(Path(str(table.path), "_delta_log").glob("*.json"))) == version


Case = tuple[type[LakescoreError], str, str, list[tuple[Any, ...]], dict[str, str]]
REFUSED: dict[str, Case] = {
    "prediction missing": (
        ColumnMissing,
        r"'prediction' \(predictions.column\)[^>]*-> set `predictions.column` to [^:]*: p \(double",
        "id int, p double, day date",
        [(1, 0.1, day(1))],
        {},
    ),
    "key named otherwise": (
        ColumnMissing,
        r"'id' \(source.key\)[^>]*-> copy the table once.*customer AS id",
        "customer int, prediction double, day date",
        [(1, 0.1, day(1))],
        {},
    ),
    "prediction retyped": (
        TypeMismatch,
        r"'prediction' \(predictions.column\) is float, and new rows have double",
        "id int, prediction float, day date",
        [(1, 0.1, day(1))],
        {},
    ),
    "keys twice and null": (
        DuplicateKeys,
        "1 keys .id. stand in 2 of its 4 rows, and 1 rows have no key",
        SCORES,
        [*OLD, (2, 0.3, day(2), "c"), (None, 0.3, day(2), "d")],
        {},
    ),
    "append-only": (
        ForeignTable,
        "append-only",
        SCORES,
        list(OLD),
        {"delta.appendOnly": "true"},
    ),
    "labelled": (
        ForeignTable,
        "1 of its 1 rows say in _workload",
        "id int, prediction double, day date, _workload string",
        [(1, 0.1, day(1), "x")],
        {},
    ),
}


@pytest.mark.parametrize("case", list(REFUSED))
def test_what_cannot_be_adopted_is_refused_before_anything_changes(life, case: str) -> None:
    error, message, schema, rows, options = REFUSED[case]
    one = life()
    one.append((1, 1.0, day(1)))
    table = stand(one, *rows, schema=schema, files=1, **options)
    with pytest.raises(error) as caught:
        adopt(one)
    assert re.search(message, str(caught.value)), str(caught.value)
    assert len(list(Path(str(table.path), "_delta_log").glob("*.json"))) == 1


def test_a_table_that_this_delta_cannot_write_is_refused(stood) -> None:
    one = stood()
    path = Path(str(one.lake.table("scores").path), "_delta_log", f"{1:020d}.json")
    protocol = {"minReaderVersion": 1, "minWriterVersion": 7, "writerFeatures": ["fromTomorrow"]}
    path.write_text(json.dumps({"protocol": protocol}))
    with pytest.raises(ForeignTable, match=r"this Delta cannot write it: .*writer 7"):
        adopt(one)


def test_tables_of_others_and_mode_snapshot_are_refused(life, stood) -> None:
    with pytest.raises(UsageError, match="go to scores, not to elsewhere"):
        adopt(life(), table="elsewhere")
    with pytest.raises(UsageError, match="mode snapshot has nothing to adopt"):
        adopt(life(mode="snapshot"))
    one = stood()
    adopt(one)
    other = Life(one.spark, one.settings, one.workload.model_copy(update={"name": "other"}))
    with pytest.raises(ForeignTable, match=f"workload '{NAME}' adopted it"):
        adopt(other)
    assert labels(one) == [(1, 0.1, None), (2, 0.2, None)]


def _protocol(one: Life, table: Table) -> tuple[int, int]:
    detail = table.detail(one.spark)
    return detail.reader_version, detail.writer_version


def _dies(*_: Any) -> None:
    raise KeyboardInterrupt
