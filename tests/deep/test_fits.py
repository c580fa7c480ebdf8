"""A net by each backend: it learns, it is the same by both distributed ones, it is exported."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
from pyspark.sql import functions as F

from lakescore.errors import EnvironmentProblem, MissingExtra, ModelBroken, UsageError
from lakescore.matrix import LABEL, Task
from lakescore.models import load_scorer, save_scorer
from lakescore.models.base import EncodedData, FittedModel
from lakescore.models.deep.export import TOLERANCE
from lakescore.models.deep.scorer import OnnxScorer
from tests.contract.encoded_data import SCHEMA, targets, tiny_labels, tiny_matrix
from tests.deep.conftest import BACKENDS, fit

pytestmark = pytest.mark.spark


@dataclass(frozen=True)
class Case:
    backend: str
    data: EncodedData
    fitted: FittedModel

    @property
    def predictions(self) -> np.ndarray:
        return self.fitted.scorer.predict(tiny_matrix())


@pytest.fixture(scope="module", params=[(b, t) for b in BACKENDS for t in Task], ids=str)
def case(request, data_for) -> Case:
    backend, task = request.param
    return Case(backend, data_for(task), fit(data_for(task), backend))


def test_it_learns_more_than_the_prior(case):
    labels = targets(tiny_labels(tiny_matrix(), case.data.task), case.data.task)
    held_out = slice(600, None)
    error = np.mean((case.predictions - labels)[held_out] ** 2)
    prior_error = np.mean((labels[:600].mean(axis=0) - labels[held_out]) ** 2)

    assert error < 0.8 * prior_error
    if case.data.task is not Task.REGRESSION:
        assert ((case.predictions >= 0) & (case.predictions <= 1)).all()
    if case.data.task is Task.MULTICLASS:
        np.testing.assert_allclose(case.predictions.sum(axis=1), 1.0, atol=1e-12)


def test_it_says_how_it_was_trained(case):
    details = case.fitted.details

    assert case.fitted.backend == case.backend
    assert details["ranks"] == (1 if case.backend == "single" else 2)
    losses = case.fitted.curves["validation_loss"]
    assert len(losses) == details["epochs"] <= 12
    assert losses.index(min(losses)) + 1 == details["best_epoch"]
    assert details["largest_difference_to_onnx"] <= TOLERANCE


def test_saved_loaded_and_pickled_scores_are_the_same_doubles(case, tmp_path):
    save_scorer(case.fitted.scorer, tmp_path)
    expected = case.predictions

    assert np.array_equal(load_scorer(tmp_path).predict(tiny_matrix()), expected)
    assert np.array_equal(
        pickle.loads(pickle.dumps(case.fitted.scorer)).predict(tiny_matrix()), expected
    )
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".onnx"}


def test_no_rows_give_no_scores_of_the_right_shape(case):
    scorer, none = case.fitted.scorer, np.empty((0, len(SCHEMA.names)))
    wide = (case.data.classes,) if case.data.classes else ()

    assert scorer.predict(none).shape == scorer.predict_with_quantiles(none).shape == (0, *wide)


@pytest.mark.parametrize("rows", [1, 2, 100, 899])
def test_a_score_does_not_depend_on_the_rows_beside_it(case, rows):
    assert np.array_equal(case.fitted.scorer.predict(tiny_matrix()[:rows]), case.predictions[:rows])


@pytest.mark.parametrize("task", Task)
def test_both_distributed_backends_end_with_the_same_parameters(
    data_for: Callable[[Task], EncodedData], task: Task
):
    """Uneven shares, three epochs and more, dropout on."""
    data = data_for(task)
    fewer = np.sort(tiny_matrix()[:600, 2])[3]
    uneven = replace(data, train=data.train.where(F.col("load") >= fewer), train_rows=597)
    one, other = (
        fit(uneven, backend, epochs=4, dropout=0.3).scorer
        for backend in ("torch_distributor", "horovod")
    )

    assert np.array_equal(one.predict(tiny_matrix()), other.predict(tiny_matrix()))


def test_quantiles_stand_beside_the_prediction_in_their_order(data_for, tmp_path):
    """Learned together with it; nine labels of ten lie below the quantile 0.9."""
    data = data_for(Task.REGRESSION)
    scorer = fit(data, "single", quantiles=[0.9, 0.1], epochs=30).scorer
    matrix, labels = tiny_matrix(), tiny_labels(tiny_matrix(), Task.REGRESSION)
    both = scorer.predict_with_quantiles(matrix)

    assert scorer.quantiles == (0.1, 0.9)
    assert both.shape == (len(matrix), 3)
    assert np.array_equal(both[:, 0], scorer.predict(matrix))
    assert (both[:, 1] <= both[:, 2]).all()
    below = [(labels[600:] <= both[600:, place]).mean() for place in (1, 2)]
    assert below == pytest.approx([0.1, 0.9], abs=0.08)
    save_scorer(scorer, tmp_path)
    assert np.array_equal(load_scorer(tmp_path).predict_with_quantiles(matrix), both)
    assert scorer.predict_with_quantiles(np.empty((0, 4))).shape == (0, 3)


def test_quantiles_of_a_label_with_classes_are_refused(data_for):
    with pytest.raises(UsageError, match="this one is binary"):
        fit(data_for(Task.BINARY), "single", quantiles=[0.5])


def test_a_second_fit_with_the_seed_gives_the_same_doubles(data_for):
    one, other = (fit(data_for(Task.BINARY), "single", epochs=3).scorer for _ in range(2))

    assert np.array_equal(one.predict(tiny_matrix()), other.predict(tiny_matrix()))


def test_ranks_without_rows_of_their_own_train_along(data_for):
    """Three rows over two ranks, one of them with a single row; a validation split of one row."""
    data = data_for(Task.REGRESSION)
    loads = tiny_matrix()[:, 2]
    few = replace(
        data,
        train=data.train.where(F.col("load") <= np.sort(loads[:600])[2]),
        train_rows=3,
        validation=data.validation.where(F.col("load") <= loads[600:].min()),
    )

    fitted = fit(few, "torch_distributor", epochs=2)

    assert np.isfinite(fitted.scorer.predict(tiny_matrix())).all()


def test_without_validation_rows_the_last_epoch_counts(data_for):
    data = data_for(Task.BINARY)
    fitted = fit(replace(data, validation=data.validation.where(F.lit(False))), "single", epochs=3)

    assert fitted.details["best_epoch"] == fitted.details["epochs"] == 3


def test_more_workers_than_slots_are_refused_before_anything_waits(data_for):
    with pytest.raises(EnvironmentProblem, match=r"3 workers are asked for.* has 2 slots"):
        fit(data_for(Task.BINARY), "torch_distributor", workers=3)


def test_a_broken_graph_is_refused(tmp_path):
    broken = OnnxScorer(SCHEMA.names, b"not a graph")

    with pytest.raises(ModelBroken, match="onnxruntime cannot read the model"):
        broken.predict(tiny_matrix())


@pytest.mark.parametrize("package", ["torch", "onnxruntime"])
def test_a_missing_package_names_the_extra(data_for, monkeypatch, package):
    from lakescore.models.deep import candidate

    has = candidate.find_spec
    monkeypatch.setattr(candidate, "find_spec", lambda name: None if name == package else has(name))

    with pytest.raises(MissingExtra, match=f"'{package}'.*\n.*pip install 'lakescore.deep.'"):
        fit(data_for(Task.BINARY), "single")


def test_a_loss_that_is_not_finite_names_its_batch(data_for):
    from lakescore.errors import TrainingFailed

    data = data_for(Task.REGRESSION)
    huge = F.when(F.col("load") > 9, F.lit(1e200)).otherwise(F.col(LABEL))
    broken = replace(data, train=data.train.withColumn(LABEL, huge))

    with pytest.raises(TrainingFailed, match=r"the loss is not finite in epoch 1, batch \d+ of 5"):
        fit(broken, "torch_distributor")
