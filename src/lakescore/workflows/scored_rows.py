"""The rows of one scoring run, judged by their contract and scored; nothing is written yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lakescore.workflows.predict import Output, columns_in_use, predict

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from lakescore.config.settings import ScoringSettings, Settings
    from lakescore.config.workload import Context
    from lakescore.workflows.plan import ScoringPlan


@dataclass(frozen=True)
class ScoredRows:
    """`frame` is lazy: key, pass-through, prediction and contract columns."""

    frame: DataFrame
    read: int
    out_of_scope: int


def scored_rows(spark: SparkSession, settings: Settings, plan: ScoringPlan) -> ScoredRows:
    """What landed since the last commit. Raises when the source no longer fits the model."""
    from lakescore.lake.changes import rows_since
    from lakescore.lake.contract import check_schema, count_scope, in_scope, with_reasons

    source, predictions = plan.workload.source, plan.predictions
    landed = rows_since(
        spark, plan.pins.source, plan.after_version, table_id=plan.progress.source_id
    )
    used = columns_in_use(plan.model, predictions.passthrough)
    contexts = plan.model.contexts(plan.workload).values()
    joined = {name for context in contexts for name in context.outputs}
    needed = [name for name in used or predictions.passthrough if name not in joined]
    check_schema(landed, source, needed, where=str(plan.pins.source))
    read, out_of_scope = count_scope(landed, predictions.where)
    scoped = landed.where(in_scope(predictions.where))
    judged = with_reasons(scoped, source, in_use=None if used is None else needed)
    return ScoredRows(
        _predicted(spark, settings.scoring, plan, judged, read - out_of_scope), read, out_of_scope
    )


def _predicted(
    spark: SparkSession, scoring: ScoringSettings, plan: ScoringPlan, judged: DataFrame, rows: int
) -> DataFrame:
    from lakescore.lake.contract import CONTRACT_COLUMNS, REASONS

    source, predictions = plan.workload.source, plan.predictions
    contexts = plan.model.contexts(plan.workload)
    frames = plan.pins.frames(spark)
    check_freshness(judged, source.prediction_time, contexts, frames)
    keep = dict.fromkeys([*source.key, *predictions.passthrough, *CONTRACT_COLUMNS])
    return predict(
        judged,
        plan.model,
        source=source,
        contexts=contexts,
        frames=frames,
        output=Output(
            keep=tuple(keep),
            key=source.key,
            column=predictions.column,
            class_column=predictions.class_column,
            threshold=predictions.threshold,
            skip=REASONS,
        ),
        scoring=scoring,
        compile_trees=should_compile(scoring, rows),
    )


def should_compile(scoring: ScoringSettings, rows: int) -> bool:
    """Compiling takes tens of seconds a host, so it must be worth it (or asked for)."""
    if scoring.compile == "auto":
        return rows >= scoring.compile_min_rows
    return scoring.compile == "always"


def check_freshness(
    rows: DataFrame,
    prediction_time: str | None,
    contexts: Mapping[str, Context],
    frames: Mapping[str, DataFrame],
) -> None:
    """Stop before a late context would put null features into commits for ever.

    Raises StaleContext for a context that is older than its declared `max_lag`.
    """
    from lakescore.features.intervals import check_max_lag, prediction_times

    bounded = {name: context for name, context in contexts.items() if context.max_lag}
    if not bounded or prediction_time is None:
        return
    last = prediction_times(rows, prediction_time).last
    for name, context in bounded.items():
        check_max_lag(name, context, frames[name], last)
