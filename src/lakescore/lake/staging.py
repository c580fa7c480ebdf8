"""Staged rows: what a run is about to commit, on storage, counted, and visible to nobody."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from lakescore.config.base import quoted
from lakescore.errors import ContractViolated, UsageError
from lakescore.lake.contract import CONTRACT_COLUMNS, COPIES, is_valid, top_reasons
from lakescore.lake.tables import absolute_folder, local_folder

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

log = logging.getLogger("lakescore")


@dataclass(frozen=True)
class Counts:
    """Rows of one run: read = predicted + quarantined + duplicates + out_of_scope.

    `duplicates` are the further copies of rows that are predicted or quarantined once.
    """

    read: int
    predicted: int
    quarantined: int
    duplicates: int = 0
    out_of_scope: int = 0

    def as_dict(self) -> dict[str, int]:
        return dict(vars(self))


@dataclass(frozen=True)
class Staged:
    """One run's rows. The frames read the staged files, so reading them twice is safe.

    `predicted` has the scored frame's own columns; `quarantined` has the CONTRACT_COLUMNS.
    `reasons` says how many rows each of the commonest reasons refused.
    """

    folder: str
    predicted: DataFrame
    quarantined: DataFrame
    counts: Counts
    reasons: dict[str, int] = field(default_factory=dict)


@contextmanager
def run_folder(spark: SparkSession, staging: str, run_id: str) -> Iterator[str]:
    """A folder for one run's staged rows, emptied when the block ends, however it ends.

    Staged rows that cannot be removed are named in a warning: they are nobody's data, and must
    not hide the run's own outcome.
    """
    folder = f"{absolute_folder(staging)}/{run_id}"
    try:
        yield folder
    finally:
        try:
            clear_folder(spark, folder)
        except Exception as error:
            log.warning("staged rows remain in %s: %s", folder, str(error).split("\n", 1)[0])


def stage(scored: DataFrame, folder: str, *, read: int, out_of_scope: int = 0) -> Staged:
    """Write the scored frame, with its CONTRACT_COLUMNS, in one pass, and count what is there.

    `read` and `out_of_scope` come from `count_scope`, a count of its own, so that a row lost or
    doubled between the source and here is seen. Raises ContractViolated when the sum is off.
    """
    spark = scored.sparkSession
    _check_columns(scored)
    scored.write.mode("overwrite").parquet(folder)
    rows = spark.read.schema(scored.schema).parquet(folder)
    counts = _counts(rows, read, out_of_scope)
    own = [F.col(quoted(name)) for name in scored.columns if name not in CONTRACT_COLUMNS]
    quarantined = rows.where(~is_valid()).select(*CONTRACT_COLUMNS)
    return Staged(
        folder=folder,
        predicted=rows.where(is_valid()).select(*own),
        quarantined=quarantined,
        counts=counts,
        reasons=top_reasons(quarantined) if counts.quarantined else {},
    )


def clear_folder(spark: SparkSession, folder: str) -> None:
    """Remove a staged folder and what is in it.

    A folder of this machine (or mounted here) is removed. On other storage Spark's public API
    cannot remove a folder: an overwrite with no rows deletes every file in it and leaves an
    empty marker.
    """
    local = local_folder(folder)
    if local is not None and local.exists():
        shutil.rmtree(local, ignore_errors=True)
    elif _has_files(spark, folder):
        empty = spark.createDataFrame([], "emptied boolean").coalesce(1)
        empty.write.mode("overwrite").parquet(folder)


def _has_files(spark: SparkSession, folder: str) -> bool:
    from pyspark.sql.utils import AnalysisException

    try:
        files = spark.read.format("binaryFile").option("recursiveFileLookup", "true").load(folder)
    except AnalysisException:
        return False
    return bool(files.select("path").limit(1).count() > 0)


def _check_columns(scored: DataFrame) -> None:
    missing = [name for name in CONTRACT_COLUMNS if name not in scored.columns]
    if missing:
        raise UsageError(
            f"the scored frame lacks {', '.join(missing)}",
            hint="keep the columns that `with_reasons` adds through the feature and scoring steps",
        )
    lowered = [name.lower() for name in scored.columns]
    doubled = sorted({name for name in lowered if lowered.count(name) > 1})
    if doubled:
        raise UsageError(
            f"two columns of the predictions share a name: {', '.join(doubled)}",
            hint="rename predictions.column or class_column, or drop it from passthrough",
        )


def _counts(rows: DataFrame, read: int, out_of_scope: int) -> Counts:
    """Counts of the staged files, checked against what was read."""
    found = {
        row["valid"]: (row["kept"], row["copies"])
        for row in rows.groupBy(is_valid().alias("valid"))
        .agg(F.count(F.lit(1)).alias("kept"), F.sum(COPIES).alias("copies"))
        .collect()
    }
    predicted, predicted_copies = found.get(True, (0, 0))
    quarantined, quarantined_copies = found.get(False, (0, 0))
    copies = predicted_copies + quarantined_copies
    if copies + out_of_scope != read:
        raise ContractViolated(
            f"{read} rows were read, {out_of_scope} of them not in scope, and {copies} were "
            "scored or quarantined: rows were lost or doubled on the way; nothing was written",
            hint="a static context with several rows per key doubles rows; files that changed "
            "during the run lose them",
        )
    duplicates = copies - predicted - quarantined
    return Counts(read, predicted, quarantined, duplicates, out_of_scope)
