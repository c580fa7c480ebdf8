"""Delta tables without Spark and without lakescore: by delta-rs, and by the log's own JSON."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deltalake import DeltaTable

if TYPE_CHECKING:
    from lakescore.lake.tables import Table


@dataclass(frozen=True)
class Commit:
    """One commit as its JSON file tells it; `said` is what lakescore put into it."""

    version: int
    operation: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    said: Mapping[str, Any] = field(default_factory=dict)


def rows_at(
    table: Table, columns: Sequence[str], version: int | None = None
) -> list[tuple[Any, ...]]:
    """These columns of every row, sorted: now, or at a version of the table."""
    assert table.path is not None
    read = DeltaTable(table.path, version=version).to_pyarrow_table(columns=list(columns))
    return sorted(zip(*(read[name].to_pylist() for name in columns), strict=True))


def ids_brought_back(table: Table, version: int) -> set[int]:
    """The `id` of every row in a data file that the version has and the newest one has not."""
    from pyarrow import parquet

    assert table.path is not None
    then, now = (set(DeltaTable(table.path, version=at).file_uris()) for at in (version, None))
    return {one for uri in then - now for one in parquet.read_table(uri)["id"].to_pylist() if one}


def commits(table: Table) -> list[Commit]:
    """Those that the log still shows, oldest first."""
    assert table.path is not None
    log = Path(table.path) / "_delta_log"
    return [_commit(path) for path in sorted(log.glob("*.json")) if path.stem.isdigit()]


def _commit(path: Path) -> Commit:
    actions = map(json.loads, path.read_text().splitlines())
    told = next((action["commitInfo"] for action in actions if "commitInfo" in action), {})
    try:
        said = json.loads(told.get("userMetadata") or "{}")
    except ValueError:
        said = {}
    operation, parameters = told.get("operation", ""), told.get("operationParameters", {})
    return Commit(int(path.stem), operation, parameters, said if isinstance(said, dict) else {})


def refused_in_force(predictions: Table, quarantine: Table) -> list[tuple[str, int]]:
    """(key, copies) of every refused row that counts, by what both tables themselves say.

    A row of the quarantine counts if a commit that stands names its attempt; a closing row that
    counts ends the one that it names. A table of one workload.
    """
    assert quarantine.path is not None
    if not DeltaTable.is_deltatable(quarantine.path):
        return []
    rows = DeltaTable(quarantine.path).to_pyarrow_table().to_pylist()
    counting = set(_attempts_that_count(commits(predictions), rows))
    standing = [row for row in rows if row["_attempt_id"] in counting]
    closed = {row["_closes"] for row in standing}
    return sorted(
        (row["_key"], row["_copies"])
        for row in standing
        if row["_closes"] is None and row["_row_id"] not in closed
    )


def _attempts_that_count(
    history: Sequence[Commit], rows: Collection[Mapping[str, Any]]
) -> Iterator[str]:
    """Those that a standing commit names; of numbers that were cleaned, the one written last."""
    shown = [commit for commit in history if "commit_seq" in commit.said]
    lowest = min((commit.said["commit_seq"] for commit in shown), default=None)
    complete = not history or history[0].version == 0
    last = dict[int, str]()
    for row in sorted(rows, key=lambda row: row["_scored_at"]):
        told = complete if lowest is None else row["_commit_seq"] >= lowest
        if not told:
            last[row["_commit_seq"]] = row["_attempt_id"]
    yield from last.values()
    stand = _standing(history)
    withdrawn = {commit.said["withdraws"] for commit in stand if "withdraws" in commit.said}
    yield from (c.said["attempt_id"] for c in stand if c.said["attempt_id"] not in withdrawn)


def _standing(history: Sequence[Commit]) -> list[Commit]:
    """The scoring commits that no RESTORE took back."""
    at: dict[int, list[Commit]] = {}
    stand: list[Commit] = []
    for commit in history:
        if commit.operation == "RESTORE":
            stand = at.get(int(commit.parameters["version"]), [])
        elif "commit_seq" in commit.said:
            stand = [*stand, commit]
        at[commit.version] = stand
    return stand
