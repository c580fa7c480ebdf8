"""A model's text in LightGBM itself: predictions, the text as this version writes it, gains."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from lakescore.errors import MissingExtra, ModelBroken

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


def interpreted(model_text: str, matrix: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """LightGBM's own predictions, on one thread. Shape (rows,), or (rows, classes)."""
    scores: npt.NDArray[np.float64] = _booster(model_text).predict(matrix, num_threads=1)
    return scores


def rewritten(model_text: str, rounds: int | None = None) -> str:
    """The text as this LightGBM writes it, of all boosting rounds or the first `rounds`.

    SynapseML's text lacks its last line.
    """
    text: str = _booster(model_text).model_to_string(num_iteration=rounds or -1)
    return text


def rounds(model_text: str) -> int:
    """How many boosting rounds the text holds."""
    return int(_booster(model_text).current_iteration())


def gain_shares(model_text: str, columns: tuple[str, ...]) -> dict[str, float]:
    """Each used column's share of the gain of all splits; empty without splits."""
    gains = _booster(model_text).feature_importance("gain")
    total = float(gains.sum())
    if not total > 0:
        return {}
    return {
        name: float(gain) / total for name, gain in zip(columns, gains, strict=True) if gain > 0
    }


def require_lightgbm(needed_for: str) -> Any:
    """The lightgbm module. Raises MissingExtra."""
    try:
        import lightgbm
    except ImportError as error:
        raise MissingExtra("lightgbm", extra="train", needed_for=needed_for) from error
    return lightgbm


@lru_cache(maxsize=4)
def _booster(model_text: str) -> Any:
    """Kept by the process: a Spark worker gets the model anew with each task, and reads it once."""
    lightgbm = require_lightgbm("scoring a LightGBM model")
    try:
        return lightgbm.Booster(model_str=model_text)
    except lightgbm.basic.LightGBMError as error:
        raise ModelBroken(f"LightGBM cannot read the model: {error}") from error
