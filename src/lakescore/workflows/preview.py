"""Preview: encoded rows beside their source columns, exactly as a model would see them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lakescore.errors import UsageError
from lakescore.workflows.pins import Pins, pin_tables
from lakescore.workflows.training_data import declared_features

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from lakescore.config.settings import Settings
    from lakescore.config.workload import Workload


def preview(
    spark: SparkSession, settings: Settings, workload: Workload, *, rows: int = 20
) -> list[dict[str, Any]]:
    """At most `rows` rows of the source, each with its key, feature values and encoded numbers.

    Encoded by the champion's preprocessor where there is one, else by one that is fitted on
    these rows alone (its codes are then not those of training). Raises UsageError for a model
    without a preprocessor.
    """
    from lakescore.features.encode import encode_frame
    from lakescore.features.names import feature_column
    from lakescore.features.preprocessor import fit_preprocessor
    from lakescore.lake.tables import Lake

    if not workload.trains:
        raise UsageError(f"'{workload.name}' scores a foreign model: its inputs are not encoded")
    pins = pin_tables(spark, Lake(settings.lake), workload.source, workload.context)
    featured = _featured(spark, workload, pins, rows)
    features = declared_features(workload, pins.source.schema)
    preprocessor = _champion_preprocessor(settings, workload)
    if preprocessor is None or {one.name for one in preprocessor.features} != {
        one.name for one in features
    }:
        preprocessor = fit_preprocessor(featured, features)
    names = [feature_column(one.name) for one in features]
    encoded = encode_frame(featured, preprocessor, [*workload.source.key, *names])
    return [_line(row.asDict(), workload, names) for row in encoded.limit(rows).collect()]


def _featured(spark: SparkSession, workload: Workload, pins: Pins, rows: int) -> DataFrame:
    from lakescore.features.sql_stage import feature_frame

    return feature_frame(
        pins.source.read(spark).limit(rows),
        source=workload.source,
        contexts=workload.context,
        frames=pins.frames(spark),
        features=declared_features(workload, pins.source.schema),
        keep=workload.source.key,
    )


def _champion_preprocessor(settings: Settings, workload: Workload) -> Any:
    from lakescore.errors import ModelNotFound
    from lakescore.workflows.scoring_model import scoring_model

    try:
        with scoring_model(settings, workload) as model:
            return model.package.preprocessor if model.package else None
    except ModelNotFound:
        return None


def _line(row: dict[str, Any], workload: Workload, features: list[str]) -> dict[str, Any]:
    """Key first, then each feature's value and, where it differs, its code."""
    from lakescore.features.names import feature_name

    line = {name: row[name] for name in workload.source.key}
    for column in features:
        name = feature_name(column)
        value, encoded = row[column], row[name]
        shown = None if encoded != encoded else encoded  # noqa: PLR0124 - NaN is missing
        line[name] = f"{value} -> {encoded:g}" if isinstance(value, str) else shown
    return line
