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
        if self.context.latest:
            upto = window.rangeBetween(Window.unboundedPreceding, Window.currentRow)
            yield F.max(f"{self.prefix}latest").over(upto).alias(f"{self.prefix}latest")
        for output, one in self.context.aggregates.items():
            over = _micros(one.over)
            if one.function in ("min", "max"):
                reach = window.rangeBetween(1 - over, Window.currentRow)
                extreme = F.min if one.function == "min" else F.max
                yield extreme(self._input(one.column, "value")).over(reach).alias(self._out(output))
                continue
            for part in self._summed_parts(one):
                summed = _within(self._input(one.column, part), window, over)
                yield summed.alias(self._out(output, part))

    def outputs(self) -> Iterator[Column]:
        """The context's outputs from the window columns, in order of declaration."""
        timed = F.col("t").isNotNull()
        newest = F.col(f"{self.prefix}latest") if self.context.latest else F.lit(None)
        for output, column in self.context.latest.items():
            field = newest.getField(f"v{self._latest_columns.index(column)}")
            inside = newest.getField("known") > F.col("t") - F.lit(self.lookback)
            yield F.when(timed & inside, field).alias(output)
        for output, one in self.context.aggregates.items():
            yield F.when(timed, self._aggregate(output, one)).alias(output)

    @property
    def _latest_columns(self) -> list[str]:
        """Sorted, so that a tie does not depend on the order in which outputs are declared."""
        return sorted(set(self.context.latest.values()))

    def _input(self, column: str, part: str) -> str:
        names = list(dict.fromkeys(one.column for one in self.context.aggregates.values()))
        return f"{self.prefix}i{names.index(column)}_{part}"

    def _out(self, output: str, part: str = "value") -> str:
        return f"{self.prefix}o{list(self.context.aggregates).index(output)}_{part}"

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
            "unsummable": (~is_summable(double)).cast("int"),
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
        return ["count", "unsummable", *(f"limb{i}" for i in range(LIMBS))]

    def _aggregate(self, output: str, one: Aggregate) -> Column:
        if one.function in ("min", "max"):
            return F.col(self._out(output))
        parts = {part: F.col(self._out(output, part)) for part in self._summed_parts(one)}
        if one.function == "count":
            return parts["count"]
        if "long" in parts:
            summed = parts["long"]
        else:
            exact = total([parts[f"limb{i}"] for i in range(LIMBS)])
            summed = F.when(parts["unsummable"] > 0, F.lit(float("nan"))).otherwise(exact)
        if one.function == "avg":
            summed = summed / parts["count"]
        return F.when(parts["count"] > 0, summed)


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


def _within(column: str, window: WindowSpec, over: int) -> Column:
    """The sum over ``(t - over, t]``: of longs exact, also when a running sum wraps around."""
    first = Window.unboundedPreceding
    upto = F.sum(column).over(window.rangeBetween(first, Window.currentRow))
    before = F.sum(column).over(window.rangeBetween(first, -over))
    return F.coalesce(upto, F.lit(0)) - F.coalesce(before, F.lit(0))


def _micros(duration: timedelta | None) -> int:
    return (duration or timedelta()) // timedelta(microseconds=1)
