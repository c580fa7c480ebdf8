"""The baseline: every row gets the training mean of the label (the base rate), or class shares."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from lakescore.config.base import ConfigModel
from lakescore.matrix import Task
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
    """One value for every row, or one share a class."""

    kind: ClassVar[str] = "prior"
    columns: tuple[str, ...]
    value: float | tuple[float, ...]

    @property
    def classes(self) -> int:
        return len(self.value) if isinstance(self.value, tuple) else 0

    def _predict(self, matrix: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        if isinstance(self.value, tuple):
            return np.tile(self.value, (len(matrix), 1))
        return np.full(len(matrix), self.value)

    def save(self, folder: Path) -> None:
        content = {"columns": self.columns, "value": self.value}
        (folder / _FILE).write_text(json.dumps(content), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> PriorScorer:
        content = json.loads((folder / _FILE).read_text(encoding="utf-8"))
        value = content["value"]
        shares = tuple(map(float, value)) if isinstance(value, list) else float(value)
        return cls(tuple(content["columns"]), shares)


class Prior(Candidate):
    """Predicts the base rate, the shares of the classes, or the mean; what any model must beat."""

    name = "prior"
    tasks = frozenset(Task)
    parameters_type = PriorParameters

    def _fit(
        self, data: EncodedData, labels: Labels, parameters: PriorParameters, seed: int
    ) -> FittedModel:
        train = labels.train
        shares = tuple(count / train.rows for count in train.counts)
        scorer = PriorScorer(data.schema.names, shares or train.mean)
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
