"""What the test split says: challenger, baseline and champion on the same stored rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lakescore.matrix import LABEL, Split
from lakescore.workflows.predict import Output, predict

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from lakescore.config.settings import Settings
    from lakescore.config.workload import Workload
    from lakescore.evaluation.intervals import Bootstrap
    from lakescore.evaluation.results import Evaluation
    from lakescore.scoring.package import ModelPackage
    from lakescore.workflows.pins import Pins
    from lakescore.workflows.scoring_model import ScoringModel
    from lakescore.workflows.training_data import TrainingSnapshot

CHALLENGER, BASELINE, CHAMPION = "challenger", "baseline", "champion"
#: The column of what the challenger gave before it was saved.
_AS_TRAINED = "as_trained"


@dataclass(frozen=True)
class Evidence:
    """The test rows with one column of scores a model, and what was computed from them.

    `reload_difference` is max |as loaded - as trained| over all test rows; None where the model
    was loaded only.
    """

    rows: DataFrame
    evaluation: Evaluation
    bootstrap: Bootstrap
    reload_difference: float | None


def gather_evidence(
    spark: SparkSession,
    settings: Settings,
    workload: Workload,
    snapshot: TrainingSnapshot,
    pins: Pins,
    folder: str,
    *,
    challenger: ModelPackage,
    champion: ScoringModel | None,
    as_trained: ModelPackage | None = None,
) -> Evidence:
    """Score the test split with each model, store it below `folder`, and measure."""
    from lakescore.evaluation.intervals import bootstrap
    from lakescore.evaluation.metrics import evaluate

    scored = _own_scores(spark, workload, snapshot, challenger, as_trained)
    if champion is not None:
        theirs = champion_scores(spark, settings, workload, pins, champion)
        scored = scored.join(theirs, list(snapshot.key), "left")
    rows = _stored(scored, folder)
    names = [CHALLENGER, BASELINE, *([CHAMPION] if champion is not None else [])]
    evaluation = evaluate(
        rows, task=snapshot.task, label=LABEL, scores={name: name for name in names}
    )
    measured = bootstrap(
        rows, evaluation, key=snapshot.key, replicates=workload.gate.replicates, seed=workload.seed
    )
    difference = _reload_difference(rows) if as_trained is not None else None
    return Evidence(rows, evaluation, measured, difference)


def _own_scores(
    spark: SparkSession,
    workload: Workload,
    snapshot: TrainingSnapshot,
    challenger: ModelPackage,
    as_trained: ModelPackage | None,
) -> DataFrame:
    from pyspark.sql import functions as F

    from lakescore.scoring.compare import compare_frame

    keep = dict.fromkeys([*snapshot.key, *workload.report.segments, LABEL])
    scorers = {CHALLENGER: challenger.scorer}
    if as_trained is not None:
        scorers[_AS_TRAINED] = as_trained.scorer
    rows = snapshot.read(spark, Split.TEST)
    scored = compare_frame(rows, challenger.preprocessor, scorers, keep=tuple(keep))
    baseline = F.lit(float(challenger.training["baseline"]))
    label = F.col(LABEL).cast("double")
    return scored.withColumn(BASELINE, baseline).withColumn(LABEL, label)


def champion_scores(
    spark: SparkSession,
    settings: Settings,
    workload: Workload,
    pins: Pins,
    champion: ScoringModel,
) -> DataFrame:
    """Key and `champion` for the test rows, by the champion's own features on the same pins."""
    from pyspark.sql import functions as F

    from lakescore.lake.contract import CONTRACT_COLUMNS, is_valid
    from lakescore.lake.tables import Lake
    from lakescore.matrix import SPLIT
    from lakescore.workflows.training_data import valid_rows

    judged = valid_rows(spark, workload, pins)
    rows = judged.where((F.col(SPLIT) == Split.TEST.value) & is_valid())
    contexts = champion.contexts(workload)
    return predict(
        rows.drop(SPLIT, *CONTRACT_COLUMNS),
        champion,
        source=workload.source,
        contexts=contexts,
        frames=pins.frames_of(spark, Lake(settings.lake), contexts),
        output=Output(keep=workload.source.key, key=workload.source.key, column=CHAMPION),
        scoring=settings.scoring,
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


def metrics_by_split(results: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """``{"test": {"roc_auc": 0.7}}`` as ``{"test.roc_auc": 0.7}``."""
    return {
        f"{split}.{name}": value for split, found in results.items() for name, value in found.items()
    }
