"""Metrics on all rows through Spark: scikit-learn's values, and bad rows refused by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from sklearn import metrics as peer

from lakescore.errors import ColumnMissing, EmptyTable, LakescoreError, OneClassLabel
from lakescore.evaluation import binary
from lakescore.evaluation.metrics import evaluate
from lakescore.evaluation.residuals import residuals
from lakescore.matrix import Task
from tests.scored_samples import sample

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

pytestmark = pytest.mark.spark

MODELS = {"fine": "fine.score", "coarse": "coarse", "prior": "prior"}


@pytest.fixture(scope="module")
def columns() -> dict[str, np.ndarray]:
    """1,600 rows in three splits and one without; ties of every kind."""
    labels, fine = sample(1600, seed=1)
    fine[:4] = [0.0, 1.0, -0.0, 1e-300]
    split = np.array(["train", "validation", "test", None], dtype=object)[
        np.random.default_rng(2).choice(4, size=1600, p=[0.5, 0.2, 0.2, 0.1])
    ]
    return {
        "y": labels,
        "split": split,
        "fine.score": fine,
        "coarse": np.round(fine, 1),
        "prior": np.full(1600, 0.2),
    }


def frame(spark: SparkSession, columns: dict[str, np.ndarray], partitions: int = 3) -> DataFrame:
    rows = list(zip(*(values.tolist() for values in columns.values()), strict=True))
    types = ", ".join(
        f"`{name}` {'string' if values.dtype == object else 'double'}"
        for name, values in columns.items()
    )
    return spark.createDataFrame(rows, types).repartition(partitions)


def expected_binary(labels: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    return {
        "roc_auc": peer.roc_auc_score(labels, scores),
        "average_precision": peer.average_precision_score(labels, scores),
        "log_loss": peer.log_loss(labels, scores),
        "brier": peer.brier_score_loss(labels, scores),
        "base_rate": labels.mean(),
        "mean_prediction": scores.mean(),
    }


def test_binary_metrics_equal_scikit_learn_in_every_split(spark, columns) -> None:
    found = evaluate(frame(spark, columns), task=Task.BINARY, label="y", scores=MODELS, by="split")
    assert found.splits == ("test", "train", "validation")
    assert len(found.results) == 9
    for result in found.results:
        rows = columns["split"] == result.split
        labels, scores = columns["y"][rows], columns[MODELS[result.model]][rows]
        assert (result.rows, result.positives) == (rows.sum(), labels.sum())
        for name, value in expected_binary(labels, scores).items():
            assert result.metrics[name] == pytest.approx(value, abs=1e-9), (result, name)


def test_cutting_scores_into_buckets_changes_nothing(spark, columns, monkeypatch) -> None:
    df = frame(spark, columns)
    arguments = {"task": Task.BINARY, "label": "y", "scores": MODELS}
    whole = evaluate(df, **arguments)
    monkeypatch.setattr(binary, "_ROWS_IN_A_BUCKET", 100)
    monkeypatch.setattr(binary, "_SAMPLED_ROWS_IN_A_BUCKET", 20)
    cut = evaluate(df, **arguments)
    for model in MODELS:
        one, other = whole.result(model), cut.result(model)
        assert one.metrics == pytest.approx(other.metrics, rel=1e-12)
        for name in ("quantile", "interval", "lowest", "rows", "positives"):
            np.testing.assert_array_equal(getattr(one.profile, name), getattr(other.profile, name))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {"coarse": np.nan},
            LakescoreError,
            r"split 'test': \d+ of \d+ scores of model 'coarse' are null, NaN or infinite",
        ),
        ({"y": np.nan}, LakescoreError, r"split 'test': \d+ of \d+ labels are null, NaN or inf"),
        ({"y": 2.0}, LakescoreError, r"split 'test': \d+ of \d+ labels are neither 0 nor 1"),
        (
            {"prior": 1.5},
            LakescoreError,
            r"split 'test': \d+ of \d+ scores of model 'prior' are outside 0 to 1",
        ),
    ],
)
def test_bad_rows_are_refused_by_name_and_count(spark, columns, change, error, message) -> None:
    (name, value), *_ = change.items()
    changed = {**columns, name: columns[name].copy()}
    changed[name][columns["split"] == "test"] = value
    with pytest.raises(error, match=message):
        evaluate(frame(spark, changed), task=Task.BINARY, label="y", scores=MODELS, by="split")


def test_one_class_in_a_split_is_refused_with_its_counts(spark, columns) -> None:
    changed = {**columns, "y": np.where(columns["split"] == "train", 0.0, columns["y"])}
    rows = (columns["split"] == "train").sum()
    with pytest.raises(OneClassLabel, match=f"split 'train': .* 0 positive of {rows} rows"):
        evaluate(frame(spark, changed), task=Task.BINARY, label="y", scores=MODELS, by="split")


def test_an_empty_split_and_a_missing_column_are_refused(spark, columns) -> None:
    df = frame(spark, columns)
    arguments = {"task": Task.BINARY, "label": "y", "by": "split"}
    with pytest.raises(EmptyTable, match="no rows to evaluate in split 'holdout'") as raised:
        evaluate(df, scores=MODELS, splits=["test", "holdout"], **arguments)
    assert raised.value.hint == "splits with rows: test"
    with pytest.raises(EmptyTable, match="there are no rows to evaluate"):
        evaluate(df.limit(0), scores=MODELS, **arguments)
    with pytest.raises(ColumnMissing, match="needs the column 'corse'") as missing:
        evaluate(df, scores={"a": "corse"}, **arguments)
    assert "did you mean 'coarse'?" in str(missing.value.hint)


@pytest.fixture(scope="module")
def delays() -> dict[str, np.ndarray]:
    """Labels far from zero: sums of squares would cancel."""
    rng = np.random.default_rng(3)
    labels = 1e5 + 10 * rng.normal(size=800)
    return {
        "y": labels,
        "split": np.where(np.arange(800) < 500, "train", "test").astype(object),
        "close": labels + rng.normal(size=800) + 0.5,
        "mean": np.full(800, 1e5),
    }


def test_regression_metrics_equal_scikit_learn(spark, delays) -> None:
    models = {"close": "close", "mean": "mean"}
    found = evaluate(
        frame(spark, delays), task=Task.REGRESSION, label="y", scores=models, by="split"
    )
    for result in found.results:
        rows = delays["split"] == result.split
        labels, scores = delays["y"][rows], delays[result.model][rows]
        expected = {
            "rmse": peer.root_mean_squared_error(labels, scores),
            "mae": peer.mean_absolute_error(labels, scores),
            "r2": peer.r2_score(labels, scores),
            "bias": (scores - labels).mean(),
            "mean_label": labels.mean(),
        }
        assert list(result.metrics) == list(expected)
        for name, value in expected.items():
            assert result.metrics[name] == pytest.approx(value, abs=1e-9), (result, name)


def test_a_constant_label_has_the_r2_of_scikit_learn(spark) -> None:
    columns = {"y": np.full(9, 0.1), "right": np.full(9, 0.1), "wrong": np.full(9, 0.2)}
    models = {"right": "right", "wrong": "wrong"}
    found = evaluate(frame(spark, columns), task=Task.REGRESSION, label="y", scores=models)
    assert (found.value("r2", "right"), found.value("r2", "wrong")) == (1.0, 0.0)


def test_residuals_account_for_every_row(spark, delays) -> None:
    df = frame(spark, delays)
    found = evaluate(df, task=Task.REGRESSION, label="y", scores={"m": "close"}, by="split")
    drawn = residuals(df, found, model="m", split="train")
    bins = drawn.predicted_vs_actual
    assert 15 <= len(bins) <= 20
    assert sum(item.rows for item in bins) == 500
    assert [item.predicted for item in bins] == sorted(item.predicted for item in bins)
    assert sum(abs(item.predicted - item.observed - 0.5) < 1 for item in bins) == len(bins)
    assert all(item.low <= item.observed <= item.high for item in bins)
    assert sum(drawn.errors.counts["rows"]) == 500
    errors = (delays["close"] - delays["y"])[delays["split"] == "train"]
    inner, _ = np.histogram(errors, bins=drawn.errors.edges)
    assert list(drawn.errors.counts["rows"][1:-1]) == inner.tolist()[1:-1]
