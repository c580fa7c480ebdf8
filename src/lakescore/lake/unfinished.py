"""A note in the predictions table: rows of one source version are scored only in part.

Commits say so too, but their metadata go with the history, and the rows alone would then say that
all of the version is scored.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

from lakescore.lake.schemas import string_literal
from lakescore.lake.writes import past_races

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from lakescore.lake.tables import Table

log = logging.getLogger("lakescore")


class UnfinishedNote:
    """The note of one workload, a property of the table whose value is the source version."""

    def __init__(self, spark: SparkSession, table: Table, workload: str) -> None:
        self._spark = spark
        self._table = table
        self._property = f"lakescore.unfinished.{workload}"

    def version(self, properties: Mapping[str, str]) -> str | None:
        """What these properties of the table say; None where there is no note."""
        return properties.get(self._property)

    def write(self, version: int) -> None:
        """Raises CommitConflict when other writers kept changing the table."""
        if self._stands() != str(version):
            self._alter(f"SET TBLPROPERTIES ({string_literal(self._property)} = '{version}')")

    def remove(self, version: str | None) -> None:
        """Take the note of this version away; the next commit does what fails here."""
        try:
            if version is not None and self._stands() == version:
                self._alter(f"UNSET TBLPROPERTIES IF EXISTS ({string_literal(self._property)})")
        except Exception as error:
            log.warning("a note stays until the next run: %s", str(error).split("\n", 1)[0])

    def _stands(self) -> str | None:
        return self.version(self._table.properties(self._spark))

    def _alter(self, change: str) -> None:
        statement = f"ALTER TABLE {self._table.sql_name} {change}"
        past_races(lambda: self._spark.sql(statement).collect(), self._table)
