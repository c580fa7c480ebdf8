"""The heart of a report as one SVG file, for a README: text, light and dark, no resources.

`python -m lakescore.evaluation.report picture REPORT.json docs/images/report.svg` writes it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree.ElementTree import Element, fromstring, tostring

from markupsafe import Markup

from lakescore.evaluation.report import view
from lakescore.evaluation.report.charts import (
    calibration_chart,
    histogram_chart,
    precision_recall_chart,
)
from lakescore.evaluation.report.intervals_chart import metric_chart, metric_title
from lakescore.evaluation.report.model import Importance, Report
from lakescore.evaluation.report.number_format import figure, moment, words
from lakescore.evaluation.report.plot import WIDTH as CHART_WIDTH
from lakescore.evaluation.report.render import style_sheet
from lakescore.evaluation.report.svg import add, drawing, label, markup, text_width

_WIDTH, _EDGE, _BETWEEN = 960, 28, 24
_TILE_TOP, _TILE_HEIGHT = 104, 76
_PANELS_TOP = _TILE_TOP + _TILE_HEIGHT + 24
_TITLE = 30
_FEATURES, _FEATURE_ROW, _NAMES = 6, 26, 176
_COLUMN = 440
#: What a README has room for.
_PANELS, _TILES = 2, 5
_STYLE = """
.surface { fill: var(--surface); }
.frame { fill: var(--page); stroke: var(--line); }
text {
  font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
}
.h1 { font-size: 26px; font-weight: 650; fill: var(--text); }
.h2 { font-size: 15px; font-weight: 620; fill: var(--text); }
.value { font-size: 19px; font-weight: 620; fill: var(--text); }
.small { font-size: 12px; fill: var(--muted); }
.about { font-size: 14px; fill: var(--muted); }
.badge { font-size: 13px; font-weight: 600; }
.good { fill: var(--good); } .good-back { fill: var(--good-back); }
.warn { fill: var(--warn); } .warn-back { fill: var(--warn-back); }
.bad { fill: var(--bad); } .bad-back { fill: var(--bad-back); }
.calm { fill: var(--calm); } .calm-back { fill: var(--calm-back); }
"""


@dataclass(frozen=True)
class _Panel:
    title: str
    chart: Element

    @property
    def height(self) -> float:
        return float(self.chart.attrib["viewBox"].split()[3]) * _COLUMN / CHART_WIDTH


def readme_picture(report: Report) -> str:
    """The report's heading, key numbers and up to three charts, 960 px wide, as SVG text."""
    panels = [panel for _, panel in zip(range(_PANELS), _panels(report), strict=False)]
    placed, height = _place(panels)
    text = "; ".join(
        f"{tile.label} {tile.value} {tile.note}".strip() for tile in view.tiles(report)
    )
    svg = drawing("report", f"{report.workload}: {report.kind.value} report", text, _WIDTH, height)
    svg.set("class", "picture")
    svg.set("xmlns", "http://www.w3.org/2000/svg")
    add(svg, "style", style_sheet("palette.css") + style_sheet("charts.css") + _STYLE)
    add(svg, "rect", x=0.5, y=0.5, width=_WIDTH - 1, height=height - 1, rx=12,
        class_="surface", stroke="var(--line)")  # fmt: skip
    _heading(svg, report)
    _tiles(svg, view.tiles(report)[:_TILES])
    for panel, x, y in placed:
        add(svg, "text", panel.title, x=x + 6, y=y + 16, class_="h2")
        frame = add(svg, "svg", x=x, y=y + _TITLE, width=_COLUMN, height=panel.height)
        frame.append(panel.chart)
    return tostring(svg, encoding="unicode") + "\n"


