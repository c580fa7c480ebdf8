"""The one interface that every algorithm keeps: a candidate fits, a scorer predicts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from lakescore.config.base import ConfigModel
from lakescore.matrix import MatrixSchema, Task

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from pyspark.sql import DataFrame


@dataclass(frozen=True)
class EncodedData:
    """Materialised training rows: one double column per matrix column, and `_label` (double).

    Numeric columns hold NaN (never null) where a value is missing; see `MatrixColumn` for codes.
    Both frames read a snapshot already written to storage, so reading them twice is safe.
    """

    train: DataFrame
    validation: DataFrame
    schema: MatrixSchema
    task: Task
    train_rows: int


class Scorer(ABC):
    """A fitted model as data: no JVM, no pickle. The same object serves batch and REST.

    Instances travel to executors with the task, so they must pickle; native handles are built
    lazily after that and left out of the pickled state.
    """

    kind: ClassVar[str]
    columns: tuple[str, ...]

    @abstractmethod
    def predict(self, matrix: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Score an encoded matrix of shape (rows, len(columns)), C-contiguous float64.

        Returns shape (rows,): the probability of class 1, or the predicted value.
        """

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write the model as data into an existing, empty folder."""

    @classmethod
    @abstractmethod
    def load(cls, folder: Path) -> Scorer:
        """Read what `save` wrote. Raises ModelBroken when it is incomplete or altered."""

    def compile(self) -> None:  # noqa: B027 - most scorers have nothing to compile
        """Compile for this host, once, into the local cache. Predictions stay identical."""


@dataclass(frozen=True)
class FittedModel:
    """What a fit gives: the portable scorer and what the report says of it."""

    scorer: Scorer
    importance: Mapping[str, float]
    backend: str
    details: Mapping[str, Any] = field(default_factory=dict)


class Candidate(ABC):
    """An algorithm with parameters. One file each; registered by name in `models`."""

    name: ClassVar[str]
    tasks: ClassVar[frozenset[Task]] = frozenset(Task)
    parameters_type: ClassVar[type[ConfigModel]]

    @abstractmethod
    def fit(self, data: EncodedData, parameters: Any, *, seed: int) -> FittedModel:
        """Fit on `data.train`; `data.validation` is for early stopping only.

        `parameters` is an instance of `parameters_type`. The scorer returned must give the
        training engine's own predictions (tests hold each candidate to a stated tolerance).
        Raises TrainingFailed, with the engine's own words, when the engine fails.
        """
