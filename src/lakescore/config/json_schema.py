"""JSON schemas (draft 2020-12) of the YAML files, short forms included, so that editors help."""

from __future__ import annotations

from typing import Any

from lakescore.config.settings import Settings
from lakescore.config.workload import Workload

Schema = dict[str, Any]

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_TEXT: Schema = {"type": "string", "minLength": 1}
_TRAINING = ("label", "features", "split", "candidates")


def workload_schema() -> Schema:
    """The schema of conf/workloads/NAME.yml."""
    schema = Workload.model_json_schema()
    parts, top = schema["$defs"], schema["properties"]
    _allow_one_for_list(top, "tags")
    _allow_one_for_list(parts["Source"]["properties"], "key")
    _allow_column_shorthand(parts["Source"]["properties"])
    _allow_one_for_list(parts["Predictions"]["properties"], "passthrough", "partition_by")
    _allow_one_for_list(parts["ReportOptions"]["properties"], "segments")
    for part, name in (("Context", "on"), ("Context", "latest"), ("Label", "on")):
        _allow_names_for_pairs(parts[part]["properties"], name)
    _allow_aggregate_shorthand(parts)
    parts["LabelForms"] = _label_forms(parts["Label"])
    parts["FeatureForms"] = _feature_forms(parts["Feature"])
    parts["CandidateForms"] = _candidate_forms()
    top["features"] |= {"anyOf": _features(top["features"])}
    top["label"] |= {"anyOf": [{"$ref": "#/$defs/LabelForms"}, {"type": "null"}]}
    top["split"] |= {"anyOf": _splits(parts)}
    top["candidates"] = _candidates(top["candidates"])
    _close_patterns(schema)
    parts["Context"] |= _static_or_dated()
    schema |= _model_or_training()
    return {"$schema": _DIALECT, "title": "lakescore workload", **_without(schema, "title")}


def settings_schema() -> Schema:
    """The schema of conf/base.yml and conf/ENV.yml: each is one layer, so no key is required."""
    schema = Settings.model_json_schema()
    parts = schema["$defs"]
    for part in (schema, *parts.values()):
        part.pop("required", None)
    parts["LakeSettings"]["not"] = {
        "required": ["root", "catalog"],
        "properties": {"root": {"type": "string"}, "catalog": {"type": "string"}},
    }
    parts["SparkSettings"]["properties"]["conf"]["additionalProperties"] = {
        "type": ["string", "number", "boolean"]
    }
    return {"$schema": _DIALECT, "title": "lakescore settings", **_without(schema, "title")}


def _without(schema: Schema, key: str) -> Schema:
    return {name: value for name, value in schema.items() if name != key}


def _close_patterns(node: object) -> None:
    """Refuse the keys of a mapping that fit no pattern, as the model does."""
    if isinstance(node, dict):
        if "patternProperties" in node:
            node["additionalProperties"] = False
        for value in node.values():
            _close_patterns(value)
    elif isinstance(node, list):
        for value in node:
            _close_patterns(value)


def _either(field: Schema, *forms: Schema) -> Schema:
    """A field that may also be written in other forms; what describes it stays outside."""
    outside = ("description", "default", "title")
    kept = {key: field[key] for key in outside if key in field}
    own = {key: value for key, value in field.items() if key not in outside}
    return {"anyOf": [own, *forms], **kept}


def _allow_one_for_list(properties: Schema, *names: str) -> None:
    for name in names:
        properties[name] = _either(properties[name], _TEXT)


def _allow_column_shorthand(properties: Schema) -> None:
    """``amount: double not null`` beside the spelled-out form."""
    columns = properties["columns"]
    columns["additionalProperties"] = {"anyOf": [_TEXT, columns["additionalProperties"]]}


def _allow_names_for_pairs(properties: Schema, name: str) -> None:
    names = {"type": "array", "items": _TEXT, "minItems": properties[name].get("minProperties", 0)}
    properties[name] = _either(properties[name], _TEXT, names)


