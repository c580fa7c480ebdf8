"""Missing numbers become the training mean: once as Spark columns, once in numpy.

MLlib's linear models refuse NaN and its trees bin it without a rule of their own.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np

from lakescore.matrix import MatrixColumn

if TYPE_CHECKING:
    import numpy.typing as npt
    from pyspark.sql import Column

_LARGEST = sys.float_info.max


def replacement(column: MatrixColumn) -> float:
    """What a missing value becomes: the mean, or 0 where the column has none."""
    return float(column.mean) if np.isfinite(column.mean) else 0.0


def imputed_column(column: MatrixColumn) -> Column:
    """A numeric matrix column whose NaN, infinite and null values are replaced.

    Spark orders NaN above every number, so one comparison finds all three.
    """
    from pyspark.sql import functions as F

    value = F.col(f"`{column.name}`")
    known = value.between(-_LARGEST, _LARGEST)
    return F.when(known, value).otherwise(F.lit(replacement(column)))


def imputed_values(values: npt.NDArray[np.float64], replacement: float) -> npt.NDArray[np.float64]:
    """The same in numpy."""
    return np.where(np.isfinite(values), values, replacement)


def codes(values: npt.NDArray[np.float64], levels: int) -> npt.NDArray[np.int64]:
    """Category codes as indexes; anything outside 0 .. `levels` counts as missing (0)."""
    known = (values >= 0) & (values <= levels)
    return np.where(known, values, 0.0).astype(np.int64)
