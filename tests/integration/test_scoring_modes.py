"""What each scoring mode leaves in the predictions table and in the quarantine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lakescore.errors import CorruptFile, SourceChanged, UsageError, VersionUnreadable
from lakescore.workflows.plan import plan_scoring
from lakescore.workflows.run_result import Status
from lakescore.workflows.steps import requested
from tests.faults.lake_events import lose_history
from tests.linear import day

pytestmark = pytest.mark.spark


def test_full_starts_a_new_generation_with_every_row(life) -> None:
    one = life()
    one.append((1, 1.0, day(1)), (2, -1.0, day(1)))
    one.score()
    one.append((3, 3.0, day(2)))
    one.promote("2")
    result = one.score(full=True)
    assert result.status is Status.DONE
    assert result.details["mode"] == "full"
    assert one.scores() == [(1, 2.0, "2"), (3, 8.0, "2")]
    assert one.refused() == [('{"id":2}', 1)]
    assert one.score().status is Status.NOTHING_TO_DO
    one.append((4, 0.0, day(2)))
    assert one.score().counts["read"] == 1


def test_a_snapshot_is_replaced_whole_for_its_day_and_no_other(life) -> None:
    one = life(mode="snapshot")
    one.append((1, 1.0, day(1)), (2, -1.0, day(1)))
    one.score(as_of=day(1))
    one.overwrite((1, 2.0, day(1)), (3, 3.0, day(1)), (4, -4.0, day(1)))
    one.score(as_of=day(2))
    assert one.by_day() == [(day(1), 1, 3.0), (day(2), 1, 5.0), (day(2), 3, 7.0)]
    assert one.refused() == [('{"id":2}', 1), ('{"id":4}', 1)]
    assert one.score(as_of=day(2)).status is Status.NOTHING_TO_DO

    one.overwrite((5, 5.0, day(1)))
    assert one.score(as_of=day(2)).counts["predicted"] == 1
    assert one.by_day() == [(day(1), 1, 3.0), (day(2), 5, 11.0)]
    assert one.refused() == [('{"id":2}', 1)]
    with pytest.raises(UsageError, match="each day is replaced as a whole"):
        one.score(full=True)


def test_a_backfill_replaces_its_range_as_of_the_progress(life) -> None:
    one = life(backfill_by="day")
    one.append((1, 1.0, day(1)), (2, 2.0, day(2)), (3, -3.0, day(2)), (4, 4.0, day(3)))
    one.score()
    one.append((5, 5.0, day(2)))
    one.promote("2")
    asked = requested(None, first="2024-01-02", last="2024-01-02")
    planned = plan_scoring(one.spark, one.settings, one.workload, asked, version="2")
    told = "\n".join(planned.lines())
    assert "source       events@0, day from 2024-01-02 to 2024-01-02" in told
    assert "first        what is new is scored: `lakescore plan linear`" in told
    result = one.backfill(first="2024-01-02", last="2024-01-02")
    assert result.status is Status.DONE
    assert one.scores() == [
        (1, 3.0, "1"), (2, 5.0, "2"), (4, 9.0, "1"), (5, 14.0, "2"),
    ]  # fmt: skip
    assert one.refused() == [('{"id":3}', 1)]
    assert one.score().status is Status.NOTHING_TO_DO

    one.backfill(first="2024-01-03", version="3")
    assert (4, 27.0, "3") in one.scores()
    with pytest.raises(UsageError, match="--from, --to or both"):
        one.backfill()
    with pytest.raises(UsageError, match="'2024-13-01' is not a date"):
        one.backfill(first="2024-13-01")


def test_a_backfill_closes_the_refused_rows_that_are_valid_now(life) -> None:
    one = life(backfill_by="day")
    one.append((1, -1.0, day(1)), (2, -2.0, day(2)))
    one.score()
    mended = life(backfill_by="day", source={"expectations": {}})
    mended.backfill(last="2024-01-01")
    assert mended.scores() == [(1, -1.0, "1")]
    assert mended.refused() == [('{"id":2}', 1)]


def test_rescore_all_restates_every_row_though_none_is_new(life) -> None:
    one = life(rescore="all")
    one.append((1, 1.0, day(1)), (2, -1.0, day(1)))
    one.score()
    assert one.score().status is Status.NOTHING_TO_DO
    one.promote("2")
    assert one.score().counts["predicted"] == 1
    assert one.scores() == [(1, 2.0, "2")]
    assert one.refused() == [('{"id":2}', 1)]
    assert one.score().status is Status.NOTHING_TO_DO


@pytest.mark.parametrize("feed", [True, False])
def test_new_rows_are_scored_without_a_look_at_the_old_ones(life, feed: bool) -> None:
    one = life(feed=feed)
    one.append((1, 1.0, day(1)))
    one.append((2, 2.0, day(1)))
    one.score()
    old = list(Path(one.source.path).glob("*.parquet"))
    one.append((3, 3.0, day(2)))
    for path in old:
        path.unlink()
    plan = plan_scoring(one.spark, one.settings, one.workload)
    assert "read by      the files that the commits added" in list(plan.lines())
    assert one.score().counts["read"] == 1
    assert one.scores() == [(1, 3.0, "1"), (2, 5.0, "1"), (3, 7.0, "1")]


@pytest.mark.parametrize("feed", [True, False])
def test_new_rows_whose_files_were_vacuumed_are_told(life, feed: bool) -> None:
    one = life(feed=feed)
    one.append((1, 1.0, day(1)))
    one.score()
    one.append((2, 2.0, day(1)))
    one.sql("OPTIMIZE {t}")
    (kept,) = one.source.read(one.spark).inputFiles()
    for path in Path(one.source.path).glob("*.parquet"):
        if path.name not in kept:
            path.unlink()
    for run in (one.score, lambda: plan_scoring(one.spark, one.settings, one.workload)):
        with pytest.raises(CorruptFile, match="is named by the table but is not there"):
            run()
    assert one.score(full=True).counts["predicted"] == 2


@pytest.mark.parametrize("feed", [True, False])
def test_retention_deletes_are_ignored_when_told(life, feed: bool) -> None:
    one = life(feed=feed, on_delete="ignore", rescore="all")
    one.append((1, 1.0, day(1)), (2, 2.0, day(1)))
    one.score()
    one.sql("DELETE FROM {t} WHERE id = 1")
    one.append((3, 3.0, day(2)))
    assert one.score().counts["read"] == 1
    assert one.scores() == [(1, 3.0, "1"), (2, 5.0, "1"), (3, 7.0, "1")]
    one.promote("2")
    one.score()
    assert one.scores() == [(1, 3.0, "1"), (2, 5.0, "2"), (3, 8.0, "2")]
    one.sql("UPDATE {t} SET x = 9 WHERE id = 2")
    with pytest.raises(SourceChanged, match="UPDATE"):
        plan_scoring(one.spark, one.settings, one.workload)
    with pytest.raises(SourceChanged, match="UPDATE"):
        one.score()


@pytest.mark.parametrize("feed", [True, False])
def test_an_upsert_follows_the_source_by_key(life, feed: bool) -> None:
    one = life(feed=feed, mode="upsert")
    one.append((1, 1.0, day(1)), (2, 2.0, day(1)), (3, -3.0, day(1)), (4, 4.0, day(1)))
    assert one.score().counts["predicted"] == 3
    one.promote("2")
    one.sql("UPDATE {t} SET x = 10 WHERE id = 1")
    one.sql("DELETE FROM {t} WHERE id = 2")
    one.sql("UPDATE {t} SET x = 3 WHERE id = 3")
    one.sql("UPDATE {t} SET x = -4 WHERE id = 4")
    one.append((5, 5.0, day(1)))
    result = one.score()
    assert result.counts == {
        "read": 5, "predicted": 3, "quarantined": 1, "duplicates": 0, "out_of_scope": 0,
        "deleted": 1,
    }  # fmt: skip
    assert one.scores() == [(1, 29.0, "2"), (3, 8.0, "2"), (5, 14.0, "2")]
    assert one.refused() == [('{"id":4}', 1)]
    assert one.score().status is Status.NOTHING_TO_DO


@pytest.mark.parametrize("feed", [True, False])
def test_upserted_rows_without_a_key_go_by_their_content(life, feed: bool) -> None:
    one = life(feed=feed, mode="upsert")
    one.append((None, 1.0, day(1)), (None, 1.0, day(1)), (None, 2.0, day(1)), (1, 1.0, day(1)))
    one.score()
    assert sum(copies for _, copies in one.refused()) == 3
    one.sql("DELETE FROM {t} WHERE x = 2.0")
    one.append((None, 5.0, day(1)))
    one.score()
    assert sum(copies for _, copies in one.refused()) == 3
    one.sql("UPDATE {t} SET id = 7 WHERE x = 5.0")
    one.score()
    assert sum(copies for _, copies in one.refused()) == 2
    assert one.scores() == [(1, 3.0, "1"), (7, 11.0, "1")]


@pytest.mark.parametrize("feed", [True, False])
def test_a_key_that_loses_one_of_two_rows_is_judged_by_the_other(life, feed: bool) -> None:
    one = life(feed=feed, mode="upsert")
    one.append((1, 1.0, day(1)), (1, 2.0, day(1)), (2, 2.0, day(1)))
    one.score()
    assert one.scores() == [(2, 5.0, "1")]
    assert one.refused() == [('{"id":1}', 1), ('{"id":1}', 1)]
    one.sql("DELETE FROM {t} WHERE id = 1 AND x = 2.0")
    one.score()
    assert one.scores() == [(1, 3.0, "1"), (2, 5.0, "1")]
    assert one.refused() == []


def test_a_backfill_by_another_version_does_not_decide_what_is_restated(life) -> None:
    one = life(rescore="all", backfill_by="day")
    one.append((1, 1.0, day(1)), (2, 2.0, day(2)))
    one.score()
    one.backfill(first="2024-01-02", version="2")
    assert one.score().status is Status.NOTHING_TO_DO
    one.promote("2")
    assert one.score().counts["predicted"] == 2
    assert one.scores() == [(1, 2.0, "2"), (2, 5.0, "2")]


def test_another_mode_needs_a_new_start(life) -> None:
    life().append((1, 1.0, day(1)))
    life().score()
    with pytest.raises(UsageError, match="made in mode append"):
        life(mode="upsert").score()
    life(mode="upsert").score(full=True)
    assert life(mode="upsert").score().status is Status.NOTHING_TO_DO


def test_an_upsert_without_a_feed_reads_no_old_version_where_no_row_changed(life) -> None:
    one = life(feed=False, mode="upsert")
    one.append((1, 1.0, day(1)))
    one.append((3, 3.0, day(1)))
    one.score()
    one.sql("OPTIMIZE {t}")
    one.sql("ALTER TABLE {t} CHANGE COLUMN x COMMENT 'a reading'")
    result = one.score()
    assert (result.status, result.counts["read"]) == (Status.DONE, 0)
    lose_history(one.spark, one.source)
    assert one.score().counts["read"] == 0
    one.append((2, 2.0, day(1)))
    lose_history(one.spark, one.source)
    with pytest.raises(VersionUnreadable, match="scoring starts over with --full"):
        one.score()
    assert one.scores() == [(1, 3.0, "1"), (3, 7.0, "1")]


@pytest.mark.parametrize("feed", [True, False])
def test_a_commit_that_does_not_say_what_it_did_is_followed(life, feed: bool) -> None:
    one = life(feed=feed, mode="upsert")
    one.append((1, 1.0, day(1)))
    one.score()
    one.append((2, 2.0, day(1)))
    newest = Path(one.source.path) / "_delta_log" / "00000000000000000001.json"
    actions = newest.read_text().splitlines(keepends=True)
    newest.write_text("".join(line for line in actions if '"commitInfo"' not in line))
    newest.with_name(f".{newest.name}.crc").unlink(missing_ok=True)
    assert one.score().counts["predicted"] == 1
    assert one.scores() == [(1, 3.0, "1"), (2, 5.0, "1")]


def test_upsert_policies_mark_keep_and_scope(life) -> None:
    one = life(mode="upsert", on_delete="mark", on_invalid="mark", where="day < DATE'2024-02-01'")
    one.append((1, 1.0, day(1)), (2, 2.0, day(1)), (3, 3.0, day(1)), (4, 4.0, day(1)))
    one.score()
    one.sql("DELETE FROM {t} WHERE id = 1")
    one.sql("UPDATE {t} SET x = -1 WHERE id = 2")
    one.sql("UPDATE {t} SET day = DATE'2024-03-01' WHERE id = 3")
    one.score()

    def rows() -> list[tuple[Any, ...]]:
        current = one.lake.table("scores").read(one.spark)
        return sorted(map(tuple, current.select("id", "prediction", "_withdrawn").collect()))

    assert rows() == [
        (1, 3.0, "deleted"), (2, 5.0, "invalid"), (4, 9.0, None),
    ]  # fmt: skip
    one.append((1, 8.0, day(1)))
    one.score()
    assert (1, 17.0, None) in rows()
