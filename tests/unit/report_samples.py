"""Sample reports for tests: shaped like real runs, every number made up."""

from __future__ import annotations

import math
from datetime import datetime, timezone

from lakescore.evaluation.report import (
    Calibration,
    CalibrationBin,
    CandidateRow,
    Confusion,
    Curve,
    Curves,
    DataQuality,
    FeatureImportance,
    FeatureQuality,
    GateCheck,
    GateDecision,
    Histogram,
    HistogramSeries,
    Importance,
    Intervals,
    Kind,
    Metric,
    MetricValue,
    Model,
    ModelComparison,
    Phase,
    Pin,
    QuarantineReason,
    Report,
    Run,
    ScoringOutcome,
    SegmentRow,
    SegmentTable,
    SplitRows,
    UnlabelledRows,
)
from lakescore.matrix import Task

AVERAGE_PRECISION = Metric(name="average_precision")
METRICS = (
    AVERAGE_PRECISION,
    Metric(name="roc_auc", label="ROC AUC"),
    Metric(name="log_loss", higher_is_better=False),
    Metric(name="brier", label="Brier score", higher_is_better=False),
)
BOOTSTRAP = Intervals(confidence=0.95, method="percentile bootstrap, 200 replicates")
STARTED = datetime(2026, 3, 2, 4, 15, 9, tzinfo=timezone.utc)
CARRIERS = [
    "UA",
    "B6",
    "EV",
    "DL",
    "AA",
    "MQ",
    "US",
    "9E",
    "WN",
    "VX",
    "FL",
    "AS",
    "F9",
    "YV",
    "HA",
]
FEATURES = {
    "origin_mean_dep_delay_1h": 412_000.0,
    "aircraft_latest_dep_delay": 398_500.0,
    "hour": 251_000.0,
    "carrier": 140_300.0,
    "origin_mean_dep_delay_3h": 121_000.0,
    "humidity": 80_400.0,
    "dest": 77_100.0,
    "pressure": 61_000.0,
    "visibility_at_the_origin_in_statute_miles_as_last_observed": 33_000.0,
    "distance": 24_000.0,
    "plane_age": 11_500.0,
    "seats": 6_400.0,
}


def values(*numbers: float, half: float = 0.008) -> tuple[MetricValue, ...]:
    """One value for each of METRICS, with symmetric intervals."""
    return tuple(
        MetricValue(metric=metric.name, value=value, low=value - half, high=value + half)
        for metric, value in zip(METRICS, numbers, strict=True)
    )


def curve(name: str, area: float, *, precision: float | None = None) -> Curve:
    """A smooth ROC curve of that area, or with `precision` a falling precision curve."""
    steps = [index / 100 for index in range(101)]
    if precision is None:
        power = (1 - area) / area
        return Curve(name=name, points=tuple((x, x**power) for x in steps), area=area)
    points = tuple((x, 0.2 + (precision - 0.2) * (1 - x) ** 1.6) for x in steps)
    return Curve(name=name, points=points, area=area)


def bell(middle: float, width: float, rows: int, bins: int = 30) -> tuple[int, ...]:
    weights = [math.exp(-(((i + 0.5) / bins - middle) ** 2) / width) for i in range(bins)]
    counts = [int(rows * weight / sum(weights)) for weight in weights]
    return (counts[0] + rows - sum(counts), *counts[1:])


def _comparison() -> ModelComparison:
    return ModelComparison(
        select_by="average_precision",
        metrics=METRICS,
        candidates=(
            CandidateRow(
                name="lightgbm",
                winner=True,
                backend="synapse",
                fit_seconds=14.2,
                validation=values(0.402, 0.704, 0.431, 0.136),
                test=values(0.384, 0.695, 0.447, 0.142),
            ),
            CandidateRow(
                name="random_forest",
                backend="mllib",
                fit_seconds=31.9,
                validation=values(0.371, 0.688, 0.442, 0.139),
                test=values(0.352, 0.679, 0.456, 0.145),
            ),
            CandidateRow(
                name="logistic_regression",
                backend="mllib",
                fit_seconds=5.4,
                validation=values(0.344, 0.671, 0.449, 0.141),
                test=values(0.331, 0.664, 0.461, 0.147),
            ),
            CandidateRow(
                name="prior",
                role="baseline",
                backend="native",
                fit_seconds=0.03,
                validation=values(0.198, 0.5, 0.498, 0.159),
                test=values(0.204, 0.5, 0.506, 0.162),
                note="predicts the share of positives of the training rows",
            ),
        ),
        validation_rows=28_618,
        test_rows=26_971,
    )


