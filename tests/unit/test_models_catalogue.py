"""Candidates and their parameters are checked without Spark and without any engine."""

from __future__ import annotations

import subprocess
import sys

import pytest

from lakescore.errors import ConfigError, ConfigErrors
from lakescore.matrix import Task
from lakescore.models import candidate, candidates, check_parameters, check_task


def test_names_are_those_of_the_candidates():
    assert {name: one.name for name, one in candidates().items()} == {
        name: name
        for name in (
            "deep_tabular",
            "lightgbm",
            "linear_regression",
            "logistic_regression",
            "prior",
            "random_forest",
        )
    }


def test_a_wrong_name_gets_the_closest_one():
    with pytest.raises(ConfigError, match="no candidate is called 'lightgmb'") as caught:
        candidate("lightgmb")

    assert "did you mean 'lightgbm'" in caught.value.hint
    assert caught.value.exit_code == 2


def test_defaults_are_filled_in():
    parameters = check_parameters("lightgbm", {"num_leaves": 31})

    assert (parameters.num_leaves, parameters.backend) == (31, "auto")


@pytest.mark.parametrize("name", list(candidates()))
def test_every_candidate_works_without_parameters(name):
    assert check_parameters(name, {}) == candidate(name).parameters_type()


@pytest.mark.parametrize(
    ("name", "raw", "where", "words"),
    [
        (
            "lightgbm",
            {"num_leafs": 3},
            "candidates.lightgbm.num_leafs",
            ["no parameter 'num_leafs'", "did you mean 'num_leaves'"],
        ),
        (
            "lightgbm",
            {"num_leaves": 1},
            "candidates.lightgbm.num_leaves",
            ["cannot be 1", "a whole number at least 2 and at most 131072", "default 63"],
        ),
        (
            "lightgbm",
            {"backend": "spark"},
            "candidates.lightgbm.backend",
            ["cannot be 'spark'", "one of auto, synapse, native"],
        ),
        (
            "lightgbm",
            {"learning_rate": float("nan")},
            "candidates.lightgbm.learning_rate",
            ["cannot be nan", "a number above 0 and at most 1"],
        ),
        (
            "random_forest",
            {"num_trees": "many"},
            "candidates.random_forest.num_trees",
            ["cannot be 'many'", "at least 1"],
        ),
        (
            "logistic_regression",
            {"tol": 0},
            "candidates.logistic_regression.tol",
            ["cannot be 0", "a number above 0 and below 1"],
        ),
        ("prior", {"x": 1}, "candidates.prior.x", ["no parameter 'x'", "known: none"]),
    ],
)
def test_a_wrong_parameter_is_named_with_what_it_may_be(name, raw, where, words):
    with pytest.raises(ConfigError) as caught:
        check_parameters(name, raw)

    assert caught.value.where == where
    for word in words:
        assert word in str(caught.value)


def test_all_wrong_parameters_are_listed_at_once():
    with pytest.raises(ConfigErrors) as caught:
        check_parameters("random_forest", {"num_trees": 0, "depth": 3})

    assert [problem.where for problem in caught.value.problems] == [
        "candidates.random_forest.num_trees",
        "candidates.random_forest.depth",
    ]


def test_a_candidate_for_another_task_is_refused_with_those_that_fit():
    check_task("logistic_regression", Task.BINARY)

    with pytest.raises(ConfigError, match="does not fit a regression label") as caught:
        check_task("logistic_regression", Task.REGRESSION)
    assert caught.value.hint == (
        "for regression: deep_tabular, lightgbm, linear_regression, prior, random_forest"
    )


def test_checking_parameters_imports_no_engine():
    program = (
        "import sys, lakescore.models as m; m.check_parameters('lightgbm', {}); m.candidates();"
        "heavy = {'pyspark', 'lightgbm', 'lleaves', 'llvmlite', 'synapse', 'pandas', 'mlflow',"
        "'torch', 'onnxruntime'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert answer.stdout.strip() == "[]"
