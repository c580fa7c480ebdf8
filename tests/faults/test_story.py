"""Random stories of a source and its scoring, against a few lines of plain Python.

Each step is one thing that happens to a lake: rows come, change or go, a model is promoted, a run
starts, crashes at some point of the protocol, loses to a twin, is repeated, is taken back or told
to start over; somebody optimises, vacuums or restores a table, or its history is cleaned. After
every run the predictions and the quarantine in force must be what the oracle says, exactly, and
at the end every version of the predictions that a run left must still say it.
"""

from __future__ import annotations

import ast
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest import mock

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, Phase, assume, seed, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from lakescore.config.workload import Context, Feature, Source
from lakescore.errors import SourceChanged, VersionUnreadable
from lakescore.lake import commits, staging
from lakescore.workflows.plan import plan_scoring
from lakescore.workflows.restore import restore
from lakescore.workflows.run_result import RunResult, Status
from lakescore.workflows.score import quarantine_retry
from tests.conftest import settings_under
from tests.faults.lake_events import lose_history, newest_version, optimize, restore_to, vacuum
from tests.faults.oracle import Belief, Row, SourceHistory
from tests.faults.reader import rows_at
from tests.faults.tally import Tally
from tests.linear import Life, day, register_versions, workload

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark

STORIES = int(os.environ.get("LAKESCORE_STORIES", "1"))
STEPS = int(os.environ.get("LAKESCORE_STEPS", "8"))
SEED = int(os.environ.get("LAKESCORE_SEED", "0"))
#: Telling a failed story again and again, ever shorter, takes an hour: asked for, not usual.
PHASES = (Phase.generate, Phase.shrink)[: 2 if "LAKESCORE_SHRINK" in os.environ else 1]
#: Stories told at once, in threads of one process: half of its work is to compile code.
AT_ONCE = 2
#: Of a story's tables: a checkpoint each tenth commit would cost as much as the runs between.
RARE_CHECKPOINTS = ("spark.databricks.delta.properties.defaults.checkpointInterval", "40")
TALLY = Tally.of(__name__)

CRASHES = ("while staging", "before the quarantine", "before the commit", "after the commit")
RIVALS = (
    "the same", "new rows", "another model", "another contract", "another range", "full"
)  # fmt: skip
#: Hypothesis begins with the simplest story, one rule again and again: its number is 0.
NUMBER = st.integers(0, 2**32)
X = st.sampled_from([-2.0, 0.0, 1.0, 3.5])
ROWS = st.tuples(X, st.integers(1, 3), st.sampled_from([1, 1, 1, 2]))
DAY_ONE = "2024-01-01"
PREDICTION_TIME = "cast(day as timestamp)"
READINGS = "day date, z double, known_at timestamp"


