"""Backend `single`: one rank, a process of its own on the driver's machine."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from lakescore.models.deep.job import TrainingJob
from lakescore.models.deep.supervise import supervised
from lakescore.models.deep.watch import watched

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_LAST_WORDS = 300


def launch(spark: SparkSession, job: TrainingJob) -> None:
    """Train to the end. Raises TrainingFailed. The rank ends when this process does."""
    path, output = Path(job.folder) / "job.json", Path(job.folder) / "output"
    job.write(path)
    package = str(Path(__file__).parents[3])
    found = os.environ.get("PYTHONPATH")
    paths = package if found is None else os.pathsep.join([package, found])
    with output.open("wb") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(path)],
            stdin=subprocess.PIPE,
            stdout=said,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": paths},
        )

    def ended() -> None:
        code = process.wait()
        if code != 0:
            words = output.read_text(errors="replace").strip()[-_LAST_WORDS:]
            raise RuntimeError(f"exit code {code}" + (f": {words}" if words else ""))

    supervised(spark, job, ended, cancel=process.kill)


def main(path: str) -> None:
    from lakescore.models.deep.loop import train_rank
    from lakescore.models.deep.ranks import OneRank

    job = TrainingJob.read(Path(path))
    threading.Thread(target=_end_with_the_driver, daemon=True).start()
    with watched(job, 0) as watch:
        train_rank(job, OneRank(), watch)


def _end_with_the_driver() -> None:
    """The driver's end of the pipe closes when it ends, however it does."""
    os.read(sys.stdin.fileno(), 1)
    os._exit(1)


if __name__ == "__main__":
    main(sys.argv[1])
