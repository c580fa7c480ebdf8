"""Backend `torch_distributor`: Spark's own launcher, and PyTorch's process group between ranks."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from lakescore.models.deep.ranks import Ranks
from lakescore.models.deep.supervise import supervised
from lakescore.models.deep.watch import watched

if TYPE_CHECKING:
    import torch
    from pyspark.sql import SparkSession

    from lakescore.models.deep.job import TrainingJob

_GPUS = "spark.task.resource.gpu.amount"


class TorchRanks(Ranks):
    """The ranks of torch.distributed's default group."""

    def __init__(self, group: Any) -> None:
        self._group = group
        self.rank, self.size = group.get_rank(), group.get_world_size()
        self.on_host = int(os.environ.get("LOCAL_RANK", "0"))

    def _sum(self, values: torch.Tensor) -> None:
        self._group.all_reduce(values, op=self._group.ReduceOp.SUM)


def launch(spark: SparkSession, job: TrainingJob) -> None:
    """Train to the end, one barrier task a rank. Raises TrainingFailed."""
    from pyspark.ml.torch.distributor import TorchDistributor

    gpus = float(spark.conf.get(_GPUS, "0") or 0) > 0
    distributor = TorchDistributor(num_processes=job.ranks, local_mode=False, use_gpu=gpus)
    supervised(spark, job, lambda: distributor.run(_rank, job))


def _rank(job: TrainingJob) -> None:
    import torch
    from torch import distributed

    from lakescore.models.deep.loop import train_rank

    with watched(job, int(os.environ["RANK"])) as watch:
        wait = timedelta(seconds=float(job.parameters["start_seconds"]))
        distributed.init_process_group(
            "nccl" if torch.cuda.is_available() else "gloo", timeout=wait
        )
        try:
            train_rank(job, TorchRanks(distributed), watch)
        finally:
            distributed.destroy_process_group()
