"""What a configuration model has at a place: its fields, or free-form keys."""

from __future__ import annotations

import types
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel


def branches(annotation: Any) -> tuple[Any, ...]:
    """The alternatives of an annotation, without `Annotated` and None."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return branches(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return tuple(one for part in get_args(annotation) for one in branches(part))
    return () if annotation is type(None) else (annotation,)


def is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def step(annotations: Iterable[Any], component: str | int) -> tuple[Any, ...]:
    """The annotations one component below; the same ones for a tag of a union."""
    here = tuple(annotations)
    tagged = tuple(one for one in here if is_model(one) and _kind(one) == component)
    if tagged:
        return tagged
    below: list[Any] = []
    for one in here:
        below += _below(one, component)
    return tuple(below) or here


def fields_at(model: type[BaseModel], path: Iterable[str | int]) -> tuple[str, ...]:
    """The names of the fields that may stand at `path` below `model`."""
    here: tuple[Any, ...] = (model,)
    for component in path:
        here = step(here, component)
    return tuple(name for one in here if is_model(one) for name in one.model_fields)


def is_free_form(annotation: Any) -> bool:
    """Whether it maps any key to a plain value, so that a key may hold dots."""
    if get_origin(annotation) not in (dict, Mapping):
        return False
    return not any(is_model(value) for value in branches(get_args(annotation)[1]))


def _below(annotation: Any, component: str | int) -> tuple[Any, ...]:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if is_model(annotation):
        field = annotation.model_fields.get(str(component))
        return () if field is None else branches(field.annotation)
    if origin in (dict, Mapping):
        return branches(arguments[1])
    if origin in (tuple, list) and isinstance(component, int):
        return branches(arguments[0])
    return ()


def _kind(model: type[BaseModel]) -> Any:
    field = model.model_fields.get("kind")
    return None if field is None else field.default