def _panels(report: Report) -> Iterator[_Panel]:
    """The charts worth a README, most telling first."""
    if report.comparison is not None:
        for metric in report.comparison.metrics:
            chart = metric_chart(report.comparison, metric)
            if metric.name == report.comparison.select_by and chart is not None:
                yield _panel(f"{metric_title(metric)} by candidate", chart)
    if report.calibration is not None and report.calibration.bins:
        yield _panel("Predicted against actual", calibration_chart(report.calibration))
    if report.importance is not None and report.importance.features:
        yield _panel("Feature importance", _importance(report.importance))
    if report.scores is not None:
        chart = histogram_chart(report.scores, name="scores", title="Scores", x_title="score")
        yield _panel("Score distribution", chart)
    if report.curves is not None and report.curves.precision_recall and report.curves.rows:
        share = report.curves.positives / report.curves.rows
        chart = precision_recall_chart(report.curves.precision_recall, positives=share)
        yield _panel("Precision and recall", chart)


def _panel(title: str, chart: Markup) -> _Panel:
    return _Panel(title, fromstring(str(chart)))  # noqa: S314 - markup made just before


def _place(panels: list[_Panel]) -> tuple[list[tuple[_Panel, float, float]], float]:
    """Each panel goes to the column that is shorter so far; returns places and whole height."""
    bottoms = {
        float(_EDGE): float(_PANELS_TOP),
        float(_WIDTH - _EDGE - _COLUMN): float(_PANELS_TOP),
    }
    placed = []
    for panel in panels:
        x = min(bottoms, key=lambda column: bottoms[column])
        placed.append((panel, x, bottoms[x]))
        bottoms[x] += _TITLE + panel.height + _BETWEEN
    return placed, max(bottoms.values())


def _heading(svg: Element, report: Report) -> None:
    badge = view.badge(report.status)
    width = text_width(badge.text) * 1.15 + 46
    x = _WIDTH - _EDGE - width
    label(svg, report.workload, (x - _EDGE) / 2.2, x=_EDGE, y=50, class_="h1")
    add(svg, "rect", x=x, y=28, width=width, height=28, rx=14, class_=f"{badge.tone}-back")
    add(svg, "text", f"{badge.sign}  {badge.text}", x=x + width / 2, y=47,
        class_=f"badge middle {badge.tone}")  # fmt: skip
    about = report.description or f"{report.kind.value} run {report.run.run_id}"
    label(svg, about, (_WIDTH - 2 * _EDGE) / 1.2, x=_EDGE, y=76, class_="about")
    add(svg, "text", moment(report.run.started), x=_WIDTH - _EDGE, y=76, class_="small end")


def _tiles(svg: Element, tiles: tuple[view.Tile, ...]) -> None:
    gap = 12
    width = (_WIDTH - 2 * _EDGE - gap * (len(tiles) - 1)) / len(tiles)
    for index, tile in enumerate(tiles):
        x, room = _EDGE + index * (width + gap), width - 20
        add(svg, "rect", x=x, y=_TILE_TOP, width=width, height=_TILE_HEIGHT, rx=8, class_="frame")
        label(svg, tile.label, room, x=x + 12, y=_TILE_TOP + 22, class_="small")
        label(svg, tile.value, room / 1.5, x=x + 12, y=_TILE_TOP + 45, class_="value")
        label(svg, tile.note, room, x=x + 12, y=_TILE_TOP + 64, class_="small")


def _importance(importance: Importance) -> Markup:
    known = [item for item in importance.features if item.value is not None]
    shown = sorted(known, key=lambda item: item.value or 0.0, reverse=True)[:_FEATURES]
    largest = max((item.value or 0.0 for item in shown), default=0.0) or 1.0
    height = _FEATURE_ROW * len(shown) + 20
    text = f"the largest {len(shown)} of {len(importance.features)} features"
    svg = drawing("importance", "Feature importance", text, CHART_WIDTH, height)
    for index, item in enumerate(shown):
        value, middle = item.value or 0.0, _FEATURE_ROW * index + 12
        label(svg, words(item.feature), _NAMES - 16, x=6, y=middle + 4)
        width = max(0.0, (CHART_WIDTH - _NAMES - 64) * value / largest)
        add(svg, "rect", x=_NAMES, y=middle - 6, width=width, height=12, rx=2, class_="bar-fill")
        add(svg, "text", figure(value), x=CHART_WIDTH - 4, y=middle + 4, class_="end")
    label(svg, importance.method, CHART_WIDTH - 12, x=6, y=height - 4, class_="axis-title")
    return markup(svg)
