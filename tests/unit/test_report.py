"""The report as a document and as a page, without a browser."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import pytest
from pydantic import ValidationError

from lakescore.errors import CorruptFile
from lakescore.evaluation.report import (
    Calibration,
    CalibrationBin,
    Confusion,
    Curve,
    Histogram,
    HistogramSeries,
    MetricValue,
    Pin,
    Report,
    read_report,
    readme_picture,
    render_html,
    report_schema,
    write_report,
)
from lakescore.evaluation.report.__main__ import main
from tests.unit.report_samples import (
    REPORTS,
    bare_report,
    multiclass_report,
    regression_report,
    scoring_report,
    training_report,
)

SVG = "{http://www.w3.org/2000/svg}"
README_PICTURE = Path(__file__).parents[2] / "docs" / "images" / "report.svg"
HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>{{ 7*7 }}\x00\u202e&amp;"

each_report = pytest.mark.parametrize("make", REPORTS.values(), ids=REPORTS.keys())
MakeReport = Callable[[], Report]


class Page(HTMLParser):
    """The elements of a page, in order, with attributes, and its headings' levels and texts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.headings: list[tuple[int, str]] = []
        self._inside: str | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._inside = tag
        if re.fullmatch("h[1-6]", tag):
            self.headings.append((int(tag[1]), ""))

    def handle_data(self, data: str) -> None:
        if self._inside and re.fullmatch("h[1-6]", self._inside) and self.headings:
            level, text = self.headings[-1]
            self.headings[-1] = (level, text + data)

    def handle_endtag(self, tag: str) -> None:
        self._inside = None

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def titles(report: Report) -> list[str]:
    return [text for level, text in Page(render_html(report)).headings if level == 2]


@each_report
def test_json_and_back_gives_the_same_report(make: MakeReport):
    report = make()

    assert Report.model_validate_json(report.model_dump_json()) == report


@each_report
def test_json_fits_the_published_schema(make: MakeReport):
    schema = report_schema()
    jsonschema.Draft202012Validator.check_schema(schema)

    jsonschema.validate(json.loads(make().model_dump_json()), schema)


def test_the_schema_refuses_another_format():
    document = json.loads(bare_report().model_dump_json()) | {"format": 2}

    with pytest.raises(jsonschema.ValidationError, match="1 was expected"):
        jsonschema.validate(document, report_schema())


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite_is_absent(value: float):
    assert MetricValue(metric="roc_auc", value=value, low=value).value is None


def test_points_that_are_not_finite_are_left_out():
    assert Curve(name="a", points=((0, 0), (math.nan, 1), (1, 1))).points == ((0, 0), (1, 1))


def test_an_unknown_field_is_refused():
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        Pin(table="a", version=1, versoin=2)


def test_a_report_does_not_change():
    with pytest.raises(ValidationError, match="frozen"):
        training_report().status = "DONE"


@pytest.mark.parametrize(
    ("edges", "counts", "message"),
    [((0, 1, 2), (1,), "one count between two edges"), ((0, 0, 2), (1, 2), "edges must ascend")],
)
def test_a_histogram_that_does_not_add_up_is_refused(edges: Any, counts: Any, message: str):
    with pytest.raises(ValidationError, match=message):
        Histogram(edges=edges, series=(HistogramSeries(name="a", counts=counts),))


def test_a_training_report_shows_every_part_in_order():
    assert titles(training_report()) == [
        "What ran",
        "Gate decision",
        "Model comparison",
        "ROC and precision-recall",
        "Calibration",
        "Score distribution",
        "Segments",
        "Feature importance",
        "Data quality",
        "Table versions",
        "Timings",
        "Reproduce this run",
    ]


def test_a_regression_report_shows_residuals_in_place_of_curves():
    assert titles(regression_report()) == [
        "What ran",
        "Gate decision",
        "Model comparison",
        "Predicted and actual",
        "Residuals",
    ]


def test_a_multiclass_report_shows_which_classes_are_taken_for_each_other():
    assert titles(multiclass_report()) == [
        "What ran",
        "Model comparison",
        "Classes taken for each other",
        "Calibration",
        "Score distribution",
        "Segments",
    ]
    page = render_html(multiclass_report())
    assert page.count("17,500") == 1
    assert "95.1%" in page  # 17,500 of 18,403
    assert ">Right<" in page
    assert ">Confidence<" in page


