"""Columns that are added while another run adds some: what is left is added, not given up."""

from __future__ import annotations

from typing import Any

import pytest
from pyspark.sql.types import StructType

from lakescore.errors import CommitConflict
from lakescore.lake.creation import with_columns

WANTED = StructType().add("id", "integer").add("a", "string").add("b", "string")


class Racing:
    """A table whose schema others change, once for each of `races`, while a run adds columns."""

    name, sql_name = "scores", "scores"

    def __init__(self, *races: tuple[str, str]) -> None:
        self.schema = StructType().add("id", "integer")
        self.races = list(races)
        self.statements: list[str] = []

    def read(self, _: Any) -> Racing:
        return self

    def sql(self, statement: str) -> None:
        self.statements.append(statement)
        if not self.races:
            return
        column, said = self.races.pop(0)
        if column:
            self.schema = StructType([*self.schema]).add(column, "string")
        raise RuntimeError(said)


def added(table: Racing) -> list[str]:
    with_columns(table, table, WANTED)  # type: ignore[arg-type]
    return [statement.rpartition("COLUMNS ")[2] for statement in table.statements]


def test_columns_are_added_after_a_racer_added_others() -> None:
    table = Racing(("other", "MetadataChangedException: the metadata has been changed"))
    assert added(table) == ["(`a` string, `b` string)", "(`a` string, `b` string)"]


def test_what_a_racer_added_is_not_added_again() -> None:
    table = Racing(("a", "Column a already exists"))
    assert added(table) == ["(`a` string, `b` string)", "(`b` string)"]


def test_another_failure_is_not_tried_again() -> None:
    with pytest.raises(RuntimeError, match="permission denied"):
        added(Racing(("", "permission denied")))


def test_races_without_end_are_a_conflict() -> None:
    races = [(f"other{i}", "MetadataChangedException") for i in range(5)]
    with pytest.raises(CommitConflict, match="changed the table 3 times"):
        added(Racing(*races))
