"""The workload: one model's life cycle, one YAML file.

Short forms (a column name for a label, a list for features, a word for a split) are normalised
here once, so that no other code sees them.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import (
    Discriminator,
    Field,
    Tag,
    ValidationInfo,
    field_validator,
    model_validator,
)

from lakescore.config.base import ColumnName, ConfigModel, Identifier
from lakescore.config.forms import as_list, doubled_names
from lakescore.config.job import JobSpec
from lakescore.config.predictions import AS_OF, LINEAGE_COLUMNS, WITHDRAWN, Predictions
from lakescore.config.rows import (
    Aggregate,
    ColumnContract,
    Context,
    Freshness,
    QuarantineBounds,
    Source,
)
from lakescore.config.training import (
    CandidateSpec,
    Feature,
    Gate,
    Label,
    RandomSplit,
    TimeSplit,
    candidate_form,
    feature_form,
)

__all__ = [
    "LINEAGE_COLUMNS",
    "Aggregate",
    "CandidateSpec",
    "ColumnContract",
    "Context",
    "Feature",
    "Freshness",
    "Gate",
    "Label",
    "Predictions",
    "QuarantineBounds",
    "RandomSplit",
    "ReportOptions",
    "Source",
    "TimeSplit",
    "Workload",
]

_MODEL_URI = re.compile(r"models:/[^/@\s]+(@[^/@\s]+|/[0-9]+)")


class ReportOptions(ConfigModel):
    """What the report shows beyond the standard parts."""

    segments: tuple[ColumnName, ...] = Field(
        default=(), description="Source columns to break metrics down by."
    )

    _segments = field_validator("segments", mode="before")(as_list)


def _features_tag(value: Any) -> str:
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
            Discriminator(_features_tag),
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
    select_by: str | None = Field(
        default=None,
        description="Metric on the validation split, of docs/reference/candidates.md.",
    )
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
    job: JobSpec = Field(
        default=JobSpec(), description="Over the environment's `job_defaults`, for this workload."
    )

    @field_validator("features", mode="before")
    @classmethod
    def _features_tags(cls, value: Any) -> Any:
        """A list of columns and ``name: expression`` pairs, or one mapping of such pairs."""
        if isinstance(value, dict):
            value = [{name: item} for name, item in value.items()]
        if not isinstance(value, (list, tuple)):
            return value
        return [feature_form(item) for item in value]

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
        value = as_list(value)
        return (
            [candidate_form(item) for item in value] if isinstance(value, (list, tuple)) else value
        )

    _tags = field_validator("tags", mode="before")(as_list)

    @field_validator("model")
    @classmethod
    def _model_is_named(cls, value: str | None) -> str | None:
        if value is not None and value.startswith("models:") and not _MODEL_URI.fullmatch(value):
            raise ValueError("must be models:/NAME@ALIAS, models:/NAME/VERSION, or a path")
        return value

    @field_validator("predictions")
    @classmethod
    def _horizon_fits_the_mode(
        cls, value: Predictions | None, info: ValidationInfo
    ) -> Predictions | None:
        source = info.data.get("source")
        if value is None or source is None or source.unique_within is None:
            return value
        if value.mode != "append":
            kept = "one a day" if value.mode == "snapshot" else "one"
            raise ValueError(
                f"source.unique_within has no meaning in mode {value.mode}, which keeps {kept} "
                "for each key: remove it, or score in mode append"
            )
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
        if doubled := doubled_names(outputs):
            raise ValueError(f"two context outputs share a name: {doubled}")
        features = self.features if isinstance(self.features, tuple) else ()
        if doubled := doubled_names(feature.name for feature in features):
            raise ValueError(f"two features share a name: {doubled}")
        if doubled := doubled_names(candidate.name for candidate in self.candidates):
            raise ValueError(f"a candidate stands twice: {doubled}")
        if self.predictions is not None:
            self._check_output_names(self.predictions)
        return self

    def _check_output_names(self, predictions: Predictions) -> None:
        kept = dict.fromkeys((*self.source.key, *predictions.passthrough))
        made = predictions.columns
        if doubled := doubled_names((*kept, *made)):
            raise ValueError(f"two columns of the predictions share a name: {doubled}")
        own = (*LINEAGE_COLUMNS, AS_OF, WITHDRAWN)
        reserved = [name for name in (*kept, *made) if name.lower() in own]
        if reserved:
            raise ValueError(f"predictions keep {', '.join(reserved)} for lineage: rename it")
        masked = {name.lower() for name in predictions.quarantine_mask}
        if shown := [name for name in self.source.key if name.lower() in masked]:
            raise ValueError(
                f"refused rows are found again by their key: remove {', '.join(shown)} from "
                "quarantine_mask"
            )
        by = predictions.backfill_by
        if by is not None and by not in kept:
            raise ValueError(f"backfill_by needs '{by}' in passthrough (or in the key)")

    @property
    def trains(self) -> bool:
        return self.model is None
