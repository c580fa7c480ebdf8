"""What the report's charts draw, and how numbers and axes are written."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import pytest

from lakescore.evaluation.report import (
    Calibration,
    CalibrationBin,
    CandidateRow,
    Curve,
    Histogram,
    HistogramSeries,
    Metric,
    MetricValue,
    ModelComparison,
)
from lakescore.evaluation.report import number_format as numbers
from lakescore.evaluation.report.axis import Scale, from_zero, spread, tick_texts
from lakescore.evaluation.report.charts import (
    CURVE_POINTS,
    calibration_chart,
    histogram_chart,
    precision_recall_chart,
    roc_chart,
)
from lakescore.evaluation.report.intervals_chart import bar, interval_mark, metric_chart
from lakescore.evaluation.report.svg import fit, text_width
from lakescore.evaluation.report.view import histogram_bands


def parse(markup: Any) -> Element:
    return ElementTree.fromstring(str(markup))


def with_class(svg: Element, name: str) -> list[Element]:
    return [node for node in svg.iter() if name in node.get("class", "").split()]


def texts(svg: Element) -> list[str]:
    return [node.text or "" for node in svg.iter("text")]


def points(line: Element) -> list[tuple[float, float]]:
    pairs = line.attrib["d"][1:].split("L")
    return [(float(x), float(y)) for x, y in (pair.split() for pair in pairs)]


def curves_of(svg: Element) -> list[Element]:
    return [node for node in svg.iter("path") if node.get("class") == "line"]


def test_a_roc_curve_runs_from_corner_to_corner():
    svg = parse(roc_chart([Curve(name="lightgbm", points=((0, 0), (0.2, 0.6), (1, 1)), area=0.7)]))
    (line,) = curves_of(svg)
    diagonal = [n for n in with_class(svg, "reference") if n.get("x1") != n.get("x2")][-1]

    assert points(line)[0] == (float(diagonal.attrib["x1"]), float(diagonal.attrib["y1"]))
    assert points(line)[-1] == (float(diagonal.attrib["x2"]), float(diagonal.attrib["y2"]))
    assert "lightgbm, AUC 0.700" in texts(svg)


def test_a_long_curve_is_thinned_between_its_ends():
    many = tuple((index / 10_000, index / 10_000) for index in range(10_001))
    svg = parse(roc_chart([Curve(name="a", points=many), Curve(name="b", points=many[::10_000])]))
    short, long = curves_of(svg)

    assert len(points(long)) == CURVE_POINTS
    assert points(long)[0] == points(short)[0]
    assert points(long)[-1] == points(short)[-1]


def test_precision_is_compared_with_the_share_of_positives():
    svg = parse(precision_recall_chart([Curve(name="a", points=((0, 1), (1, 0.2)))], positives=0.2))

    assert "share of positives, 20.0%" in texts(svg)


def test_series_differ_by_more_than_colour():
    several = [Curve(name=name, points=((0, 0), (1, 1))) for name in "abcde"]
    groups = {node.get("class") for node in parse(roc_chart(several)).iter("g")}

    assert groups == {f"series-{index}" for index in range(5)}


def bins(*pairs: tuple[float, float], **ends: float) -> tuple[CalibrationBin, ...]:
    return tuple(CalibrationBin(predicted=p, observed=o, rows=10, **ends) for p, o in pairs)


def test_a_perfect_bin_lies_on_the_diagonal():
    shown = Calibration(model="m", split="test", rows=20, bins=bins((0.1, 0.1), (0.4, 0.4)))
    svg = parse(calibration_chart(shown))
    line = next(n for n in with_class(svg, "reference") if n.get("y1") != n.get("y2"))
    x1, y1, x2, y2 = (float(line.attrib[name]) for name in ("x1", "y1", "x2", "y2"))

    for dot in svg.iter("circle"):
        x, y = float(dot.attrib["cx"]), float(dot.attrib["cy"])
        assert y == pytest.approx(y1 + (x - x1) / (x2 - x1) * (y2 - y1), abs=0.2)


def test_whiskers_are_drawn_only_where_there_is_an_interval():
    for ends, whiskers in (({}, 0), ({"low": 0.05, "high": 0.2}, 1)):
        shown = Calibration(model="m", split="test", rows=10, bins=bins((0.1, 0.1), **ends))
        assert len(with_class(parse(calibration_chart(shown)), "whisker")) == whiskers


def histogram(edges: tuple[float, ...], *counts: tuple[int, ...]) -> Histogram:
    named = zip("abc", counts, strict=False)
    return Histogram(edges=edges, series=tuple(HistogramSeries(name=n, counts=c) for n, c in named))


def heights(shown: Histogram) -> list[list[float]]:
    svg = parse(histogram_chart(shown, name="h", title="h", x_title="score"))
    outlines = [points(n) for n in svg.iter("path") if "area" in n.get("class", "")]
    return [[line[0][1] - y for _, y in line[1:-1:2]] for line in outlines]


def test_a_bar_is_as_high_as_its_count():
    ((low, high),) = heights(histogram((0, 1, 2), (10, 30)))

    assert high == pytest.approx(3 * low, abs=0.3)


def test_groups_of_different_size_are_drawn_as_shares():
    large, small = heights(histogram((0, 1, 2), (1000, 3000), (1, 3)))

    assert large == small


def test_bins_of_different_width_are_drawn_as_density():
    ((narrow, wide),) = heights(histogram((0, 1, 3), (10, 20)))

    assert narrow == pytest.approx(wide, abs=0.2)


def test_bands_keep_every_row():
    shown = histogram(tuple(index / 25 for index in range(26)), tuple(range(25)))
    bands = histogram_bands(shown)

    assert len(bands) <= 10
    assert sum(band.rows[0] for band in bands) == sum(range(25))
    assert [bands[0].text, bands[-1].text] == ["0 to 0.120", "0.960 to 1.00"]


METRIC = Metric(name="average_precision")


def comparison(*rows: CandidateRow) -> ModelComparison:
    return ModelComparison(select_by=METRIC.name, metrics=(METRIC,), candidates=rows, test_rows=99)


def row(name: str, value: float | None, **more: Any) -> CandidateRow:
    scored = MetricValue(metric=METRIC.name, value=value, low=0.1, high=0.9)
    return CandidateRow(name=name, test=(scored,), **more)


def test_the_winner_is_marked_in_words():
    svg = parse(metric_chart(comparison(row("a", 0.4, winner=True), row("b", 0.3)), METRIC))

    assert [node.text for node in with_class(svg, "strong")] == ["a"]
    assert [node.text for node in svg.iter("tspan")] == [", winner"]
    assert "test, n = 99" in texts(svg)


def test_a_better_candidate_lies_further_right():
    svg = parse(metric_chart(comparison(row("a", 0.4), row("b", 0.3)), METRIC))
    better, worse = (points(node)[0][0] for node in with_class(svg, "dot")[:2])

    assert better > worse


def test_a_metric_that_no_candidate_has_is_not_drawn():
    assert metric_chart(comparison(row("a", None)), METRIC) is None


def test_a_mark_keeps_inside_its_cell():
    value = MetricValue(metric="m", value=0.5, low=0.4, high=0.6)
    svg = parse(interval_mark(value, Scale(0, 1, 0, 100), overall=0.25))
    overall, whisker = svg.iter("line")

    assert overall.attrib["x1"] == "25.00%"
    assert (whisker.attrib["x1"], whisker.attrib["x2"]) == ("40.00%", "60.00%")


@pytest.mark.parametrize(
    ("value", "largest", "width"),
    [(5, 10, "50.00%"), (None, 10, "0.00%"), (-3, 10, "0.00%"), (0, 0, "0.00%")],
)
def test_a_bar_is_a_share_of_the_largest(value: float | None, largest: float, width: str):
    (rect,) = parse(bar(value, largest)).iter("rect")

    assert rect.attrib["width"] == width


def test_long_names_are_cut_and_stay_whole_as_a_tooltip():
    name = "a_very_long_candidate_name_" * 5
    svg = parse(metric_chart(comparison(row(name, 0.4, winner=True)), METRIC))
    (shown,) = with_class(svg, "strong")

    assert (shown.text or "").endswith("…")
    assert shown.find("title").text == name


@pytest.mark.parametrize("text", ["short", "x" * 400, "漢字" * 40])
def test_fitted_text_fits(text: str):
    assert text_width(fit(text, 100)) <= 100


@pytest.mark.parametrize(
    ("domain", "expected"),
    [
        ((0, 1), ("0.0", "0.2", "0.4", "0.6", "0.8", "1.0")),
        ((-30, 45), ("\u221220", "0", "20", "40")),
        ((0, 9_500), ("0", "2k", "4k", "6k", "8k")),
        ((0, 2.6e6), ("0", "1M", "2M")),
        ((0.128, 0.172), ("0.13", "0.14", "0.15", "0.16", "0.17")),
    ],
)
def test_ticks_are_round_and_lie_inside(domain: tuple[float, float], expected: tuple[str, ...]):
    scale = Scale(*domain, 0, 100)

    assert tick_texts(scale.ticks()) == expected
    assert all(-1e-9 <= scale(tick) <= 100 + 1e-9 for tick in scale.ticks())


@pytest.mark.parametrize("values", [(), (0.0,), (5.0, 5.0), (-1.0, 3.0)])
def test_a_domain_is_never_empty(values: tuple[float, ...]):
    for low, high in (spread(values), from_zero(values)):
        assert low < high


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (numbers.count(336_776), "336,776"),
        (numbers.count(None), "\u2013"),
        (numbers.figure(0.384123), "0.384"),
        (numbers.figure(12_345.6), "12,346"),
        (numbers.figure(-0.00012), "\u22120.000120"),
        (numbers.figure(1e-9), "1.00e\u221209"),
        (numbers.figure(0.0), "0"),
        (numbers.score(0.7), "0.700"),
        (numbers.score(38.123), "38.1"),
        (numbers.score(0.0001), "0.000100"),
        (numbers.interval(0.1, None), ""),
        (numbers.percent(0.0), "0.0%"),
        (numbers.percent(0.00001), "<0.1%"),
        (numbers.percent(0.2041), "20.4%"),
        (numbers.duration(0.031), "0.03 s"),
        (numbers.duration(5.43), "5.4 s"),
        (numbers.duration(59.7), "1 min 0 s"),
        (numbers.duration(92.4), "1 min 32 s"),
        (numbers.duration(7_260), "2 h 1 min"),
        (numbers.short("0123456789abcdef"), "0123456789ab…"),
        (numbers.fixed(-2.0, numbers.decimals([-14.0, None, 0.2])), "\u22122.0"),
    ],
)
def test_numbers_are_written_for_people(written: str, expected: str):
    assert written == expected


def test_times_are_shown_in_utc():
    there = timezone(timedelta(hours=2))

    assert numbers.moment(datetime(2026, 3, 2, 1, 0, 5, tzinfo=there)) == "2026-03-01 23:00:05 UTC"
