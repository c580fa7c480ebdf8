"""Snapshots: a table pinned at a version, so that every read of a run sees the same rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lakescore.errors import VersionUnreadable
from lakescore.lake.history import TableCommit, commits_between, recent_commits
from lakescore.lake.schemas import schema_hash
from lakescore.lake.tables import Table, TableDetail

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.types import StructType

#: How many commits are read with a pin: most runs follow the one before within so many.
_LOOK_BACK = 16


@dataclass(frozen=True)
class Snapshot:
    """A pin: this version of this table, with this schema."""

    table: Table
    table_id: str
    version: int
    schema_hash: str
    schema: StructType = field(compare=False, repr=False)
    detail: TableDetail = field(compare=False, repr=False)
    #: The commits up to the pin that were read with it, newest first.
    commits: tuple[TableCommit, ...] = field(default=(), compare=False, repr=False)

    def __str__(self) -> str:
        return f"{self.table.name}@{self.version}"

    def read(self, spark: SparkSession) -> DataFrame:
        """The rows of the pinned version. Raises VersionUnreadable when the log has lost it."""
        return _read(spark, self.table, self.version)

    def at(self, spark: SparkSession, version: int) -> Snapshot:
        """The same table at another version. Raises VersionUnreadable."""
        return pin(spark, self.table, version)

    def commits_since(self, spark: SparkSession, after: int) -> list[TableCommit]:
        """The commits in (after, version], oldest first; fewer where the log was cleaned."""
        if self.commits and self.commits[-1].version <= after + 1:
            return [commit for commit in reversed(self.commits) if commit.version > after]
        return commits_between(spark, self.table, after, self.version)

    def schema_at(self, spark: SparkSession, version: int) -> StructType:
        """The table's columns at another version. Raises VersionUnreadable."""
        return _read(spark, self.table, version).schema

    def describe(self) -> dict[str, Any]:
        """JSON-ready: what a commit or a run result says of the pin."""
        return {
            "table": self.table.name,
            "table_id": self.table_id,
            "version": self.version,
            "schema_hash": self.schema_hash,
        }


def pin(spark: SparkSession, table: Table, version: int | None = None) -> Snapshot:
    """Pin a table at its newest version, or at `version`; a view through its base tables.

    Raises TableNotFound, and VersionUnreadable for a version that cannot be read (any more).
    """
    from lakescore.lake.views import filtered_table, find_view, is_filtered

    detail = table.find(spark)
    if detail is None:
        view = find_view(spark, table, version)
        if view is not None:
            return view
        detail = table.detail(spark)
    commits: list[TableCommit] = []
    if version is None:
        commits = recent_commits(spark, table, _LOOK_BACK)
        version = commits[0].version
    try:
        schema = _read(spark, table, version).schema
    except VersionUnreadable as error:
        if is_filtered(error.__cause__):
            return filtered_table(spark, table).at(spark, version)
        raise
    return Snapshot(
        table, detail.table_id, version, schema_hash(schema), schema, detail, tuple(commits)
    )


def _read(spark: SparkSession, table: Table, version: int) -> DataFrame:
    from pyspark.sql.utils import AnalysisException

    try:
        return table.read(spark, version)
    except AnalysisException as error:
        raise VersionUnreadable(
            f"version {version} of {table.name} can no longer be read: {_first_line(error)}",
            where=table.location,
            hint="its log or files were cleaned by retention or VACUUM, or it never was: "
            "run without the pin to use the newest version; scoring starts over with --full",
        ) from error


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
