"""The rows of one scoring run, judged by their contract and scored; nothing is written yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from lakescore.workflows.earlier_commits import recent_keys, refused_rows
from lakescore.workflows.late_context import late_context
from lakescore.workflows.predict import Output, predict, source_columns

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from lakescore.config.settings import ScoringSettings, Settings
    from lakescore.config.workload import Context
    from lakescore.features.intervals import PredictionTimes
    from lakescore.lake.contract import Survey
    from lakescore.workflows.plan import ScoringPlan
    from lakescore.workflows.steps import Step


@dataclass(frozen=True)
class ScoredRows:
    """`frame` is lazy: key, pass-through, prediction and contract columns.

    `predicted_until` is the last prediction time where the model has contexts over time;
    `late_context` as in CommitPlan.
    """

    frame: DataFrame
    read: int
    out_of_scope: int
    predicted_until: datetime | None = None
    late_context: Mapping[str, int] = field(default_factory=dict)


def scored_rows(
    spark: SparkSession, settings: Settings, plan: ScoringPlan, step: Step
) -> ScoredRows:
    """The rows of the step, whose source fits the model (see `plan.followed`)."""
    from lakescore.lake.contract import with_reasons

    source, predictions = plan.workload.source, plan.predictions
    _, in_use = source_columns(plan.workload, plan.model, predictions.passthrough)
    landed = _landed(spark, settings, plan, step)
    scoped, found = _scoped(landed, source.key, predictions.where)
    judged = with_reasons(
        scoped,
        source,
        in_use=in_use,
        masked=predictions.quarantine_mask,
        repeats=found.repeats,
        recent=recent_keys(spark, settings, plan, step),
    )
    times = _prediction_times(plan, judged)
    scored = found.read - found.out_of_scope
    return ScoredRows(
        _predicted(spark, settings.scoring, plan, judged, scored, times=times),
        found.read,
        found.out_of_scope,
        None if times is None else times.last,
        late_context(spark, plan),
    )


def _prediction_times(plan: ScoringPlan, judged: DataFrame) -> PredictionTimes | None:
    """Of the valid rows; None where no context goes by time."""
    from lakescore.features.intervals import prediction_times
    from lakescore.lake.contract import is_valid

    contexts, by = plan.model.contexts(plan.workload).values(), plan.workload.source.prediction_time
    if by is None or all(context.static for context in contexts):
        return None
    return prediction_times(judged.where(is_valid()), by)


def _landed(spark: SparkSession, settings: Settings, plan: ScoringPlan, step: Step) -> DataFrame:
    from pyspark.sql import functions as F

    from lakescore.lake.changes import refuse_recreated
    from lakescore.lake.contract import CHANGE, SCORE

    source = plan.pins.source
    if step.files is not None:
        rows = step.files.read(spark, source)
        return rows if step.reads == "appended" else rows.withColumn(CHANGE, F.lit(SCORE))
    if plan.changes is not None:
        return plan.changes.rows()
    if step.rows_where is None and step.reads == "all":
        return source.read(spark)
    refuse_recreated(source, source.version, plan.progress.source_id)
    if step.reads == "refused":
        return refused_rows(spark, settings, plan, source.read(spark))
    return source.read(spark).where(step.rows_where)


def _scoped(landed: DataFrame, key: Sequence[str], where: str | None) -> tuple[DataFrame, Survey]:
    """The rows to stage, and what is known of those that were read.

    Of changed rows none is left out: one that left the scope takes its prediction with it.
    """
    from pyspark.sql import functions as F

    from lakescore.lake.contract import CHANGE, OUT_OF_SCOPE, SCORE, in_scope, survey

    if CHANGE not in landed.columns:
        found = survey(landed, key, where)
        return landed.where(in_scope(where)), found
    left = (F.col(CHANGE) == SCORE) & ~in_scope(where)
    change = F.when(left, F.lit(OUT_OF_SCOPE)).otherwise(F.col(CHANGE))
    changed = landed.withColumn(CHANGE, change)
    return changed, survey(changed, key)


def _predicted(
    spark: SparkSession,
    scoring: ScoringSettings,
    plan: ScoringPlan,
    judged: DataFrame,
    rows: int,
    *,
    times: PredictionTimes | None,
) -> DataFrame:
    from lakescore.lake.contract import CHANGE, CONTRACT_COLUMNS, REASONS

    source, predictions = plan.workload.source, plan.predictions
    contexts = plan.model.contexts(plan.workload)
    frames = plan.pins.frames(spark)
    if times is not None:
        check_freshness(times, contexts, frames)
    changes = [CHANGE] if CHANGE in judged.columns else []
    keep = dict.fromkeys([*source.key, *predictions.passthrough, *CONTRACT_COLUMNS, *changes])
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
        times=times,
    )


def should_compile(scoring: ScoringSettings, rows: int) -> bool:
    """Compiling takes tens of seconds a host, so it must be worth it (or asked for)."""
    if scoring.compile == "auto":
        return rows >= scoring.compile_min_rows
    return scoring.compile == "always"


def check_freshness(
    times: PredictionTimes, contexts: Mapping[str, Context], frames: Mapping[str, DataFrame]
) -> None:
    """Stop before a late context would put null features into commits for ever.

    Raises StaleContext for a context that is older than its declared `max_lag`.
    """
    from lakescore.features.intervals import check_max_lag

    for name, context in contexts.items():
        check_max_lag(name, context, frames[name], times.last)
