"""Models that exist already, scored and adopted as the README says."""

from __future__ import annotations

from pathlib import Path

import lightgbm
import pandas as pd
import pytest
from pyspark.ml import Pipeline
from pyspark.ml.classification import LogisticRegression
from pyspark.ml.feature import StringIndexer, VectorAssembler
from sklearn.ensemble import HistGradientBoostingClassifier

from tests.churn import Project, customers

NO_TRAINING = dict.fromkeys(("label", "features", "split", "candidates", "promotion", "gate"))


@pytest.fixture
def booster(project: Project) -> lightgbm.Booster:
    """A LightGBM text model beside the project, and 50 customers to score."""
    rows = customers(0, 200)
    data = lightgbm.Dataset(rows[["age", "spend"]], rows["churned"].astype(float))
    booster = lightgbm.train({"objective": "binary", "verbose": -1, "seed": 1}, data, 10)
    booster.save_model(str(project.root / "churn.txt"))
    project.land(customers(100, 50), "first")
    project.write_workload(model=str(project.root / "churn.txt"), **NO_TRAINING)
    return booster


def test_a_lightgbm_text_model_scores_with_its_own_doubles(
    project: Project, booster: lightgbm.Booster, capsys
) -> None:
    assert project.run("validate", "churn", "--against-lake") == 0
    assert project.run("score", "churn") == 0
    found = project.rows("churn_scores").orderBy("id").toPandas()
    rows = customers(100, 50)
    assert (found["p_churn"] == booster.predict(rows[["age", "spend"]])).all()
    assert found["_model_version"].str.startswith("sha256:").all()
    capsys.readouterr()
    assert project.run("score", "churn", "--json") == 0
    assert project.result(capsys.readouterr().out)["status"] == "NOTHING_TO_DO"


def test_adopting_registers_it_after_showing_parity(
    project: Project, booster: lightgbm.Booster, capsys
) -> None:
    assert project.run("adopt", "churn", "--json") == 0
    result = project.result(capsys.readouterr().out)
    assert result["counts"]["compared"] == 50
    assert "largest difference to its own engine 0" in result["details"]["reason"]
    project.write_workload(model="models:/churn/1", **NO_TRAINING)
    assert project.run("score", "churn") == 0
    versions = {row["_model_version"] for row in project.rows("churn_scores").collect()}
    assert versions == {"1"}


def test_a_source_that_lacks_an_input_is_refused(
    project: Project, booster: lightgbm.Booster, capsys
) -> None:
    project.land(customers(0, 5).drop(columns=["spend"]), "other", table="thin")
    project.write_workload(
        model=str(project.root / "churn.txt"), source={"table": "thin", "key": "id"}, **NO_TRAINING
    )
    assert project.run("validate", "churn", "--against-lake") == 1
    assert "spend" in capsys.readouterr().err
    assert project.run("score", "churn") == 1
    assert "spend" in capsys.readouterr().err


def land_file(project: Project) -> pd.DataFrame:
    """50 customers as `lakescore ingest` lands them: beside lakescore's own column `_ingest`."""
    rows = customers(100, 50)
    rows.to_parquet(project.root / "customers.parquet")
    file = str(project.root / "customers.parquet")
    assert project.run("ingest", "customers", "--from", file) == 0
    return rows


def pickled(folder: Path, data: object, label: pd.Series) -> HistGradientBoostingClassifier:
    """A scikit-learn model that MLflow pickled without a signature."""
    import mlflow.sklearn

    model = HistGradientBoostingClassifier(max_iter=8, random_state=0).fit(data, label)
    mlflow.sklearn.save_model(
        model,
        str(folder),
        serialization_format="cloudpickle",
        pyfunc_predict_fn="predict_proba",
        pip_requirements=[],
    )
    return model


