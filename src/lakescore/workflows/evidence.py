"""What the test split says: challenger, baseline and champion on the same stored rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lakescore.matrix import LABEL, SPLIT, Split
from lakescore.workflows.predict import Output, predict

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from lakescore.evaluation.intervals import Bootstrap
    from lakescore.evaluation.results import Evaluation
    from lakescore.scoring.package import ModelPackage
    from lakescore.workflows.job import Job
    from lakescore.workflows.scoring_model import ScoringModel
    from lakescore.workflows.training_data import TrainingSnapshot

CHALLENGER, BASELINE, CHAMPION = "challenger", "baseline", "champion"
#: The column of what the challenger gave before it was saved.
_AS_TRAINED = "as_trained"
#: Means of the same doubles added in another order differ by less.
_SUM_NOISE = 1e-12


@dataclass(frozen=True)
class Evidence:
    """The test rows with one column of scores a model, and what was computed from them.

    `reload_difference` is max |as loaded - as trained| over all test rows; for a model of an
    earlier run, how far its mean score on the validation rows is from the one it was trained
    with.
    """

    rows: DataFrame
    evaluation: Evaluation
    bootstrap: Bootstrap
    reload_difference: float


def gather_evidence(
    job: Job,
    snapshot: TrainingSnapshot,
    *,
    challenger: ModelPackage,
    champion: ScoringModel | None,
    as_trained: ModelPackage | None = None,
) -> Evidence:
    """Score the test split with each model, store it in the job's folder, and measure."""
    from lakescore.evaluation.intervals import bootstrap
    from lakescore.evaluation.metrics import evaluate

    scored = _own_scores(job, snapshot, challenger, as_trained)
    if champion is not None:
        scored = scored.join(champion_scores(job, champion), list(snapshot.key), "left")
    rows = _stored(scored, f"{job.folder}/test")
    gate = job.workload.gate
    names = [CHALLENGER, BASELINE, *([CHAMPION] if champion is not None else [])]
    evaluation = evaluate(
        rows, task=snapshot.task, label=LABEL, scores={name: name for name in names}
    )
    measured = bootstrap(
        rows,
        evaluation,
        key=snapshot.key,
        replicates=gate.replicates,
        seed=job.workload.seed,
    )
    difference = (
        _reload_difference(rows)
        if as_trained is not None
        else _drift_of_mean(job, snapshot, challenger)
    )
    return Evidence(rows, evaluation, measured, difference)


def _own_scores(
    job: Job,
    snapshot: TrainingSnapshot,
    challenger: ModelPackage,
    as_trained: ModelPackage | None,
) -> DataFrame:
    from pyspark.sql import functions as F

    from lakescore.scoring.compare import compare_frame

    keep = dict.fromkeys([*snapshot.key, *job.workload.report.segments, LABEL])
    scorers = {CHALLENGER: challenger.scorer}
    if as_trained is not None:
        scorers[_AS_TRAINED] = as_trained.scorer
    rows = snapshot.read(job.spark, Split.TEST)
    scored = compare_frame(rows, challenger.preprocessor, scorers, keep=tuple(keep))
    baseline = F.lit(float(challenger.training["baseline"]))
    return scored.withColumn(BASELINE, baseline)


def champion_scores(job: Job, champion: ScoringModel) -> DataFrame:
    """Key and `champion` for the test rows, by the champion's own features on the same pins."""
    from pyspark.sql import functions as F

    from lakescore.lake.contract import CONTRACT_COLUMNS, is_valid
    from lakescore.lake.tables import Lake
    from lakescore.workflows.training_data import valid_rows

    source = job.workload.source
    judged = valid_rows(job.spark, job.workload, job.pins)
    rows = judged.where((F.col(SPLIT) == Split.TEST.value) & is_valid())
    contexts = champion.contexts(job.workload)
    return predict(
        rows.drop(SPLIT, *CONTRACT_COLUMNS),
        champion,
        source=source,
        contexts=contexts,
        frames=job.pins.frames_of(job.spark, Lake(job.settings.lake), contexts),
        output=Output(keep=source.key, key=source.key, column=CHAMPION),
        scoring=job.settings.scoring,
    )


def _stored(scored: DataFrame, folder: str) -> DataFrame:
    """Written once: every metric, interval and plot reads these very rows."""
    scored.write.mode("overwrite").parquet(folder)
    return scored.sparkSession.read.schema(scored.schema).parquet(folder)


def _reload_difference(rows: DataFrame) -> float:
    from pyspark.sql import functions as F

    gap = F.max(F.abs(F.col(CHALLENGER) - F.col(_AS_TRAINED))).alias("gap")
    found = rows.agg(gap).first()
    return float(found["gap"]) if found is not None and found["gap"] is not None else float("inf")


def _drift_of_mean(job: Job, snapshot: TrainingSnapshot, challenger: ModelPackage) -> float:
    """|mean validation score now - as trained|; below the noise of a sum it is 0."""
    from pyspark.sql import functions as F

    from lakescore.scoring.compare import compare_frame

    rows = snapshot.read(job.spark, Split.VALIDATION)
    scored = compare_frame(
        rows, challenger.preprocessor, {CHALLENGER: challenger.scorer}, keep=snapshot.key
    )
    found = scored.agg(F.avg(CHALLENGER).alias("mean")).first()
    recorded = float(challenger.training["validation_mean_score"])
    if found is None or found["mean"] is None:
        return float("inf")
    gap = abs(found["mean"] - recorded)
    return 0.0 if gap <= _SUM_NOISE * max(1.0, abs(recorded)) else float(gap)
