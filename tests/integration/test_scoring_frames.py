"""Scoring a frame: what is refused before any task starts, and what a pipeline must have."""

from __future__ import annotations

import pytest

from lakescore.errors import ColumnMissing, ModelBroken, TypeMismatch, UsageError
from lakescore.models.prior import PriorScorer
from lakescore.registry.foreign import Runner, open_model
from lakescore.scoring.arrow import score_frame
from lakescore.scoring.spark_transform import load_pipeline, transform_frame
from tests.scored_models import package, pipeline_folder, table, with_features

pytestmark = pytest.mark.spark


@pytest.fixture
def model():
    return package(PriorScorer(("carrier", "distance", "hour"), 0.5))


def test_missing_feature_is_refused_before_the_job(spark, model):
    with pytest.raises(ColumnMissing, match="the rows to score lack _f_hour"):
        score_frame(with_features(table(spark, 5)).drop("_f_hour"), model, keep=["id"])


def test_prediction_column_may_not_hide_a_kept_one(spark, model):
    rows = with_features(table(spark, 5))
    with pytest.raises(UsageError, match="would be called note"):
        score_frame(rows, model, keep=["id", "note"], column="Note")
    with pytest.raises(UsageError, match="would be called score"):
        score_frame(rows, model, keep=["id"], column="score", class_column="score")


def test_columns_with_odd_names_pass_through(spark, model):
    rows = with_features(table(spark, 5)).withColumnRenamed("note", "a `odd`. name")
    scored = score_frame(rows, model, keep=["id", "a `odd`. name"])
    assert scored.columns == ["id", "a `odd`. name", "prediction"]
    assert sorted(row[1] or "" for row in scored.collect())[-1] == "Straße 4 'ü'"


def test_pipeline_of_the_registry_form_is_opened_and_checked_without_spark(spark, tmp_path):
    folder = pipeline_folder(spark, tmp_path / "pipeline")
    opened = open_model(str(folder), trust=None)
    assert opened.runner is Runner.SPARK
    assert sorted(opened.inputs) == ["carrier", "distance", "hour_number"]
    with pytest.raises(ColumnMissing, match="hour_number"):
        opened.check_inputs(dict(table(spark, 1).dtypes))
    pipeline = load_pipeline(str(folder))
    with pytest.raises((ColumnMissing, TypeMismatch), match="do not fit the pipeline"):
        transform_frame(table(spark, 1), pipeline, keep=["id"])


def test_folder_that_is_no_pipeline_is_broken(spark, tmp_path):
    with pytest.raises(ModelBroken, match="Spark cannot load this pipeline"):
        load_pipeline(str(tmp_path / "nothing"))
