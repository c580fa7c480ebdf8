"""Someone's MLlib pipeline without Spark: the doubles of Spark's own transform."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from pyspark.ml import Pipeline, clustering, regression
from pyspark.ml import classification as c
from pyspark.ml.feature import StringIndexer, VectorAssembler

from lakescore.errors import ModelBroken
from lakescore.models.mllib.forest_scorer import ForestScorer
from lakescore.registry.foreign import open_model
from lakescore.registry.foreign_mllib import ForeignMLlib, portable_pipeline
from lakescore.scoring.spark_transform import load_pipeline, transform_frame

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

pytestmark = pytest.mark.spark

INPUTS = ["x", "n", "flag"]
TREES = {"maxDepth": 4, "seed": 3}
BOTH = {"labelCol": "late"}
VALUE = {"labelCol": "value"}
#: Every model that is scored without Spark, and how far its doubles may be from Spark's.
MODELS: dict[str, tuple[Callable[[], Any], float]] = {
    "linear regression": (lambda: regression.LinearRegression(**VALUE, regParam=0.1), 1e-12),
    "logistic regression": (lambda: c.LogisticRegression(**BOTH, maxIter=10), 1e-15),
    "decision tree, classes": (lambda: c.DecisionTreeClassifier(**BOTH, **TREES), 0),
    "decision tree, values": (lambda: regression.DecisionTreeRegressor(**VALUE, **TREES), 0),
    "forest, classes": (lambda: c.RandomForestClassifier(**BOTH, **TREES, numTrees=7), 0),
    "forest, values": (lambda: regression.RandomForestRegressor(**VALUE, **TREES, numTrees=7), 0),
    "boosted, classes": (lambda: c.GBTClassifier(**BOTH, **TREES, maxIter=6), 1e-15),
    "boosted, values": (lambda: regression.GBTRegressor(**VALUE, **TREES, maxIter=6), 1e-12),
    "k-means": (lambda: clustering.KMeans(k=4, seed=3), 0),
}


@pytest.fixture(scope="module")
def rows(spark: SparkSession, tmp_path_factory) -> DataFrame:
    rng = np.random.default_rng(4)
    x, n = rng.normal(size=400).round(2), rng.integers(-20, 20, 400)
    flag, noise = rng.random(400) < 0.3, rng.normal(size=400)
    late = x + n / 10 + flag + noise > 0
    table = pa.table(
        {
            "id": np.arange(400),
            "x": x,
            "n": pa.array(n, pa.int32()),
            "flag": flag,
            "late": late.astype(float),
            "value": x * 3 - n + noise,
            "kind": pa.array([("a", "b", "c")[i % 3] for i in range(400)]),
        }
    )
    path = tmp_path_factory.mktemp("rows") / "rows.parquet"
    pa.parquet.write_table(table, path)
    return spark.read.parquet(str(path))


def saved(rows: DataFrame, folder: Path, model: Any, invalid: str = "error", *before: Any) -> Path:
    inputs = [*INPUTS, *(stage.getOutputCol() for stage in before)]
    assembler = VectorAssembler(inputCols=inputs, outputCol="features", handleInvalid=invalid)
    Pipeline(stages=[*before, assembler, model]).fit(rows).save(str(folder))
    return folder


def opened(rows: DataFrame, folder: Path) -> ForeignMLlib | None:
    return portable_pipeline(open_model(str(folder), trust=None), dict(rows.dtypes))


def by_spark(rows: DataFrame, folder: Path) -> list[float]:
    scored = transform_frame(rows, load_pipeline(str(folder)), keep=["id"]).orderBy("id")
    return [row["prediction"] for row in scored.collect()]


def batch(rows: DataFrame) -> pa.RecordBatch:
    ordered = rows.orderBy("id").toPandas()
    return pa.RecordBatch.from_pandas(ordered[INPUTS], preserve_index=False)


@pytest.mark.parametrize("name", MODELS)
def test_the_same_doubles_as_spark_by_native_code_or_not(
    rows: DataFrame, tmp_path: Path, monkeypatch, name: str
) -> None:
    make, apart = MODELS[name]
    folder = saved(rows, tmp_path / "pipeline", make())
    pipeline = opened(rows, folder)
    assert pipeline is not None and pipeline.inputs == {
        "x": "double",
        "n": "int",
        "flag": "boolean",
    }
    expected = by_spark(rows, folder)
    assert len(set(expected)) > 3
    native = pipeline.predict(batch(rows))
    assert np.abs(native - expected).max() <= apart
    if isinstance(pipeline.scorer, ForestScorer):
        assert pipeline.scorer._ensemble is not None
        monkeypatch.setitem(vars(pipeline.scorer), "_ensemble", None)
        assert pipeline.predict(batch(rows)).tolist() == native.tolist()


def test_missing_values_are_kept_or_refused_as_the_pipeline_says(
    rows: DataFrame, tmp_path: Path
) -> None:
    gaps = rows.selectExpr("id", "if(id % 5 = 0, null, x) as x", "n", "flag", "late")
    forest = MODELS["forest, classes"][0]
    keeps = saved(rows, tmp_path / "keep", forest(), "keep")
    pipeline = opened(gaps, keeps)
    assert pipeline is not None
    assert pipeline.predict(batch(gaps)).tolist() == by_spark(gaps, keeps)
    refuses = opened(gaps, saved(rows, tmp_path / "error", forest()))
    assert refuses is not None
    with pytest.raises(ModelBroken, match="'x' is null or NaN in 80 rows") as caught:
        refuses.predict(batch(gaps))
    assert "source.columns: {x: not null}" in str(caught.value)


def test_what_only_spark_can_score_is_left_to_it(rows: DataFrame, tmp_path: Path) -> None:
    three = rows.withColumn("late", (rows.id % 3).cast("double"))
    coded = StringIndexer(inputCol="kind", outputCol="code")
    tree = MODELS["decision tree, classes"][0]
    cases = {
        "skips rows": saved(rows, tmp_path / "skip", tree(), "skip"),
        "three classes": saved(three, tmp_path / "three", tree()),
        "three classes, softmax": saved(three, tmp_path / "softmax", c.LogisticRegression(**BOTH)),
        "strings": saved(rows, tmp_path / "strings", tree(), "error", coded),
        "cosine": saved(rows, tmp_path / "cosine", clustering.KMeans(distanceMeasure="cosine")),
        "neural": saved(
            rows,
            tmp_path / "net",
            c.MultilayerPerceptronClassifier(**BOTH, layers=[3, 2], maxIter=1),
        ),
    }
    assert [name for name, folder in cases.items() if opened(rows, folder) is not None] == []
    decimals = rows.selectExpr("id", "cast(x as decimal(9,2)) as x", "n", "flag", "late")
    assert opened(decimals, saved(rows, tmp_path / "plain", tree())) is None


def test_a_damaged_pipeline_is_named(rows: DataFrame, tmp_path: Path) -> None:
    folder = saved(rows, tmp_path / "pipeline", MODELS["boosted, values"][0]())
    (part,) = (folder / "stages").glob("1_*/treesMetadata/*.parquet")
    part.write_bytes(b"PAR1")
    with pytest.raises(ModelBroken, match="its saved model does not fit") as caught:
        opened(rows, folder)
    assert str(folder) in str(caught.value)
