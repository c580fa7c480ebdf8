"""The most frequent values of columns, counted where the rows are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql import Window
from pyspark.sql import functions as F

from lakescore.evaluation.scored_rows import exact_column

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

#: How a null is called.
MISSING = "(missing)"


@dataclass(frozen=True)
class TopValues:
    """values: (value, rows), most rows first, ties by value. distinct: how many there are."""

    values: tuple[tuple[str, int], ...]
    distinct: int


def as_text(name: str) -> Column:
    """The column as text, null as `MISSING`."""
    return F.coalesce(exact_column(name).cast("string"), F.lit(MISSING))


def top_values(df: DataFrame, columns: Sequence[str], *, top: int) -> dict[str, TopValues]:
    """Column -> its `top` most frequent values, in one job.

    The driver gets at most `top` values a column.
    """
    pairs = [
        F.struct(F.lit(name).alias("column"), as_text(name).alias("value")) for name in columns
    ]
    counted = (
        df.select(F.explode(F.array(*pairs)).alias("pair"))
        .groupBy("pair.column", "pair.value")
        .agg(F.count(F.lit(1)).alias("rows"))
    )
    one = Window.partitionBy("column")
    ranked = (
        counted.withColumn("distinct", F.count(F.lit(1)).over(one))
        .withColumn("place", F.row_number().over(one.orderBy(F.desc("rows"), "value")))
        .where(F.col("place") <= top)
    )
    found: dict[str, TopValues] = {}
    for row in sorted(ranked.collect(), key=lambda row: row["place"]):
        known = found.get(row["column"], TopValues((), row["distinct"]))
        values = (*known.values, (row["value"], row["rows"]))
        found[row["column"]] = TopValues(values, row["distinct"])
    return found
