"""The SQL stage: rows -> point-in-time joins -> one column a feature. Training and scoring alike.

Features leave it as doubles (numbers, booleans, decimals) or strings (categories), under
`names.feature_column(name)`, beside the kept columns under their own names.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from pyspark.sql import functions as F

from lakescore.config.base import quoted
from lakescore.config.expressions import check_expression
from lakescore.config.workload import Context, Feature, Source
from lakescore.errors import TypeMismatch, UsageError
from lakescore.features.context_checks import check_contexts
from lakescore.features.intervals import (
    PredictionTimes,
    intervals_of,
    known_within,
    prediction_times,
)
from lakescore.features.names import FEATURE_PREFIX, feature_column
from lakescore.features.point_in_time import join_contexts, with_output_columns
from lakescore.features.resolve import NUMBERS, check_columns, col, expression_types

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame
    from pyspark.sql.types import DataType, StructField, StructType

Kind = Literal["numeric", "categorical"]

_ADVICE = {
    "date": "use a number of it, like `datediff(x, DATE'2000-01-01')` or `month(x)`",
    "timestamp": "use a number of it, like `unix_timestamp(x)` or `hour(x)`",
    "timestamp_ntz": "use a number of it, like `unix_timestamp(x)` or `hour(x)`",
    "array": "use a number or string of it, like `size(x)` or `x[0]`",
    "map": "use a number or string of it, like `x['key']`",
    "struct": "use a field of it, like `x.field`",
    "void": "cast it to the type that it should have",
}


def feature_frame(
    rows: DataFrame,
    *,
    source: Source,
    contexts: Mapping[str, Context],
    frames: Mapping[str, DataFrame],
    features: Sequence[Feature],
    keep: Sequence[str],
    times: PredictionTimes | None = None,
) -> DataFrame:
    """The `keep` columns of `rows`, then one column a feature; every row exactly once.

    `frames` holds the pinned context tables by context name. Of them only the contexts that a
    feature or `keep` uses are read, and of those only the days that `rows` need: `times` says
    which, or one small aggregate over `rows` here, when there is a context over time.

    Raises what `resolve_features` does, ColumnMissing for a `keep` column that is not there,
    UsageError for one that starts with the feature prefix, and DuplicateKeys.
    """
    kinds = resolve_features(
        rows, source=source, contexts=contexts, frames=frames, features=features
    )
    used = _used_contexts(contexts, features, keep)
    check_columns(with_output_columns(rows, used, frames), keep, where="kept columns")
    _check_prefix(keep)
    near = _only_needed_days(rows, source.prediction_time, used, frames, times)
    joined = join_contexts(rows, used, near, source.prediction_time, spread_by=source.key)
    kept = [col(name).alias(name) for name in dict.fromkeys(keep)]
    return joined.select(*kept, *(_column(feature, kinds[feature.name]) for feature in features))


def resolve_features(
    rows: DataFrame,
    *,
    source: Source,
    contexts: Mapping[str, Context],
    frames: Mapping[str, DataFrame],
    features: Sequence[Feature],
) -> dict[str, Kind]:
    """Feature -> its kind, from the schemas alone; runs no job (`validate --against-lake`).

    Raises ColumnMissing (naming the expression, the column and what is there),
    ExpressionRefused (with Spark's own words) and TypeMismatch, for contexts and features.
    """
    check_contexts(rows, contexts, frames, source.prediction_time)
    joined = with_output_columns(rows, contexts, frames)
    expressions = {_where(feature): feature.expression for feature in features}
    types = expression_types(joined, expressions)
    return {feature.name: _kind(feature, types[_where(feature)]) for feature in features}


def infer_features(schema: StructType, exclude: Collection[str]) -> tuple[Feature, ...]:
    """`features: all`: every column but `exclude` (key, label, times) and those of other types.

    A name that is no identifier (blanks, dots) gives a feature with `_` in their place. See
    `unusable_columns` for what is left out.
    """
    names = [field.name for field in _offered(schema, exclude) if _usable(field.dataType)]
    return tuple(
        Feature(name=identifier, expression=quoted(name))
        for name, identifier in zip(names, _identifiers(names), strict=True)
    )


def unusable_columns(schema: StructType, exclude: Collection[str]) -> dict[str, str]:
    """Column -> type, of those that `infer_features` leaves out for their type; to be reported."""
    return {
        field.name: field.dataType.simpleString()
        for field in _offered(schema, exclude)
        if not _usable(field.dataType)
    }


def _offered(schema: StructType, exclude: Collection[str]) -> list[StructField]:
    left_out = {name.lower() for name in exclude}
    return [field for field in schema if field.name.lower() not in left_out]


def _used_contexts(
    contexts: Mapping[str, Context], features: Sequence[Feature], keep: Sequence[str]
) -> dict[str, Context]:
    """The contexts of which an output is read."""
    read = {name.lower() for name in keep}
    for feature in features:
        columns = check_expression(feature.expression, where=_where(feature))
        read |= {name.lower() for name in columns}
    return {
        name: context
        for name, context in contexts.items()
        if read & {output.lower() for output in context.outputs}
    }


def _only_needed_days(
    rows: DataFrame,
    prediction_time: str | None,
    contexts: Mapping[str, Context],
    frames: Mapping[str, DataFrame],
    times: PredictionTimes | None,
) -> dict[str, DataFrame]:
    """The frames of `contexts`, those over time cut to what `rows` need."""
    near = {name: frames[name] for name in contexts}
    over_time = {name: context for name, context in contexts.items() if not context.static}
    if not over_time or prediction_time is None:
        return near
    days = (times or prediction_times(rows, prediction_time)).days
    for name, context in over_time.items():
        if context.lookback_window is not None and context.known_at is not None:
            intervals = intervals_of(days, context.lookback_window)
            near[name] = known_within(frames[name], context.known_at, intervals)
    return near


def _check_prefix(keep: Sequence[str]) -> None:
    for name in keep:
        if name.lower().startswith(FEATURE_PREFIX):
            raise UsageError(
                f"the kept column '{name}' starts with '{FEATURE_PREFIX}', which marks features",
                hint="rename the column in a view or upstream table",
            )


def _column(feature: Feature, kind: Kind) -> Column:
    value = F.expr(feature.expression)
    typed = value.cast("string") if kind == "categorical" else value.cast("double")
    return typed.alias(feature_column(feature.name))


def _kind(feature: Feature, type_: DataType) -> Kind:
    found = type_.typeName()
    if not _usable(type_):
        raise TypeMismatch(
            f"`{feature.expression}` is {type_.simpleString()}, not a number, boolean or string",
            where=_where(feature),
            hint=_ADVICE.get(found, "make it a number or a string"),
        )
    if found == "string" and feature.categorical is False:
        raise TypeMismatch(
            f"`{feature.expression}` is string, and said not to be categorical",
            where=_where(feature),
            hint="cast it to a number, like `CAST(x AS DOUBLE)`, or remove `categorical: false`",
        )
    return "categorical" if found == "string" or feature.categorical else "numeric"


def _usable(type_: DataType) -> bool:
    return type_.typeName() in NUMBERS | {"boolean", "string"}


def _identifiers(names: Sequence[str]) -> list[str]:
    """Each name as an identifier, unlike all before it."""
    taken: set[str] = set()
    identifiers = []
    for name in names:
        plain = re.sub(r"\W", "_", name, flags=re.ASCII)[:120]
        plain = plain if re.match(r"[A-Za-z_]", plain) else f"_{plain}"
        unique = plain
        for number in range(2, len(names) + 2):
            if unique.lower() not in taken:
                break
            unique = f"{plain}_{number}"
        taken.add(unique.lower())
        identifiers.append(unique)
    return identifiers


def _where(feature: Feature) -> str:
    return f"feature '{feature.name}'"
