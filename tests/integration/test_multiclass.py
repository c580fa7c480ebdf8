"""A label of several classes: metrics as scikit-learn's, and the way from YAML to the lake."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from pyspark.sql import functions as F
from sklearn import metrics as peer

from lakescore.errors import LakescoreError
from lakescore.evaluation.confusion import OTHER, confusion
from lakescore.evaluation.intervals import bootstrap
from lakescore.evaluation.metrics import evaluate
from lakescore.evaluation.poisson import poisson_weights
from lakescore.evaluation.segments import evaluate_segments
from lakescore.matrix import Task
from tests.churn import Project, visits

pytestmark = pytest.mark.spark

CLASSES = ("blue", "green", "red")
MODELS = {"fine": "fine", "prior": "prior"}
ROWS = 600


@pytest.fixture(scope="module")
def columns() -> dict[str, np.ndarray]:
    """Scores that tell something, some of them certain and wrong; green comes seldom."""
    rng = np.random.default_rng(3)
    labels = rng.choice(3, size=ROWS, p=[0.5, 0.1, 0.4])
    logits = 1.5 * np.eye(3)[labels] + rng.normal(size=(ROWS, 3))
    fine = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    fine[:3] = [[1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.0, 1.0, 0.0]]
    prior = np.tile([0.5, 0.1, 0.4], (ROWS, 1))
    return {"id": np.arange(ROWS), "y": labels.astype(float), "fine": fine, "prior": prior}


@pytest.fixture(scope="module")
def df(spark, columns):
    rows = list(zip(*(values.tolist() for values in columns.values()), strict=True))
    types = "id bigint, y double, fine array<double>, prior array<double>"
    split = F.when(F.col("id") < 400, "test").otherwise("train")
    frame = spark.createDataFrame(rows, types).withColumn("split", split)
    return frame.repartition(3, "id").cache()


@pytest.fixture(scope="module")
def evaluation(df):
    return evaluate(df, task=Task.MULTICLASS, label="y", scores=MODELS, by="split", classes=CLASSES)


def expected(labels: np.ndarray, scores: np.ndarray, weight=None) -> dict[str, float]:
    said = scores.argmax(axis=1)
    weights = {"sample_weight": weight}
    return {
        "log_loss": peer.log_loss(labels, scores, labels=[0, 1, 2], **weights),
        "accuracy": peer.accuracy_score(labels, said, **weights),
        "balanced_accuracy": peer.balanced_accuracy_score(labels, said, **weights),
        "mean_confidence": np.average(scores.max(axis=1), weights=weight),
    }


def test_metrics_equal_scikit_learn_in_every_split(evaluation, columns) -> None:
    inside = {"test": columns["id"] < 400, "train": columns["id"] >= 400}
    assert evaluation.splits == tuple(inside)
    for result in evaluation.results:
        rows = inside[result.split]
        found = dict(result.metrics)
        assert 0 <= found.pop("calibration_error") <= 1
        wanted = expected(columns["y"][rows], columns[result.model][rows])
        assert found == pytest.approx(wanted, abs=1e-12), result
        assert (result.rows, result.positives) == (rows.sum(), None)


def test_a_prior_of_the_right_shares_is_calibrated(evaluation) -> None:
    """It says blue of every row, with the probability 0.5."""
    accuracy = evaluation.value("accuracy", "prior", "test")
    error = evaluation.value("calibration_error", "prior", "test")
    assert error == pytest.approx(abs(accuracy - 0.5))


def test_replicates_are_scikit_learns_with_paired_weights(df, evaluation, columns) -> None:
    found = bootstrap(df, evaluation, key=["id"], split="test", replicates=20, seed=5)
    hashed = df.select("id", F.xxhash64("id").alias("key")).collect()
    keys = {row["id"]: row["key"] for row in hashed}
    hashes = np.array([keys[row] for row in range(400)], dtype=np.int64).view(np.uint64)
    weights = poisson_weights(hashes, first=0, replicates=20, seed=5)
    for model in MODELS:
        wanted = [expected(columns["y"][:400], columns[model][:400], one) for one in weights]
        for name in wanted[0]:
            replicates = [one[name] for one in wanted]
            np.testing.assert_allclose(found.replicates[model, name], replicates, atol=1e-9)
    better = found.difference("accuracy", "fine", "prior")
    assert better.low > 0


def test_segments_say_how_often_the_class_is_right(df, evaluation, columns) -> None:
    parts = df.withColumn("half", (F.col("id") % 2).cast("string"))
    (table,) = evaluate_segments(parts, evaluation, columns=["half"], models=["fine"], split="test")
    assert [one.value for one in table.segments] == ["0", "1"]
    for one in table.segments:
        rows = (columns["id"] < 400) & (columns["id"] % 2 == int(one.value))
        wanted = expected(columns["y"][rows], columns["fine"][rows])
        assert one.metrics == pytest.approx({n: wanted[n] for n in ("log_loss", "accuracy")})
        assert one.mean_label == pytest.approx(wanted["accuracy"])
        assert one.mean_prediction == pytest.approx(wanted["mean_confidence"])


def test_classes_taken_for_each_other_are_counted(df, evaluation, columns, monkeypatch) -> None:
    labels, said = columns["y"][:400], columns["fine"][:400].argmax(axis=1)
    table = peer.confusion_matrix(labels, said)
    found = confusion(df, evaluation, model="fine", split="test")
    assert found.classes == CLASSES
    assert found.rows == tuple(map(tuple, table.tolist()))

    monkeypatch.setattr("lakescore.evaluation.confusion._TOP", 1)
    few = confusion(df, evaluation, model="fine", split="test")
    assert few.classes == ("blue", OTHER)
    assert few.rows[0] == (table[0, 0], table[0, 1:].sum())
    assert few.rows[1] == (table[1:, 0].sum(), table[1:, 1:].sum())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fine": "array(0.5D, 0.5D)"}, "of model 'fine' are not 3 probabilities that add up to 1"),
        ({"fine": "array(0.5D, 0.1D, 0.1D)"}, "'fine' are not 3 probabilities that add up to 1"),
        ({"fine": "array(1.5D, -0.5D, 0D)"}, "'fine' are not 3 probabilities that add up to 1"),
        ({"prior": "array(0.5D, double('nan'), 0D)"}, "'prior' are null, NaN or infinite"),
        ({"prior": "cast(null as array<double>)"}, "'prior' are null, NaN or infinite"),
        ({"y": "3D"}, "400 of 400 labels are not the position of a class"),
    ],
)
def test_bad_rows_are_refused_by_name_and_count(df, change, message) -> None:
    (name, value), *_ = change.items()
    changed = df.withColumn(name, F.expr(f"CASE WHEN id < 400 THEN {value} ELSE {name} END"))
    with pytest.raises(LakescoreError, match=f"(?s)split 'test': .*{message}"):
        evaluate(
            changed,
            task=Task.MULTICLASS,
            label="y",
            scores=MODELS,
            by="split",
            classes=CLASSES,
        )


LIGHTGBM = {"backend": "native", "num_iterations": 20, "num_leaves": 7}


def write(project: Project, **changes) -> None:
    project.write_workload(
        **{
            "label": "came_by",
            "candidates": [{"lightgbm": LIGHTGBM}],
            "predictions": {
                "table": "visit_scores",
                "column": "sure",
                "probabilities": "by_class",
            },
            "report": {"segments": ["plan"]},
            **changes,
        }
    )


def test_classes_go_from_yaml_to_the_lake(project: Project, capsys) -> None:
    """Train, be judged against a champion, score, and be restated by the next champion."""
    project.land(visits(0, 500), "first")
    write(project)
    assert project.run("train", "churn", "--json") == 0
    first = project.result(capsys.readouterr().out)
    assert first["status"] == "PROMOTED", first
    assert first["counts"]["unlabelled"] > 0
    assert first["metrics"]["test.accuracy"] > 0.6

    assert project.run("score", "churn", "--json") == 0
    assert project.result(capsys.readouterr().out)["counts"]["predicted"] == 500
    scores = project.rows("visit_scores")
    types = {"sure": "double", "predicted_class": "string", "by_class": "map<string,double>"}
    assert dict(scores.dtypes).items() >= types.items()
    for row in scores.collect():
        assert set(row["by_class"]) == {"bus", "car", "foot"}
        assert sum(row["by_class"].values()) == pytest.approx(1.0)
        assert row["sure"] == max(row["by_class"].values())
        assert row["by_class"][row["predicted_class"]] == row["sure"]
    right = scores.join(project.rows("customers"), "id").where("predicted_class = came_by").count()
    assert right > 300

    write(project, candidates=[{"lightgbm": {**LIGHTGBM, "num_iterations": 40}}])
    assert project.run("train", "churn", "--json") == 0
    second = project.result(capsys.readouterr().out)
    checks = {check["name"]: check for check in second["details"]["gate"]["checks"]}
    assert "log_loss differs by" in checks["not_worse_than_champion"]["detail"]
    assert checks["same_after_reload"]["numbers"] == {"largest_difference": 0.0}

    page = json.loads(Path(second["artefacts"]["report_json"]).read_text())
    assert page["confusion"]["classes"] == ["bus", "car", "foot"]
    assert sum(map(sum, page["confusion"]["rows"])) == page["comparison"]["test_rows"]
    assert page["calibration"]["bins"]
    assert {one["metric"]["metric"] for one in page["segments"][0]["rows"]} == {"accuracy"}


def test_a_champion_may_know_a_class_that_is_gone(project: Project, capsys) -> None:
    """And one that it does not know has the probability 0; neither stops a training."""
    project.land(visits(0, 500), "first")
    write(project)
    assert project.run("train", "churn") == 0
    capsys.readouterr()
    label = "CASE came_by WHEN 'car' THEN 'motor' WHEN 'bus' THEN 'motor' WHEN 'foot' THEN "
    write(project, label=f"{label} IF(id % 3 = 0, 'young', 'foot') END")
    assert project.run("train", "churn", "--json") == 0
    second = project.result(capsys.readouterr().out)
    checks = {check["name"]: check for check in second["details"]["gate"]["checks"]}
    assert checks["not_worse_than_champion"]["passed"]
    page = json.loads(Path(second["artefacts"]["report_json"]).read_text())
    assert page["confusion"]["classes"] == ["foot", "motor", "young", "bus", "car"]


def test_columns_that_share_a_name_are_refused_before_anything_is_scored(
    project: Project, capsys
) -> None:
    rows = visits(0, 300)
    rows["predicted_class"] = 1
    project.land(rows, "first")
    write(project, predictions={"table": "t", "passthrough": ["predicted_class"]})
    assert project.run("train", "churn") == 0
    for command in ("plan", "score"):
        assert project.run(command, "churn") == 2
        message = capsys.readouterr().err
        assert "two output columns would be called predicted_class" in message


def test_a_version_is_served_with_one_column_a_class(project: Project, tmp_path) -> None:
    import mlflow.pyfunc

    from lakescore.registry.store import Registry

    project.land(visits(0, 300), "first")
    write(project)
    assert project.run("train", "churn") == 0
    assert project.run("score", "churn") == 0
    registry = Registry(project.settings.registry)
    champion = registry.resolve("models:/churn@champion")
    served = mlflow.pyfunc.load_model(str(registry.download(champion, tmp_path)))
    served = served.predict(visits(0, 300).head(5)[["age", "spend", "plan"]])
    assert list(served.columns) == ["bus", "car", "foot"]
    scores = {row["id"]: row["by_class"] for row in project.rows("visit_scores").collect()}
    for place, row in enumerate(served.to_dict("records")):
        assert row == scores[place]


def test_whole_numbers_are_classes_where_the_workload_says_so(project: Project, capsys) -> None:
    rows = visits(0, 400).dropna()
    rows["stars"] = rows["came_by"].map({"foot": 2, "bus": 10, "car": 3})
    project.land(rows, "first")
    label = {"expression": "stars", "task": "multiclass"}
    write(project, label=label, predictions={"table": "stars", "class_column": "stars_said"})
    assert project.run("train", "churn", "--json") == 0
    project.result(capsys.readouterr().out)
    assert project.run("score", "churn") == 0
    said = project.rows("stars").select("stars_said").distinct().collect()
    assert {row["stars_said"] for row in said} == {"2", "3", "10"}


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("IF(spend > 60, 'much', 'little')", "has 'little' and 'much': which of them is class 1"),
        ({"expression": "came_by", "task": "regression"}, "is string, expected boolean or number"),
        ({"expression": "spend", "task": "multiclass"}, "expected string or whole number"),
        ({"expression": "id", "task": "multiclass"}, "more than 256 values"),
    ],
)
def test_a_label_that_has_no_classes_is_refused(project: Project, capsys, label, message) -> None:
    project.land(visits(0, 300), "first")
    write(project, label=label, features=["age", "plan"])
    assert project.run("train", "churn") == 1
    assert message in capsys.readouterr().err


def test_probabilities_of_a_model_without_classes_are_refused(trained: Project, capsys) -> None:
    trained.write_workload(predictions={"table": "other", "probabilities": "by_class"})
    assert trained.run("score", "churn") in (1, 2)
    message = capsys.readouterr().err
    assert "names no classes" in message
    assert "remove that line" in message


def test_a_candidate_that_knows_no_classes_is_refused_by_name(project: Project, capsys) -> None:
    project.land(visits(0, 300), "first")
    write(project, candidates=["lightgbm", "logistic_regression"])
    assert project.run("train", "churn") != 0
    message = capsys.readouterr().err
    assert "logistic_regression does not fit a multiclass label" in message
    assert "deep_tabular, lightgbm, prior" in message
