"""Rows appended to a table since a version, at a cost that follows the range.

Where commits only added files, these hold the rows: the Delta protocol lists them in `_delta_log`,
and as long as the table's reader version is 1 (no deletion vectors, no column mapping) what they
hold is what the table holds. Where commits rewrote files too, the change feed tells what came.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote

from pyspark.sql import functions as F

from lakescore.config.base import quoted
from lakescore.errors import SourceChanged, TypeMismatch, VersionUnreadable
from lakescore.lake.history import TableCommit

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.types import StructType

    from lakescore.lake.snapshot import Snapshot

#: Operations that bring back or replace rows even where no row is removed in the same commit.
_REPLACING = ("RESTORE", "CLONE", "REPLACE TABLE", "CREATE OR REPLACE TABLE")
CHANGE_FEED, ADDED_FILES = "the change feed", "the files that the commits added"
_ADD = "add struct<path: string, partitionValues: map<string, string>, dataChange: boolean>"
_REMOVE = "remove struct<path: string, dataChange: boolean>"
#: What a folder is called for a partition value that is null; and a time as the log has it.
_NULL_FOLDER = "__HIVE_DEFAULT_PARTITION__"
_LOGGED_TIME = re.compile(r"(?P<day>[\d-]{10})T(?P<clock>[\d:]{8})(?P<fraction>\.\d+)?Z")
_GLOB = re.compile(r"([{}\[\]*?\\])")
_OTHER_SCHEMA = re.compile(
    r"CHANGE_DATA_FEED_INCOMPATIBLE|because of an incompatible (data )?schema"
)
#: What else may follow a change, by the operations that make it: the first that fits all is told.
_FITTING = (
    (
        ("DELETE",),
        "where old rows are only retired, `on_delete: ignore` lets their predictions stand; "
        "`mode: upsert` takes these along",
    ),
    (("DELETE", "UPDATE", "MERGE"), "`mode: upsert` follows rows that change or go, by their key"),
    (
        (),
        "`mode: snapshot` scores the whole table once a day, however it was written (into a "
        "predictions table of its own); `mode: upsert` compares it by key",
    ),
)
_FEED_HINT = (
    "turn the change feed on for the rows to come: ALTER TABLE {table} "
    "SET TBLPROPERTIES (delta.enableChangeDataFeed = true)"
)


@dataclass(frozen=True)
class Changes:
    """What a range of commits did: `read_by` says, for people, by what its rows are told.

    That the range can be followed was checked; `rows` may run jobs over the rows themselves.
    `are_files` says that they are all the rows of the frame's input files.
    """

    read_by: str
    rows: Callable[[], DataFrame]
    are_files: bool = False


def rows_since(
    spark: SparkSession,
    snapshot: Snapshot,
    after_version: int | None,
    *,
    table_id: str | None = None,
    deletes: str = "refuse",
    in_use: Collection[str] | None = None,
) -> Changes:
    """The rows appended in (after_version, snapshot.version], with exactly the snapshot's columns.

    None for `after_version` gives all rows of the snapshot. `table_id` is the table's id when
    `after_version` was recorded. Commits that only move rows (OPTIMIZE) or only change the schema
    or properties add nothing, and with ``deletes="ignore"`` neither do those that only delete
    rows. Raises SourceChanged for commits that update, delete, overwrite or
    restore rows, naming them; for a table that was created again; and where neither road to the
    new rows is open. Raises TypeMismatch for a column `in_use` (any, when None) that was of
    another type at `after_version`.
    """
    if after_version is None:
        return every_row(spark, snapshot)
    refuse_recreated(snapshot, after_version, table_id)
    if after_version == snapshot.version:
        return Changes("no commit", lambda: snapshot.read(spark).where(F.lit(False)))
    commits = snapshot.commits_since(spark, after_version)
    _refuse(snapshot, [commit for commit in commits if commit.operation.startswith(_REPLACING)])
    refuse_retyped(spark, snapshot, after_version, in_use)
    ignored = _ignored(commits, deletes)
    read_by = ADDED_FILES
    try:
        found = _from_added_files(spark, snapshot, after_version, commits, ignored)
    except Exception:  # whatever keeps the files from telling, the feed may tell
        fed = _from_change_feed(spark, snapshot, after_version, commits, ignored)
        if fed is None:
            raise
        read_by, found = CHANGE_FEED, fed
    rows = found.select(*(F.col(quoted(name)) for name in snapshot.schema.names))
    return Changes(read_by, lambda: rows, are_files=read_by == ADDED_FILES)


def every_row(spark: SparkSession, snapshot: Snapshot) -> Changes:
    rows = snapshot.read(spark)
    return Changes(f"all of version {snapshot.version}", lambda: rows, are_files=True)


def refuse_recreated(snapshot: Snapshot, after_version: int, table_id: str | None) -> None:
    """Raise SourceChanged when `after_version` was read of another table than this one."""
    same = table_id is None or table_id == snapshot.table_id
    if same and after_version <= snapshot.version:
        return
    raise SourceChanged(
        f"rows were read up to version {after_version} of a table that is no longer this one: "
        f"it was dropped and created again (now at version {snapshot.version})",
        where=str(snapshot),
        hint="score into a new predictions table, or bring the source back under its old history",
    )


def refuse_retyped(
    spark: SparkSession, snapshot: Snapshot, after_version: int, in_use: Collection[str] | None
) -> None:
    """Raise TypeMismatch for a column `in_use` (any, when None) that has changed its type since.

    Rows of a range are read with the snapshot's types: those that were written under another type
    would be cast, or fail in the middle of the run.
    """
    used = None if in_use is None else {name.lower() for name in in_use}
    before = {f.name.lower(): f.dataType for f in _schema_after(spark, snapshot, after_version)}
    changed = [
        f"'{field.name}' was {was.simpleString()} and is {field.dataType.simpleString()}"
        for field in snapshot.schema
        if (was := before.get(field.name.lower())) is not None
        and was.simpleString() != field.dataType.simpleString()
        and (used is None or field.name.lower() in used)
    ]
    if not changed:
        return
    raise TypeMismatch(
        f"since version {after_version}, the last one read: {'; '.join(changed)}",
        where=str(snapshot),
        hint="give the column its type back, or read every row as it is now: lakescore score "
        "NAME --full; train again if the model was made from the old type",
    )


def _schema_after(spark: SparkSession, snapshot: Snapshot, version: int) -> StructType:
    """The table's schema at a version; at the next one, where retention took that version."""
    try:
        return snapshot.schema_at(spark, version)
    except VersionUnreadable:
        return snapshot.schema_at(spark, version + 1)


