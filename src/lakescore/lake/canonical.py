"""One text and one hash per row content: the same on every engine, run and file layout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pyspark.sql import Column
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, DataType, MapType, StructType

from lakescore.config.base import quoted

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

#: Nulls stay visible, and no microsecond is cut off: two contents never share a text.
_JSON_OPTIONS = {
    "ignoreNullFields": "false",
    "timestampFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSSSSXXX",
}


def row_json(df: DataFrame, columns: Sequence[str]) -> Column:
    """A JSON object of the columns, in their order; maps become entries sorted by key."""
    types = {field.name.lower(): field.dataType for field in df.schema}
    values = [_canonical(F.col(quoted(name)), types[name.lower()]).alias(name) for name in columns]
    return F.to_json(F.struct(*values), _JSON_OPTIONS)


def row_hash(df: DataFrame, columns: Sequence[str]) -> Column:
    """SHA-256, as 64 hex digits, of `row_json`."""
    return F.sha2(row_json(df, columns), 256)


def _canonical(value: Column, data_type: DataType) -> Column:
    """The value with every map in it turned into sorted entries: a map has no order of its own."""
    if not _has_map(data_type):
        return value
    if isinstance(data_type, MapType):
        entries = F.map_entries(value)
        pair = F.transform(
            entries,
            lambda entry: F.struct(
                entry["key"].alias("key"),
                _canonical(entry["value"], data_type.valueType).alias("value"),
            ),
        )
        return F.array_sort(pair)
    if isinstance(data_type, ArrayType):
        return F.transform(value, lambda item: _canonical(item, data_type.elementType))
    fields = data_type.fields if isinstance(data_type, StructType) else []
    rebuilt = [
        _canonical(value.getField(field.name), field.dataType).alias(field.name) for field in fields
    ]
    return F.when(value.isNotNull(), F.struct(*rebuilt))


def _has_map(data_type: DataType) -> bool:
    if isinstance(data_type, StructType):
        return any(_has_map(field.dataType) for field in data_type)
    if isinstance(data_type, ArrayType):
        return _has_map(data_type.elementType)
    return isinstance(data_type, MapType)
