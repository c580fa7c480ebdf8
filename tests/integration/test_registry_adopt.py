"""Adopting a model that exists: registered without retraining, and it still scores the same."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import yaml

from lakescore.config.settings import RegistrySettings
from lakescore.errors import ModelBroken, UsageError
from lakescore.registry.adopt import adopt, engine_predictions, largest_difference, write_adopted
from lakescore.registry.foreign import Runner, open_model
from lakescore.registry.foreign_lightgbm import ForeignLightGBM
from lakescore.registry.pyfunc_process import PyfuncScorer
from lakescore.registry.store import Registry
from tests.scored_models import lightgbm_text, sklearn_folder, table_rows

NUMBERS = {"distance": "double", "hour": "double"}


def rows() -> pa.RecordBatch:
    columns = list(zip(*table_rows(), strict=True))
    return pa.RecordBatch.from_pydict({"distance": list(columns[6]), "hour": list(columns[7])})


def test_adopted_lightgbm_text_scores_as_its_own_engine_does(tmp_path):
    text = lightgbm_text(tmp_path / "churn.txt")
    model = open_model(str(text), trust=None)
    folder = tmp_path / "adopted"
    folder.mkdir()
    write_adopted(model, folder, inputs=NUMBERS)
    assert (folder / "model.lgb").read_bytes() == text.read_bytes()

    registry = Registry(RegistrySettings(uri=f"sqlite:///{tmp_path}/mlflow.db", timeout_seconds=60))
    version = adopt(registry, folder, name="churn", adopted_from=str(text), tags={"team": "a"})
    assert version.tags["lakescore_adopted_from"] == str(text)
    opened = open_model(version.uri, trust=None, registry=registry, folder=tmp_path / "again")
    assert opened.runner is Runner.LIGHTGBM
    assert opened.inputs == NUMBERS
    opened.check_inputs({"distance": "double", "hour": "bigint", "id": "bigint"})

    ours = ForeignLightGBM.open(Path(opened.path), opened.inputs).predict(rows())
    theirs = engine_predictions(opened.folder, rows())
    assert len(set(ours.tolist())) > 5
    assert largest_difference(ours, theirs) == 0.0


def test_columns_stated_by_position_name_a_model_without_names(tmp_path):
    text = lightgbm_text(tmp_path / "m.txt")
    text.write_text(text.read_text().replace("distance hour", "Column_0 Column_1"))
    model = open_model(str(text), trust=None)
    folder = tmp_path / "adopted"
    folder.mkdir()
    write_adopted(model, folder, inputs=NUMBERS)
    assert list(open_model(str(folder), trust=None).inputs) == ["distance", "hour"]
    with pytest.raises(UsageError, match="the model takes 2 inputs, not 1"):
        write_adopted(model, tmp_path / "other", inputs={"distance": "double"})


def test_adopting_fills_a_signature_that_is_lacking(tmp_path):
    original = sklearn_folder(tmp_path / "original")
    content = yaml.safe_load((original / "MLmodel").read_text())
    content["signature"] = None
    (original / "MLmodel").write_text(yaml.safe_dump(content))
    model = open_model(str(original), trust="runs-code")
    assert model.inputs is None
    folder = tmp_path / "adopted"
    write_adopted(model, folder, inputs=NUMBERS)
    opened = open_model(str(folder), trust="runs-code")
    assert opened.inputs == NUMBERS
    scorer = PyfuncScorer(folder, opened.inputs)
    try:
        scores = scorer.predict(rows())
    finally:
        scorer.close()
    assert scores.min() > 0
    assert scores.max() < 1
    assert len(set(scores.tolist())) > 5


def test_difference_is_infinite_where_only_one_model_gives_a_number():
    one = np.array([1.0, math.nan, 2.0])
    assert largest_difference(one, np.array([1.0, math.nan, 2.5])) == 0.5
    assert largest_difference(one, np.array([1.0, 3.0, 2.0])) == math.inf
    assert largest_difference(one[:0], one[:0]) == 0.0
    with pytest.raises(ModelBroken, match="3 predictions against 2"):
        largest_difference(one, one[:2])
