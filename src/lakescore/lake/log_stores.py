"""Storages on which Delta gives a version to exactly one of two writers.

A commit is a file of the log that must be made only where there is none. Delta's own store for S3
knows that within one driver alone: of two drivers both believe that they committed, and rows are
lost. Of a scheme that Delta does not know it hopes that a rename never replaces a file.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from lakescore.errors import ConfigError
from lakescore.lake.tables import SCHEME

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from lakescore.lake.tables import Table

#: Delta's stores for these make a file only where there is none; that for `file`, of one machine,
#: may replace one, which the look at the history after each commit finds.
_SAFE = frozenset({"file", "hdfs", "viewfs", "abfs", "abfss", "adl", "wasb", "wasbs", "gs"})
_OF_ONE_DRIVER = frozenset({"s3", "s3a", "s3n"})


def check_log_store(spark: SparkSession, table: Table) -> None:
    """Raises ConfigError for a table to write whose path is on a storage that may give one version
    to two writers. Tables of a catalog are its own affair.

    Databricks coordinates commits itself, and a store that the session names is the user's word.
    """
    found = None if table.path is None else SCHEME.match(table.path)
    if found is None or (scheme := found[0][:-1].lower()) in _SAFE:
        return
    named = (f"spark.delta.logStore.{scheme}.impl", "spark.delta.logStore.class")
    if "DATABRICKS_RUNTIME_VERSION" in os.environ or any(spark.conf.get(n, None) for n in named):
        return
    if scheme in _OF_ONE_DRIVER:
        raise ConfigError(
            f"on {scheme}:// two runs at once would lose rows: Delta's store there is for one "
            "driver alone",
            where=table.location,
            hint=f"name one for several in spark.conf: {named[0]}: "
            "io.delta.storage.S3DynamoDBLogStore, with its jar",
        )
    raise ConfigError(
        f"Delta takes no log store for {scheme}:// by itself: two runs at once could lose rows",
        where=table.location,
        hint=f"name one in spark.conf ({named[0]}), or use {', '.join(sorted(_SAFE))}",
    )
