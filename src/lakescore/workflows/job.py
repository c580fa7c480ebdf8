"""What the steps of one training or promotion share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from lakescore.config.settings import Settings
    from lakescore.config.workload import Workload
    from lakescore.registry.store import Registry
    from lakescore.workflows.pins import Pins
    from lakescore.workflows.run_result import RunResult


@dataclass(frozen=True)
class Job:
    """One run of a workload on its pins. `folder` holds its staged files and is cleared at the end.

    `run` collects what the run result will say.
    """

    spark: SparkSession
    settings: Settings
    workload: Workload
    registry: Registry
    pins: Pins
    folder: str
    run: RunResult

    @property
    def model_name(self) -> str:
        """The registered model's full name."""
        return self.registry.full_name(self.workload.name)