@pytest.mark.parametrize("rows", [((1, 2),), ((1,), (2,)), ((1, 2), (3,))])
def test_a_confusion_table_that_is_not_square_is_refused(rows: Any):
    with pytest.raises(ValidationError, match="one row and one column a class"):
        Confusion(model="a", split="test", classes=("x", "y"), rows=rows)


def test_a_scoring_report_shows_what_was_committed():
    page = render_html(scoring_report())

    assert titles(scoring_report())[:2] == ["What ran", "What was scored"]
    assert "after 3, up to 4" in page
    assert "gold.flight_delays_predictions_quarantine" in page


def test_a_part_without_content_leaves_no_empty_box():
    assert titles(bare_report()) == ["What ran"]
    empty = Calibration(model="m", split="test", rows=0, bins=())
    assert titles(bare_report().model_copy(update={"calibration": empty})) == ["What ran"]


@each_report
def test_contents_lead_to_every_heading(make: MakeReport):
    page = Page(render_html(make()))
    ids = {attributes.get("id") for _, attributes in page.elements}
    links = [attributes["href"] for attributes in page.all("a")]

    assert {link[1:] for link in links if link} <= ids
    assert len(links) == 1 + len([level for level, _ in page.headings if level == 2])


@each_report
def test_headings_go_down_one_level_at_a_time(make: MakeReport):
    levels = [level for level, _ in Page(render_html(make())).headings]

    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


@each_report
def test_ids_are_unique_and_references_resolve(make: MakeReport):
    page = Page(render_html(make()))
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    named = [attributes.get("aria-labelledby") for _, attributes in page.elements]

    assert len(ids) == len(set(ids))
    assert {name for names in named if names for name in names.split()} <= set(ids)


@each_report
def test_tables_have_captions_and_scoped_headers(make: MakeReport):
    page = Page(render_html(make()))

    assert len(page.all("caption")) == len(page.all("table"))
    assert all(attributes.get("scope") in {"col", "row"} for attributes in page.all("th"))


@each_report
def test_pictures_are_named_or_hidden_from_screen_readers(make: MakeReport):
    for attributes in Page(render_html(make())).all("svg"):
        named = attributes.get("role") == "img" and attributes.get("aria-labelledby")
        assert named or attributes.get("aria-hidden") == "true"


@each_report
def test_the_page_asks_for_nothing_and_runs_nothing(make: MakeReport):
    text = render_html(make())
    page = Page(text)
    targets = [attributes.get("href", "#") for _, attributes in page.elements]
    policy = next(meta for meta in page.all("meta") if "http-equiv" in meta)

    assert not page.all("script")
    assert all(target and target.startswith(("#", "data:")) for target in targets)
    assert not any("src" in attributes for _, attributes in page.elements)
    assert not re.search(r"url\(|@import|http://|https://", text)
    assert str(policy["content"]).startswith("default-src 'none'; style-src 'unsafe-inline'")


@each_report
def test_hostile_names_stay_text(make: MakeReport):
    page = render_html(hostile(make()))
    parsed = Page(page)

    assert not parsed.all("script")
    assert not parsed.all("img")
    assert not any(name.startswith("on") for _, found in parsed.elements for name in found)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "{{ 7*7 }}" in page
    assert "\x00" not in page
    assert "\u202e" not in page


@each_report
def test_hostile_names_stay_text_in_the_picture(make: MakeReport):
    picture = ElementTree.fromstring(readme_picture(hostile(make())))

    assert {node.tag for node in picture.iter()} <= {
        SVG + tag
        for tag in "svg title desc style rect text tspan line path circle g".split()  # noqa: SIM905
    }


@each_report
def test_the_same_report_gives_the_same_page(make: MakeReport):
    assert render_html(make()) == render_html(make())


