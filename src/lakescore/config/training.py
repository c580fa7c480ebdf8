"""Sections about training: label, features, split, candidates, gate."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from lakescore.config.base import (
    ColumnName,
    ConfigModel,
    Day,
    Identifier,
    SqlExpression,
    TableName,
    quoted,
)
from lakescore.config.forms import Share, names_to_pairs
from lakescore.matrix import Task


class Label(ConfigModel):
    """What to predict. Rows where it is null are scored, never learned from, and counted."""

    expression: SqlExpression = Field(
        description="Boolean or 0/1, a class (a string), or a number; may be null."
    )
    table: TableName | None = Field(default=None, description="Where it is, if not in the source.")
    on: dict[ColumnName, ColumnName] = Field(
        default={}, description="Source column -> column of `table`, or the name both share."
    )
    known_at: ColumnName | None = Field(
        default=None, description="Column of `table` that says when a label became known."
    )
    task: Task | None = Field(
        default=None,
        description="Inferred from the type when absent: booleans and 0/1 are binary, strings "
        "multiclass, other numbers regression. Whole numbers may be said to be multiclass.",
    )
    unlabelled_by: ColumnName | None = Field(
        default=None, description="A column by which rows without a label are counted."
    )

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"expression": quoted(value) if value.isidentifier() else value}
        if isinstance(value, dict) and "column" in value and "expression" not in value:
            rest = {key: item for key, item in value.items() if key != "column"}
            column = value["column"]
            return {"expression": quoted(column) if isinstance(column, str) else column, **rest}
        return value

    _on = field_validator("on", mode="before")(names_to_pairs)

    @model_validator(mode="after")
    def _join_is_complete(self) -> Label:
        if self.table is not None and not self.on:
            raise ValueError("a label from another table needs `on`, the columns that join it")
        if self.table is None and (self.on or self.known_at):
            raise ValueError("`on` and `known_at` are for a label from another `table`")
        return self


class Feature(ConfigModel):
    """One model input: a SQL expression over the source and the context outputs."""

    name: Identifier
    expression: SqlExpression = Field(description="The column of that name, when absent.")
    categorical: bool | None = Field(
        default=None, description="Strings are categorical, numbers are not, unless said here."
    )


class RandomSplit(ConfigModel):
    """By a hash of the key, so that a row keeps its split for ever."""

    kind: Literal["random"] = "random"
    validation: Share = Field(default=0.15, description="Share of rows to select on.")
    test: Share = Field(default=0.15, description="Share of rows for the gate.")
    seed: int = Field(default=0, description="Another number gives another split.")

    @model_validator(mode="after")
    def _leaves_rows_to_train_on(self) -> RandomSplit:
        if self.validation + self.test >= 1:
            raise ValueError("validation and test together must leave rows to train on")
        return self


class TimeSplit(ConfigModel):
    """By time: each part ends on its day, inclusive. Later rows are in no part."""

    kind: Literal["time"] = "time"
    by: SqlExpression = Field(description="A date or timestamp of the source.")
    train_until: Day
    validation_until: Day
    test_until: Day
    train_from: Day | None = Field(default=None, description="Earlier rows are in no part.")

    @model_validator(mode="after")
    def _in_order(self) -> TimeSplit:
        if not self.train_until < self.validation_until < self.test_until:
            raise ValueError("train_until < validation_until < test_until must hold")
        if self.train_from is not None and self.train_from > self.train_until:
            raise ValueError("train_from is after train_until")
        return self


class CandidateSpec(ConfigModel):
    """An algorithm and its parameters (checked by the candidate itself)."""

    name: Identifier
    parameters: dict[str, Any] = Field(
        default={}, description="Those of docs/reference/candidates.md."
    )


class Gate(ConfigModel):
    """What a challenger must show on the test split before it may be promoted."""

    metric: str | None = Field(default=None, description="Defaults to `select_by`.")
    confidence: float = Field(default=0.95, gt=0.5, lt=1, description="Of the intervals.")
    champion_margin: float = Field(
        default=0.005, ge=0, description="How much worse than the champion is still 'not worse'."
    )
    max_calibration_error: Share | None = Field(
        default=0.1, description="Expected calibration error, of tasks with classes only."
    )
    replicates: int = Field(default=200, ge=50, le=2000, description="Bootstrap replicates.")


def feature_form(item: Any) -> Any:
    if isinstance(item, str):
        return {"name": item, "expression": quoted(item)}
    if isinstance(item, dict) and "name" not in item and len(item) == 1:
        (name, body), *_ = item.items()
        if isinstance(body, str):
            return {"name": name, "expression": body}
        if isinstance(body, dict):
            return {"name": name, "expression": quoted(name), **body}
        return {"name": name, "expression": body}
    return item


def candidate_form(item: Any) -> Any:
    if isinstance(item, str):
        return {"name": item}
    if isinstance(item, dict) and "name" not in item and len(item) == 1:
        (name, parameters), *_ = item.items()
        return {"name": name, "parameters": parameters or {}}
    return item
