"""Metric names, selection, closed-form intervals, and results as JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from math import inf, nan

import numpy as np
import pytest

from lakescore.errors import LakescoreError, UsageError
from lakescore.evaluation.metrics import METRICS, metric, metrics_for
from lakescore.evaluation.normal import hanley_mcneil_interval, wilson_interval
from lakescore.evaluation.results import Evaluation, ModelResult
from lakescore.evaluation.select import select
from lakescore.matrix import Task


def test_a_wrong_metric_gets_the_closest_right_one() -> None:
    with pytest.raises(UsageError, match="there is no metric 'averge_precision'") as raised:
        metric("averge_precision")
    assert "did you mean 'average_precision'?" in str(raised.value.hint)


def test_a_metric_of_the_other_task_is_refused() -> None:
    with pytest.raises(UsageError, match="there is no regression metric 'roc_auc'"):
        metric("roc_auc", Task.REGRESSION)
    assert metric("rmse", Task.REGRESSION) is METRICS["rmse"]


def test_every_metric_is_described_and_oriented() -> None:
    assert {name for name, item in METRICS.items() if item.higher_is_better} == {
        "roc_auc",
        "average_precision",
        "accuracy",
        "balanced_accuracy",
        "r2",
    }
    assert all(item.description.endswith(".") for item in METRICS.values())
    assert [item.name for item in metrics_for(Task.REGRESSION)] == [
        "rmse",
        "mae",
        "r2",
        "bias",
        "mean_label",
    ]


def test_select_takes_the_best_in_the_metrics_direction() -> None:
    values = {"a": 0.2, "b": 0.3, "c": 0.1}
    assert select(values, "average_precision") == "b"
    assert select(values, "log_loss") == "c"


def test_select_takes_the_first_declared_of_equals() -> None:
    assert select({"b": 0.3, "a": 0.3, "c": 0.1}, "roc_auc") == "b"
    assert select({"b": 0.1, "a": 0.1, "c": 0.3}, "rmse") == "b"


def test_select_never_takes_nan() -> None:
    values = {"a": nan, "b": 0.1, "c": inf, "d": -inf}
    assert select(values, "roc_auc") == "b"
    assert select(values, "log_loss") == "b"
    with pytest.raises(LakescoreError, match="no candidate has a usable roc_auc: a, c"):
        select({"a": nan, "c": inf}, "roc_auc")
    with pytest.raises(UsageError, match="'bias' describes a model"):
        select({"a": 0.1}, "bias")


def test_wilson_interval_equals_the_published_example() -> None:
    # Newcombe, Statistics in Medicine 17 (1998), table I: 81 of 263, and 0 of 20.
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson_interval(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)


def test_hanley_mcneil_interval_is_exact_for_exponential_scores() -> None:
    """The distributions for which their formula is derived; the peer is a simulation."""
    rng = np.random.default_rng(1)
    positives = rng.exponential(4.0, size=(20_000, 12))
    negatives = rng.exponential(1.0, size=(20_000, 30))
    areas = (positives[:, :, None] > negatives[:, None, :]).mean(axis=(1, 2))
    low, high = hanley_mcneil_interval(0.8, 12, 30, confidence=0.6826894921370859)
    assert areas.mean() == pytest.approx(0.8, abs=2e-3)
    assert (high - low) / 2 == pytest.approx(areas.std(), rel=0.02)
    assert hanley_mcneil_interval(1.0, 5, 5) == (1.0, 1.0)


EVALUATION = Evaluation(
    Task.REGRESSION,
    "y",
    {"linear": "p1"},
    "split",
    (ModelResult("linear", "test", 10, None, {"rmse": 2.0}),),
)


def test_results_are_found_by_name_and_a_wrong_name_lists_the_right_ones() -> None:
    assert EVALUATION.value("rmse", "linear", "test") == 2.0
    for arguments, known in (
        (("rmse", "liner", "test"), "did you mean 'linear'?"),
        (("rmse", "linear", "train"), "known: test"),
        (("mae", "linear", "test"), "known: rmse"),
    ):
        with pytest.raises(LakescoreError) as raised:
            EVALUATION.value(*arguments)
        assert known in str(raised.value.hint)


def test_results_are_ready_for_json() -> None:
    described = json.loads(json.dumps(EVALUATION.describe(), allow_nan=False))
    assert described == {
        "task": "regression",
        "results": [
            {
                "model": "linear",
                "split": "test",
                "rows": 10,
                "positives": None,
                "metrics": {"rmse": 2.0},
            }
        ],
    }


def test_names_and_the_gate_need_no_spark() -> None:
    code = (
        "import sys, lakescore.evaluation.metrics, lakescore.evaluation.gate;"
        "assert 'pyspark' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
