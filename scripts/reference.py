"""Write docs/reference from the code: configuration, candidates, metrics, commands, JSON files.

python scripts/reference.py      # make docs
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from enum import Enum
from inspect import Parameter, signature
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import typer
from pydantic.fields import FieldInfo
from typer.models import ArgumentInfo, OptionInfo

from lakescore import errors
from lakescore.cli.app import app
from lakescore.config.base import ConfigModel, format_duration
from lakescore.config.model_shape import branches, is_model
from lakescore.config.refused import REFUSED_FUNCTIONS, Refusal
from lakescore.config.settings import Settings
from lakescore.config.workload import Workload
from lakescore.evaluation.metrics import metrics_for
from lakescore.matrix import Task
from lakescore.models.catalogue import candidates
from lakescore.workflows.schemas import schema_text

FOLDER = Path(__file__).parents[1] / "docs" / "reference"
_INTRO = {
    "workload.md": """# Workload: conf/workloads/NAME.yml

One model's life cycle, one file. With `model` it scores a model that exists; otherwise `label`,
`features`, `split` and `candidates` train one. Every section not marked *required* may be left out.
""",
    "settings.md": """# Settings: conf/base.yml and conf/ENV.yml

`conf/base.yml`, overlaid by `conf/ENV.yml` (`--env ENV`), overlaid by `--set key=value`. Mappings
merge key by key, anything else is replaced. Setting one of `lake.root` and `lake.catalog` removes
the other. A file that your `conf/` lacks is taken from the one that is shipped.

`--set` reaches the workload too. The first part of the key decides: `spark.driver_memory=2g` is a
setting, `promotion=auto` the workload's; the two share no key. An entry of a list is reached by its
name or number: `candidates.lightgbm.num_leaves=31`. A value that begins with `[`, `{` or a quote is
read as YAML.

The files are plain YAML: only `true` and `false` are booleans, days stay text, and duplicate keys,
tags (`!…`), anchors and aliases are refused. `${env:NAME}` takes a value from the environment; an
unset one is an error. Such values are secret and are shown as `***`, except in names of places:
`lake`, `runs`, `staging`, tables, `model`, and the registry's `experiment` and `model_prefix`.
""",
    "candidates.md": """# Candidates and metrics

What `candidates` of a workload may name, with the parameters of each. They compete by the metric
that `select_by` names, on the validation split; without it that is `average_precision` for a binary
label and `rmse` for a number.
""",
    "expressions.md": """# SQL expressions

Any built-in Spark SQL expression over the columns of one row is allowed, if it gives the same
value each time. That leaves out subqueries, aggregates, window functions (`OVER`), `*`, aliases,
comments, session variables (`${…}`, `@…`) and functions called by a qualified name. Features see
the source's columns and the context outputs; all other expressions only those of their own table.
Names with other characters than letters, digits and `_` stand in backticks.

`:as_of` is the day that a run is for, in `predictions.where` and `source.expectations`.
""",
    "commands.md": """# Commands

Results go to stdout, progress and errors to stderr. With `--json` stdout is JSON alone: the run
results are described in [run-result.md](run-result.md), reports in [report.md](report.md).
`jobs/*.py` and the wheel's entry points (`lakescore-score --workload NAME …`) take the same
options.
""",
    "run-result.md": """# Run result: runs/WORKLOAD/RUN/result.json

One file a run, however it ended, below `runs` of the environment; `--json` prints the same.
`lakescore history NAME` lists them. `lakescore schema --of run-result` gives the JSON schema.
""",
    "report.md": """# Report: runs/WORKLOAD/RUN/report.json

The document behind `report.html`; `lakescore report NAME --json` prints the newest. Sections that
a run has nothing to say about are null or empty. `lakescore schema --of report` gives the JSON
schema.
""",
}
_EXIT_CODES = """## Exit codes

| code | when |
|---|---|
| 0 | done, and what is a result: nothing to do, done already, a gate that said no |
| 1 | the run failed, a check of `doctor` did, or the gate said no under `--require-promotion` |
| 2 | the command line, the configuration, or a command that does not fit the workload |
| 130 | interrupted; it is safe to run the same command again |

