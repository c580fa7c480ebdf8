"""What every configuration model shares."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from datetime import date, datetime, timedelta
from typing import Annotated, Any, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainSerializer,
    PrivateAttr,
    StringConstraints,
    WithJsonSchema,
)

Model = TypeVar("Model", bound="ConfigModel")

_PASSWORD = re.compile(r"(://[^/\s:@]*:)[^/\s@]+@")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_LONGEST = 10_000
_SHORTEST_SECRET = 4  # a shorter one would hide half of any text

_DURATION = re.compile(r"^\s*(\d+)\s*(second|minute|hour|day|week)s?\s*$")


class ConfigModel(BaseModel):
    """Frozen, and refuses keys that it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    #: Values that came from the environment; set on the outermost model that a file gave.
    _secrets: frozenset[str] = PrivateAttr(default=frozenset())

    def public(self) -> dict[str, Any]:
        """JSON-ready, with every value from the environment, and every password, as ``***``."""
        hidden: dict[str, Any] = _hide(self.model_dump(mode="json"), self._secrets)
        return hidden

    def redact(self, text: str) -> str:
        """`text` (a message, a log line) without values from the environment and passwords."""
        long_enough = {secret for secret in self._secrets if len(secret) >= _SHORTEST_SECRET}
        return _hide_text(text, long_enough)

    def __repr__(self) -> str:
        return _hide_text(super().__repr__(), self._secrets)

    def __str__(self) -> str:
        return repr(self)


def attach_secrets(model: Model, secrets: Iterable[str]) -> Model:
    """The same model, knowing which of its values must never be shown."""
    model._secrets = frozenset(secrets)
    return model


def _hide(value: Any, secrets: Iterable[str]) -> Any:
    if isinstance(value, dict):
        return {key: _hide(item, secrets) for key, item in value.items()}
    if isinstance(value, list):
        return [_hide(item, secrets) for item in value]
    return _hide_text(value, secrets) if isinstance(value, str) else value


def _hide_text(text: str, secrets: Iterable[str]) -> str:
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "***")
    return _PASSWORD.sub(r"\1***@", text)


def parse_duration(value: object) -> object:
    """Turn ``"6 hours"`` into a timedelta; leave a timedelta alone."""
    if isinstance(value, timedelta):
        return value
    match = _DURATION.match(str(value))
    if match is None:
        raise ValueError("must be a whole number and a unit, like '6 hours' or '30 minutes'")
    number, unit = int(match[1]), match[2]
    if not 0 < number < _LONGEST:
        raise ValueError("must be longer than nothing, and shorter than 10,000 units")
    return timedelta(**{f"{unit}s": number})


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
    WithJsonSchema(
        {"type": "string", "pattern": _DURATION.pattern, "examples": ["6 hours", "30 minutes"]}
    ),
]


def parse_day(value: object) -> object:
    """Turn ``"2013-09-30"`` into a date; numbers and times of day are not days."""
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    if isinstance(value, str) and _DAY.fullmatch(value):
        with suppress(ValueError):  # 2013-02-30
            return date.fromisoformat(value)
    raise ValueError("must be a day like 2013-09-30")


Day = Annotated[
    date,
    BeforeValidator(parse_day),
    WithJsonSchema({"type": "string", "format": "date", "pattern": f"^{_DAY.pattern}$"}),
]

IDENTIFIER = r"^[A-Za-z_][A-Za-z0-9_]{0,127}$"
#: A name that stands in SQL, in a path and in a matrix without quoting.
Identifier = Annotated[str, StringConstraints(pattern=IDENTIFIER)]

#: A column of a user's table: any name, quoted wherever it is used.
ColumnName = Annotated[str, StringConstraints(min_length=1, max_length=255)]

#: A table: one to three dotted parts under the lake, or a path (has a slash).
TableName = Annotated[str, StringConstraints(pattern=r"^[^`\s;][^`;]*$")]

#: A deterministic Spark SQL row expression; checked by `config.expressions`.
SqlExpression = Annotated[str, StringConstraints(min_length=1)]

#: Pattern -> what a name that fits it is like.
PATTERN_WORDS = {
    IDENTIFIER: "must have only letters, digits and _, and no digit first",
    r"^[^`\s;][^`;]*$": "must be a table name like a.b, or a path",
}


def quoted(column: str) -> str:
    """A name for SQL text and `F.col`: in backticks, so that dots are part of the name."""
    return "`" + column.replace("`", "``") + "`"
