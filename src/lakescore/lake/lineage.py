"""What every prediction carries: the plan that it was committed under."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from lakescore.config.base import quoted
from lakescore.config.workload import LINEAGE_COLUMNS

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


@dataclass(frozen=True)
class CommitPlan:
    """What a run is going to commit, decided before its work starts.

    `pins` are the snapshots' `describe()` by name; `generation` counts restarts of the content.
    """

    run_id: str
    commit_seq: int
    source_version: int
    source_id: str
    model_version: str
    plan_hash: str
    mode: str = "append"
    generation: int = 0
    pins: Mapping[str, Any] = field(default_factory=dict)

    def metadata(self) -> dict[str, Any]:
        """The plan as commit metadata."""
        return {**vars(self), "pins": dict(self.pins)}


def with_lineage(rows: DataFrame, workload: str, plan: CommitPlan) -> DataFrame:
    """The rows with LINEAGE_COLUMNS; `_scored_at` is now, in UTC."""
    values = {
        "_workload": F.lit(workload),
        "_model_version": F.lit(plan.model_version),
        "_run_id": F.lit(plan.run_id),
        "_commit_seq": F.lit(plan.commit_seq).cast("bigint"),
        "_source_version": F.lit(plan.source_version).cast("bigint"),
        "_scored_at": F.lit(datetime.now(timezone.utc)).cast("timestamp"),
    }
    own = [F.col(quoted(name)) for name in rows.columns]
    return rows.select(*own, *(values[name].alias(name) for name in LINEAGE_COLUMNS))


def newest_lineage(rows: DataFrame) -> Mapping[str, Any]:
    """The lineage of the highest commit number among the rows; empty when there are none."""
    newest = F.max(F.struct("_commit_seq", "_source_version", "_model_version", "_run_id"))
    found = rows.agg(newest.alias("newest")).select("newest.*").first()
    return {} if found is None or found["_commit_seq"] is None else found.asDict()
