"""Staged folders that a run of long ago left behind, told by the time in their name."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from lakescore.lake.tables import absolute_folder, local_folder

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_RUN = re.compile(r"(\d{8}T\d{6}Z)-[0-9a-f]{6}")
#: On storage where a folder cannot be removed an emptied one keeps an empty Parquet file.
_EMPTIED_BYTES = 1024


def old_stages(
    spark: SparkSession, staging: str, *, now: datetime, older_than: timedelta
) -> list[str]:
    """The folders below `staging` of runs that started longer ago than `older_than`, sorted."""
    root = absolute_folder(staging)
    local = local_folder(root)
    if local is None:
        names = _listed(spark, root)
    else:
        names = [path.name for path in local.iterdir()] if local.is_dir() else []
    return sorted(f"{root}/{name}" for name in names if _is_old(name, now - older_than))


def _is_old(name: str, before: datetime) -> bool:
    run = _RUN.fullmatch(name)
    if run is None:
        return False
    started = datetime.strptime(run[1], "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc)
    return started < before


def _listed(spark: SparkSession, root: str) -> list[str]:
    """Folders with files in them, by Spark's own listing, which knows every storage."""
    from pyspark.sql.utils import AnalysisException

    try:
        files = spark.read.format("binaryFile").option("recursiveFileLookup", "true").load(root)
    except AnalysisException:
        return []
    run = F.regexp_extract("path", f"/({_RUN.pattern})/", 1).alias("run")
    sizes = files.select(run, "length").groupBy("run").agg(F.sum("length").alias("size"))
    return [row.run for row in sizes.where(F.col("size") > _EMPTIED_BYTES).collect() if row.run]
