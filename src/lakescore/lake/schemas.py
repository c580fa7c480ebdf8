"""Schemas and names as SQL text: quoting, hashes, and whether rows fit a table."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from lakescore.config.base import quoted
from lakescore.errors import TypeMismatch, UsageError

if TYPE_CHECKING:
    from pyspark.sql.types import DataType, StructType

#: Column that ingest adds to its copies: where a row came from. Not data of the row.
INGEST = "_ingest"

#: What Delta refuses in a column name unless the table uses column mapping.
_NEEDS_COLUMN_MAPPING = re.compile(r"[ ,;{}()\n\t=]")


def string_literal(text: str) -> str:
    """A SQL string literal."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def type_ddl(data_type: DataType) -> str:
    """A type as DDL, with nested field names quoted (`simpleString` leaves them bare)."""
    from pyspark.sql.types import ArrayType, MapType, StructType

    if isinstance(data_type, StructType):
        fields = (f"{quoted(field.name)}: {type_ddl(field.dataType)}" for field in data_type)
        return f"struct<{', '.join(fields)}>"
    if isinstance(data_type, ArrayType):
        return f"array<{type_ddl(data_type.elementType)}>"
    if isinstance(data_type, MapType):
        return f"map<{type_ddl(data_type.keyType)}, {type_ddl(data_type.valueType)}>"
    return str(data_type.simpleString())


def columns_ddl(schema: StructType) -> str:
    """The column list of a CREATE TABLE; every column nullable."""
    return ", ".join(f"{quoted(field.name)} {type_ddl(field.dataType)}" for field in schema)


def schema_hash(schema: StructType) -> str:
    """SHA-256 over names, types and nullability, in order. Comments do not count."""
    fields = [[field.name, _bare(field.dataType.jsonValue()), field.nullable] for field in schema]
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


def _bare(value: object) -> object:
    """A type's JSON form without the field metadata that engines attach."""
    if isinstance(value, dict):
        return {key: _bare(item) for key, item in value.items() if key != "metadata"}
    if isinstance(value, list):
        return [_bare(item) for item in value]
    return value


def check_names_are_plain(names: Iterable[str], *, where: str) -> None:
    """Raise UsageError for a name that Delta takes only with column mapping (reader version 2)."""
    odd = [name for name in names if _NEEDS_COLUMN_MAPPING.search(name)]
    if odd:
        listed = ", ".join(f"'{name}'" for name in odd)
        raise UsageError(
            f"the column name {listed} has a blank or one of ,;{{}}()=, which Delta's lowest "
            "protocol does not take",
            where=where,
            hint="rename the column in a view or upstream table",
        )


def check_rows_fit(rows: StructType, table: StructType, *, where: str) -> tuple[str, ...]:
    """Return the columns that the table does not have yet, in order.

    Raises TypeMismatch, naming every column whose type differs: nothing is cast silently.
    """
    known = {field.name.lower(): field.dataType.simpleString() for field in table}
    differing = [
        f"'{field.name}' is {field.dataType.simpleString()}, the table has {known[name]}"
        for field in rows
        if (name := field.name.lower()) in known and known[name] != field.dataType.simpleString()
    ]
    if differing:
        raise TypeMismatch(
            f"the new rows do not fit the table: {'; '.join(differing)}",
            where=where,
            hint="cast the column at its source, or declare its type in an explicit schema",
        )
    return tuple(field.name for field in rows if field.name.lower() not in known)
