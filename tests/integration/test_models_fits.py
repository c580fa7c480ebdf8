"""What a fit refuses, and what it does about its engines' traps."""

from __future__ import annotations

from dataclasses import replace

import lightgbm
import numpy as np
import pytest
from pyspark.sql import functions as F
from sklearn.metrics import average_precision_score

from lakescore.errors import EmptyTable, TrainingFailed, TypeMismatch, UsageError
from lakescore.matrix import LABEL, MatrixColumn, MatrixSchema, Split, Task
from lakescore.models import candidate, check_parameters
from lakescore.models.base import EncodedData
from lakescore.models.lightgbm import backend, native, synapse
from lakescore.models.lightgbm.backend import choose_backend
from tests.contract.encoded_data import SCHEMA, VALIDATION_ROWS, tiny_data, tiny_matrix

pytestmark = pytest.mark.spark


@pytest.fixture(scope="module")
def data(spark, tmp_path_factory) -> EncodedData:
    return tiny_data(spark, tmp_path_factory.mktemp("rows"), Task.BINARY)


def with_label(data: EncodedData, label) -> EncodedData:
    return replace(data, train=data.train.withColumn(LABEL, label))


def fit(data: EncodedData, name: str = "prior", **raw):
    return candidate(name).fit(data, check_parameters(name, raw), seed=1)


def test_labels_that_are_no_numbers_are_counted(data):
    broken = F.when(F.col("city") == 1, F.lit(float("nan"))).otherwise(F.col(LABEL))
    (count,) = data.train.where("city = 1").agg(F.count("*")).first()

    with pytest.raises(TypeMismatch, match=f"{count} labels are null, NaN or infinite") as caught:
        fit(with_label(data, broken))
    assert caught.value.where == "split train"


def test_null_labels_are_refused(data):
    with pytest.raises(TypeMismatch, match="600 labels are null"):
        fit(with_label(data, F.lit(None).cast("double")))


def test_a_binary_label_other_than_0_and_1_is_refused(data):
    with pytest.raises(TypeMismatch, match="neither 0 nor 1"):
        fit(with_label(data, F.col(LABEL) + 1))


def test_no_rows_to_train_on_are_refused(data):
    with pytest.raises(EmptyTable, match="no rows to train on"):
        fit(replace(data, train=data.train.where("false")))


def test_a_candidate_for_another_task_is_refused(data):
    with pytest.raises(UsageError, match="linear_regression does not fit a binary label"):
        fit(data, "linear_regression")


def test_an_engine_that_fails_is_told_in_its_words(data):
    """A code that the schema does not know makes MLlib's forest fail in a task."""
    beyond = replace(data, train=data.train.withColumn("city", F.lit(9.0)))

    with pytest.raises(TrainingFailed, match=r"random_forest did not fit: .*Exception"):
        fit(beyond, "random_forest", num_trees=1, max_depth=2)


@pytest.mark.parametrize("name", ["native", "synapse"])
@pytest.mark.parametrize("patience", [5, 40], ids=["stopped early", "not stopped"])
def test_the_best_round_is_kept(data, name, patience):
    """Labels so noisy that a few rounds are best; found again by a search by hand."""
    flip = F.pmod(F.xxhash64("load"), F.lit(10)) < 3
    noisy = F.when(flip, 1 - F.col(LABEL)).otherwise(F.col(LABEL))
    data = replace(with_label(data, noisy), validation=data.validation.withColumn(LABEL, noisy))
    quick = {"learning_rate": 0.5, "num_leaves": 15, "min_data_in_leaf": 5, "backend": name}
    full = fit(data, "lightgbm", num_iterations=40, early_stopping_rounds=0, **quick)
    kept = fit(data, "lightgbm", num_iterations=40, early_stopping_rounds=patience, **quick)
    every_round = lightgbm.Booster(model_str=full.scorer.model_text)
    matrix, labels = native.read_matrix(data, Split.VALIDATION)
    precision = [
        average_precision_score(labels, every_round.predict(matrix, num_iteration=rounds))
        for rounds in range(1, 41)
    ]
    best = kept.details["rounds"]

    assert full.details["rounds"] == 40
    assert best == int(np.argmax(precision)) + 1 < 40
    assert np.array_equal(
        kept.scorer.predict(matrix), every_round.predict(matrix, num_iteration=best)
    )


