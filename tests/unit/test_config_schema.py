"""The JSON schemas accept what the models accept, short forms included, and refuse the same."""

from pathlib import Path

import jsonschema
import pytest

from lakescore.config.json_schema import settings_schema, workload_schema
from lakescore.config.settings import Settings
from lakescore.config.workload import Workload
from lakescore.config.yaml_tree import TreeReader

CONF = Path(__file__).parents[2] / "conf"
TRAIN = """
name: churn
source: {table: customers, key: id}
label: churned
features: all
split: random
candidates: [lightgbm]
"""
SCORE = """
name: churn
model: models:/prod.ml.churn@champion
source: {table: gold.customers, key: [customer_id, region]}
predictions: {table: gold.churn_scores}
"""


def plain(text: str) -> object:
    return TreeReader("x.yml", {}).read(text).plain()


def schema_accepts(value: object) -> bool:
    return jsonschema.Draft202012Validator(workload_schema()).is_valid(value)


def model_accepts(value: object) -> bool:
    try:
        Workload.model_validate(value)
    except ValueError:
        return False
    return True


def changed(text: str, change: tuple[str, str]) -> object:
    old, new = change
    assert old in text
    return plain(text.replace(old, new))


def test_the_schemas_are_schemas():
    jsonschema.Draft202012Validator.check_schema(workload_schema())
    jsonschema.Draft202012Validator.check_schema(settings_schema())


@pytest.mark.parametrize("file", sorted((CONF / "workloads").glob("*.yml")), ids=lambda f: f.stem)
def test_shipped_workloads_fit_schema_and_model(file):
    value = plain(file.read_text())
    jsonschema.validate(value, workload_schema())
    assert model_accepts(value)


@pytest.mark.parametrize("file", sorted(CONF.glob("*.yml")), ids=lambda f: f.stem)
def test_shipped_environments_fit_the_schema(file):
    jsonschema.validate(plain(file.read_text()), settings_schema())


VALID = [
    ("label: churned", "label: churned"),
    ("label: churned", "label: {column: 'is churned', task: binary}"),
    ("label: churned", "label: {expression: days > 30, table: t, on: [id], known_at: k}"),
    ("key: id", "key: [id, day]"),
    ("key: id", "key: id, columns: {a: double not null, b: {nullable: false}, c: 'map<int, int>'}"),
    ("key: id", "key: id, unique_within: 30 days, columns: {a: {type: 'decimal(10, 2)'}}"),
    ("features: all", "features: [a, b: c + 1, d: {categorical: true}, {name: e, expression: f}]"),
    ("features: all", "features: {a: a + 1, b: {expression: c, categorical: true}}"),
    ("split: random", "split: {validation: 0.2, test: 0}"),
    ("split: random", "split: {kind: random}"),
    (
        "split: random",
        "split: {by: d, train_until: 2013-09-30, validation_until: 2013-10-31,"
        " test_until: 2013-11-30}",
    ),
    ("candidates: [lightgbm]", "candidates: prior"),
    ("candidates: [lightgbm]", "candidates: [prior:, lightgbm: {num_leaves: 3}, {name: x}]"),
    ("name: churn", "name: churn\ntags: nightly\nreport: {segments: region}\ngate: {metric: auc}"),
    (
        "name: churn",
        "name: churn\ncontext: {s: {table: t, on: id, static: true, latest: [a, b]},"
        " z: {table: t, on: {id: key}, static: true, latest: {x: a}}}",
    ),
    (
        "key: id}",
        "key: id, prediction_time: at, expectations: {ok: a > 1}, max_quarantined: {count: 3}}\n"
        "context: {c: {table: t, on: id, known_at: k, lookback_window: 3 hours, max_lag: 1 day,"
        " aggregates: {n: {count: x, over: 1 hour}, m: {function: avg, column: x, over: 1 hour}}}}",
    ),
]


@pytest.mark.parametrize("change", VALID)
def test_valid_files_fit_schema_and_model(change):
    value = changed(TRAIN, change)
    jsonschema.validate(value, workload_schema())
    Workload.model_validate(value)


def test_a_workload_for_a_model_that_exists_fits_both():
    assert schema_accepts(plain(SCORE))
    assert model_accepts(plain(SCORE))


INVALID = [
    ("name: churn", "name: 1st"),
    ("name: churn\n", ""),
    ("name: churn", "name: churn\ncolour: red"),
    ("key: id", "keys: id"),
    ("key: id", "key: []"),
    ("key: id", "key: {id: id}"),
    ("source: {table: customers, key: id}", "source: customers"),
    ("key: id", "key: id, columns: [a]"),
    ("key: id", "key: id, columns: {a: {type: int, null: false}}"),
    ("key: id", "key: id, unique_within: 30"),
    ("label: churned\n", ""),
    ("label: churned", "label: {table: t, column: c, expresion: x}"),
    ("label: churned", "label: 5"),
    ("features: all", "features: some"),
    ("features: all", "features: [{a: 1}]"),
    ("features: all", "features: [{a: b, c: d}]"),
    ("features: all", "features: [a b]"),
    ("split: random", "split: sometimes"),
    ("split: random", "split: {test: 1.5}"),
    ("split: random", "split: {by: d, train_until: 2013-09-30}"),
    (
        "split: random",
        "split: {by: d, train_until: 20130930, validation_until: 2013-10-31,"
        " test_until: 2013-11-30}",
    ),
    ("candidates: [lightgbm]", "candidates: []"),
    ("candidates: [lightgbm]", "candidates: [lightgbm: 5]"),
    ("candidates: [lightgbm]", "candidates: [lightgbm]\nmodel: models:/m@champion"),
    ("candidates: [lightgbm]", "candidates: [lightgbm]\npromotion: soon"),
    ("candidates: [lightgbm]", "candidates: [lightgbm]\ntrust: runs-code"),
    ("name: churn", "name: churn\ncontext: {c: {table: t, on: id, latest: x}}"),
    ("name: churn", "name: churn\ncontext: {a b: {table: t, on: id, static: true, latest: x}}"),
    ("name: churn", "name: churn\ncontext: {c: {table: t, on: id, static: true}}"),
    (
        "key: id}",
        "key: id, prediction_time: at}\ncontext: {c: {table: t, on: id, known_at: k,"
        " lookback_window: soon, latest: x}}",
    ),
    (
        "key: id}",
        "key: id, prediction_time: at}\ncontext: {c: {table: t, on: id, known_at: k,"
        " lookback_window: 3 hours, aggregates: {n: {median: x, over: 1 hour}}}}",
    ),
    (
        "name: churn",
        "name: churn\ncontext: {c: {table: t, on: id, static: true, known_at: k, latest: x}}",
    ),
]


@pytest.mark.parametrize("change", INVALID)
def test_invalid_files_are_refused_by_schema_and_model(change):
    value = changed(TRAIN, change)
    assert not schema_accepts(value)
    assert not model_accepts(value)


def test_every_key_of_the_settings_is_optional_in_a_layer_but_known():
    validator = jsonschema.Draft202012Validator(settings_schema())
    assert validator.is_valid({"spark": {"conf": {"spark.a": False, "spark.b": 3}}})
    assert validator.is_valid({"lake": {"catalog": "prod"}})
    assert not validator.is_valid({"lake": {"catalog": "prod", "root": "/x"}})
    assert not validator.is_valid({"sparks": {}})
    assert settings_schema()["properties"].keys() == Settings.model_fields.keys()
