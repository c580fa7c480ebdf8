"""Finding, layering and validating conf/: what is loaded, and what each mistake is told."""

from pathlib import Path

import pytest

from lakescore.config import loader
from lakescore.config.loader import (
    find_conf,
    load_settings,
    load_workload,
    load_workloads,
    split_overrides,
    workload_names,
)
from lakescore.config.settings import Settings
from lakescore.config.workload import Workload
from lakescore.errors import ConfigError

BASE = """
lake: {root: ./lake}
registry: {uri: "sqlite:///lake/mlflow.db"}
spark: {driver_memory: 2g, conf: {spark.ui.enabled: false, spark.x: 1}}
runs: ./lake/_runs
staging: ./lake/_staging
"""
CHURN = """
name: churn
source: {table: customers, key: id}
label: churned
features: all
split: random
candidates: [lightgbm, prior]
predictions: {table: churn_scores}
"""


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    folder = tmp_path / "conf"
    (folder / "workloads").mkdir(parents=True)
    write(folder / "base.yml", BASE)
    write(folder / "local.yml", "platform: local\n")
    write(folder / "workloads" / "churn.yml", CHURN)
    return folder


def write(file: Path, text: str) -> None:
    file.write_text(text.lstrip("\n"), encoding="utf-8")


def refusal(load, *arguments, **options) -> str:
    with pytest.raises(ConfigError) as caught:
        load(*arguments, **options)
    assert caught.value.exit_code == 2
    return str(caught.value)


def workload_refusal(conf: Path, text: str, **environ: str) -> str:
    """What loading this text says, with the folder left out."""
    write(conf / "workloads" / "churn.yml", text)
    message = refusal(load_workload, conf, "churn", environ=environ)
    return message.replace(str(conf / "workloads") + "/", "")


def with_line(old: str, new: str) -> str:
    assert old in CHURN
    return CHURN.replace(old, new)


# --- settings ---


def test_environment_is_laid_over_base_key_by_key(conf):
    write(conf / "prod.yml", "spark: {driver_memory: 8g, conf: {spark.x: two}}\nruns: /runs\n")
    settings = load_settings(conf, "prod")
    assert settings.spark.driver_memory == "8g"
    assert settings.spark.conf == {"spark.ui.enabled": "false", "spark.x": "two"}
    assert (settings.runs, settings.staging) == ("/runs", "./lake/_staging")


def test_catalog_in_an_overlay_takes_the_place_of_root(conf):
    write(conf / "databricks.yml", "platform: databricks\nlake: {catalog: prod}\n")
    lake = load_settings(conf, "databricks").lake
    assert (lake.root, lake.catalog) == (None, "prod")
    lake = load_settings(conf, "databricks", {"lake.root": "/x"}).lake
    assert (lake.root, lake.catalog) == ("/x", None)


def test_root_and_catalog_in_one_file_are_refused(conf):
    write(conf / "prod.yml", "lake: {root: /x, catalog: y}\n")
    assert "lake: set exactly one of lake.root and lake.catalog" in refusal(
        load_settings, conf, "prod"
    )


def test_set_reaches_dotted_spark_settings_and_is_named_in_errors(conf):
    overrides = {"spark.conf.spark.sql.ansi.enabled": "true", "scoring.batch_rows": "10"}
    settings = load_settings(conf, "local", overrides)
    assert settings.spark.conf["spark.sql.ansi.enabled"] == "true"
    assert settings.scoring.batch_rows == 10
    message = refusal(load_settings, conf, "local", {"scoring.batch_rows": "0"})
    assert message == "--set scoring.batch_rows: scoring.batch_rows: must be at least 1, found 0"


def test_unknown_environment_lists_those_there_are(conf):
    message = refusal(load_settings, conf, "locl")
    assert "unknown environment 'locl'\n  -> did you mean 'local'?" in message


def test_secret_settings_never_show(conf):
    write(conf / "prod.yml", "registry: {uri: 'postgresql://u:${env:PW}@db/x'}\n")
    settings = load_settings(conf, "prod", environ={"PW": "hunter2"})
    assert settings.registry.uri == "postgresql://u:hunter2@db/x"
    assert settings.public()["registry"]["uri"] == "postgresql://u:***@db/x"
    assert "hunter2" not in repr(settings)
    assert "hunter2" not in str(settings)
    assert settings.redact("cannot reach hunter2") == "cannot reach ***"


def test_names_of_places_from_the_environment_are_shown(conf):
    write(conf / "prod.yml", "lake: {root: '${env:LAKE}/x'}\nruns: ${env:LAKE}/runs\n")
    settings = load_settings(conf, "prod", environ={"LAKE": "abfs://lake"})
    assert settings.public()["lake"]["root"] == "abfs://lake/x"
    assert settings.redact("no table in abfs://lake/x") == "no table in abfs://lake/x"


