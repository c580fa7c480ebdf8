"""What every configuration model shares."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, StringConstraints

_DURATION = re.compile(r"^\s*(\d+)\s*(second|minute|hour|day|week)s?\s*$")


class ConfigModel(BaseModel):
    """Frozen, and refuses keys that it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


def parse_duration(value: object) -> object:
    """Turn ``"6 hours"`` into a timedelta; leave a timedelta alone."""
    if isinstance(value, timedelta):
        return value
    match = _DURATION.match(str(value))
    if match is None:
        raise ValueError("a duration is a whole number and a unit, like '6 hours' or '30 minutes'")
    number, unit = match.groups()
    return timedelta(**{f"{unit}s": int(number)})


def format_duration(value: timedelta) -> str:
    """The inverse of `parse_duration`, in the largest unit that fits."""
    seconds = int(value.total_seconds())
    for unit, size in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds % size == 0:
            count = seconds // size
            return f"{count} {unit}{'' if count == 1 else 's'}"
    return f"{seconds} seconds"


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    Field(json_schema_extra={"type": "string", "format": "duration", "examples": ["6 hours"]}),
]

#: A name that stands in SQL, in a path and in a matrix without quoting.
Identifier = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}$")]

#: A column of a user's table: any name, quoted wherever it is used.
ColumnName = Annotated[str, StringConstraints(min_length=1, max_length=255)]

#: A table: one to three dotted parts under the lake, or a path (has a slash).
TableName = Annotated[str, StringConstraints(min_length=1, pattern=r"^[^`\s;][^`;]*$")]

#: A deterministic Spark SQL row expression; checked by `config.expressions`.
SqlExpression = Annotated[str, StringConstraints(min_length=1)]
