"""Runs one MLflow pyfunc model in a process of its own.

    python -m lakescore.registry.pyfunc_child FOLDER [--names]

Rows come as an Arrow stream on standard input; the answers go, one batch for one batch, as an
Arrow stream with the column `prediction` (double) to standard output, after one byte that says
that the model is loaded. The process ends when its input does, or when its parent is gone.
With --names it only says, as JSON, which columns the model was fitted on: null where it does not
tell.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

PREDICTION = "prediction"
LOADED = b"+"
NAMES = "--names"
_POLL_SECONDS = 1.0


def main(folder: str) -> None:
    """Load the model, then answer until the input ends. Removes its working folder."""
    rows, answers = _take_over_streams()
    workplace = Path(folder).parent
    _end_with_parent(os.getppid(), workplace)
    try:
        _serve(_load(folder), rows, answers)
    finally:
        shutil.rmtree(workplace, ignore_errors=True)


def tell_names(folder: str) -> None:
    """Load the model and write the names that scikit-learn's estimators keep, in their order."""
    _, answers = _take_over_streams()
    _end_with_parent(os.getppid(), Path(folder).parent)
    answers.write(json.dumps(_fitted_names(_load(folder))).encode())
    answers.flush()


def _fitted_names(model: Any) -> list[str] | None:
    try:
        fitted = model.get_raw_model()
    except (AttributeError, NotImplementedError):
        return None
    names = getattr(fitted, "feature_names_in_", None)
    return None if names is None else [str(name) for name in names]


def _take_over_streams() -> tuple[IO[bytes], IO[bytes]]:
    """Keep the two pipes for Arrow: what the model prints goes to standard error."""
    rows = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    return rows, answers


def _end_with_parent(parent: int, workplace: Path) -> None:
    """The end of the input is noticed between batches; a dead parent at any time."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_POLL_SECONDS)
        shutil.rmtree(workplace, ignore_errors=True)
        os._exit(3)

    threading.Thread(target=watch, daemon=True).start()


def _load(folder: str) -> Any:
    import mlflow.pyfunc

    return mlflow.pyfunc.load_model(folder)


def _serve(model: Any, rows: IO[bytes], answers: IO[bytes]) -> None:
    import pyarrow as pa

    schema = pa.schema([(PREDICTION, pa.float64())])
    answers.write(LOADED)
    answers.flush()
    try:
        batches = pa.ipc.open_stream(rows)
    except pa.ArrowInvalid:  # the input ended before any row
        return
    out = pa.ipc.new_stream(answers, schema)
    for batch in batches:
        scores = pa.array(_predict(model, batch), type=pa.float64())
        out.write_batch(pa.RecordBatch.from_arrays([scores], schema=schema))
        answers.flush()


def _predict(model: Any, batch: pa.RecordBatch) -> npt.NDArray[np.float64]:
    """One double a row: the only output, or the second of two (the probability of class 1)."""
    import numpy as np

    output = np.asarray(model.predict(_frame(batch)))
    if output.ndim == 2 and output.shape[1] in (1, 2):
        output = output[:, -1]
    if output.shape != (batch.num_rows,):
        raise ValueError(f"the model gives an output of shape {output.shape}, not one number a row")
    return output.astype(np.float64)


def _frame(batch: pa.RecordBatch) -> Any:
    """A pandas frame with the types that MLflow's signatures know: times without a zone, in UTC."""
    import pyarrow as pa

    arrays = []
    for array in batch.columns:
        is_time = pa.types.is_timestamp(array.type) or pa.types.is_date(array.type)
        arrays.append(array.cast(pa.timestamp("ns")) if is_time else array)
    return pa.RecordBatch.from_arrays(arrays, names=batch.schema.names).to_pandas()


if __name__ == "__main__":
    run = tell_names if NAMES in sys.argv[2:] else main
    run(sys.argv[1])
