"""The gate: what lets a challenger pass, what stops it, and how it is said."""

from __future__ import annotations

import json
from dataclasses import replace
from math import nan

import pytest

from lakescore.config.workload import Gate
from lakescore.errors import UsageError
from lakescore.evaluation.gate import GateDecision, decide
from lakescore.evaluation.intervals import PairedDifference

BETTER = PairedDifference(
    metric="average_precision",
    a="challenger",
    b="baseline",
    split="test",
    estimate=0.12,
    low=0.10,
    high=0.14,
    confidence=0.95,
    rows=27_000,
    replicates=200,
)
AS_GOOD = replace(BETTER, b="champion", estimate=0.0, low=-0.004, high=0.004)
LESS_LOSS = replace(BETTER, metric="log_loss", estimate=-0.12, low=-0.14, high=-0.10)


def decided(gate: Gate | None = None, **changes) -> GateDecision:
    numbers = {
        "against_baseline": BETTER,
        "against_champion": AS_GOOD,
        "calibration_error": 0.02,
        "reload_difference": 0.0,
    }
    return decide(gate or Gate(), **{**numbers, **changes})


def failed(decision: GateDecision) -> list[str]:
    return [check.name for check in decision.checks if not check.passed]


def detail(decision: GateDecision, name: str) -> str:
    return next(check.detail for check in decision.checks if check.name == name)


def test_a_challenger_that_meets_every_check_passes() -> None:
    decision = decided()
    assert decision.passed
    assert [check.name for check in decision.checks] == [
        "better_than_baseline",
        "not_worse_than_champion",
        "calibrated",
        "same_after_reload",
    ]
    assert decision.summary == "all 4 checks passed"
    assert detail(decision, "better_than_baseline") == (
        "challenger is better than baseline: average_precision differs by +0.1200 "
        "(95% interval +0.1000 to +0.1400, 27,000 rows)."
    )


@pytest.mark.parametrize("low", [0.0, -0.01])
def test_a_gain_over_the_baseline_within_noise_stops_it(low: float) -> None:
    decision = decided(against_baseline=replace(BETTER, low=low))
    assert not decision.passed
    assert failed(decision) == ["better_than_baseline"]
    assert decision.summary == "1 of 4 checks failed: better than baseline"


def test_less_is_better_for_a_loss() -> None:
    more_loss = replace(LESS_LOSS, estimate=0.12, low=0.10, high=0.14)
    assert decided(against_baseline=LESS_LOSS).passed
    assert failed(decided(against_baseline=more_loss)) == ["better_than_baseline"]
    worse = replace(LESS_LOSS, b="champion", estimate=0.01, low=-0.001, high=0.021)
    assert failed(decided(against_champion=worse)) == ["not_worse_than_champion"]


@pytest.mark.parametrize(("low", "passes"), [(-0.005, True), (-0.0051, False)])
def test_the_champion_margin_bounds_how_much_worse_it_may_be(low: float, passes: bool) -> None:
    decision = decided(Gate(champion_margin=0.005), against_champion=replace(AS_GOOD, low=low))
    assert decision.passed is passes
    numbers = {check.name: check.numbers for check in decision.checks}["not_worse_than_champion"]
    assert numbers == {"difference": 0.0, "low": low, "high": 0.004, "required": -0.005}


def test_without_a_champion_the_check_passes_and_says_so() -> None:
    decision = decided(against_champion=None)
    assert decision.passed
    assert detail(decision, "not_worse_than_champion") == (
        "There is no champion yet to compare with."
    )


def test_bad_calibration_stops_it() -> None:
    decision = decided(Gate(max_calibration_error=0.05), calibration_error=0.0501)
    assert failed(decision) == ["calibrated"]
    assert "0.0501 is not within the bound of 0.05" in detail(decision, "calibrated")


@pytest.mark.parametrize(
    ("gate", "error"), [(Gate(max_calibration_error=None), 0.9), (Gate(), None)]
)
def test_calibration_is_checked_only_where_it_is_bounded(gate: Gate, error: float | None) -> None:
    decision = decided(gate, calibration_error=error)
    assert decision.passed
    assert "calibrated" not in [check.name for check in decision.checks]


def test_other_scores_after_a_reload_stop_it() -> None:
    decision = decided(reload_difference=1e-15)
    assert failed(decision) == ["same_after_reload"]
    assert "differ by up to 1e-15" in detail(decision, "same_after_reload")


def test_a_model_that_was_only_loaded_is_scored_as_loaded() -> None:
    decision = decided(reload_difference=None)
    assert decision.passed
    assert "as the registry gave it back" in detail(decision, "same_after_reload")


@pytest.mark.parametrize(
    ("changes", "check"),
    [
        ({"against_baseline": replace(BETTER, low=nan)}, "better_than_baseline"),
        ({"against_baseline": replace(BETTER, high=nan)}, "better_than_baseline"),
        ({"against_baseline": replace(LESS_LOSS, low=nan)}, "better_than_baseline"),
        ({"against_champion": replace(AS_GOOD, estimate=nan)}, "not_worse_than_champion"),
        ({"calibration_error": nan}, "calibrated"),
        ({"reload_difference": nan}, "same_after_reload"),
    ],
)
def test_nan_never_passes(changes, check: str) -> None:
    decision = decided(**changes)
    assert failed(decision) == [check]
    json.dumps(decision.describe(), allow_nan=False)


def test_a_metric_that_only_describes_cannot_decide() -> None:
    with pytest.raises(UsageError, match="'base_rate' describes a model") as raised:
        decided(against_baseline=replace(BETTER, metric="base_rate"))
    assert "average_precision" in str(raised.value.hint)
