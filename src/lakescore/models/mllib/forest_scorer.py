"""Portable trees of MLlib, a forest's or boosted ones: scored by native code where this host can
compile, else walked level by level in numpy.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from lakescore.errors import ModelBroken
from lakescore.matrix import Task
from lakescore.models.base import Scorer
from lakescore.models.mllib.imputation import codes, imputed_values
from lakescore.models.trees.ensemble import Ensemble
from lakescore.models.trees.tree import Missing, Tree

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

_HEADER, _ARRAYS = "forest.json", "forest.npz"

#: Rows walked at once: their nodes, for all trees, stay in the processor's cache.
_BLOCK_ROWS = 1024


@dataclass(frozen=True, eq=False)
class Trees:
    """The nodes of all trees, one after another; the first of a tree's is its root, and each comes
    before its children.

    A leaf has itself for both children and feature 0, so that walking on from it stays there.
    `values` is (nodes, 2) class shares of a leaf for a classifier, (nodes, 1) for a regressor.
    A categorical split's codes that go left are
    ``category_left[category_start : category_start + levels + 1]``; numeric splits have start -1.
    """

    roots: npt.NDArray[np.int32]
    feature: npt.NDArray[np.int32]
    threshold: npt.NDArray[np.float64]
    left: npt.NDArray[np.int32]
    right: npt.NDArray[np.int32]
    values: npt.NDArray[np.float64]
    category_start: npt.NDArray[np.int32]
    category_left: npt.NDArray[np.bool_]

    def scaled(self, by: npt.NDArray[np.float64]) -> Trees:
        """The same trees, the values of each node times its factor."""
        return replace(self, values=self.values * by[:, None])

    def are_whole(self) -> bool:
        """Whether each node but a root is the child of exactly one before it, of the same tree."""
        nodes = np.arange(len(self.feature))
        of_nodes = (self.threshold, self.left, self.right, self.values, self.category_start)
        if any(len(one) != len(nodes) for one in of_nodes):
            return False
        is_inner = (self.left != nodes) | (self.right != nodes)
        children = np.concatenate([self.left[is_inner], self.right[is_inner]])
        parents = np.tile(nodes[is_inner], 2)
        if not np.array_equal(np.sort(np.concatenate([self.roots, children])), nodes):
            return False
        tree = np.searchsorted(self.roots, nodes, side="right")
        return bool(
            (children > parents).all()
            and (tree[children] == tree[parents]).all()
            and (np.diff(self.roots) > 0).all()
        )

    @cached_property
    def depth(self) -> int:
        """The most splits on any way from a root to a leaf."""
        nodes, depth = self.roots, 0
        while True:
            inner = nodes[self.left[nodes] != nodes]
            if not len(inner):
                return depth
            nodes, depth = np.concatenate([self.left[inner], self.right[inner]]), depth + 1

    def one_by_one(self) -> Iterator[Tree]:
        """Each tree with splits and leaves apart. NaN goes right, as in MLlib."""
        codes = {*self.category_start[self.category_start >= 0].tolist(), len(self.category_left)}
        ends = dict(pairwise(sorted(codes)))
        for first, end in pairwise([*self.roots.tolist(), len(self.feature)]):
            nodes = np.arange(first, end)
            is_leaf = self.left[first:end] == nodes
            splits = nodes[~is_leaf]
            number = np.where(is_leaf, ~(np.cumsum(is_leaf) - 1), np.cumsum(~is_leaf) - 1)
            starts = self.category_start[splits].tolist()
            yield Tree(
                feature=self.feature[splits],
                threshold=self.threshold[splits],
                missing=np.full(len(splits), Missing.NAN, np.uint8),
                default_left=np.zeros(len(splits), np.bool_),
                left=number[self.left[splits] - first].astype(np.int32),
                right=number[self.right[splits] - first].astype(np.int32),
                values=self.values[nodes[is_leaf]],
                members={
                    split: np.flatnonzero(self.category_left[start : ends[start]])
                    for split, start in enumerate(starts)
                    if start >= 0
                },
            )

    def leaves(self, matrix: npt.NDArray[np.float64]) -> npt.NDArray[np.int32]:
        """The leaf that each row reaches in each tree, shape (rows, trees)."""
        rows, width = matrix.shape
        cells, row_starts = matrix.ravel(), (np.arange(rows) * width)[:, None]
        nodes = np.broadcast_to(self.roots, (rows, len(self.roots)))
        for _ in range(self.depth):
            values = cells.take(row_starts + self.feature.take(nodes))
            go_left = values <= self.threshold.take(nodes)
            starts = self.category_start.take(nodes)
            coded = np.flatnonzero(starts >= 0)
            if len(coded):
                places = starts.ravel()[coded] + values.ravel()[coded].astype(np.int64)
                go_left.ravel()[coded] = self.category_left.take(places)
            nodes = np.where(go_left, self.left.take(nodes), self.right.take(nodes))
        return nodes


@dataclass(frozen=True, eq=False)
class ForestScorer(Scorer):
    """Trees that MLlib fitted; a forest's doubles are MLlib's.

    Votes are added tree by tree, in MLlib's order: a pairwise sum would differ in the last bit.
    `levels` is 0 for a numeric column; `replacements` is what its missing values become, None
    where they stay as they are. `combine` says whether votes are averaged, or summed as those of
    boosted trees are: the margin m of a class then gives 1 / (1 + exp(-2 m)), MLlib's logistic
    loss, equal to MLlib's to 1e-15.
    """

    kind: ClassVar[str] = "forest"
    columns: tuple[str, ...]
    task: Task
    levels: tuple[int, ...]
    replacements: tuple[float | None, ...]
    trees: Trees
    combine: Literal["average", "sum"] = "average"

    def _predict(self, matrix: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        if self._ensemble is not None:
            return self._combined(list(self._ensemble.sums(self._prepared(matrix))))
        scores = np.empty(len(matrix))
        for start in range(0, len(matrix), _BLOCK_ROWS):
            block = slice(start, start + _BLOCK_ROWS)
            scores[block] = self._combined(list(self._votes(self._prepared(matrix[block])).T))
        return scores

    @cached_property
    def _ensemble(self) -> Ensemble | None:
        return Ensemble.of(list(self.trees.one_by_one()), self.trees.values.shape[1])

    def _prepared(self, matrix: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        prepared = np.empty_like(matrix)
        for index, (levels, missing) in enumerate(zip(self.levels, self.replacements, strict=True)):
            values = matrix[:, index]
            if levels:
                prepared[:, index] = codes(values, levels)
            else:
                known = values if missing is None else imputed_values(values, missing)
                prepared[:, index] = known
        return prepared

    def _votes(self, matrix: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """The sum over the trees, shape (rows, classes)."""
        leaves = self.trees.leaves(matrix)
        votes = np.zeros((len(matrix), self.trees.values.shape[1]))
        for tree_leaves in leaves.T:
            votes += self.trees.values[tree_leaves]
        return votes

    def _combined(self, votes: Sequence[npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
        if self.combine == "sum":
            if self.task is Task.REGRESSION:
                return np.asarray(votes[0])
            with np.errstate(over="ignore"):
                return np.asarray(1.0 / (1.0 + np.exp(-2.0 * votes[0])))
        if self.task is Task.REGRESSION:
            return np.asarray(votes[0] / len(self.trees.roots))
        return np.asarray(votes[1] / (votes[0] + votes[1]))

    def __reduce__(self) -> tuple[Any, ...]:
        """What was derived from the trees does not travel."""
        return type(self), tuple(getattr(self, one.name) for one in fields(self))

    def save(self, folder: Path) -> None:
        header = {
            "columns": self.columns,
            "task": self.task.value,
            "levels": self.levels,
            "replacements": self.replacements,
            "combine": self.combine,
        }
        (folder / _HEADER).write_text(json.dumps(header, allow_nan=False), encoding="utf-8")
        arrays = {field.name: getattr(self.trees, field.name) for field in fields(Trees)}
        np.savez(folder / _ARRAYS, **arrays)

    @classmethod
    def load(cls, folder: Path) -> ForestScorer:
        header = json.loads((folder / _HEADER).read_text(encoding="utf-8"))
        with np.load(folder / _ARRAYS, allow_pickle=False) as arrays:
            trees = Trees(**{field.name: arrays[field.name] for field in fields(Trees)})
        columns = tuple(header["columns"])
        scorer = cls(
            columns=columns,
            task=Task(header["task"]),
            levels=tuple(header["levels"]),
            replacements=tuple(header["replacements"]),
            trees=trees,
            combine=header.get("combine", "average"),
        )
        if not 0 <= trees.feature.min(initial=0) <= trees.feature.max(initial=0) < len(columns):
            raise ModelBroken("a split names a column that it does not have", where=str(folder))
        if not trees.are_whole():
            raise ModelBroken("the nodes of a tree do not form a tree", where=str(folder))
        return scorer