Of several workloads (`score --select`) it is the worst of them. What an error is called in a log,
and the code that it ends with:

| error | code | |
|---|---|---|
"""
#: Those of nearly every command: they have one table, and are not repeated.
_SHARED_OPTIONS = ("env", "conf", "overrides", "log_format", "as_json")

_SHORT_FORMS: Mapping[str, str] = {
    "Source": "`key: id` is `key: [id]`.",
    "ColumnContract": "`amount: double not null` is `amount: {type: double, nullable: false}`.",
    "Context": "`on: origin` is `on: {origin: origin}`, and so is a list; `latest` likewise.",
    "Aggregate": "`{avg: delay, over: 1 hour}` is `{function: avg, column: delay, over: 1 hour}`.",
    "Label": "`label: churned` and `{column: churned}` name a column; other text is an expression.",
    "Feature": "`- age` is the column, `- name: expression` computes one, "
    "`- name: {categorical: true}` says more; or one mapping of such pairs.",
    "RandomSplit": "`split: random` takes the defaults.",
    "TimeSplit": "Chosen by its keys; `kind` may be left out.",
    "CandidateSpec": "`- prior` takes the defaults, `- lightgbm: {num_leaves: 31}` sets some.",
}


def reference_pages() -> dict[str, str]:
    """File name -> Markdown of each generated page under docs/reference/."""
    bodies = {
        "workload.md": _model_sections(Workload),
        "settings.md": _model_sections(Settings),
        "candidates.md": "\n".join([*_candidate_sections(), _metric_section()]),
        "expressions.md": _refused_functions(),
        "commands.md": _commands(),
        "run-result.md": _json_sections("run-result"),
        "report.md": _json_sections("report"),
    }
    note = "<!-- Generated from the code; `make docs` writes it again. -->"
    return {name: f"{note}\n{_INTRO[name]}\n{body}" for name, body in bodies.items()}


def write_reference(folder: Path) -> list[Path]:
    """Write the pages into `folder`; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, text in reference_pages().items():
        (folder / name).write_text(text, encoding="utf-8")
        written.append(folder / name)
    return written


def _model_sections(top: type[ConfigModel]) -> str:
    return "\n".join(_section(model, path) for model, path in _models(top, ""))


def _candidate_sections() -> Iterator[str]:
    for name, one in candidates().items():
        about = " ".join((type(one).__doc__ or "").split())
        fits = " and ".join(sorted(task.value for task in one.tasks))
        yield f"## `{name}`\n\n{about} Labels: {fits}.\n\n{_table(one.parameters_type)}\n"


def _metric_section() -> str:
    better = {True: "higher", False: "lower", None: ""}
    rows = [
        f"| `{one.name}` | {task.value} | {better[one.higher_is_better]} | {one.description} |"
        for task in Task
        for one in metrics_for(task)
    ]
    head = ["## Metrics", "", "| metric | label | better | |", "|---|---|---|---|"]
    return "\n".join([*head, *rows, ""])


def _models(model: type[ConfigModel], path: str) -> Iterator[tuple[type[ConfigModel], str]]:
    """Every model below, in the order of the file, with the key that it stands under."""
    yield model, path
    for name, field in model.model_fields.items():
        for below in _models_in(field.annotation):
            yield from _models(below, f"{path}.{name}" if path else name)


def _models_in(annotation: Any) -> Iterator[type[ConfigModel]]:
    for one in branches(annotation):
        if is_model(one):
            yield one
        else:
            for argument in get_args(one):
                yield from _models_in(argument)


def _section(model: type[ConfigModel], path: str) -> str:
    kind = model.model_fields.get("kind")
    which = f", {kind.default}" if kind is not None else ""
    heading = f"## `{path}`{which}\n\n" if path else ""
    about = " ".join((model.__doc__ or "").split())
    short = _SHORT_FORMS.get(model.__name__)
    told = f"Short form: {short}\n\n" if short else ""
    return f"{heading}{about}\n\n{told}{_table(model)}\n"