def _gate() -> GateDecision:
    return GateDecision(
        passed=True,
        summary="Registered as version 3 and made champion.",
        checks=(
            GateCheck(
                name="better than the baseline",
                passed=True,
                requirement="lower bound of the difference above 0",
                value=0.18,
                low=0.168,
                high=0.192,
                threshold=0.0,
                detail="average precision on the same test rows, paired",
            ),
            GateCheck(
                name="not worse than the champion",
                passed=None,
                requirement="difference above -0.005",
                detail="there is no champion yet",
            ),
            GateCheck(
                name="calibrated",
                passed=True,
                requirement="expected calibration error at most 0.1",
                value=0.0123,
                threshold=0.1,
            ),
            GateCheck(
                name="same scores after a reload",
                passed=True,
                requirement="largest difference at most 1e-9",
                value=0.0,
                threshold=1e-9,
            ),
        ),
    )


def _calibration() -> Calibration:
    bins = tuple(
        CalibrationBin(
            predicted=mean,
            observed=mean + 0.012 * math.sin(9 * mean),
            rows=rows,
            low=mean + 0.012 * math.sin(9 * mean) - 0.9 / math.sqrt(rows),
            high=mean + 0.012 * math.sin(9 * mean) + 0.9 / math.sqrt(rows),
        )
        for mean, rows in (
            (0.06, 4_102),
            (0.09, 5_931),
            (0.13, 5_204),
            (0.17, 3_809),
            (0.22, 2_907),
            (0.29, 2_011),
            (0.37, 1_402),
            (0.46, 880),
            (0.57, 503),
            (0.71, 222),
        )
    )
    return Calibration(model="lightgbm", split="test", rows=26_971, bins=bins, error=0.0123)


def _data() -> DataQuality:
    return DataQuality(
        read=308_641,
        valid=308_629,
        quarantined=12,
        reasons=(
            QuarantineReason(reason="duplicate key", rows=9),
            QuarantineReason(reason="expectation: distance_is_positive", rows=4),
        ),
        unlabelled=(
            UnlabelledRows(outcome="cancelled", rows=7_731),
            UnlabelledRows(outcome="diverted", rows=1_102),
        ),
        splits=(
            SplitRows(split="train", rows=244_207, label_mean=0.2421, period="to 2013-09-30"),
            SplitRows(split="validation", rows=28_618, label_mean=0.1983, period="October 2013"),
            SplitRows(split="test", rows=26_971, label_mean=0.2041, period="November 2013"),
        ),
        features=(
            *(
                FeatureQuality(
                    feature=name,
                    kind="numeric",
                    nulls=97 * index * index,
                    distinct=24 + 310 * index,
                    mean=3.2 * index + 0.4,
                    minimum=-12.0,
                    maximum=1_301.0 * (index + 1),
                )
                for index, name in enumerate(FEATURES)
                if name not in {"carrier", "dest"}
            ),
            FeatureQuality(feature="carrier", kind="categorical", nulls=0, distinct=16),
            FeatureQuality(feature="dest", kind="categorical", nulls=0, distinct=105),
        ),
        learned_from=244_207,
    )


def _segments() -> tuple[SegmentTable, ...]:
    tables = []
    for column, names in (("carrier", CARRIERS), ("origin", ["EWR", "LGA", "JFK"])):
        rows = []
        for index, name in enumerate(names):
            middle = 0.384 + 0.07 * math.sin(2.1 * index)
            half = 0.012 + 0.006 * index
            rows.append(
                SegmentRow(
                    value=name,
                    rows=5_100 // (index + 1),
                    actual=0.2 + 0.05 * math.sin(index),
                    predicted=0.2 + 0.045 * math.sin(index),
                    metric=MetricValue(
                        metric="average_precision",
                        value=middle,
                        low=middle - half,
                        high=middle + half,
                    ),
                )
            )
        tables.append(
            SegmentTable(
                column=column,
                rows=tuple(rows),
                split="test",
                metric=AVERAGE_PRECISION,
                overall=0.384,
                left_out=1 if column == "carrier" else 0,
            )
        )
    return tuple(tables)


