"""Random stories of a source and its scoring, against a few lines of plain Python.

Each step is one thing that happens to a lake: rows come, change or go, a model is promoted, a run
starts, crashes at some point of the protocol, loses to a twin, is repeated, is taken back or told
to start over; somebody optimises, vacuums or restores a table, or its history is cleaned. After
every run the predictions and the quarantine in force must be what the oracle says, exactly, and
at the end every version of the predictions that a run left must still say it.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any
from unittest import mock

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from lakescore.errors import SourceChanged, VersionUnreadable
from lakescore.lake import commits, staging
from lakescore.workflows.plan import plan_scoring
from lakescore.workflows.restore import restore
from lakescore.workflows.run_result import RunResult, Status
from tests.conftest import settings_under
from tests.faults.lake_events import lose_history, newest_version, optimize, restore_to, vacuum
from tests.faults.oracle import Belief, Row, SourceHistory
from tests.faults.tally import Tally
from tests.linear import Life, day, workload

pytestmark = pytest.mark.spark

STORIES = int(os.environ.get("LAKESCORE_STORIES", "1"))
STEPS = int(os.environ.get("LAKESCORE_STEPS", "8"))
#: What was drawn, and what became of the rows, over all stories of this process.
DRAWN: Counter[str] = Counter()
TALLY = Tally("stories")

CRASHES = ("while staging", "before the quarantine", "before the commit", "after the commit")
X = st.sampled_from([-2.0, 0.0, 1.0, 3.5])
ROWS = st.tuples(X, st.integers(1, 3), st.sampled_from([1, 1, 1, 2]))
DAY_ONE = "2024-01-01"


class Crash(Exception):
    """The process ends here."""


@dataclass(frozen=True)
class Day:
    """What one day of a snapshot was scored from, and what came of it."""

    version: int
    model: str
    judged: Belief


class LakeStory(RuleBasedStateMachine):
    """One source, one workload over it, and what others do to both.

    `belief` is what the lake must say. `earlier` are the beliefs to which commits can be taken
    back; `known` maps versions of the predictions table to what they say.
    """

    spark: Any
    registered: Path
    scratch: Path
    mode: str

    def start(self, options: dict[str, Any], belief: Any, *, feed: bool) -> None:
        root = self.scratch / f"story-{len(list(self.scratch.iterdir()))}"
        root.mkdir()
        shutil.copyfile(self.registered / "mlflow.db", root / "mlflow.db")
        settings, options = settings_under(root), {"mode": self.mode, **options}
        self.life = Life(self.spark, settings, workload(options), feed)
        self.scores_table = self.life.lake.table("scores")
        self.champion, self.source = "1", SourceHistory()
        self.belief, self.earlier = belief, list[Any]()
        self.known: dict[int, Any] = {}
        self.partial = self.forgot = self.unsettled = False
        self.append([(1.0, 1, 1), (-1.0, 2, 1)])

    # --- what happens to the source ------------------------------------------------------------

    @rule(values=st.lists(ROWS, min_size=1, max_size=4))
    def append(self, values: list[Row]) -> None:
        self._drew("append")
        new = dict(zip(self.source.new_ids(len(values)), values, strict=True))
        self.source.rows |= new
        copies = [(i, x, day(d)) for i, (x, d, n) in new.items() for _ in range(n)]
        self.life.append(*copies)
        self._source_moved(new)

    @precondition(lambda self: self.mode != "append" and self.source.rows)
    @rule(data=st.data(), x=st.sampled_from([-1.0, 2.0, 4.0]))
    def update(self, data: st.DataObject, x: float) -> None:
        self._drew("update")
        one = data.draw(st.sampled_from(sorted(self.source.rows)))
        _, at, copies = self.source.rows[one]
        self.source.rows[one] = (x, at, copies)
        self.life.sql(f"UPDATE {{t}} SET x = {x} WHERE id = {one}")
        self._source_moved([one])

    @precondition(lambda self: self.mode != "append" and self.source.rows)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        self._drew("delete")
        one = data.draw(st.sampled_from(sorted(self.source.rows)))
        del self.source.rows[one]
        self.life.sql(f"DELETE FROM {{t}} WHERE id = {one}")
        self._source_moved()

    @precondition(lambda self: self.mode != "append")
    @rule(x=st.sampled_from([-3.0, 6.0]))
    def overwrite(self, x: float) -> None:
        """Half of the rows stay as they are, the others go, and one comes."""
        self._drew("overwrite")
        kept = {i: (x, d, 1) for i, (x, d, _) in list(self.source.rows.items())[::2]}
        self.source.rows = {**kept, self.source.new_ids(1)[0]: (x, 1, 1)}
        self.life.overwrite(*((i, x, day(d)) for i, (x, d, _) in self.source.rows.items()))
        self._source_moved(self.source.rows)

    @rule()
    def add_column(self) -> None:
        self._drew("add a column")
        name = f"added{newest_version(self.life.source)}"
        self.life.sql(f"ALTER TABLE {{t}} ADD COLUMNS ({name} string)")
        self._source_moved()

    @rule()
    def optimize(self) -> None:
        self._drew("optimize")
        optimize(self.spark, self.life.source)
        self._source_moved()
        if self._has_scores():
            optimize(self.spark, self.scores_table)

    @rule(version=st.sampled_from(["1", "2", "3"]))
    def promote(self, version: str) -> None:
        self._drew("promote")
        self.champion = version
        self.life.promote(version)

    # --- what happens to the predictions -------------------------------------------------------

    @precondition(lambda self: self.known and not self.partial)
    @rule(data=st.data())
    def foreign_restore(self, data: st.DataObject) -> None:
        self._drew("foreign restore")
        TALLY.fault("foreign restore")
        version = data.draw(st.sampled_from(sorted(self.known)))
        restore_to(self.spark, self.scores_table, version)
        self.belief, self.earlier, self.unsettled = self.known[version], [], True
        self._check()

    @precondition(lambda self: self._has_scores() and not self.partial and not self.unsettled)
    @rule()
    def lose_history(self) -> None:
        self._drew("lose history of the predictions")
        TALLY.fault("lose history of the predictions")
        lose_history(self.spark, self.scores_table)
        self.known, self.earlier, self.forgot = {}, [], True

    @precondition(lambda self: self._has_scores() and not self.partial)
    @rule()
    def vacuum(self) -> None:
        self._drew("vacuum")
        TALLY.fault("vacuum")
        vacuum(self.spark, self.scores_table)
        self.known, self.earlier = {}, []

    @precondition(lambda self: self.earlier and not self.partial and not self.forgot)
    @rule()
    def take_back(self) -> None:
        self._drew("restore")
        assert restore(self.spark, self.life.settings, self.life.workload).status is Status.DONE
        self.belief = self.earlier.pop()
        self._remember()
        self._check()

    # --- what is believed ---------------------------------------------------------------------

    def _drew(self, what: str) -> None:
        DRAWN[f"{self.mode}: {what}"] += 1

    def _version(self) -> int:
        return newest_version(self.life.source)

    def _source_moved(self, written: Any = ()) -> None:
        self.source.commit(self._version(), written)

    def _has_scores(self) -> bool:
        return newest_version(self.scores_table) >= 0

    def _became(self, belief: Belief, *, known: bool = True) -> None:
        """A run ended with this. `known`: it was one commit over a known state."""
        self.earlier = [*self.earlier, self.belief] if known else []
        self.belief, self.partial, self.forgot, self.unsettled = belief, False, False, False
        self._remember()

    def _remember(self) -> None:
        self.known[newest_version(self.scores_table)] = self.belief

    def _count(self, result: RunResult) -> None:
        TALLY.rows["read"] += result.counts["read"]

    def _check(self) -> None:
        """The lake says what is believed, each row once."""
        raise NotImplementedError

    def _scores(self, belief: Any) -> list[tuple[Any, ...]]:
        """What the predictions say by a belief, sorted."""
        raise NotImplementedError

    def _found(self, version: int | None = None) -> list[tuple[Any, ...]]:
        """What the predictions say."""
        raise NotImplementedError

    def teardown(self) -> None:
        for version, belief in getattr(self, "known", {}).items():
            assert self._found(version) == self._scores(belief), f"version {version}"


class Following(LakeStory):
    """A workload that follows its source, by append or upsert."""

    belief: Belief

    @initialize(
        feed=st.booleans(),
        rescore=st.sampled_from(["new", "all"]),
        chunk=st.sampled_from([None, None, 3]),
    )
    def begin(self, feed: bool, rescore: str, chunk: int | None) -> None:
        options: dict[str, Any] = {"backfill_by": "day", "rescore": rescore}
        if chunk and (feed or self.mode == "append"):
            options["max_rows_per_commit"] = chunk
        self.chunked, self.rescore = "max_rows_per_commit" in options, rescore
        self.start(options, Belief(), feed=feed)

    @precondition(lambda self: self.belief.reached >= 0 and not self.chunked)
    @rule()
    def lose_source_history(self) -> None:
        """What was not scored by then can no longer be told from what was."""
        self._drew("lose history of the source")
        TALLY.fault("lose history of the source")
        behind = self.belief.reached < self._version()
        lose_history(self.spark, self.life.source)
        self._source_moved()
        # Taken back to before that, the workload would have to start over.
        self.known, self.earlier = {}, []
        if behind:
            with pytest.raises((SourceChanged, VersionUnreadable)):
                self.life.score()
            self._check()
            self.full()
        else:
            self.score()

    # --- runs ------------------------------------------------------------------------------------

    @rule()
    def score(self) -> None:
        self._drew("score")
        planned = plan_scoring(self.spark, self.life.settings, self.life.workload)
        settles = self.unsettled
        result, self.unsettled = self.life.score(), False
        done = result.status is Status.DONE
        assert done == (planned.step is not None)
        if not self.forgot and not self.partial:
            assert done == self._moved()
        if done:
            self._count(result)
        if done and result.details["commits"] == 1 and not self.forgot and not settles:
            assert result.details["plan_hash"] == planned.hash
        if done or self.partial:
            self._became(self._new(), known=not self.partial and result.details["commits"] == 1)
        self._check()

    @rule()
    def full(self) -> None:
        self._drew("full")
        self._count(self.life.score(full=True))
        known = not self.partial
        self._became(self._full(), known=known)
        self._check()

    @rule(first=st.integers(1, 3), length=st.integers(0, 2))
    def backfill(self, first: int, length: int) -> None:
        self._drew("backfill")
        last = min(first + length, 3)
        self.life.backfill(first=f"2024-01-0{first}", last=f"2024-01-0{last}")
        if self._moved() or self.forgot or self.partial:
            self._became(self._new(), known=False)
        self._became(self.belief.backfilled(self.source, self.champion, first, last))
        self._check()

    @rule(point=st.sampled_from(CRASHES), kind=st.sampled_from(["score", "full", "backfill"]))
    def crash(self, point: str, kind: str) -> None:
        """A run ends at `point` of its first commit; what it left must do no harm."""
        if kind == "backfill" and (self._moved() or self.forgot or self.partial):
            kind = "score"
        if kind == "score" and (self.forgot or not self._moved()):
            kind = "full"
        self._drew(f"crash {point}, {kind}")
        TALLY.fault("crash", f"crash {point}")
        runs: dict[str, Callable[[], RunResult]] = {
            "score": self.life.score,
            "full": lambda: self.life.score(full=True),
            "backfill": lambda: self.life.backfill(first=DAY_ONE, last=DAY_ONE),
        }
        with _crashing(point), pytest.raises(Crash):
            runs[kind]()
        if point == "after the commit":
            self._after_crash(kind)
        self._check()

    def _after_crash(self, kind: str) -> None:
        if kind == "full":
            self._became(self._full(), known=not self.partial)
        elif kind == "backfill":
            self._became(self.belief.backfilled(self.source, self.champion, 1, 1))
        elif self.chunked:
            self.partial, self.earlier = True, []
        else:
            self._became(self._new(), known=not self.partial)

    @precondition(lambda self: not self.partial)
    @rule(
        rival=st.sampled_from(["the same", "new rows", "another model", "full"]),
        kind=st.sampled_from(["score", "full"]),
    )
    def twin(self, rival: str, kind: str) -> None:
        """Another run commits between this run's plan and its commit."""
        if kind == "score" and (self.forgot or not self._moved()):
            kind = "full"
        self._drew(f"twin {rival}, {kind}")
        TALLY.fault("twin")
        real, raced = commits.PredictionsLog.commit, list[bool]()
        mine = self.champion

        def commit(log: Any, staged: Any, plan: Any) -> Any:
            if not raced:
                raced.append(True)
                self._rival(rival)
            return real(log, staged, plan)

        with mock.patch.object(commits.PredictionsLog, "commit", commit):
            result = self.life.score(full=kind == "full")
        if kind == "full":
            assert result.status is Status.DONE
            self._became(self.belief.everything(self.source, self._version(), mine), known=False)
        else:
            assert result.status is Status.ALREADY_DONE
        self._check()

    def _rival(self, rival: str) -> None:
        if rival == "new rows":
            self.append([(2.0, 1, 1)])
        elif rival == "another model":
            self.promote("3" if self.champion == "1" else "1")
        if rival != "full" and not self._moved():
            rival = "full"
        self.life.score(full=rival == "full")
        self._became(self._full() if rival == "full" else self._new(), known=False)

    def _moved(self) -> bool:
        """Whether a plain run has something to do."""
        restates = self.rescore == "all" and self.belief.stands_under not in (None, self.champion)
        return self._version() != self.belief.reached or restates

    def _new(self) -> Belief:
        return self.belief.caught_up(
            self.source, self._version(), self.champion, feed=self.life.feed, rescore=self.rescore
        )

    def _full(self) -> Belief:
        return self.belief.everything(self.source, self._version(), self.champion)

    def _check(self) -> None:
        if self.partial or not self._has_scores():
            return
        _compare(self._found(), self._scores(self.belief))
        refused = [(f'{{"id":{i}}}', copies) for i, copies in self.belief.refused.items()]
        TALLY.compare(0, self.life.refused(), refused)

    def _scores(self, belief: Belief) -> list[tuple[Any, ...]]:
        return sorted((i, *score) for i, score in belief.scores.items())

    def _found(self, version: int | None = None) -> list[tuple[Any, ...]]:
        return self.life.scores(version)


