"""The scoring plan: every pin, the model and the commit number, decided before work starts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from lakescore.hashing import json_sha256
from lakescore.version import code_version
from lakescore.workflows.as_of import on_day, today
from lakescore.workflows.output_columns import added_columns
from lakescore.workflows.pins import Pins, pin_tables
from lakescore.workflows.predict import source_columns
from lakescore.workflows.road import GENERAL, Road, road_of
from lakescore.workflows.row_expressions import check_source_rows
from lakescore.workflows.scoring_model import ScoringModel, scoring_model
from lakescore.workflows.source_freshness import SourceFreshness, source_freshness
from lakescore.workflows.steps import (
    Request,
    Step,
    next_step,
    predictions_of,
    refuse_unreadable_bounds,
)
from lakescore.workflows.task_errors import task_errors

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from lakescore.config.settings import Settings
    from lakescore.config.workload import Predictions, Workload
    from lakescore.lake.chain import Part, Progress
    from lakescore.lake.changes import Changes
    from lakescore.lake.chunks import Chunk
    from lakescore.lake.commits import PredictionsLog
    from lakescore.lake.lineage import CommitPlan
    from lakescore.lake.snapshot import Snapshot
    from lakescore.lake.tables import Lake


#: Of the JSON that `ScoringPlan.describe` gives.
FORMAT = 1


@dataclass(frozen=True)
class ScoringPlan:
    """What one commit of a scoring run will read and write. No `step`: nothing to do.

    `changes` are the rows of a catch-up, unless it reads some files alone. `road` is how its rows
    come to the model. `adds` is for people: the columns ("name type") that the predictions table
    lacks.
    """

    workload: Workload
    model: ScoringModel
    pins: Pins
    progress: Progress
    step: Step | None
    freshness: SourceFreshness | None = None
    road: Road = GENERAL
    adds: tuple[str, ...] = ()
    changes: Changes | None = field(default=None, compare=False, repr=False)

    @property
    def predictions(self) -> Predictions:
        return predictions_of(self.workload).of(self.model.answers)

    @property
    def hash(self) -> str:
        return json_sha256(self._content())

    def commit_plan(
        self,
        run_id: str,
        step: Step,
        *,
        predicted_until: datetime | None = None,
        late_context: Mapping[str, int] | None = None,
    ) -> CommitPlan:
        """What the commit of the step writes and says; the last two as in CommitPlan."""
        from lakescore.lake.lineage import CommitPlan

        package = self.model.package
        until = self.progress.predicted_until
        if predicted_until is not None:
            until = max(filter(None, (until, predicted_until.isoformat())))
        return CommitPlan(
            run_id=run_id,
            commit_seq=self.progress.next_seq,
            source_version=self.pins.source.version,
            source_id=self.pins.source.table_id,
            model_version=self.model.version,
            plan_hash=self.hash,
            mode=step.mode,
            generation=step.generation,
            pins={entry["table"]: entry for entry in self.pins.describe()},
            replaces=step.replaces,
            merge_by=step.merge_by,
            on_delete=step.on_delete,
            on_invalid="keep" if step.mode == "retry" else self.predictions.on_invalid,
            closes=step.closes,
            as_of=step.as_of,
            workload_mode=self.predictions.mode,
            stands_under=(
                self.progress.stands_under
                if step.mode in ("backfill", "retry")
                else self.model.version
            ),
            after_version=step.after_version,
            part=_part_after(step, self.pins.source.version),
            key=self.workload.source.key,
            only_mended=step.mode == "retry",
            quarantine_version=self.progress.quarantine_version,
            declared=self._declared(),
            preprocessor=None if package is None else package.preprocessor.sha256,
            predicted_until=until,
            late_context=late_context or {},
        )

    def describe(self) -> dict[str, Any]:
        told = {
            "format": FORMAT,
            **self._content(),
            "plan_hash": self.hash,
            "nothing_to_do": self.step is None,
            "adds_columns": list(self.adds),
        }
        if self.freshness is not None:
            told["freshness"] = self.freshness.describe()
        return told

    def lines(self) -> Iterator[str]:
        """The plan for people."""
        model, step = self.model.describe(), self.step
        yield f"workload     {self.workload.name} ({step.mode if step else self.predictions.mode})"
        yield f"model        {model['model']} (version {model['version']}, {model['flavour']})"
        yield f"source       {self.pins.source}" + (f", {step.because}" if step else "")
        yield from self._lines_of_reading()
        yield f"predictions  {self.predictions.table}, commit {self.progress.next_seq}"
        yield f"quarantine   {self.predictions.quarantine}"
        if self.adds:
            yield f"adds         {', '.join(self.adds)} to the predictions, in a commit of its own"
        if step is None:
            yield "nothing to do: the source has no newer commit"
        else:
            yield from self._lines_of_writing(step)

    def _lines_of_reading(self) -> Iterator[str]:
        if self.step is not None and self.step.read_by is not None:
            yield f"read by      {self.step.read_by}"
        if self.step is not None:
            yield f"road         {self.road}"
        if self.freshness is not None:
            yield f"freshness    {self.freshness}"
        for entry in self.pins.describe():
            if entry["role"] != "source":
                yield f"context      {entry['table']}@{entry['version']} ({entry['role']})"
        for view in self.pins.views:
            yield f"view         {view} is {view.how()}"

    def _lines_of_writing(self, step: Step) -> Iterator[str]:
        if step.replaces is not None:
            yield f"replaces     the workload's rows where {step.replaces}"
        if step.merge_by:
            yield f"merges       by {', '.join(step.merge_by)}; deleted rows: {step.on_delete}"
        if step.mode == "append" and self.predictions.when_deleted == "ignore":
            yield "deletes      of source rows are ignored: their predictions stand"
        if step.mode in ("backfill", "retry"):
            yield f"first        what is new is scored: `lakescore plan {self.workload.name}`"
        if step.more:
            yield "then         the next chunk, each in a commit of its own"

    def _content(self) -> dict[str, Any]:
        return {
            "workload": self.workload.name,
            "mode": self.predictions.mode,
            "model": self.model.describe(),
            "pins": self.pins.describe(),
            "step": self.step.describe() if self.step else None,
            "road": self.road.name,
            "commit_seq": self.progress.next_seq,
            "code_version": code_version(),
            **self._declared(),
        }

    def _declared(self) -> dict[str, Any]:
        return {
            "source": self.workload.source.model_dump(mode="json"),
            "predictions": self.predictions.model_dump(mode="json"),
        }


def predictions_log(
    spark: SparkSession, lake: Lake, workload: str, predictions: Predictions
) -> PredictionsLog:
    """To look at; see `writable_log`."""
    from lakescore.lake.commits import PredictionsLog

    tables = lake.table(predictions.table), lake.table(predictions.quarantine)
    return PredictionsLog(spark, *tables, workload, partition_by=predictions.partition_by)


def writable_log(
    spark: SparkSession, lake: Lake, workload: str, predictions: Predictions
) -> PredictionsLog:
    """To commit to. Raises ConfigError where two runs at once could lose rows of a table."""
    from lakescore.lake.log_stores import check_log_store

    for name in (predictions.table, predictions.quarantine):
        check_log_store(spark, lake.table(name))
    return predictions_log(spark, lake, workload, predictions)


def make_plan(
    spark: SparkSession,
    lake: Lake,
    workload: Workload,
    model: ScoringModel,
    *,
    progress: Progress,
    request: Request,
    source: Snapshot | None = None,
) -> ScoringPlan:
    """Decide from the lake's present state. Writes nothing, and reads metadata only.

    A `source` that was pinned before is taken unless progress has passed it since.
    Where freshness is declared, it reads the newest values of its column; where a catch-up is cut
    between files, how many rows each of them has.
    """
    at = progress.source_version if request.is_at_progress else None
    if source is not None and _was_passed(source, progress):
        source = None
    contexts = model.contexts(workload)
    pins = pin_tables(
        spark, lake, workload.source, contexts, source_version=at, pinned_source=source
    )
    if request.kind == "backfill":
        refuse_unreadable_bounds(spark, predictions_of(workload), request, pins.source)
    step = next_step(workload, request, progress, source=pins.source, model_version=model.version)
    freshness = None
    if workload.source.freshness is not None and not request.is_at_progress:
        rows = pins.source.read(spark)
        freshness = source_freshness(rows, workload.source.freshness, where=str(pins.source))
    if step is not None and step.catches_up:
        with task_errors(str(pins.source)):
            chunk = _next_chunk(spark, workload, progress, step, pins.source)
        pins, step = replace(pins, source=chunk.source), step.of_chunk(chunk)
    return ScoringPlan(workload, model, pins, progress, step, freshness)


def _was_passed(source: Snapshot, progress: Progress) -> bool:
    """Whether another run has scored a later version since the pin, or of a table made anew."""
    reached = progress.part.version if progress.part else progress.source_version
    if reached is None:
        return False
    return source.version < reached or source.table_id != progress.source_id


def followed(spark: SparkSession, settings: Settings, plan: ScoringPlan) -> ScoringPlan:
    """The plan with its road and the `changes` of its catch-up, once its source was checked.

    Of the changes only their kinds are read. Raises what `check_schema` and
    `check_source_rows` do, and SourceChanged and TypeMismatch for a range that cannot be followed.
    """
    step, source = plan.step, plan.pins.source
    if step is None:
        return plan
    _check_outputs(plan)
    _check_source(spark, plan)
    if step.catches_up and step.files is None:
        with task_errors(str(source)):
            changes = _changes(spark, plan, step)
        step = replace(step, read_by=changes.read_by)
        plan = replace(plan, step=step, changes=changes)
    return replace(plan, road=road_of(settings, plan, step))


def _check_outputs(plan: ScoringPlan) -> None:
    from lakescore.scoring.arrow import check_outputs

    predictions = plan.predictions
    names = (predictions.column, predictions.class_column, predictions.probabilities)
    kept = dict.fromkeys([*plan.workload.source.key, *predictions.passthrough])
    check_outputs(tuple(kept), *names, plan.model.answers)


def _check_source(spark: SparkSession, plan: ScoringPlan) -> None:
    from lakescore.lake.contract import check_schema

    workload, package = plan.workload, plan.model.package
    rows, table = plan.pins.source.read(spark), str(plan.pins.source)
    needed, _ = source_columns(workload, plan.model, plan.predictions.passthrough)
    types = None if package is None else package.training.get("source_types")
    check_source_rows(rows, workload, table=table)
    masked = plan.predictions.quarantine_mask
    check_schema(rows, workload.source, [*needed, *masked], where=table, types=types)


def _changes(spark: SparkSession, plan: ScoringPlan, step: Step) -> Changes:
    from lakescore.lake.changes import rows_since
    from lakescore.lake.net_changes import net_changes

    source, after, table_id = plan.pins.source, step.after_version, plan.progress.source_id
    _, in_use = source_columns(plan.workload, plan.model, plan.predictions.passthrough)
    if step.reads == "appended":
        deletes = plan.predictions.when_deleted
        return rows_since(spark, source, after, table_id=table_id, deletes=deletes, in_use=in_use)
    key = plan.workload.source.key
    return net_changes(spark, source, after, key, table_id=table_id, in_use=in_use)


def _next_chunk(
    spark: SparkSession, workload: Workload, progress: Progress, step: Step, head: Snapshot
) -> Chunk:
    from lakescore.lake.changes import refuse_recreated
    from lakescore.lake.chunks import next_chunk

    reached = progress.part.version if progress.part else step.after_version
    if reached is not None:
        refuse_recreated(head, reached, progress.source_id)
    return next_chunk(
        spark,
        head,
        step.after_version,
        predictions_of(workload).max_rows_per_commit,
        part=progress.part,
        deletes=predictions_of(workload).when_deleted if step.reads == "appended" else None,
    )


def _part_after(step: Step, version: int) -> Part | None:
    """What is scored of `version` after the step, when that is not all of it."""
    from lakescore.lake.chain import Part

    files = step.files
    if files is None or files.done == files.of:
        return None
    return Part(version, files.done, files.of)


def day_of(predictions: Predictions, request: Request) -> date | None:
    """Whose progress counts: that of one day in mode snapshot, else that of all."""
    return request.as_of if predictions.mode == "snapshot" else None


def plan_scoring(
    spark: SparkSession,
    settings: Settings,
    workload: Workload,
    request: Request | None = None,
    *,
    version: str | None = None,
) -> ScoringPlan:
    """The plan that `score`, `backfill` or `quarantine_retry` would follow now.

    The last two score what is new first: their own plan is as if that found nothing.
    """
    from lakescore.lake.tables import Lake

    request = request or Request(today())
    workload = on_day(workload, request.as_of)
    lake, predictions = Lake(settings.lake), predictions_of(workload)
    log = writable_log(spark, lake, workload.name, predictions)
    with scoring_model(settings, workload, version) as model:
        progress = log.progress(day_of(predictions, request), start_over=request.kind == "full")
        plan = make_plan(spark, lake, workload, model, progress=progress, request=request)
        plan = followed(spark, settings, plan)
        return replace(plan, adds=added_columns(spark, lake, plan))
