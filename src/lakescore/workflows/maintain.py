"""Maintain: what the tables of predictions need so that they stay quick and small."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from lakescore.config.base import format_duration
from lakescore.workflows.plan import writable_log
from lakescore.workflows.run_result import RunResult, Status, recorded_run
from lakescore.workflows.steps import predictions_of

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from lakescore.config.settings import Settings
    from lakescore.config.workload import Workload
    from lakescore.lake.tables import Lake, Table
    from lakescore.lake.upkeep import FilesOf

log = logging.getLogger("lakescore")

#: Longer than any run lives.
STAGED_DAYS = timedelta(days=7)
_MEBIBYTE = 1024**2


@dataclass(frozen=True)
class Chore:
    """One thing that a table or folder may need, and why it is done or left.

    `do` does it, and says how many files, folders or attempts went; None leaves it.
    """

    kind: str
    where: str
    because: str
    do: Callable[[], int] | None = field(default=None, compare=False, repr=False)

    @property
    def due(self) -> bool:
        return self.do is not None

    def describe(self) -> dict[str, Any]:
        return {"kind": self.kind, "where": self.where, "because": self.because, "due": self.due}

    def __str__(self) -> str:
        return f"{'do  ' if self.due else 'skip'}  {self.kind:<11} {self.where}: {self.because}"


@dataclass(frozen=True)
class MaintenancePlan:
    """All that was looked at."""

    chores: tuple[Chore, ...]

    @property
    def due(self) -> tuple[Chore, ...]:
        return tuple(chore for chore in self.chores if chore.due)

    def describe(self) -> list[dict[str, Any]]:
        return [chore.describe() for chore in self.chores]

    def lines(self) -> Iterator[str]:
        """The plan for people."""
        yield from map(str, self.chores)
        if self.due:
            yield "nothing was changed: --yes does what is due"
        else:
            yield "nothing is due"


def plan_maintenance(
    spark: SparkSession, settings: Settings, workloads: Sequence[Workload]
) -> MaintenancePlan:
    """Look at the tables of these workloads, each table once, and at staged rows. Changes nothing.

    Raises ForeignTable for a table that lakescore did not make.
    """
    from lakescore.lake.tables import Lake

    lake = Lake(settings.lake)
    chores = [_staged(spark, settings)]
    tables: dict[str, tuple[Table, str]] = {}
    for workload in workloads:
        predictions = workload.predictions
        if predictions is None:
            continue
        chores.append(_lost_attempts(spark, lake, workload))
        chores.append(_old_payloads(spark, lake, workload))
        for name, role in (
            (predictions.table, "predictions"),
            (predictions.quarantine, "quarantine"),
        ):
            table = lake.table(name)
            tables.setdefault(table.location, (table, role))
    for table, role in tables.values():
        chores += _of_table(spark, table, role)
    return MaintenancePlan(tuple(chores))


def maintain(spark: SparkSession, settings: Settings, workloads: Sequence[Workload]) -> RunResult:
    """Do what `plan_maintenance` finds due. Safe beside scoring runs, and to run at any time.

    A table that another writer changes meanwhile is left for the next time, with a warning.
    """
    names = [workload.name for workload in workloads]
    subject = names[0] if len(names) == 1 else "all"
    with recorded_run("maintain", subject, settings) as run:
        run.command = f"lakescore maintain {names[0] if len(names) == 1 else ''}".strip() + " --yes"
        with run.phase("plan"):
            plan = plan_maintenance(spark, settings, workloads)
        run.details["chores"] = plan.describe()
        run.details["workloads"] = names
        if not plan.due:
            run.details["reason"] = "nothing is due"
            return run.finish(Status.NOTHING_TO_DO)
        for chore in plan.due:
            with run.phase(chore.kind):
                _do(chore, run)
        return run.finish(Status.DONE)


def _do(chore: Chore, run: RunResult) -> None:
    from lakescore.lake.writes import lost_a_race

    if chore.do is None:
        return
    log.info("%s %s: %s", chore.kind, chore.where, chore.because)
    try:
        went = chore.do()
    except Exception as error:
        if not lost_a_race(error):
            raise
        run.warnings.append(
            f"{chore.kind} of {chore.where} was given up: another writer changed the table at the "
            "same time; it is due again at the next run"
        )
        return
    run.counts[chore.kind] = run.counts.get(chore.kind, 0) + went


def _staged(spark: SparkSession, settings: Settings) -> Chore:
    from lakescore.lake.old_stages import old_stages
    from lakescore.lake.staging import clear_folder

    now = datetime.now(timezone.utc)
    folders = old_stages(spark, settings.staging, now=now, older_than=STAGED_DAYS)

    def remove() -> int:
        for folder in folders:
            clear_folder(spark, folder)
        return len(folders)

    older = f"of runs that started more than {format_duration(STAGED_DAYS)} ago"
    if not folders:
        return Chore("staged rows", settings.staging, f"no folder {older}")
    return Chore("staged rows", settings.staging, f"{len(folders)} folders {older}", remove)


def _lost_attempts(spark: SparkSession, lake: Lake, workload: Workload) -> Chore:
    predictions = predictions_of(workload)
    commits = writable_log(spark, lake, workload.name, predictions)
    where = f"{predictions.quarantine} ({workload.name})"
    lost = commits.lost_attempts()

    def remove() -> int:
        commits.roll_forward()
        return len(lost)

    if not lost:
        return Chore("attempts", where, "no refused rows of a run that lost its commit number")
    because = f"refused rows of {len(lost)} runs that lost their commit number, never in force"
    return Chore("attempts", where, because, remove)


def _old_payloads(spark: SparkSession, lake: Lake, workload: Workload) -> Chore:
    from lakescore.lake.quarantine import Quarantine

    predictions = predictions_of(workload)
    where, retention = (
        f"{predictions.quarantine} ({workload.name})",
        predictions.quarantine_retention,
    )
    if retention is None:
        return Chore("payloads", where, "predictions.quarantine_retention is not declared")
    quarantine = Quarantine(spark, lake.table(predictions.quarantine), workload.name)
    older_than, keep = datetime.now(timezone.utc) - retention, predictions.backfill_by
    due = quarantine.payloads_due(older_than, keep)
    kept = f"refused more than {format_duration(retention)} ago"
    if not due:
        return Chore("payloads", where, f"no payload of a row {kept}")
    return Chore(
        "payloads",
        where,
        f"{due} payloads of rows {kept}",
        lambda: quarantine.purge_payloads(older_than, keep),
    )


def _of_table(spark: SparkSession, table: Table, role: str) -> list[Chore]:
    from lakescore.lake.upkeep import files_of

    files = files_of(spark, table, role)
    if files is None:
        return [Chore("optimise", table.name, "the table is not there yet")]
    if files.serviced:
        because = "the platform does it: predictive optimisation is enabled"
        return [Chore(kind, table.name, because) for kind in ("optimise", "vacuum")]
    every = f"Delta writes one every {files.checkpoint_interval} commits by itself"
    return [
        _optimise(spark, table, files),
        _vacuum(spark, table, files),
        Chore("checkpoint", table.name, every),
    ]


def _optimise(spark: SparkSession, table: Table, files: FilesOf) -> Chore:
    from lakescore.lake.upkeep import SMALL_BYTES, SPARE_FILES, optimise

    if files.compacts_itself:
        return Chore("optimise", table.name, "the table compacts itself (delta.autoOptimize)")
    rule = f"{SPARE_FILES} more than partitions, and below {SMALL_BYTES // _MEBIBYTE} MiB"
    found = (
        f"{files.files} files in {files.partitions} partition{'s' * (files.partitions != 1)}, "
        f"{files.mean_bytes / _MEBIBYTE:.1f} MiB on average"
    )
    if not files.are_small:
        return Chore("optimise", table.name, f"{found}; due from {rule}")

    def compact() -> int:
        removed, _ = optimise(spark, table)
        return removed

    return Chore("optimise", table.name, f"{found}; at least {rule}", compact)


def _vacuum(spark: SparkSession, table: Table, files: FilesOf) -> Chore:
    from lakescore.lake.upkeep import removable, vacuum

    retention = files.retention
    if retention is None:
        declared = files.properties.get("delta.deletedFileRetentionDuration")
        return Chore("vacuum", table.name, f"its deletedFileRetentionDuration reads '{declared}'")
    kept = f"for more than {format_duration(retention)}"
    found = removable(spark, table, retention)

    def delete() -> int:
        vacuum(spark, table, retention)
        return found

    if not found:
        return Chore("vacuum", table.name, f"no file is out of use {kept}")
    return Chore("vacuum", table.name, f"{found} files or folders are out of use {kept}", delete)