def test_the_page_shows_numbers_a_person_can_read():
    page = render_html(training_report())

    assert "308,641 rows read = 308,629 valid + 12 quarantined (&lt;0.1%)" in page
    assert "n = 26,971, of which 5,505 (20.4%) are positive" in page
    assert "Whiskers and ranges are 95% intervals (percentile bootstrap, 200 replicates)" in page
    assert "0.376 to 0.392, test" in page
    assert "1 min 32 s" in page


def test_a_failed_gate_is_said_in_words():
    page = render_html(regression_report())

    assert "The challenger did not pass." in page
    assert "✕ failed" in page
    assert "Not promoted" in page


def test_a_report_of_missing_numbers_still_renders():
    nothing = json.loads(training_report().model_dump_json())
    emptied = Report.model_validate(_without_numbers(nothing))

    assert "Model comparison" in render_html(emptied)
    assert readme_picture(emptied)


def test_extreme_numbers_still_render():
    bins = tuple(
        CalibrationBin(predicted=size, observed=-size, rows=1, low=-size, high=size)
        for size in (1e-300, 1.0, 1e300)
    )
    extreme = Calibration(model="m", split="test", rows=3, bins=bins, unit="minutes")
    same = Calibration(model="m", split="test", rows=3, bins=bins[1:2] * 3)

    for calibration in (extreme, same):
        page = render_html(bare_report().model_copy(update={"calibration": calibration}))
        assert not re.search(r"\b(nan|inf)\b", page)


def test_both_files_are_written_and_read_back(tmp_path: Path):
    written = write_report(training_report(), tmp_path / "runs" / "1")

    assert sorted(path.name for path in written.html.parent.iterdir()) == [
        "report.html",
        "report.json",
    ]
    assert written.html.read_text(encoding="utf-8") == render_html(training_report())
    assert read_report(written.json) == training_report()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not a report of format 1: the file: Invalid JSON"),
        ('{"format": 2}', "format: Input should be 1"),
        (None, "cannot be read: No such file"),
    ],
)
def test_a_file_that_is_no_report_is_named(tmp_path: Path, content: str | None, message: str):
    path = tmp_path / "report.json"
    if content is not None:
        path.write_text(content)

    with pytest.raises(CorruptFile, match=re.escape(str(path))) as caught:
        read_report(path)
    assert message in str(caught.value)


def test_the_picture_is_drawn_again_from_json(tmp_path: Path):
    written = write_report(training_report(), tmp_path)
    picture = tmp_path / "report.svg"

    assert main(["picture", str(written.json), str(picture)]) == 0
    assert picture.read_text(encoding="utf-8") == readme_picture(training_report())


def test_drawing_from_a_broken_file_ends_with_a_message(tmp_path: Path, capsys: Any):
    assert main(["html", str(tmp_path / "none.json"), str(tmp_path / "a.html")]) == 1

    assert "none.json: the report cannot be read" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_readme_picture_is_small_plain_svg():
    text = README_PICTURE.read_text(encoding="utf-8")
    picture = ElementTree.fromstring(text)

    assert len(text.encode()) < 60_000
    assert picture.tag == SVG + "svg"
    assert "prefers-color-scheme: dark" in text
    assert not re.search(r"foreignObject|href|url\(|@import|<script", text)


def hostile(report: Report) -> Report:
    """The same report with every free text replaced."""
    kept = {"kind", "task", "role", "started"}

    def replace(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {name: replace(item, name) for name, item in value.items()}
        if isinstance(value, list):
            return [replace(item, key) for item in value]
        return HOSTILE if isinstance(value, str) and key not in kept else value

    document = replace(json.loads(report.model_dump_json()))
    for row in (document["comparison"] or {}).get("candidates", []):
        row["role"] = "candidate"
    for pin in document["pins"]:
        pin["role"] = HOSTILE
    return Report.model_validate(document)


def _without_numbers(document: Any) -> Any:
    """Every optional number of a document taken away."""
    optional = {"value", "low", "high", "area", "mean", "minimum", "maximum", "actual"}
    optional |= {"error", "overall", "threshold", "marker", "label_mean", "fit_seconds"}
    if isinstance(document, dict):
        return {
            key: None if key in optional and not isinstance(item, str) else _without_numbers(item)
            for key, item in document.items()
        }
    return [_without_numbers(item) for item in document] if isinstance(document, list) else document
