"""A long catch-up in several commits: every row once, whatever stops it in between."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import pytest

from lakescore.errors import ContractViolated, VersionUnreadable
from lakescore.lake import commits
from lakescore.lake.chain import Chain, Part
from lakescore.lake.chunks import FileGroup, next_chunk
from lakescore.lake.history import recent_commits
from lakescore.lake.snapshot import pin
from lakescore.lake.tables import Table
from lakescore.workflows.plan import plan_scoring
from lakescore.workflows.run_result import Status
from tests.linear import Life, day

#: Three rows a commit.
CHUNKED = {"max_rows_per_commit": 3}


class Crash(Exception):
    """The process ends here."""


def scored(life: Life) -> list[int]:
    return [row[0] for row in life.scores()]


def chunks(life: Life) -> list[tuple]:
    """(source version, files done, rows) of each commit, oldest first."""
    found = []
    for commit in reversed(recent_commits(life.spark, life.lake.table("scores"), 100)):
        if "counts" in commit.metadata:
            part = commit.metadata["part"] or {}
            read = commit.metadata["counts"]["read"]
            found.append((commit.metadata["source_version"], part.get("files"), read))
    return found


def test_a_first_catch_up_goes_by_files_and_goes_on_after_a_crash(life) -> None:
    one = life(**CHUNKED)
    for first in (1, 3, 5, 7):
        one.append((first, 1.0, day(1)), (first + 1, -1.0 if first == 5 else 2.0, day(1)))
    planned = plan_scoring(one.spark, one.settings, one.workload)
    assert "2 rows in 1 files (then 1 of 4 are done)" in "\n".join(planned.lines())

    real, written = commits.write_once, []

    def second_fails(*args, **kwargs):
        if written:
            raise Crash
        written.append(real(*args, **kwargs))
        return written[0]

    with mock.patch.object(commits, "write_once", second_fails), pytest.raises(Crash):
        one.score()
    assert len(scored(one)) + len(one.refused()) == 2
    one.append((9, 9.0, day(2)))
    result = one.score()
    assert result.details["commits"] == 4
    assert result.counts["read"] == 7
    assert scored(one) == [1, 2, 3, 4, 5, 7, 8, 9]
    assert one.refused() == [('{"id":6}', 1)]
    assert chunks(one) == [(None, 1, 2), (None, 2, 2), (None, 3, 2), (3, None, 2), (4, None, 1)]
    assert one.score().status is Status.NOTHING_TO_DO


def test_a_later_range_goes_by_versions_and_a_large_append_by_files(life) -> None:
    one = life(**CHUNKED)
    one.append((1, 1.0, day(1)))
    one.score()
    one.append((2, 1.0, day(1)), (3, 1.0, day(1)))
    one.append((4, 1.0, day(1)))
    rows = [(i, 1.0, day(2)) for i in range(5, 9)]
    large = one.frame(rows).repartition(2).write.format("delta").mode("append")
    large.save(one.source.path)
    one.append((9, 1.0, day(3)))
    assert one.score().counts["read"] == 8
    assert scored(one) == list(range(1, 10))
    assert one.lake.table("scores").read(one.spark).count() == 9
    by_version = [version for version, files, _ in chunks(one) if files is None]
    assert by_version == [0, 2, 3, 4]
    assert [files for _, files, _ in chunks(one) if files is not None] == [1]
    assert all(read <= 3 for _, _, read in chunks(one))


@pytest.mark.slow
def test_upserts_go_by_files_first_and_by_versions_later(life) -> None:
    one = life(mode="upsert", **CHUNKED)
    one.append((1, 1.0, day(1)), (2, 2.0, day(1)))
    one.append((3, 3.0, day(1)), (4, -4.0, day(1)))
    assert one.score().details["commits"] == 2
    one.sql("UPDATE {t} SET x = 10 WHERE id IN (1, 4)")
    one.sql("DELETE FROM {t} WHERE id IN (2, 3)")
    one.append((5, 5.0, day(1)))
    assert one.score().details["commits"] == 2
    assert one.scores() == [(1, 21.0, "1"), (4, 21.0, "1"), (5, 11.0, "1")]
    assert one.refused() == []


def test_an_unfinished_catch_up_is_not_taken_for_done_when_its_history_is_gone(life) -> None:
    one = life(**CHUNKED)
    one.append((1, 1.0, day(1)), (2, 1.0, day(1)))
    one.append((3, 1.0, day(1)), (4, 1.0, day(1)))
    real = commits.PredictionsLog.commit
    calls = []

    def first_only(*args):
        if calls:
            raise Crash
        calls.append(real(*args))
        return calls[0]

    with mock.patch.object(commits.PredictionsLog, "commit", first_only), pytest.raises(Crash):
        one.score()
    with mock.patch.object(Chain, "tells_part", False):
        with pytest.raises(VersionUnreadable, match="was scored in part"):
            one.score()
        assert one.score(full=True).counts["predicted"] == 4
        assert one.score().status is Status.NOTHING_TO_DO
    assert scored(one) == [1, 2, 3, 4]


def test_a_large_merge_that_only_inserts_is_one_commit(life) -> None:
    """It wrote a file anew, so its new rows are told by the feed, and not by files."""
    one = life(**CHUNKED)
    one.append((1, 1.0, day(1)), (2, 1.0, day(1)))
    one.score()
    one.sql(
        "MERGE INTO {t} t USING (SELECT id, x, day FROM VALUES (1, 9D, DATE'2024-01-01'), "
        "(3, 1D, DATE'2024-01-01'), (4, 1D, DATE'2024-01-01'), (5, 1D, DATE'2024-01-01'), "
        "(6, 1D, DATE'2024-01-01') AS s(id, x, day)) s ON t.id = s.id "
        "WHEN MATCHED AND t.x > 5 THEN UPDATE SET x = s.x WHEN NOT MATCHED THEN INSERT *"
    )
    run = one.score()
    assert (run.details["commits"], run.counts["predicted"]) == (1, 4)
    assert scored(one) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("columns", ["none", "name"])
def test_files_read_by_themselves_or_through_delta_hold_the_same_rows(
    spark, tmp_path: Path, columns: str
) -> None:
    """Partition values that need escaping, a path with a blank; column mapping for Delta's way."""
    table = Table("t", str(tmp_path / "a lake" / "t"), None)
    spark.sql(
        f"CREATE TABLE {table.sql_name} (id BIGINT, kind STRING) USING DELTA "
        "PARTITIONED BY (kind) TBLPROPERTIES (delta.minReaderVersion = 2, "
        f"delta.minWriterVersion = 5, delta.columnMapping.mode = '{columns}')"
        if columns == "name"
        else f"CREATE TABLE {table.sql_name} (id BIGINT, kind STRING) USING DELTA "
        "PARTITIONED BY (kind)"
    )
    kinds = ["a b", "10:30 100%", "ü=/[x]*", None]
    rows = [(i, kinds[i % 4]) for i in range(12)]
    frame = spark.createDataFrame(rows, "id bigint, kind string").coalesce(1)
    frame.write.format("delta").mode("append").save(table.path)
    head, found, part = pin(spark, table), [], None
    while True:
        chunk = next_chunk(spark, head, None, 5, part=part)
        assert isinstance(chunk.files, FileGroup)
        found += [tuple(row) for row in chunk.files.read(spark, chunk.source).collect()]
        if not chunk.more:
            break
        part = Part(chunk.source.version, chunk.files.done, chunk.files.of)
    assert sorted(found, key=repr) == sorted(rows, key=repr)


def test_a_bound_on_refused_rows_is_over_the_whole_run(life) -> None:
    one = life(source={"max_quarantined": {"share": 1.0, "count": 1}}, **CHUNKED)
    one.append((0, 0.0, day(1)))
    one.score()
    for first in (1, 3, 5):
        one.append((first, 1.0, day(1)), (first + 1, -1.0 if first > 1 else 2.0, day(1)))
    with pytest.raises(ContractViolated) as caught:
        one.score()
    assert "2 of 6 rows break the data contract, more than the allowed 1 rows" in caught.value.what
    assert "the run stops after its 2 commits, which stand" in caught.value.what
    assert scored(one) == [0, 1, 2, 3]
