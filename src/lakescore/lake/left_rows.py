"""Rows that the contract must look at one by one, told alike by Spark and over Arrow batches.

The direct road scores all others as it reads them: these are valid whatever else they hold.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import functions as F

from lakescore.config.base import quoted
from lakescore.config.conditions import Condition, plain_conditions
from lakescore.lake.contract import float_columns, is_not_finite

if TYPE_CHECKING:
    import numpy.typing as npt
    from pyspark.sql import Column, DataFrame

    from lakescore.config.workload import Source

#: With more keys that come twice than this every row is judged.
MOST_REPEATED = 1_000


@dataclass(frozen=True)
class LeftRows:
    """Rows with no value in `not_null`, NaN or infinity in `finite`, for which one of `conditions`
    is not true (nor sure, of NaN), or with a key that may repeat.

    `repeated` has, for each key column, the values that stand in a key which comes twice: a row
    whose every key column has one of these may share its key.
    """

    not_null: tuple[str, ...]
    finite: tuple[str, ...]
    conditions: tuple[Condition, ...] = ()
    repeated: tuple[tuple[str, tuple[Any, ...]], ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """What is looked at, beside the key."""
        asked = (one.column for one in self.conditions)
        return tuple(dict.fromkeys([*self.not_null, *self.finite, *asked]))

    def condition(self) -> Column:
        """True for such a row; never null."""
        found = [F.col(quoted(name)).isNull() for name in self.not_null]
        found += [is_not_finite(name) for name in self.finite]
        found += [~F.coalesce(_is_true(one), F.lit(False)) for one in self.conditions]
        if self.repeated:
            shared = F.lit(True)
            for name, values in self.repeated:
                shared &= F.coalesce(F.col(quoted(name)).isin(list(values)), F.lit(False))
            found.append(shared)
        return reduce(or_, found, F.lit(False))

    def __call__(self, batch: pa.RecordBatch) -> npt.NDArray[np.bool_]:
        """Where the batch has such rows, shape (rows,)."""
        left = np.zeros(batch.num_rows, dtype=bool)
        for name in self.not_null:
            column = batch.column(name)
            if column.null_count:
                left |= column.is_null().to_numpy(zero_copy_only=False)
        for name in self.finite:
            finite = pc.is_finite(batch.column(name)).fill_null(True)
            left |= ~finite.to_numpy(zero_copy_only=False)
        for one in self.conditions:
            true = _are_true(one, batch.column(one.column)).fill_null(False)
            left |= ~true.to_numpy(zero_copy_only=False)
        if self.repeated:
            shared = np.ones(batch.num_rows, dtype=bool)
            for name, values in self.repeated:
                column = batch.column(name)
                known = pa.array(values, type=column.type)
                shared &= pc.is_in(column, value_set=known).to_numpy(zero_copy_only=False)
            left |= shared
        return left


def left_rows(
    rows: DataFrame, source: Source, used: Sequence[str], *, repeats: bool
) -> LeftRows | None:
    """Which of the rows must be judged; None when all must, for too many keys repeat.

    `used` are the columns in which NaN is judged, where the contract refuses it. Looks for the
    keys that come twice only where one `repeats`.
    """
    not_null = tuple(dict.fromkeys([*source.key, *source.required]))
    finite = tuple(float_columns(rows, used)) if source.nan == "quarantine" else ()
    conditions = tuple(
        one for text in source.expectations.values() for one in plain_conditions(text) or ()
    )
    if not repeats:
        return LeftRows(not_null, finite, conditions)
    keys = [quoted(name) for name in source.key]
    counted = rows.dropna("any", subset=keys).groupBy(*keys).count().where("count > 1")
    found = counted.select(*keys).limit(MOST_REPEATED + 1).collect()
    if len(found) > MOST_REPEATED:
        return None
    values = [tuple({row[place] for row in found}) for place in range(len(keys))]
    repeated = tuple(zip(source.key, values, strict=True)) if found else ()
    return LeftRows(not_null, finite, conditions, repeated)


_COMPARED: Mapping[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "=": operator.eq,
}  # fmt: skip
_COMPARED_IN_ARROW = {
    "<": pc.less, "<=": pc.less_equal, ">": pc.greater, ">=": pc.greater_equal, "=": pc.equal,
}  # fmt: skip


def _is_true(one: Condition) -> Column:
    """Null or false where it is not; false of NaN, which Spark takes for the largest number."""
    column = F.col(quoted(one.column))
    if one.operator == "is not null":
        return column.isNotNull()
    if one.operator == "in":
        true = column.isin(*one.values)
    else:
        true = _COMPARED[one.operator](column, F.lit(one.values[0]))
    return true if isinstance(one.values[0], str) else true & ~F.isnan(column)


def _are_true(one: Condition, column: pa.Array) -> pa.Array:
    """As `_is_true`, for each value of a column."""
    if one.operator == "is not null":
        return column.is_valid()
    if pa.types.is_floating(column.type):
        column = pc.add(column.cast(pa.float64()), 0.0)  # -0.0 is 0.0, in a set too
    elif pa.types.is_integer(column.type):
        column = column.cast(pa.int64())
    values = pa.array(one.values).cast(column.type)
    if one.operator == "in":
        return pc.is_in(column, value_set=values)
    return _COMPARED_IN_ARROW[one.operator](column, values[0])
