"""Layers of configuration: a file over a file, and `--set` over both."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel

from lakescore.config.model_shape import is_free_form, step
from lakescore.config.yaml_tree import Entry, Node, Origin, Scalar, TreeReader
from lakescore.errors import ConfigError, did_you_mean

#: Keys of one mapping of which a later layer's choice replaces an earlier one's.
_ALTERNATIVES = frozenset({"root", "catalog"})


def overlay(below: Node, above: Node) -> Node:
    """`above` over `below`: mappings merge key by key, anything else is replaced."""
    if not isinstance(below.value, dict) or not isinstance(above.value, dict):
        return above
    merged = dict(below.value)
    if _ALTERNATIVES & above.value.keys():
        merged = {key: entry for key, entry in merged.items() if key not in _ALTERNATIVES}
    for key, entry in above.value.items():
        earlier = merged.get(key)
        node = overlay(earlier.node, entry.node) if earlier else entry.node
        merged[key] = Entry(entry.origin, node)
    return Node(merged, below.origin)


def apply_overrides(
    tree: Node,
    overrides: Mapping[str, str],
    model: type[BaseModel],
    reader: TreeReader,
) -> Node:
    """The tree with every ``--set key.path=value`` laid over it.

    A value that begins with ``[``, ``{`` or a quote is read as YAML, any other is one scalar.
    An entry of a list is reached by its number or its name (``candidates.lightgbm.num_leaves``).
    """
    for key, text in overrides.items():
        setter = TreeReader(f"--set {key}", reader.environ, reader.problems)
        path = split_key(key, model)
        tree = _replace(tree, path, _value(text, setter, key), Origin(setter.file))
    return tree


def split_key(key: str, model: type[BaseModel]) -> tuple[str, ...]:
    """The components of a dotted key; below a free-form mapping the rest is one key."""
    parts = key.split(".")
    if not all(parts):
        raise ConfigError(f"'{key}' is not a key", where=f"--set {key}", hint="write a.b=value")
    here: tuple[Any, ...] = (model,)
    for index, part in enumerate(parts):
        if any(is_free_form(one) for one in here):
            return (*parts[:index], ".".join(parts[index:]))
        listed = step(here, 0)
        here = listed if listed != here else step(here, part)
    return tuple(parts)


def split_overrides(
    pairs: Iterable[str], settings: type[BaseModel], workload: type[BaseModel]
) -> tuple[dict[str, str], dict[str, str]]:
    """Sort ``key=value`` texts into those for the settings and those for the workload.

    The first component of the key decides: the two models share no top-level key.
    """
    for_settings: dict[str, str] = {}
    for_workload: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        key = key.strip()
        if not equals or not key:
            raise ConfigError(f"'{pair}' is not key=value", where="--set")
        top = key.split(".")[0]
        if top in settings.model_fields:
            for_settings[key] = value.strip()
        elif top in workload.model_fields:
            for_workload[key] = value.strip()
        else:
            known = (*settings.model_fields, *workload.model_fields)
            hint = did_you_mean(top, known)
            raise ConfigError(f"unknown key '{top}'", where=f"--set {key}", hint=hint)
    return for_settings, for_workload


def _value(text: str, setter: TreeReader, key: str) -> Node:
    if re.match(r"\s*[\[{\"']", text):
        return _placeless(setter.read(text), Origin(setter.file))
    return setter.scalar(text.strip(), Origin(setter.file), plain=True, path=key)


def _placeless(node: Node, origin: Origin) -> Node:
    """A line and column inside a `--set` help nobody."""
    value: Scalar | dict[str, Entry] | list[Node] = node.value
    if isinstance(value, dict):
        value = {key: Entry(origin, _placeless(e.node, origin)) for key, e in value.items()}
    elif isinstance(value, list):
        value = [_placeless(item, origin) for item in value]
    return Node(value, origin, node.secrets)


def _replace(tree: Node, path: tuple[str, ...], value: Node, origin: Origin) -> Node:
    if not path:
        return value
    name, rest = path[0], path[1:]
    if isinstance(tree.value, list):
        return _replace_item(tree, tree.value, path, value, origin)
    entries = dict(tree.value) if isinstance(tree.value, dict) else {}
    if not rest and name in _ALTERNATIVES:
        entries = {key: entry for key, entry in entries.items() if key not in _ALTERNATIVES}
    below = entries[name].node if name in entries else Node(None, origin)
    entries[name] = Entry(origin, _replace(below, rest, value, origin))
    return Node(entries, tree.origin)


def _replace_item(
    tree: Node, items: list[Node], path: tuple[str, ...], value: Node, origin: Origin
) -> Node:
    name, rest = path[0], path[1:]
    names = [_item_name(item) for item in items]
    if name.isdecimal() and int(name) < len(items):
        index = int(name)
    elif name in names:
        index = names.index(name)
    else:
        known = [known for known in names if known]
        raise ConfigError(f"no entry '{name}'", where=str(origin), hint=did_you_mean(name, known))
    changed = list(items)
    changed[index] = value
    if rest or name == names[index]:
        changed[index] = _replace_inside(items[index], names[index], rest, value, origin)
    return Node(changed, tree.origin)


def _replace_inside(
    item: Node, known_as: str | None, rest: tuple[str, ...], value: Node, origin: Origin
) -> Node:
    """Below an entry of a list: in the body of `- name: body`, else in the entry itself."""
    if isinstance(item.value, str):  # `- prior` is `- prior: {}`
        item = Node({item.value: Entry(item.origin, Node(None, item.origin))}, item.origin)
    is_pair = isinstance(item.value, dict) and known_as in item.value
    return _replace(item, (str(known_as), *rest) if is_pair else rest, value, origin)


def _item_name(item: Node) -> str | None:
    """The name by which an entry is known: itself, its only key, or its `name`."""
    if isinstance(item.value, dict):
        if "name" in item.value:
            return str(item.value["name"].node.value)
        return next(iter(item.value)) if len(item.value) == 1 else None
    return item.value if isinstance(item.value, str) else None
