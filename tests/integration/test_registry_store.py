"""The registry: registering, finding again, promoting, rolling back, fetching whole files only."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from lakescore.config.settings import RegistrySettings
from lakescore.errors import ConfigError, ModelBroken, ModelNotFound, UsageError
from lakescore.models.prior import PriorScorer
from lakescore.registry.foreign import Runner, open_model
from lakescore.registry.model_version import ModelVersion
from lakescore.registry.store import Registry
from lakescore.scoring.package import ModelPackage
from tests.scored_models import feature_batch, package

INPUTS = {"carrier": "string", "distance": "double", "hour": "double"}


@pytest.fixture(scope="module")
def registry(tmp_path_factory) -> Registry:
    """One local registry for the module: each test has a model name of its own."""
    folder = tmp_path_factory.mktemp("registry")
    return Registry(RegistrySettings(uri=f"sqlite:///{folder}/deep/mlflow.db", timeout_seconds=60))


def registered(registry: Registry, name: str, value: float = 0.5, **tags: str) -> ModelVersion:
    """A version whose model is one number."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "package"
        package(PriorScorer(tuple(INPUTS), value)).save(path)
        return registry.register(path, name=name, inputs=INPUTS, tags=tags, metrics={}, params={})


def test_registered_package_comes_back_and_serves_the_same_doubles(registry, tmp_path):
    import mlflow.pyfunc
    import pandas as pd
    from mlflow.pyfunc.scoring_server import infer_and_parse_data

    original = package()
    original.save(tmp_path / "package")
    report = tmp_path / "report.html"
    report.write_text("<html></html>")
    version = registry.register(
        tmp_path / "package",
        name="serving",
        inputs=original.signature,
        tags={"lakescore.pins": "x" * 3000, "lakescore.package": original.sha256},
        metrics={"test.average_precision": 0.38, "test.undefined": float("nan")},
        params={"num_leaves": 7},
        report_files=[report],
    )
    folder = registry.download(version, tmp_path / "downloaded")

    opened = open_model(version.uri, trust=None, registry=registry, folder=tmp_path / "opened")
    assert opened.runner is Runner.PACKAGE
    assert opened.inputs == INPUTS
    loaded = ModelPackage.load(Path(opened.path))
    batch = feature_batch()
    expected = original.predict(batch).tolist()
    assert loaded.predict(batch).tolist() == expected

    served = mlflow.pyfunc.load_model(str(folder))
    frame = pd.DataFrame(batch.to_pydict()).rename(columns=lambda name: name.removeprefix("_f_"))
    assert served.predict(frame).tolist() == expected
    by_rest = []
    for row in frame.to_dict("records"):
        known = {name: None if value != value else value for name, value in row.items()}
        request = {"dataframe_records": [known]}
        parsed = infer_and_parse_data(request, served.metadata.get_input_schema())
        by_rest += served.predict(parsed).tolist()
    assert by_rest == expected


def test_run_holds_metrics_parameters_and_report(registry, tmp_path):
    package(PriorScorer(tuple(INPUTS), 0.5)).save(tmp_path / "package")
    report = tmp_path / "report.json"
    report.write_text(json.dumps({"ran": True}))
    version = registry.register(
        tmp_path / "package",
        name="run",
        inputs=INPUTS,
        tags={"pins.flights": "12"},
        metrics={"test.average_precision": 0.38, "test.undefined": float("nan")},
        params={"num_leaves": 7},
        report_files=[report],
    )
    run, names = registry._calls(
        "reading",
        lambda client: (
            client.get_run(version.run_id),
            [file.path for file in client.list_artifacts(version.run_id, "report")],
        ),
    )
    assert run.data.metrics == {"test.average_precision": 0.38}
    assert run.data.params == {"num_leaves": "7"}
    assert run.info.status == "FINISHED"
    assert names == ["report/report.json"]
    assert version.tags["pins_flights"] == "12"


def test_a_version_is_found_again_by_its_tags(registry):
    first = registered(registry, "tagged", training="a" * 2000)
    registered(registry, "tagged", training="b")
    found = registry.find_by_tag("tagged", "training", "a" * 2000)
    assert found is not None
    assert found.version == first.version
    assert registry.find_by_tag("tagged", "training", "c") is None
    assert registry.find_by_tag("unknown model", "training", "a") is None