def test_secret_values_never_show_in_errors(conf):
    write(conf / "prod.yml", "scoring: {batch_rows: '${env:PW}'}\n")
    message = refusal(load_settings, conf, "prod", environ={"PW": "hunter2"})
    assert message.endswith("prod.yml:1:23: scoring.batch_rows: must be a whole number")


def test_passwords_written_in_a_url_never_show(conf):
    settings = load_settings(conf, "local", {"registry.uri": "http://bob:pw@host/x"})
    assert settings.public()["registry"]["uri"] == "http://bob:***@host/x"


# --- finding ---


@pytest.mark.parametrize(
    "root",
    [
        "wasbs://box@here.example/lake?sv=2024&sig=s3cret",
        "abfss://box:s3cret@here.example/lake",
        "s3a://ID:s3cret/more@box/lake",
        "s3a://s3cret@box/lake",
    ],
)
def test_a_lake_whose_url_holds_a_secret_is_refused_without_showing_it(conf, root):
    write(conf / "local.yml", f'lake: {{root: "{root}"}}\n')

    said = refusal(load_settings, conf, "local")

    assert "lake: the URL of root must hold no key, token or password" in said
    assert "s3cret" not in said


@pytest.mark.parametrize("name", ["runs", "staging"])
def test_so_is_another_folder_whose_url_holds_a_secret(conf, name):
    write(conf / "local.yml", f'{name}: "wasbs://box@here.example/{name}?sig=s3cret"\n')

    said = refusal(load_settings, conf, "local")

    assert f"the URL of {name} must hold no key, token or password" in said
    assert "s3cret" not in said


def test_a_lake_on_a_storage_is_taken(conf):
    write(conf / "local.yml", 'lake: {root: "abfss://box@here.example/lake"}\n')

    assert load_settings(conf, "local").lake.root == "abfss://box@here.example/lake"


