"""The report in a real browser: light and dark, wide and narrow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lakescore.evaluation.report import readme_picture, render_html
from tests.e2e.chromium import Browser, open_browser
from tests.unit.report_samples import REPORTS

pytestmark = pytest.mark.browser

#: Texts whose colour stands out less than WCAG AA asks: [text, ratio].
LOW_CONTRAST = """(() => {
  const channel = v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const parse = c => {
    const numbers = (c.match(/[\\d.]+/g) || []).map(Number);
    return c.startsWith('color(') ? numbers.map((v, i) => i < 3 ? 255 * v : v) : numbers;
  };
  const luminance = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const behind = node => {
    for (let at = node; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if (colour.length === 3 || colour[3] > 0) return colour;
    }
    return parse(getComputedStyle(document.documentElement).backgroundColor);
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !node.getClientRects().length) continue;
    if (node.closest('title, desc, style')) continue;
    const style = getComputedStyle(node);
    const colour = parse(node.closest('svg') ? style.fill : style.color);
    const [a, b] = [luminance(colour), luminance(behind(node))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
    if (ratio < (large ? 3 : 4.5)) found.push([walker.currentNode.data.trim(), ratio]);
  }
  return found;
})()"""

#: Texts of one picture that lie over each other or leave it.
CROWDED = """(() => {
  const found = [];
  for (const svg of document.querySelectorAll('svg.chart')) {
    const edge = svg.getBoundingClientRect();
    const boxes = [...svg.querySelectorAll('text')].map(
      node => [node.textContent, node.getBoundingClientRect()]);
    boxes.forEach(([text, a], i) => {
      if (a.left < edge.left - 1 || a.right > edge.right + 1 || a.bottom > edge.bottom + 1)
        found.push(['leaves its picture', text]);
      for (const [other, b] of boxes.slice(i + 1)) {
        const across = Math.min(a.right, b.right) - Math.max(a.left, b.left);
        const down = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
        if (across > 1 && down > 2) found.push([text, other]);
      }
    });
  }
  return found;
})()"""

INVISIBLE_HEADINGS = """[...document.querySelectorAll('h1, h2, h3')].filter(
  node => !node.checkVisibility() || node.getBoundingClientRect().width < 10
).map(node => node.textContent)"""

PAGE_WIDTH = "document.documentElement.scrollWidth"

looks = pytest.mark.parametrize("scheme", ["light", "dark"])
widths = pytest.mark.parametrize("width", [1280, 390])
reports = pytest.mark.parametrize("name", REPORTS)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with open_browser(tmp_path_factory.mktemp("chromium")) as started:
        yield started


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("reports")
    for name, make in REPORTS.items():
        (folder / f"{name}.html").write_text(render_html(make()), encoding="utf-8")
    return {name: folder / f"{name}.html" for name in REPORTS}


@reports
@widths
@looks
def test_the_page_is_readable(
    browser: Browser, pages: dict[str, Path], name: str, width: int, scheme: str
):
    browser.show(pages[name], width=width, scheme=scheme)

    assert browser.problems == []
    assert outside(browser, pages[name]) == []
    assert browser.run(PAGE_WIDTH) <= width
    assert browser.run(INVISIBLE_HEADINGS) == []
    assert browser.run(LOW_CONTRAST) == []
    assert browser.run(CROWDED) == []


def test_every_section_of_a_training_run_is_on_the_page(browser: Browser, pages: dict[str, Path]):
    browser.show(pages["training"], width=1280, scheme="light")

    assert browser.run("document.querySelectorAll('main > section > h2').length") == 12
    assert browser.run("document.querySelectorAll('svg.chart').length") == 8


def test_the_smallest_phone_scrolls_down_only(browser: Browser, pages: dict[str, Path]):
    browser.show(pages["training"], width=360, scheme="light")

    assert browser.run(PAGE_WIDTH) == 360


def test_dark_is_painted_dark_and_light_light(browser: Browser, pages: dict[str, Path]):
    places = [(2, 2), (640, 4), (1270, 700)]
    for scheme, fits in (("dark", lambda c: max(c) < 48), ("light", lambda c: min(c) > 215)):
        browser.show(pages["training"], width=1280, scheme=scheme)
        painted = [browser.pixel(*place) for place in places]
        assert all(map(fits, painted)), (scheme, painted)


def test_paper_is_white_with_dark_text_also_for_dark_readers(
    browser: Browser, pages: dict[str, Path]
):
    browser.show(pages["training"], width=1000, scheme="dark")
    browser.print_view()

    assert min(browser.pixel(2, 2)) > 215
    assert browser.run(LOW_CONTRAST) == []
    assert not browser.run("document.querySelector('nav').checkVisibility()")


@looks
def test_the_readme_picture_follows_the_reader(browser: Browser, tmp_path: Path, scheme: str):
    (tmp_path / "report.svg").write_text(readme_picture(REPORTS["training"]()), encoding="utf-8")
    page = tmp_path / "readme.html"
    page.write_text("<!doctype html><body style='margin:0'><img src=report.svg width=960>")
    browser.show(page, width=1000, scheme=scheme)

    assert browser.problems == []
    assert browser.run("document.images[0].naturalWidth") > 0
    surface = browser.pixel(480, 12)
    assert max(surface) < 48 if scheme == "dark" else min(surface) > 240


def test_the_checks_see_what_they_look_for(browser: Browser, tmp_path: Path):
    page = tmp_path / "bad.html"
    page.write_text(
        "<!doctype html><body style='background:#fff'><p style='color:#bbb'>pale</p>"
        "<div style='width:3000px'>wide</div><h2 style='display:none'>hidden</h2>"
        "<svg class=chart width=99 height=50><text y=20>one</text><text y=20>two</text></svg>"
        "<img src='http://127.0.0.1:9/a.png'><script>console.error('oh')</script>"
    )
    browser.show(page, width=390, scheme="light")

    assert [text for text, _ in browser.run(LOW_CONTRAST)] == ["pale"]
    assert browser.run(PAGE_WIDTH) > 390
    assert browser.run(INVISIBLE_HEADINGS) == ["hidden"]
    assert browser.run(CROWDED) == [["one", "two"]]
    assert outside(browser, page) == ["http://127.0.0.1:9/a.png"]
    assert any("oh" in problem for problem in browser.problems)


def outside(browser: Browser, page: Path) -> list[Any]:
    """What the page asked for beside itself."""
    own = page.resolve().as_uri()
    return [url for url in browser.requests if url != own and not url.startswith("data:")]
