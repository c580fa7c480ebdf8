"""Sums of doubles that do not depend on the order of rows: fixed point in four 64-bit limbs.

A double is cut, without rounding, into signed 32-bit digits at 2^16, 2^-16, 2^-48 and 2^-80.
Digits are summed as longs, so a sum is exact in any order, on any number of partitions, and the
sum over a window is the difference of two running sums. The method is the long accumulator of
U. Kulisch ("Computer Arithmetic and Validity"), cut to the range that data have: values below
2^78 in magnitude, resolution 2^-80, up to 2^31 rows in a sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import TYPE_CHECKING

import numpy as np
from pyspark.sql import functions as F

if TYPE_CHECKING:
    import numpy.typing as npt
    from pyspark.sql import Column

_EXPONENTS = (16, -16, -48, -80)
_DIGIT_BITS = 32
_DIGIT_MASK = (1 << _DIGIT_BITS) - 1
#: From this magnitude on a value does not fit; see `is_summable`.
LIMIT = 2.0**78

#: How many long columns stand for one column of doubles.
LIMBS = len(_EXPONENTS)


def is_summable(value: Column) -> Column:
    """Whether a double is finite and below `LIMIT`; null for null."""
    return F.abs(value) < F.lit(LIMIT)


def limbs(value: Column) -> list[Column]:
    """The digits of a double as longs, most significant first; null unless `is_summable`."""
    rest = F.when(is_summable(value), value)
    digits = []
    for exponent in _EXPONENTS:
        digit = (rest * F.lit(2.0**-exponent)).cast("long")  # cuts towards zero: exact
        digits.append(digit)
        rest = rest - digit.cast("double") * F.lit(2.0**exponent)
    return digits


def digit_sums(values: npt.NDArray[np.float64]) -> list[int]:
    """The sums of the digits of an array, as `limbs` cuts them; all below `LIMIT` in magnitude."""
    rest, sums = values, []
    for exponent in _EXPONENTS:
        digits = np.trunc(rest * 2.0**-exponent)
        sums.append(int(digits.astype(np.int64).sum()))
        rest = rest - digits * 2.0**exponent
    return sums


def total(sums: Sequence[Column]) -> Column:
    """The double nearest to what summed limbs stand for (to 2 units in the last place)."""
    *rest, carried = sums
    parts = []
    for limb in reversed(rest):
        parts.append(carried.bitwiseAND(F.lit(_DIGIT_MASK)))
        carried = limb + F.shiftright(carried, _DIGIT_BITS)
    digits = zip(_EXPONENTS, [carried, *reversed(parts)], strict=True)
    scaled = [digit.cast("double") * F.lit(2.0**exponent) for exponent, digit in digits]
    return reduce(lambda left, right: left + right, scaled)