def _table(model: type[ConfigModel]) -> str:
    rows = [_row(name, field) for name, field in model.model_fields.items()]
    if not rows:
        return "No parameters."
    return "\n".join(["| key | value | default | |", "|---|---|---|---|", *rows])


def _row(name: str, field: FieldInfo) -> str:
    default = "*required*" if field.is_required() else _default(field.default)
    bounds = _bounds(field)
    value = _value(field.annotation) + (f", {bounds}" if bounds else "")
    return f"| `{name}` | {value} | {default} | {field.description or ''} |"


def _default(value: Any) -> str:
    if value is None or isinstance(value, ConfigModel) or value in ((), {}, ""):
        return ""
    if isinstance(value, timedelta):
        return f"`{format_duration(value)}`"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _bounds(field: FieldInfo) -> str:
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    found = [
        f"{sign} {getattr(limit, name):g}"
        for limit in field.metadata
        for name, sign in signs.items()
        if getattr(limit, name, None) is not None
    ]
    return " and ".join(found)


_NAMES: Mapping[Any, str] = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    timedelta: "duration, like `6 hours`",
    date: "day, like `2013-09-30`",
    Any: "anything",
    Path: "path",
}


def _value(annotation: Any) -> str:
    """An annotation in the words of a person who writes YAML."""
    found = list(dict.fromkeys(_one_value(one) for one in branches(annotation)))
    return " or ".join(found)


