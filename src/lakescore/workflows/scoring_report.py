"""What a scoring run's report says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lakescore.config.base import quoted
from lakescore.evaluation import report as page
from lakescore.workflows.training_report import phases_of, pins_of

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, Row

    from lakescore.lake.staging import Counts
    from lakescore.workflows.plan import ScoringPlan
    from lakescore.workflows.run_result import RunResult
    from lakescore.workflows.steps import Step

_BINS = 20


def score_distribution(predicted: DataFrame, column: str) -> page.Histogram | None:
    """Scores in equal intervals: of [0, 1] for probabilities, else of their own range."""
    low, high = 0.0, 1.0
    bins = _counted(predicted, column, low, high)
    if not bins:
        return None
    least, most = min(one["low"] for one in bins), max(one["high"] for one in bins)
    if least < low or most > high:
        low, high = least, most if most > least else least + 1.0
        bins = _counted(predicted, column, low, high)
    counted = {one["place"]: one["rows"] for one in bins}
    return page.Histogram(
        edges=tuple(low + (high - low) * index / _BINS for index in range(_BINS + 1)),
        series=(
            page.HistogramSeries(
                name="rows", counts=tuple(counted.get(index, 0) for index in range(_BINS))
            ),
        ),
    )


def _counted(predicted: DataFrame, column: str, low: float, high: float) -> list[Row]:
    """The bins of [low, high] that have rows: `place`, `rows`, and the scores' `low` and `high`."""
    from pyspark.sql import functions as F

    score = F.col(quoted(column))
    place = F.floor((score - low) / (high - low) * _BINS)
    within = F.greatest(F.lit(0), F.least(place, F.lit(_BINS - 1)))
    found = predicted.groupBy(within.alias("place")).agg(
        F.count(F.lit(1)).alias("rows"), F.min(score).alias("low"), F.max(score).alias("high")
    )
    return [row for row in found.collect() if row["low"] is not None]


def scoring_report(
    run: RunResult,
    plan: ScoringPlan,
    step: Step,
    counts: Counts,
    distribution: page.Histogram | None,
) -> page.Report:
    """The document of a run that committed; `plan` and `step` of its last commit."""
    predictions = plan.predictions
    model = plan.model
    return page.Report(
        kind=page.Kind.SCORING,
        workload=run.workload,
        status=run.status.value,
        run=page.Run(
            run_id=run.run_id,
            started=run.started_at,
            seconds=sum(run.timings.values()),
            code_version=run.code_version,
            config_hash=plan.hash,
            command=run.command,
            next_commands=(f"lakescore history {run.workload}",),
        ),
        description=plan.workload.description,
        summary=f"{counts.predicted:,} of {counts.read:,} rows were scored by version "
        f"{model.version} in commit {plan.progress.next_seq}.",
        model=page.Model(
            name=model.opened.spec,
            version=model.version,
            algorithm=model.opened.flavour,
            model_hash=model.package.sha256 if model.package else "",
        ),
        scoring=page.ScoringOutcome(
            read=counts.read,
            predicted=counts.predicted,
            quarantined=counts.quarantined,
            filtered=counts.out_of_scope,
            predictions_table=predictions.table,
            quarantine_table=predictions.quarantine,
            mode=step.mode,
            commit_seq=plan.progress.next_seq,
            source_after_version=step.after_version,
            source_version=plan.pins.source.version,
        ),
        pins=pins_of(run, step.after_version),
        scores=distribution,
        timings=phases_of(run),
        reproduce=(f"lakescore plan {run.workload}", run.command),
    )
