"""The report's charts as inline SVG: pure functions from plain values to markup.

Own code, because the libraries looked at do not fit: matplotlib is too heavy for the core and
fixes its colours at drawing time, the vega family needs scripts, and pygal and leather have
neither intervals nor colours that follow the reader's light or dark setting.

Colours come from the page's style sheet. Series differ by dash or fill as well, never by colour
alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from xml.etree.ElementTree import Element

from markupsafe import Markup

from lakescore.evaluation.report.axis import from_zero, spread
from lakescore.evaluation.report.model import (
    Calibration,
    CalibrationBin,
    Curve,
    Histogram,
    HistogramSeries,
    Point,
)
from lakescore.evaluation.report.number_format import count, figure, interval, percent, score
from lakescore.evaluation.report.plot import SERIES, Axis, Caption, Key, Plot, plot
from lakescore.evaluation.report.svg import add, markup, path

#: Points drawn of one curve; more make the file larger and the picture no finer.
CURVE_POINTS = 240
_CURVE_HEIGHT, _HISTOGRAM_HEIGHT = 290, 190


def roc_chart(curves: Sequence[Curve]) -> Markup:
    """True against false positive rate, with the diagonal of chance."""
    caption = _curve_caption("roc", "ROC curves", "area under the curve", curves)
    x, y = Axis((0, 1), "false positive rate"), Axis((0, 1), "true positive rate")
    keys = (*_curve_keys(curves, "AUC"), Key("chance", "reference"))
    chart = plot(caption, x, y, height=_CURVE_HEIGHT, keys=keys)
    _reference(chart, (0, 0), (1, 1))
    return _curves(chart, curves)


def precision_recall_chart(curves: Sequence[Curve], *, positives: float) -> Markup:
    """Precision against recall; `positives` is their share, which blind guessing reaches."""
    caption = _curve_caption(
        "pr", "Precision and recall curves", f"{percent(positives)} of rows are positive", curves
    )
    x, y = Axis((0, 1), "recall"), Axis((0, 1), "precision")
    base = Key(f"share of positives, {percent(positives)}", "reference")
    chart = plot(caption, x, y, height=_CURVE_HEIGHT, keys=(*_curve_keys(curves, "AP"), base))
    _reference(chart, (0, positives), (1, positives))
    return _curves(chart, curves)


def calibration_chart(calibration: Calibration, outcome: str = "positives") -> Markup:
    """Mean prediction against mean outcome by bin, with whiskers; dots grow with their rows."""
    probability = calibration.unit == ""
    unit = "" if probability else f", {calibration.unit}"
    domain = _calibration_domain(calibration.bins, from_origin=probability)
    caption = Caption(
        "calibration",
        "Predicted against actual",
        "; ".join(map(_bin_text, calibration.bins)),
    )
    x = Axis(domain, f"mean predicted {'probability' if probability else 'value'}{unit}")
    y = Axis(domain, f"actual {f'share of {outcome}' if probability else 'mean'}{unit}")
    ideal = Key("predicted = actual", "reference")
    chart = plot(caption, x, y, height=_CURVE_HEIGHT, keys=(ideal,))
    _reference(chart, (domain[0], domain[0]), (domain[1], domain[1]))
    most = max((item.rows for item in calibration.bins), default=1) or 1
    group = add(chart.svg, "g", class_="series-0")
    for item in calibration.bins:
        _bin(group, chart, item, most)
    return markup(chart.svg)


def histogram_chart(histogram: Histogram, *, name: str, title: str, x_title: str) -> Markup:
    """Rows per bin. Several series are shown as shares of each, so that small ones stay visible.

    Bins of unequal width are shown as density: the area, not the height, stands for the rows.
    """
    heights = [_heights(histogram, series) for series in histogram.series]
    unit = f", {histogram.unit}" if histogram.unit else ""
    x = Axis((histogram.edges[0], histogram.edges[-1]), f"{x_title}{unit}")
    y = Axis(from_zero(value for each in heights for value in each), _height_title(histogram))
    caption = Caption(name, title, _histogram_text(histogram))
    keys = _histogram_keys(histogram)
    chart = plot(caption, x, y, height=_HISTOGRAM_HEIGHT, keys=keys)
    for index, (series, values) in enumerate(zip(histogram.series, heights, strict=True)):
        _outline(chart, histogram.edges, values, series, index)
    if histogram.marker is not None:
        place = chart.x(histogram.marker)
        top, bottom = chart.y.end, chart.y.start
        add(chart.svg, "line", x1=place, x2=place, y1=top, y2=bottom, class_="reference")
    return markup(chart.svg)


def _curve_caption(name: str, title: str, what: str, curves: Sequence[Curve]) -> Caption:
    areas = "; ".join(f"{curve.name} {score(curve.area)}" for curve in curves)
    return Caption(name, title, f"{what}: {areas}")


def _curve_keys(curves: Sequence[Curve], area: str) -> tuple[Key, ...]:
    return tuple(
        Key(curve.name + (f", {area} {score(curve.area)}" if curve.area is not None else ""),
            "line", index)
        for index, curve in enumerate(curves)
    )  # fmt: skip


def _curves(chart: Plot, curves: Sequence[Curve]) -> Markup:
    # The first curve is the one that matters most: it is drawn last, above the others.
    for index, curve in reversed(tuple(enumerate(curves))):
        points = [(chart.x(x), chart.y(y)) for x, y in _thin(curve.points)]
        if points:
            group = add(chart.svg, "g", class_=f"series-{index % SERIES}")
            line = add(group, "path", d=path(points), class_="line")
            add(line, "title", f"{curve.name} {score(curve.area)}")
    return markup(chart.svg)


def _thin(points: tuple[Point, ...]) -> list[Point]:
    """Evenly chosen points, first and last among them."""
    if len(points) <= CURVE_POINTS:
        return list(points)
    step = (len(points) - 1) / (CURVE_POINTS - 1)
    return [points[round(index * step)] for index in range(CURVE_POINTS)]


def _reference(chart: Plot, start: Point, end: Point) -> None:
    (x1, y1), (x2, y2) = ((chart.x(x), chart.y(y)) for x, y in (start, end))
    add(chart.svg, "line", x1=x1, y1=y1, x2=x2, y2=y2, class_="reference")


def _calibration_domain(
    bins: tuple[CalibrationBin, ...], *, from_origin: bool
) -> tuple[float, float]:
    """One domain for both axes, so that the diagonal is the ideal."""
    ends = [end for item in bins for end in (item.predicted, item.observed, item.low, item.high)]
    values = [end for end in ends if end is not None]
    return from_zero(values) if from_origin else spread(values)


def _bin(group: Element, chart: Plot, item: CalibrationBin, most: int) -> None:
    x = chart.x(item.predicted)
    if item.low is not None and item.high is not None:
        low, high = chart.y(item.low), chart.y(item.high)
        add(group, "path", d=path([(x, low), (x, high)]), class_="whisker")
    radius = 3 + 4 * math.sqrt(item.rows / most)
    dot = add(group, "circle", cx=x, cy=chart.y(item.observed), r=radius, class_="dot")
    add(dot, "title", _bin_text(item))


def _bin_text(item: CalibrationBin) -> str:
    between = interval(item.low, item.high)
    return (
        f"predicted {figure(item.predicted)}, actual {figure(item.observed)}"
        f"{f' ({between})' if between else ''}, n = {count(item.rows)}"
    )


def _heights(histogram: Histogram, series: HistogramSeries) -> list[float]:
    total = sum(series.counts) or 1
    share = len(histogram.series) > 1 or not _even(histogram)
    heights = [100 * item / total if share else float(item) for item in series.counts]
    if _even(histogram):
        return heights
    edges = pairwise(histogram.edges)
    return [value / (high - low) for value, (low, high) in zip(heights, edges, strict=True)]


def _even(histogram: Histogram) -> bool:
    widths = [b - a for a, b in pairwise(histogram.edges)]
    return max(widths) - min(widths) <= 1e-6 * max(widths)


def _height_title(histogram: Histogram) -> str:
    if not _even(histogram):
        return "% of each group's rows per unit" if len(histogram.series) > 1 else "% per unit"
    return "% of each group's rows" if len(histogram.series) > 1 else "rows"


def _histogram_keys(histogram: Histogram) -> tuple[Key, ...]:
    keys: list[Key] = []
    if len(histogram.series) > 1:
        for index, series in enumerate(histogram.series):
            keys.append(Key(f"{series.name}, n = {count(sum(series.counts))}", "area", index))
    if histogram.marker is not None:
        said = histogram.marker_label or "marker"
        keys.append(Key(f"{said}, {figure(histogram.marker)}", "reference"))
    return tuple(keys)


def _histogram_text(histogram: Histogram) -> str:
    groups = ", ".join(f"{item.name} {count(sum(item.counts))} rows" for item in histogram.series)
    return f"{groups}, between {figure(histogram.edges[0])} and {figure(histogram.edges[-1])}"


def _outline(
    chart: Plot,
    edges: tuple[float, ...],
    heights: list[float],
    series: HistogramSeries,
    index: int,
) -> None:
    base = chart.y(0)
    points = [(chart.x(edges[0]), base)]
    for (low, high), height in zip(pairwise(edges), heights, strict=True):
        points += [(chart.x(low), chart.y(height)), (chart.x(high), chart.y(height))]
    points.append((chart.x(edges[-1]), base))
    group = add(chart.svg, "g", class_=f"series-{index % SERIES}")
    shape = add(group, "path", d=path(points), class_="area line")
    add(shape, "title", f"{series.name}, n = {count(sum(series.counts))}")
