"""One workload's life on the oldest stack: every candidate, a point-in-time join, exactly once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from tests.churn import Project, customers, make_project

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from lakescore.config.settings import Settings


def contacts(count: int) -> pd.DataFrame:
    """Two contacts of each customer, one of them after the prediction time."""
    times = pd.to_datetime(["2024-01-01 06:00", "2024-01-01 18:00"])
    return pd.DataFrame(
        {
            "id": [row for row in range(count) for _ in times],
            "at": list(times) * count,
            "mood": [float(row % 5) for row in range(count) for _ in times],
        }
    )


@pytest.fixture
def project(tmp_path: Path, settings: Settings, spark: SparkSession) -> Project:
    made = make_project(tmp_path, settings, spark)
    made.land(customers(0, 300), "first")
    made.land(contacts(300), "contacts", "contacts")
    made.write_workload(
        source={
            "table": "customers",
            "key": "id",
            "prediction_time": "TIMESTAMP'2024-01-01 12:00:00'",
        },
        context={
            "contacts": {
                "table": "contacts",
                "on": "id",
                "known_at": "at",
                "lookback_window": "1 day",
                "latest": ["mood"],
                "aggregates": {"contacts_1d": {"count": "id", "over": "1 day"}},
            }
        },
        features=["age", "spend", "plan", "mood", "contacts_1d"],
        candidates=[
            {"lightgbm": {"backend": "synapse", "num_iterations": 8, "num_leaves": 7}},
            {"logistic_regression": {"max_iter": 10}},
            {"random_forest": {"num_trees": 3, "max_depth": 3}},
            "prior",
        ],
    )
    return made


def test_train_promote_and_score_each_row_once(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    assert project.run("train", "churn", "--json") == 0
    trained = project.result(capsys.readouterr().out)
    assert trained["status"] == "PROMOTED", trained["details"]

    assert project.run("score", "churn", "--json") == 0
    assert project.result(capsys.readouterr().out)["counts"]["predicted"] == 300
    assert project.run("score", "churn", "--json") == 0
    assert project.result(capsys.readouterr().out)["status"] == "NOTHING_TO_DO"

    project.land(customers(1000, 20), "second")
    assert project.run("score", "churn", "--json") == 0
    assert project.result(capsys.readouterr().out)["counts"]["predicted"] == 20
    scores = project.rows("churn_scores")
    assert scores.count() == scores.select("id").distinct().count() == 320
    assert scores.where("p_churn > 0 AND p_churn < 1").count() == 320


def test_single_process_lightgbm_is_compiled_and_scores_the_same(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    project.write_workload(features=["age", "spend", "plan"])
    assert project.run("train", "churn", "--json") == 0
    capsys.readouterr()
    assert project.run("score", "churn", "--set", "scoring.compile=always", "--json") == 0
    assert project.result(capsys.readouterr().out)["counts"]["predicted"] == 300
    compiled = {row.id: row.p_churn for row in project.rows("churn_scores").collect()}

    project.write_workload(
        features=["age", "spend", "plan"],
        predictions={"table": "interpreted", "column": "p_churn"},
    )
    assert project.run("score", "churn", "--set", "scoring.compile=never", "--json") == 0
    assert {row.id: row.p_churn for row in project.rows("interpreted").collect()} == compiled
