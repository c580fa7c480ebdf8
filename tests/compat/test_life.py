"""One workload's life on the oldest stack: every candidate, a point-in-time join, exactly once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from lakescore.models.lightgbm.booster import interpreted
from lakescore.models.lightgbm.scorer import LightGBMScorer
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


def test_single_process_lightgbm_is_trained_and_scored(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    project.write_workload(features=["age", "spend", "plan"])
    assert project.run("train", "churn", "--json") == 0
    capsys.readouterr()
    assert project.run("score", "churn", "--json") == 0
    assert project.result(capsys.readouterr().out)["counts"]["predicted"] == 300


def test_lightgbms_trees_are_scored_by_native_code_to_the_last_bit() -> None:
    import lightgbm

    rows = np.random.default_rng(0).normal(size=(500, 3))
    data = lightgbm.Dataset(rows, (rows[:, 0] > rows[:, 1]).astype(float))
    options = {"objective": "binary", "min_data_in_leaf": 5, "verbosity": -1}
    text = lightgbm.train(options, data, num_boost_round=9).model_to_string()
    scorer = LightGBMScorer(("a", "b", "c"), text)

    assert scorer._compiled is not None
    assert np.array_equal(scorer.predict(rows), interpreted(text, rows))
