"""The workload: one model's life cycle, one YAML file.

Short forms (a column name for a label, a list for features, a word for a split) are normalised
here once, so that no other code sees them.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from lakescore.config.base import (
    ColumnName,
    ConfigModel,
    Duration,
    Identifier,
    SqlExpression,
    TableName,
)
from lakescore.matrix import Task

Share = Annotated[float, Field(ge=0, le=1)]


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class QuarantineBounds(ConfigModel):
    """How many rows of one run may be refused before the run stops."""

    share: Share = 0.05
    count: int | None = Field(default=None, ge=0)


class Source(ConfigModel):
    """The rows to predict for, and their data contract."""

    table: TableName
    key: tuple[ColumnName, ...] = Field(min_length=1)
    prediction_time: SqlExpression | None = Field(
        default=None, description="When the prediction is made; needed for point-in-time joins."
    )
    known_at: ColumnName | None = Field(
        default=None, description="Column that says when the row itself became known."
    )
    columns_known_at: dict[ColumnName, ColumnName] = Field(
        default={}, description="Columns that become known later than the row, and when."
    )
    expectations: dict[str, SqlExpression] = Field(
        default={}, description="Name -> SQL; a row where it is not true is quarantined."
    )
    nan: Literal["missing", "quarantine"] = Field(
        default="missing", description="NaN and infinity: treat as missing, or refuse the row."
    )
    max_quarantined: QuarantineBounds = QuarantineBounds()

    _key = field_validator("key", mode="before")(_as_list)


class Aggregate(ConfigModel):
    """One windowed aggregate over ``(prediction_time - over, prediction_time]``."""

    function: Literal["avg", "sum", "min", "max", "count"]
    column: ColumnName
    over: Duration

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

    table: TableName
    on: dict[ColumnName, ColumnName] = Field(
        min_length=1, description="Source column -> context column."
    )
    known_at: ColumnName | None = Field(
        default=None, description="Column that says when a context row became known."
    )
    lookback_window: Duration | None = None
    static: bool = Field(
        default=False, description="A lookup whose rows were always known; unique by `on`."
    )
    latest: dict[Identifier, ColumnName] = Field(
        default={}, description="Output name -> column of the row known last."
    )
    aggregates: dict[Identifier, Aggregate] = {}
    max_lag: Duration | None = Field(
        default=None, description="Stop the run when the newest context row is older than this."
    )

    @field_validator("on", "latest", mode="before")
    @classmethod
    def _names_to_pairs(cls, value: Any) -> Any:
        value = _as_list(value)
        return {name: name for name in value} if isinstance(value, list) else value

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


class Label(ConfigModel):
    """What to predict. Rows where it is null are scored, never learned from, and counted."""

    expression: SqlExpression
    table: TableName | None = Field(default=None, description="Where it is, if not in the source.")
    on: dict[ColumnName, ColumnName] = {}
    known_at: ColumnName | None = None
    task: Task | None = Field(default=None, description="Inferred from the type when absent.")
    unlabelled_by: ColumnName | None = Field(
        default=None, description="A column by which rows without a label are counted."
    )

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"expression": f"`{value}`" if value.isidentifier() else value}
        if isinstance(value, dict) and "column" in value and "expression" not in value:
            rest = {key: item for key, item in value.items() if key != "column"}
            return {"expression": f"`{value['column']}`", **rest}
        return value

    _on = field_validator("on", mode="before")(Context._names_to_pairs.__func__)  # type: ignore[attr-defined]

    @model_validator(mode="after")
    def _join_is_complete(self) -> Label:
        if self.table is not None and not self.on:
            raise ValueError("a label from another table needs `on`, the columns that join it")
        return self


class Feature(ConfigModel):
    """One model input: a SQL expression over the source and the context outputs."""

    name: Identifier
    expression: SqlExpression
    categorical: bool | None = Field(
        default=None, description="Strings are categorical, numbers are not, unless said here."
    )


class RandomSplit(ConfigModel):
    """By a hash of the key, so that a row keeps its split for ever."""

    kind: Literal["random"] = "random"
    validation: Share = 0.15
    test: Share = 0.15
    seed: int = 0

    @model_validator(mode="after")
    def _leaves_rows_to_train_on(self) -> RandomSplit:
        if self.validation + self.test >= 1:
            raise ValueError("validation and test together must leave rows to train on")
        return self


class TimeSplit(ConfigModel):
    """By time: each part ends on its day, inclusive. Later rows are in no part."""

    kind: Literal["time"] = "time"
    by: SqlExpression
    train_until: date
    validation_until: date
    test_until: date
    train_from: date | None = None

    @model_validator(mode="after")
    def _in_order(self) -> TimeSplit:
        if not self.train_until < self.validation_until < self.test_until:
            raise ValueError("train_until < validation_until < test_until must hold")
        return self


class CandidateSpec(ConfigModel):
    """An algorithm and its parameters (checked by the candidate itself)."""

    name: Identifier
    parameters: dict[str, Any] = {}


class Gate(ConfigModel):
    """What a challenger must show on the test split before it may be promoted."""

    metric: str | None = Field(default=None, description="Defaults to `select_by`.")
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    champion_margin: Annotated[float, Field(ge=0)] = Field(
        default=0.005, description="How much worse than the champion is still 'not worse'."
    )
    max_calibration_error: Share | None = Field(
        default=0.1, description="Expected calibration error, binary tasks only."
    )
    replicates: int = Field(default=200, ge=50, le=2000, description="Bootstrap replicates.")


class Predictions(ConfigModel):
    """Where scores go and what they are called."""

    table: TableName
    mode: Literal["append"] = "append"
    where: SqlExpression | None = Field(
        default=None, description="Only these source rows are scored; the rest are counted."
    )
    passthrough: tuple[ColumnName, ...] = ()
    column: Identifier = Field(default="prediction", description="Probability, or value.")
    class_column: Identifier | None = Field(default=None, description="1 at or above threshold.")
    threshold: Share = 0.5
    partition_by: tuple[ColumnName, ...] = ()
    quarantine_table: TableName | None = Field(
        default=None, description="Defaults to the table's name and `_quarantine`."
    )

    _lists = field_validator("passthrough", "partition_by", mode="before")(_as_list)

    @property
    def quarantine(self) -> str:
        return self.quarantine_table or f"{self.table}_quarantine"

    @model_validator(mode="after")
    def _partitions_are_written(self) -> Predictions:
        unknown = [name for name in self.partition_by if name not in self.passthrough]
        if unknown:
            raise ValueError(f"partition_by needs its columns in passthrough: {', '.join(unknown)}")
        return self


class ReportOptions(ConfigModel):
    """What the report shows beyond the standard parts."""

    segments: tuple[ColumnName, ...] = ()

    _segments = field_validator("segments", mode="before")(_as_list)


class Workload(ConfigModel):
    """One model's life cycle. With `model` it scores a model that exists; else it trains one."""

    name: Identifier
    description: str = ""
    tags: tuple[str, ...] = ()
    source: Source
    context: dict[Identifier, Context] = {}
    features: tuple[Feature, ...] | Literal["all"] | None = None
    label: Label | None = None
    split: RandomSplit | TimeSplit | None = None
    candidates: tuple[CandidateSpec, ...] = ()
    select_by: str | None = Field(default=None, description="Metric on the validation split.")
    gate: Gate = Gate()
    promotion: Literal["auto", "manual"] = "manual"
    seed: int = 7
    model: str | None = Field(
        default=None,
        description="models:/NAME@ALIAS, models:/NAME/VERSION, or a path to a model.",
    )
    trust: Literal["runs-code"] | None = None
    predictions: Predictions | None = None
    report: ReportOptions = ReportOptions()

    @field_validator("features", mode="before")
    @classmethod
    def _feature_forms(cls, value: Any) -> Any:
        """A list of columns and ``name: expression`` pairs, or one mapping of such pairs."""
        if isinstance(value, dict):
            value = [{name: item} for name, item in value.items()]
        if not isinstance(value, (list, tuple)):
            return value
        return [_feature(item) for item in value]

    @field_validator("split", mode="before")
    @classmethod
    def _split_forms(cls, value: Any) -> Any:
        if value == "random":
            return {"kind": "random"}
        if isinstance(value, dict) and "kind" not in value:
            return {"kind": "time" if "by" in value else "random", **value}
        return value

    @field_validator("candidates", mode="before")
    @classmethod
    def _candidate_forms(cls, value: Any) -> Any:
        value = _as_list(value)
        return [_candidate(item) for item in value] if isinstance(value, (list, tuple)) else value

    @field_validator("tags", mode="before")
    @classmethod
    def _tag_forms(cls, value: Any) -> Any:
        return _as_list(value)

    @model_validator(mode="after")
    def _sections_fit(self) -> Workload:
        training = [
            name for name in ("label", "features", "split", "candidates") if getattr(self, name)
        ]
        if self.model is not None and training:
            raise ValueError(
                f"`model` scores a model that exists: remove it, or remove {', '.join(training)}"
            )
        if self.model is None:
            missing = [name for name in ("label", "features", "split") if not getattr(self, name)]
            if missing:
                raise ValueError(
                    f"to train, add {', '.join(missing)}; to score a model that exists, add `model`"
                )
        dynamic = [name for name, context in self.context.items() if not context.static]
        if dynamic and self.source.prediction_time is None:
            raise ValueError(
                f"point-in-time joins ({', '.join(dynamic)}) need source.prediction_time"
            )
        outputs = [output for context in self.context.values() for output in context.outputs]
        doubled = sorted({name for name in outputs if outputs.count(name) > 1})
        if doubled:
            raise ValueError(f"two context outputs share a name: {', '.join(doubled)}")
        return self

    @property
    def trains(self) -> bool:
        return self.model is None


def _feature(item: Any) -> Any:
    if isinstance(item, str):
        return {"name": item, "expression": f"`{item}`"}
    if isinstance(item, dict) and "name" not in item and len(item) == 1:
        (name, body), *_ = item.items()
        if isinstance(body, str):
            return {"name": name, "expression": body}
        if isinstance(body, dict):
            return {"name": name, "expression": f"`{name}`", **body}
    return item


def _candidate(item: Any) -> Any:
    if isinstance(item, str):
        return {"name": item}
    if isinstance(item, dict) and "name" not in item and len(item) == 1:
        (name, parameters), *_ = item.items()
        return {"name": name, "parameters": parameters or {}}
    return item
