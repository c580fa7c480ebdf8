"""The rows of one scoring run, judged by their contract and scored; nothing is visible yet."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from lakescore.workflows.earlier_commits import recent_keys, refused_rows
from lakescore.workflows.late_context import late_context
from lakescore.workflows.predict import Output, batch_scorer, predict, source_columns

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.types import StructType

    from lakescore.config.settings import Settings
    from lakescore.config.workload import Context
    from lakescore.features.intervals import PredictionTimes
    from lakescore.lake.left_rows import LeftRows
    from lakescore.lake.staging import Staged
    from lakescore.lake.survey import Survey
    from lakescore.scoring.arrow import Layout
    from lakescore.scoring.files import Columns
    from lakescore.workflows.plan import ScoringPlan
    from lakescore.workflows.steps import Step


@dataclass(frozen=True)
class ScoredRows:
    """What `stage` scores, writes into a folder and counts there.

    `predicted_until` is the last prediction time where the model has contexts over time;
    `late_context` as in CommitPlan.
    """

    stage: Callable[[str], Staged]
    predicted_until: datetime | None = None
    late_context: Mapping[str, int] = field(default_factory=dict)


def scored_rows(
    spark: SparkSession, settings: Settings, plan: ScoringPlan, step: Step
) -> ScoredRows:
    """The rows of the step, whose source fits the model (see `plan.followed`)."""
    run = _Run(spark, settings, plan, step)
    landed = _landed(run)
    if plan.road.inputs is not None:
        direct = _directly(run, landed, plan.road.inputs)
        if direct is not None:
            return direct
    return _by_spark(run, landed)


@dataclass(frozen=True)
class _Run:
    """What every step below needs."""

    spark: SparkSession
    settings: Settings
    plan: ScoringPlan
    step: Step

    @property
    def kept(self) -> tuple[str, ...]:
        source, predictions = self.plan.workload.source, self.plan.predictions
        return tuple(dict.fromkeys([*source.key, *predictions.passthrough]))

    @property
    def in_use(self) -> list[str] | None:
        """The source's columns that a prediction is made of; None for all."""
        return source_columns(
            self.plan.workload, self.plan.model, self.plan.predictions.passthrough
        )[1]


def _by_spark(run: _Run, landed: DataFrame) -> ScoredRows:
    """The general road: whatever the rows, the contract and the model need."""
    scoped, found = _scoped(landed, run.plan.workload.source.key, run.plan.predictions.where)
    judged = _judged(run, scoped, repeats=found.repeats)
    times = _prediction_times(run.plan, judged)
    frame = _predicted(run, judged, repeats=found.repeats, times=times)

    def stage(folder: str) -> Staged:
        from lakescore.lake.staging import stage

        return stage(frame, folder, read=found.read, out_of_scope=found.out_of_scope)

    until = None if times is None else times.last
    return ScoredRows(stage, until, late_context(run.spark, run.plan))


def _directly(run: _Run, landed: DataFrame, inputs: Mapping[str, str]) -> ScoredRows | None:
    """The direct road: tasks read the files, and leave to Spark the rows that must be judged.

    None when too many keys come twice, or a file is not on this file system.
    """
    from lakescore.lake.left_rows import left_rows
    from lakescore.lake.survey import survey
    from lakescore.lake.tables import local_files, local_folder
    from lakescore.scoring.files import score_files

    source = run.plan.workload.source
    found = survey(landed, source.key)
    used = landed.columns if run.in_use is None else run.in_use
    left = left_rows(landed, source, used, repeats=found.repeats)
    files, model = local_files(landed), batch_scorer(run.plan.model, dict(landed.dtypes))
    if left is None or files is None or model is None:
        return None

    def stage(folder: str) -> Staged:
        from lakescore.lake.staging import counted

        scored = score_files(
            run.spark,
            files,
            model,
            columns=_columns(run, inputs, left),
            layout=_layout(run),
            leave=left,
            folder=str(local_folder(f"{folder}/direct")),
        )
        judged_rows: tuple[str, ...] = ()
        if scored.left or not scored.paths:
            judged = _judged(run, landed.where(left.condition()), repeats=found.repeats)
            rest = _predicted(run, judged, repeats=found.repeats, times=None)
            rest.write.parquet(f"{folder}/judged")
            judged_rows = (f"{folder}/judged",)
        schema = _schema(run, landed, repeats=found.repeats)
        return counted(run.spark, judged_rows, schema, found.read, predicted=scored.paths)

    return ScoredRows(stage)


