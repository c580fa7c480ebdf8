"""Segments through Spark, against numpy and scikit-learn."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn import metrics as peer

from lakescore.errors import ColumnMissing
from lakescore.evaluation.metrics import evaluate
from lakescore.evaluation.segments import OTHER, evaluate_segments
from lakescore.evaluation.top_values import MISSING
from lakescore.matrix import Task
from tests.scored_samples import sample

pytestmark = pytest.mark.spark

MODELS = {"a": "score_a", "b": "score_b"}


@pytest.fixture(scope="module")
def columns() -> dict[str, np.ndarray]:
    """Tail numbers 0 .. 29, the lower the more rows; an origin that is missing at times."""
    labels, first = sample(1500, seed=9)
    rng = np.random.default_rng(9)
    tail = np.minimum(rng.geometric(0.08, size=1500) - 1, 29)
    origin = np.array(["EWR", "JFK", None], dtype=object)[rng.choice(3, size=1500)]
    labels[origin == "JFK"] = 0.0
    return {
        "y": labels,
        "score_a": first,
        "score_b": np.round(sample(1500, seed=9, noise=2.0)[1], 1),
        "tail": tail,
        "origin": origin,
        "split": np.where(np.arange(1500) < 1000, "test", "train").astype(object),
    }


@pytest.fixture(scope="module")
def df(spark, columns):
    rows = list(zip(*(values.tolist() for values in columns.values()), strict=True))
    schema = "y double, score_a double, score_b double, tail int, origin string, split string"
    return spark.createDataFrame(rows, schema).repartition(3).cache()


def test_segments_equal_scikit_learn_on_their_rows(df, columns) -> None:
    found = evaluate(df, task=Task.BINARY, label="y", scores=MODELS, by="split")
    by_origin, by_tail = evaluate_segments(df, found, columns=["origin", "tail"], split="test")
    test = columns["split"] == "test"
    origin = np.where(columns["origin"] == None, MISSING, columns["origin"])  # noqa: E711
    assert by_origin.left_out == 0
    assert {segment.value for segment in by_origin.segments} == {"EWR", "JFK", MISSING}
    assert len(by_origin.segments) == 6
    for segment in by_origin.segments:
        inside = test & (origin == segment.value)
        labels, scores = columns["y"][inside], columns[MODELS[segment.model]][inside]
        assert (segment.rows, segment.positives) == (inside.sum(), labels.sum())
        assert segment.mean_prediction == pytest.approx(scores.mean())
        if segment.value == "JFK":
            assert segment.metrics == {}
            assert segment.low is None
            continue
        assert segment.metrics == pytest.approx(
            {
                "roc_auc": peer.roc_auc_score(labels, scores),
                "average_precision": peer.average_precision_score(labels, scores),
            },
            abs=1e-12,
        )
        assert segment.low < segment.metrics["roc_auc"] < segment.high
    rest = [segment for segment in by_tail.segments if segment.value == OTHER]
    top = [
        int(item.value) for item in by_tail.segments if item.value != OTHER and item.model == "a"
    ]
    assert len(top) == 20
    others = test & ~np.isin(columns["tail"], top)
    assert by_tail.left_out == len(np.unique(columns["tail"][others]))
    assert [item.rows for item in rest] == [others.sum()] * 2
    assert by_tail.segments[-1].value == OTHER
    assert min(np.bincount(columns["tail"][test])[top]) >= max(np.bincount(columns["tail"][others]))
    json.dumps(by_tail.describe(), allow_nan=False)


def test_regression_segments_add_up(df, columns) -> None:
    found = evaluate(df, task=Task.REGRESSION, label="y", scores={"a": "score_a"})
    (table,) = evaluate_segments(df, found, columns=["origin"])
    assert sum(segment.rows for segment in table.segments) == 1500
    first = next(segment for segment in table.segments if segment.value == "EWR")
    inside = columns["origin"] == "EWR"
    error = (columns["score_a"] - columns["y"])[inside]
    assert first.positives is None
    assert first.metrics == pytest.approx(
        {
            "rmse": np.sqrt((error**2).mean()),
            "mae": np.abs(error).mean(),
            "bias": error.mean(),
        }
    )
    with pytest.raises(ColumnMissing, match="the segment table needs the column 'orign'"):
        evaluate_segments(df, found, columns=["orign"])
