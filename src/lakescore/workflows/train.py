"""Train: from pinned rows to a registered challenger, promoted if it passes its gate."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from lakescore.config.hashes import config_hash
from lakescore.errors import UsageError
from lakescore.hashing import json_sha256
from lakescore.matrix import LABEL, Split
from lakescore.version import code_version
from lakescore.workflows.candidates import (
    BASELINE,
    Fitted,
    checked_parameters,
    encode_snapshot,
    fit_candidates,
)
from lakescore.workflows.pins import Pins, pin_tables
from lakescore.workflows.promote import (
    act_on,
    evidence_for,
    gate_decision,
    is_champion,
    loaded,
    select_metric,
)
from lakescore.workflows.promote import promote as promote_registered
from lakescore.workflows.run_result import RunResult, Status, recorded_run, run_folder
from lakescore.workflows.task_errors import task_errors
from lakescore.workflows.training_data import TrainingSnapshot, declared_features, materialise
from lakescore.workflows.training_report import TrainingFacts, training_report

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from lakescore.config.base import ConfigModel
    from lakescore.config.settings import Settings
    from lakescore.config.workload import Workload
    from lakescore.evaluation.gate import GateDecision
    from lakescore.evaluation.results import Evaluation
    from lakescore.features.preprocessor import Preprocessor
    from lakescore.registry.model_version import ModelVersion
    from lakescore.registry.store import Registry
    from lakescore.scoring.package import ModelPackage
    from lakescore.workflows.evidence import Evidence

log = logging.getLogger("lakescore")

#: What of a workload decides which model comes out; with the pins, the identity of a training.
_TRAINS_ON = {"source", "context", "features", "label", "split", "candidates", "select_by", "seed"}
TRAINING_TAG = "lakescore_training"


@dataclass(frozen=True)
class Trained:
    """What fitting gave: every candidate, measured on validation, and the one that was chosen."""

    snapshot: TrainingSnapshot
    preprocessor: Preprocessor
    fitted: tuple[Fitted, ...]
    validation: Evaluation
    selected: Fitted
    metric: str


def train(
    spark: SparkSession,
    settings: Settings,
    workload: Workload,
    *,
    sample: float | None = None,
    promote: bool | None = None,
) -> RunResult:
    """Fit the candidates, select on validation, register the best as challenger, run its gate.

    Training again on the same pins and configuration registers nothing (ALREADY_DONE); a
    promotion that a crash kept from happening is made up for. With `sample` nothing is
    registered. `promote` defaults to the workload's `promotion: auto`.
    """
    from lakescore.lake.staging import run_folder as staged_folder
    from lakescore.registry.store import Registry

    _refuse_untrainable(workload)
    parameters = checked_parameters(workload)
    registry = Registry(settings.registry)
    wanted = workload.promotion == "auto" if promote is None else promote
    with recorded_run("train", workload.name, settings.runs, code_version()) as run:
        run.command = f"lakescore train {workload.name}"
        with run.phase("plan"):
            pins = _pin(spark, settings, workload)
            run.pins = pins.describe()
            identity = training_identity(workload, pins)
            existing = _registered(registry, workload, identity)
        if existing is not None and sample is None:
            return _already_done(spark, settings, workload, registry, existing, run, wanted)
        with staged_folder(spark, settings.staging, run.run_id) as folder, task_errors(
            str(pins.source)
        ):
            trained = _fit(spark, workload, pins, parameters, folder, run, sample)
            if sample is not None:
                return _tried(trained, run, sample)
            return _register_and_decide(
                spark, settings, workload, registry, pins, trained, identity, folder, run, wanted
            )


def training_identity(workload: Workload, pins: Pins) -> str:
    """What decides the model: the declared training and the pinned versions, as one hash."""
    content = {
        "configuration": config_hash(workload, _TRAINS_ON),
        "pins": pins.describe(),
    }
    return json_sha256(content)


def _refuse_untrainable(workload: Workload) -> None:
    if not workload.trains:
        raise UsageError(
            f"workload '{workload.name}' scores a model that exists ({workload.model})",
            hint=f"lakescore score {workload.name}; to train, replace `model` by label, features "
            "and split",
        )


def _pin(spark: SparkSession, settings: Settings, workload: Workload) -> Pins:
    """Pin every table, and refuse declared leaks before a row is read."""
    from lakescore.features.leak_guard import refuse_leaks, refuse_rows_known_late
    from lakescore.lake.tables import Lake

    lake = Lake(settings.lake)
    pins = pin_tables(spark, lake, workload.source, workload.context, workload.label)
    refuse_leaks(
        source=workload.source,
        contexts=workload.context,
        features=declared_features(workload, pins.source.schema),
        label=workload.label,
    )
    refuse_rows_known_late(pins.source.read(spark), workload.source)
    return pins


def _registered(registry: Registry, workload: Workload, identity: str) -> ModelVersion | None:
    return registry.find_by_tag(registry.full_name(workload.name), TRAINING_TAG, identity)


def _already_done(
    spark: SparkSession,
    settings: Settings,
    workload: Workload,
    registry: Registry,
    existing: ModelVersion,
    run: RunResult,
    promote: bool,
) -> RunResult:
    """Same pins, same configuration: only a promotion that was never decided is left to do."""
    run.model_version = existing.version
    run.details["reason"] = f"version {existing.version} was trained on these very pins"
    decided = existing.version in _decided(settings, workload)
    if promote and not decided and not is_champion(registry, existing):
        promoted = promote_registered(spark, settings, workload, version=existing.version)
        run.details |= promoted.details
        return run.finish(promoted.status, next_command=promoted.next_command)
    return run.finish(Status.ALREADY_DONE, next_command=f"lakescore status {workload.name}")


def _decided(settings: Settings, workload: Workload) -> set[str]:
    """Versions on which a gate was run to its end."""
    from lakescore.workflows.run_result import read_results

    ended = (Status.PROMOTED, Status.NOT_PROMOTED)
    results = read_results(settings.runs, workload.name)
    return {str(result.model_version) for result in results if result.status in ended}


def _fit(
    spark: SparkSession,
    workload: Workload,
    pins: Pins,
    parameters: Mapping[str, ConfigModel],
    folder: str,
    run: RunResult,
    sample: float | None,
) -> Trained:
    from lakescore.features.preprocessor import fit_preprocessor

    with run.phase("snapshot"):
        snapshot = materialise(spark, workload, pins, f"{folder}/snapshot", sample=sample)
        checked_parameters(workload, snapshot.task)
        metric = select_metric(workload, snapshot)
    _log_snapshot(snapshot)
    with run.phase("encode"):
        preprocessor = fit_preprocessor(snapshot.read(spark, Split.TRAIN), snapshot.features)
        data = encode_snapshot(spark, snapshot, preprocessor, f"{folder}/encoded")
        run.warnings += preprocessor.warnings
    with run.phase("fit"):
        fitted = fit_candidates(data, parameters, workload.seed)
    with run.phase("select"):
        validation = _validate(spark, snapshot, preprocessor, fitted, f"{folder}/validation")
        selected = _select(fitted, validation, metric)
    return Trained(snapshot, preprocessor, tuple(fitted), validation, selected, metric)


def _log_snapshot(snapshot: TrainingSnapshot) -> None:
    rows = ", ".join(f"{split.value} {n.rows:,}" for split, n in snapshot.splits.items())
    unlabelled = sum(snapshot.unlabelled.values())
    log.info("  %s rows: %s; %s without a label", snapshot.task.value, rows, f"{unlabelled:,}")


def _validate(
    spark: SparkSession,
    snapshot: TrainingSnapshot,
    preprocessor: Preprocessor,
    fitted: list[Fitted],
    folder: str,
) -> Evaluation:
    """Every candidate's portable scorer on all validation rows, stored before they are measured."""
    from pyspark.sql import functions as F

    from lakescore.evaluation.metrics import evaluate
    from lakescore.scoring.compare import compare_frame

    rows = snapshot.read(spark, Split.VALIDATION).withColumn(LABEL, F.col(LABEL).cast("double"))
    scorers = {one.name: one.model.scorer for one in fitted}
    scored = compare_frame(rows, preprocessor, scorers, keep=[*snapshot.key, LABEL])
    scored.write.mode("overwrite").parquet(folder)
    stored = spark.read.schema(scored.schema).parquet(folder)
    return evaluate(stored, task=snapshot.task, label=LABEL, scores={n: n for n in scorers})


