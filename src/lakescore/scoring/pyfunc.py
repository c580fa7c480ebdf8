"""MLflow's loader module for model packages: what REST serving and `load_model` call.

Holds no MLflow import: MLflow calls `_load_pyfunc` by name.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from lakescore.arrow_types import batch_from_columns
from lakescore.scoring.package import ModelPackage

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class PackagedModel:
    """A model package behind MLflow's `predict`."""

    def __init__(self, package: ModelPackage) -> None:
        self.package = package

    def predict(self, model_input: Any, params: Any = None) -> npt.NDArray[np.float64] | Any:
        """Score a pandas frame with one column a feature; the same doubles as the batch path.

        A multiclass model gives a frame with one column a class, one with quantiles the columns
        `prediction` and those of the quantiles.
        """
        batch = batch_from_columns(model_input, self.package.signature)
        scores = self.package.predict(
            pa.RecordBatch.from_arrays(batch.columns, names=list(self.package.inputs))
        )
        if not self.package.answers.shape:
            return scores
        import pandas as pd

        return pd.DataFrame(scores, columns=list(self.package.answers.names))


def _load_pyfunc(data_path: str) -> PackagedModel:
    return PackagedModel(ModelPackage.load(Path(data_path)))