#: So many things at most happen to the lake between two runs: a quarter of a story.
IDLE = max(3, STEPS // 4)
busy = precondition(lambda self: self.idle < IDLE)


class Crash(Exception):
    """The process ends here."""


#: Where the run of this story ends.
ends_at: ContextVar[str] = ContextVar("ends_at", default="")
#: What commits before the run of this story does, once.
outrun_by: ContextVar[Callable[[], None] | None] = ContextVar("outrun_by", default=None)


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
    name: str
    #: The columns of the predictions that a belief is about.
    says: tuple[str, ...]

    def start(
        self, number: int, options: dict[str, Any], belief: Any, *, feed: bool, **source: Any
    ) -> None:
        assume(number)
        root = self.scratch / f"story-{len(list(self.scratch.iterdir()))}"
        root.mkdir()
        shutil.copyfile(self.registered / "mlflow.db", root / "mlflow.db")
        settings, options = settings_under(root), {"mode": self.mode, **options}
        self.life = Life(self.spark, settings, workload(options, **source), feed)
        self.scores_table = self.life.lake.table("scores")
        self.quarantine_table = self.life.lake.table("scores_quarantine")
        self.refused: tuple[Any, list[tuple[Any, ...]]] = (None, [])
        self.champion, self.source = "1", SourceHistory()
        self.belief, self.earlier = belief, list[Any]()
        self.known: dict[int, Any] = {}
        self.partial = self.forgot = self.unsettled = False
        self.idle = 0
        self.append([(1.0, 1, 1), (-1.0, 2, 1)])

    # --- what happens to the source ------------------------------------------------------------

    @busy
    @rule(values=st.lists(ROWS, min_size=1, max_size=4))
    def append(self, values: list[Row]) -> None:
        self._drew("append")
        new = dict(zip(self.source.new_ids(len(values)), values, strict=True))
        self.source.rows |= new
        copies = [(i, x, day(d)) for i, (x, d, n) in new.items() for _ in range(n)]
        self.life.append(*copies)
        self._source_moved(new)

    @precondition(lambda self: self.mode == "append" and not self.chunked)
    @busy
    @rule(values=st.lists(ROWS, min_size=1, max_size=3))
    def append_without_key(self, values: list[Row]) -> None:
        """Alike ones of one run are one; of two chunks they would be two."""
        self._drew("append without a key")
        ids = self.source.new_ids(len(values))
        new = {-one: row for one, row in zip(ids, values, strict=True)}
        self.source.rows |= new
        self.life.append(*((None, x, day(d)) for x, d, n in values for _ in range(n)))
        self._source_moved(new)

    @precondition(lambda self: self.mode != "append" and self.source.rows)
    @busy
    @rule(data=st.data(), x=st.sampled_from([-1.0, 2.0, 4.0]))
    def update(self, data: st.DataObject, x: float) -> None:
        self._drew("update")
        one = data.draw(st.sampled_from(sorted(self.source.rows)))
        _, at, copies = self.source.rows[one]
        self.source.rows[one] = (x, at, copies)
        self.life.sql(f"UPDATE {{t}} SET x = {x} WHERE id = {one}")
        self._source_moved([one])

    @precondition(lambda self: self.mode != "append" and self.source.rows)
    @busy
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        self._drew("delete")
        one = data.draw(st.sampled_from(sorted(self.source.rows)))
        del self.source.rows[one]
        self.life.sql(f"DELETE FROM {{t}} WHERE id = {one}")
        self._source_moved()

    @precondition(lambda self: self.mode != "append")
    @busy
    @rule(x=st.sampled_from([-3.0, 6.0]))
    def overwrite(self, x: float) -> None:
        """Half of the rows stay as they are, the others go, and one comes."""
        self._drew("overwrite")
        kept = {i: (x, d, 1) for i, (x, d, _) in list(self.source.rows.items())[::2]}
        self.source.rows = {**kept, self.source.new_ids(1)[0]: (x, 1, 1)}
        self.life.overwrite(*((i, x, day(d)) for i, (x, d, _) in self.source.rows.items()))
        self._source_moved(self.source.rows)

    @busy
    @rule()
    def add_column(self) -> None:
        self._drew("add a column")
        name = f"added{newest_version(self.life.source)}"
        self.life.sql(f"ALTER TABLE {{t}} ADD COLUMNS ({name} string)")
        self._source_moved()

    @busy
    @rule()
    def optimize(self) -> None:
        self._drew("optimize")
        optimize(self.spark, self.life.source)
        self._source_moved()
        if self._has_scores():
            optimize(self.spark, self.scores_table)

    @busy
    @rule(version=st.sampled_from(["1", "2", "3"]))
    def promote(self, version: str) -> None:
        self._drew("promote")
        self.champion = version
        self.life.promote(version)

    # --- what happens to the predictions -------------------------------------------------------

    @precondition(lambda self: self.known and not self.partial)
    @busy
    @rule(data=st.data())
    def foreign_restore(self, data: st.DataObject) -> None:
        self._drew("foreign restore")
        TALLY.fault("foreign restore")
        version = data.draw(st.sampled_from(sorted(self.known)))
        restore_to(self.spark, self.scores_table, version)
        self.belief, self.earlier, self.unsettled = self.known[version], [], True
        self._check()

    @precondition(lambda self: self._has_scores() and not self.partial and not self.unsettled)
    @busy
    @rule()
    def lose_history(self) -> None:
        self._drew("lose history of the predictions")
        TALLY.fault("lose history of the predictions")
        lose_history(self.spark, self.scores_table)
        self.known, self.earlier, self.forgot = {}, [], True

    @precondition(lambda self: self._has_scores() and not self.partial)
    @busy
    @rule()
    def vacuum(self) -> None:
        self._drew("vacuum")
        TALLY.fault("vacuum")
        vacuum(self.spark, self.scores_table)
        self.known, self.earlier = {}, []

    @precondition(lambda self: self.earlier and not self.partial and not self.forgot)
    @busy
    @rule()
    def take_back(self) -> None:
        self._drew("restore")
        assert restore(self.spark, self.life.settings, self.life.workload).status is Status.DONE
        self.belief = self.earlier.pop()
        self._remember()
        self._check()

    # --- what is believed ---------------------------------------------------------------------

    def _drew(self, what: str, *, runs: int = 0) -> None:
        """Count a rule, and how many scoring runs it starts.

        A backfill and a retry score what is new first, in a run of its own.
        """
        self.idle = 0 if runs else self.idle + 1
        TALLY.drew(f"{self.name}: {what}", runs=runs)

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

    def _count(self, result: RunResult, rows: dict[int, Row] | None) -> None:
        """The run's own counts are those of the `rows` that it judged, where that is known."""
        TALLY.read(result.counts["read"])
        if rows is not None:
            assert result.counts == self.source.counts(rows, self.champion)

    def _check(self) -> None:
        """The lake says what is believed, each row once."""
        raise NotImplementedError

    def _scores(self, belief: Any) -> list[tuple[Any, ...]]:
        """What the predictions say by a belief, sorted."""
        raise NotImplementedError

    def _found(self, version: int | None = None) -> list[tuple[Any, ...]]:
        """What the predictions say."""
        return rows_at(self.scores_table, self.says, version)

    def _refused(self) -> list[tuple[Any, ...]]:
        """The refused rows in force: asked of lakescore once for each state of the tables."""
        state = newest_version(self.scores_table), newest_version(self.quarantine_table)
        if self.refused[0] != state:
            self.refused = state, self.life.refused()
        return self.refused[1]

    def teardown(self) -> None:
        for version, belief in getattr(self, "known", {}).items():
            assert self._found(version) == self._scores(belief), f"version {version}"


class Following(LakeStory):
    """A workload that follows its source, by append or upsert."""

    belief: Belief
    says = ("id", "prediction", "_model_version")

    @initialize(
        feed=st.booleans(),
        rescore=st.sampled_from(["new", "all"]),
        chunk=st.sampled_from([None, None, 3]),
        number=NUMBER,
    )
    def begin(self, feed: bool, rescore: str, chunk: int | None, number: int) -> None:
        options: dict[str, Any] = {"backfill_by": "day", "rescore": rescore}
        if chunk and (feed or self.mode == "append"):
            options["max_rows_per_commit"] = chunk
        self.chunked, self.rescore = "max_rows_per_commit" in options, rescore
        self.start(number, options, Belief(), feed=feed)

    @precondition(lambda self: self.belief.reached >= 0 and not self.chunked)
    @rule()
    def lose_source_history(self) -> None:
        """What was not scored by then can no longer be told from what was."""
        self._drew("lose history of the source")
        TALLY.fault("lose history of the source")
        lost = self.belief.reached < self._version() and not self._restates()
        lose_history(self.spark, self.life.source)
        self._source_moved()
        # Taken back to before that, the workload would have to start over.
        self.known, self.earlier = {}, []
        if lost:
            with pytest.raises((SourceChanged, VersionUnreadable)):
                self.life.score()
            self._check()
            self.full()
        else:
            self.score()

    # --- runs ------------------------------------------------------------------------------------

    @rule(looks=st.booleans())
    def score(self, looks: bool = False) -> None:
        """One run; where somebody `looks` at its plan first, it does what that says."""
        self._drew("score", runs=1)
        planned, settles = None, self.unsettled
        if looks:
            planned = plan_scoring(self.spark, self.life.settings, self.life.workload)
        result, self.unsettled = self.life.score(), False
        done = result.status is Status.DONE
        assert planned is None or done == (planned.step is not None)
        if not self.forgot and not self.partial:
            assert done == self._moved()
        if done:
            self._count(result, self._rows_of_a_score())
        whole = done and result.details["commits"] == 1 and not self.forgot and not settles
        if planned is not None and whole:
            assert result.details["plan_hash"] == planned.hash
        if done or self.partial:
            self._became(self._new(), known=not self.partial and result.details["commits"] == 1)
        self._check()

    @rule()
    def full(self) -> None:
        self._drew("full", runs=1)
        self._count(self.life.score(full=True), self.source.rows)
        known = not self.partial
        self._became(self._full(), known=known)
        self._check()

    @rule(first=st.integers(1, 3), length=st.integers(0, 2))
    def backfill(self, first: int, length: int) -> None:
        self._drew("backfill", runs=2)
        last = min(first + length, 3)
        result = self.life.backfill(first=f"2024-01-0{first}", last=f"2024-01-0{last}")
        if self._moved() or self.forgot or self.partial:
            self._became(self._new(), known=False)
        self._became(self.belief.backfilled(self.source, self.champion, first, last))
        self._count(result, self.source.of_days(self.belief.reached, first, last))
        self._check()

    @precondition(lambda self: not self.partial)
    @rule(mended=st.booleans())
    def retry(self, mended: bool) -> None:
        """The refused rows again; `mended`: by a contract that takes them."""
        self._drew(f"retry{', mended' if mended else ''}", runs=2)
        moved = self._moved() or self.forgot
        with self._contract(strict=not mended):
            result = quarantine_retry(self.spark, self.life.settings, self.life.workload)
            if moved:
                self._became(self._new(), known=False)
            retried = self.belief.retried(self.source, self.champion)
        assert (result.status is Status.DONE) == (retried != self.belief)
        if retried != self.belief:
            self._became(retried)
        self._check()

    @contextmanager
    def _contract(self, *, strict: bool) -> Iterator[None]:
        """Without `strict` a negative x is as good as any."""
        usual = self.life.workload
        if not strict:
            source = usual.source.model_copy(update={"expectations": {}})
            self.life.workload = usual.model_copy(update={"source": source})
        self.source.strict = strict
        try:
            yield
        finally:
            self.life.workload, self.source.strict = usual, True

    @rule(point=st.sampled_from(CRASHES), kind=st.sampled_from(["score", "full", "backfill"]))
    def crash(self, point: str, kind: str) -> None:
        """A run ends at `point` of its first commit; what it left must do no harm."""
        if kind == "backfill" and (self._moved() or self.forgot or self.partial):
            kind = "score"
        if kind == "score" and (self.forgot or not self._moved()):
            kind = "full"
        self._drew(f"crash {point}, {kind}", runs=1)
        TALLY.fault("crash", f"crash {point}")
        runs: dict[str, Callable[[], RunResult]] = {
            "score": self.life.score,
            "full": lambda: self.life.score(full=True),
            "backfill": lambda: self.life.backfill(first=DAY_ONE, last=DAY_ONE),
        }
        with _now(ends_at, point), pytest.raises(Crash):
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
        rival=st.sampled_from(RIVALS),
        kind=st.sampled_from(["score", "full"]),
    )
    def twin(self, rival: str, kind: str) -> None:
        """Another run commits between this run's plan and its commit."""
        if kind == "score" and (self.forgot or not self._moved()):
            kind = "full"
        self._drew(f"twin {rival}, {kind}", runs=2)
        TALLY.fault("twin")
        mine = self.champion
        with _now(outrun_by, lambda: self._rival(rival)):
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
        elif rival == "another range":
            self.life.backfill(first=DAY_ONE, last=DAY_ONE)
            new = self._new() if self._moved() or self.forgot else self.belief
            self._became(new.backfilled(self.source, self.champion, 1, 1), known=False)
            return
        full = rival == "full" or not self._moved()
        with self._contract(strict=rival != "another contract"):
            self.life.score(full=full)
            self._became(self._full() if full else self._new(), known=False)

    def _moved(self) -> bool:
        """Whether a plain run has something to do."""
        return self._version() != self.belief.reached or self._restates()

    def _restates(self) -> bool:
        """Whether a plain run takes every row again, for the new model."""
        return self.rescore == "all" and self.belief.stands_under not in (None, self.champion)

    def _rows_of_a_score(self) -> dict[int, Row] | None:
        """Those that a plain run judges; None where that takes more than the oracle knows."""
        if self.partial or self.forgot or self.mode == "upsert":
            return None
        if self._restates():
            return self.source.rows
        new = self.source.written_since(self.belief.reached)
        return {one: row for one, row in self.source.rows.items() if one in new}

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
        refused = [
            (f'{{"id":{one if one > 0 else "null"}}}', copies)
            for one, copies in self.belief.refused.items()
        ]
        TALLY.compare(0, self._refused(), refused)

    def _scores(self, belief: Belief) -> list[tuple[Any, ...]]:
        return sorted((i, *score) for i, score in belief.scores.items())