def _schema(run: _Run, landed: DataFrame, *, repeats: bool) -> StructType:
    """Of what either road stages."""
    from lakescore.config.base import quoted
    from lakescore.lake.contract import COPIES
    from lakescore.lake.refusal import REFUSAL
    from lakescore.scoring.arrow import prediction_types

    predictions = run.plan.predictions
    schema = landed.select(*map(quoted, run.kept)).schema.add(REFUSAL, "string")
    if repeats:
        schema = schema.add(COPIES, "long")
    names = (predictions.column, predictions.class_column, predictions.probabilities)
    return type(schema)([*schema, *prediction_types(*names, run.plan.model.answers)])


def _layout(run: _Run) -> Layout:
    from lakescore.scoring.arrow import Layout

    predictions = run.plan.predictions
    return Layout(
        keep=run.kept,
        key=run.plan.workload.source.key,
        column=predictions.column,
        class_column=predictions.class_column,
        threshold=predictions.threshold,
        probabilities=predictions.probabilities,
        skip=None,
        batch_rows=run.settings.scoring.batch_rows,
    )


def _columns(run: _Run, inputs: Mapping[str, str], left: LeftRows) -> Columns:
    from lakescore.scoring.files import Columns

    schema = run.plan.pins.source.schema
    types = {field.name.lower(): field.dataType.simpleString() for field in schema}
    read = dict.fromkeys([*run.kept, *inputs.values(), *left.columns])
    return Columns({name: types[name.lower()] for name in read}, inputs)


def _judged(run: _Run, rows: DataFrame, *, repeats: bool) -> DataFrame:
    from lakescore.lake.contract import with_reasons

    return with_reasons(
        rows,
        run.plan.workload.source,
        in_use=run.in_use,
        masked=run.plan.predictions.quarantine_mask,
        repeats=repeats,
        recent=recent_keys(run.spark, run.settings, run.plan, run.step),
    )


def _prediction_times(plan: ScoringPlan, judged: DataFrame) -> PredictionTimes | None:
    """Of the valid rows; None where no context goes by time."""
    from lakescore.features.intervals import prediction_times
    from lakescore.lake.contract import is_valid

    contexts, by = plan.model.contexts(plan.workload).values(), plan.workload.source.prediction_time
    if by is None or all(context.static for context in contexts):
        return None
    return prediction_times(judged.where(is_valid()), by)


def _landed(run: _Run) -> DataFrame:
    from pyspark.sql import functions as F

    from lakescore.lake.changes import refuse_recreated
    from lakescore.lake.contract import CHANGE, SCORE

    spark, plan, step = run.spark, run.plan, run.step
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
        return refused_rows(spark, run.settings, plan, source.read(spark))
    return source.read(spark).where(step.rows_where)


def _scoped(landed: DataFrame, key: Sequence[str], where: str | None) -> tuple[DataFrame, Survey]:
    """The rows to stage, and what is known of those that were read.

    Of changed rows none is left out: one that left the scope takes its prediction with it.
    """
    from pyspark.sql import functions as F

    from lakescore.lake.contract import CHANGE, OUT_OF_SCOPE, SCORE, in_scope
    from lakescore.lake.survey import survey

    if CHANGE not in landed.columns:
        found = survey(landed, key, where)
        return landed.where(in_scope(where)), found
    left = (F.col(CHANGE) == SCORE) & ~in_scope(where)
    change = F.when(left, F.lit(OUT_OF_SCOPE)).otherwise(F.col(CHANGE))
    changed = landed.withColumn(CHANGE, change)
    return changed, survey(changed, key)


def _predicted(
    run: _Run,
    judged: DataFrame,
    *,
    repeats: bool,
    times: PredictionTimes | None,
) -> DataFrame:
    from lakescore.lake.contract import CHANGE, COPIES
    from lakescore.lake.refusal import REFUSAL, packed

    source, predictions = run.plan.workload.source, run.plan.predictions
    contexts = run.plan.model.contexts(run.plan.workload)
    frames = run.plan.pins.frames(run.spark)
    if times is not None:
        check_freshness(times, contexts, frames)
    told = packed(judged, copies=repeats)
    beside = [name for name in (COPIES, REFUSAL, CHANGE) if name in told.columns]
    return predict(
        told,
        run.plan.model,
        source=source,
        contexts=contexts,
        frames=frames,
        output=Output(
            keep=(*run.kept, *beside),
            key=source.key,
            column=predictions.column,
            class_column=predictions.class_column,
            threshold=predictions.threshold,
            probabilities=predictions.probabilities,
            skip=REFUSAL,
        ),
        scoring=run.settings.scoring,
        times=times,
    )


def check_freshness(
    times: PredictionTimes, contexts: Mapping[str, Context], frames: Mapping[str, DataFrame]
) -> None:
    """Stop before a late context would put null features into commits for ever.

    Raises StaleContext for a context that is older than its declared `max_lag`.
    """
    from lakescore.features.intervals import check_max_lag

    for name, context in contexts.items():
        check_max_lag(name, context, frames[name], times.last)
