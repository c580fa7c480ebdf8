"""The protocol's steps at which the run of a story ends, or is outrun by another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any
from unittest import mock

from lakescore.lake import commits, staging
from tests.faults.floors import POINTS

_STAGED, _JUDGING, _COMMITTING, _COMMITTED = POINTS


class Crash(Exception):
    """The process ends here."""


@dataclass
class Ending:
    """Where a run ends: at `point` of its commit after the first `passes` ones."""

    point: str
    passes: int = 0
    committed: int = 0

    def is_at(self, point: str) -> bool:
        return self.point == point and self.committed == self.passes


#: Where the run of this story ends.
ends_at: ContextVar[Ending | None] = ContextVar("ends_at", default=None)
#: What commits before the run of this story does, once.
outrun_by: ContextVar[Callable[[], None] | None] = ContextVar("outrun_by", default=None)


@contextmanager
def now(what: ContextVar[Any], value: Any) -> Iterator[None]:
    token = what.set(value)
    try:
        yield
    finally:
        what.reset(token)


def _end(point: str) -> None:
    ending = ends_at.get()
    if ending is not None and ending.is_at(point):
        raise Crash


@contextmanager
def seams() -> Iterator[None]:
    """Within the block runs end, and are outrun, where `ends_at` and `outrun_by` say."""
    counted, write_once = staging.counted, commits.write_once
    judge, commit = commits.PredictionsLog._judge, commits.PredictionsLog.commit
    undo = commits.Quarantine.undo

    def staging_ends(*args: Any, **kwargs: Any) -> Any:
        staged = counted(*args, **kwargs)
        _end(_STAGED)
        return staged

    def judging_ends(*args: Any) -> Any:
        _end(_JUDGING)
        return judge(*args)

    def undoing_ends(*args: Any) -> Any:
        _end(_JUDGING)
        return undo(*args)

    def writing_ends(*args: Any, **kwargs: Any) -> Any:
        if kwargs["metadata"]["kind"] not in ("predictions", "restore"):
            return write_once(*args, **kwargs)
        _end(_COMMITTING)
        written = write_once(*args, **kwargs)
        _end(_COMMITTED)
        ending = ends_at.get()
        if ending is not None:
            ending.committed += 1
        return written

    def commit_is_outrun(*args: Any) -> Any:
        rival = outrun_by.get()
        if rival is not None:
            outrun_by.set(None)
            rival()
        return commit(*args)

    with (
        mock.patch.object(staging, "counted", staging_ends),
        mock.patch.object(commits.PredictionsLog, "_judge", judging_ends),
        mock.patch.object(commits.Quarantine, "undo", undoing_ends),
        mock.patch.object(commits, "write_once", writing_ends),
        mock.patch.object(commits.PredictionsLog, "commit", commit_is_outrun),
    ):
        yield
