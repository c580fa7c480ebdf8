"""The bootstrap through Spark: whatever the partitions, and equal to scikit-learn with weights."""

from __future__ import annotations

import numpy as np
import pytest
from pyspark.sql import functions as F
from sklearn import metrics as peer

from lakescore.errors import ColumnMissing, LakescoreError
from lakescore.evaluation import resampling
from lakescore.evaluation.intervals import bootstrap
from lakescore.evaluation.metrics import evaluate
from lakescore.evaluation.poisson import poisson_weights
from lakescore.matrix import Task
from tests.scored_samples import sample

pytestmark = pytest.mark.spark

MODELS = {"good": "good", "worse": "worse"}
ROWS = 700


@pytest.fixture(scope="module")
def columns() -> dict[str, np.ndarray]:
    labels, good = sample(ROWS, seed=4)
    worse = np.round(sample(ROWS, seed=4, noise=2.5)[1], 2)
    return {"id": np.arange(ROWS), "y": labels, "good": good, "worse": worse}


@pytest.fixture(scope="module")
def df(spark, columns):
    rows = list(zip(*(values.tolist() for values in columns.values()), strict=True))
    split = F.when(F.col("id") < 500, "test").otherwise("train")
    frame = spark.createDataFrame(rows, "id bigint, y double, good double, worse double")
    return frame.withColumn("split", split).repartition(2, "id").cache()


@pytest.fixture(scope="module")
def evaluation(df):
    return evaluate(df, task=Task.BINARY, label="y", scores=MODELS, by="split")


def test_replicates_are_scikit_learns_with_paired_weights(df, evaluation, columns) -> None:
    found = bootstrap(df, evaluation, key=["id"], split="test", replicates=30, seed=5)
    hashed = df.select("id", F.xxhash64("id").alias("key")).collect()
    keys = {row["id"]: row["key"] for row in hashed}
    hashes = np.array([keys[row] for row in range(500)], dtype=np.int64).view(np.uint64)
    weights = poisson_weights(hashes, first=0, replicates=30, seed=5)
    labels = columns["y"][:500]
    auc = {
        name: [
            peer.roc_auc_score(labels, columns[name][:500], sample_weight=weight)
            for weight in weights
        ]
        for name in MODELS
    }
    for name in MODELS:
        np.testing.assert_allclose(found.replicates[name, "roc_auc"], auc[name], atol=1e-9)
    interval = found.interval("roc_auc", "good", confidence=0.8)
    assert interval.estimate == evaluation.value("roc_auc", "good", "test")
    assert (interval.low, interval.high) == pytest.approx(np.quantile(auc["good"], [0.1, 0.9]))
    assert (interval.rows, interval.replicates) == (500, 30)
    difference = found.difference("roc_auc", "good", "worse", confidence=0.8)
    paired = np.subtract(auc["good"], auc["worse"])
    assert (difference.low, difference.high) == pytest.approx(np.quantile(paired, [0.1, 0.9]))
    assert difference.estimate == pytest.approx(
        interval.estimate - evaluation.value("roc_auc", "worse", "test")
    )
    # Pairing pays: the difference is known better than either of its parts.
    assert paired.std() < np.std(auc["good"])


def test_order_partitions_and_jobs_change_nothing(df, evaluation, monkeypatch) -> None:
    arguments = {"key": ["id"], "split": "test", "replicates": 24, "seed": 1}
    one = bootstrap(df, evaluation, **arguments)
    monkeypatch.setattr(resampling, "_REPLICATES_IN_A_JOB", 17)
    other = bootstrap(df.orderBy(F.desc("worse")).repartition(5), evaluation, **arguments)
    for key, values in one.replicates.items():
        np.testing.assert_allclose(other.replicates[key], values, rtol=1e-12, err_msg=str(key))
    seeded = bootstrap(df, evaluation, **{**arguments, "seed": 2})
    assert (seeded.replicates["good", "roc_auc"] != one.replicates["good", "roc_auc"]).all()


def test_other_rows_than_those_evaluated_are_refused(df, evaluation) -> None:
    with pytest.raises(LakescoreError, match="499 rows to bootstrap, but 500 were evaluated"):
        bootstrap(df.where("id <> 3"), evaluation, key=["id"], split="test", replicates=2)
    with pytest.raises(LakescoreError, match="'tset' was not evaluated"):
        bootstrap(df, evaluation, key=["id"], split="tset")
    with pytest.raises(ColumnMissing, match="the bootstrap needs the column 'key'"):
        bootstrap(df, evaluation, key=["key"], split="test")


def test_regression_intervals_come_from_the_same_weights(df) -> None:
    models = {"good": "good", "worse": "worse"}
    found = evaluate(df, task=Task.REGRESSION, label="y", scores=models)
    intervals = bootstrap(df, found, key=["id"], replicates=50)
    for item in intervals.intervals(confidence=0.9):
        assert item.low <= item.estimate <= item.high, item
        assert item.rows == ROWS
    assert intervals.difference("rmse", "good", "worse").high < 0
    with pytest.raises(LakescoreError, match="'roc_auc' has no bootstrap replicates"):
        intervals.interval("roc_auc", "good")
