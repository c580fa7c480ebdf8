"""Cases that go wrong when one rule of the commit protocol is left out."""

from __future__ import annotations

import threading
from datetime import datetime
from typing import Any
from unittest import mock

import pytest

from lakescore.config.workload import Context, Feature
from lakescore.errors import ForeignTable
from lakescore.lake import commits, snapshot
from lakescore.lake.history import recent_commits
from lakescore.lake.quarantine import Quarantine
from lakescore.registry.store import Registry
from lakescore.version import code_version
from lakescore.workflows import score as scoring
from lakescore.workflows.run_result import Status
from tests.linear import Life, day, linear_package, register

pytestmark = pytest.mark.spark


def test_a_merge_planned_before_its_twins_does_not_bring_a_deleted_row_back(
    life, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = life(mode="upsert")
    one.append((1, 1.0, day(1)), (2, 2.0, day(1)))
    one.score()
    one.sql("UPDATE {t} SET x = 10 WHERE id = 1")
    real, raced = commits.PredictionsLog.commit, []

    def commit(log: Any, staged: Any, plan: Any) -> Any:
        if not raced:
            raced.append(True)
            one.sql("DELETE FROM {t} WHERE id = 1")
            assert one.score().status is Status.DONE
        return real(log, staged, plan)

    monkeypatch.setattr(commits.PredictionsLog, "commit", commit)
    assert one.score().status is Status.ALREADY_DONE
    assert one.scores() == [(2, 5.0, "1")]


def test_a_source_that_a_twin_passes_after_the_pin_is_pinned_anew(
    life, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = life()
    one.append((1, 1.0, day(1)))
    one.score()
    pinned, raced = threading.Event(), []
    pin, progress = snapshot.pin, scoring._progress

    def then_told(*arguments: Any) -> Any:
        found = pin(*arguments)
        pinned.set()
        return found

    def late(*arguments: Any) -> Any:
        if not raced:
            raced.append(True)
            assert pinned.wait(60)
            one.append((2, 2.0, day(1)))
            assert one.score().status is Status.DONE
        return progress(*arguments)

    monkeypatch.setattr(snapshot, "pin", then_told)
    monkeypatch.setattr(scoring, "_progress", late)
    run = one.score()
    assert (run.status, run.pins[0]["version"]) == (Status.NOTHING_TO_DO, 1)
    assert one.scores() == [(1, 3.0, "1"), (2, 5.0, "1")]


def test_predictions_stay_unwritten_when_the_quarantine_cannot_be_written(life) -> None:
    one = life(quarantine_table="theirs")
    one.spark.range(1).write.format("delta").save(one.lake.table("theirs").path)
    one.append((1, 1.0, day(1)), (2, -1.0, day(1)))
    with pytest.raises(ForeignTable, match="theirs is not a quarantine table"):
        one.score()
    assert one.scores() == []


def test_what_a_crashed_run_refused_goes_once_another_has_its_number(
    life, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = life()
    one.append((1, 1.0, day(1)), (2, -1.0, day(1)))
    one.score()
    one.append((3, -3.0, day(1)))
    monkeypatch.setattr(commits, "write_once", mock.Mock(side_effect=KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        one.score()
    monkeypatch.undo()
    assert (attempts(one), one.refused()) == (2, [('{"id":2}', 1)])
    one.score()
    assert attempts(one) == 3
    one.append((4, -4.0, day(1)))
    one.score()
    assert attempts(one) == 3
    assert one.refused() == [('{"id":2}', 1), ('{"id":3}', 1), ('{"id":4}', 1)]

    one.append((5, -5.0, day(1)))
    one.score()
    one.append((6, -6.0, day(1)))
    monkeypatch.setattr(Quarantine, "attempts", mock.Mock(side_effect=AssertionError))
    assert one.score().counts["quarantined"] == 1  # nobody else wrote: not asked


def attempts(life: Life) -> int:
    """How many attempts have rows in the quarantine, in force or not."""
    rows = life.lake.table("scores_quarantine").read(life.spark)
    return int(rows.select("_attempt_id").distinct().count())


def test_rows_that_land_during_a_backfill_are_left_to_the_next_run(
    life, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = life(backfill_by="day")
    one.append((1, 1.0, day(1)))
    caught_up = scoring.score

    def then_more_land(*args: Any, **kwargs: Any) -> Any:
        caught_up(*args, **kwargs)
        one.append((2, 2.0, day(1)))

    monkeypatch.setattr(scoring, "score", then_more_land)
    one.backfill(last="2024-01-01")
    monkeypatch.undo()
    assert one.scores() == [(1, 3.0, "1")]
    one.score()
    assert one.scores() == [(1, 3.0, "1"), (2, 5.0, "1")]


def test_a_context_that_changes_after_the_plan_is_read_as_planned(
    life, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = life()
    plans = one.lake.table("plans")

    def write_prices(price: float) -> None:
        prices = one.spark.createDataFrame([(1, price)], "id int, z double").coalesce(1)
        prices.write.format("delta").mode("overwrite").save(plans.path)

    _register_with_context(one)
    write_prices(10.0)
    one.append((1, 1.0, day(1)))
    real = scoring.make_plan

    def then_prices_change(*args: Any, **kwargs: Any) -> Any:
        plan = real(*args, **kwargs)
        write_prices(99.0)
        return plan

    monkeypatch.setattr(scoring, "make_plan", then_prices_change)
    one.score()
    assert [prediction for _, prediction, _ in one.scores()] == [21.0]


def _register_with_context(life: Life) -> None:
    """A champion whose feature `x` is the price `z` of the table `plans`."""
    context = Context.model_validate(
        {"table": "plans", "on": ["id"], "static": True, "latest": {"z": "z"}}
    )
    features = (Feature(name="x", expression="z"),)
    package = linear_package(2.0, 1.0, contexts={"plans": context}, features=features)
    Registry(life.settings.registry).promote(register(life.settings, package))


def test_context_rows_that_come_late_are_counted_and_rescore_nothing(life) -> None:
    one = life(source={"prediction_time": "cast(day as timestamp)"})
    readings = one.lake.table("readings")

    def read(*rows: tuple[int, float, int]) -> None:
        """(id, z, day on which it was known)."""
        frame = one.spark.createDataFrame(
            [(i, z, datetime(2024, 1, known)) for i, z, known in rows],
            "id int, z double, known_at timestamp",
        )
        frame.coalesce(1).write.format("delta").mode("append").save(readings.path)

    context = Context.model_validate(
        {
            "table": "readings",
            "on": ["id"],
            "known_at": "known_at",
            "lookback_window": "9 days",
            "latest": {"z": "z"},
        }
    )
    features = (Feature(name="x", expression="z"),)
    package = linear_package(
        2.0, 1.0, contexts={"readings": context}, features=features, source=one.workload.source
    )
    Registry(one.settings.registry).promote(register(one.settings, package))
    read((1, 10.0, 2))
    one.append((1, 1.0, day(3)), (2, -2.0, day(9)))
    assert "late_context" not in one.score().details
    read((1, 99.0, 2), (1, 98.0, 3), (1, 97.0, 4))
    one.append((1, 1.0, day(5)))
    result = one.score()
    assert result.details["late_context"] == {"readings": 2}
    assert "(readings: 2); predictions stand as they were made" in result.warnings[0]
    assert [prediction for _, prediction, _ in one.scores()] == [21.0, 195.0]
    assert "late_context" not in one.score().details


def test_a_commit_tells_code_configuration_and_preprocessor(life) -> None:
    one = life()
    one.append((1, 1.0, day(1)))
    one.score()
    told = recent_commits(one.spark, one.lake.table("scores"), 1)[0].metadata
    assert told["code_version"] == code_version()
    assert told["declared"]["source"]["expectations"] == {"x is not negative": "x >= 0"}
    assert told["declared"]["predictions"]["mode"] == "append"
    assert told["preprocessor"] == linear_package(2.0, 1.0).preprocessor.sha256
