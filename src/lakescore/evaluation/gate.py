"""Decides whether a challenger may be promoted. Pure: numbers in, a decision out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import isfinite, nan
from typing import TYPE_CHECKING, Any

from lakescore.evaluation.metrics import metric
from lakescore.evaluation.select import require_ranking

if TYPE_CHECKING:
    from lakescore.config.workload import Gate
    from lakescore.evaluation.intervals import PairedDifference


@dataclass(frozen=True)
class Check:
    """One check, in a sentence and in the numbers behind it. Unmeasured numbers are left out."""

    name: str
    passed: bool
    detail: str
    numbers: Mapping[str, float]


@dataclass(frozen=True)
class GateDecision:
    """Passed when every check is."""

    passed: bool
    checks: tuple[Check, ...]

    @property
    def summary(self) -> str:
        """One sentence: what stood in the way, or that nothing did."""
        failed = [check.name.replace("_", " ") for check in self.checks if not check.passed]
        if not failed:
            return f"all {len(self.checks)} checks passed"
        return f"{len(failed)} of {len(self.checks)} checks failed: {', '.join(failed)}"

    @property
    def objections(self) -> str:
        """What the failed checks say; empty where none failed."""
        return "; ".join(check.detail for check in self.checks if not check.passed)

    def describe(self) -> dict[str, Any]:
        """JSON-ready."""
        return {**asdict(self), "summary": self.summary}


def decide(
    gate: Gate,
    *,
    against_baseline: PairedDifference,
    against_champion: PairedDifference | None,
    calibration_error: float | None,
    reload_difference: float | None,
) -> GateDecision:
    """Decide on a challenger, model `a` of both differences.

    against_baseline: passes when the interval lies beyond zero on the metric's good side.
    against_champion: on the same rows; passes when the interval's bad end is at most
    `gate.champion_margin` worse (None: there is no champion, passes). calibration_error: of a
    binary challenger (None for regression: no check). reload_difference: the largest absolute
    difference of its scores after a save and a load; passes when it is 0 (None: every number here
    is of the model as the registry gave it back, passes).
    A number that is NaN never passes. Raises UsageError for a metric that does not rank models.
    """
    checks = [
        _better_than_baseline(against_baseline),
        _not_worse_than_champion(gate, against_champion),
    ]
    if calibration_error is not None and gate.max_calibration_error is not None:
        checks.append(_calibrated(calibration_error, gate.max_calibration_error))
    checks.append(_same_after_reload(reload_difference))
    return GateDecision(all(check.passed for check in checks), tuple(checks))


def _better_than_baseline(difference: PairedDifference) -> Check:
    low, high, estimate = _gains(difference)
    passed = low > 0
    verdict = "better than" if passed else "not better beyond noise than"
    return Check(
        "better_than_baseline",
        passed,
        f"{difference.a} is {verdict} {difference.b}: {_described(difference)}.",
        _finite(difference=estimate, low=low, high=high, required=0.0),
    )


def _not_worse_than_champion(gate: Gate, difference: PairedDifference | None) -> Check:
    name = "not_worse_than_champion"
    if difference is None:
        return Check(name, True, "There is no champion yet to compare with.", {})
    low, high, estimate = _gains(difference)
    margin = gate.champion_margin
    passed = low >= -margin
    verdict = "not worse than" if passed else "possibly worse than"
    return Check(
        name,
        passed,
        f"{difference.a} is {verdict} {difference.b} with a margin of {margin:g}: "
        f"{_described(difference)}.",
        _finite(difference=estimate, low=low, high=high, required=-margin),
    )


def _calibrated(error: float, bound: float) -> Check:
    passed = error <= bound
    relation = "within" if passed else "not within"
    return Check(
        "calibrated",
        passed,
        f"The expected calibration error {error:.4f} is {relation} the bound of {bound:g}.",
        _finite(calibration_error=error, required=bound),
    )


def _same_after_reload(difference: float | None) -> Check:
    name = "same_after_reload"
    if difference is None:
        detail = "Every score here is by the model as the registry gave it back."
        return Check(name, True, detail, {})
    if difference == 0:
        detail = "Scores are the same after a save and a load."
        return Check(name, True, detail, _finite(largest_difference=difference))
    detail = f"Scores differ by up to {difference:g} after a save and a load."
    return Check(name, False, detail, _finite(largest_difference=difference))


def _gains(difference: PairedDifference) -> tuple[float, float, float]:
    """Low, high and estimate, positive where `a` is better; all NaN where one is not finite."""
    ranked = metric(difference.metric)
    require_ranking(ranked)
    ends = (ranked.gain(difference.low), ranked.gain(difference.high))
    gains = (min(ends), max(ends), ranked.gain(difference.estimate))
    return gains if all(map(isfinite, gains)) and all(map(isfinite, ends)) else (nan, nan, nan)


def _described(difference: PairedDifference) -> str:
    return (
        f"{difference.metric} differs by {difference.estimate:+.4f} "
        f"({difference.confidence:.0%} interval {difference.low:+.4f} to {difference.high:+.4f}, "
        f"{difference.rows:,} rows)"
    )


def _finite(**numbers: float) -> dict[str, float]:
    return {name: value for name, value in numbers.items() if isfinite(value)}
