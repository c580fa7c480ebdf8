"""The predictions section: where scores go, what they are called, and how tables are kept."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from lakescore.config.base import (
    ColumnName,
    ConfigModel,
    Duration,
    Identifier,
    SqlExpression,
    TableName,
)
from lakescore.config.forms import Share, as_list
from lakescore.matrix import Answers

#: What lakescore itself writes beside each prediction.
LINEAGE_COLUMNS = (
    "_workload",
    "_model_version",
    "_run_id",
    "_commit_seq",
    "_source_version",
    "_scored_at",
)
#: The day that a row of `mode: snapshot` is for.
AS_OF = "_as_of"
#: Why a row of `mode: upsert` no longer counts ('deleted' or 'invalid'); null while it does.
WITHDRAWN = "_withdrawn"

_PREDICTED_CLASS = "predicted_class"

#: Mode -> what may become of predictions whose source row is deleted; the default first.
_ON_DELETE = {
    "append": ("refuse", "ignore"),
    "upsert": ("delete", "mark", "keep"),
    "snapshot": ("ignore",),
}


class Predictions(ConfigModel):
    """Where scores go and what they are called."""

    table: TableName = Field(description="Made by the first run; several workloads may share it.")
    mode: Literal["append", "upsert", "snapshot"] = Field(
        default="append",
        description="append: one score for each new row. upsert: one current score a key, as rows "
        "change. snapshot: the whole table once a day (`_as_of`).",
    )
    on_delete: Literal["refuse", "ignore", "delete", "mark", "keep"] | None = Field(
        default=None,
        description="When source rows are deleted. append: `refuse` (default) stops the run, "
        "`ignore` keeps the scores. upsert: `delete` (default), `mark` in `_withdrawn`, or `keep`.",
    )
    on_invalid: Literal["delete", "mark"] = Field(
        default="delete",
        description="upsert: what becomes of a score whose row breaks its contract now.",
    )
    rescore: Literal["new", "all"] = Field(
        default="new",
        description="A new model scores new rows only, or all of them again at the next run.",
    )
    backfill_by: ColumnName | None = Field(
        default=None,
        description="Column among `passthrough` or the key whose range `backfill` recomputes.",
    )
    max_rows_per_commit: int | None = Field(
        default=None,
        ge=1,
        description="A longer catch-up is cut into commits of about so many rows: between the "
        "source's versions, else between data files. Keys are unique within a commit.",
    )
    where: SqlExpression | None = Field(
        default=None, description="Only these source rows are scored; the rest are counted."
    )
    passthrough: tuple[ColumnName, ...] = Field(
        default=(), description="Source columns kept beside the key."
    )
    column: Identifier = Field(
        default="prediction",
        description="Probability (of class 1; of several classes, of the most probable one), or "
        "value.",
    )
    class_column: Identifier | None = Field(
        default=None,
        description="1 at or above threshold; of several classes the most probable one, in "
        "`predicted_class` when absent.",
    )
    threshold: Share = Field(default=0.5, description="For `class_column` of a binary label.")
    probabilities: Identifier | None = Field(
        default=None, description="Of several classes: a map from class to probability."
    )
    partition_by: tuple[ColumnName, ...] = Field(
        default=(), description="Must be among `passthrough`."
    )
    quarantine_table: TableName | None = Field(
        default=None, description="Defaults to the table's name and `_quarantine`."
    )
    quarantine_mask: tuple[ColumnName, ...] = Field(
        default=(),
        description="Source columns whose values a quarantined row does not show; not the key.",
    )
    quarantine_retention: Duration | None = Field(
        default=None,
        description="After this `lakescore maintain` empties the payload of quarantined rows; "
        "never when absent.",
    )

    _lists = field_validator("passthrough", "partition_by", "quarantine_mask", mode="before")(
        as_list
    )

    @property
    def columns(self) -> tuple[str, ...]:
        """What a prediction is written into."""
        return tuple(filter(None, (self.column, self.class_column, self.probabilities)))

    def of(self, answers: Answers) -> Predictions:
        """These, for a model with such answers: a probability alone does not say of which class."""
        if not answers.classes or self.class_column is not None:
            return self
        return self.model_copy(update={"class_column": _PREDICTED_CLASS})

    @property
    def quarantine(self) -> str:
        return self.quarantine_table or f"{self.table}_quarantine"

    @property
    def when_deleted(self) -> str:
        """`on_delete`, or the mode's default."""
        return self.on_delete or _ON_DELETE[self.mode][0]

    @model_validator(mode="after")
    def _partitions_are_written(self) -> Predictions:
        unknown = [name for name in self.partition_by if name not in self.passthrough]
        if unknown:
            raise ValueError(f"partition_by needs its columns in passthrough: {', '.join(unknown)}")
        return self

    @model_validator(mode="after")
    def _backfill_column_is_readable(self) -> Predictions:
        by = self.backfill_by
        if by is not None and by.lower() in (name.lower() for name in self.quarantine_mask):
            raise ValueError(
                f"a backfill finds the refused rows of its range by '{by}': "
                "remove it from quarantine_mask"
            )
        return self

    @model_validator(mode="after")
    def _options_fit_the_mode(self) -> Predictions:
        allowed = _ON_DELETE[self.mode]
        if self.on_delete is not None and self.on_delete not in allowed:
            raise ValueError(f"on_delete of mode {self.mode} is {' or '.join(allowed)}")
        if self.mode == "upsert" and self.rescore == "all" and self.when_deleted != "delete":
            raise ValueError("rescore: all of mode upsert needs on_delete: delete")
        if self.mode == "snapshot" and self.rescore == "all":
            raise ValueError("mode snapshot scores every row anyway: remove rescore")
        if self.mode == "snapshot" and self.backfill_by is not None:
            raise ValueError("mode snapshot is recomputed day by day: remove backfill_by")
        if self.mode == "snapshot" and self.max_rows_per_commit is not None:
            raise ValueError("mode snapshot replaces a day at once: remove max_rows_per_commit")
        return self
