"""What the runs say: medians with their spread, ratios, costs apart, memory, and a picture."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any
from xml.etree.ElementTree import tostring

import numpy as np

from lakescore.evaluation.report.render import style_sheet
from lakescore.evaluation.report.svg import add, drawing, label

#: By either road: the one that `plan` chooses, and the one that is always open.
OURS = ("lakescore", "lakescore, general road")
_VERSIONS = (
    "pyspark",
    "delta-spark",
    "synapseml",
    "mlflow-skinny",
    "lightgbm",
    "lleaves",
    "pyarrow",
)
_STYLE = (
    "text { font-family: system-ui, sans-serif; font-size: 13px; fill: var(--text); }"
    " .small { fill: var(--muted); } .surface { fill: var(--surface); }"
    " .bar { fill: var(--muted); } .ours { fill: var(--series-1); }"
)


class Results:
    """The runs kept in a file, as they come."""

    def __init__(self, path: Path) -> None:
        self._path = path
        found = json.loads(path.read_text()) if path.exists() else {}
        self.runs: list[dict[str, Any]] = found.get("runs", [])
        self.about: dict[str, Any] = found.get("about", {})

    def add(self, run: dict[str, Any]) -> None:
        self.runs.append(run)
        self._keep()

    def note(self, about: dict[str, Any], command: str) -> None:
        """The machine, and one more command that gave runs."""
        known = self.about.get("commands", [])
        self.about = {**about, "commands": list(dict.fromkeys([*known, command]))}
        self._keep()

    def _keep(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text(json.dumps({"about": self.about, "runs": self.runs}, indent=1))

    @property
    def shapes(self) -> list[str]:
        return list(dict.fromkeys(run["shape"] for run in self.runs))

    def peers(self, shape: str) -> list[str]:
        return list(dict.fromkeys(run["peer"] for run in self.runs if run["shape"] == shape))

    def sizes(self, shape: str) -> list[int]:
        return sorted({run["rows"] for run in self.runs if run["shape"] == shape})

    def of(self, shape: str, peer: str, rows: int) -> list[dict[str, Any]]:
        wanted = {"shape": shape, "peer": peer, "rows": rows}
        return [run for run in self.runs if wanted.items() <= run.items()]

    def seconds(self, shape: str, peer: str, rows: int) -> list[float]:
        return sorted(run["seconds"] for run in self.of(shape, peer, rows))


@dataclass(frozen=True)
class Cost:
    """Seconds = fixed + each * rows, by least squares over the medians of the sizes."""

    fixed: float
    each: float


def cost(results: Results, shape: str, peer: str) -> Cost | None:
    points = [(rows, found) for rows in results.sizes(shape)
              if (found := results.seconds(shape, peer, rows))]  # fmt: skip
    if len(points) < 2:
        return None
    rows = np.array([float(rows) for rows, _ in points])
    seconds = np.array([median(found) for _, found in points])
    # Weighted by size: the spread of a run grows with it.
    each, fixed = np.polyfit(rows, seconds, 1, w=1 / seconds)
    return Cost(float(fixed), float(each))


def machine(cores: int) -> dict[str, Any]:
    cpu = next(
        (line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
         if line.startswith("model name")), platform.machine(),
    )  # fmt: skip
    return {
        "cores": cores,
        "cpu": cpu,
        "python": platform.python_version(),
        "versions": {name: version(name) for name in _VERSIONS},
    }


def table(results: Results) -> str:
    """Markdown: a table a shape, then costs and memory."""
    lines = []
    if results.about:
        about = results.about
        named = ", ".join(f"{name} {found}" for name, found in about["versions"].items())
        lines += ["```", *about["commands"], "```", "",
                  f"On {about['cores']} cores ({about['cpu']}), Python {about['python']}, {named}.",
                  ""]  # fmt: skip
    for shape in results.shapes:
        lines += [f"### {shape}", "", *_rates(results, shape), "", *_costs(results, shape), ""]
    return "\n".join(lines).rstrip()


def _rates(results: Results, shape: str) -> Iterator[str]:
    sizes = results.sizes(shape)
    yield "| rows/s, median (least to most) | " + " | ".join(f"{n:,} rows" for n in sizes) + " |"
    yield "|---" * (len(sizes) + 1) + "|"
    for peer in results.peers(shape):
        cells = []
        for rows in sizes:
            found = results.seconds(shape, peer, rows)
            rates = [rows / one for one in found]
            spread = f" ({min(rates):,.0f} to {max(rates):,.0f})" if len(rates) > 1 else ""
            cells.append(f"{rows / median(found):,.0f}{spread}" if found else "")
        yield f"| {peer} | " + " | ".join(cells) + " |"
    peers = results.peers(shape)
    for own, peer in product([one for one in peers if one in OURS], peers):
        if peer in OURS:
            continue
        cells = []
        for rows in sizes:
            ours, theirs = (results.seconds(shape, one, rows) for one in (own, peer))
            cells.append(f"{median(theirs) / median(ours):.2f}" if ours and theirs else "")
        yield f"| **{own} / {peer}** | " + " | ".join(cells) + " |"


def _costs(results: Results, shape: str) -> Iterator[str]:
    yield "| | fixed, s | a million rows, s | peak of workers, MiB | of Java, MiB | same doubles |"
    yield "|---|---|---|---|---|---|"
    digests = {peer: _digests(results, shape, peer) for peer in results.peers(shape)}
    ours = digests.get(OURS[0], {})
    for peer in results.peers(shape):
        found = cost(results, shape, peer)
        costs = f"{found.fixed:.1f} | {found.each * 1e6:.2f}" if found else " | "
        memory = " | ".join(_memory(results, shape, peer, kind) for kind in ("workers", "java"))
        common = ours.keys() & digests[peer].keys()
        same = "yes" if all(digests[peer][rows] == ours[rows] for rows in common) else "other"
        yield f"| {peer} | {costs} | {memory} | {same} |"


def _digests(results: Results, shape: str, peer: str) -> dict[int, Any]:
    """By rows."""
    runs = {rows: results.of(shape, peer, rows) for rows in results.sizes(shape)}
    return {rows: found[0]["digest"] for rows, found in runs.items() if found}


def _memory(results: Results, shape: str, peer: str, kind: str) -> str:
    """At the least and the most rows that it scored."""
    sizes = [rows for rows in results.sizes(shape) if results.of(shape, peer, rows)]
    ends = dict.fromkeys((sizes[0], sizes[-1]))
    peaks = [max((run["memory"].get(kind, 0) for run in results.of(shape, peer, rows)), default=0)
             for rows in ends]  # fmt: skip
    return " → ".join(f"{peak:,.0f}" for peak in peaks)


def picture(results: Results) -> str:
    """Bars: rows a second of each peer at the largest size that all have, as SVG text."""
    bars = []
    for shape in results.shapes:
        peers = results.peers(shape)
        all_have = [
            rows
            for rows in results.sizes(shape)
            if all(results.seconds(shape, peer, rows) for peer in peers)
        ]
        rows = max(all_have, default=0)
        bars += [(f"{shape}, {rows / 1e6:.0f}M rows", None, False)]
        for peer in peers if rows else ():
            rate = rows / median(results.seconds(shape, peer, rows))
            bars += [(peer, rate, peer in OURS)]
    most = max((rate for _, rate, _ in bars if rate), default=1.0)
    height = 24 * len(bars) + 24
    svg = drawing("benchmarks", "Rows scored a second", "see the table", 720, height)
    svg.set("xmlns", "http://www.w3.org/2000/svg")
    add(svg, "style", style_sheet("palette.css") + style_sheet("charts.css") + _STYLE)
    add(svg, "rect", x=0.5, y=0.5, width=719, height=height - 1, rx=10, class_="surface")
    for place, (text, rate, ours) in enumerate(bars):
        y = 24 * place + 30
        if rate is None:
            label(svg, text, 700, x=16, y=y)
            continue
        label(svg, text, 180, x=28, y=y, class_="small")
        width = 400 * rate / most
        add(svg, "rect", x=200, y=y - 12, width=width, height=15, rx=2,
            class_="ours" if ours else "bar")  # fmt: skip
        add(svg, "text", f"{rate:,.0f}", x=208 + width, y=y)
    return tostring(svg, encoding="unicode") + "\n"