def test_conf_is_the_one_named_or_here_or_shipped(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "flight_delays" in workload_names(find_conf())
    (tmp_path / "conf").mkdir()
    assert find_conf() == Path("conf")
    assert find_conf(tmp_path) == tmp_path
    assert "no such configuration folder" in refusal(find_conf, tmp_path / "nope")


def test_a_folder_without_environments_takes_the_shipped_ones(conf, tmp_path, monkeypatch):
    monkeypatch.setattr(loader, "shipped_conf", lambda: conf)
    own = tmp_path / "own"
    (own / "workloads").mkdir(parents=True)
    assert load_settings(own, "local").spark.driver_memory == "2g"
    write(own / "base.yml", BASE.replace("2g", "3g"))
    assert load_settings(own, "local").spark.driver_memory == "3g"


def test_unknown_workload_lists_those_there_are(conf):
    message = refusal(load_workload, conf, "chrun")
    assert message.endswith("unknown workload 'chrun'\n  -> did you mean 'churn'? known: churn")
    message = refusal(load_workload, conf, "../base")
    assert "unknown workload '../base'" in message


def test_a_folder_without_workloads_says_how_to_write_one(tmp_path):
    assert "lakescore init" in refusal(load_workload, tmp_path, "churn")


def test_the_name_inside_must_be_the_files(conf):
    message = workload_refusal(conf, with_line("name: churn", "name: chrn"))
    assert message.startswith("churn.yml:1:7: name: 'chrn' does not fit the file churn.yml")


# --- selecting ---


@pytest.fixture
def fleet(conf: Path) -> Path:
    for name, tags in (("a_one", "[nightly]"), ("a_two", "[weekly, nightly]"), ("b", "[]")):
        text = CHURN.replace("name: churn", f"name: {name}\ntags: {tags}")
        write(conf / "workloads" / f"{name}.yml", text)
    return conf


@pytest.mark.parametrize(
    ("select", "names"),
    [
        (None, ["a_one", "a_two", "b", "churn"]),
        ("tag:nightly", ["a_one", "a_two"]),
        ("tag:weekly,b", ["a_two", "b"]),
        ("a_*", ["a_one", "a_two"]),
        ("churn", ["churn"]),
    ],
)
def test_select_by_tag_name_or_glob(fleet, select, names):
    assert [workload.name for workload in load_workloads(fleet, select)] == names


@pytest.mark.parametrize("select", ["tag:nigthly", "chrun", "zz*"])
def test_a_selection_of_nothing_is_refused(fleet, select):
    assert "->" in refusal(load_workloads, fleet, select)


def test_one_name_loads_though_another_file_is_broken(fleet):
    write(fleet / "workloads" / "b.yml", "name: [")
    assert [workload.name for workload in load_workloads(fleet, "a_one")] == ["a_one"]
    assert "b.yml" in refusal(load_workloads, fleet, "tag:nightly")


# --- overrides ---


def test_settings_and_workload_share_no_key():
    assert not Settings.model_fields.keys() & Workload.model_fields.keys()


def test_overrides_go_where_their_first_key_is_known():
    pairs = ["spark.driver_memory=4g", "promotion=auto", "source.table=a=b"]
    assert split_overrides(pairs) == (
        {"spark.driver_memory": "4g"},
        {"promotion": "auto", "source.table": "a=b"},
    )
    assert "did you mean 'promotion'?" in refusal(split_overrides, ["promotoin=auto"])
    assert "'x' is not key=value" in refusal(split_overrides, ["x"])


def test_overrides_reach_into_lists_by_name_and_number(conf):
    overrides = {
        "candidates.lightgbm.num_leaves": "7",
        "candidates.1.some.thing": "[1, no]",
        "split": "{validation: 0.2, test: 0.1}",
        "source.expectations.over_18": "age >= 18",
        "promotion": "auto",
    }
    workload = load_workload(conf, "churn", overrides)
    assert [(spec.name, spec.parameters) for spec in workload.candidates] == [
        ("lightgbm", {"num_leaves": 7}),
        ("prior", {"some": {"thing": [1, "no"]}}),
    ]
    assert workload.split.validation == 0.2
    assert workload.source.expectations == {"over_18": "age >= 18"}
    assert workload.promotion == "auto"


def test_an_override_of_an_entry_that_is_not_there_is_refused(conf):
    message = refusal(load_workload, conf, "churn", {"candidates.lightgm.num_leaves": "7"})
    assert message.startswith("--set candidates.lightgm.num_leaves: no entry 'lightgm'")
    assert "did you mean 'lightgbm'?" in message


# --- mistakes in a workload file ---


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "key: id",
            "keey: id",
            "churn.yml:2:28: source: unknown key 'keey'\n  -> did you mean 'key'?",
        ),
        ("label:", "lable:", "churn.yml:3:1: unknown key 'lable'\n  -> did you mean 'label'?"),
        (
            "{table: customers, key: id}",
            "customers",
            "2:9: source: must be a mapping of keys, found",
        ),
        ("table: customers", "table: 5", "2:17: source.table: must be text, found 5\n  -> put it"),
        ("key: id", "key: [id, ID]", "2:33: source.key: a column stands twice: id"),
        ("key: id", "key: []", "2:33: source.key: needs at least one entry, found a list"),
        ("key: id", "key: id, nan: drop", "source.nan: must be 'missing' or 'quarantine', found"),
        (
            "key: id",
            "key: id, freshness: {column: at}",
            "source.freshness: set warn_after, error_after or both",
        ),
        (
            "key: id",
            "key: id, freshness: {column: at, warn_after: 1 day, error_after: 24 hours}",
            "source.freshness: warn_after must be shorter than error_after",
        ),
        (
            "key: id",
            "key: id, columns: {x: doubel}",
            "2:50: source.columns.x: must be a Spark type (did you mean 'double'? known: array",
        ),
        (
            "key: id",
            "key: id, columns: {x: {type: int, nulable: false}}",
            "2:62: source.columns.x: unknown key 'nulable'\n  -> did you mean 'nullable'?",
        ),
        ("key: id", "key: id, columns: {x: {}}", "source.columns.x: say its type, `nullable:"),
        ("key: id", "key: id, columns: {x: int, X: int}", "columns: a column stands twice: x"),
        ("key: id", "key: id, unique_within: 30", "2:52: source.unique_within: must be a whole"),
        (
            "{table: customers, key: id}",
            "{table: customers, key: id, unique_within: 30 days}\n"
            "predictions: {table: t, mode: upsert}",
            "3:14: predictions: source.unique_within has no meaning in mode upsert, which keeps",
        ),
        ("features: all", "features: some", "4:11: features: must be 'all', found 'some'"),
        ("features: all", "features: [a, a b]", "4:15: features[1]: must have only letters"),
        ("features: all", "features: [a, A]", "two features share a name: a"),
        (
            "features: all",
            "features:\n  - x: {expresion: y}",
            "5:9: features[0]: unknown key 'expresion'\n  -> did you mean 'expression'?",
        ),
        ("features: all", "features: {x: 1}", "4:15: features.x: must be text, found 1"),
        ("split: random", "split: {test: 2}", "5:15: split.test: must be at most 1, found 2"),
        (
            "split: random",
            "split: {tset: 0.2}",
            "5:9: split: unknown key 'tset'\n  -> did you mean",
        ),
        (
            "split: random",
            "split: {by: d, train_until: 20130930}",
            "5:8: split: missing keys validation_until, test_until",
        ),
        (
            "split: random",
            "split: {by: d, train_until: 2013-02-30, validation_until: x, test_until: y}",
            "5:29: split.train_until: must be a day like 2013-09-30, found '2013-02-30'",
        ),
        ("split: random", "split: tiem", "5:8: split: must be 'random', 'time', found"),
        ("[lightgbm, prior]", "[prior, prior]", "a candidate stands twice: prior"),
        ("[lightgbm, prior]", "[]", "to train, add candidates; to score a model that exists"),
        ("label: churned", "model: m", "`model` scores a model that exists: remove it"),
        ("{table: churn_scores}", "{table: t, column: id}", "share a name: id"),
        ("{table: churn_scores}", "{table: t, column: _run_id}", "keep _run_id for lineage"),
        (
            "{table: churn_scores}",
            "{table: t, quarantine_mask: [email, ID]}",
            "refused rows are found again by their key: remove id from quarantine_mask",
        ),
        (
            "{table: churn_scores}",
            "{table: t, passthrough: d, backfill_by: d, quarantine_mask: D}",
            "a backfill finds the refused rows of its range by 'd': remove it from",
        ),
        ("{table: churn_scores}", "{table: t, quarantine_retention: 90}", "like '6 hours'"),
        (
            "label: churned",
            "label: {table: t, column: c, on: [{a: b}]}",
            "label.on: must be a mapping",
        ),
        ("label: churned", "label: churned\nbad key: 1", "4:1: unknown key 'bad key'"),
        ("name: churn", "name: churn\ncontext: {a b: {}}", "2:11: context.a b: the key must have"),
        (
            "name: churn",
            "name: churn\ncontext: {a: {table: t, on: id, latest: x, known_at: k,"
            " lookback_window: 6 hrs}}",
            "2:74: context.a.lookback_window: must be a whole number and a unit, like '6 hours'",
        ),
        (
            "name: churn",
            "name: churn\ncontext: {a: {table: t, on: id, latest: x}}",
            "2:14: context.a: say when its rows became known",
        ),
    ],
)
def test_a_mistake_is_told_with_its_place(conf, old, new, message):
    said = workload_refusal(conf, with_line(old, new))
    assert message in said
    assert "pydantic" not in said


