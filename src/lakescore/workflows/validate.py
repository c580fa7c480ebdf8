"""Validate: what can be known of a workload before it runs, without Spark or against the lake."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lakescore.workflows.as_of import on_day
from lakescore.workflows.candidates import checked_parameters
from lakescore.workflows.training_data import declared_features

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from lakescore.config.settings import Settings
    from lakescore.config.workload import Workload
    from lakescore.workflows.pins import Pins


def check_parameters(workload: Workload) -> None:
    """Candidates, their parameters and the metrics. Raises ConfigError; needs no engine."""
    from lakescore.evaluation.metrics import metric

    if not workload.trains:
        return
    checked_parameters(workload)
    for name in (workload.select_by, workload.gate.metric):
        if name is not None:
            metric(name)


def validate_against_lake(spark: SparkSession, settings: Settings, workload: Workload) -> None:
    """Resolve every table, column and expression in the real schemas. Runs no model's code.

    Raises TableNotFound, ColumnMissing, TypeMismatch, ExpressionRefused and LeakRefused.
    """
    from lakescore.lake.contract import check_schema
    from lakescore.lake.freshness import check_moments
    from lakescore.lake.tables import Lake
    from lakescore.workflows.pins import pin_tables
    from lakescore.workflows.row_expressions import check_source_rows

    workload = on_day(workload)
    lake = Lake(settings.lake)
    pins = pin_tables(spark, lake, workload.source, workload.context, workload.label)
    rows = pins.source.read(spark)
    check_source_rows(rows, workload, table=str(pins.source))
    check_schema(rows, workload.source, _columns_named(workload), where=str(pins.source))
    if workload.source.freshness is not None:
        check_moments(rows.schema, workload.source.freshness.column, where=str(pins.source))
    if workload.trains:
        _validate_training(spark, workload, pins)
    else:
        _validate_model(spark, settings, workload, pins)


def _columns_named(workload: Workload) -> list[str]:
    """The source's columns that the report and the predictions name, beside the key.

    What is passed through may also be an output of a context.
    """
    named = [*workload.report.segments]
    if workload.predictions is not None:
        joined = {output for context in workload.context.values() for output in context.outputs}
        passed = [name for name in workload.predictions.passthrough if name not in joined]
        named += [*passed, *workload.predictions.quarantine_mask]
    return named


def _validate_training(spark: SparkSession, workload: Workload, pins: Pins) -> None:
    from lakescore.features.leak_guard import refuse_leaks
    from lakescore.workflows.row_expressions import check_training_rows
    from lakescore.workflows.training_data import infer_task, with_label

    features = declared_features(workload, pins.source.schema)
    refuse_leaks(
        source=workload.source,
        contexts=workload.context,
        features=features,
        label=workload.label,
        scored_where=workload.predictions.where if workload.predictions else None,
    )
    check_training_rows(spark, workload, pins, features)
    if workload.label is not None:
        labels = pins.label.read(spark) if pins.label else None
        infer_task(with_label(pins.source.read(spark), workload.label, labels), workload.label)


def _validate_model(
    spark: SparkSession, settings: Settings, workload: Workload, pins: Pins
) -> None:
    from lakescore.features.sql_stage import resolve_features
    from lakescore.workflows.scoring_model import scoring_model

    rows, frames = pins.source.read(spark), pins.frames(spark)
    with scoring_model(settings, workload) as model:
        if model.package is not None:
            resolve_features(
                rows,
                source=model.package.source,
                contexts=model.package.contexts,
                frames=frames,
                features=model.package.features,
            )
            return
        from lakescore.features.context_checks import check_contexts
        from lakescore.features.point_in_time import with_output_columns

        check_contexts(rows, workload.context, frames, workload.source.prediction_time)
        joined = with_output_columns(rows, workload.context, frames)
        model.opened.check_inputs(dict(joined.dtypes))
