"""The state of a fleet: one line a workload, from the lake and the registry alone."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from lakescore.errors import ConfigError, ConfigErrors, LakescoreError
from lakescore.lake.tables import Lake
from lakescore.workflows.plan import predictions_log
from lakescore.workflows.run_result import RunResult, read_results
from lakescore.workflows.source_freshness import source_freshness

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from lakescore.config.settings import Settings
    from lakescore.config.workload import Freshness, Workload
    from lakescore.lake.tables import Table


@dataclass(frozen=True)
class WorkloadStatus:
    """One workload: its last run, what its predictions hold, and how old its source is."""

    workload: str
    last_run: str | None = None
    status: str | None = None
    model: str | None = None
    commit: int | None = None
    rows: int | None = None
    source_age: str | None = None
    note: str | None = None

    def noted(self, what: str | None) -> WorkloadStatus:
        """The same line with one more note."""
        told = [one for one in (self.note, what) if one]
        return replace(self, note="; ".join(told) or None)

    def describe(self) -> dict[str, Any]:
        return asdict(self)


def status(
    spark: SparkSession, settings: Settings, workloads: Sequence[Workload]
) -> list[WorkloadStatus]:
    """One line each. What is wrong with a workload's tables stands in the note of its line."""
    return [_line(spark, settings, workload) for workload in workloads]


def unreadable(workload: str, problem: ConfigError) -> WorkloadStatus:
    """The line of a workload whose file cannot be read."""
    first = problem.problems[0] if isinstance(problem, ConfigErrors) else problem
    return WorkloadStatus(workload, note=f"{first.where}: {first.what}")


def _line(spark: SparkSession, settings: Settings, workload: Workload) -> WorkloadStatus:
    runs = read_results(settings.runs, workload.name)
    last = runs[-1] if runs else None
    line = WorkloadStatus(
        workload.name, last_run=_last_run(last), status=last.status.value if last else None
    )
    for look in (_with_source, _with_predictions):
        try:
            line = look(spark, Lake(settings.lake), workload, line)
        except LakescoreError as error:
            line = line.noted(error.what)
        except Exception as error:  # one workload must not hide the others
            first = str(error).strip().split("\n", 1)[0]
            line = line.noted(f"unexpected {type(error).__name__}: {first}")
    return line


def _with_source(
    spark: SparkSession, lake: Lake, workload: Workload, line: WorkloadStatus
) -> WorkloadStatus:
    table = lake.table(workload.source.table)
    line = replace(line, source_age=_source_age(spark, table))
    declared = workload.source.freshness
    return line if declared is None else line.noted(_not_fresh(spark, table, declared))


def _with_predictions(
    spark: SparkSession, lake: Lake, workload: Workload, line: WorkloadStatus
) -> WorkloadStatus:
    if workload.predictions is None:
        return line
    log = predictions_log(spark, lake, workload.name, workload.predictions)
    progress = log.progress()
    return replace(
        line,
        model=progress.model_version,
        commit=progress.commit_seq or None,
        rows=int(log.rows().count()) if progress.commit_seq else None,
    )


def _last_run(last: RunResult | None) -> str | None:
    return f"{last.workflow} {last.started_at:%Y-%m-%d %H:%M}" if last else None


def _source_age(spark: SparkSession, table: Table) -> str | None:
    """Of its newest commit; None for a view, which has none. Raises as `pin` does."""
    from pyspark.sql.utils import AnalysisException

    from lakescore.lake.history import recent_commits
    from lakescore.lake.snapshot import pin

    try:
        newest = recent_commits(spark, table, 1)[0]
    except AnalysisException:
        pin(spark, table)
        return None
    return age_text(time.time() - newest.millis / 1000)


def _not_fresh(spark: SparkSession, table: Table, declared: Freshness) -> str | None:
    """What a scoring run would warn of or fail for; None for a fresh source."""
    try:
        found = source_freshness(table.read(spark), declared, where=table.name)
    except LakescoreError as error:
        return error.what
    return None if found.state == "fresh" else str(found)


def age_text(seconds: float) -> str:
    """The largest unit that gives at least one: ``5 min``, ``3 h``, ``2 d``."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{max(int(seconds), 0)} s"
