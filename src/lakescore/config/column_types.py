"""Spark SQL types as text, in the one spelling that Spark's own schemas use. Pure Python."""

from __future__ import annotations

import re

from lakescore.errors import did_you_mean

_PLAIN = {
    "boolean": "boolean",
    "tinyint": "tinyint",
    "byte": "tinyint",
    "smallint": "smallint",
    "short": "smallint",
    "int": "int",
    "integer": "int",
    "bigint": "bigint",
    "long": "bigint",
    "float": "float",
    "real": "float",
    "double": "double",
    "string": "string",
    "binary": "binary",
    "date": "date",
    "timestamp": "timestamp",
    "timestamp_ltz": "timestamp",
    "timestamp_ntz": "timestamp_ntz",
}
_DECIMALS = ("decimal", "dec", "numeric")
_NESTED = ("array", "map", "struct")
_WORD = re.compile(r"\s*([a-z_]+)\s*")
_SIZE = re.compile(r"\(\s*(\d+)\s*(?:,\s*(\d+)\s*)?\)\s*")
_FIELD = re.compile(r"\s*(?:`([^`]+)`|([a-z_][a-z0-9_]*))\s*(?::\s*|(?=\s))")
_MOST_DIGITS = 38


def canonical_type(text: str) -> str:
    """`text` as Spark says it: `integer` is `int`, `decimal` is `decimal(10,0)`; in lower case.

    Raises ValueError for what is no type of a column.
    """
    if any(text.count(one) != text.count(other) for one, other in ("()", "<>")):
        raise ValueError(
            "must be a Spark type: a bracket is left open; in {…} put a type with a comma in quotes"
        )
    try:
        found, rest = _type(text.lower())
    except RecursionError as error:
        raise ValueError("must be a Spark type: this one is nested too deeply") from error
    if rest.strip():
        raise ValueError(f"must be a Spark type: what is '{rest.strip()}' after {found}?")
    return found


def _type(text: str) -> tuple[str, str]:
    """The type at the beginning of the text, and what follows it."""
    match = _WORD.match(text)
    word, rest = (match[1], text[match.end() :]) if match else ("", text)
    if word in _PLAIN:
        return _PLAIN[word], rest
    if word in _DECIMALS:
        return _decimal(rest)
    if word == "array":
        element, rest = _type(_after("<", rest, "array"))
        return f"array<{element}>", _after(">", rest, "array")
    if word == "map":
        key, rest = _type(_after("<", rest, "map"))
        value, rest = _type(_after(",", rest, "map"))
        return f"map<{key},{value}>", _after(">", rest, "map")
    if word == "struct":
        return _struct(_after("<", rest, "struct"))
    hint = did_you_mean(word, [*_PLAIN, *_DECIMALS, *_NESTED])
    raise ValueError(f"must be a Spark type ({hint})")


def _after(sign: str, text: str, kind: str) -> str:
    if text[:1] != sign:
        form = {"array": "array<int>", "map": "map<string, int>"}.get(kind, "struct<a: int>")
        raise ValueError(f"must be a Spark type: {kind} is written like {form}")
    return text[1:].lstrip()


def _decimal(text: str) -> tuple[str, str]:
    size = _SIZE.match(text)
    if size is None:
        return "decimal(10,0)", text
    precision, scale = int(size[1]), int(size[2] or 0)
    if not 0 < precision <= _MOST_DIGITS or scale > precision:
        raise ValueError("must be a Spark type: a decimal has 1 to 38 digits, like decimal(10,2)")
    return f"decimal({precision},{scale})", text[size.end() :]


def _struct(text: str) -> tuple[str, str]:
    fields: list[str] = []
    while True:
        name = _FIELD.match(text)
        if name is None:
            raise ValueError("must be a Spark type: struct is written like struct<a: int>")
        found, text = _type(text[name.end() :])
        fields.append(f"{name[1] or name[2]}:{found}")
        if text[:1] != ",":
            return f"struct<{','.join(fields)}>", _after(">", text, "struct")
        text = text[1:]
