"""Score: the rows that landed and are not yet scored, each exactly once, back into the lake."""

from __future__ import annotations

import logging
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING

from lakescore.errors import CommitConflict
from lakescore.evaluation.report import write_report
from lakescore.workflows.as_of import on_day, today
from lakescore.workflows.plan import ScoringPlan, day_of, followed, make_plan, writable_log
from lakescore.workflows.run_result import RunResult, Status, recorded_run
from lakescore.workflows.run_result import run_folder as result_folder
from lakescore.workflows.scored_rows import scored_rows
from lakescore.workflows.scoring_model import ScoringModel, scoring_model
from lakescore.workflows.scoring_report import score_distribution, scoring_report
from lakescore.workflows.steps import Request, Step, predictions_of
from lakescore.workflows.task_errors import task_errors

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from concurrent.futures import Future

    from pyspark.sql import SparkSession

    from lakescore.config.settings import Settings
    from lakescore.config.workload import Workload
    from lakescore.lake.chain import Progress
    from lakescore.lake.commits import CommitOutcome, PredictionsLog
    from lakescore.lake.snapshot import Snapshot
    from lakescore.lake.staging import Staged
    from lakescore.lake.tables import Lake
    from lakescore.workflows.source_freshness import SourceFreshness

log = logging.getLogger("lakescore")

#: A run that loses its commit number to another plans again, at most this often.
_TRIES = 3
#: What a run calls itself, where that is not `score`.
_WORKFLOWS = {"backfill": "backfill", "retry": "quarantine_retry"}


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


def quarantine_retry(
    spark: SparkSession, settings: Settings, workload: Workload, *, as_of: date | None = None
) -> RunResult:
    """Judge the refused rows again, by the contract and the champion of today.

    What is new is scored first; then the refused rows are read from the source as of that
    progress. Those valid now are predicted and leave the quarantine in one commit, the others stay
    refused as they are; so does, in mode append, what shares its key with a prediction. Where none
    is valid nothing is committed (NOTHING_TO_DO). Raises as `score` does, and UsageError in mode
    snapshot.
    """
    day = as_of or today()
    if predictions_of(workload).mode != "snapshot":
        score(spark, settings, workload, as_of=day)
    return _run(spark, settings, workload, Request(day, "retry"))


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
    workflow = _WORKFLOWS.get(request.kind, "score")
    lake, lost = Lake(settings.lake), None
    with recorded_run(workflow, workload.name, settings) as run:
        run.command = f"lakescore {workflow.replace('_', ' ')} {workload.name}"
        remove_leftovers(settings.staging)
        commits = writable_log(spark, lake, workload.name, predictions)
        with (
            _looking_ahead(spark, lake, workload, commits, request) as begun,
            scoring_model(settings, workload, version) as model,
        ):
            run.model_version = model.version
            scoring = _Scoring(spark, settings, lake, workload, model, commits, run)
            ahead: _Ahead | None = begun
            tries = 0
            while tries < _TRIES:
                with run.phase("plan"):
                    plan, ahead = _plan(scoring, request, ahead), None
                if plan.step is None:
                    return _nothing_left(run, plan, lost)
                outcome = _score_once(scoring, plan, plan.step)
                if outcome is None or (outcome.committed and not plan.step.more):
                    return run
                if outcome.committed:
                    log.info("commit %d: %s", plan.progress.next_seq, plan.step.because)
                    tries = 0
                    continue
                tries += 1
                request = replace(request, restates=False)
                lost = outcome.winner_run_id or "another run"
                log.info("another run (%s) took the commit; planning again", lost)
        raise CommitConflict(
            f"other runs took {_TRIES} commit numbers in a row",
            where=predictions.table,
            hint="run again when they have finished; nothing was written twice",
        )


@dataclass(frozen=True)
class _Ahead:
    """What the first plan needs of the tables; no `source` where it depends on the progress."""

    progress: Future[Progress]
    source: Future[Snapshot] | None


@contextmanager
def _looking_ahead(
    spark: SparkSession, lake: Lake, workload: Workload, commits: PredictionsLog, request: Request
) -> Iterator[_Ahead]:
    """Ask the tables while the registry is asked for the model: Java works, and Python does.

    What is left of earlier runs is put in order, then, even where there turns out to be no model.
    """
    from lakescore.lake.snapshot import pin

    with ThreadPoolExecutor(2) as pool:
        progress = pool.submit(_progress, commits, workload, request)
        source = None
        if not request.is_at_progress:
            source = pool.submit(pin, spark, lake.table(workload.source.table))
        yield _Ahead(progress, source)


def _progress(commits: PredictionsLog, workload: Workload, request: Request) -> Progress:
    day = day_of(predictions_of(workload), request)
    return commits.roll_forward(day, start_over=request.kind == "full")


def _plan(scoring: _Scoring, request: Request, ahead: _Ahead | None) -> ScoringPlan:
    if ahead is not None:
        progress = ahead.progress.result()
        source = None if ahead.source is None else ahead.source.result()
    else:
        progress, source = _progress(scoring.log, scoring.workload, request), None
    plan = make_plan(
        scoring.spark,
        scoring.lake,
        scoring.workload,
        scoring.model,
        progress=progress,
        request=request,
        source=source,
    )
    scoring.run.pins = plan.pins.describe()
    if plan.freshness is not None:
        _check_freshness(scoring.run, plan.freshness)
    return followed(scoring.spark, scoring.settings, plan)


def _check_freshness(run: RunResult, freshness: SourceFreshness) -> None:
    """Raises StaleSource, whether or not there is something to score. Once a run."""
    if "freshness" in run.details:
        return
    run.details["freshness"] = freshness.describe()
    freshness.require()
    for warning in freshness.warnings():
        log.warning("%s", warning)
        run.warnings.append(warning)