def test_a_pickled_model_without_signature_tells_its_columns_and_scores_once_adopted(
    project: Project, capsys
) -> None:
    rows, known = land_file(project), customers(0, 200)
    folder = project.root / "pickled"
    model = pickled(folder, known[["spend", "age"]], known["churned"])  # not the table's order
    project.write_workload(model=str(folder), **NO_TRAINING)
    assert project.run("adopt", "churn") == 2
    assert "trust: runs-code" in capsys.readouterr().err

    project.write_workload(model=str(folder), trust="runs-code", **NO_TRAINING)
    assert project.run("score", "churn") == 2
    assert "it has no signature" in (said := capsys.readouterr().err)
    assert "lakescore adopt" in said
    capsys.readouterr()
    assert project.run("adopt", "churn", "--json") == 0
    result = project.result(capsys.readouterr().out)
    assert result["details"]["inputs"] == {"spend": "double", "age": "double"}
    assert result["counts"] == {"compared": 50}

    project.write_workload(model="models:/churn/1", trust="runs-code", **NO_TRAINING)
    assert project.run("validate", "churn", "--against-lake") == 0
    assert project.run("score", "churn") == 0
    found = project.rows("churn_scores").orderBy("id").toPandas()
    assert (found["p_churn"] == model.predict_proba(rows[["spend", "age"]])[:, 1]).all()
    assert found["p_churn"].nunique() > 5


def test_a_model_that_knows_no_columns_is_told_them_and_is_never_guessed_at(
    project: Project, capsys
) -> None:
    rows, known = land_file(project), customers(0, 200)
    folder = project.root / "pickled"
    pickled(folder, known[["spend", "age"]].to_numpy(), known["churned"])
    project.write_workload(model=str(folder), trust="runs-code", **NO_TRAINING)
    assert project.run("adopt", "churn") == 2
    message = capsys.readouterr().err
    assert "the model does not tell its inputs" in message
    assert "lakescore adopt churn --inputs age,spend,plan,churned" in message
    assert project.run("adopt", "churn", "--inputs", "spend,aged") == 1
    assert "did you mean 'age'" in capsys.readouterr().err
    assert project.run("adopt", "churn", "--inputs", "spend,age", "--json") == 0
    result = project.result(capsys.readouterr().out)
    assert list(result["details"]["inputs"]) == ["spend", "age"]
    assert (result["counts"]["compared"], result["model_version"]) == (len(rows), "1")


def test_columns_stated_for_a_text_model_take_its_own_by_position(project: Project, capsys) -> None:
    rows, known = land_file(project), customers(0, 200)
    data = lightgbm.Dataset(known[["spend", "age"]].to_numpy(), known["churned"].astype(float))
    booster = lightgbm.train({"objective": "binary", "verbose": -1}, data, 5)
    booster.save_model(str(project.root / "churn.txt"))
    project.write_workload(model=str(project.root / "churn.txt"), **NO_TRAINING)
    assert project.run("adopt", "churn") == 1
    assert "Column_0, Column_1" in capsys.readouterr().err
    assert project.run("adopt", "churn", "--inputs", "spend") == 2
    assert "--inputs cannot change that" in capsys.readouterr().err
    assert project.run("adopt", "churn", "--inputs", "spend,age") == 0
    project.write_workload(model="models:/churn/1", **NO_TRAINING)
    assert project.run("score", "churn") == 0
    found = project.rows("churn_scores").orderBy("id").toPandas()
    assert (found["p_churn"] == booster.predict(rows[["spend", "age"]])).all()


def test_a_pipeline_folder_scores_as_spark_does_before_and_after_it_is_adopted(
    project: Project, capsys
) -> None:
    land_file(project)
    stages = [
        StringIndexer(inputCol="plan", outputCol="plan_code", handleInvalid="keep"),
        VectorAssembler(inputCols=["plan_code", "age", "spend"], outputCol="vector"),
        LogisticRegression(featuresCol="vector", labelCol="left", maxIter=5),
    ]
    known = project.spark.createDataFrame(customers(0, 200))
    pipeline = Pipeline(stages=stages).fit(known.selectExpr("*", "double(churned) as left"))
    pipeline.write().save(str(project.root / "pipeline"))
    project.write_workload(model=str(project.root / "pipeline"), **NO_TRAINING)
    assert project.run("score", "churn") == 0
    capsys.readouterr()
    assert project.run("adopt", "churn", "--json") == 0
    result = project.result(capsys.readouterr().out)
    assert result["details"]["inputs"] == {"plan": "string", "age": "double", "spend": "double"}
    again = {"table": "again", "column": "p_churn"}
    project.write_workload(model="models:/churn/1", predictions=again, **NO_TRAINING)
    assert project.run("score", "churn") == 0
    expected = {
        row["id"]: row["probability"][1]
        for row in pipeline.transform(project.rows("customers")).collect()
    }
    for table in ("churn_scores", "again"):
        found = {row["id"]: row["p_churn"] for row in project.rows(table).collect()}
        assert found == expected
