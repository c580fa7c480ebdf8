"""Train: from pinned rows to a registered challenger, promoted if it passes its gate."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from lakescore.evaluation.report import write_report
from lakescore.matrix import LABEL, Split
from lakescore.version import code_version
from lakescore.workflows.as_of import on_day
from lakescore.workflows.candidates import (
    BASELINE,
    Fitted,
    checked_parameters,
    encode_snapshot,
    fit_candidates,
)
from lakescore.workflows.evidence import CHALLENGER
from lakescore.workflows.job import Job
from lakescore.workflows.predict import feature_inputs
from lakescore.workflows.promote import (
    act_on,
    evidence_for,
    gate_decision,
    is_champion,
    loaded,
    select_metric,
)
from lakescore.workflows.promote import promote as promote_registered
from lakescore.workflows.run_result import (
    RunResult,
    Status,
    read_results,
    recorded_run,
    run_folder,
)
from lakescore.workflows.stopped_training import (
    StoppedTraining,
    begun,
    keeps_checkpoints,
    last_stopped,
)
from lakescore.workflows.task_errors import task_errors
from lakescore.workflows.training_data import TrainingSnapshot, materialise
from lakescore.workflows.training_plan import (
    TRAINING_TAG,
    pin_training,
    refuse_untrainable,
    registered,
    training_identity,
)
from lakescore.workflows.training_report import Trained, TrainingFacts, training_report

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from lakescore.config.base import ConfigModel
    from lakescore.config.settings import Settings
    from lakescore.config.workload import Feature, Workload
    from lakescore.evaluation.gate import GateDecision
    from lakescore.evaluation.results import Evaluation
    from lakescore.features.preprocessor import Preprocessor
    from lakescore.registry.model_version import ModelVersion
    from lakescore.scoring.package import ModelPackage

log = logging.getLogger("lakescore")


def train(
    spark: SparkSession,
    settings: Settings,
    workload: Workload,
    *,
    sample: float | None = None,
    promote: bool | None = None,
    versions: Mapping[str, int] | None = None,
    resume: bool = False,
) -> RunResult:
    """Fit the candidates, select on validation, register the best as challenger, run its gate.

    Training again on the same pins and configuration registers nothing (ALREADY_DONE); a
    promotion that a crash kept from happening is made up for. With `sample` nothing is
    registered. `promote` defaults to the workload's `promotion: auto`. `versions` (by table)
    pins tables elsewhere than at their newest version. With `resume` the training that was
    stopped last goes on: on its pins, and from the checkpoints of candidates that keep them.
    Raises UsageError where there is none.
    """
    from lakescore.lake.staging import run_folder as staged_folder
    from lakescore.registry.store import Registry

    refuse_untrainable(workload)
    declared, workload = workload, on_day(workload)
    parameters = checked_parameters(workload)
    stopped = last_stopped(settings, workload.name) if resume else None
    registry = Registry(settings.registry)
    wanted = workload.promotion == "auto" if promote is None else promote
    with (
        recorded_run("train", workload.name, settings) as run,
        staged_folder(spark, settings.staging, run.run_id) as folder,
        task_errors(workload.source.table),
    ):
        run.command = f"lakescore train {workload.name}"
        with run.phase("plan"):
            pinned_at = versions if stopped is None else stopped.versions
            pins = pin_training(spark, settings, workload, pinned_at)
            run.pins = pins.describe()
            identity = training_identity(declared, pins)
            existing = registered(registry, workload, identity)
        job = Job(spark, settings, workload, registry, pins, folder, run)
        if existing is not None and sample is None:
            if stopped is not None:
                stopped.end()
            return _already_done(job, existing, promote=wanted)
        job = replace(job, pins=pins.stored(spark, f"{folder}/views"))
        run.pins = job.pins.describe()
        if sample is not None:
            return _tried(_fit(job, parameters, sample), run, sample)
        unfinished = stopped
        if unfinished is None and keeps_checkpoints(parameters):
            unfinished = begun(settings, workload.name, identity, pins)
        trained = _fit(job, parameters, unfinished=unfinished, resume=resume)
        _register_and_decide(job, trained, identity, promote=wanted)
        if unfinished is not None:
            unfinished.end()
        return run


def _already_done(job: Job, existing: ModelVersion, *, promote: bool) -> RunResult:
    """Same pins, same configuration: only a promotion that was never decided is left to do."""
    run, workload = job.run, job.workload
    run.model_version = existing.version
    run.details["reason"] = f"version {existing.version} was trained on these very pins"
    decided = existing.version in _decided(job)
    run.details["undecided"] = not decided and not is_champion(job.registry, existing)
    if promote and run.details["undecided"]:
        promoted = promote_registered(job.spark, job.settings, workload, version=existing.version)
        run.details |= promoted.details
        return run.finish(promoted.status, next_command=promoted.next_command)
    return run.finish(Status.ALREADY_DONE, next_command=f"lakescore status {workload.name}")


def _decided(job: Job) -> set[str]:
    """Versions on which a gate was run to its end."""
    results = read_results(job.settings.runs, job.workload.name)
    return {str(result.model_version) for result in results if _is_decided(result)}


def _is_decided(result: RunResult) -> bool:
    """Promoted or not; or trained to be promoted by another run, and refused already."""
    refused = result.details.get("gate", {}).get("passed") is False
    return result.status in (Status.PROMOTED, Status.NOT_PROMOTED) or refused


def _fit(
    job: Job,
    parameters: Mapping[str, ConfigModel],
    sample: float | None = None,
    *,
    unfinished: StoppedTraining | None = None,
    resume: bool = False,
) -> Trained:
    from lakescore.features.preprocessor import fit_preprocessor

    spark, run, workload = job.spark, job.run, job.workload
    with run.phase("snapshot"):
        snapshot = materialise(spark, workload, job.pins, f"{job.folder}/snapshot", sample=sample)
        checked_parameters(workload, snapshot.task)
        metric = select_metric(workload, snapshot)
    _log_snapshot(snapshot)
    with run.phase("encode"):
        preprocessor = fit_preprocessor(snapshot.read(spark, Split.TRAIN), snapshot.features)
        data = encode_snapshot(
            spark,
            snapshot,
            preprocessor,
            f"{job.folder}/encoded",
            checkpoints=None if unfinished is None else unfinished.checkpoints,
            resume=resume,
        )
        run.warnings += preprocessor.warnings
    with run.phase("fit"):
        fitted = fit_candidates(data, parameters, workload.seed)
    with run.phase("select"):
        validation = _validate(job, snapshot, preprocessor, fitted)
        selected = _select(fitted, validation, metric)
    return Trained(snapshot, preprocessor, tuple(fitted), validation, selected, metric)


def _log_snapshot(snapshot: TrainingSnapshot) -> None:
    rows = ", ".join(f"{split.value} {n.rows:,}" for split, n in snapshot.splits.items())
    unlabelled = sum(snapshot.unlabelled.values())
    log.info("  %s rows: %s; %s without a label", snapshot.task.value, rows, f"{unlabelled:,}")


def _validate(
    job: Job, snapshot: TrainingSnapshot, preprocessor: Preprocessor, fitted: list[Fitted]
) -> Evaluation:
    """Every candidate's portable scorer on all validation rows, stored, then measured."""
    from lakescore.evaluation.metrics import evaluate
    from lakescore.scoring.compare import compare_frame

    folder = f"{job.folder}/validation"
    rows = snapshot.read(job.spark, Split.VALIDATION)
    scorers = {one.name: one.model.scorer for one in fitted}
    scored = compare_frame(rows, preprocessor, scorers, keep=[*snapshot.key, LABEL])
    scored.write.mode("overwrite").parquet(folder)
    stored = job.spark.read.schema(scored.schema).parquet(folder)
    return evaluate(
        stored,
        task=snapshot.task,
        label=LABEL,
        scores={name: name for name in scorers},
        classes=snapshot.classes,
    )


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


