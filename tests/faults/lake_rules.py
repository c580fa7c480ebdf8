"""What happens to a lake in every kind of story: to the source, to the predictions, to a run."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis.stateful import precondition, rule

from lakescore.workflows.restore import restore
from lakescore.workflows.run_result import Status
from tests.faults.lake_events import lose_history, optimize, restore_to, vacuum
from tests.faults.lake_story import TALLY, LakeStory
from tests.faults.oracle import CONFLICT, Row
from tests.faults.reader import ids_brought_back
from tests.faults.telling import STEPS

X = st.sampled_from([-2.0, 0.0, 1.0, 3.5])
ROWS = st.tuples(X, st.integers(1, 3), st.sampled_from([1, 1, 1, 1, 2, CONFLICT]))
#: So many things at most happen to the lake between two runs: a quarter of a story.
IDLE = max(3, STEPS // 4)
busy = precondition(lambda self: self.idle < IDLE)


class LakeRules(LakeStory):
    """The rules that every kind of story has; what costs no run is drawn more often."""

    # --- what happens to the source ------------------------------------------------------------

    @busy
    @rule(values=st.lists(ROWS, min_size=1, max_size=4))
    def append(self, values: list[Row]) -> None:
        self._drew("append")
        self._land(values)

    @busy
    @rule(values=st.lists(ROWS, min_size=1, max_size=3))
    def append_without_key(self, values: list[Row]) -> None:
        self._drew("append_without_key")
        TALLY.fault("null keys")
        ids = self.source.new_ids(len(values))
        new = {-one: (x, at, abs(n)) for one, (x, at, n) in zip(ids, values, strict=True)}
        self.source.rows |= new
        self.life.append(*self._as_landed(new))
        self._source_moved(new)

    @precondition(lambda self: self.mode != "append" and self._keyed())
    @busy
    @rule(data=st.data(), x=st.sampled_from([-1.0, 2.0, 4.0]))
    def update(self, data: st.DataObject, x: float) -> None:
        self._drew("update")
        one = data.draw(st.sampled_from(self._keyed()))
        _, at, copies = self.source.rows[one]
        self.source.rows[one] = (x, at, abs(copies))
        self.life.sql(f"UPDATE {{t}} SET x = {x} WHERE id = {one}")
        self._source_moved([one])

    @precondition(lambda self: (self.mode != "append" or self.keeps) and self._keyed())
    @busy
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        self._drew("delete")
        one = data.draw(st.sampled_from(self._keyed()))
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
        self.life.overwrite(*self._as_landed(self.source.rows))
        self._source_moved(self.source.rows)

    @busy
    @rule()
    def add_column(self) -> None:
        self._drew("add_column")
        self._add_column("added")

    @busy
    @rule()
    def optimize(self) -> None:
        self._drew("optimize")
        optimize(self.spark, self.life.source)
        self._source_moved()
        if self._has_scores():
            optimize(self.spark, self.scores_table)

    @precondition(lambda self: not self.partial and self._old_versions())
    @busy
    @rule(data=st.data())
    def restore_source(self, data: st.DataObject) -> None:
        self._drew("restore_source")
        TALLY.fault("restore of the source")
        version = data.draw(st.sampled_from(self._old_versions()))
        back = ids_brought_back(self.life.source, version)
        restore_to(self.spark, self.life.source, version)
        rows = dict(self.source.at(version))
        back |= {one for one in rows if one < 0 and one not in self.source.rows}
        self.source.rows, self.source.columns = rows, self.source.columns_at[version]
        self._source_moved(back)
        self._source_replaced()

    def _source_replaced(self) -> None:
        """The source went back: what a workload of this kind makes of it."""

    @precondition(lambda self: not self.partial)
    @busy
    @rule()
    def vacuum_source(self) -> None:
        self._drew("vacuum_source")
        TALLY.fault("vacuum of the source")
        vacuum(self.spark, self.life.source)
        self._source_moved()
        self.oldest_source = self._version()
        self._source_vacuumed()

    def _source_vacuumed(self) -> None:
        """Only the newest version of the source can be read: what the workload makes of it."""

    @precondition(lambda self: not self.partial)
    @busy
    @rule(version=st.sampled_from(["1", "2", "3"]))
    def promote(self, version: str) -> None:
        self._drew("promote")
        self._promote(version)

    append_without_key_again = append_without_key
    append_again, update_again, delete_again = append, update, delete
    overwrite_again, promote_again, restore_source_again = overwrite, promote, restore_source

    # --- what happens to the predictions -------------------------------------------------------

    @precondition(lambda self: self.known and not self.partial)
    @busy
    @rule(data=st.data())
    def foreign_restore(self, data: st.DataObject) -> None:
        self._drew("foreign_restore")
        TALLY.fault("foreign restore")
        version = data.draw(st.sampled_from(sorted(self.known)))
        restore_to(self.spark, self.scores_table, version)
        self.belief, self.earlier, self.unsettled = self.known[version], [], True
        self._check()

    @precondition(lambda self: self._has_scores() and not self.partial and not self.unsettled)
    @busy
    @rule()
    def lose_history(self) -> None:
        self._drew("lose_history")
        TALLY.fault("lose history of the predictions")
        self._look()
        lose_history(self.spark, self.scores_table)
        self.known, self.earlier, self.forgot = {}, [], True
        self._forgot()

    def _forgot(self) -> None:
        """Progress is what the rows tell from now on: what the workload makes of it."""

    @precondition(lambda self: self._has_scores() and not self.partial)
    @busy
    @rule()
    def vacuum(self) -> None:
        self._drew("vacuum")
        TALLY.fault("vacuum")
        self._look()
        vacuum(self.spark, self.scores_table)
        self.known, self.earlier = {}, []

    @precondition(lambda self: self._can_take_back())
    @busy
    @rule()
    def take_back(self) -> None:
        self._drew("take_back")
        assert restore(self.spark, self.life.settings, self.life.workload).status is Status.DONE
        self._taken_back()
        self._check()

    lose_history_again, vacuum_again = lose_history, vacuum
    foreign_restore_again, take_back_again, take_back_too = foreign_restore, take_back, take_back
    take_back_now = take_back_later = take_back_soon = take_back
    take_back_once_more = take_back_on = take_back_further = take_back

    # --- what happens to a run -----------------------------------------------------------------

    @precondition(lambda self: self.idle > 0)
    @rule()
    def crash(self) -> None:
        """A run ends at some point of a commit; what it left must do no harm."""
        self._drew("crash")
        self.turn += 1
        self._run_ends_at(self.turn)
