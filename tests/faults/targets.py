"""A project in some table mode, and changes of its source that a run has to follow."""

from __future__ import annotations

from datetime import date

from tests.faults.lives import Project
from tests.linear import NAME, day

BATCH_UPSERT = 30


class Target:
    """One project a table mode; `change` prepares what the killed run has to do."""

    def __init__(self, project: Project) -> None:
        self.project, self.days = project, 0
        self.project.land()
        self.project.life.score(as_of=day(1))
        self.project.oracle.judge(self.project.oracle.rows, "1", self.as_of)

    @property
    def is_snapshot(self) -> bool:
        predictions = self.project.life.workload.predictions
        return predictions is not None and predictions.mode == "snapshot"

    @property
    def as_of(self) -> date | None:
        return day(1 + self.days) if self.is_snapshot else None

    def change(self, mode: str) -> tuple[list[str], int]:
        """Something to score: the command that does, and how many rows it judges.

        The oracle then says how things stand once it has run.
        """
        self.project.promote_next()
        command, judged = getattr(self, f"_{mode}")()
        return command, self.project.oracle.judge(judged, self.project.champion, self.as_of)

    def _append(self) -> tuple[list[str], list[int]]:
        return ["score", NAME], self.project.land()

    def _full(self) -> tuple[list[str], list[int]]:
        self.project.land(10)
        return ["score", NAME, "--full"], list(self.project.oracle.rows)

    def _backfill(self) -> tuple[list[str], list[int]]:
        span = ["--from", "2024-01-02", "--to", "2024-01-03"]
        rows = self.project.oracle.rows
        return ["backfill", NAME, *span], [i for i, (_, when) in rows.items() if when >= day(2)]

    def _upsert(self) -> tuple[list[str], list[int]]:
        """Rows come, rows change (valid ones break, broken ones mend), rows go."""
        project, rows = self.project, self.project.oracle.rows
        self.days += 1
        changed = [i for i in rows if i % 7 == self.days % 7]
        new = project.land(BATCH_UPSERT)
        project.life.sql(
            f"UPDATE {{t}} SET x = -x - 1 WHERE id % 7 = {self.days % 7} AND id < {new[0]}"
        )
        rows |= {i: (-rows[i][0] - 1, rows[i][1]) for i in changed}
        project.life.sql(f"DELETE FROM {{t}} WHERE id % 11 = {self.days % 11}")
        for gone in [i for i in rows if i % 11 == self.days % 11]:
            del rows[gone]
            project.oracle.forget(gone)
        return ["score", NAME], [i for i in (*changed, *new) if i in rows]

    def _snapshot(self) -> tuple[list[str], list[int]]:
        self.days += 1
        rows = self.project.new_rows()
        self.project.life.overwrite(*((i, x, when) for i, (x, when) in rows.items()))
        self.project.oracle.rows = rows
        return ["score", NAME, "--as-of", str(self.as_of)], list(rows)
