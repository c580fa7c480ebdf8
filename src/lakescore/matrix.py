"""The encoded matrix: what the encoding stage makes and every model takes. Pure Python."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

#: Columns that lakescore adds to the materialised training snapshot.
LABEL, SPLIT = "_label", "_split"


class Task(str, Enum):
    """What a label asks for."""

    BINARY = "binary"
    MULTICLASS = "multiclass"
    REGRESSION = "regression"


@dataclass(frozen=True)
class Answers:
    """What a model gives for a row.

    One number; or the probability of each of `classes`; or a number, then the `quantiles` of what
    the label may be (0.9: it is below that nine times of ten).
    """

    classes: tuple[str, ...] = ()
    quantiles: tuple[float, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one row's answer: () where it is one number."""
        if self.classes:
            return (len(self.classes),)
        return (1 + len(self.quantiles),) if self.quantiles else ()

    @property
    def names(self) -> tuple[str, ...]:
        """What the numbers are called where a model is served."""
        return self.classes or ("prediction", *self.quantile_names)

    @property
    def quantile_names(self) -> tuple[str, ...]:
        """Such as p10 and p97_5, for the quantiles 0.1 and 0.975."""
        return tuple(f"p{100 * share:.6g}".replace(".", "_") for share in self.quantiles)


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
