"""What an evaluation gives: metrics for each model and split, and profiles of the scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lakescore.errors import LakescoreError, did_you_mean
from lakescore.matrix import Task

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

#: The split of an evaluation that was not divided by a column.
ALL_ROWS = "all"


@dataclass(frozen=True)
class ScoreProfile:
    """All rows of one model and split in at most a few thousand groups, by descending score.

    Each array has one entry a group. Equal scores are never divided, so the running totals at
    the end of a group are an exact point of the ROC and the precision-recall curve.

    quantile: which of `QUANTILE_BINS` equal shares of the rows the group lies in (0 = highest).
    interval: which of `SCORE_INTERVALS` equal intervals of [0, 1] its scores lie in.
    lowest: the lowest score of the group. rows, positives: counts. score_sum: sum of the scores.
    """

    quantile: npt.NDArray[np.int64]
    interval: npt.NDArray[np.int64]
    lowest: npt.NDArray[np.float64]
    rows: npt.NDArray[np.int64]
    positives: npt.NDArray[np.int64]
    score_sum: npt.NDArray[np.float64]


@dataclass(frozen=True)
class ModelResult:
    """One model on all rows of one split. `positives` are of binary labels only.

    `profile` is of a binary label's scores, or of how sure a multiclass model is, with the rows in
    which it is right as positives.
    """

    model: str
    split: str
    rows: int
    positives: int | None
    metrics: Mapping[str, float]
    profile: ScoreProfile | None = field(default=None, repr=False, compare=False)

    def describe(self) -> dict[str, Any]:
        """JSON-ready, without the profile."""
        return {
            "model": self.model,
            "split": self.split,
            "rows": self.rows,
            "positives": self.positives,
            "metrics": dict(self.metrics),
        }


@dataclass(frozen=True)
class Evaluation:
    """Every model on every split, and which columns it was made from.

    `classes` are those of a multiclass label.
    """

    task: Task
    label: str
    scores: Mapping[str, str]
    by: str | None
    results: tuple[ModelResult, ...]
    classes: tuple[str, ...] = ()

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(result.split for result in self.results))

    def result(self, model: str, split: str = ALL_ROWS) -> ModelResult:
        """The one for `model` and `split`. Raises LakescoreError naming those that are there."""
        for result in self.results:
            if (result.model, result.split) == (model, split):
                return result
        wrong, known = (model, self.scores) if model not in self.scores else (split, self.splits)
        raise LakescoreError(f"'{wrong}' was not evaluated", hint=did_you_mean(wrong, known))

    def value(self, metric: str, model: str, split: str = ALL_ROWS) -> float:
        """One number. Raises LakescoreError naming what is there."""
        metrics = self.result(model, split).metrics
        if metric not in metrics:
            raise LakescoreError(
                f"there is no metric '{metric}' for this task", hint=did_you_mean(metric, metrics)
            )
        return metrics[metric]

    def describe(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"task": self.task.value, "results": [item.describe() for item in self.results]}
