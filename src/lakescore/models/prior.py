"""The baseline: every row gets the training mean of the label (the base rate)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from lakescore.config.base import ConfigModel
from lakescore.models.base import Backend, Candidate, EncodedData, FittedModel, Scorer
from lakescore.models.labels import Labels

if TYPE_CHECKING:
    import numpy.typing as npt
    from pyspark.sql import SparkSession

_FILE = "prior.json"


class PriorParameters(ConfigModel):
    """The baseline has no parameters."""


@dataclass(frozen=True)
class PriorScorer(Scorer):
    """One value for every row."""

    kind: ClassVar[str] = "prior"
    columns: tuple[str, ...]
    value: float

    def _predict(self, matrix: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.full(len(matrix), self.value)

    def save(self, folder: Path) -> None:
        content = {"columns": self.columns, "value": self.value}
        (folder / _FILE).write_text(json.dumps(content), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> PriorScorer:
        content = json.loads((folder / _FILE).read_text(encoding="utf-8"))
        return cls(tuple(content["columns"]), float(content["value"]))


class Prior(Candidate):
    """Predicts the base rate, or the mean; what any model must beat."""

    name = "prior"
    parameters_type = PriorParameters

    def _fit(
        self, data: EncodedData, labels: Labels, parameters: PriorParameters, seed: int
    ) -> FittedModel:
        scorer = PriorScorer(data.schema.names, labels.train.mean)
        return FittedModel(
            scorer, importance={}, backend="spark", details={"rows": data.train_rows}
        )

    def backend(
        self,
        parameters: PriorParameters,
        spark: SparkSession | None = None,
        cells: int | None = None,
    ) -> Backend:
        return Backend("spark", "one aggregate over the labels")