def training_report() -> Report:
    """A promoted binary model with every section filled."""
    return Report(
        kind=Kind.TRAINING,
        workload="flight_delays",
        description="Will this flight arrive 15 or more minutes late? Predicted two hours before "
        "its scheduled departure.",
        summary="lightgbm was chosen from four candidates, passed the gate and is now champion.",
        status="PROMOTED",
        task=Task.BINARY,
        run=Run(
            run_id="sample-20260302T041509-7f3a",
            started=STARTED,
            seconds=92.4,
            code_version="0.1.0+g1f2e3d4",
            config_hash="sha256:9b1c0fd2a7e6488cb3",
            environment="local, Spark 3.5.9, Delta 3.3.3, Python 3.11",
            command="lakescore train flight_delays",
            next_commands=(
                "lakescore score flight_delays",
                "lakescore history flight_delays",
                "lakescore rollback flight_delays",
            ),
        ),
        model=Model(
            name="flight_delays",
            version="3",
            alias="champion",
            algorithm="lightgbm",
            backend="synapse",
            model_hash="5c1f9a77d0d14e6fa0be",
            preprocessor_hash="e2ab10cc93f84f11b6a7",
        ),
        pins=(
            Pin(
                table="bronze.schedule",
                version=1,
                table_id="4f5c2b1e-9d7a",
                rows=308_641,
                role="source",
            ),
            Pin(
                table="bronze.arrivals",
                version=1,
                table_id="0a1b2c3d-aaaa",
                rows=300_800,
                role="label",
            ),
            Pin(
                table="bronze.departures",
                version=1,
                table_id="77aa12bc-bbbb",
                rows=301_112,
                role="context",
            ),
            Pin(
                table="bronze.weather",
                version=1,
                table_id="88bb23cd-cccc",
                rows=23_901,
                role="context",
            ),
            Pin(
                table="bronze.planes",
                version=0,
                table_id="99cc34de-dddd",
                rows=3_322,
                role="lookup",
            ),
        ),
        data=_data(),
        intervals=BOOTSTRAP,
        comparison=_comparison(),
        gate=_gate(),
        curves=Curves(
            split="test",
            rows=26_971,
            positives=5_505,
            roc=(
                curve("lightgbm", 0.695),
                curve("random_forest", 0.679),
                curve("logistic_regression", 0.664),
                curve("prior", 0.5),
            ),
            precision_recall=(
                curve("lightgbm", 0.384, precision=0.82),
                curve("random_forest", 0.352, precision=0.72),
                curve("logistic_regression", 0.331, precision=0.66),
                curve("prior", 0.204, precision=0.2),
            ),
        ),
        calibration=_calibration(),
        scores=Histogram(
            edges=tuple(index / 30 for index in range(31)),
            series=(
                HistogramSeries(name="on time", counts=bell(0.14, 0.012, 21_466)),
                HistogramSeries(name="15 or more minutes late", counts=bell(0.27, 0.035, 5_505)),
            ),
            split="test",
            marker=0.5,
            marker_label="threshold",
        ),
        segments=_segments(),
        importance=Importance(
            model="lightgbm",
            method="total gain of the splits that use the feature",
            features=tuple(FeatureImportance(feature=n, value=v) for n, v in FEATURES.items()),
        ),
        timings=(
            Phase(name="start Spark", seconds=5.1),
            Phase(name="pin and check tables", seconds=3.4),
            Phase(name="compute features", seconds=21.7),
            Phase(name="fit candidates", seconds=51.5),
            Phase(name="evaluate", seconds=8.2),
            Phase(name="register and promote", seconds=2.31),
        ),
        reproduce=("lakescore train flight_delays --pins runs/sample/result.json",),
    )


def regression_report() -> Report:
    """A numeric target that did not pass its gate."""
    metrics = (
        Metric(name="rmse", label="RMSE", higher_is_better=False, unit="minutes"),
        Metric(name="mae", label="MAE", higher_is_better=False, unit="minutes"),
        Metric(name="r2", label="R²"),
    )

    def row(name: str, numbers: tuple[float, ...], *, winner: bool = False) -> CandidateRow:
        scored = tuple(
            MetricValue(metric=m.name, value=v, low=v * 0.97, high=v * 1.03)
            for m, v in zip(metrics, numbers, strict=True)
        )
        return CandidateRow(name=name, winner=winner, validation=scored, test=scored)

    bins = tuple(
        CalibrationBin(predicted=p, observed=p * 0.9 + 1, rows=n, low=p * 0.9 - 2, high=p * 0.9 + 4)
        for p, n in ((-14.0, 3_000), (-6.0, 6_000), (2.0, 9_000), (12.0, 5_000), (41.0, 900))
    )
    return Report(
        kind=Kind.TRAINING,
        workload="arrival_delay_minutes",
        description="How many minutes late will this flight arrive?",
        status="NOT_PROMOTED",
        task=Task.REGRESSION,
        run=Run(run_id="sample-r", started=STARTED, seconds=61.0),
        notes=("SynapseML cannot load here: LightGBM was trained by its single-process backend.",),
        intervals=BOOTSTRAP,
        comparison=ModelComparison(
            select_by="rmse",
            metrics=metrics,
            candidates=(
                row("lightgbm", (38.1, 21.7, 0.14), winner=True),
                row("prior", (41.3, 24.9, 0.0)),
            ),
        ),
        gate=GateDecision(
            passed=False,
            checks=(
                GateCheck(
                    name="not worse than the champion",
                    passed=False,
                    requirement="difference below 0.005",
                    value=0.42,
                    low=0.1,
                    high=0.74,
                ),
            ),
        ),
        calibration=Calibration(
            model="lightgbm", split="test", rows=23_900, bins=bins, unit="minutes"
        ),
        residuals=Histogram(
            edges=tuple(float(edge) for edge in range(-150, 151, 10)),
            series=(HistogramSeries(name="all rows", counts=bell(0.45, 0.01, 23_900)),),
            split="test",
            unit="minutes",
        ),
    )


