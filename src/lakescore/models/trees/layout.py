"""The order in which splits are taken, and where their rows are kept meanwhile.

A leaf's number fits a byte, so a tree of more than 255 leaves is cut into pieces. Where a tree is
cut, the piece above has a leaf without value; rows that do not come to a piece get its leaf 0,
which has none either.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lakescore.models.trees.columns import joined
from lakescore.models.trees.tree import Tree

if TYPE_CHECKING:
    import numpy.typing as npt

    Integers = npt.NDArray[np.int32]

_MOST_LEAVES = 255
#: Places in `reach`: of the root of every tree, and of what is never read; then one a split.
_ROOT, _UNREAD, _FIRST = 0, 1, 2


@dataclass(frozen=True)
class Piece:
    """Splits `first` to before `end` (of `Layout.order`) below the place `root`, of tree `tree`.

    Its values lie in `Layout.values` from `base` on, `size` for each column of the tree's values:
    that of leaf 0, which is 0, then those of the leaves from the left.
    """

    tree: int
    first: int
    end: int
    root: int
    base: int
    size: int


@dataclass(frozen=True)
class Layout:
    """`order` are the splits as they are taken; by split, in that order: the places of the rows
    that come to it and go `left` and `right`, and how many `leaves` are to its left.
    """

    order: Integers
    come: Integers
    left: Integers
    right: Integers
    leaves: npt.NDArray[np.uint8]
    pieces: tuple[Piece, ...]
    values: npt.NDArray[np.float64]
    places: int


def laid_out(trees: Sequence[Tree]) -> Layout:
    """Raises ValueError where a tree's splits are not all below its root."""
    splits = _Splits(trees)
    cut, weight, leaves = _cut(splits)
    root_of, number = _numbered(splits, cut, leaves)
    pieces, rank = _pieces(splits, root_of, weight, trees)
    order = np.lexsort((splits.depth, rank[root_of]))
    place = _FIRST + np.arange(len(order)) - splits.first_of_own_tree
    is_root = splits.depth == 0
    of_children = np.append(place, _UNREAD)  # the place of child -1, a leaf
    return Layout(
        order=order.astype(np.int32),
        come=np.where(is_root, _ROOT, place)[order].astype(np.int32),
        left=of_children[splits.left][order].astype(np.int32),
        right=of_children[splits.right][order].astype(np.int32),
        leaves=leaves[order].astype(np.uint8),
        pieces=tuple(pieces),
        values=_values(splits, trees, pieces, rank[root_of], (number, number + leaves)),
        places=_FIRST + max((len(tree.feature) for tree in trees), default=0),
    )


class _Splits:
    """The splits of all trees, one after another; `left` and `right` are -1 for a leaf."""

    def __init__(self, trees: Sequence[Tree]) -> None:
        sizes = np.array([len(tree.feature) for tree in trees], np.int64)
        self.first = np.cumsum([0, *sizes])
        self.tree = np.repeat(np.arange(len(trees)), sizes)
        self.first_of_own_tree = self.first[self.tree]
        self.left_child = joined([tree.left for tree in trees], np.int64)
        self.right_child = joined([tree.right for tree in trees], np.int64)
        self.left = self._among_all(self.left_child)
        self.right = self._among_all(self.right_child)
        self.levels = list(self._levels(self.first[:-1][sizes > 0]))
        self.depth = np.full(len(self.tree), -1)
        for depth, level in enumerate(self.levels):
            self.depth[level] = depth
        if (self.depth < 0).any():
            raise ValueError("the splits of a tree are not all below its root")

    def _among_all(self, child: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        return np.where(child < 0, -1, child + self.first_of_own_tree)

    def _levels(self, level: npt.NDArray[np.int64]) -> Iterator[npt.NDArray[np.int64]]:
        seen = 0
        while len(level):
            seen += len(level)
            if seen > len(self.tree):
                raise ValueError("the splits of a tree form a circle")
            yield level
            children = np.concatenate([self.left[level], self.right[level]])
            level = children[children >= 0]


def _cut(splits: _Splits) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]:
    """Which splits begin a piece below another; each split's leaves in its piece, and those to its
    left. A piece below counts as one leaf.
    """
    cut = np.zeros(len(splits.tree) + 1, np.bool_)  # the last one is of child -1, a leaf
    weight = np.ones(len(splits.tree) + 1, np.int64)
    leaves = np.zeros(len(splits.tree), np.int64)
    for level in reversed(splits.levels):
        sides = [splits.left[level], splits.right[level]]
        for _ in sides:
            left, right = (np.where(cut[side], 1, weight[side]) for side in sides)
            over = left + right > _MOST_LEAVES
            cut[sides[0][over & (left >= right)]] = True
            cut[sides[1][over & (left < right)]] = True
        left, right = (np.where(cut[side], 1, weight[side]) for side in sides)
        weight[level], leaves[level] = left + right, left
    return cut, weight, leaves


