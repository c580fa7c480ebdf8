"""What every prediction carries: the plan that it was committed under."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timezone
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from lakescore.config.base import quoted
from lakescore.config.predictions import AS_OF, LINEAGE_COLUMNS

if TYPE_CHECKING:
    from pyspark.sql import DataFrame
    from pyspark.sql.types import StructType

    from lakescore.lake.chain import Part

_TYPES = {"_commit_seq": "long", "_source_version": "long", "_scored_at": "timestamp"}


@dataclass(frozen=True)
class CommitPlan:
    """What a run is going to commit, decided before its work starts.

    `pins` are the snapshots' `describe()` by name; `generation` counts restarts of the content.
    Of the workload's rows the commit replaces those that meet `replaces` (SQL over the predictions
    table) or, with `merge_by`, those of the same key; without either it appends. `closes` (SQL
    over the quarantine) says which refused rows in force are judged anew; with `merge_by`, also
    those of the same key. With `only_mended` the rows are refused ones that are judged again: those
    valid now are closed, by the source's `key`, and the others stand as they were. `as_of` is the
    day of a snapshot, `stands_under` and `quarantine_version` are as in Progress,
    `workload_mode` what the workload declares. With `part` the commit takes progress no further
    than `after_version` and that part of `source_version`. `declared` are the sections of the
    workload that decide what is read and written, `preprocessor` the hash of the model's own;
    `predicted_until` is as in Progress, and `late_context` counts rows of contexts that came late.
    """

    run_id: str
    commit_seq: int
    source_version: int | None
    source_id: str
    model_version: str
    plan_hash: str
    mode: str = "append"
    generation: int = 0
    pins: Mapping[str, Any] = field(default_factory=dict)
    replaces: str | None = None
    merge_by: tuple[str, ...] = ()
    on_delete: str = "delete"
    on_invalid: str = "delete"
    closes: str | None = None
    as_of: date | None = None
    stands_under: str | None = None
    workload_mode: str | None = None
    after_version: int | None = None
    part: Part | None = None
    key: tuple[str, ...] = ()
    only_mended: bool = False
    quarantine_version: int | None = None
    declared: Mapping[str, Any] = field(default_factory=dict)
    preprocessor: str | None = None
    predicted_until: str | None = None
    late_context: Mapping[str, int] = field(default_factory=dict)

    def metadata(self) -> dict[str, Any]:
        """The plan as commit metadata."""
        told = {
            **vars(self),
            "pins": dict(self.pins),
            "declared": dict(self.declared),
            "late_context": dict(self.late_context),
        }
        if self.as_of is not None:
            told["as_of"] = self.as_of.isoformat()
        if self.part is not None:
            told |= {"part": vars(self.part), "source_version": self.after_version}
        return told


def lineage_schema() -> StructType:
    """LINEAGE_COLUMNS with the types that `with_lineage` gives them."""
    from pyspark.sql.types import StructType

    schema = StructType()
    for name in LINEAGE_COLUMNS:
        schema.add(name, _TYPES.get(name, "string"))
    return schema


def with_lineage(rows: DataFrame, workload: str, plan: CommitPlan) -> DataFrame:
    """The rows with LINEAGE_COLUMNS (and `_as_of`); `_scored_at` is now, in UTC."""
    values = {
        "_workload": F.lit(workload),
        "_model_version": F.lit(plan.model_version),
        "_run_id": F.lit(plan.run_id),
        "_commit_seq": F.lit(plan.commit_seq).cast("bigint"),
        "_source_version": F.lit(plan.source_version).cast("bigint"),
        "_scored_at": F.lit(datetime.now(timezone.utc)).cast("timestamp"),
    }
    if plan.as_of is not None:
        values[AS_OF] = F.lit(plan.as_of)
    own = [F.col(quoted(name)) for name in rows.columns]
    return rows.select(*own, *(value.alias(name) for name, value in values.items()))


def newest_lineage(rows: DataFrame) -> Mapping[str, Any]:
    """The lineage of the highest commit number among the rows; empty when there are none."""
    newest = F.max(F.struct("_commit_seq", "_source_version", "_model_version", "_run_id"))
    found = rows.agg(newest.alias("newest")).select("newest.*").first()
    return {} if found is None or found["_commit_seq"] is None else found.asDict()
