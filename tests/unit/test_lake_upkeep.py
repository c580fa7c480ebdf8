"""When OPTIMIZE and VACUUM are worth it, by what Delta says of a table."""

from __future__ import annotations

from datetime import timedelta

import pytest

from lakescore.lake.upkeep import FilesOf, is_serviced, parse_interval

MIB = 1024**2
DAY = timedelta(days=1)


def files(count: int, size: int = 0, partitions: int = 1, **properties: str) -> FilesOf:
    declared = {f"delta.{name.replace('_', '.')}": value for name, value in properties.items()}
    return FilesOf(count, size, partitions, declared, serviced=False)


@pytest.mark.parametrize(
    ("found", "small"),
    [
        (files(33, 33 * MIB), True),
        (files(32, 32 * MIB), False),
        (files(100, 100 * 32 * MIB), False),
        (files(100, 100 * MIB, partitions=68), True),
        (files(365, 365 * MIB, partitions=365), False),
        (files(0), False),
    ],
)
def test_files_are_small_by_number_beyond_partitions_and_mean_size(found: FilesOf, small: bool):
    assert found.are_small is small


@pytest.mark.parametrize(
    ("declared", "kept"),
    [
        (None, 7 * DAY),
        ("interval 1 hours", 7 * DAY),
        ("interval 30 days", 30 * DAY),
        ("INTERVAL 2 weeks 1 day", 15 * DAY),
        ("168 hours", 7 * DAY),
        ("interval 1 month", None),
    ],
)
def test_retention_is_the_tables_own_and_at_least_a_week(declared: str | None, kept):
    properties = {} if declared is None else {"deletedFileRetentionDuration": declared}
    assert files(1, **properties).retention == kept


def test_intervals_of_other_forms_are_not_guessed():
    assert parse_interval("interval -1 day") is None
    assert parse_interval("forever") is None
    assert parse_interval("") is None


@pytest.mark.parametrize(
    ("value", "itself"), [("true", True), ("auto", True), ("false", False), ("", False)]
)
def test_a_table_may_compact_itself(value: str, itself: bool):
    assert files(99, autoOptimize_autoCompact=value).compacts_itself is itself
    assert not files(99, autoOptimize_optimizeWrite="true").compacts_itself


def test_predictive_optimisation_is_told_by_the_description_of_the_table():
    rows = [("id", "int"), ("Owner", "me")]
    assert not is_serviced(rows)
    assert is_serviced([*rows, ("Predictive Optimization", "ENABLE (inherited from METASTORE x)")])
    assert not is_serviced([*rows, ("Predictive Optimization", "DISABLE (inherited from SCHEMA)")])
