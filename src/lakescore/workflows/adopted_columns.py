"""Whether a table that exists has the columns that a workload writes, and what to do if not.

A column of it is never renamed: that needs Delta's column mapping, which raises the table's
protocol above what older readers take. The workload is told the table's names instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lakescore.config.predictions import AS_OF, LINEAGE_COLUMNS, WITHDRAWN
from lakescore.errors import ColumnMissing, ForeignTable, TypeMismatch

if TYPE_CHECKING:
    from pyspark.sql.types import StructType

    from lakescore.workflows.output_columns import OutputColumn

_COPY = (
    "copy the table once, CREATE TABLE … USING DELTA AS SELECT {what}, and adopt the copy: a "
    "change in place would raise the table's protocol"
)


def check_columns(outputs: Sequence[OutputColumn], table: StructType, *, where: str) -> list[str]:
    """The table's columns that the workload does not write: null in new rows.

    Raises ColumnMissing and TypeMismatch, naming every such column, and ForeignTable for a
    column that may not be null.
    """
    found = {field.name.lower(): field for field in table}
    missing = [one for one in outputs if one.name.lower() not in found]
    if missing:
        raise ColumnMissing(
            f"missing: {'; '.join(f'{one.name!r} ({one.declared})' for one in missing)}; present: "
            + ", ".join(f"{field.name} {field.dataType.simpleString()}" for field in table),
            where=where,
            hint=_advice(missing[0], _others(outputs, table)),
        )
    types = {name: field.dataType.simpleString() for name, field in found.items()}
    retyped = [one for one in outputs if types[one.name.lower()] != one.type.simpleString()]
    if retyped:
        told = (
            f"'{one.name}' ({one.declared}) is {types[one.name.lower()]}, and new rows have "
            f"{one.type.simpleString()}"
            for one in retyped
        )
        cast = f"cast({retyped[0].name} AS {retyped[0].type.simpleString()}) …"
        raise TypeMismatch("; ".join(told), where=where, hint=_COPY.format(what=cast))
    return _unwritten(outputs, table, where)


def _others(outputs: Sequence[OutputColumn], table: StructType) -> StructType:
    """The table's columns that no line of the workload names."""
    known = {name.lower() for name in (*LINEAGE_COLUMNS, AS_OF, WITHDRAWN)}
    known |= {one.name.lower() for one in outputs}
    return type(table)([field for field in table if field.name.lower() not in known])


def _advice(missing: OutputColumn, others: StructType) -> str:
    fitting = [field.name for field in others if field.dataType == missing.type]
    if missing.declared in (
        "predictions.column",
        "predictions.class_column",
        "predictions.probabilities",
    ):
        kind = missing.type.simpleString()
        if not fitting:
            return _COPY.format(what=f"… cast(… AS {kind}) AS {missing.name}")
        which = " or ".join(fitting[:5])
        return f"set `{missing.declared}` to the name that the table has for it: {which} ({kind})"
    if missing.declared == "predictions.passthrough":
        return (
            f"take '{missing.name}' out of predictions.passthrough, or add it to the table "
            "(ALTER TABLE … ADD COLUMNS) and fill it in"
        )
    return _COPY.format(what=f"{fitting[0] if fitting else '…'} AS {missing.name} …")


def _unwritten(outputs: Sequence[OutputColumn], table: StructType, where: str) -> list[str]:
    others = _others(outputs, table)
    required = [field.name for field in others if not field.nullable]
    if required:
        raise ForeignTable(
            f"it has columns that may not be null and that the workload does not write: "
            f"{', '.join(required)}",
            where=where,
            hint=f"ALTER TABLE … ALTER COLUMN {required[0]} DROP NOT NULL, or name it in "
            "predictions.passthrough",
        )
    return [field.name for field in others]
