"""A LightGBM model's trees and objective, as this host's native code scores them.

Nothing is written or kept: the trees are data to code that is the same for every model.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lakescore.models.lightgbm.text import ModelText
from lakescore.models.trees.ensemble import Ensemble, exponentials

if TYPE_CHECKING:
    import numpy.typing as npt

    Doubles = npt.NDArray[np.float64]

log = logging.getLogger(__name__)

_DECIMAL = re.compile(r"(\d+)(?:\.(\d+))?")


@dataclass(frozen=True)
class CompiledModel:
    """Trees, and what becomes of their sums: shape (outputs, rows) in, the same out."""

    ensemble: Ensemble
    convert: Callable[[Doubles], Doubles]

    def predict(self, matrix: Doubles) -> Doubles:
        """LightGBM's own predictions, on this thread. Shape (rows,), or (rows, classes)."""
        scores = self.convert(self.ensemble.sums(matrix))
        return np.ascontiguousarray(scores.T) if len(scores) > 1 else scores[0]


def compiled(model: ModelText) -> CompiledModel | None:
    """None where LightGBM has to score it, with a warning that says why; so without native code."""
    convert = _conversion(model)
    if model.is_linear or convert is None:
        log.warning("scored by LightGBM itself: %s", _strange(model))
        return None
    trees = [one.tree for one in model.trees]
    ensemble = Ensemble.of(trees, max(1, model.classes), tiny_is_zero=True)
    return None if ensemble is None else CompiledModel(ensemble, convert)


def _strange(model: ModelText) -> str:
    if model.is_linear:
        return "its leaves hold linear functions"
    return f"its objective is {model.header.get('objective')}"


def _conversion(model: ModelText) -> Callable[[Doubles], Doubles] | None:
    """LightGBM's ConvertOutput, by objective; None for one that is not known here."""
    words = model.header.get("objective", "custom").split(" ")
    options = dict(word.partition(":")[::2] for word in words[1:])
    sigmoid = _as_lightgbm_reads(options.get("sigmoid", "1"))
    rounds = len(model.trees) // max(1, model.classes) if "average_output" in model.header else 1

    def convert(sums: Doubles) -> Doubles:
        return _CONVERSIONS[words[0]](sums / rounds if rounds > 1 else sums, sigmoid)

    if words[0] not in _CONVERSIONS or "sqrt" in words or not sigmoid > 0:
        return None
    return convert


def _as_lightgbm_reads(decimal: str) -> float:
    """The double that LightGBM's Atof makes of it, which is not always the nearest one; of what is
    no plain decimal, NaN.
    """
    if (found := _DECIMAL.fullmatch(decimal)) is None:
        return float("nan")
    whole, part = found[1], found[2] or ""
    return float(whole) + (float(part) / 10.0 ** len(part) if part else 0.0)


def _same(sums: Doubles, sigmoid: float) -> Doubles:
    return sums


def _power(sums: Doubles, sigmoid: float) -> Doubles:
    return exponentials(sums)


def _logistic(sums: Doubles, sigmoid: float) -> Doubles:
    with np.errstate(over="ignore"):
        return np.asarray(1.0 / (1.0 + exponentials(-sigmoid * sums)))


def _softmax(sums: Doubles, sigmoid: float) -> Doubles:
    powers = exponentials(sums - sums.max(axis=0))
    total = np.zeros(powers.shape[1])
    for one in powers:  # one after the other, as LightGBM adds them
        total += one
    return np.asarray(powers / total)


_CONVERSIONS: dict[str, Callable[[Doubles, float], Doubles]] = {
    **dict.fromkeys(
        ("regression", "regression_l1", "huber", "fair", "quantile", "mape", "lambdarank",
         "rank_xendcg", "custom"),
        _same,
    ),
    **dict.fromkeys(("poisson", "gamma", "tweedie"), _power),
    **dict.fromkeys(("binary", "multiclassova", "cross_entropy", "xentropy"), _logistic),
    "multiclass": _softmax,
}  # fmt: skip
