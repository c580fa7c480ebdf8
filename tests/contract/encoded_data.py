"""Tiny encoded training data that can be learned from: numbers with gaps, unseen codes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lakescore.matrix import LABEL, MatrixColumn, MatrixSchema, Task
from lakescore.models.base import EncodedData

ROWS, VALIDATION_ROWS = 900, 300
CLASSES = 3
MANY_LEVELS = 70  # more than SynapseML's LightGBM takes with several workers
SCHEMA = MatrixSchema(
    (
        MatrixColumn("speed", mean=0.1),
        MatrixColumn("city", levels=4),
        MatrixColumn("load", mean=5.0),
        MatrixColumn("route", levels=MANY_LEVELS),
    )
)


def tiny_matrix(rows: int = ROWS, seed: int = 0) -> np.ndarray:
    """An encoded matrix: a tenth of `speed` missing, code 0 among the categories."""
    random = np.random.default_rng(seed)
    speed = random.normal(size=rows)
    speed[random.random(rows) < 0.1] = np.nan
    return np.column_stack(
        [
            speed,
            random.integers(0, 5, rows).astype(float),
            random.gamma(5.0, size=rows),
            random.integers(0, MANY_LEVELS + 1, rows).astype(float),
        ]
    )


def tiny_labels(matrix: np.ndarray, task: Task) -> np.ndarray:
    """A label that each column has a part in, with noise."""
    noise = np.random.default_rng(1).normal(size=len(matrix))
    signal = (
        1.5 * np.nan_to_num(matrix[:, 0], nan=-1.0)
        + 1.5 * (matrix[:, 1] == 2)
        + 0.2 * matrix[:, 2]
        + (matrix[:, 3] % 3 == 0)
        + 0.5 * noise
    )
    parts = {Task.BINARY: 2, Task.MULTICLASS: CLASSES}.get(task)
    if parts is None:
        return signal
    cuts = np.quantile(signal, [part / parts for part in range(1, parts)])
    return np.digitize(signal, cuts, right=True).astype(float)


def targets(labels: np.ndarray, task: Task) -> np.ndarray:
    """What a perfect scorer would give: the labels, or a share of 1 for the label's class."""
    return np.eye(CLASSES)[labels.astype(int)] if task is Task.MULTICLASS else labels


def write_rows(folder: Path, matrix: np.ndarray, labels: np.ndarray) -> str:
    """Two Parquet files, so that Spark has more than one partition."""
    names = (*SCHEMA.names, LABEL)
    cells = np.column_stack([matrix, labels])
    folder.mkdir(parents=True)
    for part, rows in enumerate(np.array_split(cells, 2)):
        table = pa.table({name: rows[:, i].copy() for i, name in enumerate(names)})
        pq.write_table(table, folder / f"{part}.parquet")
    return folder.as_uri()


def tiny_data(spark, folder: Path, task: Task) -> EncodedData:
    matrix = tiny_matrix()
    labels = tiny_labels(matrix, task)
    cut = ROWS - VALIDATION_ROWS
    train = write_rows(folder / "train", matrix[:cut], labels[:cut])
    validation = write_rows(folder / "validation", matrix[cut:], labels[cut:])
    return EncodedData(
        train=spark.read.parquet(train),
        validation=spark.read.parquet(validation),
        schema=SCHEMA,
        task=task,
        train_rows=cut,
        classes=CLASSES if task is Task.MULTICLASS else 0,
    )
