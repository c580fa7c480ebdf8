"""LightGBM on Spark, by SynapseML."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lakescore.matrix import LABEL, MatrixSchema, Task
from lakescore.models.base import EncodedData, FittedModel
from lakescore.models.engines import is_local
from lakescore.models.labels import Labels
from lakescore.models.lightgbm.booster import gain_shares, rewritten, rounds
from lakescore.models.lightgbm.scorer import LightGBMScorer
from lakescore.models.lightgbm.settings import OBJECTIVES, patience

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

    from lakescore.models.lightgbm.candidate import LightGBMParameters

_FEATURES, _IS_VALIDATION = "_features", "_is_validation"

#: With more levels than this and two or more workers, the native library crashes.
_LEVELS_FOR_WORKERS = 56

#: Fewer rows than this are not worth a worker, and a worker with no rows fails the fit.
_ROWS_PER_WORKER = 10_000

#: SynapseML collects the validation rows to the driver and sends them to every worker.
_VALIDATION_ROWS = 200_000
_BUCKETS = 1_000_000


def fit_synapse(
    data: EncodedData, labels: Labels, parameters: LightGBMParameters, seed: int
) -> FittedModel:
    """Fit with SynapseML, which must be loadable (see `choose_backend`)."""
    stop_after = patience(parameters, labels)
    workers, reason = worker_count(data.train.sparkSession, data.schema, labels.train.rows)
    rows = training_rows(data, labels, stop_after, workers)
    model = estimator(data, parameters, seed, stop_after, workers).fit(rows)
    text = best_rounds(model, parameters)
    return FittedModel(
        scorer=LightGBMScorer.tried(data.schema.names, text),
        importance=gain_shares(text, data.schema.names),
        backend="synapse",
        details={"rounds": rounds(text), "workers": workers, "workers_because": reason},
    )


def worker_count(spark: SparkSession, schema: MatrixSchema, rows: int) -> tuple[int, str]:
    """How many LightGBM workers to train with, and why.

    One worker uses all cores of its machine, needs no network and cannot hang on a worker that
    never comes, so a local master has one.
    """
    if is_local(spark):
        return 1, "one machine"
    levels = max((column.levels for column in schema.columns), default=0)
    if levels > _LEVELS_FOR_WORKERS:
        return 1, f"a category has {levels} levels, and LightGBM 3.3 crashes on them with more"
    context = spark.sparkContext
    if context.getConf().get("spark.dynamicAllocation.enabled", "false") == "true":
        return 1, "dynamic allocation may take workers away during a fit"
    enough = max(1, rows // _ROWS_PER_WORKER)
    if enough < context.defaultParallelism:
        return enough, f"{rows} rows"
    return context.defaultParallelism, "the cores of the cluster"


def feature_vector(schema: MatrixSchema) -> Column:
    """The matrix columns as one dense vector; null, which there should not be, as NaN."""
    from pyspark.ml.functions import array_to_vector
    from pyspark.sql import functions as F

    missing = F.lit(float("nan"))
    columns = (F.coalesce(F.col(f"`{name}`"), missing) for name in schema.names)
    return array_to_vector(F.array(*columns)).alias(_FEATURES)


def training_rows(data: EncodedData, labels: Labels, stop_after: int, workers: int) -> DataFrame:
    """`_features`, `_label` and, for early stopping, `_is_validation`, in one partition a worker.

    None is empty or has one label only: for several workers the rows are dealt out evenly.
    """
    from pyspark.sql import functions as F

    vector = feature_vector(data.schema)
    rows = data.train.select(vector, LABEL, F.lit(False).alias(_IS_VALIDATION))
    if stop_after:
        held_out = _at_most(data.validation, labels.validation.rows, data.schema)
        marked = held_out.select(vector, LABEL, F.lit(True).alias(_IS_VALIDATION))
        rows = rows.unionByName(marked)
    if data.classes:
        # Else it counts the classes of these rows, and takes at most 100.
        told = {"ml_attr": {"type": "nominal", "num_vals": data.classes}}
        rows = rows.withColumn(LABEL, F.col(LABEL).alias(LABEL, metadata=told))
    return rows.coalesce(1) if workers == 1 else rows.repartition(workers)


def _at_most(rows: DataFrame, count: int, schema: MatrixSchema) -> DataFrame:
    """About `_VALIDATION_ROWS` of the rows, the same ones every time; all when there are fewer."""
    from pyspark.sql import functions as F

    if count <= _VALIDATION_ROWS:
        return rows
    hashed = F.xxhash64(*(f"`{name}`" for name in schema.names))
    # The non-negative remainder; Spark 3.3 has `pmod` in SQL only.
    bucket = (hashed % _BUCKETS + _BUCKETS) % _BUCKETS
    return rows.where(bucket < int(_BUCKETS * _VALIDATION_ROWS / count))


def estimator(
    data: EncodedData, parameters: LightGBMParameters, seed: int, stop_after: int, workers: int
) -> Any:
    """SynapseML's estimator for the task, reading what `training_rows` makes."""
    from synapse.ml.lightgbm import LightGBMClassifier, LightGBMRegressor

    options = _options(data, parameters, seed) | _worker_options(data, workers)
    if stop_after:
        # The engine cuts a model that stopped early, and forgets the best round of one that did
        # not: with `stop_after` rounds to spare, every best round up to the last is found.
        options["numIterations"] += stop_after
        options |= {"earlyStoppingRound": stop_after, "validationIndicatorCol": _IS_VALIDATION}
    if data.task is Task.REGRESSION:
        return LightGBMRegressor(**options)
    return LightGBMClassifier(isUnbalance=False, **options)


def _options(data: EncodedData, parameters: LightGBMParameters, seed: int) -> dict[str, Any]:
    objective, metric = OBJECTIVES[data.task]
    categorical = list(data.schema.categorical_indexes)
    return {
        "featuresCol": _FEATURES,
        "labelCol": LABEL,
        "slotNames": list(data.schema.names),
        "objective": objective,
        "metric": metric,
        "numLeaves": parameters.num_leaves,
        "learningRate": parameters.learning_rate,
        "numIterations": parameters.num_iterations,
        "minDataInLeaf": parameters.min_data_in_leaf,
        "featureFraction": parameters.feature_fraction,
        "baggingFraction": parameters.bagging_fraction,
        "baggingFreq": parameters.bagging_freq,
        "lambdaL1": parameters.lambda_l1,
        "lambdaL2": parameters.lambda_l2,
        "maxBin": parameters.max_bin,
        "seed": seed,
        "deterministic": True,
        "passThroughArgs": "force_col_wise=true",
        "verbosity": -1,
        **({"categoricalSlotIndexes": categorical} if categorical else {}),
    }


def _worker_options(data: EncodedData, workers: int) -> dict[str, Any]:
    """Bulk transfer: twice as fast as streaming here, and its copy is outside the JVM's heap."""
    options: dict[str, Any] = {
        "numTasks": workers,
        "dataTransferMode": "bulk",
        "matrixType": "dense",
        "useBarrierExecutionMode": workers > 1,
    }
    spark = data.train.sparkSession
    if is_local(spark):
        options["numThreads"] = spark.sparkContext.defaultParallelism
    return options


def best_rounds(model: Any, parameters: LightGBMParameters) -> str:
    """The model's text, cut to the rounds asked for when it used those to spare."""
    text: str = model.getNativeModel()
    return rewritten(text, min(rounds(text), parameters.num_iterations))
