"""Late context: rows that a context gained only after predictions that should have known them."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING

from lakescore.errors import SourceChanged, TypeMismatch, VersionUnreadable

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from lakescore.lake.snapshot import Snapshot
    from lakescore.workflows.plan import ScoringPlan


def late_context(spark: SparkSession, plan: ScoringPlan) -> dict[str, int]:
    """Context -> rows that came since the last commit, though known when its rows were predicted.

    Those predictions stand: whether to backfill is for their owner. A context whose gains cannot
    be followed (it was rewritten, or has no versions of its own) is left out. One job, over what
    the contexts gained.
    """
    from pyspark.sql import functions as F

    until = plan.progress.predicted_until
    if until is None:
        return {}
    contexts = plan.model.contexts(plan.workload).items()
    places = {n: (c.table, c.known_at, plan.pins.contexts[n]) for n, c in contexts if c.known_at}
    counts = []
    for place in dict.fromkeys(places.values()):
        gained = _known_at_of_gained(spark, plan, *place)
        if gained is not None:
            in_time = F.col("known_at") <= F.lit(until).cast("timestamp")
            counts.append(
                gained.agg(
                    F.lit(str(place[:2])).alias("place"),
                    F.count(F.when(in_time, F.lit(1))).alias("late"),
                )
            )
    found = reduce(lambda left, right: left.unionAll(right), counts).collect() if counts else []
    late = {row["place"]: row["late"] for row in found}
    return {n: late[str(p[:2])] for n, p in places.items() if str(p[:2]) in late}


def _known_at_of_gained(
    spark: SparkSession, plan: ScoringPlan, table: str, known_at: str, now: Snapshot
) -> DataFrame | None:
    """`known_at` of the rows that the context gained since the last commit; None where unknown."""
    from lakescore.features.resolve import col
    from lakescore.lake.changes import rows_since
    from lakescore.lake.views import ViewSnapshot

    before = plan.progress.pins.get(table, {})
    version = before.get("version")
    if version is None or version >= now.version or isinstance(now, ViewSnapshot):
        return None
    try:
        gained = rows_since(spark, now, version, table_id=before["table_id"], in_use=[known_at])
    except (SourceChanged, TypeMismatch, VersionUnreadable):
        return None
    return gained.rows().select(col(known_at).cast("timestamp").alias("known_at"))