def test_rollback_goes_back_through_every_champion_then_refuses(registry):
    versions = [registered(registry, "rolled", value) for value in (0.1, 0.2, 0.3)]
    assert registry.champion("rolled") is None
    for version in versions:
        registry.promote(version)
    assert registry.promote(versions[2]).version == "3"
    assert registry.past_champions("rolled") == ("1", "2")
    assert registry.rollback("rolled").version == "2"
    assert registry.resolve("models:/rolled@champion").version == "2"
    assert registry.rollback("rolled").version == "1"
    with pytest.raises(UsageError, match="no earlier champion"):
        registry.rollback("rolled")
    assert registry.champion("rolled").version == "1"
    registry.promote(versions[2])
    assert registry.past_champions("rolled") == ("1",)


def test_rollback_passes_over_a_version_that_was_deleted(registry):
    versions = [registered(registry, "deleted", value) for value in (0.1, 0.2, 0.3)]
    for version in versions:
        registry.promote(version)
    registry._calls("deleting", lambda client: client.delete_model_version("deleted", "2"))
    assert registry.rollback("deleted").version == "1"


def test_alias_moved_by_hand_still_rolls_back_to_the_last_champion(registry):
    versions = [registered(registry, "by-hand", value) for value in (0.1, 0.2, 0.3)]
    registry.promote(versions[0])
    registry.promote(versions[1])
    registry.set_alias(versions[2], "champion")
    assert registry.rollback("by-hand").version == "1"


def test_what_is_not_there_is_told_with_what_is(registry):
    version = registered(registry, "present")
    registry.promote(version)
    with pytest.raises(ModelNotFound, match=r"did you mean 'present'"):
        registry.resolve("models:/presnt@champion")
    with pytest.raises(ModelNotFound, match=r"no alias 'champoin'[\s\S]*did you mean 'champion'"):
        registry.resolve("models:/present@champoin")
    with pytest.raises(ModelNotFound, match=r"no version 9[\s\S]*versions: 1"):
        registry.resolve("models:/present/9")


def test_incomplete_or_altered_files_are_not_handed_out(registry, tmp_path):
    version = registered(registry, "damaged")
    stored = Path(str(version.source).removeprefix("file://"))
    scorer = stored / "package" / "scorer" / "prior.json"
    scorer.write_text(scorer.read_text().replace("0.5", "0.9"))
    with pytest.raises(ModelBroken, match="not those that were registered"):
        registry.download(version, tmp_path / "altered")
    scorer.unlink()
    with pytest.raises(ModelBroken, match="not those that were registered"):
        registry.download(version, tmp_path / "partial")
    (stored / "MLmodel").unlink()
    with pytest.raises(ModelBroken, match="lack MLmodel"):
        registry.download(version, tmp_path / "nothing")
    shutil.rmtree(stored)
    with pytest.raises(ModelBroken, match="its files are gone"):
        registry.download(version, tmp_path / "gone")


def test_failed_upload_leaves_no_version(registry, tmp_path):
    package(PriorScorer(tuple(INPUTS), 0.5)).save(tmp_path / "package")
    with pytest.raises(Exception, match="uploading the model failed"):
        registry.register(
            tmp_path / "package",
            name="unfinished",
            inputs=INPUTS,
            tags={},
            metrics={},
            params={},
            report_files=[tmp_path / "not there.html"],
        )
    assert registry.versions("unfinished") == []


def test_settings_of_the_users_own_mlflow_are_left_alone(registry, monkeypatch, tmp_path):
    import mlflow

    mlflow.set_tracking_uri(f"file://{tmp_path}/mine")
    try:
        registered(registry, "apart")
        assert mlflow.get_tracking_uri() == f"file://{tmp_path}/mine"
        assert not (tmp_path / "mine").exists()
    finally:
        mlflow.set_tracking_uri("")


def test_unity_catalog_names_have_three_levels():
    settings = RegistrySettings(uri="databricks-uc", model_prefix="prod.ml.")
    assert Registry(settings).full_name("churn") == "prod.ml.churn"
    with pytest.raises(ConfigError, match=r"CATALOG\.SCHEMA"):
        Registry(RegistrySettings(uri="databricks-uc")).full_name("churn")


def test_model_is_the_number_that_was_registered(registry, tmp_path):
    version = registered(registry, "number", value=0.125)
    opened = open_model(version.uri, trust=None, registry=registry, folder=tmp_path / "m")
    scores = ModelPackage.load(Path(opened.path)).predict(feature_batch(3))
    np.testing.assert_array_equal(scores, [0.125] * 3)
