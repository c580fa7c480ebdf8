"""YAML as a tree that remembers where each value was written.

Read as YAML 1.2 means it: only true and false are booleans (`on:` and `no` stay text), dates stay
text, and nothing is constructed. Duplicate keys, aliases and tags are refused.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, NoReturn

from lakescore.errors import ConfigError

if TYPE_CHECKING:
    import yaml

Scalar = str | int | float | bool | None
_MAX_DEPTH = 40
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?")
_WORDS: Mapping[str, Scalar] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_REFERENCE = re.compile(r"\$\{env:([A-Za-z_][A-Za-z0-9_]*)\}")
_REFERENCE_LIKE = re.compile(r"\$\{\s*env\b[^}]*\}?", re.IGNORECASE)


@dataclass(frozen=True)
class Origin:
    """Where something was written: a file with line and column, or a `--set`."""

    file: str
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        return self.file if self.line is None else f"{self.file}:{self.line}:{self.column}"


@dataclass
class Entry:
    """One key of a mapping and its value."""

    origin: Origin
    node: Node


@dataclass
class Node:
    """A value and where it begins. `secrets` are the values it took from the environment."""

    value: Scalar | dict[str, Entry] | list[Node]
    origin: Origin
    secrets: frozenset[str] = frozenset()

    def plain(self) -> object:
        """The value as dicts, lists and scalars."""
        if isinstance(self.value, dict):
            return {key: entry.node.plain() for key, entry in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    def all_secrets(self, *, shown: Collection[str] = ()) -> frozenset[str]:
        """Every value below that came from the environment.

        Left out are values that also stand at a path that fits a glob of `shown`.
        """
        placed = list(self._placed_secrets(""))
        public = {one for path, one in placed if any(fnmatchcase(path, glob) for glob in shown)}
        return frozenset(one for _, one in placed) - public

    def _placed_secrets(self, path: str) -> Iterator[tuple[str, str]]:
        yield from ((path, secret) for secret in self.secrets)
        if isinstance(self.value, dict):
            for key, entry in self.value.items():
                yield from entry.node._placed_secrets(f"{path}.{key}" if path else key)
        elif isinstance(self.value, list):
            for index, node in enumerate(self.value):
                yield from node._placed_secrets(f"{path}[{index}]")


@dataclass
class TreeReader:
    """Reads YAML of one origin. Problems that leave the rest readable collect in `problems`."""

    file: str
    environ: Mapping[str, str]
    problems: list[ConfigError] = field(default_factory=list)

    def read(self, text: str) -> Node:
        """The single document in `text`. Raises ConfigError with a position."""
        import yaml

        from lakescore.config.yaml_errors import explain

        try:
            events = yaml.parse(text, Loader=yaml.SafeLoader)
            document = self._document(events)
        except yaml.YAMLError as error:
            what, hint, line, column = explain(error, text)
            where = str(Origin(self.file, line, column))
            raise ConfigError(what, where=where, hint=hint) from None
        if document is None:
            raise ConfigError("the file is empty", where=self.file)
        return document

    def scalar(self, text: str, origin: Origin, *, plain: bool, path: str) -> Node:
        """A scalar with `${env:NAME}` filled in; `plain` text may also be a number or a word."""
        secrets: set[str] = set()

        def fill(match: re.Match[str]) -> str:
            value = self.environ.get(match[1])
            if value is None:
                self._problem(origin, path, f"the environment variable {match[1]} is not set")
                return match[0]
            secrets.add(value)
            return value

        for match in _REFERENCE_LIKE.finditer(text):
            if not _REFERENCE.fullmatch(match[0]):
                self._problem(origin, path, f"{match[0]} is not a reference", "write ${env:NAME}")
        if _REFERENCE.search(text):
            return Node(_REFERENCE.sub(fill, text), origin, frozenset(secrets - {""}))
        return Node(resolve(text) if plain else text, origin)

    def _document(self, events: Iterator[yaml.Event]) -> Node | None:
        from yaml.events import DocumentStartEvent, StreamEndEvent

        root: Node | None = None
        for event in events:
            if isinstance(event, StreamEndEvent):
                break
            if isinstance(event, DocumentStartEvent):
                if root is not None:
                    self._refuse(event, "a second document begins here", "one file, one document")
                first = next(events)
                root = self._node(first, events, "", 0)
        return None if root is None or root.value is None else root

    def _node(self, event: yaml.Event, events: Iterator[yaml.Event], path: str, depth: int) -> Node:
        from yaml.events import AliasEvent, MappingStartEvent, ScalarEvent, SequenceStartEvent

        if isinstance(event, AliasEvent):
            self._refuse(event, "aliases (*name) are not allowed", "write the value out")
        if getattr(event, "anchor", None) is not None:
            self._refuse(
                event, "anchors (&name) are not allowed", "write the value where it is used"
            )
        tag = getattr(event, "tag", None)
        if tag is not None:
            self._refuse(event, f"the tag {tag} is not allowed", "values are plain data")
        if depth > _MAX_DEPTH:
            self._refuse(event, "nested too deeply", None)
        if isinstance(event, ScalarEvent):
            origin = self._origin(event)
            return self.scalar(event.value, origin, plain=event.implicit[0], path=path)
        if isinstance(event, SequenceStartEvent):
            return self._sequence(event, events, path, depth)
        assert isinstance(event, MappingStartEvent)  # noqa: S101 - no other event starts a node
        return self._mapping(event, events, path, depth)

    def _sequence(
        self, start: yaml.Event, events: Iterator[yaml.Event], path: str, depth: int
    ) -> Node:
        from yaml.events import SequenceEndEvent

        items: list[Node] = []
        for event in events:
            if isinstance(event, SequenceEndEvent):
                break
            items.append(self._node(event, events, f"{path}[{len(items)}]", depth + 1))
        return Node(items, self._origin(start))

    def _mapping(
        self, start: yaml.Event, events: Iterator[yaml.Event], path: str, depth: int
    ) -> Node:
        from yaml.events import MappingEndEvent, ScalarEvent

        entries: dict[str, Entry] = {}
        for event in events:
            if isinstance(event, MappingEndEvent):
                break
            if not isinstance(event, ScalarEvent) or event.tag is not None:
                self._refuse(event, "a key must be plain text", None)
            key, origin = event.value, self._origin(event)
            below = f"{path}.{key}" if path else key
            node = self._node(next(events), events, below, depth + 1)
            if key in entries:
                first = entries[key].origin
                self._problem(
                    origin, below, "duplicate key", f"it is first set on line {first.line}"
                )
            entries.setdefault(key, Entry(origin, node))
        return Node(entries, self._origin(start))

    def _origin(self, event: yaml.Event) -> Origin:
        mark = event.start_mark
        if mark is None:
            return Origin(self.file)
        return Origin(self.file, mark.line + 1, mark.column + 1)

    def _problem(self, origin: Origin, path: str, what: str, hint: str | None = None) -> None:
        where = str(origin)
        self.problems.append(
            ConfigError(f"{path}: {what}" if path else what, where=where, hint=hint)
        )

    def _refuse(self, event: yaml.Event, what: str, hint: str | None) -> NoReturn:
        raise ConfigError(what, where=str(self._origin(event)), hint=hint)


def resolve(text: str) -> Scalar:
    """The value of an unquoted scalar."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text
