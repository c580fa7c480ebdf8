"""Chooses a model by one metric."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite

from lakescore.errors import LakescoreError, UsageError
from lakescore.evaluation.metrics import METRICS, Metric, metric


def select(values: Mapping[str, float], by: str) -> str:
    """The candidate with the best value of metric `by`; of equals the first one in `values`.

    A value that is NaN or infinite never wins. Raises LakescoreError when none is finite, and
    UsageError for an unknown metric or one that has no better and worse.
    """
    ranked = metric(by)
    require_ranking(ranked)
    usable = {name: value for name, value in values.items() if isfinite(value)}
    if not usable:
        raise LakescoreError(
            f"no candidate has a usable {by}: {', '.join(values) or 'none was trained'}",
            hint="look at why the fits failed or scored NaN",
        )
    # `max` keeps the first of equals.
    return max(usable, key=lambda name: ranked.gain(usable[name]))


def require_ranking(asked: Metric) -> None:
    """Raises UsageError for a metric that only describes."""
    if asked.higher_is_better is None:
        better = [
            item.name
            for item in METRICS.values()
            if item.tasks & asked.tasks and item.higher_is_better is not None
        ]
        raise UsageError(
            f"'{asked.name}' describes a model, it does not rank models",
            hint=f"metrics that do: {', '.join(better)}",
        )