@pytest.mark.parametrize("name", ["native", "synapse"])
def test_validation_rows_of_one_class_do_not_stop_training(data, name):
    one_class = replace(data, validation=data.validation.where(f"{LABEL} = 1"))
    fitted = fit(one_class, "lightgbm", num_iterations=9, early_stopping_rounds=2, backend=name)

    assert fitted.details["rounds"] == 9


def test_the_ways_to_read_a_matrix_agree(data, tmp_path):
    columns = data.train.select(*SCHEMA.names, LABEL)
    columns.withColumn("other", F.lit(1)).write.parquet(f"{tmp_path}/rows")
    files = tuple(sorted(map(str, (tmp_path / "rows").glob("part-*.parquet"))))
    stored = replace(data, train=None, files={Split.TRAIN: files})
    for matrix, labels in (
        native._through_parquet(columns),
        native._through_driver(columns),
        native.read_matrix(stored, Split.TRAIN),
    ):
        assert np.array_equal(matrix, tiny_matrix()[:-VALIDATION_ROWS], equal_nan=True)
        assert labels.tolist() == [row[0] for row in data.train.select(LABEL).collect()]


def test_a_matrix_that_fits_one_process_is_trained_there(spark, data):
    cells = 2**27  # of 8 bytes: 1 GiB
    told = choose_backend("auto", spark, cells=cells, native_gib=4)
    assert told == backend.Backend(
        "native", "a matrix of 1 GiB, and one process takes up to 4 GiB (native_gib)"
    )
    assert choose_backend("auto", spark, cells=cells, native_gib=0.5).name == "synapse"
    assert choose_backend("synapse", spark, cells=cells, native_gib=4).name == "synapse"
    quick = {"num_iterations": 2, "num_leaves": 4}
    assert fit(data, "lightgbm", **quick).backend == "native"
    assert fit(data, "lightgbm", native_gib=0, **quick).backend == "synapse"


def test_early_stopping_rows_are_bounded_and_the_same_each_time(data, monkeypatch):
    monkeypatch.setattr(synapse, "_VALIDATION_ROWS", 100)
    first, second = (
        synapse._at_most(data.validation, VALIDATION_ROWS, data.schema).select("load").collect()
        for _ in "ab"
    )

    assert first == second
    assert 60 < len(first) < 140


def test_synapse_loads_in_a_session_that_has_its_jars(spark):
    assert choose_backend("auto", spark) == backend.Backend("synapse", "SynapseML can load")


class _Cluster:
    """What `worker_count` reads of a session."""

    def __init__(self, master: str, dynamic: str = "false") -> None:
        self.sparkContext = self
        self.master = master
        self.defaultParallelism = 8
        self._dynamic = dynamic

    def getConf(self) -> dict[str, str]:
        return {"spark.dynamicAllocation.enabled": self._dynamic}


@pytest.mark.parametrize(
    ("cluster", "levels", "rows", "workers"),
    [
        (_Cluster("local[4]"), 3, 10**6, 1),
        (_Cluster("yarn"), 56, 10**6, 8),
        (_Cluster("yarn"), 57, 10**6, 1),
        (_Cluster("yarn"), 3, 35_000, 3),
        (_Cluster("yarn"), 3, 100, 1),
        (_Cluster("spark://host:7077", dynamic="true"), 3, 10**6, 1),
        (_Cluster("local-cluster[2,1,1024]"), 3, 10**6, 8),
    ],
)
def test_workers_are_as_many_as_the_engine_survives(cluster, levels, rows, workers):
    schema = MatrixSchema((MatrixColumn("x"), MatrixColumn("city", levels=levels)))

    assert synapse.worker_count(cluster, schema, rows)[0] == workers
