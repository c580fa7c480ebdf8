"""Short forms that several sections share, and checks of names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import Field

Share = Annotated[float, Field(ge=0, le=1)]


def as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def names_to_pairs(value: Any) -> Any:
    """A name, or a list of names, joins or keeps each under its own name."""
    names = as_list(value)
    if isinstance(names, list) and all(isinstance(name, str) for name in names):
        return {name: name for name in names}
    return value


def doubled_names(names: Iterable[str]) -> str:
    """The names that stand twice, as Spark compares them: without regard to case."""
    counts = Counter(name.lower() for name in names)
    return ", ".join(sorted(name for name, count in counts.items() if count > 1))
