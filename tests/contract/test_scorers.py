"""What every scorer keeps. No Spark: scorers are made from data."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from lakescore.errors import ModelBroken
from lakescore.matrix import Task
from lakescore.models import load_scorer, save_scorer
from lakescore.models.base import Scorer
from lakescore.models.lightgbm.scorer import LightGBMScorer
from lakescore.models.mllib.forest_scorer import ForestScorer, Trees
from lakescore.models.mllib.kmeans_scorer import KMeansScorer
from lakescore.models.mllib.linear_scorer import linear_scorer
from lakescore.models.prior import PriorScorer
from lakescore.models.storage import _SCORERS
from tests.contract.encoded_data import CLASSES, SCHEMA, tiny_labels, tiny_matrix

#: With one number a row.
ONE_NUMBER = (Task.BINARY, Task.REGRESSION)


def prior() -> Scorer:
    return PriorScorer(SCHEMA.names, 0.1 + 0.2)


def prior_of_classes() -> Scorer:
    return PriorScorer(SCHEMA.names, (0.1 + 0.2, 0.5, 0.2))


def linear(task: Task) -> Scorer:
    weights = np.random.default_rng(5).normal(size=sum(c.levels or 1 for c in SCHEMA.columns))
    return linear_scorer(SCHEMA, task, -0.3, weights)


def forest(task: Task) -> Scorer:
    """Two trees: one splits speed then city, the other is a single leaf."""
    shares = np.array([[0, 0], [0, 0], [0.1, 0.9], [1 / 3, 2 / 3], [0.8, 0.2], [0.5, 0.5]])
    trees = Trees(
        roots=np.array([0, 5], dtype=np.int32),
        feature=np.array([0, 1, 0, 0, 0, 0], dtype=np.int32),
        threshold=np.array([0.25, np.nan, np.nan, np.nan, np.nan, np.nan]),
        left=np.array([1, 2, 2, 3, 4, 5], dtype=np.int32),
        right=np.array([4, 3, 2, 3, 4, 5], dtype=np.int32),
        values=shares if task is Task.BINARY else shares[:, 1:],
        category_start=np.array([-1, 0, -1, -1, -1, -1], dtype=np.int32),
        category_left=np.array([False, True, False, False, True]),
    )
    levels = tuple(column.levels for column in SCHEMA.columns)
    return ForestScorer(SCHEMA.names, task, levels, (0.1, 0.0, 5.0, 0.0), trees)


def boosted(task: Task) -> Scorer:
    """The same trees, summed; numbers as they are, so that a missing one goes right."""
    one = forest(Task.REGRESSION)
    return replace(one, task=task, combine="sum", replacements=(None, 0.0, 5.0, None))


def kmeans() -> Scorer:
    centres = np.random.default_rng(6).normal(size=(3, len(SCHEMA.names)))
    return KMeansScorer(SCHEMA.names, tuple(map(tuple, centres.tolist())))


def lightgbm(task: Task) -> Scorer:
    import lightgbm

    matrix = tiny_matrix()
    rows = lightgbm.Dataset(matrix, tiny_labels(matrix, task), categorical_feature=[1, 3])
    options = {"objective": task.value, "num_leaves": 7, "verbosity": -1, "num_threads": 1}
    if task is Task.MULTICLASS:
        options["num_class"] = CLASSES
    model = lightgbm.train(options, rows, num_boost_round=5)
    return LightGBMScorer(SCHEMA.names, model.model_to_string())


MAKERS: dict[str, Callable[[], Scorer]] = {
    "prior": prior,
    "prior multiclass": prior_of_classes,
    **{f"linear {task.value}": (lambda task=task: linear(task)) for task in ONE_NUMBER},
    **{f"forest {task.value}": (lambda task=task: forest(task)) for task in ONE_NUMBER},
    **{f"forest, boosted, {task.value}": (lambda task=task: boosted(task)) for task in ONE_NUMBER},
    "kmeans": kmeans,
    **{f"lightgbm {task.value}": (lambda task=task: lightgbm(task)) for task in Task},
}


@pytest.fixture(scope="module", params=MAKERS)
def scorer(request) -> Scorer:
    return MAKERS[request.param]()


def test_every_kind_is_in_this_suite():
    nets = {"onnx"}  # tests/deep, where onnxruntime is
    assert {name.split(" ")[0].rstrip(",") for name in MAKERS} == set(_SCORERS) - nets


def test_one_double_a_row_or_one_a_class(scorer):
    scores = scorer.predict(tiny_matrix())

    assert scores.shape == (len(tiny_matrix()), *([scorer.classes] if scorer.classes else []))
    assert scores.dtype == np.float64
    assert np.isfinite(scores).all()


def test_a_row_scores_the_same_alone_and_among_others(scorer):
    matrix = tiny_matrix(rows=2100)
    together = scorer.predict(matrix)
    alone = np.concatenate([scorer.predict(matrix[i : i + 1]) for i in range(0, 2100, 7)])

    assert np.array_equal(alone, together[::7])
    assert np.array_equal(scorer.predict(matrix[1000:1999]), together[1000:1999])


def test_the_memory_layout_does_not_matter(scorer):
    matrix = tiny_matrix()

    assert np.array_equal(scorer.predict(np.asfortranarray(matrix)), scorer.predict(matrix))


def test_the_matrix_is_left_as_it_was(scorer):
    matrix = tiny_matrix()
    scorer.predict(matrix)

    assert np.array_equal(matrix, tiny_matrix(), equal_nan=True)


def test_a_row_of_missing_values_has_a_score(scorer):
    missing = np.array([[np.nan, 0.0, np.nan, 0.0]])

    assert np.isfinite(scorer.predict(missing)).all()


def test_no_rows_give_no_scores(scorer):
    scores = scorer.predict(np.empty((0, 4)))

    assert scores.shape == (0, *([scorer.classes] if scorer.classes else []))
    assert scores.dtype == np.float64


@pytest.mark.parametrize("shape", [(2, 3), (2, 5), (0, 3), (4,)])
def test_another_width_is_refused_with_both_widths(scorer, shape):
    with pytest.raises(ModelBroken, match="model takes 4 columns") as caught:
        scorer.predict(np.zeros(shape))

    assert " x ".join(map(str, shape)) in str(caught.value)
    assert "speed, city, load, route" in str(caught.value)


def test_saving_loading_and_pickling_keep_every_bit(scorer, tmp_path):
    save_scorer(scorer, tmp_path)
    expected = scorer.predict(tiny_matrix())

    assert np.array_equal(load_scorer(tmp_path).predict(tiny_matrix()), expected)
    assert np.array_equal(pickle.loads(pickle.dumps(scorer)).predict(tiny_matrix()), expected)


def test_saving_twice_gives_the_same_bytes(scorer, tmp_path):
    for name in "ab":
        save_scorer(scorer, tmp_path / name)

    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()


def test_loading_unpickles_nothing(scorer, tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a scorer was unpickled")

    save_scorer(scorer, tmp_path)
    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, refuse)

    assert load_scorer(tmp_path).columns == SCHEMA.names


def test_each_truncated_file_is_refused(scorer, tmp_path):
    save_scorer(scorer, tmp_path / "whole")
    for name in [file.name for file in (tmp_path / "whole").iterdir()]:
        folder = tmp_path / name.replace(".", "-")
        save_scorer(scorer, folder)
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])

        with pytest.raises(ModelBroken, match=name):
            load_scorer(folder)


def test_native_code_changes_no_bit(scorer, monkeypatch):
    native = scorer.predict(tiny_matrix())
    if isinstance(scorer, ForestScorer):
        assert scorer._ensemble is not None
    for name in ("_ensemble", "_compiled"):
        monkeypatch.setitem(vars(scorer), name, None)

    assert np.array_equal(scorer.predict(tiny_matrix()), native)


def test_the_layout_of_the_matrix_changes_no_bit(scorer):
    by_rows, by_columns = np.ascontiguousarray(tiny_matrix()), np.asfortranarray(tiny_matrix())

    assert np.array_equal(scorer.predict(by_rows), scorer.predict(by_columns))
