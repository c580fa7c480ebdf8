"""The frame that the charts share: plot area, grid, ticks, axis titles, legend."""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree.ElementTree import Element

from lakescore.evaluation.report.axis import Scale, tick_texts
from lakescore.evaluation.report.svg import add, drawing, label, text_width

#: Width of every chart in its own pixels. Phones show it at about this size, so 12 px stay 12 px.
WIDTH = 380
_TOP, _RIGHT = 28, 12
_BELOW_PLOT, _LEGEND_ROW = 46, 19
#: Series beyond these repeat colours and dashes; the legend still names them.
SERIES = 5


@dataclass(frozen=True)
class Axis:
    """A domain and what its title says, unit included."""

    domain: tuple[float, float]
    title: str


@dataclass(frozen=True)
class Caption:
    """What identifies a chart: an id unique in the page, a title and the numbers in words."""

    name: str
    title: str
    text: str


@dataclass(frozen=True)
class Key:
    """One legend entry: `mark` is 'line', 'area' or 'reference'; see `_swatch`."""

    text: str
    mark: str
    series: int = 0


@dataclass(frozen=True)
class Plot:
    """A drawing with scales; what is drawn later lies above the grid."""

    svg: Element
    x: Scale
    y: Scale


def plot(caption: Caption, x: Axis, y: Axis, *, height: float, keys: tuple[Key, ...] = ()) -> Plot:
    """An empty chart with grid, axes and legend. `height` is that of the plot area in px."""
    y_scale = Scale(*y.domain, _TOP + height, _TOP)
    y_texts = tick_texts(y_scale.ticks())
    left = max(34.0, 14 + max(map(text_width, y_texts), default=0))
    x_scale = Scale(*x.domain, left, WIDTH - _RIGHT)
    whole = _TOP + height + _BELOW_PLOT + _LEGEND_ROW * len(keys)
    svg = drawing(caption.name, caption.title, caption.text, WIDTH, whole)
    _horizontal_grid(svg, x_scale, y_scale, y_texts)
    _bottom_axis(svg, x_scale, y_scale.start)
    label(svg, y.title, WIDTH - 4, x=2, y=14, class_="axis-title")
    label(svg, x.title, WIDTH - left, x=left, y=_TOP + height + 38, class_="axis-title")
    for index, key in enumerate(keys):
        _legend_entry(svg, key, left, _TOP + height + _BELOW_PLOT + 13 + index * _LEGEND_ROW)
    return Plot(svg, x_scale, y_scale)


def vertical_grid(svg: Element, x: Scale, top: float, bottom: float) -> None:
    """Grid lines and tick numbers for a chart that has no vertical axis."""
    for tick in x.ticks():
        place = x(tick)
        add(svg, "line", x1=place, x2=place, y1=top, y2=bottom, class_="grid")
    _bottom_axis(svg, x, bottom)


def _horizontal_grid(svg: Element, x: Scale, y: Scale, texts: tuple[str, ...]) -> None:
    for tick, text in zip(y.ticks(), texts, strict=True):
        place = y(tick)
        add(svg, "line", x1=x.start, x2=x.end, y1=place, y2=place, class_="grid")
        add(svg, "text", text, x=x.start - 6, y=place + 4, class_="tick end")


def _bottom_axis(svg: Element, x: Scale, bottom: float) -> None:
    add(svg, "line", x1=x.start, x2=x.end, y1=bottom, y2=bottom, class_="axis")
    free_from = 0.0
    ticks = x.ticks()
    for tick, text in zip(ticks, tick_texts(ticks), strict=True):
        half = text_width(text) / 2
        place = x(tick)
        if place - half < free_from or place + half > WIDTH:
            continue
        free_from = place + half + 4
        add(svg, "line", x1=place, x2=place, y1=bottom, y2=bottom + 4, class_="axis")
        add(svg, "text", text, x=place, y=bottom + 18, class_="tick middle")


def _legend_entry(svg: Element, key: Key, x: float, y: float) -> None:
    group = add(svg, "g", class_=f"series-{key.series % SERIES}")
    if key.mark == "area":
        add(group, "rect", x=x + 4, y=y - 10, width=16, height=11, class_="area line")
    else:
        style = "reference" if key.mark == "reference" else "line"
        add(group, "line", x1=x, x2=x + 24, y1=y - 4, y2=y - 4, class_=style)
    label(svg, key.text, WIDTH - x - 38, x=x + 32, y=y)
