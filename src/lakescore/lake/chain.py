"""The chain of one application's commits in a table, read from its history. Pure Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

from lakescore.lake.history import TableCommit, refuse_newer, standing

#: In the metadata of a commit that takes another back: the attempt id of that one.
WITHDRAWS = "withdraws"
#: The `kind` of a commit without rows, made where the history no longer told any other.
ANCHOR = "anchor"
#: In an anchor's metadata: a catch-up was unfinished, and how far it came is no longer known.
PART_LOST = "part_lost"


@dataclass(frozen=True)
class Part:
    """Of source version `version`, the first `files` of `of` data files (by path) are scored."""

    version: int
    files: int
    of: int


@dataclass(frozen=True)
class Progress:
    """How far the commits of a workload go. All defaults: nothing was ever committed.

    `commit_seq` is the highest number ever used, `source_version` (of the table `source_id`)
    how far the rows that stand now go. A RESTORE lowers the second, never the first.
    `stands_under` is the model that `rescore: all` last brought every row to, or scored new rows
    with; a backfill does not move it. At `quarantine_version` the quarantine had no attempt but
    those of commits, if that is known. `pins` are those of the commit (by table), and
    `predicted_until` is the last moment (ISO, UTC) that a row was predicted at by then.
    """

    commit_seq: int = 0
    source_version: int | None = None
    source_id: str | None = None
    model_version: str | None = None
    run_id: str | None = None
    generation: int = 0
    stands_under: str | None = None
    mode: str | None = None
    part: Part | None = None
    quarantine_version: int | None = None
    pins: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)
    predicted_until: str | None = field(default=None, compare=False)

    @property
    def next_seq(self) -> int:
        return self.commit_seq + 1

    def metadata(self) -> dict[str, Any]:
        """What a commit without a plan says, so that `progress_of` gives this again."""
        part = None if self.part is None else vars(self.part)
        return {**vars(self), "pins": dict(self.pins), "workload_mode": self.mode, "part": part}


@dataclass(frozen=True)
class Chain:
    """The newest `commits` of a table, and of them those of one application (`own`).

    `in_force` are those that neither a RESTORE nor a withdrawal took back; `complete` says that
    the history goes back to the table's first version.
    """

    commits: tuple[TableCommit, ...] = ()
    own: tuple[TableCommit, ...] = ()
    in_force: tuple[TableCommit, ...] = ()
    complete: bool = True

    @property
    def restored(self) -> bool:
        return any(commit.operation == "RESTORE" for commit in self.commits)

    @classmethod
    def of(cls, commits: Sequence[TableCommit], app_id: str) -> Chain:
        """From the newest commits of the table, newest first. Raises FormatTooNew."""
        for commit in commits:
            refuse_newer(commit.metadata, f"{commit.describe()} of the predictions table")
        stand = [c for c in standing(commits) if c.metadata.get("app_id") == app_id]
        withdrawn = {commit.metadata[WITHDRAWS] for commit in stand if WITHDRAWS in commit.metadata}
        return cls(
            commits=tuple(commits),
            own=tuple(c for c in commits if c.metadata.get("app_id") == app_id),
            in_force=tuple(c for c in stand if c.metadata.get("attempt_id") not in withdrawn),
            complete=any(commit.version == 0 for commit in commits),
        )

    @property
    def tells(self) -> bool:
        """Whether progress can be read from it: it shows a commit, or that there never was one."""
        return bool(self.in_force) or self.complete

    @property
    def tells_part(self) -> bool:
        """Whether it shows how far a catch-up came, or that none was begun.

        An anchor that had to go by rows alone says that it does not know.
        """
        if not self.in_force:
            return self.complete
        return not self.in_force[0].metadata.get(PART_LOST, False)

    @property
    def highest_seq(self) -> int:
        return max((int(commit.metadata["commit_seq"]) for commit in self.own), default=0)

    @property
    def lowest_seq(self) -> int:
        return min((int(commit.metadata["commit_seq"]) for commit in self.own), default=0)

    def progress(self, as_of: date | None = None) -> Progress:
        """By the newest commit that stands; with `as_of`, by the newest of that day.

        A day without a commit has no progress of its own, but the mode of the newest commit.
        """
        for commit in self.in_force:
            if as_of is None or _day(commit) == as_of:
                return progress_of(commit.metadata, self.highest_seq)
        mode = self.in_force[0].metadata.get("workload_mode") if self.in_force else None
        return Progress(commit_seq=self.highest_seq, mode=mode)

    @property
    def is_undone(self) -> bool:
        """Whether a RESTORE took the newest of its commits back, and none was made since."""
        return bool(self.own) and self.own[0] not in self.in_force

    def left_as_is(self, newest: TableCommit) -> bool:
        """Whether nobody wrote to the quarantine since the newest commit but that commit itself.

        `newest` is the quarantine's newest commit. Then all its attempts are those of commits, for
        they were when the run of that commit began.
        """
        if not self.own or self.is_undone:
            return False
        told = self.own[0].metadata
        then, own = told.get("quarantine_version"), told.get("attempt_id")
        if then is None:
            return False
        written = newest.version == then + 1 and newest.metadata.get("attempt_id") == own
        return written or newest.version == then

    def tells_before(self, commit: TableCommit) -> bool:
        """Whether it shows what progress was without `commit`, or that there was none."""
        older = any(one.version < commit.version for one in self.in_force)
        return older or self.complete or commit.metadata["commit_seq"] == 1

    def progress_before(self, commit: TableCommit) -> Progress:
        """What progress was without `commit`, one of those in force."""
        older = [c for c in self.in_force if c.version < commit.version]
        return replace(self, in_force=tuple(older)).progress(_day(commit))

    def are_all_named(self, attempts: Mapping[str, int]) -> bool:
        """Whether each of the quarantine's attempts is that of a commit."""
        return set(attempts) <= {commit.metadata.get("attempt_id") for commit in self.own}

    def strays(self, attempts: Mapping[str, int]) -> list[str]:
        """Of the quarantine's attempts (id -> number), those whose number another attempt took.

        They can never be in force. Numbers that this history does not show are left alone, and
        so are commits undone by a RESTORE, which a second RESTORE may bring back.
        """
        named = {commit.metadata.get("attempt_id") for commit in self.own}
        shown = {int(commit.metadata["commit_seq"]) for commit in self.own}
        return sorted(a for a, seq in attempts.items() if seq in shown and a not in named)

    def not_in_force(self, attempts: Mapping[str, int]) -> list[str]:
        """Attempts that no standing commit names: lost, undone, running now, or crashed.

        Of numbers that a cleaned history no longer shows, the last of `attempts` (in the order of
        their writing) counts: a run that crashed under a number was before the one that used it.
        """
        named = {commit.metadata.get("attempt_id") for commit in self.in_force}
        told = bool(self.own) or self.complete
        last = {seq: attempt for attempt, seq in attempts.items()}
        return sorted(
            attempt
            for attempt, seq in attempts.items()
            if (attempt not in named if told and seq >= self.lowest_seq else attempt != last[seq])
        )


def _day(commit: TableCommit) -> date | None:
    day = commit.metadata.get("as_of")
    return None if day is None else date.fromisoformat(day)


def progress_of(metadata: Mapping[str, Any], commit_seq: int) -> Progress:
    part = metadata.get("part")
    return Progress(
        part=None if part is None else Part(**part),
        commit_seq=commit_seq,
        source_version=metadata.get("source_version"),
        source_id=metadata.get("source_id"),
        model_version=metadata.get("model_version"),
        run_id=metadata.get("run_id"),
        generation=metadata.get("generation", 0),
        mode=metadata.get("workload_mode"),
        stands_under=metadata.get("stands_under", metadata.get("model_version")),
        pins=metadata.get("pins", {}),
        predicted_until=metadata.get("predicted_until"),
    )