def _one_value(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is tuple:
        return f"list of {_value(arguments[0])}".replace("section", "sections")
    if origin is dict:
        return f"mapping to {_value(arguments[1])}".replace("section", "sections")
    if is_model(annotation):
        return "section below"
    choices = arguments if origin is Literal else _choices(annotation)
    return " or ".join(f"`{one}`" for one in choices) if choices else _NAMES[annotation]


def _choices(annotation: Any) -> tuple[str, ...]:
    is_enum = isinstance(annotation, type) and issubclass(annotation, Enum)
    return tuple(one.value for one in annotation) if is_enum else ()


def _refused_functions() -> str:
    by_refusal: dict[Refusal, list[str]] = {}
    for name, refused in REFUSED_FUNCTIONS.items():
        by_refusal.setdefault(refused, []).append(f"`{name}`")
    rows = [
        f"| {refused.reason} | {', '.join(sorted(names))} | {refused.hint or ''} |"
        for refused, names in by_refusal.items()
    ]
    lines = ["## Refused functions", "", "| it … | functions | instead |", "|---|---|---|", *rows]
    extra = "All functions whose name begins with `ai_` are refused too, and `unix_timestamp()`"
    return "\n".join([*lines, "", f"{extra} without a column.", ""])


def _commands() -> str:
    found = dict(_leaves(app, "lakescore"))
    shared = {name: one for command in found.values() for name, one in _parameters(command)}
    sections = [_command(name, command) for name, command in found.items()]
    table = _parameter_table([(name, shared[name]) for name in _SHARED_OPTIONS])
    errors_table = "".join(
        f"| `{one.__name__}` | {one.exit_code} | {' '.join((one.__doc__ or '').split())} |\n"
        for one in vars(errors).values()
        if isinstance(one, type) and issubclass(one, errors.LakescoreError)
    )
    options = f"## Options of nearly every command\n\n{table}"
    return "\n".join([*sections, options, _EXIT_CODES + errors_table])


def _leaves(commands: typer.Typer, before: str) -> Iterator[tuple[str, Callable[..., Any]]]:
    for one in commands.registered_commands:
        if one.callback is not None:
            yield f"{before} {one.name or one.callback.__name__}", one.callback
    for group in commands.registered_groups:
        if group.typer_instance is not None:
            yield from _leaves(group.typer_instance, f"{before} {group.name}")


def _parameters(command: Callable[..., Any]) -> list[tuple[str, Parameter]]:
    return list(signature(command, eval_str=True).parameters.items())


def _command(name: str, command: Callable[..., Any]) -> str:
    parameters = _parameters(command)
    own = [(key, one) for key, one in parameters if key not in _SHARED_OPTIONS]
    words = [
        key.upper() if one.default is one.empty else f"[{key.upper()}]"
        for key, one in own
        if isinstance(_said(one), ArgumentInfo)
    ]
    about = " ".join((command.__doc__ or "").split())
    shared = len(parameters) > len(own)
    only = "" if shared else " None of the options below that nearly every command has."
    heading = f"## `{' '.join([name, *words])}`\n\n{about}{only}\n"
    return f"{heading}\n{_parameter_table(own)}" if own else heading


def _said(parameter: Parameter) -> ArgumentInfo | OptionInfo:
    return get_args(parameter.annotation)[1]


def _parameter_table(parameters: Sequence[tuple[str, Parameter]]) -> str:
    rows = ["| option | value | default | |", "|---|---|---|---|"]
    for name, one in parameters:
        kind, said = get_args(one.annotation)[0], _said(one)
        # Typer takes the first name of an option for its default.
        named = [f"{one}" for one in (said.default, *(said.param_decls or ()))]
        names = [one for one in named if one.startswith("--")] or [f"--{name.replace('_', '-')}"]
        shown = name.upper() if isinstance(said, ArgumentInfo) else names[0]
        rows.append(
            f"| `{shown}` | {_parameter_value(kind, said)} | {_parameter_default(one, said)} "
            f"| {said.help or ''} |"
        )
    return "\n".join([*rows, ""])


def _parameter_value(kind: Any, said: ArgumentInfo | OptionInfo) -> str:
    if kind is bool:
        return "flag"
    several = [one for one in branches(kind) if get_origin(one) is list]
    value = said.metavar or (_value(get_args(several[0])[0]) if several else _value(kind))
    limits = [f"{sign} {limit:g}" for sign, limit in (("≥", said.min), ("≤", said.max))
              if limit is not None]  # fmt: skip
    bounds = f", {' and '.join(limits)}" if limits else ""
    return f"{value}{bounds}{', repeatable' if several else ''}"


def _parameter_default(parameter: Parameter, said: ArgumentInfo | OptionInfo) -> str:
    default = getattr(parameter.default, "value", parameter.default)
    if default is parameter.empty:
        return "*required*"
    found = [f"`{default}`"] if default else []
    return ", ".join([*found, *([f"or variable `{said.envvar}`"] if said.envvar else [])])


def _json_sections(of: str) -> str:
    schema = json.loads(schema_text(of))
    parts = schema.get("$defs", {})
    sections = [_json_section(None, schema, parts)]
    sections += [_json_section(name, part, parts) for name, part in parts.items()
                 if "properties" in part]  # fmt: skip
    return "\n".join(sections)


def _json_section(name: str | None, part: Mapping[str, Any], parts: Mapping[str, Any]) -> str:
    heading = f"## {name}\n\n" if name else ""
    always = part.get("required", ())
    rows = [
        f"| `{key}` | {_json_value(value, parts)}{'' if key in always else ', optional'} "
        f"| {value.get('description', '')} |"
        for key, value in part["properties"].items()
    ]
    about = " ".join(part.get("description", "").split())
    return "\n".join([f"{heading}{about}\n", "| key | value | |", "|---|---|---|", *rows, ""])


def _json_value(value: Mapping[str, Any], parts: Mapping[str, Any]) -> str:
    if "$ref" in value:
        name = value["$ref"].rpartition("/")[2]
        if "enum" not in parts[name]:
            return f"[{name}](#{name.lower()})"
        value = parts[name]
    if "enum" in value or "const" in value:
        return " or ".join(f"`{one}`" for one in value.get("enum") or [value["const"]])
    if "anyOf" in value:
        return " or ".join(_json_value(one, parts) for one in value["anyOf"])
    kind = value.get("type", "anything")
    if kind == "array":
        items = value.get("items") or value.get("prefixItems", [{}])[0]
        return f"list of {_json_value(items, parts)}"
    if kind == "object":
        inner = value.get("additionalProperties")
        return f"mapping to {_json_value(inner, parts)}" if isinstance(inner, dict) else "mapping"
    words = {"string": "text", "integer": "whole number", "boolean": "true or false"}
    return str(value.get("format") or words.get(kind, kind))


if __name__ == "__main__":
    write_reference(FOLDER)
