"""What a range of commits did to a table in the end: by key, the rows that now are, or a delete.

From the change feed where it covers the range, at a cost that follows the changes; else by
comparing the table at both ends, at the cost of reading it twice, unless every commit of the range
is of a kind that changes no row (OPTIMIZE, a property).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import reduce
from typing import TYPE_CHECKING

from pyspark.sql import Window
from pyspark.sql import functions as F

from lakescore.config.base import quoted
from lakescore.lake.canonical import row_hash
from lakescore.lake.changes import (
    CHANGE_FEED,
    Changes,
    change_feed,
    every_row,
    refuse_recreated,
    refuse_retyped,
)
from lakescore.lake.contract import CHANGE, DELETED, SCORE

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

    from lakescore.lake.snapshot import Snapshot

#: +1 for a row that came, -1 for one that went; and the commit that did it.
_SIGN, _AT = "_sign", "_at"


def net_changes(
    spark: SparkSession,
    snapshot: Snapshot,
    after_version: int | None,
    key: Sequence[str],
    *,
    table_id: str | None = None,
    in_use: Collection[str] | None = None,
) -> Changes:
    """The snapshot's columns and CHANGE: what (after_version, snapshot.version] came to.

    By key the last commit that touched it decides: the rows that it left are SCORE, a key that
    it left without one is DELETED, once, with the columns that it had. Delete and insert of a key
    in one commit is thus an update. Rows without a key go by their content: each copy more is
    SCORE, each copy less is DELETED. None for `after_version` gives every row as SCORE. Raises
    SourceChanged for a table that was created again, VersionUnreadable, and TypeMismatch for a
    column `in_use` (any, when None) that was of another type at `after_version`.
    """
    if after_version is None:
        found = every_row(spark, snapshot)
        return replace(found, rows=lambda: found.rows().withColumn(CHANGE, F.lit(SCORE)))
    refuse_recreated(snapshot, after_version, table_id)
    if after_version == snapshot.version:
        return _no_change(spark, snapshot)
    refuse_retyped(spark, snapshot, after_version, in_use)
    feed = change_feed(spark, snapshot, after_version)
    if feed is None and _keeps_rows(spark, snapshot, after_version):
        return _no_change(spark, snapshot)
    signed = _signed(spark, snapshot, after_version, feed)
    compared = f"comparing versions {after_version} and {snapshot.version}, each read whole"
    return Changes(
        CHANGE_FEED if feed is not None else compared, lambda: _net(spark, snapshot, signed, key)
    )


def _no_change(spark: SparkSession, snapshot: Snapshot) -> Changes:
    rows = snapshot.read(spark).where(F.lit(False)).withColumn(CHANGE, F.lit(SCORE))
    return Changes("no commit that changes a row", lambda: rows)


def _net(
    spark: SparkSession, snapshot: Snapshot, signed: DataFrame, key: Sequence[str]
) -> DataFrame:
    keyed = reduce(lambda left, right: left & right, (_is_set(name) for name in key))
    changed = _by_key(signed.where(keyed), key)
    return _with_rows_left(changed, snapshot.read(spark), key).unionByName(
        _by_content(signed.where(~keyed), snapshot.schema.names)
    )


def _keeps_rows(spark: SparkSession, snapshot: Snapshot, after: int) -> bool:
    """Whether no commit of (after, snapshot.version] changed a row, by the kind of each."""
    commits = snapshot.commits_since(spark, after)
    return len(commits) == snapshot.version - after and all(c.keeps_rows for c in commits)


def _is_set(name: str) -> Column:
    return F.col(quoted(name)).isNotNull()


def _signed(
    spark: SparkSession, snapshot: Snapshot, after: int, feed: DataFrame | None
) -> DataFrame:
    """The table's columns, `_sign` and `_at`: every row that came or went."""
    columns = [F.col(quoted(name)) for name in snapshot.schema.names]
    if feed is not None:
        came = F.col("_change_type").isin("insert", "update_postimage")
        sign = F.when(came, F.lit(1)).otherwise(F.lit(-1)).alias(_SIGN)
        return feed.select(*columns, sign, F.col("_commit_version").alias(_AT))
    now, before = snapshot.read(spark), snapshot.at(spark, after).read(spark)
    types = {field.name.lower(): field.dataType.simpleString() for field in before.schema}
    for field in now.schema:
        # A column that is new, or of another type and not in use: its old values count as none.
        if types.get(field.name.lower()) != field.dataType.simpleString():
            before = before.withColumn(field.name, F.lit(None).cast(field.dataType))
    came = now.select(*columns, F.lit(1).alias(_SIGN))
    went = before.select(*columns, F.lit(-1).alias(_SIGN))
    at = F.lit(snapshot.version).cast("long").alias(_AT)
    return _netted(came.unionByName(went), snapshot.schema.names).select("*", at)


def _by_key(signed: DataFrame, key: Sequence[str]) -> DataFrame:
    group = Window.partitionBy(*(F.col(quoted(name)) for name in key))
    # Rows that came come first, so that the first row tells whether the last commit left any.
    order = group.orderBy(F.col(_AT).desc(), F.col(_SIGN).desc())
    ranked = (
        signed.withColumn("_last", F.max(_AT).over(group))
        .where(F.col(_AT) == F.col("_last"))
        .withColumn("_left", F.max(_SIGN).over(group) > 0)
        .withColumn("_place", F.row_number().over(order))
    )
    stays = F.col("_left") & (F.col(_SIGN) > 0)
    gone = ~F.col("_left") & (F.col("_place") == 1)
    change = F.when(stays, F.lit(SCORE)).otherwise(F.lit(DELETED))
    return (
        ranked.where(stays | gone)
        .withColumn(CHANGE, change)
        .drop(_SIGN, _AT, "_last", "_left", "_place")
    )


def _with_rows_left(changed: DataFrame, now: DataFrame, key: Sequence[str]) -> DataFrame:
    """A key of which one row of several was deleted is not gone: its other rows are judged.

    The table is read for the deleted keys only, and not at all when there are none.
    """
    gone = changed.where(F.col(CHANGE) == DELETED)
    if gone.limit(1).count() == 0:
        return changed
    names = [quoted(name) for name in key]
    left = now.join(gone.select(*names), list(key), "left_semi").select(*map(quoted, now.columns))
    really = gone.join(left.select(*names), list(key), "left_anti").select(
        *map(quoted, gone.columns)
    )
    kept = changed.where(F.col(CHANGE) != DELETED)
    return kept.unionByName(really).unionByName(left.withColumn(CHANGE, F.lit(SCORE)))


def _by_content(signed: DataFrame, columns: Sequence[str]) -> DataFrame:
    netted = _netted(signed.drop(_AT), columns)
    change = F.when(F.col(_SIGN) > 0, F.lit(SCORE)).otherwise(F.lit(DELETED))
    return netted.withColumn(CHANGE, change).drop(_SIGN)


def _netted(signed: DataFrame, columns: Sequence[str]) -> DataFrame:
    """Rows that came and went again left out: what is left, each copy a row."""
    named = [F.col(quoted(name)) for name in columns]
    content = signed.select(
        F.struct(*named).alias("row"), _SIGN, row_hash(signed, columns).alias("h")
    )
    totals = content.groupBy("h").agg(F.first("row").alias("row"), F.sum(_SIGN).alias("net"))
    copies = F.explode(F.sequence(F.lit(1), F.abs(F.col("net")).cast("int")))
    sign = F.signum(F.col("net")).cast("int").alias(_SIGN)
    return totals.where("net <> 0").select("row", sign, copies).select("row.*", _SIGN)
