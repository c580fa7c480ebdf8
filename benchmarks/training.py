"""The fit phase of `lakescore train` beside a bare SynapseML script on the same rows.

    python -m benchmarks.training [--rows 4000000] [--repeats 3] [--cores 2]

Each fit has a process of its own, in turning order. The script reads a Delta table that holds just
the train rows, and fits with the same parameters; of lakescore the fit phase counts (from the
encoded snapshot on storage to a fitted model), and its other phases are told beside it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import yaml

from benchmarks.scoring.memory import PeakMemory
from benchmarks.scoring.shapes import SHAPES, Bench, rows_of, table_name
from lakescore.config.loader import load_workload
from lakescore.lake.tables import Lake

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from lakescore.config.workload import Workload

SHAPE = SHAPES["wide"]
#: As lakescore names them; every peer fits with these.
PARAMETERS = {
    "num_iterations": 100, "num_leaves": 63, "learning_rate": 0.1, "min_data_in_leaf": 50,
    "feature_fraction": 1.0, "bagging_fraction": 1.0, "bagging_freq": 0, "lambda_l2": 0.0,
    "early_stopping_rounds": 0,
}  # fmt: skip
PEERS = ("lakescore, native", "lakescore, synapse", "SynapseML bulk", "SynapseML streaming")
BARE = PEERS[2:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=Path(".cache/bench-training"))
    parser.add_argument("--rows", type=int, default=4_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--peer", help="fit once, in this process")
    options = parser.parse_args()
    if options.peer:
        print(json.dumps(_fit(options)), flush=True)
        return
    _process(options, "prepare")
    found: dict[str, list[dict[str, Any]]] = {peer: [] for peer in PEERS}
    for repeat in range(options.repeats):
        for peer in (*PEERS[repeat % len(PEERS) :], *PEERS[: repeat % len(PEERS)]):
            told = _process(options, peer)
            found[peer].append(told)
            print(f"{peer:20} {told}", flush=True)
    print("\n".join(_table(found)))


def _table(found: dict[str, list[dict[str, Any]]]) -> list[str]:
    bare = min(median(run["fit"] for run in found[peer]) for peer in BARE)
    lines = [
        "| | fit, s (least to most) | of the best bare fit | others, s | test AUC | peak, MiB |",
        "|---|---|---|---|---|---|",
    ]
    for peer, runs in found.items():
        fits = sorted(run["fit"] for run in runs)
        others = ", ".join(f"{name} {took:.1f}" for name, took in runs[-1]["phases"].items())
        auc = runs[-1]["auc"]
        peak = max(sum(run["memory"].values()) for run in runs)
        lines.append(
            f"| {peer} | {median(fits):.1f} ({fits[0]:.1f} to {fits[-1]:.1f}) | "
            f"{median(fits) / bare:.2f} | {others} | {'' if auc is None else f'{auc:.5f}'} | "
            f"{peak:,.0f} |"
        )
    return lines


def _process(options: argparse.Namespace, peer: str) -> dict[str, Any]:
    command = [
        sys.executable, "-m", "benchmarks.training", "--peer", peer, "--folder",
        str(options.folder), "--rows", str(options.rows), "--cores", str(options.cores),
    ]  # fmt: skip
    ended = subprocess.run(command, check=False, capture_output=True, text=True)
    if ended.returncode != 0:
        raise SystemExit(f"{peer}: failed\n{ended.stderr[-3000:]}")
    told: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return told


def _fit(options: argparse.Namespace) -> dict[str, Any]:
    from lakescore.session import spark_session

    bench = Bench(options.folder.absolute(), options.cores)
    spark = spark_session(bench.settings, "benchmark")
    if options.peer == "prepare":
        _prepare(spark, bench, options.rows)
        return {}
    with PeakMemory() as memory:
        if options.peer in BARE:
            told = _bare(spark, bench, options.rows, options.peer.rpartition(" ")[2])
        else:
            told = _ours(spark, bench, options.rows, options.peer.rpartition(" ")[2])
    return {**told, "memory": memory.peak}


def _prepare(spark: SparkSession, bench: Bench, rows: int) -> None:
    """The table, and the rows of it that lakescore's split puts into train."""
    from pyspark.sql import functions as F

    from lakescore.matrix import Split
    from lakescore.workflows.training_data import split_column

    lake = Lake(bench.settings.lake)
    table = lake.table(table_name(SHAPE, rows))
    if not table.exists(spark):
        table.save(rows_of(spark, SHAPE, rows).write.format("delta"))
    trained = lake.table(_train_table(rows))
    if not trained.exists(spark):
        split = _workload(bench, rows, "native").split
        placed = F.lit(Split.TRAIN.value) == split_column(split, ("id",))
        trained.save(table.read(spark).where(placed).write.format("delta"))


def _train_table(rows: int) -> str:
    return f"{table_name(SHAPE, rows)}_train"


def _workload(bench: Bench, rows: int, backend: str) -> Workload:
    folder = bench.root / "conf" / "workloads"
    folder.mkdir(parents=True, exist_ok=True)
    name = f"training_{backend}"
    content = {
        "name": name,
        "source": {"table": table_name(SHAPE, rows), "key": "id"},
        "label": "label",
        "features": "all",
        "split": {"kind": "random", "validation": 0.05, "test": 0.05},
        "candidates": [{"lightgbm": {"backend": backend, **PARAMETERS}}],
        "gate": {"max_calibration_error": 1.0, "replicates": 50},
    }
    (folder / f"{name}.yml").write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return load_workload(bench.root / "conf", name)


def _ours(spark: SparkSession, bench: Bench, rows: int, backend: str) -> dict[str, Any]:
    from lakescore.workflows.train import train

    (bench.root / "mlflow.db").unlink(missing_ok=True)
    run = train(spark, bench.settings, _workload(bench, rows, backend))
    phases = dict(run.timings)
    return {"fit": phases.pop("fit"), "phases": phases, "auc": run.metrics["test.roc_auc"]}


def _bare(spark: SparkSession, bench: Bench, rows: int, mode: str) -> dict[str, Any]:
    """As SynapseML's own pages show it, with its best known settings on one machine."""
    from pyspark.ml.feature import VectorAssembler
    from synapse.ml.lightgbm import LightGBMClassifier

    started = time.monotonic()
    source = spark.read.format("delta").load(
        Lake(bench.settings.lake).table(_train_table(rows)).path
    )
    assembler = VectorAssembler(inputCols=SHAPE.number_columns, outputCol="features")
    label = source.label.cast("double").alias("label")
    vectors = assembler.transform(source.select(*SHAPE.number_columns, label))
    LightGBMClassifier(
        featuresCol="features", labelCol="label", objective="binary",
        numIterations=PARAMETERS["num_iterations"], numLeaves=PARAMETERS["num_leaves"],
        learningRate=PARAMETERS["learning_rate"], minDataInLeaf=PARAMETERS["min_data_in_leaf"],
        numTasks=1, numThreads=bench.cores, dataTransferMode=mode, matrixType="dense",
        passThroughArgs="force_col_wise=true",
    ).fit(vectors.select("features", "label"))  # fmt: skip
    return {"fit": time.monotonic() - started, "phases": {}, "auc": None}


if __name__ == "__main__":
    main()
