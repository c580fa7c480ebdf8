"""Trees by native code: equal to the last bit to LightGBM's and MLlib's own, or not used."""

from __future__ import annotations

import logging
import math
import pickle
import re
from dataclasses import replace

import lightgbm
import numpy as np
import pytest

from lakescore.models.lightgbm.booster import interpreted
from lakescore.models.lightgbm.compiled import compiled
from lakescore.models.lightgbm.edge_rows import edge_rows
from lakescore.models.lightgbm.scorer import LightGBMScorer
from lakescore.models.lightgbm.text import read_model_text
from lakescore.models.trees.ensemble import Ensemble, exponentials
from lakescore.models.trees.tree import Missing, Tree

ROWS = 4_000


def rows_of(codes: int, hole: float = np.nan, seed: int = 0) -> np.ndarray:
    """Five columns of numbers and one of codes; one value in twenty is a hole."""
    random = np.random.default_rng(seed)
    rows = random.normal(size=(ROWS, 6))
    rows[:, 5] = random.integers(0, codes, ROWS)
    rows[random.random(rows.shape) < 0.05] = hole
    return rows


def model_text(objective="binary", trees=12, codes=40, hole=np.nan, **options) -> str:
    rows = rows_of(codes, hole)
    value = np.nan_to_num(rows[:, 0]) + (np.nan_to_num(rows[:, 5]) % 3 == 0) + 0.3 * rows[:, 1]
    value = np.nan_to_num(value)
    if objective in ("binary", "cross_entropy", "cross_entropy_lambda"):
        value = (value > 0.5).astype(float)
    elif "num_class" in options:
        value = np.digitize(value, np.linspace(-1, 1, options["num_class"] - 1))
    elif objective in ("poisson", "gamma", "tweedie"):
        value = np.exp(value)
    parameters = {
        "objective": objective, "num_leaves": 31, "min_data_in_leaf": 2, "min_data_per_group": 2,
        "cat_smooth": 1, "max_cat_to_onehot": 2, "verbosity": -1, "num_threads": 2, "seed": 3,
    } | options  # fmt: skip
    data = lightgbm.Dataset(rows, value, categorical_feature=[5])
    return lightgbm.train(parameters, data, num_boost_round=trees).model_to_string()


MODELS = {
    "two classes": {},
    "a steeper sigmoid": {"sigmoid": 2.0},
    "a sigmoid that LightGBM reads inexactly": {"sigmoid": 1.14},
    "three classes": {"objective": "multiclass", "num_class": 3},
    "one against all": {"objective": "multiclassova", "num_class": 3},
    "zeros are missing": {"zero_as_missing": True, "hole": 0.0},
    "nothing is missing": {"use_missing": False},
    "more codes than a byte holds": {"codes": 700, "max_cat_threshold": 300},
    "more thresholds than a byte holds": {"max_bin": 3_000, "trees": 60, "objective": "regression"},
    "more leaves than a byte holds": {"num_leaves": 1_500, "trees": 3, "objective": "regression"},
    "large trees of classes": {"num_leaves": 600, "objective": "multiclass", "num_class": 3},
    "a value": {"objective": "regression"},
    "a median": {"objective": "regression_l1"},
    "a quantile": {"objective": "quantile", "alpha": 0.3},
    "counts": {"objective": "poisson"},
    "sizes": {"objective": "gamma"},
    "claims": {"objective": "tweedie"},
    "shares": {"objective": "cross_entropy"},
    "an average": {"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.5},
    "dropped trees": {"boosting": "dart"},
    "one split": {"num_leaves": 2, "trees": 1},
    "no split": {"min_data_in_leaf": 10 * ROWS, "trees": 2},
}


@pytest.mark.parametrize("name", MODELS)
def test_lightgbms_own_predictions_to_the_last_bit(name):
    text = model_text(**MODELS[name])
    model = read_model_text(text, "")
    native = compiled(model)
    assert native is not None
    codes = MODELS[name].get("codes", 40)
    rows = np.concatenate([edge_rows(model), rows_of(codes), rows_of(codes, hole=0.0, seed=9)])

    expected = interpreted(text, rows)

    assert np.array_equal(native.predict(rows), expected)
    assert np.array_equal(native.predict(np.asfortranarray(rows)), expected)
    for few in (1, 63, 64, 65):
        assert np.array_equal(native.predict(rows[:few]), expected[:few])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"objective": "regression", "linear_tree": True}, "its leaves hold linear functions"),
        ({"objective": "cross_entropy_lambda"}, "its objective is cross_entropy_lambda"),
        ({"objective": "regression", "reg_sqrt": True}, "its objective is regression sqrt"),
    ],
)
def test_what_native_code_does_not_score_lightgbm_does(options, words, caplog):
    text = model_text(**options, trees=3)
    scorer = LightGBMScorer(tuple("abcdef"), text)
    rows = rows_of(40)

    with caplog.at_level(logging.WARNING):
        scores = scorer.predict(rows)

    assert np.array_equal(scores, interpreted(text, rows))
    assert words in caplog.text


