"""Bad input: what the user reads, the exit code, and that nothing changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import functions as F

from tests.churn import Project, customers


def _refused(project: Project, capsys: pytest.CaptureFixture[str], *says: str) -> None:
    """Scoring must fail with these words and change nothing."""
    before = project.state()
    capsys.readouterr()
    assert project.run("score", "churn") == 1
    message = capsys.readouterr().err
    for words in says:
        assert words in message
    assert project.state() == before


@pytest.fixture
def expect(project: Project, capsys: pytest.CaptureFixture[str]) -> Callable[..., None]:
    """Run a command that must fail: these words, this exit code, and no change."""

    def run(*argv: str, code: int, says: tuple[str, ...]) -> None:
        before = project.state()
        capsys.readouterr()
        found = project.run(*argv)
        message = capsys.readouterr().err
        assert found == code, message
        for words in says:
            assert words in message
        assert "Traceback" not in message
        assert project.state() == before

    return run


def test_missing_table_names_the_tables_that_are_there(project: Project, expect) -> None:
    project.land(customers(0, 40), "first", table="customer")
    expect(
        "train", "churn", code=1,
        says=("there is no Delta table", "did you mean 'customer'"),
    )  # fmt: skip


def test_folder_of_parquet_files_points_to_ingest(project: Project, expect) -> None:
    folder = project.root / "lake" / "customers"
    folder.mkdir(parents=True)
    customers(0, 5).to_parquet(folder / "part.parquet")
    expect("train", "churn", code=1, says=("not a Delta table", "lakescore ingest"))


def test_missing_column_names_what_is_there(project: Project, expect) -> None:
    project.land(customers(0, 40), "first")
    project.write_workload(features=["age", "spent"])
    expect(
        "train", "churn", code=1,
        says=("feature 'spent'", "no column 'spent'", "did you mean 'spend'"),
    )  # fmt: skip


def test_wrong_type_is_not_cast(project: Project, expect) -> None:
    rows = customers(0, 40)
    rows["born"] = rows["age"].map(lambda age: f"2013-01-{int(age) % 28 + 1:02d}")
    frame = project.spark.createDataFrame(rows).withColumn("born", F.to_date("born"))
    project.land(frame, "first")
    project.write_workload(features=["age", "born"])
    expect("train", "churn", code=1, says=("feature 'born'", "is date", "datediff"))


def test_label_of_text_asks_for_an_expression(project: Project, expect) -> None:
    project.land(customers(0, 40), "first")
    project.write_workload(label="plan", features=["age"])
    expect("train", "churn", code=1, says=("the label (`plan`) is string", "write an expression"))


def test_empty_table(project: Project, expect) -> None:
    project.land(project.spark.createDataFrame(customers(0, 5)).limit(0), "first")
    expect("train", "churn", code=1, says=("the table is empty",))


def test_one_class_label(project: Project, expect) -> None:
    rows = customers(0, 60)
    rows["churned"] = True
    project.land(rows, "first")
    expect("train", "churn", code=1, says=("labels of the train split are positive",))


def test_all_null_feature(project: Project, expect) -> None:
    frame = project.spark.createDataFrame(customers(0, 60))
    project.land(frame.withColumn("empty", F.lit(None).cast("double")), "first")
    project.write_workload(features=["age", "empty"])
    expect("train", "churn", code=1, says=("'empty'",))


def test_duplicate_keys_with_different_values_stop_training(project: Project, expect) -> None:
    rows = customers(0, 60)
    rows["id"] = rows["id"] // 2
    project.land(rows, "first")
    expect("train", "churn", code=1, says=("break the data contract", "duplicate key"))


def test_unseen_category_nan_and_infinity_are_scored(trained: Project, capsys) -> None:
    project = trained
    odd = customers(5000, 3)
    odd["plan"] = ["enterprise", "basic", "plus"]
    odd["spend"] = [10.0, float("nan"), float("inf")]
    project.land(odd, "odd")
    capsys.readouterr()
    assert project.run("score", "churn", "--json") == 0
    assert project.result(capsys.readouterr().out)["counts"]["predicted"] == 303
    assert project.rows("churn_scores").where("id >= 5000 AND p_churn BETWEEN 0 AND 1").count() == 3


def test_nan_is_quarantined_where_the_contract_says_so(trained: Project, capsys) -> None:
    project = trained
    project.write_workload(
        source={"table": "customers", "key": "id", "nan": "quarantine",
                "max_quarantined": {"share": 1.0}}
    )  # fmt: skip
    odd = project.spark.createDataFrame(customers(5000, 2))
    spend = F.expr("IF(id = 5000, double('NaN'), double('Infinity'))")
    project.land(odd.withColumn("spend", spend), "odd")
    assert project.run("score", "churn") == 0
    refused = project.rows("churn_scores_quarantine").collect()
    assert [row["_reasons"] for row in refused] == [["spend is NaN or infinite"]] * 2


def test_corrupt_parquet_file_in_the_source(project: Project, expect) -> None:
    project.land(customers(0, 60), "first")
    (file, *_) = (project.root / "lake/customers").glob("*.parquet")
    file.write_bytes(b"PAR1 not really PAR1")
    expect("train", "churn", code=1, says=(file.name,))


def test_corrupt_file_is_not_ingested(project: Project, expect) -> None:
    file = project.root / "customers.parquet"
    file.write_bytes(b"this is no parquet file")
    expect("ingest", "customers", "--from", str(file), code=1, says=("customers.parquet",))


def test_unknown_key_names_line_and_closest_key(project: Project, expect) -> None:
    path = project.conf / "workloads" / "churn.yml"
    path.write_text(path.read_text().replace("promotion:", "promotoin:"))
    expect("train", "churn", code=2, says=("churn.yml:", "promotoin", "promotion"))


def test_malformed_yaml_names_the_line(project: Project, expect) -> None:
    path = project.conf / "workloads" / "churn.yml"
    path.write_text("name: churn\nsource: {table: customers\nlabel: churned\n")
    expect("validate", "churn", code=2, says=("churn.yml:",))


def test_unknown_workload_names_the_closest(project: Project, expect) -> None:
    expect("score", "chrun", code=2, says=("unknown workload 'chrun'", "did you mean 'churn'"))


def test_scoring_before_training_says_what_to_do(project: Project, expect) -> None:
    project.land(customers(0, 10), "first")
    expect("score", "churn", code=1, says=("has no champion yet", "lakescore train churn"))


def test_training_a_workload_with_a_model_is_a_usage_error(project: Project, expect) -> None:
    project.write_workload(
        model="model.txt", label=None, features=None, split=None, candidates=None
    )
    expect("train", "churn", code=2, says=("scores a model that exists", "lakescore score churn"))


def test_missing_model_file(project: Project, expect) -> None:
    project.land(customers(0, 10), "first")
    project.write_workload(model=str(project.root / "model.txt"), **_NO_TRAINING)
    expect("score", "churn", code=1, says=("no such file or folder",))


def test_truncated_model_file(project: Project, expect) -> None:
    project.land(customers(0, 10), "first")
    model = project.root / "model.txt"
    _lightgbm(model)
    model.write_text(model.read_text()[:600])
    project.write_workload(model=str(model), **_NO_TRAINING)
    expect("score", "churn", code=1, says=("model.txt",))


def test_pickled_model_needs_trust(project: Project, expect) -> None:
    project.land(customers(0, 10), "first")
    folder = project.root / "sk"
    folder.mkdir()
    (folder / "model.pkl").write_bytes(b"")
    (folder / "MLmodel").write_text(
        "flavors:\n  python_function: {loader_module: mlflow.sklearn, model_path: model.pkl}\n"
        "  sklearn: {pickled_model: model.pkl}\n"
    )
    project.write_workload(model=str(folder), **_NO_TRAINING)
    expect("score", "churn", code=2, says=("runs code", "trust: runs-code"))


def test_source_that_changed_rows_is_refused_naming_the_commit(trained: Project, capsys) -> None:
    project = trained
    assert project.run("score", "churn") == 0
    name = project.table("customers").sql_name
    project.spark.sql(f"UPDATE {name} SET spend = 0 WHERE id = 1")
    _refused(project, capsys, "UPDATE", "version 1")


def test_predictions_table_of_someone_else_is_refused(trained: Project, capsys) -> None:
    project = trained
    theirs = project.root / "lake" / "churn_scores"
    project.spark.range(3).write.format("delta").save(str(theirs))
    _refused(project, capsys, "lakescore did not make it")


_NO_TRAINING: dict[str, Any] = dict.fromkeys(("label", "features", "split", "candidates"))


def _lightgbm(path: Path) -> None:
    import lightgbm

    rows = customers(0, 200)
    data = lightgbm.Dataset(rows[["age", "spend"]], rows["churned"].astype(float))
    booster = lightgbm.train({"objective": "binary", "verbose": -1}, data, 5)
    booster.save_model(str(path))
