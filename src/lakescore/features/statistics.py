"""What the preprocessor learns, as distributed aggregates over the training rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pyspark.sql import Window
from pyspark.sql import functions as F

from lakescore.errors import EmptyTable
from lakescore.features.exact_sums import LIMBS, is_summable, limbs, total
from lakescore.features.names import feature_column
from lakescore.features.preprocessor import CategoricalFeature, NumericFeature
from lakescore.features.resolve import check_columns, col, data_type

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

#: Features in one aggregate; more would outgrow the code that Spark compiles for it.
_AT_ONCE = 100
_PARTS = ("present", "infinite", "low", "high", "mean")


def learn(
    df: DataFrame, names: Sequence[str], max_levels: int
) -> tuple[NumericFeature | CategoricalFeature, ...]:
    """What each feature looks like in `df`, in order. See `preprocessor.fit_preprocessor`."""
    check_columns(df, map(feature_column, names), where="training rows")
    strings = [name for name in names if data_type(df, feature_column(name)).typeName() == "string"]
    numbers = [name for name in names if name not in set(strings)]
    learned: dict[str, NumericFeature | CategoricalFeature] = {}
    for start in range(0, len(numbers), _AT_ONCE):
        learned |= _learn_numbers(df, numbers[start : start + _AT_ONCE])
    if strings:
        learned |= _learn_categories(df, strings, max_levels)
    _check_present(df, names, learned)
    return tuple(learned[name] for name in names)


def _learn_numbers(df: DataFrame, names: Sequence[str]) -> dict[str, NumericFeature]:
    """One pass: of every feature the finite values' mean, range and count, and the infinities."""
    aggregates = [
        one.alias(f"{i}_{part}") for i, name in enumerate(names) for part, one in _number(name)
    ]
    summaries = [column for i in range(len(names)) for column in _summary(i)]
    row = df.agg(*aggregates).select(*summaries).collect()[0]
    return {
        name: _numeric_feature(name, {part: row[f"{i}_{part}"] for part in _PARTS})
        for i, name in enumerate(names)
        if row[f"{i}_present"]
    }


def _number(name: str) -> list[tuple[str, Column]]:
    value = col(feature_column(name)).cast("double")
    infinite = F.abs(value) == F.lit(math.inf)
    finite = F.when(~F.isnan(value) & ~infinite, value)
    return [
        ("present", F.count(finite)),
        ("infinite", F.count(F.when(infinite, 1))),
        ("low", F.min(finite)),
        ("high", F.max(finite)),
        ("huge", F.count(F.when(~is_summable(finite), 1))),
        ("rough", F.avg(finite)),
        *((f"limb{i}", F.sum(limb)) for i, limb in enumerate(limbs(finite))),
    ]


def _summary(index: int) -> list[Column]:
    parts = {part: F.col(f"{index}_{part}") for part in ("present", "infinite", "low", "high")}
    exact = total([F.col(f"{index}_limb{i}") for i in range(LIMBS)]) / parts["present"]
    mean = F.when(F.col(f"{index}_huge") == 0, exact).otherwise(F.col(f"{index}_rough"))
    return [column.alias(f"{index}_{part}") for part, column in {**parts, "mean": mean}.items()]


def _numeric_feature(name: str, parts: dict[str, Any]) -> NumericFeature:
    mean = min(max(parts["mean"], parts["low"]), parts["high"])  # also mends an overflow
    return NumericFeature(name, **{**parts, "mean": mean})


def _learn_categories(
    df: DataFrame, names: Sequence[str], max_levels: int
) -> dict[str, CategoricalFeature]:
    """One pass over all: count each value, keep the most frequent ones."""
    pairs = [
        F.struct(F.lit(i).alias("feature"), col(feature_column(name)).alias("value"))
        for i, name in enumerate(names)
    ]
    by_feature = Window.partitionBy("feature")
    values = df.select(F.explode(F.array(*pairs)).alias("one")).select("one.*")
    counts = values.where("value is not null").groupBy("feature", "value").count()
    ranked = counts.select(
        "feature",
        "value",
        F.row_number().over(by_feature.orderBy(F.desc("count"), "value")).alias("rank"),
        F.count("*").over(by_feature).alias("distinct"),
        F.sum("count").over(by_feature).alias("present"),
    )
    found = ranked.where(F.col("rank") <= max_levels).orderBy("feature", "rank").collect()
    return {
        name: CategoricalFeature(
            name,
            levels=tuple(row["value"] for row in rows),
            distinct=rows[0]["distinct"],
            present=rows[0]["present"],
        )
        for i, name in enumerate(names)
        if (rows := [row for row in found if row["feature"] == i])
    }


def _check_present(df: DataFrame, names: Sequence[str], learned: dict[str, Any]) -> None:
    absent = [name for name in names if name not in learned]
    if not absent:
        return
    listed = ", ".join(f"'{name}'" for name in absent)
    if df.limit(1).count() == 0:
        raise EmptyTable("there are no rows to learn from", where="train split")
    raise EmptyTable(
        f"no value at all in the feature{'s' if len(absent) > 1 else ''} {listed}",
        where="train split",
        hint="remove it, or mend its expression or the join that it comes from",
    )
