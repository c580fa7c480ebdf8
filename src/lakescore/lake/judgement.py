"""What a commit does to the quarantine: rows that it refuses, and rows in force judged anew."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from lakescore.config.predictions import AS_OF
from lakescore.lake.contract import (
    CONTENT_HASH,
    CONTRACT_COLUMNS,
    COPIES,
    DELETED,
    KEY,
    PAYLOAD,
    REASONS,
    ROW_HASH,
)
from lakescore.lake.quarantine import ROW_ID, Quarantine

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from lakescore.lake.lineage import CommitPlan
    from lakescore.lake.staging import Staged


@dataclass(frozen=True)
class Judgement:
    """`refused` rows (CONTRACT_COLUMNS), and the `_row_id` of those that are `closed`.

    `_reasons` of a closed one is ['deleted'] where its source row is gone: `purges` counts these,
    whose payload goes once the commit is in force. `written` says whether there is any row at all.
    """

    refused: DataFrame
    closed: DataFrame | None
    written: bool
    purges: int = 0


def judgement(
    spark: SparkSession,
    staged: Staged,
    plan: CommitPlan,
    quarantine: Quarantine,
    in_force: Callable[[], DataFrame],
) -> Judgement:
    """What the commit of the staged rows says of the quarantine, of which `in_force` counts."""
    refused, closed, purges = staged.quarantined(spark), None, 0
    if plan.only_mended:
        refused = refused.where(F.lit(False))
    if (plan.merge_by or plan.closes or plan.only_mended) and quarantine.exists():
        standing = in_force()
        closed, deleted = _closed(spark, staged, plan, standing), None
        if plan.merge_by and staged.counts.deleted:
            gone = _gone(spark, staged, plan, standing)
            closed = closed.unionByName(gone.select(F.explode("rows").alias(ROW_ID)))
            left = gone.where(F.col(COPIES) > 0)
            refused = refused.unionByName(left.select(*CONTRACT_COLUMNS))
            deleted = _deleted(spark, staged, plan, quarantine, gone)
        elif plan.mode == "full" and plan.workload_mode == "upsert":
            deleted = _lost(spark, staged, plan, quarantine)
        closed = closed.withColumn(REASONS, F.lit(None).cast("array<string>"))
        if deleted is not None:
            purges = deleted.count()
            closed = closed.join(deleted, ROW_ID, "left_anti").unionByName(
                deleted.withColumn(REASONS, F.array(F.lit(DELETED)))
            )
    written = staged.counts.quarantined > 0 or (closed is not None and closed.limit(1).count() > 0)
    return Judgement(refused, closed, written, purges)


def _deleted(
    spark: SparkSession, staged: Staged, plan: CommitPlan, quarantine: Quarantine, gone: DataFrame
) -> DataFrame:
    """The `_row_id` of whatever was ever refused of the rows that the source deleted."""
    rows = _readable(quarantine)
    by_key = rows.join(staged.keys_deleted(spark, plan.merge_by), KEY, "left_semi")
    lost = gone.where(F.col(COPIES) <= 0).select("hash")
    by_content = rows.join(lost, "hash", "left_semi")
    return by_key.select(ROW_ID).unionByName(by_content.select(ROW_ID)).distinct()


def _lost(
    spark: SparkSession, staged: Staged, plan: CommitPlan, quarantine: Quarantine
) -> DataFrame:
    """The `_row_id` of whatever was ever refused and is not among all the rows staged."""
    refused = staged.quarantined(spark)
    either = refused.select(F.explode(F.array(CONTENT_HASH, ROW_HASH)).alias("hash"))
    keys = staged.keys(spark, plan.key)
    rows = _readable(quarantine).join(keys, KEY, "left_anti")
    return rows.join(either, "hash", "left_anti").select(ROW_ID)


def _readable(quarantine: Quarantine) -> DataFrame:
    """Refused rows, in force or not, that have a payload; with the `hash` that tells them."""
    return _with_hash(quarantine.rows().where(F.col(PAYLOAD).isNotNull()))


def _gone(spark: SparkSession, staged: Staged, plan: CommitPlan, in_force: DataFrame) -> DataFrame:
    """Refused rows without a key of which copies were deleted: the `rows` that stood for
    them, their `hash`, and CONTRACT_COLUMNS with the copies that are left.
    """
    gone = staged.gone_without_key(spark, plan.merge_by)
    kept = (REASONS, ROW_HASH, CONTENT_HASH, KEY, PAYLOAD)
    stood = (
        _with_hash(in_force)
        .groupBy("hash")
        .agg(
            F.collect_list(ROW_ID).alias("rows"),
            F.sum(COPIES).alias("stood"),
            *(F.first(name).alias(name) for name in kept),
        )
    )
    left = (F.col("stood") - F.col("gone")).alias(COPIES)
    return stood.join(gone, "hash").select("rows", "hash", left, *kept)


def _closed(
    spark: SparkSession, staged: Staged, plan: CommitPlan, in_force: DataFrame
) -> DataFrame:
    """The rows of `in_force` whose source rows this commit judged anew: their `_row_id`."""
    if plan.only_mended:
        mended = staged.keys_predicted(spark, plan.key)
        return in_force.join(mended, KEY, "left_semi").select(ROW_ID)
    if plan.as_of is not None and AS_OF not in in_force.columns:
        return in_force.where(F.lit(False)).select(ROW_ID)
    if plan.closes:
        return in_force.where(F.expr(plan.closes)).select(ROW_ID)
    keys = staged.keys(spark, plan.merge_by)
    return in_force.join(keys, KEY, "left_semi").select(ROW_ID)


def _with_hash(refused: DataFrame) -> DataFrame:
    """Refused rows with the `hash` that tells their content; tables of before have one only."""
    return refused.withColumn("hash", F.coalesce(CONTENT_HASH, ROW_HASH))
