"""The quarantine as its owner sees it: what is in it, what leaves it, and what it never shows."""

from __future__ import annotations

import json
import time
from datetime import datetime, timedelta, timezone
from typing import Any
from unittest import mock

import pytest

from lakescore.config.workload import Feature
from lakescore.errors import ColumnMissing, UsageError
from lakescore.lake.quarantine import Quarantine
from lakescore.lake.snapshot import pin
from lakescore.workflows.earlier_commits import recent_keys
from lakescore.workflows.plan import plan_scoring
from lakescore.workflows.quarantine import quarantine_list
from lakescore.workflows.restore import restore
from lakescore.workflows.run_result import RunResult, Status
from lakescore.workflows.score import quarantine_retry
from tests.linear import NAME, Life, day, linear_package, register

pytestmark = pytest.mark.spark

NEGATIVE = "expectation 'x is not negative' failed"
ANY_X: dict[str, Any] = {"expectations": {}}


def retry(one: Life) -> RunResult:
    return quarantine_retry(one.spark, one.settings, one.workload)


def listed(one: Life, **options: Any) -> Any:
    return quarantine_list(one.spark, one.settings, one.workload, **options)


def table(one: Life) -> Any:
    return one.lake.table("scores_quarantine")


def payloads(one: Life) -> list[tuple[Any, ...]]:
    """(key, payload) of every refused row ever written, in force or not."""
    rows = table(one).read(one.spark).where("_closes is null")
    return sorted(map(tuple, rows.select("_key", "_payload").collect()), key=str)


def adds_up(counts: dict[str, int]) -> bool:
    return counts["read"] == sum(count for name, count in counts.items() if name != "read")


@pytest.mark.slow
def test_a_refused_row_without_a_key_is_found_by_its_content_under_another_model(
    life,
) -> None:
    one = life(mode="upsert")
    of_y = (Feature(name="x", expression="cast(y as double)"),)
    register(one.settings, linear_package(2.0, 1.0, features=of_y))
    one.append((None, 1.0, day(1)), (1, 1.0, day(1)), (1, 1.0, day(1)))
    one.sql("ALTER TABLE {t} ADD COLUMNS (y int)")
    one.sql("INSERT INTO {t} VALUES (NULL, 1.0, DATE'2024-01-01', 7)")
    result = one.score()
    assert (result.counts["quarantined"], result.counts["duplicates"]) == (2, 1)
    one.promote("4")
    one.sql("ALTER TABLE {t} ADD COLUMNS (z int)")
    one.sql("UPDATE {t} SET y = 5 WHERE id = 1")
    one.sql("DELETE FROM {t} WHERE y = 7")
    one.score()
    assert one.refused() == [('{"id":null}', 1)]
    assert [row.payload["y"] for row in listed(one).rows] == [None]
    assert one.scores() == [(1, 11.0, "4")]


@pytest.mark.slow
def test_a_table_from_before_content_hashes_goes_on(life) -> None:
    one = life(mode="upsert")
    one.append((None, 1.0, day(1)), (None, 2.0, day(1)), (2, -1.0, day(1)), (3, -3.0, day(2)))
    one.score()
    old = table(one).read(one.spark).drop("_content_hash")
    old.write.format("delta").mode("overwrite").option("overwriteSchema", "true").save(
        table(one).path
    )
    assert listed(one).refused == 4
    one.sql("DELETE FROM {t} WHERE id IS NULL AND x = 1.0")
    one.sql("UPDATE {t} SET x = 1 WHERE id = 2")
    one.score()
    assert one.refused() == [('{"id":3}', 1), ('{"id":null}', 1)]
    one.sql("DELETE FROM {t} WHERE x = 2.0")
    one.score()
    assert one.refused() == [('{"id":3}', 1)]
    assert [payload for _, payload in payloads(one) if payload and '"x":1.0' in payload] == []


