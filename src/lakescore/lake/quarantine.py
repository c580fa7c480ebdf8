"""The quarantine table: refused rows, in force only once a commit names their attempt.

Nothing in it is changed by a later judgement of the same row: that one writes a closing row,
which names the refused row and is in force under the same rule. So what a RESTORE of the
predictions takes back, it takes back here too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from lakescore.config.base import quoted
from lakescore.lake.creation import check_role, create_table, with_columns
from lakescore.lake.history import metadata_json
from lakescore.lake.lineage import CommitPlan, newest_lineage, with_lineage
from lakescore.lake.writes import past_races

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from lakescore.lake.tables import Table

ATTEMPT_ID = "_attempt_id"
#: A refused row's own identifier; of a closing row, the identifier of the row that it closes.
ROW_ID, CLOSES = "_row_id", "_closes"
_ROLE = "quarantine"


class Quarantine:
    """One workload's rows in a quarantine table, which several workloads may share."""

    def __init__(self, spark: SparkSession, table: Table, workload: str) -> None:
        self._spark = spark
        self._table = table
        self._workload = workload

    def exists(self) -> bool:
        return self._table.exists(self._spark)

    def rows(self) -> DataFrame:
        """This workload's rows, in force or not. Raises TableNotFound."""
        return self._table.read(self._spark).where(F.col("_workload") == self._workload)

    def in_force(self, void: Sequence[str]) -> DataFrame:
        """The refused rows that count, when the attempts `void` do not. Raises TableNotFound."""
        rows = self.rows()
        standing = rows.where(~F.col(ATTEMPT_ID).isin(list(void))) if void else rows
        closed = standing.where(F.col(CLOSES).isNotNull()).select(F.col(CLOSES).alias("closed"))
        refused = standing.where(F.col(CLOSES).isNull()).drop(CLOSES)
        return refused.join(closed, F.col(ROW_ID) == F.col("closed"), "left_anti")

    def append(
        self,
        refused: DataFrame,
        plan: CommitPlan,
        attempt_id: str,
        closed: DataFrame | None = None,
    ) -> None:
        """Write the attempt's refused rows, and a closing row for each `_row_id` of `closed`.

        Makes the table. Raises ForeignTable.
        """
        own = [F.col(quoted(name)) for name in refused.columns]
        rows = refused.select(*own, F.expr("uuid()").alias(ROW_ID))
        rows = rows.withColumn(CLOSES, F.lit(None).cast("string"))
        if closed is not None:
            closing = closed.select(F.col(ROW_ID).alias(CLOSES))
            rows = rows.unionByName(closing, allowMissingColumns=True)
        rows = with_lineage(rows.withColumn(ATTEMPT_ID, F.lit(attempt_id)), self._workload, plan)
        self._prepare(rows)
        fields = {"kind": _ROLE, "attempt_id": attempt_id, "run_id": plan.run_id}
        writer = rows.write.format("delta").mode("append")
        writer = writer.option("userMetadata", metadata_json(fields))
        # A row to close is read from the table itself, so that a twin's append conflicts; what
        # the twin wrote changes nothing here: if it counts, this attempt will not.
        path, identifier = self._table.path, str(self._table.identifier)
        save = (
            partial(writer.saveAsTable, identifier) if path is None else partial(writer.save, path)
        )
        past_races(save, self._table)

    def attempts(self, since_seq: int) -> dict[str, int]:
        """Attempts under a commit number of at least `since_seq`: attempt id -> number."""
        if not self.exists():
            return {}
        judged = self.rows().where(F.col("_commit_seq") >= since_seq)
        found = judged.groupBy(ATTEMPT_ID).agg(F.max("_commit_seq").alias("seq")).collect()
        return {row[ATTEMPT_ID]: row["seq"] for row in found}

    def newest(self, seq: int | None = None) -> Mapping[str, Any]:
        """The newest lineage of the rows (of one commit number); empty when there are none."""
        if not self.exists():
            return {}
        rows = self.rows()
        return newest_lineage(rows if seq is None else rows.where(F.col("_commit_seq") == seq))

    def remove(self, attempts: Sequence[str]) -> None:
        """Delete the rows of these attempts."""
        if not attempts:
            return
        listed = ", ".join(f"'{attempt}'" for attempt in attempts)
        name = self._table.sql_name
        statement = f"DELETE FROM {name} WHERE {ATTEMPT_ID} IN ({listed})"  # noqa: S608
        past_races(lambda: self._spark.sql(statement).collect(), self._table)

    def _prepare(self, rows: DataFrame) -> None:
        properties = self._table.find_properties(self._spark)
        if properties is not None:
            check_role(self._table, properties, _ROLE)
            with_columns(self._spark, self._table, rows.schema)
            return
        create_table(
            self._spark,
            self._table,
            rows.schema,
            role=_ROLE,
            comment="Rows that lakescore refused, with reasons",
        )
