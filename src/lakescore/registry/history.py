"""The champions of the past, kept in one tag of the registered model.

The tag holds earlier champions only, oldest first; who is champion now is the alias alone. So a
crash between writing the tag and moving the alias leaves at worst an entry equal to the current
champion, which both functions below skip.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

#: Unity Catalog takes 1,000 characters in a tag value, MLflow servers 5,000: oldest go first.
MAX_CHARACTERS = 900


def read_history(tag: str | None) -> tuple[str, ...]:
    """The versions that a tag names, oldest first; nothing for a missing or foreign value."""
    try:
        versions = json.loads(tag or "[]")
    except ValueError:
        return ()
    return tuple(str(version) for version in versions) if isinstance(versions, list) else ()


def write_history(versions: Iterable[str]) -> str:
    """The tag's value: as many of the newest versions as fit."""
    kept = list(versions)
    while len(text := json.dumps(kept, separators=(",", ":"))) > MAX_CHARACTERS:
        kept.pop(0)
    return text


def after_promotion(history: tuple[str, ...], outgoing: str | None) -> tuple[str, ...]:
    """The history once `outgoing` has been replaced."""
    if outgoing is None or history[-1:] == (outgoing,):
        return history
    return (*history, outgoing)


def before(history: tuple[str, ...], current: str | None) -> tuple[str | None, tuple[str, ...]]:
    """The champion before `current`, and the history once it is champion again."""
    earlier = list(history)
    while earlier and earlier[-1] == current:
        earlier.pop()
    return (earlier[-1], tuple(earlier[:-1])) if earlier else (None, ())
