"""What stands refused: how many rows for which reason, and the newest of them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from lakescore.workflows.plan import predictions_log
from lakescore.workflows.steps import predictions_of

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from lakescore.config.settings import Settings
    from lakescore.config.workload import Workload

#: Reasons that are listed, the commonest first.
_REASONS = 50


@dataclass(frozen=True)
class RefusedRow:
    """One quarantined row in force. `refused_at` is in UTC; `payload` is None once purged.

    `key` and `payload` are the values by column; `as_of` is the day in mode snapshot.
    """

    key: dict[str, Any]
    reasons: list[str]
    copies: int
    source_version: int | None
    refused_at: str
    payload: dict[str, Any] | None
    as_of: str | None = None


@dataclass(frozen=True)
class RefusedRows:
    """The quarantine of a workload: `refused` rows in force, and the newest of them in `rows`.

    `copies` counts the source rows that these stand for. A row with two reasons counts in both.
    """

    workload: str
    table: str
    refused: int = 0
    copies: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    rows: list[RefusedRow] = field(default_factory=list)

    def describe(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


def quarantine_list(
    spark: SparkSession, settings: Settings, workload: Workload, *, limit: int = 20
) -> RefusedRows:
    """The refused rows in force, by reason, and the newest `limit` of them. Changes nothing.

    Raises UsageError for a workload without predictions, and ForeignTable.
    """
    from pyspark.sql import functions as F

    from lakescore.lake.contract import COPIES, top_reasons
    from lakescore.lake.tables import Lake

    predictions = predictions_of(workload)
    log = predictions_log(spark, Lake(settings.lake), workload.name, predictions)
    nothing = RefusedRows(workload.name, predictions.quarantine)
    if not log.has_quarantine():
        return nothing
    refused = log.quarantined()
    counted = refused.agg(F.count(F.lit(1)).alias("rows"), F.sum(COPIES).alias("copies")).first()
    if counted is None or counted["rows"] == 0:
        return nothing
    return RefusedRows(
        workload.name,
        predictions.quarantine,
        refused=counted["rows"],
        copies=counted["copies"],
        reasons=top_reasons(refused, _REASONS),
        rows=_newest(refused, limit),
    )


def _newest(refused: DataFrame, limit: int) -> list[RefusedRow]:
    """At most `limit` rows reach the driver."""
    from pyspark.sql import functions as F

    from lakescore.config.predictions import AS_OF
    from lakescore.lake.contract import COPIES, KEY, PAYLOAD, REASONS

    day = F.col(AS_OF).cast("string") if AS_OF in refused.columns else F.lit(None).cast("string")
    newest = refused.orderBy(F.col("_scored_at").desc(), KEY).limit(limit)
    return [
        RefusedRow(
            key=json.loads(row["key"]),
            reasons=list(row["reasons"]),
            copies=row["copies"],
            source_version=row["version"],
            refused_at=row["at"],
            payload=None if row["payload"] is None else json.loads(row["payload"]),
            as_of=row["day"],
        )
        for row in newest.select(
            F.col(KEY).alias("key"),
            F.col(REASONS).alias("reasons"),
            F.col(COPIES).alias("copies"),
            F.col("_source_version").alias("version"),
            F.date_format("_scored_at", "yyyy-MM-dd HH:mm:ss'Z'").alias("at"),
            F.col(PAYLOAD).alias("payload"),
            day.alias("day"),
        ).collect()
    ]
