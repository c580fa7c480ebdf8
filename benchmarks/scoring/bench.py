"""Runs the peers side by side and says what came of it.

    python -m benchmarks.scoring.bench                        # everything, an hour and more
    python -m benchmarks.scoring.bench --smoke                # 1M rows of one shape, once
    python -m benchmarks.scoring.bench --sweep                # the settings of a shape's peers
    python -m benchmarks.scoring.bench --page PAGE.md --picture PICTURE.svg

Each peer has a process of its own: a session, a warm-up on the smallest table (not with --smoke),
then each size once. What lleaves compiles is compiled beforehand. The order of the peers turns
from repeat to repeat. A result is kept in FOLDER/results.json as soon as it is there; `--page` and
`--picture` write what is kept, without running anything.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.scoring.results import Results, machine, picture, table

LARGE = 16_000_000
SIZES = (1_000_000, 4_000_000, LARGE)
TREE_PEERS = (
    "lakescore", "lakescore, general road", "by hand, general", "by hand, direct",
    "by hand, lleaves", "mlflow spark_udf", "SynapseML transform", "no Spark",
)  # fmt: skip
MLLIB_PEERS = ("lakescore", "MLlib transform")
NET_PEERS = ("lakescore", "mlflow spark_udf, net")
PEERS_OF = {
    "wide": TREE_PEERS,
    "flights": TREE_PEERS,
    "narrow": TREE_PEERS,
    "wide-logistic": MLLIB_PEERS,
    "wide-forest": MLLIB_PEERS,
    "wide-net": NET_PEERS,
}
#: Shapes that need PyTorch: they run where they are named, in the environment of `make setup-deep`.
NETS = ("wide-net",)
#: What `--sweep` tries: peer -> option -> values; the first is the peer's own default.
SWEEP = {
    "mlflow spark_udf": {"batch": ("65536", "10000", "2000")},
    "SynapseML transform": {"bytes": ("128m", "32m", "8m")},
    "mlflow spark_udf, net": {"batch": ("10000", "65536", "2000")},
    "by hand, general": {"batch": ("65536", "10000", "2000")},
    "by hand, direct": {"batch": ("65536", "10000")},
}


def main() -> None:
    options = _options()
    results = Results(options.folder / "results.json")
    if options.page or options.picture:
        _write(results, options)
        return
    if options.sweep:
        _sweep(options)
        return
    cores = options.cores or os.cpu_count() or 1
    more: dict[str, Any] = {"warm_up": []} if options.smoke else {}
    for shape in options.shapes:
        _run(options.folder, cores, "prepare", shape, options.sizes)
    for repeat in range(options.repeats):
        for shape in options.shapes:
            peers = [peer for peer in PEERS_OF[shape] if not options.peers or peer in options.peers]
            turned = peers[repeat % len(peers) :] + peers[: repeat % len(peers)]
            for peer in turned:
                for run in _run(options.folder, cores, peer, shape, options.sizes, **more):
                    results.add({"shape": shape, "peer": peer, **run})
                    rate = run["rows"] / run["seconds"]
                    print(f"{shape:14} {peer:22} {run['rows']:>10,} rows "
                          f"{run['seconds']:7.2f} s {rate:>10,.0f} rows/s", flush=True)  # fmt: skip
    sizes = ",".join(map(str, options.sizes))
    asked = f"--shapes {','.join(options.shapes)} --sizes {sizes} --repeats {options.repeats}"
    if options.peers:
        asked += f' --peers "{";".join(options.peers)}"'
    results.note(machine(cores), f"python -m benchmarks.scoring.bench {asked}")
    print(table(results))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=Path(".cache/bench"))
    parser.add_argument("--shapes", type=lambda t: t.split(","))
    parser.add_argument("--peers", type=lambda t: t.split(";"), default=None)
    parser.add_argument(
        "--sizes", type=lambda t: [int(size) for size in t.split(",")], default=list(SIZES)
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cores", type=int, default=None)
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--sweep", action="store_true")
    parser.add_argument("--page", type=Path)
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    if options.smoke:
        options.sizes, options.repeats = [SIZES[0]], 1
    usual = ["wide"] if options.smoke else [shape for shape in PEERS_OF if shape not in NETS]
    options.shapes = options.shapes or usual
    return options


def _run(
    folder: Path, cores: int, peer: str, shape: str, sizes: list[int], **more: Any
) -> list[dict[str, Any]]:
    """What the process said of each size."""
    asked = {
        "root": str(folder.absolute()),
        "cores": cores,
        "peer": peer,
        "shape": shape,
        "sizes": sizes,
        "warm_up": sizes[:1],
        **more,
    }
    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks.scoring.worker", json.dumps(asked)],
        check=False, capture_output=True, text=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    if ended.returncode != 0:
        raise SystemExit(f"{shape}, {peer}: failed\n{ended.stderr[-3000:]}")
    lines = [line for line in ended.stdout.splitlines() if line.startswith("{")]
    return [told for told in map(json.loads, lines) if "rows" in told]


def _sweep(options: argparse.Namespace) -> None:
    """Print the median rate of every value, so that the defaults can be seen to be the best."""
    cores, rows = options.cores or os.cpu_count() or 1, [options.sizes[0]]
    shape = options.shapes[0]
    _run(options.folder, cores, "prepare", shape, rows)
    for peer, tried in SWEEP.items():
        if peer not in PEERS_OF[shape]:
            continue
        for option, values in tried.items():
            for value in values:
                runs = [
                    _run(options.folder, cores, peer, shape, rows, options={option: value})
                    for _ in range(options.repeats)
                ]
                rate = rows[0] / median(run["seconds"] for each in runs for run in each)
                print(f"{peer:22} {option}={value:8} {rate:>10,.0f} rows/s", flush=True)


def _write(results: Results, options: argparse.Namespace) -> None:
    if options.page:
        text = options.page.read_text(encoding="utf-8")
        before, _, rest = text.partition("<!-- results -->\n")
        _, _, after = rest.partition("<!-- end of results -->")
        page = f"{before}<!-- results -->\n{table(results)}\n<!-- end of results -->{after}"
        options.page.write_text(page, encoding="utf-8")
    if options.picture:
        options.picture.write_text(picture(results), encoding="utf-8")


if __name__ == "__main__":
    main()
