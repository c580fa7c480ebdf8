"""Nets: training beside a plain PyTorch loop, and a rank's memory as rows grow.

    python -m benchmarks.deep [--rows N] [--batch N] [--folder F]
    python -m benchmarks.deep --memory              # one rank, one epoch, 1M and 8M rows
    python -m benchmarks.scoring.bench --shapes wide-net --sizes 1000000    # scoring, see there

Each measurement is a process of its own, one after the other; a figure is a ratio within one run.
The plain loop holds the whole encoded matrix in memory as float32 tensors, cuts batches of it with
one permutation an epoch, and steps the same net with the same optimiser on one thread.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

EPOCHS = 2
PARAMETERS = {
    "width": 128, "layers": 3, "dropout": 0.1, "batch_size": 1_024, "patience": 0, "epochs": EPOCHS,
    "quantiles": (),
}  # fmt: skip
NUMERIC, LEVELS = 20, (10, 50, 200, 1_000)
_VALIDATION = 10_000


def encoded(rows: int, folder: Path) -> None:
    """Random encoded rows, 20 numbers and 4 categories, with a label that they have a part in."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    for split, count in (("train", rows), ("validation", _VALIDATION)):
        target = folder / split
        target.mkdir(parents=True)
        step = 500_000
        for part, start in enumerate(range(0, count, step)):
            random = np.random.default_rng([part, split == "train"])
            size = min(step, count - start)
            numbers = random.normal(size=(size, NUMERIC))
            codes = [random.integers(0, n + 1, size).astype(float) for n in LEVELS]
            odds = numbers[:, :4].sum(axis=1) + (codes[0] > 5) - 0.5
            label = (random.random(size) < 1 / (1 + np.exp(-odds))).astype(float)
            columns = {f"n{i}": numbers[:, i].copy() for i in range(NUMERIC)}
            columns |= {f"c{i}": code for i, code in enumerate(codes)} | {"_label": label}
            pq.write_table(pa.table(columns), target / f"{part}.parquet")


def schema() -> Any:
    from lakescore.matrix import MatrixColumn, MatrixSchema

    numbers = [MatrixColumn(f"n{i}") for i in range(NUMERIC)]
    return MatrixSchema((*numbers, *(MatrixColumn(f"c{i}", n) for i, n in enumerate(LEVELS))))


def lakescore(
    folder: Path, backend: str, workers: int, batch: int, epochs: int = EPOCHS
) -> dict[str, Any]:
    """A fit as a candidate: rows a second of the last epoch, seconds to the first step, memory."""
    from lakescore.config.settings import LakeSettings, RegistrySettings, Settings, SparkSettings
    from lakescore.matrix import Task
    from lakescore.models import candidate, check_parameters
    from lakescore.models.base import EncodedData
    from lakescore.session import spark_session

    settings = Settings(
        lake=LakeSettings(root=str(folder / "lake")),
        registry=RegistrySettings(uri=f"sqlite:///{folder}/mlflow.db"),
        runs=str(folder / "runs"),
        staging=str(folder / "staging"),
        spark=SparkSettings(master=f"local[{workers}]", driver_memory="2g"),
    )
    spark = spark_session(settings, "benchmark")
    train = spark.read.parquet(str(folder / "train"))
    data = EncodedData(
        train=train,
        validation=spark.read.parquet(str(folder / "validation")),
        schema=schema(),
        task=Task.BINARY,
        train_rows=train.count(),
    )
    raw = {**PARAMETERS, "epochs": epochs, "batch_size": batch}
    raw |= {"backend": backend, "workers": workers}
    fitted = candidate("deep_tabular").fit(data, check_parameters("deep_tabular", raw), seed=1)
    spark.stop()
    return {
        "rows_per_second": fitted.curves["rows_per_second"][-1],
        "seconds_to_first_step": fitted.details["seconds_to_first_step"],
        "rank_mib": fitted.details["rank_mib"],
    }


