"""Sources and contexts that are views: pinned by their base tables, stored once for the run."""

from __future__ import annotations

import shutil
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from lakescore.config.settings import LakeSettings, Settings
from lakescore.config.workload import Context, Source, Workload
from lakescore.errors import SourceChanged, UsageError, VersionUnreadable
from lakescore.lake import snapshot, views
from lakescore.lake.snapshot import pin
from lakescore.lake.tables import Lake
from lakescore.workflows.pins import pin_tables
from lakescore.workflows.plan import plan_scoring
from lakescore.workflows.run_result import RunResult, Status
from lakescore.workflows.score import score
from lakescore.workflows.status import status
from tests.linear import workload

pytestmark = pytest.mark.spark

LAKE = Lake(LakeSettings(catalog="spark_catalog"))
DAY = date(2024, 1, 1)


@pytest.fixture
def catalog(spark, settings, tmp_path: Path, registered: Path):
    """`vt.events` (ids 1 and 2) and `vt.extra` below `vt.named`, below `vt.whole`."""
    shutil.copyfile(registered / "mlflow.db", tmp_path / "mlflow.db")
    spark.sql(f"CREATE DATABASE vt LOCATION '{tmp_path / 'vt'}'")
    for name in ("events", "extra"):
        spark.sql(f"CREATE TABLE vt.{name} (id int, x double, day date) USING delta")
    spark.sql("INSERT INTO vt.events VALUES (1, 1.0, '2024-01-01'), (2, 2.0, '2024-01-01')")
    spark.sql("CREATE VIEW vt.named AS WITH e AS (SELECT * FROM vt.events) SELECT * FROM e")
    spark.sql(
        "CREATE VIEW vt.whole AS SELECT * FROM vt.named WHERE id < 100 "
        "UNION ALL SELECT * FROM vt.extra"
    )
    yield settings.model_copy(update={"lake": LAKE_SETTINGS})
    spark.sql("DROP DATABASE vt CASCADE")


LAKE_SETTINGS = LakeSettings(catalog="spark_catalog")


def over(table: str, mode: str = "snapshot") -> Workload:
    return workload({"table": "vt.scores", "mode": mode}, table=table)


def run(spark, settings: Settings, job: Workload, **options: Any) -> RunResult:
    return score(spark, settings, job, as_of=DAY, **options)


def scores(spark) -> list[tuple[Any, ...]]:
    return sorted(map(tuple, spark.table("vt.scores").select("id", "prediction").collect()))


def test_a_view_is_scored_as_its_base_tables_move(catalog: Settings, spark) -> None:
    job = over("vt.whole")
    result = run(spark, catalog, job)
    assert scores(spark) == [(1, 3.0), (2, 5.0)]
    assert [base["table"] for base in result.pins[0]["bases"]] == ["vt.extra", "vt.named"]
    assert result.pins[0]["version"] == 1
    assert not list(Path(catalog.staging).iterdir())
    assert run(spark, catalog, job).status is Status.NOTHING_TO_DO

    spark.sql("INSERT INTO vt.extra VALUES (3, 3.0, '2024-01-01')")
    told = "\n".join(plan_scoring(spark, catalog, job).lines())
    assert "vt.whole@2 is pinned by vt.extra@1, vt.named@1; its rows are stored once" in told
    assert run(spark, catalog, job).counts["predicted"] == 3
    assert scores(spark)[-1] == (3, 7.0)

    spark.sql("ALTER VIEW vt.named AS SELECT * FROM vt.events WHERE id = 1")
    assert run(spark, catalog, job).counts["predicted"] == 2
    assert run(spark, catalog, job).status is Status.NOTHING_TO_DO
    line = status(spark, catalog, [job])[0]
    assert (line.rows, line.source_age, line.note) == (2, None, None)


