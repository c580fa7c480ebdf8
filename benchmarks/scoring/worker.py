"""One peer in one process: a warm-up, then timed runs, one JSON line each.

python -m benchmarks.scoring.worker '{"peer": "lakescore", "shape": "wide", "rows": 4000000, …}'
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path

from benchmarks.scoring.memory import PeakMemory
from benchmarks.scoring.peers import PEERS, Job, compile_trees
from benchmarks.scoring.shapes import SHAPES, Bench, prepare


def main(text: str) -> None:
    asked = json.loads(text)
    bench, shape = Bench(Path(asked["root"]), asked["cores"]), SHAPES[asked["shape"]]
    started = time.monotonic()
    spark = None
    if asked["peer"] != "no Spark":
        from lakescore.session import spark_session

        spark = spark_session(bench.settings, "benchmark")
    print(json.dumps({"session": time.monotonic() - started}), flush=True)
    if asked["peer"] == "prepare":
        prepare(spark, bench, shape, asked["sizes"])
        if shape.has_trees:
            compile_trees(Job(spark, bench, shape, asked["sizes"][0], out=""))
        return
    for number, rows in enumerate([*asked["warm_up"], *asked["sizes"]]):
        out = bench.root / "lake" / "out" / asked["peer"].replace(", ", "-").replace(" ", "-")
        shutil.rmtree(out, ignore_errors=True)
        shutil.rmtree(f"{out}_quarantine", ignore_errors=True)
        job = Job(spark, bench, shape, rows, str(out), asked.get("options", {}))
        _ = job.model_text if shape.has_trees else None
        with PeakMemory() as memory:
            started = time.monotonic()
            PEERS[asked["peer"]](job)
            seconds = time.monotonic() - started
        if number >= len(asked["warm_up"]):
            told = {"rows": rows, "seconds": seconds, "memory": memory.peak, "digest": _digest(out)}
            print(json.dumps(told), flush=True)
        shutil.rmtree(out, ignore_errors=True)


def _digest(out: Path) -> list[float]:
    """Rows, and sums over keys and predictions that no other doubles are likely to give."""
    import numpy as np
    import pyarrow.dataset as ds

    if (out / "_delta_log").exists():
        from deltalake import DeltaTable

        table = DeltaTable(str(out)).to_pyarrow_table(columns=["id", "prediction"])
    else:
        table = ds.dataset(out).to_table(columns=["id", "prediction"])
    bits = table["prediction"].to_numpy().view(np.uint64)
    keys = table["id"].to_numpy().view(np.uint64)
    with np.errstate(over="ignore"):
        mixed = (bits ^ (keys * np.uint64(0x9E3779B97F4A7C15))) * np.uint64(0xC2B2AE3D27D4EB4F)
    return [len(table), int(np.bitwise_xor.reduce(mixed)), int(mixed.sum() & np.uint64(2**53 - 1))]


if __name__ == "__main__":
    main(sys.argv[1])