class LateReadings(Following):
    """Rows are scored by readings of their day, which come before and after the rows do."""

    @initialize(feed=st.booleans(), rescore=st.sampled_from(["new", "all"]), number=NUMBER)
    def begin(self, feed: bool, rescore: str, number: int) -> None:
        self.chunked, self.rescore = False, rescore
        options = {"backfill_by": "day", "rescore": rescore}
        self.start(number, options, Belief(), feed=feed, prediction_time=PREDICTION_TIME)
        self.source.readings = {}
        self.read_late(1, 1.0, 0)

    @busy
    @rule(number=st.integers(1, 3), z=st.sampled_from([0.5, 1.0, 8.0]), hour=st.integers(-6, 3))
    def read_late(self, number: int, z: float, hour: int) -> None:
        """A reading comes, known `hour` hours after the day's midnight, when rows are scored."""
        readings = self.source.readings
        assert readings is not None
        if hour in readings.setdefault(number, {}):
            return
        self._drew("a late reading")
        readings[number][hour] = z
        known = datetime(2024, 1, number, tzinfo=timezone.utc) + timedelta(hours=hour)
        frame = self.spark.createDataFrame([(day(number), z, known)], READINGS)
        frame.write.format("delta").mode("append").save(self.life.lake.table("readings").path)


