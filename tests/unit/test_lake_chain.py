"""What a table's history tells of one workload's commits."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from lakescore.errors import FormatTooNew
from lakescore.lake.chain import Chain, Progress
from lakescore.lake.history import TableCommit, metadata_json, parse_metadata, standing

APP = "lakescore:churn"


def commit(version: int, seq: int, attempt: str, *, app: str = APP, source: int = 0):
    fields = {"app_id": app, "commit_seq": seq, "attempt_id": attempt, "source_version": source}
    return TableCommit(version, version * 1000, "WRITE", metadata=fields)


def restore(version: int, *, to: int | None = None, millis: int | None = None):
    parameters = {} if to is None else {"version": str(to)}
    return TableCommit(version, version * 1000, "RESTORE", parameters, restored_millis=millis)


CREATED = TableCommit(0, 0, "CREATE TABLE")


def test_progress_is_that_of_the_last_own_commit():
    commits = [
        TableCommit(4, 4000, "OPTIMIZE"),
        commit(3, 9, "x", app="lakescore:other", source=99),
        commit(2, 2, "b", source=7),
        commit(1, 1, "a", source=3),
        CREATED,
    ]
    chain = Chain.of(commits, APP)
    assert chain.progress() == Progress(commit_seq=2, source_version=7)
    assert chain.progress().next_seq == 3


def test_a_workload_without_commits_in_a_whole_history_starts_at_one():
    chain = Chain.of([CREATED], APP)
    assert chain.tells
    assert chain.progress() == Progress()


def test_a_cleaned_history_without_own_commits_tells_nothing():
    assert not Chain.of([commit(8, 1, "x", app="lakescore:other")], APP).tells


def test_restore_lowers_the_source_version_but_never_the_number():
    commits = [
        restore(4, to=1),
        commit(3, 3, "c", source=9),
        commit(2, 2, "b", source=7),
        commit(1, 1, "a", source=3),
        CREATED,
    ]
    assert Chain.of(commits, APP).progress() == Progress(commit_seq=3, source_version=3)


def test_commits_after_a_restore_count_again():
    commits = [
        commit(5, 4, "d", source=9),
        restore(4, to=1),
        commit(3, 3, "c", source=9),
        commit(1, 1, "a", source=3),
        CREATED,
    ]
    chain = Chain.of(commits, APP)
    assert [c.version for c in chain.in_force] == [5, 1]
    assert chain.progress() == Progress(commit_seq=4, source_version=9)


def test_restore_by_time_goes_back_to_the_newest_commit_before_it():
    commits = [restore(3, millis=1500), commit(2, 2, "b"), commit(1, 1, "a"), CREATED]
    assert [c.version for c in standing(commits)] == [1, 0]


def test_restore_of_a_restore_follows_both():
    commits = [
        restore(4, to=2),
        restore(3, to=0),
        commit(2, 2, "b"),
        commit(1, 1, "a"),
        CREATED,
    ]
    assert [c.version for c in standing(commits)] == [2, 1, 0]


def test_an_attempt_whose_number_another_took_is_a_stray():
    chain = Chain.of([commit(2, 2, "b"), commit(1, 1, "a"), CREATED], APP)
    attempts = {"a": 1, "twin of a": 1, "b": 2, "running now": 3}
    assert chain.strays(attempts) == ["twin of a"]
    assert chain.not_in_force(attempts) == ["running now", "twin of a"]


def test_an_undone_attempt_is_out_of_force_but_kept_for_another_restore():
    commits = [restore(3, to=1), commit(2, 2, "b"), commit(1, 1, "a"), CREATED]
    undone = Chain.of(commits, APP)
    assert undone.strays({"a": 1, "b": 2}) == []
    assert undone.not_in_force({"a": 1, "b": 2}) == ["b"]
    assert Chain.of([restore(4, to=2), *commits], APP).not_in_force({"a": 1, "b": 2}) == []


def test_attempts_older_than_the_history_are_left_alone():
    chain = Chain.of([commit(90, 40, "new")], APP)
    assert chain.strays({"old": 12}) == []
    assert chain.not_in_force({"old": 12}) == []


def test_metadata_of_others_is_not_read_as_ours():
    assert parse_metadata('{"commit_seq": 4}') == {}
    assert parse_metadata("not json") == {}
    assert parse_metadata(None) == {}
    assert parse_metadata(metadata_json({"commit_seq": 4}))["commit_seq"] == 4


#: As format 1 was written: it stays readable, whatever comes after.
FORMAT_1 = (
    '{"app_id": "lakescore:churn", "as_of": null, "attempt_id": "9e", "closes": "true", '
    '"commit_seq": 7, "counts": {"deleted": 0, "duplicates": 0, "out_of_scope": 0, "predicted": 1,'
    ' "quarantined": 1, "read": 2}, "generation": 1, "kind": "predictions", "lakescore": 1, '
    '"merge_by": [], "mode": "backfill", "model_version": "3", "on_delete": "delete", '
    '"on_invalid": "delete", "pins": {"events": {"role": "source", "schema_hash": "beef", '
    '"table": "events", "table_id": "a1b2", "version": 12}}, "plan_hash": "f00d", "reasons": '
    '{"x is not negative": 1}, "replaces": "true", "run_id": "20240131T060000Z-1f9c2a", '
    '"source_id": "a1b2", "source_version": 12, "stands_under": "2", "workload": "churn", '
    '"workload_mode": "append"}'
)


def told(text: str) -> TableCommit:
    return TableCommit(3, 3000, "WRITE", metadata=parse_metadata(text))


def test_metadata_of_format_1_stays_readable():
    chain = Chain.of([told(FORMAT_1)], APP)
    assert chain.progress() == Progress(
        commit_seq=7,
        source_version=12,
        source_id="a1b2",
        model_version="3",
        run_id="20240131T060000Z-1f9c2a",
        generation=1,
        stands_under="2",
        mode="append",
    )
    assert chain.not_in_force({"9e": 7, "8d": 7}) == ["8d"]


@pytest.mark.parametrize("written_in", ["2", '"next"', "null"])
def test_metadata_of_a_newer_format_is_refused_and_not_taken_for_no_progress(written_in: str):
    newer = told(FORMAT_1.replace('"lakescore": 1', f'"lakescore": {written_in}'))
    with pytest.raises(FormatTooNew, match=r"version 3 .* reads up to 1\n  -> upgrade lakescore"):
        Chain.of([newer, commit(1, 1, "a"), CREATED], "lakescore:other")


def test_a_day_without_a_commit_still_tells_in_which_mode_the_rows_were_made():
    progress = Chain.of([told(FORMAT_1)], APP).progress(date(2024, 1, 31))
    assert progress == Progress(commit_seq=7, mode="append")


def withdrawal(version: int, seq: int, attempt: str, withdraws: str):
    found = commit(version, seq, attempt)
    return TableCommit(version, 0, "WRITE", metadata={**found.metadata, "withdraws": withdraws})


def test_a_withdrawn_commit_is_out_of_force_until_a_restore_brings_it_back():
    commits = [withdrawal(3, 3, "w", "b"), commit(2, 2, "b"), commit(1, 1, "a"), CREATED]
    chain = Chain.of(commits, APP)
    assert [c.metadata["attempt_id"] for c in chain.in_force] == ["w", "a"]
    assert not chain.is_undone
    restored = Chain.of([restore(4, to=2), *commits], APP)
    assert [c.metadata["attempt_id"] for c in restored.in_force] == ["b", "a"]
    assert restored.is_undone


def test_what_stood_before_a_commit_is_not_told_by_a_cleaned_history():
    newest = commit(9, 4, "d", source=9)
    assert not Chain.of([newest], APP).tells_before(newest)
    assert Chain.of([newest, commit(8, 3, "c", source=8)], APP).tells_before(newest)
    assert Chain.of([newest, CREATED], APP).tells_before(newest)


def test_a_first_part_that_was_never_committed_is_no_unfinished_catch_up():
    assert Chain.of([CREATED], APP).tells_part
    assert not Chain.of([TableCommit(9, 0, "OPTIMIZE")], APP).tells_part


@pytest.mark.parametrize(
    ("then", "newest", "left"),
    [
        (5, (5, "a twin"), True),  # the commit refused no row
        (5, (6, "b"), True),  # the commit's own refused rows
        (5, (6, "a twin"), False),
        (5, (7, "b"), False),  # and somebody else's before
        (None, (6, "b"), False),
    ],
)
def test_a_quarantine_is_left_as_is_by_the_newest_commit_alone(then, newest, left):
    own = commit(2, 2, "b")
    own = replace(own, metadata={**own.metadata, "quarantine_version": then})
    chain = Chain.of([own, commit(1, 1, "a"), CREATED], APP)
    version, attempt = newest
    written = TableCommit(version, 0, "WRITE", metadata={"attempt_id": attempt})
    assert chain.left_as_is(written) is left
    undone = Chain.of([restore(3, to=1), own, commit(1, 1, "a"), CREATED], APP)
    assert not undone.left_as_is(written)


def test_of_attempts_under_a_number_that_history_lost_the_last_counts():
    chain = Chain.of([commit(8, 5, "e")], APP)
    attempts = {"crashed": 4, "d": 4, "running": 5, "e": 5}
    assert chain.not_in_force(attempts) == ["crashed", "running"]
    nothing = Chain.of([TableCommit(9, 0, "OPTIMIZE")], APP)
    assert nothing.not_in_force(attempts) == ["crashed", "running"]


def test_a_running_attempt_is_not_that_of_a_commit():
    chain = Chain.of([commit(2, 2, "b"), commit(1, 1, "a"), CREATED], APP)
    assert chain.are_all_named({"a": 1, "b": 2})
    assert not chain.are_all_named({"a": 1, "c": 3})
