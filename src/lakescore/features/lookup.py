"""Static lookups: one row a key, known always."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from lakescore.config.workload import Context
from lakescore.errors import DuplicateKeys
from lakescore.features.resolve import col

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def join_lookup(rows: DataFrame, context: Context, frame: DataFrame, *, where: str) -> DataFrame:
    """`rows`, every one exactly once, with the `latest` columns of the row that has their key.

    A null key matches nothing; what matches nothing has null outputs. Raises DuplicateKeys
    when a key has several rows in `frame` (one aggregate over the lookup's key columns).
    """
    keys = {f"_lookup_key_{i}": column for i, column in enumerate(context.on.values())}
    lookup = frame.select(
        *(col(column).alias(key) for key, column in keys.items()),
        *(col(column).alias(output) for output, column in context.latest.items()),
    ).dropna(subset=list(keys))
    _check_unique(lookup, keys, where)
    matches = [col(ours) == F.col(key) for ours, key in zip(context.on, keys, strict=True)]
    condition = reduce(lambda left, right: left & right, matches)
    return rows.join(lookup, condition, "left").drop(*keys)


def _check_unique(lookup: DataFrame, keys: dict[str, str], where: str) -> None:
    doubled = lookup.groupBy(*keys).count().where("count > 1")
    found = doubled.agg(F.count("*").alias("keys"), F.sum("count").alias("rows")).collect()[0]
    if found["keys"]:
        columns = ", ".join(keys.values())
        raise DuplicateKeys(
            f"{found['keys']} keys have several rows ({found['rows']} rows in all) by {columns}",
            where=where,
            hint="a static lookup has one row a key: make it unique, or add a column to `on`",
        )
