"""How a story is told: once, at random, and where it fails (if asked) again, ever shorter."""

from __future__ import annotations

import os

import hypothesis.strategies as st
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

STEPS = int(os.environ.get("LAKESCORE_STEPS", "8"))
#: What a story draws first. Hypothesis begins with the simplest one, the same rule again and again:
#: its number is 0, and `assume(number)` leaves it out.
NUMBER = st.integers(0, 2**32)


def phases() -> tuple[Phase, ...]:
    """Telling a failed story again and again takes an hour: asked for, not usual."""
    shrinks = "LAKESCORE_SHRINK" in os.environ
    return (Phase.generate, Phase.shrink) if shrinks else (Phase.generate,)


def tell(machine: type[RuleBasedStateMachine], number: int, *, steps: int = STEPS) -> None:
    """The story of this number: `steps` steps of the machine. Raises what ended it."""
    run_state_machine_as_test(
        seed(number)(machine),
        settings=settings(
            max_examples=1,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
            database=None,
            phases=phases(),
        ),
        _min_steps=steps - 1,
    )