class Days(LakeStory):
    """A workload that scores its whole source, a day at a time."""

    belief: dict[int, Day]

    @initialize()
    def begin(self) -> None:
        self.start({}, {}, feed=False)

    @rule(number=st.integers(1, 3))
    def score(self, number: int) -> None:
        self._drew("score")
        result = self.life.score(as_of=day(number))
        done = result.status is Status.DONE
        if not self.forgot:
            assert done == self._moved(number)
        if done:
            self._count(result)
            self._became(self._scored(number))
        self._check()

    @rule(point=st.sampled_from(CRASHES), number=st.integers(1, 3))
    def crash(self, point: str, number: int) -> None:
        if not self._moved(number):
            self.promote("2" if self.champion == "1" else "1")
        self._drew(f"crash {point}, score")
        TALLY.fault("crash", f"crash {point}")
        with _crashing(point), pytest.raises(Crash):
            self.life.score(as_of=day(number))
        if point == "after the commit":
            self._became(self._scored(number))
        self._check()

    @rule(number=st.integers(1, 3), other=st.integers(1, 3))
    def twin(self, number: int, other: int) -> None:
        """Another run, of this or another day, commits between this run's plan and its commit."""
        if not self._moved(number):
            self.promote("2" if self.champion == "1" else "1")
        self._drew("twin")
        TALLY.fault("twin")
        real, raced = commits.PredictionsLog.commit, list[bool]()

        def commit(log: Any, staged: Any, plan: Any) -> Any:
            if not raced:
                raced.append(True)
                self.life.score(as_of=day(other))
                self._became(self._scored(other), known=False)
            return real(log, staged, plan)

        with mock.patch.object(commits.PredictionsLog, "commit", commit):
            result = self.life.score(as_of=day(number))
        assert result.status is (Status.ALREADY_DONE if number == other else Status.DONE)
        self._became(self._scored(number), known=False)
        self._check()

    def _moved(self, number: int) -> bool:
        at = self.belief.get(number)
        return at is None or (at.version, at.model) != (self._version(), self.champion)

    def _scored(self, number: int) -> dict[int, Day]:
        judged = Belief().judged(self.source.rows, self.champion)
        return {**self.belief, number: Day(self._version(), self.champion, judged)}

    def _became(self, belief: Any, *, known: bool = True) -> None:
        forgot = self.forgot
        super()._became(belief, known=known)
        self.forgot = forgot  # each day has its own progress

    def _check(self) -> None:
        if not self._has_scores():
            return
        _compare(self._found(), self._scores(self.belief))
        refused = [
            (f'{{"id":{i}}}', copies)
            for at in self.belief.values()
            for i, copies in at.judged.refused.items()
        ]
        TALLY.compare(0, self.life.refused(), refused)

    def _scores(self, belief: dict[int, Day]) -> list[tuple[Any, ...]]:
        return sorted(
            (day(number), i, score)
            for number, at in belief.items()
            for i, (score, _) in at.judged.scores.items()
        )

    def _found(self, version: int | None = None) -> list[tuple[Any, ...]]:
        return self.life.by_day(version)


