"""Promote: the gate on a registered challenger; the champion alias moves last, or not at all."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lakescore.errors import ModelNotFound, UsageError
from lakescore.evaluation.gate import GateDecision, decide
from lakescore.lake.snapshot import pin
from lakescore.version import code_version
from lakescore.workflows.evidence import BASELINE, CHALLENGER, CHAMPION, Evidence, gather_evidence
from lakescore.workflows.pins import Pins, pin_tables
from lakescore.workflows.run_result import RunResult, Status, recorded_run
from lakescore.workflows.scoring_model import ScoringModel
from lakescore.workflows.task_errors import task_errors
from lakescore.workflows.training_data import TrainingSnapshot, materialise

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from lakescore.config.settings import Settings
    from lakescore.config.workload import Workload
    from lakescore.registry.model_version import ModelVersion
    from lakescore.registry.store import Registry
    from lakescore.scoring.package import ModelPackage

log = logging.getLogger("lakescore")


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
    from lakescore.lake.staging import run_folder
    from lakescore.registry.store import Registry

    if not workload.trains:
        raise UsageError(f"'{workload.name}' scores {workload.model}: there is nothing to promote")
    registry = Registry(settings.registry)
    with recorded_run("promote", workload.name, settings.runs, code_version()) as run:
        run.command = f"lakescore promote {workload.name}"
        candidate = _candidate(registry, workload, version)
        run.model_version = candidate.version
        if is_champion(registry, candidate):
            run.details["reason"] = f"version {candidate.version} is champion already"
            return run.finish(Status.ALREADY_DONE)
        with (
            run_folder(spark, settings.staging, run.run_id) as folder,
            loaded(registry, candidate) as challenger,
            task_errors(workload.source.table),
        ):
            if challenger.package is None:
                raise UsageError(f"{candidate.uri} was not trained by lakescore")
            with run.phase("snapshot"):
                pins = _trained_on(spark, settings, workload, challenger.package)
                run.pins = pins.describe()
                snapshot = materialise(spark, workload, pins, f"{folder}/snapshot")
            decide_and_promote(
                spark, settings, workload, snapshot, pins, folder, run, registry, challenger
            )
            return run


def decide_and_promote(
    spark: SparkSession,
    settings: Settings,
    workload: Workload,
    snapshot: TrainingSnapshot,
    pins: Pins,
    folder: str,
    run: RunResult,
    registry: Registry,
    challenger: ScoringModel,
) -> GateDecision:
    """Gather the evidence, decide, and move the alias when the gate is passed."""
    with run.phase("gate"):
        evidence = evidence_for(
            spark, settings, workload, snapshot, pins, f"{folder}/test", registry, challenger
        )
        decision = gate_decision(workload, evidence, select_metric(workload, snapshot))
    act_on(decision, registry, challenger, run)
    return decision


def evidence_for(
    spark: SparkSession,
    settings: Settings,
    workload: Workload,
    snapshot: TrainingSnapshot,
    pins: Pins,
    folder: str,
    registry: Registry,
    challenger: ScoringModel,
    as_trained: ModelPackage | None = None,
) -> Evidence:
    """The evidence, with the champion of this moment where there is one."""
    if challenger.package is None:
        raise UsageError("only a model that lakescore trained can pass a gate")
    current = registry.champion(registry.full_name(workload.name))
    if current is None:
        return gather_evidence(
            spark, settings, workload, snapshot, pins, folder,
            challenger=challenger.package, champion=None, as_trained=as_trained,
        )  # fmt: skip
    with loaded(registry, current) as champion:
        return gather_evidence(
            spark, settings, workload, snapshot, pins, folder,
            challenger=challenger.package, champion=champion, as_trained=as_trained,
        )  # fmt: skip


def gate_decision(workload: Workload, evidence: Evidence, metric: str) -> GateDecision:
    """The declared gate, on numbers of the test split."""
    gate = workload.gate
    name = gate.metric or metric
    confidence = gate.confidence
    models = evidence.evaluation.scores
    against_champion = None
    if CHAMPION in models:
        against_champion = evidence.bootstrap.difference(
            name, CHALLENGER, CHAMPION, confidence=confidence
        )
    metrics = evidence.evaluation.result(CHALLENGER).metrics
    return decide(
        gate,
        against_baseline=evidence.bootstrap.difference(
            name, CHALLENGER, BASELINE, confidence=confidence
        ),
        against_champion=against_champion,
        calibration_error=metrics.get("calibration_error"),
        reload_difference=evidence.reload_difference,
    )


def act_on(
    decision: GateDecision, registry: Registry, challenger: ScoringModel, run: RunResult
) -> None:
    """Move the alias last, and only for a passed gate."""
    run.details["gate"] = decision.describe()
    version = challenger.opened.version
    if decision.passed and version is not None:
        replaced = registry.promote(version)
        was = f"; it was version {replaced.version}" if replaced else ""
        run.details["reason"] = f"version {version.version} is champion{was}"
        run.finish(Status.PROMOTED, next_command=f"lakescore score {run.workload}")
        return
    failed = [check.detail for check in decision.checks if check.passed is False]
    run.details["reason"] = "the gate said no: " + "; ".join(failed)
    run.finish(Status.NOT_PROMOTED, next_command=f"lakescore report {run.workload}")


def select_metric(workload: Workload, snapshot: TrainingSnapshot) -> str:
    """The declared `select_by`, else the task's own. Raises UsageError for an unknown metric."""
    from lakescore.evaluation.metrics import metric
    from lakescore.matrix import Task

    default = "average_precision" if snapshot.task is Task.BINARY else "rmse"
    return metric(workload.select_by or default, snapshot.task).name


def is_champion(registry: Registry, version: ModelVersion) -> bool:
    champion = registry.champion(version.name)
    return champion is not None and champion.version == version.version


@contextmanager
def loaded(registry: Registry, version: ModelVersion) -> Iterator[ScoringModel]:
    """A registered version as it comes back from the registry, content checked."""
    from lakescore.registry.foreign import Runner, open_model
    from lakescore.scoring.package import ModelPackage

    with tempfile.TemporaryDirectory(prefix="lakescore-model-") as folder:
        opened = open_model(
            version.uri, trust="runs-code", registry=registry, folder=Path(folder)
        )
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
    spark: SparkSession, settings: Settings, workload: Workload, package: ModelPackage
) -> Pins:
    """The pins of the model's training, so that the gate reads the very rows of its test split."""
    from lakescore.lake.tables import Lake

    versions = {entry["table"]: entry["version"] for entry in package.training["pins"]}
    now = pin_tables(spark, Lake(settings.lake), workload.source, workload.context, workload.label)

    def then(snapshot: Any) -> Any:
        version = versions.get(snapshot.table.name)
        return snapshot if version is None else pin(spark, snapshot.table, version)

    return replace(
        now,
        source=then(now.source),
        contexts={name: then(snapshot) for name, snapshot in now.contexts.items()},
        label=then(now.label) if now.label is not None else None,
    )
