"""A Delta table's history, through DESCRIBE HISTORY: what was committed, newest first."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from lakescore.errors import FormatTooNew

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from lakescore.lake.tables import Table

#: The key that marks commit metadata as lakescore's; its value is the format's version.
MARK = "lakescore"
FORMAT_VERSION = 1
#: The operation of a commit that does not say; the protocol lets a writer leave it out.
UNKNOWN = "unknown operation"
#: Operations that leave every row as it is.
_KEEPS_ROWS = (
    "OPTIMIZE",
    "VACUUM",
    "SET TBLPROPERTIES",
    "UNSET TBLPROPERTIES",
    "ADD COLUMNS",
    "CHANGE COLUMN",
    "ADD CONSTRAINT",
    "DROP CONSTRAINT",
    "COMPUTE STATS",
    "UPGRADE PROTOCOL",
)


@dataclass(frozen=True)
class TableCommit:
    """One commit of a table. `millis` is its time since 1970 in milliseconds, UTC."""

    version: int
    millis: int
    operation: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    restored_millis: int | None = None

    @property
    def time(self) -> str:
        moment = datetime.fromtimestamp(self.millis / 1000, tz=timezone.utc)
        return moment.strftime("%Y-%m-%d %H:%M:%SZ")

    @property
    def rows_written(self) -> int | None:
        """Rows that the commit added, by Delta's own count; None where it has no such metric."""
        count = self.metrics.get("numOutputRows")
        return None if count is None else int(count)

    @property
    def keeps_rows(self) -> bool:
        """Whether no row came, changed or went with it."""
        return self.operation.startswith(_KEEPS_ROWS)

    def describe(self) -> str:
        return f"version {self.version} ({self.operation}, {self.time})"


def metadata_json(fields: Mapping[str, Any]) -> str:
    """Commit metadata as lakescore writes it."""
    return json.dumps({MARK: FORMAT_VERSION, **fields}, sort_keys=True)


def parse_metadata(text: str | None) -> Mapping[str, Any]:
    """What `metadata_json` wrote, in whatever format; empty for anything else."""
    try:
        fields = json.loads(text or "")
    except ValueError:
        return {}
    return fields if isinstance(fields, dict) and MARK in fields else {}


def refuse_newer(metadata: Mapping[str, Any], what: str) -> None:
    """Raise FormatTooNew for metadata of a newer lakescore, before anything is made of it.

    Older formats are read; a newer one may say things that this code would take for nothing.
    """
    found = metadata.get(MARK, FORMAT_VERSION)
    if isinstance(found, int) and found <= FORMAT_VERSION:
        return
    raise FormatTooNew(
        f"{what} was written by a newer lakescore, in format {found}; this one reads up to "
        f"{FORMAT_VERSION}",
        hint="upgrade lakescore",
    )


def recent_commits(spark: SparkSession, table: Table, limit: int) -> list[TableCommit]:
    """The newest commits, newest first. Cost follows `limit`, not the table's age."""
    history = spark.sql(f"DESCRIBE HISTORY {table.sql_name} LIMIT {int(limit)}")
    restored = F.col("operationParameters").getItem("timestamp").cast("timestamp")
    rows = history.select(
        "version",
        _millis(F.col("timestamp")).alias("millis"),
        "operation",
        "operationParameters",
        "operationMetrics",
        "userMetadata",
        F.when(F.col("operation") == "RESTORE", _millis(restored)).alias("restored_millis"),
    ).collect()
    commits = (
        TableCommit(
            version=row.version,
            millis=row.millis,
            operation=row.operation or UNKNOWN,
            parameters=row.operationParameters or {},
            metrics=row.operationMetrics or {},
            metadata=parse_metadata(row.userMetadata),
            restored_millis=row.restored_millis,
        )
        for row in rows
    )
    return sorted(commits, key=lambda commit: commit.version, reverse=True)


def commits_between(spark: SparkSession, table: Table, after: int, until: int) -> list[TableCommit]:
    """The commits in (after, until], oldest first; fewer where the log was cleaned."""
    commits = recent_commits(spark, table, until - after)
    if commits and commits[0].version > until and commits[-1].version > after + 1:
        commits = recent_commits(spark, table, commits[0].version - after)
    return [commit for commit in reversed(commits) if after < commit.version <= until]


def standing(commits: Sequence[TableCommit]) -> Iterator[TableCommit]:
    """Those of `commits` (newest first) whose content still stands, newest first.

    A RESTORE takes the table back to an older version: what lies between no longer counts.
    """
    ceiling: int | None = None
    for commit in commits:
        if ceiling is not None and commit.version > ceiling:
            continue
        if commit.operation == "RESTORE":
            ceiling = _restored_version(commit, commits)
        else:
            yield commit


def _restored_version(restore: TableCommit, commits: Sequence[TableCommit]) -> int:
    """The version that a RESTORE went back to; -1 where the log no longer tells."""
    version = restore.parameters.get("version")
    if version is not None:
        return int(version)
    moment = restore.restored_millis
    if moment is None:
        return -1
    older = (c.version for c in commits if c.version < restore.version and c.millis <= moment)
    return max(older, default=-1)


def _millis(moment: Any) -> Any:
    """Milliseconds since 1970 of a timestamp column, without the driver's own time zone."""
    return (moment.cast("double") * 1000).cast("long")
