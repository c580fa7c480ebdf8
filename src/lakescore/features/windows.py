"""What one context contributes to the windows of a point-in-time join: inputs and outputs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from pyspark.sql import Window
from pyspark.sql import functions as F

from lakescore.config.base import quoted
from lakescore.config.workload import Aggregate, Context
from lakescore.errors import TypeMismatch
from lakescore.features.exact_sums import LIMBS, is_summable, limbs, total
from lakescore.features.intervals import micros
from lakescore.features.resolve import FRACTIONS, INTEGERS, NUMBERS, col, data_type

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, WindowSpec
    from pyspark.sql.types import DataType

#: A value that cannot be summed adds this to a count, out of reach of any number of rows.
_UNSUMMABLE = 1 << 40
_UNSORTABLE = frozenset({"map", "variant", "void", "interval"})


@dataclass(frozen=True)
class Timeline:
    """One context over time inside a join; its columns there start with `prefix`."""

    prefix: str
    context: Context
    frame: DataFrame
    where: str

    @property
    def lookback(self) -> int:
        """In microseconds, as every time of the join is."""
        return _micros(self.context.lookback_window)

    @property
    def known(self) -> Column:
        """When a context row became known, in microseconds."""
        return F.expr(micros(quoted(str(self.context.known_at))))

    def inputs(self) -> Iterator[Column]:
        """What the windows read of a context row."""
        if self.context.latest:
            fields = [col(name).alias(f"v{i}") for i, name in enumerate(self._latest_columns)]
            yield F.struct(self.known.alias("known"), *fields).alias(f"{self.prefix}latest")
        for name in dict.fromkeys(one.column for one in self.context.aggregates.values()):
            yield from self._aggregate_inputs(name)

    def running(self, window: WindowSpec) -> Iterator[Column]:
        """Window columns over the union of rows and context rows, sorted by `t`."""
        upto = window.rangeBetween(Window.unboundedPreceding, Window.currentRow)
        if self.context.latest:
            yield F.max(f"{self.prefix}latest").over(upto).alias(f"{self.prefix}latest")
        for name in dict.fromkeys(name for name, _ in self._sums()):
            yield F.sum(name).over(upto).alias(f"{name}_upto")
        for name, over in dict.fromkeys(self._sums()):
            before = window.rangeBetween(Window.unboundedPreceding, -over)
            yield F.sum(name).over(before).alias(f"{name}_before_{over}")
        for one in self.context.aggregates.values():
            if one.function in ("min", "max"):
                inside = window.rangeBetween(1 - _micros(one.over), Window.currentRow)
                extreme = F.min if one.function == "min" else F.max
                found = extreme(self._input(one.column, "value")).over(inside)
                yield found.alias(self._extreme(one))

    def outputs(self) -> Iterator[Column]:
        """The context's outputs from the window columns, in order of declaration."""
        timed = F.col("t").isNotNull()
        newest = F.col(f"{self.prefix}latest") if self.context.latest else F.lit(None)
        for output, column in self.context.latest.items():
            field = newest.getField(f"v{self._latest_columns.index(column)}")
            inside = newest.getField("known") > F.col("t") - F.lit(self.lookback)
            yield F.when(timed & inside, field).alias(output)
        for output, one in self.context.aggregates.items():
            yield F.when(timed, self._aggregate(one)).alias(output)

    @property
    def _latest_columns(self) -> list[str]:
        """Sorted, so that a tie does not depend on the order in which outputs are declared."""
        return sorted(set(self.context.latest.values()))

    def _input(self, column: str, part: str) -> str:
        names = list(dict.fromkeys(one.column for one in self.context.aggregates.values()))
        return f"{self.prefix}i{names.index(column)}_{part}"

    def _extreme(self, one: Aggregate) -> str:
        return f"{self._input(one.column, one.function)}_{_micros(one.over)}"

    def _sums(self) -> Iterator[tuple[str, int]]:
        """The input columns to sum, and over how long, for every aggregate in turn."""
        for one in self.context.aggregates.values():
            for part in self._summed_parts(one):
                yield self._input(one.column, part), _micros(one.over)

    def _aggregate_inputs(self, column: str) -> Iterator[Column]:
        used = [one for one in self.context.aggregates.values() if one.column == column]
        value = _without_nan(self.frame, column)
        if any(one.function in ("min", "max") for one in used):
            yield value.alias(self._input(column, "value"))
        parts = dict.fromkeys(part for one in used for part in self._summed_parts(one))
        double = value.cast("double")
        columns = {
            "count": value.isNotNull().cast("int"),
            "long": value.cast("long"),
            "tally": F.when(is_summable(double), 1).when(double.isNotNull(), 1 + _UNSUMMABLE),
            **{f"limb{i}": limb for i, limb in enumerate(limbs(double))},
        }
        for part in parts:
            yield columns[part].alias(self._input(column, part))

    def _summed_parts(self, one: Aggregate) -> list[str]:
        """The input columns whose sums over the window the aggregate is made of."""
        if one.function == "count":
            return ["count"]
        if one.function in ("min", "max"):
            return []
        if data_type(self.frame, one.column).typeName() in INTEGERS:
            return ["count", "long"]
        return ["tally", *(f"limb{i}" for i in range(LIMBS))]

    def _aggregate(self, one: Aggregate) -> Column:
        if one.function in ("min", "max"):
            return F.col(self._extreme(one))
        parts = {part: self._inside(one, part) for part in self._summed_parts(one)}
        if one.function == "count":
            return parts["count"]
        if "long" in parts:
            count, summed = parts["count"], parts["long"]
        else:
            count = parts["tally"].bitwiseAND(F.lit(_UNSUMMABLE - 1))
            exact = total([parts[f"limb{i}"] for i in range(LIMBS)])
            summed = F.when(parts["tally"] < _UNSUMMABLE, exact).otherwise(F.lit(float("nan")))
        if one.function == "avg":
            summed = summed / count
        return F.when(count > 0, summed)

    def _inside(self, one: Aggregate, part: str) -> Column:
        """The sum over ``(t - over, t]``: of longs exact, also when a running sum wraps around."""
        name = self._input(one.column, part)
        upto, before = F.col(f"{name}_upto"), F.col(f"{name}_before_{_micros(one.over)}")
        return F.coalesce(upto, F.lit(0)) - F.coalesce(before, F.lit(0))


