"""What the page shows beyond the document's own values: parts present, headline, sentences."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

from lakescore.evaluation.report.axis import Scale, tick_texts
from lakescore.evaluation.report.intervals_chart import interval_scale, metric_title
from lakescore.evaluation.report.model import (
    CandidateRow,
    Histogram,
    Kind,
    Metric,
    MetricValue,
    ModelComparison,
    Report,
    SegmentTable,
)
from lakescore.evaluation.report.number_format import (
    ABSENT,
    count,
    duration,
    figure,
    interval,
    score,
    words,
)
from lakescore.matrix import Task

_TONES = {
    "PROMOTED": "good",
    "DONE": "good",
    "NOT_PROMOTED": "warn",
    "FAILED": "bad",
    "ERROR": "bad",
}
_SIGNS = {"good": "✓", "warn": "!", "bad": "✕", "calm": "\N{EN DASH}"}
#: Metrics beside the selecting one that the heading has room for.
_MORE_METRICS = 1
_BANDS = 10


@dataclass(frozen=True)
class Section:
    """One part of the page: its anchor, which is its template's name too, and its heading."""

    name: str
    title: str


@dataclass(frozen=True)
class Badge:
    """A status with a sign and a tone, so that colour never says it alone."""

    text: str
    tone: str
    sign: str


@dataclass(frozen=True)
class Tile:
    """One number of the heading."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Band:
    """Neighbouring bins of a histogram taken together; `rows` has one count for each series."""

    text: str
    rows: tuple[int, ...]


def sections(report: Report) -> tuple[Section, ...]:
    """The parts that this report has something to say about, in reading order."""
    regression = report.task is Task.REGRESSION
    calibration = "Predicted and actual" if regression else "Calibration"
    curves = report.curves
    candidates = (
        ("run", "What ran", True),
        ("scoring", "What was scored", report.scoring),
        ("gate", "Gate decision", report.gate),
        ("comparison", "Model comparison", report.comparison and report.comparison.candidates),
        ("curves", "ROC and precision-recall", curves and (curves.roc or curves.precision_recall)),
        ("confusion", "Classes taken for each other", report.confusion),
        ("calibration", calibration, report.calibration and report.calibration.bins),
        ("residuals", "Residuals", report.residuals),
        ("scores", "Score distribution", report.scores),
        ("segments", "Segments", any(table.rows for table in report.segments)),
        ("importance", "Feature importance", report.importance and report.importance.features),
        ("data", "Data quality", report.data),
        ("tables", "Table versions", report.pins),
        ("timings", "Timings", report.timings),
        ("reproduce", "Reproduce this run", report.reproduce),
    )
    return tuple(Section(name, title) for name, title, content in candidates if content)


def badge(status: str) -> Badge:
    """NOT_PROMOTED -> 'Not promoted', amber, with a sign. An unknown status is neutral."""
    tone = _TONES.get(status.upper(), "calm")
    return Badge(words(status).capitalize(), tone, _SIGNS[tone])


def tiles(report: Report) -> tuple[Tile, ...]:
    """The few numbers that most readers came for."""
    specific = _scoring_tiles(report) if report.kind is Kind.SCORING else _training_tiles(report)
    return (*specific, Tile("Duration", duration(report.run.seconds)))


def winner(comparison: ModelComparison | None) -> CandidateRow | None:
    """The candidate marked as winner."""
    rows = comparison.candidates if comparison else ()
    return next((row for row in rows if row.winner), None)


def value_of(values: tuple[MetricValue, ...], metric: Metric) -> MetricValue | None:
    """The value of one metric, if it was computed."""
    return next((item for item in values if item.metric == metric.name), None)


def interval_sentence(report: Report) -> str:
    """What the whiskers mean, in a sentence."""
    if report.intervals is None:
        return ""
    level = _percent(report.intervals.confidence)
    made = f" ({report.intervals.method})" if report.intervals.method else ""
    return (
        f"Whiskers and ranges are {level} intervals{made}: how far the number could move "
        "with another sample of rows as large as this one."
    )


def interval_level(report: Report) -> str:
    """What the whiskers mean, where the whole sentence stands further up."""
    if report.intervals is None:
        return ""
    return f"Whiskers and ranges are {_percent(report.intervals.confidence)} intervals."


def histogram_bands(histogram: Histogram) -> tuple[Band, ...]:
    """A histogram's rows in at most ten bands, for a table beside the picture."""
    bins = len(histogram.edges) - 1
    step = math.ceil(bins / _BANDS)
    starts = range(0, bins, step)
    edges = [histogram.edges[start] for start in (*starts, bins)]
    even = len({round(b - a, 9) for a, b in pairwise(edges)}) == 1
    texts = tick_texts(tuple(edges)) if even else tuple(map(figure, edges))
    return tuple(
        Band(
            f"{texts[index]} to {texts[index + 1]}",
            tuple(sum(series.counts[start : start + step]) for series in histogram.series),
        )
        for index, start in enumerate(starts)
    )


def segment_scale(table: SegmentTable) -> Scale | None:
    """The common scale of a segment table's marks; None where no row has a metric."""
    values = [row.metric for row in table.rows if row.metric and row.metric.value is not None]
    return interval_scale(values, table.overall) if values else None


def _percent(level: float) -> str:
    return f"{100 * level:g}%"


def _training_tiles(report: Report) -> tuple[Tile, ...]:
    found: list[Tile] = []
    best = winner(report.comparison)
    if best is not None and report.comparison is not None:
        found.append(Tile("Winner", best.name, best.backend))
        found += _metric_tiles(report.comparison, best)
    if report.gate is not None:
        made = [check for check in report.gate.checks if check.passed is not None]
        passed = sum(bool(check.passed) for check in made)
        found.append(Tile("Gate", f"{passed} of {len(made)}", "checks passed"))
    if report.data is not None:
        refused = f"{count(report.data.quarantined)} quarantined"
        found.append(Tile("Rows read", count(report.data.read), refused))
    return tuple(found)


def _metric_tiles(comparison: ModelComparison, best: CandidateRow) -> list[Tile]:
    split, values = ("test", best.test) if best.test else ("validation", best.validation)
    first = [metric for metric in comparison.metrics if metric.name == comparison.select_by]
    others = [metric for metric in comparison.metrics if metric.name != comparison.select_by]
    found = []
    for metric in first + others[:_MORE_METRICS]:
        value = value_of(values, metric)
        if value is not None and value.value is not None:
            between = interval(value.low, value.high)
            note = f"{between}, {split}" if between else f"on {split}"
            unit = f" {metric.unit}" if metric.unit else ""
            found.append(Tile(metric_title(metric), score(value.value) + unit, note))
    return found


def _scoring_tiles(report: Report) -> tuple[Tile, ...]:
    found: list[Tile] = []
    outcome = report.scoring
    if outcome is not None:
        found.append(
            Tile("Rows scored", count(outcome.predicted), f"of {count(outcome.read)} read")
        )
        found.append(Tile("Quarantined", count(outcome.quarantined), "rows refused"))
    if report.model is not None:
        found.append(Tile("Model version", report.model.version or ABSENT, report.model.name))
    if outcome is not None and outcome.commit_seq is not None:
        found.append(Tile("Commit", count(outcome.commit_seq), outcome.predictions_table))
    return tuple(found)
