"""The commit protocol of predictions: numbered, at most once, progress kept in the table itself.

Each (predictions table, workload) counts its commits 1, 2, 3, …; the number is also the Delta
`txnVersion` of its write, so of two runs planned from one state exactly one commits. Refused
rows go to the quarantine table first, under an attempt id, and are in force only once a commit of
the predictions table names that attempt. That commit, even one without rows, is the sole
decision. See docs/architecture.md.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from lakescore.config.base import quoted
from lakescore.config.predictions import WITHDRAWN
from lakescore.errors import CommitConflict, VersionUnreadable
from lakescore.lake.adoption import adoption_of
from lakescore.lake.chain import ANCHOR, PART_LOST, WITHDRAWS, Chain, Progress
from lakescore.lake.creation import check_role, create_table, with_columns
from lakescore.lake.history import recent_commits
from lakescore.lake.judgement import Judgement, judgement
from lakescore.lake.lineage import CommitPlan, newest_lineage, with_lineage
from lakescore.lake.quarantine import Quarantine
from lakescore.lake.schemas import check_names_are_plain
from lakescore.lake.staging import ACTION
from lakescore.lake.unfinished import UnfinishedNote
from lakescore.lake.withdrawal import commit_to_withdraw, withdrawal
from lakescore.lake.writes import (
    Append,
    Merge,
    Replace,
    WriteOutcome,
    own_rows,
    write_once,
)
from lakescore.version import code_version

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.types import StructType

    from lakescore.lake.adoption import Adoption
    from lakescore.lake.history import TableCommit
    from lakescore.lake.staging import Counts, Staged
    from lakescore.lake.tables import Table

log = logging.getLogger("lakescore")

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


@dataclass(frozen=True)
class Withdrawn:
    """A scoring commit that was taken back, and the table version that says so."""

    commit: TableCommit
    version: int


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
        self._unfinished = UnfinishedNote(spark, predictions, workload)
        self._workload = workload
        self._partition_by = tuple(partition_by)

    @property
    def app_id(self) -> str:
        """The Delta transaction identifier of this workload."""
        return f"lakescore:{self._workload}"

    def progress(self, as_of: date | None = None, *, start_over: bool = False) -> Progress:
        """How far this workload has come (for the day `as_of`). Writes nothing.

        From the commits' metadata; from the `_commit_seq` and `_source_version` of the rows
        where the history was cleaned. Raises ForeignTable, and VersionUnreadable when neither
        tells how far a catch-up came, unless the run is to `start_over` anyway.
        """
        properties = self._properties()
        if not properties:
            return Progress()
        chain = self._chain()
        if not start_over:
            self._check_part_is_told(properties, chain)
        if chain.tells:
            return chain.progress(as_of)
        known = self._progress_of_rows(chain)
        refused = {} if chain.restored else self._quarantine.newest()
        return replace(known, commit_seq=max(known.commit_seq, refused.get("_commit_seq", 0)))

    def roll_forward(self, as_of: date | None = None, *, start_over: bool = False) -> Progress:
        """Make the tables agree with the commits, and say how far these have come.

        Removes quarantine rows of attempts that lost their number, and payloads that the newest
        commit took away without living to purge them. Where the history no longer shows this
        workload's commits, finds the highest number ever used and writes a commit without rows
        that says so; another one after a RESTORE by somebody else. Safe to run at any time. Raises
        as `progress`.
        """
        properties = self._properties()
        if not properties:
            return Progress()
        chain = self._chain()
        if not start_over:
            self._check_part_is_told(properties, chain)
        if not chain.tells and self.progress(start_over=start_over).commit_seq > 0:
            self._anchor(chain)
            chain = self._chain()
        elif chain.is_undone:
            self._settle(chain)
            chain = self._chain()
        tidy_at = self._tidy_quarantine(chain)
        for newest in chain.in_force[:1]:
            if newest.metadata.get("purges"):
                self._quarantine.purge_deleted(newest.metadata["attempt_id"])
        return replace(chain.progress(as_of), quarantine_version=tidy_at)

    def lost_attempts(self) -> list[str]:
        """The quarantine's attempts whose number another took: what `roll_forward` removes."""
        if not self._exists():
            return []
        chain = self._chain()
        return chain.strays(self._quarantine.attempts(chain.lowest_seq))

    def commit(self, staged: Staged, plan: CommitPlan) -> CommitOutcome:
        """Make the staged rows visible, unless another run took the plan's number.

        Quarantine first, then the write to the predictions table, which decides; then its
        history, which tells. A lost attempt's quarantine rows are removed. Raises TypeMismatch
        when the rows do not fit the table, and ForeignTable.
        """
        attempt_id = uuid.uuid4().hex
        changes = self._changes(staged, plan)
        properties = self._prepare(changes(self._spark).drop(ACTION).schema)
        if plan.part is not None:
            self._unfinished.write(plan.part.version)
        judged = self._judge(staged, plan, attempt_id)
        result = {
            "counts": staged.counts.as_dict(),
            "reasons": staged.reasons,
            "purges": judged.purges,
        }
        metadata = {"kind": "predictions", **plan.metadata(), **result}
        outcome = self._write(changes, self._how(plan), plan.commit_seq, attempt_id, metadata)
        if outcome.commit is not None:
            if plan.part is None:
                self._unfinished.remove(self._unfinished.version(properties))
            if judged.purges:
                self._purge(attempt_id)
            return CommitOutcome(True, outcome.commit.version, staged.counts)
        if judged.written:
            self._quarantine.remove([attempt_id])
        winner = None if outcome.winner is None else outcome.winner.metadata.get("run_id")
        return CommitOutcome(False, None, staged.counts, winner)

    def withdraw(self, run_id: str, commit_seq: int | None = None) -> Withdrawn | None:
        """Take the last scoring commit back, with its refused rows, as a new generation.

        With `commit_seq` only if that is the last one; None when it was taken back before.
        Progress is that of the commit before it, so the next run scores its rows again. Raises
        UsageError when there is nothing (or another commit) to take back, ForeignTable when
        another writer's commit stands in between, and CommitConflict when a run committed at
        the same time.
        """
        chain = self._chain(back_to=1) if self._exists() else Chain()
        last = commit_to_withdraw(
            chain, commit_seq, workload=self._workload, where=self._table.name
        )
        if last is None:
            return None
        undone = withdrawal(self._table, self._own_rows, last)
        progress = chain.progress_before(last)
        attempt_id = uuid.uuid4().hex
        plan = _plan_without_rows(progress, run_id)
        if progress.part is not None:
            self._unfinished.write(progress.part.version)
        void = chain.not_in_force(self._quarantine.attempts(0))
        self._quarantine.undo([last.metadata["attempt_id"]], void, plan, attempt_id)
        metadata = {
            **progress.metadata(),
            "kind": "restore",
            "mode": "restore",
            "as_of": last.metadata.get("as_of"),
            "generation": int(last.metadata.get("generation", 0)) + 1,
            "run_id": run_id,
            "withdrawn_seq": last.metadata["commit_seq"],
            WITHDRAWS: last.metadata["attempt_id"],
        }
        outcome = self._write(undone.rows, undone.how, plan.commit_seq, attempt_id, metadata)
        if outcome.commit is None:
            if self._quarantine.exists():
                self._quarantine.remove([attempt_id])
            raise CommitConflict(
                "a run committed at the same time; nothing was taken back",
                where=self._table.name,
                hint="look at `lakescore history NAME` and run again",
            )
        return Withdrawn(last, outcome.commit.version)

    def predicted_keys(self, key: Sequence[str]) -> DataFrame:
        """The key columns of this workload's predictions. Raises TableNotFound."""
        return self.rows().select(*(F.col(quoted(name)) for name in key))

    def has_quarantine(self) -> bool:
        """Whether a row may be in force: there are both tables."""
        return self._exists() and self._quarantine.exists()

    def quarantined(self) -> DataFrame:
        """This workload's quarantine rows that are in force. Raises TableNotFound."""
        attempts = self._quarantine.attempts(0)
        back_to = min(attempts.values(), default=None)
        chain = self._chain(back_to=back_to) if self._exists() else Chain()
        return self._quarantine.in_force(chain.not_in_force(attempts))

    def predicted_by(self, run_id: str) -> DataFrame:
        """This workload's current predictions that one run made."""
        return self.rows().where(F.col("_run_id") == run_id)

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

    def _judge(self, staged: Staged, plan: CommitPlan, attempt_id: str) -> Judgement:
        """Write the refused rows, and close those in force that were judged anew."""
        judged = judgement(self._spark, staged, plan, self._quarantine, self.quarantined)
        if judged.written:
            self._quarantine.append(judged.refused, plan, attempt_id, judged.closed)
        return judged

    def _purge(self, attempt_id: str) -> None:
        """Take the payloads of deleted rows away; the next roll forward does what fails here."""
        try:
            self._quarantine.purge_deleted(attempt_id)
        except Exception as error:
            cause = str(error).split("\n", 1)[0]
            log.warning("payloads of deleted rows stay until the next run: %s", cause)

    def _tidy_quarantine(self, chain: Chain) -> int | None:
        """Remove the attempts whose number another took; the version that then has no other left.

        Which attempts there are is asked of the rows only where somebody else may have written:
        that reads the table's state, most of what a small run costs.
        """
        newest = self._quarantine.newest_commit()
        if newest is None:
            return None
        if chain.left_as_is(newest):
            return newest.version
        attempts = self._quarantine.attempts(chain.lowest_seq)
        strays = chain.strays(attempts)
        self._quarantine.remove(strays)
        return newest.version if chain.are_all_named(attempts) else None

    def _exists(self) -> bool:
        return bool(self._properties())

    def _chain(self, back_to: int | None = None) -> Chain:
        """This workload's commits, as far back as tells its progress, and number `back_to`.

        A commit's number grows with its version, so a longer history than that tells no more.
        """
        chain = Chain()
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

    def _check_part_is_told(self, properties: Mapping[str, str], chain: Chain) -> None:
        """Rows alone cannot tell how far an unfinished catch-up came: only a commit can."""
        unfinished = self._unfinished.version(properties)
        if unfinished is None or chain.tells_part:
            return
        raise VersionUnreadable(
            f"source version {unfinished} was scored in part, and the history that says how "
            "far was cleaned",
            where=self._table.name,
            hint=f"start over: lakescore score {self._workload} --full",
        )

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

    def _settle(self, chain: Chain) -> None:
        """Commit, without rows, what a RESTORE by somebody else left.

        So it still stands once the record of that RESTORE is cleaned, and rows alone tell. Where a
        run commits at the same time it has done so itself, or plans again.
        """
        progress, attempt_id = chain.progress(), uuid.uuid4().hex
        void = chain.not_in_force(self._quarantine.attempts(0))
        self._quarantine.undo(void, void, _plan_without_rows(progress, ""), attempt_id)
        outcome = self._append_anchor(progress, attempt_id=attempt_id)
        if outcome.commit is None and void:
            self._quarantine.remove([attempt_id])

    def _append_anchor(
        self, known: Progress, *, kind: str = ANCHOR, attempt_id: str | None = None
    ) -> WriteOutcome:
        empty = self._spark.createDataFrame([], self._table.read(self._spark).schema)
        metadata = {"kind": kind, **known.metadata()}
        if kind == ANCHOR and known.part is None:
            metadata[PART_LOST] = self._unfinished.version(self._properties()) is not None
        own_id = attempt_id or uuid.uuid4().hex
        return self._write(lambda _: empty, Append(), known.next_seq, own_id, metadata)

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
            metadata={
                **metadata,
                "workload": self._workload,
                "code_version": code_version(),
            },
        )

    def _properties(self) -> Mapping[str, str]:
        """The table's properties; none where it is not there. Raises ForeignTable."""
        found = self._table.find_properties(self._spark)
        if found is not None:
            check_role(self._table, found, _ROLE)
        return found or {}

    def _prepare(self, schema: StructType) -> Mapping[str, str]:
        """Make the table, or add the columns that it lacks in a commit of their own.

        The properties that it had before.
        """
        properties = self._properties()
        if properties:
            with_columns(self._spark, self._table, schema)
            return properties
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
        return {}


def _plan_without_rows(progress: Progress, run_id: str) -> CommitPlan:
    """The plan of a commit that brings no source row: what its quarantine rows are labelled by."""
    return CommitPlan(
        run_id=run_id,
        commit_seq=progress.next_seq,
        source_version=progress.source_version,
        source_id=progress.source_id or "",
        model_version=progress.model_version or "",
        plan_hash="",
    )


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
