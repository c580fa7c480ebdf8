"""Spark's simple type names as Arrow types, for rows that do not come from Spark."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pyarrow as pa

from lakescore.errors import ColumnMissing, TypeMismatch

_ARROW = {
    "double": pa.float64(),
    "float": pa.float32(),
    "bigint": pa.int64(),
    "int": pa.int32(),
    "smallint": pa.int16(),
    "tinyint": pa.int8(),
    "boolean": pa.bool_(),
    "string": pa.string(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", tz="UTC"),
    "timestamp_ntz": pa.timestamp("us"),
    "binary": pa.binary(),
}
_DECIMAL = re.compile(r"decimal\((\d+),\s*(-?\d+)\)")


def arrow_type(spark_type: str, column: str) -> pa.DataType:
    """The Arrow type of a Spark simple type name such as ``bigint`` or ``decimal(10,2)``.

    Raises TypeMismatch for a nested type: a model input is one value.
    """
    if spark_type in _ARROW:
        return _ARROW[spark_type]
    if decimal := _DECIMAL.fullmatch(spark_type):
        return pa.decimal128(int(decimal[1]), int(decimal[2]))
    raise TypeMismatch(
        f"a model input cannot be of type {spark_type}",
        where=f"column '{column}'",
        hint="make it a number, a string, a boolean, a date or a timestamp",
    )


def batch_from_columns(columns: Mapping[str, object], types: Mapping[str, str]) -> pa.RecordBatch:
    """Rows given as one sequence (or pandas Series) a column, as the batch that Spark would send.

    NaN and None both become null. Raises ColumnMissing and TypeMismatch.
    """
    missing = [name for name in types if name not in columns]
    if missing:
        raise ColumnMissing(
            f"the input lacks {', '.join(missing)}",
            hint=f"it has: {', '.join(map(str, columns)) or 'no columns'}",
        )
    arrays = [_array(columns[name], type_, name) for name, type_ in types.items()]
    return pa.RecordBatch.from_arrays(arrays, names=list(types))


def _array(values: object, spark_type: str, column: str) -> pa.Array:
    try:
        array = pa.array(values, type=arrow_type(spark_type, column), from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
        raise TypeMismatch(
            f"values are not of type {spark_type}: {error}", where=f"column '{column}'"
        ) from error
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array


def cast_columns(batch: pa.RecordBatch, types: Mapping[str, str]) -> pa.RecordBatch:
    """The named columns of `batch`, in order, each as its stated type; other columns are left out.

    A cast that would lose a value raises TypeMismatch, as does a string for a number.
    """
    arrays = [_cast(batch, name, arrow_type(type_, name)) for name, type_ in types.items()]
    return pa.RecordBatch.from_arrays(arrays, names=list(types))


def _cast(batch: pa.RecordBatch, name: str, to: pa.DataType) -> pa.Array:
    if name not in batch.schema.names:
        raise ColumnMissing(
            f"the rows lack the column '{name}'", hint=f"they have: {', '.join(batch.schema.names)}"
        )
    array = batch.column(name)
    if array.type == to:
        return array
    if pa.types.is_string(array.type) or pa.types.is_binary(array.type):
        raise TypeMismatch(f"the model takes {to}; it is {array.type}", where=f"column '{name}'")
    try:
        return array.cast(to)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise TypeMismatch(
            f"the model takes {to}, and the values do not fit: {error}", where=f"column '{name}'"
        ) from error
