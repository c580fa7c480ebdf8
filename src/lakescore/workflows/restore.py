"""Restore: the last scoring commit is taken back, its predictions and its refused rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lakescore.errors import CorruptFile, VersionUnreadable
from lakescore.workflows.plan import writable_log
from lakescore.workflows.run_result import RunResult, Status, recorded_run
from lakescore.workflows.steps import predictions_of
from lakescore.workflows.task_errors import task_errors

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from lakescore.config.settings import Settings
    from lakescore.config.workload import Workload


def restore(
    spark: SparkSession,
    settings: Settings,
    workload: Workload,
    *,
    commit_seq: int | None = None,
) -> RunResult:
    """Take the last scoring commit of the workload back, as a new generation.

    The tables are then as before that commit, as far as this workload goes; repeat to go further.
    With `commit_seq` only that commit is taken back, so that a repeat says ALREADY_DONE. The next
    `score` scores the same source rows again, by the champion of then. Raises UsageError,
    ForeignTable and CommitConflict as `PredictionsLog.withdraw`, and VersionUnreadable where
    VACUUM removed what the commit replaced.
    """
    from lakescore.lake.tables import Lake

    predictions = predictions_of(workload)
    with recorded_run("restore", workload.name, settings) as run:
        run.command = f"lakescore restore {workload.name}"
        log = writable_log(spark, Lake(settings.lake), workload.name, predictions)
        try:
            with run.phase("commit"), task_errors(predictions.table):
                found = log.withdraw(run.run_id, commit_seq)
        except CorruptFile as error:
            raise VersionUnreadable(
                f"what the last commit replaced is no longer there ({error.what})",
                where=predictions.table,
                hint=f"VACUUM made it impossible to take back; lakescore score {workload.name} "
                "--full makes every prediction anew",
            ) from error
        if found is None:
            run.details["reason"] = f"commit {commit_seq} was taken back before"
            return run.finish(Status.ALREADY_DONE)
        withdrawn = found.commit.metadata
        run.counts = {
            "predicted_withdrawn": withdrawn["counts"]["predicted"],
            "quarantined_withdrawn": withdrawn["counts"]["quarantined"],
        }
        run.model_version = withdrawn.get("model_version")
        run.details |= {
            "reason": f"commit {withdrawn['commit_seq']} of run {withdrawn['run_id']} "
            "is taken back; the next score reads its source rows again",
            "commit_seq": withdrawn["commit_seq"],
            "run_id": withdrawn["run_id"],
            "table_version": found.version,
        }
        return run.finish(Status.DONE, next_command=f"lakescore plan {workload.name}")
