"""Which backend trains a net here, by how many ranks, and why."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal

from lakescore.errors import EnvironmentProblem
from lakescore.models.base import Backend
from lakescore.models.engines import is_local

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from lakescore.models.deep.job import TrainingJob

Name = Literal["auto", "single", "torch_distributor", "horovod"]
_CHOSEN = "chosen in the workload"


def choose_backend(wanted: Name, spark: SparkSession | None = None) -> Backend:
    """The one that is `wanted`, or the first that can train here. Raises EnvironmentProblem."""
    if wanted == "auto":
        return _first(spark)
    if wanted == "torch_distributor" and not _has_distributor():
        raise EnvironmentProblem(
            "this Spark has no TorchDistributor: it came with 3.4",
            hint="set backend: horovod, or backend: single",
        )
    if wanted == "horovod" and find_spec("horovod") is None:
        raise EnvironmentProblem(
            "Horovod is not installed",
            hint="`make horovod` builds it; or set backend: torch_distributor",
        )
    return Backend(wanted, _CHOSEN)


def _first(spark: SparkSession | None) -> Backend:
    if spark is None or is_local(spark):
        return Backend("single", "one machine")
    if _has_distributor():
        return Backend("torch_distributor", "a cluster, and Spark has TorchDistributor")
    if find_spec("horovod") is not None:
        return Backend("horovod", "a cluster, and Horovod is installed")
    return Backend("single", "neither TorchDistributor nor Horovod is here")


def _has_distributor() -> bool:
    return find_spec("pyspark.ml.torch") is not None


def rank_count(spark: SparkSession, backend: str, wanted: int, rows: int) -> int:
    """How many ranks train: those that are wanted, or one a slot; at most one a row.

    Raises EnvironmentProblem where the session has not so many slots: they would wait for ever.
    """
    if backend == "single":
        return 1
    slots = int(spark.sparkContext.defaultParallelism)
    if wanted > slots:
        raise EnvironmentProblem(
            f"{wanted} workers are asked for, and the session has {slots} slots",
            hint="lower `workers`, or give the session more cores",
        )
    return max(1, min(wanted or slots, rows))


def launcher(backend: str) -> Callable[[SparkSession, TrainingJob], None]:
    """What starts the ranks of a backend and returns when they have trained."""
    if backend == "single":
        from lakescore.models.deep.single import launch
    elif backend == "torch_distributor":
        from lakescore.models.deep.torch_distributor import launch
    else:
        from lakescore.models.deep.horovod import launch
    return launch
