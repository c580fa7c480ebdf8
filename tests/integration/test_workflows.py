"""The life of one workload: train, promote, score, land more, roll back."""

from __future__ import annotations

import json

import pytest
from pyspark.sql import functions as F

from lakescore.errors import UsageError
from lakescore.workflows.rollback import rollback
from lakescore.workflows.score import score
from lakescore.workflows.train import train
from tests.churn import Project, customers


def test_training_registers_promotes_and_reports(trained: Project) -> None:
    assert trained.aliases() == {"champion": "1", "challenger": "1"}
    (folder,) = (trained.root / "lake/_lakescore/runs/churn").iterdir()
    result = json.loads((folder / "result.json").read_text())
    assert result["counts"]["read"] == 300
    assert result["counts"]["labelled"] == 300
    assert result["pins"][0]["table"] == "customers"
    assert 0.5 < result["metrics"]["test.roc_auc"] < 1
    page = (folder / "report.html").read_text()
    assert "PROMOTED" in page and "lightgbm" in page
    data = json.loads((folder / "report.json").read_text())["data"]
    (learned_from,) = [one["rows"] for one in data["splits"] if one["split"] == "train"]
    features = {one["feature"]: one for one in data["features"]}
    assert data["learned_from"] == learned_from < 300
    assert (features["plan"]["kind"], features["plan"]["distinct"]) == ("categorical", 3)
    spend = customers(0, 300)["spend"]
    assert spend.min() <= features["spend"]["minimum"] < features["spend"]["mean"] < spend.max()
    assert {one["nulls"] for one in features.values()} == {0}


def test_a_model_of_another_workload_is_adopted_with_its_features(trained: Project, capsys) -> None:
    absent = dict.fromkeys(("label", "features", "split", "candidates", "promotion", "gate"))
    trained.write_workload(name="second", model="models:/churn@champion", **absent)
    capsys.readouterr()
    assert trained.run("adopt", "second", "--json") == 0
    result = trained.result(capsys.readouterr().out)
    assert result["details"]["inputs"] == {"age": "double", "spend": "double", "plan": "string"}
    assert "`model: models:/second/1` scores by what was registered" in result["details"]["reason"]


def test_training_again_on_the_same_pins_is_already_done(trained: Project, capsys) -> None:
    assert trained.run("train", "churn", "--json") == 0
    assert trained.result(capsys.readouterr().out)["status"] == "ALREADY_DONE"
    assert trained.aliases()["champion"] == "1"


def test_each_row_is_scored_exactly_once_as_it_lands(trained: Project, capsys) -> None:
    assert trained.run("score", "churn", "--json") == 0
    first = trained.result(capsys.readouterr().out)
    assert first["counts"]["predicted"] == 300

    assert trained.run("score", "churn", "--json") == 0
    assert trained.result(capsys.readouterr().out)["status"] == "NOTHING_TO_DO"

    trained.land(customers(1000, 20), "second")
    assert trained.run("score", "churn", "--json") == 0
    second = trained.result(capsys.readouterr().out)
    assert second["counts"]["read"] == second["counts"]["predicted"] == 20

    scores = trained.rows("churn_scores")
    assert scores.count() == scores.select("id").distinct().count() == 320
    lineage = {row["_commit_seq"]: row for row in scores.dropDuplicates(["_commit_seq"]).collect()}
    assert sorted(lineage) == [1, 2]
    assert lineage[2]["_run_id"] == second["run_id"]
    assert lineage[2]["_model_version"] == "1"
    assert lineage[2]["_source_version"] == second["pins"][0]["version"]
    assert set(scores.columns) >= {"id", "plan", "p_churn", "_workload", "_scored_at"}
    assert scores.where("p_churn <= 0 OR p_churn >= 1 OR p_churn IS NULL").count() == 0


def test_refused_rows_are_quarantined_with_their_reason(trained: Project, capsys) -> None:
    trained.write_workload(
        source={
            "table": "customers",
            "key": "id",
            "expectations": {"age_is_sane": "age < 150"},
            "max_quarantined": {"share": 0.5},
        }
    )
    landed = customers(2000, 10)
    landed.loc[0, "age"] = 999.0
    landed = landed._append(landed.iloc[[3]].assign(spend=1.0))  # same key, other values
    landed = landed._append(landed.iloc[[5]])  # an identical copy
    trained.land(landed, "bad")
    assert trained.run("score", "churn", "--json") == 0
    counts = trained.result(capsys.readouterr().out)["counts"]
    assert counts == {
        "read": 312, "predicted": 308, "quarantined": 3, "duplicates": 1, "out_of_scope": 0,
        "deleted": 0,
    }  # fmt: skip
    refused = trained.rows("churn_scores_quarantine")
    reasons = {reason for row in refused.collect() for reason in row["_reasons"]}
    assert reasons == {
        "expectation 'age_is_sane' failed",
        "duplicate key with different values",
    }


