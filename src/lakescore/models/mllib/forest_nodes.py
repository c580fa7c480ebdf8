"""Reads the trees of an MLlib forest from what it saves: Parquet rows, one a node.

The format is Spark's `EnsembleModelReadWrite`, the same from Spark 3.0 on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lakescore.matrix import Task
from lakescore.models.mllib.forest_scorer import Trees

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_NO_CHILD = -1


@dataclass
class SavedNode:
    """One node as MLlib numbers it: in pre-order within its tree."""

    tree: int
    id: int
    left: int
    right: int
    feature: int
    split: Sequence[float]
    categories: int
    values: Sequence[float]

    @classmethod
    def of(cls, tree: int, saved: Any, *, votes: bool, counts: bool = False) -> SavedNode:
        """From a `nodeData`, whose fields are asked for by name.

        With `votes` its values are those of two classes: a leaf's counts themselves (`counts`, of
        a tree alone) or their shares (of a forest's); else the predicted value.
        """
        values: Sequence[float] = (saved["prediction"],)
        if votes:
            stats = saved["impurityStats"]
            values = tuple(stats) if counts else cls._shares(stats)
        split = saved["split"]
        return cls(
            tree=tree,
            id=saved["id"],
            left=saved["leftChild"],
            right=saved["rightChild"],
            feature=split["featureIndex"],
            split=split["leftCategoriesOrThreshold"] or (),
            categories=split["numCategories"],
            values=values,
        )

    @property
    def is_leaf(self) -> bool:
        return self.left == _NO_CHILD

    @property
    def is_coded(self) -> bool:
        """Whether it splits by a set of codes."""
        return not self.is_leaf and self.categories != _NO_CHILD

    @staticmethod
    def _shares(counts: Sequence[float]) -> tuple[float, float]:
        """A leaf's vote: its class counts over their sum, as a forest's classifier does."""
        total = counts[0] + counts[1]
        return (counts[0] / total, counts[1] / total) if total else (0.0, 0.0)


def read_trees(spark: SparkSession, path: str, task: Task, levels: Sequence[int]) -> Trees:
    """The forest saved at `path`. `levels` is 0 for numeric columns, in the order of the vector.

    Collects one row a node: the model, not the data.
    """
    from pyspark.sql import functions as F

    node = "nodeData"
    rows = (
        spark.read.parquet(f"{path}/data")
        .select(
            F.col("treeID").alias("tree"),
            f"{node}.*",
        )
        .orderBy("tree", "id")
        .collect()
    )
    nodes = (SavedNode.of(row["tree"], row, votes=task is Task.BINARY) for row in rows)
    return flat(list(nodes), levels)


def flat(nodes: list[SavedNode], levels: Sequence[int]) -> Trees:
    """The nodes, ordered by tree and number, in arrays. Raises ValueError where one is missing."""
    roots = [place for place, node in enumerate(nodes) if node.id == 0]
    starts = {nodes[place].tree: place for place in roots}
    first = np.array([starts[node.tree] for node in nodes], dtype=np.int32)
    here = np.arange(len(nodes), dtype=np.int32)
    leaf = np.array([node.is_leaf for node in nodes])
    category_start, category_left = _categories(nodes, levels)
    numeric = [np.nan if node.is_leaf or node.is_coded else node.split[0] for node in nodes]
    trees = Trees(
        roots=np.array(roots, dtype=np.int32),
        feature=np.where(leaf, 0, [node.feature for node in nodes]).astype(np.int32),
        threshold=np.array(numeric, dtype=np.float64),
        left=np.where(leaf, here, first + _numbers(node.left for node in nodes)),
        right=np.where(leaf, here, first + _numbers(node.right for node in nodes)),
        values=np.array([node.values for node in nodes], dtype=np.float64),
        category_start=category_start,
        category_left=category_left,
    )
    if not trees.are_whole():
        raise ValueError("the nodes of a tree do not form a tree")
    return trees


def _numbers(values: Iterable[int]) -> Any:
    return np.fromiter(values, dtype=np.int32)


def _categories(nodes: list[SavedNode], levels: Sequence[int]) -> tuple[Any, Any]:
    """Where each categorical split's table starts, and the tables: does code k go left?"""
    starts = np.full(len(nodes), -1, dtype=np.int32)
    tables: list[np.ndarray[Any, Any]] = []
    size = 0
    for place, node in enumerate(nodes):
        if not node.is_coded:
            continue
        table = np.zeros(levels[node.feature] + 1, dtype=np.bool_)
        table[[int(code) for code in node.split]] = True
        starts[place], size = size, size + len(table)
        tables.append(table)
    return starts, np.concatenate(tables) if tables else np.zeros(0, dtype=np.bool_)