def test_masked_columns_are_in_no_payload_and_in_no_hash(life) -> None:
    one = life(quarantine_mask=["X"])
    one.append((1, -1.0, day(1)), (None, 7.5, day(1)))
    one.score()
    shown = [row.payload for row in listed(one).rows]
    assert sorted(shown, key=str) == [
        {"id": 1, "x": "***", "day": "2024-01-01"},
        {"id": None, "x": "***", "day": "2024-01-01"},
    ]
    hashes = table(one).read(one.spark).select("_row_hash", "_content_hash", "_key").collect()
    plain = life()
    plain.overwrite((1, -2.0, day(1)), (None, 8.5, day(1)))
    one.score(full=True)
    again = table(one).read(one.spark).where("_commit_seq = 2 and _closes is null")
    assert sorted(hashes) == sorted(again.select("_row_hash", "_content_hash", "_key").collect())
    with pytest.raises(ColumnMissing, match="missing: 'emial'"):
        life(quarantine_mask="emial").score(full=True)


def test_old_payloads_are_emptied_but_for_what_a_backfill_reads(life) -> None:
    one = life(backfill_by="day")
    one.append((1, -1.0, day(1)), (2, -2.0, day(2)))
    one.score()
    quarantine = Quarantine(one.spark, table(one), NAME)
    now = datetime.now(timezone.utc)
    assert quarantine.purge_payloads(now - timedelta(days=1), keep="Day") == 0
    assert quarantine.purge_payloads(now + timedelta(minutes=1), keep="Day") == 2
    assert payloads(one) == [
        ('{"id":1}', '{"day":"2024-01-01"}'),
        ('{"id":2}', '{"day":"2024-01-02"}'),
    ]
    version = pin(one.spark, table(one)).version
    assert quarantine.purge_payloads(now + timedelta(minutes=1), keep="Day") == 0
    assert pin(one.spark, table(one)).version == version

    mended = life(source=ANY_X, backfill_by="day")
    mended.backfill(last="2024-01-01")
    assert mended.refused() == [('{"id":2}', 1)]
    assert quarantine.purge_payloads(now + timedelta(minutes=1), keep=None) == 2
    assert [payload for _, payload in payloads(one)] == [None, None]
    other = Quarantine(one.spark, one.lake.table("none"), NAME)
    assert other.purge_payloads(now, keep=None) == 0


@pytest.mark.slow
def test_a_deleted_row_takes_every_payload_of_its_key_along(life) -> None:
    one = life(mode="upsert")
    one.append(
        (1, -1.0, day(1)), (2, -2.0, day(1)), (None, 3.0, day(1)), (None, 3.0, day(1)),
        (None, 4.0, day(1)),
    )  # fmt: skip
    one.score()
    one.sql("UPDATE {t} SET x = -10 WHERE id = 1")
    one.score()
    version = pin(one.spark, table(one)).version
    one.append((5, 5.0, day(1)))
    one.score()
    assert pin(one.spark, table(one)).version == version

    one.sql("DELETE FROM {t} WHERE id = 1 OR x = 3.0")
    with mock.patch.object(Quarantine, "purge_deleted", side_effect=RuntimeError("killed")):
        assert one.score().status is Status.DONE
    assert sum(payload is None for _, payload in payloads(one)) == 0
    assert one.score().status is Status.NOTHING_TO_DO
    left = [payload for _, payload in payloads(one) if payload is not None]
    assert left == [
        '{"id":2,"x":-2.0,"day":"2024-01-01"}', '{"id":null,"x":4.0,"day":"2024-01-01"}',
    ]  # fmt: skip
    assert one.refused() == [('{"id":2}', 1), ('{"id":null}', 1)]

    version = pin(one.spark, table(one)).version
    assert one.score().status is Status.NOTHING_TO_DO
    assert pin(one.spark, table(one)).version == version

    one.sql("DELETE FROM {t} WHERE id = 2")
    one.score(full=True)
    assert [payload for _, payload in payloads(one) if payload is not None] == [
        '{"id":null,"x":4.0,"day":"2024-01-01"}', '{"id":null,"x":4.0,"day":"2024-01-01"}',
    ]  # fmt: skip


