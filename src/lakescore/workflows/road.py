"""By which road the rows of a step come to the model: read by Spark, or by the tasks themselves.

Both give the same rows. The direct road is several times faster, and open where scoring a row
needs its columns alone: no joins, no expressions, no rows to leave out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lakescore.config.conditions import Condition, plain_conditions
from lakescore.config.expressions import bare_column
from lakescore.features.names import feature_column
from lakescore.registry.foreign import Runner
from lakescore.registry.foreign_mllib import NUMBERS, portable_pipeline

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lakescore.config.settings import Settings
    from lakescore.config.workload import Feature
    from lakescore.scoring.package import ModelPackage
    from lakescore.workflows.plan import ScoringPlan
    from lakescore.workflows.steps import Step

_WHOLE = ("tinyint", "smallint", "int", "bigint")
_KEYS = (*_WHOLE, "boolean", "string", "date")
_KEPT = (*NUMBERS, "string", "date", "timestamp", "binary")


@dataclass(frozen=True)
class Road:
    """`inputs` maps what the model calls its inputs to columns; None on the general road.

    `because` says for people why the direct road is closed.
    """

    inputs: Mapping[str, str] | None
    because: str | None = None

    @property
    def name(self) -> str:
        return "general" if self.inputs is None else "direct"

    def __str__(self) -> str:
        if self.inputs is not None:
            return "direct: the tasks read the source's files themselves"
        return "general: Spark reads the rows" + (f", for {self.because}" if self.because else "")


GENERAL = Road(None)


def road_of(settings: Settings, plan: ScoringPlan, step: Step) -> Road:
    """The road of a step; told from schemas and declarations, without a look at rows or files."""
    for obstacle in _obstacles(settings, plan, step):
        return Road(None, obstacle)
    inputs = _inputs(plan)
    return Road(inputs) if not isinstance(inputs, str) else Road(None, inputs)


def _obstacles(settings: Settings, plan: ScoringPlan, step: Step) -> Iterator[str]:
    yield from _by_rows(settings, plan, step)
    yield from _by_contract(plan)
    yield from _by_table(settings, plan)
    if step.files is not None and not step.files.are_plain(plan.pins.source):
        yield "data files lie outside of the table's folder"


def _by_rows(settings: Settings, plan: ScoringPlan, step: Step) -> Iterator[str]:
    if settings.scoring.road == "general":
        yield "scoring.road says so"
    if step.reads == "changed":
        yield "changes are followed by key"
    if step.reads == "refused" or step.rows_where is not None:
        yield "it reads some of the source's rows"
    if step.reads == "appended" and plan.changes is not None and not plan.changes.are_files:
        yield f"new rows are told by {plan.changes.read_by}"
    if plan.predictions.where is not None:
        yield "predictions.where leaves rows out"


def _by_contract(plan: ScoringPlan) -> Iterator[str]:
    source = plan.workload.source
    types = _types(plan)
    for name, text in source.expectations.items():
        conditions = plain_conditions(text)
        if conditions is None or not all(_fits(one, types) for one in conditions):
            yield f"expectation '{name}' is more than plain comparisons with constants"
    if source.unique_within is not None:
        yield "the contract has unique_within"
    if source.prediction_time is not None:
        yield "the source has a prediction_time"
    if plan.model.contexts(plan.workload):
        yield "the model joins contexts"


def _by_table(settings: Settings, plan: ScoringPlan) -> Iterator[str]:
    from lakescore.lake.tables import local_folder
    from lakescore.lake.views import ViewSnapshot

    source = plan.pins.source
    if isinstance(source, ViewSnapshot):
        yield f"{source.table.name} is a view"
    if source.detail.reader_version > 1:
        yield f"the table's reader version is {source.detail.reader_version}"
    if source.detail.partition_columns:
        yield "the table is partitioned"
    for what, place in (("table", source.detail.location), ("staging", settings.staging)):
        if local_folder(place) is None:
            yield f"the {what} is not on a local file system"
    types = _types(plan)
    for name in plan.workload.source.key:
        if _unlike(types, name, _KEYS):
            yield f"the key column {name} is {types[name.lower()]}"
    for name in (*plan.predictions.passthrough, *plan.workload.source.required):
        if _unlike(types, name, _KEPT) and not types[name.lower()].startswith("decimal"):
            yield f"the column {name} is {types[name.lower()]}"


def _inputs(plan: ScoringPlan) -> Mapping[str, str] | str:
    """What the model calls its inputs -> column; or why these are not columns of the source."""
    if plan.model.package is not None:
        return _inputs_of_package(plan, plan.model.package)
    opened, types = plan.model.opened, _types(plan)
    if opened.runner is Runner.SPARK:
        pipeline = portable_pipeline(opened, types)
        names = None if pipeline is None else pipeline.inputs
    else:
        names = opened.signed_inputs() if opened.runner is Runner.LIGHTGBM else None
    if names is None:
        return f"the model is scored by {opened.runner.value}"
    for name in names:
        if _unlike(types, name, NUMBERS):
            return f"the input {name} is {types.get(name.lower(), 'not a column')}"
    return {name: name for name in names}


def _inputs_of_package(plan: ScoringPlan, package: ModelPackage) -> Mapping[str, str] | str:
    types, inputs = _types(plan), {}
    for feature in package.features:
        column = bare_column(feature.expression)
        if column is None:
            return f"feature '{feature.name}' is an expression: {feature.expression}"
        if _unlike(types, column, _fitting(package, feature)):
            return f"feature '{feature.name}' is {types.get(column.lower(), 'not a column')}"
        inputs[feature_column(feature.name)] = column
    return inputs


def _fitting(package: ModelPackage, feature: Feature) -> tuple[str, ...]:
    """The column types that the encoding stage takes as the SQL stage would give them."""
    if package.signature[feature.name] == "string":
        return (*_WHOLE, "boolean", "string")
    return NUMBERS


def _fits(one: Condition, types: Mapping[str, str]) -> bool:
    return one.fits(types.get(one.column.lower(), "")) and not _unlike(types, one.column, _KEPT)


def _types(plan: ScoringPlan) -> dict[str, str]:
    """Spark pads what it reads of a char(n), which is a string in the files."""
    padded = "__CHAR_VARCHAR_TYPE_STRING"
    return {
        one.name.lower(): str(one.metadata[padded])
        if str(one.metadata.get(padded, "")).startswith("char")
        else one.dataType.simpleString()
        for one in plan.pins.source.schema
    }


def _unlike(types: Mapping[str, str], name: str, wanted: tuple[str, ...]) -> bool:
    return types.get(name.lower()) not in wanted
