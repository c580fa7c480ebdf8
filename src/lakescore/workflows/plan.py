"""The scoring plan: every pin, the model and the commit number, decided before work starts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from lakescore.errors import UsageError
from lakescore.hashing import json_sha256
from lakescore.workflows.as_of import on_day
from lakescore.workflows.pins import Pins, pin_tables
from lakescore.workflows.scoring_model import ScoringModel, scoring_model

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from lakescore.config.settings import Settings
    from lakescore.config.workload import Predictions, Workload
    from lakescore.lake.chain import Progress
    from lakescore.lake.commits import PredictionsLog
    from lakescore.lake.lineage import CommitPlan
    from lakescore.lake.tables import Lake


@dataclass(frozen=True)
class ScoringPlan:
    """What a scoring run will read and write. `after_version` None means every row."""

    workload: Workload
    model: ScoringModel
    pins: Pins
    progress: Progress

    @property
    def predictions(self) -> Predictions:
        return predictions_of(self.workload)

    @property
    def after_version(self) -> int | None:
        return self.progress.source_version

    @property
    def nothing_to_do(self) -> bool:
        """No commit of the source is newer than what was scored."""
        same_table = self.progress.source_id == self.pins.source.table_id
        return same_table and self.after_version == self.pins.source.version

    @property
    def hash(self) -> str:
        return json_sha256(self._content())

    def commit_plan(self, run_id: str) -> CommitPlan:
        from lakescore.lake.lineage import CommitPlan

        return CommitPlan(
            run_id=run_id,
            commit_seq=self.progress.next_seq,
            source_version=self.pins.source.version,
            source_id=self.pins.source.table_id,
            model_version=self.model.version,
            plan_hash=self.hash,
            mode=self.predictions.mode,
            pins={entry["table"]: entry for entry in self.pins.describe()},
        )

    def describe(self) -> dict[str, Any]:
        return {**self._content(), "plan_hash": self.hash, "nothing_to_do": self.nothing_to_do}

    def lines(self) -> Iterator[str]:
        """The plan for people."""
        source = self.pins.source
        model = self.model.describe()
        yield f"workload     {self.workload.name} ({self.predictions.mode})"
        yield f"model        {model['model']} (version {model['version']}, {model['flavour']})"
        since = "all rows" if self.after_version is None else f"rows since @{self.after_version}"
        yield f"source       {source}, {since}"
        for entry in self.pins.describe():
            if entry["role"] != "source":
                yield f"context      {entry['table']}@{entry['version']} ({entry['role']})"
        yield f"predictions  {self.predictions.table}, commit {self.progress.next_seq}"
        yield f"quarantine   {self.predictions.quarantine}"
        if self.nothing_to_do:
            yield "nothing to do: the source has no newer commit"

    def _content(self) -> dict[str, Any]:
        return {
            "workload": self.workload.name,
            "mode": self.predictions.mode,
            "model": self.model.describe(),
            "pins": self.pins.describe(),
            "after_version": self.after_version,
            "commit_seq": self.progress.next_seq,
            "predictions": self.predictions.model_dump(mode="json"),
        }


def predictions_of(workload: Workload) -> Predictions:
    """Raises UsageError for a workload that only trains."""
    if workload.predictions is None:
        raise UsageError(
            f"workload '{workload.name}' does not say where predictions go",
            hint="add `predictions: {table: …}`",
        )
    return workload.predictions


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
    spark: SparkSession, lake: Lake, workload: Workload, model: ScoringModel, progress: Progress
) -> ScoringPlan:
    """Decide from the lake's present state. Reads metadata only and writes nothing."""
    pins = pin_tables(spark, lake, workload.source, model.contexts(workload))
    return ScoringPlan(workload, model, pins, progress)


def plan_scoring(
    spark: SparkSession,
    settings: Settings,
    workload: Workload,
    *,
    as_of: date | None = None,
) -> ScoringPlan:
    """The plan that `score` would follow now."""
    from lakescore.lake.tables import Lake

    workload = on_day(workload, as_of)
    lake = Lake(settings.lake)
    log = predictions_log(spark, lake, workload.name, predictions_of(workload))
    with scoring_model(settings, workload) as model:
        return make_plan(spark, lake, workload, model, log.progress())
