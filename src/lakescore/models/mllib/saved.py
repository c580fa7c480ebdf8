"""What a fitted MLlib stage saved, as a portable scorer: JSON and Parquet, read without Spark.

The formats are those of Spark 3.0 to 3.5. What is not known here is left to Spark.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from lakescore.matrix import Task
from lakescore.models.base import Scorer
from lakescore.models.mllib.forest_nodes import SavedNode, flat
from lakescore.models.mllib.forest_scorer import ForestScorer
from lakescore.models.mllib.kmeans_scorer import KMeansScorer
from lakescore.models.mllib.linear_scorer import LinearScorer, LinearTerm

#: The last part of a model's class -> whether it tells classes.
_TREES = {
    "DecisionTreeClassificationModel": Task.BINARY,
    "DecisionTreeRegressionModel": Task.REGRESSION,
    "GBTClassificationModel": Task.BINARY,
    "GBTRegressionModel": Task.REGRESSION,
    "RandomForestClassificationModel": Task.BINARY,
    "RandomForestRegressionModel": Task.REGRESSION,
}
_TWO = 2


def portable_scorer(
    folder: Path, metadata: Mapping[str, Any], columns: tuple[str, ...]
) -> Scorer | None:
    """The stage saved in `folder` as a scorer of a matrix of `columns`; None for another kind.

    Of a classifier of two classes it gives the probability of class 1.
    """
    kind = str(metadata.get("class", "")).rpartition(".")[2]
    if kind in _TREES:
        return _trees(folder, metadata, kind, columns)
    if kind == "LinearRegressionModel":
        (row,) = _rows(folder)
        return _linear(columns, Task.REGRESSION, row["intercept"], _vector(row["coefficients"]))
    if kind == "LogisticRegressionModel":
        return _logistic(folder, columns)
    if kind == "KMeansModel":
        return _kmeans(folder, metadata, columns)
    return None


def _linear(
    columns: tuple[str, ...], task: Task, intercept: float, weights: Sequence[float]
) -> LinearScorer:
    pairs = zip(columns, weights, strict=True)
    terms = tuple(LinearTerm(name, (float(one),), replacement=None) for name, one in pairs)
    return LinearScorer(columns, task, float(intercept), terms)


def _logistic(folder: Path, columns: tuple[str, ...]) -> LinearScorer | None:
    (row,) = _rows(folder)
    matrix = row["coefficientMatrix"]
    if row["isMultinomial"] or row["numClasses"] != _TWO or matrix["type"] != 1:
        return None
    (intercept,) = _vector(row["interceptVector"])
    return _linear(columns, Task.BINARY, intercept, matrix["values"])


def _kmeans(
    folder: Path, metadata: Mapping[str, Any], columns: tuple[str, ...]
) -> KMeansScorer | None:
    params = {**metadata.get("defaultParamMap", {}), **metadata.get("paramMap", {})}
    if params.get("distanceMeasure", "euclidean") != "euclidean":
        return None
    rows = sorted(_rows(folder), key=lambda row: row["clusterIdx"])
    return KMeansScorer(columns, tuple(tuple(_vector(row["clusterCenter"])) for row in rows))


def _trees(
    folder: Path, metadata: Mapping[str, Any], kind: str, columns: tuple[str, ...]
) -> ForestScorer | None:
    task = _TREES[kind]
    if metadata.get("numClasses", _TWO) != _TWO and kind != "GBTClassificationModel":
        return None
    alone, boosted = kind.startswith("DecisionTree"), kind.startswith("GBT")
    rows = _rows(folder)
    nodes = [(0, row) if alone else (row["treeID"], row["nodeData"]) for row in rows]
    nodes.sort(key=lambda pair: (pair[0], pair[1]["id"]))
    votes = task is Task.BINARY and not boosted
    read = [SavedNode.of(tree, node, votes=votes, counts=alone) for tree, node in nodes]
    if any(node.is_coded for node in read):
        return None
    trees = flat(read, [0] * len(columns))
    if boosted:
        weights = _weights(folder)
        owner = np.searchsorted(trees.roots, np.arange(len(trees.feature)), side="right") - 1
        trees = trees.scaled(np.array(weights)[owner])
    return ForestScorer(
        columns, task, (0,) * len(columns), (None,) * len(columns), trees,
        combine="sum" if boosted else "average",
    )  # fmt: skip


def _weights(folder: Path) -> list[float]:
    rows = pq.read_table(folder / "treesMetadata").to_pylist()
    return [row["weights"] for row in sorted(rows, key=lambda row: row["treeID"])]


def _rows(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(folder / "data").to_pylist()
    return found


def _vector(saved: Mapping[str, Any]) -> list[float]:
    """A vector as VectorUDT stores it: type 1 is dense, 0 sparse."""
    if saved["type"] == 1:
        return [float(value) for value in saved["values"]]
    dense = [0.0] * saved["size"]
    for place, value in zip(saved["indices"], saved["values"], strict=True):
        dense[place] = float(value)
    return dense
