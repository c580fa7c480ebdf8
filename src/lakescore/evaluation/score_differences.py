"""Old scores against new ones of the same rows, joined by key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from lakescore.config.base import quoted

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

#: Differences that count as none, and as small.
SAME, SMALL = 1e-9, 1e-3
_WORST = 5


@dataclass(frozen=True)
class ScoreDifferences:
    """Counts of keys, and absolute differences over `both` less `unlike`.

    `unlike` are keys of `both` of which only one score is a number; `same` and `small` are within
    SAME and SMALL. `worst` are the keys that differ most, with `old`, `new` and `difference`.
    """

    both: int
    only_old: int
    only_new: int
    unlike: int
    same: int
    small: int
    mean: float | None
    largest: float | None
    worst: tuple[dict[str, Any], ...]


def score_differences(
    old: DataFrame, new: DataFrame, *, key: Sequence[str], column: str
) -> ScoreDifferences:
    """Compare `column` (double) of two frames in which every `key` stands once and is not null.

    Reads both twice; only aggregates and the few worst keys reach the driver.
    """
    pairs = _side(old, key, column, "old").join(
        _side(new, key, column, "new"), [f"k{i}" for i in range(len(key))], "full_outer"
    )
    both = F.col("in_old") & F.col("in_new")
    apart = _apart(F.col("old"), F.col("new"))
    judged = pairs.select(
        "*",
        F.coalesce(both, F.lit(False)).alias("both"),
        F.when(both, apart).alias("difference"),
    )
    counted = judged.agg(
        _count(F.col("both")).alias("both"),
        _count(F.col("in_new").isNull()).alias("only_old"),
        _count(F.col("in_old").isNull()).alias("only_new"),
        _count(F.col("both") & F.col("difference").isNull()).alias("unlike"),
        _count(F.col("difference") <= SAME).alias("same"),
        _count(F.col("difference") <= SMALL).alias("small"),
        F.avg("difference").alias("mean"),
        F.max("difference").alias("largest"),
    ).collect()[0]
    return ScoreDifferences(**counted.asDict(), worst=_worst(judged, key))


def _side(rows: DataFrame, key: Sequence[str], column: str, side: str) -> DataFrame:
    names = [F.col(quoted(name)).alias(f"k{i}") for i, name in enumerate(key)]
    score = F.col(quoted(column))
    number = F.when(~F.isnan(score), score).alias(side)
    return rows.select(*names, number, F.lit(True).alias(f"in_{side}"))


def _apart(old: Column, new: Column) -> Column:
    """|old - new|; 0 where they are equal, or none is a number; null where only one is."""
    return F.when(old.eqNullSafe(new), F.lit(0.0)).otherwise(F.abs(old - new))


def _count(condition: Column) -> Column:
    return F.count(F.when(condition, F.lit(1)))


def _worst(judged: DataFrame, key: Sequence[str]) -> tuple[dict[str, Any], ...]:
    differing = judged.where("both AND (difference IS NULL OR difference > 0)")
    rows = differing.orderBy(F.col("difference").desc_nulls_first()).limit(_WORST).collect()
    return tuple(
        {name: row[f"k{i}"] for i, name in enumerate(key)}
        | {"old": row["old"], "new": row["new"], "difference": row["difference"]}
        for row in rows
    )
