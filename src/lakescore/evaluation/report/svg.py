"""Building SVG with the standard library's element tree, which escapes all that it writes."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from xml.etree.ElementTree import Element, SubElement, tostring

from markupsafe import Markup

#: Mean width of a character at the charts' 12 px, in px; wide scripts count twice.
_CHARACTER = 6.6


def drawing(name: str, title: str, description: str, width: float, height: float) -> Element:
    """A picture of (width, height) px that a screen reader announces with title and text.

    `name` must be unique within the page.
    """
    svg = Element(
        "svg",
        {
            "class": "chart",
            "viewBox": f"0 0 {_text(width)} {_text(height)}",
            "role": "img",
            "aria-labelledby": f"{name}-title {name}-desc",
        },
    )
    add(svg, "title", title, id=f"{name}-title")
    add(svg, "desc", description, id=f"{name}-desc")
    return svg


def add(parent: Element, tag: str, text: str | None = None, /, **attributes: object) -> Element:
    """Append an element. `class_` is class, `stroke_width` is stroke-width; floats are rounded."""
    named = {key.rstrip("_").replace("_", "-"): _text(item) for key, item in attributes.items()}
    child = SubElement(parent, tag, named)
    child.text = text
    return child


def label(parent: Element, text: str, width: float, /, **attributes: object) -> Element:
    """Text cut to `width` px with an ellipsis; the whole of it stays as a tooltip."""
    shown = fit(text, width)
    node = add(parent, "text", shown, **attributes)
    if shown != text:
        add(node, "title", text)
    return node


def fit(text: str, width: float) -> str:
    """As much of `text` as `width` px hold."""
    if text_width(text) <= width:
        return text
    kept, used = "", _CHARACTER
    for character in text:
        used += text_width(character)
        if used > width:
            break
        kept += character
    return kept.rstrip() + "…"


def text_width(text: str) -> float:
    """About how wide a text is at 12 px, rather more than less."""
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return (len(text) + wide) * _CHARACTER


def path(points: Iterable[tuple[float, float]]) -> str:
    """The `d` of a line through points given in px."""
    return "M" + "L".join(f"{_text(x)} {_text(y)}" for x, y in points)


def markup(element: Element) -> Markup:
    """The element as text that needs no more escaping."""
    return Markup(tostring(element, encoding="unicode"))  # noqa: S704 - the tree has escaped it


def _text(value: object) -> str:
    if isinstance(value, float):
        rounded = round(value, 1)
        return str(int(rounded) if rounded == int(rounded) else rounded)
    return str(value)
