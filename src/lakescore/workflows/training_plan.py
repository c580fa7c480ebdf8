"""What a training would read and fit, and by what: decided from pins and declarations alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lakescore.config.hashes import config_hash
from lakescore.errors import UsageError
from lakescore.hashing import json_sha256
from lakescore.workflows.as_of import on_day
from lakescore.workflows.candidates import BASELINE, checked_parameters
from lakescore.workflows.pins import Pins, pin_tables
from lakescore.workflows.training_data import declared_features

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from lakescore.config.settings import Settings
    from lakescore.config.workload import Workload
    from lakescore.models.base import Backend
    from lakescore.registry.model_version import ModelVersion
    from lakescore.registry.store import Registry

#: Of the JSON that `TrainingPlan.describe` gives.
FORMAT = 1
#: What of a workload decides which model comes out; with the pins, the identity of a training.
_TRAINS_ON = {"source", "context", "features", "label", "split", "candidates", "select_by", "seed"}
TRAINING_TAG = "lakescore_training"


@dataclass(frozen=True)
class TrainingPlan:
    """What `train` would do now.

    `rows` are those of the pinned source, of which the splits take some; `backends` has every
    candidate that would be fitted, the baseline included. `trained` is the version that these very
    pins gave before, if one did.
    """

    workload: Workload
    pins: Pins
    rows: int
    features: int
    backends: Mapping[str, Backend]
    trained: str | None

    def describe(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "format": FORMAT,
            "workload": self.workload.name,
            "pins": self.pins.describe(),
            "rows_at_most": self.rows,
            "features": self.features,
            "candidates": {
                name: {"backend": backend.name, "reason": backend.reason}
                for name, backend in self.backends.items()
            },
            "select_by": self.workload.select_by,
            "promotion": self.workload.promotion,
            "trained_as": self.trained,
            "nothing_to_do": self.trained is not None,
        }

    def lines(self) -> Iterator[str]:
        """The plan for people."""
        yield f"workload     {self.workload.name} (training)"
        yield (
            f"source       {self.pins.source}, at most {self.rows:,} rows, {self.features} features"
        )
        for entry in self.pins.describe():
            if entry["role"] != "source":
                yield f"reads        {entry['table']}@{entry['version']} ({entry['role']})"
        for name, backend in self.backends.items():
            told = f"{name}, the baseline" if name == BASELINE else name
            yield f"fits         {told}, by {backend.name}: {backend.reason}"
        if self.workload.promotion == "auto":
            yield "promotes     the best on validation, if it passes its gate"
        else:
            yield "registers    the best on validation; `lakescore promote` decides"
        if self.trained is not None:
            yield f"nothing to do: version {self.trained} was trained on these very pins"


def plan_training(spark: SparkSession, settings: Settings, workload: Workload) -> TrainingPlan:
    """The training that `train` would do now. Writes nothing, and reads metadata only.

    The rows of a source that is a view are counted by reading it. Raises what `train` raises
    before it reads a row.
    """
    from lakescore.models.catalogue import candidate
    from lakescore.registry.store import Registry

    refuse_untrainable(workload)
    declared, workload = workload, on_day(workload)
    parameters = checked_parameters(workload)
    pins = pin_training(spark, settings, workload)
    features = declared_features(workload, pins.source.schema)
    rows = pins.source.read(spark).count()
    cells = rows * (len(features) + 1)
    backends = {
        name: candidate(name).backend(declared_parameters, spark, cells)
        for name, declared_parameters in parameters.items()
    }
    trained = registered(Registry(settings.registry), workload, training_identity(declared, pins))
    return TrainingPlan(
        workload, pins, rows, len(features), backends, trained.version if trained else None
    )


def refuse_untrainable(workload: Workload) -> None:
    """Raises UsageError for a workload that scores a model which exists."""
    if not workload.trains:
        raise UsageError(
            f"workload '{workload.name}' scores a model that exists ({workload.model})",
            hint=f"lakescore score {workload.name}; to train, replace `model` by label, features "
            "and split",
        )


def pin_training(
    spark: SparkSession,
    settings: Settings,
    workload: Workload,
    versions: Mapping[str, int] | None = None,
) -> Pins:
    """Pin every table, and refuse leaks before anything is computed.

    `versions` (by table) pins tables elsewhere than at their newest version.
    """
    from lakescore.features.leak_guard import refuse_leaks, refuse_rows_known_late
    from lakescore.lake.tables import Lake

    lake = Lake(settings.lake)
    pins = pin_tables(
        spark, lake, workload.source, workload.context, workload.label, versions=versions
    )
    refuse_leaks(
        source=workload.source,
        contexts=workload.context,
        features=declared_features(workload, pins.source.schema),
        label=workload.label,
        scored_where=workload.predictions.where if workload.predictions else None,
    )
    refuse_rows_known_late(pins.source.read(spark), workload.source)
    return pins


def training_identity(workload: Workload, pins: Pins) -> str:
    """What decides the model: the declared training and the pinned versions, as one hash."""
    configuration = config_hash(workload, _TRAINS_ON)
    return json_sha256({"configuration": configuration, "pins": pins.describe()})


def registered(registry: Registry, workload: Workload, identity: str) -> ModelVersion | None:
    """The version that a training of this identity gave."""
    return registry.find_by_tag(registry.full_name(workload.name), TRAINING_TAG, identity)
