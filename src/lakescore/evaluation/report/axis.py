"""Scales and ticks of a chart."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """A straight line from data [low, high] to pixels [start, end]. Calling it places a value."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self, wanted: int = 5) -> tuple[float, ...]:
        """About `wanted` round values inside the domain (steps of 1, 2 or 5 times ten)."""
        step = _round_step((self.high - self.low) / wanted)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return tuple(index * step for index in range(first, last + 1))


def _round_step(rough: float) -> float:
    power: float = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)


def spread(values: Iterable[float], margin: float = 0.08) -> tuple[float, float]:
    """The domain that holds all values and a little air; never empty."""
    kept = tuple(values)
    low, high = (min(kept), max(kept)) if kept else (0.0, 1.0)
    air = (high - low) * margin or abs(high) * 0.1 or 1.0
    return low - air, high + air


def from_zero(values: Iterable[float]) -> tuple[float, float]:
    """The domain of bars, which must start at zero, ending on a round value."""
    high = max((*values, 0.0)) or 1.0
    step = _round_step(high / 4)
    return 0.0, step * math.ceil(high / step - 1e-9)


def tick_texts(ticks: tuple[float, ...]) -> tuple[str, ...]:
    """The ticks with the decimals that their step needs; thousands as k, millions as M."""
    if not ticks:
        return ()
    step = ticks[1] - ticks[0] if len(ticks) > 1 else abs(ticks[0]) or 1.0
    if step >= 1e9 or step < 1e-6:
        return tuple(f"{tick:g}" for tick in ticks)
    size, suffix = next((pair for pair in ((1e6, "M"), (1e3, "k")) if step >= pair[0]), (1.0, ""))
    decimals = max(0, -math.floor(math.log10(step / size) + 1e-9))
    return tuple(_tick(tick / size, decimals, suffix) for tick in ticks)


def _tick(value: float, decimals: int, suffix: str) -> str:
    shown = f"{value:,.{decimals}f}"
    if not shown.strip("-0."):
        return shown.lstrip("-")
    return shown.replace("-", "\N{MINUS SIGN}") + suffix
