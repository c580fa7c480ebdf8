"""What the preprocessor learns, as distributed aggregates over the training rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from pyspark.sql import Window
from pyspark.sql import functions as F

from lakescore.arrow_task import map_in_arrow
from lakescore.errors import EmptyTable
from lakescore.features.exact_sums import LIMBS, LIMIT, digit_sums, total
from lakescore.features.names import feature_column
from lakescore.features.preprocessor import CategoricalFeature, NumericFeature
from lakescore.features.resolve import check_columns, col, data_type

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame

_PARTS = ("present", "infinite", "low", "high", "mean")
_LIMBS = [f"limb{i}" for i in range(LIMBS)]
#: What a batch tells of a feature: name and Spark type.
_PARTIAL = {
    "feature": "int",
    "present": "long",
    "infinite": "long",
    "low": "double",
    "high": "double",
    "huge": "long",
    "rough": "double",
    **dict.fromkeys(_LIMBS, "long"),
}


def learn(
    df: DataFrame, names: Sequence[str], max_levels: int
) -> tuple[NumericFeature | CategoricalFeature, ...]:
    """What each feature looks like in `df`, in order. See `preprocessor.fit_preprocessor`."""
    check_columns(df, map(feature_column, names), where="training rows")
    strings = [name for name in names if data_type(df, feature_column(name)).typeName() == "string"]
    numbers = [name for name in names if name not in set(strings)]
    learned: dict[str, NumericFeature | CategoricalFeature] = {}
    if numbers:
        learned |= _learn_numbers(df, numbers)
    if strings:
        learned |= _learn_categories(df, strings, max_levels)
    _check_present(df, names, learned)
    return tuple(learned[name] for name in names)


def _learn_numbers(df: DataFrame, names: Sequence[str]) -> dict[str, NumericFeature]:
    """One pass: of every feature the finite values' mean, range and count, and the infinities.

    Added up in numpy, batch by batch: as Spark expressions the exact sums of thirty features are
    more code than Spark compiles.
    """
    doubles = [
        col(feature_column(name)).cast("double").alias(f"n{i}") for i, name in enumerate(names)
    ]
    schema = ", ".join(f"{name} {kind}" for name, kind in _PARTIAL.items())
    partials = map_in_arrow(df.select(*doubles), _partials, schema)
    added = [F.sum(part).alias(part) for part in ("present", "infinite", "huge", "rough", *_LIMBS)]
    sums = partials.groupBy("feature").agg(
        *added, F.min("low").alias("low"), F.max("high").alias("high")
    )
    exact = total([F.col(limb) for limb in _LIMBS])
    mean = F.when(F.col("huge") == 0, exact).otherwise(F.col("rough")) / F.col("present")
    rows = sums.withColumn("mean", mean).where("present > 0").select("feature", *_PARTS).collect()
    found = {names[row["feature"]]: {part: row[part] for part in _PARTS} for row in rows}
    return {name: _numeric_feature(name, parts) for name, parts in found.items()}


def _partials(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """For each batch one row a feature: what `_PARTIAL` names."""
    import pyarrow as pa

    types = {"int": pa.int32(), "long": pa.int64(), "double": pa.float64()}
    schema = pa.schema([(name, types[kind]) for name, kind in _PARTIAL.items()])
    for batch in batches:
        rows = [_partial(i, column) for i, column in enumerate(batch.columns)]
        yield pa.RecordBatch.from_pylist(rows, schema=schema)


def _partial(feature: int, column: pa.Array) -> dict[str, Any]:
    values = column.to_numpy(zero_copy_only=False)
    infinite = np.isinf(values)
    finite = values[~infinite & ~np.isnan(values)]
    summable = finite[np.abs(finite) < LIMIT]
    found: dict[str, Any] = {
        "feature": feature,
        "present": len(finite),
        "infinite": int(infinite.sum()),
        "low": float(finite.min()) if len(finite) else None,
        "high": float(finite.max()) if len(finite) else None,
        "huge": len(finite) - len(summable),
        "rough": float(finite.sum()),
    }
    return found | dict(zip(_LIMBS, digit_sums(summable), strict=True))


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
