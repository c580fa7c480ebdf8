"""Stories of a workload that scores its whole source, a day at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis.stateful import initialize, rule

from lakescore.workflows.run_result import Status
from lakescore.workflows.steps import Request
from tests.faults.floors import COLUMN, RESTORE
from tests.faults.lake_rules import LakeRules
from tests.faults.lake_story import AFTER, TALLY
from tests.faults.oracle import Belief, keyless_in_one
from tests.faults.seams import Crash, Ending, ends_at, now, outrun_by
from tests.faults.telling import NUMBER
from tests.linear import day


@dataclass(frozen=True)
class Day:
    """What one day of a snapshot was scored from, and what came of it."""

    version: int
    model: str
    judged: Belief


class Days(LakeRules):
    """A workload that scores its whole source, a day at a time."""

    belief: dict[int, Day]
    says = ("_as_of", "id", "prediction")
    identity = 2

    @initialize(number=NUMBER)
    def begin(self, number: int) -> None:
        self.start(number, {}, {}, feed=False)
        self._land([(1.0, 1, 1), (-1.0, 2, 1)])

    def modes(self) -> tuple[str, ...]:
        return (RESTORE, self.mode, COLUMN)

    @rule(number=st.integers(1, 3), looks=st.booleans())
    def score(self, number: int, looks: bool) -> None:
        self._drew("score")
        self._score(number, looks=looks)

    def _score(self, number: int, *, looks: bool = False) -> None:
        self._ran()
        plan = self._plan(Request(day(number))) if looks else None
        settles = self.forgot or self.unsettled
        result = self.life.score(as_of=day(number))
        if plan is not None:
            self._happened(plan, result, settles=settles)
        done = result.status is Status.DONE
        if not self.forgot:
            assert done == self._moved(number)
        if done:
            self._count(result, self.source.rows)
            self._became(self._scored(number))
        self._check()

    def _make_ready(self, mode: str) -> None:
        if mode == RESTORE and not self._can_take_back():
            self._make_move(1)
            self._score(1)
        if mode == COLUMN:
            self._pass_another_column()

    def _run_ends(self, point: str, mode: str) -> None:
        number = 1 + self.turn % 3
        self._make_move(number)
        with now(ends_at, Ending(point)), pytest.raises(Crash):
            self.life.score(as_of=day(number))
        if point == AFTER:
            self._became(self._scored(number))

    @rule(number=st.integers(1, 3), other=st.integers(1, 3))
    def twin(self, number: int, other: int) -> None:
        """Another run, of this or another day, commits between this run's plan and its commit."""
        self._drew("twin")
        self._ran(2)
        TALLY.fault("twin")
        self._make_move(number)

        def rival() -> None:
            self.life.score(as_of=day(other))
            self._became(self._scored(other), known=False)

        with now(outrun_by, rival):
            result = self.life.score(as_of=day(number))
        assert result.status is (Status.ALREADY_DONE if number == other else Status.DONE)
        self._became(self._scored(number), known=False)
        self._check()

    def _can_take_back(self) -> bool:
        return bool(self.earlier)

    def _make_move(self, number: int) -> None:
        """There is something to do for the day."""
        if not self._moved(number):
            self._promote("2" if self.champion == "1" else "1")

    def _moved(self, number: int) -> bool:
        at = self.belief.get(number)
        return at is None or (at.version, at.model) != (self._version(), self.champion)

    def _scored(self, number: int) -> dict[int, Day]:
        judged = Belief().judged(self.source, self.source.rows, self.champion)
        return {**self.belief, number: Day(self._version(), self.champion, judged)}

    def _became(self, belief: Any, *, known: bool = True) -> None:
        forgot = self.forgot
        super()._became(belief, known=known)
        self.forgot = forgot  # each day has its own progress

    def _scores(self, belief: dict[int, Day]) -> list[tuple[Any, ...]]:
        return sorted(
            (day(number), i, score)
            for number, at in belief.items()
            for i, (score, _) in at.judged.scores.items()
        )

    def _quarantined(self, belief: dict[int, Day]) -> list[tuple[str, int]]:
        """Of all days together, so those without a key in one."""
        return keyless_in_one(row for at in belief.values() for row in at.judged.quarantined())

    def place(self) -> int:
        return self.telling.number

    def _run_once_more(self) -> None:
        self._score(1)