def test_what_is_refused_is_listed_with_reasons_and_the_newest_first(life) -> None:
    one = life()
    assert (listed(one).refused, listed(one).rows) == (0, [])
    one.append((1, 1.0, day(1)))
    one.score()
    assert listed(one).refused == 0
    one.append((2, -2.0, day(1)), (2, -2.0, day(1)), (None, -3.0, day(2)))
    one.score()
    one.append((3, -4.0, day(2)))
    one.score()
    found = listed(one, limit=2)
    assert (found.refused, found.copies) == (3, 4)
    assert found.reasons == {NEGATIVE: 3, "key id is null": 1}
    newest, second = found.rows
    assert (newest.key, newest.reasons, newest.copies) == ({"id": 3}, [NEGATIVE], 1)
    assert newest.payload == {"id": 3, "x": -4.0, "day": "2024-01-02"}
    assert (second.key, second.copies) == ({"id": 2}, 2)
    assert newest.source_version == second.source_version + 1
    assert json.dumps(found.describe())


def test_a_retry_scores_in_append_what_is_valid_now_and_nothing_twice(life) -> None:
    one = life()
    one.append((1, -1.0, day(1)), (2, -2.0, day(1)), (2, -2.0, day(1)), (None, 1.0, day(1)))
    one.score()
    one.append((1, 10.0, day(2)), (3, -3.0, day(2)), (4, 4.0, day(2)))
    result = retry(one)
    assert result.status is Status.NOTHING_TO_DO
    assert f"none of 2 refused rows is valid now ({NEGATIVE}: 2)" in result.details["reason"]
    assert one.scores() == [(1, 21.0, "1"), (4, 9.0, "1")]

    one.promote("2")
    mended = life(source=ANY_X)
    result = retry(mended)
    assert (result.status, result.details["mode"]) == (Status.DONE, "retry")
    assert result.command == f"lakescore quarantine retry {NAME}"
    assert result.counts["read"] == 3
    assert (result.counts["predicted"], result.counts["duplicates"]) == (2, 1)
    assert adds_up(result.counts)
    assert one.scores() == [
        (1, 21.0, "1"), (2, -7.0, "2"), (3, -10.0, "2"), (4, 9.0, "1"),
    ]  # fmt: skip
    assert one.refused() == [('{"id":1}', 1), ('{"id":null}', 1)]

    result = retry(mended)
    assert result.status is Status.NOTHING_TO_DO
    assert "none of the 2 refused rows can be judged again" in result.details["reason"]
    assert mended.score().status is Status.NOTHING_TO_DO


def test_no_key_is_predicted_twice_within_the_declared_horizon(life) -> None:
    within = "key was predicted within 30 days"
    one = life(source={"unique_within": "30 days"})
    one.append((1, 1.0, day(1)), (2, 2.0, day(1)), (4, -4.0, day(1)))
    one.score()
    one.append((1, 5.0, day(2)), (2, 2.0, day(1)), (3, 3.0, day(2)), (4, 4.0, day(2)))
    plan = plan_scoring(one.spark, one.settings, one.workload)
    result = one.score()
    assert result.details["quarantine_reasons"] == {within: 2}
    assert (result.counts["predicted"], adds_up(result.counts)) == (2, True)
    once = [(1, 3.0, "1"), (2, 5.0, "1"), (3, 7.0, "1"), (4, 9.0, "1")]
    assert one.scores() == once
    assert plan.step is not None
    seen = recent_keys(one.spark, one.settings, plan, plan.step)
    assert seen is not None
    assert sorted(row["id"] for row in seen.collect()) == [1, 2]  # a twin's commit is not seen

    assert retry(one).status is Status.NOTHING_TO_DO
    assert one.refused() == [('{"id":1}', 1), ('{"id":2}', 1), ('{"id":4}', 1)]
    later = life(source={"unique_within": "1 second", "expectations": {}})
    result = retry(later)
    assert (result.counts["predicted"], result.counts["duplicates"]) == (2, 1)
    assert one.scores() == sorted([*once, (1, 11.0, "1"), (2, 5.0, "1")])
    assert one.refused() == [('{"id":4}', 1)]  # of before its key was predicted


