"""What one commit of a long catch-up reads: some versions more, or some files of one version.

A range is cut between the source's own versions as long as none of them alone is too large; a
first catch-up, and a single large append, between data files. Files of a pinned version never
change, so a position in the list of their paths says exactly what was read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from pyspark.sql import functions as F

from lakescore.errors import SourceChanged
from lakescore.lake.chain import Part
from lakescore.lake.changes import added_rows, read_as_file, read_files
from lakescore.lake.history import TableCommit

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from lakescore.lake.snapshot import Snapshot

_PATH = "_metadata.file_path"
#: Counts in a commit's metrics of rows that came, changed or went.
_TOUCHED = {
    "WRITE": ("numOutputRows",),
    "STREAMING UPDATE": ("numOutputRows",),
    "COPY INTO": ("numOutputRows",),
    "DELETE": ("numDeletedRows",),
    "UPDATE": ("numUpdatedRows",),
    "MERGE": ("numTargetRowsInserted", "numTargetRowsUpdated", "numTargetRowsDeleted"),
}


@dataclass(frozen=True)
class FileGroup:
    """Some data files of a version: `rows` in `paths`, the last of them number `done` of `of`."""

    paths: tuple[str, ...] = field(repr=False)
    rows: int
    done: int
    of: int

    def describe(self) -> dict[str, Any]:
        return {"rows": self.rows, "files_done": self.done, "files_of": self.of}

    def read(self, spark: SparkSession, snapshot: Snapshot) -> DataFrame:
        """The rows of these files, with the snapshot's columns.

        The files themselves where what they hold is what the table holds (reader version 1);
        else Delta reads the version and keeps the rows of these files.
        """
        if not self.are_plain(snapshot):
            return snapshot.read(spark).where(F.col(_PATH).isin(list(self.paths)))
        root = snapshot.detail.location
        below = (_below(unquote(path), root) for path in self.paths)
        return read_files(spark, snapshot, [f"{root}/{path}" for path in below])

    def are_plain(self, snapshot: Snapshot) -> bool:
        """Whether the files lie in the snapshot's table and hold just what it holds of them."""
        root, partitions = snapshot.detail.location, snapshot.detail.partition_columns
        if snapshot.detail.reader_version > 1 or _has_times(snapshot, partitions):
            return False
        paths = [_below(unquote(path), root) for path in self.paths]
        return all(path and read_as_file(path, partitions) is not None for path in paths)


@dataclass(frozen=True)
class Chunk:
    """The next commit's `source`, cut to `files` where one version is still too much.

    `more` says that the catch-up goes on after it.
    """

    source: Snapshot
    files: FileGroup | None = None
    more: bool = False


def next_chunk(
    spark: SparkSession,
    head: Snapshot,
    after: int | None,
    max_rows: int | None,
    *,
    part: Part | None = None,
    deletes: str | None = "refuse",
) -> Chunk:
    """What to read of (after, head.version], or of all of `head`, in one commit.

    At most `max_rows` rows, or else one version or one file, the smallest pieces there are.
    `part` is where an earlier commit stopped. `deletes` is as for `rows_since`, or None where
    rows were not only added, so that a version after the first is not cut further. Where the
    history or the files do not tell how many rows they hold, the rest is one chunk. Raises
    SourceChanged and VersionUnreadable.
    """
    if part is not None:
        source = head.at(spark, part.version)
        group = _group(_files(spark, source, after, deletes), part.files, max_rows)
        if group.of != part.of or part.files >= part.of:
            raise SourceChanged(
                f"an earlier run stopped after file {part.files} of {part.of}, and now there are "
                f"{group.of}",
                where=str(source),
                hint="start over with `lakescore score NAME --full`",
            )
        return _of_group(head, source, group)
    if max_rows is None:
        return Chunk(head)
    if after is None:
        return _of_group(head, head, _group(_files(spark, head, None, deletes), 0, max_rows))
    return _by_version(spark, head, after, max_rows, deletes)


def _of_group(head: Snapshot, source: Snapshot, group: FileGroup) -> Chunk:
    whole = group.done == group.of == len(group.paths)
    more = group.done < group.of or source.version < head.version
    return Chunk(source, None if whole else group, more)


def _by_version(
    spark: SparkSession, head: Snapshot, after: int, max_rows: int, deletes: str | None
) -> Chunk:
    """`deletes` is None where one version is not cut further."""
    commits = head.commits_since(spark, after)
    total, version = 0, after
    for commit in commits:
        rows = _touched(commit, unknown=max_rows)
        if version > after and total and total + rows > max_rows:
            break
        total, version = total + rows, commit.version
    if len(commits) < head.version - after or version == after:
        return Chunk(head)
    source = head if version == head.version else head.at(spark, version)
    whole = Chunk(source, None, version < head.version)
    if total <= max_rows or not deletes or source.detail.reader_version > 1:
        return whole
    try:
        files = _files(spark, source, after, deletes)
    except SourceChanged:  # files were rewritten too: what the version holds may still be told
        return whole
    return _of_group(head, source, _group(files, 0, max_rows))


def _touched(commit: TableCommit, *, unknown: int) -> int:
    """Rows that the commit added, changed or removed, as far as its metrics tell."""
    names = _TOUCHED.get(commit.operation)
    if names is None:
        return 0 if "numOutputRows" not in commit.metrics else unknown
    found = [int(commit.metrics[name]) for name in names if name in commit.metrics]
    return sum(found) if found else unknown


def _files(
    spark: SparkSession, source: Snapshot, after: int | None, deletes: str | None
) -> list[tuple[str, int]]:
    """(path, rows) of the version's files, or of those added since `after`, by path."""
    rows = (
        source.read(spark)
        if after is None
        else added_rows(spark, source, after, deletes=deletes or "refuse")
    )
    counted = rows.groupBy(F.col(_PATH).alias("path")).count().orderBy("path").collect()
    return [(row["path"], row["count"]) for row in counted]


def _group(files: Sequence[tuple[str, int]], done: int, max_rows: int | None) -> FileGroup:
    """The files from place `done` on whose rows fit, and at least one."""
    paths: list[str] = []
    total = 0
    for path, rows in files[done:]:
        if paths and max_rows is not None and total + rows > max_rows:
            break
        paths.append(path)
        total += rows
    return FileGroup(tuple(paths), total, done + len(paths), len(files))


def _has_times(snapshot: Snapshot, columns: Sequence[str]) -> bool:
    """Whether a folder's name would say a time, in whatever zone its writer had."""
    types = {field.name: field.dataType.simpleString() for field in snapshot.schema}
    return any(types[name].startswith("timestamp") for name in columns)


def _below(path: str, root: str) -> str:
    """The path below the table's folder; empty when it lies elsewhere."""
    bare, base = (text.split(":", 1)[-1].lstrip("/") for text in (path, root))
    return bare[len(base) + 1 :] if bare.startswith(f"{base}/") else ""
