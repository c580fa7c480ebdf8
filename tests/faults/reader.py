"""Delta tables as another implementation of the format reads them: delta-rs, without Spark."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from deltalake import DeltaTable

if TYPE_CHECKING:
    from lakescore.lake.tables import Table


def rows_at(
    table: Table, columns: Sequence[str], version: int | None = None
) -> list[tuple[Any, ...]]:
    """These columns of every row, sorted: now, or at a version of the table."""
    assert table.path is not None
    read = DeltaTable(table.path, version=version).to_pyarrow_table(columns=list(columns))
    return sorted(zip(*(read[name].to_pylist() for name in columns), strict=True))