def _compare(found: list[tuple[Any, ...]], believed: list[tuple[Any, ...]]) -> None:
    TALLY.compare(0, _by_key(found), _by_key(believed))


def _by_key(rows: list[tuple[Any, ...]]) -> list[tuple[Any, Any]]:
    """Rows end with the score (and the model's version) after the key."""
    return [(row[:-1] if isinstance(row[0], date) else row[:1], row[-2:]) for row in rows]


def _crashing(point: str) -> Any:
    real_write, real_stage = commits.write_once, staging.stage

    def at_commit(*args: Any, **kwargs: Any) -> Any:
        if point == "after the commit":
            real_write(*args, **kwargs)
        raise Crash

    def at_stage(*args: Any, **kwargs: Any) -> Any:
        real_stage(*args, **kwargs)
        raise Crash

    if point == "while staging":
        return mock.patch.object(staging, "stage", at_stage)
    if point == "before the quarantine":
        return mock.patch.object(commits.PredictionsLog, "_judge", side_effect=Crash)
    return mock.patch.object(commits, "write_once", at_commit)


@pytest.mark.parametrize("mode", ["append", "upsert", "snapshot"])
def test_every_story_ends_as_the_oracle_says(
    spark, registered: Path, tmp_path: Path, mode: str
) -> None:
    story = type("Story", (Days if mode == "snapshot" else Following,), {})
    story.spark, story.registered, story.scratch, story.mode = spark, registered, tmp_path, mode
    run_state_machine_as_test(
        story,
        settings=settings(
            max_examples=STORIES,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
            phases=(Phase.explicit, Phase.generate),
        ),
    )
    for what, times in sorted(DRAWN.items()):
        print(f"drawn {times:5d}  {what}")
    TALLY.tell()
