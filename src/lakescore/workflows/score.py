"""Score: the rows that landed and are not yet scored, each exactly once, back into the lake."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from lakescore.errors import CommitConflict
from lakescore.evaluation.report import write_report
from lakescore.workflows.as_of import on_day, today
from lakescore.workflows.plan import ScoringPlan, day_of, make_plan, predictions_log
from lakescore.workflows.run_result import RunResult, Status, recorded_run
from lakescore.workflows.run_result import run_folder as result_folder
from lakescore.workflows.scored_rows import scored_rows
from lakescore.workflows.scoring_model import ScoringModel, scoring_model
from lakescore.workflows.scoring_report import score_distribution, scoring_report
from lakescore.workflows.steps import Request, Step, predictions_of
from lakescore.workflows.task_errors import task_errors

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from lakescore.config.settings import Settings
    from lakescore.config.workload import Workload
    from lakescore.lake.commits import CommitOutcome, PredictionsLog
    from lakescore.lake.staging import Staged
    from lakescore.lake.tables import Lake

log = logging.getLogger("lakescore")

#: A run that loses its commit number to another plans again, at most this often.
_TRIES = 3


def score(
    spark: SparkSession,
    settings: Settings,
    workload: Workload,
    *,
    as_of: date | None = None,
    full: bool = False,
) -> RunResult:
    """Score what the source gained since the last commit of this workload.

    `as_of` is the day that ``:as_of`` in its expressions stands for, and in mode snapshot the
    day that is scored; today when absent. With `full` every row is scored again and replaces
    what this workload predicted before.

    A rerun finds nothing to do and says so. Of two runs at once exactly one commits; the other
    plans again. Raises LakescoreError leaves; then nothing of the run is visible.
    """
    day = as_of or today()
    return _run(spark, settings, workload, Request(day, "full" if full else "new"))


def backfill(
    spark: SparkSession,
    settings: Settings,
    workload: Workload,
    *,
    first: str | None = None,
    last: str | None = None,
    version: str | None = None,
    as_of: date | None = None,
) -> RunResult:
    """Score a range of `predictions.backfill_by` again and replace exactly that range.

    Both ends count; None leaves an end open. By the champion, or the registered `version`. What
    is new is scored first (by the champion), so that the range is read as of the progress.
    Raises as `score` does, and UsageError without a range.
    """
    day = as_of or today()
    if predictions_of(workload).mode != "snapshot":
        score(spark, settings, workload, as_of=day)
    request = Request(day, "backfill", first, last)
    return _run(spark, settings, workload, request, version=version)


@dataclass(frozen=True)
class _Scoring:
    """What the steps of one run share."""

    spark: SparkSession
    settings: Settings
    lake: Lake
    workload: Workload
    model: ScoringModel
    log: PredictionsLog
    run: RunResult


def _run(
    spark: SparkSession,
    settings: Settings,
    workload: Workload,
    request: Request,
    *,
    version: str | None = None,
) -> RunResult:
    """Plan and commit; again when another run took the number."""
    from lakescore.lake.leftovers import remove_leftovers
    from lakescore.lake.tables import Lake

    workload = on_day(workload, request.as_of)
    predictions = predictions_of(workload)
    workflow = "backfill" if request.kind == "backfill" else "score"
    lake, lost = Lake(settings.lake), None
    with recorded_run(workflow, workload.name, settings) as run:
        run.command = f"lakescore {workflow} {workload.name}"
        remove_leftovers(settings.staging)
        commits = predictions_log(spark, lake, workload.name, predictions)
        with scoring_model(settings, workload, version) as model:
            run.model_version = model.version
            scoring = _Scoring(spark, settings, lake, workload, model, commits, run)
            for _ in range(_TRIES):
                with run.phase("plan"):
                    plan = _plan(scoring, request)
                if plan.step is None:
                    return _nothing_left(run, plan, lost)
                outcome = _score_once(scoring, plan, plan.step)
                if outcome.committed:
                    return run
                lost = outcome.winner_run_id or "another run"
                log.info("another run (%s) took the commit; planning again", lost)
        raise CommitConflict(
            f"other runs took {_TRIES} commit numbers in a row",
            where=predictions.table,
            hint="run again when they have finished; nothing was written twice",
        )


def _plan(scoring: _Scoring, request: Request) -> ScoringPlan:
    progress = scoring.log.roll_forward(day_of(predictions_of(scoring.workload), request))
    plan = make_plan(
        scoring.spark,
        scoring.lake,
        scoring.workload,
        scoring.model,
        progress=progress,
        request=request,
    )
    scoring.run.pins = plan.pins.describe()
    return plan


def _score_once(scoring: _Scoring, plan: ScoringPlan, step: Step) -> CommitOutcome:
    from lakescore.lake.staging import run_folder, stage

    spark, settings, run = scoring.spark, scoring.settings, scoring.run
    source = str(plan.pins.source)
    with run_folder(spark, settings.staging, run.run_id) as folder, task_errors(source):
        with run.phase("prepare"):
            rows = scored_rows(spark, settings, plan, step)
        with run.phase("score"):
            staged = stage(rows.frame, folder, read=rows.read, out_of_scope=rows.out_of_scope)
        _check_bounds(plan, staged)
        with run.phase("commit"):
            outcome = scoring.log.commit(staged, plan.commit_plan(run.run_id, step))
        if outcome.committed:
            run.details["quarantine_reasons"] = dict(staged.reasons)
            with run.phase("report"):
                distribution = score_distribution(staged.predicted(spark), plan.predictions.column)
                _done(run, plan, step, outcome)
                target = result_folder(settings.runs, run.workload, run.run_id)
                document = scoring_report(run, plan, step, outcome.counts, distribution)
                run.artefacts["report"] = str(write_report(document, target).html)
        return outcome


def _check_bounds(plan: ScoringPlan, staged: Staged) -> None:
    from lakescore.lake.contract import check_bounds

    counts = staged.counts
    check_bounds(
        counts.read - counts.out_of_scope - counts.deleted,
        counts.quarantined,
        plan.workload.source.max_quarantined,
        where=str(plan.pins.source),
        reasons=staged.reasons,
    )


def _nothing_left(run: RunResult, plan: ScoringPlan, lost: str | None) -> RunResult:
    if lost is not None:
        run.details["reason"] = f"another run ({lost}) committed these rows"
        return run.finish(Status.ALREADY_DONE)
    run.details["reason"] = (
        f"every row of {plan.pins.source} is scored; commit {plan.progress.commit_seq} was the last"
    )
    return run.finish(Status.NOTHING_TO_DO)


def _done(run: RunResult, plan: ScoringPlan, step: Step, outcome: CommitOutcome) -> None:
    run.counts = outcome.counts.as_dict()
    run.details |= {
        "plan_hash": plan.hash,
        "commit_seq": plan.progress.next_seq,
        "table_version": outcome.version,
        "mode": step.mode,
        "after_version": step.after_version,
    }
    run.finish(Status.DONE, next_command=f"lakescore history {plan.workload.name}")