def _score_once(scoring: _Scoring, plan: ScoringPlan, step: Step) -> CommitOutcome | None:
    """Score and commit one step; None when a retry found no row to commit."""
    from lakescore.lake.staging import run_folder

    spark, settings, run = scoring.spark, scoring.settings, scoring.run
    source = str(plan.pins.source)
    with run_folder(spark, settings.staging, run.run_id) as folder, task_errors(source):
        with run.phase("prepare"):
            plan = replace(plan, pins=plan.pins.stored(spark, f"{folder}/views"))
            run.pins = plan.pins.describe()
            rows = scored_rows(spark, settings, plan, step)
        with run.phase("score"):
            staged = rows.stage(f"{folder}/scored")
        if step.mode == "retry":
            if staged.counts.predicted == 0:
                _still_refused(scoring, staged)
                return None
        else:
            _check_bounds(run, plan, staged)
        with run.phase("commit"):
            commit_plan = plan.commit_plan(
                run.run_id,
                step,
                predicted_until=rows.predicted_until,
                late_context=rows.late_context,
            )
            outcome = scoring.log.commit(staged, commit_plan)
        if outcome.committed:
            _add_commit(run, plan, step, outcome, staged)
            _tell_late_context(run, rows.late_context)
            if not step.more:
                with run.phase("report"):
                    _report(scoring, plan, step, staged)
        return outcome


def _report(scoring: _Scoring, plan: ScoringPlan, step: Step, last: Staged) -> None:
    """The report of the whole run, whose last commit was that of `last`."""
    from lakescore.lake.staging import Counts

    run, spark = scoring.run, scoring.spark
    several = run.details["commits"] > 1
    predicted = scoring.log.predicted_by(run.run_id) if several else last.predicted(spark)
    distribution = score_distribution(predicted, plan.predictions.column)
    target = result_folder(scoring.settings.runs, run.workload, run.run_id)
    document = scoring_report(run, plan, step, Counts(**run.counts), distribution)
    run.artefacts["report"] = str(write_report(document, target).html)


def _check_bounds(run: RunResult, plan: ScoringPlan, staged: Staged) -> None:
    """Over all that the run has read so far: commits that a catch-up made before this one stand."""
    from lakescore.lake.contract import check_bounds

    counts = Counter(run.counts) + Counter(staged.counts.as_dict())
    check_bounds(
        counts["read"] - counts["out_of_scope"] - counts["deleted"],
        counts["quarantined"],
        plan.workload.source.max_quarantined,
        where=str(plan.pins.source),
        reasons=dict(_reasons(run, staged).most_common()),
        before=run.details.get("commits", 0),
    )


def _reasons(run: RunResult, staged: Staged) -> Counter[str]:
    return Counter(run.details.get("quarantine_reasons", {})) + Counter(staged.reasons)


def _still_refused(scoring: _Scoring, staged: Staged) -> None:
    run, log, counts = scoring.run, scoring.log, staged.counts
    run.counts = counts.as_dict()
    refused = log.quarantined().count() if log.has_quarantine() else 0
    reasons = "; ".join(f"{reason}: {count}" for reason, count in staged.reasons.items())
    if refused == 0:
        run.details["reason"] = "nothing is refused: no row of the quarantine is in force"
    elif counts.quarantined == 0:
        run.details["reason"] = (
            f"none of the {refused} refused rows can be judged again: they have no key, their key "
            "has a prediction by now, or the source does not have them in scope any more"
        )
    else:
        run.details["reason"] = (
            f"none of {counts.quarantined} refused rows is valid now ({reasons})"
        )
    run.finish(Status.NOTHING_TO_DO, next_command=f"lakescore quarantine list {run.workload}")


def _nothing_left(run: RunResult, plan: ScoringPlan, lost: str | None) -> RunResult:
    if lost is not None:
        run.details["reason"] = f"another run ({lost}) committed these rows"
        done = Status.DONE if run.details.get("commits") else Status.ALREADY_DONE
        return run.finish(done)
    run.details["reason"] = (
        f"every row of {plan.pins.source} is scored; commit {plan.progress.commit_seq} was the last"
    )
    return run.finish(Status.NOTHING_TO_DO)


def _add_commit(
    run: RunResult, plan: ScoringPlan, step: Step, outcome: CommitOutcome, staged: Staged
) -> None:
    """Add a commit to the run's result: a catch-up may take several."""
    for name, count in outcome.counts.as_dict().items():
        run.counts[name] = run.counts.get(name, 0) + count
    reasons = _reasons(run, staged)
    run.details |= {
        "commits": run.details.get("commits", 0) + 1,
        "quarantine_reasons": dict(reasons.most_common()),
        "plan_hash": plan.hash,
        "commit_seq": plan.progress.next_seq,
        "table_version": outcome.version,
        "mode": step.mode,
        "after_version": step.after_version,
    }
    run.finish(Status.DONE, next_command=f"lakescore history {plan.workload.name}")


def _tell_late_context(run: RunResult, late: Mapping[str, int]) -> None:
    counted = {name: count for name, count in late.items() if count}
    if not counted:
        return
    run.details["late_context"] = dict(
        Counter(run.details.get("late_context", {})) + Counter(counted)
    )
    listed = ", ".join(f"{name}: {count}" for name, count in counted.items())
    warning = (
        f"rows of contexts came after predictions that should have known them ({listed}); "
        "predictions stand as they were made"
    )
    log.warning("%s", warning)
    run.warnings.append(warning)
