"""The stories of faults: what they must come to is known before, and failing ones become short."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import assume
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tests.faults import tally
from tests.faults.floors import CRASHES, EACH_CRASH, EACH_RULE, FULL_LENGTH, RULES, crash_name
from tests.faults.telling import NUMBER, tell


def _told(folder: Path, *, without: str = "") -> None:
    """What two processes leave of a run that just comes to everything but one thing."""
    half = {f"append: {one}": EACH_RULE for one in RULES if one != without}
    crashed = [crash_name(*pair) for pair in CRASHES]
    empty: dict[str, Any] = {"kind": "story", "faults": {"all": 1}, "rows": {"read": 7}}
    for number in range(2):
        told = {**empty, "drawn": half, "runs": {"scoring runs": 350}, "crashed": {}}
        told["crashed"] = {one: EACH_CRASH - number for one in crashed if one != without}
        (folder / f"story-{number}.json").write_text(json.dumps(told))


@pytest.fixture
def full_length(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKESCORE_STORIES", str(FULL_LENGTH[0]))
    monkeypatch.setenv("LAKESCORE_STEPS", str(FULL_LENGTH[1]))


@pytest.mark.usefixtures("full_length")
def test_a_run_that_comes_to_everything_is_well(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _told(tmp_path)
    assert tally.main(str(tmp_path)) == 0
    said = capsys.readouterr().out
    assert "too few" not in said
    assert f"{2 * EACH_RULE:6d}  rule take_back" in said
    assert "| story | 2 | 14 | 0 | 0 | 0 |" in said


@pytest.mark.usefixtures("full_length")
@pytest.mark.parametrize("without", ["retry", "crash while staging, full"])
def test_what_never_happened_is_printed_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], without: str
) -> None:
    _told(tmp_path, without=without)
    assert tally.main(str(tmp_path)) == 1
    said = capsys.readouterr().out
    name = f"rule {without}" if without in RULES else without
    assert f"{0:6d}  {name}\n" in said
    assert f"too few: {name}: 0, at least" in said
    assert said.count("too few") == 1


def test_a_shorter_run_need_not_come_to_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _told(tmp_path, without="retry")
    monkeypatch.setenv("LAKESCORE_STORIES", "1")
    monkeypatch.setenv("LAKESCORE_STEPS", str(FULL_LENGTH[1]))
    assert tally.main(str(tmp_path)) == 0


def test_a_run_without_stories_at_full_length_is_not_well(
    tmp_path: Path, full_length: None
) -> None:
    assert tally.main(str(tmp_path)) == 1


def test_the_floors_are_of_the_rules_that_stories_have() -> None:
    pytest.importorskip("deltalake")
    from tests.faults.days import Days
    from tests.faults.following import LateReadings

    found = Counter(
        one.function.__name__ for kind in (Days, LateReadings) for one in kind.setup_state().rules
    )
    assert set(found) == set(RULES)


class ForgetsDeletes(RuleBasedStateMachine):
    """A lake whose scoring never takes away what the source deleted."""

    def __init__(self) -> None:
        super().__init__()
        self.source, self.scores = dict[int, float](), dict[int, float]()

    @initialize(number=NUMBER)
    def begin(self, number: int) -> None:
        assume(number)

    @rule(values=st.lists(st.sampled_from([0.0, 1.0]), min_size=1, max_size=4))
    def append(self, values: list[float]) -> None:
        self.source |= dict(enumerate(values, start=len(self.source) + 1))

    @rule(one=st.integers(1, 3))
    def delete(self, one: int) -> None:
        self.source.pop(one, None)

    @rule()
    def optimize(self) -> None:
        """Changes no row."""

    @rule()
    def score(self) -> None:
        self.scores |= self.source
        assert self.scores == self.source


def test_a_failing_story_becomes_a_readable_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKESCORE_SHRINK", "1")
    with pytest.raises(AssertionError) as failed:
        tell(ForgetsDeletes, 3, steps=40)
    story = [line for note in failed.value.__notes__ for line in note.splitlines()]
    steps = [line.strip() for line in story if line.strip().startswith("state.")]
    assert steps == [
        "state.begin(number=1)",
        "state.append(values=[0.0])",
        "state.score()",
        "state.delete(one=1)",
        "state.score()",
        "state.teardown()",
    ]