def _register_and_decide(job: Job, trained: Trained, identity: str, *, promote: bool) -> None:
    """Register, read back, measure on the test split, report; the aliases move last."""
    run = job.run
    package = _package(job, trained, identity)
    with run.phase("register"):
        version = _register(job, trained, package, identity)
        run.model_version = version.version
    with loaded(job.registry, version) as challenger:
        with run.phase("test"):
            evidence = evidence_for(job, trained.snapshot, challenger, as_trained=package)
        decision = gate_decision(job.workload, evidence, trained.metric)
        run.details |= {"gate": decision.describe(), "candidate": trained.selected.name}
        _finish(run, decision, promote=promote)
        _conclude(job, TrainingFacts(trained, evidence, decision, package, version))
        job.registry.set_alias(version, job.registry.settings.challenger_alias)
        if promote:
            act_on(decision, job, challenger)


def _finish(run: RunResult, decision: GateDecision, *, promote: bool) -> None:
    """What the report says before the alias moves: moving it is the last thing that happens."""
    status = Status.DONE
    if promote:
        status = Status.PROMOTED if decision.passed else Status.NOT_PROMOTED
    following = "promote" if decision.passed else "report"
    run.finish(status, next_command=f"lakescore {following} {run.workload}")
    if not decision.passed:
        run.details["reason"] = f"the gate would refuse it: {decision.objections}"


