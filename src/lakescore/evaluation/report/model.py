"""The report of one run as a document: plain values, versioned, the same as JSON and as HTML.

Every part beside the heading is optional. A part that a run has nothing to say about is left
out of the page; it is never shown as an empty box. A number that is not finite counts as absent.
"""

from __future__ import annotations

import math
import re
from enum import Enum
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeInt,
    model_validator,
)

from lakescore.matrix import Task

# Control characters are not allowed in XML, and direction overrides can disguise a value.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def _printable(value: Any) -> Any:
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", value) if isinstance(value, str) else value


def _finite_or_none(value: Any) -> Any:
    return None if value is None or not math.isfinite(value) else float(value)


def _finite_points(value: Any) -> Any:
    return tuple(point for point in value if all(map(math.isfinite, point)))


Text = Annotated[str, BeforeValidator(_printable)]
#: A number that may be missing: None, or finite. NaN and infinity become None.
Number = Annotated[float | None, BeforeValidator(_finite_or_none)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Point = tuple[float, float]


class Part(BaseModel):
    """What every part of the document shares: frozen, and no unknown fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Kind(str, Enum):
    """Which run a report is about."""

    TRAINING = "training"
    SCORING = "scoring"


class Run(Part):
    """What ran. `next_commands` are what a reader would type next."""

    run_id: Text
    started: AwareDatetime
    seconds: Seconds
    code_version: Text = ""
    config_hash: Text = ""
    environment: Text = ""
    command: Text = ""
    next_commands: tuple[Text, ...] = ()


class Model(Part):
    """The model that the run made or used."""

    name: Text
    version: Text = ""
    alias: Text = ""
    algorithm: Text = ""
    backend: Text = ""
    model_hash: Text = ""
    preprocessor_hash: Text = ""


class Pin(Part):
    """A table version that the run read. `after_version` opens a range: only newer commits."""

    table: Text
    version: NonNegativeInt
    table_id: Text = ""
    after_version: NonNegativeInt | None = None
    rows: NonNegativeInt | None = None
    role: Text = Field(default="", description="source, context, label …")


class QuarantineReason(Part):
    """Rows refused for one reason. A row may have several reasons."""

    reason: Text
    rows: NonNegativeInt


class UnlabelledRows(Part):
    """Rows without a label, by what became of them (`cancelled`, `diverted`, `not yet known`)."""

    outcome: Text
    rows: NonNegativeInt


class SplitRows(Part):
    """One part of the training snapshot; `label_mean` is the positive share of a binary label."""

    split: Text
    rows: NonNegativeInt
    label_mean: Number = None
    period: Text = ""


class FeatureQuality(Part):
    """One feature in the train split; `distinct` of categorical ones, the numbers of the others."""

    feature: Text
    kind: Text = Field(default="", description="numeric, categorical …")
    nulls: NonNegativeInt | None = Field(default=None, description="NaN and infinities as well.")
    distinct: NonNegativeInt | None = None
    mean: Number = None
    minimum: Number = None
    maximum: Number = None


class DataQuality(Part):
    """read = valid + quarantined. `features` tells of `learned_from` rows: the train split."""

    read: NonNegativeInt
    valid: NonNegativeInt
    quarantined: NonNegativeInt
    reasons: tuple[QuarantineReason, ...] = ()
    unlabelled: tuple[UnlabelledRows, ...] = ()
    splits: tuple[SplitRows, ...] = ()
    features: tuple[FeatureQuality, ...] = ()
    learned_from: NonNegativeInt | None = None


class Intervals(Part):
    """How every `low` and `high` of the document was made."""

    confidence: float = Field(default=0.95, gt=0, lt=1)
    method: Text = Field(default="", description="such as 'percentile bootstrap, 200 replicates'")


class Metric(Part):
    """How a metric is called and read."""

    name: Text
    label: Text = ""
    higher_is_better: bool = True
    unit: Text = ""


class MetricValue(Part):
    """A metric and its interval, in the metric's unit."""

    metric: Text
    value: Number
    low: Number = None
    high: Number = None


class CandidateRow(Part):
    """One candidate, or the current champion on the same rows. Splits not scored stay empty."""

    name: Text
    role: Literal["candidate", "baseline", "champion"] = "candidate"
    winner: bool = False
    backend: Text = ""
    fit_seconds: Number = None
    validation: tuple[MetricValue, ...] = ()
    test: tuple[MetricValue, ...] = ()
    note: Text = ""


class ModelComparison(Part):
    """Candidates by metrics, in the order of `metrics`; `select_by` chose the winner."""

    select_by: Text
    metrics: tuple[Metric, ...]
    candidates: tuple[CandidateRow, ...]
    validation_rows: NonNegativeInt | None = None
    test_rows: NonNegativeInt | None = None


class GateCheck(Part):
    """One check of the gate. `passed` is None where it did not apply (no champion yet)."""

    name: Text
    passed: bool | None
    requirement: Text = Field(default="", description="such as 'lower bound above 0'")
    value: Number = None
    low: Number = None
    high: Number = None
    threshold: Number = None
    detail: Text = ""


class GateDecision(Part):
    """Whether the challenger may be promoted, and every check behind it."""

    passed: bool
    checks: tuple[GateCheck, ...]
    summary: Text = ""


class Curve(Part):
    """Points (x, y) in drawing order; `area` is the number that goes with the curve."""

    name: Text
    points: Annotated[tuple[Point, ...], BeforeValidator(_finite_points)]
    area: Number = None


class Curves(Part):
    """ROC points are (false, true positive rate); the others are (recall, precision)."""

    split: Text
    rows: NonNegativeInt
    positives: NonNegativeInt
    roc: tuple[Curve, ...] = ()
    precision_recall: tuple[Curve, ...] = ()


class CalibrationBin(Part):
    """Mean prediction and mean outcome of one bin of rows, with the outcome's interval."""

    predicted: Finite
    observed: Finite
    rows: NonNegativeInt
    low: Number = None
    high: Number = None


class Calibration(Part):
    """Predicted against actual. Binary: probability and share; regression: values in `unit`.

    Of several classes: the probability of the one that is said, and how often it is the right one.
    """

    model: Text
    split: Text
    rows: NonNegativeInt
    bins: tuple[CalibrationBin, ...]
    error: Number = Field(default=None, description="Expected calibration error, of classes.")
    unit: Text = ""


class Confusion(Part):
    """rows[i][j] are the rows of class i that `model` says are of class j."""

    model: Text
    split: Text
    classes: tuple[Text, ...]
    rows: tuple[tuple[NonNegativeInt, ...], ...]

    @model_validator(mode="after")
    def _is_square(self) -> Confusion:
        sizes = {len(self.classes), len(self.rows), *map(len, self.rows)}
        if len(sizes) > 1:
            raise ValueError("the table needs one row and one column a class")
        return self


class HistogramSeries(Part):
    """Rows per bin of one group, such as a class of the label."""

    name: Text
    counts: tuple[NonNegativeInt, ...]


class Histogram(Part):
    """`edges` are one more than the counts of each series, ascending."""

    edges: tuple[Finite, ...] = Field(min_length=2)
    series: tuple[HistogramSeries, ...] = Field(min_length=1)
    split: Text = ""
    unit: Text = ""
    marker: Number = Field(default=None, description="A line to draw, such as the threshold.")
    marker_label: Text = ""

    @model_validator(mode="after")
    def _counts_fit_edges(self) -> Histogram:
        if any(low >= high for low, high in pairwise(self.edges)):
            raise ValueError("edges must ascend")
        if any(len(series.counts) != len(self.edges) - 1 for series in self.series):
            raise ValueError("each series needs one count between two edges")
        return self


class SegmentRow(Part):
    """The model on the rows that share one value of a column."""

    value: Text
    rows: NonNegativeInt
    actual: Number = Field(
        default=None, description="Mean outcome; of several classes the share that is right."
    )
    predicted: Number = Field(
        default=None, description="Mean prediction; of several classes the mean probability."
    )
    metric: MetricValue | None = None


class SegmentTable(Part):
    """Segments of one column. `overall` is the metric on all rows; `left_out` counts values."""

    column: Text
    rows: tuple[SegmentRow, ...]
    split: Text = ""
    metric: Metric | None = None
    overall: Number = None
    left_out: NonNegativeInt = 0


class FeatureImportance(Part):
    """How much one feature matters, on the scale that the method gives."""

    feature: Text
    value: Number


class Importance(Part):
    """Importances of one model; `method` says what the numbers are."""

    model: Text
    method: Text
    features: tuple[FeatureImportance, ...]


class ScoringOutcome(Part):
    """What a scoring run committed: read = predicted + quarantined + deleted."""

    read: NonNegativeInt
    predicted: NonNegativeInt
    quarantined: NonNegativeInt
    deleted: NonNegativeInt = 0
    filtered: NonNegativeInt = Field(default=0, description="Rows that `where` leaves unscored.")
    predictions_table: Text
    quarantine_table: Text = ""
    mode: Text = ""
    commit_seq: NonNegativeInt | None = None
    generation: NonNegativeInt | None = None
    source_after_version: NonNegativeInt | None = None
    source_version: NonNegativeInt | None = None


class Phase(Part):
    """One phase of the run."""

    name: Text
    seconds: Seconds


class Report(Part):
    """Everything that one run's report says. JSON is `model_dump_json`; see `render_html`."""

    format: Literal[1] = 1
    kind: Kind
    workload: Text
    status: Text = Field(description="PROMOTED, NOT_PROMOTED, DONE, ALREADY_DONE …")
    run: Run
    description: Text = Field(default="", description="What the workload predicts.")
    summary: Text = Field(default="", description="The run's outcome in a sentence.")
    notes: tuple[Text, ...] = Field(default=(), description="What a reader should know first.")
    task: Task | None = None
    model: Model | None = None
    scoring: ScoringOutcome | None = None
    pins: tuple[Pin, ...] = ()
    data: DataQuality | None = None
    intervals: Intervals | None = None
    comparison: ModelComparison | None = None
    gate: GateDecision | None = None
    curves: Curves | None = None
    confusion: Confusion | None = None
    calibration: Calibration | None = None
    residuals: Histogram | None = None
    scores: Histogram | None = None
    segments: tuple[SegmentTable, ...] = ()
    importance: Importance | None = None
    timings: tuple[Phase, ...] = ()
    reproduce: tuple[Text, ...] = Field(default=(), description="Commands that replay the run.")


def report_schema() -> dict[str, Any]:
    """The JSON schema of a report file, as other programs read it."""
    return Report.model_json_schema(mode="serialization")
