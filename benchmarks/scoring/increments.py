"""What a run costs that finds little to do: 10,000 new rows in a large table and in a small one.

    python -m benchmarks.scoring.increments [--sizes 1000000,100000000] [--repeats 5]

The tables are narrow, and all that is in them is scored first. Then rows land in each in turn and
are scored, and a run follows that finds none; all in one session. Last, in new processes, a run
that finds none right after its session has started.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.scoring.shapes import Bench, Shape, prepare, rows_of, table_name
from lakescore.lake.tables import Lake

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from lakescore.workflows.run_result import RunResult

SHAPE = Shape("increments", 2, candidate="logistic_regression")
LANDING = 10_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=Path(".cache/bench-increments"))
    parser.add_argument(
        "--sizes", type=lambda t: [int(n) for n in t.split(",")], default=[1_000_000, 100_000_000]
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--cold", type=int, help="time one run that finds nothing in this table")
    options = parser.parse_args()
    bench = Bench(options.folder.absolute(), options.cores)
    if options.cold:
        print(json.dumps(_cold(bench, options.cold)))
        return
    found = _warm(bench, options.sizes, options.repeats)
    cold = [_cold_process(options, rows) for rows in options.sizes]
    for place, rows in enumerate(options.sizes):
        print(f"{rows:>12,} rows: {LANDING:,} new {median(found[rows]['new']):.2f} s, "
              f"none {median(found[rows]['none']):.2f} s, none right after the session's start "
              f"{median(cold[place]):.2f} s")  # fmt: skip
    small, large = options.sizes[0], options.sizes[-1]
    for kind in ("new", "none"):
        ratio = median(found[large][kind]) / median(found[small][kind])
        print(f"{kind}: {large:,} rows against {small:,}: {ratio:.2f}")


def _warm(bench: Bench, sizes: list[int], repeats: int) -> dict[int, dict[str, list[float]]]:
    from lakescore.session import spark_session

    spark = spark_session(bench.settings, "benchmark")
    prepare(spark, bench, SHAPE, sizes)
    for rows in sizes:
        seconds, run = _timed(spark, bench, rows)
        print(f"{rows:,} rows, first: {seconds:.1f} s, {run.status.value}", flush=True)
    found: dict[int, dict[str, list[float]]] = {rows: {"new": [], "none": []} for rows in sizes}
    for repeat in range(repeats + 1):
        for rows in sizes if repeat % 2 else reversed(sizes):
            _land(spark, bench, rows)
            new, run = _timed(spark, bench, rows)
            assert run.counts["read"] == LANDING, run.counts
            none, _ = _timed(spark, bench, rows)
            if repeat:  # the first is a warm-up
                found[rows]["new"].append(new)
                found[rows]["none"].append(none)
    spark.stop()
    return found


def _timed(spark: SparkSession, bench: Bench, rows: int) -> tuple[float, RunResult]:
    from lakescore.workflows.score import score

    workload = bench.workload(SHAPE, rows, f"bench.scores_{rows}")
    started = time.monotonic()
    run = score(spark, bench.settings, workload)
    return time.monotonic() - started, run


def _land(spark: SparkSession, bench: Bench, rows: int) -> None:
    """New rows with ids of their own."""
    table = Lake(bench.settings.lake).table(table_name(SHAPE, rows))
    seed = int(time.time_ns() % 1_000_000)
    landing = rows_of(spark, SHAPE, LANDING, seed).coalesce(1)
    first = time.time_ns() // 1_000
    moved = landing.withColumn("id", landing.id + first)
    table.save(moved.write.format("delta").mode("append"))


def _cold(bench: Bench, rows: int) -> float:
    from lakescore.session import spark_session

    spark = spark_session(bench.settings, "benchmark")
    return _timed(spark, bench, rows)[0]


def _cold_process(options: argparse.Namespace, rows: int) -> list[float]:
    command = [sys.executable, "-m", "benchmarks.scoring.increments", "--cold", str(rows),
               "--folder", str(options.folder), "--cores", str(options.cores)]  # fmt: skip
    ended = [
        subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]
        for _ in range(3)
    ]
    return [float(line) for line in ended]


if __name__ == "__main__":
    main()
