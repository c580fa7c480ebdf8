"""From a report to one self-contained HTML page: no scripts, no outside resources."""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined

from lakescore.evaluation.report import charts, intervals_chart, number_format, view
from lakescore.evaluation.report.model import Report

_TEMPLATES = "templates"
_FILTERS = (
    "count",
    "decimals",
    "duration",
    "figure",
    "fixed",
    "interval",
    "moment",
    "percent",
    "score",
    "short",
    "words",
)


def render_html(report: Report) -> str:
    """The whole page as text. Pure: the same report gives the same page.

    All values are escaped; the page forbids itself scripts and any request.
    """
    template = _environment().get_template("report.html.j2")
    return template.render(
        report=report,
        sections=view.sections(report),
        badge=view.badge(report.status),
        tiles=view.tiles(report),
        best=view.winner(report.comparison),
        interval_level=view.interval_level(report),
        interval_sentence=view.interval_sentence(report),
        page_style=style_sheet("page.css"),
        chart_style=style_sheet("charts.css"),
        palette=style_sheet("palette.css"),
    )


def style_sheet(name: str) -> str:
    """The text of one of the package's style sheets."""
    return (files(__package__) / _TEMPLATES / name).read_text(encoding="utf-8")


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader(__package__, _TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update({name: getattr(number_format, name) for name in _FILTERS})
    environment.filters["metric_label"] = intervals_chart.metric_label
    environment.globals.update(
        charts=charts,
        marks=intervals_chart,
        value_of=view.value_of,
        histogram_bands=view.histogram_bands,
        segment_scale=view.segment_scale,
    )
    return environment
