"""Sections about rows: the source with its data contract, and the contexts joined to it."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from lakescore.config.base import (
    ColumnName,
    ConfigModel,
    Duration,
    Identifier,
    SqlExpression,
    TableName,
)
from lakescore.config.column_types import canonical_type
from lakescore.config.forms import Share, as_list, doubled_names, names_to_pairs

_NOT_NULL = re.compile(r"(.*?)(\bnot\s+null)?\s*", re.IGNORECASE | re.DOTALL)


class QuarantineBounds(ConfigModel):
    """How many rows of one run may be refused before the run stops.

    A catch-up in several commits stops before the commit that goes over.
    """

    share: Share = Field(default=0.05, description="Of the rows read.")
    count: int | None = Field(default=None, ge=0, description="In rows; no bound when absent.")


class Freshness(ConfigModel):
    """How old the newest row of the source may be when a scoring run starts."""

    column: ColumnName = Field(
        description="Timestamp or date of each row; best the time at which it was loaded."
    )
    warn_after: Duration | None = Field(default=None, description="Older: the run warns.")
    error_after: Duration | None = Field(
        default=None, description="Older: the run fails, even when there is nothing to score."
    )

    @model_validator(mode="after")
    def _has_a_bound(self) -> Freshness:
        if self.warn_after is None and self.error_after is None:
            raise ValueError("set warn_after, error_after or both")
        if self.warn_after and self.error_after and self.warn_after >= self.error_after:
            raise ValueError("warn_after must be shorter than error_after")
        return self

    @property
    def longest(self) -> timedelta:
        """The longest bound."""
        return max(bound for bound in (self.warn_after, self.error_after) if bound is not None)


class ColumnContract(ConfigModel):
    """What a column of the source holds."""

    type: str | None = Field(
        default=None,
        description="Spark type, like `double` or `decimal(10,2)`; another one stops the run.",
    )
    nullable: bool = Field(
        default=True, description="`false`: a row that has no value here is quarantined."
    )

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        """``double not null`` is the form that people write."""
        match = _NOT_NULL.fullmatch(value) if isinstance(value, str) else None
        if match is None:
            return value
        kind, required = match[1].strip(), match[2]
        return {"type": kind if kind or not required else None, "nullable": not required}

    @field_validator("type")
    @classmethod
    def _type_is_known(cls, value: str | None) -> str | None:
        return None if value is None else canonical_type(value)

    @model_validator(mode="after")
    def _says_something(self) -> ColumnContract:
        if self.type is None and self.nullable:
            raise ValueError("say its type, `nullable: false`, or both")
        return self


class Source(ConfigModel):
    """The rows to predict for, and their data contract."""

    table: TableName = Field(description="A Delta table of the lake, or a path.")
    key: tuple[ColumnName, ...] = Field(
        min_length=1, description="Column or columns that tell the rows apart."
    )
    prediction_time: SqlExpression | None = Field(
        default=None, description="When the prediction is made; needed for point-in-time joins."
    )
    known_at: ColumnName | None = Field(
        default=None, description="Column that says when the row itself became known."
    )
    columns_known_at: dict[ColumnName, ColumnName] = Field(
        default={}, description="Columns that become known later than the row, and when."
    )
    columns: dict[ColumnName, ColumnContract] = Field(
        default={}, description="Types of columns, and which of them must not be null."
    )
    unique_within: Duration | None = Field(
        default=None,
        description="Mode append: a row whose key was predicted so short a time ago is "
        "quarantined; keys are compared within one commit only when absent.",
    )
    expectations: dict[str, SqlExpression] = Field(
        default={}, description="Name -> SQL; a row where it is not true is quarantined."
    )
    nan: Literal["missing", "quarantine"] = Field(
        default="missing", description="NaN and infinity: treat as missing, or refuse the row."
    )
    max_quarantined: QuarantineBounds = Field(
        default=QuarantineBounds(), description="A run that refuses more rows stops."
    )
    freshness: Freshness | None = Field(
        default=None, description="How old the newest row may be; not judged when absent."
    )

    _key = field_validator("key", mode="before")(as_list)

    @property
    def required(self) -> list[str]:
        """The columns that must not be null, beside the key."""
        return [name for name, column in self.columns.items() if not column.nullable]

    @field_validator("key")
    @classmethod
    def _key_columns_differ(cls, key: tuple[str, ...]) -> tuple[str, ...]:
        if doubled := doubled_names(key):
            raise ValueError(f"a column stands twice: {doubled}")
        return key

    @field_validator("columns")
    @classmethod
    def _columns_differ(cls, columns: dict[str, ColumnContract]) -> dict[str, ColumnContract]:
        if doubled := doubled_names(columns):
            raise ValueError(f"a column stands twice: {doubled}")
        return columns


class Aggregate(ConfigModel):
    """One windowed aggregate over ``(prediction_time - over, prediction_time]``."""

    function: Literal["avg", "sum", "min", "max", "count"]
    column: ColumnName = Field(description="Of the context table; nulls are left out.")
    over: Duration = Field(description="How far back from the prediction time.")

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        """``{avg: dep_delay, over: 1 hour}`` is the form that people write."""
        if isinstance(value, dict) and "function" not in value:
            named = [key for key in value if key != "over"]
            if len(named) == 1:
                return {"function": named[0], "column": value[named[0]], "over": value.get("over")}
        return value


class Context(ConfigModel):
    """A table joined as of the prediction time (or a static lookup)."""

    table: TableName = Field(description="A Delta table of the lake, or a path.")
    on: dict[ColumnName, ColumnName] = Field(
        min_length=1, description="Source column -> context column, or the name both share."
    )
    known_at: ColumnName | None = Field(
        default=None, description="Column that says when a context row became known."
    )
    lookback_window: Duration | None = Field(
        default=None, description="Rows known earlier than this before the prediction are not used."
    )
    static: bool = Field(
        default=False, description="A lookup whose rows were always known; unique by `on`."
    )
    latest: dict[Identifier, ColumnName] = Field(
        default={}, description="Output name -> column of the row known last, or a list of columns."
    )
    aggregates: dict[Identifier, Aggregate] = Field(
        default={}, description="Output name -> aggregate, like `{avg: delay, over: 1 hour}`."
    )
    max_lag: Duration | None = Field(
        default=None, description="Stop the run when the newest context row is older than this."
    )

    _pairs = field_validator("on", "latest", mode="before")(names_to_pairs)

    @model_validator(mode="after")
    def _time_is_declared(self) -> Context:
        if not self.latest and not self.aggregates:
            raise ValueError("name at least one output under `latest` or `aggregates`")
        if self.static:
            if self.known_at or self.lookback_window or self.aggregates or self.max_lag:
                raise ValueError(
                    "a static lookup has only `latest`: remove known_at, lookback_window, "
                    "aggregates and max_lag"
                )
            return self
        if self.known_at is None or self.lookback_window is None:
            raise ValueError(
                "say when its rows became known (`known_at` and `lookback_window`), "
                "or that they always were (`static: true`)"
            )
        for name, aggregate in self.aggregates.items():
            if aggregate.over > self.lookback_window:
                raise ValueError(f"aggregate '{name}' looks further back than lookback_window")
        return self

    @property
    def outputs(self) -> tuple[str, ...]:
        return (*self.latest, *self.aggregates)
