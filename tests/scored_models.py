"""Small real models of every kind that lakescore scores, over one small table."""

from __future__ import annotations

import math
from datetime import date, datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from lakescore.config.workload import Context, Feature, Source
from lakescore.features.preprocessor import CategoricalFeature, NumericFeature, Preprocessor
from lakescore.matrix import Task
from lakescore.models.base import Scorer
from lakescore.models.lightgbm.scorer import LightGBMScorer
from lakescore.scoring.package import ModelPackage

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

COLUMNS = (
    "id bigint, seen timestamp, day date, amount decimal(12,2), note string, "
    "carrier string, distance double, hour bigint"
)
KEEP = ("id", "seen", "day", "amount", "note")
FEATURES = (
    Feature(name="carrier", expression="carrier"),
    Feature(name="distance", expression="distance"),
    Feature(name="hour", expression="hour"),
)


def table_rows(count: int = 30) -> list[tuple[Any, ...]]:
    """Rows with every kind of gap: row 0 has nulls for features, row 1 NaN, row 2 nothing kept."""
    rows = []
    for i in range(count):
        seen = datetime(2013, 7, 1, i % 24, 59, 59, 123456, tzinfo=timezone.utc)
        kept = (seen, date(1960, 2, 29), Decimal("-12345.67") + i, f"Straße {i} 'ü'")
        features = (("AA", "UA", "?")[i % 3], 100.5 * (i % 11), i % 24)
        rows.append((i, *kept, *features))
    if count < 3:
        return rows
    rows[0] = (*rows[0][:5], None, None, None)
    rows[1] = (*rows[1][:5], None, math.nan, None)
    rows[2] = (2, None, None, None, None, *rows[2][5:])
    return rows


def table(spark: SparkSession, count: int = 30) -> DataFrame:
    """The table as a source is: no feature columns."""
    return spark.createDataFrame(table_rows(count), COLUMNS)


def with_features(df: DataFrame) -> DataFrame:
    """The table as the SQL stage leaves it: features beside the kept columns."""
    return df.selectExpr(
        "*",
        "carrier as _f_carrier",
        "distance as _f_distance",
        "cast(hour as double) as _f_hour",
    )


def feature_batch(count: int = 30) -> pa.RecordBatch:
    """The features of `table_rows` as the SQL stage leaves them."""
    carriers, distances, hours = zip(*(row[5:] for row in table_rows(count)), strict=True)
    return pa.RecordBatch.from_arrays(
        [
            pa.array(carriers, pa.string()),
            pa.array(distances, pa.float64()),
            pa.array(hours, pa.float64()),
        ],
        names=["_f_carrier", "_f_distance", "_f_hour"],
    )


def training_rows(seed: int = 0, count: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """A matrix (carrier code, distance, hour) with gaps, and a label that depends on all three."""
    rng = np.random.default_rng(seed)
    matrix = np.column_stack(
        [rng.integers(0, 3, count), rng.uniform(0, 1000, count), rng.integers(0, 24, count)]
    ).astype(float)
    label = (matrix[:, 0] * 2 + matrix[:, 1] / 300 + matrix[:, 2] / 8 + rng.normal(size=count)) > 5
    matrix[rng.random(count) < 0.1, 1] = np.nan
    return matrix, label.astype(float)


def booster(names: list[str], matrix: np.ndarray, label: np.ndarray) -> Any:
    import lightgbm

    data = lightgbm.Dataset(matrix, label, feature_name=names)
    parameters = {"objective": "binary", "num_leaves": 7, "verbose": -1, "num_threads": 1}
    return lightgbm.train(parameters, data, num_boost_round=8)


def package(scorer: Scorer | None = None, workload: str = "delays") -> ModelPackage:
    """A trained workload, context and all."""
    names = [feature.name for feature in FEATURES]
    if scorer is None:
        text = booster(names, *training_rows()).model_to_string()
        scorer = LightGBMScorer(tuple(names), text)
    learned = (
        CategoricalFeature("carrier", ("AA", "UA"), distinct=3, present=400),
        NumericFeature("distance", mean=500.0, low=0.0, high=1000.0, present=360),
        NumericFeature("hour", mean=11.5, low=0.0, high=23.0, present=400),
    )
    return ModelPackage(
        workload=workload,
        task=Task.BINARY,
        source=Source(table="flights", key="id", prediction_time="seen"),
        contexts={
            "weather": Context(
                table="weather",
                on=["origin"],
                known_at="hour",
                lookback_window="6 hours",
                latest=["temperature"],
                aggregates={"rain": {"avg": "precipitation", "over": "3 hours"}},
            )
        },
        features=FEATURES,
        preprocessor=Preprocessor(learned),
        scorer=scorer,
        training={"pins": {"flights": 12}},
    )


def lightgbm_text(path: Path) -> Path:
    """Someone's LightGBM model over the table's own numeric columns, as text."""
    matrix, label = training_rows(1)
    booster(["distance", "hour"], matrix[:, 1:], label).save_model(str(path))
    return path


def sklearn_folder(folder: Path) -> Path:
    """Someone's scikit-learn model in MLflow: pickled, with a signature, giving probabilities."""
    import mlflow.sklearn
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema
    from sklearn.ensemble import HistGradientBoostingClassifier

    matrix, label = training_rows(2)
    model = HistGradientBoostingClassifier(max_iter=8, random_state=0)
    model.fit(matrix[:, 1:], label)
    columns = [ColSpec("double", name, required=False) for name in ("distance", "hour")]
    mlflow.sklearn.save_model(
        model,
        str(folder),
        serialization_format="cloudpickle",
        pyfunc_predict_fn="predict_proba",
        signature=ModelSignature(Schema(columns), Schema([ColSpec("double")])),
        pip_requirements=[],
    )
    return folder


def pipeline_folder(spark: SparkSession, folder: Path) -> Path:
    """Someone's MLlib pipeline over the table's own columns, with gaps filled by the pipeline."""
    from pyspark.ml import Pipeline
    from pyspark.ml.classification import LogisticRegression
    from pyspark.ml.feature import Imputer, StringIndexer, VectorAssembler

    stages = [
        StringIndexer(inputCol="carrier", outputCol="carrier_code", handleInvalid="keep"),
        Imputer(inputCols=["distance", "hour_number"], outputCols=["distance_full", "hour_full"]),
        VectorAssembler(
            inputCols=["carrier_code", "distance_full", "hour_full"], outputCol="vector"
        ),
        LogisticRegression(featuresCol="vector", labelCol="late", maxIter=5),
    ]
    rows = pipeline_table(spark).selectExpr("*", "cast(id % 2 as double) as late")
    Pipeline(stages=stages).fit(rows).write().overwrite().save(str(folder))
    return folder


def pipeline_table(spark: SparkSession, count: int = 30) -> DataFrame:
    """The table with the hour as the pipeline wants it."""
    return table(spark, count).selectExpr("*", "cast(hour as double) as hour_number")
