"""The workload: one model's life cycle, one YAML file.

Short forms (a column name for a label, a list for features, a word for a split) are normalised
here once, so that no other code sees them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from lakescore.config.base import (
    ColumnName,
    ConfigModel,
    Day,
    Duration,
    Identifier,
    SqlExpression,
    TableName,
    quoted,
)
from lakescore.matrix import Task

#: What lakescore itself writes beside each prediction.
LINEAGE_COLUMNS = (
    "_workload",
    "_model_version",
    "_run_id",
    "_commit_seq",
    "_source_version",
    "_scored_at",
)

_MODEL_URI = re.compile(r"models:/[^/@\s]+(@[^/@\s]+|/[0-9]+)")

Share = Annotated[float, Field(ge=0, le=1)]


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _names_to_pairs(value: Any) -> Any:
    """A name, or a list of names, joins or keeps each under its own name."""
    value = _as_list(value)
    return {name: name for name in value} if isinstance(value, list) else value


def _doubled(names: Iterable[str]) -> str:
    """The names that stand twice, as Spark compares them: without regard to case."""
    counts = Counter(name.lower() for name in names)
    return ", ".join(sorted(name for name, count in counts.items() if count > 1))


class QuarantineBounds(ConfigModel):
    """How many rows of one run may be refused before the run stops."""

    share: Share = Field(default=0.05, description="Of the rows read.")
    count: int | None = Field(default=None, ge=0, description="In rows; no bound when absent.")


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
    expectations: dict[str, SqlExpression] = Field(
        default={}, description="Name -> SQL; a row where it is not true is quarantined."
    )
    nan: Literal["missing", "quarantine"] = Field(
        default="missing", description="NaN and infinity: treat as missing, or refuse the row."
    )
    max_quarantined: QuarantineBounds = Field(
        default=QuarantineBounds(), description="A run that refuses more rows stops."
    )

    _key = field_validator("key", mode="before")(_as_list)

    @field_validator("key")
    @classmethod
    def _key_columns_differ(cls, key: tuple[str, ...]) -> tuple[str, ...]:
        if doubled := _doubled(key):
            raise ValueError(f"a column stands twice: {doubled}")
        return key


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

    _pairs = field_validator("on", "latest", mode="before")(_names_to_pairs)

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

    expression: SqlExpression = Field(description="Boolean or 0/1, or a number; may be null.")
    table: TableName | None = Field(default=None, description="Where it is, if not in the source.")
    on: dict[ColumnName, ColumnName] = Field(
        default={}, description="Source column -> column of `table`, or the name both share."
    )
    known_at: ColumnName | None = Field(
        default=None, description="Column of `table` that says when a label became known."
    )
    task: Task | None = Field(default=None, description="Inferred from the type when absent.")
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
            return {"expression": quoted(str(value["column"])), **rest}
        return value

    _on = field_validator("on", mode="before")(_names_to_pairs)

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
    parameters: dict[str, Any] = Field(default={}, description="See the candidate's own page.")


class Gate(ConfigModel):
    """What a challenger must show on the test split before it may be promoted."""

    metric: str | None = Field(default=None, description="Defaults to `select_by`.")
    confidence: float = Field(default=0.95, gt=0.5, lt=1, description="Of the intervals.")
    champion_margin: float = Field(
        default=0.005, ge=0, description="How much worse than the champion is still 'not worse'."
    )
    max_calibration_error: Share | None = Field(
        default=0.1, description="Expected calibration error, binary tasks only."
    )
    replicates: int = Field(default=200, ge=50, le=2000, description="Bootstrap replicates.")


class Predictions(ConfigModel):
    """Where scores go and what they are called."""

    table: TableName = Field(description="Made by the first run; several workloads may share it.")
    mode: Literal["append"] = Field(default="append", description="One score for each new row.")
    where: SqlExpression | None = Field(
        default=None, description="Only these source rows are scored; the rest are counted."
    )
    passthrough: tuple[ColumnName, ...] = Field(
        default=(), description="Source columns kept beside the key."
    )
    column: Identifier = Field(default="prediction", description="Probability, or value.")
    class_column: Identifier | None = Field(default=None, description="1 at or above threshold.")
    threshold: Share = Field(default=0.5, description="For `class_column`.")
    partition_by: tuple[ColumnName, ...] = Field(
        default=(), description="Must be among `passthrough`."
    )
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

    segments: tuple[ColumnName, ...] = Field(
        default=(), description="Source columns to break metrics down by."
    )

    _segments = field_validator("segments", mode="before")(_as_list)


def _feature_form(value: Any) -> str:
    return "all" if isinstance(value, str) else "list"


class Workload(ConfigModel):
    """One model's life cycle. With `model` it scores a model that exists; else it trains one."""

    name: Identifier = Field(description="The same as the file's.")
    description: str = Field(default="", description="One line for people.")
    tags: tuple[str, ...] = Field(default=(), description="For `--select tag:NAME`.")
    source: Source
    context: dict[Identifier, Context] = Field(
        default={}, description="Name -> table joined as of the prediction time."
    )
    features: (
        Annotated[
            Annotated[tuple[Feature, ...], Field(min_length=1), Tag("list")]
            | Annotated[Literal["all"], Tag("all")],
            Discriminator(_feature_form),
        ]
        | None
    ) = Field(
        default=None,
        description="Columns and `name: expression` pairs, or `all` columns of the source.",
    )
    label: Label | None = None
    split: Annotated[RandomSplit | TimeSplit, Field(discriminator="kind")] | None = Field(
        default=None, description="`random`, or by time."
    )
    candidates: tuple[CandidateSpec, ...] = Field(
        default=(), description="Algorithms to fit and choose from."
    )
    select_by: str | None = Field(default=None, description="Metric on the validation split.")
    gate: Gate = Gate()
    promotion: Literal["auto", "manual"] = Field(
        default="manual", description="`auto` runs the gate right after training."
    )
    seed: int = Field(default=7, ge=0, description="Of everything that is drawn by chance.")
    model: str | None = Field(
        default=None,
        description="models:/NAME@ALIAS, models:/NAME/VERSION, or a path to a model.",
    )
    trust: Literal["runs-code"] | None = Field(
        default=None, description="Allow a `model` that runs code when it is loaded."
    )
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
        if isinstance(value, str):
            return {"kind": value}
        if isinstance(value, dict) and "kind" not in value:
            by_time = TimeSplit.model_fields.keys() & value.keys()
            return {"kind": "time" if by_time else "random", **value}
        return value

    @field_validator("candidates", mode="before")
    @classmethod
    def _candidate_forms(cls, value: Any) -> Any:
        value = _as_list(value)
        return [_candidate(item) for item in value] if isinstance(value, (list, tuple)) else value

    _tags = field_validator("tags", mode="before")(_as_list)

    @field_validator("model")
    @classmethod
    def _model_is_named(cls, value: str | None) -> str | None:
        if value is not None and value.startswith("models:") and not _MODEL_URI.fullmatch(value):
            raise ValueError("must be models:/NAME@ALIAS, models:/NAME/VERSION, or a path")
        return value

    @model_validator(mode="after")
    def _trains_or_has_a_model(self) -> Workload:
        training = ("label", "features", "split", "candidates")
        if self.model is not None:
            present = [name for name in training if getattr(self, name)]
            if present:
                raise ValueError(
                    f"`model` scores a model that exists: remove it, or remove {', '.join(present)}"
                )
            return self
        if self.trust is not None:
            raise ValueError("`trust` is about a `model` that exists: remove it")
        missing = [name for name in training if not getattr(self, name)]
        if missing:
            raise ValueError(
                f"to train, add {', '.join(missing)}; to score a model that exists, add `model`"
            )
        return self

    @model_validator(mode="after")
    def _joins_have_a_time(self) -> Workload:
        dynamic = [name for name, context in self.context.items() if not context.static]
        if dynamic and self.source.prediction_time is None:
            raise ValueError(
                f"point-in-time joins ({', '.join(dynamic)}) need source.prediction_time"
            )
        return self

    @model_validator(mode="after")
    def _names_differ(self) -> Workload:
        outputs = [output for context in self.context.values() for output in context.outputs]
        if doubled := _doubled(outputs):
            raise ValueError(f"two context outputs share a name: {doubled}")
        features = self.features if isinstance(self.features, tuple) else ()
        if doubled := _doubled(feature.name for feature in features):
            raise ValueError(f"two features share a name: {doubled}")
        if doubled := _doubled(candidate.name for candidate in self.candidates):
            raise ValueError(f"a candidate stands twice: {doubled}")
        if self.predictions is not None:
            self._check_output_names(self.predictions)
        return self

    def _check_output_names(self, predictions: Predictions) -> None:
        kept = dict.fromkeys((*self.source.key, *predictions.passthrough))
        made = [name for name in (predictions.column, predictions.class_column) if name]
        if doubled := _doubled((*kept, *made)):
            raise ValueError(f"two columns of the predictions share a name: {doubled}")
        reserved = [name for name in (*kept, *made) if name.lower() in LINEAGE_COLUMNS]
        if reserved:
            raise ValueError(f"predictions keep {', '.join(reserved)} for lineage: rename it")

    @property
    def trains(self) -> bool:
        return self.model is None


def _feature(item: Any) -> Any:
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


def _candidate(item: Any) -> Any:
    if isinstance(item, str):
        return {"name": item}
    if isinstance(item, dict) and "name" not in item and len(item) == 1:
        (name, parameters), *_ = item.items()
        return {"name": name, "parameters": parameters or {}}
    return item
