"""A net among the candidates of a workload: trained, chosen, scored, served, resumed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.churn import customers, visits
from tests.deep.conftest import SMALL
from tests.faults.processes import Command

pytestmark = pytest.mark.spark

NET = {"backend": "single", **SMALL, "epochs": 6}
TREES = {"backend": "native", "num_iterations": 8, "num_leaves": 7}


def _trained(project, capsys, *options: str) -> dict:
    assert project.run("train", "churn", "--json", *options) == 0
    return project.result(capsys.readouterr().out)


def _on_validation(result: dict) -> dict[str, float]:
    """Candidate -> the metric by which the best was chosen."""
    report = json.loads(Path(result["artefacts"]["report_json"]).read_text())
    compared = report["comparison"]
    return {
        row["name"]: value["value"]
        for row in compared["candidates"]
        for value in row["validation"]
        if value["metric"] == compared["select_by"]
    }


def test_the_best_on_validation_is_chosen_whichever_it_is(project, capsys):
    project.write_workload(candidates=[{"deep_tabular": NET}, {"lightgbm": TREES}])
    project.land(customers(0, 900), "first")

    result = _trained(project, capsys)

    text = Path(result["artefacts"]["report"]).read_text()
    assert "deep_tabular" in text and "lightgbm" in text
    values = _on_validation(result)
    assert set(values) == {"deep_tabular", "lightgbm", "prior"}
    assert result["details"]["candidate"] == max(values, key=values.__getitem__)


def test_a_net_is_scored_in_batch_as_it_is_served(project, capsys, tmp_path):
    import mlflow

    from lakescore.registry.store import Registry

    project.write_workload(candidates=[{"deep_tabular": NET}])
    project.land(customers(0, 900), "first")
    result = _trained(project, capsys)
    assert result["details"]["candidate"] == "deep_tabular"
    assert project.run("score", "churn") == 0

    registry = Registry(project.settings.registry)
    champion = registry.champion(registry.full_name("churn"))
    rows = customers(0, 900)
    folder = registry.download(champion, tmp_path / "downloaded")
    served = mlflow.pyfunc.load_model(str(folder)).predict(rows[["age", "spend", "plan"]])
    scored = project.rows("churn_scores").select("id", "p_churn").toPandas().set_index("id")
    expected = np.asarray(served, dtype=float).reshape(len(rows), -1)[:, -1]
    assert np.array_equal(scored.loc[rows["id"], "p_churn"].to_numpy(), expected)


def test_classes_are_told_apart_by_a_net_beside_trees(project, capsys):
    project.write_workload(
        label="came_by",
        candidates=[{"deep_tabular": NET}, {"lightgbm": TREES}],
        predictions={"table": "visit_scores", "probabilities": "by_class"},
    )
    project.land(visits(0, 900), "first")
    result = _trained(project, capsys)
    values = _on_validation(result)
    assert result["details"]["candidate"] == min(values, key=values.__getitem__)
    assert values["deep_tabular"] < values["prior"]
    assert result["metrics"]["test.accuracy"] > 0.6

    project.write_workload(
        label="came_by",
        candidates=[{"deep_tabular": {**NET, "epochs": 9}}],
        predictions={"table": "visit_scores", "probabilities": "by_class"},
    )
    assert _trained(project, capsys)["status"] in ("PROMOTED", "NOT_PROMOTED")
    assert project.run("score", "churn") == 0
    for row in project.rows("visit_scores").collect():
        assert row["by_class"][row["predicted_class"]] == row["prediction"]
        assert sum(row["by_class"].values()) == pytest.approx(1.0)


def test_quantiles_are_columns_beside_the_prediction(project, capsys, tmp_path):
    import mlflow

    from lakescore.registry.store import Registry

    rows = customers(0, 900)
    rows["value"] = rows["spend"] + rows["age"]
    project.land(rows, "first")
    project.write_workload(
        label="value",
        features=["spend", "plan"],
        candidates=[{"deep_tabular": {**NET, "epochs": 20, "quantiles": [0.05, 0.5, 0.95]}}],
        predictions={"table": "value_scores", "column": "value_said"},
    )
    result = _trained(project, capsys)
    assert result["status"] == "PROMOTED"
    below = [result["metrics"][f"test.share_below_{name}"] for name in ("p5", "p50", "p95")]
    assert below == pytest.approx([0.05, 0.5, 0.95], abs=0.12)
    report = json.loads(Path(result["artefacts"]["report_json"]).read_text())
    assert "Between p5 and p95 are" in report["summary"]

    assert project.run("score", "churn") == 0
    names = ["value_said", "value_said_p5", "value_said_p50", "value_said_p95"]
    scored = project.rows("value_scores").select("id", *names).toPandas().set_index("id")
    assert len(scored) == 900
    assert (scored["value_said_p5"] <= scored["value_said_p50"]).all()
    assert (scored["value_said_p50"] <= scored["value_said_p95"]).all()
    registry = Registry(project.settings.registry)
    champion = registry.champion(registry.full_name("churn"))
    model = mlflow.pyfunc.load_model(str(registry.download(champion, tmp_path / "downloaded")))
    served = model.predict(rows[["spend", "plan"]])
    assert list(served.columns) == ["prediction", "p5", "p50", "p95"]
    assert np.array_equal(served.to_numpy(), scored.loc[rows["id"]].to_numpy())


def test_a_training_that_was_killed_goes_on_over_the_same_rows(project, capsys):
    endless = {**NET, "epochs": 4_000, "patience": 0}
    project.write_workload(candidates=[{"deep_tabular": endless}])
    project.land(customers(0, 900), "first")
    with Command(project.root, ["train", "churn", "--no-promote"]) as killed:
        runs = Path(project.settings.runs)
        killed.wait_until(lambda: any(runs.glob("churn/unfinished/*/checkpoints/last.pt")))
        killed.kill("group")
        killed.all_gone()
    (pinned,) = runs.glob("churn/unfinished/*/training.json")
    versions = json.loads(pinned.read_text())
    project.land(customers(900, 50), "second")
    project.write_workload(
        candidates=[{"deep_tabular": {**endless, "total_seconds": 12, "step_seconds": 60}}]
    )

    assert project.run("train", "churn", "--resume", "--json") == 1
    text = capsys.readouterr().err
    assert "not trained within 12 s" in text

    (result,) = [
        one
        for one in map(json.loads, (path.read_text() for path in runs.glob("churn/*/result.json")))
        if one["error"] and "12 s" in one["error"]
    ]
    assert {pin["table"]: pin["version"] for pin in result["pins"]} == versions
    assert list(runs.glob("churn/unfinished/*/checkpoints/last.pt"))


def test_nothing_to_resume_is_said(project, capsys):
    project.write_workload(candidates=[{"deep_tabular": NET}])
    project.land(customers(0, 900), "first")

    assert project.run("train", "churn", "--resume") == 2
    assert "no training of 'churn' was stopped" in capsys.readouterr().err
