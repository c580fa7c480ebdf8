"""The commit protocol of predictions: numbered, at most once, progress kept in the table itself.

Each (predictions table, workload) counts its commits 1, 2, 3, …; the number is also the Delta
`txnVersion` of its append, so of two runs planned from one state exactly one commits. Refused
rows go to the quarantine table first, under an attempt id, and are in force only once a commit of
the predictions table names that attempt. That commit, even one without rows, is the sole
decision. See docs/architecture.md.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from lakescore.lake.appends import AppendOutcome, append_once
from lakescore.lake.chain import Chain, Progress
from lakescore.lake.creation import check_role, create_table
from lakescore.lake.history import recent_commits
from lakescore.lake.lineage import CommitPlan, newest_lineage, with_lineage
from lakescore.lake.quarantine import ATTEMPT_ID, Quarantine
from lakescore.lake.schemas import check_names_are_plain, check_rows_fit

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from lakescore.lake.staging import Counts, Staged
    from lakescore.lake.tables import Table

_ROLE = "predictions"
#: How much history is read at first, and at most, to find a workload's last commit.
_WINDOWS = (32, 1024)


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

    def progress(self) -> Progress:
        """How far this workload has come. Writes nothing. Raises ForeignTable.

        From the commits' metadata; from the `_commit_seq` and `_source_version` of the rows
        where the history was cleaned.
        """
        if not self._exists():
            return Progress()
        chain = self._chain()
        if chain.tells:
            return chain.progress()
        known = self._progress_of_rows(chain)
        refused = {} if chain.restored else self._quarantine.newest()
        return replace(known, commit_seq=max(known.commit_seq, refused.get("_commit_seq", 0)))

    def roll_forward(self) -> Progress:
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
        return chain.progress()

    def commit(self, staged: Staged, plan: CommitPlan) -> CommitOutcome:
        """Make the staged rows visible, unless another run took the plan's number.

        Quarantine first, then the append to the predictions table, which decides; then its
        history, which tells. A lost attempt's quarantine rows are removed. Raises TypeMismatch
        when the rows do not fit the table, and ForeignTable.
        """
        attempt_id = uuid.uuid4().hex
        predicted = with_lineage(staged.predicted, self._workload, plan)
        options = self._prepare(predicted)
        if staged.counts.quarantined:
            self._quarantine.append(staged.quarantined, plan, attempt_id)
        result = {"counts": staged.counts.as_dict(), "reasons": staged.reasons}
        metadata = {"kind": "predictions", **plan.metadata(), **result}
        outcome = self._append(predicted, plan.commit_seq, attempt_id, metadata, options)
        if outcome.commit is not None:
            return CommitOutcome(True, outcome.commit.version, staged.counts)
        if staged.counts.quarantined:
            self._quarantine.remove([attempt_id])
        winner = None if outcome.winner is None else outcome.winner.metadata.get("run_id")
        return CommitOutcome(False, None, staged.counts, winner)

    def quarantined(self) -> DataFrame:
        """This workload's quarantine rows that are in force. Raises TableNotFound."""
        rows, chain = self._quarantine.rows(), self._chain()
        void = chain.not_in_force(self._quarantine.attempts(chain.lowest_seq))
        return rows.where(~F.col(ATTEMPT_ID).isin(void)) if void else rows

    def _exists(self) -> bool:
        detail = self._table.find(self._spark)
        if detail is not None:
            check_role(self._table, detail, _ROLE)
        return detail is not None

    def _rows(self) -> DataFrame:
        return self._table.read(self._spark).where(F.col("_workload") == self._workload)

    def _chain(self) -> Chain:
        chain = Chain((), (), complete=True, restored=False)
        for window in _WINDOWS:
            commits = recent_commits(self._spark, self._table, window)
            chain = Chain.of(commits, self.app_id)
            if chain.tells or len(commits) < window:
                break
        return chain

    def _progress_of_rows(self, chain: Chain) -> Progress:
        """What the predictions themselves tell, for a history that was cleaned."""
        return _moved(Progress(commit_seq=chain.highest_seq), newest_lineage(self._rows()))

    def _anchor(self, chain: Chain) -> None:
        """Commit, without rows, under the first number that no commit has used.

        Whether a number was used only Delta knows once the history is cleaned: it skips an append
        under a used one. So a quarantine attempt whose number turns out used was in force, and
        moves progress on; one whose number is free was not. After a RESTORE none counts.
        """
        known = self._progress_of_rows(chain)
        while self._append_anchor(known).commit is None:
            refused = {} if chain.restored else self._quarantine.newest(known.next_seq)
            known = replace(_moved(known, refused), commit_seq=known.next_seq)

    def _append_anchor(self, known: Progress) -> AppendOutcome:
        empty = self._spark.createDataFrame([], self._table.read(self._spark).schema)
        metadata = {"kind": "anchor", **vars(known)}
        return self._append(empty, known.next_seq, uuid.uuid4().hex, metadata, {})

    def _append(
        self,
        rows: DataFrame,
        number: int,
        attempt_id: str,
        metadata: Mapping[str, Any],
        options: Mapping[str, str],
    ) -> AppendOutcome:
        return append_once(
            self._spark,
            rows,
            self._table,
            app_id=self.app_id,
            number=number,
            attempt_id=attempt_id,
            metadata={**metadata, "workload": self._workload},
            options=options,
        )

    def _prepare(self, predicted: DataFrame) -> dict[str, str]:
        """Make the table, or check that the rows fit it; returns the options of the append."""
        if self._exists():
            existing = self._table.read(self._spark).schema
            added = check_rows_fit(predicted.schema, existing, where=self._table.name)
            check_names_are_plain(added, where=self._table.name)
            return {"mergeSchema": "true"} if added else {}
        check_names_are_plain(predicted.columns, where=self._table.name)
        create_table(
            self._spark,
            self._table,
            predicted.schema,
            role=_ROLE,
            comment="Predictions by lakescore; one row per workload and key",
            partition_by=self._partition_by,
        )
        return {}


def _moved(known: Progress, lineage: Mapping[str, Any]) -> Progress:
    """Progress moved on to what a table's newest rows say."""
    if not lineage:
        return known
    return replace(
        known,
        commit_seq=max(known.commit_seq, lineage["_commit_seq"]),
        source_version=lineage["_source_version"],
        model_version=lineage["_model_version"],
        run_id=lineage["_run_id"],
    )