def test_several_mistakes_are_listed_at_once_in_the_order_of_the_file(conf):
    text = with_line("key: id", "keey: id").replace("split: random", "split: {test: 2}")
    assert workload_refusal(conf, text).splitlines() == [
        "3 problems in the configuration",
        "churn.yml:2:9: source: missing key key",
        "churn.yml:2:28: source: unknown key 'keey'",
        "  -> did you mean 'key'? known: columns, columns_known_at, expectations, freshness, "
        "key, known_at, max_quarantined, nan, prediction_time, table, unique_within",
        "churn.yml:5:15: split.test: must be at most 1, found 2",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "churn.yml: the file is empty"),
        (b"- a\n", "churn.yml:1:1: the file must be a mapping of keys, found a list"),
        (b"just text", "churn.yml:1:1: the file must be a mapping of keys, found one value"),
        (b"name: caf\xe9\n", "churn.yml: the file is not UTF-8 text (byte 10)"),
    ],
)
def test_a_file_that_is_no_mapping_of_text_is_refused(conf, content, message):
    (conf / "workloads" / "churn.yml").write_bytes(content)
    assert message in refusal(load_workload, conf, "churn")


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(conf):
    (conf / "workloads" / "churn.yml").write_bytes(
        b"\xef\xbb\xbf" + CHURN.replace("\n", "\r\n").encode()
    )
    assert load_workload(conf, "churn").source.key == ("id",)


def test_refused_expressions_are_told_with_their_place(conf):
    text = with_line("features: all", "features:\n  - a\n  - noise: rand() + 1")
    text = text.replace("churn_scores}", "churn_scores, where: day < current_date}")
    assert workload_refusal(conf, text).splitlines() == [
        "2 problems in the configuration",
        "churn.yml:6:12: features[1].noise: rand() gives another value each time it runs "
        "(character 1)",
        "churn.yml:9:43: predictions.where: current_date depends on when the run starts "
        "(character 7)",
        "  -> write :as_of, the day that the run is for",
    ]


def test_expressions_take_nothing_from_the_environment(conf):
    text = with_line("churn_scores}", "t, where: 'x = ${env:PW}'}")
    message = workload_refusal(conf, text, PW="hunter2")
    assert "predictions.where: an expression must not take values from the environment" in message
    assert "hunter2" not in message


def test_context_outputs_are_for_features_only(conf):
    context = "\ncontext: {w: {table: t, on: id, static: true, latest: [temp]}}"
    text = with_line("name: churn", "name: churn" + context)
    text = text.replace("churn_scores}", "churn_scores, where: temp > 3}")
    message = workload_refusal(conf, text)
    assert "predictions.where: 'temp' is an output of the context 'w'" in message
