"""The metrics by name, and their exact values on all rows, computed where the rows are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from lakescore.errors import UsageError, did_you_mean
from lakescore.evaluation.results import Evaluation
from lakescore.matrix import Task

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


@dataclass(frozen=True)
class Metric:
    """How a metric is called and read. `higher_is_better` is None where neither is."""

    name: str
    task: Task
    higher_is_better: bool | None
    description: str

    def gain(self, difference: float) -> float:
        """`difference` in the metric's good direction: positive is better."""
        return difference if self.higher_is_better else -difference


_ALL = (
    Metric(
        "roc_auc",
        Task.BINARY,
        True,
        "Area under the ROC curve: how often a positive row scores above a negative one; "
        "ties count half.",
    ),
    Metric(
        "average_precision",
        Task.BINARY,
        True,
        "Precision averaged over the steps of recall, without interpolation.",
    ),
    Metric(
        "log_loss",
        Task.BINARY,
        False,
        "Mean negative log likelihood; scores are kept 2.2e-16 away from 0 and 1.",
    ),
    Metric("brier", Task.BINARY, False, "Mean squared difference of score and outcome."),
    Metric(
        "calibration_error",
        Task.BINARY,
        False,
        "Expected calibration error: mean distance of score and outcome over ten bins of equally "
        "many rows by score; equal scores share a bin.",
    ),
    Metric("base_rate", Task.BINARY, None, "Share of positive rows."),
    Metric("mean_prediction", Task.BINARY, None, "Mean score."),
    Metric("rmse", Task.REGRESSION, False, "Root of the mean squared error, in the label's unit."),
    Metric("mae", Task.REGRESSION, False, "Mean absolute error, in the label's unit."),
    Metric(
        "r2",
        Task.REGRESSION,
        True,
        "Share of the label's variance that is explained; a constant label gives 1 when every "
        "score is right and 0 otherwise.",
    ),
    Metric("bias", Task.REGRESSION, None, "Mean of prediction minus label, in the label's unit."),
    Metric("mean_label", Task.REGRESSION, None, "Mean label."),
)

#: Every metric by name.
METRICS: Mapping[str, Metric] = MappingProxyType({item.name: item for item in _ALL})


def metrics_for(task: Task) -> tuple[Metric, ...]:
    """The metrics of a task, in the order to show them."""
    return tuple(item for item in _ALL if item.task is task)


def metric(name: str, task: Task | None = None) -> Metric:
    """The metric called `name`, one of `task` where that is given.

    Raises UsageError with the closest name.
    """
    known = {item.name: item for item in _ALL if task in (None, item.task)}
    if name not in known:
        kind = "metric" if task is None else f"{task.value} metric"
        raise UsageError(f"there is no {kind} '{name}'", hint=did_you_mean(name, known))
    return known[name]


def evaluate(
    df: DataFrame,
    *,
    task: Task,
    label: str,
    scores: Mapping[str, str],
    by: str | None = None,
    splits: Sequence[str] = (),
) -> Evaluation:
    """Evaluate several models on all rows of `df`, split by split, equal to scikit-learn's values.

    scores: model name -> column. by: the split column; rows where it is null are left out.
    splits: the splits to evaluate, and that must have rows (default: those that are there).
    `df` is read twice (binary) or once (regression), so hand in rows that are stored.

    Raises ColumnMissing; EmptyTable for a split without rows; OneClassLabel for a binary split
    with one class; LakescoreError, with the model and the count, for labels or scores that are
    null, NaN or infinite, for labels other than 0 and 1 and for scores outside [0, 1] (binary).
    """
    from lakescore.evaluation.binary import evaluate_binary
    from lakescore.evaluation.regression import evaluate_regression
    from lakescore.evaluation.scored_rows import ScoredRows

    rows = ScoredRows.of(df, task=task, label=label, scores=scores, by=by, splits=splits)
    results = evaluate_binary(rows) if task is Task.BINARY else evaluate_regression(rows)
    return Evaluation(task, label, dict(scores), by, results)
