"""The demo: real flights from raw files to scored rows in the lake."""

from __future__ import annotations

import logging
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from lakescore.workflows.demo.flights import DAILY, LOOKUPS, read_tables, unpack
from lakescore.workflows.demo.landings import HISTORY, Bronze, december
from lakescore.workflows.run_result import RunResult, Status, recorded_run
from lakescore.workflows.score import score
from lakescore.workflows.train import train

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from lakescore.config.settings import Settings
    from lakescore.config.workload import Workload
    from lakescore.lake.tables import Lake
    from lakescore.workflows.demo.landings import Landing

log = logging.getLogger("lakescore")

#: What is known before a day's flights are scored; arrivals come after.
_BEFORE_SCORING = ("schedule", "weather", "departures")


def prepare_conf(conf: Path | None) -> Path:
    """The configuration to run with; ./conf gets what it lacks of the shipped one.

    Beside workloads of one's own it gets the demo's workloads; a file that is there stays.
    """
    from lakescore.config.loader import shipped_conf

    folder = conf or Path("conf")
    if not folder.exists():
        shutil.copytree(shipped_conf(), folder)
        log.info("wrote the configuration to %s", folder)
        return folder
    for shipped in sorted(shipped_conf().glob("workloads/*.yml")):
        own = folder / "workloads" / shipped.name
        if not own.exists():
            own.parent.mkdir(exist_ok=True)
            shutil.copyfile(shipped, own)
            log.info("wrote %s", own)
    return folder


def run_demo(
    spark: SparkSession,
    settings: Settings,
    workload: Workload,
    *,
    replay_december: bool = False,
) -> list[RunResult]:
    """Ingest history, train, then land and score December; rerunning continues where it was.

    Scoring is a replay as of each row's prediction time: features are what was known then.
    Training reads the tables as history left them, whatever has landed since: so no row of
    December takes part, and a rerun finds the same training done.
    """
    from lakescore.lake.tables import Lake

    unpacked = Path(settings.staging) / "demo"
    try:
        with ThreadPoolExecutor(1) as beside, recorded_run("ingest", "demo", settings) as ingested:
            # A new registry takes seconds to make: it is made while the files are read.
            ready = beside.submit(_open_registry, settings, workload)
            bronze, versions = _land_history(spark, Lake(settings.lake), unpacked, ingested)
            ready.result()
        log.info("train: %s", workload.description)
        results = [ingested, train(spark, settings, workload, versions=versions)]
        for landing in december(replay=replay_december):
            bronze.land(_BEFORE_SCORING, landing)
            results.append(_scored(spark, settings, workload, landing))
            bronze.land(("arrivals",), landing)
        return results
    finally:
        spark.catalog.clearCache()
        shutil.rmtree(unpacked, ignore_errors=True)


def _open_registry(settings: Settings, workload: Workload) -> None:
    from lakescore.registry.store import Registry

    registry = Registry(settings.registry)
    registry.versions(registry.full_name(workload.name))


def _land_history(
    spark: SparkSession, lake: Lake, folder: Path, run: RunResult
) -> tuple[Bronze, dict[str, int]]:
    """January to November in all tables, and each table's version that this made, by its name."""
    log.info("ingest: a year of New York flights into Delta tables")
    with run.phase("read"):
        bronze = Bronze.of(spark, lake, read_tables(spark, unpack(folder)))
    with run.phase("land"):
        outcomes = bronze.land((*DAILY, *LOOKUPS), HISTORY)
    run.details["label"] = HISTORY.name
    flights = outcomes["schedule"].commit
    run.counts["rows"] = (flights.rows_written or 0) if flights else 0
    landed = any(outcome.committed for outcome in outcomes.values())
    run.finish(Status.DONE if landed else Status.NOTHING_TO_DO)
    # None where the table's history no longer tells: it is then read at its newest version.
    commits = {f"bronze.{name}": one.commit or one.winner for name, one in outcomes.items()}
    return bronze, {name: commit.version for name, commit in commits.items() if commit}


def _scored(
    spark: SparkSession, settings: Settings, workload: Workload, landing: Landing
) -> RunResult:
    result = score(spark, settings, workload)
    result.details["label"] = landing.name
    rows = result.counts.get("predicted", 0)
    log.info("score %s: %s, %s rows in %.1f s", landing.name, result.status.value, f"{rows:,}",
             result.seconds)  # fmt: skip
    return result