def _select(fitted: list[Fitted], validation: Evaluation, metric: str) -> Fitted:
    from lakescore.evaluation.select import select

    values = {one.name: validation.value(metric, one.name) for one in fitted}
    chosen = select(values, metric)
    log.info("  selected %s: validation %s %.4f", chosen, metric, values[chosen])
    return next(one for one in fitted if one.name == chosen)


def _tried(trained: Trained, run: RunResult, sample: float) -> RunResult:
    run.details["reason"] = (
        f"tried on {sample:.1%} of the rows: {trained.selected.name} was best; nothing registered"
    )
    run.counts = trained.snapshot.quality.as_dict()
    result = trained.validation.result(trained.selected.name)
    run.metrics = {f"validation.{name}": value for name, value in result.metrics.items()}
    return run.finish(Status.DONE, next_command=f"lakescore train {run.workload}")


def _register_and_decide(
    spark: SparkSession,
    settings: Settings,
    workload: Workload,
    registry: Registry,
    pins: Pins,
    trained: Trained,
    identity: str,
    folder: str,
    run: RunResult,
    promote: bool,
) -> RunResult:
    package = _package(spark, workload, pins, trained, identity)
    with run.phase("register"):
        version = _register(registry, workload, trained, package, identity)
        run.model_version = version.version
    with loaded(registry, version) as challenger:
        with run.phase("test"):
            evidence = evidence_for(
                spark, settings, workload, trained.snapshot, pins, f"{folder}/test",
                registry, challenger, as_trained=package,
            )  # fmt: skip
        decision = gate_decision(workload, evidence, trained.metric)
        run.details["gate"] = decision.describe()
        run.finish(_status(decision, promote), next_command=f"lakescore promote {workload.name}")
        _conclude(settings, workload, registry, trained, evidence, decision, version, package, run)
        registry.set_alias(version, registry.settings.challenger_alias)
        if promote:
            act_on(decision, registry, challenger, run)
    return run


