"""Validation failures as configuration errors: which file, line and key, in plain words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from lakescore.config.base import PATTERN_WORDS
from lakescore.config.model_shape import fields_at
from lakescore.config.yaml_tree import Node, Origin
from lakescore.errors import ConfigError, ConfigErrors, did_you_mean

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

Path = tuple[str | int, ...]

#: Kinds of failure that are said in one fixed sentence.
_SENTENCES = {
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing_size": "must be a smaller whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "model_type": "must be a mapping of keys",
    "dict_type": "must be a mapping of keys",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "string_too_short": "must not be empty",
    "too_short": "needs at least one entry",
    "string_too_long": "is too long",
}
_LIMITS = {
    "greater_than_equal": ("must be at least {:g}", "ge"),
    "greater_than": ("must be above {:g}", "gt"),
    "less_than_equal": ("must be at most {:g}", "le"),
    "less_than": ("must be below {:g}", "lt"),
}


def combined(problems: Sequence[ConfigError]) -> ConfigError:
    """One error for all that is listed."""
    return problems[0] if len(problems) == 1 else ConfigErrors(problems)


def problems_in(error: ConfigError) -> tuple[ConfigError, ...]:
    """The inverse of `combined`."""
    return error.problems if isinstance(error, ConfigErrors) else (error,)


def problems_of(error: ValidationError, model: type[BaseModel], tree: Node) -> list[ConfigError]:
    """Every failure, placed in the tree it came from, in the order of the file."""
    found: list[tuple[Origin, ConfigError]] = []
    missing: dict[Path, list[str]] = {}
    details = error.errors(include_url=False)
    for detail in details:
        loc = tuple(detail["loc"])
        if detail["type"] == "too_short" and _is_broken_below(loc, details):
            continue  # its entries are there, and said to be wrong
        if detail["type"] == "missing" and loc:
            missing.setdefault(loc[:-1], []).append(str(loc[-1]))
            continue
        found.append(_problem(detail, loc, model, tree))
    found += [_missing(loc, names, tree) for loc, names in missing.items()]
    found.sort(key=lambda pair: (pair[0].line or 0, pair[0].column or 0))
    return [problem for _, problem in found]


def _is_broken_below(loc: Path, details: Iterable[ErrorDetails]) -> bool:
    depth = len(loc)
    return any(len(one["loc"]) > depth and one["loc"][:depth] == loc for one in details)


def _problem(
    detail: ErrorDetails, loc: Path, model: type[BaseModel], tree: Node
) -> tuple[Origin, ConfigError]:
    if detail["type"] == "extra_forbidden":
        return _unknown_key(loc, model, tree)
    bad_key = bool(loc) and loc[-1] == "[key]"
    place = locate(tree, loc[:-1] if bad_key else loc)
    origin = place.key_origin if bad_key else place.node.origin
    what, hint = _in_words(detail, secret=bool(place.node.all_secrets()))
    if bad_key:
        what = f"the key {what}"
    prefix = f"{place.path}: " if place.path else ""
    return origin, ConfigError(f"{prefix}{what}", where=str(origin), hint=hint)


def _unknown_key(loc: Path, model: type[BaseModel], tree: Node) -> tuple[Origin, ConfigError]:
    place, parent = locate(tree, loc), locate(tree, loc[:-1])
    name = str(loc[-1])
    prefix = f"{parent.path}: " if parent.path else ""
    hint = did_you_mean(name, fields_at(model, loc[:-1]))
    error = ConfigError(f"{prefix}unknown key '{name}'", where=str(place.key_origin), hint=hint)
    return place.key_origin, error


def _missing(loc: Path, names: Sequence[str], tree: Node) -> tuple[Origin, ConfigError]:
    place = locate(tree, loc)
    prefix = f"{place.path}: " if place.path else ""
    noun = "key" if len(names) == 1 else "keys"
    what = f"{prefix}missing {noun} {', '.join(names)}"
    return place.node.origin, ConfigError(what, where=str(place.node.origin))


class Place:
    """A spot in a tree: its path as written, the origin of its key, and its node."""

    def __init__(self, node: Node) -> None:
        self.path = ""
        self.key_origin = node.origin
        self.node = node

    def enter_key(self, name: str) -> None:
        if isinstance(self.node.value, dict):
            entry = self.node.value[name]
            self.path = f"{self.path}.{name}" if self.path else name
            self.key_origin, self.node = entry.origin, entry.node

    def enter_item(self, index: int) -> None:
        if isinstance(self.node.value, list):
            self.path = f"{self.path}[{index}]"
            self.node = self.node.value[index]
            self.key_origin = self.node.origin


def locate(tree: Node, loc: Iterable[str | int]) -> Place:
    """The place of a model's location in the file, though short forms are written otherwise."""
    place, in_item = Place(tree), False
    for component in loc:
        value = place.node.value
        if isinstance(value, list) and isinstance(component, int) and component < len(value):
            place.enter_item(component)
            in_item = True
            continue
        if isinstance(value, dict):
            _enter(place, value, component, in_item=in_item)
        in_item = isinstance(component, int)
    return place


def _enter(place: Place, value: dict[str, Any], component: str | int, *, in_item: bool) -> None:
    if str(component) in value:
        place.enter_key(str(component))
    elif isinstance(component, int) and component < len(value):
        place.enter_key(list(value)[component])  # a mapping written where a list is meant
    elif in_item and len(value) == 1:
        place.enter_key(next(iter(value)))  # `- name: body`
        if isinstance(place.node.value, dict) and str(component) in place.node.value:
            place.enter_key(str(component))


def _in_words(detail: ErrorDetails, *, secret: bool) -> tuple[str, str | None]:
    kind, context = detail["type"], detail.get("ctx", {})
    found = "" if secret else f", found {_describe(detail['input'])}"
    if kind == "value_error":
        is_scalar = isinstance(detail["input"], (str, int, float))
        return f"{context['error']}{found if is_scalar else ''}", None
    if kind in _SENTENCES:
        quote = kind == "string_type" and isinstance(detail["input"], (bool, int, float))
        return f"{_SENTENCES[kind]}{found}", "put it in quotes" if quote else None
    if kind in _LIMITS:
        sentence, limit = _LIMITS[kind]
        return f"{sentence.format(context[limit])}{found}", None
    if kind in ("literal_error", "enum", "union_tag_invalid"):
        expected = context.get("expected", context.get("expected_tags"))
        return f"must be {expected}{found}", None
    if kind == "string_pattern_mismatch":
        words = PATTERN_WORDS.get(context["pattern"], "has characters that are not allowed here")
        return f"{words}{found}", None
    return f"cannot be used{found}", None


def _describe(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, (dict, BaseModel)):
        return "a mapping"
    if isinstance(value, (list, tuple)):
        return "a list"
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