@pytest.mark.parametrize("mode", ["append", "upsert"])
def test_modes_that_follow_commits_take_a_view_only_in_full(
    catalog: Settings, spark, mode: str
) -> None:
    job = over("vt.whole", mode)
    with pytest.raises(UsageError, match=f"mode {mode} follows the commits of its source"):
        run(spark, catalog, job)
    assert run(spark, catalog, job, full=True).counts["predicted"] == 2
    assert run(spark, catalog, job).status is Status.NOTHING_TO_DO
    spark.sql("DELETE FROM vt.events WHERE id = 1")
    with pytest.raises(UsageError, match=r"name its base table") as caught:
        run(spark, catalog, job)
    assert "lakescore score --full" in str(caught.value.hint)


def test_rows_are_stored_again_when_a_base_table_moves_meanwhile(
    catalog: Settings, spark, tmp_path: Path, monkeypatch
) -> None:
    pinned = pin(spark, LAKE.table("vt.whole"))
    assert isinstance(pinned, views.ViewSnapshot)
    look, keys = views.find_view, iter(range(10, 20))

    def meanwhile(spark, table, version=None):
        found = look(spark, table, version)
        if table.name == "vt.whole" and (key := next(writes, None)) is not None:
            spark.sql(f"INSERT INTO vt.events VALUES ({key}, 1.0, '2024-01-01')")
        return found

    monkeypatch.setattr(views, "find_view", meanwhile)
    writes = iter([next(keys)])
    stored = pinned.stored(spark, str(tmp_path / "stored"))
    assert (stored.version, stored.read(spark).count()) == (2, 3)
    spark.sql("INSERT INTO vt.events VALUES (30, 1.0, '2024-01-01')")
    assert stored.read(spark).count() == 3

    writes = keys
    with pytest.raises(SourceChanged, match="changed each of the 3 times"):
        pinned.stored(spark, str(tmp_path / "again"))


def test_what_has_no_version_is_scored_every_time(catalog: Settings, spark) -> None:
    spark.sql("CREATE TABLE vt.plain USING parquet AS SELECT * FROM vt.events")
    spark.sql("CREATE VIEW vt.mixed AS SELECT * FROM vt.plain UNION ALL SELECT * FROM vt.extra")
    job = over("vt.mixed")
    assert run(spark, catalog, job).counts["predicted"] == 2
    told = "\n".join(plan_scoring(spark, catalog, job).lines())
    assert "pinned by vt.extra@0; vt.plain cannot be pinned; its rows are stored once" in told
    assert run(spark, catalog, job).status is Status.DONE


def test_a_context_that_is_a_view_is_joined_as_stored(
    catalog: Settings, spark, tmp_path: Path
) -> None:
    context = Context(table="vt.named", on={"id": "id"}, static=True, latest={"day": "day"})
    source = Source(table="vt.events", key=("id",))
    pins = pin_tables(spark, LAKE, source, {"names": context})
    stored = pins.stored(spark, str(tmp_path / "views"))
    spark.sql("INSERT INTO vt.events VALUES (3, 3.0, '2024-01-01')")
    assert stored.source == pins.source
    assert stored.frames(spark)["names"].count() == 2
    assert stored.describe()[1]["role"] == "context names"
    with pytest.raises(VersionUnreadable, match="is at version 2 and cannot be read as it was at"):
        pin(spark, LAKE.table("vt.named"), 1)


def test_a_table_with_a_row_filter_is_stored_like_a_view(
    catalog: Settings, spark, tmp_path: Path, monkeypatch
) -> None:
    def refuse(*_: object) -> None:
        cause = ValueError("Time travel is not supported on tables with a ROW_FILTER")
        raise VersionUnreadable("cannot be read") from cause

    monkeypatch.setattr(snapshot, "_read", refuse)
    pinned = pin(spark, LAKE.table("vt.events"))
    assert isinstance(pinned, views.ViewSnapshot)
    assert str(pinned) == "vt.events@1"
    stored = pinned.stored(spark, str(tmp_path / "stored"))
    assert stored.read(spark).count() == 2
