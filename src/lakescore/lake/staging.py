"""Staged rows: what a run is about to commit, on storage, counted, and visible to nobody."""

from __future__ import annotations

import logging
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import reduce
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
from pyspark.sql import functions as F

from lakescore.config.base import quoted
from lakescore.config.predictions import WITHDRAWN
from lakescore.errors import ContractViolated, EnvironmentProblem, UsageError
from lakescore.lake.canonical import row_json
from lakescore.lake.contract import (
    CHANGE,
    CONTENT_HASH,
    CONTRACT_COLUMNS,
    COPIES,
    DELETED,
    KEY,
    OUT_OF_SCOPE,
    REASONS,
    ROW_HASH,
    SCORE,
)
from lakescore.lake.leftovers import held
from lakescore.lake.refusal import REFUSAL, unpacked
from lakescore.lake.tables import absolute_folder, local_folder

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession
    from pyspark.sql.types import StructType

log = logging.getLogger("lakescore")

_FATE = "_fate"


INVALID = "invalid"
#: What a MERGE does with the key of a row: write it, delete it, or mark it as withdrawn.
ACTION = "_action"


@dataclass(frozen=True)
class Counts:
    """Rows of one run: read = predicted + quarantined + duplicates + out_of_scope + deleted.

    `duplicates` are the further copies of rows that are predicted or quarantined once.
    """

    read: int
    predicted: int
    quarantined: int
    duplicates: int = 0
    out_of_scope: int = 0
    deleted: int = 0

    def as_dict(self) -> dict[str, int]:
        return dict(vars(self))


@dataclass(frozen=True)
class Staged:
    """One run's rows, read from the staged files, so that reading them twice is safe.

    `paths` are folders or files; what one of them lacks of `schema` is null there. `reasons` says
    how many rows each of the commonest reasons refused.
    """

    paths: tuple[str, ...]
    schema: StructType
    counts: Counts
    reasons: dict[str, int] = field(default_factory=dict)

    def rows(self, spark: SparkSession) -> DataFrame:
        """Everything staged, with CONTRACT_COLUMNS and its fate (see `_fate`)."""
        staged = unpacked(spark.read.schema(self.schema).parquet(*self.paths))
        return staged.withColumn(_FATE, _fate(self.schema))

    def predicted(self, spark: SparkSession) -> DataFrame:
        """The rows to make visible, with the scored frame's own columns."""
        told = (*CONTRACT_COLUMNS, REFUSAL, CHANGE)
        own = [name for name in self.schema.names if name not in told]
        predicted = self.rows(spark).where(F.col(_FATE) == "predicted")
        return predicted.select(*(F.col(quoted(name)) for name in own))

    def quarantined(self, spark: SparkSession) -> DataFrame:
        """The refused rows: CONTRACT_COLUMNS."""
        return self.rows(spark).where(F.col(_FATE) == "quarantined").select(*CONTRACT_COLUMNS)

    def keys(self, spark: SparkSession, key: Sequence[str]) -> DataFrame:
        """The `_key` (JSON) of every row that has one, once."""
        rows = self.rows(spark)
        return (
            rows.dropna("any", subset=[quoted(name) for name in key])
            .select(row_json(rows, key).alias(KEY))
            .distinct()
        )

    def keys_predicted(self, spark: SparkSession, key: Sequence[str]) -> DataFrame:
        """The `_key` (JSON) of every row that is predicted, once."""
        rows = self.predicted(spark)
        return rows.select(row_json(rows, key).alias(KEY)).distinct()

    def keys_deleted(self, spark: SparkSession, key: Sequence[str]) -> DataFrame:
        """The `_key` (JSON) of every key whose row was deleted, once."""
        rows = self.rows(spark).where(F.col(_FATE) == DELETED)
        return rows.dropna("any", subset=[quoted(name) for name in key]).select(KEY).distinct()

    def gone_without_key(self, spark: SparkSession, key: Sequence[str]) -> DataFrame:
        """Deleted rows that have no key: either hash of theirs as `hash`, and copies `gone`.

        By `_row_hash` are found the refused rows of tables that had no `_content_hash` yet.
        """
        named = (F.col(quoted(name)).isNull() for name in key)
        anonymous = reduce(lambda left, right: left | right, named)
        rows = self.rows(spark).where((F.col(_FATE) == DELETED) & anonymous)
        either = F.explode(F.array(CONTENT_HASH, ROW_HASH)).alias("hash")
        return rows.select(either, COPIES).groupBy("hash").agg(F.sum(COPIES).alias("gone"))

    def merged(
        self, spark: SparkSession, key: Sequence[str], *, on_delete: str, on_invalid: str
    ) -> DataFrame:
        """One row a key: what is predicted, and what takes an earlier prediction away.

        Beside the predicted columns ACTION ('write', 'delete' or 'mark') and WITHDRAWN.
        """
        withdrawn = F.lit(None).cast("string").alias(WITHDRAWN)
        written = self.predicted(spark).select("*", withdrawn, F.lit("write").alias(ACTION))
        policies = {DELETED: on_delete, OUT_OF_SCOPE: "delete", "quarantined": on_invalid}
        policy = F.create_map(*(F.lit(text) for pair in policies.items() for text in pair))
        names = [quoted(name) for name in key]
        rows = self.rows(spark).dropna("any", subset=names).where(F.col(_FATE) != "predicted")
        rows = rows.join(written.select(*names), list(key), "left_anti")
        fates = rows.groupBy(*names).agg(F.max(_FATE).alias(_FATE))
        why = F.when(F.col(_FATE) == "quarantined", F.lit(INVALID)).otherwise(F.col(_FATE))
        removed = fates.select(
            *(F.col(name) for name in names),
            why.alias(WITHDRAWN),
            policy[F.col(_FATE)].alias(ACTION),
        )
        return written.unionByName(removed.where(F.col(ACTION) != "keep"), allowMissingColumns=True)


