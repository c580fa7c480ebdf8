"""Writes that happen at most once: Delta's transaction identifiers, and a look at the outcome.

Delta skips a write whose (`txnAppId`, `txnVersion`) is used, silently, and fails one of two that
race. So the number alone says nothing to the writer: only the history does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lakescore.config.base import quoted
from lakescore.errors import CommitConflict
from lakescore.lake.history import TableCommit, metadata_json, recent_commits
from lakescore.lake.schemas import string_literal

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from lakescore.lake.tables import Table

_RACE = re.compile(
    r"Concurrent\w*Exception|MetadataChangedException|ProtocolChangedException"
    r"|DELTA_CONCURRENT_|DELTA_METADATA_CHANGED|DELTA_PROTOCOL_CHANGED"
)
_WINDOWS = (16, 1024)
_TRIES = 3
#: MERGE takes its identifiers from the session, which other threads share: it gets its own.
_MERGE_ID = "spark.databricks.delta.write"
_MERGE_METADATA = "spark.databricks.delta.commitInfo.userMetadata"
_SESSION_PINS = (
    "spark.sql.session.timeZone",
    "spark.sql.ansi.enabled",
    "spark.sql.shuffle.partitions",
)


@dataclass(frozen=True)
class WriteOutcome:
    """`commit` is this attempt's own; `winner` the commit that holds its number instead.

    Both are None when the number was used by a commit that the history no longer shows.
    """

    commit: TableCommit | None = None
    winner: TableCommit | None = None

    @property
    def committed(self) -> bool:
        return self.commit is not None


@dataclass(frozen=True)
class Append:
    """Add the rows. `options` matter when the write makes the table or adds columns."""

    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Replace:
    """The rows in place of those for which `condition` (SQL over the table) is true."""

    condition: str


@dataclass(frozen=True)
class Merge:
    """The rows in place of those with their key; `within` (SQL) says whose rows these may be.

    `action` is a column of the rows that is not written itself: 'write' the row, 'delete' the
    row that has its key, or 'mark' that one, writing the column `mark` alone.
    """

    key: Sequence[str]
    within: str
    action: str
    mark: str


def write_once(
    spark: SparkSession,
    rows: Callable[[SparkSession], DataFrame],
    table: Table,
    how: Append | Replace | Merge,
    *,
    app_id: str,
    number: int,
    attempt_id: str,
    metadata: Mapping[str, Any],
) -> WriteOutcome:
    """Write the rows under (app_id, number), unless that number is used, and say which it was.

    `rows` gives them in the session it is handed. `metadata` goes into the commit. Raises
    CommitConflict when other writers kept changing the table.
    """
    fields = {**metadata, "app_id": app_id, "commit_seq": number, "attempt_id": attempt_id}
    for _ in range(_TRIES):
        failure = _try(spark, rows, table, how, fields)
        outcome = _outcome(spark, table, fields, failure)
        if outcome is not None:
            return outcome
    raise _conflict(table)


def past_races(write: Callable[[], object], table: Table) -> None:
    """Make a write that another may make fail and that is right to repeat as it is.

    Raises CommitConflict when other writers kept changing the table.
    """
    for _ in range(_TRIES):
        try:
            write()
        except Exception as error:
            if not lost_a_race(error):
                raise
        else:
            return
    raise _conflict(table)


def _conflict(table: Table) -> CommitConflict:
    return CommitConflict(
        f"other writers changed the table {_TRIES} times while this run committed",
        where=table.name,
        hint="nothing was written; run again",
    )


def _try(
    spark: SparkSession,
    rows: Callable[[SparkSession], DataFrame],
    table: Table,
    how: Append | Replace | Merge,
    fields: Mapping[str, Any],
) -> Exception | None:
    """Write; return what went wrong, for the history may say that the commit is there."""
    try:
        if isinstance(how, Merge):
            _merge(spark, rows, table, how, fields)
        else:
            _save(rows(spark), table, how, fields)
    except Exception as error:
        return error
    return None


def _save(rows: DataFrame, table: Table, how: Append | Replace, fields: Mapping[str, Any]) -> None:
    writer = (
        rows.write.format("delta")
        .option("txnAppId", fields["app_id"])
        .option("txnVersion", fields["commit_seq"])
        .option("userMetadata", metadata_json(fields))
    )
    if isinstance(how, Replace):
        writer = writer.mode("overwrite").option("replaceWhere", how.condition)
    else:
        writer = writer.mode("append").options(**how.options)
    table.save(writer)


def _merge(
    spark: SparkSession,
    rows: Callable[[SparkSession], DataFrame],
    table: Table,
    how: Merge,
    fields: Mapping[str, Any],
) -> None:
    session = spark.newSession()
    for name in _SESSION_PINS:
        session.conf.set(name, spark.conf.get(name))
    session.conf.set(f"{_MERGE_ID}.txnAppId", fields["app_id"])
    session.conf.set(f"{_MERGE_ID}.txnVersion", str(fields["commit_seq"]))
    session.conf.set(_MERGE_METADATA, metadata_json(fields))
    changes = rows(session)
    changes.createOrReplaceTempView("changes")
    written = [quoted(name) for name in changes.columns if name != how.action]
    same_key = " AND ".join(f"t.{quoted(name)} <=> s.{quoted(name)}" for name in how.key)
    action, mark = f"s.{quoted(how.action)}", quoted(how.mark)
    updates = ", ".join(f"t.{name} = s.{name}" for name in written)
    values = ", ".join(f"s.{name}" for name in written)
    session.sql(
        f"MERGE INTO {table.sql_name} t USING changes s ON ({how.within}) AND {same_key} "  # noqa: S608
        f"WHEN MATCHED AND {action} = 'delete' THEN DELETE "
        f"WHEN MATCHED AND {action} = 'mark' THEN UPDATE SET t.{mark} = s.{mark} "
        f"WHEN MATCHED THEN UPDATE SET {updates} "
        f"WHEN NOT MATCHED AND {action} = 'write' "
        f"THEN INSERT ({', '.join(written)}) VALUES ({values})"
    ).collect()


def _outcome(
    spark: SparkSession,
    table: Table,
    fields: Mapping[str, Any],
    failure: Exception | None,
) -> WriteOutcome | None:
    """What became of the attempt; None when it lost a race that it may run again."""
    if failure is not None and not table.exists(spark):
        raise failure
    for window in _WINDOWS:
        commits = recent_commits(spark, table, window)
        for commit in commits:
            if commit.metadata.get("attempt_id") == fields["attempt_id"]:
                return WriteOutcome(commit=commit)
            if all(commit.metadata.get(name) == fields[name] for name in ("app_id", "commit_seq")):
                return WriteOutcome(winner=commit)
        if failure is not None or len(commits) < window:
            break
    if failure is None:
        return WriteOutcome()
    if lost_a_race(failure):
        return None
    raise failure


def lost_a_race(failure: Exception) -> bool:
    """Whether another writer changed the table at the same time: nothing was written."""
    return _RACE.search(str(failure)) is not None


def own_rows(workload: str, *, unlabelled: bool = False, alias: str = "") -> str:
    """SQL: the rows of one workload in a table that several may share (called `alias`).

    With `unlabelled`, the rows that stood there before the workload adopted the table as well.
    """
    column = f"{alias}._workload" if alias else "_workload"
    labelled = f"{column} = {string_literal(workload)}"
    return f"({labelled} OR {column} IS NULL)" if unlabelled else labelled
