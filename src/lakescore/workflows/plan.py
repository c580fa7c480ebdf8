"""The scoring plan: every pin, the model and the commit number, decided before work starts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING, Any

from lakescore.hashing import json_sha256
from lakescore.workflows.as_of import on_day, today
from lakescore.workflows.output_columns import added_columns
from lakescore.workflows.pins import Pins, pin_tables
from lakescore.workflows.scoring_model import ScoringModel, scoring_model
from lakescore.workflows.steps import (
    Request,
    Step,
    next_step,
    predictions_of,
    refuse_unreadable_bounds,
)

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from lakescore.config.settings import Settings
    from lakescore.config.workload import Predictions, Workload
    from lakescore.lake.chain import Progress
    from lakescore.lake.commits import PredictionsLog
    from lakescore.lake.lineage import CommitPlan
    from lakescore.lake.tables import Lake


#: Of the JSON that `ScoringPlan.describe` gives.
FORMAT = 1


@dataclass(frozen=True)
class ScoringPlan:
    """What one commit of a scoring run will read and write. No `step`: nothing to do.

    `adds` is for people: the columns ("name type") that the predictions table lacks.
    """

    workload: Workload
    model: ScoringModel
    pins: Pins
    progress: Progress
    step: Step | None
    adds: tuple[str, ...] = ()

    @property
    def predictions(self) -> Predictions:
        return predictions_of(self.workload)

    @property
    def hash(self) -> str:
        return json_sha256(self._content())

    def commit_plan(self, run_id: str, step: Step) -> CommitPlan:
        from lakescore.lake.lineage import CommitPlan

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
            on_invalid=self.predictions.on_invalid,
            closes=step.closes,
            as_of=step.as_of,
            workload_mode=self.predictions.mode,
            stands_under=(
                self.progress.stands_under if step.mode == "backfill" else self.model.version
            ),
        )

    def describe(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            **self._content(),
            "plan_hash": self.hash,
            "nothing_to_do": self.step is None,
            "adds_columns": list(self.adds),
        }

    def lines(self) -> Iterator[str]:
        """The plan for people."""
        source = self.pins.source
        model = self.model.describe()
        step = self.step
        yield f"workload     {self.workload.name} ({step.mode if step else self.predictions.mode})"
        yield f"model        {model['model']} (version {model['version']}, {model['flavour']})"
        yield f"source       {source}" + (f", {step.because}" if step else "")
        for entry in self.pins.describe():
            if entry["role"] != "source":
                yield f"context      {entry['table']}@{entry['version']} ({entry['role']})"
        yield f"predictions  {self.predictions.table}, commit {self.progress.next_seq}"
        yield f"quarantine   {self.predictions.quarantine}"
        if self.adds:
            yield f"adds         {', '.join(self.adds)} to the predictions, in a commit of its own"
        if step is not None and step.replaces is not None:
            yield f"replaces     the workload's rows where {step.replaces}"
        if step is not None and step.merge_by:
            yield f"merges       by {', '.join(step.merge_by)}; deleted rows: {step.on_delete}"
        if step is None:
            yield "nothing to do: the source has no newer commit"

    def _content(self) -> dict[str, Any]:
        return {
            "workload": self.workload.name,
            "mode": self.predictions.mode,
            "model": self.model.describe(),
            "pins": self.pins.describe(),
            "step": self.step.describe() if self.step else None,
            "commit_seq": self.progress.next_seq,
            "predictions": self.predictions.model_dump(mode="json"),
        }


def predictions_log(
    spark: SparkSession, lake: Lake, workload: str, predictions: Predictions
) -> PredictionsLog:
    from lakescore.lake.commits import PredictionsLog

    return PredictionsLog(
        spark,
        lake.table(predictions.table),
        lake.table(predictions.quarantine),
        workload,
        partition_by=predictions.partition_by,
    )


def make_plan(
    spark: SparkSession,
    lake: Lake,
    workload: Workload,
    model: ScoringModel,
    *,
    progress: Progress,
    request: Request,
) -> ScoringPlan:
    """Decide from the lake's present state. Reads metadata only and writes nothing."""
    at = progress.source_version if request.kind == "backfill" else None
    pins = pin_tables(spark, lake, workload.source, model.contexts(workload), source_version=at)
    if request.kind == "backfill":
        refuse_unreadable_bounds(spark, predictions_of(workload), request, pins.source)
    step = next_step(workload, request, progress, source=pins.source, model_version=model.version)
    return ScoringPlan(workload, model, pins, progress, step)


def day_of(predictions: Predictions, request: Request) -> date | None:
    """Whose progress counts: that of one day in mode snapshot, else that of all."""
    return request.as_of if predictions.mode == "snapshot" else None


def plan_scoring(
    spark: SparkSession,
    settings: Settings,
    workload: Workload,
    request: Request | None = None,
) -> ScoringPlan:
    """The plan that `score` would follow now."""
    from lakescore.lake.tables import Lake

    request = request or Request(today())
    workload = on_day(workload, request.as_of)
    lake, predictions = Lake(settings.lake), predictions_of(workload)
    log = predictions_log(spark, lake, workload.name, predictions)
    with scoring_model(settings, workload) as model:
        progress = log.progress(day_of(predictions, request))
        plan = make_plan(spark, lake, workload, model, progress=progress, request=request)
        return replace(plan, adds=added_columns(spark, lake, plan))