class Days(LakeStory):
    """A workload that scores its whole source, a day at a time."""

    belief: dict[int, Day]
    says = ("_as_of", "id", "prediction")

    @initialize(number=NUMBER)
    def begin(self, number: int) -> None:
        self.start(number, {}, {}, feed=False)

    @rule(number=st.integers(1, 3))
    def score(self, number: int) -> None:
        self._drew("score", runs=1)
        result = self.life.score(as_of=day(number))
        done = result.status is Status.DONE
        if not self.forgot:
            assert done == self._moved(number)
        if done:
            self._count(result, self.source.rows)
            self._became(self._scored(number))
        self._check()

    @rule(point=st.sampled_from(CRASHES), number=st.integers(1, 3))
    def crash(self, point: str, number: int) -> None:
        if not self._moved(number):
            self.promote("2" if self.champion == "1" else "1")
        self._drew(f"crash {point}, score", runs=1)
        TALLY.fault("crash", f"crash {point}")
        with _now(ends_at, point), pytest.raises(Crash):
            self.life.score(as_of=day(number))
        if point == "after the commit":
            self._became(self._scored(number))
        self._check()

    @rule(number=st.integers(1, 3), other=st.integers(1, 3))
    def twin(self, number: int, other: int) -> None:
        """Another run, of this or another day, commits between this run's plan and its commit."""
        if not self._moved(number):
            self.promote("2" if self.champion == "1" else "1")
        self._drew("twin", runs=2)
        TALLY.fault("twin")

        def rival() -> None:
            self.life.score(as_of=day(other))
            self._became(self._scored(other), known=False)

        with _now(outrun_by, rival):
            result = self.life.score(as_of=day(number))
        assert result.status is (Status.ALREADY_DONE if number == other else Status.DONE)
        self._became(self._scored(number), known=False)
        self._check()

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

    def _check(self) -> None:
        if not self._has_scores():
            return
        _compare(self._found(), self._scores(self.belief))
        refused = [
            (f'{{"id":{i}}}', copies)
            for at in self.belief.values()
            for i, copies in at.judged.refused.items()
        ]
        TALLY.compare(0, self._refused(), refused)

    def _scores(self, belief: dict[int, Day]) -> list[tuple[Any, ...]]:
        return sorted(
            (day(number), i, score)
            for number, at in belief.items()
            for i, (score, _) in at.judged.scores.items()
        )


