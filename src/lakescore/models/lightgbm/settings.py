"""What both backends tell LightGBM, so that they fit the same model family."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lakescore.matrix import Task

if TYPE_CHECKING:
    from lakescore.models.labels import Labels
    from lakescore.models.lightgbm.candidate import LightGBMParameters

#: Of the training matrix in one process.
CELL_BYTES = 8

#: Objective and early-stopping metric by task.
OBJECTIVES = {
    Task.BINARY: ("binary", "average_precision"),
    Task.MULTICLASS: ("multiclass", "multi_logloss"),
    Task.REGRESSION: ("regression", "l2"),
}


def patience(parameters: LightGBMParameters, labels: Labels) -> int:
    """Early-stopping rounds; 0 where the validation labels cannot tell one model from another."""
    return parameters.early_stopping_rounds if labels.validation.varies else 0
