"""Numbers and times as a reader wants them: separators, few digits, units."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import datetime, timezone

#: What stands where there is no number.
ABSENT = "\N{EN DASH}"
_MINUS = "\N{MINUS SIGN}"


def count(value: int | None) -> str:
    """Whole rows: 336776 -> '336,776'."""
    return ABSENT if value is None else f"{value:,}".replace("-", _MINUS)


def figure(value: float | None, digits: int = 3) -> str:
    """`digits` significant digits, never fewer than the whole part: 0.38412 -> '0.384'."""
    if value is None:
        return ABSENT
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else ABSENT
    magnitude = math.floor(math.log10(abs(value)))
    if magnitude < -4 or magnitude > 11:
        return f"{value:.{digits - 1}e}".replace("-", _MINUS)
    return f"{value:,.{max(0, digits - 1 - magnitude)}f}".replace("-", _MINUS)


def decimals(values: Iterable[float | None], digits: int = 3) -> int:
    """The decimals that give the largest value `digits` significant digits: one for a column."""
    largest = max((abs(value) for value in values if value), default=1.0)
    return min(max(0, digits - 1 - math.floor(math.log10(largest))), 12)


def fixed(value: float | None, places: int) -> str:
    """A number with so many decimals, to line up under others."""
    return ABSENT if value is None else f"{value:,.{places}f}".replace("-", _MINUS)


def score(value: float | None) -> str:
    """A metric: three decimals below ten, so that a column of them lines up."""
    if value is None or abs(value) >= 10 or 0 < abs(value) < 0.0005:
        return figure(value)
    return f"{value:.3f}".replace("-", _MINUS)


def interval(low: float | None, high: float | None) -> str:
    """'0.372 to 0.396', or nothing where either end is missing."""
    return "" if low is None or high is None else f"{score(low)} to {score(high)}"


def percent(share: float | None) -> str:
    """0.1234 -> '12.3%'. A share that is not zero is never shown as 0."""
    if share is None:
        return ABSENT
    value = 100 * share
    if 0 < abs(value) < 0.05:
        return "<0.1%"
    return f"{value:,.1f}%".replace("-", _MINUS)


def duration(seconds: float | None) -> str:
    """Two units at most: 92.4 -> '1 min 32 s'; below ten seconds with a decimal."""
    if seconds is None:
        return ABSENT
    if seconds < 9.95:
        return f"{seconds:.2f} s" if seconds < 0.995 else f"{seconds:.1f} s"
    whole = round(seconds)
    for name, size, smaller, small in (("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if whole >= size:
            return f"{whole // size} {name} {whole % size // small} {smaller}"
    return f"{whole} s"


def moment(value: datetime) -> str:
    """A time in UTC, to the second."""
    return value.astimezone(timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")


def short(identifier: str, length: int = 12) -> str:
    """The start of a long id or hash."""
    return identifier if len(identifier) <= length else identifier[:length] + "…"


def words(name: str) -> str:
    """A name of code as words: 'average_precision' -> 'average precision'."""
    return name.replace("_", " ")
