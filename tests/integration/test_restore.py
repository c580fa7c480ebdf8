"""`lakescore restore`: the last scoring commit taken back, and nothing else."""

from __future__ import annotations

import pytest

from lakescore.errors import ForeignTable, UsageError, VersionUnreadable
from lakescore.workflows.restore import restore
from lakescore.workflows.run_result import Status
from tests.linear import Life, day


def taken_back(life: Life, **options):
    return restore(life.spark, life.settings, life.workload, **options)


def test_an_append_is_taken_back_with_its_refused_rows_and_scored_again(life) -> None:
    one = life(mode="append")
    one.append((1, 1.0, day(1)), (2, -1.0, day(1)))
    one.score()
    one.append((3, 3.0, day(2)), (4, -4.0, day(2)))
    one.promote("2")
    second = one.score()
    result = taken_back(one)
    assert result.status is Status.DONE
    assert result.counts == {"predicted_withdrawn": 1, "quarantined_withdrawn": 1}
    assert result.details["run_id"] == second.run_id
    assert one.scores() == [(1, 3.0, "1")]
    assert one.refused() == [('{"id":2}', 1)]

    assert taken_back(one, commit_seq=2).status is Status.ALREADY_DONE
    with pytest.raises(UsageError, match="there is no commit 7; the last one in force is 1"):
        taken_back(one, commit_seq=7)

    one.promote("3")
    assert one.score().counts["read"] == 2
    assert one.scores() == [(1, 3.0, "1"), (3, 22.0, "3")]
    assert one.refused() == [('{"id":2}', 1), ('{"id":4}', 1)]
    assert one.score().status is Status.NOTHING_TO_DO


def test_an_upsert_is_taken_back_to_what_it_replaced_deleted_and_closed(life) -> None:
    one = life(mode="upsert")
    one.append((1, 1.0, day(1)), (2, 2.0, day(1)), (3, -3.0, day(1)), (4, 4.0, day(1)))
    one.score()
    before, refused = one.scores(), one.refused()
    one.sql("UPDATE {t} SET x = 5 WHERE id IN (1, 3)")
    one.sql("UPDATE {t} SET x = -5 WHERE id = 2")
    one.sql("DELETE FROM {t} WHERE id = 4")
    one.append((5, 5.0, day(2)))
    one.score()
    after, refused_after = one.scores(), one.refused()
    assert after == [(1, 11.0, "1"), (3, 11.0, "1"), (5, 11.0, "1")]

    taken_back(one)
    assert (one.scores(), one.refused()) == (before, refused)
    one.score()
    assert (one.scores(), one.refused()) == (after, refused_after)

    taken_back(one)
    assert (one.scores(), one.refused()) == (before, refused)
    taken_back(one)
    assert (one.scores(), one.refused()) == ([], [])
    with pytest.raises(UsageError, match="no scoring commit to take back"):
        taken_back(one)
    one.score()
    assert (one.scores(), one.refused()) == (after, refused_after)


def test_a_refused_row_that_was_closed_before_stays_closed(life) -> None:
    """Mended, then deleted: the deletion closes whatever was ever refused under the key."""
    one = life(mode="upsert")
    one.append((1, -1.0, day(1)), (2, 2.0, day(1)))
    one.score()
    one.sql("UPDATE {t} SET x = 1 WHERE id = 1")
    one.score()
    before = one.scores()
    one.sql("DELETE FROM {t} WHERE id = 1")
    one.score()
    taken_back(one)
    assert (one.scores(), one.refused()) == (before, [])
    with pytest.raises(UsageError, match="commit 1 is in force, but 2 came after it"):
        taken_back(one, commit_seq=1)


def test_a_full_rescore_and_a_backfill_are_taken_back(life) -> None:
    one = life(mode="append", backfill_by="day")
    one.append((1, 1.0, day(1)), (2, 2.0, day(2)), (3, -3.0, day(2)))
    one.score()
    before, refused = one.scores(), one.refused()
    one.promote("2")
    one.backfill(first="2024-01-02")
    assert one.scores() == [(1, 3.0, "1"), (2, 5.0, "2")]
    taken_back(one)
    assert (one.scores(), one.refused()) == (before, refused)
    one.score(full=True)
    assert one.scores() == [(1, 2.0, "2"), (2, 5.0, "2")]
    taken_back(one)
    assert (one.scores(), one.refused()) == (before, refused)
    assert one.score().status is Status.NOTHING_TO_DO


def test_a_day_of_a_snapshot_is_taken_back_and_others_stay(life) -> None:
    one = life(mode="snapshot")
    one.append((1, 1.0, day(1)))
    one.score(as_of=day(1))
    one.score(as_of=day(2))
    one.append((2, 2.0, day(1)))
    one.score(as_of=day(2))
    assert one.by_day() == [(day(1), 1, 3.0), (day(2), 1, 3.0), (day(2), 2, 5.0)]
    taken_back(one)
    assert one.by_day() == [(day(1), 1, 3.0), (day(2), 1, 3.0)]
    taken_back(one)
    assert one.by_day() == [(day(1), 1, 3.0)]
    assert one.score(as_of=day(1)).status is Status.DONE
    assert one.score(as_of=day(2)).status is Status.DONE
    assert len(one.by_day()) == 4


def test_what_another_writer_did_since_is_not_touched(life) -> None:
    one = life(mode="append")
    one.append((1, 1.0, day(1)), (2, 2.0, day(1)))
    one.score()
    scores = one.lake.table("scores")
    one.spark.sql(f"OPTIMIZE {scores.sql_name}").collect()
    one.spark.sql(f"DELETE FROM {scores.sql_name} WHERE id = 1").collect()
    with pytest.raises(ForeignTable, match=r"another writer's commit .*\(DELETE, "):
        taken_back(one)
    assert one.scores() == [(2, 5.0, "1")]


def test_a_foreign_restore_undoes_the_taking_back(life) -> None:
    one = life(mode="append")
    one.append((1, 1.0, day(1)), (2, -2.0, day(1)))
    done = one.score()
    taken_back(one)
    assert (one.scores(), one.refused()) == ([], [])
    version = done.details["table_version"]
    table = one.lake.table("scores").sql_name
    one.spark.sql(f"RESTORE TABLE {table} TO VERSION AS OF {version}").collect()
    assert (one.scores(), one.refused()) == ([(1, 3.0, "1")], [('{"id":2}', 1)])
    assert one.score().status is Status.NOTHING_TO_DO


def test_what_vacuum_removed_cannot_be_taken_back(life) -> None:
    one = life(mode="append")
    one.append((1, 1.0, day(1)))
    one.score()
    one.promote("2")
    one.score(full=True)
    spark, table = one.spark, one.lake.table("scores").sql_name
    check = "spark.databricks.delta.retentionDurationCheck.enabled"
    spark.conf.set(check, "false")
    try:
        spark.sql(f"VACUUM {table} RETAIN 0 HOURS").collect()
    finally:
        spark.conf.unset(check)
    with pytest.raises(VersionUnreadable, match="VACUUM made it impossible"):
        taken_back(one)
    assert one.scores() == [(1, 2.0, "2")]
