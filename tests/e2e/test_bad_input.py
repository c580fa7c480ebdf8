"""Bad input: the whole message, the exit code, and that lake, scores and registry are as they were.

Every case begins in a project that has a champion and scores, so that there is something to lose.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import functions as F

from lakescore.registry.foreign import open_model
from tests.bad_columns import TOLD_BY_SCORE, TOLD_BY_TRAIN, TOLD_BY_VALIDATE, BadColumn
from tests.churn import WORKLOAD, Project, copy_project, customers
from tests.conftest import settings_under

Expect = Callable[..., None]


@pytest.fixture(scope="module")
def scored_once(trained_once: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """300 customers, a champion, and the scores of all of them: once for this file."""
    root = tmp_path_factory.mktemp("scored")
    project = copy_project(trained_once, root, settings_under(root))
    assert project.run("score", "churn") == 0
    return project


@pytest.fixture
def project(scored_once: Project, tmp_path: Path, settings) -> Project:
    """A project of its own in that state."""
    project = copy_project(scored_once, tmp_path, settings)
    state = project.state()
    assert state["versions"] == [("churn", 1)]
    assert state["aliases"] == {"champion": "1", "challenger": "1"}
    (_, rows), quarantine = state["scores"]
    assert len(rows) == 300 and quarantine is None
    return project


@pytest.fixture
def expect(project: Project, capsys: pytest.CaptureFixture[str]) -> Expect:
    """Run a command that must fail with exactly this message and code, and change nothing."""

    def run(*argv: str, code: int, says: str) -> None:
        before = project.state()
        capsys.readouterr()
        found = project.run(*argv)
        said = capsys.readouterr().err
        expected = says.replace("{root}", str(project.root))
        assert said[said.index("error: ") :] == f"error: {expected}\n"
        assert found == code
        assert project.state() == before

    return run


# --- the source's table ----------------------------------------------------------------------


def test_missing_table(project: Project, expect: Expect) -> None:
    project.write_workload(source={"table": "customer", "key": "id"})
    says = (
        "customer: there is no Delta table at {root}/lake/customer\n"
        "  -> did you mean 'customers'? known: churn_scores, customers"
    )
    for command in ("train", "score"):
        expect(command, "churn", code=1, says=says)


def test_folder_of_parquet_files(project: Project, expect: Expect) -> None:
    folder = project.root / "lake" / "plain"
    folder.mkdir(parents=True)
    customers(0, 5).to_parquet(folder / "part.parquet")
    project.write_workload(source={"table": "plain", "key": "id"})
    says = (
        "plain: {root}/lake/plain holds Parquet files but is not a Delta table\n"
        "  -> make a Delta copy of the files with `lakescore ingest`"
    )
    expect("train", "churn", code=1, says=says)


def test_empty_table(project: Project, expect: Expect) -> None:
    _train_on(project, project.spark.createDataFrame(customers(0, 5)).limit(0))
    says = (
        "others@0: no row is in any split\n"
        "  -> the table is empty, or `split` fits none of its rows"
    )
    expect("train", "churn", code=1, says=says)


def test_corrupt_parquet_file(project: Project, expect: Expect) -> None:
    known = set((project.root / "lake/customers").glob("*.parquet"))
    project.land(project.spark.createDataFrame(customers(400, 10)).coalesce(1), "second")
    (file,) = set((project.root / "lake/customers").glob("*.parquet")) - known
    file.write_bytes(b"PAR1 not really PAR1")
    for command, table in (("train", "customers"), ("score", "customers@1")):
        expect(command, "churn", code=1, says=f"{table}: {_corrupt(file)}")


def test_corrupt_file_is_not_ingested(project: Project, expect: Expect) -> None:
    file = project.root / "customers.parquet"
    file.write_bytes(b"this is no parquet file")
    expect("ingest", "arrived", "--from", str(file), code=1, says=f"arrived: {_corrupt(file)}")


def _corrupt(file: Path) -> str:
    return (
        f"the file file:{file} is corrupt: its content is not what was written\n"
        "  -> restore the file from its source or a backup, then run again; nothing was committed"
    )


# --- columns, types and expressions ----------------------------------------------------------

_SOURCE = WORKLOAD["source"]
_SCORES = WORKLOAD["predictions"]


@pytest.fixture
def dated(project: Project) -> Project:
    """With a date of each customer, and a table that says who left."""
    rows = project.spark.createDataFrame(customers(400, 5))
    born = F.expr("date_add(DATE'2013-01-01', cast(id % 28 as int))")
    frame = rows.withColumn("born", born)
    table = project.table("customers").sql_name
    project.spark.sql(f"ALTER TABLE {table} ADD COLUMNS (born DATE)")
    frame.write.format("delta").mode("append").save(project.table("customers").path)
    project.land(rows.selectExpr("id", "plan AS name", "churned AS left"), "first", "leavers")
    return project


@pytest.mark.parametrize(
    ("command", "cases"),
    [(None, TOLD_BY_VALIDATE), ("train", TOLD_BY_TRAIN), ("score", TOLD_BY_SCORE)],
)
def test_wrong_columns_types_and_expressions(
    dated: Project, expect: Expect, command: str | None, cases: Sequence[BadColumn]
) -> None:
    for case in cases:
        dated.write_workload(**case.changes)
        expect("validate", "churn", "--against-lake", code=case.code, says=case.says)
        if command is not None:
            expect(command, "churn", code=case.code, says=case.says)


def test_a_scope_of_rows_that_have_no_label_yet_is_not_refused(dated: Project) -> None:
    dated.write_workload(predictions={**_SCORES, "where": "churned IS NULL"})
    assert dated.run("validate", "churn", "--against-lake") == 0


# --- what the rows hold ----------------------------------------------------------------------


def test_one_class_label(project: Project, expect: Expect) -> None:
    rows = customers(0, 60)
    rows["churned"] = True
    _train_on(project, rows)
    says = (
        "others@0: all 42 labels of the train split are positive\n"
        "  -> check the label expression, or choose a split with both classes"
    )
    expect("train", "churn", code=1, says=says)


def test_all_null_feature(project: Project, expect: Expect) -> None:
    frame = project.spark.createDataFrame(customers(0, 60))
    _train_on(project, frame.withColumn("empty", F.lit(None).cast("double")), features=["empty"])
    says = (
        "train split: no value at all in the feature 'empty'\n"
        "  -> remove it, or mend its expression or the join that it comes from"
    )
    expect("train", "churn", code=1, says=says)


def test_duplicate_keys_with_different_values(project: Project, expect: Expect) -> None:
    rows = customers(400, 60)
    rows["id"] = rows["id"] // 2 * 2
    project.land(rows, "doubled")
    why = "duplicate key with different values"
    expect("score", "churn", code=1, says=_too_many("60 of 60", why, 60))
    expect("train", "churn", code=1, says=_too_many("60 of 360", why, 60))


def _too_many(refused: str, reason: str, count: int) -> str:
    return (
        f"customers@1: {refused} rows break the data contract, more than the allowed 5.00%; "
        f"nothing was written ({reason}: {count})\n"
        "  -> mend the rows at their source, or change source.expectations or "
        "source.max_quarantined"
    )


def test_unseen_category_nan_and_infinity_are_scored(project: Project, capsys) -> None:
    odd = customers(5000, 3)
    odd["plan"] = ["enterprise", "basic", "plus"]
    odd["spend"] = [10.0, float("nan"), float("inf")]
    project.land(odd, "odd")
    capsys.readouterr()
    assert project.run("score", "churn", "--json") == 0
    assert project.result(capsys.readouterr().out)["counts"]["predicted"] == 3
    assert project.rows("churn_scores").where("id >= 5000 AND p_churn BETWEEN 0 AND 1").count() == 3


def test_nan_is_quarantined_where_the_contract_says_so(project: Project, expect: Expect) -> None:
    odd = project.spark.createDataFrame(customers(5000, 2))
    spend = F.expr("IF(id = 5000, double('NaN'), double('Infinity'))")
    project.land(odd.withColumn("spend", spend), "odd")
    project.write_workload(source={**_SOURCE, "nan": "quarantine"})
    expect("score", "churn", code=1, says=_too_many("2 of 2", "spend is NaN or infinite", 2))
    bounds = {"max_quarantined": {"share": 1.0}}
    project.write_workload(source={**_SOURCE, "nan": "quarantine", **bounds})
    assert project.run("score", "churn") == 0
    refused = project.rows("churn_scores_quarantine").collect()
    assert [row["_reasons"] for row in refused] == [["spend is NaN or infinite"]] * 2


def test_source_that_changed_rows(project: Project, expect: Expect) -> None:
    table = project.table("customers").sql_name
    project.spark.sql(f"UPDATE {table} SET spend = 0 WHERE id = 1")
    last = project.spark.sql(f"DESCRIBE HISTORY {table} LIMIT 1").first()
    says = (
        "customers@1: not only appends since the last run: version 1 "
        f"(UPDATE, {last.timestamp:%Y-%m-%d %H:%M:%S}Z) changed or removed rows that were already "
        "read\n  -> `mode: upsert` follows rows that change or go, by their key; another mode "
        "starts over with `lakescore score NAME --full`. Or keep the source append-only: land "
        "corrections as new rows"
    )
    expect("score", "churn", code=1, says=says)


def test_predictions_table_of_someone_else(project: Project, expect: Expect) -> None:
    theirs = project.root / "lake" / "their_scores"
    project.spark.range(3).write.format("delta").save(str(theirs))
    project.write_workload(predictions={**_SCORES, "table": "their_scores"})
    says = (
        "{root}/lake/their_scores: their_scores is not a predictions table: lakescore did not "
        "make it\n  -> name another table under `predictions`; lakescore makes it in its first "
        "run. Or take this one over: lakescore adopt NAME --table their_scores --source-version "
        "V, where V is the version of the source that it was made from"
    )
    expect("score", "churn", code=1, says=says)


# --- the workload's file ---------------------------------------------------------------------


def test_unknown_key(project: Project, expect: Expect) -> None:
    path = project.conf / "workloads" / "churn.yml"
    path.write_text(path.read_text().replace("promotion:", "promotoin:"))
    says = (
        "{root}/conf/workloads/churn.yml:16:1: unknown key 'promotoin'\n"
        "  -> did you mean 'promotion'? known: candidates, context, description, features, gate, "
        "job, label, model, name, predictions, promotion, report, seed, select_by, source, split, "
        "tags, trust"
    )
    for command in ("validate", "train", "score"):
        expect(command, "churn", code=2, says=says)


def test_malformed_yaml(project: Project, expect: Expect) -> None:
    path = project.conf / "workloads" / "churn.yml"
    path.write_text("name: churn\nsource: {table: customers\nlabel: churned\n")
    says = (
        "{root}/conf/workloads/churn.yml:3:6: a mapping that is not closed, or a comma is missing\n"
        "  -> close it with }"
    )
    for command in ("validate", "train", "score"):
        expect(command, "churn", code=2, says=says)


def test_unknown_workload(project: Project, expect: Expect) -> None:
    says = (
        "{root}/conf/workloads: unknown workload 'chrun'\n  -> did you mean 'churn'? known: churn"
    )
    expect("score", "chrun", code=2, says=says)


def test_unknown_candidate_parameter_and_metric(
    project: Project, expect: Expect, monkeypatch: pytest.MonkeyPatch
) -> None:
    _no_session(monkeypatch)
    project.write_workload(candidates=[{"lightgbm": {"num_leafs": 7}}])
    says = (
        "candidates.lightgbm.num_leafs: lightgbm has no parameter 'num_leafs'\n"
        "  -> did you mean 'num_leaves'? known: backend, bagging_fraction, bagging_freq, "
        "early_stopping_rounds, feature_fraction, lambda_l1, lambda_l2, learning_rate, max_bin, "
        "min_data_in_leaf, native_gib, num_iterations, num_leaves"
    )
    expect("train", "churn", code=2, says=says)
    project.write_workload(select_by="auc")
    says = (
        "there is no metric 'auc'\n"
        "  -> did you mean 'roc_auc'? known: accuracy, average_precision, balanced_accuracy, "
        "base_rate, bias, brier, calibration_error, log_loss, mae, mean_confidence, mean_label, "
        "mean_prediction, r2, rmse, roc_auc"
    )
    expect("train", "churn", code=2, says=says)


def test_init_of_a_workload_that_exists(project: Project, expect: Expect) -> None:
    file = project.root / "customers.parquet"
    customers(0, 5).to_parquet(file)
    says = (
        "{root}/conf/workloads/churn.yml: the workload exists already\n"
        "  -> choose another name, or edit it"
    )
    options = ("--from", str(file), "--label", "churned", "--key", "id")
    expect("init", "churn", *options, code=2, says=says)


# --- the model -------------------------------------------------------------------------------


def test_scoring_before_training(
    project: Project, expect: Expect, monkeypatch: pytest.MonkeyPatch
) -> None:
    _no_session(monkeypatch)
    project.write_workload(name="lapse")
    says = (
        "sqlite:///{root}/mlflow.db: 'lapse' has no champion yet\n"
        "  -> lakescore train lapse, then lakescore promote lapse; if the gate refused it, "
        "lakescore report lapse says why"
    )
    expect("score", "lapse", code=1, says=says)
    last = json.loads(next((project.root / "lake/_lakescore/runs/lapse").glob("*/*")).read_text())
    assert (last["workflow"], last["status"]) == ("score", "FAILED")


def test_training_a_workload_that_has_a_model(project: Project, expect: Expect) -> None:
    project.write_workload(model="model.txt", **_NO_TRAINING)
    says = (
        "workload 'churn' scores a model that exists (model.txt)\n"
        "  -> lakescore score churn; to train, replace `model` by label, features and split"
    )
    expect("train", "churn", code=2, says=says)


def test_missing_and_truncated_model_files(project: Project, expect: Expect) -> None:
    model = project.root / "model.txt"
    project.write_workload(model=str(model), **_NO_TRAINING)
    says = (
        "{root}/model.txt: no such file or folder\n"
        "  -> known: conf, lake, mlflow.db, mlflow.db.lock"
    )
    expect("score", "churn", code=1, says=says)
    _lightgbm(model)
    model.write_text(model.read_text()[:600])
    says = (
        "{root}/model.txt: not a whole LightGBM text model: a tree of 8 leaves lacks leaf values\n"
        "  -> save it again with Booster.save_model"
    )
    expect("score", "churn", code=1, says=says)


def test_pickled_model_needs_trust(project: Project, expect: Expect) -> None:
    folder = project.root / "sk"
    folder.mkdir()
    (folder / "model.pkl").write_bytes(b"")
    (folder / "MLmodel").write_text(
        "flavors:\n  python_function: {loader_module: mlflow.sklearn, model_path: model.pkl}\n"
        "  sklearn: {pickled_model: model.pkl}\n"
    )
    project.write_workload(model=str(folder), **_NO_TRAINING)
    says = (
        "{root}/sk: loading this model runs code that came with it (flavour sklearn)\n"
        "  -> if you trust where it came from, add `trust: runs-code` to the workload; it is then "
        "loaded in a process of its own"
    )
    expect("score", "churn", code=2, says=says)


def test_a_failed_gate_is_a_result_and_moves_the_challenger_alone(project: Project, capsys) -> None:
    before = project.state()
    project.write_workload(
        features=["age"], gate={"replicates": 50, "champion_margin": 0.0}, seed=11
    )
    capsys.readouterr()
    assert project.run("train", "churn") == 0
    said = capsys.readouterr().out
    assert said.startswith("NOT_PROMOTED  train churn, model version 2  (")
    assert (
        "\n  the gate said no: challenger is not better beyond noise than baseline: "
        "average_precision differs by "
    ) in said
    assert (
        "challenger is possibly worse than champion with a margin of 0: average_precision differs "
        "by -"
    ) in said
    assert said.endswith("\n  next: lakescore report churn\n")
    assert project.run("promote", "churn", "--require-promotion") == 1
    after = project.state()
    assert after["versions"] == [("churn", 1), ("churn", 2)]
    assert after["aliases"] == {"champion": "1", "challenger": "2"}
    assert (after["commits"], after["scores"]) == (before["commits"], before["scores"])


# --- fleets ----------------------------------------------------------------------------------


def test_one_workload_that_fails_stops_no_other(project: Project, capsys, monkeypatch) -> None:
    project.land(customers(400, 10), "second")
    project.write_workload(tags=["nightly"])
    project.write_workload(name="alone", tags=["nightly"])
    project.write_workload(name="defect", tags=["nightly"], model="model.txt", **_NO_TRAINING)
    broken = project.conf / "workloads" / "broken.yml"
    broken.write_text("name: broken\nsource: {table: customers\nlabel: churned\n")
    monkeypatch.setattr("lakescore.registry.foreign.open_model", _defect(open_model))
    capsys.readouterr()
    assert project.run("score", "--select", "tag:nightly", "--json") == 2
    said = capsys.readouterr()
    told = {one["workload"]: one for one in json.loads(said.out)}
    assert {name: one["status"] for name, one in told.items()} == {
        "alone": "FAILED", "broken": "FAILED", "churn": "DONE", "defect": "FAILED",
    }  # fmt: skip
    assert list(told) == sorted(told)
    assert told["churn"]["counts"]["predicted"] == 10
    assert "'alone' has no champion yet" in told["alone"]["error"]
    assert told["defect"]["error"] == "unexpected ZeroDivisionError: by chance"
    assert (
        f"error: broken: {broken}:3:6: a mapping that is not closed, or a comma is missing"
        in said.err
    )
    assert "error: defect: unexpected ZeroDivisionError: by chance" in said.err

    project.write_workload(name="alone", predictions={**_SCORES, "table": "customers"})
    capsys.readouterr()
    assert project.run("status", "--json") == 2
    said = capsys.readouterr()
    lines = {one["workload"]: one for one in json.loads(said.out)}
    assert lines["churn"]["rows"] == 310 and lines["churn"]["note"] is None
    assert (
        lines["broken"]["note"]
        == f"{broken}:3:6: a mapping that is not closed, or a comma is missing"
    )
    assert "lakescore did not make it" in lines["alone"]["note"]
    assert (
        f"error: broken: {broken}:3:6: a mapping that is not closed, or a comma is missing"
        in said.err
    )


def _defect(opened: Callable[..., Any]) -> Callable[..., Any]:
    """`opened`, with a defect for models that are only a path."""

    def broken(spec: str, **options: Any) -> Any:
        if spec == "model.txt":
            raise ZeroDivisionError("by chance")
        return opened(spec, **options)

    return broken


def test_json_log_has_the_fields_of_each_failure(project: Project, capsys) -> None:
    capsys.readouterr()
    project.write_workload(features=["age", "spent"])
    assert project.run("train", "churn", "--log-format", "json") == 1
    (line,) = map(json.loads, capsys.readouterr().err.splitlines())
    assert line.pop("time") < "9"
    assert line == {
        "level": "error",
        "message": "no column 'spent' for the expression: `spent`",
        "kind": "ColumnMissing",
        "what": "no column 'spent' for the expression: `spent`",
        "where": "feature 'spent'",
        "hint": "did you mean 'spend'? known: age, churned, id, plan, spend",
        "exit_code": 1,
        "workload": None,
    }


_NO_TRAINING: dict[str, Any] = dict.fromkeys(("label", "features", "split", "candidates"))


def _train_on(project: Project, rows: Any, **changes: Any) -> None:
    """The churn workload over a table of its own with these rows."""
    project.land(rows, "first", table="others")
    project.write_workload(source={"table": "others", "key": "id"}, **changes)


def _no_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command must fail before it starts one."""

    def started(*_: object) -> None:
        raise AssertionError("a session was started")

    monkeypatch.setattr("lakescore.cli.options.Project.spark", started)


def _lightgbm(path: Path) -> None:
    import lightgbm

    rows = customers(0, 200)
    data = lightgbm.Dataset(rows[["age", "spend"]], rows["churned"].astype(float))
    booster = lightgbm.train({"objective": "binary", "verbose": -1}, data, 5)
    booster.save_model(str(path))
