"""Appends that happen at most once: Delta's transaction identifiers, and a look at the outcome.

Delta skips an append whose (`txnAppId`, `txnVersion`) is used, silently, and fails one of two
that race. So the number alone says nothing to the writer: only the history does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lakescore.errors import CommitConflict
from lakescore.lake.history import TableCommit, metadata_json, recent_commits

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from lakescore.lake.tables import Table

_RACE = re.compile(
    r"Concurrent\w*Exception|MetadataChangedException|ProtocolChangedException"
    r"|DELTA_CONCURRENT_|DELTA_METADATA_CHANGED|DELTA_PROTOCOL_CHANGED"
)
_WINDOWS = (16, 1024)
_TRIES = 3


@dataclass(frozen=True)
class AppendOutcome:
    """`commit` is this attempt's own; `winner` the commit that holds its number instead.

    Both are None when the number was used by a commit that the history no longer shows.
    """

    commit: TableCommit | None = None
    winner: TableCommit | None = None

    @property
    def committed(self) -> bool:
        return self.commit is not None


def append_once(
    spark: SparkSession,
    rows: DataFrame,
    table: Table,
    *,
    app_id: str,
    number: int,
    attempt_id: str,
    metadata: Mapping[str, Any],
    options: Mapping[str, str] | None = None,
    partition_by: tuple[str, ...] = (),
) -> AppendOutcome:
    """Append the rows under (app_id, number), unless that number is used, and say which it was.

    `metadata` goes into the commit. `options` and `partition_by` matter when the append makes
    the table. Raises CommitConflict when other writers kept changing the table's metadata.
    """
    fields = {**metadata, "app_id": app_id, "commit_seq": number, "attempt_id": attempt_id}
    writer = (
        rows.write.format("delta")
        .mode("append")
        .options(**(options or {}))
        .option("txnAppId", app_id)
        .option("txnVersion", number)
        .option("userMetadata", metadata_json(fields))
    )
    if partition_by:
        writer = writer.partitionBy(*partition_by)
    for _ in range(_TRIES):
        failure = _try(writer, table)
        outcome = _outcome(spark, table, fields, failure)
        if outcome is not None:
            return outcome
    raise CommitConflict(
        f"other writers changed the table {_TRIES} times while this run committed",
        where=table.name,
        hint="nothing was written; run again",
    )


def _try(writer: Any, table: Table) -> Exception | None:
    """Write; return what went wrong, for the history may say that the commit is there."""
    try:
        if table.path is not None:
            writer.save(table.path)
        else:
            writer.saveAsTable(str(table.identifier))
    except Exception as error:
        return error
    return None


def _outcome(
    spark: SparkSession,
    table: Table,
    fields: Mapping[str, Any],
    failure: Exception | None,
) -> AppendOutcome | None:
    """What became of the attempt; None when it lost a race that it may run again."""
    if failure is not None and not table.exists(spark):
        raise failure
    for window in _WINDOWS:
        commits = recent_commits(spark, table, window)
        for commit in commits:
            if commit.metadata.get("attempt_id") == fields["attempt_id"]:
                return AppendOutcome(commit=commit)
            if all(commit.metadata.get(name) == fields[name] for name in ("app_id", "commit_seq")):
                return AppendOutcome(winner=commit)
        if failure is not None or len(commits) < window:
            break
    if failure is None:
        return AppendOutcome()
    if _RACE.search(str(failure)):
        return None
    raise failure