def _ignored(commits: Sequence[TableCommit], deletes: str) -> set[int]:
    return {c.version for c in commits if deletes == "ignore" and c.operation == "DELETE"}


def _refuse(snapshot: Snapshot, commits: Sequence[TableCommit]) -> None:
    if not commits:
        return
    named = ", ".join(commit.describe() for commit in commits[:5])
    more = f" and {len(commits) - 5} more" if len(commits) > 5 else ""
    raise SourceChanged(
        f"not only appends since the last run: {named}{more} changed or removed rows "
        "that were already read",
        where=str(snapshot),
        hint=f"{_fitting(commits)}; another mode starts over with `lakescore score NAME --full`. "
        "Or keep the source append-only: land corrections as new rows",
    )


def _fitting(commits: Sequence[TableCommit]) -> str:
    """Which other declaration follows such commits."""
    found = {commit.operation for commit in commits}
    return next(said for kinds, said in _FITTING if not kinds or found <= set(kinds))


def _from_change_feed(
    spark: SparkSession,
    snapshot: Snapshot,
    after: int,
    commits: Sequence[TableCommit],
    ignored: Collection[int],
) -> DataFrame | None:
    """The inserted rows by the change feed; None where it does not cover the whole range."""
    changes = change_feed(spark, snapshot, after)
    if changes is None:
        return None
    changes = changes.where(~F.col("_commit_version").isin(list(ignored)))
    changed = changes.where("_change_type <> 'insert'").select("_commit_version").distinct()
    _refuse(snapshot, _commits_of((row[0] for row in changed.collect()), commits))
    return changes


def change_feed(spark: SparkSession, snapshot: Snapshot, after: int) -> DataFrame | None:
    """Delta's change feed of (after, snapshot.version]; None where it does not cover all of it."""
    from pyspark.sql.utils import AnalysisException, IllegalArgumentException

    if not snapshot.detail.has_change_feed:
        return None
    reader = (
        spark.read.format("delta")
        .option("readChangeFeed", "true")
        .option("startingVersion", after + 1)
        .option("endingVersion", snapshot.version)
    )
    table = snapshot.table
    try:
        changes = reader.load(table.path) if table.path else reader.table(str(table.identifier))
        # Whether the range is covered is known when it is planned, not before.
        changes.select("_change_type").limit(1).count()
    except (AnalysisException, IllegalArgumentException):
        return None
    except Exception as error:
        # Of a table with column mapping, Delta reads no feed over a renamed or dropped column.
        if _OTHER_SCHEMA.search(str(error)) is None:
            raise
        return None
    return changes


def _commits_of(versions: Iterable[int], commits: Sequence[TableCommit]) -> list[TableCommit]:
    known = {commit.version: commit for commit in commits}
    return [
        known.get(version, TableCommit(version, 0, "operation no longer in the log"))
        for version in sorted(versions)
    ]


