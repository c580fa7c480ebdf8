"""The commit protocol of predictions: numbered, at most once, progress kept in the table itself.

Each (predictions table, workload) counts its commits 1, 2, 3, …; the number is also the Delta
`txnVersion` of its write, so of two runs planned from one state exactly one commits. Refused
rows go to the quarantine table first, under an attempt id, and are in force only once a commit of
the predictions table names that attempt. That commit, even one without rows, is the sole
decision. See docs/architecture.md.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from lakescore.config.predictions import AS_OF, WITHDRAWN
from lakescore.lake.adoption import adoption_of
from lakescore.lake.chain import Chain, Progress
from lakescore.lake.contract import CONTRACT_COLUMNS, COPIES, KEY, PAYLOAD, REASONS, ROW_HASH
from lakescore.lake.creation import check_role, create_table, with_columns
from lakescore.lake.history import recent_commits
from lakescore.lake.lineage import CommitPlan, newest_lineage, with_lineage
from lakescore.lake.quarantine import ROW_ID, Quarantine
from lakescore.lake.schemas import check_names_are_plain
from lakescore.lake.staging import ACTION
from lakescore.lake.writes import Append, Merge, Replace, WriteOutcome, own_rows, write_once

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.types import StructType

    from lakescore.lake.adoption import Adoption
    from lakescore.lake.staging import Counts, Staged
    from lakescore.lake.tables import Table

_ROLE = "predictions"
#: How much history is read at first, and at most, to find a workload's last commit.
_WINDOWS = (32, 1024, 1_000_000)


@dataclass(frozen=True)
class CommitOutcome:
    """Whether this run's commit is in the table. If not, `winner_run_id` names whose is."""

    committed: bool
    version: int | None
    counts: Counts
    winner_run_id: str | None = None