@pytest.mark.parametrize("name", ["two classes", "three classes"])
def test_a_model_that_native_code_scores_otherwise_is_lightgbms(
    name, monkeypatch, caplog, tmp_path
):
    text = model_text(**MODELS[name], trees=3)
    assert LightGBMScorer.tried(tuple("abcdef"), text).native
    sums = Ensemble.sums
    monkeypatch.setattr(Ensemble, "sums", lambda self, matrix: np.nextafter(sums(self, matrix), 9))

    with caplog.at_level(logging.WARNING):
        scorer = LightGBMScorer.tried(tuple("abcdef"), text)
    scorer.save(tmp_path)

    assert re.search(r"native code differs in \d+ of 1024 test rows", caplog.text)
    for one in (scorer, pickle.loads(pickle.dumps(scorer)), LightGBMScorer.load(tmp_path)):
        assert np.array_equal(one.predict(rows_of(40)), interpreted(text, rows_of(40)))


@pytest.mark.parametrize("sigmoid", ["1e-1", "-1", "0", "+2", "", "nan"])
def test_a_sigmoid_that_is_no_plain_decimal_is_lightgbms(sigmoid):
    text = model_text(trees=2).replace("sigmoid:1", f"sigmoid:{sigmoid}")

    assert compiled(read_model_text(text, "")) is None


def test_without_llvmlite_lightgbm_scores(monkeypatch):
    text = model_text(trees=3)
    monkeypatch.setattr("lakescore.models.trees.ensemble.kernel", lambda: None)
    scorer = LightGBMScorer(tuple("abcdef"), text)

    assert np.array_equal(scorer.predict(rows_of(40)), interpreted(text, rows_of(40)))
    assert scorer._compiled is None


def test_a_scorer_travels_without_its_native_code():
    scorer = LightGBMScorer(tuple("abcdef"), model_text(trees=3))
    scores = scorer.predict(rows_of(40))

    sent = pickle.loads(pickle.dumps(scorer))

    assert "_compiled" not in vars(sent)
    assert np.array_equal(sent.predict(rows_of(40)), scores)


def tree(left, right, values, *, threshold=0.0) -> Tree:
    splits = len(left)
    return Tree(
        feature=np.zeros(splits, np.int32),
        threshold=np.full(splits, threshold),
        missing=np.full(splits, Missing.NAN, np.uint8),
        default_left=np.zeros(splits, np.bool_),
        left=np.array(left, np.int32),
        right=np.array(right, np.int32),
        values=np.array(values, np.float64),
    )


def test_leaves_of_several_values_add_to_each_output():
    ensemble = Ensemble.of([tree([-1], [-2], [[1, 2], [10, 20]])] * 3, 2)

    sums = ensemble.sums(np.array([[-1.0], [1.0], [np.nan]]))

    assert sums.tolist() == [[3, 30, 30], [6, 60, 60]]


def test_a_matrix_that_lacks_a_column_is_refused():
    ensemble = Ensemble.of([tree([-1], [-2], [[1], [2]])])

    with pytest.raises(ValueError, match=r"trees of 1 columns get a matrix of \(3, 0\)"):
        ensemble.sums(np.zeros((3, 0)))


def test_any_matrix_of_numbers_is_read():
    ensemble = Ensemble.of([tree([-1], [-2], [[1], [2]])])
    records = np.array([(0, -1.0), (0, 1.0)], np.dtype([("other", "i4"), ("value", "f8")]))

    assert ensemble.sums(np.array([[-1], [1]])).tolist() == [[1, 2]]
    assert ensemble.sums(records["value"][:, None]).tolist() == [[1, 2]]
    assert ensemble.sums(np.array([[9.0, 1.0], [9.0, -1.0]])[::-1, ::-1]).tolist() == [[1, 2]]
    assert Ensemble.of([]).sums(np.zeros((2, 1))).tolist() == [[0, 0]]
    assert ensemble.sums(np.zeros((0, 1))).tolist() == [[]]


def test_a_column_below_zero_is_refused():
    below = replace(tree([-1], [-2], [[1], [2]]), feature=np.array([-1], np.int32))

    with pytest.raises(ValueError, match="a column below 0"):
        Ensemble.of([below])


def test_a_tiny_number_is_zero_for_lightgbm_alone():
    below = tree([-1], [-2], [[1], [2]], threshold=-1e-36)
    rows = np.array([[-1e-36], [-1e-34]])

    assert Ensemble.of([below]).sums(rows).tolist() == [[1, 1]]
    assert Ensemble.of([below], tiny_is_zero=True).sums(rows).tolist() == [[2, 1]]


@pytest.mark.parametrize(
    ("left", "right"), [([-1, 1], [-2, -3]), ([1, 0], [-1, -2]), ([1, 1], [-1, -2])]
)
def test_splits_that_form_no_tree_are_refused(left, right):
    with pytest.raises(ValueError, match="the splits of a tree"):
        Ensemble.of([tree(left, right, [[1], [2], [3]])])


def test_powers_are_the_c_librarys():
    values = np.concatenate([np.linspace(-800, 709, 5_000), [-np.inf, 0.0]])

    assert exponentials(values).tolist() == [math.exp(value) for value in values]
