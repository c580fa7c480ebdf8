"""The model package: data in a folder, whole or refused."""

from __future__ import annotations

import json
import pickle
import shutil

import numpy as np
import pytest

from lakescore.errors import ModelBroken, UsageError
from lakescore.models.prior import PriorScorer
from lakescore.scoring.package import ModelPackage
from tests.scored_models import feature_batch, package


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("package")
    original = package()
    original.save(folder)
    return original, folder


@pytest.fixture
def copy(saved, tmp_path):
    """A saved package to break."""
    return shutil.copytree(saved[1], tmp_path / "copy")


def test_loaded_package_is_the_one_that_was_saved(saved):
    original, folder = saved
    loaded = ModelPackage.load(folder)
    assert loaded == original
    assert loaded.sha256 == original.sha256
    batch = feature_batch()
    assert loaded.predict(batch).tolist() == original.predict(batch).tolist()
    assert len(set(loaded.predict(batch).tolist())) > 5


def test_package_holds_no_pickle_and_no_code(saved):
    names = sorted(path.suffix for path in saved[1].rglob("*") if path.is_file())
    assert set(names) <= {".json", ".txt"}


def test_saved_twice_is_the_same_package(saved, tmp_path):
    assert saved[0].save(tmp_path / "again") == saved[0].sha256


def test_another_scorer_is_another_package():
    names = ("carrier", "distance", "hour")
    assert package(PriorScorer(names, 0.25)).sha256 != package(PriorScorer(names, 0.5)).sha256


def test_a_folder_in_use_is_not_written_into(saved):
    with pytest.raises(UsageError, match="not empty"):
        saved[0].save(saved[1])


def test_missing_file_is_named(copy):
    (copy / "preprocessor.json").unlink()
    with pytest.raises(ModelBroken, match=r"file preprocessor\.json is missing"):
        ModelPackage.load(copy)


def test_altered_scorer_is_named(copy):
    path = copy / "scorer" / "model.txt"
    path.write_text(path.read_text().replace("leaf_value=", "leaf_value=9", 1))
    with pytest.raises(ModelBroken, match=r"file scorer/model\.txt is altered"):
        ModelPackage.load(copy)


def test_a_file_slipped_in_is_refused(copy):
    (copy / "scorer" / "extra.py").write_text("print('hello')")
    with pytest.raises(ModelBroken, match=r"file scorer/extra\.py is unknown"):
        ModelPackage.load(copy)


@pytest.mark.parametrize("length", [0, 1, 200])
def test_truncated_manifest_is_broken(copy, length):
    path = copy / "package.json"
    path.write_text(path.read_text()[:length])
    with pytest.raises(ModelBroken, match="truncated or altered"):
        ModelPackage.load(copy)


def test_altered_manifest_is_broken(copy):
    path = copy / "package.json"
    content = json.loads(path.read_text())
    content["features"][0]["expression"] = "'AA'"
    path.write_text(json.dumps(content))
    with pytest.raises(ModelBroken, match="altered"):
        ModelPackage.load(copy)


def test_package_of_a_newer_lakescore_says_so(copy):
    path = copy / "package.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 99}))
    with pytest.raises(ModelBroken, match="upgrade lakescore"):
        ModelPackage.load(copy)


def test_no_package_at_all_is_broken(tmp_path):
    with pytest.raises(ModelBroken, match="not a model package"):
        ModelPackage.load(tmp_path)


def test_signature_names_features_and_their_types(saved):
    assert saved[0].signature == {"carrier": "string", "distance": "double", "hour": "double"}
    assert list(saved[0].inputs) == ["_f_carrier", "_f_distance", "_f_hour"]


def test_pickled_package_scores_the_same_and_keeps_its_name(saved):
    original = saved[0]
    copy = pickle.loads(pickle.dumps(original))
    assert copy.sha256 == original.sha256
    np.testing.assert_array_equal(copy.predict(feature_batch()), original.predict(feature_batch()))
