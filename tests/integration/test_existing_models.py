"""Models that exist already, scored and adopted as the README says."""

from __future__ import annotations

import lightgbm
import pytest

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
