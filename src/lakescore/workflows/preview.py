"""Preview: encoded rows beside their source columns, exactly as a model would see them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

from lakescore.errors import UsageError
from lakescore.workflows.pins import pin_tables
from lakescore.workflows.training_data import declared_features

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from lakescore.config.settings import Settings
    from lakescore.config.workload import Feature, Workload

#: Before the names of encoded columns, which stand beside the columns of the source.
_ENCODED = "_encoded_"


def preview(
    spark: SparkSession, settings: Settings, workload: Workload, *, rows: int = 20
) -> list[dict[str, Any]]:
    """At most `rows` rows of the source: ``{"key": ..., "features": {NAME: ...}}``, JSON-ready.

    Of each feature `source` holds the columns that it reads (of the source, or what its contexts
    knew), `value` what its expression gives, and `encoded` the number that a model sees, None
    where that is missing. Encoded by the champion's preprocessor where there is one, else by one
    that is fitted on these rows alone (its codes are then not those of training). Raises
    UsageError for a model without a preprocessor.
    """
    from lakescore.features.encode import encode_frame
    from lakescore.features.names import feature_column
    from lakescore.features.preprocessor import fit_preprocessor
    from lakescore.features.sql_stage import feature_frame
    from lakescore.lake.tables import Lake

    if not workload.trains:
        raise UsageError(f"'{workload.name}' scores a foreign model: its inputs are not encoded")
    pins = pin_tables(spark, Lake(settings.lake), workload.source, workload.context)
    features = declared_features(workload, pins.source.schema)
    shown = _columns_read(workload.source.key, features)
    featured = feature_frame(
        pins.source.read(spark).limit(rows),
        source=workload.source,
        contexts=workload.context,
        frames=pins.frames(spark),
        features=features,
        keep=shown,
    )
    preprocessor = _champion_preprocessor(settings, workload)
    if preprocessor is None or {one.name for one in preprocessor.features} != {
        one.name for one in features
    }:
        preprocessor = fit_preprocessor(featured, features)
    keep = [*shown, *(feature_column(one.name) for one in features)]
    encoded = encode_frame(featured, preprocessor, keep, prefix=_ENCODED)
    found = [row.asDict(recursive=True) for row in encoded.limit(rows).collect()]
    return [_beside_sources(row, workload.source.key, features) for row in found]


def as_line(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row for the terminal: the key, then each feature as `plus -> 2` or `a=1, b=2 -> 3`."""
    cells = {name: _cell(name, feature) for name, feature in row["features"].items()}
    return {**row["key"], **cells}


def _cell(name: str, feature: Mapping[str, Any]) -> str:
    source, encoded = feature["source"], feature["encoded"]
    texts = {column: "null" if value is None else str(value) for column, value in source.items()}
    if list(texts) == [name]:
        shown = texts[name]
    else:
        shown = ", ".join(f"{column}={text}" for column, text in texts.items())
    return f"{shown} -> {'missing' if encoded is None else f'{encoded:.10g}'}"


def _columns_read(key: Sequence[str], features: Sequence[Feature]) -> list[str]:
    """The key, then every column that a feature reads; once each, as Spark tells names apart."""
    from lakescore.config.expressions import check_expression

    read = (sorted(check_expression(one.expression, where=one.name)) for one in features)
    names: dict[str, str] = {}
    for name in chain(key, *read):
        names.setdefault(name.lower(), name)
    return list(names.values())


def _champion_preprocessor(settings: Settings, workload: Workload) -> Any:
    from lakescore.errors import ModelNotFound
    from lakescore.workflows.scoring_model import scoring_model

    try:
        with scoring_model(settings, workload) as model:
            return model.package.preprocessor if model.package else None
    except ModelNotFound:
        return None


def _beside_sources(
    row: Mapping[str, Any], key: Sequence[str], features: Sequence[Feature]
) -> dict[str, Any]:
    from lakescore.config.expressions import check_expression
    from lakescore.features.names import feature_column

    values = {name.lower(): value for name, value in row.items()}
    shown = {}
    for feature in features:
        encoded = row[_ENCODED + feature.name]
        reads = sorted(check_expression(feature.expression, where=feature.name))
        shown[feature.name] = {
            "source": {name: _shown(values[name.lower()]) for name in reads},
            "value": _shown(row[feature_column(feature.name)]),
            "encoded": None if math.isnan(encoded) else encoded,
        }
    return {"key": {name: row[name] for name in key}, "features": shown}


def _shown(value: Any) -> Any:
    """JSON has no word for a number that is not finite."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
