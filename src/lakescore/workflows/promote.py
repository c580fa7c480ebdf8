"""Promote: the gate on a registered challenger; the champion alias moves last, or not at all."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from lakescore.errors import ModelNotFound, UsageError
from lakescore.evaluation.gate import GateDecision, decide
from lakescore.matrix import Task
from lakescore.workflows.as_of import on_day
from lakescore.workflows.evidence import BASELINE, CHALLENGER, CHAMPION, Evidence, gather_evidence
from lakescore.workflows.job import Job
from lakescore.workflows.pins import Pins, pin_tables
from lakescore.workflows.run_result import RunResult, Status, recorded_run
from lakescore.workflows.scoring_model import ScoringModel
from lakescore.workflows.task_errors import task_errors
from lakescore.workflows.training_data import TrainingSnapshot, materialise

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from lakescore.config.settings import Settings
    from lakescore.config.workload import Workload
    from lakescore.evaluation.intervals import PairedDifference
    from lakescore.registry.model_version import ModelVersion
    from lakescore.registry.store import Registry
    from lakescore.scoring.package import ModelPackage


#: What chooses among candidates where the workload does not say it.
_SELECT_BY = {
    Task.BINARY: "average_precision",
    Task.MULTICLASS: "log_loss",
    Task.REGRESSION: "rmse",
}


def promote(
    spark: SparkSession,
    settings: Settings,
    workload: Workload,
    *,
    version: str | None = None,
) -> RunResult:
    """Run the gate on a version (the challenger when none is named), on the pins it was trained on.

    NOT_PROMOTED is a result, not an error. Raises ModelNotFound for a version that is not there
    and VersionUnreadable when its pins can no longer be read.
    """
    from lakescore.lake.staging import run_folder as staged_folder
    from lakescore.registry.store import Registry

    if not workload.trains:
        raise UsageError(f"'{workload.name}' scores {workload.model}: there is nothing to promote")
    workload = on_day(workload)
    registry = Registry(settings.registry)
    with recorded_run("promote", workload.name, settings) as run:
        run.command = f"lakescore promote {workload.name}"
        candidate = _candidate(registry, workload, version)
        run.model_version = candidate.version
        if is_champion(registry, candidate):
            run.details["reason"] = f"version {candidate.version} is champion already"
            return run.finish(Status.ALREADY_DONE)
        with (
            staged_folder(spark, settings.staging, run.run_id) as folder,
            loaded(registry, candidate) as challenger,
            task_errors(workload.source.table),
        ):
            pins = _trained_on(spark, settings, workload, challenger.package)
            pins = pins.stored(spark, f"{folder}/views")
            run.pins = pins.describe()
            job = Job(spark, settings, workload, registry, pins, folder, run)
            _decide(job, challenger)
            return run


def _decide(job: Job, challenger: ScoringModel) -> None:
    """Gather the evidence on the challenger's own test split, decide, and move the alias."""
    with job.run.phase("snapshot"):
        snapshot = materialise(job.spark, job.workload, job.pins, f"{job.folder}/snapshot")
    with job.run.phase("test"):
        evidence = evidence_for(job, snapshot, challenger)
    decision = gate_decision(job.workload, evidence, select_metric(job.workload, snapshot))
    act_on(decision, job, challenger)


def evidence_for(
    job: Job,
    snapshot: TrainingSnapshot,
    challenger: ScoringModel,
    *,
    as_trained: ModelPackage | None = None,
) -> Evidence:
    """The evidence, with the champion of this moment where there is one."""
    if challenger.package is None:
        raise UsageError("only a model that lakescore trained can pass a gate")
    current = job.registry.champion(job.model_name)
    if current is None:
        return gather_evidence(
            job, snapshot, challenger=challenger.package, champion=None, as_trained=as_trained
        )
    with loaded(job.registry, current) as champion:
        return gather_evidence(
            job, snapshot, challenger=challenger.package, champion=champion, as_trained=as_trained
        )


def gate_decision(workload: Workload, evidence: Evidence, metric: str) -> GateDecision:
    """The declared gate, on numbers of the test split."""
    gate = workload.gate
    name, measured = gate.metric or metric, evidence.bootstrap

    def against(other: str) -> PairedDifference:
        return measured.difference(name, CHALLENGER, other, confidence=gate.confidence)

    return decide(
        gate,
        against_baseline=against(BASELINE),
        against_champion=against(CHAMPION) if CHAMPION in evidence.evaluation.scores else None,
        calibration_error=evidence.evaluation.result(CHALLENGER).metrics.get("calibration_error"),
        reload_difference=evidence.reload_difference,
    )


def act_on(decision: GateDecision, job: Job, challenger: ScoringModel) -> None:
    """Move the alias last, and only for a passed gate."""
    run, version = job.run, challenger.opened.version
    run.details["gate"] = decision.describe()
    if decision.passed and version is not None:
        replaced = job.registry.promote(version)
        was = f"; it was version {replaced.version}" if replaced else ""
        run.details["reason"] = f"version {version.version} is champion{was}"
        run.finish(Status.PROMOTED, next_command=f"lakescore score {run.workload}")
        return
    run.details["reason"] = f"the gate said no: {decision.objections}"
    run.finish(Status.NOT_PROMOTED, next_command=f"lakescore report {run.workload}")


def select_metric(workload: Workload, snapshot: TrainingSnapshot) -> str:
    """The declared `select_by`, else the task's own. Raises UsageError for an unknown metric."""
    from lakescore.evaluation.metrics import metric

    return metric(workload.select_by or _SELECT_BY[snapshot.task], snapshot.task).name


def is_champion(registry: Registry, version: ModelVersion) -> bool:
    champion = registry.champion(version.name)
    return champion is not None and champion.version == version.version


@contextmanager
def loaded(registry: Registry, version: ModelVersion) -> Iterator[ScoringModel]:
    """A registered version as it comes back from the registry, content checked."""
    from lakescore.registry.foreign import Runner, open_model
    from lakescore.scoring.package import ModelPackage

    with tempfile.TemporaryDirectory(prefix="lakescore-model-") as folder:
        opened = open_model(version.uri, trust="runs-code", registry=registry, folder=Path(folder))
        ours = opened.runner is Runner.PACKAGE
        package = ModelPackage.load(Path(opened.path)) if ours else None
        yield ScoringModel(version.version, opened, package)


def _candidate(registry: Registry, workload: Workload, version: str | None) -> ModelVersion:
    name = registry.full_name(workload.name)
    if version is not None:
        return registry.get_version(name, version)
    found = registry.find_alias(name, registry.settings.challenger_alias)
    if found is None:
        raise ModelNotFound(
            f"'{name}' has no challenger",
            where=registry.where,
            hint=f"lakescore train {workload.name}, or name a --version",
        )
    return found


def _trained_on(
    spark: SparkSession, settings: Settings, workload: Workload, package: ModelPackage | None
) -> Pins:
    """The pins of the model's training, so that the gate reads the very rows of its test split."""
    from lakescore.lake.tables import Lake

    if package is None:
        raise UsageError(f"the challenger of '{workload.name}' was not trained by lakescore")
    versions = {entry["table"]: entry["version"] for entry in package.training["pins"]}
    return pin_tables(
        spark,
        Lake(settings.lake),
        workload.source,
        workload.context,
        workload.label,
        versions=versions,
    )
