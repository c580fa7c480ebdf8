"""Stories of a workload that follows its source, by append or upsert."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis.stateful import initialize, precondition, rule

from lakescore.errors import CorruptFile, SourceChanged, VersionUnreadable
from lakescore.workflows.as_of import today
from lakescore.workflows.run_result import RunResult, Status
from lakescore.workflows.score import quarantine_retry
from lakescore.workflows.steps import Request
from tests.faults.floors import CHUNK, COLUMN, FULL_LENGTH, RESTORE
from tests.faults.lake_events import lose_history
from tests.faults.lake_rules import LakeRules, busy
from tests.faults.lake_story import AFTER, TALLY
from tests.faults.oracle import Belief, Row
from tests.faults.seams import Crash, Ending, ends_at, now, outrun_by
from tests.faults.telling import NUMBER
from tests.linear import PREDICTION_TIME, READINGS, day

#: Of a workload with catch-ups in several commits.
CHUNK_ROWS = 3
DAY_ONE = "2024-01-01"
RIVALS = (
    "the same", "new rows", "another model", "another contract", "another range", "full"
)  # fmt: skip
#: What a workload declares; `keeps` says that predictions outlive their source row.
OPTIONS: dict[str, Any] = {
    "feed": st.booleans(),
    "rescore": st.sampled_from(["new", "all"]),
    "keeps": st.booleans(),
}


class Following(LakeRules):
    """A workload that follows its source."""

    belief: Belief
    says = ("id", "prediction", "_model_version")
    identity = 1

    @initialize(number=NUMBER, **OPTIONS)
    def begin(self, number: int, **options: Any) -> None:
        self._begin(number, **options)

    def _begin(
        self,
        number: int,
        *,
        feed: bool,
        rescore: str,
        keeps: bool,
        **source: Any,
    ) -> None:
        """Every other story cuts long catch-ups into commits; an upsert needs a feed for that.

        Predictions that outlive their source row allow no backfill: few stories have them.
        """
        options: dict[str, Any] = {"backfill_by": "day", "rescore": rescore}
        told = self.telling
        self.chunked, self.rescore = told.number % 2 == 1, rescore
        self.keeps = keeps and told.mode == "append" and told.number % 16 == 0
        if self.chunked:
            options["max_rows_per_commit"] = CHUNK_ROWS
        if self.keeps:
            options["on_delete"] = "ignore"
        self.start(number, options, Belief(), feed=feed or self.chunked, **source)
        self._land([(1.0, 1, 1), (-1.0, 2, 1)])

    def modes(self) -> tuple[str, ...]:
        if self.chunked:
            return (self.mode, CHUNK, "retry", RESTORE)
        ranges = "full" if self.keeps else "backfill"
        return (self.mode, "full", ranges, "retry", COLUMN, RESTORE)

    def place(self) -> int:
        """Upserts go on where the appends of a run at full length end."""
        late, upserts = isinstance(self, LateReadings), self.mode == "upsert"
        return self.telling.number // 2 * 2 + late + upserts * FULL_LENGTH[0]

    # --- what happens to the source ------------------------------------------------------------

    @precondition(lambda self: self.belief.reached >= 0 and not self.partial)
    @rule()
    def lose_source_history(self) -> None:
        """What was not scored by then can no longer be told from what was."""
        self._drew("lose_source_history")
        TALLY.fault("lose history of the source")
        lost = self.belief.reached < self._version() and not self._restates()
        lose_history(self.spark, self.life.source)
        self._source_moved()
        self.oldest_source = self._version()
        if self.forgot:
            self._score_or_start_over()
        elif lost:
            with pytest.raises((SourceChanged, VersionUnreadable)):
                self.life.score()
            self._start_over()
        else:
            self._score()
        self._begins_here()

    def _forgot(self) -> None:
        """Rows tell less progress than commits: what the source has lost since may be asked for."""
        if self.oldest_source > 0:
            self._score_or_start_over()
            self._begins_here()

    def _score_or_start_over(self) -> None:
        try:
            self._score()
        except (SourceChanged, VersionUnreadable, CorruptFile):
            self._start_over()

    def _source_replaced(self) -> None:
        """Rows that came back cannot be told from rows that are new: mode append says so."""
        if self.mode != "append" or self.belief.reached < 0:
            return
        if not self.forgot and not self._restates():
            with pytest.raises(SourceChanged, match="RESTORE"):
                self.life.score()
        self._start_over()
        self._begins_here()

    def _source_vacuumed(self) -> None:
        """What was not scored is scored, or refused in words."""
        if self._moved() or self.forgot:
            self._score_or_start_over()
        self._begins_here()

    def _start_over(self) -> None:
        """A run was refused; only of a catch-up in several commits it left something."""
        if not self.chunked:
            self._check()
        self._full()

    def _begins_here(self) -> None:
        """Taken back to before, the workload would have to start over."""
        self.known, self.earlier = {}, []
        self._remember()

    # --- runs ----------------------------------------------------------------------------------

    @rule(looks=st.booleans())
    def score(self, looks: bool) -> None:
        """One run; where somebody `looks` at its plan first, it does what that says."""
        self._drew("score")
        self._score(looks=looks)

    def _score(self, *, looks: bool = False) -> None:
        self._ran()
        plan = self._plan(Request(today())) if looks else None
        rows, counts = self._rows_of_a_score(), self._counts_of_an_upsert()
        settles = self.forgot or self.unsettled
        result = self.life.score()
        done = result.status is Status.DONE
        if not self.forgot and not self.partial:
            assert done == self._moved()
        if plan is not None:
            self._happened(plan, result, settles=settles)
        if done:
            self._count(result, rows)
            assert {name: result.counts[name] for name in counts} == counts
        self.unsettled = False
        if done or self.partial:
            self._became(self._new(), known=not self.partial and result.details["commits"] == 1)
        self._check()

    @rule(looks=st.booleans())
    def full(self, looks: bool) -> None:
        self._drew("full")
        self._full(looks=looks)

    def _full(self, *, looks: bool = False) -> None:
        self._ran()
        plan, settles = None, self.forgot or self.unsettled
        if looks:
            plan = self._plan(Request(today(), "full"))
        result = self.life.score(full=True)
        self._count(result, self.source.rows)
        if plan is not None:
            self._happened(plan, result, settles=settles)
        self._became(self._everything(), known=not self.partial)
        self._check()

    @precondition(lambda self: not self.keeps)
    @rule(first=st.integers(1, 3), length=st.integers(0, 2), looks=st.booleans())
    def backfill(self, first: int, length: int, looks: bool) -> None:
        self._drew("backfill")
        self._ran(2)
        days, last = [f"2024-01-0{n}" for n in range(1, 4)], min(first + length, 3)
        span, plan = {"first": days[first - 1], "last": days[last - 1]}, None
        moved, settles = self._moved() or self.forgot or self.partial, self.unsettled
        if looks and not moved:
            plan = self._plan(Request(today(), "backfill", **span))
        result = self.life.backfill(**span)
        if plan is not None:
            self._happened(plan, result, settles=settles)
        if moved:
            self._became(self._new(), known=False)
        self._became(self.belief.backfilled(self.source, self.champion, first, last))
        self._count(result, self.source.of_days(self.belief.reached, first, last))
        self._check()

    @precondition(lambda self: self.belief.refused and not self.partial)
    @rule(mended=st.booleans())
    def retry(self, mended: bool) -> None:
        """The refused rows again; `mended`: by a contract that takes them."""
        self._drew("retry")
        self._ran(2)
        moved = self._moved() or self.forgot
        with self._contract(strict=not mended):
            result = self._retry()
            if moved:
                self._became(self._new(), known=False)
            retried = self.belief.retried(self.source, self.champion)
        assert (result.status is Status.DONE) == (retried != self.belief)
        if retried != self.belief:
            self._became(retried)
        self._check()

    lose_source_history_again, retry_again = lose_source_history, retry

    def _retry(self) -> RunResult:
        return quarantine_retry(self.spark, self.life.settings, self.life.workload)

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

    # --- where runs end ------------------------------------------------------------------------

    def _make_ready(self, mode: str) -> None:
        if mode != "full" and (self.partial or self.forgot):
            self._full()
        if mode == RESTORE and not self.earlier:
            self._full()
        if mode in (self.mode, CHUNK, COLUMN) and self._restates():
            self._score()
        if mode == COLUMN:
            self._pass_another_column()
        if mode == self.mode and not self._moved():
            self._land([(2.0, 1, 1), (-2.0, 2, 1)])
        if mode == CHUNK:
            for _ in range(2):
                self._land([(1.0, 1, 1), (0.0, 2, 1), (-2.0, 3, 1)])
        if mode in ("backfill", "retry") and self._moved():
            self._score()
        if mode == "retry" and not self.belief.retriable(self.source):
            self._land([(-2.0, 2, 1)])
            self._score()

    def _run_ends(self, point: str, mode: str) -> None:
        if mode == CHUNK:
            self._chunk_ends(point)
            return
        with self._contract(strict=mode != "retry"):
            with now(ends_at, Ending(point)), pytest.raises(Crash):
                self._run_of(mode)()
            if point == AFTER:
                self._after_crash(mode)

    def _run_of(self, mode: str) -> Callable[[], RunResult]:
        runs: dict[str, Callable[[], RunResult]] = {
            "full": lambda: self.life.score(full=True),
            "backfill": lambda: self.life.backfill(first=DAY_ONE, last=DAY_ONE),
            "retry": self._retry,
        }
        return runs.get(mode, self.life.score)

    def _after_crash(self, mode: str) -> None:
        if mode == "full":
            self._became(self._everything(), known=not self.partial)
        elif mode == "backfill":
            self._became(self.belief.backfilled(self.source, self.champion, 1, 1))
        elif mode == "retry":
            self._became(self.belief.retried(self.source, self.champion))
        elif self.chunked:  # there may be more to come
            self.partial, self.earlier = True, []
        else:
            self._became(self._new())

    def _chunk_ends(self, point: str) -> None:
        """The second commit of a catch-up."""
        with now(ends_at, Ending(point, passes=1)), pytest.raises(Crash):
            self.life.score()
        self.partial, self.earlier = True, []

    @precondition(lambda self: self.idle > 0 and not self.partial)
    @rule(rival=st.sampled_from(RIVALS), kind=st.sampled_from(["score", "full"]))
    def twin(self, rival: str, kind: str) -> None:
        """Another run commits between this run's plan and its commit."""
        self._drew("twin")
        self._ran(2)
        TALLY.fault("twin", f"twin, {rival}")
        if kind == "score" and (self.forgot or not self._moved()):
            kind = "full"
        if self.keeps and rival == "another range":
            rival = "full"
        mine = self.champion
        with now(outrun_by, lambda: self._rival(rival)):
            result = self.life.score(full=kind == "full")
        if kind == "full":
            assert result.status is Status.DONE
            self._became(self.belief.everything(self.source, self._version(), mine), known=False)
        else:
            assert result.status is Status.ALREADY_DONE
        self._check()

    def _rival(self, rival: str) -> None:
        if rival == "new rows":
            self._land([(2.0, 1, 1)])
        elif rival == "another model":
            self._promote("3" if self.champion == "1" else "1")
        elif rival == "another range":
            self.life.backfill(first=DAY_ONE, last=DAY_ONE)
            new = self._new() if self._moved() or self.forgot else self.belief
            self._became(new.backfilled(self.source, self.champion, 1, 1), known=False)
            return
        full = rival == "full" or not self._moved()
        with self._contract(strict=rival != "another contract"):
            self.life.score(full=full)
            self._became(self._everything() if full else self._new(), known=False)

    # --- what is believed ----------------------------------------------------------------------

    def _became(self, belief: Belief, *, known: bool = True) -> None:
        """Of a time that the predictions' history no longer shows, less is known than believed."""
        super()._became(belief, known=known and not self.forgot)

    def _moved(self) -> bool:
        """Whether a plain run has something to do."""
        return self._version() != self.belief.reached or self._restates()

    def _restates(self) -> bool:
        """Whether a plain run takes every row again, for the new model."""
        return self.rescore == "all" and self.belief.stands_under not in (None, self.champion)

    def _has_feed(self) -> bool:
        """Whether what is new is told by the change feed, not by comparing two versions."""
        covered = self.chunked or self.source.feed_covers(self.belief.reached)
        return self.life.feed and covered

    def _rows_of_a_score(self) -> dict[int, Row] | None:
        """Those that a plain run judges; None where that takes more than the oracle knows."""
        if self.partial or self.forgot:
            return None
        if self._restates():
            return self.source.rows
        if self.mode == "upsert":
            return None
        rows = self.source.landed_since(self.belief.reached)
        if self.belief.reached < 0 or not self.keeps:
            rows = {one: row for one, row in self.source.rows.items() if one in rows}
        # In two commits, rows without a key that are alike are two.
        return None if self.chunked and min(rows, default=0) < 0 else rows

    def _counts_of_an_upsert(self) -> dict[str, int]:
        """What a plain run says; nothing where that takes more than the oracle knows."""
        simple = not (self.partial or self.forgot or self.chunked or self._restates())
        if self.mode != "upsert" or not simple or min(self.source.written, default=0) < 0:
            return {}
        source, since, feed = self.source, self.belief.reached, self._has_feed()
        rows = self.belief.changed(source, self._version(), feed=feed)
        counts = source.counts(rows, self.champion)
        gone = source.gone_since(since, feed=feed) if since >= 0 else set()
        return {
            **{name: counts[name] for name in ("predicted", "quarantined")},
            "deleted": len(gone),
        }

    def _new(self) -> Belief:
        return self.belief.caught_up(
            self.source,
            self._version(),
            self.champion,
            feed=self._has_feed(),
            rescore=self.rescore,
            keeps=self.keeps,
        )

    def _everything(self) -> Belief:
        return self.belief.everything(self.source, self._version(), self.champion)

    def _scores(self, belief: Belief) -> list[tuple[Any, ...]]:
        return sorted((i, *score) for i, score in belief.scores.items())

    def _quarantined(self, belief: Belief) -> list[tuple[str, int]]:
        return belief.quarantined()

    def _run_once_more(self) -> None:
        self._score()


class LateReadings(Following):
    """Rows are scored by readings of their day, which come before and after the rows do."""

    @initialize(number=NUMBER, **OPTIONS)
    def begin(self, number: int, **options: Any) -> None:
        self._begin(number, prediction_time=PREDICTION_TIME, **options)
        self.source.readings = {}
        self._read(1, 1.0, 0)

    @precondition(lambda self: not self.partial)
    @busy
    @rule(number=st.integers(1, 3), z=st.sampled_from([0.5, 1.0, 8.0]), hour=st.integers(-12, 6))
    def read_late(self, number: int, z: float, hour: int) -> None:
        """A reading comes, known `hour` hours after the day's midnight, when rows are scored."""
        self._drew("read_late")
        self._read(number, z, hour)

    read_late_again = read_late_too = read_late_once_more = read_late

    def _read(self, number: int, z: float, hour: int) -> None:
        readings = self.source.readings
        assert readings is not None
        if hour in readings.setdefault(number, {}):
            return
        readings[number][hour] = z
        known = datetime(2024, 1, number, tzinfo=timezone.utc) + timedelta(hours=hour)
        frame = self.spark.createDataFrame([(day(number), z, known)], READINGS)
        frame.write.format("delta").mode("append").save(self.life.lake.table("readings").path)
