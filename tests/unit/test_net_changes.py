"""Which ranges of commits are known to change no row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from lakescore.lake.history import UNKNOWN, TableCommit
from lakescore.lake.net_changes import _keeps_rows


@dataclass
class Source:
    """A snapshot at `version`, whose history shows these operations of the last versions."""

    version: int
    operations: tuple[str, ...]

    def commits_since(self, _: Any, after: int) -> list[TableCommit]:
        first = self.version - len(self.operations) + 1
        told = (TableCommit(first + i, 0, name) for i, name in enumerate(self.operations))
        return [commit for commit in told if commit.version > after]


@pytest.mark.parametrize(
    ("operations", "keeps"),
    [
        (("OPTIMIZE", "SET TBLPROPERTIES", "ADD COLUMNS", "VACUUM START", "VACUUM END"), True),
        (("OPTIMIZE", "WRITE", "OPTIMIZE", "OPTIMIZE", "OPTIMIZE"), False),
        (("OPTIMIZE", "OPTIMIZE", "OPTIMIZE", "OPTIMIZE", UNKNOWN), False),
        # The history was cleaned: what it no longer shows may have been anything.
        (("OPTIMIZE", "OPTIMIZE", "OPTIMIZE", "OPTIMIZE"), False),
    ],
)
def test_rows_are_kept_where_every_commit_is_known_to(
    operations: tuple[str, ...], keeps: bool
) -> None:
    assert _keeps_rows(None, Source(9, operations), after=4) == keeps