def multiclass_report() -> Report:
    """Three classes, of which one has a long name and one no row of its own."""
    metrics = (
        Metric(name="log_loss", higher_is_better=False),
        Metric(name="accuracy"),
        Metric(name="balanced_accuracy"),
    )

    def row(name: str, numbers: tuple[float, ...], *, winner: bool = False) -> CandidateRow:
        scored = tuple(
            MetricValue(metric=m.name, value=v, low=v * 0.99, high=v * 1.01)
            for m, v in zip(metrics, numbers, strict=True)
        )
        return CandidateRow(name=name, winner=winner, validation=scored, test=scored)

    return Report(
        kind=Kind.TRAINING,
        workload="flight_outcome",
        description="How will this flight end?",
        status="PROMOTED",
        task=Task.MULTICLASS,
        run=Run(run_id="sample-m", started=STARTED, seconds=44.0),
        intervals=BOOTSTRAP,
        comparison=ModelComparison(
            select_by="log_loss",
            metrics=metrics,
            candidates=(
                row("lightgbm", (0.61, 0.79, 0.41), winner=True),
                row("prior", (0.70, 0.78, 0.25)),
            ),
        ),
        confusion=Confusion(
            model="lightgbm",
            split="test",
            classes=("on time", "late", "cancelled or diverted to another airport", "unknown"),
            rows=((17_500, 900, 3, 0), (3_800, 2_900, 11, 0), (310, 120, 40, 0), (0, 0, 0, 0)),
        ),
        calibration=_calibration(),
        scores=Histogram(
            edges=tuple(step / 30 for step in range(31)),
            series=(
                HistogramSeries(name="wrong", counts=bell(0.5, 0.02, 5_100)),
                HistogramSeries(name="right", counts=bell(0.8, 0.02, 20_400)),
            ),
            split="test",
        ),
        segments=_segments(),
    )


def scoring_report() -> Report:
    """A scoring run with a source range and a few refused rows."""
    return Report(
        kind=Kind.SCORING,
        workload="flight_delays",
        description="Will this flight arrive 15 or more minutes late?",
        summary="One day landed and was scored.",
        status="DONE",
        task=Task.BINARY,
        run=Run(
            run_id="sample-score-0004",
            started=STARTED,
            seconds=6.84,
            code_version="0.1.0",
            command="lakescore score flight_delays",
            next_commands=("lakescore status flight_delays",),
        ),
        model=Model(name="flight_delays", version="3", alias="champion"),
        scoring=ScoringOutcome(
            read=896,
            predicted=893,
            quarantined=3,
            predictions_table="gold.flight_delays_predictions",
            quarantine_table="gold.flight_delays_predictions_quarantine",
            mode="append",
            commit_seq=4,
            generation=0,
            source_after_version=3,
            source_version=4,
        ),
        pins=(
            Pin(table="bronze.schedule", version=4, after_version=3, rows=896, role="source"),
            Pin(table="bronze.weather", version=4, role="context"),
        ),
        data=DataQuality(
            read=896,
            valid=893,
            quarantined=3,
            reasons=(QuarantineReason(reason="null key", rows=3),),
        ),
        scores=Histogram(
            edges=tuple(index / 20 for index in range(21)),
            series=(HistogramSeries(name="rows", counts=bell(0.2, 0.03, 893, bins=20)),),
        ),
        timings=(Phase(name="plan", seconds=1.2), Phase(name="score and commit", seconds=4.9)),
    )


def bare_report() -> Report:
    """The least that a report can say."""
    return Report(
        kind=Kind.SCORING,
        workload="churn",
        status="ALREADY_DONE",
        run=Run(run_id="sample-bare", started=STARTED, seconds=0.4),
    )


REPORTS = {
    "training": training_report,
    "regression": regression_report,
    "multiclass": multiclass_report,
    "scoring": scoring_report,
    "bare": bare_report,
}
