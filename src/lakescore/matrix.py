"""The encoded matrix: what the encoding stage makes and every model takes. Pure Python."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

#: Columns that lakescore adds to the materialised training snapshot.
LABEL, SPLIT = "_label", "_split"


class Task(str, Enum):
    """What a label asks for."""

    BINARY = "binary"
    REGRESSION = "regression"


class Split(str, Enum):
    """The parts of a training snapshot. Rows outside all three carry a null split."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


@dataclass(frozen=True)
class MatrixColumn:
    """One column of the encoded matrix, always float64.

    A numeric column (``levels == 0``) holds the value, NaN where it is missing. A categorical
    one holds a code: 0 for missing or unseen, 1 .. ``levels`` for the known values, so it never
    holds NaN. ``mean`` is the training mean of a numeric column, for models that cannot take NaN.
    """

    name: str
    levels: int = 0
    mean: float = 0.0

    @property
    def is_categorical(self) -> bool:
        return self.levels > 0


@dataclass(frozen=True)
class MatrixSchema:
    """The columns of an encoded matrix of shape (rows, len(columns)), in order."""

    columns: tuple[MatrixColumn, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    @property
    def categorical_indexes(self) -> tuple[int, ...]:
        return tuple(i for i, column in enumerate(self.columns) if column.is_categorical)
