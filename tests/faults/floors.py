"""What the stories of a run at full length must come to, known before any is told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

#: How long a run is that must come to it: stories of each kind, steps of each story.
FULL_LENGTH = (15, 27)
STEPS, RUNS, EACH_RULE, EACH_CRASH = 2_000, 700, 50, 3

#: What may be drawn in a story of any kind.
_ALWAYS = (
    "append", "append_without_key", "update", "delete", "overwrite", "add_column", "optimize",
    "promote", "restore_source", "vacuum_source", "foreign_restore", "lose_history", "vacuum",
    "take_back", "score", "crash", "twin",
)  # fmt: skip
_FOLLOWING = ("lose_source_history", "full", "backfill", "retry")
#: Names of every rule.
RULES = (*_ALWAYS, *_FOLLOWING, "read_late")

#: Where a scoring run may end.
POINTS = ("while staging", "before the quarantine", "before the commit", "after the commit")
CHUNK, COLUMN, RESTORE = "a later chunk", "a new column", "restore"
_POINTS_OF = {COLUMN: POINTS[1:2], RESTORE: POINTS[1:]}


def crashes(*modes: str) -> tuple[tuple[str, str], ...]:
    """Every (point, mode) at which a run of these modes may end: all modes at each point in turn.

    Of a run that adds a column the point is the one after the column's own commit; a restore
    stages nothing.
    """
    return tuple(
        (at, mode) for at in POINTS for mode in modes if at in _POINTS_OF.get(mode, POINTS)
    )


CRASHES = crashes(
    "append", "upsert", "snapshot", "full", "backfill", "retry", CHUNK, COLUMN, RESTORE
)  # fmt: skip


def crash_name(point: str, mode: str) -> str:
    return f"crash {point}, {mode}"


def too_few(drawn: Counter[str], crashed: Counter[str], runs: int) -> Iterator[str]:
    """A line for each floor that was not reached; `drawn` by rule, `crashed` by `crash_name`."""
    wanted = [("steps", sum(drawn.values()), STEPS), ("scoring runs", runs, RUNS)]
    wanted += [(f"rule {rule}", drawn[rule], EACH_RULE) for rule in RULES]
    names = [crash_name(*pair) for pair in CRASHES]
    wanted += [(name, crashed[name], EACH_CRASH) for name in names]
    for what, found, least in wanted:
        if found < least:
            yield f"{what}: {found:,}, at least {least:,} at full length"
