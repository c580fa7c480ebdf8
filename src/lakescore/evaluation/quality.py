"""What the features of a training snapshot look like, split by split: for a reader to compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F
from pyspark.sql.types import DoubleType, FloatType, NumericType

from lakescore.evaluation.scored_rows import exact_column, require_columns
from lakescore.evaluation.top_values import TopValues, top_values

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame


@dataclass(frozen=True)
class FeatureSummary:
    """One feature in one split. NaN counts as null. `distinct` is approximate (5 %).

    mean, minimum, maximum: numeric features with a value. top_values: the others; (value, rows),
    null as '(missing)'.
    """

    rows: int
    nulls: int
    distinct: int
    mean: float | None = None
    minimum: float | None = None
    maximum: float | None = None
    top_values: tuple[tuple[str, int], ...] = ()

    @property
    def null_share(self) -> float:
        return self.nulls / self.rows


@dataclass(frozen=True)
class FeatureQuality:
    """One feature over the splits."""

    feature: str
    numeric: bool
    splits: Mapping[str, FeatureSummary]

    def describe(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


def summarize_features(
    df: DataFrame, *, features: Sequence[str], by: str, top: int = 5
) -> tuple[FeatureQuality, ...]:
    """Summarise each feature in each split, in the order of `features`; null splits are left out.

    One job for all numbers, and one for the values of what is not numeric. The driver gets a
    fixed number of values a feature and split. Raises ColumnMissing.
    """
    require_columns(df, [*features, by], "the data quality summary")
    types = {field.name: field.dataType for field in df.schema.fields}
    numeric = {name for name in features if isinstance(types[name], NumericType)}
    others = [name for name in features if name not in numeric]
    split = exact_column(by).cast("string")
    rows = df.where(split.isNotNull())
    aggregates = [F.count(F.lit(1)).alias("rows")]
    for position, name in enumerate(features):
        may_be_nan = isinstance(types[name], (DoubleType, FloatType))
        aggregates += _aggregates(position, exact_column(name), name in numeric, may_be_nan)
    parts = {
        row["split"]: row.asDict()
        for row in rows.groupBy(split.alias("split")).agg(*aggregates).collect()
    }
    tops = top_values(rows, others, top=top, by=split) if others else {}
    return tuple(
        FeatureQuality(
            name,
            name in numeric,
            {
                part: _summary(position, found, tops.get((part, name)))
                for part, found in sorted(parts.items())
            },
        )
        for position, name in enumerate(features)
    )


def _aggregates(position: int, column: Column, numeric: bool, may_be_nan: bool) -> list[Column]:
    value = F.when(~F.isnan(column), column) if may_be_nan else column
    found = {"present": F.count(value), "distinct": F.approx_count_distinct(value)}
    if numeric:
        number = value.cast("double")
        found |= {"mean": F.avg(number), "minimum": F.min(number), "maximum": F.max(number)}
    return [aggregate.alias(f"{name}_{position}") for name, aggregate in found.items()]


def _summary(position: int, found: Mapping[str, Any], top: TopValues | None) -> FeatureSummary:
    return FeatureSummary(
        rows=found["rows"],
        nulls=found["rows"] - found[f"present_{position}"],
        distinct=found[f"distinct_{position}"],
        mean=found.get(f"mean_{position}"),
        minimum=found.get(f"minimum_{position}"),
        maximum=found.get(f"maximum_{position}"),
        top_values=top.values if top else (),
    )
