"""A model that runs code does so in a process of its own, which never outlives its use."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from lakescore.errors import ModelBroken, TypeMismatch
from lakescore.registry.mlmodel import read_description
from lakescore.registry.pyfunc_process import PyfuncScorer, names_told

ROWS = pa.RecordBatch.from_pydict({"x": [1.0, None, 3.0], "n": [1, 2, 3]})
#: How long a model may take to load on a busy machine.
PATIENCE = 120.0

MODEL = """
import os, sys, time
import numpy as np
import mlflow
from mlflow.models import set_model


class Model(mlflow.pyfunc.PythonModel):
    def load_context(self, context):
        print("loading, to standard output")
        {loading}

    def predict(self, context, model_input, params=None):
        {predicting}


set_model(Model())
"""


def saved(
    folder: Path, *, loading: str = "pass", predicting: str = "return model_input['x'] * 2"
) -> Path:
    """An MLflow model made of code, with a signature."""
    import mlflow.pyfunc
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    code = folder.with_suffix(".py")
    code.write_text(MODEL.format(loading=loading, predicting=predicting))
    columns = [ColSpec("double", "x", required=False), ColSpec("long", "n")]
    mlflow.pyfunc.save_model(
        str(folder),
        python_model=str(code),
        signature=ModelSignature(Schema(columns), Schema([ColSpec("double")])),
        pip_requirements=[],
    )
    return folder


def scorer(folder: Path, **deadlines: float) -> PyfuncScorer:
    inputs = read_description(folder).inputs
    assert inputs is not None
    return PyfuncScorer(folder, inputs, **{"start_seconds": PATIENCE, **deadlines})


def process_ids(name: str) -> list[int]:
    """Processes that have `name` in their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if name.encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def wait_until_gone(process_id: int, seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{process_id}/stat").read_text().split()[2] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.1)
    return False


needs_proc = pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc (Linux)")


@pytest.fixture(scope="module")
def doubling(tmp_path_factory) -> Path:
    return saved(tmp_path_factory.mktemp("models") / "doubling")


@needs_proc
def test_scores_then_leaves_no_process_and_no_file(doubling, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    model = scorer(doubling)
    scores = model.predict(ROWS)
    np.testing.assert_array_equal(scores, [2.0, np.nan, 6.0])
    (child,) = process_ids(str(tmp_path))
    again = model.predict(ROWS.slice(2))
    assert again.tolist() == [6.0]
    assert process_ids(str(tmp_path)) == [child]
    model.close()
    assert wait_until_gone(child)
    assert list(tmp_path.iterdir()) == []


def test_travels_by_pickle_without_its_process(doubling):
    model = scorer(doubling)
    copy = pickle.loads(pickle.dumps(model))
    assert copy.sha256 == model.sha256
    assert copy.inputs == {"x": "double", "n": "bigint"}


def test_sees_no_secret_of_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("DATABRICKS_TOKEN", "secret")
    predicting = "return np.full(len(model_input), float('DATABRICKS_TOKEN' in os.environ))"
    model = scorer(saved(tmp_path / "m", predicting=predicting))
    try:
        assert model.predict(ROWS).tolist() == [0.0, 0.0, 0.0]
    finally:
        model.close()


def test_failure_shows_what_the_model_said_last(tmp_path):
    predicting = "raise ValueError('the vocabulary is missing')"
    model = scorer(saved(tmp_path / "m", predicting=predicting))
    with pytest.raises(ModelBroken, match="the vocabulary is missing"):
        model.predict(ROWS)


def test_a_model_is_asked_what_it_was_fitted_on_and_need_not_know(doubling, tmp_path):
    assert names_told(doubling) is None
    folder = saved(tmp_path / "m", loading="raise ValueError('the vocabulary is missing')")
    with pytest.raises(ModelBroken, match="the vocabulary is missing"):
        names_told(folder)
    with pytest.raises(ModelBroken, match=r"took more than 0\.1 s to load"):
        names_told(doubling, seconds=0.1)


def test_model_that_never_loads_is_killed_at_the_deadline(tmp_path):
    model = scorer(saved(tmp_path / "m", loading="time.sleep(600)"), start_seconds=3)
    started = time.monotonic()
    with pytest.raises(ModelBroken, match="took more than 3 s to load"):
        model.predict(ROWS)
    assert time.monotonic() - started < 15


def test_batch_that_never_ends_is_killed_at_the_deadline(tmp_path):
    model = scorer(saved(tmp_path / "m", predicting="time.sleep(600)"), batch_seconds=2)
    with pytest.raises(ModelBroken, match="took more than 2 s to score a batch"):
        model.predict(ROWS)


def test_answer_of_the_wrong_shape_is_refused(tmp_path):
    model = scorer(saved(tmp_path / "m", predicting="return np.zeros((len(model_input), 3))"))
    with pytest.raises(ModelBroken, match="not one number a row"):
        model.predict(ROWS)


def test_string_for_a_number_is_refused_before_the_model_sees_it(doubling):
    rows = pa.RecordBatch.from_pydict({"x": ["1.0"], "n": [1]})
    with pytest.raises(TypeMismatch, match="column 'x'"):
        scorer(doubling).predict(rows)


WORKER = """
import sys, time
import pyarrow as pa
from pathlib import Path
from lakescore.registry.pyfunc_process import PyfuncScorer
model = PyfuncScorer(Path(sys.argv[1]), {"x": "double", "n": "bigint"}, start_seconds=240)
model.predict(pa.RecordBatch.from_pydict({"x": [1.0], "n": [1]}))
print("scored", flush=True)
time.sleep(600)
"""


@needs_proc
def test_child_ends_and_cleans_up_when_its_worker_is_killed(doubling, tmp_path):
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(doubling)],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert worker.stdout is not None
    assert worker.stdout.readline() == "scored\n"
    (child,) = process_ids(str(tmp_path))
    worker.kill()
    worker.wait()
    assert wait_until_gone(child)
    assert list(tmp_path.iterdir()) == []


@needs_proc
def test_child_that_is_still_scoring_ends_when_its_worker_is_killed(tmp_path):
    marker = tmp_path / "scoring"
    predicting = f"open({str(marker)!r}, 'w').close(); time.sleep(600)"
    folder = saved(tmp_path / "m", predicting=predicting)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    environment = {**os.environ, "TMPDIR": str(temporary)}
    worker = subprocess.Popen([sys.executable, "-c", WORKER, str(folder)], env=environment)
    deadline = time.monotonic() + PATIENCE
    while not marker.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    (child,) = process_ids(str(temporary))
    worker.kill()
    worker.wait()
    assert wait_until_gone(child)
    assert list(temporary.iterdir()) == []
