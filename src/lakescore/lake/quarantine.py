"""The quarantine table: refused rows, in force only once a commit names their attempt.

Nothing in it is changed by a later judgement of the same row: that one writes a closing row,
which names the refused row and is in force under the same rule. So what a RESTORE of the
predictions takes back, it takes back here too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from lakescore.config.base import quoted
from lakescore.config.predictions import AS_OF
from lakescore.lake.contract import CONTENT_HASH, CONTRACT_COLUMNS, DELETED, PAYLOAD, REASONS
from lakescore.lake.creation import check_role, create_table, with_columns
from lakescore.lake.history import metadata_json, recent_commits
from lakescore.lake.lineage import CommitPlan, newest_lineage, with_lineage
from lakescore.lake.schemas import string_literal
from lakescore.lake.writes import own_rows, past_races

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

    from lakescore.lake.history import TableCommit
    from lakescore.lake.tables import Table

ATTEMPT_ID = "_attempt_id"
#: A refused row's own identifier; of a closing row, the identifier of the row that it closes.
ROW_ID, CLOSES = "_row_id", "_closes"
#: Of a refused row that is a copy: the attempt that refused it first.
COPY_OF = "_copy_of_attempt"
_ROLE = "quarantine"


class Quarantine:
    """One workload's rows in a quarantine table, which several workloads may share."""

    def __init__(self, spark: SparkSession, table: Table, workload: str) -> None:
        self._spark = spark
        self._table = table
        self._workload = workload

    def exists(self) -> bool:
        return self._table.exists(self._spark)

    def newest_commit(self) -> TableCommit | None:
        """The newest commit of the table, by whomever; None where there is no table."""
        if not self.exists():
            return None
        return recent_commits(self._spark, self._table, 1)[0]

    def rows(self) -> DataFrame:
        """This workload's rows, in force or not. Raises TableNotFound."""
        rows = self._table.read(self._spark).where(F.col("_workload") == self._workload)
        if CONTENT_HASH in rows.columns:
            return rows
        return rows.withColumn(CONTENT_HASH, F.lit(None).cast("string"))

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

        `_reasons` of `closed` are ['deleted'] where the source row is gone, else null. Makes the
        table. Raises ForeignTable.
        """
        own = [F.col(quoted(name)) for name in refused.columns]
        rows = refused.select(*own, F.expr("uuid()").alias(ROW_ID))
        rows = rows.withColumn(CLOSES, F.lit(None).cast("string"))
        if closed is not None:
            closing = closed.select(F.col(ROW_ID).alias(CLOSES), REASONS)
            rows = rows.unionByName(closing, allowMissingColumns=True)
        rows = with_lineage(rows.withColumn(ATTEMPT_ID, F.lit(attempt_id)), self._workload, plan)
        self._prepare(rows)
        fields = {"kind": _ROLE, "attempt_id": attempt_id, "run_id": plan.run_id}
        writer = rows.write.format("delta").mode("append")
        writer = writer.option("userMetadata", metadata_json(fields))
        # A row to close is read from the table itself, so that a twin's append conflicts; what
        # the twin wrote changes nothing here: if it counts, this attempt will not.
        past_races(lambda: self._table.save(writer), self._table)

    def undo(
        self, undone: Sequence[str], void: Sequence[str], plan: CommitPlan, attempt_id: str
    ) -> None:
        """Write, as `attempt_id`, what takes the attempts `undone` back; `void` ones never counted.

        Their refused rows are closed, and those that only they closed are refused again, in a copy:
        while the history shows that they are void that says the same twice, and once the history is
        cleaned the rows say it alone.
        """
        if not undone or not self.exists():
            return
        rows, ours = self.rows(), [*undone]
        own = rows.where(_refused_by(rows).isin(ours) & F.col(CLOSES).isNull()).select(ROW_ID)
        ids = rows.where(F.col(ATTEMPT_ID).isin(ours) & F.col(CLOSES).isNotNull())
        stood = self.in_force([*void, *undone])
        again = stood.join(ids.select(F.col(CLOSES).alias(ROW_ID)), ROW_ID, "left_semi")
        closed = own.unionByName(again.select(ROW_ID)).distinct()
        closed = closed.withColumn(REASONS, F.lit(None).cast("array<string>"))
        if closed.limit(1).count() == 0:
            return
        kept = [name for name in CONTRACT_COLUMNS if name in again.columns]
        kept += [AS_OF] if AS_OF in again.columns else []
        copies = again.select(*kept, _refused_by(again).alias(COPY_OF))
        self.append(copies, plan, attempt_id, closed)

    def attempts(self, since_seq: int) -> dict[str, int]:
        """Attempts under a commit number of at least `since_seq`: attempt id -> number.

        In the order in which they were written.
        """
        if not self.exists():
            return {}
        judged = self.rows().where(F.col("_commit_seq") >= since_seq)
        found = judged.groupBy(ATTEMPT_ID).agg(
            F.max("_commit_seq").alias("seq"), F.max(F.expr("unix_micros(_scored_at)")).alias("at")
        )
        ordered = sorted(found.collect(), key=lambda row: row["at"])
        return {row[ATTEMPT_ID]: row["seq"] for row in ordered}

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
        self._change(f"DELETE FROM {self._table.sql_name} WHERE {ATTEMPT_ID} IN ({listed})")  # noqa: S608

    def purge_deleted(self, attempt_id: str) -> None:
        """Empty the payload of the rows that this attempt closed because their source row is gone.

        Safe to repeat: where nothing is left to empty, nothing is written. Raises CommitConflict.
        """
        closing = (F.col(ATTEMPT_ID) == attempt_id) & F.array_contains(REASONS, DELETED)
        closed = self.rows().where(closing).select(F.col(CLOSES).alias(ROW_ID))
        readable = self.rows().where(F.col(PAYLOAD).isNotNull())
        if readable.join(closed, ROW_ID, "left_semi").limit(1).count() == 0:
            return
        name = self._table.sql_name
        self._change(
            f"MERGE INTO {name} t USING (SELECT DISTINCT {CLOSES} AS closed FROM {name} "  # noqa: S608
            f"WHERE {ATTEMPT_ID} = {string_literal(attempt_id)} "
            f"AND array_contains({REASONS}, '{DELETED}')) s ON t.{ROW_ID} = s.closed "
            f"WHEN MATCHED AND t.{PAYLOAD} IS NOT NULL "
            f"THEN UPDATE SET t.{PAYLOAD} = CAST(NULL AS string)"
        )

    def payloads_due(self, older_than: datetime, keep: str | None) -> int:
        """How many rows `purge_payloads` would change. Raises ForeignTable."""
        properties = self._table.find_properties(self._spark)
        if properties is None:
            return 0
        check_role(self._table, properties, _ROLE)
        return int(self.rows().where(self._is_due(older_than, keep)).count())

    def purge_payloads(self, older_than: datetime, keep: str | None) -> int:
        """Empty the payload of rows refused before `older_than` (with a time zone).

        Of a payload only the column `keep` stays: `predictions.backfill_by` (None without one), by
        which a backfill finds the refused rows of its range. Returns how many rows were changed; a
        repeat changes none and writes nothing. The bytes leave storage with VACUUM. Raises
        ForeignTable and CommitConflict.
        """
        count = self.payloads_due(older_than, keep)
        if count:
            due = self._is_due(older_than, keep)
            self._change(f"UPDATE {self._table.sql_name} SET {PAYLOAD} = {_left(keep)} WHERE {due}")  # noqa: S608
        return count

    def _is_due(self, older_than: datetime, keep: str | None) -> str:
        moment = older_than.astimezone(timezone.utc).replace(tzinfo=None)
        return (
            f"{own_rows(self._workload)} AND _scored_at < timestamp'{moment} UTC' "
            f"AND {PAYLOAD} IS NOT NULL AND NOT ({PAYLOAD} <=> {_left(keep)})"
        )

    def _change(self, statement: str) -> None:
        """Run a statement that changes rows; again when another writer came in between."""
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


def _refused_by(rows: DataFrame) -> Column:
    """The attempt that refused each row first."""
    if COPY_OF not in rows.columns:
        return F.col(ATTEMPT_ID)
    return F.coalesce(F.col(COPY_OF), F.col(ATTEMPT_ID))


def _left(keep: str | None) -> str:
    return "CAST(NULL AS string)" if keep is None else _only(keep)


def _only(column: str) -> str:
    """SQL: the payload with one of its columns (in any case) alone; null where it has none."""
    fields = f"from_json({PAYLOAD}, 'map<string,string>')"
    kept = f"map_filter({fields}, (name, value) -> lower(name) = {string_literal(column.lower())})"
    return f"nullif(to_json({kept}), '{{}}')"