def _compare(found: list[tuple[Any, ...]], believed: list[tuple[Any, ...]]) -> None:
    TALLY.compare(0, _by_key(found), _by_key(believed))


def _by_key(rows: list[tuple[Any, ...]]) -> list[tuple[Any, Any]]:
    """Rows end with the score (and the model's version) after the key."""
    return [(row[:-1] if isinstance(row[0], date) else row[:1], row[-2:]) for row in rows]


@contextmanager
def _now(what: ContextVar[Any], value: Any) -> Iterator[None]:
    token = what.set(value)
    try:
        yield
    finally:
        what.reset(token)


@pytest.fixture(scope="module")
def seams() -> Iterator[None]:
    """The protocol's steps, at which the run of a story may end or be outrun."""
    stage, write_once = staging.stage, commits.write_once
    judge, commit = commits.PredictionsLog._judge, commits.PredictionsLog.commit

    def staging_ends(*args: Any, **kwargs: Any) -> Any:
        staged = stage(*args, **kwargs)
        if ends_at.get() == "while staging":
            raise Crash
        return staged

    def judging_ends(*args: Any) -> Any:
        if ends_at.get() == "before the quarantine":
            raise Crash
        return judge(*args)

    def writing_ends(*args: Any, **kwargs: Any) -> Any:
        ends = kwargs["metadata"]["kind"] == "predictions" and ends_at.get()
        if ends == "before the commit":
            raise Crash
        written = write_once(*args, **kwargs)
        if ends == "after the commit":
            raise Crash
        return written

    def commit_is_outrun(*args: Any) -> Any:
        rival = outrun_by.get()
        if rival is not None:
            outrun_by.set(None)
            rival()
        return commit(*args)

    with (
        mock.patch.object(staging, "stage", staging_ends),
        mock.patch.object(commits.PredictionsLog, "_judge", judging_ends),
        mock.patch.object(commits, "write_once", writing_ends),
        mock.patch.object(commits.PredictionsLog, "commit", commit_is_outrun),
    ):
        yield