def plain(folder: Path, batch: int) -> dict[str, Any]:
    """The loop that one would write by hand."""
    import numpy as np
    import pyarrow.dataset as ds
    import torch
    from torch.nn import functional

    from lakescore.matrix import Task
    from lakescore.models.deep.job import Shards, Standard, TrainingJob
    from lakescore.models.deep.net import TabularNet

    torch.set_num_threads(1)
    torch.manual_seed(1)
    table = ds.dataset(folder / "train").to_table()
    cells = torch.from_numpy(np.column_stack([column.to_numpy() for column in table.columns]))
    matrix, label = cells[:, :-1].contiguous(), cells[:, -1].float()
    none, usual = Shards(()), Standard(0.0, 1.0)
    job = TrainingJob(
        folder="", checkpoints="", columns=schema().columns, task=Task.BINARY, train=none,
        validation=none, standards=(usual,) * NUMERIC, label=usual, seed=1, ranks=1, threads=1,
        resume=False, deadline=0.0, parameters=PARAMETERS,
    )  # fmt: skip
    net = TabularNet(job).train()
    optimiser = torch.optim.AdamW(net.parameters(), lr=0.001, weight_decay=1e-4)
    for _ in range(EPOCHS):
        began = time.perf_counter()
        for rows in torch.randperm(len(matrix)).split(batch):
            optimiser.zero_grad()
            said = net(matrix[rows])
            functional.binary_cross_entropy_with_logits(said, label[rows]).backward()
            optimiser.step()
        rate = len(matrix) / (time.perf_counter() - began)
    return {"rows_per_second": rate}


MEASURED = {
    "plain": plain,
    "single": lambda folder, batch: lakescore(folder, "single", 1, batch),
    "one epoch": lambda folder, batch: lakescore(folder, "single", 1, batch, epochs=1),
    "torch_distributor": lambda folder, batch: lakescore(folder, "torch_distributor", 2, batch),
    "horovod": lambda folder, batch: lakescore(folder, "horovod", 2, batch),
}
_SIDE_BY_SIDE = ("plain", "single", "torch_distributor", "horovod")


def _in_a_process(name: str, folder: Path, batch: int) -> dict[str, Any]:
    asked = ["--measure", name, "--folder", str(folder), "--batch", str(batch)]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.deep", *asked],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env=os.environ,
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--batch", type=int, default=PARAMETERS["batch_size"])
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--measure", choices=MEASURED)
    asked = parser.parse_args()
    if asked.measure:
        print(json.dumps(MEASURED[asked.measure](asked.folder, asked.batch)))
        return
    if asked.memory:
        _memory(asked.batch)
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = asked.folder or Path(scratch)
        if not (folder / "train").exists():
            encoded(asked.rows, folder)
        found = {name: _in_a_process(name, folder, asked.batch) for name in _SIDE_BY_SIDE}
    base, one = found["plain"]["rows_per_second"], found["single"]["rows_per_second"]
    print(f"{asked.rows:,} rows x {NUMERIC + len(LEVELS)}, {asked.batch:,} rows a batch, "
          "one thread a rank")  # fmt: skip
    for name, told in found.items():
        rate = told["rows_per_second"]
        line = (
            f"{name:18} {rate:10,.0f} rows/s {rate / base:5.2f} of plain {rate / one:5.2f} of one"
        )
        if name != "plain":
            first, mib = told["seconds_to_first_step"], told["rank_mib"]
            line += f"   first step after {first:.1f} s, a rank has {mib:.0f} MiB"
        print(line)


def _memory(batch: int) -> None:
    """Of one rank, one epoch, with eight times as many rows."""
    for rows in (1_000_000, 8_000_000):
        with tempfile.TemporaryDirectory() as scratch:
            encoded(rows, Path(scratch))
            told = _in_a_process("one epoch", Path(scratch), batch)
            print(f"{rows:>10,} rows: a rank has {told['rank_mib']:.0f} MiB", flush=True)


if __name__ == "__main__":
    main()
