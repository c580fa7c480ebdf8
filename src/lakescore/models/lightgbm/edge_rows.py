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
_BITS_PER_WORD = 32
_ROWS = 4096


def edge_rows(model: ModelText) -> npt.NDArray[np.float64]:
    """Random rows of every column's thresholds, their neighbours and special values.

    Shape (4096, columns). The same for one model every time.
    """
    random = np.random.default_rng(0)
    thresholds = _thresholds(model)
    words = max((tree.category_words for tree in model.trees), default=0)
    pools = [
        _codes(words) if index in model.categorical_indexes else _numbers(thresholds[index])
        for index in range(len(model.feature_names))
    ]
    columns = [random.choice(pool, _ROWS) for pool in pools]
    return np.ascontiguousarray(np.stack(columns, axis=1))


def _codes(words: int) -> npt.NDArray[np.float64]:
    return np.concatenate([np.arange(words * _BITS_PER_WORD + 2.0), _SPECIAL_CODES])


def _numbers(thresholds: set[float]) -> npt.NDArray[np.float64]:
    exact = np.array(sorted(thresholds), dtype=np.float64)
    beside = [np.nextafter(exact, -np.inf), np.nextafter(exact, np.inf)]
    return np.concatenate([exact, *beside, _SPECIAL])


def _thresholds(model: ModelText) -> dict[int, set[float]]:
    found: dict[int, set[float]] = defaultdict(set)
    for tree in model.trees:
        for feature, threshold in zip(tree.features, tree.thresholds, strict=True):
            found[feature].add(threshold)
    return found
