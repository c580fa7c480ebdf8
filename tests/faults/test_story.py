"""Random stories of a source and its scoring, against a few lines of plain Python.

Each step is one thing that happens to a lake: rows come, change or go, a model is promoted, a run
starts, crashes at some point of the protocol, loses to a twin, is repeated, is told to start
over; somebody optimises or restores a table. After every run the predictions and the quarantine
in force must be what the oracle says, exactly.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from lakescore.lake import commits
from lakescore.lake.snapshot import pin
from lakescore.workflows.run_result import Status
from tests.conftest import settings_under
from tests.linear import COEFFICIENTS, Life, day, register_versions, workload

pytestmark = [pytest.mark.spark, pytest.mark.slow]

STORIES = int(os.environ.get("LAKESCORE_STORIES", "2"))
STEPS = int(os.environ.get("LAKESCORE_STEPS", "14"))
DRAWN: Counter[str] = Counter()


class Crash(Exception):
    """The process ends here."""


#: The source's row: x and day.
Row = tuple[float, int]
ROWS = st.tuples(st.sampled_from([-2.0, 0.0, 1.0, 3.5]), st.integers(1, 3))


class Story(RuleBasedStateMachine):
    """One source, one workload. `touched` are the ids that commits wrote since the last run."""

    spark: Any
    registered: Path
    scratch: Path
    mode: str

    @initialize(feed=st.booleans())
    def begin(self, feed: bool) -> None:
        root = self.scratch / f"story-{len(list(self.scratch.iterdir()))}"
        root.mkdir()
        shutil.copyfile(self.registered / "mlflow.db", root / "mlflow.db")
        options = {"mode": self.mode, "backfill_by": "day"}
        self.life = Life(self.spark, settings_under(root), workload(options), feed)
        self.champion, self.next_id = "1", 1
        self.rows: dict[int, Row] = {}
        self.touched: set[int] = set()
        self.scored: dict[int, Row] = {}
        self.scored_at = -1
        self.scores: dict[int, tuple[float, str]] = {}
        self.refused: set[int] = set()
        self.append([(1.0, 1), (-1.0, 2)])

    # --- what happens to the source ------------------------------------------------------------

    @rule(values=st.lists(ROWS, min_size=1, max_size=4))
    def append(self, values: list[Row]) -> None:
        DRAWN["append"] += 1
        new = {self.next_id + i: value for i, value in enumerate(values)}
        self.rows |= new
        self.touched |= set(new)
        self.next_id += len(values)
        self.life.append(*((i, x, day(d)) for i, (x, d) in new.items()))

    @precondition(lambda self: self.mode == "upsert" and self.rows)
    @rule(data=st.data(), x=st.sampled_from([-1.0, 2.0, 4.0]))
    def update(self, data: st.DataObject, x: float) -> None:
        DRAWN["update"] += 1
        one = data.draw(st.sampled_from(sorted(self.rows)))
        self.rows[one] = (x, self.rows[one][1])
        self.touched.add(one)
        self.life.sql(f"UPDATE {{t}} SET x = {x} WHERE id = {one}")

    @precondition(lambda self: self.mode == "upsert" and self.rows)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        DRAWN["delete"] += 1
        one = data.draw(st.sampled_from(sorted(self.rows)))
        del self.rows[one]
        self.life.sql(f"DELETE FROM {{t}} WHERE id = {one}")

    @precondition(lambda self: self.mode == "upsert")
    @rule(x=st.sampled_from([-3.0, 6.0]))
    def overwrite(self, x: float) -> None:
        """Half of the rows stay as they are, the others go, and one comes."""
        DRAWN["overwrite"] += 1
        self.rows = {**dict(list(self.rows.items())[::2]), self.next_id: (x, 1)}
        self.next_id += 1
        self.touched |= set(self.rows)
        self.life.overwrite(*((i, x, day(d)) for i, (x, d) in self.rows.items()))

    @rule()
    def optimize(self) -> None:
        DRAWN["optimize"] += 1
        self.life.sql("OPTIMIZE {t}")
        scores = self.life.lake.table("scores")
        if scores.exists(self.spark):
            self.spark.sql(f"OPTIMIZE {scores.sql_name}").collect()

    @rule(version=st.sampled_from(["1", "2", "3"]))
    def promote(self, version: str) -> None:
        DRAWN["promote"] += 1
        self.champion = version
        self.life.promote(version)

    # --- runs ------------------------------------------------------------------------------------

    @rule()
    def score(self) -> None:
        DRAWN["score"] += 1
        moved = self._moved()
        result = self.life.score()
        assert result.status is (Status.DONE if moved else Status.NOTHING_TO_DO)
        self._expect_new()
        self._check()

    @rule()
    def full(self) -> None:
        DRAWN["full"] += 1
        self.life.score(full=True)
        self.scores, self.refused = {}, set()
        self._expect(self.rows)
        self._caught_up()
        self._check()

    @rule(first=st.integers(1, 3), length=st.integers(0, 2))
    def backfill(self, first: int, length: int) -> None:
        DRAWN["backfill"] += 1
        last = min(first + length, 3)
        self.life.backfill(first=f"2024-01-0{first}", last=f"2024-01-0{last}")
        self._expect_new()
        self._expect({i: row for i, row in self.rows.items() if first <= row[1] <= last})
        self._check()

    @rule(point=st.sampled_from(["before the quarantine", "before the commit", "after the commit"]))
    def crash(self, point: str) -> None:
        DRAWN[f"crash {point}"] += 1
        moved, real = self._moved(), commits.write_once

        def at_commit(*args: Any, **kwargs: Any) -> Any:
            if point == "after the commit":
                real(*args, **kwargs)
            raise Crash

        if point == "before the quarantine":
            broken = mock.patch.object(commits.PredictionsLog, "_judge", side_effect=Crash)
        else:
            broken = mock.patch.object(commits, "write_once", at_commit)
        with broken, pytest.raises(Crash) if moved else nullcontext():
            self.life.score()
        if moved and point == "after the commit":
            self._expect_new()
        if self.scores or self.refused:
            self._check()

    @rule()
    def twin(self) -> None:
        """Another run commits between this run's plan and its commit."""
        DRAWN["twin"] += 1
        moved, real = self._moved(), commits.PredictionsLog.commit
        raced: list[bool] = []

        def commit(log: Any, staged: Any, plan: Any) -> Any:
            if not raced:
                raced.append(True)
                assert self.life.score().status is Status.DONE
            return real(log, staged, plan)

        with mock.patch.object(commits.PredictionsLog, "commit", commit):
            result = self.life.score()
        assert result.status is (Status.ALREADY_DONE if moved else Status.NOTHING_TO_DO)
        self._expect_new()
        self._check()

    # --- the oracle ----------------------------------------------------------------------------

    def _version(self) -> int:
        return pin(self.spark, self.life.source).version

    def _moved(self) -> bool:
        return self._version() != self.scored_at

    def _caught_up(self) -> None:
        self.scored, self.scored_at, self.touched = dict(self.rows), self._version(), set()

    def _expect_new(self) -> None:
        for gone in set(self.scored) - set(self.rows):
            self._forget(gone)
        changed = {i for i, row in self.rows.items() if self.scored.get(i) != row}
        judged = self.touched & set(self.rows) if self.life.feed else changed
        self._expect({i: self.rows[i] for i in judged})
        self._caught_up()

    def _expect(self, judged: dict[int, Row]) -> None:
        a, b = COEFFICIENTS[int(self.champion) - 1]
        for one, (x, _) in judged.items():
            self._forget(one)
            if x >= 0:
                self.scores[one] = (a * x + b, self.champion)
            else:
                self.refused.add(one)

    def _forget(self, one: int) -> None:
        self.scores.pop(one, None)
        self.refused.discard(one)

    def _check(self) -> None:
        assert self.life.scores() == sorted((i, *score) for i, score in self.scores.items())
        assert self.life.refused() == sorted((f'{{"id":{i}}}', 1) for i in self.refused)


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("linear")
    register_versions(settings_under(root))
    return root


@pytest.mark.parametrize("mode", ["append", "upsert"])
def test_every_story_ends_as_the_oracle_says(
    spark, registered: Path, tmp_path: Path, mode: str
) -> None:
    story = type("Story", (Story,), {})
    story.spark, story.registered, story.scratch, story.mode = spark, registered, tmp_path, mode
    run_state_machine_as_test(
        story,
        settings=settings(
            max_examples=STORIES,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )
    print("drawn:", dict(sorted(DRAWN.items())))
