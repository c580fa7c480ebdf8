"""What the test split says: challenger, baseline and champion on the same stored rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lakescore.errors import UsageError
from lakescore.matrix import LABEL, SPLIT, Answers, Split
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
_HIGHEST, _QUANTILES = "_highest", "_quantiles"
#: Means of the same doubles added in another order differ by less.
_SUM_NOISE = 1e-12


@dataclass(frozen=True)
class Evidence:
    """The test rows with one column of scores a model, and what was computed from them.

    `reload_difference` is max |as loaded - as trained| over all test rows; for a model of an
    earlier run, how far its mean score on the validation rows is from the one it was trained
    with. `shares_below` says, of each quantile of the challenger, which share of the test rows has
    a label at or below it: of p10 it should be a tenth.
    """

    rows: DataFrame
    evaluation: Evaluation
    bootstrap: Bootstrap
    reload_difference: float
    shares_below: Mapping[str, float] = field(default_factory=dict)


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

    if snapshot.classes != challenger.classes:
        raise UsageError(
            f"the label has {len(snapshot.classes)} classes now, and the challenger was trained on "
            f"{len(challenger.classes)}",
            where="label",
            hint=f"the workload's label was changed: lakescore train {job.workload.name}",
        )
    scored = _own_scores(job, snapshot, challenger, as_trained)
    classes = snapshot.classes
    if champion is not None:
        gone = [name for name in champion.answers.classes if name not in classes]
        classes = (*classes, *gone)
        scored = _with_room(scored, len(gone))
        theirs = champion_scores(job, champion, classes)
        scored = scored.join(theirs, list(snapshot.key), "left")
    rows = _stored(scored, f"{job.folder}/test")
    gate = job.workload.gate
    names = [CHALLENGER, BASELINE, *([CHAMPION] if champion is not None else [])]
    evaluation = evaluate(
        rows,
        task=snapshot.task,
        label=LABEL,
        scores={name: name for name in names},
        classes=classes,
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
    return Evidence(rows, evaluation, measured, difference, _shares_below(rows, challenger.answers))


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
    quantiles = {_QUANTILES: challenger.scorer} if challenger.answers.quantiles else {}
    scored = compare_frame(
        rows, challenger.preprocessor, scorers, keep=tuple(keep), quantiles=quantiles
    )
    said = challenger.training["baseline"]
    baseline = F.array(*map(F.lit, said)) if isinstance(said, list) else F.lit(float(said))
    return scored.withColumn(BASELINE, baseline)


def champion_scores(job: Job, champion: ScoringModel, classes: Sequence[str] = ()) -> DataFrame:
    """Key and `champion` for the test rows, by the champion's own features on the same pins.

    Of `classes` it holds one probability each: 0 for one that the champion does not know. Raises
    UsageError where only one of champion and label has classes.
    """
    from pyspark.sql import functions as F

    from lakescore.lake.contract import CONTRACT_COLUMNS, is_valid
    from lakescore.lake.tables import Lake
    from lakescore.workflows.training_data import valid_rows

    source = job.workload.source
    judged = valid_rows(job.spark, job.workload, job.pins)
    rows = judged.where((F.col(SPLIT) == Split.TEST.value) & is_valid())
    contexts = champion.contexts(job.workload)
    if bool(classes) != bool(champion.answers.classes):
        raise UsageError(
            f"the champion, version {champion.version}, is of another task than the label is now",
            where="label",
            hint="give the changed workload another `name`, so that it has a model of its own",
        )
    predicted = predict(
        rows.drop(SPLIT, *CONTRACT_COLUMNS),
        champion,
        source=source,
        contexts=contexts,
        frames=job.pins.frames_of(job.spark, Lake(job.settings.lake), contexts),
        output=Output(
            keep=source.key,
            key=source.key,
            column=_HIGHEST if classes else CHAMPION,
            probabilities=CHAMPION if classes else None,
        ),
        scoring=job.settings.scoring,
    )
    if not classes:
        return predicted
    by_class = (F.coalesce(F.col(CHAMPION)[name], F.lit(0.0)) for name in classes)
    return predicted.drop(_HIGHEST).withColumn(CHAMPION, F.array(*by_class))


def _stored(scored: DataFrame, folder: str) -> DataFrame:
    """Written once: every metric, interval and plot reads these very rows."""
    scored.write.mode("overwrite").parquet(folder)
    return scored.sparkSession.read.schema(scored.schema).parquet(folder)


def _with_room(scored: DataFrame, classes: int) -> DataFrame:
    """The scores with so many more classes, that only the champion knows."""
    from pyspark.sql import functions as F

    if not classes:
        return scored
    none = F.array(*[F.lit(0.0)] * classes)
    names = [name for name in (CHALLENGER, BASELINE, _AS_TRAINED) if name in scored.columns]
    return scored.withColumns({name: F.concat(F.col(name), none) for name in names})


def _shares_below(rows: DataFrame, answers: Answers) -> dict[str, float]:
    from pyspark.sql import functions as F

    names = answers.quantile_names
    if not names:
        return {}
    shares = [
        F.avg((F.col(LABEL) <= F.col(_QUANTILES)[place]).cast("double")).alias(name)
        for place, name in enumerate(names)
    ]
    return {name: float(share) for name, share in rows.agg(*shares).collect()[0].asDict().items()}


def _reload_difference(rows: DataFrame) -> float:
    from pyspark.sql import functions as F

    if dict(rows.dtypes)[CHALLENGER] == "double":
        apart = F.abs(F.col(CHALLENGER) - F.col(_AS_TRAINED))
    else:
        pairs = F.zip_with(CHALLENGER, _AS_TRAINED, lambda now, then: F.abs(now - then))
        apart = F.array_max(pairs)
    found = rows.agg(F.max(apart).alias("gap")).first()
    return float(found["gap"]) if found is not None and found["gap"] is not None else float("inf")


def _drift_of_mean(job: Job, snapshot: TrainingSnapshot, challenger: ModelPackage) -> float:
    """|mean validation score now - as trained|; below the noise of a sum it is 0."""
    from pyspark.sql import functions as F

    from lakescore.scoring.compare import compare_frame

    rows = snapshot.read(job.spark, Split.VALIDATION)
    scored = compare_frame(
        rows, challenger.preprocessor, {CHALLENGER: challenger.scorer}, keep=snapshot.key
    )
    said = F.array_max(CHALLENGER) if challenger.classes else F.col(CHALLENGER)
    found = scored.agg(F.avg(said).alias("mean")).first()
    recorded = float(challenger.training["validation_mean_score"])
    if found is None or found["mean"] is None:
        return float("inf")
    gap = abs(found["mean"] - recorded)
    return 0.0 if gap <= _SUM_NOISE * max(1.0, abs(recorded)) else float(gap)
