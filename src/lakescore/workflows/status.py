"""The state of a fleet: one line a workload, from the lake and the registry alone."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from lakescore.errors import LakescoreError
from lakescore.workflows.plan import predictions_log
from lakescore.workflows.run_result import RunResult, read_results
from lakescore.workflows.source_freshness import source_freshness

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from lakescore.config.settings import Settings
    from lakescore.config.workload import Freshness, Workload
    from lakescore.lake.chain import Progress
    from lakescore.lake.tables import Lake, Table


@dataclass(frozen=True)
class WorkloadStatus:
    """One workload: its last run, what its predictions hold, and how old its source is."""

    workload: str
    last_run: str | None
    status: str | None
    model: str | None
    commit: int | None
    rows: int | None
    source_age: str | None
    note: str | None = None

    def describe(self) -> dict[str, Any]:
        return asdict(self)


def status(
    spark: SparkSession, settings: Settings, workloads: Sequence[Workload]
) -> list[WorkloadStatus]:
    """One line each. A workload whose tables are not there yet says so in its line."""
    return [_line(spark, settings, workload) for workload in workloads]


def _line(spark: SparkSession, settings: Settings, workload: Workload) -> WorkloadStatus:
    from lakescore.lake.tables import Lake

    lake = Lake(settings.lake)
    runs = read_results(settings.runs, workload.name)
    last = runs[-1] if runs else None
    age, note = _source_age(spark, lake.table(workload.source.table))
    if note is None and workload.source.freshness is not None:
        note = _not_fresh(spark, lake.table(workload.source.table), workload.source.freshness)
    progress = _progress(spark, lake, workload)
    return WorkloadStatus(
        workload=workload.name,
        last_run=_last_run(last),
        status=last.status.value if last else None,
        model=progress.model_version if progress else None,
        commit=(progress.commit_seq or None) if progress else None,
        rows=_rows(spark, lake, workload) if progress and progress.commit_seq else None,
        source_age=age,
        note=note,
    )


def _last_run(last: RunResult | None) -> str | None:
    return f"{last.workflow} {last.started_at:%Y-%m-%d %H:%M}" if last else None


def _source_age(spark: SparkSession, table: Table) -> tuple[str | None, str | None]:
    from pyspark.sql.utils import AnalysisException

    from lakescore.lake.history import recent_commits
    from lakescore.lake.snapshot import pin

    try:
        newest = recent_commits(spark, table, 1)[0]
    except AnalysisException:
        try:
            pin(spark, table)
        except LakescoreError as error:
            return None, error.what
        return None, None  # a view has no commits of its own
    return age_text(time.time() - newest.millis / 1000), None


def _not_fresh(spark: SparkSession, table: Table, declared: Freshness) -> str | None:
    """What a scoring run would warn of or fail for; None for a fresh source."""
    try:
        found = source_freshness(table.read(spark), declared, where=table.name)
    except LakescoreError as error:
        return error.what
    return None if found.state == "fresh" else str(found)


def _progress(spark: SparkSession, lake: Lake, workload: Workload) -> Progress | None:
    if workload.predictions is None:
        return None
    return predictions_log(spark, lake, workload.name, workload.predictions).progress()


def _rows(spark: SparkSession, lake: Lake, workload: Workload) -> int | None:
    if workload.predictions is None:
        return None
    return int(predictions_log(spark, lake, workload.name, workload.predictions).rows().count())


def age_text(seconds: float) -> str:
    """The largest unit that gives at least one: ``5 min``, ``3 h``, ``2 d``."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{max(int(seconds), 0)} s"
