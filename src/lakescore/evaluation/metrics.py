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
    tasks: frozenset[Task]
    higher_is_better: bool | None
    description: str

    def gain(self, difference: float) -> float:
        """`difference` in the metric's good direction: positive is better."""
        return difference if self.higher_is_better else -difference


_BINARY, _NUMBER = frozenset({Task.BINARY}), frozenset({Task.REGRESSION})
_SEVERAL, _CLASSES = frozenset({Task.MULTICLASS}), frozenset({Task.BINARY, Task.MULTICLASS})

_ALL = (
    Metric(
        "roc_auc",
        _BINARY,
        True,
        "Area under the ROC curve: how often a positive row scores above a negative one; "
        "ties count half.",
    ),
    Metric(
        "average_precision",
        _BINARY,
        True,
        "Precision averaged over the steps of recall, without interpolation.",
    ),
    Metric(
        "log_loss",
        _CLASSES,
        False,
        "Mean negative log likelihood; scores are kept 2.2e-16 away from 0 and 1.",
    ),
    Metric("accuracy", _SEVERAL, True, "Share of rows whose most probable class is the right one."),
    Metric(
        "balanced_accuracy",
        _SEVERAL,
        True,
        "The same share within the rows of each class, averaged over the classes.",
    ),
    Metric("brier", _BINARY, False, "Mean squared difference of score and outcome."),
    Metric(
        "calibration_error",
        _CLASSES,
        False,
        "Expected calibration error: mean distance of score and outcome over ten bins of equally "
        "many rows by score; equal scores share a bin. Of several classes: of the probability of "
        "the most probable one, and whether it is right.",
    ),
    Metric("base_rate", _BINARY, None, "Share of positive rows."),
    Metric("mean_prediction", _BINARY, None, "Mean score."),
    Metric("mean_confidence", _SEVERAL, None, "Mean probability of the most probable class."),
    Metric("rmse", _NUMBER, False, "Root of the mean squared error, in the label's unit."),
    Metric("mae", _NUMBER, False, "Mean absolute error, in the label's unit."),
    Metric(
        "r2",
        _NUMBER,
        True,
        "Share of the label's variance that is explained; a constant label gives 1 when every "
        "score is right and 0 otherwise.",
    ),
    Metric("bias", _NUMBER, None, "Mean of prediction minus label, in the label's unit."),
    Metric("mean_label", _NUMBER, None, "Mean label."),
)

#: Every metric by name.
METRICS: Mapping[str, Metric] = MappingProxyType({item.name: item for item in _ALL})


def metrics_for(task: Task) -> tuple[Metric, ...]:
    """The metrics of a task, in the order to show them."""
    return tuple(item for item in _ALL if task in item.tasks)


def metric(name: str, task: Task | None = None) -> Metric:
    """The metric called `name`, one of `task` where that is given.

    Raises UsageError with the closest name.
    """
    known = {item.name: item for item in _ALL if task is None or task in item.tasks}
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
    classes: Sequence[str] = (),
) -> Evaluation:
    """Evaluate several models on all rows of `df`, split by split, equal to scikit-learn's values.

    scores: model name -> column. by: the split column; rows where it is null are left out.
    splits: the splits to evaluate, and that must have rows (default: those that are there).
    classes: those of a multiclass label, which is a position among them; a score is then an array
    of the probability of each. `df` is read once (regression), twice (binary) or more often
    (multiclass), so hand in rows that are stored.

    Raises ColumnMissing; EmptyTable for a split without rows; OneClassLabel for a binary split
    with one class; LakescoreError, with the model and the count, for labels or scores that are
    null, NaN or infinite, for labels other than 0 and 1 and for scores outside [0, 1] (binary),
    and for scores that are not probabilities of the classes (multiclass).
    """
    from lakescore.evaluation.binary import evaluate_binary
    from lakescore.evaluation.multiclass import evaluate_multiclass
    from lakescore.evaluation.regression import evaluate_regression
    from lakescore.evaluation.scored_rows import ScoredRows

    if task is Task.MULTICLASS and not classes:
        raise UsageError("a multiclass label is evaluated by its `classes`")
    measure = {
        Task.BINARY: evaluate_binary,
        Task.MULTICLASS: evaluate_multiclass,
        Task.REGRESSION: evaluate_regression,
    }[task]
    rows = ScoredRows.of(
        df, task=task, label=label, scores=scores, by=by, splits=splits, classes=len(classes)
    )
    return Evaluation(task, label, dict(scores), by, measure(rows), tuple(classes))
