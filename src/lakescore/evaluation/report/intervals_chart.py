"""Dots with whiskers: metrics of several models side by side, and marks inside table cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from markupsafe import Markup

from lakescore.evaluation.report.axis import Scale, spread, tick_texts
from lakescore.evaluation.report.model import CandidateRow, Metric, MetricValue, ModelComparison
from lakescore.evaluation.report.number_format import count, interval, score, words
from lakescore.evaluation.report.plot import WIDTH, vertical_grid
from lakescore.evaluation.report.svg import add, drawing, label, markup, path, text_width

_LEFT, _GUTTER = 6.0, 58.0
_NAME, _LANE, _GAP = 18, 18, 8
_SPLITS = ("validation", "test")


@dataclass(frozen=True)
class _Lane:
    """One dot with its whisker; `split` is an index into `_SPLITS`."""

    split: int
    value: float
    low: float | None
    high: float | None

    @property
    def ends(self) -> tuple[float, ...]:
        return tuple(end for end in (self.value, self.low, self.high) if end is not None)


def metric_chart(comparison: ModelComparison, metric: Metric) -> Markup | None:
    """One metric of every candidate on validation and test; None where no candidate has it."""
    rows = [(row, _lanes(row, metric)) for row in comparison.candidates]
    rows = [(row, lanes) for row, lanes in rows if lanes]
    if not rows:
        return None
    domain = spread(end for _, lanes in rows for lane in lanes for end in lane.ends)
    x = Scale(*domain, _LEFT, WIDTH - _GUTTER)
    bottom = float(sum(_NAME + _GAP + _LANE * len(lanes) for _, lanes in rows))
    name = "metric-" + "".join(c if c.isalnum() else "-" for c in metric.name)
    title = f"{metric_title(metric)} by candidate"
    svg = drawing(name, title, _description(rows, metric), WIDTH, bottom + 66)
    vertical_grid(svg, x, 0.0, bottom)
    top = 0.0
    for row, lanes in rows:
        _row(svg, x, row, lanes, top)
        top += _NAME + _GAP + _LANE * len(lanes)
    better = "right" if metric.higher_is_better else "left"
    label(svg, f"{axis_title(metric)}; better to the {better}", WIDTH - _LEFT,
          x=_LEFT, y=bottom + 37, class_="axis-title")  # fmt: skip
    _legend(svg, comparison, {lane.split for _, lanes in rows for lane in lanes}, bottom + 57)
    return markup(svg)


def metric_label(metric: Metric) -> str:
    """How a metric is called in the middle of a sentence."""
    return metric.label or words(metric.name)


def metric_title(metric: Metric) -> str:
    """How a metric is called, its first letter large."""
    name = metric_label(metric)
    return name[:1].upper() + name[1:]


def axis_title(metric: Metric) -> str:
    """How a metric is called on an axis: with its unit."""
    name = metric_label(metric)
    return f"{name}, {metric.unit}" if metric.unit else name


def interval_mark(value: MetricValue, scale: Scale, overall: float | None) -> Markup:
    """A dot and whisker as wide as its cell; `scale` ends in percent. A line marks `overall`."""
    svg = _cell("mark")
    if overall is not None:
        place = f"{scale(overall):.2f}%"
        add(svg, "line", x1=place, x2=place, y1="0", y2="100%", class_="reference")
    if value.value is not None:
        group = add(svg, "g", class_="series-0")
        if value.low is not None and value.high is not None:
            low, high = f"{scale(value.low):.2f}%", f"{scale(value.high):.2f}%"
            add(group, "line", x1=low, x2=high, y1="50%", y2="50%", class_="whisker")
        add(group, "circle", cx=f"{scale(value.value):.2f}%", cy="50%", r=4, class_="dot")
    return markup(svg)


def interval_scale(values: Sequence[MetricValue], overall: float | None) -> Scale:
    """The common scale of a column of marks, in percent of the cell's width."""
    ends = [end for item in values for end in (item.value, item.low, item.high)]
    return Scale(*spread(end for end in (*ends, overall) if end is not None), 0.0, 100.0)


