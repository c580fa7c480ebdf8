"""What a table's files need: when OPTIMIZE and VACUUM are worth it, and how they are run."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from lakescore.config.base import quoted
from lakescore.lake.creation import check_role

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from lakescore.lake.tables import Table

#: OPTIMIZE pays from this many files more than there are partitions, which are small on average.
SPARE_FILES, SMALL_BYTES = 32, 32 * 1024**2
#: VACUUM keeps what was removed within this time, or within the table's own longer retention.
LEAST_RETENTION = timedelta(days=7)

_PART = re.compile(r"(\d+)\s+(week|day|hour|minute|second)s?")
_UNITS = {"week": "weeks", "day": "days", "hour": "hours", "minute": "minutes", "second": "seconds"}
#: Table properties by which Delta compacts after each write.
_COMPACTS = ("delta.autoOptimize.autoCompact", "delta.autoOptimize")


@dataclass(frozen=True)
class FilesOf:
    """A table's files at its newest version. `partitions` is 1 for a table without any.

    `serviced` says that Databricks' predictive optimisation looks after the table.
    """

    files: int
    size: int
    partitions: int
    properties: Mapping[str, str]
    serviced: bool

    @property
    def compacts_itself(self) -> bool:
        values = (self.properties.get(name, "").lower() for name in _COMPACTS)
        return any(value not in ("", "false") for value in values)

    @property
    def are_small(self) -> bool:
        """Whether OPTIMIZE is worth it; never again right after it ran."""
        return self.files - self.partitions >= SPARE_FILES and self.mean_bytes < SMALL_BYTES

    @property
    def mean_bytes(self) -> int:
        return self.size // max(self.files, 1)

    @property
    def checkpoint_interval(self) -> str:
        return self.properties.get("delta.checkpointInterval", "10")

    @property
    def retention(self) -> timedelta | None:
        """How long VACUUM keeps removed files; None when the table's own rule cannot be read."""
        declared = self.properties.get("delta.deletedFileRetentionDuration")
        own = LEAST_RETENTION if declared is None else parse_interval(declared)
        return None if own is None else max(own, LEAST_RETENTION)


def files_of(spark: SparkSession, table: Table, role: str) -> FilesOf | None:
    """None when the table is not there. Raises ForeignTable for one that lakescore did not make.

    Partitions are counted only where it matters: that looks at every file.
    """
    found = table.find(spark)
    if found is None:
        return None
    check_role(table, found.properties, role)
    facts = FilesOf(found.files, found.size, 1, found.properties, _is_serviced(spark, table))
    if not found.partition_columns or not facts.are_small:
        return facts
    names = [quoted(name) for name in found.partition_columns]
    partitions = table.read(spark).select(*names).distinct().count()
    return replace(facts, partitions=partitions)


def optimise(spark: SparkSession, table: Table) -> tuple[int, int]:
    """Compact small files; how many were removed, and how many took their place."""
    metrics = spark.sql(f"OPTIMIZE {table.sql_name}").collect()[0]["metrics"]
    return int(metrics["numFilesRemoved"]), int(metrics["numFilesAdded"])


def removable(spark: SparkSession, table: Table, retention: timedelta) -> int:
    """How many files and folders `vacuum` would delete (Delta names at most 1000)."""
    return int(spark.sql(f"{_vacuum(table, retention)} DRY RUN").count())


def vacuum(spark: SparkSession, table: Table, retention: timedelta) -> None:
    """Delete files that no version within `retention` needs."""
    spark.sql(_vacuum(table, retention)).collect()


def parse_interval(text: str) -> timedelta | None:
    """A table property like ``interval 1 week``; None for a form that is not known."""
    bare = re.sub(r"^\s*interval\s+", "", text.strip().lower())
    if _PART.sub("", bare).strip() or not _PART.search(bare):
        return None
    parts = (timedelta(**{_UNITS[unit]: int(count)}) for count, unit in _PART.findall(bare))
    return sum(parts, timedelta(0))


def is_serviced(described: Iterable[tuple[str, str]]) -> bool:
    """Whether DESCRIBE TABLE EXTENDED says that predictive optimisation is enabled."""
    return any(
        name.strip().lower() == "predictive optimization"
        and (value or "").strip().lower().startswith("enable")
        for name, value in described
    )


def _is_serviced(spark: SparkSession, table: Table) -> bool:
    if table.identifier is None:
        return False
    rows = spark.sql(f"DESCRIBE TABLE EXTENDED {table.sql_name}").collect()
    return is_serviced((row["col_name"], row["data_type"]) for row in rows)


def _vacuum(table: Table, retention: timedelta) -> str:
    hours = -(-retention // timedelta(hours=1))
    return f"VACUUM {table.sql_name} RETAIN {hours} HOURS"
