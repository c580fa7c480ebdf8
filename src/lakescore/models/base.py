"""The one interface that every algorithm keeps: a candidate fits, a scorer predicts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from lakescore.config.base import ConfigModel
from lakescore.errors import ModelBroken, UsageError
from lakescore.matrix import MatrixSchema, Split, Task
from lakescore.models.engines import in_engine_words
from lakescore.models.labels import Labels, check_labels

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from pyspark.sql import DataFrame, SparkSession


@dataclass(frozen=True)
class EncodedData:
    """Materialised training rows: one double column per matrix column, and `_label` (double).

    Numeric columns hold NaN (never null) where a value is missing; see `MatrixColumn` for codes.
    Both frames read a snapshot already written to storage, so reading them twice is safe.

    `scratch` is a folder that executors can write and the driver can read, for engines that hand
    over a model only through storage; whoever names it removes it. Without one, a local temporary
    folder is used, which is right wherever driver and executors share a disk.

    `files` are, of a split, the Parquet files on this machine's file system that hold its rows and
    nothing else, in their order; empty where the rows lie elsewhere.

    `checkpoints` is a folder that outlives the run, for engines that can go on where a run that
    was stopped had come to; they do where the fit is to `resume`.

    `classes` is how many classes a multiclass label has, `_label` their positions from 0; else 0.
    """

    train: DataFrame
    validation: DataFrame
    schema: MatrixSchema
    task: Task
    train_rows: int
    scratch: str | None = None
    files: Mapping[Split, tuple[str, ...]] = field(default_factory=dict)
    checkpoints: str | None = None
    resume: bool = False
    classes: int = 0


class Scorer(ABC):
    """A fitted model as data: no JVM, no pickle. The same object serves batch and REST.

    Instances travel to executors with the task, so they must pickle; native handles are built
    lazily after that and left out of the pickled state.
    """

    kind: ClassVar[str]
    columns: tuple[str, ...]

    @property
    def classes(self) -> int:
        """How many classes a multiclass model tells apart; 0 where a row gets one number."""
        return 0

    @property
    def quantiles(self) -> tuple[float, ...]:
        """The quantiles that `predict_with_quantiles` gives beside the prediction, ascending."""
        return ()

    def predict_with_quantiles(self, matrix: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """The prediction and each of `quantiles`, shape (rows, 1 + quantiles); else as `predict`.

        The quantiles of a row ascend. Raises ModelBroken as `predict` does.
        """
        return self.predict(matrix)

    def predict(self, matrix: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Score an encoded matrix of shape (rows, len(columns)), float64, of any layout.

        Returns shape (rows,): the probability of class 1, or the predicted value; of a multiclass
        model shape (rows, classes), the probability of each class. A row's score does not depend
        on the rows beside it. Raises ModelBroken for another number of columns.
        """
        import numpy as np

        checked = self._checked(matrix)
        if not len(checked):
            return np.empty((0, self.classes) if self.classes else 0)
        return self._predict(checked)

    def _checked(self, matrix: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Doubles of the model's columns. Raises ModelBroken."""
        import numpy as np

        if matrix.ndim != 2 or matrix.shape[1] != len(self.columns):
            shape = " x ".join(str(size) for size in matrix.shape)
            raise ModelBroken(
                f"the matrix is {shape}, the {self.kind} model takes {len(self.columns)} columns",
                hint=f"its columns: {', '.join(self.columns)}",
            )
        return np.asarray(matrix, dtype=np.float64)

    @abstractmethod
    def _predict(self, matrix: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Score a matrix that has at least one row and the right shape and type."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write the model as data into an existing, empty folder."""

    @classmethod
    @abstractmethod
    def load(cls, folder: Path) -> Scorer:
        """Read what `save` wrote. Raises ModelBroken when it is incomplete or altered."""


@dataclass(frozen=True)
class FittedModel:
    """What a fit gives: the portable scorer and what the report says of it.

    `importance` maps matrix columns to shares that sum to 1, or is empty where a model has none.
    `details` is JSON-ready. `curves` has one value an epoch, of engines that train in epochs.
    """

    scorer: Scorer
    importance: Mapping[str, float]
    backend: str
    details: Mapping[str, Any] = field(default_factory=dict)
    curves: Mapping[str, Sequence[float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Backend:
    """What fits a candidate, and why it was chosen; shown by `plan`."""

    name: str
    reason: str


class Candidate(ABC):
    """An algorithm with parameters. One file each; registered by name in `models`."""

    name: ClassVar[str]
    tasks: ClassVar[frozenset[Task]] = frozenset({Task.BINARY, Task.REGRESSION})
    parameters_type: ClassVar[type[ConfigModel]]
    #: Whether its tasks must all run at once: then no other candidate is fitted meanwhile.
    needs_all_slots: ClassVar[bool] = False
    #: Whether a fit that was stopped can go on from `EncodedData.checkpoints`.
    keeps_checkpoints: ClassVar[bool] = False

    def fit(self, data: EncodedData, parameters: Any, *, seed: int) -> FittedModel:
        """Fit on `data.train`; `data.validation` is for early stopping only.

        `parameters` is an instance of `parameters_type`. The scorer returned must give the
        training engine's own predictions (tests hold each candidate to a stated tolerance).
        Raises EmptyTable, OneClassLabel and TypeMismatch for labels that cannot be learned,
        UsageError for a task it does not do, and TrainingFailed, with the engine's own words,
        when the engine fails.
        """
        if data.task not in self.tasks:
            raise UsageError(f"{self.name} does not fit a {data.task.value} label")
        labels = check_labels(data.train, data.validation, data.task, data.classes)
        with in_engine_words(self.name):
            return self._fit(data, labels, parameters, seed)

    @abstractmethod
    def _fit(self, data: EncodedData, labels: Labels, parameters: Any, seed: int) -> FittedModel:
        """Fit on labels that are finite and take at least two values."""

    @abstractmethod
    def backend(
        self, parameters: Any, spark: SparkSession | None = None, cells: int | None = None
    ) -> Backend:
        """What would fit it here, without fitting. With `spark`, what that session can load.

        `cells` is rows times columns of the encoded rows, labels included, where that is known.
        """
