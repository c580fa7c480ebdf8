"""Write a first workload file from what is known of a table."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date
from typing import Literal

from lakescore.config.base import quoted
from lakescore.config.yaml_tree import resolve

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")


def render_workload(
    *,
    name: str,
    table: str,
    key: Sequence[str],
    label: str,
    time_column: str | None,
    split_days: tuple[date, date, date] | None,
    candidates: Sequence[str],
    predictions_table: str,
    label_is: Literal["column", "expression"] = "column",
) -> str:
    """The YAML of a workload that trains on all columns of a table, in under 15 lines.

    With `time_column` and `split_days` (last day of train, validation and test) the split is by
    time, else random.
    """
    by_name = label.isidentifier() or label_is == "expression"
    lines = [
        f"name: {scalar(name)}",
        f"source: {{table: {scalar(table)}, key: {_listed(key)}}}",
        f"label: {scalar(label) if by_name else f'{{column: {scalar(label)}}}'}",
        "features: all",
        *_split(time_column, split_days),
        f"candidates: {_flow(candidates)}",
        f"predictions: {{table: {scalar(predictions_table)}}}",
    ]
    return "\n".join(lines) + "\n"


def scalar(text: str) -> str:
    """`text` as a YAML scalar, plain where that reads back as the same text."""
    if _PLAIN.fullmatch(text) and resolve(text) == text:
        return text
    escaped = (
        text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    )
    return f'"{escaped}"'


def _split(time_column: str | None, days: tuple[date, date, date] | None) -> list[str]:
    if time_column is None or days is None:
        return ["split: random"]
    column = time_column if time_column.isidentifier() else quoted(time_column)
    names = ("train_until", "validation_until", "test_until")
    return [
        "split:",
        f"  by: {scalar(column)}",
        *(f"  {name}: {day.isoformat()}" for name, day in zip(names, days, strict=True)),
    ]


def _listed(names: Sequence[str]) -> str:
    return scalar(names[0]) if len(names) == 1 else _flow(names)


def _flow(items: Sequence[str]) -> str:
    return f"[{', '.join(scalar(item) for item in items)}]"
