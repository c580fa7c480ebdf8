"""One text and one hash per row content: the same on every engine, run and file layout."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
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
#: What stands in JSON for a value that must not be shown.
MASKED = "***"


def row_json(df: DataFrame, columns: Sequence[str], *, masked: Collection[str] = ()) -> Column:
    """A JSON object of the columns, in their order; maps become entries sorted by key.

    Columns in `masked` (in any case) are there with the text `***`, whatever their value.
    """
    hidden = {name.lower() for name in masked}
    shown = {name: _value(df, name) for name in columns if name.lower() not in hidden}
    return _json({name: shown.get(name, F.lit(MASKED)) for name in columns}, _JSON_OPTIONS)


def row_hash(df: DataFrame, columns: Sequence[str]) -> Column:
    """SHA-256, as 64 hex digits, of `row_json`."""
    return F.sha2(row_json(df, columns), 256)


def content_hash(df: DataFrame, columns: Sequence[str]) -> Column:
    """SHA-256, as 64 hex digits, of the columns that are not null, by name.

    So neither the order of the columns nor one that was added since changes a row's hash.
    """
    named = {name.lower(): _value(df, name) for name in sorted(columns, key=str.lower)}
    return F.sha2(_json(named, {**_JSON_OPTIONS, "ignoreNullFields": "true"}), 256)


def _value(df: DataFrame, name: str) -> Column:
    types = {field.name.lower(): field.dataType for field in df.schema}
    return _canonical(F.col(quoted(name)), types[name.lower()])


def _json(values: Mapping[str, Column], options: Mapping[str, str]) -> Column:
    fields = [value.alias(name) for name, value in values.items()]
    return F.to_json(F.struct(*fields), dict(options))


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
