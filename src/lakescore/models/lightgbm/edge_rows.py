"""Rows on which two ways of scoring one LightGBM model would differ, if they differ at all."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

from lakescore.models.lightgbm.text import ModelText

if TYPE_CHECKING:
    import numpy.typing as npt

#: Missing, both zeros, what LightGBM rounds to zero (1e-35), infinite, and past 32-bit integers.
_SPECIAL = (np.nan, 0.0, -0.0, 1e-36, -1e-36, 1e-35, np.inf, -np.inf, 1e300, -1e300)
_SPECIAL_CODES = (np.nan, 0.0, -0.0, -1.0, -0.5, 0.5, 2.5, 1e6)
_ROWS = 1024


def edge_rows(model: ModelText) -> npt.NDArray[np.float64]:
    """Random rows of every column's thresholds, their neighbours and special values.

    Shape (1024, columns). The same for one model every time.
    """
    random = np.random.default_rng(0)
    thresholds, codes = _thresholds(model), _highest_codes(model)
    pools = [
        _codes(codes[index]) if index in codes else _numbers(thresholds[index])
        for index in range(len(model.feature_names))
    ]
    columns = [random.choice(pool, _ROWS) for pool in pools]
    return np.ascontiguousarray(np.stack(columns, axis=1))


def _codes(highest: int) -> npt.NDArray[np.float64]:
    return np.concatenate([np.arange(highest + 3.0), _SPECIAL_CODES])


def _numbers(thresholds: set[float]) -> npt.NDArray[np.float64]:
    exact = np.array(sorted(thresholds), dtype=np.float64)
    beside = [np.nextafter(exact, -np.inf), np.nextafter(exact, np.inf)]
    return np.concatenate([exact, *beside, _SPECIAL])


def _thresholds(model: ModelText) -> dict[int, set[float]]:
    found: dict[int, set[float]] = defaultdict(set)
    for one in model.trees:
        for feature, threshold in zip(one.tree.feature, one.tree.threshold, strict=True):
            found[int(feature)].add(float(threshold))
    return found


def _highest_codes(model: ModelText) -> dict[int, int]:
    """Of each column that a tree splits by codes, the highest that any split knows."""
    found: dict[int, int] = {}
    for one in model.trees:
        for split, members in one.tree.members.items():
            feature = int(one.tree.feature[split])
            found[feature] = max(found.get(feature, 0), int(members.max(initial=0)))
    return found