def output_types(context: Context, frame: DataFrame, where: str) -> dict[str, DataType]:
    """Output -> its type. Raises TypeMismatch for a column that cannot be used so."""
    types = {name: _sortable(frame, column, where) for name, column in context.latest.items()}
    for name, one in context.aggregates.items():
        types[name] = _aggregate_type(frame, one, name, where)
    return types


def _aggregate_type(frame: DataFrame, one: Aggregate, output: str, where: str) -> DataType:
    from pyspark.sql.types import DoubleType, LongType

    found = data_type(frame, one.column)
    if one.function == "count":
        return LongType()
    if one.function in ("min", "max"):
        return _sortable(frame, one.column, where)
    if found.typeName() not in NUMBERS:
        raise TypeMismatch(
            f"'{output}' is the {one.function} of '{one.column}', which is {found.simpleString()}",
            where=where,
            hint=f"{one.function} takes numbers; `count` takes any column",
        )
    whole = one.function == "sum" and found.typeName() in INTEGERS
    return LongType() if whole else DoubleType()


def _sortable(frame: DataFrame, column: str, where: str) -> DataType:
    found = data_type(frame, column)
    if not _has_order(found):
        raise TypeMismatch(
            f"'{column}' is {found.simpleString()}, whose values have no order",
            where=where,
            hint="make a column of the value that is needed where the table is made",
        )
    return found


def _has_order(type_: DataType) -> bool:
    from pyspark.sql.types import ArrayType, StructType

    if isinstance(type_, ArrayType):
        return _has_order(type_.elementType)
    if isinstance(type_, StructType):
        return all(_has_order(field.dataType) for field in type_)
    return type_.typeName() not in _UNSORTABLE


def _without_nan(frame: DataFrame, column: str) -> Column:
    """NaN is a missing value, as it is in the encoded matrix."""
    value = col(column)
    if data_type(frame, column).typeName() in FRACTIONS - {"decimal"}:
        return F.when(~F.isnan(value), value)
    return value


def _micros(duration: timedelta | None) -> int:
    return (duration or timedelta()) // timedelta(microseconds=1)