def _numbered(
    splits: _Splits, cut: npt.NDArray[Any], leaves: npt.NDArray[Any]
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """The root of each split's piece, and the number of the leaf furthest to the left below it."""
    root_of, number = np.arange(len(splits.tree)), np.ones(len(splits.tree), np.int64)
    for level in splits.levels:
        for children, passed in ((splits.left, 0), (splits.right, leaves[level])):
            child, below = children[level], number[level] + passed
            goes_on = (child >= 0) & ~cut[child]
            root_of[child[goes_on]] = root_of[level][goes_on]
            number[child[goes_on]] = below[goes_on]
    return root_of, number


def _pieces(
    splits: _Splits, root_of: npt.NDArray[Any], weight: npt.NDArray[Any], trees: Sequence[Tree]
) -> tuple[list[Piece], npt.NDArray[Any]]:
    """The pieces, those above before those below; and of each piece's root its number."""
    roots = np.flatnonzero(root_of == np.arange(len(root_of)))
    roots = roots[np.lexsort((splits.depth[roots], splits.tree[roots]))]
    sizes = np.bincount(root_of, minlength=len(root_of))
    by_tree: dict[int, list[int]] = {tree: [] for tree in range(len(trees))}
    for root in roots.tolist():
        by_tree[int(splits.tree[root])].append(root)
    pieces: list[Piece] = []
    rank, end, base = np.zeros(len(root_of), np.int64), 0, 0
    for tree, mine in by_tree.items():
        for root in mine or [-1]:  # a tree without a split is a piece without one
            first, end = end, end + (int(sizes[root]) if mine else 0)
            is_below = bool(mine) and splits.depth[root] > 0
            place = _FIRST + root - int(splits.first[tree]) if is_below else _ROOT
            size = 1 + int(weight[root])
            if mine:
                rank[root] = len(pieces)
            pieces.append(Piece(tree, first, end, place, base, size))
            base += size * trees[tree].values.shape[1]
    return pieces, rank


def _values(
    splits: _Splits,
    trees: Sequence[Tree],
    pieces: Sequence[Piece],
    piece: npt.NDArray[Any],
    numbers: tuple[npt.NDArray[Any], npt.NDArray[Any]],
) -> npt.NDArray[np.float64]:
    """`piece` is that of each split, `numbers` of each side the leaf furthest to the left."""
    widths = [tree.values.shape[1] for tree in trees]
    values = np.zeros(sum(one.size * widths[one.tree] for one in pieces))
    base, size = np.array([(one.base, one.size) for one in pieces], np.int64).reshape(-1, 2).T
    for one in pieces:
        tree = trees[one.tree]
        if not len(tree.feature):
            values[one.base + 1 :: one.size][: widths[one.tree]] = tree.values[0]
    for child, at in zip((splits.left_child, splits.right_child), numbers, strict=True):
        for tree_number, tree in enumerate(trees):
            mine = slice(splits.first[tree_number], splits.first[tree_number + 1])
            is_leaf = child[mine] < 0
            of, places = piece[mine][is_leaf], at[mine][is_leaf]
            for column in range(widths[tree_number]):
                where = base[of] + column * size[of] + places
                values[where] = tree.values[~child[mine][is_leaf], column]
    return values