def _allow_aggregate_shorthand(parts: Schema) -> None:
    """``{avg: delay, over: 1 hour}`` beside the spelled-out form."""
    spelled_out = parts["Aggregate"]
    fields = spelled_out["properties"]
    functions = fields["function"]["enum"]
    short = {
        "type": "object",
        "properties": {"over": fields["over"], **dict.fromkeys(functions, fields["column"])},
        "required": ["over"],
        "minProperties": 2,
        "maxProperties": 2,
        "additionalProperties": False,
    }
    parts["Aggregate"] = {"anyOf": [short, spelled_out]}


def _label_forms(spelled_out: Schema) -> Schema:
    properties = _without(spelled_out["properties"], "expression")
    with_column = {
        **spelled_out,
        "properties": {"column": {**_TEXT, "description": "A column."}, **properties},
        "required": ["column"],
    }
    return {"anyOf": [_TEXT, {"$ref": "#/$defs/Label"}, with_column]}


def _feature_forms(spelled_out: Schema) -> Schema:
    """A column, ``name: expression``, ``name: {…}``, or all of it spelled out."""
    body = {
        "type": "object",
        "properties": _without(spelled_out["properties"], "name"),
        "additionalProperties": False,
    }
    pair = {
        "type": "object",
        "propertyNames": {"pattern": spelled_out["properties"]["name"]["pattern"]},
        "not": {"required": ["name"]},
        "additionalProperties": {"anyOf": [_TEXT, body]},
        "minProperties": 1,
        "maxProperties": 1,
    }
    column = {"type": "string", "pattern": spelled_out["properties"]["name"]["pattern"]}
    return {"anyOf": [column, pair, {"$ref": "#/$defs/Feature"}]}


def _features(field: Schema) -> list[Schema]:
    field.pop("anyOf")
    pairs: Schema = {"type": "object", "minProperties": 1, "additionalProperties": {}}
    pairs["additionalProperties"] = {"anyOf": [_TEXT, {"type": "object"}]}
    listed = {"type": "array", "items": {"$ref": "#/$defs/FeatureForms"}, "minItems": 1}
    return [{"const": "all"}, listed, pairs, {"type": "null"}]


def _splits(parts: Schema) -> list[Schema]:
    """``random``, or either kind without saying which."""
    for kind in ("RandomSplit", "TimeSplit"):
        parts[kind]["properties"]["kind"].pop("default", None)
    kinds = [{"$ref": f"#/$defs/{kind}"} for kind in ("RandomSplit", "TimeSplit")]
    return [{"const": "random"}, *kinds, {"type": "null"}]


def _candidate_forms() -> Schema:
    pair = {
        "type": "object",
        "not": {"required": ["name"]},
        "additionalProperties": {"type": ["object", "null"]},
        "minProperties": 1,
        "maxProperties": 1,
    }
    return {"anyOf": [_TEXT, pair, {"$ref": "#/$defs/CandidateSpec"}]}


def _candidates(field: Schema) -> Schema:
    listed = {**field, "items": {"$ref": "#/$defs/CandidateForms"}, "minItems": 1}
    return _either(listed, _TEXT)


def _static_or_dated() -> Schema:
    return {
        "anyOf": [{"required": ["latest"]}, {"required": ["aggregates"]}],
        "if": {"required": ["static"], "properties": {"static": {"const": True}}},
        "then": {
            "not": {
                "anyOf": [
                    {"required": [name]}
                    for name in ("known_at", "lookback_window", "aggregates", "max_lag")
                ]
            }
        },
        "else": {"required": ["known_at", "lookback_window"]},
    }


def _model_or_training() -> Schema:
    return {
        "if": {"required": ["model"]},
        "then": {"not": {"anyOf": [{"required": [name]} for name in _TRAINING]}},
        "else": {"required": list(_TRAINING), "not": {"required": ["trust"]}},
    }