@contextmanager
def run_folder(spark: SparkSession, staging: str, run_id: str) -> Iterator[str]:
    """A folder for one run's staged rows, emptied when the block ends, however it ends.

    The run holds the folder's lock meanwhile: what a killed run leaves is known as such, and
    removed by the next one (see `leftovers`). Staged rows that cannot be removed are named in a
    warning: they are nobody's data, and must not hide the run's own outcome.
    """
    folder = f"{absolute_folder(staging)}/{run_id}"
    with held(folder):
        try:
            yield folder
        finally:
            try:
                clear_folder(spark, folder)
            except Exception as error:
                log.warning("staged rows remain in %s: %s", folder, str(error).split("\n", 1)[0])


def stage(scored: DataFrame, folder: str, *, read: int, out_of_scope: int = 0) -> Staged:
    """Write the scored frame, with its REFUSAL column, in one pass, and count what is there.

    `read` and `out_of_scope` come from `survey`, a count of its own, so that a row lost or
    doubled between the source and here is seen. Raises ContractViolated when the sum is off.
    """
    _check_columns(scored)
    scored.write.mode("overwrite").parquet(folder)
    return counted(scored.sparkSession, (folder,), scored.schema, read, out_of_scope)


def counted(
    spark: SparkSession,
    paths: tuple[str, ...],
    schema: StructType,
    read: int,
    out_of_scope: int = 0,
    *,
    predicted: Sequence[str] = (),
) -> Staged:
    """What is staged in `paths`, counted there, and in the local files `predicted`.

    These hold nothing else, each row once: their footers say how many. Raises as `stage`.
    """
    kept = sum(map(_rows_of, predicted))
    tallies = [_Tally("predicted", (), kept, kept)]
    if paths:
        tallies += _tallies(Staged(paths, schema, Counts(0, 0, 0)).rows(spark))
    counts = _counts(tallies, read, out_of_scope)
    return Staged((*predicted, *paths), schema, counts, _top_reasons(tallies))


def _rows_of(path: str) -> int:
    """By the footer of a file that a task wrote."""
    try:
        return int(pq.read_metadata(path).num_rows)
    except FileNotFoundError as error:
        raise EnvironmentProblem(
            f"a task wrote {path}, and the driver does not see it",
            hint="`staging` must be a folder that all machines share, or of another storage",
        ) from error


def _fate(schema: StructType) -> Column:
    """'predicted', 'quarantined', and for upserts 'deleted' or 'out_of_scope'."""
    valid = F.col(REFUSAL).isNull()
    judged = F.when(valid, F.lit("predicted")).otherwise(F.lit("quarantined"))
    if CHANGE not in schema.names:
        return judged
    return F.when(F.col(CHANGE) == SCORE, judged).otherwise(F.col(CHANGE))


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
    if REFUSAL not in scored.columns:
        raise UsageError(
            f"the scored frame lacks {REFUSAL}",
            hint="keep the column that `packed` adds through the feature and scoring steps",
        )
    lowered = [name.lower() for name in scored.columns]
    doubled = sorted({name for name in lowered if lowered.count(name) > 1})
    if doubled:
        raise UsageError(
            f"two columns of the predictions share a name: {', '.join(doubled)}",
            hint="rename predictions.column or class_column, or drop it from passthrough",
        )


@dataclass(frozen=True)
class _Tally:
    """How many rows of one fate there are for the same reasons, and how many they stand for."""

    fate: str
    reasons: tuple[str, ...]
    kept: int
    copies: int


def _tallies(rows: DataFrame) -> list[_Tally]:
    """One pass over the staged files."""
    counted = rows.groupBy(_FATE, REASONS).agg(
        F.count(F.lit(1)).alias("kept"), F.sum(COPIES).alias("copies")
    )
    return [
        _Tally(row[_FATE], tuple(row[REASONS] or ()), row["kept"], row["copies"])
        for row in counted.collect()
    ]


def _top_reasons(tallies: Sequence[_Tally], limit: int = 5) -> dict[str, int]:
    """How many rows each reason refuses, the most frequent first."""
    found: Counter[str] = Counter()
    for tally in tallies:
        if tally.fate == "quarantined":
            found.update(dict.fromkeys(tally.reasons, tally.kept))
    ordered = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    return dict(ordered[:limit])


def _counts(tallies: Sequence[_Tally], read: int, out_of_scope: int) -> Counts:
    """Counts of the staged files, checked against what was read."""
    copies = sum(tally.copies for tally in tallies)
    if copies + out_of_scope != read:
        raise ContractViolated(
            f"{read} rows were read, {out_of_scope} of them not in scope, and {copies} were "
            "scored or quarantined: rows were lost or doubled on the way; nothing was written",
            hint="a static context with several rows per key doubles rows; files that changed "
            "during the run lose them",
        )
    kept: Counter[str] = Counter()
    for tally in tallies:
        kept[tally.fate] += tally.kept
    return Counts(
        read=read,
        predicted=kept["predicted"],
        quarantined=kept["quarantined"],
        duplicates=copies - sum(kept.values()),
        out_of_scope=out_of_scope + kept[OUT_OF_SCOPE],
        deleted=kept[DELETED],
    )