def _package(job: Job, trained: Trained, identity: str) -> ModelPackage:
    from lakescore.scoring.package import ModelPackage

    snapshot, selected = trained.snapshot, trained.selected
    return ModelPackage(
        workload=job.workload.name,
        task=snapshot.task,
        source=job.workload.source,
        contexts=job.workload.context,
        features=snapshot.features,
        preprocessor=trained.preprocessor,
        scorer=selected.model.scorer,
        training={
            "identity": identity,
            "pins": job.pins.describe(),
            "candidate": selected.name,
            "backend": selected.model.backend,
            "parameters": dict(selected.parameters),
            "seed": job.workload.seed,
            "baseline": _baseline(trained),
            "validation_mean_score": mean_score(trained.validation, selected.name),
            "source_types": _source_types(job, snapshot.features),
        },
        classes=snapshot.classes,
    )


def _source_types(job: Job, features: Sequence[Feature]) -> dict[str, str]:
    """Source column -> Spark type, of those that the features and joins read."""
    used = {name.lower() for name in feature_inputs(features, job.workload.context, ())}
    schema = job.pins.source.schema
    return {f.name: f.dataType.simpleString() for f in schema if f.name.lower() in used}


def mean_score(evaluation: Evaluation, model: str) -> float:
    """Mean prediction of a model; a regression's is the mean label plus the bias.

    Of several classes it is the mean probability of the most probable one.
    """
    metrics = evaluation.result(model).metrics
    for name in ("mean_prediction", "mean_confidence"):
        if name in metrics:
            return metrics[name]
    return metrics["mean_label"] + metrics["bias"]


def _baseline(trained: Trained) -> float | list[float]:
    """What the prior predicts for every row: a number, or one a class."""
    import numpy as np

    prior = next(one for one in trained.fitted if one.name == BASELINE).model.scorer
    said: float | list[float] = prior.predict(np.zeros((1, len(prior.columns))))[0].tolist()
    return said


def _register(job: Job, trained: Trained, package: ModelPackage, identity: str) -> ModelVersion:
    result = trained.validation.result(trained.selected.name)
    with TemporaryDirectory(prefix="lakescore-") as temporary:
        folder = Path(temporary) / "package"
        package.save(folder)
        return job.registry.register(
            folder,
            name=job.model_name,
            inputs=package.signature,
            tags={
                TRAINING_TAG: identity,
                "lakescore_candidate": trained.selected.name,
                "lakescore_package": package.sha256,
                "lakescore_code_version": code_version(),
            },
            metrics={f"validation.{name}": value for name, value in result.metrics.items()},
            params=dict(trained.selected.parameters),
            outputs=package.answers.names,
            curves={f"fit.{name}": curve for name, curve in trained.selected.model.curves.items()},
            run_name=f"train {job.workload.name}",
        )


def _conclude(job: Job, facts: TrainingFacts) -> None:
    """Counts, metrics and the report: in the run's folder, and beside the model in MLflow."""
    run, snapshot = job.run, facts.trained.snapshot
    run.counts = {
        **snapshot.quality.as_dict(),
        "labelled": sum(split.rows for split in snapshot.splits.values()),
        "unlabelled": sum(snapshot.unlabelled.values()),
    }
    test = facts.evidence.evaluation.result(CHALLENGER)
    run.metrics = {f"test.{name}": value for name, value in test.metrics.items()}
    for name, share in facts.evidence.shares_below.items():
        run.metrics[f"test.share_below_{name}"] = share
    with run.phase("report"):
        target = run_folder(job.settings.runs, job.workload.name, run.run_id)
        files = write_report(training_report(job, facts), target)
        job.registry.add_to_run(facts.version, run.metrics, [files.html, files.json])
    run.artefacts |= {"report": str(files.html), "report_json": str(files.json)}
