"""The candidates by name, and the check of what a workload says of them. Needs no engine."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from lakescore.config.base import ConfigModel
from lakescore.errors import ConfigError, ConfigErrors, did_you_mean
from lakescore.matrix import Task
from lakescore.models.base import Candidate

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo
    from pydantic_core import ErrorDetails

#: Name -> where its class is. Importing one imports no engine.
_CANDIDATES = {
    "deep_tabular": "lakescore.models.deep.candidate:DeepTabular",
    "lightgbm": "lakescore.models.lightgbm.candidate:LightGBM",
    "linear_regression": "lakescore.models.mllib.linear:LinearRegression",
    "logistic_regression": "lakescore.models.mllib.linear:LogisticRegression",
    "prior": "lakescore.models.prior:Prior",
    "random_forest": "lakescore.models.mllib.forest:RandomForest",
}
_LIMITS = {"ge": "at least {}", "gt": "above {}", "le": "at most {}", "lt": "below {}"}


@cache
def candidates() -> Mapping[str, Candidate]:
    """Every candidate by name."""
    return MappingProxyType({name: _made(path) for name, path in _CANDIDATES.items()})


def candidate(name: str) -> Candidate:
    """The candidate of that name. Raises ConfigError, naming the closest one."""
    try:
        return candidates()[name]
    except KeyError:
        raise ConfigError(
            f"no candidate is called '{name}'",
            where="candidates",
            hint=did_you_mean(name, _CANDIDATES),
        ) from None


def check_parameters(name: str, raw: Mapping[str, Any]) -> ConfigModel:
    """The parameters of a candidate as it takes them, defaults filled in.

    Raises ConfigError (ConfigErrors for several) naming the parameter and what it may be.
    """
    parameters_type = candidate(name).parameters_type
    try:
        return parameters_type.model_validate(dict(raw))
    except ValidationError as error:
        problems = [
            _problem(name, detail, parameters_type) for detail in error.errors(include_url=False)
        ]
    raise problems[0] if len(problems) == 1 else ConfigErrors(problems)


def check_task(name: str, task: Task) -> None:
    """Raises ConfigError for a candidate that cannot fit such a label."""
    if task in candidate(name).tasks:
        return
    fitting = sorted(other for other, one in candidates().items() if task in one.tasks)
    raise ConfigError(
        f"{name} does not fit a {task.value} label",
        where="candidates",
        hint=f"for {task.value}: {', '.join(fitting)}",
    )


def _made(path: str) -> Candidate:
    module, _, name = path.partition(":")
    made: Candidate = getattr(import_module(module), name)()
    return made


def _problem(name: str, detail: ErrorDetails, parameters_type: type[ConfigModel]) -> ConfigError:
    parameter = str(detail["loc"][0]) if detail["loc"] else ""
    fields = parameters_type.model_fields
    where = f"candidates.{name}" + (f".{parameter}" if parameter else "")
    if detail["type"] == "extra_forbidden":
        return ConfigError(
            f"{name} has no parameter '{parameter}'",
            where=where,
            hint=did_you_mean(parameter, fields),
        )
    if parameter not in fields:
        return ConfigError(detail["msg"].removeprefix("Value error, "), where=where)
    return ConfigError(
        f"{parameter} cannot be {detail['input']!r}",
        where=where,
        hint=f"{_allowed(fields[parameter])}; default {fields[parameter].default!r}",
    )


def _allowed(field: FieldInfo) -> str:
    """What a parameter may be, from its type and limits."""
    options = getattr(field.annotation, "__args__", None)
    if options and all(isinstance(option, str) for option in options):
        return f"one of {', '.join(options)}"
    kinds: dict[Any, str] = {int: "a whole number", float: "a number"}
    kind = kinds.get(field.annotation, "a value")
    limits = [
        words.format(getattr(rule, sign))
        for rule in field.metadata
        for sign, words in _LIMITS.items()
        if getattr(rule, sign, None) is not None
    ]
    return " ".join([kind, " and ".join(limits)]).strip()