@pytest.mark.slow
def test_a_horizon_holds_for_a_backfill_and_its_retry_is_taken_back(life) -> None:
    source = {"unique_within": "30 days"}
    one = life(source=source, backfill_by="day")
    one.append((1, 1.0, day(1)), (2, 2.0, day(1)), (3, 3.0, day(2)))
    one.score()
    one.append((1, 5.0, day(2)))
    one.score()
    once, refused = [(1, 3.0, "1"), (2, 5.0, "1"), (3, 7.0, "1")], [('{"id":1}', 1)]
    counts = one.backfill(first="2024-01-02").counts
    assert (counts["predicted"], counts["quarantined"], adds_up(counts)) == (1, 1, True)
    assert (one.scores(), one.refused()) == (once, refused)

    retry(life(source={"unique_within": "1 second"}))
    assert (one.scores(), one.refused()) == (sorted([*once, (1, 11.0, "1")]), [])
    restore(one.spark, one.settings, one.workload)
    assert (one.scores(), one.refused()) == (once, refused)
    reasons = one.score(full=True).details["quarantine_reasons"]
    assert reasons == {"duplicate key with different values": 2}
    assert one.scores() == once[1:]


@pytest.mark.slow
def test_a_retry_merges_in_upsert_and_leaves_the_others_as_they_were(life) -> None:
    one = life(mode="upsert", on_invalid="mark")
    one.append((1, 1.0, day(1)), (2, -2.0, day(1)), (3, -30.0, day(1)), (None, 1.0, day(1)))
    one.score()
    one.sql("UPDATE {t} SET x = -1 WHERE id = 1")
    one.append((5, 5.0, day(1)))
    mended = life(
        source={"expectations": {"x": "x > -5"}, "max_quarantined": {"count": 0, "share": 1.0}},
        mode="upsert",
        on_invalid="mark",
    )
    one.score()
    before = {row["_key"]: row["_row_id"] for row in table(one).read(one.spark).collect()}
    result = retry(mended)
    assert result.status is Status.DONE
    assert (result.counts["predicted"], result.counts["quarantined"]) == (2, 1)
    assert adds_up(result.counts)
    assert one.scores() == [(1, -1.0, "1"), (2, -3.0, "1"), (5, 11.0, "1")]
    assert one.refused() == [('{"id":3}', 1), ('{"id":null}', 1)]
    after = {row["_key"]: row["_row_id"] for row in table(one).read(one.spark).collect()}
    assert after['{"id":3}'] == before['{"id":3}']
    current = one.lake.table("scores").read(one.spark)
    assert current.where("_withdrawn is not null").count() == 0

    one.sql("DELETE FROM {t} WHERE x < 0 OR id IS NULL")
    result = retry(mended)
    assert result.details["reason"].startswith("nothing is refused")
    assert one.scores() == [(5, 11.0, "1")]


def test_a_retry_is_no_matter_of_snapshots(life) -> None:
    one = life(mode="snapshot")
    one.append((1, 1.0, day(1)), (2, -2.0, day(1)))
    one.score(as_of=day(1))
    assert [(row.key, row.as_of) for row in listed(one).rows] == [({"id": 2}, "2024-01-01")]
    with pytest.raises(UsageError, match="scores a day again"):
        retry(one)


def test_attempts_come_in_the_order_of_writing_whatever_the_zone(
    life, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock of Berlin went back from 03:00 to 02:00 that night."""
    one = life()
    moments = [("crashed", "2024-10-27 00:50:00"), ("later", "2024-10-27 01:10:00")]
    rows = one.spark.createDataFrame(moments, "_attempt_id string, at string").selectExpr(
        f"'{NAME}' AS _workload", "_attempt_id", "1L AS _commit_seq",
        "cast(at AS timestamp) AS _scored_at",
    )  # fmt: skip
    rows.write.format("delta").save(table(one).path)
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        assert list(Quarantine(one.spark, table(one), NAME).attempts(0)) == ["crashed", "later"]
    finally:
        monkeypatch.undo()
        time.tzset()
