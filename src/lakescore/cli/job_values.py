"""What the tasks of a Databricks job tell those after them: {{tasks.train.values.promote}}."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from lakescore.workflows.run_result import RunResult

log = logging.getLogger("lakescore")


def tell_job(spark: SparkSession, result: RunResult) -> None:
    """Whether a promotion is due after this training, and of which version; nothing elsewhere.

    It is due where the gate would pass, and where it was never run to its end.
    """
    try:
        from pyspark.dbutils import DBUtils
    except ImportError:  # not on Databricks
        return
    gate = result.details.get("gate") or {}
    due = bool(gate.get("passed")) or result.details.get("undecided") is True
    told = {"promote": str(due).lower(), "version": str(result.model_version or "")}
    try:
        values = DBUtils(spark).jobs.taskValues
        for key, value in told.items():
            values.set(key=key, value=value)
    except Exception as error:  # the training is done, and stays so
        log.warning("the job was not told whether to promote: %s", error)