def added_rows(
    spark: SparkSession, snapshot: Snapshot, after: int, *, deletes: str = "refuse"
) -> DataFrame:
    """As `rows_since`, always from the files that the commits added. Raises SourceChanged."""
    commits = snapshot.commits_since(spark, after)
    _refuse(snapshot, [commit for commit in commits if commit.operation.startswith(_REPLACING)])
    refuse_retyped(spark, snapshot, after, None)
    return _from_added_files(spark, snapshot, after, commits, _ignored(commits, deletes))


def _from_added_files(
    spark: SparkSession,
    snapshot: Snapshot,
    after: int,
    commits: Sequence[TableCommit],
    ignored: Collection[int],
) -> DataFrame:
    """The rows of the files that the commits added, read as plain Parquet."""
    if snapshot.detail.reader_version > 1:
        raise SourceChanged(
            "new rows cannot be told from old ones: the table has no change feed over "
            f"versions {after + 1} to {snapshot.version}, and its reader version "
            f"{snapshot.detail.reader_version} (deletion vectors or column mapping) hides them",
            where=str(snapshot),
            hint=_FEED_HINT.format(table=snapshot.table.sql_name),
        )
    changing = _actions(spark, snapshot, after).where("add.dataChange OR remove.dataChange")
    told = changing.select("version", "add.path", "add.partitionValues").collect()
    found = [row for row in told if row.version not in ignored]
    removing = {row.version for row in found if row.path is None}
    _refuse(snapshot, _commits_of(removing, commits))
    added = [row for row in found if row.path is not None]
    for row in added:
        _check_files_tell_all(snapshot, row.path, row.partitionValues or {})
    if not added:
        return snapshot.read(spark).where(F.lit(False))
    root = snapshot.detail.location
    return read_files(spark, snapshot, [f"{root}/{unquote(row.path)}" for row in added])


def read_files(spark: SparkSession, snapshot: Snapshot, paths: Sequence[str]) -> DataFrame:
    """Files of the snapshot as plain Parquet, with its columns; partitions by folder name."""
    reader = spark.read.schema(snapshot.schema).option("basePath", snapshot.detail.location)
    return reader.parquet(*(_GLOB.sub(r"\\\1", path) for path in paths))


def _as_folders_say(logged: str | None) -> str | None:
    """A partition value of the log as a folder's name has it; times in UTC, as in sessions."""
    time = _LOGGED_TIME.fullmatch(logged or "")
    if time is None:
        return logged or None
    return f"{time['day']} {time['clock']}" + (time["fraction"] or "").rstrip("0").rstrip(".")


def _actions(spark: SparkSession, snapshot: Snapshot, after: int) -> DataFrame:
    """The add and remove actions of the range: columns add, remove, version."""
    from pyspark.sql.utils import AnalysisException

    log = f"{snapshot.detail.location}/_delta_log"
    files = [_log_file(log, version) for version in range(after + 1, snapshot.version + 1)]
    try:
        actions = spark.read.schema(f"{_ADD}, {_REMOVE}").json(files)
    except AnalysisException as error:
        raise SourceChanged(
            f"the commits after version {after} cannot be read one by one: "
            f"{str(error).strip().splitlines()[0]}",
            where=str(snapshot),
            hint=_FEED_HINT.format(table=snapshot.table.sql_name)
            + "; lengthen delta.logRetentionDuration if the log was cleaned",
        ) from error
    version = F.regexp_extract("_metadata.file_path", r"(\d{20})\.json$", 1).cast("long")
    return actions.select("add", "remove", version.alias("version"))


def _log_file(log: str, version: int) -> str:
    escaped = _GLOB.sub(r"\\\1", log)
    return f"{escaped}/{version:020d}.json"


def read_as_file(path: str, columns: Sequence[str]) -> dict[str, str | None] | None:
    """What the folders of a file's path below its table say of the partition columns.

    None where they do not say it, or where Spark would pass over a file of that name.
    """
    *folders, name = path.split("/")
    if name.startswith(("_", ".")):
        return None
    steps = [tuple(map(unquote, folder.partition("="))) for folder in folders]
    if [column for column, _, _ in steps] != list(columns):
        return None
    return {column: None if value == _NULL_FOLDER else value for column, _, value in steps}


def _check_files_tell_all(
    snapshot: Snapshot, path: str, partition_values: Mapping[str, str | None]
) -> None:
    """Partition values are read from folder names, so these must say what the log says."""
    told = read_as_file(unquote(path), snapshot.detail.partition_columns)
    logged = {name: _as_folders_say(value) for name, value in partition_values.items()}
    if told is not None and told == logged:
        return
    raise SourceChanged(
        f"the new rows lie in '{path}', which does not say what the log says of it: "
        f"{partition_values}",
        where=str(snapshot),
        hint=_FEED_HINT.format(table=snapshot.table.sql_name),
    )