def mark_axis(scale: Scale) -> Markup:
    """The first and last round value of a column of marks, each at its place."""
    svg = _cell("mark")
    ticks = scale.ticks()
    texts = tick_texts(ticks)
    for index in sorted({0, len(ticks) - 1}):
        place = f"{scale(ticks[index]):.2f}%"
        add(svg, "text", texts[index], x=place, y="75%", class_="tick middle")
    return markup(svg)


def bar(value: float | None, largest: float) -> Markup:
    """A bar as wide as its share of `largest`, from the left edge of its cell."""
    svg = _cell("bar")
    share = 0.0 if value is None or largest <= 0 else max(0.0, value / largest)
    add(svg, "rect", width=f"{100 * share:.2f}%", height="100%", rx=2, class_="bar-fill")
    return markup(svg)


def _cell(kind: str) -> Element:
    """A picture that only repeats the numbers of its row, so screen readers skip it."""
    return Element("svg", {"class": kind, "aria-hidden": "true", "focusable": "false"})


def _lanes(row: CandidateRow, metric: Metric) -> list[_Lane]:
    return [
        _Lane(split, item.value, item.low, item.high)
        for split, values in enumerate((row.validation, row.test))
        for item in values
        if item.metric == metric.name and item.value is not None
    ]


def _row(svg: Element, x: Scale, row: CandidateRow, lanes: list[_Lane], top: float) -> None:
    suffix = ", winner" if row.winner else "" if row.role == "candidate" else f", {row.role}"
    room = WIDTH - _LEFT - text_width(suffix) - 8
    name = label(svg, row.name, room, x=_LEFT, y=top + 14, class_="strong" if row.winner else "")
    if suffix:
        add(name, "tspan", suffix, class_="muted")
    for index, lane in enumerate(lanes):
        middle = top + _NAME + _LANE * index + _LANE / 2
        group = add(svg, "g", class_="series-0" if row.winner else "series-4")
        if lane.low is not None and lane.high is not None:
            ends = [(x(lane.low), middle), (x(lane.high), middle)]
            add(group, "path", d=path(ends), class_="whisker")
        mark = _marker(group, lane.split, x(lane.value), middle)
        between = interval(lane.low, lane.high)
        text = f"{row.name}, {_SPLITS[lane.split]}: {score(lane.value)}"
        add(mark, "title", f"{text} ({between})" if between else text)
        add(svg, "text", score(lane.value), x=WIDTH - 4, y=middle + 4, class_="end")


def _marker(group: Element, split: int, x: float, y: float) -> Element:
    """A hollow circle for validation, a full square standing on its corner for test."""
    if split == 0:
        return add(group, "circle", cx=x, cy=y, r=4.5, class_="hollow")
    corners = [(x, y - 6), (x + 6, y), (x, y + 6), (x - 6, y), (x, y - 6)]
    return add(group, "path", d=path(corners), class_="dot")


def _legend(svg: Element, comparison: ModelComparison, splits: set[int], y: float) -> None:
    rows = (comparison.validation_rows, comparison.test_rows)
    x = _LEFT
    for split in sorted(splits):
        size = "" if rows[split] is None else f", n = {count(rows[split])}"
        text = _SPLITS[split] + size
        _marker(add(svg, "g", class_="series-4"), split, x + 6, y - 4)
        add(svg, "text", text, x=x + 20, y=y)
        x += 36 + text_width(text)


def _description(rows: list[tuple[CandidateRow, list[_Lane]]], metric: Metric) -> str:
    parts = []
    for row, lanes in rows:
        values = ", ".join(f"{_SPLITS[lane.split]} {score(lane.value)}" for lane in lanes)
        parts.append(f"{row.name}{' (winner)' if row.winner else ''}: {values}")
    return f"{axis_title(metric)}. " + "; ".join(parts)
