"""What holds for every way to score a frame: our package, someone's LightGBM, pyfunc, pipeline."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest

from lakescore.errors import ModelBroken
from lakescore.models.prior import PriorScorer
from lakescore.registry.foreign import open_model
from lakescore.registry.foreign_lightgbm import ForeignLightGBM
from lakescore.registry.pyfunc_process import PyfuncScorer
from lakescore.scoring.arrow import BatchScorer, error_from_task, score_frame
from lakescore.scoring.spark_transform import load_pipeline, transform_frame
from tests.scored_models import (
    KEEP,
    feature_batch,
    lightgbm_text,
    package,
    pipeline_folder,
    sklearn_folder,
    table,
    table_rows,
    with_features,
)

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

SCORERS = ("package", "lightgbm", "pyfunc")
RUNNERS = (*SCORERS, "pipeline")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def scorers(folder: Path) -> Iterator[dict[str, BatchScorer]]:
    """Every batch scorer, opened as a workload opens it."""
    text = open_model(str(lightgbm_text(folder / "model.txt")), trust=None)
    code = open_model(str(sklearn_folder(folder / "sklearn")), trust="runs-code")
    pyfunc = PyfuncScorer(Path(code.path), code.inputs)
    yield {
        "package": package(),
        "lightgbm": ForeignLightGBM.open(Path(text.path), text.inputs),
        "pyfunc": pyfunc,
    }
    pyfunc.close()


@dataclass(frozen=True)
class Runner:
    """`run(df, **options)` scores the rows of `source`, in whatever partitions they are."""

    source: DataFrame
    run: Callable[..., DataFrame]


@pytest.fixture(scope="module")
def rows(spark: SparkSession, folder: Path) -> DataFrame:
    """The table in storage, with feature columns beside its own."""
    path = str(folder / "rows")
    with_features(table(spark)).write.parquet(path)
    return spark.read.parquet(path)


@pytest.fixture(params=RUNNERS)
def runner(request, spark: SparkSession, rows: DataFrame, scorers, folder: Path) -> Runner:
    if request.param in SCORERS:
        model = scorers[request.param]
        return Runner(rows, lambda df, **options: score_frame(df, model, keep=KEEP, **options))
    path = folder / "pipeline"
    if not path.exists():
        pipeline_folder(spark, path)
    pipeline = load_pipeline(str(path))

    def run(df: DataFrame, **options: Any) -> DataFrame:
        options.pop("batch_rows", None)
        return transform_frame(df, pipeline, keep=KEEP, **options)

    return Runner(rows.selectExpr("*", "cast(hour as double) as hour_number"), run)


def by_id(df: DataFrame, column: str = "prediction") -> dict[int, Any]:
    return {row["id"]: row[column] for row in df.select("id", column).collect()}


@pytest.mark.spark
def test_same_doubles_in_any_partitioning_and_batch_size(runner):
    whole = by_id(runner.run(runner.source.coalesce(1)))
    pieces = by_id(runner.run(runner.source.repartition(3, "id"), batch_rows=2))
    assert pieces == whole
    assert len(whole) == 30
    assert len(set(whole.values())) > 5


@pytest.mark.spark
def test_null_and_nan_both_mean_missing(runner):
    scores = by_id(runner.run(runner.source))
    assert scores[0] == scores[1]
    assert all(np.isfinite(score) for score in scores.values())


@pytest.mark.spark
def test_kept_columns_come_back_exactly_as_they_were(runner):
    result = runner.run(runner.source)
    assert result.columns == [*KEEP, "prediction"]
    assert dict(result.dtypes) == {
        **dict(runner.source.select(*KEEP).dtypes),
        "prediction": "double",
    }
    kept = sorted(result.select(*KEEP).collect())
    assert kept == sorted(runner.source.select(*KEEP).collect())
    assert kept[2] == (2, None, None, None, None)


@pytest.mark.spark
def test_no_rows_give_no_rows_and_the_same_columns(runner):
    result = runner.run(runner.source.where("id < 0"), class_column="late")
    assert result.dtypes[-2:] == [("prediction", "double"), ("late", "int")]
    assert result.collect() == []


@pytest.mark.spark
@pytest.mark.parametrize("skip", ["if(id >= 20, true, null)", "if(id >= 20, 'bad key', null)"])
def test_skipped_rows_stay_with_null_predictions(runner, skip):
    marked = runner.source.selectExpr("*", f"{skip} as refused")
    everything = by_id(runner.run(runner.source))
    middle = sorted(everything.values())[15]
    result = runner.run(marked, skip="refused", class_column="late", threshold=middle)
    scores, classes = by_id(result), by_id(result, "late")
    assert scores == {i: (None if i >= 20 else score) for i, score in everything.items()}
    assert classes == {i: None if s is None else int(s >= middle) for i, s in scores.items()}
    assert set(classes.values()) == {None, 0, 1}


@pytest.mark.parametrize("name", SCORERS)
def test_pickled_scorer_gives_the_same_doubles(scorers, name):
    batch = whole_batch()
    original = scorers[name]
    copy = pickle.loads(pickle.dumps(original))
    try:
        assert copy.sha256 == original.sha256
        assert copy.predict(batch).tolist() == original.predict(batch).tolist()
    finally:
        getattr(copy, "close", lambda: None)()


@pytest.mark.parametrize("name", SCORERS)
def test_one_row_at_a_time_gives_the_same_doubles(scorers, name):
    batch = whole_batch()
    together = scorers[name].predict(batch).tolist()
    apart = [scorers[name].predict(batch.slice(i, 1))[0] for i in range(batch.num_rows)]
    assert apart == together
    assert scorers[name].predict(batch.slice(0, 0)).shape == (0,)


def whole_batch() -> pa.RecordBatch:
    """The rows of the table with their features, as Spark would send them."""
    columns = list(zip(*table_rows(), strict=True))
    own = {"distance": pa.array(columns[6]), "hour": pa.array(columns[7])}
    features = feature_batch()
    return pa.RecordBatch.from_arrays(
        [*own.values(), *features.columns], names=[*own, *features.schema.names]
    )


@pytest.mark.spark
def test_prediction_that_is_no_number_fails_the_run_and_names_the_row(rows):
    broken = package(PriorScorer(("carrier", "distance", "hour"), float("nan")))
    scored = score_frame(rows.where("id = 7"), broken, keep=KEEP, key=("id", "note"))
    with pytest.raises(Exception, match="ModelBroken") as caught:
        scored.collect()
    found = error_from_task(caught.value)
    assert type(found) is ModelBroken
    assert "the prediction is nan for the row id=7, note=\"Straße 7 'ü'\"" in str(found)


@pytest.mark.spark
def test_pipeline_whose_prediction_is_no_number_fails_the_run_and_names_the_row(rows):
    from pyspark.ml import Pipeline
    from pyspark.ml.feature import VectorAssembler
    from pyspark.ml.regression import LinearRegression

    assembler = VectorAssembler(inputCols=["distance"], outputCol="features", handleInvalid="keep")
    fit = Pipeline(stages=[assembler, LinearRegression(labelCol="label")]).fit(
        rows.where("id > 2").selectExpr("distance", "cast(id as double) as label")
    )
    scored = transform_frame(rows, fit, keep=KEEP)
    with pytest.raises(Exception, match="ModelBroken") as caught:
        scored.collect()
    found = error_from_task(caught.value)
    assert type(found) is ModelBroken
    assert "the prediction is NaN for the row id=" in str(found)
