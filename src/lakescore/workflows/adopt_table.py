"""Adopt a table: predictions that stand already go on under lakescore, with no file rewritten."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lakescore.errors import ModelNotFound, UsageError
from lakescore.matrix import Answers, Task
from lakescore.workflows.adopted_columns import check_columns
from lakescore.workflows.as_of import on_day
from lakescore.workflows.output_columns import output_columns
from lakescore.workflows.pins import Pins, pin_tables
from lakescore.workflows.plan import ScoringPlan, writable_log
from lakescore.workflows.run_result import RunResult, Status, recorded_run
from lakescore.workflows.steps import Step, predictions_of

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from lakescore.config.settings import Settings
    from lakescore.config.workload import Predictions, Workload
    from lakescore.evaluation.score_differences import ScoreDifferences
    from lakescore.lake.adoption import Adoption
    from lakescore.lake.tables import Lake, Table


@dataclass(frozen=True)
class _Adopting:
    """What the steps of one adoption share. `pins` have the source at the declared version."""

    spark: SparkSession
    settings: Settings
    lake: Lake
    workload: Workload
    table: Table
    pins: Pins
    run: RunResult

    @property
    def predictions(self) -> Predictions:
        return predictions_of(self.workload)


def adopt_table(
    spark: SparkSession,
    settings: Settings,
    workload: Workload,
    *,
    table: str,
    source_version: int,
    compare: bool = False,
) -> RunResult:
    """Take over `table`, whose rows are this workload's predictions of source@`source_version`.

    It gets null lineage columns, a starting commit without rows and lakescore's mark, in this
    order, so that a crash in between is made good by another call; `score` takes it only once it
    is marked. No data file is rewritten. With `compare` nothing is changed: the current model
    scores source@`source_version`, and the result tells how far the old scores are from that.

    Raises UsageError for a table that is not the workload's own or for mode snapshot, ForeignTable,
    ColumnMissing, TypeMismatch, DuplicateKeys, and VersionUnreadable.
    """
    from lakescore.lake.tables import Lake

    workload, lake = on_day(workload), Lake(settings.lake)
    target = _own_table(lake, workload, table)
    with recorded_run("adopt", workload.name, settings) as run:
        command = f"lakescore adopt {workload.name} --table {table}"
        run.command = f"{command} --source-version {source_version}"
        with run.phase("plan"):
            pins = pin_tables(
                spark, lake, workload.source, workload.context, source_version=source_version
            )
            run.pins = pins.describe()
        adopting = _Adopting(spark, settings, lake, workload, target, pins, run)
        with run.phase("check"):
            done = _check(adopting)
        if done is not None:
            return _already_done(adopting, done)
        if compare:
            return _compare(adopting)
        with run.phase("commit"):
            adoption = _take_over(adopting)
        run.details["commit_seq"] = adoption.commit_seq
        run.details["reason"] = (
            f"{run.counts['rows']} rows of {target} are predictions of {pins.source} now; "
            "the next run scores what came after"
        )
        return run.finish(Status.DONE, next_command=f"lakescore plan {workload.name}")


def _own_table(lake: Lake, workload: Workload, table: str) -> Table:
    predictions = predictions_of(workload)
    target, own = lake.table(table), lake.table(predictions.table)
    if (target.path, target.identifier) != (own.path, own.identifier):
        raise UsageError(
            f"the workload's predictions go to {predictions.table}, not to {table}",
            where="--table",
            hint=f"set `table: {table}` under `predictions` first",
        )
    if predictions.mode == "snapshot":
        raise UsageError(
            "mode snapshot has nothing to adopt: rows without `_as_of` belong to no day, and each "
            "day is scored from the whole source anyway",
            where="predictions.mode",
            hint="name a new predictions.table; its first run fills the day",
        )
    return target


def _check(adopting: _Adopting) -> Adoption | None:
    """The adoption, where it is done; None for a table that can be adopted."""
    from lakescore.lake.adoption import check_rows, refuse_append_only, refuse_made_by_lakescore
    from lakescore.lake.contract import check_schema

    spark, table, predictions = adopting.spark, adopting.table, adopting.predictions
    properties = table.properties(spark)
    done = refuse_made_by_lakescore(table, properties, adopting.workload.name)
    if done is not None:
        return done
    refuse_append_only(table, properties)
    source, rows, contexts = adopting.workload.source, table.read(spark), adopting.workload.context
    landed = adopting.pins.source.read(spark)
    joined = {name for context in contexts.values() for name in context.outputs}
    needed = [name for name in predictions.passthrough if name not in joined]
    check_schema(landed, source, needed, where=str(adopting.pins.source))
    frames = adopting.pins.frames(spark)
    answers = _answers(adopting)
    outputs = output_columns(
        landed, source, predictions.of(answers), contexts, frames, answers=answers
    )
    unwritten = check_columns(outputs, rows.schema, where=table.name)
    if unwritten:
        adopting.run.warnings.append(f"null in new rows: {', '.join(unwritten)}")
    adopting.run.counts["rows"] = check_rows(rows, source.key, where=table.name)
    return None


def _answers(adopting: _Adopting) -> Answers:
    """Those of the model that scores next; before there is one, what the workload says of it."""
    from lakescore.workflows.scoring_model import scoring_model

    if adopting.workload.model is not None:
        return Answers()
    try:
        with scoring_model(adopting.settings, adopting.workload) as model:
            return model.answers
    except ModelNotFound:
        label = adopting.workload.label
        several = label is not None and label.task is Task.MULTICLASS
        return Answers(classes=("",)) if several else Answers()


def _take_over(adopting: _Adopting) -> Adoption:
    from lakescore.lake.adoption import Adoption, mark_adopted, refuse_unwritable
    from lakescore.lake.chain import Progress
    from lakescore.lake.creation import with_columns
    from lakescore.lake.lineage import lineage_schema

    spark, table, source = adopting.spark, adopting.table, adopting.pins.source
    name, predictions = adopting.workload.name, adopting.predictions
    log = writable_log(spark, adopting.lake, name, predictions)
    with refuse_unwritable(spark, table):
        with_columns(spark, table, lineage_schema())
        started = log.start(
            Progress(
                source_version=source.version,
                source_id=source.table_id,
                run_id=adopting.run.run_id,
                mode=predictions.mode,
            )
        )
        adoption = Adoption(name, source.version, source.table_id, started.commit_seq)
        if started.source_version != source.version:
            raise _other_start(adopting, started.source_version)
        mark_adopted(spark, table, adoption)
    return adoption


def _already_done(adopting: _Adopting, done: Adoption) -> RunResult:
    version = adopting.pins.source.version
    if done.source_version != version:
        raise _other_start(adopting, done.source_version)
    adopting.run.details["reason"] = (
        f"{adopting.table} was adopted before, with the predictions of {adopting.pins.source}"
    )
    return adopting.run.finish(
        Status.ALREADY_DONE, next_command=f"lakescore plan {adopting.workload.name}"
    )


def _other_start(adopting: _Adopting, started: int | None) -> UsageError:
    return UsageError(
        f"{adopting.table} was adopted with the predictions of version {started} of its source, "
        f"not {adopting.pins.source.version}",
        where="--source-version",
        hint=f"RESTORE TABLE {adopting.table.sql_name} to its version before that, and adopt it "
        "again",
    )


def _compare(adopting: _Adopting) -> RunResult:
    """What the current model says of the same source version, beside what stands."""
    from lakescore.evaluation.score_differences import score_differences
    from lakescore.lake.chain import Progress
    from lakescore.lake.staging import run_folder
    from lakescore.workflows.scored_rows import scored_rows
    from lakescore.workflows.scoring_model import scoring_model
    from lakescore.workflows.task_errors import task_errors

    spark, settings, run = adopting.spark, adopting.settings, adopting.run
    workload, source = adopting.workload, adopting.pins.source
    step = Step("compare", "all", "every row, to compare")
    with (
        scoring_model(settings, workload) as model,
        run_folder(spark, settings.staging, run.run_id) as folder,
        task_errors(str(source)),
        run.phase("compare"),
    ):
        contexts = model.contexts(workload)
        pins = pin_tables(
            spark, adopting.lake, workload.source, contexts, source_version=source.version
        )
        plan = ScoringPlan(workload, model, pins, Progress(), step)
        rows = scored_rows(spark, settings, plan, step)
        staged = rows.stage(f"{folder}/scored")
        found = score_differences(
            adopting.table.read(spark),
            staged.predicted(spark),
            key=workload.source.key,
            column=adopting.predictions.column,
        )
        run.model_version = model.version
    _report(adopting, found)
    return run.finish(Status.DONE, next_command=run.command)


def _report(adopting: _Adopting, found: ScoreDifferences) -> None:
    run = adopting.run
    run.counts |= {
        "in_both": found.both,
        "only_old": found.only_old,
        "only_new": found.only_new,
        "only_one_is_a_number": found.unlike,
    }
    if found.mean is not None and found.largest is not None:
        run.metrics = {
            "mean_difference": found.mean,
            "largest_difference": found.largest,
            "share_within_1e-9": found.same / found.both,
            "share_within_1e-3": found.small / found.both,
        }
    run.details["worst"] = list(found.worst)
    told = "no key is in both" if found.largest is None else f"at most {found.largest:.3g} apart"
    run.details["reason"] = (
        f"{adopting.table} against model version {run.model_version} on {adopting.pins.source}: "
        f"{told}; nothing was changed"
    )