@pytest.fixture(scope="module")
def registered_with_readings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry with every version of the linear model, over readings in place of x."""
    context = Context(
        table="readings",
        on={"day": "day"},
        known_at="known_at",
        lookback_window="2 days",
        latest={"z": "z"},
    )
    root = tmp_path_factory.mktemp("readings")
    register_versions(
        settings_under(root),
        source=Source(table="events", key="id", prediction_time=PREDICTION_TIME),
        contexts={"readings": context},
        features=(Feature(name="x", expression="z"),),
    )
    return root


@pytest.fixture(scope="module")
def one_parser() -> Iterator[None]:
    """Python 3.11 cannot parse in two threads at once, and Hypothesis reads its rules' source."""
    parse, alone = ast.parse, Lock()

    def parse_alone(*args: Any, **kwargs: Any) -> Any:
        with alone:
            return parse(*args, **kwargs)

    with mock.patch.object(ast, "parse", parse_alone):
        yield


class Story(NamedTuple):
    """Which story to tell."""

    name: str
    mode: str
    kind: type[LakeStory]
    number: int


def _stories() -> Iterator[Any]:
    """STORIES of every kind, each a test of its own."""
    for number in range(SEED, SEED + STORIES):
        for name, mode, kind in (
            ("append", "append", Following),
            ("upsert", "upsert", Following),
            ("append, late readings", "append", LateReadings),
            ("upsert, late readings", "upsert", LateReadings),
            ("snapshot", "snapshot", Days),
        ):
            yield pytest.param(Story(name, mode, kind, number), id=f"{name}, {number}")


@pytest.fixture(scope="module")
def endings(
    request: pytest.FixtureRequest,
    spark: SparkSession,
    seams: None,
    one_parser: None,
    registered: Path,
    registered_with_readings: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[dict[Story, Future[None]]]:
    """How the stories of this test run end."""

    def tell(story: Story) -> None:
        machine = seed(story.number)(type("Machine", (story.kind,), {}))
        machine.spark, machine.scratch = spark.newSession(), tmp_path_factory.mktemp("story")
        machine.spark.conf.set(*RARE_CHECKPOINTS)
        machine.mode, machine.name = story.mode, story.name
        late = story.kind is LateReadings
        machine.registered = registered_with_readings if late else registered
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=1,
                stateful_step_count=STEPS,
                deadline=None,
                suppress_health_check=list(HealthCheck),
                print_blob=True,
                database=None,
                phases=PHASES,
            ),
            _min_steps=STEPS - 1,
        )

    stories = [i.callspec.params["story"] for i in request.session.items if i.path == request.path]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {story: pool.submit(tell, story) for story in stories}
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("story", _stories())
def test_every_story_ends_as_the_oracle_says(
    endings: dict[Story, Future[None]], story: Story
) -> None:
    endings[story].result()
