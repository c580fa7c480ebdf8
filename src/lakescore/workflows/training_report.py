"""What a training run's report says, from the numbers that the run has computed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lakescore.config.hashes import config_hash
from lakescore.evaluation import report as page
from lakescore.features.preprocessor import NumericFeature
from lakescore.matrix import Split, Task
from lakescore.workflows.candidates import BASELINE as PRIOR
from lakescore.workflows.candidates import Fitted
from lakescore.workflows.evidence import BASELINE, CHALLENGER, CHAMPION, Evidence
from lakescore.workflows.training_data import TrainingSnapshot

if TYPE_CHECKING:
    from lakescore.evaluation.curves import CalibrationBin, Histogram
    from lakescore.evaluation.gate import GateDecision
    from lakescore.evaluation.results import Evaluation
    from lakescore.features.preprocessor import Preprocessor
    from lakescore.registry.model_version import ModelVersion
    from lakescore.scoring.package import ModelPackage
    from lakescore.workflows.job import Job
    from lakescore.workflows.run_result import RunResult

#: The metrics that a page has room for; run results and MLflow have them all.
_SHOWN = {
    Task.BINARY: ("average_precision", "roc_auc", "log_loss", "calibration_error"),
    Task.MULTICLASS: ("log_loss", "accuracy", "balanced_accuracy", "calibration_error"),
    Task.REGRESSION: ("rmse", "mae", "r2"),
}
_SEGMENT_METRIC = {
    Task.BINARY: "roc_auc",
    Task.MULTICLASS: "accuracy",
    Task.REGRESSION: "rmse",
}
_MOST_FEATURES = 25


@dataclass(frozen=True)
class Trained:
    """What fitting gave: every candidate, measured on validation, and the one that was chosen."""

    snapshot: TrainingSnapshot
    preprocessor: Preprocessor
    fitted: tuple[Fitted, ...]
    validation: Evaluation
    selected: Fitted
    metric: str


@dataclass(frozen=True)
class TrainingFacts:
    """Everything of a training run that its report draws on."""

    trained: Trained
    evidence: Evidence
    decision: GateDecision
    package: ModelPackage
    version: ModelVersion


def training_report(job: Job, facts: TrainingFacts) -> page.Report:
    """The document; every number in it was computed on all rows of its split."""
    workload, trained = job.workload, facts.trained
    task = trained.snapshot.task
    predicted = _residuals(facts) if task is Task.REGRESSION else None
    return page.Report(
        kind=page.Kind.TRAINING,
        workload=workload.name,
        status=job.run.status.value,
        run=_run(job.run, config_hash(workload, set(type(workload).model_fields)), facts),
        description=workload.description,
        summary=_summary(facts),
        notes=tuple(job.run.warnings),
        task=task,
        model=_model(facts),
        pins=pins_of(job.run),
        data=_data(trained),
        intervals=page.Intervals(
            confidence=workload.gate.confidence,
            method=f"percentile bootstrap, {workload.gate.replicates} replicates",
        ),
        comparison=_comparison(facts, workload.gate.confidence),
        gate=_gate(facts.decision),
        curves=_curves(facts) if task is Task.BINARY else None,
        confusion=_confusion(facts) if task is Task.MULTICLASS else None,
        calibration=predicted[0] if predicted else _calibration(facts),
        residuals=predicted[1] if predicted else None,
        scores=_scores(facts),
        segments=_segments(job, facts),
        importance=_importance(trained.selected),
        timings=phases_of(job.run),
        reproduce=(f"lakescore train {workload.name}", f"lakescore plan {workload.name}"),
    )


def pins_of(run: RunResult, after_version: int | None = None) -> tuple[page.Pin, ...]:
    """The run's pins; the source's says since when its rows were read."""
    return tuple(
        page.Pin(
            table=pin["table"],
            version=pin["version"],
            table_id=pin["table_id"],
            role=pin["role"],
            after_version=after_version if pin["role"].startswith("source") else None,
        )
        for pin in run.pins
    )


def phases_of(run: RunResult) -> tuple[page.Phase, ...]:
    return tuple(page.Phase(name=name, seconds=spent) for name, spent in run.timings.items())


def _run(run: RunResult, config: str, facts: TrainingFacts) -> page.Run:
    following = "score" if facts.decision.passed else "preview"
    return page.Run(
        run_id=run.run_id,
        started=run.started_at,
        seconds=sum(run.timings.values()),
        code_version=run.code_version,
        config_hash=config,
        command=run.command,
        next_commands=(f"lakescore {following} {run.workload}",),
    )


def _summary(facts: TrainingFacts) -> str:
    trained = facts.trained
    result = facts.evidence.evaluation.result(CHALLENGER)
    value = result.metrics[trained.metric]
    return (
        f"{trained.selected.name} was chosen of {len(trained.fitted)} candidates by "
        f"{trained.metric} on validation; on the {result.rows:,} test rows, read once, it has "
        f"{trained.metric} {value:.4f}.{_coverage(facts)} Gate: {facts.decision.summary}."
    )


def _coverage(facts: TrainingFacts) -> str:
    """Of how many rows the label lies between the outermost quantiles, and of how many it should.

    The label may be equal to the lowest quantile: then it counts as below.
    """
    answers, shares = facts.package.answers, list(facts.evidence.shares_below.values())
    if len(shares) < 2:
        return ""
    names, levels = answers.quantile_names, answers.quantiles
    return (
        f" Between {names[0]} and {names[-1]} are {shares[-1] - shares[0]:.1%} of their labels "
        f"({levels[-1] - levels[0]:.4g} of them should be)."
    )


def _model(facts: TrainingFacts) -> page.Model:
    selected = facts.trained.selected
    return page.Model(
        name=facts.version.name,
        version=facts.version.version,
        alias="champion" if facts.decision.passed else "challenger",
        algorithm=selected.name,
        backend=selected.model.backend,
        model_hash=facts.package.sha256,
        preprocessor_hash=facts.trained.preprocessor.sha256,
    )


def _data(trained: Trained) -> page.DataQuality:
    snapshot = trained.snapshot
    quality, learned_from = snapshot.quality, snapshot.splits[Split.TRAIN].rows
    return page.DataQuality(
        read=quality.read,
        valid=quality.read - quality.quarantined,
        quarantined=quality.quarantined,
        reasons=tuple(
            page.QuarantineReason(reason=reason, rows=rows)
            for reason, rows in quality.reasons.items()
        ),
        unlabelled=tuple(
            page.UnlabelledRows(outcome=outcome, rows=rows)
            for outcome, rows in snapshot.unlabelled.items()
        ),
        splits=tuple(
            page.SplitRows(
                split=split.value,
                rows=n.rows,
                label_mean=None if n.label_sum is None else n.label_sum / n.rows,
            )
            for split, n in snapshot.splits.items()
        ),
        features=tuple(_features(trained.preprocessor, learned_from)),
        learned_from=learned_from,
    )


def _features(preprocessor: Preprocessor, rows: int) -> Iterable[page.FeatureQuality]:
    """As they were found in the `rows` of the train split."""
    for found in preprocessor.features:
        if isinstance(found, NumericFeature):
            yield page.FeatureQuality(
                feature=found.name,
                kind="numeric",
                nulls=rows - found.present,
                mean=found.mean,
                minimum=found.low,
                maximum=found.high,
            )
        else:
            yield page.FeatureQuality(
                feature=found.name,
                kind="categorical",
                nulls=rows - found.present,
                distinct=found.distinct,
            )


def _comparison(facts: TrainingFacts, confidence: float) -> page.ModelComparison:
    trained, evidence = facts.trained, facts.evidence
    shown = _SHOWN[trained.snapshot.task]
    candidates = [_candidate(facts, one, shown, confidence) for one in trained.fitted]
    if CHAMPION in evidence.evaluation.scores:
        values = _test_values(evidence, CHAMPION, shown, confidence)
        candidates.append(page.CandidateRow(name="champion before", role="champion", test=values))
    return page.ModelComparison(
        select_by=trained.metric,
        metrics=tuple(_metric(name) for name in shown),
        candidates=tuple(candidates),
        validation_rows=trained.validation.result(trained.selected.name).rows,
        test_rows=evidence.evaluation.result(CHALLENGER).rows,
    )


def _candidate(
    facts: TrainingFacts, one: Fitted, shown: Iterable[str], confidence: float
) -> page.CandidateRow:
    trained = facts.trained
    validation = trained.validation.result(one.name).metrics
    chosen = one.name == trained.selected.name
    tested = CHALLENGER if chosen else BASELINE if one.name == PRIOR else None
    return page.CandidateRow(
        name=one.name,
        role="baseline" if one.name == PRIOR else "candidate",
        winner=chosen,
        backend=one.model.backend,
        fit_seconds=one.seconds,
        validation=tuple(page.MetricValue(metric=name, value=validation[name]) for name in shown),
        test=_test_values(facts.evidence, tested, shown, confidence) if tested else (),
    )


def _test_values(
    evidence: Evidence, model: str, shown: Iterable[str], confidence: float
) -> tuple[page.MetricValue, ...]:
    values = evidence.evaluation.result(model).metrics
    measured = {metric for _, metric in evidence.bootstrap.replicates}
    found = []
    for name in shown:
        low = high = None
        if name in measured:
            interval = evidence.bootstrap.interval(name, model, confidence=confidence)
            low, high = interval.low, interval.high
        found.append(page.MetricValue(metric=name, value=values[name], low=low, high=high))
    return tuple(found)


def _metric(name: str) -> page.Metric:
    from lakescore.evaluation.metrics import metric

    higher = metric(name).higher_is_better
    return page.Metric(
        name=name, label=name.replace("_", " "), higher_is_better=higher is not False
    )


def _gate(decision: GateDecision) -> page.GateDecision:
    return page.GateDecision(
        passed=decision.passed,
        summary=decision.summary,
        checks=tuple(
            page.GateCheck(
                name=check.name.replace("_", " "),
                passed=check.passed if check.numbers else None,
                detail=check.detail,
                value=_first(check.numbers),
                low=check.numbers.get("low"),
                high=check.numbers.get("high"),
                threshold=check.numbers.get("required"),
            )
            for check in decision.checks
        ),
    )


def _first(numbers: Mapping[str, float]) -> float | None:
    named = ("difference", "calibration_error", "largest_difference")
    return next((numbers[name] for name in named if name in numbers), None)


def _curves(facts: TrainingFacts) -> page.Curves:
    from lakescore.evaluation.curves import precision_recall_points, roc_points

    evaluation, trained = facts.evidence.evaluation, facts.trained
    names = {CHALLENGER: trained.selected.name, CHAMPION: "champion before"}
    results = [evaluation.result(name) for name in names if name in evaluation.scores]
    profiles = {names[one.model]: (one, one.profile) for one in results if one.profile is not None}
    return page.Curves(
        split=Split.TEST.value,
        rows=results[0].rows,
        positives=results[0].positives or 0,
        roc=tuple(
            page.Curve(name=name, points=roc_points(profile), area=one.metrics["roc_auc"])
            for name, (one, profile) in profiles.items()
        ),
        precision_recall=tuple(
            page.Curve(
                name=name,
                points=precision_recall_points(profile),
                area=one.metrics["average_precision"],
            )
            for name, (one, profile) in profiles.items()
        ),
    )


def _confusion(facts: TrainingFacts) -> page.Confusion:
    from lakescore.evaluation.confusion import confusion

    found = confusion(facts.evidence.rows, facts.evidence.evaluation, model=CHALLENGER)
    return page.Confusion(
        model=facts.trained.selected.name,
        split=Split.TEST.value,
        classes=found.classes,
        rows=found.rows,
    )


def _calibration(facts: TrainingFacts) -> page.Calibration | None:
    from lakescore.evaluation.curves import calibration_table

    result = facts.evidence.evaluation.result(CHALLENGER)
    if result.profile is None:
        return None
    return page.Calibration(
        model=facts.trained.selected.name,
        split=Split.TEST.value,
        rows=result.rows,
        bins=_bins(calibration_table(result.profile)),
        error=result.metrics["calibration_error"],
    )


def _bins(found: Iterable[CalibrationBin]) -> tuple[page.CalibrationBin, ...]:
    return tuple(
        page.CalibrationBin(
            predicted=one.predicted,
            observed=one.observed,
            rows=one.rows,
            low=one.low,
            high=one.high,
        )
        for one in found
    )


def _scores(facts: TrainingFacts) -> page.Histogram | None:
    from lakescore.evaluation.curves import score_histogram

    result = facts.evidence.evaluation.result(CHALLENGER)
    if result.profile is None:
        return None
    if facts.trained.snapshot.task is Task.MULTICLASS:
        return _histogram(score_histogram(result.profile, ("wrong", "right")))
    return _histogram(score_histogram(result.profile))


def _histogram(found: Histogram) -> page.Histogram:
    return page.Histogram(
        edges=found.edges,
        series=tuple(
            page.HistogramSeries(name=name, counts=counts) for name, counts in found.counts.items()
        ),
        split=Split.TEST.value,
    )


def _residuals(facts: TrainingFacts) -> tuple[page.Calibration, page.Histogram]:
    """Predicted against actual, and the errors, of a regression."""
    from lakescore.evaluation.residuals import residuals

    found = residuals(facts.evidence.rows, facts.evidence.evaluation, model=CHALLENGER)
    calibration = page.Calibration(
        model=facts.trained.selected.name,
        split=Split.TEST.value,
        rows=facts.evidence.evaluation.result(CHALLENGER).rows,
        bins=_bins(found.predicted_vs_actual),
        unit="label",
    )
    return calibration, _histogram(found.errors)


def _segments(job: Job, facts: TrainingFacts) -> tuple[page.SegmentTable, ...]:
    from lakescore.evaluation.segments import evaluate_segments

    evidence = facts.evidence
    name = _SEGMENT_METRIC[facts.trained.snapshot.task]
    overall = evidence.evaluation.value(name, CHALLENGER)
    tables = evaluate_segments(
        evidence.rows,
        evidence.evaluation,
        columns=job.workload.report.segments,
        models=[CHALLENGER],
        confidence=job.workload.gate.confidence,
    )
    return tuple(
        page.SegmentTable(
            column=table.column,
            split=Split.TEST.value,
            metric=_metric(name),
            overall=overall,
            left_out=table.left_out,
            rows=tuple(
                page.SegmentRow(
                    value=one.value,
                    rows=one.rows,
                    actual=one.mean_label,
                    predicted=one.mean_prediction,
                    metric=page.MetricValue(
                        metric=name, value=one.metrics.get(name), low=one.low, high=one.high
                    ),
                )
                for one in table.segments
            ),
        )
        for table in tables
    )


def _importance(selected: Fitted) -> page.Importance | None:
    shares = sorted(selected.model.importance.items(), key=lambda item: -item[1])
    if not shares:
        return None
    return page.Importance(
        model=selected.name,
        method="share of the total gain" if selected.name == "lightgbm" else "relative importance",
        features=tuple(
            page.FeatureImportance(feature=name, value=value)
            for name, value in shares[:_MOST_FEATURES]
        ),
    )
