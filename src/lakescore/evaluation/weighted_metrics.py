"""Weighted metrics of many bootstrap replicates at once, from sums that can be added up."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from lakescore.evaluation.ranked_bucket import log_losses

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Ints = npt.NDArray[np.int64]
    Weights = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class State:
    """Weighted counts (replicates, models, cells) and sums (replicates, terms)."""

    counts: Ints
    sums: Floats


class Statistic(ABC):
    """Adds up weighted rows; the additions commute, so rows may come in any order and place."""

    metrics: ClassVar[tuple[str, ...]]

    @abstractmethod
    def zero(self, replicates: int) -> State:
        """The state before any row."""

    @abstractmethod
    def add(self, state: State, weights: Weights, labels: Floats, scores: Floats) -> None:
        """Add rows in place. weights: (replicates, rows); scores: (models, rows)."""

    @abstractmethod
    def values(self, state: State) -> Floats:
        """The metrics, shape (replicates, models, metrics); NaN where one is not defined."""


@dataclass(frozen=True)
class BinaryStatistic(Statistic):
    """AUC and average precision over fine bins of the scores, the others exact.

    edges: for each model the ascending lowest scores of its bins.
    """

    edges: tuple[Floats, ...]
    metrics: ClassVar[tuple[str, ...]] = (
        "roc_auc",
        "average_precision",
        "log_loss",
        "brier",
        "mean_prediction",
        "base_rate",
    )

    @property
    def models(self) -> int:
        return len(self.edges)

    @property
    def _bins(self) -> int:
        return max(len(edges) for edges in self.edges)

    def zero(self, replicates: int) -> State:
        cells = 2 * self._bins
        counts = np.zeros((replicates, self.models, cells), dtype=np.int64)
        return State(counts, np.zeros((replicates, 2 + 3 * self.models)))

    def add(self, state: State, weights: Weights, labels: Floats, scores: Floats) -> None:
        terms = [np.ones_like(labels), labels]
        for model, score in enumerate(scores):
            place = np.searchsorted(self.edges[model], score, side="right") - 1
            cells = 2 * place + labels.astype(np.int64)
            for replicate, weight in enumerate(weights):
                found = np.bincount(cells, weights=weight, minlength=2 * self._bins)
                state.counts[replicate, model] += found.astype(np.int64)
            if_positive, if_negative = log_losses(score)
            loss = np.where(labels == 1, if_positive, if_negative)
            terms += [loss, (score - labels) ** 2, score]
        state.sums[:] += weights.astype(np.float64) @ np.column_stack(terms)

    def values(self, state: State) -> Floats:
        rows, positives = state.sums[:, 0:1], state.sums[:, 1:2]
        with np.errstate(invalid="ignore", divide="ignore"):
            ranked = _ranked_metrics(state.counts)
            means = state.sums[:, 2:].reshape(len(rows), self.models, 3) / rows[:, :, None]
            rates = np.repeat(positives / rows, self.models, axis=1)[:, :, None]
        return np.concatenate([*ranked, means, rates], axis=2)


def _ranked_metrics(counts: Ints) -> tuple[Floats, Floats]:
    """AUC and average precision, each (replicates, models, 1); bins ascend by score."""
    negatives, positives = counts[:, :, -2::-2], counts[:, :, ::-2]
    above_positives = positives.cumsum(axis=2)
    above_rows = above_positives + negatives.cumsum(axis=2)
    all_positives, all_rows = above_positives[:, :, -1:], above_rows[:, :, -1:]
    wins = (negatives * (above_positives - positives / 2)).sum(axis=2, keepdims=True)
    precision = above_positives / np.maximum(above_rows, 1)
    steps = (positives * precision).sum(axis=2, keepdims=True)
    return wins / (all_positives * (all_rows - all_positives)), steps / all_positives


@dataclass(frozen=True)
class MulticlassStatistic(Statistic):
    """Exact. Of each model come three scores: those of `ScoredRows.statistic_columns`."""

    models: int
    classes: int
    metrics: ClassVar[tuple[str, ...]] = (
        "log_loss",
        "accuracy",
        "balanced_accuracy",
        "mean_confidence",
    )

    def zero(self, replicates: int) -> State:
        counts = np.zeros((replicates, self.models, 2 * self.classes), dtype=np.int64)
        return State(counts, np.zeros((replicates, 1 + 2 * self.models)))

    def add(self, state: State, weights: Weights, labels: Floats, scores: Floats) -> None:
        terms = [np.ones_like(labels)]
        for model, (right, confidence, hit) in enumerate(np.split(scores, self.models)):
            cells = 2 * labels.astype(np.int64) + hit.astype(np.int64)
            for replicate, weight in enumerate(weights):
                found = np.bincount(cells, weights=weight, minlength=2 * self.classes)
                state.counts[replicate, model] += found.astype(np.int64)
            terms += [log_losses(right)[0], confidence]
        state.sums[:] += weights.astype(np.float64) @ np.column_stack(terms)

    def values(self, state: State) -> Floats:
        rows = state.sums[:, 0:1]
        missed, hits = state.counts[:, :, ::2], state.counts[:, :, 1::2]
        means = state.sums[:, 1:].reshape(len(rows), self.models, 2)
        with np.errstate(invalid="ignore", divide="ignore"):
            loss, confidence = np.moveaxis(means / rows[:, :, None], 2, 0)
            accuracy = hits.sum(axis=2) / rows
            recalls = hits / (hits + missed)
            present = (hits + missed).sum(axis=1, keepdims=True) > 0
            balanced = np.where(present, np.nan_to_num(recalls), 0).sum(axis=2) / present.sum(
                axis=2
            )
        return np.stack([loss, accuracy, balanced, confidence], axis=2)


@dataclass(frozen=True)
class RegressionStatistic(Statistic):
    """Exact. `center` is a number near the labels: it keeps their variance from cancelling."""

    models: int
    center: float
    metrics: ClassVar[tuple[str, ...]] = ("rmse", "mae", "r2", "bias", "mean_label")

    def zero(self, replicates: int) -> State:
        counts = np.zeros((replicates, self.models, 0), dtype=np.int64)
        return State(counts, np.zeros((replicates, 3 + 3 * self.models)))

    def add(self, state: State, weights: Weights, labels: Floats, scores: Floats) -> None:
        centered = labels - self.center
        terms = [np.ones_like(labels), centered, centered**2]
        for score in scores:
            error = score - labels
            terms += [error**2, np.abs(error), error]
        state.sums[:] += weights.astype(np.float64) @ np.column_stack(terms)

    def values(self, state: State) -> Floats:
        rows, total, squares = (state.sums[:, term, None] for term in range(3))
        squared, absolute, error = np.moveaxis(
            state.sums[:, 3:].reshape(len(rows), self.models, 3), 2, 0
        )
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = total / rows
            explained = 1 - squared / (squares - total * mean)
            columns = (
                np.sqrt(squared / rows),
                absolute / rows,
                np.where(np.isfinite(explained), explained, np.nan),
                error / rows,
                np.repeat(self.center + mean, self.models, axis=1),
            )
        return np.stack(columns, axis=2)
