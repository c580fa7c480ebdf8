"""What the YAML parser says, in words that name the remedy."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import yaml

#: A piece of the parser's message -> what is wrong, and what to do.
_WORDS = (
    (r"'\t' that cannot start any token", "a tab is used for indentation", "indent with spaces"),
    (
        "mapping values are not allowed here",
        "a second ': ' on one line, or wrong indentation",
        "quote a value that contains ': '",
    ),
    ("could not find expected ':'", "a key without ': '", "write `key: value`"),
    (
        "expected ',' or ']'",
        "a list that is not closed, or a comma is missing",
        "close it with ]",
    ),
    (
        "expected ',' or '}'",
        "a mapping that is not closed, or a comma is missing",
        "close it with }",
    ),
    (
        "expected <block end>",
        "this line does not fit the lines above it",
        "align it with its neighbours; quote text after a closing quote or bracket as a whole",
    ),
    (
        "that cannot start any token",
        "a value begins with a character that YAML reserves (` @ %)",
        "put the value in quotes",
    ),
    ("open quote", "a quote is opened here and never closed", "close it, on the same line"),
    ("found unknown escape character", r"an unknown \escape in double quotes", "use single quotes"),
)
_OPEN_QUOTE = "open quote"
_NEVER_CLOSED = ("found unexpected end of stream", "found unexpected document separator")


def explain(error: yaml.YAMLError, text: str) -> tuple[str, str | None, int | None, int | None]:
    """What is wrong, a hint, and the line and column, both from 1."""
    from yaml.error import MarkedYAMLError
    from yaml.reader import ReaderError

    if isinstance(error, ReaderError):
        before = text[: error.position]
        line, column = before.count("\n") + 1, error.position - (before.rfind("\n") + 1) + 1
        return f"the character U+{_code(error.character):04X} is not allowed", None, line, column
    if not isinstance(error, MarkedYAMLError):
        return "not valid YAML", None, None, None
    mark = error.problem_mark or error.context_mark
    problem = error.problem or "not valid YAML"
    if problem in _NEVER_CLOSED and "quoted scalar" in (error.context or ""):
        mark = error.context_mark or mark
        problem = _OPEN_QUOTE
    what, hint = _in_words(problem)
    position = (None, None) if mark is None else (mark.line + 1, mark.column + 1)
    return what, hint, *position


def _in_words(problem: str) -> tuple[str, str | None]:
    for piece, what, hint in _WORDS:
        if piece in problem:
            return what, hint
    return f"not valid YAML: {problem}", None


def _code(character: object) -> int:
    if isinstance(character, int):
        return character
    return ord(str(character)[0])
