"""Scoring by batch, without Spark: layout, skipped rows, errors, and what a task may not use."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pytest

import lakescore.scoring
from lakescore.arrow_types import batch_from_columns, cast_columns
from lakescore.errors import ColumnMissing, ModelBroken, TypeMismatch
from lakescore.matrix import Answers
from lakescore.models.prior import PriorScorer
from lakescore.scoring.arrow import Layout, error_from_task, prediction_types, scored
from tests.scored_models import package


def test_error_of_a_task_is_found_in_what_spark_raises():
    raised = Exception(
        "An exception was thrown from the Python worker. Please see the stack trace below.\n"
        "Traceback (most recent call last):\n"
        '  File "arrow.py", line 1, in _finite\n'
        "lakescore.errors.ModelBroken: the prediction is nan for the row id=7\n"
        "  -> look at that row\n"
        "\n"
        "\tat org.apache.spark.api.python.BasePythonRunner(PythonRunner.scala:572)\n"
    )
    found = error_from_task(raised)
    assert type(found) is ModelBroken
    assert found.what == "the prediction is nan for the row id=7"
    assert found.hint == "look at that row"


@pytest.mark.parametrize("skipped", [(), (0, 3, 4), (0, 1, 2, 3, 4)])
def test_a_row_gets_its_most_probable_class_and_the_probability_of_each(skipped):
    """Skipped rows have nulls, wherever they stand."""
    model = Classes([[0.2, 0.5, 0.3], [0.4, 0.4, 0.2], [0.0, 0.0, 1.0]] * 2)
    refused = ["too old" if row in skipped else None for row in range(5)]
    batch = pa.RecordBatch.from_pydict({"id": list(range(5)), "refused": pa.array(refused, "str")})
    made = prediction_types("p", "said", "by_class", model.answers)
    names = {field.name: field.dataType.simpleString() for field in made}

    found = scored(batch, model, LAYOUT).to_pylist()

    assert names == {"p": "double", "said": "string", "by_class": "map<string,double>"}
    for row, one in enumerate(found):
        if row in skipped:
            assert one == {"id": row, "p": None, "said": None, "by_class": None}
            continue
        place = sum(other not in skipped for other in range(row))
        shares = model.rows[place]
        assert one["by_class"] == list(zip("abc", shares, strict=True))
        assert (one["p"], one["said"]) == (max(shares), "abc"[shares.index(max(shares))])


def test_a_class_without_a_finite_probability_names_its_row():
    model = Classes([[0.2, 0.8, 0.0], [0.5, math.nan, 0.5]])
    batch = pa.RecordBatch.from_pydict({"id": [7, 8], "refused": pa.array([None, None], "str")})

    with pytest.raises(ModelBroken, match=r"the prediction is .*nan.* for the row id=8 \(1 such"):
        scored(batch, model, LAYOUT)


@dataclass(frozen=True)
class Classes:
    """Gives the first of its rows, whatever the batch."""

    rows: list[list[float]]
    answers: ClassVar[Answers] = Answers(classes=("a", "b", "c"))

    def predict(self, batch: pa.RecordBatch) -> np.ndarray:
        return np.array(self.rows[: batch.num_rows])


LAYOUT = Layout(
    keep=("id",),
    key=("id",),
    column="p",
    class_column="said",
    threshold=0.5,
    probabilities="by_class",
    skip="refused",
    batch_rows=100,
)


def test_any_other_failure_of_a_task_is_left_alone():
    assert error_from_task(Exception("java.lang.OutOfMemoryError: heap")) is None
    assert error_from_task(Exception("lakescore.errors.os: no")) is None


def test_scoring_uses_no_jvm_objects_and_no_rdds():
    refused = re.compile(r"\._j\w+|sparkContext|SparkContext|\.rdd\b|\bsc\.")
    folder = Path(lakescore.scoring.__file__).parent
    registry = folder.parent / "registry"
    sources = [*folder.glob("*.py"), registry / "foreign_lightgbm.py"]
    sources += [registry / "pyfunc_process.py", registry / "pyfunc_child.py"]
    assert len(sources) >= 7
    found = {path.name: refused.findall(path.read_text()) for path in sources}
    assert {name: hits for name, hits in found.items() if hits} == {}


def test_scoring_does_not_import_mlflow_or_an_engine():
    import subprocess
    import sys

    code = (
        "import sys, lakescore.scoring.package, lakescore.scoring.arrow, lakescore.scoring.pyfunc,"
        "lakescore.registry.store, lakescore.registry.foreign, lakescore.registry.adopt\n"
        "print({'mlflow', 'lightgbm', 'llvmlite', 'pandas'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_rows_from_outside_spark_become_the_types_of_the_sql_stage():
    types = {"x": "double", "n": "bigint", "s": "string"}
    batch = batch_from_columns({"s": [None], "x": [math.nan], "n": [3], "other": [1]}, types)
    assert batch.schema.names == ["x", "n", "s"]
    assert batch.to_pydict() == {"x": [None], "n": [3], "s": [None]}


def test_rows_from_outside_spark_that_do_not_fit_are_named():
    with pytest.raises(ColumnMissing, match="the input lacks b"):
        batch_from_columns({"a": [1]}, {"a": "double", "b": "double"})
    with pytest.raises(TypeMismatch, match="column 'a'"):
        batch_from_columns({"a": ["x"]}, {"a": "double"})


def test_columns_are_cast_without_losing_a_value():
    batch = pa.RecordBatch.from_pydict({"n": [1, None], "b": [True, None], "s": ["1", "2"]})
    cast = cast_columns(batch, {"b": "double", "n": "double"})
    assert cast.to_pydict() == {"b": [1.0, None], "n": [1.0, None]}
    with pytest.raises(TypeMismatch, match="column 's'"):
        cast_columns(batch, {"s": "double"})
    too_large = pa.RecordBatch.from_pydict({"n": [2**53 + 1]})
    with pytest.raises(TypeMismatch, match="column 'n'"):
        cast_columns(too_large, {"n": "double"})


def test_wrong_columns_are_refused_by_the_package():
    model = package(PriorScorer(("carrier", "distance", "hour"), 0.5))
    with pytest.raises(ColumnMissing, match="_f_distance"):
        model.predict(pa.RecordBatch.from_pydict({"_f_carrier": ["AA"], "_f_hour": [1.0]}))


def test_a_served_package_needs_neither_spark_nor_the_registry():
    import subprocess
    import sys

    code = "import sys, lakescore.scoring.pyfunc; print({'pyspark', 'mlflow'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