class PredictionsLog:
    """The commits of one workload in one predictions table, and its refused rows."""

    def __init__(
        self,
        spark: SparkSession,
        predictions: Table,
        quarantine: Table,
        workload: str,
        *,
        partition_by: Sequence[str] = (),
    ) -> None:
        self._spark = spark
        self._table = predictions
        self._quarantine = Quarantine(spark, quarantine, workload)
        self._workload = workload
        self._partition_by = tuple(partition_by)

    @property
    def app_id(self) -> str:
        """The Delta transaction identifier of this workload."""
        return f"lakescore:{self._workload}"

    def progress(self, as_of: date | None = None) -> Progress:
        """How far this workload has come (for the day `as_of`). Writes nothing.

        From the commits' metadata; from the `_commit_seq` and `_source_version` of the rows
        where the history was cleaned. Raises ForeignTable.
        """
        if not self._exists():
            return Progress()
        chain = self._chain()
        if chain.tells:
            return chain.progress(as_of)
        known = self._progress_of_rows(chain)
        refused = {} if chain.restored else self._quarantine.newest()
        return replace(known, commit_seq=max(known.commit_seq, refused.get("_commit_seq", 0)))

    def roll_forward(self, as_of: date | None = None) -> Progress:
        """Make the tables agree with the commits, and say how far these have come.

        Removes quarantine rows of attempts that lost their number. Where the history
        no longer shows this workload's commits, finds the highest number ever used and writes a
        commit without rows that says so. Safe to run at any time.
        """
        if not self._exists():
            return Progress()
        chain = self._chain()
        if not chain.tells and self.progress().commit_seq > 0:
            self._anchor(chain)
            chain = self._chain()
        self._quarantine.remove(chain.strays(self._quarantine.attempts(chain.lowest_seq)))
        return chain.progress(as_of)

    def commit(self, staged: Staged, plan: CommitPlan) -> CommitOutcome:
        """Make the staged rows visible, unless another run took the plan's number.

        Quarantine first, then the write to the predictions table, which decides; then its
        history, which tells. A lost attempt's quarantine rows are removed. Raises TypeMismatch
        when the rows do not fit the table, and ForeignTable.
        """
        attempt_id = uuid.uuid4().hex
        changes = self._changes(staged, plan)
        self._prepare(changes(self._spark).drop(ACTION).schema)
        judged = self._judge(staged, plan, attempt_id)
        result = {"counts": staged.counts.as_dict(), "reasons": staged.reasons}
        metadata = {"kind": "predictions", **plan.metadata(), **result}
        outcome = self._write(changes, self._how(plan), plan.commit_seq, attempt_id, metadata)
        if outcome.commit is not None:
            return CommitOutcome(True, outcome.commit.version, staged.counts)
        if judged:
            self._quarantine.remove([attempt_id])
        winner = None if outcome.winner is None else outcome.winner.metadata.get("run_id")
        return CommitOutcome(False, None, staged.counts, winner)

    def quarantined(self) -> DataFrame:
        """This workload's quarantine rows that are in force. Raises TableNotFound."""
        attempts = self._quarantine.attempts(0)
        chain = self._chain(back_to=min(attempts.values(), default=None))
        return self._quarantine.in_force(chain.not_in_force(attempts))

    def rows(self) -> DataFrame:
        """This workload's predictions, those that it adopted included. Raises TableNotFound."""
        return self._table.read(self._spark).where(self._own_rows())

    def start(self, at: Progress) -> Progress:
        """Commit, without rows, the progress that an adopted table starts from.

        Done once: returns the progress that stands, this one's or that of an earlier call. The
        table has the lineage columns, but need not be marked as lakescore's yet.
        """
        chain = self._chain()
        known = replace(at, commit_seq=chain.highest_seq)
        while not chain.in_force:
            outcome = self._append_anchor(known, kind="adopt")
            known = replace(known, commit_seq=known.next_seq)
            if outcome.committed:
                return known
            chain = self._chain()
        return chain.progress()

    def _changes(self, staged: Staged, plan: CommitPlan) -> Callable[[SparkSession], DataFrame]:
        """The rows to write, in whichever session writes them."""

        def rows(spark: SparkSession) -> DataFrame:
            if not plan.merge_by:
                return with_lineage(staged.predicted(spark), self._workload, plan)
            merged = staged.merged(
                spark, plan.merge_by, on_delete=plan.on_delete, on_invalid=plan.on_invalid
            )
            return with_lineage(merged, self._workload, plan)

        return rows

    def _how(self, plan: CommitPlan) -> Append | Replace | Merge:
        if plan.merge_by:
            return Merge(plan.merge_by, self._own_rows("t"), ACTION, WITHDRAWN)
        if plan.replaces is not None:
            return Replace(f"{self._own_rows()} AND ({plan.replaces})")
        return Append()

    def _own_rows(self, alias: str = "") -> str:
        """SQL: this workload's rows, those that it adopted with the table included."""
        return own_rows(self._workload, unlabelled=self._adoption() is not None, alias=alias)

    def _adoption(self) -> Adoption | None:
        return adoption_of(self._table.find_properties(self._spark) or {}, self._workload)

    def _judge(self, staged: Staged, plan: CommitPlan, attempt_id: str) -> bool:
        """Write the refused rows, and close those in force that were judged anew."""
        refused, closed = staged.quarantined(self._spark), None
        if (plan.merge_by or plan.closes) and self._quarantine.exists():
            in_force = self.quarantined()
            closed = self._closed(staged, plan, in_force)
            if plan.merge_by and staged.counts.deleted:
                gone = self._gone(staged, plan, in_force)
                closed = closed.unionByName(gone.select(F.explode("rows").alias(ROW_ID)))
                left = gone.where(F.col(COPIES) > 0)
                refused = refused.unionByName(left.select(*CONTRACT_COLUMNS))
        if not staged.counts.quarantined and (closed is None or closed.limit(1).count() == 0):
            return False
        self._quarantine.append(refused, plan, attempt_id, closed)
        return True

    def _gone(self, staged: Staged, plan: CommitPlan, in_force: DataFrame) -> DataFrame:
        """Refused rows without a key of which copies were deleted: the `rows` that stood for
        them, and CONTRACT_COLUMNS with the copies that are left.
        """
        gone = staged.gone_without_key(self._spark, plan.merge_by)
        stood = in_force.groupBy(ROW_HASH).agg(
            F.collect_list(ROW_ID).alias("rows"),
            F.sum(COPIES).alias("stood"),
            *(F.first(name).alias(name) for name in (REASONS, KEY, PAYLOAD)),
        )
        left = (F.col("stood") - F.col("gone")).alias(COPIES)
        return stood.join(gone, ROW_HASH).select("rows", REASONS, left, ROW_HASH, KEY, PAYLOAD)

    def _closed(self, staged: Staged, plan: CommitPlan, in_force: DataFrame) -> DataFrame:
        """The rows of `in_force` whose source rows this commit judged anew: their `_row_id`."""
        if plan.as_of is not None and AS_OF not in in_force.columns:
            return in_force.where(F.lit(False)).select(ROW_ID)
        if plan.closes:
            return in_force.where(F.expr(plan.closes)).select(ROW_ID)
        keys = staged.keys(self._spark, plan.merge_by)
        return in_force.join(keys, KEY, "left_semi").select(ROW_ID)

    def _exists(self) -> bool:
        properties = self._table.find_properties(self._spark)
        if properties is not None:
            check_role(self._table, properties, _ROLE)
        return properties is not None

    def _chain(self, back_to: int | None = None) -> Chain:
        """This workload's commits, as far back as tells its progress, and number `back_to`.

        A commit's number grows with its version, so a longer history than that tells no more.
        """
        chain = Chain((), (), complete=True, restored=False)
        for window in _WINDOWS:
            commits = recent_commits(self._spark, self._table, window)
            chain = Chain.of(commits, self.app_id)
            far_enough = back_to is None or (chain.own and chain.lowest_seq <= back_to)
            if chain.complete or (chain.tells and far_enough) or len(commits) < window:
                break
        return chain

    def _progress_of_rows(self, chain: Chain) -> Progress:
        """What the predictions themselves tell, for a history that was cleaned."""
        known, adopted = Progress(commit_seq=chain.highest_seq), self._adoption()
        if adopted is not None:
            known = replace(
                known,
                commit_seq=max(known.commit_seq, adopted.commit_seq),
                source_version=adopted.source_version,
                source_id=adopted.source_id,
            )
        return _moved(known, newest_lineage(self.rows()))

    def _anchor(self, chain: Chain) -> None:
        """Commit, without rows, under the first number that no commit has used.

        Whether a number was used only Delta knows once the history is cleaned: it skips an append
        under a used one. So a quarantine attempt whose number turns out used was in force, and
        moves progress on; one whose number is free was not. After a RESTORE none counts.
        """
        known = self._progress_of_rows(chain)
        while not self._append_anchor(known).committed:
            refused = {} if chain.restored else self._quarantine.newest(known.next_seq)
            known = replace(_moved(known, refused), commit_seq=known.next_seq)

    def _append_anchor(self, known: Progress, *, kind: str = "anchor") -> WriteOutcome:
        empty = self._spark.createDataFrame([], self._table.read(self._spark).schema)
        metadata = {"kind": kind, **vars(known), "workload_mode": known.mode}
        return self._write(lambda _: empty, Append(), known.next_seq, uuid.uuid4().hex, metadata)

    def _write(
        self,
        rows: Callable[[SparkSession], DataFrame],
        how: Append | Replace | Merge,
        number: int,
        attempt_id: str,
        metadata: Mapping[str, Any],
    ) -> WriteOutcome:
        return write_once(
            self._spark,
            rows,
            self._table,
            how,
            app_id=self.app_id,
            number=number,
            attempt_id=attempt_id,
            metadata={**metadata, "workload": self._workload},
        )

    def _prepare(self, schema: StructType) -> None:
        """Make the table, or add the columns that it lacks in a commit of their own."""
        if self._exists():
            with_columns(self._spark, self._table, schema)
            return
        check_names_are_plain(schema.names, where=self._table.name)
        created = create_table(
            self._spark,
            self._table,
            schema,
            role=_ROLE,
            comment="Predictions by lakescore; one row per workload and key",
            partition_by=self._partition_by,
        )
        if not created and self._exists():
            with_columns(self._spark, self._table, schema)


def _moved(known: Progress, lineage: Mapping[str, Any]) -> Progress:
    """Progress moved on to what a table's newest rows say."""
    if not lineage:
        return known
    return replace(
        known,
        commit_seq=max(known.commit_seq, lineage["_commit_seq"]),
        source_version=lineage["_source_version"],
        model_version=lineage["_model_version"],
        stands_under=lineage["_model_version"],
        run_id=lineage["_run_id"],
    )
