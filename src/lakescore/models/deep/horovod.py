"""Backend `horovod`: ranks started on Spark, and Horovod's Gloo controller between them."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from lakescore.models.deep.ranks import Ranks
from lakescore.models.deep.supervise import supervised
from lakescore.models.deep.watch import watched

if TYPE_CHECKING:
    import torch
    from pyspark.sql import SparkSession

    from lakescore.models.deep.job import TrainingJob


log = logging.getLogger("lakescore")

#: What runs the Spark job of `horovod.spark.run`.
_THREAD = "run_spark"


class HorovodRanks(Ranks):
    """The ranks of Horovod's global process set."""

    def __init__(self, hvd: Any) -> None:
        self._hvd = hvd
        self.rank, self.size = hvd.rank(), hvd.size()
        self.on_host = hvd.local_rank()

    def _sum(self, values: torch.Tensor) -> None:
        self._hvd.allreduce_(values, op=self._hvd.Sum, name="sum")


def launch(spark: SparkSession, job: TrainingJob) -> None:
    """Train to the end, one Spark task a rank; in the main thread. Raises TrainingFailed."""
    import horovod.spark

    def run() -> None:
        horovod.spark.run(
            _rank,
            args=(job,),
            num_proc=job.ranks,
            start_timeout=int(float(job.parameters["start_seconds"])),
            use_gloo=True,
            verbose=0,
        )

    with _left_as_it_was():
        supervised(spark, job, run)


@contextmanager
def _left_as_it_was() -> Iterator[None]:
    """Horovod sets signal handlers, and where its job fails a thread of its own says so too."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    hook = threading.excepthook

    def quiet(told: threading.ExceptHookArgs) -> None:
        if told.thread is not None and _THREAD in told.thread.name:
            log.debug("Horovod: %s", told.exc_value)
        else:
            hook(told)

    threading.excepthook = quiet
    try:
        yield
    finally:
        threading.excepthook = hook
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _rank(job: TrainingJob) -> None:
    import horovod.torch as hvd

    from lakescore.models.deep.loop import train_rank

    with watched(job, int(os.environ["HOROVOD_RANK"])) as watch:
        hvd.init()
        try:
            train_rank(job, HorovodRanks(hvd), watch)
        finally:
            hvd.shutdown()