def test_too_many_refused_rows_stop_the_run_before_anything_is_visible(
    trained: Project, capsys
) -> None:
    trained.run("score", "churn")
    before = trained.state()
    trained.write_workload(
        source={"table": "customers", "key": "id", "expectations": {"rich": "spend > 1e9"}}
    )
    trained.land(customers(3000, 10), "poor")
    before = trained.state()
    capsys.readouterr()
    assert trained.run("score", "churn") == 1
    message = capsys.readouterr().err
    assert "10 of 10 rows break the data contract" in message
    assert "expectation 'rich' failed: 10" in message
    assert trained.state() == before


def test_training_by_hand_says_what_the_gate_will_say(trained: Project, capsys) -> None:
    gate = {"replicates": 50, "max_calibration_error": 0.0001}
    trained.write_workload(features=["age"], gate=gate, promotion="manual", seed=12)
    assert trained.run("train", "churn", "--json") == 0
    result = trained.result(capsys.readouterr().out)
    assert (result["status"], result["next_command"]) == ("DONE", "lakescore report churn")
    assert "the gate would refuse it: " in result["details"]["reason"]
    assert "calibration error" in result["details"]["reason"]


def test_rollback_brings_back_the_champion_before(trained: Project) -> None:
    trained.write_workload(seed=12, gate={"replicates": 50, "champion_margin": 0.5,
                                          "max_calibration_error": 0.5})  # fmt: skip
    workload = _workload(trained)
    assert train(trained.spark, trained.settings, workload).status.value == "PROMOTED"
    assert trained.aliases()["champion"] == "2"
    assert rollback(trained.settings, workload).model_version == "1"
    assert trained.aliases()["champion"] == "1"
    result = score(trained.spark, trained.settings, workload)
    assert result.model_version == "1"
    with pytest.raises(UsageError, match="no earlier champion"):
        rollback(trained.settings, workload)


def test_a_quick_try_on_a_sample_registers_nothing(project: Project, capsys) -> None:
    project.land(customers(0, 600), "first")
    assert project.run("train", "churn", "--sample", "0.5", "--json") == 0
    result = project.result(capsys.readouterr().out)
    assert "nothing registered" in result["details"]["reason"]
    assert 200 < result["counts"]["read"] < 400
    assert project.aliases() == {}


def test_a_numeric_target_needs_yaml_only(project: Project, capsys) -> None:
    rows = customers(0, 300)
    rows["value"] = rows["spend"] * 2 + rows["age"]
    project.land(rows, "first")
    project.write_workload(
        label="value",
        features=["age", "spend", "plan"],
        candidates=[{"lightgbm": {"backend": "native", "num_iterations": 20}}, "linear_regression"],
        predictions={"table": "value_scores", "column": "value"},
    )
    assert project.run("train", "churn", "--json") == 0
    result = project.result(capsys.readouterr().out)
    assert result["status"] == "PROMOTED"
    assert result["metrics"]["test.r2"] > 0.5
    assert project.run("score", "churn") == 0
    scored = project.rows("value_scores").select("id", "value")
    both = scored.join(
        project.rows("customers").select("id", F.expr("spend * 2 + age AS truth")), "id"
    )
    assert both.select(F.corr("value", "truth")).first()[0] > 0.7


def test_a_training_is_planned_by_what_would_fit_it(project: Project, capsys) -> None:
    project.land(customers(0, 300), "first")
    project.write_workload(candidates=["lightgbm", "logistic_regression"])
    assert project.run("plan", "churn", "--train") == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "workload     churn (training)"
    assert said[1].startswith("source       customers@") and said[1].endswith(" 3 features")
    fits = [line.removeprefix("fits         ") for line in said if line.startswith("fits")]
    assert [line.partition(":")[0] for line in fits] == [
        "lightgbm, by native", "logistic_regression, by mllib", "prior, the baseline, by spark",
    ]  # fmt: skip
    assert fits[0].endswith(" MiB, and one process takes up to 4 GiB (native_gib)")
    before = project.state()
    assert project.run("train", "churn") == 0
    capsys.readouterr()
    assert project.run("plan", "churn", "--train", "--json") == 0
    told = project.result(capsys.readouterr().out)
    assert (told["trained_as"], told["nothing_to_do"]) == ("1", True)
    assert before["commits"] == project.state()["commits"]
    assert project.run("plan", "churn", "--train", "--full") == 2
    assert "leave out the options of a scoring run" in capsys.readouterr().err


def test_plan_says_what_score_then_does(trained: Project, capsys) -> None:
    assert trained.run("plan", "churn", "--json") == 0
    plan = trained.result(capsys.readouterr().out)
    assert plan["commit_seq"] == 1
    assert plan["step"]["reads"] == "appended" and "after_version" not in plan["step"]
    assert trained.run("score", "churn", "--json") == 0
    assert trained.result(capsys.readouterr().out)["details"]["plan_hash"] == plan["plan_hash"]
    assert trained.run("plan", "churn") == 0
    assert "nothing to do" in capsys.readouterr().out


def _workload(project: Project):
    from lakescore.config.loader import load_workload

    return load_workload(project.conf, "churn")
