"""What every kind of story has: a lake, what is believed of it, where runs end, and its end."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import assume, note
from hypothesis.stateful import RuleBasedStateMachine

from lakescore.workflows.plan import ScoringPlan, plan_scoring
from lakescore.workflows.restore import restore
from lakescore.workflows.run_result import RunResult, Status
from tests.conftest import settings_under
from tests.faults.floors import POINTS, RESTORE, crashes
from tests.faults.lake_events import newest_version
from tests.faults.oracle import Row, SourceHistory, keyless_in_one
from tests.faults.reader import commits, refused_in_force, rows_at
from tests.faults.seams import Crash, Ending, ends_at, now
from tests.faults.tally import STORIES as SUITE
from tests.faults.tally import Tally
from tests.faults.telling import STEPS
from tests.linear import Life, day, workload

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from lakescore.workflows.steps import Request

TALLY = Tally.of(f"test_{SUITE}")
AFTER = POINTS[-1]
#: By how much the x of two rows of one key differ.
APART = 10.0

#: At its end so many runs of a story end too soon, at points that stories share out among them:
#: drawn alone, some would come too seldom.
LAST_ENDINGS = min(2, STEPS // 9)


@dataclass(frozen=True)
class Telling:
    """What a story is told with: a session, a registry with all models, a folder for its lakes."""

    spark: SparkSession
    registered: Path
    scratch: Path
    name: str
    mode: str
    number: int


class LakeStory(RuleBasedStateMachine):
    """One source, one workload over it, and what others do to both.

    `belief` is what the lake must say. `earlier` are the beliefs to which commits can be taken
    back; `known` maps versions of the predictions table that can still be read to what they say.
    `partial`: a catch-up was cut in the middle; `forgot`: the predictions' history was cleaned
    since the last run; `unsettled`: somebody restored them since.
    """

    telling: Telling
    #: Whether predictions stay when their source row is deleted.
    keeps = False
    #: The columns of the predictions that a belief is about, and how many of them are the key.
    says: tuple[str, ...]
    identity: int

    def start(
        self, number: int, options: dict[str, Any], belief: Any, *, feed: bool, **source: Any
    ) -> None:
        assume(number)
        told = self.telling
        self.spark, self.mode = told.spark, told.mode
        root = told.scratch / f"story-{len(list(told.scratch.iterdir()))}"
        root.mkdir()
        shutil.copyfile(told.registered / "mlflow.db", root / "mlflow.db")
        settings, options = settings_under(root), {"mode": self.mode, **options}
        self.life = Life(self.spark, settings, workload(options, **source), feed)
        self.scores_table = self.life.lake.table("scores")
        self.quarantine_table = self.life.lake.table("scores_quarantine")
        self.refused: tuple[Any, list[tuple[Any, ...]]] = (None, [])
        self.champion, self.source = "1", SourceHistory()
        self.belief, self.earlier = belief, list[Any]()
        self.known: dict[int, Any] = {}
        self.partial = self.forgot = self.unsettled = False
        self.idle, self.looked, self.oldest_source = 0, -1, 0
        # Runs end at every point in turn, in each story from another one on.
        self.endings = crashes(*self.modes())
        self.turn = 5 * told.number

    def modes(self) -> tuple[str, ...]:
        """In what runs may end, as `floors` names them."""
        raise NotImplementedError

    # --- what rules share ----------------------------------------------------------------------

    def _land(self, values: list[Row]) -> None:
        if self.source.readings is not None:
            # Scored by other columns than x, rows that differ in x alone are copies.
            values = [(x, at, abs(copies)) for x, at, copies in values]
        if any(copies < 0 for *_, copies in values):
            TALLY.fault("conflicting keys")
        new = dict(zip(self.source.new_ids(len(values)), values, strict=True))
        self.source.rows |= new
        self.life.append(*self._as_landed(new))
        self._source_moved(new)

    def _promote(self, version: str) -> None:
        self.champion = version
        self.life.promote(version)

    def _can_take_back(self) -> bool:
        return bool(self.earlier) and not self.partial and not self.forgot

    def _taken_back(self) -> None:
        self.belief = self.earlier.pop()
        self._remember()

    # --- where runs end ------------------------------------------------------------------------

    def _run_ends_at(self, turn: int) -> None:
        """A run ends at the turn's (point, mode)."""
        point, mode = self.endings[turn % len(self.endings)]
        note(f"# a run ends {point}: {mode}")
        self._make_ready(mode)
        TALLY.crash(point, mode)
        self._ran()
        if mode == RESTORE:
            self._restore_ends(point)
        else:
            self._run_ends(point, mode)
        self._check()

    def _make_ready(self, mode: str) -> None:
        """Let there be something to do for a run in this mode."""
        raise NotImplementedError

    def _run_ends(self, point: str, mode: str) -> None:
        raise NotImplementedError

    def _restore_ends(self, point: str) -> None:
        with now(ends_at, Ending(point)), pytest.raises(Crash):
            restore(self.spark, self.life.settings, self.life.workload)
        if point == AFTER:
            self._taken_back()

    def _pass_another_column(self) -> None:
        """The next run finds a column to add to the predictions, in a commit of its own."""
        name, usual = self._add_column("passed"), self.life.workload
        assert usual.predictions is not None
        passed = {"passthrough": (*usual.predictions.passthrough, name)}
        predictions = usual.predictions.model_copy(update=passed)
        self.life.workload = usual.model_copy(update={"predictions": predictions})
        self.oldest_source = self._version()

    # --- what was planned ----------------------------------------------------------------------

    def _plan(self, request: Request) -> ScoringPlan:
        return plan_scoring(self.spark, self.life.settings, self.life.workload, request)

    def _happened(self, plan: ScoringPlan, result: RunResult, *, settles: bool) -> None:
        """What the plan said is what the run's commit says.

        A run that first `settles` what others did to the history has another number.
        """
        step = plan.step
        assert (result.status is Status.DONE) == (step is not None)
        if step is None or result.details["commits"] > 1:
            return
        (said,) = [
            c.said for c in commits(self.scores_table) if c.said.get("run_id") == result.run_id
        ]
        told = ("mode", "replaces", "as_of", "generation", "after_version")
        planned = {name: step.describe().get(name) for name in told}
        planned |= {"model_version": plan.model.version, "source_id": plan.pins.source.table_id}
        planned |= {"merge_by": list(step.merge_by), "number": plan.progress.next_seq}
        planned |= {"source": plan.pins.source.version, "hash": plan.hash}
        done = {name: said[name] for name in (*told, "model_version", "source_id", "merge_by")}
        done |= {"number": said["commit_seq"], "hash": said["plan_hash"]}
        done |= {"source": said["part"]["version"] if said["part"] else said["source_version"]}
        assert result.details["commit_seq"] == said["commit_seq"]
        assert result.details["plan_hash"] == said["plan_hash"]
        if settles:
            for name in ("number", "hash", "generation", "after_version"):
                del planned[name], done[name]
        assert done == planned

    # --- what is believed ---------------------------------------------------------------------

    def _drew(self, rule: str) -> None:
        """A rule was drawn, by itself: not through another."""
        self.idle += 1
        TALLY.drew(self.telling.name, rule)

    def _ran(self, runs: int = 1) -> None:
        """So many scoring runs start. A backfill and a retry score what is new first, in one."""
        self.idle = 0
        TALLY.ran(runs)

    def _version(self) -> int:
        return newest_version(self.life.source)

    def _source_moved(self, written: Any = ()) -> None:
        self.source.commit(self._version(), written)

    def _as_landed(self, rows: dict[int, Row]) -> Iterator[tuple[Any, ...]]:
        """The rows of the source's table."""
        for one, (x, at, copies) in rows.items():
            step = APART if copies < 0 else 0.0
            for number in range(abs(copies)):
                yield (one if one > 0 else None, x + step * number, day(at))

    def _keyed(self) -> list[int]:
        return sorted(one for one in self.source.rows if one > 0)

    def _old_versions(self) -> list[int]:
        """Versions of the source that it can go back to."""
        newest = self._version()
        return [at for at in sorted(self.source.rows_at) if self.oldest_source <= at < newest]

    def _add_column(self, word: str) -> str:
        name = f"{word}{self._version()}"
        self.life.sql(f"ALTER TABLE {{t}} ADD COLUMNS ({name} string)")
        self.source.columns |= {name}
        self._source_moved()
        return name

    def _has_scores(self) -> bool:
        return newest_version(self.scores_table) >= 0

    def _became(self, belief: Any, *, known: bool = True) -> None:
        """A run ended with this. `known`: it was one commit over a known state."""
        self.earlier = [*self.earlier, self.belief] if known else []
        self.belief, self.partial, self.forgot, self.unsettled = belief, False, False, False
        self._remember()

    def _remember(self) -> None:
        self.known[newest_version(self.scores_table)] = self.belief

    def _count(self, result: RunResult, rows: dict[int, Row] | None) -> None:
        """The run's own counts add up, and are those of the `rows` that it judged, if known."""
        counts = result.counts
        TALLY.read(counts["read"])
        assert counts["read"] == sum(counts.values()) - counts["read"]
        if rows is not None:
            assert counts == self.source.counts(rows, self.champion)

    def _look(self) -> None:
        """No version of the predictions since the last look, whoever left it, has a key twice."""
        newest = newest_version(self.scores_table)
        for version in range(self.looked + 1, newest + 1):
            keys = [row[: self.identity] for row in self._found(version)]
            assert len(keys) == len(set(keys)), f"version {version} has a key twice"
        self.looked = newest

    def _check(self) -> None:
        """The lake says what is believed, each row once, and so does every commit since."""
        if not self._has_scores():
            return
        self._look()
        if self.partial:
            return
        believed, end = self._scores(self.belief), self.identity
        TALLY.compare(
            0,
            [(row[:end], row[end:]) for row in self._found()],
            [(row[:end], row[end:]) for row in believed],
        )
        TALLY.compare(0, self._refused(), self._quarantined(self.belief))

    def _scores(self, belief: Any) -> list[tuple[Any, ...]]:
        """What the predictions say by a belief, sorted."""
        raise NotImplementedError

    def _quarantined(self, belief: Any) -> list[tuple[str, int]]:
        """(key, copies) of each refused row; those without a key in one."""
        raise NotImplementedError

    def _found(self, version: int | None = None) -> list[tuple[Any, ...]]:
        """What the predictions say."""
        return rows_at(self.scores_table, self.says, version)

    def _refused(self) -> list[tuple[str, int]]:
        """The refused rows in force: looked up once for each state of the tables."""
        state = newest_version(self.scores_table), newest_version(self.quarantine_table)
        if self.refused[0] != state:
            found = refused_in_force(self.scores_table, self.quarantine_table)
            self.refused = state, keyless_in_one(found)
        return self.refused[1]

    def _run_once_more(self) -> None:
        """A plain run."""
        raise NotImplementedError

    def place(self) -> int:
        """This story's among those whose runs end in the same modes: they share the turns out."""
        raise NotImplementedError

    def teardown(self) -> None:
        """Whatever happened, one run more makes it right, and it leaves nothing behind."""
        if sys.exc_info()[0] is not None:
            return
        for version, belief in self.known.items():
            assert self._found(version) == self._scores(belief), f"version {version}"
        for number in range(LAST_ENDINGS):
            self._run_ends_at(LAST_ENDINGS * self.place() + number)
        self._run_once_more()
        in_force = refused_in_force(self.scores_table, self.quarantine_table)
        assert self.life.refused() == in_force, "lakescore lists what the tables say"
        assert list(Path(self.life.settings.staging).rglob("*")) == []
