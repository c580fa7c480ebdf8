"""Score: the rows that landed and are not yet scored, each exactly once, back into the lake."""

from __future__ import annotations

import logging
from datetime import date
from typing import TYPE_CHECKING

from lakescore.errors import CommitConflict
from lakescore.evaluation.report import write_report
from lakescore.workflows.as_of import on_day
from lakescore.workflows.plan import ScoringPlan, make_plan, predictions_log, predictions_of
from lakescore.workflows.run_result import RunResult, Status, recorded_run
from lakescore.workflows.run_result import run_folder as result_folder
from lakescore.workflows.scored_rows import scored_rows
from lakescore.workflows.scoring_model import scoring_model
from lakescore.workflows.scoring_report import score_distribution, scoring_report
from lakescore.workflows.task_errors import task_errors

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from lakescore.config.settings import Settings
    from lakescore.config.workload import Workload
    from lakescore.lake.commits import CommitOutcome, PredictionsLog
    from lakescore.lake.staging import Staged

log = logging.getLogger("lakescore")

#: A run that loses its commit number to another plans again, at most this often.
_TRIES = 3


def score(
    spark: SparkSession,
    settings: Settings,
    workload: Workload,
    *,
    as_of: date | None = None,
) -> RunResult:
    """Score what the source gained since the last commit of this workload.

    `as_of` is the day that ``:as_of`` in its expressions stands for; today when absent.

    A rerun finds nothing to do and says so. Of two runs at once exactly one commits; the other
    plans again. Raises LakescoreError leaves; then nothing of the run is visible.
    """
    from lakescore.lake.tables import Lake

    workload = on_day(workload, as_of)
    predictions = predictions_of(workload)
    lake = Lake(settings.lake)
    with recorded_run("score", workload.name, settings) as run:
        run.command = f"lakescore score {workload.name}"
        commits = predictions_log(spark, lake, workload.name, predictions)
        with scoring_model(settings, workload) as model:
            run.model_version = model.version
            for _ in range(_TRIES):
                with run.phase("plan"):
                    progress = commits.roll_forward()
                    plan = make_plan(spark, lake, workload, model, progress)
                    run.pins = plan.pins.describe()
                if plan.nothing_to_do:
                    return _nothing_to_do(run, plan)
                outcome = _score_once(spark, settings, plan, commits, run)
                if outcome.committed:
                    return run
                log.info("another run (%s) took the commit; planning again", outcome.winner_run_id)
        raise CommitConflict(
            f"other runs took {_TRIES} commit numbers in a row",
            where=predictions.table,
            hint="run again when they have finished; nothing was written twice",
        )


def _score_once(
    spark: SparkSession,
    settings: Settings,
    plan: ScoringPlan,
    commits: PredictionsLog,
    run: RunResult,
) -> CommitOutcome:
    from lakescore.lake.staging import run_folder, stage

    source = str(plan.pins.source)
    with run_folder(spark, settings.staging, run.run_id) as folder, task_errors(source):
        with run.phase("prepare"):
            rows = scored_rows(spark, settings, plan)
        with run.phase("score"):
            staged = stage(rows.frame, folder, read=rows.read, out_of_scope=rows.out_of_scope)
        _check_bounds(plan, staged)
        with run.phase("commit"):
            outcome = commits.commit(staged, plan.commit_plan(run.run_id))
        run.details["quarantine_reasons"] = dict(staged.reasons)
        if outcome.committed:
            with run.phase("report"):
                distribution = score_distribution(staged.predicted, plan.predictions.column)
                _done(run, plan, outcome)
                target = result_folder(settings.runs, run.workload, run.run_id)
                files = write_report(scoring_report(run, plan, outcome, distribution), target)
            run.artefacts["report"] = str(files.html)
        return outcome


def _check_bounds(plan: ScoringPlan, staged: Staged) -> None:
    from lakescore.lake.contract import check_bounds

    counts = staged.counts
    check_bounds(
        counts.read - counts.out_of_scope,
        counts.quarantined,
        plan.workload.source.max_quarantined,
        where=str(plan.pins.source),
        reasons=staged.reasons,
    )


def _nothing_to_do(run: RunResult, plan: ScoringPlan) -> RunResult:
    run.details["reason"] = (
        f"every row of {plan.pins.source} is scored; commit {plan.progress.commit_seq} was the last"
    )
    return run.finish(Status.NOTHING_TO_DO)


def _done(run: RunResult, plan: ScoringPlan, outcome: CommitOutcome) -> None:
    run.counts = outcome.counts.as_dict()
    run.details |= {
        "plan_hash": plan.hash,
        "commit_seq": plan.progress.next_seq,
        "table_version": outcome.version,
        "after_version": plan.after_version,
    }
    run.finish(Status.DONE, next_command=f"lakescore history {plan.workload.name}")
