"""LightGBM in one process: where SynapseML cannot load.

The training matrix is in this process's memory (8 bytes a cell), so this backend is for data
that fits one machine. On a local master rows go through a Parquet file, never the JVM's heap.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lakescore.matrix import LABEL, MatrixSchema, Task
from lakescore.models.base import EncodedData, FittedModel
from lakescore.models.labels import Labels
from lakescore.models.lightgbm.booster import gain_shares, require_lightgbm
from lakescore.models.lightgbm.scorer import LightGBMScorer
from lakescore.models.lightgbm.settings import OBJECTIVES, is_local, patience

if TYPE_CHECKING:
    import numpy.typing as npt
    from pyspark.sql import DataFrame

    from lakescore.models.lightgbm.candidate import LightGBMParameters


def fit_native(
    data: EncodedData, labels: Labels, parameters: LightGBMParameters, seed: int
) -> FittedModel:
    """Fit with the lightgbm package. Raises MissingExtra without it."""
    lightgbm = require_lightgbm("backend: native")
    stop_after = patience(parameters, labels)
    train = _dataset(lightgbm, data.train, data.schema)
    callbacks = [lightgbm.early_stopping(stop_after, verbose=False)] if stop_after else []
    booster = lightgbm.train(
        training_options(data.task, parameters, seed),
        train,
        num_boost_round=parameters.num_iterations,
        valid_sets=[_dataset(lightgbm, data.validation, data.schema, train)] if stop_after else [],
        callbacks=callbacks,
    )
    rounds = booster.best_iteration if stop_after else booster.current_iteration()
    text = booster.model_to_string(num_iteration=rounds)
    return FittedModel(
        scorer=LightGBMScorer(data.schema.names, text),
        importance=gain_shares(text, data.schema.names),
        backend="native",
        details={"rounds": rounds, "lightgbm": lightgbm.__version__},
    )


def training_options(task: Task, parameters: LightGBMParameters, seed: int) -> dict[str, Any]:
    """LightGBM's own options; deterministic whatever the number of threads."""
    objective, metric = OBJECTIVES[task]
    own = parameters.model_dump(exclude={"backend", "num_iterations", "early_stopping_rounds"})
    return own | {
        "objective": objective,
        "metric": metric,
        "seed": seed,
        "deterministic": True,
        "force_col_wise": True,
        "verbosity": -1,
    }


def _dataset(lightgbm: Any, rows: DataFrame, schema: MatrixSchema, reference: Any = None) -> Any:
    matrix, label = read_matrix(rows, schema)
    return lightgbm.Dataset(
        matrix,
        label,
        reference=reference,
        feature_name=list(schema.names),
        categorical_feature=list(schema.categorical_indexes),
        params={"verbosity": -1},
    )


def read_matrix(
    rows: DataFrame, schema: MatrixSchema
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The encoded matrix and the labels of a frame, in its row order."""
    columns = rows.select(*(f"`{name}`" for name in (*schema.names, LABEL)))
    if is_local(rows.sparkSession):
        return _through_parquet(columns)
    return _through_driver(columns)


def _through_parquet(
    rows: DataFrame,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Files are read one record batch at a time into the matrix."""
    import pyarrow.dataset as ds

    with tempfile.TemporaryDirectory(prefix="lakescore-") as folder:
        path = Path(folder) / "rows"
        rows.write.parquet(path.as_uri())
        files = sorted(str(file) for file in path.glob("part-*.parquet"))
        written = ds.dataset(files, format="parquet")
        cells = np.empty((written.count_rows(), len(rows.columns)))
        start = 0
        for batch in written.to_batches(use_threads=False):
            for index, column in enumerate(batch.columns):
                cells[start : start + len(batch), index] = column.to_numpy(zero_copy_only=False)
            start += len(batch)
    return np.ascontiguousarray(cells[:, :-1]), cells[:, -1].copy()


def _through_driver(
    rows: DataFrame,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Executors share no disk with the driver: the rows are collected to it."""
    cells = rows.toPandas().to_numpy(dtype=np.float64)
    return np.ascontiguousarray(cells[:, :-1]), cells[:, -1].copy()