def _status(decision: GateDecision, promote: bool) -> Status:
    """What the report says before the alias moves: moving it is the last thing that happens."""
    if not promote:
        return Status.DONE
    return Status.PROMOTED if decision.passed else Status.NOT_PROMOTED


def _package(
    spark: SparkSession, workload: Workload, pins: Pins, trained: Trained, identity: str
) -> ModelPackage:
    from lakescore.scoring.package import ModelPackage

    snapshot = trained.snapshot
    prior = next(one for one in trained.fitted if one.name == BASELINE)
    types = dict(snapshot.read(spark).dtypes)
    return ModelPackage(
        workload=workload.name,
        task=snapshot.task,
        source=workload.source,
        contexts=workload.context,
        features=snapshot.features,
        inputs={name: types[name] for name in trained.preprocessor.input_columns},
        preprocessor=trained.preprocessor,
        scorer=trained.selected.model.scorer,
        training={
            "identity": identity,
            "pins": pins.describe(),
            "candidate": trained.selected.name,
            "backend": trained.selected.model.backend,
            "parameters": dict(trained.selected.parameters),
            "seed": workload.seed,
            "baseline": prior.model.details["value"],
        },
    )


def _register(
    registry: Registry, workload: Workload, trained: Trained, package: ModelPackage, identity: str
) -> ModelVersion:
    result = trained.validation.result(trained.selected.name)
    with TemporaryDirectory(prefix="lakescore-") as temporary:
        folder = Path(temporary) / "package"
        package.save(folder)
        return registry.register(
            folder,
            name=registry.full_name(workload.name),
            inputs=package.inputs,
            tags={
                TRAINING_TAG: identity,
                "lakescore_candidate": trained.selected.name,
                "lakescore_package": package.sha256,
                "lakescore_code_version": code_version(),
            },
            metrics={f"validation.{name}": value for name, value in result.metrics.items()},
            params=dict(trained.selected.parameters),
            run_name=f"train {workload.name}",
        )


def _conclude(
    settings: Settings,
    workload: Workload,
    registry: Registry,
    trained: Trained,
    evidence: Evidence,
    decision: GateDecision,
    version: ModelVersion,
    package: ModelPackage,
    run: RunResult,
) -> None:
    """Counts, metrics and the report: in the run's folder, and beside the model in MLflow."""
    from lakescore.workflows.evidence import CHALLENGER

    run.counts = {
        **trained.snapshot.quality.as_dict(),
        "labelled": sum(split.rows for split in trained.snapshot.splits.values()),
        "unlabelled": sum(trained.snapshot.unlabelled.values()),
    }
    test = evidence.evaluation.result(CHALLENGER)
    run.metrics = {f"test.{name}": value for name, value in test.metrics.items()}
    run.details["candidate"] = trained.selected.name
    with run.phase("report"):
        facts = TrainingFacts(workload, trained, evidence, decision, version, package)
        target = run_folder(settings.runs, workload.name, run.run_id)
        files = training_report(facts, run, target)
        registry.add_to_run(version, run.metrics, [files.html, files.json])
    run.artefacts |= {"report": str(files.html), "report_json": str(files.json)}
