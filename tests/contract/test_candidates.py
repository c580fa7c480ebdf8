"""What every candidate keeps, on tiny data, for every task."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
from pyspark.sql import functions as F

from lakescore.errors import OneClassLabel
from lakescore.matrix import LABEL, Split, Task
from lakescore.models import candidate, candidates, check_parameters, load_scorer, save_scorer
from lakescore.models.base import EncodedData, FittedModel
from lakescore.models.labels import check_labels
from tests.contract.encoded_data import SCHEMA, targets, tiny_data, tiny_labels, tiny_matrix

pytestmark = pytest.mark.spark

SEED = 3
_TREES = {"num_iterations": 12, "num_leaves": 7, "min_data_in_leaf": 10, "learning_rate": 0.2}
#: Candidate, parameters, and how far its scorer may be from its engine's own predictions.
VARIANTS = {
    "prior": ("prior", {}, 0.0),
    "lightgbm native": ("lightgbm", {"backend": "native", **_TREES}, 0.0),
    "lightgbm synapse": ("lightgbm", {"backend": "synapse", **_TREES}, 0.0),
    "logistic_regression": ("logistic_regression", {"max_iter": 15}, 1e-12),
    "linear_regression": ("linear_regression", {}, 1e-12),
    "random_forest": ("random_forest", {"num_trees": 4, "max_depth": 4}, 0.0),
}
CASES = [
    pytest.param((variant, task), id=f"{variant} {task.value}")
    for variant, (name, _, _) in VARIANTS.items()
    for task in sorted(candidate(name).tasks)
]


@dataclass(frozen=True)
class Case:
    """One candidate fitted once; the tests below share it."""

    variant: str
    data: EncodedData
    fitted: FittedModel

    @property
    def predictions(self) -> np.ndarray:
        return self.fitted.scorer.predict(tiny_matrix())


@pytest.fixture(scope="module")
def data_for(spark, tmp_path_factory) -> Callable[[Task], EncodedData]:
    made = {task: tiny_data(spark, tmp_path_factory.mktemp("rows"), task) for task in Task}
    return made.__getitem__


@pytest.fixture(scope="module", params=CASES)
def case(request, data_for) -> Case:
    variant, task = request.param
    return Case(variant, data_for(task), fit(variant, data_for(task)))


def fit(variant: str, data: EncodedData) -> FittedModel:
    name, raw, _ = VARIANTS[variant]
    return candidate(name).fit(data, check_parameters(name, raw), seed=SEED)


def test_every_candidate_is_in_this_suite():
    nets = {"deep_tabular"}  # tests/deep, where PyTorch is
    assert {name for name, _, _ in VARIANTS.values()} == set(candidates()) - nets


def test_scores_are_finite_doubles_one_a_row_or_one_a_class(case):
    scores = case.predictions

    assert case.fitted.scorer.columns == SCHEMA.names
    assert case.fitted.scorer.classes == case.data.classes
    assert scores.shape == (len(tiny_matrix()), *([case.data.classes] if case.data.classes else []))
    assert scores.dtype == np.float64
    assert np.isfinite(scores).all()
    if case.data.task is not Task.REGRESSION:
        assert ((scores >= 0) & (scores <= 1)).all()
    if case.data.task is Task.MULTICLASS:
        np.testing.assert_allclose(scores.sum(axis=1), 1.0, atol=1e-12)


def test_learns_more_than_the_prior(case):
    labels = targets(tiny_labels(tiny_matrix(), case.data.task), case.data.task)
    error = np.mean((case.predictions - labels) ** 2)
    prior_error = np.mean((labels[:600].mean(axis=0) - labels) ** 2)

    assert error == prior_error if case.variant == "prior" else error < 0.8 * prior_error


def test_saved_and_loaded_scores_are_the_same_doubles(case, tmp_path):
    save_scorer(case.fitted.scorer, tmp_path)
    loaded = load_scorer(tmp_path)

    assert np.array_equal(loaded.predict(tiny_matrix()), case.predictions)
    assert {path.suffix for path in tmp_path.iterdir()} <= {".json", ".txt", ".npz"}


def test_a_pickled_scorer_gives_the_same_doubles(case):
    copy = pickle.loads(pickle.dumps(case.fitted.scorer))

    assert np.array_equal(copy.predict(tiny_matrix()), case.predictions)


def test_importance_is_shares_of_known_columns(case):
    importance = case.fitted.importance

    assert set(importance) <= set(SCHEMA.names)
    assert importance == {} if case.variant == "prior" else max(importance.values()) > 0.2
    if importance:
        assert sum(importance.values()) == pytest.approx(1.0)
        assert all(isinstance(share, float) and share >= 0 for share in importance.values())


def test_details_and_backend_are_ready_for_a_report(case):
    name, raw, _ = VARIANTS[case.variant]
    announced = candidate(name).backend(check_parameters(name, raw), case.data.train.sparkSession)

    assert json.loads(json.dumps(case.fitted.details)) == case.fitted.details
    assert announced.name == case.fitted.backend
    assert announced.reason


def test_a_second_fit_with_the_seed_gives_the_same_doubles_and_the_engines_own(case):
    tolerance = VARIANTS[case.variant][2]
    rounds = case.fitted.details.get("rounds")
    engine_scores = ENGINES[case.variant](case.data, VARIANTS[case.variant][1], rounds)

    assert np.abs(engine_scores - case.predictions).max() <= tolerance


def test_a_label_with_one_value_is_refused_before_the_engine_runs(case, data_for):
    one_class = replace(case.data, train=case.data.train.withColumn(LABEL, F.lit(1.0)))

    with pytest.raises(OneClassLabel, match="the label is 1 in all 600 rows"):
        fit(case.variant, one_class)


# Each engine fitted anew, and its own predictions of the tiny matrix, past our scorers.


def _prior(data: EncodedData, raw: dict, rounds: int | None) -> np.ndarray:
    if data.task is Task.MULTICLASS:
        counted = data.train.groupBy(LABEL).count().orderBy(LABEL).collect()
        return np.tile([row["count"] / data.train_rows for row in counted], (len(tiny_matrix()), 1))
    (mean,) = data.train.agg(F.avg(LABEL)).first()
    return np.full(len(tiny_matrix()), mean)


def _linear(data: EncodedData, raw: dict, rounds: int | None) -> np.ndarray:
    from lakescore.models.mllib.linear import feature_vectors

    name = "logistic_regression" if data.task is Task.BINARY else "linear_regression"
    engine = candidate(name).estimator(check_parameters(name, raw))
    model = engine.fit(feature_vectors(data.train, data.schema))
    return _transformed(model, feature_vectors(_all_rows(data), data.schema), data.task)


def _forest(data: EncodedData, raw: dict, rounds: int | None) -> np.ndarray:
    from lakescore.models.mllib.forest import estimator, feature_vectors

    engine = estimator(data, check_parameters("random_forest", raw), SEED)
    model = engine.fit(feature_vectors(data.train, data.schema))
    return _transformed(model, feature_vectors(_all_rows(data), data.schema), data.task)


def _synapse(data: EncodedData, raw: dict, rounds: int | None) -> np.ndarray:
    from lakescore.models.lightgbm.synapse import estimator, feature_vector, training_rows

    parameters = check_parameters("lightgbm", {**raw, "num_iterations": rounds})
    labels = check_labels(data.train, data.validation, data.task, data.classes)
    rows = training_rows(data, labels, stop_after=0, workers=1)
    model = estimator(data, parameters, SEED, stop_after=0, workers=1).fit(rows)
    return _transformed(model, _all_rows(data).select(feature_vector(data.schema)), data.task)


def _native(data: EncodedData, raw: dict, rounds: int | None) -> np.ndarray:
    import lightgbm

    from lakescore.models.lightgbm.native import read_matrix, training_options

    parameters = check_parameters("lightgbm", raw)
    matrix, labels = read_matrix(data, Split.TRAIN)
    rows = lightgbm.Dataset(matrix, labels, categorical_feature=[1, 3], params={"verbosity": -1})
    options = training_options(data, parameters, SEED)
    model = lightgbm.train(options, rows, num_boost_round=parameters.num_iterations)
    return model.predict(tiny_matrix(), num_iteration=rounds)


def _all_rows(data: EncodedData):
    return data.train.unionByName(data.validation).coalesce(1)


def _transformed(model, rows, task: Task) -> np.ndarray:
    """The engine's predictions, in the order of `tiny_matrix`."""
    if task is Task.REGRESSION:
        return np.array([row[0] for row in model.transform(rows).select("prediction").collect()])
    found = np.array([row[0] for row in model.transform(rows).select("probability").collect()])
    return found if task is Task.MULTICLASS else found[:, 1]


ENGINES: dict[str, Callable[[EncodedData, dict, int | None], np.ndarray]] = {
    "prior": _prior,
    "lightgbm native": _native,
    "lightgbm synapse": _synapse,
    "logistic_regression": _linear,
    "linear_regression": _linear,
    "random_forest": _forest,
}
