"""LightGBM in one process: where the training matrix fits it, or SynapseML cannot load.

The matrix is in this process's memory (8 bytes a cell) until LightGBM has binned it. On a local
master rows come from Parquet files, never through the JVM's heap.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lakescore.matrix import LABEL, Split
from lakescore.models.base import EncodedData, FittedModel
from lakescore.models.engines import is_local
from lakescore.models.labels import Labels
from lakescore.models.lightgbm.booster import gain_shares, require_lightgbm
from lakescore.models.lightgbm.scorer import LightGBMScorer
from lakescore.models.lightgbm.settings import OBJECTIVES, patience

if TYPE_CHECKING:
    import numpy.typing as npt
    from pyspark.sql import DataFrame

    from lakescore.models.lightgbm.candidate import LightGBMParameters

    Matrix = npt.NDArray[np.float64]


#: Parameters that are not options of LightGBM's own, or are arguments of its `train`.
_NOT_LIGHTGBMS = {"backend", "native_gib", "num_iterations", "early_stopping_rounds"}


def fit_native(
    data: EncodedData, labels: Labels, parameters: LightGBMParameters, seed: int
) -> FittedModel:
    """Fit with the lightgbm package. Raises MissingExtra without it."""
    lightgbm = require_lightgbm("backend: native")
    stop_after = patience(parameters, labels)
    options = training_options(data, parameters, seed)
    if is_local(spark := data.train.sparkSession):
        options["num_threads"] = spark.sparkContext.defaultParallelism
    train = _dataset(lightgbm, data, Split.TRAIN, options)
    callbacks = [lightgbm.early_stopping(stop_after, verbose=False)] if stop_after else []
    booster = lightgbm.train(
        options,
        train,
        num_boost_round=parameters.num_iterations,
        valid_sets=(
            [_dataset(lightgbm, data, Split.VALIDATION, options, train)] if stop_after else []
        ),
        callbacks=callbacks,
    )
    rounds = booster.best_iteration if stop_after else booster.current_iteration()
    text = booster.model_to_string(num_iteration=rounds)
    return FittedModel(
        scorer=LightGBMScorer.tried(data.schema.names, text),
        importance=gain_shares(text, data.schema.names),
        backend="native",
        details={"rounds": rounds, "lightgbm": lightgbm.__version__},
    )


def training_options(
    data: EncodedData, parameters: LightGBMParameters, seed: int
) -> dict[str, Any]:
    """LightGBM's own options; deterministic whatever the number of threads."""
    objective, metric = OBJECTIVES[data.task]
    own = parameters.model_dump(exclude=_NOT_LIGHTGBMS)
    return own | {
        "objective": objective,
        "metric": metric,
        "seed": seed,
        "deterministic": True,
        "force_col_wise": True,
        "verbosity": -1,
        **({"num_class": data.classes} if data.classes else {}),
    }


def _dataset(
    lightgbm: Any,
    data: EncodedData,
    split: Split,
    options: Mapping[str, Any],
    reference: Any = None,
) -> Any:
    """Binned at once, so that the matrix of one split is gone before the next is read."""
    matrix, label = read_matrix(data, split)
    rows = lightgbm.Dataset(
        matrix,
        label,
        reference=reference,
        feature_name=list(data.schema.names),
        categorical_feature=list(data.schema.categorical_indexes),
        params=dict(options),
    )
    return rows.construct()


def read_matrix(data: EncodedData, split: Split) -> tuple[Matrix, Matrix]:
    """The encoded matrix, shape (rows, columns), and the labels of a split, in its row order."""
    names = [*data.schema.names, LABEL]
    if files := data.files.get(split):
        return _from_files(files, names)
    rows = data.train if split is Split.TRAIN else data.validation
    columns = rows.select(*(f"`{name}`" for name in names))
    if is_local(rows.sparkSession):
        return _through_parquet(columns)
    return _through_driver(columns)


def _from_files(paths: Sequence[str], names: Sequence[str]) -> tuple[Matrix, Matrix]:
    """One record batch at a time."""
    import pyarrow.dataset as ds

    stored = ds.dataset(list(paths), format="parquet")
    rows, start = stored.count_rows(), 0
    matrix, label = np.empty((rows, len(names) - 1)), np.empty(rows)
    for batch in stored.to_batches(columns=list(names), batch_readahead=2, fragment_readahead=1):
        end = start + len(batch)
        for index, column in enumerate(batch.columns[:-1]):
            matrix[start:end, index] = column.to_numpy(zero_copy_only=False)
        label[start:end] = batch.columns[-1].to_numpy(zero_copy_only=False)
        start = end
    return matrix, label


def _through_parquet(rows: DataFrame) -> tuple[Matrix, Matrix]:
    with tempfile.TemporaryDirectory(prefix="lakescore-") as folder:
        path = Path(folder) / "rows"
        rows.write.parquet(path.as_uri())
        files = sorted(str(file) for file in path.glob("part-*.parquet"))
        return _from_files(files, rows.columns)


def _through_driver(rows: DataFrame) -> tuple[Matrix, Matrix]:
    """Executors share no disk with the driver: the rows are collected to it."""
    cells = rows.toPandas().to_numpy(dtype=np.float64)
    return np.ascontiguousarray(cells[:, :-1]), cells[:, -1].copy()
